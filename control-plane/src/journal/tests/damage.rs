//! The files are not what was written: torn, flipped, zeroed, cut, gone. Whatever was acknowledged is there or is named.

use super::disks::MemoryDisk;
use super::{all, append_each, body, check_holds, numbered, open};
use crate::journal::contract::id;
use crate::journal::disk::{Disk, RealDisk};
use crate::journal::embedded::Embedded;
use crate::journal::frame::{GroupHead, HEAD_BYTES, Kind};
use crate::journal::overlay::Mark;
use crate::journal::recovery::settle;
use crate::journal::scan::{Walked, walk};
use crate::journal::segments::Layout;
use crate::journal::{AppendError, Journal as _, ReadError, body_address};
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The files of a journal that was closed, and where its groups lie.
struct Image {
    files: Vec<(PathBuf, Vec<u8>)>,
    records: Vec<GroupHead>,
    bodies: Vec<GroupHead>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Whole,
    Cut,
    Damage,
}

const GROUPS: u64 = 5;

fn layout(disk: Arc<dyn Disk>, directory: &Path, kind: Kind) -> Layout {
    Layout { disk, directory: directory.join(kind.noun()), kind, segment_bytes: 64 << 10 }
}

fn range(head: &GroupHead) -> Range<usize> {
    let start = head.place.offset as usize;
    start..start + head.length()
}

// === impl Image ===

impl Image {
    /// A journal of `GROUPS` groups and a seal; without the seal it looks as after a crash.
    async fn new(sealed: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let journal = open(directory.path());
        append_each(&journal, 1..=GROUPS).await;
        drop(journal);
        let journal = directory.path().join("journal");
        let heads = |kind| {
            let mut heads = Vec::new();
            let layout = layout(Arc::new(RealDisk), &journal, kind);
            let next = u64::from(kind == Kind::Records);
            walk(&layout, Mark::START.records, next, &mut |head, _| {
                heads.push(*head);
                Ok(())
            })
            .unwrap();
            heads
        };
        let (mut records, bodies) = (heads(Kind::Records), heads(Kind::Bodies));
        // A slow machine may have been idle for long enough to seal between two groups.
        let seal = records.pop().unwrap();
        assert_eq!((seal.count, bodies.len() as u64), (0, GROUPS));
        let mut files = Vec::new();
        for kind in [Kind::Records, Kind::Bodies] {
            let name = PathBuf::from(format!("{0}/{0}-00000001", kind.noun()));
            let mut bytes = fs::read(journal.join(&name)).unwrap();
            if kind == Kind::Records && !sealed {
                bytes[range(&seal)].fill(0);
            }
            files.push((name, bytes));
        }
        Self { files, records, bodies }
    }

    fn heads(&self, kind: Kind) -> &[GroupHead] {
        match kind {
            Kind::Records => &self.records,
            Kind::Bodies => &self.bodies,
        }
    }

    fn last(&self, kind: Kind) -> Range<usize> {
        range(self.heads(kind).last().unwrap())
    }

    /// What opening would find, once `change` has been made to one file.
    fn judge(&self, kind: Kind, change: impl FnOnce(&mut Vec<u8>)) -> Found {
        let disk = MemoryDisk::default();
        let mut change = Some(change);
        for (name, bytes) in &self.files {
            let file = disk.create(&Path::new("/j").join(name)).unwrap();
            let mut bytes = bytes.clone();
            if name.starts_with(kind.noun()) {
                change.take().unwrap()(&mut bytes);
            }
            file.write_at(&bytes, 0).unwrap();
        }
        let disk: Arc<dyn Disk> = Arc::new(disk);
        let walked = |kind, visit: &mut dyn FnMut(&GroupHead)| -> Walked {
            let next = u64::from(kind == Kind::Records);
            let layout = layout(Arc::clone(&disk), Path::new("/j"), kind);
            walk(&layout, Mark::START.records, next, &mut |head, _| {
                visit(head);
                Ok(())
            })
            .unwrap()
        };
        let mut with_bodies = None;
        let mut bodies = walked(Kind::Bodies, &mut |_| {});
        let mut records = walked(Kind::Records, &mut |head| with_bodies = head.bodies.map(|_| *head).or(with_bodies));
        let cuts = settle(&mut records, &mut bodies, with_bodies, &Mark::START);
        match (records.damage.is_empty() && bodies.damage.is_empty(), cuts.is_empty()) {
            (false, _) => Found::Damage,
            (true, false) => Found::Cut,
            (true, true) if records.next == GROUPS + 1 => Found::Whole,
            (true, true) => panic!("records are missing and nothing was said"),
        }
    }

