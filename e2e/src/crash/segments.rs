//! The journal's segment files, read by code of its own: nothing here comes from the journal. It refuses to guess: whatever
//! is not a whole group, in its place and in the chain of all groups, is a fault, but for what the last write left behind.
//!
//! A group, all numbers little endian, eight bytes aligned:
//!
//! | bytes | what |
//! |---|---|
//! | 0..8 | `AGrecd\x01\n` or `AGbody\x01\n` |
//! | 8..12 | CRC-32C of bytes 12..64 |
//! | 12..16 | CRC-32C of the entries |
//! | 16..24, 24..32 | the group's number; the sequence of its first record, or of the next one |
//! | 32..36, 36..40 | the segment and the offset in which it stands |
//! | 40..44, 44..48 | how many entries, of how many bytes (aligned) |
//! | 48..52 | bytes 8..12 of the group before it in this series |
//! | 52..56, 56..60 | bytes 8..12 of its group of bodies, where bit 0 of the flags is set |
//! | 60..64 | the length of the segment |
//! | 64.. | the entries; then `\xA5AGend\r\n` |
//!
//! An entry: length u32, CRC-32C u32 of the length and of all behind this field, then of a record sequence u64, version u64,
//! stream 32, id 32, of a body its address 32; then so many bytes as the length says.
//!
//! A discarded body has D5 as the highest byte of its length, and when that is finished zeros for its bytes and a checksum of
//! its length without the D5 and its address. A segment that was given back is `AGgone\x01\n`, a CRC-32C of all behind it, the
//! segment, the checksums before its first and of its last head, its last group u64, and a sequence u64.

use crate::{Broken, Doing};
use agentgate_core::digest::Digest;
use std::collections::HashSet;
use std::fs;
use std::path::Path;

const HEAD_BYTES: usize = 64;
const TRAILER: &[u8] = b"\xA5AGend\r\n";
const GONE: &[u8] = b"AGgone\x01\n";
const DISCARDED: u8 = 0xD5;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Series {
    Records,
    Bodies,
}

#[derive(Clone, Debug)]
pub(crate) struct Record {
    /// The group that it stands in; its bodies' has the same number.
    pub(crate) group: u64,
    pub(crate) sequence: u64,
    pub(crate) version: u64,
    pub(crate) stream: Digest,
    pub(crate) id: Digest,
    pub(crate) bytes: Vec<u8>,
}

#[derive(Clone, Debug)]
pub(crate) struct Body {
    pub(crate) address: Digest,
    pub(crate) bytes: Vec<u8>,
}

/// Where a group ends, and by what the next one knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) group: u64,
    pub(crate) checksum: u32,
}

/// Everything in one series.
#[derive(Debug, Default)]
pub(crate) struct Read {
    pub(crate) records: Vec<Record>,
    pub(crate) bodies: Vec<Body>,
    /// The addresses of bodies that were forgotten where they stand.
    pub(crate) discarded: HashSet<Digest>,
    /// The groups of segments that were given back: after the first, up to the second.
    gone: Vec<(u64, u64)>,
    pub(crate) groups: u64,
    /// Of each group of records that has bodies, the group of bodies that it names; of bodies, each group.
    pub(crate) links: Vec<Link>,
    /// Bytes behind the last group: a write that the kill cut off.
    pub(crate) torn_bytes: usize,
    pub(crate) faults: Vec<String>,
    last: Link,
    /// How many entries the last group holds.
    last_count: usize,
    next: u64,
}

struct Head {
    checksum: u32,
    entries_checksum: u32,
    group: u64,
    first: u64,
    segment: u32,
    offset: u32,
    count: u32,
    entries_bytes: u32,
    previous: u32,
    bodies: Option<u32>,
    segment_bytes: u32,
}

/// What is left of a segment that was given back.
struct Gone {
    segment: u32,
    previous: u32,
    last: Link,
}

struct Cursor<'a>(&'a [u8]);

// === impl Series ===

impl Series {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Series::Records => "records",
            Series::Bodies => "bodies",
        }
    }

    const fn magic(self) -> &'static [u8] {
        match self {
            Series::Records => b"AGrecd\x01\n",
            Series::Bodies => b"AGbody\x01\n",
        }
    }
}

// === impl Read ===

