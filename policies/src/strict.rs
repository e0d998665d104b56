//! The arguments of a call whose tool some rule looks at: what a server could read otherwise than the policy is refused
//! before the policy is asked. Only the names of `arguments` itself are judged, not what is below them.

use crate::arguments::{Type, Types};
use crate::reads::Names;
use crate::table::Row;
use agentgate_core::decide::Finding;
use agentgate_core::fold;
use agentgate_core::id::RuleName;
use agentgate_core::json::{Json, Object};
use std::collections::BTreeMap;

/// Findings of one set. Who says more than this about one call says nothing to anybody.
pub(crate) const FINDINGS_MAX: usize = 64;

/// What a reason quotes of a name.
const NAME_CHARS_MAX: usize = 64;

const LOOKALIKE: &str = "argument_lookalike";
const UNKNOWN: &str = "argument_unknown";
const TYPE: &str = "argument_type";

/// What is refused of a call of `tool`: `read` are the names that rules read, `row` is what the table has of it.
pub(crate) fn check(tool: &str, read: &Names, row: Option<&Row>, params: Option<&Object>) -> Vec<Finding> {
    let finding = |rule, reason| Finding { rule: RuleName::of_gate(rule), reason, scope: row.map(|row| row.scope) };
    let arguments = match params.and_then(|params| params.get("arguments")) {
        // Nothing is written, for a rule and for a server.
        None | Some(Json::Null) => return Vec::new(),
        Some(Json::Object(arguments)) => arguments,
        Some(other) => {
            let kind = Type::of(other).name();
            return vec![finding(TYPE, format!("`arguments` is of type {kind}; write an object"))];
        }
    };
    let mut findings = Vec::new();
    let mut written: BTreeMap<_, &str> = BTreeMap::new();
    for (name, value) in arguments.iter() {
        let twin = written.insert(fold::key(name), name);
        if let Some((rule, reason)) = check_one(tool, read, row, twin, (name, value)) {
            findings.push(finding(rule, reason));
        }
        if findings.len() >= FINDINGS_MAX {
            break;
        }
    }
    findings.sort();
    findings
}

/// The one rule that refuses this argument, if one does, and why.
fn check_one(
    tool: &str,
    read: &Names,
    row: Option<&Row>,
    twin: Option<&str>,
    (name, value): (&str, &Json),
) -> Option<(&'static str, String)> {
    let said = quoted(name);
    if let Some(twin) = twin {
        return Some((LOOKALIKE, format!("{said} and {} look alike; write one of them", quoted(twin))));
    }
    let known = row.and_then(|row| row.arguments.as_ref());
    let types = known.and_then(|known| known.get(name));
    // What a rule reads counts first: a row that knows a lookalike of it makes the policy no less blind.
    let alike = match (read.has(name), types) {
        (true, _) => None,
        (false, Some(_)) => read.alike(name),
        (false, None) => read.alike(name).or_else(|| known?.alike(name)),
    };
    if let Some(alike) = alike {
        return Some((LOOKALIKE, format!("{said} could be taken for {}; write that name", quoted(alike))));
    }
    match (known, types) {
        (None, _) => None,
        (Some(_), Some(types)) => wrong_type(types, value).map(|what| (TYPE, format!("{said} {what}"))),
        (Some(_), None) if read.has(name) => None,
        (Some(_), None) => Some((
            UNKNOWN,
            format!(
                "the tool table knows no argument {said} of {}, and a rule looks at its arguments; leave it out, or add it to the row's `arguments`",
                quoted(tool)
            ),
        )),
    }
}

fn wrong_type(types: &Types, value: &Json) -> Option<String> {
    if types.takes(value) {
        return None;
    }
    let wanted = types.names().join(" or ");
    let came = Type::of(value).name();
    Some(format!("is of type {came}, and the tool table says {wanted}; write that, or add the type to the row's `arguments`"))
}

/// In backticks, escaped, and no longer than a person reads.
fn quoted(name: &str) -> String {
    let mut chars = name.chars();
    let head: String = chars.by_ref().take(NAME_CHARS_MAX).collect();
    let more = if chars.next().is_some() { "…" } else { "" };
    format!("`{}{more}`", head.escape_debug())
}

#[cfg(test)]
mod tests;
