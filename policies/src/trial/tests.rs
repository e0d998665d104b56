//! Cases that pass, cases that fail, and what the report says of them.

use super::CaseReport;
use crate::evaluator::tests::bundle;

const REGO: &str = r#"package agentgate.platform

allow contains {"rule": "a_tool", "reason": "it is a", "scope": "read"} if input.tool == "a"

require_approval contains {"rule": "b_tool", "reason": "it is b"} if {
	input.tool == "b"
	input.arguments.n > 1
}

deny contains {"rule": "late", "reason": input.at} if input.at_us > 1800000000000000

deny contains {"rule": "broken", "reason": "x"} if startswith(input.arguments.text, "rm")

hidden contains tool if {
	some tool in input.list.tools
	tool == "c"
}
"#;

fn try_cases(cases: &str) -> CaseReport {
    bundle(&[("rego/a.rego", REGO), ("cases/a.yaml", cases)]).try_cases()
}

/// One case, with how its failure is told.
fn check(given: &str, want: &str, told: Option<&str>) {
    let report = try_cases(&format!("- name: x\n  given: {{ server: notes, {given} }}\n  want: {{ {want} }}\n"));
    let failure = report.rows[0].failure.as_deref();
    match (failure, told) {
        (None, None) => assert!(report.passed()),
        (Some(failure), Some(told)) => {
            assert!(failure.contains(told), "{given}: {failure}");
            assert!(!report.passed());
        }
        _ => panic!("{given} → {want}: {failure:?}"),
    }
}

#[test]
fn a_case_passes_only_when_all_that_it_wants_came() {
    const A: &str = "method: tools/call, tool: a";
    for (given, want, told) in [
        (A, "verdict: allow, rule: a_tool", None),
        (A, "verdict: allow, rule: a_tool, scope: read, reason: it is a", None),
        (A, "verdict: deny, rule: a_tool", Some("wanted `deny` by `a_tool`, came `allow` by `a_tool` (scope read): it is a")),
        (A, "verdict: allow, rule: b_tool", Some("came `allow` by `a_tool`")),
        (A, "verdict: allow, rule: a_tool, scope: write", Some("(scope read)")),
        (A, "verdict: allow, rule: a_tool, reason: else", Some("it is a")),
        ("method: tools/call, tool: b, arguments: { n: 2 }", "verdict: pending, rule: b_tool", None),
        ("method: tools/call, tool: b, arguments: { n: 2 }", "verdict: pending, rule: b_tool, scope: read", Some("(scope none)")),
        ("method: tools/call, tool: b, arguments: { n: 1 }", "verdict: deny, rule: gate.unmatched", None),
        ("method: tools/call, tool: b, params: { arguments: { n: 2 } }", "verdict: pending, rule: b_tool", None),
        ("method: ping", "verdict: deny, rule: gate.unmatched", None),
        (
            "method: tools/call, tool: a, at_us: 1800000000000001",
            "verdict: deny, rule: late, reason: \"2027-01-15T08:00:00.000Z\"",
            None,
        ),
        ("method: tools/call, tool: a, arguments: { text: 1 }", "verdict: deny, rule: gate.policy_failed", None),
        ("method: tools/call, tool: a, arguments: { text: rm }", "verdict: deny, rule: broken", None),
        ("method: tools/call, tool: b, arguments: { n: 18446744073709551617 }", "verdict: deny, rule: gate.policy_failed", None),
        ("method: tools/list, list: [a, b, c]", "hidden: [c]", None),
        ("method: tools/list, list: [a, b, c]", "hidden: []", Some("wanted `[]` hidden, but hidden are `[\"c\"]`")),
    ] {
        check(given, want, told);
    }
}

#[test]
fn the_report_names_every_case_and_every_line_that_none_reached() {
    let report = try_cases(
        "- name: one\n  given: { server: notes, method: tools/call, tool: a }\n  want: { verdict: allow, rule: a_tool }\n\n\
         - name: two\n  given: { server: notes, method: ping }\n  want: { verdict: allow, rule: a_tool }\n",
    );
    let rows: Vec<_> =
        report.rows.iter().map(|row| (row.file.as_str(), row.line, row.name.as_str(), row.failure.is_some())).collect();
    assert_eq!(rows, [("cases/a.yaml", 1, "one", false), ("cases/a.yaml", 5, "two", true)]);
    assert_eq!((report.passed(), report.failed()), (false, 1));
    let [coverage] = report.coverage.as_slice() else { panic!("{:?}", report.coverage) };
    assert_eq!(coverage.file, "rego/a.rego");
    // The second condition of `b_tool` and the body of `hidden`.
    assert!(coverage.missed.contains(&7) && coverage.missed.contains(&16), "{coverage:?}");
    assert!(coverage.reached > 3 && !coverage.missed.contains(&3), "{coverage:?}");
}

#[test]
fn a_policy_without_cases_has_nothing_to_fail() {
    let report = bundle(&[("rego/a.rego", REGO)]).try_cases();
    assert!(report.passed() && report.rows.is_empty());
    assert_eq!(report.coverage.len(), 0);
}
