//! The log's key gives way to another, by the commands and the configuration that docs/operating.md shows: what was made before
//! holds with the old key, what is made after with the new one, and both keys reach across.

use crate::restoring::{goes_on, signed, text};
use crate::wire::RESULT;
use agentgate_e2e::upstream::{Protocol, Reply};
use agentgate_e2e::{World, WorldPlan};
use serde_json::Value;
use std::fs;
use std::process::Command;

/// What the document shows below its heading, each block as it stands there.
fn shown(world: &World, kind: &str) -> Vec<String> {
    let document = fs::read_to_string(world.places.repository.join("docs/operating.md")).unwrap();
    let section = document.split("### Replacing the log's key\n").nth(1).unwrap().split("\n#").next().unwrap();
    let begin = format!("```{kind}\n");
    section.split(&begin).skip(1).map(|block| block.split("```").next().unwrap().to_owned()).collect()
}

/// As the operator does: in the control plane's directory, with the CLI in the path.
fn run(world: &World, commands: &str, verifier: &str) -> String {
    let programs = world.places.agentgate.parent().unwrap().display();
    let path = format!("{programs}:{}", std::env::var("PATH").unwrap());
    let mut command = Command::new("sh");
    command
        .args(["-ec", commands])
        .current_dir(world.stack.control_plane.directory())
        .env("PATH", path)
        .env("VERIFIER", verifier);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{commands}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A pack and an export of this moment, and what shows the log's newest checkpoint.
struct Made {
    pack: String,
    export: String,
    checkpoint: String,
}

fn made(world: &mut World, name: &str, id: u32) -> Made {
    let before = world.stack.cli.json(&["log", "show"]).unwrap()["size"].as_u64().unwrap();
    goes_on(world, id, before);
    let log = signed(world, before);
    let at = |what: &str| text(&world.directory().join(format!("{what}-{name}"))).to_owned();
    let made = Made { pack: at("pack"), export: at("export"), checkpoint: at("checkpoint") };
    world.stack.cli.text(&["evidence", "pack", "--since", "1h", "--out", &made.pack]).unwrap();
    world.stack.cli.text(&["log", "export", &made.export]).unwrap();
    fs::write(&made.checkpoint, log["checkpoint"].as_str().unwrap()).unwrap();
    made
}

/// Whether it holds with these keys, each checked by a program that knows nothing else.
fn holds(world: &World, what: &[&str], keys: &[&str]) -> bool {
    let keys: Vec<&str> = keys.iter().flat_map(|key| ["--key", key]).collect();
    let output = Command::new(&world.places.agentgate).arg("verify").args(what).args(keys).env_clear().output().unwrap();
    match output.status.code() {
        Some(0) => true,
        Some(1) => false,
        _ => panic!("{what:?}: {}", String::from_utf8_lossy(&output.stderr)),
    }
}

#[test]
fn the_logs_key_gives_way_to_another_as_the_document_says() {
    let mut world = WorldPlan::recorder(Protocol::Http1, |_| Reply::json(RESULT)).unwrap().start().unwrap();
    let [commands] = shown(&world, "sh").try_into().unwrap();
    let [both_sign, alone]: [String; 2] = shown(&world, "toml").try_into().unwrap();
    let verifiers = |world: &World| -> Vec<String> {
        let log = world.stack.cli.json(&["log", "show"]).unwrap();
        log["keys"].as_array().unwrap().iter().map(|key| key.as_str().unwrap().to_owned()).collect()
    };
    let old = verifiers(&world).remove(0);
    let before = made(&mut world, "before", 1);

    let said = run(&world, &commands, &old);
    let new = said.lines().last().unwrap().to_owned();
    assert!(new != old && new.split('+').next() == old.split('+').next(), "of the same log: {said}");
    world.stack.control_plane.reconfigure("[policy]\n", &format!("{both_sign}[policy]\n")).unwrap();
    assert_eq!(verifiers(&world), [new.clone(), old.clone()]);
    let between = made(&mut world, "between", 2);

    let elided = alone.split('"').find(|part| part.ends_with('…')).unwrap();
    world.stack.control_plane.reconfigure(&both_sign, &alone.replace(elided, &old)).unwrap();
    fs::remove_file(world.stack.control_plane.directory().join("log.key")).unwrap();
    assert_eq!(verifiers(&world), std::slice::from_ref(&new));
    let after = made(&mut world, "after", 3);
    world.stack.control_plane.end().unwrap();
    world.stack.control_plane.begin().unwrap();
    assert_eq!(world.stack.cli.json(&["status"]).unwrap()["unready"], Value::Null, "it starts without the old key's file");

    for (when, made, by_old, by_new) in
        [("before", &before, true, false), ("between", &between, true, true), ("after", &after, false, true)]
    {
        for what in [&made.pack, &made.export] {
            assert_eq!(holds(&world, &[what], &[&old]), by_old, "{what}, made {when}, and the old key");
            assert_eq!(holds(&world, &[what], &[&new]), by_new, "{what}, made {when}, and the new key");
            assert!(holds(&world, &[what], &[&old, &new]), "{what}, made {when}, and both");
        }
    }
    let url = format!("http://{}", world.stack.control_plane.ports.metrics);
    for older in [&before, &between, &after] {
        assert!(holds(&world, &["--log", &url, "--older", &older.checkpoint], &[&old, &new]), "{}", older.checkpoint);
    }
    assert!(!holds(&world, &["--log", &url, "--older", &before.checkpoint], &[&new]), "a key that was not given reaches nowhere");
    assert!(holds(&world, &["--log", &url, "--older", &between.checkpoint], &[&new]), "both signed it");
    // An export that was begun under the old key is gone on with under the new one.
    world.stack.cli.text(&["log", "export", &before.export]).unwrap();
    assert!(holds(&world, &[&before.export], &[&new]));
}
