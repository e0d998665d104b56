//! Bodies are forgotten: at any instant of it the files are a journal, nothing that was kept is lost, and space comes back.

use super::disks::{CopyingDisk, FailingDisk, Fault};
use super::{all, append_each, body, eventually, numbered, open, small};
use crate::journal::contract::one;
use crate::journal::disk::Disk;
use crate::journal::embedded::Embedded;
use crate::journal::{AppendError, Change, Journal as _, ReadError, body_address};
use bytes::Bytes;
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// A body so large that few fill a segment.
fn large(number: u64) -> Bytes {
    Bytes::from(format!("large body {number} ").repeat(300))
}

async fn append_large(journal: &Embedded, numbers: std::ops::RangeInclusive<u64>) {
    for number in numbers {
        let change = Change { bodies: vec![large(number)], ..one("a", &format!("large {number}")) };
        journal.append(change).await.unwrap();
    }
}

/// How many whole segments of bodies there are, and how many were removed.
fn segments(directory: &Path) -> (usize, usize) {
    let files = fs::read_dir(directory.join("journal/bodies")).unwrap();
    // One that is being prepared changes its name.
    let lengths: Vec<u64> = files.filter_map(|file| Some(file.unwrap().metadata().ok()?.len())).collect();
    let whole = lengths.iter().filter(|length| **length >= 64 << 10).count();
    (whole, lengths.len() - whole)
}

fn is_on_disk(directory: &Path, needle: &Bytes) -> bool {
    let files = ["records", "bodies"].map(|kind| fs::read_dir(directory.join("journal").join(kind)).unwrap());
    // One that is being prepared changes its name.
    let mut bytes = files.into_iter().flatten().filter_map(|file| fs::read(file.unwrap().path()).ok());
    bytes.any(|bytes| bytes.windows(100).any(|window| window == &needle[..100]))
}

fn addresses(numbers: impl Iterator<Item = u64>) -> Vec<agentgate_core::digest::Digest> {
    numbers.map(|number| body_address(&large(number))).collect()
}

#[tokio::test]
async fn a_discarded_body_is_overwritten_wherever_it_lies_and_its_neighbours_are_not() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = open(directory.path());
    append_large(&journal, 1..=30).await;
    // A second copy: nobody looks for an older one beside a record.
    journal.append(Change { bodies: vec![large(3)], ..one("a", "again") }).await.unwrap();
    assert!(is_on_disk(directory.path(), &large(3)));
    assert_eq!(journal.discard(addresses([3, 17, 30].into_iter())).await, Ok(()));
    for round in 0..3 {
        for number in 1..=30 {
            let is_kept = ![3, 17, 30].contains(&number);
            let held = journal.fetch(body_address(&large(number))).await;
            assert_eq!(held, Ok(is_kept.then(|| large(number))), "round {round}, body {number}");
            assert_eq!(is_on_disk(directory.path(), &large(number)), is_kept, "round {round}, body {number}");
        }
        assert_eq!(journal.verify().await.unwrap(), [], "round {round}");
        drop(journal);
        if round == 1 {
            fs::remove_dir_all(directory.path().join("journal/index")).unwrap();
        }
        journal = open(directory.path());
        assert_eq!((journal.opening().damage.len(), journal.opening().cut.len()), (0, 0), "round {round}");
    }
    assert_eq!(journal.keep(large(17)).await, Ok(body_address(&large(17))));
    assert_eq!(journal.fetch(body_address(&large(17))).await, Ok(Some(large(17))));
    assert_eq!(all(&journal, 0).await.len(), 31);
}

