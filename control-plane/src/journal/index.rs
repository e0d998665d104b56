//! The index: where each record, id and body lies. The one file that knows sled.
//!
//! Everything in it can be rebuilt from the segments, and it refuses to be believed further than that: what is read at a
//! place is checked there. sled panics where it meets damage, so every step into it catches that.

use super::frame::{Location, Place};
use super::lock::lock;
use super::overlay::{Indexed, Mark};
use super::record::Stream;
use super::segments::Tail;
use super::{Position, Sequence, Version};
use agentgate_core::digest::Digest;
use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use thiserror::Error;

/// sled holds several times this in memory: the control plane has 100 MB for everything.
const CACHE_BYTES: u64 = 4 << 20;

/// The file in its folder that sled locks.
const SLED_FILE: &str = "db";

/// Raised when a key or a value changes its form: the index is then built anew.
const FORM: &[u8] = b"agentgate/index/2";

// One tree; the first byte of a key says what it is.
const MARK: &[u8] = b"m";
const FORM_KEY: &[u8] = b"f";
/// Address and place: a body may lie in several.
const BODY: u8 = b'b';
/// Place of a body that was discarded, so that it is known where space can be gained.
const DISCARDED: u8 = b'd';
const GROUP: u8 = b'g';
const ID: u8 = b'i';
const RECORD: u8 = b'r';

#[derive(Debug)]
pub(super) struct Index {
    db: sled::Db,
    /// Held from a batch to its flush: nothing may come between.
    writing: Mutex<()>,
}

#[derive(Clone, Debug, Error)]
pub(super) enum IndexError {
    #[error("sled: {0}")]
    Sled(#[from] sled::Error),
    #[error("sled panicked: {0}")]
    Panic(String),
    #[error("somebody else holds it")]
    Held,
    #[error("it is being opened again")]
    Closed,
    #[error("it holds what it cannot hold")]
    Form,
}

// === impl IndexError ===

impl IndexError {
    /// Whether the index itself is wrong, and not only the disk or the moment.
    pub(super) fn is_spoiled(&self) -> bool {
        !matches!(self, IndexError::Held | IndexError::Closed | IndexError::Sled(sled::Error::Io(_)))
    }
}

// === impl Index ===

impl Index {
    /// Waits for the file that sled locks: an index that was just closed may not have let go of it.
    pub(super) fn open(directory: &Path) -> Result<Self, IndexError> {
        released(&directory.join(SLED_FILE))?;
        caught(|| {
            let config = sled::Config::new().path(directory).cache_capacity(CACHE_BYTES).flush_every_ms(None);
            let index = Self { db: config.open()?, writing: Mutex::default() };
            match index.db.get(FORM_KEY)? {
                Some(form) if form.as_ref() == FORM => Ok(index),
                None if index.db.is_empty() => Ok(index),
                Some(_) | None => Err(IndexError::Form),
            }
        })
    }

    pub(super) fn mark(&self) -> Result<Mark, IndexError> {
        caught(|| match self.db.get(MARK)? {
            Some(value) => decode_mark(&value).ok_or(IndexError::Form),
            None => Ok(Mark::START),
        })
    }

    /// Learns whole groups: one batch and one flush, the only way in which sled was sound when power failed.
    pub(super) fn learn(&self, groups: &[Arc<Indexed>], mark: Mark) -> Result<(), IndexError> {
        caught(|| {
            let mut batch = sled::Batch::default();
            for group in groups {
                if let Some(first) = group.records.first() {
                    batch.insert(key(GROUP, &[&first.position.sequence.to_be_bytes()]), encode_place(group.place));
                }
                for entry in &group.records {
                    let version = entry.position.version.to_be_bytes();
                    let record = key(RECORD, &[entry.stream.0.as_bytes(), &version]);
                    batch.insert(record, encode_location(entry.location));
                    let position = [entry.position.sequence.to_be_bytes(), version].concat();
                    batch.insert(key(ID, &[entry.id.as_bytes()]), position);
                }
                for (address, location) in &group.bodies {
                    batch.insert(body_key(address, location.place), location.length.to_be_bytes().to_vec());
                }
                for location in &group.discarded {
                    let place = key(DISCARDED, &[&encode_place(location.place)]);
                    batch.insert(place, location.length.to_be_bytes().to_vec());
                }
            }
            batch.insert(MARK, encode_mark(&mark));
            batch.insert(FORM_KEY, FORM);
            self.write(batch)
        })
    }

