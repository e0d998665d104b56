//! The journal's files, read by what docs/journal.md says of them and by nothing of the control plane's own code: who checks
//! must not share a mistake with who wrote. It refuses every frame that is not whole.

use agentgate_core::digest::Digest;
use std::fs;
use std::path::Path;

pub(super) const HEAD: usize = 64;
pub(super) const CELL: usize = 256;
pub(super) const CELLS_AT: usize = 8192;
const TRAILER: &[u8] = b"\xA5AGend\r\n";
const CELL_TRAILER: &[u8] = b"\xA5end";
const DISCARDED: u8 = 0xD5;

/// What a segment holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Records,
    Bodies,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub checksum: u32,
    pub group: u64,
    pub first: u64,
    pub count: u32,
    pub entries_bytes: usize,
    pub previous: u32,
    /// The checksum of the head of its bodies.
    pub bodies: Option<u32>,
    pub segment_bytes: u32,
    entries_checksum: u32,
}

/// A segment of bodies that was removed on purpose.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gone {
    pub previous: u32,
    pub checksum: u32,
    pub group: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Record {
    pub sequence: u64,
    pub version: u64,
    pub stream: [u8; 32],
    pub id: [u8; 32],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    Kept,
    Discarded,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    Free,
    Unfinished,
    First { name: [u8; 32], stamp: u64, count: u8 },
    Rest { stamp: u64, index: u8 },
    Bad,
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at.checked_add(8)?)?.try_into().ok().map(u64::from_le_bytes)
}

fn name_at(bytes: &[u8], at: usize) -> Option<[u8; 32]> {
    bytes.get(at..at.checked_add(32)?)?.try_into().ok()
}

/// What `form` says of a copy until all of it is on the disk.
pub(super) const UNFINISHED: &str = "agentgate journal copy, not finished\n";

/// Whether this is a copy of which nobody knows what is missing.
pub(super) fn is_unfinished(directory: &Path) -> bool {
    fs::read(directory.join("form")).is_ok_and(|form| form == UNFINISHED.as_bytes())
}

/// The form that the files say, and the least that a reader must know.
pub(super) fn form(text: &str) -> Option<(u32, u32)> {
    let (form, needs) = text.strip_prefix("agentgate journal form ")?.strip_suffix('\n')?.split_once(" needs ")?;
    Some((form.parse().ok()?, needs.parse().ok()?))
}

// === impl Kind ===

impl Kind {
    pub(super) const fn noun(self) -> &'static str {
        match self {
            Self::Records => "records",
            Self::Bodies => "bodies",
        }
    }

    const fn magic(self) -> &'static [u8] {
        match self {
            Self::Records => b"AGrecd\x01\n",
            Self::Bodies => b"AGbody\x01\n",
        }
    }
}

// === impl Head ===

impl Head {
    /// The head at `offset` of a segment, when it is whole and says that it stands there.
    pub(super) fn parse(kind: Kind, segment: u32, offset: usize, bytes: &[u8]) -> Option<Self> {
        let head = bytes.get(..HEAD).filter(|head| head.starts_with(kind.magic()))?;
        let checksum = u32_at(head, 8)?;
        let is_here = u32_at(head, 32)? == segment && u32_at(head, 36)? as usize == offset;
        if crc32c::crc32c(head.get(12..)?) != checksum || !is_here {
            return None;
        }
        Some(Self {
            checksum,
            entries_checksum: u32_at(head, 12)?,
            group: u64_at(head, 16)?,
            first: u64_at(head, 24)?,
            count: u32_at(head, 40)?,
            entries_bytes: u32_at(head, 44)? as usize,
            previous: u32_at(head, 48)?,
            bodies: if u32_at(head, 56)? & 1 == 1 { Some(u32_at(head, 52)?) } else { None },
            segment_bytes: u32_at(head, 60)?,
        })
    }

    /// No group is shorter.
    pub(super) const LEAST: usize = HEAD + TRAILER.len();

    pub(super) fn length(&self) -> usize {
        self.entries_bytes.next_multiple_of(8) + HEAD + TRAILER.len()
    }

    /// Its records, when all of it is what was written.
    pub(super) fn records(&self, bytes: &[u8]) -> Option<Vec<Record>> {
        let mut entries = self.entries(bytes).filter(|entries| crc32c::crc32c(entries) == self.entries_checksum)?;
        let mut records = Vec::new();
        for _ in 0..self.count {
            let length = u32_at(entries, 0)?;
            let total = 88_usize.checked_add(length as usize)?;
            if entry_checksum(length, entries.get(8..total)?) != u32_at(entries, 4)? {
                return None;
            }
            records.push(Record {
                sequence: u64_at(entries, 8)?,
                version: u64_at(entries, 16)?,
                stream: name_at(entries, 24)?,
                id: name_at(entries, 56)?,
            });
            entries = entries.get(total..)?;
        }
        is_padding(entries).then_some(records)
    }

