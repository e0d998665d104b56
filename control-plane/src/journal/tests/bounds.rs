//! Every queue has its bound, and opening reads no more than it must.

use super::disks::{FailingDisk, Fault};
use super::{DEADLINE, append_each, check_holds, numbered, open, small};
use crate::journal::contract::one;
use crate::journal::disk::Disk;
use crate::journal::embedded::{Embedded, OpenError, READS_MAX, Settings};
use crate::journal::group::{QUEUE_BYTES_MAX, QUEUE_CHANGES_MAX};
use crate::journal::lock::lock;
use crate::journal::{AppendError, Change, Journal as _};
use std::fs::File;
use std::pin::pin;
use std::sync::{Arc, mpsc};
use std::task::{Context, Waker};

#[tokio::test]
async fn a_full_queue_refuses_and_keeps_what_it_took() {
    for weight in [0, 30 << 10] {
        let directory = tempfile::tempdir().unwrap();
        let disk = FailingDisk::default();
        let journal = Embedded::open_on(small(directory.path()), &(Arc::new(disk.clone()) as Arc<dyn Disk>)).unwrap();
        disk.set(Some((Fault::Stall, "")));
        let heavy = |number: usize| Change { bodies: vec![vec![7; weight].into()], ..one("a", &number.to_string()) };
        let told: Vec<_> = (0..QUEUE_CHANGES_MAX * 2).map(|number| journal.append(heavy(number))).collect();
        disk.set(None);
        let mut taken = 0;
        for told in told {
            match told.await {
                Ok(appended) => {
                    taken += 1;
                    assert_eq!(appended.positions[0].sequence, taken as u64);
                }
                Err(error) => assert_eq!(error, AppendError::Unavailable("overloaded".into())),
            }
        }
        // The queue, and the groups that were being made.
        let fits = if weight == 0 { QUEUE_CHANGES_MAX } else { QUEUE_BYTES_MAX / (weight + 300) };
        assert!((fits..fits + 1500).contains(&taken), "{taken} of {fits}");
        assert!(journal.append(one("a", "later")).await.is_ok());
    }
}

#[tokio::test]
async fn a_read_that_nobody_waits_for_keeps_its_turn_until_it_ends() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path());
    let (began, beginning) = mpsc::channel();
    let mut ends = Vec::new();
    for number in 0..READS_MAX * 5 {
        let (end, ended) = mpsc::channel::<()>();
        let began = began.clone();
        let stalled = journal.reading(move |_| {
            began.send(number).unwrap();
            // Until the other side is dropped.
            let _ = ended.recv();
            Ok(())
        });
        // Whoever asked turns away at once.
        assert!(pin!(stalled).poll(&mut Context::from_waker(Waker::noop())).is_pending());
        ends.push(end);
    }
    let mut next = pin!(journal.reading(|_| Ok(())));
    assert!(next.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    drop((began, ends));
    assert_eq!(tokio::time::timeout(DEADLINE, next).await.unwrap(), Ok(()), "a read that ended gave its turn away");
    assert_eq!(beginning.into_iter().count(), READS_MAX, "the others found no turn");
}

#[tokio::test]
async fn opening_reads_only_what_the_index_does_not_know() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path());
    append_each(&journal, 1..=300).await;
    drop(journal);
    let journal = open(directory.path());
    // The seal.
    assert!(journal.opening().groups_read <= 1, "{:?}", journal.opening());
    assert_eq!(journal.opening().index_rebuilt, None);
    check_holds(&journal, 300).await;
    append_each(&journal, 301..=310).await;
    check_holds(&journal, 310).await;
}

#[tokio::test]
async fn a_journal_is_opened_once() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path());
    assert!(matches!(Embedded::open(small(directory.path())), Err(OpenError::Locked(_))));
    drop(journal);
    drop(open(directory.path()));
}

#[tokio::test]
async fn an_index_that_somebody_holds_is_waited_for_and_never_removed() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path());
    append_each(&journal, 1..=30).await;
    drop(journal);
    let hold = || {
        let file = File::open(directory.path().join("journal/index/db")).unwrap();
        lock(&file).unwrap();
        file
    };
    let held = hold();
    assert!(matches!(Embedded::open(small(directory.path())), Err(OpenError::Locked(_))));
    drop(held);
    let held = hold();
    let opening = std::thread::spawn({
        let settings = small(directory.path());
        move || Embedded::open(settings)
    });
    drop(held);
    let journal = opening.join().unwrap().unwrap();
    assert_eq!(journal.opening().index_rebuilt, None);
    check_holds(&journal, 30).await;
}

#[tokio::test]
async fn a_segment_holds_the_largest_change() {
    let directory = tempfile::tempdir().unwrap();
    let settings = |segment_bytes, change_bytes_max| Settings { segment_bytes, change_bytes_max, ..small(directory.path()) };
    assert!(matches!(Embedded::open(settings(64 << 10, 64 << 10)), Err(OpenError::Settings { .. })));
    assert!(matches!(Embedded::open(settings(63 << 10, 1 << 10)), Err(OpenError::Settings { .. })));
    let most = (64 << 10) - 128;
    let journal = Embedded::open(settings(64 << 10, most)).unwrap();
    let body = |fill| Change { bodies: vec![vec![fill; most - 128].into()], writes: Vec::new(), fence: None };
    for fill in 1..=5 {
        assert!(journal.append(body(fill)).await.is_ok());
    }
    // A journal whose segments are of two sizes is one journal.
    drop(journal);
    let journal = Embedded::open(settings(128 << 10, most)).unwrap();
    for fill in 6..=9 {
        assert!(journal.append(body(fill)).await.is_ok());
    }
    assert_eq!(journal.verify().await.unwrap(), []);
}

#[tokio::test]
async fn what_is_under_way_is_finished_when_the_journal_closes() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path());
    let told: Vec<_> = (1..=500).map(|number| journal.append(numbered(number))).collect();
    drop(journal);
    for told in told {
        assert!(told.await.is_ok());
    }
    check_holds(&open(directory.path()), 500).await;
}
