//! A log that others see: a witness that cosigns it, a place that keeps its checkpoints, and an auditor who reads all of it
//! over HTTP with public keys alone.

use crate::wire::{RESULT, tools_call};
use agentgate_e2e::upstream::{Protocol, Reply, Upstream};
use agentgate_e2e::witness::Witness;
use agentgate_e2e::{World, WorldPlan, eventually};
use serde_json::{Value, json};
use std::fs;
use std::process::Command;

fn call(world: &World, id: u32, tool: &str) {
    world.http1(&tools_call(id, tool, &json!({}))).unwrap();
}

/// As an auditor has it: the program and keys; no endpoint of operators, no certificate.
fn verify(world: &World, arguments: &[&str]) -> Value {
    let output = Command::new(&world.places.agentgate)
        .arg("verify")
        .args(arguments)
        .args(["--output", "json"])
        .env_clear()
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

fn contains(list: &Value, words: &str) -> bool {
    list.as_array().unwrap().iter().any(|line| line.as_str().unwrap().contains(words))
}

/// What `log show` says once all records are signed and witnessed.
fn witnessed(world: &World) -> Value {
    eventually("all of the log is witnessed", || {
        let log = world.stack.cli.json(&["log", "show"]).ok()?;
        (log["size"] == log["head"] && log["witnessed"]["size"] == log["size"]).then_some(log)
    })
    .unwrap()
}

#[test]
fn an_auditor_hears_from_a_witness_what_the_log_says_of_itself() {
    let witness = Witness::start("witness.example/e2e", 9).unwrap();
    let place = Upstream::start(Protocol::Http1, |asked| Reply::json(json!({"bytes": asked.body.len()}).to_string())).unwrap();
    let mut plan = WorldPlan::recorder(Protocol::Http1, |_| Reply::json(RESULT)).unwrap();
    plan.stack.configuration = format!(
        "[transparency]\nwitness_s = 1\n[[transparency.witness]]\nurl = \"http://{}\"\nkey = {:?}\n\
         [transparency.anchor]\nurl = \"http://{}/checkpoints\"\nevery_s = 1\n",
        witness.address(),
        witness.mind().verifier(),
        place.address
    );
    let mut world = plan.start().unwrap();
    let key = world.stack.cli.json(&["log", "show"]).unwrap()["keys"][0].as_str().unwrap().to_owned();
    let url = format!("http://{}", world.stack.control_plane.ports.metrics);
    let whole = ["--log", &url, "--key", &key, "--witness", &witness.mind().verifier()].map(str::to_owned);
    let whole: Vec<&str> = whole.iter().map(String::as_str).collect();
    call(&world, 1, "read_note");
    eventually("a checkpoint", || contains(&verify(&world, &whole)["wrong"], "not witnessed: 0 of 1").then_some(())).unwrap();

    witness.mind().believe(&key).unwrap();
    call(&world, 2, "delete_everything");
    let log = witnessed(&world);
    assert!(log["witnessed"]["by"][0]["key"].as_str().unwrap().starts_with("witness.example/e2e+"), "{log:#}");
    let report = verify(&world, &whole);
    assert!(report["holds"] == true && contains(&report["shown"], "witnessed by witness.example/e2e+"), "{report:#}");
    assert!(contains(&report["shown"], "are those that were signed, each and no other"), "{report:#}");
    let old = world.directory().join("old-checkpoint");
    fs::write(&old, log["checkpoint"].as_str().unwrap()).unwrap();

    let principal = world.traces().unwrap()[0]["principal"].as_str().unwrap().to_owned();
    let pack = world.directory().join("pack");
    let pack = pack.to_str().unwrap();
    world.stack.cli.text(&["evidence", "pack", "--principal", &principal, "--out", pack]).unwrap();
    let report = verify(&world, &[&[pack], &whole[2..]].concat());
    assert!(report["holds"] == true && contains(&report["shown"], "witnessed by witness.example/e2e+"), "{report:#}");

    // A start brings back what was witnessed, and the witness goes on where it was.
    world.stack.control_plane.end().unwrap();
    world.stack.control_plane.begin().unwrap();
    let again = world.stack.cli.json(&["log", "show"]).unwrap();
    assert!(again["witnessed"]["size"].as_u64() >= log["witnessed"]["size"].as_u64(), "{again:#}");
    eventually("the gate asks again", || {
        call(&world, 3, "read_note");
        let more = world.stack.cli.json(&["log", "show"]).ok()?["size"].as_u64()?;
        (more > log["size"].as_u64()?).then_some(())
    })
    .unwrap();
    witnessed(&world);
    let report = verify(&world, &[whole.as_slice(), &["--since", old.to_str().unwrap()]].concat());
    assert!(report["holds"] == true && contains(&report["shown"], "are as they were when they were signed"), "{report:#}");

    let receipts = world.directory().join("receipts");
    let written = world.stack.cli.json(&["log", "receipts", receipts.to_str().unwrap()]).unwrap();
    let written = written["receipts"].as_array().unwrap();
    assert!(written.len() >= 2, "{written:#?}");
    let heard = place.arrived();
    for receipt in written {
        let said: Value = serde_json::from_slice(&fs::read(receipt["file"].as_str().unwrap()).unwrap()).unwrap();
        let sent = format!("\n{}\n", receipt["size"]);
        let of = heard.iter().find(|arrived| String::from_utf8_lossy(&arrived.body).contains(&sent)).unwrap();
        assert_eq!(said["bytes"], of.body.len());
    }

    // A witness whom the auditor asks for and who saw nothing: it does not hold. Nobody asked for: it is said.
    let stranger = Witness::start("witness.example/other", 8).unwrap().mind().verifier();
    let report = verify(&world, &["--log", &url, "--key", &key, "--witness", &stranger]);
    assert!(report["holds"] == false && contains(&report["wrong"], "not witnessed: 0 of 1"), "{report:#}");
    let report = verify(&world, &["--log", &url, "--key", &key]);
    assert!(report["holds"] == true && contains(&report["not_shown"], "not witnessed"), "{report:#}");
}
