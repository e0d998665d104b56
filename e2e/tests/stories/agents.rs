//! An agent of a framework that we did not write (pydantic-ai; its model is a list of calls, and no network): a denial and a pending call are
//! something that its model reads, and its run goes on.

use agentgate_e2e::{Broken, Doing, Edit, World, WorldPlan};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::process::Command;

/// What the framework makes of a call that was answered with an error.
#[derive(Clone, Copy)]
enum Errors {
    /// Its default: the model is asked to try again, once for each tool until that one succeeds; the next refusal ends the run.
    Retry,
    /// The model is told, as often as it likes.
    Failed,
}

#[test]
fn an_agent_reads_why_a_call_was_not_made_and_goes_on() {
    let world = World::notes().unwrap();
    // What is called, with what, and what the model reads of it.
    let calls = [
        ("read_note", json!({"id": 1}), "groceries: oats"),
        ("search_notes", json!({"query": "password"}), "rule `forbidden_query`: notes are not searched for credentials"),
        ("add_note", json!({"title": "a", "text": "b"}), "an approver must grant it first (rule `tool_gated`"),
        ("search_notes", json!({"query": "oats"}), "[1]"),
        ("read_note", json!({"id": 2}), "standup: the gate"),
    ];
    for errors in [Errors::Retry, Errors::Failed] {
        let orders = calls.iter().map(|(tool, arguments, _)| json!({"tool": tool, "arguments": arguments})).collect();
        let run = run(&world, world.stack.gate, errors, &orders).unwrap();
        assert_eq!(run["said"], "all done", "{run}");
        assert!(!run["shown"].as_array().unwrap().contains(&json!("delete_note")), "{run}");
        let read = run["read"].as_array().unwrap();
        assert_eq!(read.len(), calls.len(), "{run}");
        for ((tool, _, wanted), read) in calls.iter().zip(read) {
            assert!(read["tool"] == *tool && read["text"].as_str().unwrap().contains(wanted), "{tool}: {read}");
        }
    }
    let traces = world.traces().unwrap();
    let verdicts =
        |verdict: &str| traces.iter().filter(|trace| trace["method"] == "tools/call" && trace["verdict"] == verdict).count();
    assert_eq!([verdicts("allow"), verdicts("deny"), verdicts("pending")], [6, 2, 2], "{traces:?}");
}

/// However a route says no, the model reads why. Only of a result does the framework take any number.
#[test]
fn an_agent_that_asks_again_goes_on_where_a_refusal_is_a_result_and_an_error_is_an_answer() {
    let refused = json!({"tool": "search_notes", "arguments": {"query": "password"}});
    let pending = json!({"tool": "add_note", "arguments": {"title": "a", "text": "b"}});
    let stubborn = json!([refused, pending, refused, refused]);
    let cases = [
        ("result", Errors::Failed, true),
        ("result", Errors::Retry, false),
        ("error", Errors::Failed, false),
        ("http_403", Errors::Failed, false),
    ];
    for (denied, errors, goes_on) in cases {
        let world = world(denied).unwrap();
        let run = run(&world, world.stack.gate, errors, &stubborn).unwrap();
        let texts: Vec<&str> = run["read"].as_array().unwrap().iter().filter_map(|read| read["text"].as_str()).collect();
        assert!(texts[0].contains("rule `forbidden_query`") && texts[1].contains("rule `tool_gated`"), "{denied}: {run}");
        if goes_on {
            assert_eq!((&run["said"], texts.len()), (&json!("all done"), 4), "{denied}: {run}");
        } else {
            assert!(run["died"].as_str().unwrap().contains("search_notes"), "{denied}: {run}");
        }
    }
    let world = World::notes().unwrap();
    let without = run(&world, world.tool_server(), Errors::Retry, &stubborn).unwrap();
    assert_eq!(without["said"], "all done", "without the gate: {without}");
}

/// The notes, behind a route that says no in this way.
fn world(denied: &str) -> Result<World, Broken> {
    let mut plan = WorldPlan::notes(&[])?;
    let server = r#""server": "notes""#;
    plan.stack.edits.push(Edit::new(server, format!(r#"{server}, "denied": "{denied}""#)));
    plan.start()
}

/// What the model read of each of these calls, and how the run ended.
fn run(world: &World, address: SocketAddr, errors: Errors, calls: &Value) -> Result<Value, Broken> {
    let mut command = Command::new(&world.places.python);
    command.arg(world.places.peer("agent.py")).arg(format!("http://{address}/mcp")).arg(calls.to_string());
    command.args(["--errors", errors.name()]).env("PYTHONDONTWRITEBYTECODE", "1").current_dir(world.directory());
    let output = command.output().doing("the agent")?;
    serde_json::from_slice(&output.stdout).doing(String::from_utf8_lossy(&output.stderr))
}

// === impl Errors ===

impl Errors {
    const fn name(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Failed => "failed",
        }
    }
}
