//! The power fails: SIGKILL never loses what the machine's memory holds, so the disk is rebuilt here without any part of what
//! was not synced, opened, written on, and loses power again. Whatever was acknowledged is there, whole, once and in order.
//!
//! sled's files are not on that disk: they are gone, or older, or copied while they were written, or spoiled.
//! `AGENTGATE_DISKS` says how many disks are rebuilt, `AGENTGATE_SEED` from what they are drawn.

use super::recorder::{Image, Op, Piece, Recorder, rebuilt};
use super::{eventually, small};
use crate::journal::contract::{id, write};
use crate::journal::disk::Disk;
use crate::journal::embedded::Embedded;
use crate::journal::{Change, Expected, Journal as _, Record, Slot, body_address};
use agentgate_core::digest::Digest;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::TempDir;

/// Rebuilt by the ordinary tests.
const DISKS: u64 = 300;

const LIVES: usize = 3;
/// Bursts of one life, and the most changes that are under way together in one: few large groups, or many small ones.
const SHAPES: [(usize, usize); 4] = [(12, 3), (5, 8), (3, 20), (8, 12)];
const STREAMS: u64 = 5;
const SLOTS: u64 = 6;

/// What the first life of a long history writes, and forgets but for one in `STAYS`: segments become empty, and are given back.
const LONG: u64 = 220;
const STAYS: u64 = 9;

/// Disks that are rebuilt from one history.
const OF_ONE: usize = 100;

/// Numbers from a seed (splitmix64).
#[derive(Clone)]
struct Seeded(u64);

/// What of the last moments reaches the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    All,
    Nothing,
    LastPiece,
    FirstPiece,
    Bodies,
    Records,
    Slots,
    Half,
    Most,
    Few,
}

/// Everything that happened, and the index as it was at some points of it.
struct History {
    log: Vec<Op>,
    /// With the length of the log from which on it can be: what it knows was durable then.
    indexes: Vec<(usize, PathBuf)>,
    // Dropped last: the indexes lie in it.
    _home: TempDir,
}

/// One rebuilt disk, for people.
struct Case {
    seed: u64,
    at: usize,
    loss: Loss,
    page: usize,
    index: Option<usize>,
    is_spoiled: bool,
    /// The process was killed first, and the power failed after it had been started again.
    is_killed: bool,
}

const LOSSES: [Loss; 10] = [
    Loss::All,
    Loss::Nothing,
    Loss::LastPiece,
    Loss::FirstPiece,
    Loss::Bodies,
    Loss::Records,
    Loss::Slots,
    Loss::Half,
    Loss::Most,
    Loss::Few,
];

/// What each slot may hold, by versions, and which bodies are forgotten: as far as somebody was told, or only asked for.
#[derive(Clone, Default)]
struct Known {
    slots: BTreeMap<u64, Vec<u64>>,
    asked: BTreeSet<u64>,
    forgotten: BTreeSet<u64>,
}

// === impl Seeded ===

