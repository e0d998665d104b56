//! What wrote the files, and who may read them: an older journal is taken up, a newer one is refused by name.

use super::{append_each, check_holds, open, small};
use crate::journal::Journal as _;
use crate::journal::contract::id;
use crate::journal::embedded::{Embedded, FormError, OpenError};
use crate::journal::form::{FORM, NEEDS};
use std::fs;

#[tokio::test]
async fn a_journal_from_before_there_were_forms_is_taken_up() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path());
    append_each(&journal, 1..=5).await;
    drop(journal);
    let path = directory.path().join("journal");
    for name in ["form", "slots"] {
        fs::remove_file(path.join(name)).unwrap();
    }
    let journal = open(directory.path());
    check_holds(&journal, 5).await;
    append_each(&journal, 6..=7).await;
    assert_eq!(fs::read_to_string(path.join("form")).unwrap(), format!("agentgate journal form {FORM} needs {NEEDS}\n"));
}

#[tokio::test]
async fn a_newer_form_is_read_where_it_says_so_and_refused_by_name_where_it_does_not() {
    let directory = tempfile::tempdir().unwrap();
    append_each(&open(directory.path()), 1..=5).await;
    let form = directory.path().join("journal/form");
    let files = || fs::read(directory.path().join("journal/records/records-00000001")).unwrap();
    let before = files();
    for (text, is_read) in [
        (format!("agentgate journal form {} needs {}\n", FORM + 1, FORM + 1), false),
        (format!("agentgate journal form {} needs {}\n", FORM + 9, FORM + 1), false),
        ("agentgate journal form one needs two\n".to_owned(), false),
        (String::new(), false),
        (format!("agentgate journal form {} needs {FORM}\n", FORM + 1), true),
        (format!("agentgate journal form {FORM} needs {NEEDS}\n"), true),
    ] {
        fs::write(&form, &text).unwrap();
        match Embedded::open(small(directory.path())) {
            Ok(journal) => {
                assert!(is_read, "{text}");
                check_holds(&journal, 5).await;
            }
            Err(OpenError::Form { source, .. }) => {
                assert!(!is_read, "{text}: {source}");
                let is_newer = matches!(source, FormError::Newer { .. });
                assert_eq!(is_newer, text.contains(&format!("needs {}", FORM + 1)), "{text}");
                assert_eq!(files(), before, "{text}: nothing was touched");
            }
            Err(other) => panic!("{text}: {other}"),
        }
    }
}

#[tokio::test]
async fn slots_that_were_lost_are_no_empty_slots() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path());
    journal.set(id("a"), None, Some("value".into())).await.unwrap();
    drop(journal);
    fs::remove_file(directory.path().join("journal/slots")).unwrap();
    for _ in 0..2 {
        let journal = open(directory.path());
        assert!(journal.slot(id("a")).await.is_err() && journal.slots(None, 1).await.is_err());
        assert!(journal.health().unavailable.is_some_and(|why| why.contains("the file is missing")));
    }
}
