//! What must not be erased, and what has to be: calls through a real gate are held, purged, packed and verified, and stay erased
//! after a restart and at every replica.

use crate::wire::{RESULT, tools_call};
use agentgate_e2e::postgres::Postgres;
use agentgate_e2e::upstream::{Protocol, Reply};
use agentgate_e2e::{Cli, World, WorldPlan, eventually};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Command;

/// A word that agents say, and that nothing may hold afterwards.
const SECRET: &str = "the-word-nobody-else-says";

fn call(world: &World, id: u32) -> Value {
    world.http1(&tools_call(id, "read_note", &json!({"title": SECRET}))).unwrap().json()
}

/// The lines of all calls, once each that passed has its outcome.
fn ended(cli: &Cli, calls: usize) -> Vec<Value> {
    let lines = || {
        let lines = cli.json(&["trace", "list", "--calls"]).ok()?["traces"].as_array()?.clone();
        let ended = lines.iter().all(|line| !line["outcome"].is_null());
        (lines.len() == calls && ended).then_some(lines)
    };
    eventually(format_args!("{calls} calls have their outcome"), lines).unwrap()
}

/// The log's key, once it signed everything.
fn key(cli: &Cli) -> String {
    let key = || {
        let log = cli.json(&["log", "show"]).ok()?;
        (log["size"] == log["head"]).then(|| log["keys"][0].as_str().unwrap().to_owned())
    };
    eventually("all of it is signed", key).unwrap()
}

/// What an auditor reads of a pack of this session, with a key alone.
fn verified(world: &World, cli: &Cli, session: &str, name: &str) -> (Value, Value) {
    let (key, pack) = (key(cli), world.directory().join(name));
    cli.text(&["evidence", "pack", "--session", session, "--out", pack.to_str().unwrap()]).unwrap();
    let mut command = Command::new(&world.places.agentgate);
    command.arg("verify").arg(&pack).args(["--key", &key, "--output", "json"]).env_clear();
    let report: Value = serde_json::from_slice(&command.output().unwrap().stdout).unwrap();
    (report, serde_json::from_slice(&fs::read(pack.join("pack.json")).unwrap()).unwrap())
}

fn names_nobody(line: &Value) -> bool {
    line["sequence"].is_u64() && line["principal"].as_str().unwrap_or_default().is_empty()
}

fn said_of(report: &Value, list: &str, words: &str) -> usize {
    report[list].as_array().unwrap().iter().filter(|line| line.as_str().unwrap().contains(words)).count()
}

fn holds(folder: &Path, bytes: &[u8]) -> bool {
    fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() { holds(&path, bytes) } else { fs::read(&path).unwrap().windows(bytes.len()).any(|part| part == bytes) }
    })
}

