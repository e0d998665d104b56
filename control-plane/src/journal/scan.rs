//! Reads a series of segments from a tail on and says what stands there: whole groups, and what is bad. It changes nothing,
//! and it refuses to skip: whatever is not a whole group in its place and chain is named.

use super::frame::{
    ALIGNMENT, GROUP_FRAME_BYTES, Gone, GroupHead, HEAD_BYTES, Kind, Place, RECORD_FRAME_BYTES, aligned, parse_body,
    parse_discarded, parse_record,
};
use super::record::Record;
use super::segments::{Layout, SEGMENT_BYTES_MIN, Tail};
use super::{Sequence, body_address};
use agentgate_core::digest::Digest;
use bytes::Bytes;
use std::fmt;
use std::io;

/// What a disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;

/// Something that is not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    pub(super) kind: Kind,
    pub segment: u32,
    pub offset: u32,
    pub(super) end: u32,
    /// The sequences that may be concerned: from the first, to the last where one is known.
    pub first: Sequence,
    pub last: Option<Sequence>,
    pub what: &'static str,
}

/// Bytes that are no group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bad {
    pub damage: Damage,
    /// A sector of it reads as zeros: as it would if power had failed while it was written.
    pub has_hole: bool,
}

#[derive(Debug)]
pub(super) struct Walked {
    pub tail: Tail,
    /// The sequence after the last one that was seen.
    pub next: Sequence,
    /// What has whole groups behind it, or cannot be a torn write for another reason.
    pub damage: Vec<Damage>,
    /// What stands behind the last whole group.
    pub trailing: Option<Bad>,
    /// The last two whole groups, newest first.
    pub last: [Option<GroupHead>; 2],
    pub groups: u64,
    /// The gap before the next group has been named.
    is_named: bool,
}

/// What is done with each whole group.
pub(super) type Visit<'a> = &'a mut dyn FnMut(&GroupHead, Bytes) -> io::Result<()>;

/// Everything after `from`; `next` is the sequence that the next record must have.
pub(super) fn walk(layout: &Layout, from: Tail, next: Sequence, visit: Visit<'_>) -> io::Result<Walked> {
    let mut walked = Walked { tail: from, next, damage: Vec::new(), trailing: None, last: [None; 2], groups: 0, is_named: false };
    let mut expected = from.place.segment;
    for segment in layout.list()?.into_iter().filter(|segment| *segment >= from.place.segment) {
        if segment != expected {
            walked.name(walked.damage_at(layout.kind, Place { segment: expected, offset: 0 }, "the segment is missing"));
        }
        expected = segment.saturating_add(1);
        let offset = if segment == from.place.segment { from.place.offset } else { 0 };
        walked.segment(layout, Place { segment, offset }, visit)?;
    }
    Ok(walked)
}

/// The records in `bytes`, each with its offset; bytes that are no record are stepped over.
/// `sequences` is what they may be: nothing else is taken for a record.
pub(super) fn records(bytes: &Bytes, sequences: &std::ops::Range<Sequence>) -> Vec<(u32, u32, Record)> {
    let mut found = Vec::new();
    let (mut offset, mut from) = (0, sequences.start);
    while offset < bytes.len() {
        match parse_record(&bytes.slice(offset..)) {
            Some((record, length)) if (from..sequences.end).contains(&record.sequence) => {
                from = record.sequence.saturating_add(1);
                let (Ok(start), Ok(span)) = (u32::try_from(offset), u32::try_from(length)) else { break };
                found.push((start, span, record));
                offset += length;
            }
            Some(_) | None => offset += 1,
        }
    }
    found
}

/// At most `limit` of the records in `bytes` from `expected` on, where `bytes` begin with the record `first` and nothing is
/// wrong up to them. Those before are stepped over by their lengths, and looked at no further.
pub(super) fn records_from(bytes: &Bytes, first: Sequence, expected: Sequence, limit: usize) -> Option<Vec<Record>> {
    let mut rest = bytes.clone();
    for _ in first..expected {
        let length = rest.first_chunk().map(|length| u32::from_le_bytes(*length))?;
        let total = RECORD_FRAME_BYTES.checked_add(length as usize).filter(|total| *total <= rest.len())?;
        rest = rest.slice(total..);
    }
    let mut found = Vec::new();
    for expected in (expected..).take(limit.max(1)) {
        let Some((record, length)) = parse_record(&rest).filter(|(record, _)| record.sequence == expected) else { break };
        found.push(record);
        rest = rest.slice(length..);
    }
    (!found.is_empty()).then_some(found)
}

