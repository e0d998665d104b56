//! That the log only grew: beside a proof of one record, beside an exported log, and by itself.

use super::book::{Book, signer, trust};
use super::{Said, check, question};
use crate::failure::Exit;
use crate::verify::growth::GROWTH_FILE_BYTES_MAX;
use crate::verify::{GrowthFile, Question, Report, Unreadable, judge, older, ungrown};
use agentgate_core::error::chain;
use agentgate_core::transparency::proof::{PROOF_HASHES_MAX, Proof};
use agentgate_core::transparency::tree::Hash;
use serde_json::{Value, json};
use std::path::Path;

use Said::{Not, NotShown, Shown, Wrong};

/// Another log under the same key: its last record is another one.
fn forked(calls: u64) -> Book {
    let mut book = Book::calls(calls - 1);
    book.decision(9, 1);
    book
}

fn grown(mut book: Book, more: u64) -> Book {
    (1..=more).for_each(|counter| book.decision(8, counter));
    book
}

/// What is said of `path` beside checkpoints that were kept, and what is to show that it grew from them.
fn held(path: &Path, older: &[Vec<u8>], growth: &[GrowthFile]) -> Result<Report, Unreadable> {
    judge(path, &Question { grown: growth.to_vec(), ..question(trust()) }, older)
}

const GREW: &str = "the first 300 of 600 entries are as they were when they were signed";

