//! What is durable but not in the index yet, in memory. It refuses to grow beyond `OVERLAY_ENTRIES_MAX`: the writer waits
//! for the index then.

use super::frame::{Location, Place};
use super::record::Stream;
use super::segments::Tail;
use super::{Position, Sequence, Version};
use agentgate_core::digest::Digest;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

/// Records and bodies that may wait for the index: some 3 MB, and half a second of a busy disk's work.
pub(super) const OVERLAY_ENTRIES_MAX: usize = 8192;

/// Everything that the index must learn of one group.
#[derive(Clone, Debug)]
pub(super) struct Indexed {
    pub records: Vec<RecordEntry>,
    pub bodies: Vec<(Digest, Location)>,
    /// Where bodies stood that are forgotten. Only a journal that is read again has any.
    pub discarded: Vec<Location>,
    /// Those of them whose bytes may not be zeros yet.
    pub unfinished: Vec<(Digest, Location)>,
    /// Where its group of records starts.
    pub place: Place,
    pub mark: Mark,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct RecordEntry {
    pub stream: Stream,
    pub id: Digest,
    pub position: Position,
    pub location: Location,
}

/// How far the index has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub head: Sequence,
    pub records: Tail,
    pub bodies: Tail,
}

#[derive(Debug, Default)]
pub(super) struct Overlay {
    groups: VecDeque<Arc<Indexed>>,
    streams: BTreeMap<(Stream, Version), Location>,
    sequences: BTreeMap<Sequence, Location>,
    ids: BTreeMap<Digest, Position>,
    /// A body may lie in several places.
    bodies: BTreeMap<(Digest, Place), u32>,
}

// === impl Mark ===

impl Mark {
    pub(super) const START: Mark = Mark { head: 0, records: Tail::START, bodies: Tail::START };
}

// === impl Indexed ===

impl Indexed {
    pub(super) fn entries(&self) -> usize {
        self.records.len() + self.bodies.len() + self.discarded.len()
    }
}

// === impl Overlay ===

impl Overlay {
    pub(super) fn entries(&self) -> usize {
        self.sequences.len() + self.bodies.len()
    }

    pub(super) fn push(&mut self, group: Arc<Indexed>) {
        for entry in &group.records {
            self.streams.insert((entry.stream, entry.position.version), entry.location);
            self.sequences.insert(entry.position.sequence, entry.location);
            self.ids.insert(entry.id, entry.position);
        }
        self.bodies.extend(group.bodies.iter().map(|(address, location)| ((*address, location.place), location.length)));
        self.groups.push_back(group);
    }

    /// Forgets everything: the index has read it from the segments.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The oldest groups, as many as together hold at most `entries_max` entries, but one at least.
    pub(super) fn oldest(&self, entries_max: usize) -> Vec<Arc<Indexed>> {
        let mut entries = 0;
        let fits = |group: &&Arc<Indexed>| {
            let is_first = entries == 0;
            entries += group.entries();
            is_first || entries <= entries_max
        };
        self.groups.iter().take_while(fits).map(Arc::clone).collect()
    }

    /// The index knows these now, which were the oldest. Whichever is not there any more was cleared since, and what stands
    /// in its place the index may not know.
    pub(super) fn forget(&mut self, learned: &[Arc<Indexed>]) {
        let is_learned = |(group, learned): &(&Arc<Indexed>, &Arc<Indexed>)| Arc::ptr_eq(group, learned);
        let count = self.groups.iter().zip(learned).take_while(is_learned).count();
        for group in self.groups.drain(..count) {
            for entry in &group.records {
                self.streams.remove(&(entry.stream, entry.position.version));
                self.sequences.remove(&entry.position.sequence);
                self.ids.remove(&entry.id);
            }
            for (address, location) in &group.bodies {
                self.bodies.remove(&(*address, location.place));
            }
        }
    }

    pub(super) fn position(&self, id: &Digest) -> Option<Position> {
        self.ids.get(id).copied()
    }