    /// Its bodies, when all of it is what was written but for what was discarded since.
    pub(super) fn bodies(&self, bytes: &[u8]) -> Option<Vec<Body>> {
        let whole = self.entries(bytes)?;
        let (mut entries, mut bodies) = (whole, Vec::new());
        for _ in 0..self.count {
            let [low, middle, high, mark] = u32_at(entries, 0)?.to_le_bytes();
            let length = u32::from_le_bytes([low, middle, high, 0]);
            let total = 40_usize.checked_add(length as usize)?;
            let (address, body) = (name_at(entries, 8)?, entries.get(40..total)?);
            bodies.push(if mark == DISCARDED {
                Body::Discarded
            } else {
                let is_whole = mark == 0 && entry_checksum(length, entries.get(8..total)?) == u32_at(entries, 4)?;
                (is_whole && Digest::of("agentgate/body/1", body).as_bytes() == &address).then_some(Body::Kept)?
            });
            entries = entries.get(total..)?;
        }
        let is_as_written = crc32c::crc32c(whole) == self.entries_checksum || bodies.contains(&Body::Discarded);
        (is_padding(entries) && is_as_written).then_some(bodies)
    }

    fn entries<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let end = self.length();
        let trailer = bytes.get(end.checked_sub(TRAILER.len())?..end)?;
        if trailer == TRAILER { bytes.get(HEAD..HEAD.checked_add(self.entries_bytes)?) } else { None }
    }
}

fn is_padding(rest: &[u8]) -> bool {
    rest.len() < 8 && rest.iter().all(|byte| *byte == 0)
}

fn entry_checksum(length: u32, rest: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&length.to_le_bytes()), rest)
}

// === impl Gone ===

impl Gone {
    pub(super) fn parse(segment: u32, bytes: &[u8]) -> Option<Self> {
        let summed = bytes.strip_prefix(b"AGgone\x01\n")?;
        let is_whole = crc32c::crc32c(summed.get(4..)?) == u32_at(summed, 0)? && u32_at(summed, 4)? == segment;
        let found = Self { previous: u32_at(summed, 8)?, checksum: u32_at(summed, 12)?, group: u64_at(summed, 16)? };
        (is_whole && summed.len() == 32).then_some(found)
    }
}

// === impl Cell ===

impl Cell {
    pub(super) fn parse(number: u32, bytes: &[u8]) -> Self {
        Self::whole(number, bytes).unwrap_or_else(|| {
            let tail = bytes.get(CELL - 4..CELL).unwrap_or_default();
            let is_ours = !tail.is_empty() && tail.iter().zip(CELL_TRAILER).all(|(byte, own)| *byte == 0 || byte == own);
            match bytes.first() {
                Some(0x5A) if is_ours => Self::Unfinished,
                Some(0xA5 | 0x3C) if is_ours && tail.last() == Some(&0) => Self::Unfinished,
                Some(_) | None => Self::Bad,
            }
        })
    }

    fn whole(number: u32, bytes: &[u8]) -> Option<Self> {
        let [kind, index, count, _] = bytes.get(..4)?.try_into().ok()?;
        if kind == 0x5A {
            return bytes.get(1..CELL)?.iter().all(|byte| *byte == 0).then_some(Self::Free);
        }
        let sum = crc32c::crc32c_append(crc32c::crc32c(&number.to_le_bytes()), bytes.get(..4)?);
        let is_whole = crc32c::crc32c_append(sum, bytes.get(8..CELL)?) == u32_at(bytes, 4)?;
        let stamp = u64_at(bytes, 8)?;
        match kind {
            0xA5 if is_whole => Some(Self::First { name: name_at(bytes, 20)?, stamp, count }),
            0x3C if is_whole => Some(Self::Rest { stamp, index }),
            _ => None,
        }
    }
}

/// How many cells the file of slots says it has, by either of its heads.
pub(super) fn cells(file: &[u8]) -> Option<u32> {
    let head = |at: usize| {
        let head = file.get(at..at + 16)?.strip_prefix(b"AGslot\x01\n")?;
        let sum = crc32c::crc32c_append(crc32c::crc32c(&(at as u64).to_le_bytes()), head.get(4..8)?);
        if sum == u32_at(head, 0)? { u32_at(head, 4) } else { None }
    };
    head(0).max(head(4096))
}

/// The length of a value and what its first cell has of it.
pub(super) fn first(cell: &[u8]) -> Option<(usize, &[u8])> {
    Some((u32_at(cell, 16)? as usize, cell.get(52..CELL - 4)?))
}

/// What another of its cells has.
pub(super) fn rest(cell: &[u8]) -> &[u8] {
    cell.get(16..CELL - 4).unwrap_or_default()
}
