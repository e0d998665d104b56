//! An export into a directory where one is: gone on with, or refused by name.

use super::export::{Earlier, found, makes_root};
use super::growth::{self, End};
use crate::failure::{Exit, Failure};
use crate::verify::tests::book::{Book, signer};
use agentgate_core::transparency::tile::Tile;
use agentgate_proto::v1;
use clap::Parser as _;
use std::path::Path;

/// What becomes of an export of `served` into this directory.
fn exported_again(directory: &Path, served: &Book) -> Result<(), Failure> {
    let files = tempfile::tempdir().expect("a directory");
    served.export(files.path());
    let Some(earlier) = Earlier::read(directory, &served.checkpoint(&signer(1)))? else { return Ok(()) };
    earlier.begins(|tile: Tile| std::fs::read(files.path().join(tile.path())).map_err(|error| error.kind()))
}

#[test]
fn an_export_is_gone_on_with_only_where_the_log_begins_with_it() {
    let rewritten = |calls: u64| {
        let mut book = Book::calls(calls - 1);
        book.decision(9, 1);
        book
    };
    let grown = |mut book: Book, calls: u64| {
        (1..=calls).for_each(|counter| book.decision(8, counter));
        book
    };
    let cases: [(&str, Book, Book, Option<&str>); 9] = [
        ("the same log", Book::calls(600), Book::calls(600), None),
        ("one that grew by one", Book::calls(600), Book::calls(601), None),
        ("one that grew beyond a tile", Book::calls(3), Book::calls(600), None),
        ("from a full tile", Book::calls(256), Book::calls(600), None),
        ("from nothing", Book::calls(0), Book::calls(600), None),
        ("one record fewer", Book::calls(600), Book::calls(599), Some("the log has 599: it was rolled back")),
        ("far fewer", Book::calls(366), Book::calls(48), Some("holds the log of 366 records, and the log has 48")),
        ("another one of that size", Book::calls(600), rewritten(600), Some("does not begin with: it was rewritten")),
        ("another one that grew", Book::calls(600), grown(rewritten(600), 20), Some("does not begin with: it was rewritten")),
    ];
    for (case, old, served, wanted) in cases {
        let directory = tempfile::tempdir().expect("a directory");
        old.export(directory.path());
        match (exported_again(directory.path(), &served), wanted) {
            (Ok(()), None) => {}
            (Err(failure), Some(wanted)) => {
                assert!(failure.chain().join(": ").contains(wanted), "{case}: {:?}", failure.chain());
                assert_eq!((failure.exit, failure.next().len()), (Exit::Refused, 2), "{case}");
            }
            (ended, _) => panic!("{case}: {ended:?}"),
        }
    }
}

#[test]
fn what_is_no_checkpoint_of_this_log_is_not_written_over_and_an_empty_directory_is_free() {
    let directory = tempfile::tempdir().expect("a directory");
    exported_again(directory.path(), &Book::calls(3)).expect("nothing is there");
    let other = String::from_utf8(Book::calls(3).checkpoint(&signer(1))).expect("text");
    for (text, wanted) in [
        ("torn".to_owned(), "is no checkpoint of a log"),
        (other.replace("log.example/test", "log.example/other"), "holds the log `log.example/other`"),
    ] {
        std::fs::write(directory.path().join("checkpoint"), text).expect("written");
        let failure = exported_again(directory.path(), &Book::calls(4)).expect_err(wanted);
        assert!(failure.exit == Exit::Refused && failure.chain()[0].contains(wanted), "{:?}", failure.chain());
    }
}