impl Seeded {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

// === impl Loss ===

impl Loss {
    fn keeps(self, piece: &Piece<'_>, seeded: &mut Seeded) -> bool {
        let is_of = |kind: &str| piece.path.is_some_and(|path| path.to_string_lossy().contains(kind));
        match self {
            Loss::All => false,
            Loss::Nothing => true,
            Loss::LastPiece => piece.number + 1 < piece.count,
            Loss::FirstPiece => piece.number > 0,
            Loss::Bodies => !is_of("bodies"),
            Loss::Records => !is_of("records"),
            Loss::Slots => !is_of("slots"),
            Loss::Half => seeded.below(2) == 0,
            Loss::Most => seeded.below(8) == 0,
            Loss::Few => seeded.below(8) > 0,
        }
    }
}

// === what is written ===

/// A change is known by its number: how many writes and bodies it has and how large they are follow from it. Three writes
/// of four are to be found by any of their parts alone.
fn change(number: u64) -> Change {
    let mut seeded = Seeded(number);
    let writes = if number.is_multiple_of(7) { 2 } else { u64::from(!number.is_multiple_of(11)) };
    let record = |part: u64| {
        let mut record = write(&stream_of(number, part), Expected::Any, &format!("{number}/{part}"));
        record.record = Bytes::from(format!("{number}/{part} ").repeat(1 + (number as usize % 5) * 30));
        record
    };
    let bodies =
        (writes == 0 || !number.is_multiple_of(5)).then(|| body(number, [90, 300, 700, 1_400, 2_000, 9_000][seeded.below(6)]));
    Change { fence: None, writes: (0..writes).map(record).collect(), bodies: bodies.into_iter().collect() }
}

fn stream_of(number: u64, part: u64) -> String {
    format!("s{}", (number + part) % STREAMS)
}

/// Nothing in it repeats, and no sector of it is zeros.
fn body(number: u64, length: usize) -> Bytes {
    let mut seeded = Seeded(number ^ 0xB0D1);
    (0..length).map(|_| (seeded.next() as u8) | 1).collect::<Vec<_>>().into()
}

/// The value that a slot has in this version; each fourth is none at all.
fn value(name: u64, version: u64) -> Option<Bytes> {
    let length = [20, 150, 450, 800, 3_000][(name + version) as usize % 5];
    (!version.is_multiple_of(4)).then(|| body(name << 32 ^ version << 8 ^ 0x510, length))
}

fn slot(name: u64) -> Digest {
    id(&format!("slot {name}"))
}

/// Sets each of these slots to its next version, all at once.
async fn set(journal: &Embedded, recorder: &Recorder, versions: &mut BTreeMap<u64, u64>, names: &BTreeSet<u64>) {
    let mut under_way = Vec::new();
    for name in names {
        let version = versions.entry(*name).or_default();
        let expected = value(*name, *version);
        *version += 1;
        recorder.note(Op::Slot { name: *name, version: *version, is_told: false });
        under_way.push((*name, *version, journal.set(slot(*name), expected, value(*name, *version))));
    }
    for (name, version, told) in under_way {
        assert_eq!(told.await.unwrap(), Slot::Set);
        recorder.note(Op::Slot { name, version, is_told: true });
    }
}

/// Forgets the bodies of these changes.
async fn forget(journal: &Embedded, recorder: &Recorder, numbers: &[u64]) {
    numbers.iter().for_each(|number| recorder.note(Op::Forgotten { number: *number, is_told: false }));
    let bodies = numbers.iter().flat_map(|number| change(*number).bodies);
    journal.discard(bodies.map(|body| body_address(&body)).collect()).await.unwrap();
    numbers.iter().for_each(|number| recorder.note(Op::Forgotten { number: *number, is_told: true }));
}

/// Segments that were given back, as somebody sees them now.
fn gone(recorder: &Recorder) -> usize {
    recorder.seen().iter().filter(|(path, bytes)| path.starts_with("bodies") && bytes.starts_with(b"AGgone")).count()
}

async fn append(journal: &Embedded, recorder: &Recorder, numbers: std::ops::Range<u64>) {
    let told: Vec<_> = numbers.map(|number| (number, journal.append(change(number)))).collect();
    for (number, told) in told {
        let appended = told.await.unwrap();
        recorder.told(number, appended.positions.first().map_or(0, |position| position.sequence));
    }
}

fn open(home: &Path, recorder: &Recorder) -> Embedded {
    Embedded::open_on(small(home), &(Arc::new(recorder.clone()) as Arc<dyn Disk>)).unwrap()
}

fn home() -> TempDir {
    // The index syncs; nothing of it is tested by waiting for a disk.
    let shared = Path::new("/dev/shm");
    if shared.is_dir() { tempfile::tempdir_in(shared).unwrap() } else { tempfile::tempdir().unwrap() }
}

fn copy(from: &Path, to: &Path) {
    let Ok(entries) = fs::read_dir(from) else { return };
    fs::create_dir_all(to).unwrap();
    for entry in entries.flatten() {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            // Files of a live index come and go.
            let _ = fs::copy(entry.path(), to);
        }
    }
}

// === impl History ===

