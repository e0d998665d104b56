//! Asks a bundle for its opinion, on one thread. It reads the sets that the rules contributed to and makes no verdict.
//!
//! INVARIANT: what a rule contributed is read whole or the evaluation failed. Nothing is skipped, guessed or cut.

use crate::bundle::{Bundle, BundleError};
use crate::engine::{Answer, Engine, Failure, INSTRUCTIONS_MAX, Inexact, Lines};
use crate::input;
use crate::lint::HIDDEN;
use crate::questions::{HIDING, OPINION};
use crate::strict::{self, FINDINGS_MAX};
use crate::table;
use agentgate_core::decide::{EvaluationError, Facts, Finding, Opinion, Scope};
use agentgate_core::id::RuleName;
use agentgate_core::mcp::{Message, Method};
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use thiserror::Error;

/// What one rule may say to people, in bytes: a record keeps it, and a model reads it.
pub(crate) const REASON_BYTES_MAX: usize = 4_096;

/// Names that only the gate itself gives to its rules.
const RESERVED: &str = "gate.";

/// One thread's own. Two of them share nothing that is written to.
#[derive(Debug)]
pub struct Evaluator {
    engine: Engine,
    bundle: Bundle,
    hides: bool,
}

/// Why there is no opinion.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Trouble {
    /// It would fail again: this settles as a denial.
    #[error(transparent)]
    Evaluation(#[from] EvaluationError),
    /// It might not fail again: there is no verdict, and the call is not let through.
    #[error("the policy could not be asked: {0}")]
    Unavailable(String),
}

// === impl Evaluator ===

impl Evaluator {
    /// # Errors
    /// When the engine does not take the bundle; it took it when the bundle was loaded.
    pub fn new(bundle: &Bundle) -> Result<Self, BundleError> {
        Self::with_limit(bundle, INSTRUCTIONS_MAX)
    }

    pub(crate) fn with_limit(bundle: &Bundle, limit: NonZeroU32) -> Result<Self, BundleError> {
        Ok(Self { engine: bundle.engine(limit)?, bundle: bundle.clone(), hides: bundle.declares(HIDDEN) })
    }

    /// # Errors
    /// When the policy fails on this call, or could not be asked.
    pub fn opinion(&mut self, facts: &Facts) -> Result<Opinion, Trouble> {
        // What could not be read is refused before any policy; there is nothing to ask about.
        let Ok(message) = &facts.reading else { return Ok(Opinion::default()) };
        // Not beside the policy: what it would say of arguments that a server reads otherwise is worth nothing.
        let deny = self.refused_arguments(facts, message);
        if !deny.is_empty() {
            return Ok(Opinion { deny, ..Opinion::default() });
        }
        let input = input::document(facts, message)?;
        let Answer::Object(mut sets) = self.engine.evaluate(OPINION, input)? else {
            return Err(failed("the sets are undefined"));
        };
        Ok(Opinion {
            deny: findings("deny", &mut sets)?,
            require_approval: findings("require_approval", &mut sets)?,
            allow: findings("allow", &mut sets)?,
        })
    }

    /// What the gate itself refuses of the arguments of a tool that a rule looks at.
    fn refused_arguments(&self, facts: &Facts, message: &Message) -> Vec<Finding> {
        let (Method::ToolsCall, Some(tool)) = (message.method, &message.target) else { return Vec::new() };
        let server = facts.server.as_str();
        match self.bundle.looks_at(server, tool) {
            Some(read) => strict::check(tool, &read, self.bundle.row(server, tool), message.params.as_ref()),
            None => Vec::new(),
        }
    }

    /// Which of `tools` the policy refuses whatever their arguments, in the order of `tools`.
    ///
    /// # Errors
    /// When the policy fails on this list, or could not be asked.
    pub fn hidden(&mut self, facts: &Facts, tools: &[String]) -> Result<Vec<String>, Trouble> {
        let Ok(message) = &facts.reading else { return Err(failed("the list's call could not be read")) };
        if !self.hides {
            return Ok(Vec::new());
        }
        let input = input::document_of_list(facts, message, tools)?;
        let Answer::Set(elements) = self.engine.evaluate(HIDING, input)? else {
            return Err(failed("`hidden` is no set"));
        };
        let names: Result<BTreeSet<String>, Trouble> = elements.into_iter().map(text_of_hidden).collect();
        let names = names?;
        Ok(tools.iter().filter(|tool| names.contains(*tool)).cloned().collect())
    }

