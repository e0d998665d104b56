//! An agent of a framework that we did not write (pydantic-ai; its model is a list of calls, and no network): a denial and a pending call are
//! something that its model reads, and its run goes on.

use agentgate_e2e::{Broken, Doing, World};
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

/// A model that asks for the same thing again and again ends its run, unless the framework is told that an error is an answer like any other.
#[test]
fn an_agent_that_does_not_take_no_for_an_answer_goes_on_where_an_error_is_an_answer() {
    let world = World::notes().unwrap();
    let call = json!({"tool": "add_note", "arguments": {"title": "a", "text": "b"}});
    let stubborn = json!([call, call, call]);
    let goes_on = run(&world, world.stack.gate, Errors::Failed, &stubborn).unwrap();
    assert_eq!((&goes_on["said"], goes_on["read"].as_array().unwrap().len()), (&json!("all done"), 3), "{goes_on}");
    let ends = run(&world, world.stack.gate, Errors::Retry, &stubborn).unwrap();
    assert!(ends["died"].as_str().unwrap().contains("add_note"), "{ends}");
    let without = run(&world, world.tool_server(), Errors::Retry, &stubborn).unwrap();
    assert_eq!(without["said"], "all done", "without the gate: {without}");
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
