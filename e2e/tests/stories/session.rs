//! Servers that ask back, with the official SDK on both sides: elicitation, sampling and a notification on the session's own stream
//! pass the default policy without a stall, in both eras, and each message of the session has its trace.

use agentgate_e2e::{Broken, Doing, Mode, Places, Process, World, WorldPlan, eventually};
use serde_json::{Value, json};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

#[test]
fn a_server_that_asks_back_is_answered_and_its_calls_complete() {
    let mut asking = None;
    let begin = |places: &Places, directory: &Path| {
        let (process, address) = serve(places, directory)?;
        asking = Some(process);
        Ok(address)
    };
    let world = WorldPlan::own(begin).unwrap().start().unwrap();
    for (mode, version, hears) in [(Mode::Legacy, "2025-11-25", true), (Mode::Auto, "2026-07-28", false)] {
        let wanted = json!({
            "version": version, "heard_of_change": hears,
            "read_note": "note 3", "search_notes": "summary: breakfast", "list_notes": "told",
        });
        assert_eq!(told(&world, world.tool_server(), mode).unwrap(), wanted, "without the gate");
        assert_eq!(told(&world, world.stack.gate, mode).unwrap(), wanted, "through the gate");
    }
    every_message_of_the_session_is_on_record(&world);
}

/// initialize, its notification, the GET stream, three calls, two answers to the server's questions, and DELETE, under one handle.
fn every_message_of_the_session_is_on_record(world: &World) {
    // The DELETE is reported after its answer.
    let traces = eventually("the session's end is on record", || {
        let traces = world.traces().ok()?;
        traces.iter().any(|trace| trace["method"] == "end").then_some(traces)
    });
    let traces = traces.unwrap();
    let handle = traces.iter().find(|trace| trace["method"] == "end").unwrap()["handle"].clone();
    assert!(handle.as_str().is_some_and(|handle| !handle.is_empty()), "{traces:?}");
    let of_session = traces.iter().filter(|trace| trace["handle"] == handle);
    let mut methods: Vec<&str> = of_session.filter_map(|trace| trace["method"].as_str()).collect();
    methods.sort_unstable();
    let calls = ["tools/call"; 3];
    let wanted = [&["end", "notifications/initialized", "open", "response", "response"][..], &calls].concat();
    let unlisted: Vec<&&str> = methods.iter().filter(|method| !wanted.contains(*method) && **method != "tools/list").collect();
    assert!(unlisted.is_empty(), "{methods:?}");
    methods.retain(|method| *method != "tools/list");
    assert_eq!(methods, wanted);
    let refused: Vec<&Value> = traces.iter().filter(|trace| trace["verdict"] != "allow").collect();
    assert!(refused.is_empty(), "{refused:?}");
}

/// What the client was told, tool by tool.
fn told(world: &World, address: SocketAddr, mode: Mode) -> Result<Value, Broken> {
    let mode = if mode == Mode::Legacy { "legacy" } else { "auto" };
    let mut command = Command::new(&world.places.python);
    command.arg(world.places.peer("answering_client.py")).arg(format!("http://{address}/mcp")).args(["--mode", mode]);
    let output = command.env("PYTHONDONTWRITEBYTECODE", "1").output().doing("the client that answers")?;
    serde_json::from_slice(&output.stdout).doing(String::from_utf8_lossy(&output.stderr))
}

fn serve(places: &Places, directory: &Path) -> Result<(Process, SocketAddr), Broken> {
    let ready = directory.join("asking-port");
    let mut command = Command::new(&places.python);
    command.arg(places.peer("asking_server.py")).arg("--ready-file").arg(&ready).env("PYTHONDONTWRITEBYTECODE", "1");
    let mut process = Process::start("the server that asks back", command, &directory.join("asking.log"))?;
    let port: u16 = process.until("it listens", || fs::read_to_string(&ready).ok()?.parse().ok())?;
    Ok((process, SocketAddr::from(([127, 0, 0, 1], port))))
}