impl History {
    /// Some lives of a journal, each with bursts of changes under way together.
    async fn new(seeded: &mut Seeded, is_long: bool) -> Self {
        let home = home();
        let recorder = Recorder::default();
        let mut indexes = Vec::new();
        let mut keep = |recorder: &Recorder| {
            let kept = home.path().join(format!("kept-{}", indexes.len()));
            copy(&home.path().join("journal/index"), &kept);
            indexes.push((recorder.length(), kept));
        };
        let mut number = 1;
        let (bursts, burst_max) = SHAPES[seeded.below(SHAPES.len())];
        let mut versions = BTreeMap::new();
        for life in 0..LIVES {
            let journal = open(home.path(), &recorder);
            if is_long && life == 0 {
                append(&journal, &recorder, number..number + LONG).await;
                number += LONG;
                keep(&recorder);
                // The index has to know them before their segments are given back.
                append(&journal, &recorder, number..number + 1).await;
                number += 1;
                let numbers: Vec<_> = (1..LONG).filter(|number| !number.is_multiple_of(STAYS)).collect();
                forget(&journal, &recorder, &numbers).await;
                eventually(|| gone(&recorder) > 1).await;
            }
            for burst in 0..bursts {
                let count = 1 + seeded.below(burst_max) as u64;
                let numbers: Vec<_> = (0..seeded.below(4)).map(|_| 1 + seeded.below(number as usize) as u64).collect();
                let numbers: Vec<_> = numbers.into_iter().filter(|old| *old < number).collect();
                let names = (0..seeded.below(4)).map(|_| seeded.below(SLOTS as usize) as u64).collect();
                tokio::join!(
                    append(&journal, &recorder, number..number + count),
                    set(&journal, &recorder, &mut versions, &names),
                    forget(&journal, &recorder, &numbers),
                );
                number += count;
                if burst == bursts / 2 {
                    keep(&recorder);
                }
            }
            drop(journal);
            keep(&recorder);
        }
        Self { log: recorder.log(), indexes, _home: home }
    }

    fn case(&self, seed: u64) -> Case {
        let mut seeded = Seeded(seed);
        let mut at = 1 + seeded.below(self.log.len());
        if !seeded.next().is_multiple_of(4) {
            // Where something was under way, and mostly a group: those are what can be torn.
            let is_end = |op: &Op| matches!(op, Op::SyncEnded { .. } | Op::Renamed { .. });
            at = (at..self.log.len()).find(|at| is_end(&self.log[*at])).unwrap_or(at);
        }
        let usable = self.indexes.iter().take_while(|(from, _)| *from <= at).count();
        let index = (seeded.below(2) == 0 && usable > 0).then(|| seeded.below(usable));
        let is_spoiled = index.is_some() && seeded.below(4) == 0;
        let (loss, page) = (LOSSES[seeded.below(LOSSES.len())], [512, 4_096][seeded.below(2)]);
        Case { seed, at, loss, page, index, is_spoiled, is_killed: seeded.below(3) == 0 }
    }

    async fn check(&self, case: &Case) {
        let mut seeded = Seeded(case.seed ^ 1);
        let home = home();
        if let Some((_, index)) = case.index.and_then(|index| self.indexes.get(index)) {
            let to = home.path().join("journal/index");
            copy(index, &to);
            if case.is_spoiled {
                spoil(&to.join("db"), &mut seeded);
            }
        }
        let before = &self.log[..case.at];
        let recorder = if case.is_killed { Recorder::after(before) } else { Recorder::holding(lost(before, case, &mut seeded)) };
        let from = recorder.length();
        let (mut told, mut known) = (told(before), Known::default());
        known.learn(before);
        // The second crash, mostly while the first is being mended; the index stays behind as it is then.
        let length = if seeded.below(2) == 0 { 12 } else { 60 };
        let second = from + seeded.below(length);
        let next_home = self::home();
        let (index, to) = (home.path().join("journal/index"), next_home.path().join("journal/index"));
        if seeded.below(2) == 0 {
            recorder.strike_at(second, move || copy(&index, &to));
        }
        let journal = open(home.path(), &recorder);
        let there = check_holds(&journal, &told, &known, case);
        // What was there when it was opened was read by somebody: it stays.
        let mut versions = known.read(&journal, &recorder, case).await;
        let next = 1_000_000;
        let names = (0..seeded.below(3)).map(|_| seeded.below(SLOTS as usize) as u64).collect();
        // Whoever was not told asks again.
        let again: Vec<_> = known.asked.iter().copied().filter(|_| seeded.below(3) > 0).collect();
        tokio::join!(
            append(&journal, &recorder, next..next + 1 + seeded.below(4) as u64),
            set(&journal, &recorder, &mut versions, &names),
            forget(&journal, &recorder, &again),
        );
        drop(journal);

        let log = recorder.log();
        let at = second.min(log.len());
        let image = lost(&log[..at], case, &mut seeded);
        told.extend(self::told(&log[from..at]));
        // Until the first opening had ended nobody had read anything.
        known.learn(&log[from..at]);
        let recorder = Recorder::holding(image);
        let journal = open(next_home.path(), &recorder);
        let after = check_holds(&journal, &told, &known, case);
        known.read(&journal, &recorder, case).await;
        let has_written = log[from..at].iter().any(|op| matches!(op, Op::Told { .. }));
        assert!(!has_written || after.is_superset(&there), "{case}: what was read after the first crash is gone");
        let appended = journal.append(change(2_000_000)).await.unwrap();
        assert_eq!(appended.positions.first().map_or(0, |position| position.sequence), journal.health().head, "{case}");
    }
}

