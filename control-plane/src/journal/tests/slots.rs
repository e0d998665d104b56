//! Slots on a disk that tears, loses, fails and fills up. A slot holds the old value or the new one, and nothing is left of
//! what was replaced.

use super::disks::{FailingDisk, Fault, MemoryDisk};
use super::{DEADLINE, append_each, eventually, numbered, open, small};
use crate::journal::cells::CELL_BYTES;
use crate::journal::contract::{counted, id};
use crate::journal::disk::Disk;
use crate::journal::embedded::Embedded;
use crate::journal::slot_file::{CELLS_AT, SlotFile, read_run};
use crate::journal::{AppendError, Journal as _, ReadError, SLOT_BYTES_MAX, Slot};
use bytes::Bytes;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const PATH: &str = "/j/slots";

fn value(fill: u8, length: usize) -> Bytes {
    Bytes::from(vec![fill; length])
}

/// Whether any file below `directory` holds `needle`.
fn is_anywhere(directory: &Path, needle: &[u8]) -> bool {
    fs::read_dir(directory).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => is_anywhere(&path, needle),
            false => fs::read(&path).unwrap().windows(needle.len()).any(|window| window == needle),
        }
    })
}

fn image(disk: &MemoryDisk) -> Vec<u8> {
    disk.files.lock().unwrap()[&PathBuf::from(PATH)].0.lock().unwrap().clone()
}

fn disk_of(bytes: &[u8]) -> (MemoryDisk, Arc<dyn Disk>) {
    let disk = MemoryDisk::default();
    disk.create(Path::new(PATH)).unwrap().write_at(bytes, 0).unwrap();
    (disk.clone(), Arc::new(disk))
}

/// What a file holds for slot `a`, and whether it is damaged.
fn held(bytes: &[u8]) -> (Option<Bytes>, usize, Vec<u8>) {
    let (disk, opened) = disk_of(bytes);
    let (file, found) = SlotFile::open(&opened, PATH.into(), false).unwrap();
    let run = found.slots.get(&id("a")).copied();
    let value = run.and_then(|run| read_run(&*file.file, run).unwrap()).map(|(_, value)| value);
    (value, found.damage.len(), image(&disk))
}

/// The file as it is before, between and after the writes of one set.
fn stages(old: Option<&Bytes>, new: Option<&Bytes>) -> Vec<Vec<u8>> {
    let disk = MemoryDisk::default();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let (mut file, _) = SlotFile::open(&shared, PATH.into(), true).unwrap();
    let put = |file: &mut SlotFile, value: &Bytes| {
        let run = file.take(value.len()).unwrap();
        file.write(run, &id("a"), value).unwrap();
        run
    };
    let replaced: Vec<_> = old.map(|old| put(&mut file, old)).into_iter().collect();
    let mut stages = vec![image(&disk)];
    if let Some(new) = new {
        put(&mut file, new);
        stages.push(image(&disk));
    }
    file.erase(&replaced).unwrap();
    stages.push(image(&disk));
    stages
}

#[test]
fn a_set_that_is_torn_or_loses_any_of_its_pages_leaves_the_old_value_or_the_new() {
    let (short, long, longer) = (value(1, 190), value(2, 450), value(3, 800));
    for (old, new) in [
        (None, Some(&short)),
        (Some(&short), Some(&long)),
        (Some(&long), Some(&short)),
        (Some(&longer), Some(&long)),
        (Some(&longer), None),
    ] {
        let check = |bytes: Vec<u8>, what: &str| {
            let (found, damage, after) = held(&bytes);
            assert_eq!(damage, 0, "{what}");
            assert!(found.as_ref() == old || found.as_ref() == new, "{what}: {found:?}");
            let gone = if found.as_ref() == new { old } else { new };
            let is_left = gone.is_some_and(|gone| after.windows(8).any(|window| window == &gone[..8]));
            assert!(!is_left, "{what}: something is left of it");
        };
        for pair in stages(old, new).windows(2) {
            let [before, after] = pair else { panic!("a pair") };
            let changed: Vec<usize> = (0..before.len()).filter(|at| before[*at] != after[*at]).collect();
            let (Some(first), Some(last)) = (changed.first().copied(), changed.last().copied()) else { continue };
            for torn in (first..=last + 1).step_by(3).chain([last, last + 1]) {
                check([&after[..torn], &before[torn..]].concat(), &format!("torn at {torn}"));
            }
            let cells: Vec<usize> = (first / CELL_BYTES..=last / CELL_BYTES).collect();
            for lost in 0..1_u32 << cells.len() {
                let mut bytes = after.clone();
                for (_, cell) in cells.iter().enumerate().filter(|(bit, _)| lost & (1 << bit) != 0) {
                    let range = cell * CELL_BYTES..(cell + 1) * CELL_BYTES;
                    bytes[range.clone()].copy_from_slice(&before[range]);
                }
                check(bytes, &format!("lost {lost:b}"));
            }
        }
    }
}

