//! One call, or a flood of them, in one line; and the words of verdicts and outcomes. Shared by list, show and tail.

use crate::moment::{brief, grouped, relative, span};
use crate::output::moment_json;
use crate::screen::{Palette, Screen};
use crate::table::{Cell, Column};
use agentgate_core::time::Time;
use agentgate_proto::v1::{CallTrace, Flood, OutcomeKind, Verdict};
use serde_json::{Value, json};

/// A call and a rule of ordinary length are seen whole before anything else is; what is longer takes the room that is left.
const CALL_COLUMNS: usize = 32;
const RULE_COLUMNS: usize = 24;

/// So much of an approval's id is quoted by people, and as a rule is unique.
const APPROVAL_DIGITS: usize = 8;

/// The columns of a list, in the order of [`cells`]. Verdict, call and rule are the last to go.
pub const COLUMNS: [Column; 9] = [
    Column::right("SEQ", u8::MAX),
    Column::whole("TIME", 6),
    Column::whole("AGE", 1),
    Column::whole("VERDICT", u8::MAX),
    Column::cut("CALL", u8::MAX).wishing(CALL_COLUMNS),
    Column::cut("RULE", u8::MAX).wishing(RULE_COLUMNS),
    Column::whole("OUTCOME", 8),
    Column::right("TOOK", 4),
    Column::cut("PRINCIPAL", 5),
];

/// The trust domain that all of these principals share, so that it need not be read on every line.
#[must_use]
pub fn shared_domain<'a>(principals: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let mut domains = principals.into_iter().map(domain);
    let first = domains.next().flatten()?;
    domains.all(|other| other == Some(first)).then_some(first)
}

#[must_use]
pub fn cells(trace: &CallTrace, shared_domain: Option<&str>, now: Time, screen: &Screen) -> Vec<Cell> {
    let (verdict, palette) = spoken(trace);
    let outcome_name = outcome(trace.outcome());
    vec![
        Cell::new(Palette::Dim, trace.sequence.to_string()),
        Cell::plain(brief(now, trace.at_us)),
        Cell::new(Palette::Dim, relative(now, trace.at_us)),
        Cell::new(palette, verdict),
        Cell::plain(call(trace, screen)),
        Cell::plain(rule(trace)),
        Cell::new(outcome_palette(trace.outcome()), outcome_name.unwrap_or("-")),
        Cell::new(Palette::Dim, trace.duration_us.map_or_else(|| "-".to_owned(), span)),
        Cell::plain(if is_erased(trace) { ERASED.to_owned() } else { short(&trace.principal, shared_domain) }),
    ]
}

/// What stands where a name stood.
const ERASED: &str = "(erased)";

/// Whether what its body said is erased: a call without a caller was never recorded.
#[must_use]
pub const fn is_erased(trace: &CallTrace) -> bool {
    trace.principal.is_empty()
}

/// Everything, under the contract's names.
#[must_use]
pub fn to_json(trace: &CallTrace) -> Value {
    json!({
        "sequence": trace.sequence,
        "at": moment_json(trace.at_us),
        "call_id": absent(&trace.call_id),
        "tenant": absent(&trace.tenant),
        "principal": absent(&trace.principal),
        "server": absent(&trace.server),
        "method": absent(&trace.method),
        "target": absent(&trace.target),
        "handle": absent(&trace.handle),
        "verdict": verdict(trace.verdict()).0,
        "rule": absent(&trace.rule),
        "reason": absent(&trace.reason),
        "outcome": outcome(trace.outcome()),
        "duration_us": trace.duration_us,
        "flood": trace.flood.as_ref().map(flood_json),
        "observed": trace.observed,
        "approval": absent(&trace.approval),
        "no_outcome": trace.no_outcome,
        "session": absent(&trace.session),
        "erased": is_erased(trace),
    })
}

