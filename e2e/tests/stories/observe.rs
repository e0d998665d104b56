//! A route that observes: nothing changes for anybody, everything is on record, and one command makes it obey and lets it go again.

use crate::wire::{HEADERS, RESULT, post};
use agentgate_e2e::http1::{Answer, request};
use agentgate_e2e::upstream::{Protocol, Reply};
use agentgate_e2e::{Edit, World, WorldPlan, eventually};
use serde_json::Value;

const ROUTE: &str = r#""routes": [ { "path": "/mcp", "server": "notes" } ]"#;
const OBSERVING: &str = r#""routes": [ { "path": "/mcp", "server": "notes", "mode": "observe" } ]"#;

fn observing() -> WorldPlan {
    let mut plan = WorldPlan::recorder(Protocol::Http1, |_| Reply::json(RESULT)).unwrap();
    plan.stack.edits.push(Edit::new(ROUTE, OBSERVING));
    plan
}

fn world() -> World {
    observing().start().unwrap()
}

fn call(tool: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}","arguments":{{"id":1}}}}}}"#)
}

fn calls(world: &World, tool: &str) -> Answer {
    world.http1(&post(&call(tool))).unwrap()
}

/// Whether the call reached the tool, and nothing but it.
fn passes(world: &World, tool: &str) -> bool {
    let answer = calls(world, tool);
    let (arrived, _) = world.upstream().unwrap().take();
    let through = answer.text() == RESULT;
    assert_eq!(arrived.len(), usize::from(through), "{tool}: {answer:?}");
    through
}

/// Every observed call with its verdict, rule and outcome, once all have ended.
fn on_record(world: &World, wanted: usize) -> Vec<(String, String, String)> {
    let traces = eventually(format_args!("{wanted} calls are on record"), || {
        let traces = world.traces().ok()?;
        let ended = traces.iter().filter(|trace| trace["observed"] == true && trace["outcome"] != Value::Null).count();
        (ended == wanted).then_some(traces)
    });
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut lines: Vec<_> =
        traces.unwrap().iter().map(|trace| (text(&trace["verdict"]), text(&trace["rule"]), text(&trace["outcome"]))).collect();
    lines.sort();
    lines
}

#[test]
fn nothing_changes_for_anybody_and_everything_is_on_record() {
    let world = world();
    let upstream = world.upstream().unwrap();
    let twice = call("read_note").replace(r#""name":"#, r#""name":"x","name":"#);
    let large = call(&"x".repeat((1 << 20) + 1));
    for body in [&call("read_note"), &call("add_note"), &call("drop_everything"), &twice, "[]", "\u{0}", &large] {
        let headers = [&HEADERS[..], &[("accept-encoding", &b"gzip"[..]), ("x-method-override", b"GET")]].concat();
        let answer = world.http1(&request("POST", "/mcp", &headers, body.as_bytes())).unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, RESULT));
        let (arrived, _) = upstream.take();
        let [request] = arrived.as_slice() else { panic!("{arrived:?}") };
        assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/mcp"));
        assert!(request.body == body.as_bytes(), "the body arrives as it was sent");
        for (name, value) in &headers {
            assert!(request.headers.iter().any(|(n, v)| n == name && v == value), "`{name}` is missing: {:?}", request.headers);
        }
    }
    let line = |verdict: &str, rule: &str| (verdict.to_owned(), rule.to_owned(), "completed".to_owned());
    let wanted = [
        line("allow", "tool_open"),
        line("deny", "gate.batch"),
        line("deny", "gate.body_too_large"),
        line("deny", "gate.duplicate_key"),
        line("deny", "gate.not_json"),
        line("deny", "unknown_tool"),
        line("pending", "tool_gated"),
    ];
    assert_eq!(on_record(&world, 7), wanted);
    assert!(
        world.stack.cli.json(&["approve", "list"]).unwrap()["approvals"].as_array().unwrap().is_empty(),
        "nobody is bothered"
    );
    let status = world.stack.cli.text(&["status"]).unwrap();
    assert!(status.contains("observing") && status.contains("notes"), "{status}");
}

