//! The journal in memory, for tests and for trying things out. It forgets everything when it is dropped, it grows for as
//! long as it lives, and it refuses to say otherwise: `health` names the backend.

use super::{
    AppendError, Appended, BODIES_PAGE_MAX, BoxFuture, CHANGE_BYTES_MAX, CONFLICT_RECORDS_MAX, Change, Epochs, Expected, Health,
    Journal, PAGE_BYTES_MAX, Position, ReadError, Record, SLOT_BYTES_MAX, SLOTS_PAGE_MAX, Sequence, Slot, Stream, Version,
    body_address,
};
use agentgate_core::digest::Digest;
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap};
use std::future::ready;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

#[derive(Debug)]
pub struct Memory {
    state: Mutex<State>,
    head: watch::Sender<Sequence>,
    shared: bool,
}

#[derive(Debug, Default)]
struct State {
    records: Vec<Record>,
    /// Index into `records`, by stream: version v stands at v - 1.
    streams: HashMap<Stream, Vec<usize>>,
    ids: HashMap<Digest, Position>,
    bodies: BTreeMap<Digest, Bytes>,
    slots: BTreeMap<Digest, Bytes>,
    bytes: u64,
    refusing: Option<String>,
}

// === impl Memory ===

impl Memory {
    #[must_use]
    pub fn new() -> Self {
        Self { state: Mutex::default(), head: watch::Sender::new(0), shared: false }
    }

    /// For several control planes in one process.
    #[must_use]
    pub fn shared() -> Self {
        Self { shared: true, ..Self::new() }
    }

    /// From now on every append is `Unavailable` for this reason, until it is lifted with None.
    pub fn refuse(&self, reason: Option<&str>) {
        self.state().refusing = reason.map(str::to_owned);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl Journal for Memory {
    fn append(&self, change: Change) -> BoxFuture<'static, Result<Appended, AppendError>> {
        let mut state = self.state();
        let answer = state.append(change);
        self.head.send_replace(state.head());
        Box::pin(ready(answer))
    }

    fn read(&self, stream: Stream, after: Version, limit: u32) -> BoxFuture<'_, Result<Vec<Record>, ReadError>> {
        Box::pin(ready(Ok(self.state().read(stream, after, limit))))
    }

    fn version(&self, stream: Stream) -> BoxFuture<'_, Result<Version, ReadError>> {
        Box::pin(ready(Ok(self.state().version(stream))))
    }

    fn follow(&self, cursor: Sequence, limit: u32) -> BoxFuture<'_, Result<Vec<Record>, ReadError>> {
        let mut head = self.head.subscribe();
        Box::pin(async move {
            // The sender lives in `self`, so waiting cannot end in its loss.
            let _ = head.wait_for(|head| *head > cursor).await;
            let from = usize::try_from(cursor).unwrap_or(usize::MAX);
            Ok(page(self.state().records.get(from..).unwrap_or_default().iter(), limit))
        })
    }

    fn find(&self, id: Digest) -> BoxFuture<'_, Result<Option<Position>, ReadError>> {
        Box::pin(ready(Ok(self.state().ids.get(&id).copied())))
    }

    fn keep(&self, bytes: Bytes) -> BoxFuture<'static, Result<Digest, AppendError>> {
        let address = body_address(&bytes);
        let kept = self.append(Change { fence: None, writes: Vec::new(), bodies: vec![bytes] });
        Box::pin(async move { kept.await.map(|_| address) })
    }

    fn fetch(&self, address: Digest) -> BoxFuture<'_, Result<Option<Bytes>, ReadError>> {
        Box::pin(ready(Ok(self.state().bodies.get(&address).cloned())))
    }

    fn bodies(&self, after: Option<Digest>, limit: u32) -> BoxFuture<'_, Result<Vec<Digest>, ReadError>> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let state = self.state();
        let bodies = state.bodies.range((from, Bound::Unbounded)).take(limit.min(BODIES_PAGE_MAX) as usize);
        Box::pin(ready(Ok(bodies.map(|(address, _)| *address).collect())))
    }

    fn discard(&self, addresses: Vec<Digest>) -> BoxFuture<'static, Result<(), AppendError>> {
        Box::pin(ready(self.state().discard(&addresses)))
    }

    fn set(&self, name: Digest, expected: Option<Bytes>, value: Option<Bytes>) -> BoxFuture<'static, Result<Slot, AppendError>> {
        Box::pin(ready(self.state().set(name, expected.as_ref(), value)))
    }

    fn slot(&self, name: Digest) -> BoxFuture<'_, Result<Option<Bytes>, ReadError>> {
        Box::pin(ready(Ok(self.state().slots.get(&name).cloned())))
    }

    fn slots(&self, after: Option<Digest>, limit: u32) -> BoxFuture<'_, Result<Vec<(Digest, Bytes)>, ReadError>> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let state = self.state();
        let slots = state.slots.range((from, Bound::Unbounded)).take(limit.min(SLOTS_PAGE_MAX) as usize);
        Box::pin(ready(Ok(slots.map(|(name, value)| (*name, value.clone())).collect())))
    }

    fn health(&self) -> Health {
        let state = self.state();
        Health {
            backend: "memory",
            head: state.head(),
            bytes: state.bytes,
            free_bytes: None,
            unavailable: state.refusing.clone(),
        }
    }

    fn is_shared(&self) -> bool {
        self.shared
    }
}

