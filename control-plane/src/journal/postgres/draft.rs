//! The group that is about to be written: what of each work happens, over what the database holds under the head's lock and
//! over what stands before it in the same group. It refuses in the order that the contract names.

use super::queue::{Set, Work};
use super::standing::{Seen, record_digest};
use crate::journal::{Appended, Change, Epochs, Expected, Position, Sequence, Slot, Stream, Version};
use agentgate_core::digest::Digest;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What must be looked up for some works.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub ids: Vec<Digest>,
    pub streams: Vec<Stream>,
    pub slots: Vec<Digest>,
}

/// What the database holds of it.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub ids: HashMap<Digest, Position>,
    pub versions: HashMap<Stream, Version>,
    pub slots: HashMap<Digest, Bytes>,
}

#[derive(Debug)]
pub(super) struct Row {
    pub position: Position,
    pub stream: Stream,
    pub id: Digest,
    pub digest: Digest,
    pub bytes: Bytes,
}

#[derive(Debug)]
pub(super) struct Draft {
    found: Found,
    head: Sequence,
    pub rows: Vec<Row>,
    pub kept: BTreeMap<Digest, Bytes>,
    pub gone: BTreeSet<Digest>,
    pub slots: BTreeMap<Digest, Option<Bytes>>,
}

/// Why a change does not happen.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Duplicate(Position),
    Fenced(Epochs),
    Conflict { stream: Stream, expected: Version, now: Version },
}

// === impl Asked ===

impl Asked {
    pub(super) fn by<'a>(works: impl IntoIterator<Item = &'a Work>) -> Self {
        // Every group knows the epoch.
        let mut asked = Self { streams: vec![Stream::global()], ..Self::default() };
        for work in works {
            match work {
                Work::Change(change, ..) => {
                    asked.ids.extend(change.writes.iter().map(|write| write.id));
                    asked.streams.extend(change.writes.iter().map(|write| write.stream));
                }
                Work::Discard(..) => {}
                Work::Set(set, _) => asked.slots.push(set.name),
            }
        }
        asked.streams.sort_unstable();
        asked.streams.dedup();
        asked
    }
}

// === impl Found ===

impl Found {
    pub(super) fn extend(&mut self, more: Self) {
        self.ids.extend(more.ids);
        self.versions.extend(more.versions);
        self.slots.extend(more.slots);
    }
}

// === impl Draft ===

impl Draft {
    pub(super) fn new(head: Sequence, found: Found) -> Self {
        let (kept, gone, slots) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        Self { found, head, rows: Vec::new(), kept, gone, slots }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.kept.is_empty() && self.gone.is_empty() && self.slots.is_empty()
    }

    /// The head once it is written.
    pub(super) fn head(&self) -> Sequence {
        self.head
    }

    pub(super) fn last(&self) -> Option<Seen> {
        self.rows.last().map(|row| Seen { sequence: row.position.sequence, id: row.id, digest: row.digest })
    }

    /// Puts the change in, whole, or says why not.
    pub(super) fn change(&mut self, change: Change, addresses: Vec<Digest>) -> Result<Appended, Refused> {
        self.admit(&change)?;
        for (address, body) in addresses.into_iter().zip(change.bodies) {
            self.gone.remove(&address);
            self.kept.insert(address, body);
        }
        let positions = change.writes.into_iter().map(|write| {
            let version = self.found.versions.entry(write.stream).or_default();
            *version = version.saturating_add(1);
            self.head = self.head.saturating_add(1);
            let position = Position { sequence: self.head, version: *version };
            self.found.ids.insert(write.id, position);
            let digest = record_digest(&write.record);
            self.rows.push(Row { position, stream: write.stream, id: write.id, digest, bytes: write.record });
            position
        });
        Ok(Appended { positions: positions.collect() })
    }

    fn admit(&self, change: &Change) -> Result<(), Refused> {
        if let Some(position) = change.writes.iter().find_map(|write| self.found.ids.get(&write.id)) {
            return Err(Refused::Duplicate(*position));
        }
        let now = Epochs { global: self.version(Stream::global()) };
        if change.fence.is_some_and(|fence| fence != now) {
            return Err(Refused::Fenced(now));
        }
        let mut ahead: HashMap<Stream, Version> = HashMap::new();
        for write in &change.writes {
            let (stream, now) = (write.stream, self.version(write.stream));
            let ahead = ahead.entry(stream).or_default();
            match write.expected {
                Expected::Exactly(expected) if expected != now.saturating_add(*ahead) => {
                    return Err(Refused::Conflict { stream, expected, now });
                }
                Expected::Exactly(_) | Expected::Any => *ahead += 1,
            }
        }
        Ok(())
    }

    fn version(&self, stream: Stream) -> Version {
        self.found.versions.get(&stream).copied().unwrap_or_default()
    }

    pub(super) fn discard(&mut self, addresses: Vec<Digest>) {
        for address in addresses {
            self.kept.remove(&address);
            self.gone.insert(address);
        }
    }

    pub(super) fn set(&mut self, set: Set) -> Slot {
        let held = self.found.slots.get(&set.name);
        if held != set.expected.as_ref() {
            return Slot::Held(held.cloned());
        }
        if held == set.value.as_ref() {
            return Slot::Set;
        }
        match &set.value {
            Some(value) => drop(self.found.slots.insert(set.name, value.clone())),
            None => drop(self.found.slots.remove(&set.name)),
        }
        self.slots.insert(set.name, set.value);
        Slot::Set
    }
}