fn flood_json(flood: &Flood) -> Value {
    json!({ "count": flood.count, "from": moment_json(flood.from_us), "to": moment_json(flood.to_us) })
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

/// What the parentheses of [`spoken`] mean.
pub const OBSERVED: &str = "in parentheses: observed, not enforced";

/// A verdict as a line tells it: in parentheses where the call went on whatever it said.
#[must_use]
pub fn spoken(trace: &CallTrace) -> (String, Palette) {
    let (name, palette) = verdict(trace.verdict());
    if !trace.observed {
        return (name.to_owned(), palette);
    }
    // Nothing was let through and nothing was stopped by it.
    let palette = if trace.verdict() == Verdict::Allow { Palette::Dim } else { Palette::Waiting };
    (format!("({name})"), palette)
}

/// What the brackets of [`rule`] hold.
pub const WAITS: &str = "in brackets: the approval that it waits for, agentgate approve show ID";

/// The rule that decided, and where it had the call wait the beginning of the approval's id.
#[must_use]
pub fn rule(trace: &CallTrace) -> String {
    match waits_for(trace) {
        Some(approval) => format!("{} [{approval}]", trace.rule),
        None => trace.rule.clone(),
    }
}

/// The beginning of the id of the approval that this call waits for.
#[must_use]
pub fn waits_for(trace: &CallTrace) -> Option<&str> {
    let waits = trace.verdict() == Verdict::Pending;
    absent(&trace.approval).filter(|_| waits).map(|approval| approval.get(..APPROVAL_DIGITS).unwrap_or(approval))
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

/// What was called, where: `notes/read_note` for a tool, `notes tools/list` for anything else. A flood says how many.
#[must_use]
pub fn call(trace: &CallTrace, screen: &Screen) -> String {
    if let Some(flood) = &trace.flood {
        return times(flood, screen);
    }
    if is_erased(trace) {
        return ERASED.to_owned();
    }
    named(&trace.server, &trace.method, &trace.target)
}

/// The same of names alone.
#[must_use]
pub fn named(server: &str, method: &str, target: &str) -> String {
    match (server, method, target) {
        // Its names are not told.
        ("", _, _) => "-".to_owned(),
        (server, "tools/call", target) if !target.is_empty() => format!("{server}/{target}"),
        (server, "", _) => format!("{server} (unreadable)"),
        (server, method, "") => format!("{server} {method}"),
        (server, method, target) => format!("{server} {method} {target}"),
    }
}

/// `×1,204 in 10s`.
#[must_use]
pub fn times(flood: &Flood, screen: &Screen) -> String {
    let lasted = flood.to_us.saturating_sub(flood.from_us);
    let when = if lasted == 0 { "at once".to_owned() } else { format!("in {}", span(lasted)) };
    format!("{}{} {when}", screen.sign("×", "x"), grouped(flood.count))
}

/// How many calls these lines stand for.
#[must_use]
pub fn counted(traces: &[CallTrace]) -> u64 {
    traces.iter().map(|trace| trace.flood.as_ref().map_or(1, |flood| flood.count)).sum()
}

fn domain(principal: &str) -> Option<&str> {
    principal.strip_prefix("spiffe://").and_then(|rest| rest.split_once('/')).map(|(domain, _)| domain)
}

/// A principal without `spiffe://`, and without the domain that all share.
#[must_use]
pub fn short(principal: &str, shared_domain: Option<&str>) -> String {
    let rest = principal.strip_prefix("spiffe://").unwrap_or(principal);
    let path = shared_domain.and_then(|domain| rest.strip_prefix(domain)).and_then(|path| path.strip_prefix('/'));
    path.unwrap_or(rest).to_owned()
}

#[cfg(test)]
mod tests {
    use super::{shared_domain, short};

    fn check(principals: &[&str], shown: &[&str]) {
        let domain = shared_domain(principals.iter().copied());
        let short: Vec<String> = principals.iter().map(|principal| short(principal, domain)).collect();
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
