//! A journal of several segments is spoiled in one place: a bit, a page of zeros, a file cut short. The place is named, nothing is
//! written any more, and every group that the place does not touch is read as it was written.

use super::recorder::{Image, Recorder};
use super::{append_each, body, numbered, small};
use crate::journal::contract::id;
use crate::journal::disk::Disk;
use crate::journal::embedded::Embedded;
use crate::journal::frame::{GroupHead, Kind};
use crate::journal::overlay::Mark;
use crate::journal::scan::walk;
use crate::journal::segments::Layout;
use crate::journal::{AppendError, Journal as _, ReadError, body_address};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Enough for two segments of records, and three of bodies.
const GROUPS: u64 = 420;

/// Of each kind of spoiling but pages of 4096 bytes, which are all tried.
const DRAWN: u64 = 60;

struct Whole {
    image: Image,
    groups: Vec<(Kind, GroupHead)>,
}

#[derive(Clone, Copy, Debug)]
enum Spoil {
    Bit(u8),
    Zeros,
    Cut,
}

// === impl Whole ===

impl Whole {
    async fn new() -> Self {
        let (home, recorder) = (tempfile::tempdir().unwrap(), Recorder::default());
        let disk: Arc<dyn Disk> = Arc::new(recorder.clone());
        let journal = Embedded::open_on(small(home.path()), &disk).unwrap();
        append_each(&journal, 1..=GROUPS).await;
        drop(journal);
        let mut groups = Vec::new();
        for kind in [Kind::Records, Kind::Bodies] {
            let layout = Layout { disk: Arc::clone(&disk), directory: kind.noun().into(), kind, segment_bytes: 64 << 10 };
            walk(&layout, Mark::START.records, u64::from(kind == Kind::Records), &mut |head, _| {
                groups.push((kind, *head));
                Ok(())
            })
            .unwrap();
        }
        Self { image: recorder.seen(), groups }
    }

    fn segments(&self) -> Vec<(Kind, u32, PathBuf, usize)> {
        let kinds = [Kind::Records, Kind::Bodies].into_iter();
        let segments = kinds.flat_map(|kind| {
            let of_kind = self.image.iter().filter(move |(path, _)| path.starts_with(kind.noun()));
            of_kind.map(move |(path, bytes)| {
                let number = path.to_string_lossy().rsplit('-').next().unwrap().parse().unwrap();
                (kind, number, path.clone(), bytes.len())
            })
        });
        segments.collect()
    }

    /// Groups that have nothing in this place.
    fn untouched(&self, kind: Kind, segment: u32, place: &Range<usize>) -> impl Iterator<Item = &(Kind, GroupHead)> {
        self.groups.iter().filter(move |(of, head)| {
            let start = head.place.offset as usize;
            let is_apart = start + head.length() <= place.start || place.end <= start;
            *of != kind || head.place.segment != segment || is_apart
        })
    }

    async fn check(&self, kind: Kind, segment: u32, path: &Path, place: Range<usize>, spoil: Spoil) {
        let what = format!("{spoil:?} of {} at {place:?}", path.display());
        let mut image = self.image.clone();
        let bytes = image.get_mut(path).unwrap();
        match spoil {
            Spoil::Bit(bit) => bytes[place.start] ^= 1 << bit,
            Spoil::Zeros => bytes[place.clone()].fill(0),
            Spoil::Cut => bytes.truncate(place.start),
        }
        if image == self.image {
            return;
        }
        let home = tempfile::tempdir().unwrap();
        let journal = Embedded::open_on(small(home.path()), &(Arc::new(Recorder::holding(image)) as Arc<dyn Disk>)).unwrap();
        let opening = journal.opening();
        let lost = self.groups.len() - self.untouched(kind, segment, &place).count();
        // The last group of all is a seal: without it the journal is as after a crash.
        let (seal_kind, seal) = self.groups.iter().rfind(|(kind, _)| *kind == Kind::Records).unwrap();
        let is_seal = (*seal_kind, seal.place.segment) == (kind, segment) && place.start >= seal.place.offset as usize;
        if !(is_seal && opening.damage.is_empty()) {
            let is_named = opening.damage.iter().any(|damage| (damage.kind, damage.segment) == (kind, segment));
            assert!(is_named, "{what}: {opening:?}");
            assert!(journal.health().unavailable.is_some(), "{what}");
            assert!(matches!(journal.append(numbered(GROUPS + 1)).await, Err(AppendError::Unavailable(_))), "{what}");
        }
        for (kind, head) in self.untouched(kind, segment, &place) {
            match kind {
                Kind::Records => (head.first..head.next()).for_each(|number| check_record(&journal, number, &what)),
                Kind::Bodies => {
                    let found = journal.durable.fetch(&body_address(&body(head.group)));
                    assert_eq!(found, Ok(Some(body(head.group))), "{what}, {lost} groups are in it");
                }
            }
        }
        // What is touched is there as it was, or it is damaged: never something else. It is absent only behind a damage that
        // says from where on nobody knows how much there was.
        for number in 1..=GROUPS {
            match journal.durable.after(number - 1, 1) {
                Ok(found) if found.is_empty() => {
                    let is_open = opening.damage.iter().any(|damage| damage.last.is_none() && damage.first <= number);
                    assert!(is_open, "{what}: record {number} is absent: {opening:?}");
                }
                Ok(found) => assert_eq!(found[0].bytes, number.to_string().as_bytes(), "{what}"),
                Err(error) => assert!(matches!(error, ReadError::Damaged(_)), "{what}: {error}"),
            }
        }
    }
}

fn check_record(journal: &Embedded, number: u64, what: &str) {
    let read = journal.durable.after(number - 1, 1);
    let read = read.unwrap_or_else(|error| panic!("{what}: record {number} is not touched: {error}"));
    assert_eq!((read[0].sequence, read[0].bytes.as_ref()), (number, number.to_string().as_bytes()), "{what}");
    let found = journal.durable.find(&id(&number.to_string())).unwrap();
    assert_eq!(found.map(|found| found.sequence), Some(number), "{what}");
}

/// Numbers from a seed (splitmix64).
fn drawn(seed: &mut u64, bound: usize) -> usize {
    *seed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mixed = (*seed ^ (*seed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    ((mixed ^ (mixed >> 27)) % bound.max(1) as u64) as usize
}

#[tokio::test]
async fn a_spoiled_place_is_named_and_all_that_it_does_not_touch_is_read() {
    let whole = Whole::new().await;
    let segments = whole.segments();
    assert!(segments.len() >= 4, "{segments:?}");
    for (kind, segment, path, length) in &segments {
        for page in (0..*length).step_by(4096) {
            whole.check(*kind, *segment, path, page..page + 4096, Spoil::Zeros).await;
        }
    }
    let mut seed = std::env::var("AGENTGATE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    for _ in 0..DRAWN {
        let (kind, segment, path, length) = &segments[drawn(&mut seed, segments.len())];
        let at = drawn(&mut seed, *length);
        let page = at / 512 * 512;
        let bit = drawn(&mut seed, 8) as u8;
        // Zeros behind the last group are nobody's.
        let end = whole.groups.iter().filter(|(of, head)| (*of, head.place.segment) == (*kind, *segment));
        let end = end.map(|(_, head)| head.place.offset as usize + head.length()).max().unwrap_or_default();
        whole.check(*kind, *segment, path, page..page + 512, Spoil::Zeros).await;
        whole.check(*kind, *segment, path, at..*length, Spoil::Cut).await;
        let at = at % end.max(1);
        whole.check(*kind, *segment, path, at..at + 1, Spoil::Bit(bit)).await;
    }
}
