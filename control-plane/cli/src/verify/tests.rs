//! Good input and bad, each by what is said of it.

pub(crate) mod book;
mod packs;
mod served;

use super::{Question, Report, Unreadable, judge};
use agentgate_core::error::chain;
use agentgate_core::transparency::trust::Trust;
use book::{Book, signer, trust, witness};
use serde_json::{Value, json};
use std::path::Path;

fn question(trust: Trust) -> Question {
    Question { trust, keys: vec![signer(1).verifier().clone()], redecide: true }
}

/// What is expected of one file.
enum Said<'a> {
    /// It holds, and this is among what is shown.
    Shown(&'a str),
    /// It is read, and this is wrong with it.
    Wrong(&'a str),
    /// It cannot be read, for this reason.
    Not(&'a str),
}

use Said::{Not, Shown, Wrong};

fn check(case: &str, judged: Result<Report, Unreadable>, said: &Said<'_>) {
    let json = |report: &Report| format!("{report:?}");
    match (judged, said) {
        (Ok(report), Shown(words)) => assert!(report.holds() && json(&report).contains(words), "{case}: {report:#?}"),
        (Ok(report), Wrong(words)) => {
            assert!(report.wrong.iter().any(|wrong| wrong.contains(words)), "{case}: {report:#?}");
        }
        (Err(error), Not(words)) => assert!(chain(&error).contains(words), "{case}: {}", chain(&error)),
        (Ok(report), Not(_)) => panic!("{case}: was read: {report:#?}"),
        (Err(error), Shown(_) | Wrong(_)) => panic!("{case}: was not read: {}", chain(&error)),
    }
}

fn proof_of(book: &Book, sequence: u64) -> Value {
    book.proof(sequence).to_json()
}

#[test]
fn a_proof_says_what_it_shows_and_bad_ones_have_names() {
    let (book, other) = (Book::calls(300), Book::calls(299));
    let good = proof_of(&book, 5);
    let with = |name: &str, value: Value| {
        let mut changed = good.clone();
        changed[name] = value;
        changed.to_string()
    };
    let text = good.to_string();
    let forged = good["checkpoint"].as_str().expect("text").replacen("300\n", "301\n", 1);
    let stranger = String::from_utf8(book.checkpoint(&signer(2))).expect("text");
    let unsigned = good["checkpoint"].as_str().expect("text").split("\n\n").next().expect("a text").to_owned();
    let seventh = proof_of(&book, 7);
    let cases: [(&str, String, Said<'_>); 19] = [
        ("whole", text.clone(), Shown("record 5 is in the log")),
        ("its record", text.clone(), Shown("the record 5 that was given is the one in the log")),
        ("nothing earlier was given", text.clone(), Shown("no older checkpoint was given")),
        ("nobody else saw it", text.clone(), Shown("not witnessed")),
        ("cut short", text[..text.len() - 9].to_owned(), Not("is cut short")),
        ("empty", String::new(), Not("is cut short")),
        ("corrupt", text.replacen('{', "[", 1), Not("is corrupt: it is no JSON")),
        ("another file", json!({"form": "x"}).to_string(), Not("neither a proof, nor an exported log, nor an evidence pack")),
        ("newer", with("version", json!(2)), Not("is of version 2 of its form, and this program reads up to 1")),
        ("no version", with("version", Value::Null), Not("`version` is not a number")),
        ("no base64", with("record", json!("%")), Not("`record` is not bytes in base64")),
        ("half an entry", with("entry", json!("AQ==")), Not("its entry is none: an entry has 70 bytes, and this one 1")),
        ("half a hash", with("hashes", json!(["AQ=="])), Not("its proof is none")),
        ("unsigned", with("checkpoint", json!(unsigned)), Not("its checkpoint is no signed note")),
        ("forged", with("checkpoint", json!(forged)), Wrong("does not hold")),
        (
            "of a stranger",
            with("checkpoint", json!(stranger)),
            Wrong("no key of the log `log.example/test` that was given signed"),
        ),
        (
            "another leaf's proof",
            with("hashes", seventh["hashes"].clone()),
            Wrong("the proof that record 5 is in the log does not hold"),
        ),
        ("another log's proof", with("checkpoint", proof_of(&other, 5)["checkpoint"].clone()), Wrong("does not hold")),
        ("another record", with("record", seventh["record"].clone()), Wrong("record 5 that was given is not the one")),
    ];
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("proof.json");
    for (case, text, said) in &cases {
        std::fs::write(&path, text).expect("written");
        check(case, judge(&path, &question(trust()), &[]), said);
    }
    check("absent", judge(&directory.path().join("none"), &question(trust()), &[]), &Not("cannot read"));
    check("an empty folder", judge(directory.path(), &question(trust()), &[]), &Not("neither a proof"));
}

/// An exported log, after something was done to it.
fn exported(case: &str, older: &[Vec<u8>], spoil: impl FnOnce(&Path), said: &Said<'_>) {
    let directory = tempfile::tempdir().expect("a directory");
    Book::calls(600).export(directory.path());
    spoil(directory.path());
    check(case, judge(directory.path(), &question(trust()), older), said);
}

fn flip(file: &Path, at: usize) {
    let mut bytes = std::fs::read(file).expect("a file");
    bytes[at] ^= 1;
    std::fs::write(file, bytes).expect("written");
}

#[test]
fn an_exported_log_is_read_whole_and_bad_ones_have_names() {
    exported("whole", &[], |_| (), &Shown("the entries 1 to 600 are those that were signed"));
    exported(
        "in order",
        &[],
        |_| (),
        &Shown("no call of source 0707070707070707070707070707070707070707 is missing between 1 and 600"),
    );
    exported(
        "grown",
        &[Book::calls(300).checkpoint(&signer(1))],
        |_| (),
        &Shown("the first 300 of 600 entries are as they were"),
    );
    let mut rewritten = Book::calls(299);
    rewritten.decision(8, 1);
    exported("rewritten", &[rewritten.checkpoint(&signer(1))], |_| (), &Wrong("it was rewritten"));
    exported(
        "of another key",
        &[Book::calls(300).checkpoint(&signer(2))],
        |_| (),
        &Wrong("the older checkpoint is not the log's"),
    );
    exported("a record's digest", &[], |at| flip(&at.join("tile/entries/001"), 2 + 69), &Wrong("are not those that were signed"));
    exported("a sequence", &[], |at| flip(&at.join("tile/entries/001"), 2 + 9), &Not("says that it is the log's"));
    exported("a length", &[], |at| flip(&at.join("tile/entries/001"), 0), &Not("is corrupt"));
    exported("a kind", &[], |at| flip(&at.join("tile/entries/000"), 3), &Not("a record of kind 0 is not known here"));
    exported("a counter", &[], |at| flip(&at.join("tile/entries/000"), 2 + 37), &Wrong("are not those that were signed"));
    exported("a tile", &[], |at| flip(&at.join("tile/0/001"), 77), &Wrong("`tile/0/001` is not made of"));
    exported("a partial tile", &[], |at| flip(&at.join("tile/1/000.p/2"), 7), &Wrong("`tile/1/000.p/2` is not made of"));
    exported("the checkpoint", &[], |at| flip(&at.join("checkpoint"), 18), &Wrong("does not hold"));
    let cut = |at: &Path| std::fs::remove_file(at.join("tile/entries/002.p/88")).expect("removed");
    exported("cut short", &[], cut, &Not("`tile/entries/002.p/88` is missing"));
    let torn = |at: &Path| std::fs::write(at.join("checkpoint"), "log.example/test\n600\n").expect("written");
    exported("a torn checkpoint", &[], torn, &Not("its checkpoint is no signed note"));
}

#[test]
fn a_call_that_was_left_out_of_a_log_shows_by_its_number() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut book = Book::calls(9);
    book.decision(7, 12);
    book.export(directory.path());
    let report = judge(directory.path(), &question(trust()), &[]).expect("read");
    assert!(report.not_shown.iter().any(|not| not.contains("have no decision in the log: 10-11")), "{report:#?}");
}

#[test]
fn witnesses_count_when_they_were_asked_for() {
    let directory = tempfile::tempdir().expect("a directory");
    let book = Book::calls(3);
    book.export(directory.path());
    std::fs::write(directory.path().join("checkpoint"), book.checkpoint_cosigned(&signer(1), Some(&witness(9))))
        .expect("written");
    let asked = |witnesses: &[u8], quorum| {
        let keys = witnesses.iter().map(|seed| witness(*seed).verifier().clone()).collect();
        trust().witnessed_by(keys, quorum).expect("witnesses")
    };
    let said = |trust: &Trust| format!("{:?}", judge(directory.path(), &question(trust.clone()), &[]).expect("read"));
    assert!(said(&asked(&[9], 1)).contains("witnessed by witness.example+"));
    assert!(said(&asked(&[9, 8], 1)).contains("\"witnessed by witness.example+"));
    assert!(said(&asked(&[9, 8], 2)).contains("not witnessed: 1 of 2"));
    assert!(said(&trust()).contains("not witnessed: 0 of 0"));
}
