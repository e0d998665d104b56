//! What an auditor is given, and what he finds with a public key alone: calls of several kinds through a real gate, packed,
//! verified, decided again, and spoiled; and held against a checkpoint that was kept.

use crate::restoring::{signed, text};
use crate::wire::{RESULT, tools_call};
use agentgate_e2e::upstream::{Protocol, Reply};
use agentgate_e2e::{World, WorldPlan, eventually};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// Bytes of each file that are flipped, one at a time.
const FLIPPED: usize = 12;

fn call(world: &World, id: u32, tool: &str, arguments: &Value) -> Value {
    world.http1(&tools_call(id, tool, arguments)).unwrap().json()
}

/// As an auditor has it: the program and a key; no endpoint, no certificate.
fn verify(world: &World, path: &Path, key: &str, more: &[&str]) -> Output {
    let mut command = Command::new(&world.places.agentgate);
    command.arg("verify").arg(path).args(["--key", key, "--output", "json"]).args(more).env_clear();
    // What the operator's program made is made again, wherever on earth the auditor sits.
    command.envs([("TZ", "Pacific/Auckland"), ("LC_ALL", "tr_TR.UTF-8"), ("TERM", "dumb"), ("COLUMNS", "40")]);
    command.output().unwrap()
}

fn said(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

fn contains(list: &Value, words: &str) -> bool {
    list.as_array().unwrap().iter().any(|line| line.as_str().unwrap().contains(words))
}

/// The same sealed, in an archive, and open again.
fn archived(world: &World, principal: &str, key: &str) {
    let cli = &world.stack.cli;
    let at = |name: &str| world.directory().join(name);
    let (sealed, archive, opened) = (at("sealed"), at("archive"), at("opened"));
    cli.text(&["evidence", "pack", "--principal", principal, "--sealed", "--out", sealed.to_str().unwrap()]).unwrap();
    for file in fs::read_dir(&sealed).unwrap().map(|file| file.unwrap().path()) {
        let bytes = fs::read(&file).unwrap();
        let names = |name: &str| bytes.windows(name.len()).any(|found| found == name.as_bytes());
        assert!(!names(principal) && !names("add_note</span>"), "{} names somebody", file.display());
    }
    let keep = || cli.json(&["evidence", "archive", sealed.to_str().unwrap(), "--into", archive.to_str().unwrap()]).unwrap();
    let kept = keep();
    assert_eq!((&kept["new"], &keep()["new"]), (&json!(true), &json!(false)));
    let list = cli.json(&["evidence", "list", archive.to_str().unwrap(), "--key", key]).unwrap();
    assert_eq!((&list["packs"][0]["name"], &list["packs"][0]["holds"]), (&kept["name"], &json!(true)), "{list:#}");
    let report = said(&verify(world, kept["path"].as_str().unwrap().as_ref(), key, &[]));
    assert!(contains(&report["shown"], "sealed bodies is, byte for byte"), "{report:#}");
    let place = kept["path"].as_str().unwrap();
    let told = cli.json(&["evidence", "open", place, "--out", opened.to_str().unwrap()]).unwrap();
    assert!(told["opened"].as_u64().unwrap() >= 4 && told["erased"] == 0, "{told:#}");
    let report = said(&verify(world, &opened, key, &["--redecide"]));
    assert!(report["holds"] == true && contains(&report["shown"], "4 decisions come to the same verdict again"), "{report:#}");
}

/// All that there is: nothing of the log may be missing.
fn whole(world: &World, key: &str) {
    let pack = world.directory().join("whole");
    world.stack.cli.text(&["evidence", "pack", "--since", "3650d", "--out", pack.to_str().unwrap()]).unwrap();
    let report = said(&verify(world, &pack, key, &["--redecide"]));
    assert!(report["holds"] == true && contains(&report["shown"], "how each body was given"), "{report:#}");
    assert!(contains(&report["shown"], "no call of source"), "{report:#}");
    for near in ["the log's records", "have no decision"] {
        assert!(!contains(&report["not_shown"], near), "{near}: {report:#}");
    }
}

#[test]
fn an_auditor_finds_whatever_was_changed_with_a_public_key_alone() {
    let world = WorldPlan::recorder(Protocol::Http1, |_| Reply::json(RESULT)).unwrap().start().unwrap();
    let cli = &world.stack.cli;
    call(&world, 1, "read_note", &json!({"title": "x"}));
    call(&world, 2, "delete_everything", &json!({}));
    let note = json!({"title": "<b>x</b>", "text": "y"});
    let waits = call(&world, 3, "add_note", &note);
    let approval = waits["result"]["_meta"]["agentgate/verdict"]["approval"].as_str().unwrap().to_owned();
    cli.text(&["approve", "grant", &approval, "--yes", "--reason", "agreed"]).unwrap();
    call(&world, 4, "add_note", &note);
    let traces = || {
        let traces = world.traces().ok()?;
        let ended = traces.iter().filter(|trace| trace["verdict"] == "allow").all(|trace| !trace["outcome"].is_null());
        (traces.len() >= 4 && ended).then_some(traces)
    };
    let principal = eventually("each call has its outcome", traces).unwrap()[0]["principal"].as_str().unwrap().to_owned();
    let key = eventually("all of it is signed", || {
        let log = cli.json(&["log", "show"]).ok()?;
        (log["size"] == log["head"]).then(|| log["keys"][0].as_str().unwrap().to_owned())
    })
    .unwrap();

    let pack = world.directory().join("pack");
    cli.text(&["evidence", "pack", "--principal", &principal, "--out", pack.to_str().unwrap()]).unwrap();
    let output = verify(&world, &pack, &key, &["--redecide"]);
    let report = said(&output);
    assert!(output.status.success() && report["holds"] == true, "{report:#}");
    assert!(contains(&report["shown"], "4 decisions come to the same verdict again"), "{report:#}");
    assert!(contains(&report["not_shown"], "not witnessed"), "{report:#}");
    for shown in [
        "`report.html` and `report.pdf` say what the pack holds",
        "how each body was given, and what, is as the control plane signed it",
        "signed the files of the pack; spiffe://agentgate.local/operator/me asked for it at 20",
        "the records that it gave; spiffe://agentgate.local/operator/me asked for it at 20",
    ] {
        assert!(contains(&report["shown"], shown), "{shown}: {report:#}");
    }
    let packed: Value = serde_json::from_slice(&fs::read(pack.join("pack.json")).unwrap()).unwrap();
    let summary = &packed["reading"]["summary"];
    assert_eq!((&summary["allow"], &summary["pending"], &summary["deny"]), (&json!(2), &json!(1), &json!(1)), "{summary}");
    assert!(packed["reading"]["writes"][0]["agreed"][0].as_str().unwrap().contains("operator/me"), "{packed:#}");
    let html = fs::read_to_string(pack.join("report.html")).unwrap();
    assert!(html.contains("add_note") && !html.contains("<script") && !html.contains("<b>x</b>"));
    assert!(html.contains("&#60;b&#62;x&#60;/b&#62;"), "what it was called with is shown");
    let arguments =
        &packed["reading"]["timeline"].as_array().unwrap().iter().find(|line| line["target"] == "add_note").unwrap()["arguments"];
    assert!(arguments.to_string().contains("<b>x</b>"), "{arguments}");

    let other = "log.example/other+c1d5ba97+AZ+2uhAHGPB+RnAzJmzNZAYK0ZxhHzfOnDxuvFmP4jTN";
    assert!(!verify(&world, &pack, other, &[]).status.success());
    for file in ["pack.json", "report.html", "report.pdf", "pack.note"] {
        let (path, whole) = (pack.join(file), fs::read(pack.join(file)).unwrap());
        for at in (0..FLIPPED).map(|at| at * (whole.len() - 1) / (FLIPPED - 1)) {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            fs::write(&path, flipped).unwrap();
            assert!(!verify(&world, &pack, &key, &[]).status.success(), "byte {at} of {file}");
        }
        fs::write(&path, whole).unwrap();
    }
    let mut less = packed.clone();
    let left_out = less["records"].as_array_mut().unwrap().remove(1)["sequence"].clone();
    fs::write(pack.join("pack.json"), format!("{less:#}\n")).unwrap();
    let report = said(&verify(&world, &pack, &key, &[]));
    assert!(contains(&report["wrong"], &format!("records were left out of it: {left_out}")), "{report:#}");

    archived(&world, &principal, &key);
    whole(&world, &key);

    let (proof, log) = (world.directory().join("proof.json"), world.directory().join("log-copy"));
    cli.text(&["log", "prove", "2", "--out", proof.to_str().unwrap()]).unwrap();
    cli.text(&["log", "export", log.to_str().unwrap()]).unwrap();
    for path in [&proof, &log] {
        let output = verify(&world, path, &key, &[]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
    assert!(!contains(&said(&verify(&world, &log, &key, &[]))["not_shown"], "no file of the log"), "an export has nothing else");
    fs::copy(log.join("checkpoint"), log.join("monday.checkpoint")).unwrap();
    let report = said(&verify(&world, &log, &key, &[]));
    assert!(report["holds"] == true && contains(&report["not_shown"], "what `monday.checkpoint` say"), "{report:#}");
    fs::copy(pack.join("report.html"), log.join("report.html")).unwrap();
    let report = said(&verify(&world, &log, &key, &[]));
    assert!(contains(&report["wrong"], "`report.html` lies in it and is the report of a pack"), "{report:#}");
    let again = cli.json(&["log", "export", log.to_str().unwrap()]).unwrap();
    assert_eq!(again["files_written"], 0, "what is there is not fetched again");
}

/// What `verify` says beside Monday's checkpoint and this proof, and how it ends.
fn since(world: &World, path: &Path, key: &str, monday: &Path, growth: &Path) -> (Value, Option<i32>) {
    let output = verify(world, path, key, &["--older", text(monday), "--growth", text(growth)]);
    (said(&output), output.status.code())
}

#[test]
fn a_pack_of_friday_is_held_against_mondays_checkpoint_and_a_forked_journal_is_found() {
    let mut world = WorldPlan::recorder(Protocol::Http1, |_| Reply::json(RESULT)).unwrap().start().unwrap();
    let (home, journal) = (world.stack.control_plane.directory().to_owned(), world.stack.control_plane.journal());
    let at = |name: &str| home.join(name);
    let read = |id| call(&world, id, "read_note", &json!({}));
    read(1);
    let before = signed(&world, 2);
    world.stack.cli.text(&["journal", "backup", "--from", text(&journal), text(&at("before"))]).unwrap();
    read(2);
    let kept = signed(&world, before["size"].as_u64().unwrap() + 1);
    let (key, size) = (kept["keys"][0].as_str().unwrap().to_owned(), kept["size"].as_u64().unwrap());
    let (monday, friday, growth, newest) = (at("monday.checkpoint"), at("friday"), at("growth.proof"), at("newest.proof"));
    fs::write(&monday, kept["checkpoint"].as_str().unwrap()).unwrap();
    read(3);
    signed(&world, size + 1);
    let cli = &world.stack.cli;
    cli.text(&["evidence", "pack", "--since", "1d", "--out", text(&friday)]).unwrap();
    read(4);
    signed(&world, size + 3);

    let until = ["log", "prove", "--since", text(&monday), "--until", text(&friday), "--out", text(&growth)];
    let proved = cli.json(&until).unwrap();
    let (old, new) = (proved["old_size"].as_u64().unwrap(), proved["new_size"].as_u64().unwrap());
    let grew = format!("the first {size} of {new} entries are as they were when they were signed");
    assert!(old == size && new > size, "{proved:#}");
    for path in [&friday, &growth] {
        let (report, exit) = since(&world, path, &key, &monday, &growth);
        assert!(exit == Some(0) && report["holds"] == true && contains(&report["shown"], &grew), "{report:#}");
    }
    let report = said(&verify(&world, &friday, &key, &["--older", text(&monday)]));
    assert!(report["holds"] == true && contains(&report["not_shown"], "there is neither a proof nor a run"), "{report:#}");
    let written = fs::read(&growth).unwrap();
    let again = cli.run(&until).unwrap();
    assert_eq!((again.status.code(), fs::read(&growth).unwrap()), (Some(1), written), "never over a file");
    // To the newest checkpoint, which is not the pack's.
    cli.text(&["log", "prove", "--since", text(&monday), "--out", text(&newest)]).unwrap();
    assert!(said(&verify(&world, &newest, &key, &["--since", text(&monday)]))["holds"] == true);
    let (report, exit) = since(&world, &friday, &key, &monday, &newest);
    assert!(exit == Some(0) && contains(&report["not_shown"], "newest.proof` is for: it is of"), "{report:#}");
    assert!(!contains(&report["shown"], "are as they were"), "{report:#}");

    // Whoever has the key and the disk takes Monday back, and everything that remembers it.
    world.stack.control_plane.end().unwrap();
    fs::remove_dir_all(&journal).unwrap();
    fs::remove_dir_all(at("log")).unwrap();
    world.stack.cli.text(&["journal", "restore", text(&at("before")), "--to", text(&journal)]).unwrap();
    world.stack.control_plane.begin().unwrap();
    let (forked, other, story, lie) = (at("forked.checkpoint"), at("other"), at("story.proof"), at("lie.proof"));
    fs::write(&forked, signed(&world, 0)["checkpoint"].as_str().unwrap()).unwrap();
    eventually("the other log is longer", || {
        call(&world, 5, "delete_everything", &json!({}));
        (world.stack.cli.json(&["log", "show"]).ok()?["size"].as_u64()? > size).then_some(())
    })
    .unwrap();
    let cli = &world.stack.cli;
    cli.text(&["evidence", "pack", "--since", "1d", "--out", text(&other)]).unwrap();
    let refused = cli.run(&["log", "prove", "--since", text(&monday), "--out", text(&lie)]).unwrap();
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(1) && why.contains("did not grow to the log"), "{why}");
    assert!(!lie.exists(), "what does not hold is not written");
    // A proof of the other log holds for its own past, and for nobody's who kept Monday's.
    cli.text(&["log", "prove", "--since", text(&forked), "--until", text(&other), "--out", text(&story)]).unwrap();
    assert_eq!(since(&world, &other, &key, &forked, &story).1, Some(0));
    let mut forged: Value = serde_json::from_slice(&fs::read(&story).unwrap()).unwrap();
    forged["old_size"] = json!(size);
    fs::write(&lie, forged.to_string()).unwrap();
    for path in [&other, &lie] {
        let (report, exit) = since(&world, path, &key, &monday, &lie);
        let wrong = format!("the proof that {size} entries grew to ");
        assert!(exit == Some(1) && contains(&report["wrong"], &wrong), "{report:#}");
    }
}
