//! A call that waits for a person: shown to them whole, granted once, passed once, across restarts and retries, and never by
//! whoever made it.

use crate::wire::{RESULT, tools_call};
use agentgate_e2e::upstream::{Protocol, Reply};
use agentgate_e2e::{Cli, Mode, World, WorldPlan, eventually, http1};
use serde_json::{Value, json};
use std::thread;

fn call(id: u32, text: &str) -> Vec<u8> {
    tools_call(id, "add_note", &json!({"title": "x", "text": text}))
}

fn world() -> World {
    let mut plan = WorldPlan::recorder(Protocol::Http1, |_| Reply::json(RESULT)).unwrap();
    // The agent is an operator too, and may grant: only never what it asked for itself.
    plan.stack.configuration =
        "[[operator]]\nidentity = \"spiffe://agentgate.local/agent/laptop\"\nroles = [\"approval_admin\"]\n".into();
    plan.start().unwrap()
}

/// What the client is told of a call that waits: the approval's id.
fn waits(world: &World, id: u32, text: &str) -> String {
    let answer = world.http1(&call(id, text)).unwrap();
    assert_eq!(world.upstream().unwrap().take(), (vec![], vec![]), "{answer:?}");
    let verdict = answer.json()["result"]["_meta"]["agentgate/verdict"].clone();
    assert_eq!(verdict["verdict"], "pending", "{answer:?}");
    verdict["approval"].as_str().unwrap().to_owned()
}

fn passes(world: &World, id: u32, text: &str) {
    let answer = world.http1(&call(id, text)).unwrap();
    assert_eq!((answer.text().as_str(), world.upstream().unwrap().take().0.len()), (RESULT, 1));
}

fn state(world: &World, id: &str) -> Value {
    world.stack.cli.json(&["approve", "show", id]).unwrap()["state"].clone()
}

#[test]
fn a_call_is_asked_for_shown_granted_and_passes_exactly_once() {
    let world = world();
    let id = waits(&world, 1, "a\u{202e}b");
    assert_eq!(waits(&world, 2, "a\u{202e}b"), id, "asking again gives the same one");
    assert_ne!(waits(&world, 3, "ab"), id);

    let shown = world.stack.cli.text(&["approve", "show", &id[..8]]).unwrap();
    for words in [
        "add_note",
        "agent/laptop",
        "tool_gated",
        "\\u{202e}",
        "not seen",
        "http method  POST",
        "host         tools.example",
        "path         /mcp",
    ] {
        assert!(shown.contains(words), "`{words}` is missing:\n{shown}");
    }
    let granted = world.stack.cli.text(&["approve", "grant", &id[..8], "--yes", "--reason", "agreed"]).unwrap();
    assert!(granted.contains("granted"), "{granted}");

    waits(&world, 4, "another text");
    let elsewhere = String::from_utf8(call(7, "a\u{202e}b")).unwrap().replace("tools.example", "other.example");
    let answer = world.http1(elsewhere.as_bytes()).unwrap();
    let verdict = answer.json()["result"]["_meta"]["agentgate/verdict"].clone();
    assert_eq!(
        (&verdict["verdict"], verdict["approval"] == id),
        (&json!("pending"), false),
        "at another host it is another call"
    );
    passes(&world, 5, "a\u{202e}b");
    assert_eq!(state(&world, &id), "used");
    assert_ne!(waits(&world, 6, "a\u{202e}b"), id, "a grant is for one call");
    let used = world.newest_trace("add_note").unwrap();
    assert_eq!(used["verdict"], "pending", "{used}");
}

