//! One call in one line, and the words of verdicts and outcomes. Shared by list, show and tail.

use crate::moment::{brief, relative, span};
use crate::output::moment_json;
use crate::screen::Palette;
use crate::table::{Cell, Column};
use agentgate_core::time::Time;
use agentgate_proto::v1::{CallTrace, OutcomeKind, Verdict};
use serde_json::{Value, json};

/// The columns of a list and of a tail, in the order of [`cells`].
pub const COLUMNS: [Column; 9] = [
    Column::right("SEQ", u8::MAX),
    Column::whole("TIME", 6),
    Column::whole("AGE", 1),
    Column::whole("VERDICT", u8::MAX),
    Column::cut("CALL", u8::MAX),
    Column::cut("RULE", 9),
    Column::whole("OUTCOME", 8),
    Column::right("TOOK", 4),
    Column::cut("PRINCIPAL", 5),
];

/// The trust domain that all of these principals share, so that it need not be read on every line.
#[must_use]
pub fn shared_domain(traces: &[CallTrace]) -> Option<&str> {
    let mut domains = traces.iter().map(|trace| domain(&trace.principal));
    let first = domains.next().flatten()?;
    domains.all(|other| other == Some(first)).then_some(first)
}

#[must_use]
pub fn cells(trace: &CallTrace, shared_domain: Option<&str>, now: Time) -> Vec<Cell> {
    let (verdict, palette) = verdict(trace.verdict());
    let outcome_name = outcome(trace.outcome());
    let took = trace.duration_us.map(span).unwrap_or_default();
    vec![
        Cell::new(Palette::Dim, trace.sequence.to_string()),
        Cell::plain(brief(now, trace.at_us)),
        Cell::new(Palette::Dim, relative(now, trace.at_us)),
        Cell::new(palette, verdict),
        Cell::plain(call(trace)),
        Cell::plain(trace.rule.clone()),
        Cell::new(outcome_palette(trace.outcome()), outcome_name.unwrap_or("-")),
        Cell::new(Palette::Dim, took),
        Cell::plain(short(&trace.principal, shared_domain)),
    ]
}

/// Everything, under the contract's names.
#[must_use]
pub fn to_json(trace: &CallTrace) -> Value {
    json!({
        "sequence": trace.sequence,
        "at": moment_json(trace.at_us),
        "call_id": trace.call_id,
        "tenant": trace.tenant,
        "principal": trace.principal,
        "server": trace.server,
        "method": trace.method,
        "target": absent(&trace.target),
        "handle": absent(&trace.handle),
        "verdict": verdict(trace.verdict()).0,
        "rule": trace.rule,
        "reason": trace.reason,
        "outcome": outcome(trace.outcome()),
        "duration_us": trace.duration_us,
    })
}

/// A verdict's name and what it means for who reads it. What is not a verdict is shown as the refusal that it was.
#[must_use]
pub const fn verdict(verdict: Verdict) -> (&'static str, Palette) {
    match verdict {
        Verdict::Allow => ("allow", Palette::Good),
        Verdict::Pending => ("pending", Palette::Waiting),
        Verdict::Deny => ("deny", Palette::Bad),
        Verdict::Unspecified => ("unreadable", Palette::Bad),
    }
}

/// An outcome's name; none where there is none yet, or none to come.
#[must_use]
pub const fn outcome(kind: OutcomeKind) -> Option<&'static str> {
    match kind {
        OutcomeKind::Unspecified => None,
        OutcomeKind::Completed => Some("completed"),
        OutcomeKind::Failed => Some("failed"),
        OutcomeKind::Cut => Some("cut"),
        OutcomeKind::NotReleased => Some("not_released"),
        OutcomeKind::Withheld => Some("withheld"),
        OutcomeKind::Unknown => Some("unknown"),
    }
}

#[must_use]
pub const fn outcome_palette(kind: OutcomeKind) -> Palette {
    match kind {
        OutcomeKind::Unspecified => Palette::Dim,
        OutcomeKind::Completed => Palette::Good,
        OutcomeKind::Failed | OutcomeKind::Withheld | OutcomeKind::Unknown => Palette::Bad,
        OutcomeKind::Cut | OutcomeKind::NotReleased => Palette::Waiting,
    }
}

#[must_use]
pub fn absent(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

/// What was called, where: `notes/read_note` for a tool, `notes tools/list` for anything else.
pub fn call(trace: &CallTrace) -> String {
    match (trace.method.as_str(), trace.target.as_str()) {
        ("tools/call", target) if !target.is_empty() => format!("{}/{target}", trace.server),
        ("", _) => format!("{} (unreadable)", trace.server),
        (method, "") => format!("{} {method}", trace.server),
        (method, target) => format!("{} {method} {target}", trace.server),
    }
}

fn domain(principal: &str) -> Option<&str> {
    principal.strip_prefix("spiffe://").and_then(|rest| rest.split_once('/')).map(|(domain, _)| domain)
}

fn short(principal: &str, shared_domain: Option<&str>) -> String {
    let rest = principal.strip_prefix("spiffe://").unwrap_or(principal);
    let path = shared_domain.and_then(|domain| rest.strip_prefix(domain)).and_then(|path| path.strip_prefix('/'));
    path.unwrap_or(rest).to_owned()
}

#[cfg(test)]
mod tests {
    use super::{CallTrace, shared_domain, short};

    fn check(principals: &[&str], shown: &[&str]) {
        let trace = |principal: &&str| CallTrace { principal: (*principal).to_owned(), ..Default::default() };
        let traces: Vec<CallTrace> = principals.iter().map(trace).collect();
        let domain = shared_domain(&traces);
        let short: Vec<String> = traces.iter().map(|trace| short(&trace.principal, domain)).collect();
        assert_eq!(short, shown);
    }

    #[test]
    fn a_trust_domain_is_left_out_only_where_all_share_it() {
        check(&["spiffe://a/x", "spiffe://a/y/z"], &["x", "y/z"]);
        check(&["spiffe://a/x", "spiffe://b/x"], &["a/x", "b/x"]);
        check(&["spiffe://a/x", "spiffe://ab/x"], &["a/x", "ab/x"]);
        check(&["spiffe://a/x", "somebody"], &["a/x", "somebody"]);
        check(&[], &[]);
    }
}