#[tokio::test]
async fn space_comes_back_and_what_lives_moves() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path());
    append_large(&journal, 1..=150).await;
    let (before, bytes) = (segments(directory.path()).0, journal.health().bytes);
    assert!(before >= 10);
    // One in five stays.
    journal.discard(addresses((1..=150).filter(|number| number % 5 != 0))).await.unwrap();
    eventually(|| segments(directory.path()).1 >= before - 5).await;
    // It goes on until nothing is worth moving.
    append_each(&journal, 1..=20).await;
    let check = async |journal: &Embedded| {
        for number in 1..=150 {
            let held = journal.fetch(body_address(&large(number))).await;
            assert_eq!(held, Ok((number % 5 == 0).then(|| large(number))), "body {number}");
        }
        assert_eq!(journal.verify().await.unwrap(), []);
        assert!(journal.health().unavailable.is_none());
    };
    check(&journal).await;
    assert!(journal.health().bytes < bytes);
    drop(journal);
    assert!(segments(directory.path()).0 < before / 2 + 3, "{:?} of {before}", segments(directory.path()));
    let journal = open(directory.path());
    assert_eq!((journal.opening().damage.len(), journal.opening().index_rebuilt.is_some()), (0, false));
    check(&journal).await;
    drop(journal);
    fs::remove_dir_all(directory.path().join("journal/index")).unwrap();
    let journal = open(directory.path());
    assert_eq!(journal.opening().damage, []);
    check(&journal).await;
    append_each(&journal, 21..=30).await;
    assert_eq!(journal.health().head, 180);
}

#[tokio::test]
async fn a_crash_at_any_instant_of_forgetting_leaves_a_sound_journal() {
    let directory = tempfile::tempdir().unwrap();
    let copies = tempfile::tempdir().unwrap();
    let disk = CopyingDisk::new(&directory.path().join("journal"), copies.path());
    let journal = Embedded::open_on(small(directory.path()), &(Arc::new(disk.clone()) as Arc<dyn Disk>)).unwrap();
    append_large(&journal, 1..=45).await;
    disk.arm(true);
    journal.discard(addresses((1..=12).filter(|number| number % 4 != 0))).await.unwrap();
    eventually(|| segments(directory.path()).1 >= 1).await;
    disk.arm(false);
    drop(journal);
    let count = disk.count();
    assert!(count > 20, "{count}");
    for number in 0..count {
        let copy = copies.path().join(number.to_string());
        let journal = open(&copy);
        assert_eq!(journal.opening().damage, [], "copy {number}");
        for number in 1..=45 {
            let held = journal.fetch(body_address(&large(number))).await.unwrap();
            let is_asked_away = number <= 12 && number % 4 != 0;
            assert!(held == Some(large(number)) || (is_asked_away && held.is_none()), "body {number}");
        }
        assert_eq!(journal.verify().await.unwrap(), [], "copy {number}");
        // What was begun is finished by itself; asked once more, all of it is done.
        let asked = addresses((1..=12).filter(|number| number % 4 != 0));
        assert_eq!(journal.discard(asked.clone()).await, Ok(()));
        for address in asked {
            assert_eq!(journal.fetch(address).await, Ok(None), "copy {number}");
        }
        assert!((1..=3).all(|number| !is_on_disk(&copy, &large(number))), "copy {number}");
        drop(journal);
    }
}

#[tokio::test]
async fn a_failing_disk_forgets_later_and_loses_nothing() {
    for fault in [Fault::Write, Fault::ShortWrite(1), Fault::ShortWrite(50), Fault::Sync] {
        let directory = tempfile::tempdir().unwrap();
        let disk = FailingDisk::default();
        let journal = Embedded::open_on(small(directory.path()), &(Arc::new(disk.clone()) as Arc<dyn Disk>)).unwrap();
        append_large(&journal, 1..=40).await;
        disk.set(Some((fault, "bodies-")));
        let told = journal.discard(addresses(1..=5)).await;
        assert!(matches!(told, Err(AppendError::Unknown(_) | AppendError::Unavailable(_))), "{fault:?}: {told:?}");
        disk.set(None);
        for number in 6..=40 {
            assert_eq!(journal.fetch(body_address(&large(number))).await, Ok(Some(large(number))), "{fault:?}");
        }
        assert_eq!(journal.verify().await.unwrap(), [], "{fault:?}");
        eventually(|| journal.health().unavailable.is_none()).await;
        assert_eq!(journal.discard(addresses(1..=5)).await, Ok(()), "{fault:?}");
        assert!((1..=5).all(|number| !is_on_disk(directory.path(), &large(number))), "{fault:?}");
        drop(journal);
        let journal = open(directory.path());
        assert_eq!(journal.opening().damage, [], "{fault:?}");
        assert_eq!(journal.fetch(body_address(&large(3))).await, Ok(None));
    }
}

