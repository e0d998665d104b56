//! Why a call was decided as it was: the facts that a rule read, and the smallest edits of the tool table that would have
//! changed the verdict. No edit is told that was not tried by the same law; nothing is put into force.

use crate::arguments::{Arguments, Type, Types};
use crate::bundle::{Bundle, TABLE};
use crate::evaluator::Evaluator;
use crate::learn::Definition;
use crate::reads::Reads;
use crate::table::{Row, Tag};
use crate::table_edit::{self, EditError};
use crate::{input, questions, trial};
use agentgate_core::decide::{Decision, Denial, Facts, Scope, Verdict};
use agentgate_core::fold;
use agentgate_core::id::RuleName;
use agentgate_core::mcp::{Message, Method};

/// What is shown of one fact.
pub const FACT_BYTES_MAX: usize = 1_024;

/// Edits that are told; the first is the smallest.
pub const EDITS_MAX: usize = 4;

/// What edits of the tool table came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edits {
    /// Each changes the verdict; smallest first, at most `EDITS_MAX`.
    pub tried: Vec<TableEdit>,
    /// Why there is none, when there is none.
    pub none_because: Option<String>,
}

/// One edit of one row, with what the call would have come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableEdit {
    pub server: String,
    pub tool: String,
    /// Of `tools.yaml`, unified.
    pub diff: String,
    pub verdict: Verdict,
    pub rule: RuleName,
}

/// A row as it could be.
#[derive(Debug)]
enum Candidate {
    New(Row),
    Changed { tag: Option<Tag>, arguments: Option<Arguments> },
}

/// The call of a tool that is explained.
struct Call<'a> {
    server: &'a str,
    tool: &'a str,
    message: &'a Message,
}

/// What the rules of this name saw of the call: each path with its value as JSON, escaped and cut, or none where it was not
/// there or is known only while the rule runs.
#[must_use]
pub fn facts(bundle: &Bundle, facts: &Facts, rule: &str) -> Vec<(String, Option<String>)> {
    let paths = Reads::new(bundle.modules()).paths(rule);
    let value = |path: &str| value(bundle, facts, path);
    paths.into_iter().map(|(path, fixed)| (value(&path).filter(|_| fixed), path)).map(|(value, path)| (path, value)).collect()
}

/// The engine itself looks, so that what is shown is what the rule saw.
fn value(bundle: &Bundle, facts: &Facts, path: &str) -> Option<String> {
    let message = facts.reading.as_ref().ok()?;
    let document = input::document(facts, message).ok()?;
    let mut engine = bundle.engine_of(questions::PATH, questions::fact(path)).ok()?;
    engine.json(questions::FACT, document).ok()?.map(|json| shown(&json))
}

/// On one line, nothing unseen, and no longer than a person reads.
fn shown(json: &str) -> String {
    let mut text = String::new();
    for c in json.chars() {
        let mut units = [0; 2];
        let piece = if fold::is_unseen(c) || matches!(c, '\u{2028}' | '\u{2029}') {
            c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")).collect()
        } else {
            c.to_string()
        };
        if text.len() + piece.len() > FACT_BYTES_MAX {
            return text + "…";
        }
        text += &piece;
    }
    text
}

/// Tries edits of the row of the tool that is called. `definition` is what the server says of the tool, where that is known.
#[must_use]
pub fn edits(bundle: &Bundle, facts: &Facts, decision: &Decision, definition: Option<&Definition>) -> Edits {
    let call = match Call::of(facts, decision) {
        Ok(call) => call,
        Err(why) => return Edits { tried: Vec::new(), none_because: Some(why) },
    };
    let mut edits = Edits::default();
    for candidate in call.candidates(bundle, definition) {
        let Some(edit) = call.attempt(bundle, facts, &candidate) else { continue };
        if trial::verdict_name(edit.verdict) != trial::verdict_name(decision.verdict) {
            edits.tried.push(edit);
        }
        if edits.tried.len() >= EDITS_MAX {
            break;
        }
    }
    if edits.tried.is_empty() {
        edits.none_because = Some(call.why_none(bundle, decision));
    }
    edits
}

// === impl Call ===

impl<'a> Call<'a> {
    /// The call of a tool, or why no table can matter.
    fn of(facts: &'a Facts, decision: &Decision) -> Result<Self, String> {
        let message = facts.reading.as_ref().map_err(|malformed| {
            format!("the call could not be read ({malformed}), and no policy was asked: the client has to write it otherwise")
        })?;
        if let Verdict::Deny(Denial::Killed) = decision.verdict {
            return Err("it was stopped by a kill, which stands above every policy".to_owned());
        }
        if let Verdict::Deny(Denial::Approver) = decision.verdict {
            return Err("an approver denied this very call, and that stands for a while: no table says otherwise".to_owned());
        }
        match (message.method, &message.target) {
            (Method::ToolsCall, Some(tool)) => Ok(Self { server: facts.server.as_str(), tool, message }),
            (method, _) => Err(format!(
                "the tool table speaks of calls of tools alone; `{}` is decided by the rules in `rego/`",
                method.name()
            )),
        }
    }

