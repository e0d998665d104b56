//! Calls, listed, shown and watched.

use crate::double::{Answers, json, text};
use agentgate_proto::v1;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

const AT: u64 = 1_795_374_352_123_000;

pub(crate) fn calls() -> Vec<v1::CallTrace> {
    let call = |sequence: u64, target: &str, verdict: v1::Verdict, rule: &str, reason: &str| v1::CallTrace {
        sequence,
        at_us: AT + sequence * 1_000_000,
        call_id: format!("000102030405060708090a0b0c0d0e0f-{sequence}"),
        tenant: "default".into(),
        principal: "spiffe://agentgate.local/agent/laptop".into(),
        server: "notes".into(),
        method: "tools/call".into(),
        target: target.into(),
        handle: "session-1".into(),
        verdict: verdict.into(),
        rule: rule.into(),
        reason: reason.into(),
        ..Default::default()
    };
    let mut read = call(1, "read_note", v1::Verdict::Allow, "tools.open", "read_note is open");
    read.set_outcome(v1::OutcomeKind::Completed);
    read.duration_us = Some(12_345);
    vec![
        call(4, "drop\u{202e}\n\u{1b}[2J", v1::Verdict::Deny, "tools.unknown", "no such tool"),
        call(3, "send_note", v1::Verdict::Pending, "tools.gated", "send_note needs approval"),
        call(2, "write_note", v1::Verdict::Deny, "arguments.path", "the path leaves the folder"),
        read,
    ]
}

pub(crate) fn shown() -> v1::ShowTraceResponse {
    let trace = calls()[2].clone();
    let origin = v1::Header { name: "origin".into(), value: "https://elsewhere.example\u{1b}".into() };
    let ask = v1::Ask {
        counter: 2,
        server: "notes".into(),
        head: Some(v1::Head { method: "POST".into(), path: "/mcp".into(), headers: vec![origin] }),
        body: r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"write_note","arguments":{"path":"../x\u001b[2J","n":1.00}}}"#.into(),
        ..Default::default()
    };
    let record =
        v1::OutcomeRecord { kind: v1::OutcomeKind::Failed.into(), http_status: 500, duration_us: 2_500, ..Default::default() };
    v1::ShowTraceResponse {
        decision: Some(v1::DecisionRecord {
            verdict: trace.verdict,
            step: "policy".into(),
            settle_version: 1,
            engine: "regorus 0.14.1 interpreter".into(),
            policy_digest: vec![0xab; 32].into(),
            enforced: true,
            ..Default::default()
        }),
        body: Some(v1::DecisionBody {
            asker: "spiffe://agentgate.local/filter/laptop".into(),
            scope: "write".into(),
            version: "2026-07-28".into(),
            ask: Some(ask),
            ..Default::default()
        }),
        outcomes: vec![v1::OutcomeEvent { sequence: 5, at_us: trace.at_us + 3_000, record: Some(record), body: None }],
        trace: Some(trace),
    }
}