    /// The journal on a real disk, without an index.
    fn write(&self, directory: &Path) -> PathBuf {
        let journal = directory.join("journal");
        for (name, bytes) in &self.files {
            let path = journal.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        journal
    }
}

/// Changes one byte range of the only segment of a kind.
fn edit(journal: &Path, kind: Kind, change: impl FnOnce(&mut Vec<u8>)) {
    let path = journal.join(format!("{0}/{0}-00000001", kind.noun()));
    let mut bytes = fs::read(&path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn an_untouched_image_is_whole() {
    for sealed in [true, false] {
        assert_eq!(Image::new(sealed).await.judge(Kind::Records, |_| {}), Found::Whole);
    }
}

#[tokio::test]
async fn a_tail_torn_at_any_byte_is_cut_unless_a_seal_proves_it() {
    for sealed in [false, true] {
        let image = Image::new(sealed).await;
        for kind in [Kind::Records, Kind::Bodies] {
            let last = image.last(kind);
            for byte in last.clone() {
                let found = image.judge(kind, |bytes| bytes[byte..last.end].fill(0));
                let wanted = if sealed { Found::Damage } else { Found::Cut };
                assert_eq!(found, wanted, "{kind:?} sealed: {sealed}, torn at {byte} in {last:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_file_that_became_shorter_is_damaged_wherever_it_ends() {
    let image = Image::new(false).await;
    for kind in [Kind::Records, Kind::Bodies] {
        for end in (0..image.last(kind).end).step_by(3).chain([image.last(kind).end, (64 << 10) - 1]) {
            let found = image.judge(kind, |bytes| bytes.truncate(end));
            assert_eq!(found, Found::Damage, "{kind:?} at {end}");
        }
    }
}

#[tokio::test]
async fn every_flipped_bit_is_found() {
    for sealed in [false, true] {
        let image = Image::new(sealed).await;
        for kind in [Kind::Records, Kind::Bodies] {
            for byte in 0..image.last(kind).end {
                let found = image.judge(kind, |bytes| bytes[byte] ^= 1 << (byte % 8));
                assert_eq!(found, Found::Damage, "{kind:?} sealed: {sealed}, byte {byte}");
            }
        }
    }
}

#[tokio::test]
async fn a_zeroed_group_in_the_middle_is_damage() {
    let image = Image::new(false).await;
    for kind in [Kind::Records, Kind::Bodies] {
        let heads = image.heads(kind);
        for head in &heads[..heads.len() - 1] {
            assert_eq!(image.judge(kind, |bytes| bytes[range(head)].fill(0)), Found::Damage, "{kind:?} {head:?}");
        }
    }
}

#[tokio::test]
async fn any_set_of_lost_sectors_is_a_torn_tail() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path());
    append_each(&journal, 1..=2).await;
    drop(journal);
    let mut large = numbered(3);
    large.writes[0].record = vec![b'x'; 2600].into();
    let image = {
        let journal = open(directory.path());
        journal.append(large).await.unwrap();
        drop(journal);
        directory.path().join("journal/records/records-00000001")
    };
    let whole = fs::read(&image).unwrap();
    let mut heads = Vec::new();
    let layout = layout(Arc::new(RealDisk), &directory.path().join("journal"), Kind::Records);
    walk(&layout, Mark::START.records, 1, &mut |head, _| {
        heads.push(*head);
        Ok(())
    })
    .unwrap();
    let seal = range(heads.last().unwrap());
    let group = range(&heads[heads.len() - 2]);
    let sectors: Vec<usize> = (group.start / 512..=(group.end - 1) / 512).collect();
    for lost in 1..1_u32 << sectors.len() {
        let mut bytes = whole.clone();
        bytes[seal.clone()].fill(0);
        for (bit, sector) in sectors.iter().enumerate().filter(|(bit, _)| lost & (1 << bit) != 0) {
            let _ = bit;
            bytes[(sector * 512).max(group.start)..(sector * 512 + 512).min(group.end)].fill(0);
        }
        fs::write(&image, &bytes).unwrap();
        let walked = walk(&layout, Mark::START.records, 1, &mut |_, _| Ok(())).unwrap();
        let all_lost = lost == (1 << sectors.len()) - 1;
        assert!(walked.damage.is_empty(), "{lost:b}: {:?}", walked.damage);
        assert_eq!(walked.trailing.map(|bad| bad.has_hole), if all_lost { None } else { Some(true) }, "{lost:b}");
    }
}

/// A damaged journal is opened, read, and not written; repaired, it goes on.
async fn check_refuses(journal: &Embedded, lost: u64) {
    let reason = journal.health().unavailable.unwrap();
    assert!(reason.contains("segment 1 at byte"), "{reason}");
    assert!(matches!(journal.append(numbered(99)).await, Err(AppendError::Unavailable(_))));
    assert_eq!(all(journal, lost).await.len() as u64, GROUPS - lost);
    if lost > 1 {
        assert_eq!(journal.follow(0, 10).await.unwrap().len() as u64, lost - 1);
    }
    assert!(matches!(journal.follow(lost - 1, 10).await, Err(ReadError::Damaged(_))));
    for number in (1..=GROUPS).filter(|number| *number != lost) {
        assert_eq!(journal.fetch(body_address(&body(number))).await, Ok(Some(body(number))));
        assert_eq!(journal.find(id(&number.to_string())).await.unwrap().unwrap().sequence, number);
    }
}

#[tokio::test]
async fn a_damaged_record_stops_the_writing_and_nothing_else() {
    for lost in 1..=GROUPS {
        let image = Image::new(true).await;
        let directory = tempfile::tempdir().unwrap();
        let path = image.write(directory.path());
        let at = range(&image.records[lost as usize - 1]).start + HEAD_BYTES + 20;
        edit(&path, Kind::Records, |bytes| bytes[at] ^= 4);
        for _ in 0..2 {
            let journal = open(directory.path());
            let damage = &journal.opening().damage;
            assert_eq!((damage.len(), damage[0].segment, damage[0].first, damage[0].last), (1, 1, lost, Some(lost)));
            check_refuses(&journal, lost).await;
        }
        edit(&path, Kind::Records, |bytes| bytes[at] ^= 4);
        let journal = open(directory.path());
        assert_eq!(journal.health().unavailable, None);
        check_holds(&journal, GROUPS).await;
        append_each(&journal, GROUPS + 1..=GROUPS + 3).await;
        check_holds(&journal, GROUPS + 3).await;
    }
}

#[tokio::test]
async fn a_group_whose_head_is_damaged_still_gives_its_records() {
    let image = Image::new(true).await;
    let directory = tempfile::tempdir().unwrap();
    let path = image.write(directory.path());
    edit(&path, Kind::Records, |bytes| bytes[range(&image.records[2]).start + 20] ^= 1);
    let journal = open(directory.path());
    assert_eq!(journal.opening().damage.len(), 1);
    assert_eq!(journal.find(id("3")).await.unwrap().unwrap().sequence, 3);
}

#[tokio::test]
async fn damage_below_the_index_is_found_when_it_is_read_and_not_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path());
    append_each(&journal, 1..=GROUPS).await;
    drop(journal);
    let path = directory.path().join("journal");
    // The body of number 2 lies behind the body of number 1.
    edit(&path, Kind::Bodies, |bytes| {
        let at = bytes.windows(6).position(|window| window == b"body 2").unwrap();
        bytes[at] ^= 1;
    });
    let journal = open(directory.path());
    assert_eq!(journal.health().unavailable, None);
    append_each(&journal, GROUPS + 1..=GROUPS + 1).await;
    assert!(matches!(journal.fetch(body_address(&body(2))).await, Err(ReadError::Damaged(_))));
    assert!(matches!(journal.append(numbered(99)).await, Err(AppendError::Unavailable(_))));
    assert_eq!(journal.fetch(body_address(&body(3))).await, Ok(Some(body(3))));
    assert_eq!(journal.verify().await.unwrap().len(), 1);
    drop(journal);
    let journal = open(directory.path());
    assert_eq!(journal.opening().damage.len(), 1, "{:?}", journal.opening());
    assert!(journal.health().unavailable.is_some());
    assert_eq!(all(&journal, 0).await.len() as u64, GROUPS + 1);
}

#[tokio::test]
async fn a_journal_that_is_shorter_than_its_index_writes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path());
    append_each(&journal, 1..=GROUPS).await;
    drop(journal);
    let path = directory.path().join("journal");
    let image = Image::new(true).await;
    let from = image.records[3].place.offset as usize;
    edit(&path, Kind::Records, |bytes| bytes[from..].fill(0));
    for _ in 0..2 {
        let journal = open(directory.path());
        assert!(!journal.opening().damage.is_empty());
        assert!(matches!(journal.append(numbered(99)).await, Err(AppendError::Unavailable(_))));
        assert_eq!(journal.follow(0, 3).await.unwrap().len(), 3);
        assert!(matches!(journal.follow(3, 3).await, Err(ReadError::Damaged(_))));
    }
}

#[tokio::test]
async fn a_missing_segment_is_named() {
    for kind in [Kind::Records, Kind::Bodies] {
        let directory = tempfile::tempdir().unwrap();
        let journal = open(directory.path());
        append_each(&journal, 1..=900).await;
        drop(journal);
        let path = directory.path().join("journal");
        fs::remove_file(path.join(format!("{0}/{0}-00000002", kind.noun()))).unwrap();
        fs::remove_dir_all(path.join("index")).unwrap();
        let journal = open(directory.path());
        let damage = &journal.opening().damage;
        assert_eq!((damage.len(), damage[0].segment), (1, 2), "{damage:?}");
        assert!(damage[0].to_string().contains("the segment is missing"), "{}", damage[0]);
        assert!(journal.health().unavailable.is_some());
        assert!(journal.follow(899, 10).await.is_ok());
    }
}

#[tokio::test]
async fn the_index_can_be_lost_or_spoiled_and_nothing_else_is() {
    type Spoil = fn(&Path);
    let spoil: [(&str, Spoil); 4] = [
        ("gone", |index| fs::remove_dir_all(index).unwrap()),
        ("emptied", |index| fs::write(index.join("db"), b"").unwrap()),
        ("overwritten", |index| {
            let length = fs::metadata(index.join("db")).unwrap().len() as usize;
            fs::write(index.join("db"), vec![0xA5; length]).unwrap();
        }),
        ("without its configuration", |index| fs::write(index.join("conf"), b"nonsense").unwrap()),
    ];
    for (what, spoil) in spoil {
        let directory = tempfile::tempdir().unwrap();
        let journal = open(directory.path());
        append_each(&journal, 1..=200).await;
        drop(journal);
        spoil(&directory.path().join("journal/index"));
        let journal = open(directory.path());
        assert_eq!(journal.health().unavailable, None, "{what}");
        check_holds(&journal, 200).await;
        append_each(&journal, 201..=205).await;
        check_holds(&journal, 205).await;
        assert_eq!(journal.verify().await.unwrap(), [], "{what}");
    }
}

#[tokio::test]
async fn the_index_of_another_journal_is_not_believed() {
    let (mine, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    append_each(&open(mine.path()), 1..=20).await;
    append_each(&open(other.path()), 3..=60).await;
    let path = |directory: &Path| directory.join("journal/index");
    fs::remove_dir_all(path(mine.path())).unwrap();
    fs::rename(path(other.path()), path(mine.path())).unwrap();
    let journal = open(mine.path());
    // It is refused, or it is built anew; it is never followed.
    if journal.health().unavailable.is_none() {
        check_holds(&journal, 20).await;
    }
}