#[test]
fn a_grant_and_its_use_outlive_kill_9() {
    let mut world = world();
    let id = waits(&world, 1, "a");
    world.stack.control_plane.kill();
    world.stack.control_plane.begin().unwrap();
    let waiting = || world.stack.cli.json(&["approve", "list"]).ok()?["approvals"].as_array().map(Vec::len);
    assert_eq!(eventually("it waits after the restart", || waiting().filter(|count| *count == 1)).unwrap(), 1);
    world.stack.cli.text(&["approve", "grant", &id, "--yes"]).unwrap();
    world.stack.control_plane.kill();
    world.stack.control_plane.begin().unwrap();
    eventually("the granted call passes", || {
        let answer = world.http1(&call(2, "a")).ok()?;
        (answer.text() == RESULT).then_some(())
    })
    .unwrap();
    assert_eq!(world.upstream().unwrap().take().0.len(), 1);
    world.stack.control_plane.kill();
    world.stack.control_plane.begin().unwrap();
    eventually("the used grant is known", || (state(&world, &id) == "used").then_some(())).unwrap();
    eventually("the gate is back, and the call waits anew", || {
        let answer = world.http1(&call(3, "a")).ok()?;
        (answer.json()["result"]["_meta"]["agentgate/verdict"]["verdict"] == "pending").then_some(())
    })
    .unwrap();
    assert_eq!(world.upstream().unwrap().take().0.len(), 0);
}

#[test]
fn of_many_retries_at_once_exactly_one_reaches_the_tool() {
    let world = world();
    let id = waits(&world, 1, "a");
    world.stack.cli.text(&["approve", "grant", &id, "--yes"]).unwrap();
    let gate = world.stack.gate;
    let retries: Vec<_> =
        (2..22).map(|id| thread::spawn(move || http1::exchange(gate, &call(id, "a")).unwrap().text())).collect();
    let passed = retries.into_iter().map(|retry| retry.join().unwrap()).filter(|text| text == RESULT).count();
    assert_eq!((passed, world.upstream().unwrap().take().0.len()), (1, 1));
}

#[test]
fn nobody_grants_their_own_call_or_without_the_role_or_what_they_were_not_shown() {
    let world = world();
    let id = waits(&world, 1, "a");
    let ports = &world.stack.control_plane.ports.operators;
    let authority = world.stack.certificates.authority();
    let as_whom = |name: &str| {
        let certificate = world.stack.certificates.issue(name, &["--force"]).unwrap();
        Cli::new(&world.places, ports, &certificate, &authority)
    };
    let refused = |cli: &Cli, arguments: &[&str], because: &str| {
        let output = cli.run(arguments).unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(because), "{arguments:?}: {said}");
    };
    refused(&as_whom("agent/laptop"), &["approve", "grant", &id, "--yes"], "nobody grants their own");
    refused(&as_whom("operator/stranger"), &["approve", "grant", &id, "--yes"], "[[operator]]");
    refused(&world.stack.cli, &["approve", "grant", &id, "--seen", &"0".repeat(64)], "not what was seen");
    refused(&world.stack.cli, &["approve", "grant", "00000000", "--yes"], "no approval");
    assert_eq!(state(&world, &id), "pending");
    world.stack.cli.text(&["approve", "deny", &id]).unwrap();
    assert_eq!(state(&world, &id), "denied");
    let told = world.http1(&call(2, "a")).unwrap();
    assert_eq!(told.json()["result"]["_meta"]["agentgate/verdict"]["rule"], "gate.approval_denied", "{told:?}");
}

#[test]
fn the_official_client_goes_on_where_it_waited() {
    let world = World::notes().unwrap();
    let mut client = world.client(Mode::Auto).unwrap();
    let arguments = json!({"title": "hello", "text": "from a story"});
    let waiting = client.call("add_note", &arguments).unwrap();
    let id = waiting["meta"]["agentgate/verdict"]["approval"].as_str().unwrap();
    assert!(waiting["text"].as_str().unwrap().contains(&id[..8]), "{waiting}");
    world.stack.cli.text(&["approve", "grant", id, "--yes"]).unwrap();
    let passed = client.call("add_note", &arguments).unwrap();
    assert_eq!(passed["is_error"], false, "{passed}");
    let again = client.call("add_note", &arguments).unwrap();
    assert_eq!(again["meta"]["agentgate/verdict"]["verdict"], "pending", "{again}");
}
