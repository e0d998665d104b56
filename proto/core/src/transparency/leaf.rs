//! A leaf: what the log says about one record of the journal. It names nobody and quotes nothing: it commits to a record by the
//! digest of its stored bytes, and says whose it was by numbers that a filter counts.

use super::tree::{Hash, SIZE_MAX};
use crate::digest::Digest;
use core::fmt;
use thiserror::Error;

/// How many bytes an entry has, every one.
pub const ENTRY_BYTES: usize = 70;
const FORM: u8 = 1;

/// What a record is of. The numbers are those of the contract's `Record`, less one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Decision = 1,
    Outcome = 2,
    Policy = 3,
    Flood = 4,
    Approval = 5,
    Kill = 6,
    Mode = 7,
    Hold = 8,
    Purge = 9,
}

/// One life of one filter, by a digest of its name and epoch: it counts its calls from there on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source(pub [u8; 20]);

/// One entry of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub kind: Kind,
    /// The record's place in the journal, from 1.
    pub sequence: u64,
    /// All zero, as the counter: the record is of no call.
    pub source: Source,
    pub counter: u64,
    pub record: Digest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EntryError {
    #[error("an entry has {ENTRY_BYTES} bytes, and this one {0}")]
    Length(usize),
    #[error("an entry of form {0} is not known here; a newer program may read it")]
    Form(u8),
    #[error("a record of kind {0} is not known here; a newer program may read it")]
    Kind(u8),
    #[error("an entry's sequence is from 1 to {SIZE_MAX}, and this one's {0}")]
    Sequence(u64),
    #[error("an entry of no call counts {0}")]
    Counter(u64),
}

// === impl Kind ===

impl Kind {
    const ALL: [Self; 9] = [
        Self::Decision,
        Self::Outcome,
        Self::Policy,
        Self::Flood,
        Self::Approval,
        Self::Kill,
        Self::Mode,
        Self::Hold,
        Self::Purge,
    ];

    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    #[must_use]
    pub fn numbered(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }
}

// === impl Source ===

impl Source {
    pub const NONE: Self = Self([0; 20]);
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

// === impl Entry ===

impl Entry {
    /// The entry of the record `stored`, at `sequence`, of the call with the id `call` (`CallId::digest`).
    #[must_use]
    pub fn of(kind: Kind, sequence: u64, call: Option<&Digest>, stored: &[u8]) -> Self {
        let (source, counter) = call.map_or((Source::NONE, 0), counted);
        Self { kind, sequence, source, counter, record: record_digest(stored) }
    }

    /// The place of its leaf in the tree, from 0.
    #[must_use]
    pub const fn index(&self) -> u64 {
        self.sequence.saturating_sub(1)
    }

    /// Whether these are the record's bytes.
    #[must_use]
    pub fn covers(&self, stored: &[u8]) -> bool {
        self.record == record_digest(stored)
    }

    #[must_use]
    pub fn leaf_hash(&self) -> Hash {
        Hash::of_leaf(&self.encode())
    }

    #[must_use]
    pub fn encode(&self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        let fields = [FORM, self.kind.number()]
            .into_iter()
            .chain(self.sequence.to_be_bytes())
            .chain(self.source.0)
            .chain(self.counter.to_be_bytes())
            .chain(*self.record.as_bytes());
        bytes.iter_mut().zip(fields).for_each(|(byte, of_field)| *byte = of_field);
        bytes
    }

    /// # Errors
    /// What `encode` never wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, EntryError> {
        let bytes: &[u8; ENTRY_BYTES] = bytes.try_into().map_err(|_| EntryError::Length(bytes.len()))?;
        let [form, kind, fields @ ..] = bytes;
        if *form != FORM {
            return Err(EntryError::Form(*form));
        }
        let kind = Kind::numbered(*kind).ok_or(EntryError::Kind(*kind))?;
        let length = EntryError::Length(bytes.len());
        let (sequence, fields) = fields.split_first_chunk().ok_or(length)?;
        let (source, fields) = fields.split_first_chunk().ok_or(length)?;
        let (counter, record) = fields.split_first_chunk().ok_or(length)?;
        let (sequence, counter) = (u64::from_be_bytes(*sequence), u64::from_be_bytes(*counter));
        if sequence == 0 || sequence > SIZE_MAX {
            return Err(EntryError::Sequence(sequence));
        }
        if *source == Source::NONE.0 && counter != 0 {
            return Err(EntryError::Counter(counter));
        }
        let record = Digest::try_from(record).map_err(|_| length)?;
        Ok(Self { kind, sequence, source: Source(*source), counter, record })
    }
}

/// The digest by which the log commits to a record.
#[must_use]
pub fn record_digest(stored: &[u8]) -> Digest {
    Digest::of("agentgate/record/1", stored)
}

fn counted(call: &Digest) -> (Source, u64) {
    let (mut source, mut counter) = (Source::NONE, [0; 8]);
    let bytes = call.as_bytes();
    source.0.iter_mut().zip(bytes).for_each(|(byte, of_call)| *byte = *of_call);
    counter.iter_mut().zip(bytes.iter().skip(source.0.len())).for_each(|(byte, of_call)| *byte = *of_call);
    (source, u64::from_be_bytes(counter))
}
