//! What a policy may not say. Each rule is here because without it a policy would allow by accident, or could not be
//! replayed, or would cost more than anybody counts. It judges what is written and runs nothing.

use crate::engine::{self, PATTERNS_MAX};
use crate::input;
use crate::syntax::{Head, Module, Shape, Step, Use, What};
use std::collections::BTreeSet;
use thiserror::Error;

/// The package that all files of a policy folder share.
pub(crate) const PACKAGE: &str = "agentgate.platform";

/// The sets that the engine reads.
pub(crate) const SETS: [&str; 3] = ["deny", "require_approval", "allow"];

/// The set of the names of tools that a list does not show.
pub(crate) const HIDDEN: &str = "hidden";

/// What looks at the world: the whole name, or a family up to its dot.
const WORLD: [&str; 7] = ["time.now_ns", "rand.", "uuid.rfc4122", "http.", "opa.runtime", "net.lookup_ip_addr", "test.sleep"];

/// One call of these may cost more than the instruction limit counts, or all memory there is.
const UNCOUNTED: [&str; 3] = ["numbers.range", "numbers.range_step", "bits.lsh"];

/// These write where nobody reads; what they would write is personal data.
const SPEAKING: [&str; 2] = ["print", "trace"];

/// Builtins that take a pattern, and which argument it is.
const PATTERNS: [(&str, usize); 8] = [
    ("regex.match", 0),
    ("regex.is_valid", 0),
    ("regex.replace", 1),
    ("regex.split", 0),
    ("regex.find_n", 0),
    ("regex.find_all_string_submatch_n", 0),
    ("regex.template_match", 0),
    ("sprintf", 0),
];

#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{path}:{line}: {what}")]
pub struct Fault {
    pub path: String,
    pub line: u32,
    pub what: String,
}

/// The first fault, by file and line.
pub(crate) fn check(modules: &[Module]) -> Result<(), Fault> {
    let mut patterns = BTreeSet::new();
    for module in modules {
        let fault = |line, what: String| Fault { path: module.path.clone(), line, what };
        if module.package != PACKAGE {
            return Err(fault(1, format!("the package is `{}`; a policy's package is `{PACKAGE}`", module.package)));
        }
        for used in &module.uses {
            check_use(used, modules, &mut patterns).map_err(|what| fault(used.line, what))?;
        }
        for head in &module.heads {
            check_head(head, modules).map_err(|what| fault(head.line, what))?;
        }
    }
    if patterns.len() > PATTERNS_MAX {
        let (path, line) = (String::from("rego"), 0);
        return Err(Fault { path, line, what: format!("more than {PATTERNS_MAX} different patterns") });
    }
    Ok(())
}

fn check_head(head: &Head, modules: &[Module]) -> Result<(), String> {
    let name = head.name.as_str();
    if SETS.contains(&name) || name == HIDDEN {
        return match head.shape {
            Shape::Set => Ok(()),
            Shape::Function | Shape::Value => Err(format!("`{name}` is a set: write `{name} contains … if …`")),
        };
    }
    // A misspelt set is a rule that never speaks.
    if !modules.iter().flat_map(|module| &module.uses).any(|used| names(used, name)) {
        return Err(format!("nothing reads `{name}`; the engine reads `deny`, `require_approval`, `allow` and `hidden`"));
    }
    Ok(())
}

fn names(used: &Use, rule: &str) -> bool {
    match &used.what {
        What::Call { name, .. } => name == rule || name.strip_prefix("data.agentgate.platform.") == Some(rule),
        What::Reference(steps) => match steps.as_slice() {
            [Step::Name(data), Step::Name(agentgate), Step::Name(platform), Step::Name(name), ..]
                if data == "data" && agentgate == "agentgate" && platform == "platform" =>
            {
                name == rule
            }
            [Step::Name(name), ..] => name == rule,
            _ => false,
        },
        What::Import(_) | What::Else | What::With => false,
    }
}

fn check_use(used: &Use, modules: &[Module], patterns: &mut BTreeSet<String>) -> Result<(), String> {
    match &used.what {
        What::Import(name) if name == "rego.v1" => Ok(()),
        What::Import(name) => Err(format!("`import {name}`: write the name out where it is used")),
        What::Else => Err("`else` makes the order of rules a meaning; write a rule of its own".to_owned()),
        What::With => Err("`with` replaces what the call is about; write a case instead".to_owned()),
        What::Reference(steps) => check_reference(steps),
        What::Call { name, arguments } => check_call(name, arguments, modules, patterns),
    }
}

/// A misspelt field is undefined, and a `deny` that asks for it never speaks.
fn check_reference(steps: &[Step]) -> Result<(), String> {
    match steps {
        [Step::Name(root)] if root == "input" || root == "data" => {
            Err(format!("`{root}` as a whole: name what the rule depends on"))
        }
        [Step::Name(root), Step::Computed, ..] if root == "input" || root == "data" => {
            Err(format!("`{root}[…]` with a computed name: name what the rule depends on"))
        }
        [Step::Name(root), rest @ ..] if root == "input" => input::check_path(rest),
        [Step::Name(root), Step::Name(name), ..] if root == "data" && name != "tools" && name != "agentgate" => {
            Err(format!("`data.{name}` is not there; a policy sees `data.tools` and its own package"))
        }
        _ => Ok(()),
    }
}

fn check_call(
    name: &str,
    arguments: &[Option<String>],
    modules: &[Module],
    patterns: &mut BTreeSet<String>,
) -> Result<(), String> {
    if WORLD.iter().any(|world| name == *world || (world.ends_with('.') && name.starts_with(world))) {
        return Err(format!("the policy names `{name}`, which replay cannot repeat; take what you need from `input`"));
    }
    if UNCOUNTED.contains(&name) {
        return Err(format!("the policy names `{name}`, whose cost the instruction limit does not count"));
    }
    if SPEAKING.contains(&name) {
        return Err(format!("the policy names `{name}`, which would write the call where nobody reads it; write a case"));
    }
    let local = name.strip_prefix("data.agentgate.platform.").unwrap_or(name);
    let is_rule = |head: &Head| head.shape == Shape::Function && head.name == local;
    if !engine::is_builtin(name) && !modules.iter().flat_map(|module| &module.heads).any(is_rule) {
        return Err(format!("`{name}` is no builtin of this engine and no function of this policy"));
    }
    let Some((_, position)) = PATTERNS.iter().find(|(builtin, _)| *builtin == name) else {
        return Ok(());
    };
    let Some(pattern) = arguments.get(*position).cloned().flatten() else {
        return Err(format!(
            "the pattern of `{name}` is not written into the call; taken from elsewhere it could be the agent's"
        ));
    };
    if name.starts_with("regex.") && !matches!(name, "regex.template_match" | "regex.is_valid") {
        engine::check_pattern(&pattern).map_err(|error| format!("the pattern of `{name}` is none: {error}"))?;
        patterns.insert(pattern);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