#[test]
fn a_list_shows_calls_in_a_table() {
    let double = Answers { traces: calls(), ..Default::default() }.serve();
    let output = double.agentgate(&["trace", "list"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let table = text(&output.stdout);
    assert!(table.contains("notes/drop\\u{202e}\\n\\u{1b}[2J"), "{table}");
    assert!(!table.contains('\x1b'), "{table}");
    assert!(table.contains("12.3ms"), "{table}");
    assert_eq!(table.lines().count(), 7, "{table}");
}

#[test]
fn a_list_asks_for_what_its_filters_say_and_page_by_page() {
    let many: Vec<_> = (0..1_200).map(|at| v1::CallTrace { sequence: at, ..Default::default() }).collect();
    let double = Answers { traces: many, ..Default::default() }.serve();
    let output = double.agentgate(&[&["trace", "list", "--limit", "1100", "--output", "json"], FILTERS].concat());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let answer = json(&output);
    assert_eq!(answer["traces"].as_array().map(Vec::len), Some(1_100));
    assert_eq!(answer["next_page_token"], "1100");
    let asked = double.asked.lock().expect("unpoisoned");
    let pages: Vec<_> = asked.iter().map(|request| (request.page_size, request.page_token.as_str())).collect();
    assert_eq!(pages, [(500, ""), (500, "500"), (100, "1000")]);
    assert!(asked.iter().all(|request| request.filter == Some(filter()) && !request.oldest_first));
}

/// Every filter that list and tail share, and what the control plane is asked.
const FILTERS: &[&str] = &[
    "--tenant",
    "acme",
    "--principal",
    "spiffe://a/b",
    "--handle",
    "h",
    "--session",
    "s",
    "--server",
    "notes",
    "--tool",
    "t",
    "--method",
    "tools/call",
    "--verdict",
    "deny",
    "--rule",
    "r",
    "--outcome",
    "not_released",
    "--observed",
    "--calls",
];

fn filter() -> v1::TraceFilter {
    v1::TraceFilter {
        tenant: "acme".into(),
        principal: "spiffe://a/b".into(),
        handle: "h".into(),
        session: "s".into(),
        server: "notes".into(),
        tool: "t".into(),
        method: "tools/call".into(),
        verdict: v1::Verdict::Deny.into(),
        rule: "r".into(),
        outcome: Some(v1::OutcomeKind::NotReleased.into()),
        observed: Some(true),
        calls: true,
        ..v1::TraceFilter::default()
    }
}

#[test]
fn a_list_asks_for_a_time_an_order_and_a_page() {
    let many: Vec<_> = (0..1_200).map(|at| v1::CallTrace { sequence: at, ..Default::default() }).collect();
    let double = Answers { traces: many, ..Default::default() }.serve();
    let asked = |more: &[&str]| {
        let output = double.agentgate(&[&["trace", "list", "--output", "json"], more].concat());
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let mut asked = double.asked.lock().expect("unpoisoned");
        (json(&output), asked.drain(..).collect::<Vec<_>>())
    };
    let (_, at) = asked(&["--since", "2026-11-22T10:00:00Z", "--until", "2026-11-22T11:00:00Z", "--oldest", "--page", "7"]);
    let wanted =
        v1::TraceFilter { from_us: 1_795_341_600_000_000, until_us: 1_795_345_200_000_000, ..v1::TraceFilter::default() };
    assert_eq!((at[0].filter.as_ref(), at[0].oldest_first, at[0].page_token.as_str()), (Some(&wanted), true, "7"));
    let (_, ago) = asked(&["--since", "2h", "--until", "-1h"]);
    let ago = ago[0].filter.clone().expect("a filter");
    assert_eq!(ago.until_us - ago.from_us, 3_600_000_000);
    assert_eq!(
        asked(&["--enforced", "--outcome", "none"]).1[0].filter,
        Some(v1::TraceFilter { observed: Some(false), outcome: Some(0), ..v1::TraceFilter::default() })
    );
    assert_eq!(asked(&["--all"]).0["traces"].as_array().map(Vec::len), Some(1_200));
    for wrong in [&["--since", "yesterday"][..], &["--all", "--limit", "3"], &["--observed", "--enforced"], &["--limit", "0"]] {
        assert_eq!(double.agentgate(&[&["trace", "list"], wrong].concat()).status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn observed_calls_are_told_apart() {
    let call = |at: u64| v1::CallTrace { sequence: at, observed: at.is_multiple_of(3), verdict: 3, ..Default::default() };
    let double = Answers { traces: (0..4).map(call).collect(), ..Default::default() }.serve();
    let table = text(&double.agentgate(&["trace", "list"]).stdout);
    assert!(table.contains("(deny)") && table.contains("in parentheses: observed, not enforced"), "{table}");
}

#[test]
fn a_tail_asks_for_what_its_filters_say_and_goes_on_where_it_was() {
    let double = Answers { traces: calls(), told_at_once: Some(1), ..Default::default() }.serve();
    let output =
        double.agentgate(&[&["trace", "tail", "--patience", "1s", "--after", "9", "--output", "json"], FILTERS].concat());
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let of = |line: &str| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["sequence"].as_u64();
    let told: Vec<_> = text(&output.stdout).lines().filter_map(of).collect();
    assert_eq!(told, [4, 3, 2, 1, 1], "each once, and the one that ended once more");
    let followed = double.followed.lock().expect("unpoisoned");
    let after: Vec<_> = followed.iter().take(5).filter_map(|request| request.after_sequence).collect();
    assert_eq!(after, [9, 4, 3, 2, 1]);
    assert!(followed.iter().all(|request| request.filter == Some(filter())));
}

#[test]
fn a_call_that_waits_is_listed_with_its_approval() {
    let mut traces = calls();
    traces[1].approval = "0f1e2d3c4b5a69788796a5b4c3d2e1f0".into();
    // It used one, and waits for none.
    traces[3].approval = "ff".repeat(16);
    let double = Answers { traces, ..Default::default() }.serve();
    let list = text(&double.agentgate(&["trace", "list"]).stdout);
    assert!(list.contains("tools.gated [0f1e2d3c]") && list.contains("agentgate approve show ID"), "{list}");
    assert!(!list.contains("[ffffffff]"), "{list}");
    assert!(
        text(&double.agentgate(&["trace", "tail", "--patience", "1s"]).stdout)
            .contains("tools.gated [0f1e2d3c]: send_note needs approval")
    );
}

#[test]
fn an_observed_call_and_its_approval_are_shown() {
    let mut observed = shown();
    let trace = observed.trace.get_or_insert_default();
    trace.observed = true;
    trace.approval = "0f".repeat(16);
    let double = Answers { shown: Some(observed), ..Default::default() }.serve();
    let shown = text(&double.agentgate(&["trace", "show", "2"]).stdout);
    for line in [
        "  verdict      (deny)\n".to_owned(),
        "  enforced     no: it was only observed, and the call went on whatever the verdict\n".to_owned(),
        format!("  approval     {}\n", "0f".repeat(16)),
        "  next         agentgate explain 2\n".to_owned(),
    ] {
        assert!(shown.contains(&line), "{line} in\n{shown}");
    }
}

#[test]
fn an_empty_list_says_what_to_do() {
    let double = Answers::default().serve();
    for (arguments, said) in
        [(&["trace", "list"][..], "no call was recorded yet"), (&["trace", "list", "--tool", "x"], "no call matches")]
    {
        let output = double.agentgate(arguments);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(text(&output.stdout).contains(said), "{output:?}");
    }
}

#[test]
fn one_call_is_shown_in_full() {
    let double = Answers { shown: Some(shown()), ..Default::default() }.serve();
    let output = double.agentgate(&["trace", "show", "2"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let shown = text(&output.stdout);
    for line in [
        "  verdict      deny\n",
        "  rule         arguments.path\n",
        "  reason       the path leaves the folder\n",
        "  call id      000102030405060708090a0b0c0d0e0f-2\n",
        "  request      POST /mcp\n",
        "  origin       https://elsewhere.example\\u{1b}\n",
        "    \"path\": \"../x\\u{1b}[2J\",\n",
        "    \"n\": 1.00\n",
        &format!("  policy       {}\n", "ab".repeat(32)),
        "  #2           2026-11-22 19:05:54.123Z  decided: deny\n",
        "  #5           2026-11-22 19:05:54.126Z  +3.0ms  failed, HTTP 500, took 2.5ms\n",
    ] {
        assert!(shown.contains(line), "{line} in\n{shown}");
    }
    assert!(!shown.contains('\x1b'));
}

#[test]
fn one_call_for_programs_has_the_contracts_names() {
    let double = Answers { shown: Some(shown()), ..Default::default() }.serve();
    let answer = json(&double.agentgate(&["trace", "show", "2", "--output", "json"]));
    for (pointer, value) in [
        ("/trace/verdict", "deny"),
        ("/trace/at", "2026-11-22T19:05:54.123Z"),
        ("/decision/step", "policy"),
        ("/decision/engine", "regorus 0.14.1 interpreter"),
        ("/body/scope", "write"),
        ("/body/ask/path", "/mcp"),
        ("/outcomes/0/kind", "failed"),
    ] {
        assert_eq!(answer.pointer(pointer).and_then(|value| value.as_str()), Some(value), "{pointer} in {answer}");
    }
    assert!(answer["trace"]["outcome"].is_null());
}

#[test]
fn an_erased_body_is_said_and_not_guessed() {
    let erased = v1::ShowTraceResponse { body: None, outcomes: vec![], ..shown() };
    let double = Answers { shown: Some(erased), ..Default::default() }.serve();
    let shown = text(&double.agentgate(&["trace", "show", "2"]).stdout);
    assert!(shown.contains("the body of this record was erased"), "{shown}");
    assert!(shown.contains("the call was not sent on"), "{shown}");
}

/// What a control plane tells of a call whose session was purged.
fn purged(outcomes: Vec<v1::OutcomeEvent>) -> v1::ShowTraceResponse {
    let left = v1::CallTrace { sequence: 2, at_us: AT, verdict: v1::Verdict::Allow.into(), ..Default::default() };
    let mut left = v1::CallTrace { session: "5f".repeat(16), ..left };
    if let Some(record) = outcomes.first().and_then(|event| event.record.as_ref()) {
        (left.outcome, left.duration_us) = (record.kind, Some(record.duration_us));
    }
    v1::ShowTraceResponse { trace: Some(left), body: None, outcomes, ..shown() }
}

#[test]
fn of_a_purged_call_what_its_records_say_is_shown_and_the_rest_is_erased() {
    let mut ended = shown().outcomes;
    ended[0].record.as_mut().expect("a record").body = Some(v1::BodyRef::default());
    for (outcomes, said, unsaid) in [
        (ended, &["failed, HTTP 500, took 2.5ms", "what was said of it is erased"][..], "no outcome"),
        (vec![], &["no outcome is on record"], "yet"),
    ] {
        let has_outcome = !outcomes.is_empty();
        let purged = purged(outcomes);
        let traces = purged.trace.clone().into_iter().collect();
        let double = Answers { traces, shown: Some(purged), ..Default::default() }.serve();
        let shown = text(&double.agentgate(&["trace", "show", "2"]).stdout);
        assert!(said.iter().all(|said| shown.contains(said)) && !shown.contains(unsaid), "{shown}");
        assert!(shown.contains("  erased       who called what, and why it was decided so\n"), "{shown}");
        let list = text(&double.agentgate(&["trace", "list"]).stdout);
        assert!(list.contains("allow    (erased)") && list.matches("(erased)").count() == 2, "{list}");
        let list = json(&double.agentgate(&["trace", "list", "--output", "json"]));
        let line = &list["traces"][0];
        assert_eq!(line["erased"], true);
        for name in ["call_id", "tenant", "principal", "server", "method", "target", "handle", "rule", "reason"] {
            assert!(line[name].is_null(), "{name} in {line}");
        }
        let shown = json(&double.agentgate(&["trace", "show", "2", "--output", "json"]));
        assert_eq!(shown["trace"]["duration_us"], if has_outcome { 2_500.into() } else { serde_json::Value::Null });
        assert_eq!(shown["outcomes"].as_array().map(|all| all.iter().all(|one| one["erased"] == true)), Some(true));
    }
    let kept = Answers { traces: calls(), ..Default::default() }.serve();
    let list = json(&kept.agentgate(&["trace", "list", "--output", "json"]));
    assert!(list["traces"].as_array().is_some_and(|lines| lines.iter().all(|line| line["erased"] == false)), "{list}");
}

#[test]
fn a_tail_writes_one_line_a_call_and_says_when_the_other_side_leaves() {
    let double = Answers { traces: calls(), ..Default::default() }.serve();
    let output = double.agentgate(&["trace", "tail", "--patience", "1s"]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let lines = text(&output.stdout);
    assert_eq!(lines.lines().count(), 5, "{lines}");
    assert!(lines.contains("     1  19:05:53.123Z  allow      notes/read_note"), "{lines}");
    assert!(lines.ends_with("  ended      notes/read_note                   completed, took 12.3ms\n"), "{lines}");
    assert!(!lines.contains('\x1b'), "{lines}");
    assert!(text(&output.stderr).contains("the control plane ended the tail"), "{output:?}");

    let output = double.agentgate(&["trace", "tail", "--patience", "1s", "--output", "json"]);
    let lines: Vec<serde_json::Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    for (line, call) in lines.iter().zip(calls()) {
        assert_eq!((&line["sequence"], &line["event"]), (&call.sequence.into(), &"decided".into()));
        assert_eq!(line["target"], call.target, "programs get the exact text");
        assert!(line["outcome"].is_null() && line["duration_us"].is_null(), "{line}");
    }
    let ended = lines.last().expect("a line");
    assert_eq!(
        [&ended["event"], &ended["outcome"], &ended["sequence"]],
        [&"ended".into(), &"completed".into(), &serde_json::json!(1)]
    );
    assert_eq!(lines.len(), 5);
}

#[test]
fn a_flood_is_one_line_that_says_how_many() {
    let flood = v1::Flood { count: 1_204, from_us: AT, to_us: AT + 10_000_000 };
    let flood = v1::CallTrace {
        sequence: 5,
        principal: "spiffe://agentgate.local/agent/laptop".into(),
        verdict: v1::Verdict::Deny.into(),
        rule: "gate.batch".into(),
        flood: Some(flood),
        ..Default::default()
    };
    let shown = v1::ShowTraceResponse { trace: Some(flood.clone()), ..Default::default() };
    let double = Answers { traces: vec![flood], shown: Some(shown), ..Default::default() }.serve();
    let list = text(&double.agentgate(&["trace", "list"]).stdout);
    assert!(list.contains("×1,204 in 10s  gate.batch") && list.contains("1,204 calls in 1 line"), "{list}");
    let one = text(&double.agentgate(&["trace", "show", "5"]).stdout);
    assert!(one.contains("  calls        ×1,204 in 10s\n") && !one.contains("erased"), "{one}");
    let answer = json(&double.agentgate(&["trace", "list", "--output", "json"]));
    let wanted = serde_json::json!({ "count": 1_204, "from": "2026-11-22T19:05:52.123Z", "to": "2026-11-22T19:06:02.123Z" });
    assert_eq!(answer["traces"][0]["flood"], wanted);
}

#[test]
fn a_tail_ends_well_at_ctrl_c_and_when_its_reader_leaves() {
    let double = Answers { traces: calls(), endless: true, ..Default::default() }.serve();
    for interrupt in [true, false] {
        let mut child = double.command("operator-me", &["trace", "tail"]).stdout(Stdio::piped()).spawn().expect("it runs");
        let mut lines = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        lines.read_line(&mut line).expect("a line");
        assert!(line.contains("deny"), "{line}");
        if interrupt {
            let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs");
            assert!(sent.success());
        } else {
            // The double goes on speaking, and at the next line the tail notices.
            drop(lines);
        }
        assert_eq!(child.wait().expect("it ends").code(), Some(0), "interrupted: {interrupt}");
    }
}
