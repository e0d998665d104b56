//! Frames: how groups of records and of bodies lie in a segment, byte by byte. It refuses every frame that is not whole,
//! in its own place, and what its checksum says. It knows bytes only: no file, no order of groups.
//!
//! A group is `head | entries | trailer`, eight bytes aligned, little endian, written at once. The head names its own
//! place and the head before it. Its first and last eight bytes hold no zero, so that a part that never reached the disk shows.

use super::{Record, Sequence, Stream, Version};
use agentgate_core::digest::Digest;
use bytes::Bytes;

pub(super) const ALIGNMENT: usize = 8;
pub(super) const HEAD_LENGTH: u32 = 64;
pub(super) const HEAD_BYTES: usize = HEAD_LENGTH as usize;
const TRAILER: [u8; 8] = *b"\xA5AGend\r\n";
pub(super) const GROUP_FRAME_BYTES: usize = HEAD_BYTES + TRAILER.len();
const RECORD_FRAME_BYTES: usize = 4 + 4 + 8 + 8 + 32 + 32;
const BODY_FRAME_BYTES: usize = 4 + 4 + 32;
const HAS_BODIES: u32 = 1;

/// What a segment holds. Records must last, bodies must be able to be forgotten: never in one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Records,
    Bodies,
}

/// Where a frame starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub segment: u32,
    pub offset: u32,
}

/// Where one entry lies, and how long it is with its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Location {
    pub place: Place,
    pub length: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GroupHead {
    pub place: Place,
    /// 1, 2, 3, …; both files count together, so a group without bodies leaves a gap in the bodies' numbers.
    pub group: u64,
    /// The checksum of the head before it in the same file; 0: the first.
    pub previous: u32,
    /// The sequence of its first record, or of the next one when it has none.
    pub first: Sequence,
    pub count: u32,
    pub entries_bytes: u32,
    pub entries_checksum: u32,
    /// The checksum of the head of the group of bodies that belongs to this group of records.
    pub bodies: Option<u32>,
    pub segment_bytes: u32,
    pub checksum: u32,
}

/// A group being written.
#[derive(Debug)]
pub(super) struct GroupDraft {
    kind: Kind,
    bytes: Vec<u8>,
    count: u32,
}

/// What the head of a draft must say beside what the draft knows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heading {
    pub place: Place,
    pub group: u64,
    pub previous: u32,
    pub first: Sequence,
    pub bodies: Option<u32>,
    pub segment_bytes: u32,
}

/// One record's frame without its bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct RecordHead {
    pub sequence: Sequence,
    pub version: Version,
    pub stream: Stream,
    pub id: Digest,
}

struct Reader<'a>(&'a [u8]);

/// The bytes of `count` bytes on disk once they are aligned.
pub(super) const fn aligned(count: usize) -> usize {
    count.next_multiple_of(ALIGNMENT)
}

pub(super) fn parse_record(bytes: &Bytes) -> Option<(Record, usize)> {
    let mut reader = Reader(bytes);
    let length = reader.u32()?;
    let checksum = reader.u32()?;
    let total = RECORD_FRAME_BYTES.checked_add(length as usize)?;
    if entry_checksum(length, bytes.get(8..total)?) != checksum {
        return None;
    }
    let sequence = reader.u64()?;
    let version = reader.u64()?;
    let stream = Stream(reader.digest()?);
    let id = reader.digest()?;
    Some((Record { sequence, stream, version, id, bytes: bytes.slice(RECORD_FRAME_BYTES..total) }, total))
}

pub(super) fn parse_body(bytes: &Bytes) -> Option<(Digest, Bytes, usize)> {
    let mut reader = Reader(bytes);
    let length = reader.u32()?;
    let checksum = reader.u32()?;
    let total = BODY_FRAME_BYTES.checked_add(length as usize)?;
    if entry_checksum(length, bytes.get(8..total)?) != checksum {
        return None;
    }
    Some((reader.digest()?, bytes.slice(BODY_FRAME_BYTES..total), total))
}

fn entry_checksum(length: u32, rest: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&length.to_le_bytes()), rest)
}

// === impl Kind ===

impl Kind {
    pub(super) const fn noun(self) -> &'static str {
        match self {
            Kind::Records => "records",
            Kind::Bodies => "bodies",
        }
    }

    const fn magic(self) -> [u8; 8] {
        match self {
            Kind::Records => *b"AGrecd\x01\n",
            Kind::Bodies => *b"AGbody\x01\n",
        }
    }
}

// === impl GroupHead ===

impl GroupHead {
    /// The head that stands at `place`, when it is whole and knows that it stands there.
    pub(super) fn parse(kind: Kind, place: Place, bytes: &[u8]) -> Option<Self> {
        let head = bytes.get(..HEAD_BYTES)?;
        let mut reader = Reader(head);
        if reader.take(8)? != kind.magic() {
            return None;
        }
        let checksum = reader.u32()?;
        if crc32c::crc32c(reader.0) != checksum {
            return None;
        }
        let entries_checksum = reader.u32()?;
        let group = reader.u64()?;
        let first = reader.u64()?;
        let own = Place { segment: reader.u32()?, offset: reader.u32()? };
        let count = reader.u32()?;
        let entries_bytes = reader.u32()?;
        let previous = reader.u32()?;
        let bodies = reader.u32()?;
        let bodies = (reader.u32()? & HAS_BODIES != 0).then_some(bodies);
        let segment_bytes = reader.u32()?;
        let found =
            Self { place, group, previous, first, count, entries_bytes, entries_checksum, bodies, segment_bytes, checksum };
        (own == place).then_some(found)
    }

