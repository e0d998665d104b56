//! What is durable, for everybody who reads it: segments, index, and what the index does not know yet. It refuses to hand
//! out what is not what was written, and after such a find it refuses every write.

use super::frame::{
    BODY_HEAD_LENGTH, GroupHead, HEAD_LENGTH, Kind, Location, Place, is_body_of, parse_body, parse_discarded, parse_record,
};
use super::index::{Index, IndexError};
use super::overlay::{Indexed, Mark, OVERLAY_ENTRIES_MAX, Overlay};
use super::record::{Record, Stream};
use super::segments::Segments;
use super::{PAGE_BYTES_MAX, Position, ReadError, Sequence, Version, body_address, scan};
use agentgate_core::digest::Digest;
use bytes::Bytes;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

#[derive(Debug)]
pub(super) struct Durable {
    pub records: Segments,
    pub bodies: Segments,
    pub head: watch::Sender<Sequence>,
    /// None while it is opened again.
    index: Mutex<Option<Arc<Index>>>,
    overlay: Mutex<Overlay>,
    /// The overlay shrank.
    shrank: Condvar,
    fault: Mutex<Option<Fault>>,
    /// How far the journal is.
    mark: Mutex<Mark>,
    /// The index is to be built anew when it is opened again.
    is_index_spoiled: AtomicBool,
    /// Held while bodies are overwritten: whoever reads whole segments would find half of it.
    rewriting: Mutex<()>,
    /// A file that makes the next start read everything.
    damage_note: PathBuf,
}

/// Why nothing can be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is tried again. In doubt: an attempt may or may not have happened.
    Unavailable { reason: String, in_doubt: bool },
    /// Stays until somebody has repaired the files and started again.
    Damaged(String),
}

// === impl Fault ===

impl Fault {
    pub(super) fn reason(&self) -> &str {
        match self {
            Fault::Unavailable { reason, .. } | Fault::Damaged(reason) => reason,
        }
    }
}

// === impl Durable ===

impl Durable {
    pub(super) fn new(records: Segments, bodies: Segments, index: Index, mark: Mark, damage_note: PathBuf) -> Self {
        Self {
            records,
            bodies,
            head: watch::Sender::new(mark.head),
            mark: Mutex::new(mark),
            is_index_spoiled: AtomicBool::new(false),
            index: Mutex::new(Some(Arc::new(index))),
            overlay: Mutex::default(),
            shrank: Condvar::new(),
            fault: Mutex::default(),
            rewriting: Mutex::default(),
            damage_note,
        }
    }

    pub(super) fn fault(&self) -> Option<Fault> {
        locked(&self.fault).clone()
    }

    /// Damage outlives every other fault, and doubt every one but damage.
    pub(super) fn set_fault(&self, fault: Option<Fault>) {
        let mut current = locked(&self.fault);
        *current = match (current.take(), fault) {
            (Some(Fault::Damaged(reason)), _) => Some(Fault::Damaged(reason)),
            (Some(Fault::Unavailable { in_doubt: true, .. }), Some(Fault::Unavailable { reason, .. })) => {
                Some(Fault::Unavailable { reason, in_doubt: true })
            }
            (_, fault) => fault,
        };
    }

    pub(super) fn mark(&self) -> Mark {
        *locked(&self.mark)
    }

    /// Takes note of damage, for now and for the next start.
    pub(super) fn damaged(&self, what: &str) {
        self.set_fault(Some(Fault::Damaged(format!("{what}; restore the file from a copy and start again"))));
        // A journal that cannot even write this down is found damaged again when it is read again.
        let _ = std::fs::write(&self.damage_note, format!("{what}\n"));
    }

    /// A group is durable: from now on it is read and followed.
    pub(super) fn publish(&self, group: Arc<Indexed>) -> usize {
        let mark = group.mark;
        let mut overlay = locked(&self.overlay);
        overlay.push(group);
        let entries = overlay.entries();
        drop(overlay);
        *locked(&self.mark) = mark;
        self.head.send_replace(mark.head);
        entries
    }

    /// How many entries wait for the index.
    pub(super) fn waiting(&self) -> usize {
        locked(&self.overlay).entries()
    }

