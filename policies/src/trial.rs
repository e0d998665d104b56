//! Trial: a bundle's cases, settled by the same law as any call. There is no other way to pass.

use crate::bundle::Bundle;
use crate::cases::{Case, Want};
use crate::evaluator::{Evaluator, Trouble};
use crate::table::scope_name;
use agentgate_core::decide::{Decision, Facts, Scope, Verdict, settle};

/// What came of a bundle's cases.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CaseReport {
    pub rows: Vec<CaseRow>,
    pub coverage: Vec<Coverage>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseRow {
    pub file: String,
    pub line: usize,
    pub name: String,
    /// What was wanted and what came instead, if it did not pass.
    pub failure: Option<String>,
}

/// The lines of one file of Rego that hold something to evaluate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage {
    pub file: String,
    pub reached: usize,
    /// Lines that no case reached, in order.
    pub missed: Vec<u32>,
}

// === impl Bundle ===

impl Bundle {
    /// Tries all cases on one fresh evaluator and says which lines of Rego they reached.
    #[must_use]
    pub fn try_cases(&self) -> CaseReport {
        let mut evaluator = match Evaluator::new(self) {
            Ok(evaluator) => evaluator,
            Err(error) => {
                let failed = |case| CaseRow::new(case, Some(error.to_string()));
                return CaseReport { rows: self.all_cases().iter().map(failed).collect(), coverage: Vec::new() };
            }
        };
        evaluator.watch_lines();
        let rows = self.all_cases().iter().map(|case| CaseRow::new(case, try_on(&mut evaluator, case).err())).collect();
        let lines = evaluator.lines().unwrap_or_default();
        let coverage = lines
            .into_iter()
            .map(|lines| Coverage { file: lines.path, reached: lines.reached.len(), missed: lines.missed })
            .collect();
        CaseReport { rows, coverage }
    }
}

// === impl CaseReport ===

impl CaseReport {
    /// Whether every case came out as wanted.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.failed() == 0
    }

    #[must_use]
    pub fn failed(&self) -> usize {
        self.rows.iter().filter(|row| row.failure.is_some()).count()
    }
}

// === impl CaseRow ===

impl CaseRow {
    fn new(case: &Case, failure: Option<String>) -> Self {
        Self { file: case.file.clone(), line: case.line, name: case.name.clone(), failure }
    }
}

fn try_on(evaluator: &mut Evaluator, case: &Case) -> Result<(), String> {
    match &case.want {
        Want::Hidden { list, hidden } => {
            let came = evaluator.hidden(&case.facts, list).map_err(|trouble| trouble.to_string())?;
            if came == *hidden { Ok(()) } else { Err(format!("wanted `{hidden:?}` hidden, but hidden are `{came:?}`")) }
        }
        Want::Decision { verdict, rule, reason, scope } => {
            let decision = decide(evaluator, &case.facts)?;
            compare((verdict, rule), reason.as_deref(), *scope, &decision)
        }
    }
}

fn compare(wanted: (&str, &str), reason: Option<&str>, scope: Option<Scope>, decision: &Decision) -> Result<(), String> {
    let came = (verdict_name(decision.verdict), decision.rule.as_str());
    let told = |reason: &str| decision.reason == reason;
    let agrees = scope.is_none_or(|scope| decision.scope == Some(scope)) && reason.is_none_or(told);
    if wanted == came && agrees {
        return Ok(());
    }
    let scope = decision.scope.map_or("none", scope_name);
    let (verdict, by) = came;
    Err(format!("wanted `{}` by `{}`, came `{verdict}` by `{by}` (scope {scope}): {}", wanted.0, wanted.1, decision.reason))
}

pub(crate) fn decide(evaluator: &mut Evaluator, facts: &Facts) -> Result<Decision, String> {
    match evaluator.opinion(facts) {
        Ok(opinion) => Ok(settle(facts, Ok(&opinion))),
        Err(Trouble::Evaluation(error)) => Ok(settle(facts, Err(&error))),
        Err(Trouble::Unavailable(why)) => Err(why),
    }
}

pub(crate) const fn verdict_name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Allow(_) => "allow",
        Verdict::Pending => "pending",
        Verdict::Deny(_) => "deny",
    }
}

#[cfg(test)]
mod tests;