impl Read {
    /// # Errors
    /// The files cannot be read at all.
    pub(crate) fn of(journal: &Path, series: Series) -> Result<Self, Broken> {
        let directory = journal.join(series.name());
        let mut names = Vec::new();
        for entry in fs::read_dir(&directory).doing(directory.display())? {
            let name = entry.doing(directory.display())?.file_name().to_string_lossy().into_owned();
            // A segment that was being prepared has another ending.
            names.extend(
                name.rsplit('-').next().and_then(|number| number.parse::<u32>().ok()).map(|number| (number, name.clone())),
            );
        }
        names.sort_unstable();
        let mut read = Self { next: 1, ..Self::default() };
        for ((number, name), expected) in names.iter().zip(1_u32..) {
            if *number != expected {
                read.fault(format!("{}: segment {expected} is missing", series.name()));
            }
            let bytes = fs::read(directory.join(name)).doing(name)?;
            read.segment(series, *number, &bytes);
        }
        Ok(read)
    }

    /// Takes away the last group of records when its bodies never came: both are written side by side, and nobody was told.
    pub(crate) fn cut_without(&mut self, bodies: &Read) -> bool {
        let is_missing = self.links.last().is_some_and(|link| link.group == self.last.group && !bodies.links.contains(link));
        if !is_missing || bodies.last.group >= self.last.group {
            return false;
        }
        self.links.pop();
        self.records.truncate(self.records.len().saturating_sub(self.last_count));
        self.groups -= 1;
        true
    }

    /// Whether the group of bodies was in a segment that was given back.
    pub(crate) fn is_gone(&self, group: u64) -> bool {
        self.gone.iter().any(|(after, last)| *after < group && group <= *last)
    }

    fn segment(&mut self, series: Series, segment: u32, bytes: &[u8]) {
        let at = |offset: usize| format!("{} segment {segment} at byte {offset}", series.name());
        if bytes.starts_with(GONE) && series == Series::Bodies {
            return self.gone(segment, bytes, &at(0));
        }
        let mut offset = 0;
        while let Some(rest) = bytes.get(offset..).filter(|rest| rest.iter().any(|byte| *byte != 0)) {
            if self.torn_bytes > 0 {
                self.fault(format!("{}: {} bytes before it are no group", at(offset), self.torn_bytes));
                self.torn_bytes = 0;
            }
            let Some((head, entries, length)) = group(series, rest) else {
                // The last write of all may be cut off, and nothing stands behind it then.
                let end = rest.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
                self.torn_bytes = end;
                if (0..end).step_by(8).skip(1).any(|behind| rest.get(behind..).is_some_and(|rest| group(series, rest).is_some()))
                {
                    self.fault(format!("{}: no group, and a whole one behind it", at(offset)));
                }
                return;
            };
            if head.segment != segment || head.offset as usize != offset || head.segment_bytes as usize != bytes.len() {
                self.fault(format!("{}: a group of another place", at(offset)));
            }
            self.group(series, &head, entries, &at(offset));
            offset += length;
        }
    }

    fn gone(&mut self, segment: u32, bytes: &[u8], at: &str) {
        match Gone::read(bytes) {
            Some(gone) if gone.segment == segment && gone.previous == self.last.checksum && gone.last.group > self.last.group => {
                self.gone.push((self.last.group, gone.last.group));
                self.last = gone.last;
            }
            Some(_) => self.fault(format!("{at}: it was given back, and in another place")),
            None => self.fault(format!("{at}: it was given back, and what is left is not what was written")),
        }
    }

    fn group(&mut self, series: Series, head: &Head, entries: &[u8], at: &str) {
        if head.previous != self.last.checksum {
            self.fault(format!("{at}: the group before it is not the one that it followed"));
        }
        let follows = match series {
            Series::Records => head.group == self.last.group + 1 && head.first == self.next,
            Series::Bodies => head.group > self.last.group,
        };
        if !follows {
            self.fault(format!(
                "{at}: group {} begins with {}, after {} and {}",
                head.group, head.first, self.last.group, self.next
            ));
        }
        let (mut cursor, before) = (Cursor(entries), self.records.len());
        for number in 0..head.count {
            if cursor.entry(series, self).is_none() {
                self.fault(format!("{at}: its entry {number} is not whole"));
                break;
            }
        }
        if cursor.0.len() >= 8 || cursor.0.iter().any(|byte| *byte != 0) {
            self.fault(format!("{at}: {} bytes that are no entry", cursor.0.len()));
        }
        self.records.iter_mut().skip(before).for_each(|record| record.group = head.group);
        self.next = if series == Series::Records { head.first + u64::from(head.count) } else { self.next };
        self.last = Link { group: head.group, checksum: head.checksum };
        self.last_count = head.count as usize;
        self.groups += 1;
        match series {
            Series::Records => self.links.extend(head.bodies.map(|checksum| Link { group: head.group, checksum })),
            Series::Bodies => self.links.push(self.last),
        }
    }