    /// Waits until the index has caught up so far that the overlay may grow. False: nothing may be written now.
    pub(super) fn wait_for_room(&self) -> bool {
        let mut overlay = locked(&self.overlay);
        loop {
            if locked(&self.fault).is_some() {
                return false;
            }
            if overlay.entries() < OVERLAY_ENTRIES_MAX {
                return true;
            }
            overlay = self.shrank.wait(overlay).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Lets the index learn all that waits for it, at most `entries_max` entries at once.
    pub(super) fn learn(&self, entries_max: usize) -> Result<(), IndexError> {
        loop {
            // Before the groups: nobody opens the index again while it is held, so these are groups that it may not know.
            let index = self.index()?;
            let groups = locked(&self.overlay).oldest(entries_max);
            let Some(last) = groups.last() else { return Ok(()) };
            let learned = index.learn(&groups, last.mark);
            match &learned {
                Ok(()) => locked(&self.overlay).forget(&groups),
                Err(error) => self.distrust(error),
            }
            // Whoever looked before this line waits by now, and hears it.
            drop(locked(&self.overlay));
            self.shrank.notify_all();
            learned?;
        }
    }

    /// Closes the index so that it can be opened again; false: somebody is still reading it.
    pub(super) fn close_index(&self) -> bool {
        let mut index = locked(&self.index);
        match index.take().map(Arc::try_unwrap) {
            Some(Err(shared)) => {
                *index = Some(shared);
                false
            }
            Some(Ok(_)) | None => true,
        }
    }

    /// The writer opens the index again, and has it built anew when it is wrong in itself.
    pub(super) fn distrust(&self, error: &IndexError) {
        if error.is_spoiled() {
            self.is_index_spoiled.store(true, Ordering::Relaxed);
        }
        self.set_fault(Some(Fault::Unavailable { reason: format!("the index: {error}"), in_doubt: false }));
    }

    /// Whether the index was found to be wrong since it was last built.
    pub(super) fn is_index_spoiled(&self) -> bool {
        self.is_index_spoiled.load(Ordering::Relaxed)
    }

    /// How far the index has come, when it can say.
    pub(super) fn indexed(&self) -> Option<Mark> {
        self.index().and_then(|index| index.mark()).ok()
    }

    /// The index is as it was before `close_index`.
    pub(super) fn index_back(&self, index: Index) {
        *locked(&self.index) = Some(Arc::new(index));
    }

    /// The index has read everything from the segments again.
    pub(super) fn reopened(&self, index: Index, mark: Mark) {
        locked(&self.overlay).clear();
        self.index_back(index);
        self.is_index_spoiled.store(false, Ordering::Relaxed);
        *locked(&self.mark) = mark;
        self.head.send_replace(mark.head);
        self.set_fault(None);
    }

    pub(super) fn position(&self, id: &Digest) -> Result<Option<Position>, ReadError> {
        let known = locked(&self.overlay).position(id);
        match known {
            Some(position) => Ok(Some(position)),
            None => self.asked(|index| index.position(id)),
        }
    }

    /// The highest id of a family.
    pub(super) fn last_id(&self, family: &[u8]) -> Result<Option<Digest>, ReadError> {
        // The overlay first: what leaves it is in the index already.
        let newest = locked(&self.overlay).last_id(family);
        let indexed = self.asked(|index| index.last_id(family))?;
        Ok(newest.max(indexed))
    }

    /// Like `position`, for those who must know whether a change happened that they were told nothing of.
    pub(super) fn find(&self, id: &Digest) -> Result<Option<Position>, ReadError> {
        let found = self.position(id)?;
        match self.fault() {
            Some(Fault::Unavailable { reason, in_doubt: true }) if found.is_none() => Err(ReadError::Unavailable(reason)),
            Some(_) | None => Ok(found),
        }
    }

    pub(super) fn version(&self, stream: Stream) -> Result<Version, ReadError> {
        let known = locked(&self.overlay).version(stream);
        match known {
            Some(version) => Ok(version),
            None => self.asked(|index| index.version(stream)),
        }
    }

    /// Nobody overwrites bodies while this is held.
    pub(super) fn rewriting(&self) -> MutexGuard<'_, ()> {
        locked(&self.rewriting)
    }

    /// Wherever a body lies, the newest place last.
    pub(super) fn body_locations(&self, address: &Digest) -> Result<Vec<Location>, ReadError> {
        // The overlay first: what leaves it is in the index already.
        let newest = locked(&self.overlay).bodies(address);
        let mut found = self.asked(|index| index.bodies(address))?;
        found.retain(|location| !newest.contains(location));
        found.extend(newest);
        Ok(found)
    }

    fn body_location(&self, address: &Digest) -> Result<Option<Location>, ReadError> {
        let newest = locked(&self.overlay).bodies(address).pop();
        match newest {
            Some(location) => Ok(Some(location)),
            None => Ok(self.asked(|index| index.bodies(address))?.pop()),
        }
    }

    /// The addresses after `after` under which a body is kept, in their order.
    pub(super) fn addresses(&self, mut after: Option<Digest>, limit: usize) -> Result<Vec<Digest>, ReadError> {
        let mut kept = Vec::new();
        while kept.len() < limit {
            // The overlay first: what leaves it is in the index already.
            let newest = locked(&self.overlay).addresses(after, limit);
            let indexed = self.asked(|index| index.addresses(after, limit))?;
            let both: std::collections::BTreeSet<Digest> = newest.into_iter().chain(indexed).collect();
            let page: Vec<Digest> = both.into_iter().take(limit).collect();
            let Some(last) = page.last() else { break };
            after = Some(*last);
            for address in page {
                if kept.len() < limit && self.is_kept(&address)? {
                    kept.push(address);
                }
            }
        }
        Ok(kept)
    }

    /// Whether a body is there, and was not discarded.
    pub(super) fn is_kept(&self, address: &Digest) -> Result<bool, ReadError> {
        let Some(location) = self.body_location(address)? else { return Ok(false) };
        let head = self.bytes_at(&self.bodies, Location { length: BODY_HEAD_LENGTH, ..location })?;
        Ok(head.is_some_and(|head| is_body_of(&head, address)))
    }

    pub(super) fn fetch(&self, address: &Digest) -> Result<Option<Bytes>, ReadError> {
        let mut seen = None;
        loop {
            let Some(location) = self.body_location(address)? else { return Ok(None) };
            let bytes = self.bytes_at(&self.bodies, location)?;
            match bytes.as_ref().and_then(parse_body) {
                Some((found, body, _)) if found == *address && body_address(&body) == *address => return Ok(Some(body)),
                Some(_) | None => {}
            }
            // It may have been moved or discarded while it was read.
            if seen.replace(location) == Some(location) {
                let is_discarded = bytes.as_ref().is_some_and(|bytes| parse_discarded(bytes).is_some());
                let is_gone = is_discarded || self.bodies.is_gone(location.place.segment);
                let damage = || self.damage(Kind::Bodies, location.place, "a body is not what was written");
                return if is_gone { Ok(None) } else { Err(damage()) };
            }
        }
    }

    /// These bodies are forgotten where they lay.
    pub(super) fn discarded(&self, entries: &[(Digest, Location)]) -> Result<(), ReadError> {
        self.asked(|index| index.discarded(entries))
    }

    /// A segment of bodies is gone, and whatever lay in these places with it.
    pub(super) fn gone(&self, segment: u32, entries: &[(Digest, Place)]) -> Result<(), ReadError> {
        self.asked(|index| index.gone(segment, entries))
    }

    /// How many bytes of each segment's bodies were discarded.
    pub(super) fn discarded_bytes(&self) -> Result<std::collections::BTreeMap<u32, u64>, ReadError> {
        self.asked(Index::discarded_bytes)
    }

    pub(super) fn read(&self, stream: Stream, after: Version, limit: u32) -> Result<Vec<Record>, ReadError> {
        let mut page = Page::new(limit);
        // The overlay first: what leaves it is in the index already.
        let newest = locked(&self.overlay).stream(stream, after, limit as usize);
        let mut found = match newest.first() {
            Some((version, _)) if *version == after.saturating_add(1) => Vec::new(),
            Some(_) | None => self.asked(|index| index.stream(stream, after, limit as usize))?,
        };
        let indexed = found.last().map_or(0, |(version, _)| *version);
        found.extend(newest.into_iter().filter(|(version, _)| *version > indexed));
        for ((version, location), expected) in found.into_iter().zip(after.saturating_add(1)..) {
            let record = if version == expected { self.record_at(location) } else { Err(gap(stream, expected)) };
            match record {
                Ok(record) if record.stream == stream && record.version == version => {
                    if !page.push(record) {
                        break;
                    }
                }
                Ok(_) => return page.or(self.damage(Kind::Records, location.place, "another record stands there")),
                Err(error) => return page.or(error),
            }
        }
        Ok(page.records)
    }

    /// What is there after `cursor` now.
    pub(super) fn after(&self, cursor: Sequence, limit: u32) -> Result<Vec<Record>, ReadError> {
        let mut page = Page::new(limit);
        let head = *self.head.borrow();
        let mut expected = cursor.saturating_add(1);
        while expected <= head && page.has_room() {
            let found = match self.run_from(expected, &page) {
                Ok(found) => found,
                Err(error) => return page.or(error),
            };
            for record in found {
                if record.sequence != expected || !page.push(record) {
                    return Ok(page.records);
                }
                expected += 1;
            }
        }
        Ok(page.records)
    }

    /// Some records from `expected` on, at least one.
    fn run_from(&self, expected: Sequence, page: &Page) -> Result<Vec<Record>, ReadError> {
        let newest = locked(&self.overlay).after(expected.saturating_sub(1), page.room());
        if let Some((_, location)) = newest.first().filter(|(sequence, _)| *sequence == expected) {
            return Ok(vec![self.record_at(*location)?]);
        }
        let lost = || ReadError::Damaged(format!("the record with sequence {expected} is missing"));
        let (_, place) = self.asked(|index| index.group(expected))?.ok_or_else(lost)?;
        let bytes = self.bytes_at(&self.records, Location { place, length: HEAD_LENGTH })?.unwrap_or_default();
        let bad = || self.damage(Kind::Records, place, "a group is not what was written");
        let head = GroupHead::parse(Kind::Records, place, &bytes).ok_or_else(bad)?;
        let start = Place { offset: place.offset.saturating_add(HEAD_LENGTH), ..place };
        let entries = Location { place: start, length: head.entries_bytes };
        let entries = self.bytes_at(&self.records, entries)?.unwrap_or_default();
        if let Some(found) = scan::records_from(&entries, head.first, expected, page.room()) {
            return Ok(found);
        }
        let found: Vec<_> = scan::records(&entries, &(head.first..head.next()))
            .into_iter()
            .map(|(_, _, record)| record)
            .skip_while(|record| record.sequence < expected)
            .collect();
        if found.first().is_some_and(|record| record.sequence == expected) { Ok(found) } else { Err(bad()) }
    }

    fn record_at(&self, location: Location) -> Result<Record, ReadError> {
        match self.bytes_at(&self.records, location)?.as_ref().and_then(parse_record) {
            Some((record, _)) => Ok(record),
            None => Err(self.damage(Kind::Records, location.place, "a record is not what was written")),
        }
    }

    /// None: the segment is gone.
    fn bytes_at(&self, segments: &Segments, location: Location) -> Result<Option<Bytes>, ReadError> {
        match segments.read(location) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(ReadError::Unavailable(error.to_string())),
        }
    }