#[test]
fn a_kill_holds_where_a_route_names_a_server_that_its_filter_was_never_granted() {
    let mut plan = WorldPlan::recorder(Protocol::Http1, |_| Reply::json(RESULT)).unwrap();
    plan.stack.edits.push(Edit::new(ROUTE, OBSERVING.replace("notes", "ntoes")));
    let world = plan.start().unwrap();
    assert!(passes(&world, "read_note"), "it only observes");
    let told = |word: &str| {
        let status = world.stack.cli.text(&["status"]).ok()?;
        (status.contains("names the server `ntoes`") && status.contains(word)).then_some(())
    };
    eventually("the status says whose calls are on no record", || told("1 call")).unwrap();

    let killed = world.stack.cli.json(&["kill", "everything", "--reason", "an incident"]).unwrap();
    assert_eq!(killed["filters_confirmed"], killed["filters_heard"], "{killed}");
    assert!(!passes(&world, "read_note"));
    world.stack.cli.json(&["resume", "everything"]).unwrap();
    assert!(passes(&world, "read_note"));
    world.stack.cli.json(&["kill", "server", "ntoes", "--reason", "an incident"]).unwrap();
    assert!(!passes(&world, "read_note"));
}

#[test]
fn one_tool_is_enforced_by_one_command_then_all_then_none_without_a_restart() {
    let world = world();
    let order = |arguments: &[&str]| world.stack.cli.json(arguments).unwrap();
    assert!(passes(&world, "delete_note") && passes(&world, "drop_everything"));

    let enforced = order(&["enforce", "notes", "--tool", "delete_note", "--yes"]);
    assert_eq!(enforced["filters_confirmed"], enforced["filters_heard"], "{enforced}");
    assert!(!passes(&world, "delete_note"));
    assert!(!passes(&world, "Delete_Note"), "nor by a name that some server takes for it");
    assert!(passes(&world, "drop_everything"), "what is not enforced goes on");
    let unreadable = world.http1(&post(&call("read_note").replace(r#""name":"#, r#""name":"delete_note","name":"#))).unwrap();
    assert_eq!(world.upstream().unwrap().take().0, [], "it might be the enforced one: {unreadable:?}");

    order(&["enforce", "notes", "--yes"]);
    assert!(!passes(&world, "drop_everything"));
    assert!(passes(&world, "read_note"));

    order(&["observe", "notes"]);
    assert!(passes(&world, "drop_everything"));
    assert!(!passes(&world, "delete_note"), "the tool's own order stands");
    order(&["mode", "clear", "notes", "--tool", "delete_note"]);
    assert!(passes(&world, "delete_note"));
}

#[test]
fn a_control_plane_that_is_gone_holds_up_only_what_is_enforced_and_the_loss_is_counted() {
    let mut world = world();
    assert!(passes(&world, "delete_note"));
    world.stack.cli.json(&["enforce", "notes", "--tool", "delete_note", "--yes"]).unwrap();
    for life in 0..2 {
        world.stack.control_plane.kill();
        assert!(passes(&world, "drop_everything"), "{life}");
        assert!(!passes(&world, "delete_note"), "{life}");
        world.stack.control_plane.begin().unwrap();
        let enforced_again = || {
            let answer = calls(&world, "delete_note");
            world.upstream().unwrap().take();
            (answer.json()["result"]["_meta"]["agentgate/verdict"]["verdict"] == "deny").then_some(())
        };
        eventually("the order is in force after the restart", enforced_again).unwrap();
    }
}

#[test]
fn a_gate_that_never_heard_of_its_control_plane_changes_nothing_either() {
    let mut plan = observing();
    plan.stack.stranger = Some(agentgate_e2e::Stranger { name: "filter/unknown", options: &[], foreign: false });
    let world = plan.start().unwrap();
    for _ in 0..3 {
        assert!(passes(&world, "drop_everything"));
    }
    let lost = world.stack.envoy.stat("wasmcustom.agentgate.observations_lost").unwrap();
    assert!(lost > 0, "what nobody could be told of is counted");
}

#[test]
fn a_kill_stops_what_is_only_observed_at_every_height_until_it_is_resumed() {
    let world = world();
    let agent = "spiffe://agentgate.local/agent/laptop";
    for (target, others_pass) in [
        (&["everything"][..], false),
        (&["tenant", "default"], false),
        (&["server", "notes"], false),
        (&["tool", "notes", "read_note"], true),
        (&["agent", agent], false),
    ] {
        let order = |verb: &str| world.stack.cli.json(&[&[verb][..], target, &["--reason", "an incident"]].concat()).unwrap();
        assert!(passes(&world, "read_note"));
        let killed = order("kill");
        assert_eq!(killed["filters_confirmed"], killed["filters_heard"], "{killed}");
        assert!(!passes(&world, "read_note"), "{target:?}");
        assert_eq!(passes(&world, "drop_everything"), others_pass, "{target:?}");
        order("resume");
    }
    assert!(passes(&world, "read_note"));
}