#[test]
fn whatever_is_damaged_is_named_and_nothing_of_it_is_absent() {
    let disk = MemoryDisk::default();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let (mut file, _) = SlotFile::open(&shared, PATH.into(), true).unwrap();
    for (name, length) in [("b", 10), ("a", 900), ("c", 10)] {
        let run = file.take(length).unwrap();
        file.write(run, &id(name), &value(7, length)).unwrap();
    }
    let whole = image(&disk);
    let values = CELLS_AT as usize..CELLS_AT as usize + 6 * CELL_BYTES;
    for bit in (values.start * 8..values.end * 8).step_by(7) {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let (_, damage, kept) = held(&bytes);
        assert_eq!((damage, kept == bytes), (1, true), "bit {bit}: it is named, and nothing is changed");
    }
    for page in (0..whole.len()).step_by(4096) {
        let mut bytes = whole.clone();
        bytes[page..(page + 4096).min(whole.len())].fill(0);
        // A head alone is put right by the other.
        assert_eq!(held(&bytes).1 > 0, page >= CELLS_AT as usize, "page {page}");
    }
    let mut without_heads = whole.clone();
    without_heads[..CELLS_AT as usize].fill(0);
    assert_eq!(held(&without_heads), (Some(value(7, 900)), 1, [&[0; 8192], &whole[8192..]].concat()));
    for end in (0..whole.len()).step_by(501) {
        assert!(held(&whole[..end]).1 > 0, "cut at {end}");
    }
}

#[tokio::test]
async fn a_damaged_slot_stops_the_writing_and_is_never_taken_for_an_empty_one() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path());
    for name in ["a", "b"] {
        assert_eq!(journal.set(id(name), None, Some(value(1, 300))).await, Ok(Slot::Set));
    }
    let path = directory.path().join("journal/slots");
    let flip = |at: usize| {
        let mut bytes = fs::read(&path).unwrap();
        bytes[CELLS_AT as usize + at] ^= 2;
        fs::write(&path, bytes).unwrap();
    };
    let check_refuses = async |journal: &Embedded, names: [&str; 2]| {
        for name in names {
            assert!(matches!(journal.slot(id(name)).await, Err(ReadError::Damaged(_))), "{name}");
        }
        assert!(matches!(journal.slots(None, 10).await, Err(ReadError::Damaged(_))));
        assert!(matches!(journal.set(id("c"), None, Some(value(2, 1))).await, Err(AppendError::Unavailable(_))));
        eventually(|| journal.health().unavailable.is_some_and(|why| why.contains("slots at byte"))).await;
        assert!(matches!(journal.append(numbered(1)).await, Err(AppendError::Unavailable(_))));
        assert_eq!(journal.slot(id("b")).await, Ok(Some(value(1, 300))));
    };
    // While it is open: the second cell of `a`.
    flip(CELL_BYTES + 40);
    assert!(matches!(journal.slot(id("a")).await, Err(ReadError::Damaged(_))));
    check_refuses(&journal, ["a", "a"]).await;
    drop(journal);
    for _ in 0..2 {
        let journal = open(directory.path());
        assert_eq!(journal.opening().damaged_slots[0].name, Some(id("a")));
        check_refuses(&journal, ["a", "a"]).await;
    }
    // Its first cell: nobody knows any more whose it was, so it may be anybody's.
    flip(CELL_BYTES + 40);
    flip(30);
    let journal = open(directory.path());
    check_refuses(&journal, ["a", "nobody's"]).await;
    drop(journal);
    flip(30);
    let journal = open(directory.path());
    assert_eq!((journal.health().unavailable, journal.slot(id("a")).await), (None, Ok(Some(value(1, 300)))));
    append_each(&journal, 1..=2).await;
}

