//! Forgets bodies: marks them, writes zeros over them, and gives the space of segments back that hold little else. One thread,
//! a bounded piece of work at a time. It refuses to remove a segment while a body in it lives, and to touch the newest ones.
//!
//! The order makes every instant safe: a mark is durable before a zero is written; a body that moves is durable in its new
//! place before the old one is marked; a segment is replaced only when everything in it is marked.

use super::durable::Durable;
use super::frame::{
    BODY_HEAD_LENGTH, Gone, GroupHead, Kind, Location, MARK, MARK_AT, Place, discarded_rest, is_body_of, parse_body,
    parse_discarded,
};
use super::group::{Entry, Job};
use super::scan;
use super::segments::{Active, SEGMENT_BYTES_MIN, Tail};
use super::{AppendError, Appended, Change, FRAME_BYTES, ReadError};
use crate::telemetry::number;
use agentgate_core::digest::Digest;
use bytes::Bytes;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};
use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::sync::oneshot;

/// Discards that may wait.
pub(super) const QUEUE_DISCARDS_MAX: usize = 256;

/// Bodies whose erasure failed and is tried again without being asked: whoever asked was told, and asks again.
const UNFINISHED_MAX: usize = 4096;

/// Bodies that are overwritten together: two syncs for all of them.
const PIECE_BODIES: usize = 256;

/// What is moved at once: the writer's next group waits no longer for it than for any other.
const MOVE_BYTES: usize = 256 << 10;

/// Segments at the end that are never touched: recovery may have to cut back into them.
const NEWEST_SEGMENTS: u32 = 2;

/// Bodies to be forgotten, after all that was under way when it was asked.
#[derive(Debug)]
pub(super) struct Discard {
    pub addresses: Vec<Digest>,
    pub before: oneshot::Receiver<Result<Appended, AppendError>>,
    pub answer: oneshot::Sender<Result<(), AppendError>>,
}

/// The end that callers hold.
#[derive(Debug)]
pub(super) struct Discarder {
    discards: Option<Sender<Discard>>,
    thread: Option<JoinHandle<()>>,
}

struct Worker {
    discards: Receiver<Discard>,
    durable: Arc<Durable>,
    entry: Option<Entry>,
    bytes: Arc<AtomicU64>,
    idle: Duration,
    /// Whoever copies the bodies holds it: nothing may move from what was not copied yet to where nothing is copied from.
    hold: File,
    /// What was begun and failed; it is tried again.
    unfinished: Vec<(Digest, Location)>,
    /// Bytes of each segment that are forgotten. None: not asked yet.
    forgotten: Option<BTreeMap<u32, u64>>,
    emptying: Option<Emptying>,
}

/// A segment on its way out.
struct Emptying {
    gone: Gone,
    bytes: u32,
    all: Vec<(Digest, Place)>,
    /// What was still alive when the segment was read.
    rest: VecDeque<(Digest, Location)>,
}

// === impl Discarder ===

impl Discarder {
    pub(super) fn start(
        durable: Arc<Durable>,
        entry: Option<Entry>,
        bytes: Arc<AtomicU64>,
        idle: Duration,
        unfinished: Vec<(Digest, Location)>,
        hold: File,
    ) -> io::Result<Self> {
        let (discards, waiting) = bounded(QUEUE_DISCARDS_MAX);
        let mut worker =
            Worker { discards: waiting, durable, entry, bytes, idle, hold, unfinished, forgotten: None, emptying: None };
        let thread = thread::Builder::new().name("journal-discard".into()).spawn(move || worker.run())?;
        Ok(Self { discards: Some(discards), thread: Some(thread) })
    }

    pub(super) fn push(&self, discard: Discard) {
        let sent = self.discards.as_ref().map(|discards| discards.try_send(discard));
        if let Some(Err(TrySendError::Full(discard) | TrySendError::Disconnected(discard))) = sent {
            let _ = discard.answer.send(Err(AppendError::Unavailable("overloaded".to_owned())));
        }
    }
}