    /// Its length on disk, trailer included.
    pub(super) fn length(&self) -> usize {
        aligned(self.entries_bytes as usize).saturating_add(GROUP_FRAME_BYTES)
    }

    /// The sequence after its last record.
    pub(super) fn next(&self) -> Sequence {
        self.first.saturating_add(u64::from(self.count))
    }

    /// The sequence of its last record, when it holds records.
    pub(super) fn last(&self, kind: Kind) -> Option<Sequence> {
        match kind {
            Kind::Records => self.next().checked_sub(1),
            Kind::Bodies => None,
        }
    }

    /// Its entries, when the group that starts `bytes` is whole.
    pub(super) fn entries<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let entries = bytes.get(HEAD_BYTES..HEAD_BYTES.checked_add(self.entries_bytes as usize)?)?;
        let trailer = bytes.get(self.length().checked_sub(TRAILER.len())?..self.length())?;
        (trailer == TRAILER && crc32c::crc32c(entries) == self.entries_checksum).then_some(entries)
    }
}

// === impl GroupDraft ===

impl GroupDraft {
    pub(super) fn new(kind: Kind) -> Self {
        Self { kind, bytes: vec![0; HEAD_BYTES], count: 0 }
    }

    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// Its length on disk once it is finished.
    pub(super) fn length(&self) -> usize {
        aligned(self.bytes.len()) + TRAILER.len()
    }

    /// Puts a record behind the others and says where: (offset in the group, length).
    pub(super) fn push_record(&mut self, head: &RecordHead, record: &[u8]) -> Option<(u32, u32)> {
        let parts: [&[u8]; 5] =
            [&head.sequence.to_le_bytes(), &head.version.to_le_bytes(), head.stream.0.as_bytes(), head.id.as_bytes(), record];
        self.push(u32::try_from(record.len()).ok()?, &parts)
    }

    pub(super) fn push_body(&mut self, address: &Digest, body: &[u8]) -> Option<(u32, u32)> {
        self.push(u32::try_from(body.len()).ok()?, &[address.as_bytes(), body])
    }

    fn push(&mut self, length: u32, parts: &[&[u8]]) -> Option<(u32, u32)> {
        let start = self.bytes.len();
        let checksum = parts.iter().fold(crc32c::crc32c(&length.to_le_bytes()), |sum, part| crc32c::crc32c_append(sum, part));
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(&checksum.to_le_bytes());
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        self.count += 1;
        Some((u32::try_from(start).ok()?, u32::try_from(self.bytes.len() - start).ok()?))
    }

    /// The finished group, ready to be written at `heading.place`, and its head.
    pub(super) fn finish(mut self, heading: &Heading) -> Option<(GroupHead, Vec<u8>)> {
        // The checksum covers what aligns the entries as well: no bit of a group may turn unseen.
        self.bytes.resize(aligned(self.bytes.len()), 0);
        let entries = self.bytes.get(HEAD_BYTES..)?;
        let mut head = GroupHead {
            place: heading.place,
            group: heading.group,
            previous: heading.previous,
            first: heading.first,
            count: self.count,
            entries_bytes: u32::try_from(entries.len()).ok()?,
            entries_checksum: crc32c::crc32c(entries),
            bodies: heading.bodies,
            segment_bytes: heading.segment_bytes,
            checksum: 0,
        };
        let summed = head.summed();
        head.checksum = crc32c::crc32c(&summed);
        self.bytes.get_mut(..8)?.copy_from_slice(&self.kind.magic());
        self.bytes.get_mut(8..12)?.copy_from_slice(&head.checksum.to_le_bytes());
        self.bytes.get_mut(12..HEAD_BYTES)?.copy_from_slice(&summed);
        self.bytes.extend_from_slice(&TRAILER);
        Some((head, self.bytes))
    }
}

impl GroupHead {
    /// The part of the head that its checksum covers.
    fn summed(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD_BYTES - 12);
        bytes.extend_from_slice(&self.entries_checksum.to_le_bytes());
        bytes.extend_from_slice(&self.group.to_le_bytes());
        bytes.extend_from_slice(&self.first.to_le_bytes());
        let flags = if self.bodies.is_some() { HAS_BODIES } else { 0 };
        for field in [
            self.place.segment,
            self.place.offset,
            self.count,
            self.entries_bytes,
            self.previous,
            self.bodies.unwrap_or_default(),
            flags,
            self.segment_bytes,
        ] {
            bytes.extend_from_slice(&field.to_le_bytes());
        }
        bytes
    }
}

// === impl Reader ===

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_le_bytes)
    }

    fn digest(&mut self) -> Option<Digest> {
        Digest::try_from(self.take(32)?).ok()
    }
}