#[tokio::test]
async fn nothing_is_left_of_what_was_replaced_or_erased() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path());
    let mut before = None;
    for round in 0..40_u32 {
        let text = format!("secret number {round} of many").repeat(1 + round as usize * 7);
        let value = (round % 10 != 9).then(|| Bytes::from(text));
        assert_eq!(journal.set(id("a"), before.clone(), value.clone()).await, Ok(Slot::Set));
        let left = (0..=round).filter(|number| {
            let needle = format!("secret number {number} of many");
            is_anywhere(directory.path(), needle.as_bytes())
        });
        let expected: Vec<u32> = value.iter().map(|_| round).collect();
        assert_eq!(left.collect::<Vec<_>>(), expected, "round {round}");
        before = value;
    }
}

#[tokio::test]
async fn space_is_used_again_and_all_slots_outlive_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal/slots");
    let journal = open(directory.path());
    let length = fs::metadata(&path).unwrap().len();
    let sizes = [1, 200, 201, 3000, SLOT_BYTES_MAX];
    for round in 0..60_usize {
        let value = value(5, sizes[round % sizes.len()]);
        assert_eq!(journal.set(id("a"), None, Some(value.clone())).await, Ok(Slot::Set));
        assert_eq!(journal.set(id("a"), Some(value), None).await, Ok(Slot::Set));
    }
    assert_eq!(fs::metadata(&path).unwrap().len(), length);
    let told: Vec<_> = (0..900).map(|number| journal.set(counted(1, number), None, Some(value(1, 200)))).collect();
    for told in told {
        assert_eq!(told.await, Ok(Slot::Set));
    }
    let grown = fs::metadata(&path).unwrap().len();
    assert!(grown > length && journal.health().bytes >= grown);
    drop(journal);
    let journal = open(directory.path());
    assert_eq!(journal.slots(None, 1000).await.unwrap().len(), 900);
    for number in 0..450 {
        assert_eq!(journal.set(counted(1, number * 2), Some(value(1, 200)), Some(value(2, 100))).await, Ok(Slot::Set));
    }
    drop(journal);
    let journal = open(directory.path());
    let slots = journal.slots(None, 1000).await.unwrap();
    assert!(slots.iter().enumerate().all(|(at, (_, held))| held.len() == if at % 2 == 0 { 100 } else { 200 }));
    assert_eq!(fs::metadata(&path).unwrap().len(), grown);
}

#[test]
fn a_hundred_thousand_sets_of_one_name_need_no_more_room_than_two() {
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::default());
    let (mut file, _) = SlotFile::open(&disk, PATH.into(), true).unwrap();
    let length = file.bytes();
    let mut before = Vec::new();
    for number in 0..100_000_usize {
        let run = file.take(number % 700).unwrap();
        file.write(run, &id("a"), &value(1, number % 700)).unwrap();
        file.erase(&before).unwrap();
        before = vec![run];
    }
    assert_eq!(file.bytes(), length);
}