#[test]
fn a_proof_of_growth_shows_what_the_file_beside_it_cannot_and_nothing_else_does() {
    let book = Book::calls(600);
    let (monday, fork) = (Book::calls(300).checkpoint(&signer(1)), forked(300));
    let good = book.growth(300);
    let hashes = |change: fn(&mut Vec<Hash>)| {
        let mut hashes = good.proof.hashes().to_vec();
        change(&mut hashes);
        let proof = Proof::new(hashes).expect("not too many");
        GrowthFile { proof, ..good.clone() }
    };
    let of_stranger = GrowthFile { checkpoint: book.checkpoint(&signer(2)), ..good.clone() };
    let of_fork = grown(fork, 300).growth(300);
    let from_fork = forked(300).checkpoint(&signer(1));
    let missing = "that the log still begins with its 300 first entries: there is neither a proof nor a run of entries over \
        them; `agentgate log prove --since` makes a proof, for --growth";
    let unproved = "the proof that 300 entries grew to 600 does not hold: ";
    let of_a_root = format!("{unproved}the proof leads to another old root");
    let cut = format!("{unproved}the proof has {} hashes, which is not what these sizes take", good.proof.hashes().len() - 1);
    let later = Book::calls(900).checkpoint(&signer(1));
    let reversed = GrowthFile { old_size: 900, ..good.clone() };
    let cases: [(&str, &[u8], Vec<GrowthFile>, Said<'_>); 16] = [
        ("whole", &monday, vec![good.clone()], Shown(GREW)),
        ("twice", &monday, vec![good.clone(), good.clone()], Shown(GREW)),
        ("missing", &monday, vec![], NotShown(missing)),
        ("from another day", &monday, vec![book.growth(299)], NotShown(missing)),
        (
            "from another day, and named",
            &monday,
            vec![book.growth(299)],
            NotShown(
                "`growth.proof` is for: it is of 299 entries that grew to 600, and no older checkpoint that the log signed is of 299",
            ),
        ),
        (
            "to another day",
            &monday,
            vec![Book::calls(599).growth(300)],
            NotShown("`growth.proof` is for: it is of 300 entries that grew to 599, and what is checked is of 600"),
        ),
        ("the right one beside another", &monday, vec![book.growth(299), good.clone()], Shown(GREW)),
        ("a hash less", &monday, vec![hashes(|all| all.truncate(all.len() - 1))], Wrong(&cut)),
        ("a hash more", &monday, vec![hashes(|all| all.push(all[0]))], Wrong(unproved)),
        ("a hash of another", &monday, vec![hashes(|all| all.swap(0, 1))], Wrong(unproved)),
        ("no hash", &monday, vec![hashes(Vec::clear)], Wrong(unproved)),
        ("the log was rewritten", &from_fork, vec![good.clone()], Wrong(&of_a_root)),
        ("of the rewritten log", &from_fork, vec![of_fork.clone()], Wrong(unproved)),
        ("of a fork", &monday, vec![of_fork], Wrong("the log signed two roots over 600 entries")),
        (
            "of a stranger",
            &monday,
            vec![of_stranger],
            Wrong("the checkpoint in `growth.proof` is not the log's: no key of the log"),
        ),
        (
            "from the newer to the older",
            &later,
            vec![reversed],
            Wrong("the proof that 900 entries grew to 600 does not hold: a tree of 900 leaves is no beginning of one of 600"),
        ),
    ];
    let directory = tempfile::tempdir().expect("a directory");
    let (proof, log) = (directory.path().join("first.proof"), directory.path().join("log"));
    std::fs::write(&proof, book.proof(1).to_json().to_string()).expect("written");
    book.export(&log);
    for (case, older, growth, said) in cases {
        check(case, &held(&proof, &[older.to_vec()], &growth), &said);
        let report = held(&proof, &[older.to_vec()], &growth).expect("read");
        let grew = report.shown.iter().filter(|shown| shown.contains("are as they were")).count();
        // Hashes that lead from one signed root to the other show it, whoever put what around them.
        let is_shown = matches!(said, Shown(GREW)) || case == "of a stranger";
        assert_eq!(grew, usize::from(is_shown), "{case}: {report:#?}");
        // Of an exported log every entry is read: what is missing there is a proof of nothing.
        if !matches!(said, Shown(_) | NotShown(_)) {
            assert!(!held(&log, &[older.to_vec()], &growth).expect("read").holds(), "{case}");
        }
    }
    check("beside a log", &held(&log, &[monday], &[good]), &Shown(GREW));
}

#[test]
fn a_growth_proof_is_checked_by_itself_and_bad_ones_have_names() {
    let book = Book::calls(600);
    let (monday, good) = (Book::calls(300).checkpoint(&signer(1)), book.growth(300).to_json());
    let with = |name: &str, value: Value| {
        let mut changed = good.clone();
        changed[name] = value;
        changed.to_string()
    };
    let text = good.to_string();
    let checkpoint = |of: &Book, seed: u8| json!(String::from_utf8(of.checkpoint(&signer(seed))).expect("text"));
    let forged = json!(good["checkpoint"].as_str().expect("text").replacen("600\n", "601\n", 1));
    let mut forged_whole = good.clone();
    (forged_whole["checkpoint"], forged_whole["new_size"]) = (forged.clone(), json!(601));
    let hash = good["hashes"][0].clone();
    let padded = |bytes: u64| text.clone() + &" ".repeat(usize::try_from(bytes).expect("small") - text.len());
    let cases: [(&str, String, Said<'_>); 19] = [
        ("whole", text.clone(), Shown(GREW)),
        ("a part of the log", text.clone(), NotShown("a growth proof is only a part of it")),
        ("of the largest size", padded(GROWTH_FILE_BYTES_MAX), Shown(GREW)),
        ("larger", padded(GROWTH_FILE_BYTES_MAX + 1), Not("has more than 2097152 bytes, which no such file has")),
        ("cut short", text[..text.len() - 9].to_owned(), Not("is cut short")),
        ("corrupt", text.replacen('{', "[", 1), Not("is corrupt: it is no JSON")),
        ("a key twice", text.replacen('{', "{\"hashes\":[],", 1), Not("holds a key twice")),
        ("newer", with("version", json!(2)), Not("is of version 2 of its form, and this program reads up to 1")),
        ("a field more", with("said", json!("x")), Not("`said` is not a field of its form")),
        ("no size", with("old_size", json!("300")), Not("`old_size` is not a number")),
        ("another size", with("new_size", json!(599)), Not("`new_size` is not what its checkpoint says")),
        ("a size that was forged", with("checkpoint", forged), Not("`new_size` is not what its checkpoint says")),
        ("both forged", forged_whole.to_string(), Wrong("nothing in it can be believed")),
        ("of a stranger", with("checkpoint", checkpoint(&book, 2)), Wrong("no key of the log `log.example/test` that was given")),
        ("unsigned", with("checkpoint", json!("log.example/test\n600\n")), Not("its checkpoint is no signed note")),
        ("half a hash", with("hashes", json!(["AQ=="])), Not("its proof is none: 1 bytes are no proof")),
        (
            "as long as any",
            with("hashes", json!(vec![hash.clone(); PROOF_HASHES_MAX])),
            Wrong("has 64 hashes, which is not what"),
        ),
        ("too long", with("hashes", json!(vec![hash; PROOF_HASHES_MAX + 1])), Not("its proof is none: the proof has 65 hashes")),
        ("from nothing", with("old_size", json!(0)), NotShown("it is of 0 entries that grew to 600, and no older checkpoint")),
    ];
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("growth.proof");
    for (case, text, said) in &cases {
        std::fs::write(&path, text).expect("written");
        check(case, &held(&path, std::slice::from_ref(&monday), &[]), said);
    }
    std::fs::write(&path, &text).expect("written");
    check("nothing earlier", &held(&path, &[], &[]), &NotShown("no older checkpoint was given"));
    let read = GrowthFile::read(&path).expect("a growth proof");
    assert_eq!((read.to_json(), &read.path), (good, &path));
    assert_eq!(older::read(&path).expect("it holds one"), read.checkpoint, "it is Friday's checkpoint as well");
}

#[test]
fn what_is_no_growth_proof_is_named_before_anything_is_judged() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("first.proof");
    let cases = [
        (Some(Book::calls(3).proof(1).to_json().to_string()), "first.proof` is no growth proof", Exit::Usage),
        (Some("{}".into()), "first.proof` is no growth proof", Exit::Usage),
        (Some("{".into()), "first.proof` is cut short", Exit::Local),
        (None, "cannot read", Exit::Local),
    ];
    for (text, said, exit) in cases {
        let _ = std::fs::remove_file(&path);
        text.into_iter().for_each(|text| std::fs::write(&path, text).expect("written"));
        let error = GrowthFile::read(&path).expect_err(said);
        let why = chain(&error);
        let failure = ungrown(error);
        assert!(failure.chain().join(": ").contains(said) && failure.exit == exit, "{why}: {failure:?}");
    }
}