    pub(crate) fn watch_lines(&mut self) {
        self.engine.watch_lines();
    }

    /// Of the bundle's own files.
    pub(crate) fn lines(&self) -> Result<Vec<Lines>, String> {
        Ok(self.engine.lines()?.into_iter().filter(|lines| lines.path.starts_with("rego/")).collect())
    }
}

/// The findings of one set, without doubles and in one order, whatever the order of the rules.
fn findings(set: &'static str, sets: &mut BTreeMap<String, Answer>) -> Result<Vec<Finding>, Trouble> {
    let elements = match sets.remove(set) {
        None => return Ok(Vec::new()),
        Some(Answer::Set(elements)) => elements,
        Some(other) => return Err(failed(format!("`{set}` is {}, not a set", other.kind()))),
    };
    if elements.len() > FINDINGS_MAX {
        return Err(failed(format!("`{set}` has more than {FINDINGS_MAX} elements")));
    }
    let findings: Result<BTreeSet<_>, _> = elements.into_iter().map(|element| finding(set, element)).collect();
    Ok(findings?.into_iter().collect())
}

fn finding(set: &str, element: Answer) -> Result<Finding, Trouble> {
    let wrong = |what: String| failed(format!("an element of `{set}` {what}"));
    let Answer::Object(mut members) = element else {
        return Err(wrong(format!("is {}, not {{rule, reason, scope}}", element.kind())));
    };
    let mut text = |name: &str| match members.remove(name) {
        None => Ok(None),
        Some(Answer::Text(text)) => Ok(Some(text)),
        Some(other) => Err(wrong(format!("has {} as its `{name}`, not a string", other.kind()))),
    };
    let rule = text("rule")?.ok_or_else(|| wrong("has no `rule`".to_owned()))?;
    let reason = text("reason")?.ok_or_else(|| wrong("has no `reason`".to_owned()))?;
    let scope = text("scope")?.map(|scope| table::parse_scope(&scope).ok_or(scope)).transpose();
    let scope: Option<Scope> = scope.map_err(|scope| wrong(format!("has the scope `{}`", scope.escape_debug())))?;
    if let Some(name) = members.keys().next() {
        return Err(wrong(format!("has a member `{}`, which means nothing", name.escape_debug())));
    }
    if rule.starts_with(RESERVED) {
        return Err(wrong(format!("names its rule `{}`; `{RESERVED}` is the gate's own", rule.escape_debug())));
    }
    if reason.len() > REASON_BYTES_MAX {
        return Err(wrong(format!("gives a reason longer than {REASON_BYTES_MAX} bytes")));
    }
    let rule = RuleName::try_from(rule.as_str()).map_err(|error| wrong(format!("names no rule: {error}")))?;
    Ok(Finding { rule, reason, scope })
}

fn text_of_hidden(element: Answer) -> Result<String, Trouble> {
    match element {
        Answer::Text(name) => Ok(name),
        Answer::Object(_) | Answer::Set(_) | Answer::Other(_) => {
            Err(failed(format!("an element of `hidden` is {}, not the name of a tool", element.kind())))
        }
    }
}

fn failed(what: impl Into<String>) -> Trouble {
    Trouble::Evaluation(EvaluationError::Failed(what.into()))
}

// === impl Trouble ===

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Instructions => Self::Evaluation(EvaluationError::Instructions),
            Failure::Memory => Self::Unavailable(failure.to_string()),
            Failure::Error(what) => failed(what),
        }
    }
}

impl From<Inexact> for Trouble {
    fn from(inexact: Inexact) -> Self {
        failed(inexact.to_string())
    }
}

#[cfg(test)]
pub(crate) mod tests;