// === impl Known ===

impl Known {
    fn learn(&mut self, log: &[Op]) {
        for op in log {
            match op {
                Op::Slot { name, version, is_told: false } => self.versions(*name).push(*version),
                Op::Slot { name, version, is_told: true } => *self.versions(*name) = vec![*version],
                Op::Forgotten { number, is_told: false } => drop(self.asked.insert(*number)),
                Op::Forgotten { number, is_told: true } => {
                    self.asked.remove(number);
                    self.forgotten.insert(*number);
                }
                Op::Create { .. }
                | Op::Rename { .. }
                | Op::Renamed { .. }
                | Op::Remove { .. }
                | Op::Write { .. }
                | Op::SyncBegan { .. }
                | Op::SyncEnded { .. }
                | Op::NamesSynced { .. }
                | Op::Told { .. } => {}
            }
        }
    }

    fn versions(&mut self, name: u64) -> &mut Vec<u64> {
        self.slots.entry(name).or_insert_with(|| vec![0])
    }

    /// Every slot holds what it may hold, and nothing is left of anything else that it held; nor of a body that is forgotten.
    /// The version of each, which is what the recorder is told that it has from here on.
    async fn read(&self, journal: &Embedded, recorder: &Recorder, case: &Case) -> BTreeMap<u64, u64> {
        assert_eq!(journal.opening().damaged_slots, [], "{case}");
        let image = recorder.seen();
        let mut now = BTreeMap::new();
        for (name, versions) in &self.slots {
            let held = journal.slot(slot(*name)).await.unwrap();
            let version = versions.iter().copied().rev().find(|version| value(*name, *version) == held);
            assert!(version.is_some(), "{case}: slot {name} holds none of its versions {versions:?}: {held:?}");
            let version = version.unwrap_or_default();
            let others = (1..=versions.iter().copied().max().unwrap_or_default()).filter(|other| *other != version);
            let needles: Vec<_> = others.filter_map(|other| value(*name, other)).collect();
            assert_eq!(left(&image, "slots", &needles), None, "{case}: slot {name} has version {version}, and another is left");
            recorder.note(Op::Slot { name: *name, version, is_told: true });
            now.insert(*name, version);
        }
        let forgotten: Vec<_> = self.forgotten.iter().flat_map(|number| change(*number).bodies).collect();
        assert_eq!(left(&image, "bodies-", &forgotten), None, "{case}: something is left of a body that was forgotten");
        now
    }
}

/// Where the beginning of any needle is left in these files.
fn left(image: &Image, on: &str, needles: &[Bytes]) -> Option<(PathBuf, usize)> {
    let mut by_first: BTreeMap<u8, Vec<&[u8]>> = BTreeMap::new();
    for needle in needles {
        by_first.entry(needle[0]).or_default().push(&needle[..16.min(needle.len())]);
    }
    let firsts: Vec<bool> = (0..=u8::MAX).map(|byte| by_first.contains_key(&byte)).collect();
    for (path, bytes) in image.iter().filter(|(path, _)| path.to_string_lossy().contains(on)) {
        for at in (0..bytes.len()).filter(|at| firsts[usize::from(bytes[*at])]) {
            if by_first[&bytes[at]].iter().any(|needle| bytes[at..].starts_with(needle)) {
                return Some((path.clone(), at));
            }
        }
    }
    None
}

fn told(log: &[Op]) -> BTreeMap<u64, u64> {
    log.iter().filter_map(|op| if let Op::Told { number, sequence } = op { Some((*number, *sequence)) } else { None }).collect()
}

fn lost(log: &[Op], case: &Case, seeded: &mut Seeded) -> Image {
    let mut directories = seeded.clone();
    rebuilt(log, case.page, &mut |piece| case.loss.keeps(piece, seeded), &mut |bound| directories.below(bound))
}

