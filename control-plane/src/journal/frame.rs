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
pub(super) const RECORD_FRAME_BYTES: usize = 4 + 4 + 8 + 8 + 32 + 32;
const BODY_FRAME_BYTES: usize = 4 + 4 + 32;
const HAS_BODIES: u32 = 1;

/// The highest byte of a discarded body's length, where no length reaches. One byte is written whole, so this alone says
/// that the body is forgotten; its checksum and zeros follow.
const DISCARDED: u8 = 0xD5;
pub(super) const MARK_AT: u32 = 3;
pub(super) const MARK: [u8; 1] = [DISCARDED];

/// Bodies, and so changes, stay below it: the mark has the highest byte of their length for itself.
pub(super) const BODY_LENGTH_END: usize = 1 << 24;

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

/// What stands where a body stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Discarded {
    pub address: Digest,
    pub length: u32,
    /// Its bytes are zeros.
    pub is_finished: bool,
}

/// Stands in the file of a segment of bodies that was removed on purpose, so that the chain of groups goes on over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gone {
    pub segment: u32,
    /// The checksum of the head before its first group.
    pub previous: u32,
    /// Its last group, and the checksum of that one's head.
    pub group: u64,
    pub checksum: u32,
    pub next: Sequence,
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

/// The discarded body that starts `bytes`, finished or not.
pub(super) fn parse_discarded(bytes: &[u8]) -> Option<Discarded> {
    let mut reader = Reader(bytes);
    let [low, middle, high, mark] = reader.u32()?.to_le_bytes();
    if mark != DISCARDED {
        return None;
    }
    let body = u32::from_le_bytes([low, middle, high, 0]);
    let total = BODY_FRAME_BYTES.checked_add(body as usize)?;
    let checksum = reader.u32()?;
    let address = reader.digest()?;
    let is_erased = bytes.get(BODY_FRAME_BYTES..total)?.iter().all(|byte| *byte == 0);
    let is_finished = is_erased && checksum == discarded_checksum(body, &address);
    Some(Discarded { address, length: u32::try_from(total).ok()?, is_finished })
}

/// What is written over a marked body, from its fifth byte on. None: no body is this long.
pub(super) fn discarded_rest(address: &Digest, length: u32) -> Option<Vec<u8>> {
    let body = (length as usize).checked_sub(BODY_FRAME_BYTES).filter(|body| *body < BODY_LENGTH_END)?;
    let mut bytes = discarded_checksum(u32::try_from(body).ok()?, address).to_le_bytes().to_vec();
    bytes.extend_from_slice(address.as_bytes());
    bytes.resize(length as usize - 4, 0);
    Some(bytes)
}

/// Whether the entry that starts `bytes` is a body with this address that was not discarded. It says nothing of its bytes.
pub(super) fn is_body_of(bytes: &[u8], address: &Digest) -> bool {
    bytes.get(3) != Some(&DISCARDED) && bytes.get(8..BODY_FRAME_BYTES) == Some(address.as_bytes().as_slice())
}

/// The length of a body's frame alone.
pub(super) const BODY_HEAD_LENGTH: u32 = 40;

fn discarded_checksum(body: u32, address: &Digest) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&body.to_le_bytes()), address.as_bytes())
}

fn entry_checksum(length: u32, rest: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&length.to_le_bytes()), rest)
}

// === impl Place ===

impl Place {
    pub(super) const FIRST: Place = Place { segment: 0, offset: 0 };
    pub(super) const LAST: Place = Place { segment: u32::MAX, offset: u32::MAX };
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

    /// Whether the group that starts `bytes` is what was written, but for bodies that were discarded since.
    pub(super) fn is_whole(&self, kind: Kind, bytes: &[u8]) -> bool {
        self.entries(bytes).is_some() || (kind == Kind::Bodies && self.is_whole_but_for_discarded(bytes).unwrap_or(false))
    }

    fn is_whole_but_for_discarded(&self, bytes: &[u8]) -> Option<bool> {
        let trailer = bytes.get(self.length().checked_sub(TRAILER.len())?..self.length())?;
        let mut entries = bytes.get(HEAD_BYTES..HEAD_BYTES.checked_add(self.entries_bytes as usize)?)?;
        let mut discarded = 0;
        for _ in 0..self.count {
            let length = match parse_discarded(entries) {
                Some(found) => {
                    discarded += 1;
                    found.length as usize
                }
                None => parse_body(&Bytes::copy_from_slice(entries.get(..body_length(entries)?)?))?.2,
            };
            entries = entries.get(length..)?;
        }
        let is_all = entries.len() < ALIGNMENT && entries.iter().all(|byte| *byte == 0);
        Some(trailer == TRAILER && discarded > 0 && is_all)
    }
}

/// How long the body that starts `bytes` says it is, with its frame.
fn body_length(bytes: &[u8]) -> Option<usize> {
    BODY_FRAME_BYTES.checked_add(Reader(bytes).u32()? as usize)
}

// === impl Gone ===

impl Gone {
    const MAGIC: [u8; 8] = *b"AGgone\x01\n";

    pub(super) fn encode(&self) -> Vec<u8> {
        let summed = self.summed();
        [&Self::MAGIC[..], &crc32c::crc32c(&summed).to_le_bytes(), &summed].concat()
    }

    /// What the file of `segment` says, when it is such a one and whole.
    pub(super) fn parse(segment: u32, bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        if reader.take(8)? != Self::MAGIC {
            return None;
        }
        let checksum = reader.u32()?;
        if crc32c::crc32c(reader.0) != checksum {
            return None;
        }
        let found = Self {
            segment: reader.u32()?,
            previous: reader.u32()?,
            checksum: reader.u32()?,
            group: reader.u64()?,
            next: reader.u64()?,
        };
        (found.segment == segment && reader.0.is_empty()).then_some(found)
    }

    fn summed(&self) -> Vec<u8> {
        let parts: [&[u8]; 5] = [
            &self.segment.to_le_bytes(),
            &self.previous.to_le_bytes(),
            &self.checksum.to_le_bytes(),
            &self.group.to_le_bytes(),
            &self.next.to_le_bytes(),
        ];
        parts.concat()
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
