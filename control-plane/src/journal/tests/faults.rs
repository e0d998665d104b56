//! The disk fails while the journal is open.

use super::disks::{FailingDisk, Fault};
use super::{DEADLINE, append_each, body, check_holds, eventually, numbered, small};
use crate::journal::contract::id;
use crate::journal::disk::Disk;
use crate::journal::embedded::Embedded;
use crate::journal::index::IndexError;
use crate::journal::{AppendError, Journal as _, ReadError, body_address};
use std::sync::Arc;

/// The fault strikes one append; what was there is read, nothing is lost, and it heals when the fault has gone.
async fn check(fault: Fault, on: &'static str) {
    let directory = tempfile::tempdir().unwrap();
    let disk = FailingDisk::default();
    let journal = Embedded::open_on(small(directory.path()), &(Arc::new(disk.clone()) as Arc<dyn Disk>)).unwrap();
    append_each(&journal, 1..=3).await;

    disk.set(Some((fault, on)));
    let told = [4, 5].map(|number| journal.append(numbered(number)));
    for told in told {
        let told = tokio::time::timeout(DEADLINE, told).await.unwrap();
        assert!(matches!(told, Err(AppendError::Unknown(_) | AppendError::Unavailable(_))), "{fault:?} on {on}: {told:?}");
    }
    assert!(journal.health().unavailable.is_some(), "{fault:?} on {on}");
    assert!(matches!(journal.append(numbered(6)).await, Err(AppendError::Unavailable(_))));
    assert_eq!(journal.fetch(body_address(&body(2))).await, Ok(Some(body(2))));
    assert_eq!(journal.follow(0, 10).await.unwrap().len(), 3);
    // Nobody may believe that it did not happen: it still might.
    assert!(matches!(journal.find(id("4")).await, Err(ReadError::Unavailable(_))));
    assert_eq!(journal.find(id("3")).await.unwrap().map(|found| found.sequence), Some(3));

    disk.set(None);
    eventually(|| journal.health().unavailable.is_none()).await;
    assert_eq!(journal.find(id("4")).await, Ok(None));
    append_each(&journal, 4..=9).await;
    check_holds(&journal, 9).await;
    assert_eq!(journal.verify().await.unwrap(), []);
    drop(journal);
    let journal = super::open(directory.path());
    assert!(journal.opening().damage.is_empty() && journal.opening().cut.is_empty());
    check_holds(&journal, 9).await;
}

#[tokio::test]
async fn a_failing_disk_is_survived_and_healed() {
    for on in ["records-", "bodies-"] {
        for fault in [Fault::Write, Fault::ShortWrite(1), Fault::ShortWrite(100), Fault::ShortWrite(1000), Fault::Sync] {
            check(fault, on).await;
        }
    }
}

/// A crash while an attempt is in doubt: it is there whole or not at all.
#[tokio::test]
async fn an_attempt_in_doubt_is_whole_or_gone_after_a_crash() {
    for (fault, on) in [
        (Fault::ShortWrite(80), "records-"),
        (Fault::Sync, "records-"),
        (Fault::ShortWrite(9), "bodies-"),
        (Fault::Sync, "bodies-"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let disk = FailingDisk::default();
        let journal = Embedded::open_on(small(directory.path()), &(Arc::new(disk.clone()) as Arc<dyn Disk>)).unwrap();
        append_each(&journal, 1..=3).await;
        disk.set(Some((fault, on)));
        assert!(matches!(journal.append(numbered(4)).await, Err(AppendError::Unknown(_))));
        drop(journal);
        let journal = super::open(directory.path());
        assert!(journal.opening().damage.is_empty(), "{fault:?} on {on}: {:?}", journal.opening());
        let is_there = journal.find(id("4")).await.unwrap().is_some();
        assert_eq!(is_there, fault == Fault::Sync, "{fault:?} on {on}");
        check_holds(&journal, if is_there { 4 } else { 3 }).await;
        append_each(&journal, if is_there { 5..=6 } else { 4..=6 }).await;
        check_holds(&journal, 6).await;
    }
}

#[tokio::test]
async fn an_index_that_is_found_to_be_wrong_is_built_anew() {
    let directory = tempfile::tempdir().unwrap();
    let journal = super::open(directory.path());
    append_each(&journal, 1..=50).await;
    journal.durable.distrust(&IndexError::Form);
    assert!(journal.health().unavailable.is_some());
    eventually(|| journal.health().unavailable.is_none()).await;
    append_each(&journal, 51..=60).await;
    check_holds(&journal, 60).await;
    assert_eq!(journal.verify().await.unwrap(), []);
}

#[tokio::test]
async fn verifying_beside_a_busy_writer_finds_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let journal = super::open(directory.path());
    let writing = async {
        for number in 1..=300 {
            journal.append(numbered(number)).await.unwrap();
        }
    };
    let verifying = async {
        for _ in 0..20 {
            assert_eq!(journal.verify().await.unwrap(), []);
        }
    };
    tokio::join!(writing, verifying);
    check_holds(&journal, 300).await;
}

#[tokio::test]
async fn a_full_disk_refuses_and_heals_when_there_is_space() {
    let directory = tempfile::tempdir().unwrap();
    let disk = FailingDisk::default();
    let journal = Embedded::open_on(small(directory.path()), &(Arc::new(disk.clone()) as Arc<dyn Disk>)).unwrap();
    disk.set(Some((Fault::NoSpace, "unfinished")));
    let mut last = 0;
    let refused = loop {
        match journal.append(numbered(last + 1)).await {
            Ok(_) => last += 1,
            Err(error) => break error,
        }
    };
    // Nothing was begun, so nothing is in doubt.
    assert!(matches!(refused, AppendError::Unavailable(_)), "{refused:?}");
    assert_eq!(journal.find(id(&(last + 1).to_string())).await, Ok(None));
    check_holds(&journal, last).await;
    disk.set(None);
    eventually(|| journal.health().unavailable.is_none()).await;
    append_each(&journal, last + 1..=last + 5).await;
    check_holds(&journal, last + 5).await;
}