/// Some bits of it, anywhere.
fn spoil(file: &Path, seeded: &mut Seeded) {
    let Ok(mut bytes) = fs::read(file) else { return };
    for _ in 0..=seeded.below(8) {
        // Most of the file is empty: what is there stands at its beginning.
        let most = if seeded.below(2) == 0 { bytes.len().min(20_000) } else { bytes.len() };
        let at = seeded.below(most);
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= 1 << seeded.below(8);
        }
    }
    fs::write(file, bytes).unwrap();
}

/// All that was told is there, whole, once and in order; of the rest whole changes or nothing. Which changes are there.
fn check_holds(journal: &Embedded, told: &BTreeMap<u64, u64>, known: &Known, case: &Case) -> BTreeSet<u64> {
    let opening = journal.opening();
    assert!(opening.damage.is_empty(), "{case}: {opening:?}");
    assert_eq!(journal.health().unavailable, None, "{case}");
    let records = all(journal);
    let mut versions: BTreeMap<_, u64> = BTreeMap::new();
    let mut there: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for (record, sequence) in records.iter().zip(1..) {
        let (number, part) = parts(record);
        let written = change(number);
        let version = versions.entry(record.stream).or_default();
        *version += 1;
        assert_eq!((record.sequence, record.version), (sequence, *version), "{case}: {number}/{part}");
        assert_eq!(record.bytes, written.writes[part as usize].record, "{case}: {number}/{part}");
        let found = journal.durable.find(&id(&format!("{number}/{part}"))).unwrap();
        assert_eq!(found.map(|found| (found.sequence, found.version)), Some((sequence, *version)), "{case}: {number}/{part}");
        there.entry(number).or_default().push(sequence);
    }
    for (number, sequences) in &there {
        let written = change(*number);
        assert_eq!(sequences.len(), written.writes.len(), "{case}: a part of {number} is missing, or there twice");
    }
    for number in there.keys().chain(told.keys()).collect::<BTreeSet<_>>() {
        for body in change(*number).bodies {
            let found = journal.durable.fetch(&body_address(&body));
            let is_forgotten = known.forgotten.contains(number) || (known.asked.contains(number) && found == Ok(None));
            assert_eq!(found, Ok((!is_forgotten).then_some(body)), "{case}: a body of {number}");
        }
    }
    for (number, sequence) in told {
        let first = there.get(number).and_then(|sequences| sequences.first()).copied().unwrap_or_default();
        assert_eq!(first, *sequence, "{case}: {number} was acknowledged");
    }
    for (stream, version) in versions {
        assert_eq!(journal.durable.version(stream), Ok(version), "{case}");
    }
    there.into_keys().collect()
}

fn all(journal: &Embedded) -> Vec<Record> {
    let (mut records, head) = (Vec::new(), journal.health().head);
    while (records.len() as u64) < head {
        records.extend(journal.durable.after(records.len() as u64, 1_000).unwrap());
    }
    records
}

fn parts(record: &Record) -> (u64, u64) {
    let text = String::from_utf8_lossy(&record.bytes);
    let (number, part) = text.split(' ').next().unwrap().split_once('/').unwrap();
    (number.parse().unwrap(), part.parse().unwrap())
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, at, loss, page, index, is_spoiled, is_killed } = self;
        write!(f, "seed {seed} at {at}, {loss:?} of {page}, index {index:?} spoiled {is_spoiled}, killed first {is_killed}")
    }
}

fn setting(name: &str, without: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(without)
}

#[test]
fn whatever_was_acknowledged_is_there_after_the_power_failed() {
    let (seed, disks) = (setting("AGENTGATE_SEED", 1), setting("AGENTGATE_DISKS", DISKS) as usize);
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for begin in (0..disks).step_by(OF_ONE) {
        let history = runtime().block_on(History::new(&mut Seeded(seed ^ (begin as u64) << 32), begin / OF_ONE % 3 == 1));
        let (next, end) = (AtomicUsize::new(begin), disks.min(begin + OF_ONE));
        std::thread::scope(|scope| {
            for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
                scope.spawn(|| {
                    let runtime = runtime();
                    while let Some(number) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|number| *number < end) {
                        let case = history.case(seed.wrapping_mul(1_000_003).wrapping_add(number as u64));
                        runtime.block_on(history.check(&case));
                    }
                });
            }
        });
    }
}