#[tokio::test]
async fn a_flipped_bit_beside_a_discarded_body_is_still_found() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path());
    let pair = Change { bodies: vec![body(1), body(2)], ..one("a", "pair") };
    journal.append(pair).await.unwrap();
    journal.discard(vec![body_address(&body(1))]).await.unwrap();
    drop(journal);
    let path = directory.path().join("journal/bodies/bodies-00000001");
    let whole = fs::read(&path).unwrap();
    let at = whole.windows(6).position(|window| window == b"body 2").unwrap();
    for byte in [at, at - 1, at - 40, at + body(2).len() - 1] {
        let mut bytes = whole.clone();
        bytes[byte] ^= 1;
        fs::write(&path, bytes).unwrap();
        fs::remove_dir_all(directory.path().join("journal/index")).unwrap();
        let journal = open(directory.path());
        assert!(!journal.opening().damage.is_empty(), "byte {byte}");
        assert!(matches!(journal.append(numbered(1)).await, Err(AppendError::Unavailable(_))));
        assert!(matches!(journal.fetch(body_address(&body(2))).await, Ok(None) | Err(ReadError::Damaged(_))));
    }
    fs::write(&path, whole).unwrap();
    let journal = open(directory.path());
    assert_eq!(journal.health().unavailable, None);
    assert_eq!(journal.fetch(body_address(&body(2))).await, Ok(Some(body(2))));
}

#[tokio::test]
async fn forgetting_beside_a_busy_writer_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path());
    append_large(&journal, 1..=60).await;
    let writing = async {
        for number in 1..=200 {
            journal.append(numbered(number)).await.unwrap();
        }
    };
    let forgetting = async {
        for number in 1..=60 {
            journal.discard(addresses(std::iter::once(number))).await.unwrap();
            assert_eq!(journal.fetch(body_address(&large(number))).await, Ok(None));
        }
    };
    let verifying = async {
        for _ in 0..10 {
            assert_eq!(journal.verify().await.unwrap(), []);
        }
    };
    tokio::join!(writing, forgetting, verifying);
    for number in 1..=200 {
        assert_eq!(journal.fetch(body_address(&body(number))).await, Ok(Some(body(number))));
    }
    drop(journal);
    assert_eq!(open(directory.path()).opening().damage, []);
}

fn copied(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (entry, is_folder) = entry.map(|entry| (entry.path(), entry.file_type().unwrap().is_dir())).unwrap();
        let target = to.join(entry.file_name().unwrap());
        if is_folder {
            copied(&entry, &target);
        } else {
            fs::copy(&entry, &target).unwrap();
        }
    }
}

/// The process is gone between giving a segment back and telling the index of it.
#[tokio::test]
async fn an_index_that_knows_a_segment_that_is_gone_is_mended_and_space_comes_back_still() {
    let directory = tempfile::tempdir().unwrap();
    let (index, before) = (directory.path().join("journal/index"), directory.path().join("index-before"));
    let journal = open(directory.path());
    append_large(&journal, 1..=150).await;
    // Whoever copies the bodies holds this: nothing is given back meanwhile.
    let held = fs::File::options().write(true).open(directory.path().join("journal/hold-bodies")).unwrap();
    held.lock().unwrap();
    journal.discard(addresses(1..=60)).await.unwrap();
    drop(journal);
    copied(&index, &before);
    held.unlock().unwrap();
    let given_back = || segments(directory.path()).1;
    let journal = open(directory.path());
    eventually(|| given_back() >= 3).await;
    drop(journal);
    let first = given_back();
    fs::remove_dir_all(&index).unwrap();
    copied(&before, &index);
    let journal = open(directory.path());
    assert_eq!((journal.opening().damage.len(), journal.opening().index_rebuilt.is_some()), (0, false));
    // It takes up what is gone before it comes to what is forgotten now.
    journal.discard(addresses(61..=130)).await.unwrap();
    eventually(|| given_back() >= first + 3 || journal.health().unavailable.is_some()).await;
    assert_eq!(journal.health().unavailable, None);
    append_each(&journal, 1..=20).await;
    assert_eq!(journal.verify().await.unwrap(), []);
    for number in 131..=150 {
        assert_eq!(journal.fetch(body_address(&large(number))).await, Ok(Some(large(number))));
    }
    drop(journal);
    assert_eq!(open(directory.path()).opening().damage, []);
}