/// The fault strikes sets; nothing is told that is not so, and it heals when the fault has gone.
async fn check_heals(fault: Fault) {
    let directory = tempfile::tempdir().unwrap();
    let disk = FailingDisk::default();
    let journal = Embedded::open_on(small(directory.path()), &(Arc::new(disk.clone()) as Arc<dyn Disk>)).unwrap();
    for name in ["a", "b", "c"] {
        journal.set(id(name), None, Some(value(1, 300))).await.unwrap();
    }
    disk.set(Some((fault, "journal/slots")));
    let told = [journal.set(id("a"), Some(value(1, 300)), Some(value(2, 300))), journal.set(id("b"), Some(value(1, 300)), None)];
    for told in told {
        let told = tokio::time::timeout(DEADLINE, told).await.unwrap();
        assert!(matches!(told, Err(AppendError::Unknown(_) | AppendError::Unavailable(_))), "{fault:?}: {told:?}");
    }
    assert!(journal.health().unavailable.is_some(), "{fault:?}");
    assert!(matches!(journal.set(id("d"), None, Some(value(4, 1))).await, Err(AppendError::Unavailable(_))), "{fault:?}");
    assert!(matches!(journal.slot(id("a")).await, Err(ReadError::Unavailable(_))), "{fault:?}");
    assert_eq!(journal.slot(id("c")).await, Ok(Some(value(1, 300))));
    // Records do not wait for it.
    append_each(&journal, 1..=2).await;
    disk.set(None);
    eventually(|| journal.health().unavailable.is_none()).await;
    let (a, b) = (journal.slot(id("a")).await.unwrap(), journal.slot(id("b")).await.unwrap());
    assert!([Some(value(1, 300)), Some(value(2, 300))].contains(&a) && [Some(value(1, 300)), None].contains(&b));
    assert_eq!(journal.set(id("a"), a, Some(value(3, 300))).await, Ok(Slot::Set));
    drop(journal);
    let journal = open(directory.path());
    assert_eq!((journal.slot(id("a")).await, journal.slot(id("b")).await), (Ok(Some(value(3, 300))), Ok(b)));
    assert_eq!(journal.opening().damaged_slots, []);
}

#[tokio::test]
async fn a_failing_disk_is_named_and_healed() {
    for fault in [Fault::Write, Fault::ShortWrite(1), Fault::ShortWrite(100), Fault::ShortWrite(300), Fault::Sync] {
        check_heals(fault).await;
    }
}

#[tokio::test]
async fn a_crash_in_doubt_leaves_the_old_value_or_the_new() {
    for fault in [Fault::ShortWrite(1), Fault::ShortWrite(100), Fault::ShortWrite(300), Fault::Sync] {
        let directory = tempfile::tempdir().unwrap();
        let disk = FailingDisk::default();
        let journal = Embedded::open_on(small(directory.path()), &(Arc::new(disk.clone()) as Arc<dyn Disk>)).unwrap();
        for name in ["a", "b"] {
            journal.set(id(name), None, Some(value(1, 300))).await.unwrap();
        }
        disk.set(Some((fault, "journal/slots")));
        let told = journal.set(id("a"), Some(value(1, 300)), Some(value(2, 500))).await;
        assert!(matches!(told, Err(AppendError::Unknown(_))), "{told:?}");
        drop(journal);
        let journal = open(directory.path());
        assert_eq!(journal.opening().damaged_slots, [], "{fault:?}");
        let held = journal.slot(id("a")).await.unwrap();
        // It was tried again before the crash, or it was not.
        let is_new = held == Some(value(2, 500)) && fault == Fault::Sync;
        assert!(is_new || held == Some(value(1, 300)), "{fault:?}");
        assert_eq!(journal.slot(id("b")).await, Ok(Some(value(1, 300))));
    }
}

#[tokio::test]
async fn a_full_disk_refuses_what_needs_room_and_nothing_is_in_doubt() {
    let directory = tempfile::tempdir().unwrap();
    let disk = FailingDisk::default();
    let journal = Embedded::open_on(small(directory.path()), &(Arc::new(disk.clone()) as Arc<dyn Disk>)).unwrap();
    disk.set(Some((Fault::NoRoom, "journal/slots")));
    let mut set = 0;
    let refused = loop {
        match journal.set(counted(1, set), None, Some(value(1, 200))).await {
            Ok(_) => set += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, AppendError::Unavailable(_)), "{refused:?}");
    assert_eq!(journal.slot(counted(1, set)).await, Ok(None));
    // Room that another gives back is enough.
    assert_eq!(journal.set(counted(1, 0), Some(value(1, 200)), None).await, Ok(Slot::Set));
    assert_eq!(journal.set(counted(1, set), None, Some(value(1, 200))).await, Ok(Slot::Set));
    disk.set(None);
    assert_eq!(journal.set(counted(1, 0), None, Some(value(1, 200))).await, Ok(Slot::Set));
}