impl Drop for Discarder {
    fn drop(&mut self) {
        self.discards = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

// === impl Worker ===

impl Worker {
    fn run(&mut self) {
        loop {
            metrics::gauge!("agentgate_journal_queued_discards").set(number(self.discards.len() + self.unfinished.len()));
            let idle = if self.emptying.is_some() { Duration::ZERO } else { self.idle };
            match self.discards.recv_timeout(idle) {
                Ok(discard) => {
                    let Discard { addresses, before, answer } = discard;
                    let told = before.blocking_recv().unwrap_or_else(|_| Err(unavailable("its writer has ended")));
                    let _ = answer.send(told.and_then(|_| self.forget(&addresses)));
                }
                Err(RecvTimeoutError::Timeout) => {
                    if self.hold.try_lock_shared().is_err() {
                        thread::sleep(self.idle);
                        continue;
                    }
                    // What failed is tried again; why it failed shows where it matters, in the next write.
                    if self.durable.fault().is_some() || self.make_space().is_err() {
                        self.emptying = None;
                    }
                    // An unlock that fails ends with the process.
                    let _ = self.hold.unlock();
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn forget(&mut self, addresses: &[Digest]) -> Result<(), AppendError> {
        // They may be among these, and nowhere else to be found.
        self.finish().map_err(|error| AppendError::Unknown(error.to_string()))?;
        for piece in addresses.chunks(PIECE_BODIES) {
            if let Some(fault) = self.durable.fault() {
                return Err(unavailable(fault.reason()));
            }
            let mut entries = Vec::new();
            for address in piece {
                let found = self.durable.body_locations(address).map_err(|error| unavailable(&error.to_string()))?;
                entries.extend(found.into_iter().map(|location| (*address, location)));
            }
            if let Err(error) = self.overwrite(&entries) {
                let room = UNFINISHED_MAX.saturating_sub(self.unfinished.len());
                self.unfinished.extend(entries.into_iter().take(room));
                return Err(AppendError::Unknown(error.to_string()));
            }
        }
        Ok(())
    }

    /// Marks, syncs, zeros, syncs; the index comes last, so that what was not finished is found again.
    fn overwrite(&mut self, entries: &[(Digest, Location)]) -> io::Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        let still = self.durable.rewriting();
        let mut files: BTreeMap<u32, Active> = BTreeMap::new();
        let mut found = Vec::new();
        for (address, location) in entries {
            let segment = location.place.segment;
            let active = match files.get(&segment) {
                Some(active) => active.clone(),
                None => self.durable.bodies.layout.open(segment)?,
            };
            let mut head = vec![0; BODY_HEAD_LENGTH as usize];
            active.file.read_at(&mut head, u64::from(location.place.offset))?;
            // Not in a segment that is gone.
            let is_marked = head.get(MARK_AT as usize) == MARK.first();
            if active.bytes >= SEGMENT_BYTES_MIN && (is_marked || is_body_of(&head, address)) {
                found.push((address, location, active.clone(), is_marked));
                files.insert(segment, active);
            }
        }
        for (_, location, active, _) in found.iter().filter(|(.., is_marked)| !is_marked) {
            active.file.write_at(&MARK, u64::from(location.place.offset) + u64::from(MARK_AT))?;
        }
        files.values().try_for_each(|active| active.file.sync())?;
        for (address, location, active, _) in &found {
            let rest = discarded_rest(address, location.length).ok_or(io::ErrorKind::InvalidData)?;
            active.file.write_at(&rest, u64::from(location.place.offset) + 4)?;
        }
        files.values().try_for_each(|active| active.file.sync())?;
        drop(still);
        self.durable.discarded(entries).map_err(io::Error::other)?;
        if let Some(forgotten) = &mut self.forgotten {
            for (_, location, ..) in found.iter().filter(|(.., is_marked)| !is_marked) {
                *forgotten.entry(location.place.segment).or_default() += u64::from(location.length);
            }
        }
        Ok(())
    }

    /// What was begun and failed, or was interrupted by a crash.
    fn finish(&mut self) -> io::Result<()> {
        while !self.unfinished.is_empty() {
            let piece: Vec<_> = self.unfinished.iter().copied().take(PIECE_BODIES).collect();
            self.overwrite(&piece)?;
            self.unfinished.drain(..piece.len());
        }
        Ok(())
    }

    /// A piece of the work that gives space back.
    fn make_space(&mut self) -> io::Result<()> {
        self.finish()?;
        if self.emptying.is_none() {
            self.emptying = self.choose()?;
        }
        let Some(emptying) = &mut self.emptying else { return Ok(()) };
        let (mut weight, mut piece) = (0, Vec::new());
        while weight < MOVE_BYTES && piece.len() < PIECE_BODIES {
            let Some((address, location)) = emptying.rest.pop_front() else { break };
            weight += location.length as usize + FRAME_BYTES;
            piece.push((address, location));
        }
        if piece.is_empty() { self.remove() } else { self.move_on(&piece) }
    }

    /// A segment most of whose bytes are forgotten.
    fn choose(&mut self) -> io::Result<Option<Emptying>> {
        let forgotten = match self.forgotten.take() {
            Some(forgotten) => forgotten,
            None => self.durable.discarded_bytes().map_err(io::Error::other)?,
        };
        let forgotten = self.forgotten.insert(forgotten);
        let indexed = self.durable.indexed().map_or(0, |mark| mark.bodies.last.segment);
        let end = self.durable.mark().bodies.last.segment.min(indexed).saturating_sub(NEWEST_SEGMENTS);
        let layout = &self.durable.bodies.layout;
        let mut candidates = forgotten.range(..=end);
        let is_worth = |(segment, bytes): (&u32, &u64)| match layout.open(*segment) {
            Ok(active) => (bytes.saturating_mul(2) > u64::from(active.bytes)).then_some(Ok(*segment)),
            Err(error) => Some(Err(error)),
        };
        let chosen = candidates.find_map(is_worth).transpose()?;
        chosen.map_or(Ok(None), |segment| self.read(segment))
    }

    fn read(&mut self, segment: u32) -> io::Result<Option<Emptying>> {
        let bytes = self.durable.bodies.layout.read_from(segment, 0)?;
        if Gone::parse(segment, &bytes).is_some() {
            // Before the index knew, a crash came, or an older index was taken up.
            self.durable.gone(segment, &[]).map_err(io::Error::other)?;
            if let Some(forgotten) = &mut self.forgotten {
                forgotten.remove(&segment);
            }
            return Ok(None);
        }
        let (mut all, mut rest, mut gone, mut at) = (Vec::new(), VecDeque::new(), None::<Gone>, 0_u32);
        while let Some(left) = bytes.get(at as usize..).filter(|left| left.iter().any(|byte| *byte != 0)) {
            let place = Place { segment, offset: at };
            let Some(head) = GroupHead::parse(Kind::Bodies, place, left).filter(|head| head.is_whole(Kind::Bodies, left)) else {
                self.durable.damaged(&format!("bodies segment {segment} at byte {at}: a group is not what was written"));
                return Ok(None);
            };
            let previous = gone.map_or(head.previous, |gone| gone.previous);
            gone = Some(Gone { segment, previous, group: head.group, checksum: head.checksum, next: head.first });
            let start = at.saturating_add(super::frame::HEAD_LENGTH);
            for entry in scan::bodies(&scan::entries_of(&head, &bytes.slice(at as usize..)), true) {
                let place = Place { segment, offset: start.saturating_add(entry.offset) };
                all.push((entry.address, place));
                if entry.body.is_some() {
                    rest.push_back((entry.address, Location { place, length: entry.length }));
                }
            }
            at = Tail::after(&head).place.offset;
        }
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        Ok(gone.map(|gone| Emptying { gone, bytes: length, all, rest }))
    }

    /// Writes what lives once more, at the end, and forgets it here.
    fn move_on(&mut self, piece: &[(Digest, Location)]) -> io::Result<()> {
        let (mut bodies, mut addresses) = (Vec::new(), Vec::new());
        for (address, location) in piece {
            // One that was kept twice lives in its newest place.
            let newest = self.durable.body_locations(address).map_err(io::Error::other)?.pop();
            if newest.is_some_and(|newest| newest.place > location.place) {
                continue;
            }
            let bytes = self.durable.bodies.read(*location)?;
            match parse_body(&bytes) {
                Some((_, body, _)) => {
                    bodies.push(body);
                    addresses.push(*address);
                }
                None if parse_discarded(&bytes).is_some() => {}
                None => return Err(io::ErrorKind::InvalidData.into()),
            }
        }
        self.append(bodies, addresses).map_err(io::Error::other)?;
        self.overwrite(piece)
    }

    fn append(&self, bodies: Vec<Bytes>, addresses: Vec<Digest>) -> Result<(), AppendError> {
        let Some(entry) = self.entry.as_ref().filter(|_| !bodies.is_empty()) else { return Ok(()) };
        let change = Change { fence: None, writes: Vec::new(), bodies };
        let (answer, answered) = oneshot::channel();
        entry.push(Job { weight: change.weight(), change, addresses, is_move: true, answer });
        answered.blocking_recv().unwrap_or_else(|_| Err(unavailable("its writer has ended"))).map(drop)
    }

    fn remove(&mut self) -> io::Result<()> {
        let Some(Emptying { gone, bytes, all, .. }) = self.emptying.take() else { return Ok(()) };
        let segments = &self.durable.bodies;
        segments.layout.replace(&gone)?;
        segments.replaced(gone.segment);
        self.bytes.fetch_sub(u64::from(bytes), Ordering::Relaxed);
        if let Some(forgotten) = &mut self.forgotten {
            forgotten.remove(&gone.segment);
        }
        self.durable.gone(gone.segment, &all).map_err(io::Error::other)
    }
}

fn unavailable(reason: &str) -> AppendError {
    AppendError::Unavailable(reason.to_owned())
}

impl From<ReadError> for AppendError {
    fn from(error: ReadError) -> Self {
        unavailable(&error.to_string())
    }
}