// === impl State ===

impl State {
    fn head(&self) -> Sequence {
        self.records.len() as Sequence
    }

    fn version(&self, stream: Stream) -> Version {
        self.streams.get(&stream).map_or(0, |records| records.len() as Version)
    }

    fn read(&self, stream: Stream, after: Version, limit: u32) -> Vec<Record> {
        let from = usize::try_from(after).unwrap_or(usize::MAX);
        let records = self.streams.get(&stream).and_then(|records| records.get(from..)).unwrap_or_default();
        page(records.iter().filter_map(|index| self.records.get(*index)), limit)
    }

    fn append(&mut self, change: Change) -> Result<Appended, AppendError> {
        change.shape(CHANGE_BYTES_MAX)?;
        if let Some(reason) = &self.refusing {
            return Err(AppendError::Unavailable(reason.clone()));
        }
        self.admit(&change)?;
        for body in change.bodies {
            let weight = body.len() as u64;
            if self.bodies.insert(body_address(&body), body).is_none() {
                self.bytes += weight;
            }
        }
        let positions = change.writes.into_iter().map(|write| self.push(write)).collect();
        Ok(Appended { positions })
    }

    fn admit(&self, change: &Change) -> Result<(), AppendError> {
        if let Some(position) = change.writes.iter().find_map(|write| self.ids.get(&write.id)) {
            return Err(AppendError::Duplicate(*position));
        }
        let now = Epochs { global: self.version(Stream::global()) };
        if change.fence.is_some_and(|fence| fence != now) {
            return Err(AppendError::Fenced { now });
        }
        let mut ahead: HashMap<Stream, Version> = HashMap::new();
        for write in &change.writes {
            let now = self.version(write.stream);
            let ahead = ahead.entry(write.stream).or_default();
            match write.expected {
                Expected::Exactly(version) if version != now + *ahead => {
                    let missing = self.read(write.stream, version, CONFLICT_RECORDS_MAX);
                    return Err(AppendError::Conflict { stream: write.stream, now, missing });
                }
                Expected::Exactly(_) | Expected::Any => *ahead += 1,
            }
        }
        Ok(())
    }

    fn set(&mut self, name: Digest, expected: Option<&Bytes>, value: Option<Bytes>) -> Result<Slot, AppendError> {
        if value.as_ref().is_some_and(|value| value.len() > SLOT_BYTES_MAX) {
            return Err(AppendError::TooLarge { limit: SLOT_BYTES_MAX });
        }
        if let Some(reason) = &self.refusing {
            return Err(AppendError::Unavailable(reason.clone()));
        }
        let held = self.slots.get(&name);
        if held != expected {
            return Ok(Slot::Held(held.cloned()));
        }
        match value {
            Some(value) => self.slots.insert(name, value),
            None => self.slots.remove(&name),
        };
        Ok(Slot::Set)
    }

    fn discard(&mut self, addresses: &[Digest]) -> Result<(), AppendError> {
        if let Some(reason) = &self.refusing {
            return Err(AppendError::Unavailable(reason.clone()));
        }
        for body in addresses.iter().filter_map(|address| self.bodies.remove(address)) {
            self.bytes -= body.len() as u64;
        }
        Ok(())
    }

    fn push(&mut self, write: super::Write) -> Position {
        let stream = self.streams.entry(write.stream).or_default();
        let position = Position { sequence: self.records.len() as Sequence + 1, version: stream.len() as Version + 1 };
        stream.push(self.records.len());
        self.bytes += write.record.len() as u64;
        self.ids.insert(write.id, position);
        self.records.push(Record {
            sequence: position.sequence,
            stream: write.stream,
            version: position.version,
            id: write.id,
            bytes: write.record,
        });
        position
    }
}

/// The first of `records` that fit into one answer.
fn page<'a>(records: impl Iterator<Item = &'a Record>, limit: u32) -> Vec<Record> {
    let mut bytes = 0;
    let mut page = Vec::new();
    for record in records.take(limit as usize) {
        bytes += record.bytes.len();
        if bytes > PAGE_BYTES_MAX && !page.is_empty() {
            break;
        }
        page.push(record.clone());
    }
    page
}
