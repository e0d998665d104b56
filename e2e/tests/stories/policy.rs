//! The policy folder at run time: an edit is in force when it is good, and stays out, with its reason in `status`, when it is not.

use crate::wire::{CALL, RESULT, post};
use agentgate_e2e::upstream::{Protocol, Reply};
use agentgate_e2e::{World, WorldPlan, eventually};
use serde_json::Value;
use std::fs;

#[test]
fn an_edit_is_in_force_when_it_is_good_and_stays_out_with_its_reason_when_it_is_not() {
    let mut world = WorldPlan::recorder(Protocol::Http1, |_| Reply::json(RESULT)).unwrap().start().unwrap();
    world.stack.control_plane.reconfigure("[policy]\n", "[policy]\npoll_ms = 100\n").unwrap();
    eventually("the gate finds the control plane again", || (told(&world) == "pending").then_some(())).unwrap();
    let first = in_force(&world);
    let good = edited(&world, "add_note:     { tag: gated,", "add_note:     { tag: open,");

    // Its own cases want the tool gated.
    let broken = refusal(&world, &good, &first);
    assert!(broken.contains("cases fail") && broken.contains("cases/"), "{broken}");
    assert_eq!(told(&world), "pending");

    let cases = world.stack.control_plane.policies().join("cases");
    for file in ["notes.yaml", "tools.yaml"] {
        let text = fs::read_to_string(cases.join(file)).unwrap();
        fs::write(cases.join(file), without_cases_of(&text, "add_note")).unwrap();
    }
    eventually("the edit is in force", || (told(&world) == "allow").then_some(())).unwrap();
    let second = in_force(&world);
    assert_ne!(second["digest"], first["digest"]);
    assert_eq!(second["refused_edit"], Value::Null, "{second}");

    for bad in [good.replace("open,", "ajar,"), good.replace("notes:", "notes: ["), "\u{0}".into()] {
        assert!(!refusal(&world, &bad, &second).is_empty());
        assert_eq!(told(&world), "allow");
    }
    fs::write(table(&world), &good).unwrap();
    eventually("a mended edit is no longer named", || (in_force(&world)["refused_edit"] == Value::Null).then_some(())).unwrap();
}

/// Saves this as the table, and waits for the reason why it stays out; what was in force still is.
fn refusal(world: &World, text: &str, before: &Value) -> String {
    let known = in_force(world)["refused_edit_at"].clone();
    fs::write(table(world), text).unwrap();
    let status = eventually("status says why the edit stays out", || {
        let status = in_force(world);
        (status["refused_edit"] != Value::Null && status["refused_edit_at"] != known).then_some(status)
    });
    let status = status.unwrap();
    assert_eq!(status["digest"], before["digest"], "{status}");
    status["refused_edit"].as_str().unwrap().to_owned()
}

/// What a call of `add_note` is told.
fn told(world: &World) -> String {
    let answer = world.http1(&post(&CALL.replace("search", "add_note"))).unwrap();
    if answer.text() == RESULT {
        return "allow".into();
    }
    assert_eq!(world.upstream().unwrap().bytes(), b"", "{answer:?}");
    answer.json()["result"]["_meta"]["agentgate/verdict"]["verdict"].as_str().unwrap_or_default().to_owned()
}

fn in_force(world: &World) -> Value {
    world.stack.cli.json(&["status"]).unwrap()["policy"].clone()
}

fn table(world: &World) -> std::path::PathBuf {
    world.stack.control_plane.policies().join("tools.yaml")
}

fn edited(world: &World, from: &str, to: &str) -> String {
    let text = fs::read_to_string(table(world)).unwrap();
    assert!(text.contains(from), "{text}");
    text.replace(from, to)
}

/// Cases begin with `- name:`, and are apart by an empty line.
fn without_cases_of(text: &str, tool: &str) -> String {
    let kept: Vec<&str> = text.split("\n\n").filter(|case| !(case.contains("- name:") && case.contains(tool))).collect();
    kept.join("\n\n") + "\n"
}