    fn fault(&mut self, fault: String) {
        self.faults.push(fault);
    }
}

/// The whole group that `bytes` begin with: head, entries, and its length.
fn group(series: Series, bytes: &[u8]) -> Option<(Head, &[u8], usize)> {
    let head = Head::read(series, bytes.get(..HEAD_BYTES)?)?;
    let end = HEAD_BYTES + head.entries_bytes as usize;
    let entries = bytes.get(HEAD_BYTES..end)?;
    let length = end.next_multiple_of(8) + TRAILER.len();
    let is_whole = crc32c::crc32c(entries) == head.entries_checksum || (series == Series::Bodies && has_discarded(entries));
    (is_whole && bytes.get(length - TRAILER.len()..length)? == TRAILER).then_some((head, entries, length))
}

/// Whether something in it was discarded, and all else is what was written.
fn has_discarded(entries: &[u8]) -> bool {
    let (mut cursor, mut read) = (Cursor(entries), Read::default());
    while cursor.0.len() >= 8 {
        if cursor.entry(Series::Bodies, &mut read).is_none() {
            return false;
        }
    }
    !read.discarded.is_empty() && cursor.0.iter().all(|byte| *byte == 0)
}

// === impl Head ===

impl Head {
    fn read(series: Series, bytes: &[u8]) -> Option<Self> {
        let mut cursor = Cursor(bytes);
        let is_ours = cursor.take(8)? == series.magic();
        let checksum = cursor.u32()?;
        let is_whole = crc32c::crc32c(cursor.0) == checksum;
        let entries_checksum = cursor.u32()?;
        let (group, first) = (cursor.u64()?, cursor.u64()?);
        let (segment, offset) = (cursor.u32()?, cursor.u32()?);
        let (count, entries_bytes) = (cursor.u32()?, cursor.u32()?);
        let previous = cursor.u32()?;
        let (bodies, flags) = (cursor.u32()?, cursor.u32()?);
        let bodies = (flags & 1 != 0).then_some(bodies);
        let segment_bytes = cursor.u32()?;
        let head = Self {
            checksum,
            entries_checksum,
            group,
            first,
            segment,
            offset,
            count,
            entries_bytes,
            previous,
            bodies,
            segment_bytes,
        };
        (is_ours && is_whole).then_some(head)
    }
}

// === impl Gone ===

impl Gone {
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut cursor = Cursor(bytes.strip_prefix(GONE)?);
        let checksum = cursor.u32()?;
        if crc32c::crc32c(cursor.0) != checksum {
            return None;
        }
        let (segment, previous, checksum) = (cursor.u32()?, cursor.u32()?, cursor.u32()?);
        let last = Link { group: cursor.u64()?, checksum };
        cursor.u64()?;
        cursor.0.is_empty().then_some(Self { segment, previous, last })
    }
}

// === impl Cursor ===

impl<'a> Cursor<'a> {
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

    fn entry(&mut self, series: Series, read: &mut Read) -> Option<()> {
        let length = self.take(4)?;
        let checksum = self.u32()?;
        let covered = self.0;
        let mut length: [u8; 4] = length.try_into().ok()?;
        let is_discarded = series == Series::Bodies && length.ends_with(&[DISCARDED]);
        if is_discarded {
            length = [length[0], length[1], length[2], 0];
        }
        let count = u32::from_le_bytes(length) as usize;
        match series {
            Series::Records => {
                let (sequence, version) = (self.u64()?, self.u64()?);
                let (stream, id) = (self.digest()?, self.digest()?);
                read.records.push(Record { group: 0, sequence, version, stream, id, bytes: self.take(count)?.to_vec() });
            }
            Series::Bodies if is_discarded => {
                let (address, bytes) = (self.digest()?, self.take(count)?);
                let finished = crc32c::crc32c(&[&length, address.as_bytes().as_slice()].concat());
                read.discarded.insert(address);
                // Until zeros are all over it, the mark alone counts.
                return (bytes.iter().any(|byte| *byte != 0) || checksum == finished).then_some(());
            }
            Series::Bodies => read.bodies.push(Body { address: self.digest()?, bytes: self.take(count)?.to_vec() }),
        }
        let covered = covered.get(..covered.len() - self.0.len())?;
        (crc32c::crc32c_append(crc32c::crc32c(&length), covered) == checksum).then_some(())
    }
}