#[test]
fn files_beside_no_checkpoint_are_believed_only_where_all_of_them_make_the_root() {
    let book = Book::calls(600);
    let served = |seed| {
        let keys = vec![signer(1).verifier().to_string()];
        v1::ShowLogResponse { checkpoint: book.checkpoint(&signer(seed)).into(), size: 600, keys, ..Default::default() }
    };
    let write =
        |file: &'static str, bytes: &'static [u8]| move |at: &Path| std::fs::write(at.join(file), bytes).expect("written");
    let (other_tile, short, other_entries) =
        (write("tile/0/000", &[7; 8_192]), write("tile/0/000", &[7; 31]), write("tile/entries/001", &[7; 72 * 256]));
    let linked = |at: &Path| {
        std::fs::rename(at.join("tile/0/000"), at.join("elsewhere")).expect("mine");
        std::os::unix::fs::symlink(at.join("elsewhere"), at.join("tile/0/000")).expect("linked");
    };
    let gone = |at: &Path| std::fs::remove_dir_all(at.join("tile")).expect("removed");
    type Spoil<'a> = &'a dyn Fn(&Path);
    let cases: [(&str, Spoil<'_>, usize, bool); 7] = [
        ("as it was left", &|_| (), 0, true),
        ("a tile of its length", &other_tile, 0, false),
        ("entries of their length", &other_entries, 0, false),
        ("a short tile", &short, 1, false),
        ("a linked tile", &linked, 1, true),
        ("one file less", &|at| std::fs::remove_file(at.join("tile/0/001")).expect("removed"), 1, false),
        ("nothing", &gone, 7, false),
    ];
    for (case, spoil, missing, makes) in cases {
        let directory = tempfile::tempdir().expect("a directory");
        book.export(directory.path());
        std::fs::remove_file(directory.path().join("checkpoint")).expect("removed");
        spoil(directory.path());
        assert_eq!(found(directory.path(), 600).1.len(), missing, "{case}");
        assert_eq!(makes_root(directory.path(), &served(1)).expect("asked"), makes, "{case}");
        let failure = makes_root(directory.path(), &served(2)).expect_err("not the log's key");
        assert_eq!(failure.exit, Exit::Unreachable, "{case}");
    }
}

#[test]
fn growth_is_proved_from_one_checkpoint_of_a_log_to_a_later_one_and_nothing_is_written_over() {
    let end = |name: &str, book: &Book, seed| End::of(name.into(), book.checkpoint(&signer(seed))).expect("a checkpoint");
    let (monday, friday) = (Book::calls(48), Book::calls(96));
    let mut forked = Book::calls(47);
    forked.decision(9, 1);
    let other = String::from_utf8(monday.checkpoint(&signer(1))).expect("text").replace("log.example/test", "log.example/other");
    let other = End::of("`other`".into(), other.into()).expect("a checkpoint");
    let path = Path::new("growth.proof");
    let made = |old: &End, new: End| {
        growth::check(old, &new)?;
        growth::made(old, new, friday.growth(48).proof, path)
    };
    let ends = || (end("`monday`", &monday, 1), end("the log", &friday, 1));
    let cases = [
        ("the log grew", ends(), None),
        ("backwards", (ends().1, ends().0), Some("the log is of 96 entries, and `monday` of 48: no log grows so")),
        (
            "another log",
            (other, ends().1),
            Some("`other` is of the log `log.example/other`, and the log is of `log.example/test`"),
        ),
        (
            "rewritten",
            (end("`forked`", &forked, 1), ends().1),
            Some(
                "`forked` did not grow to the log: this log was rewritten, or is another one: the proof leads to another old root",
            ),
        ),
    ];
    for (case, (old, new), wanted) in cases {
        match (made(&old, new), wanted) {
            (Ok(growth), None) => assert_eq!(growth, friday.growth(48), "{case}"),
            (Err(failure), Some(wanted)) => {
                assert_eq!((failure.chain().join(": ").as_str(), failure.exit), (wanted, Exit::Refused), "{case}");
            }
            (ended, _) => panic!("{case}: {ended:?}"),
        }
    }
    let directory = tempfile::tempdir().expect("a directory");
    let out = directory.path().join("growth.proof");
    growth::put(&out, "first").expect("nothing is there");
    let failure = growth::put(&out, "second").expect_err("there already");
    assert!(failure.exit == Exit::Refused && failure.chain()[0].ends_with("is there already; name another file"), "{failure:?}");
    assert_eq!(std::fs::read(&out).expect("a file"), b"first");
    let failure = growth::put(&directory.path().join("none/growth.proof"), "x").expect_err("no folder");
    assert!(failure.exit == Exit::Local && failure.chain()[0].starts_with("cannot write"), "{failure:?}");
}

#[test]
fn what_is_to_be_proved_is_a_record_or_growth_and_never_both() {
    let read = |words: &str| {
        let words = ["agentgate", "log", "prove", "--out", "x"].into_iter().chain(words.split_whitespace());
        crate::arguments::Arguments::try_parse_from(words).is_ok()
    };
    for (words, is_understood) in [
        ("1", true),
        ("--since monday", true),
        ("--since monday --until friday", true),
        ("", false),
        ("1 --since monday", false),
        ("1 --until friday", false),
        ("--until friday", false),
        ("1 --since monday --until friday", false),
    ] {
        assert_eq!(read(words), is_understood, "log prove {words}");
    }
}
