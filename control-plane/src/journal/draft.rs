//! The group under construction, and the law that a change must pass to stand in it. A change that fails leaves no trace
//! in the draft. It refuses to touch the disk: it reads what is durable, and says what is to be written.

use super::durable::Durable;
use super::frame::{GroupDraft, Kind, Location, Place, RecordHead};
use super::known::Known;
use super::overlay::{Indexed, Mark, RecordEntry};
use super::record::Stream;
use super::{AppendError, Appended, Change, Epochs, Expected, Position, ReadError, Sequence, Version};
use agentgate_core::digest::Digest;
use std::collections::{HashMap, HashSet};

/// A group, and what it makes of the journal once it is durable.
#[derive(Debug)]
pub(super) struct Draft {
    pub records: GroupDraft,
    pub bodies: GroupDraft,
    first: Sequence,
    next: Sequence,
    versions: HashMap<Stream, Version>,
    ids: HashMap<Digest, Position>,
    addresses: HashSet<Digest>,
    /// Offsets are in the group until it has its place.
    entries: Vec<RecordEntry>,
    body_entries: Vec<(Digest, Location)>,
}

/// Why a change does not stand in the group. It is told only when the group is durable: it may be the group that is in its way.
#[derive(Debug)]
pub(super) enum Refused {
    Duplicate(Position),
    Fenced(Epochs),
    Conflict { stream: Stream, expected: Version, now: Version },
    Unreadable(ReadError),
}

// === impl Draft ===

impl Draft {
    pub(super) fn new(first: Sequence) -> Self {
        Self {
            records: GroupDraft::new(Kind::Records),
            bodies: GroupDraft::new(Kind::Bodies),
            first,
            next: first,
            versions: HashMap::new(),
            ids: HashMap::new(),
            addresses: HashSet::new(),
            entries: Vec::new(),
            body_entries: Vec::new(),
        }
    }

    pub(super) fn first(&self) -> Sequence {
        self.first
    }

    /// Nothing to write.
    pub(super) fn is_empty(&self) -> bool {
        self.records.count() == 0 && self.bodies.count() == 0
    }

    /// Puts the change in, whole, or says why not. `is_move`: its bodies are written again, wherever they lie.
    pub(super) fn take(
        &mut self,
        change: &Change,
        addresses: &[Digest],
        is_move: bool,
        durable: &Durable,
        known: &mut Known,
    ) -> Result<Appended, Refused> {
        self.admit(change, durable, known)?;
        let is_kept = !is_move && Self::are_kept(change, addresses, durable)?;
        for (body, address) in change.bodies.iter().zip(addresses).filter(|_| !is_kept) {
            if self.addresses.insert(*address) {
                let place = self.bodies.push_body(address, body).ok_or_else(too_long)?;
                self.body_entries.push((*address, in_group(place)));
            }
        }
        let mut positions = Vec::with_capacity(change.writes.len());
        for write in &change.writes {
            let version = self.version(write.stream, durable, known)?.saturating_add(1);
            let position = Position { sequence: self.next, version };
            let head = RecordHead { sequence: position.sequence, version, stream: write.stream, id: write.id };
            let location = in_group(self.records.push_record(&head, &write.record).ok_or_else(too_long)?);
            self.next = self.next.saturating_add(1);
            self.versions.insert(write.stream, version);
            self.ids.insert(write.id, position);
            self.entries.push(RecordEntry { stream: write.stream, id: write.id, position, location });
            positions.push(position);
        }
        Ok(Appended { positions })
    }

    fn admit(&mut self, change: &Change, durable: &Durable, known: &mut Known) -> Result<(), Refused> {
        for write in &change.writes {
            let found = match self.ids.get(&write.id) {
                Some(position) => Some(*position),
                None => known.position(&write.id, durable)?,
            };
            if let Some(position) = found {
                return Err(Refused::Duplicate(position));
            }
        }
        if let Some(fence) = change.fence {
            let now = Epochs { global: self.version(Stream::global(), durable, known)? };
            if fence != now {
                return Err(Refused::Fenced(now));
            }
        }
        let mut ahead: HashMap<Stream, Version> = HashMap::new();
        for write in &change.writes {
            let now = self.version(write.stream, durable, known)?;
            let ahead = ahead.entry(write.stream).or_default();
            match write.expected {
                Expected::Exactly(expected) if expected != now.saturating_add(*ahead) => {
                    return Err(Refused::Conflict { stream: write.stream, expected, now });
                }
                Expected::Exactly(_) | Expected::Any => *ahead += 1,
            }
        }
        Ok(())
    }

    /// Whether nothing is left to keep. Only asked where there is no record: a body beside a record is that record's own,
    /// under its own key, and to look for an older copy would cost each call a look into the index. A second copy costs
    /// space and nothing else.
    fn are_kept(change: &Change, addresses: &[Digest], durable: &Durable) -> Result<bool, ReadError> {
        if !change.writes.is_empty() {
            return Ok(false);
        }
        let are_kept = addresses.iter().map(|address| durable.is_kept(address));
        are_kept.collect::<Result<Vec<_>, ReadError>>().map(|are_kept| are_kept.into_iter().all(|is_kept| is_kept))
    }

    fn version(&mut self, stream: Stream, durable: &Durable, known: &mut Known) -> Result<Version, ReadError> {
        if let Some(version) = self.versions.get(&stream) {
            return Ok(*version);
        }
        let version = known.version(stream, durable)?;
        // INVARIANT: a change that was admitted finds all its versions here, so that it cannot fail half way.
        self.versions.insert(stream, version);
        Ok(version)
    }

    /// What the index must learn, now that the places are known.
    pub(super) fn indexed(self, records: Place, bodies: Place, mark: Mark, known: &mut Known) -> Indexed {
        known.wrote(self.versions, self.entries.iter().map(|entry| entry.id));
        let placed = |place: Place, location: Location| Location {
            place: Place { offset: place.offset.saturating_add(location.place.offset), ..place },
            ..location
        };
        let record = |entry: RecordEntry| RecordEntry { location: placed(records, entry.location), ..entry };
        Indexed {
            records: self.entries.into_iter().map(record).collect(),
            bodies: self.body_entries.into_iter().map(|(address, location)| (address, placed(bodies, location))).collect(),
            discarded: Vec::new(),
            unfinished: Vec::new(),
            place: records,
            mark,
        }
    }
}

fn in_group((offset, length): (u32, u32)) -> Location {
    Location { place: Place { segment: 0, offset }, length }
}

/// Cannot be: `CHANGE_BYTES_MAX` lies far below. Said, so that it would be refused and not cut short.
fn too_long() -> Refused {
    Refused::Unreadable(ReadError::Unavailable("a group cannot hold this many bytes".to_owned()))
}

// === impl Refused ===

impl Refused {
    /// What the caller is told.
    pub(super) fn told(self, durable: &Durable) -> AppendError {
        match self {
            Refused::Duplicate(position) => AppendError::Duplicate(position),
            Refused::Fenced(now) => AppendError::Fenced { now },
            Refused::Conflict { stream, expected, now } => {
                // Damage shows in `health`; the caller sees that records are missing from `missing`.
                let missing = durable.read(stream, expected, super::CONFLICT_RECORDS_MAX).unwrap_or_default();
                AppendError::Conflict { stream, now, missing }
            }
            Refused::Unreadable(error) => AppendError::Unavailable(error.to_string()),
        }
    }
}

impl From<ReadError> for Refused {
    fn from(error: ReadError) -> Self {
        Refused::Unreadable(error)
    }
}
