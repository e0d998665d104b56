//! Who lives when: an older program begins each journal, and the two take turns on it.

use crate::crash::turns::Turns;
use std::fs;
use std::path::PathBuf;

/// The first lives of a journal, each by the program that lives it.
fn check(name: &str, has_older: bool, lives: &[&str]) {
    let directory = tempfile::tempdir().unwrap();
    let older = directory.path().canonicalize().unwrap().join("older");
    fs::write(&older, "").unwrap();
    let own = PathBuf::from("own");
    let turns = Turns::new(own.clone(), has_older.then_some(older.as_path())).unwrap();
    for (wanted, life) in lives.iter().zip(0..) {
        let program = if *wanted == "older" { &older } else { &own };
        assert_eq!(turns.program(life), program, "{name}: life {life}");
        assert_eq!(turns.is_older(life), *wanted == "older", "{name}: life {life}");
    }
}

#[test]
fn an_older_program_begins_each_journal_and_takes_turns() {
    check("none", false, &["own", "own", "own"]);
    check("one", true, &["older", "own", "older", "own", "older"]);
}

#[test]
fn an_older_program_that_is_not_there_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let error = Turns::new(PathBuf::from("own"), Some(&directory.path().join("gone"))).unwrap_err();
    assert!(error.to_string().contains("gone`: No such file"), "{error}");
}