    /// The highest id that begins with `family`.
    pub(super) fn last_id(&self, family: &[u8]) -> Option<Digest> {
        let [first, last] = [0, u8::MAX].map(|fill| filled(family, fill));
        self.ids.range(first..=last).next_back().map(|(id, _)| *id)
    }

    /// Where a body lies, the newest place last.
    pub(super) fn bodies(&self, address: &Digest) -> Vec<Location> {
        let range = (*address, Place::FIRST)..=(*address, Place::LAST);
        self.bodies.range(range).map(|((_, place), length)| Location { place: *place, length: *length }).collect()
    }

    /// Where there are bodies, after `after`, each once.
    pub(super) fn addresses(&self, after: Option<Digest>, limit: usize) -> Vec<Digest> {
        let mut found: Vec<Digest> = Vec::new();
        let from = after.map_or(Bound::Unbounded, |after| Bound::Excluded((after, Place::LAST)));
        for (address, _) in self.bodies.range((from, Bound::Unbounded)).map(|(key, _)| key) {
            if found.last() != Some(address) {
                if found.len() == limit {
                    break;
                }
                found.push(*address);
            }
        }
        found
    }

    pub(super) fn version(&self, stream: Stream) -> Option<Version> {
        self.streams.range((stream, 0)..=(stream, Version::MAX)).next_back().map(|((_, version), _)| *version)
    }

    /// The records of a stream after `after`.
    pub(super) fn stream(&self, stream: Stream, after: Version, limit: usize) -> Vec<(Version, Location)> {
        let range = (stream, after.saturating_add(1))..=(stream, Version::MAX);
        self.streams.range(range).take(limit).map(|((_, version), location)| (*version, *location)).collect()
    }

    /// The records after `cursor`.
    pub(super) fn after(&self, cursor: Sequence, limit: usize) -> Vec<(Sequence, Location)> {
        let range = cursor.saturating_add(1)..;
        self.sequences.range(range).take(limit).map(|(sequence, location)| (*sequence, *location)).collect()
    }
}

fn filled(family: &[u8], fill: u8) -> Digest {
    let mut id = [fill; 32];
    id.iter_mut().zip(family).for_each(|(byte, of_family)| *byte = *of_family);
    Digest::from_bytes(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::contract::{id, stream};

    fn group(sequence: Sequence) -> Arc<Indexed> {
        let place = Place { segment: 1, offset: 0 };
        let position = Position { sequence, version: sequence };
        let name = sequence.to_string();
        let record = RecordEntry { stream: stream("a"), id: id(&name), position, location: Location { place, length: 1 } };
        let bodies = vec![(id(&name), record.location)];
        Arc::new(Indexed {
            records: vec![record],
            bodies,
            discarded: Vec::new(),
            unfinished: Vec::new(),
            place,
            mark: Mark { head: sequence, ..Mark::START },
        })
    }

    fn sequences(overlay: &Overlay) -> Vec<Sequence> {
        let sequences: Vec<_> = overlay.after(0, 100).into_iter().map(|(sequence, _)| sequence).collect();
        for sequence in &sequences {
            let name = id(&sequence.to_string());
            assert!(overlay.position(&name).is_some() && !overlay.bodies(&name).is_empty(), "{sequence}");
        }
        assert_eq!((overlay.entries(), overlay.groups.len()), (2 * sequences.len(), sequences.len()));
        sequences
    }

    #[test]
    fn what_was_learned_is_forgotten_and_what_came_since_is_not() {
        for is_cleared in [false, true] {
            let mut overlay = Overlay::default();
            (1..=2).for_each(|sequence| overlay.push(group(sequence)));
            let learned = overlay.oldest(100);
            if is_cleared {
                overlay.clear();
            }
            (3..=4).for_each(|sequence| overlay.push(group(sequence)));
            overlay.forget(&learned);
            assert_eq!(sequences(&overlay), [3, 4], "cleared: {is_cleared}");
            overlay.forget(&learned);
            assert_eq!(sequences(&overlay), [3, 4], "twice, cleared: {is_cleared}");
        }
    }
}