    /// Smallest first.
    fn candidates(&self, bundle: &Bundle, definition: Option<&Definition>) -> Vec<Candidate> {
        let Some(row) = bundle.row(self.server, self.tool) else {
            let scope = definition.map_or(Scope::Write, Definition::scope);
            // Unclear means gated, so that stands first.
            let first = definition.map_or(Tag::Gated, Definition::tag);
            let mut tags = [Tag::Open, Tag::Gated];
            tags.sort_by_key(|tag| *tag != first);
            return tags.into_iter().map(|tag| Candidate::New(Row { tag, scope, arguments: None })).collect();
        };
        let tags: &[Tag] = match row.tag {
            Tag::Blocked => &[Tag::Gated, Tag::Open],
            Tag::Gated => &[Tag::Open],
            Tag::Open => &[Tag::Gated, Tag::Blocked],
        };
        let lifting: &[Tag] = if row.tag == Tag::Open { &[] } else { tags };
        let arguments = self.lacking(row);
        let changed = |tag, arguments: &Option<Arguments>| Candidate::Changed { tag, arguments: arguments.clone() };
        let mut candidates: Vec<_> = tags.iter().map(|tag| changed(Some(*tag), &None)).collect();
        if arguments.is_some() {
            candidates.push(changed(None, &arguments));
            candidates.extend(lifting.iter().map(|tag| changed(Some(*tag), &arguments)));
        }
        candidates
    }

    /// The arguments of the call that the row does not know, or knows with other types.
    fn lacking(&self, row: &Row) -> Option<Arguments> {
        let known = row.arguments.as_ref()?;
        let mut lacking = Arguments::default();
        for (name, value) in self.message.arguments()?.iter() {
            let types = match known.get(name) {
                Some(types) if types.takes(value) => continue,
                Some(types) => types.with(&Types::one(Type::of(value))),
                None => Types::one(Type::of(value)),
            };
            lacking.insert(name, types).ok()?;
        }
        Some(lacking).filter(|lacking| !lacking.is_empty())
    }

    /// What the call comes to with the edit. None: the edit cannot be made.
    fn attempt(&self, bundle: &Bundle, facts: &Facts, candidate: &Candidate) -> Option<TableEdit> {
        let before = bundle.table();
        let after = self.edit(before, candidate).ok()?;
        let mut evaluator = Evaluator::new(&bundle.with_table(&after).ok()?).ok()?;
        let decision = trial::decide(&mut evaluator, facts).ok()?;
        Some(TableEdit {
            server: self.server.to_owned(),
            tool: self.tool.to_owned(),
            diff: table_edit::diff(before, &after, TABLE),
            verdict: decision.verdict,
            rule: decision.rule,
        })
    }

    fn edit(&self, before: &str, candidate: &Candidate) -> Result<String, EditError> {
        let (server, tool) = (self.server, self.tool);
        match candidate {
            Candidate::New(row) => table_edit::add_tool(before, server, tool, row, None),
            Candidate::Changed { tag, arguments } => {
                let text = match tag {
                    Some(tag) => table_edit::set_tag(before, server, tool, *tag)?,
                    None => before.to_owned(),
                };
                match arguments {
                    Some(arguments) => table_edit::set_arguments(&text, server, tool, arguments),
                    None => Ok(text),
                }
            }
        }
    }

    fn why_none(&self, bundle: &Bundle, decision: &Decision) -> String {
        let rule = decision.rule.as_str();
        if let Some(place) = bundle.places(rule).first() {
            let (file, line) = (&place.file, place.line);
            return format!(
                "`{rule}` at {file}:{line} says so whatever the row in the tool table says: change the call, or that rule"
            );
        }
        match decision.verdict {
            Verdict::Deny(Denial::PolicyFailed) => {
                "the policy failed on this call, and it fails with every row: correct the rule that the reason names".to_owned()
            }
            Verdict::Deny(Denial::Policy) if rule.starts_with("gate.") => {
                "no row in the tool table makes these arguments safe to decide about: the call has to be written as the reason says"
                    .to_owned()
            }
            Verdict::Deny(Denial::Unmatched) => {
                "no rule allows the call with any row in the tool table: write a rule that does in `rego/`".to_owned()
            }
            Verdict::Deny(Denial::Malformed | Denial::Killed | Denial::Approver | Denial::Policy) | Verdict::Pending | Verdict::Allow(_) => {
                format!("no edit of the row in the tool table changes what `{rule}` says")
            }
        }
    }
}

#[cfg(test)]
mod tests;