    /// These bodies are forgotten where they lay.
    pub(super) fn discarded(&self, entries: &[(Digest, Location)]) -> Result<(), IndexError> {
        caught(|| {
            let mut batch = sled::Batch::default();
            for (address, location) in entries {
                batch.remove(body_key(address, location.place));
                batch.insert(key(DISCARDED, &[&encode_place(location.place)]), location.length.to_be_bytes().to_vec());
            }
            self.write(batch)
        })
    }

    /// A segment of bodies is gone, and whatever lay in these places with it.
    pub(super) fn gone(&self, segment: u32, entries: &[(Digest, Place)]) -> Result<(), IndexError> {
        caught(|| {
            let mut batch = sled::Batch::default();
            entries.iter().for_each(|(address, place)| batch.remove(body_key(address, *place)));
            for found in self.db.scan_prefix(key(DISCARDED, &[&segment.to_be_bytes()])) {
                batch.remove(found?.0);
            }
            self.write(batch)
        })
    }

    /// How many bytes of each segment's bodies were discarded.
    pub(super) fn discarded_bytes(&self) -> Result<BTreeMap<u32, u64>, IndexError> {
        caught(|| {
            let mut sums: BTreeMap<u32, u64> = BTreeMap::new();
            for found in self.db.scan_prefix([DISCARDED]) {
                let (key, value) = found?;
                let segment = key.get(1..5).and_then(be32).ok_or(IndexError::Form)?;
                *sums.entry(segment).or_default() += u64::from(be32(&value).ok_or(IndexError::Form)?);
            }
            Ok(sums)
        })
    }

    fn write(&self, batch: sled::Batch) -> Result<(), IndexError> {
        let _alone = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.db.apply_batch(batch)?;
        self.db.flush()?;
        Ok(())
    }

    pub(super) fn position(&self, id: &Digest) -> Result<Option<Position>, IndexError> {
        self.lookup(&key(ID, &[id.as_bytes()]), |value| {
            let (sequence, version) = value.split_at_checked(8)?;
            Some(Position { sequence: be64(sequence)?, version: be64(version)? })
        })
    }

    /// The highest id that begins with `family`.
    pub(super) fn last_id(&self, family: &[u8]) -> Result<Option<Digest>, IndexError> {
        caught(|| match self.db.scan_prefix(key(ID, &[family])).next_back().transpose()? {
            Some((key, _)) => {
                let id = key.get(1..).and_then(|id| id.try_into().ok()).map(Digest::from_bytes);
                id.map(Some).ok_or(IndexError::Form)
            }
            None => Ok(None),
        })
    }

    /// Where a body lies, the newest place last.
    pub(super) fn bodies(&self, address: &Digest) -> Result<Vec<Location>, IndexError> {
        caught(|| {
            let entry = |found: Result<(sled::IVec, sled::IVec), sled::Error>| {
                let (key, length) = found?;
                let place = key.get(33..).and_then(decode_place);
                place.zip(be32(&length)).map(|(place, length)| Location { place, length }).ok_or(IndexError::Form)
            };
            self.db.scan_prefix(key(BODY, &[address.as_bytes()])).map(entry).collect()
        })
    }

    /// Where there are bodies, after `after`, each once.
    pub(super) fn addresses(&self, after: Option<Digest>, limit: usize) -> Result<Vec<Digest>, IndexError> {
        // Behind every place of that address.
        let from = after.map_or_else(|| vec![BODY], |after| [&key(BODY, &[after.as_bytes()])[..], &[u8::MAX; 9]].concat());
        caught(|| {
            let mut found: Vec<Digest> = Vec::new();
            for entry in self.db.range(from..vec![BODY + 1]) {
                let (key, _) = entry?;
                let address = key.get(1..33).and_then(|address| Digest::try_from(address).ok()).ok_or(IndexError::Form)?;
                if found.last() != Some(&address) {
                    if found.len() == limit {
                        break;
                    }
                    found.push(address);
                }
            }
            Ok(found)
        })
    }

    pub(super) fn version(&self, stream: Stream) -> Result<Version, IndexError> {
        caught(|| match self.db.scan_prefix(key(RECORD, &[stream.0.as_bytes()])).next_back().transpose()? {
            Some((key, _)) => key.len().checked_sub(8).and_then(|at| be64(key.get(at..)?)).ok_or(IndexError::Form),
            None => Ok(0),
        })
    }

