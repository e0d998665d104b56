//! Good input and bad, each by what is said of it.

pub(crate) mod book;
mod bounded;
mod earned;
mod growth;
mod heavy;
mod missing;
mod odd;
mod packs;
mod served;

use super::redecide::{Answers, here};
use super::{Question, Report, Unreadable, judge};
use crate::failure::Exit;
use crate::pack::Pack;
use crate::screen::{Charset, Screen};
use agentgate_core::error::chain;
use agentgate_core::transparency::trust::Trust;
use book::{Book, signer, trust, witness};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;

fn question(trust: Trust) -> Question {
    Question { trust, keys: vec![signer(1).verifier().clone()], redecide: Some(settled), grown: Vec::new() }
}

/// In this process: what is packed here ends none, but where a test says so.
fn settled(pack: &Pack, wanted: &BTreeSet<u64>, body_bytes_max: usize) -> Answers {
    let mut answers = Answers::new();
    here(pack, wanted, body_bytes_max, &mut |sequence, again| drop(answers.insert(sequence, again)));
    answers
}

/// What is expected of a file or a pack.
enum Said<'a> {
    /// It holds, and this is among what is shown.
    Shown(&'a str),
    /// It holds, and this is among what nothing shows.
    NotShown(&'a str),
    /// This is wrong with it.
    Wrong(&'a str),
    /// It cannot be read, for this reason.
    Not(&'a str),
}

use Said::{Not, NotShown, Shown, Wrong};

fn check(case: &str, judged: &Result<Report, Unreadable>, said: &Said<'_>) {
    match (judged, said) {
        (Ok(report), said) => {
            let (held, list, words) = match said {
                Shown(words) => (true, &report.shown, words),
                NotShown(words) => (true, &report.all_not_shown(), words),
                Wrong(words) => (false, &report.wrong, words),
                Not(_) => panic!("{case}: was read: {report:#?}"),
            };
            assert!(report.holds() == held && list.iter().any(|line| line.contains(words)), "{case}: {report:#?}");
        }
        (Err(error), Not(words)) => assert!(chain(error).contains(words), "{case}: {}", chain(error)),
        (Err(error), Shown(_) | NotShown(_) | Wrong(_)) => panic!("{case}: was not read: {}", chain(error)),
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
    let cases: [(&str, String, Said<'_>); 21] = [
        ("whole", text.clone(), Shown("record 5 is in the log")),
        ("its record", text.clone(), Shown("the record 5 that was given is the one in the log")),
        ("nothing earlier was given", text.clone(), NotShown("no older checkpoint was given")),
        ("nobody else saw it", text.clone(), NotShown("not witnessed: no --witness key was given")),
        (
            "the rest of the log",
            text.clone(),
            NotShown("that nothing is missing from the log: a proof is only a part of it; `agentgate verify --log URL`"),
        ),
        ("cut short", text[..text.len() - 9].to_owned(), Not("is cut short: EOF while parsing")),
        ("empty", String::new(), Not("is cut short")),
        ("corrupt", text.replacen('{', "[", 1), Not("is corrupt: it is no JSON")),
        ("another file", json!({"form": "x"}).to_string(), Not("neither a proof, nor an exported log, nor an evidence pack")),
        ("newer", with("version", json!(2)), Not("is of version 2 of its form, and this program reads up to 1")),
        ("no version", with("version", Value::Null), Not("`version` is not a number")),
        ("a field more", with("said", json!("x")), Not("`said` is not a field of its form")),
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
        check(case, &judge(&path, &question(trust()), &[]), said);
    }
    check("absent", &judge(&directory.path().join("none"), &question(trust()), &[]), &Not("cannot read"));
    check("an empty folder", &judge(directory.path(), &question(trust()), &[]), &Not("neither a proof"));
}

#[test]
fn what_is_no_key_or_names_nothing_says_what_to_give_instead() {
    let directory = tempfile::tempdir().expect("a directory");
    let (file, key) = (directory.path().join("log.verifier"), signer(1).verifier().to_string());
    std::fs::write(&file, &key).expect("written");
    let pem = directory.path().join("operator.key");
    std::fs::write(&pem, "-----BEGIN PRIVATE KEY-----\n").expect("written");
    let sized = |bytes: u64| {
        let path = directory.path().join(format!("{bytes}.pem"));
        let mut pem = b"-----BEGIN ".to_vec();
        pem.resize(usize::try_from(bytes).expect("small"), b'-');
        std::fs::write(&path, pem).expect("written");
        path.to_str().expect("text").to_owned()
    };
    let (full, more) = (sized(super::PEM_BYTES_MAX), sized(super::PEM_BYTES_MAX + 1));
    let (name, short) = (file.to_str().expect("text"), &key[..key.len() - 1]);
    let from_file = format!("--key \"$(cat {name})\"");
    let (is_file, spoiled) = ("is a file, and no verifier key", "is no verifier key: it is cut short or mistyped");
    let changed = key.replacen("test+", "tess+", 1);
    for (text, said, next) in [
        (name, is_file, from_file.as_str()),
        (pem.to_str().expect("text"), "wants one, and no verifier key of a log", "ask whoever runs the log"),
        (&full, "wants one, and no verifier key of a log", "ask whoever runs the log"),
        (&more, is_file, "--key \"$(cat "),
        ("/dev/zero", "`/dev/zero` is no verifier key", "ask whoever runs the log"),
        (short, spoiled, "ask whoever runs the log"),
        (&key[..key.len() - 9], spoiled, "ask whoever runs the log"),
        (&changed, spoiled, "ask whoever runs the log"),
        ("log.verifier.none", "`log.verifier.none` is no verifier key", "ask whoever runs the log"),
        ("", "`` is no verifier key", "ask whoever runs the log"),
    ] {
        let failure = super::keys(&[text.to_owned()]).expect_err(text);
        assert!(failure.chain()[0].ends_with(said) || failure.chain()[0].contains(is_file), "{text}: {failure:?}");
        assert_eq!(failure.chain()[0].contains(is_file), said == is_file, "{text}");
        assert!(failure.exit == Exit::Usage && failure.next()[0].starts_with(next), "{text}: {failure:?}");
    }
    assert!(super::keys(&[key]).is_ok());
    let none = directory.path().join("none");
    let empty = tempfile::tempdir().expect("a directory");
    for path in [&none, empty.path()] {
        let failure = super::unjudged(judge(path, &question(trust()), &[]).expect_err("none"));
        assert!(failure.exit == Exit::Local && failure.next()[0].starts_with("name a proof file, the dir"), "{failure:?}");
    }
    let failure = super::unheld(super::older::read(&none).expect_err("none"));
    assert!(failure.exit == Exit::Local && failure.next()[0].starts_with("name a checkpoint that was kept"), "{failure:?}");
    let failure = crate::evidence::listed(&none, &question(trust())).expect_err("none");
    assert!(failure.exit == Exit::Local && failure.next()[0].contains("`agentgate evidence archive`"), "{failure:?}");
}

#[test]
fn sentences_end_where_the_terminal_does_and_nowhere_in_a_word() {
    let long = "that nothing is missing from the log: a pack is only a part of it, and whoever wants to know reads all of it";
    let mut report = Report::new("pack");
    report.not_shown(long.into());
    report.not_shown("x".repeat(200));
    for (columns, terminal) in [(40, true), (80, true), (80, false)] {
        let screen = Screen { color: false, charset: Charset::Unicode, columns, terminal };
        let text = report.render(&screen);
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains(long), "{text}");
        let fits = |line: &&str| line.chars().count() <= usize::from(columns) || line.trim() == "x".repeat(200);
        assert_eq!(text.lines().all(|line| fits(&line)), terminal, "{columns}: {text}");
        assert_eq!(text.lines().any(|line| line == format!("  {long}")), !terminal, "{columns}: {text}");
    }
}

/// An exported log, after something was done to it.
fn exported(case: &str, older: &[Vec<u8>], spoil: impl FnOnce(&Path), said: &Said<'_>) {
    let directory = tempfile::tempdir().expect("a directory");
    Book::calls(600).export(directory.path());
    spoil(directory.path());
    check(case, &judge(directory.path(), &question(trust()), older), said);
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
    // As it was when the log had 300 entries.
    let outgrown = |at: &Path, more: u8| {
        let bytes = std::fs::read(at.join("tile/0/001")).expect("a tile");
        let folder = at.join("tile/0/001.p");
        std::fs::create_dir_all(&folder).expect("made");
        let then: Vec<u8> = bytes[..44 * 32].iter().map(|byte| byte ^ more).collect();
        std::fs::write(folder.join("44"), then).expect("written");
    };
    exported("an earlier tile", &[], |at| outgrown(at, 0), &Shown("the entries 1 to 600"));
    exported("another earlier tile", &[], |at| outgrown(at, 1), &Wrong("`tile/0/001.p/44` is not made of"));
    let torn = |at: &Path| std::fs::write(at.join("checkpoint"), "log.example/test\n600\n").expect("written");
    exported("a torn checkpoint", &[], torn, &Not("its checkpoint is no signed note"));
}

#[test]
fn what_lies_beside_a_log_is_not_taken_for_a_part_of_it() {
    let put = |at: &str| {
        let at = at.to_owned();
        move |log: &Path| {
            std::fs::create_dir_all(log.join(&at).parent().expect("a folder")).expect("made");
            std::fs::write(log.join(at), "x").expect("written");
        }
    };
    for report in ["report.html", "report.pdf", "tile/report.html"] {
        exported(report, &[], put(report), &Wrong(&format!("`{report}` lies in it and is the report of a pack")));
    }
    let foreign = [
        ("monday.checkpoint", "monday.checkpoint"),
        ("5.receipt", "5.receipt"),
        ("evidence.html", "evidence.html"),
        ("reports/report.html", "reports"),
        ("tile/x", "tile/x"),
        ("tile/0/999", "tile/0/999"),
        ("tile/entries/002.p/89", "tile/entries/002.p/89"),
    ];
    for (at, named) in foreign {
        exported(at, &[], put(at), &NotShown(&format!("what `{named}` say: no file of the log, and not looked at")));
    }
    let link = |log: &Path| std::os::unix::fs::symlink("/", log.join("tile/link")).expect("linked");
    exported("a link", &[], link, &NotShown("what `tile/link` say"));
    let many = |log: &Path| (0..25).for_each(|at| std::fs::write(log.join(format!("f{at:02}")), "x").expect("written"));
    exported("many", &[], many, &NotShown("`f19` and 5 more say"));
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
    let cases: [(&str, Trust, bool, &str); 6] = [
        ("the one", asked(&[9], 1), true, "shown: witnessed by witness.example+"),
        ("one of two", asked(&[9, 8], 1), true, "shown: witnessed by witness.example+"),
        (
            "one where both are asked for",
            asked(&[9, 8], 2),
            false,
            "wrong: not witnessed: 1 of 2 witnesses saw this checkpoint (witness.example+",
        ),
        ("another", asked(&[8], 1), false, "wrong: not witnessed: 0 of 1"),
        ("none of two", asked(&[8, 7], 1), false, "wrong: not witnessed: 0 of 1"),
        ("nobody is asked for", trust(), true, "not shown: not witnessed: no --witness key was given"),
    ];
    for (case, trust, holds, wanted) in cases {
        let report = judge(directory.path(), &question(trust), &[]).expect("read");
        let lines = report.shown.iter().map(|line| format!("shown: {line}"));
        let lines = lines.chain(report.wrong.iter().map(|line| format!("wrong: {line}")));
        let lines: Vec<_> = lines.chain(report.not_shown.iter().map(|line| format!("not shown: {line}"))).collect();
        let told = lines.iter().find(|line| line.starts_with(wanted)).unwrap_or_else(|| panic!("{case}: {lines:#?}"));
        assert_eq!(report.holds(), holds, "{case}: {lines:#?}");
        assert_eq!(told.contains(" at 2023-11-14 22:13:20"), wanted.contains("witness."), "{case}: when it saw it: {told}");
    }
}

#[test]
fn a_witness_that_saw_an_empty_log_saw_nothing_of_this_one() {
    let directory = tempfile::tempdir().expect("a directory");
    Book::calls(3).export(directory.path());
    let trust = trust().witnessed_by(vec![witness(9).verifier().clone()], 1).expect("a witness");
    for (entries, holds, said) in
        [(0, false, "not witnessed: 0 of 1 witnesses saw this checkpoint"), (1, true, "not witnessed: the entries 2 to 3")]
    {
        let older = Book::calls(entries).checkpoint_cosigned(&signer(1), Some(&witness(9)));
        let report = judge(directory.path(), &question(trust.clone()), &[older]).expect("read");
        let all = [&report.wrong[..], &report.not_shown].concat();
        assert!(report.holds() == holds && all.iter().any(|line| line.contains(said)), "{entries}: {report:#?}");
    }
}
