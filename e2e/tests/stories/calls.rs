//! One call at a time, with a client and a server that we did not write, in both eras: allowed, pending, refused, unknown, and the list.

use agentgate_e2e::{Mode, World, WorldPlan, eventually};
use serde_json::{Value, json};

/// What the client should make of one call.
struct Case {
    tool: &'static str,
    arguments: Value,
    verdict: &'static str,
    rule: &'static str,
}

fn cases() -> [Case; 7] {
    let case = |tool, arguments, verdict, rule| Case { tool, arguments, verdict, rule };
    [
        case("read_note", json!({"id": 1}), "allow", "tool_open"),
        case("search_notes", json!({"query": "gate"}), "allow", "tool_open"),
        case("search_notes", json!({"query": "Password list"}), "deny", "forbidden_query"),
        case("add_note", json!({"title": "a", "text": "b"}), "pending", "tool_gated"),
        case("send_note", json!({"id": 1, "to": "someone@elsewhere.net"}), "deny", "recipient_outside"),
        case("delete_note", json!({"id": 1}), "deny", "tool_blocked"),
        case("no_such_tool", json!({}), "deny", "unknown_tool"),
    ]
}

#[test]
fn a_stateless_client_gets_what_the_policy_says_and_the_trace_tells_it() {
    check(Mode::Auto, "2026-07-28");
}

#[test]
fn a_session_client_gets_what_the_policy_says_and_the_trace_tells_it() {
    check(Mode::Legacy, "2025-11-25");
}

fn check(mode: Mode, version: &str) {
    let world = World::notes().unwrap();
    let mut client = world.client(mode).unwrap();
    assert_eq!(client.version, version);
    for case in cases() {
        let answer = client.call(case.tool, &case.arguments).unwrap();
        let told = &answer["meta"]["agentgate/verdict"];
        let trace = world.newest_trace(case.tool).unwrap();
        assert_eq!((&trace["verdict"], &trace["rule"]), (&json!(case.verdict), &json!(case.rule)), "{}: {trace}", case.tool);
        if case.verdict == "allow" {
            assert_eq!((&answer["is_error"], told), (&json!(false), &Value::Null), "{}: {answer}", case.tool);
            let ended = eventually(format_args!("the outcome of {} is on record", case.tool), || {
                world.newest_trace(case.tool).ok().filter(|trace| !trace["outcome"].is_null())
            });
            // However soon the client left the stream that carried its answer.
            assert_eq!(ended.unwrap()["outcome"], "completed", "{}", case.tool);
        } else {
            assert_eq!((&answer["is_error"], &told["verdict"]), (&json!(true), &json!(case.verdict)), "{}: {answer}", case.tool);
            assert_eq!((&told["rule"], &told["call_id"]), (&trace["rule"], &trace["call_id"]), "{}: {answer}", case.tool);
        }
    }
}

#[test]
fn without_the_gate_every_one_of_these_calls_is_carried_out() {
    let world = World::notes().unwrap();
    let mut client = world.client_without_gate(Mode::Auto).unwrap();
    let known: Vec<Case> = cases().into_iter().filter(|case| case.rule != "unknown_tool").collect();
    for case in known {
        let answer = client.call(case.tool, &case.arguments).unwrap();
        assert_eq!(answer["is_error"], false, "{}: {answer}", case.tool);
    }
}

#[test]
fn a_list_shows_what_is_allowed_or_can_be_approved_in_json_and_in_events() {
    let shown = json!(["list_notes", "read_note", "search_notes", "add_note", "send_note", "slow_report"]);
    for options in [&[][..], &["--json"]] {
        let world = WorldPlan::notes(options).unwrap().start().unwrap();
        for mode in [Mode::Auto, Mode::Legacy] {
            let tools = world.client(mode).unwrap().tools().unwrap();
            assert_eq!(tools["tools"], shown, "{options:?} {mode:?}");
            let without = world.client_without_gate(mode).unwrap().tools().unwrap();
            assert_eq!(without["tools"].as_array().unwrap().len(), 7, "{options:?} {mode:?}");
        }
    }
}

#[test]
fn progress_comes_before_the_result_in_both_eras() {
    let world = World::notes().unwrap();
    for mode in [Mode::Auto, Mode::Legacy] {
        let answer = world.client(mode).unwrap().call("slow_report", &json!({})).unwrap();
        assert_eq!((&answer["progress"], &answer["text"]), (&json!([1.0, 2.0, 3.0]), &json!("3 notes")), "{mode:?}: {answer}");
    }
}
