//! What is personal in a call through a real gate: the tool gets it, and neither the journal, nor a trace, nor a pack has it.

use crate::wire::{RESULT, tools_call};
use agentgate_e2e::upstream::{Protocol, Reply};
use agentgate_e2e::{World, WorldPlan, eventually};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const EMAIL: &str = "anna.lee@mail.example";
const CARD: &str = "4111 1111 1111 1111";

fn call(world: &World, id: u32, arguments: &Value) -> Value {
    world.http1(&tools_call(id, "read_note", arguments)).unwrap().json()
}

fn world(pii: &str) -> World {
    let mut plan = WorldPlan::recorder(Protocol::Http1, |_| Reply::json(RESULT)).unwrap();
    plan.stack.configuration = format!("[[privacy.tenant]]\nname = \"default\"\npii = {pii:?}\n");
    let world = plan.start().unwrap();
    call(&world, 1, &json!({"title": format!("to {EMAIL}")}));
    call(&world, 2, &json!({"title": format!("to {EMAIL}, by {CARD}")}));
    call(&world, 3, &json!({"title": "x"}));
    let ended = || world.traces().ok().filter(|all| all.len() == 3 && all.iter().all(|trace| !trace["outcome"].is_null()));
    eventually("each call has its outcome", ended).unwrap();
    world
}

/// The arguments that the trace of a call shows; the newest is 0.
fn shown(world: &World, newest: usize) -> String {
    let traces = world.traces().unwrap();
    let id = traces[newest]["call_id"].as_str().unwrap();
    world.stack.cli.json(&["trace", "show", id]).unwrap()["body"]["ask"]["body"].as_str().unwrap().to_owned()
}

/// A pack of everything, and what an auditor finds in it.
fn pack(world: &World, name: &str, more: &[&str]) -> (PathBuf, Value, Value) {
    let cli = &world.stack.cli;
    let key = eventually("all of it is signed", || {
        let log = cli.json(&["log", "show"]).ok()?;
        (log["size"] == log["head"]).then(|| log["keys"][0].as_str().unwrap().to_owned())
    })
    .unwrap();
    let out = world.directory().join(name);
    cli.text(&[&["evidence", "pack", "--since", "1d", "--out", out.to_str().unwrap()], more].concat()).unwrap();
    let mut verify = Command::new(&world.places.agentgate);
    let verified = verify.arg("verify").arg(&out).args(["--key", &key, "--redecide", "--output", "json"]).env_clear().output();
    let report = serde_json::from_slice(&verified.unwrap().stdout).unwrap();
    let packed = serde_json::from_slice(&fs::read(out.join("pack.json")).unwrap()).unwrap();
    (out, packed, report)
}

fn said<'a>(report: &'a Value, kind: &str, words: &str) -> Vec<&'a str> {
    let lines = report[kind].as_array().unwrap().iter().map(|line| line.as_str().unwrap());
    lines.filter(|line| line.contains(words)).collect()
}

/// All bodies of a pack, as they would be read.
fn bodies(packed: &Value) -> Vec<u8> {
    use base64::Engine as _;
    let plain = |record: &Value| record["body"]["plain"].as_str().map(str::to_owned);
    let decode = |text: String| base64::engine::general_purpose::STANDARD.decode(text).unwrap();
    packed["records"].as_array().unwrap().iter().filter_map(plain).flat_map(decode).collect()
}

fn holds(bytes: &[u8], words: &str) -> bool {
    bytes.windows(words.len()).any(|window| window == words.as_bytes())
}

/// Every file below, whole.
fn files(directory: &Path, found: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if let Ok(bytes) = fs::read(&path) {
            found.push((path, bytes));
        }
    }
}

#[test]
fn a_tenants_addresses_and_cards_are_tokens_wherever_they_are_kept_or_shown() {
    let world = world("tokenise");
    let arrived = world.upstream().unwrap().arrived();
    assert!(arrived.iter().any(|request| holds(&request.body, EMAIL)), "the tool gets what was written");
    let (second, first) = (shown(&world, 1), shown(&world, 2));
    let token = |text: &str| text.split("[email:").nth(1).unwrap().split(']').next().unwrap().to_owned();
    assert!(!first.contains(EMAIL) && !second.contains(CARD) && second.contains("[card:"), "{second}");
    assert_eq!(token(&first), token(&second), "the same value, the same token");

    let (_, packed, report) = pack(&world, "pack", &[]);
    assert_eq!(report["holds"], true, "{report:#}");
    assert_eq!(said(&report, "not_shown", "no longer re-decidable: tokenised").len(), 2, "{report:#}");
    assert_eq!(said(&report, "shown", "1 decision comes to the same verdict again").len(), 1, "{report:#}");
    let opened = bodies(&packed);
    assert!(!holds(&opened, EMAIL) && !holds(&opened, CARD) && holds(&opened, &token(&first)));
    let mut all = Vec::new();
    files(world.directory(), &mut all);
    let plain: Vec<_> = all.iter().filter(|(_, bytes)| holds(bytes, EMAIL) || holds(bytes, CARD)).map(|(path, _)| path).collect();
    assert!(all.len() > 5 && plain.is_empty(), "{plain:?}");
}

#[test]
fn a_pack_without_what_is_personal_verifies_and_says_what_it_does_not_show() {
    let world = world("off");
    assert!(shown(&world, 2).contains(EMAIL));
    let (_, whole, report) = pack(&world, "whole", &[]);
    assert!(report["holds"] == true && holds(&bodies(&whole), EMAIL), "{report:#}");
    for (how, word) in [("redact", "redacted"), ("tokenise", "tokenised")] {
        let (out, packed, report) = pack(&world, how, &["--pii", how]);
        assert_eq!(report["holds"], true, "{report:#}");
        assert_eq!(said(&report, "not_shown", "what is personal was taken out of it for the pack").len(), 5, "{report:#}");
        assert_eq!(said(&report, "not_shown", &format!("no longer re-decidable: {word}")).len(), 2, "{report:#}");
        assert_eq!(said(&report, "shown", &format!("what was asked of bodies: {how}")).len(), 1, "{report:#}");
        assert!(!holds(&bodies(&packed), EMAIL) && !holds(&bodies(&packed), CARD));
        let altered = packed["records"].as_array().unwrap().iter().map(|record| &record["body"]);
        assert!(altered.filter(|body| body["altered"] == how).all(|body| body.get("salt").is_none()));
        assert!(!holds(&fs::read(out.join("report.html")).unwrap(), EMAIL));
    }
}