#[test]
fn what_is_held_stays_and_what_is_purged_is_erased_for_good_while_every_proof_holds() {
    let mut plan = WorldPlan::recorder(Protocol::Http1, |_| Reply::json(RESULT)).unwrap();
    // No case of it names the agent: then whatever does in the journal is about the agent.
    plan.stack.policies = Some("e2e/policies/everything".into());
    let mut world = plan.start().unwrap();
    let cli = world.stack.cli.clone();
    call(&world, 1);
    let line = ended(&cli, 1)[0].clone();
    let (session, principal) = (line["session"].as_str().unwrap().to_owned(), line["principal"].as_str().unwrap().to_owned());
    let (before, _) = verified(&world, &cli, &session, "before");
    assert_eq!((before["holds"].clone(), said_of(&before, "not_shown", "erased")), (json!(true), 0), "{before:#}");

    let held = cli.json(&["hold", "place", "--principal", &principal, "--reason", "a case"]).unwrap();
    let hold = held["hold"].to_string();
    assert_eq!(cli.json(&["hold", "list"]).unwrap()["holds"][0]["reason"], "a case");
    let purge = ["purge", "--session", &session, "--reason", "they asked for it", "--yes"];
    let refused = cli.run(&purge).unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("HELD: the hold {hold} covers")) && said.contains("agentgate hold lift"), "{said}");
    assert_eq!(ended(&cli, 1)[0]["principal"], line["principal"]);

    cli.text(&["hold", "lift", &hold, "--reason", "it is over"]).unwrap();
    let would = cli.json(&["purge", "--session", &session, "--dry-run"]).unwrap();
    assert_eq!((&would["sessions"], &would["calls"], &would["sequences"]), (&json!(1), &json!(1), &json!([])), "{would}");
    let told = cli.text(&purge).unwrap();
    assert!(told.contains("erased: the session") && told.contains("nothing opens what they sealed"), "{told}");

    for life in 0..2 {
        let (after, pack) = verified(&world, &cli, &session, &format!("after-{life}"));
        assert_eq!((&after["holds"], said_of(&after, "not_shown", "it was erased")), (&json!(true), 4), "{after:#}");
        assert!(!pack.to_string().contains(&principal) && !pack.to_string().contains(SECRET));
        let kinds: Vec<_> = pack["reading"]["timeline"].as_array().unwrap().iter().map(|line| line["kind"].clone()).collect();
        assert_eq!(kinds, ["policy", "decision", "outcome", "hold", "hold", "purge"]);
        // By its name nothing is found any more, which is not the same as that there never was anything.
        let out = world.directory().join(format!("by-name-{life}"));
        let by_name = cli.run(&["evidence", "pack", "--principal", &principal, "--out", out.to_str().unwrap()]).unwrap();
        let said = String::from_utf8_lossy(&by_name.stderr).into_owned();
        assert_eq!((by_name.status.code(), out.exists()), (Some(1), false), "{said}");
        assert!(
            said.contains("4 records of that time are erased, and nobody can say any longer whose they were (a purge of "),
            "{said}"
        );
        let erased = cli.json(&["trace", "list", "--session", &session]).unwrap();
        assert!(names_nobody(&erased["traces"][0]) && erased["traces"].as_array().unwrap().len() == 1, "{erased}");
        if life == 0 {
            world.stack.control_plane.end().unwrap();
            let journal = world.stack.control_plane.journal();
            cli.text(&["journal", "check", journal.to_str().unwrap()]).unwrap();
            for word in [SECRET, &principal] {
                assert!(!holds(&journal, word.as_bytes()), "{word}");
            }
            world.stack.control_plane.begin().unwrap();
        }
    }
    // The same agent goes on, under a new key.
    eventually("calls pass again", || (call(&world, 2)["error"].is_null()).then_some(())).unwrap();
    let lines = cli.json(&["trace", "list", "--principal", &principal]).unwrap();
    assert!(lines["traces"].as_array().unwrap().iter().all(|line| line["session"] != json!(session)), "{lines}");
}

#[test]
fn what_one_replica_purges_is_erased_at_the_other_and_a_hold_of_one_is_obeyed_by_the_other() {
    let postgres = Postgres::shared().unwrap();
    let mut plan = WorldPlan::recorder(Protocol::Http1, |_| Reply::json(RESULT)).unwrap();
    plan.stack.database = Some(postgres.url(&postgres.database().unwrap()));
    plan.stack.others = &["other"];
    let world = plan.start().unwrap();
    let (one, other) = (&world.stack.cli, world.stack.cli_of(&world.places, &world.stack.others[0]));
    call(&world, 1);
    let line = ended(one, 1)[0].clone();
    let session = line["session"].as_str().unwrap();
    assert_eq!(ended(&other, 1)[0]["session"], session);
    let hold = one.json(&["hold", "place", "--session", session, "--reason", "a case"]).unwrap()["hold"].to_string();
    let purge = ["purge", "--session", session, "--reason", "they asked for it", "--yes"];
    let refused = other.run(&purge).unwrap();
    assert!(String::from_utf8_lossy(&refused.stderr).contains(&format!("HELD: the hold {hold}")), "{refused:?}");
    other.text(&["hold", "lift", &hold, "--reason", "it is over"]).unwrap();
    other.text(&purge).unwrap();
    for cli in [one, &other] {
        let erased = || {
            let lines = cli.json(&["trace", "list", "--session", session]).ok()?;
            names_nobody(&lines["traces"][0]).then_some(())
        };
        eventually("the purge is heard of", erased).unwrap();
        let (report, _) = verified(&world, cli, session, &format!("pack-{}", std::ptr::from_ref(cli).addr()));
        assert_eq!((&report["holds"], said_of(&report, "not_shown", "it was erased")), (&json!(true), 4), "{report:#}");
    }
    for id in 2..=9 {
        assert!(call(&world, id)["error"].is_null(), "{id}");
    }
    let lines = ended(one, 9);
    assert_eq!(lines.iter().filter(|line| names_nobody(line)).count(), 1, "no later call lost its body: {lines:#?}");
}