/// A body, or what stands where one was discarded, at an offset.
#[derive(Clone, Debug)]
pub(super) struct BodyAt {
    pub offset: u32,
    pub length: u32,
    pub address: Digest,
    /// None: it was discarded.
    pub body: Option<Bytes>,
    /// It was discarded, and its bytes may not be zeros yet.
    pub is_unfinished: bool,
}

/// The bodies in `bytes`; bytes that are no body are stepped over. `is_start`: the first of them starts right here.
pub(super) fn bodies(bytes: &Bytes, is_start: bool) -> Vec<BodyAt> {
    let mut found = Vec::new();
    let (mut offset, mut is_entry) = (0, is_start);
    while offset < bytes.len() {
        let rest = bytes.slice(offset..);
        let whole = parse_body(&rest).filter(|(address, body, _)| body_address(body) == *address);
        // One whose erasure is not finished has nothing to be known by but its place.
        let discarded = parse_discarded(&rest).filter(|discarded| is_entry || discarded.is_finished);
        let (address, body, length, is_unfinished) = match (whole, discarded) {
            (Some((address, body, length)), _) => (address, Some(body), length, false),
            (None, Some(discarded)) => (discarded.address, None, discarded.length as usize, !discarded.is_finished),
            (None, None) => {
                (offset, is_entry) = (offset + 1, false);
                continue;
            }
        };
        let (Ok(start), Ok(span)) = (u32::try_from(offset), u32::try_from(length)) else { break };
        found.push(BodyAt { offset: start, length: span, address, body, is_unfinished });
        (offset, is_entry) = (offset + length, true);
    }
    found
}

/// A whole group's entries.
pub(super) fn entries_of(head: &GroupHead, bytes: &Bytes) -> Bytes {
    bytes.slice(HEAD_BYTES.min(bytes.len())..HEAD_BYTES.saturating_add(head.entries_bytes as usize).min(bytes.len()))
}

// === impl Damage ===

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} segment {} at byte {}: {}", self.kind.noun(), self.segment, self.offset, self.what)?;
        match self.last {
            Some(last) if last >= self.first => write!(f, " (sequences {} to {last})", self.first),
            Some(_) | None => write!(f, " (from sequence {} on)", self.first),
        }
    }
}

impl GroupHead {
    pub(super) fn damage(&self, kind: Kind, what: &'static str) -> Damage {
        let Place { segment, offset } = self.place;
        Damage { kind, segment, offset, end: Tail::after(self).place.offset, first: self.first, last: self.last(kind), what }
    }
}

// === impl Walked ===