    fn damage(&self, kind: Kind, place: Place, what: &str) -> ReadError {
        let text = format!("{} segment {} at byte {}: {what}", kind.noun(), place.segment, place.offset);
        self.damaged(&text);
        ReadError::Damaged(text)
    }

    fn asked<T>(&self, ask: impl FnOnce(&Index) -> Result<T, IndexError>) -> Result<T, ReadError> {
        let index = self.index()?;
        Ok(ask(&index).inspect_err(|error| self.distrust(error))?)
    }

    fn index(&self) -> Result<Arc<Index>, IndexError> {
        locked(&self.index).clone().ok_or(IndexError::Closed)
    }
}

fn gap(stream: Stream, version: Version) -> ReadError {
    ReadError::Damaged(format!("version {version} of stream {} is missing", stream.0))
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl From<IndexError> for ReadError {
    fn from(error: IndexError) -> Self {
        ReadError::Unavailable(format!("the index: {error}"))
    }
}

/// Records of one answer.
struct Page {
    records: Vec<Record>,
    limit: usize,
    bytes: usize,
}

// === impl Page ===

impl Page {
    fn new(limit: u32) -> Self {
        Self { records: Vec::new(), limit: limit as usize, bytes: 0 }
    }

    fn room(&self) -> usize {
        self.limit.saturating_sub(self.records.len())
    }

    fn has_room(&self) -> bool {
        self.room() > 0 && self.bytes < PAGE_BYTES_MAX
    }

    /// False: it is full, and the record is not in it.
    fn push(&mut self, record: Record) -> bool {
        self.bytes = self.bytes.saturating_add(record.bytes.len());
        let fits = self.room() > 0 && (self.bytes <= PAGE_BYTES_MAX || self.records.is_empty());
        if fits {
            self.records.push(record);
        }
        fits
    }

    /// What was read before `error`; the error when there is nothing.
    fn or(self, error: ReadError) -> Result<Vec<Record>, ReadError> {
        if self.records.is_empty() { Err(error) } else { Ok(self.records) }
    }
}