    /// The records of a stream after `after`.
    pub(super) fn stream(&self, stream: Stream, after: Version, limit: usize) -> Result<Vec<(Version, Location)>, IndexError> {
        let from = key(RECORD, &[stream.0.as_bytes(), &after.saturating_add(1).to_be_bytes()]);
        let upto = key(RECORD, &[stream.0.as_bytes(), &Version::MAX.to_be_bytes()]);
        caught(|| {
            let entry = |found: Result<(sled::IVec, sled::IVec), sled::Error>| {
                let (key, value) = found?;
                let version = key.len().checked_sub(8).and_then(|at| be64(key.get(at..)?));
                version.zip(decode_location(&value)).ok_or(IndexError::Form)
            };
            self.db.range(from.as_slice()..=upto.as_slice()).take(limit).map(entry).collect()
        })
    }

    /// The last group that starts at or before `sequence`.
    pub(super) fn group(&self, sequence: Sequence) -> Result<Option<(Sequence, Place)>, IndexError> {
        let range = key(GROUP, &[&0_u64.to_be_bytes()])..=key(GROUP, &[&sequence.to_be_bytes()]);
        caught(|| match self.db.range(range).next_back().transpose()? {
            Some((key, value)) => {
                let first = key.get(1..).and_then(be64);
                first.zip(decode_place(&value)).map(Some).ok_or(IndexError::Form)
            }
            None => Ok(None),
        })
    }

    fn lookup<T>(&self, key: &[u8], decode: impl Fn(&[u8]) -> Option<T>) -> Result<Option<T>, IndexError> {
        caught(|| match self.db.get(key)? {
            Some(value) => decode(&value).map(Some).ok_or(IndexError::Form),
            None => Ok(None),
        })
    }
}

fn released(file: &Path) -> Result<(), IndexError> {
    let told = match File::open(file) {
        Ok(file) => lock(&file),
        // None yet, or one that sled itself will speak of.
        Err(_) => Ok(()),
    };
    told.map_err(|error| match error {
        TryLockError::WouldBlock => IndexError::Held,
        TryLockError::Error(error) => IndexError::Sled(sled::Error::Io(error)),
    })
}

fn caught<T>(step: impl FnOnce() -> Result<T, IndexError>) -> Result<T, IndexError> {
    // Nothing of ours is half changed when sled unwinds: the index is closed and built anew after any error.
    catch_unwind(AssertUnwindSafe(step)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        Err(IndexError::Panic(text.unwrap_or("without a word").to_owned()))
    })
}

fn key(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = vec![kind];
    parts.iter().for_each(|part| key.extend_from_slice(part));
    key
}

fn body_key(address: &Digest, place: Place) -> Vec<u8> {
    key(BODY, &[address.as_bytes(), &encode_place(place)])
}

fn be64(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}

fn be32(bytes: &[u8]) -> Option<u32> {
    bytes.try_into().ok().map(u32::from_be_bytes)
}

fn encode_place(place: Place) -> Vec<u8> {
    [place.segment.to_be_bytes(), place.offset.to_be_bytes()].concat()
}

fn decode_place(bytes: &[u8]) -> Option<Place> {
    let (segment, offset) = bytes.split_at_checked(4)?;
    Some(Place { segment: be32(segment)?, offset: be32(offset)? })
}

fn encode_location(location: Location) -> Vec<u8> {
    [encode_place(location.place), location.length.to_be_bytes().to_vec()].concat()
}

fn decode_location(bytes: &[u8]) -> Option<Location> {
    let (place, length) = bytes.split_at_checked(8)?;
    Some(Location { place: decode_place(place)?, length: be32(length)? })
}

fn encode_mark(mark: &Mark) -> Vec<u8> {
    let tail = |tail: &Tail| {
        [
            encode_place(tail.place),
            tail.group.to_be_bytes().to_vec(),
            tail.previous.to_be_bytes().to_vec(),
            encode_place(tail.last),
        ]
        .concat()
    };
    [mark.head.to_be_bytes().to_vec(), tail(&mark.records), tail(&mark.bodies)].concat()
}

fn decode_mark(bytes: &[u8]) -> Option<Mark> {
    let tail = |bytes: &[u8]| {
        Some(Tail {
            place: decode_place(bytes.get(..8)?)?,
            group: be64(bytes.get(8..16)?)?,
            previous: be32(bytes.get(16..20)?)?,
            last: decode_place(bytes.get(20..)?)?,
        })
    };
    let (head, tails) = bytes.split_at_checked(8)?;
    let (records, bodies) = tails.split_at_checked(28)?;
    Some(Mark { head: be64(head)?, records: tail(records)?, bodies: tail(bodies)? })
}
