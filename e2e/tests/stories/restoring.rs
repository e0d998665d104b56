//! A backup that is put back: under the old key the log would sign a fork, and refuses to; under a new one, made by the
//! documented commands, it goes on, and what was exported before still holds.

use crate::wire::{RESULT, tools_call};
use agentgate_e2e::upstream::{Protocol, Reply};
use agentgate_e2e::{World, WorldPlan, eventually};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

pub(crate) fn call(world: &World, id: u32) {
    world.http1(&tools_call(id, "read_note", &json!({}))).unwrap();
}

/// What `log show` says once all records are signed, and there are more than `before`.
pub(crate) fn signed(world: &World, before: u64) -> Value {
    eventually("all of the log is signed", || {
        let log = world.stack.cli.json(&["log", "show"]).ok()?;
        (log["size"] == log["head"] && log["size"].as_u64()? > before).then_some(log)
    })
    .unwrap()
}

/// Calls until one is decided and signed behind the first `before` records.
pub(crate) fn goes_on(world: &World, id: u32, before: u64) {
    eventually("calls are decided", || {
        call(world, id);
        let log = world.stack.cli.json(&["log", "show"]).ok()?;
        (log["size"].as_u64()? > before).then_some(())
    })
    .unwrap();
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Whoever asks the stopped log for something hears why there is nothing, what was signed, and what to do.
fn tells_that_it_is_stopped(world: &World, lost: &Value) {
    let cli = &world.stack.cli;
    let shown = cli.json(&["log", "show"]).unwrap();
    let signed = format!("this control plane signed {}, by its file of 20", lost["size"]);
    let why = shown["stopped"].as_str().unwrap();
    assert!(why.contains(&signed) && why.contains("put the newer journal back"), "{why}");
    let status = cli.json(&["status"]).unwrap();
    for remembered in [&shown["rolled_back"], &status["log"]["rolled_back"]] {
        assert_eq!((&remembered[0]["remembers"], &remembered[0]["size"]), (&json!("directory"), &lost["size"]), "{remembered}");
        assert!(remembered[0]["signed_at"].as_str().unwrap().starts_with("20"), "{remembered}");
    }
    for verb in ["log show", "status"] {
        let text = cli.text(&verb.split(' ').collect::<Vec<_>>()).unwrap();
        assert!(text.contains("rolled back") && text.contains(&signed), "{text}");
    }
    let nowhere = world.directory().join("nowhere");
    let out = text(&nowhere);
    let asked: [&[&str]; 3] =
        [&["log", "prove", "1", "--out", out], &["log", "export", out], &["evidence", "pack", "--since", "1h", "--out", out]];
    for asked in asked {
        let output = cli.run(asked).unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{asked:?}: {said}");
        for words in ["the log is stopped: ", &signed, "next: agentgate log show", "next: docs/operating.md"] {
            assert!(said.contains(words), "{asked:?}: {words} in {said}");
        }
        let output = cli.run(&[asked, &["--output", "json"]].concat()).unwrap();
        let said: Value = serde_json::from_slice(&output.stderr).or_else(|_| serde_json::from_slice(&output.stdout)).unwrap();
        assert!(output.status.code() == Some(3) && said.to_string().contains(&signed), "{asked:?}: {said:#}");
        assert!(!nowhere.join("checkpoint").exists() && !nowhere.is_file(), "{asked:?} wrote what holds nothing");
    }
}

#[test]
fn an_older_backup_goes_on_under_a_new_key_and_not_under_the_old_one() {
    let mut world = WorldPlan::recorder(Protocol::Http1, |_| Reply::json(RESULT)).unwrap().start().unwrap();
    let (home, journal) = (world.stack.control_plane.directory().to_owned(), world.stack.control_plane.journal());
    let at = |name: &str| home.join(name);
    call(&world, 1);
    // The policy, the decision and the outcome.
    let copied = signed(&world, 2);
    let old_key = copied["keys"][0].as_str().unwrap().to_owned();
    world.stack.cli.text(&["journal", "backup", "--from", text(&journal), text(&at("monday"))]).unwrap();
    world.stack.cli.text(&["log", "export", text(&at("exported"))]).unwrap();
    call(&world, 2);
    let lost = signed(&world, copied["size"].as_u64().unwrap() + 1);
    world.stack.control_plane.end().unwrap();

    fs::rename(&journal, at("journal.before")).unwrap();
    world.stack.cli.text(&["journal", "restore", text(&at("monday")), "--to", text(&journal)]).unwrap();
    world.stack.control_plane.begin().unwrap();
    let unready = world.stack.cli.json(&["status"]).unwrap()["unready"].as_str().unwrap().to_owned();
    let wanted = format!("and this control plane signed {}, by its file of ", lost["size"]);
    assert!(unready.contains("it was rolled back: ") && unready.contains(&wanted), "{unready}");
    assert_eq!(world.stack.cli.json(&["status"]).unwrap()["journal"]["head"], copied["head"], "nothing more is written");
    tells_that_it_is_stopped(&world, &lost);
    world.stack.control_plane.end().unwrap();

    // As docs/operating.md says it under Restoring.
    fs::rename(at("log.key"), at("log.key.before")).unwrap();
    let made = world.stack.cli.json(&["log", "key", &old_key, "--out", text(&at("log.key"))]).unwrap();
    let new_key = made["verifier"].as_str().unwrap();
    let previous = format!("[transparency]\nprevious = [{old_key:?}]\n[policy]\n");
    world.stack.control_plane.reconfigure("[policy]\n", &previous).unwrap();
    goes_on(&world, 3, copied["size"].as_u64().unwrap());
    let status = world.stack.cli.json(&["status"]).unwrap();
    assert_eq!(status["unready"], Value::Null, "{status:#}");

    let verify = |arguments: &[&str]| world.stack.cli.json(&[&["verify"], arguments].concat()).unwrap();
    let exported = at("exported");
    let url = format!("http://{}", world.stack.control_plane.ports.metrics);
    assert_eq!(verify(&[text(&exported), "--key", &old_key])["holds"], true);
    let kept = exported.join("checkpoint");
    let whole = verify(&["--log", &url, "--key", new_key, "--key", &old_key, "--older", text(&kept)]);
    assert!(whole["holds"] == true && whole["shown"].to_string().contains("are as they were when they were signed"), "{whole:#}");
    fs::write(at("lost"), lost["checkpoint"].as_str().unwrap()).unwrap();
    let fork = world.stack.cli.run(&["verify", "--log", &url, "--key", new_key, "--key", &old_key, "--older", text(&at("lost"))]);
    assert_eq!(fork.unwrap().status.code(), Some(1), "whoever kept what was lost sees that it was");

    // The old key remembers what it signed, and goes on with no other log.
    world.stack.control_plane.end().unwrap();
    fs::rename(at("log.key.before"), at("log.key")).unwrap();
    let both = format!("[transparency]\nprevious = [{new_key:?}]\n");
    world.stack.control_plane.reconfigure(&previous, &(both + "[policy]\n")).unwrap();
    // It may be as long as it was: then its records are read first.
    eventually("it is found out", || {
        let status = world.stack.cli.json(&["status"]).ok()?;
        status["unready"].as_str()?.contains("contradicts what was signed").then_some(())
    })
    .unwrap();
}