impl Walked {
    fn segment(&mut self, layout: &Layout, start: Place, visit: Visit<'_>) -> io::Result<()> {
        let bytes = layout.read_from(start.segment, start.offset)?;
        if let Some(gone) = Gone::parse(start.segment, &bytes).filter(|_| layout.kind == Kind::Bodies && start.offset == 0) {
            self.gone(&gone);
            return Ok(());
        }
        let length = (start.offset as usize).saturating_add(bytes.len());
        let mut made = SEGMENT_BYTES_MIN as usize;
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| rest.iter().any(|byte| *byte != 0)) {
            let place =
                Place { segment: start.segment, offset: start.offset.saturating_add(u32::try_from(at).unwrap_or(u32::MAX)) };
            let head = GroupHead::parse(layout.kind, place, rest);
            if let Some(head) = head.filter(|head| head.is_whole(layout.kind, rest)) {
                made = made.max(head.segment_bytes as usize);
                self.group(layout.kind, &head);
                visit(&head, bytes.slice(at..at.saturating_add(head.length())))?;
                at = at.saturating_add(head.length());
            } else {
                at = at.saturating_add(self.bad(layout.kind, place, rest, head));
            }
        }
        if length < made {
            let place = Place { segment: start.segment, offset: u32::try_from(length).unwrap_or(u32::MAX) };
            self.settle_trailing();
            self.name(self.damage_at(layout.kind, place, "the segment is shorter than it was made"));
        }
        Ok(())
    }

    fn group(&mut self, kind: Kind, head: &GroupHead) {
        // Whole groups behind it: it was acknowledged, and is no torn write.
        self.settle_trailing();
        let in_chain = head.previous == self.tail.previous && head.group > self.tail.group;
        let in_order = kind == Kind::Bodies || (head.group == self.tail.group + 1 && head.first == self.next);
        let continues = in_chain && in_order;
        if !(continues || self.is_named) {
            self.name(self.damage_at(kind, head.place, "the groups before it are missing"));
        }
        if let Some(damage) = self.damage.last_mut().filter(|_| self.is_named) {
            damage.last = head.first.checked_sub(1);
        }
        self.is_named = false;
        self.tail = Tail::after(head);
        self.next = if kind == Kind::Records { head.next() } else { head.first };
        self.last = [Some(*head), self.last[0]];
        self.groups += 1;
    }

    /// Its groups are not here any more, and were never to be cut: the next group must continue their last one.
    fn gone(&mut self, gone: &Gone) {
        self.settle_trailing();
        if !(self.is_named || (gone.previous == self.tail.previous && gone.group > self.tail.group)) {
            let place = Place { segment: gone.segment, offset: 0 };
            self.name(self.damage_at(Kind::Bodies, place, "the groups before it are missing"));
        }
        self.is_named = false;
        let place = Place { segment: gone.segment, offset: 0 };
        self.tail = Tail { place, group: gone.group, previous: gone.checksum, last: place };
        self.next = gone.next;
    }

    /// Takes note of the bad bytes at the start of `rest` and says how many they are.
    fn bad(&mut self, kind: Kind, place: Place, rest: &[u8], head: Option<GroupHead>) -> usize {
        self.settle_trailing();
        let mut damage = self.damage_at(kind, place, "there is no group where one must start");
        let end = match head {
            Some(head) => {
                damage.what = "a group is not what was written";
                damage.first = head.first;
                damage.last = head.last(kind);
                head.length()
            }
            None => next_head(kind, place, rest, ALIGNMENT).map_or_else(
                || aligned(rest.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)).max(GROUP_FRAME_BYTES),
                |next| next.place.offset.saturating_sub(place.offset) as usize,
            ),
        };
        let has_hole = has_hole(place.offset as usize, rest, end);
        damage.end = place.offset.saturating_add(u32::try_from(end).unwrap_or(u32::MAX));
        self.trailing = Some(Bad { damage, has_hole });
        end.max(ALIGNMENT)
    }

    fn settle_trailing(&mut self) {
        if let Some(bad) = self.trailing.take() {
            self.name(bad.damage);
        }
    }

    fn name(&mut self, damage: Damage) {
        self.damage.push(damage);
        self.is_named = true;
    }

    fn damage_at(&self, kind: Kind, place: Place, what: &'static str) -> Damage {
        Damage { kind, segment: place.segment, offset: place.offset, end: place.offset, first: self.next, last: None, what }
    }
}

/// The first head in `rest` at or behind `from`, by its offset in `rest`.
fn next_head(kind: Kind, place: Place, rest: &[u8], from: usize) -> Option<GroupHead> {
    (aligned(from)..rest.len()).step_by(ALIGNMENT).find_map(|at| {
        let offset = place.offset.checked_add(u32::try_from(at).ok()?)?;
        GroupHead::parse(kind, Place { offset, ..place }, rest.get(at..)?)
    })
}

/// Whether a sector's part of `rest[..end]` is all zeros, or its end is, as where a write was begun and not finished. What lies behind the end of the file is not a hole: no torn
/// write makes a file shorter.
fn has_hole(offset: usize, rest: &[u8], end: usize) -> bool {
    let is_zero = |part: &[u8]| part.iter().all(|byte| *byte == 0);
    // No flipped bit makes a zero of the trailer's last byte.
    if rest.get(end.saturating_sub(1)) == Some(&0) {
        return true;
    }
    let mut at = 0;
    while at < end {
        let next = (offset + at + 1).next_multiple_of(SECTOR_BYTES).saturating_sub(offset).min(end);
        if rest.get(at..next).is_some_and(is_zero) {
            return true;
        }
        at = next;
    }
    false
}
