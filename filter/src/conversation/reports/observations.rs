//! Calls that went on unasked: a copy of each, and then its outcome, which never overtakes its copy.
//!
//! It refuses to grow: a copy for which there is no room is lost, and counted for as long as the VM lives.

use super::{BATCH_ENTRIES_MAX, Batch, StreamId};
use crate::clock::Moment;
use agentgate_proto::v1;
use prost::Message as _;
use std::collections::{BTreeMap, VecDeque};

/// Copies and outcomes of such calls that wait or fly.
pub(in crate::conversation) const ENTRIES_OF_OBSERVED_MAX: usize = 4_096;
/// Their bytes: copies carry bodies.
pub(in crate::conversation) const BYTES_OF_OBSERVED_MAX: usize = 8 * 1_024 * 1_024;
/// Copies of calls whose answer is still on its way; event streams may stay open for hours.
pub(in crate::conversation) const OPEN_OBSERVED_MAX: usize = 16_384;
/// Sent, and not yet acknowledged. What is asked meanwhile must not stand behind all that was only observed.
pub(in crate::conversation) const FLYING_OBSERVED_MAX: usize = 512;
/// After this long without an acknowledgement an entry is sent again.
pub(in crate::conversation) const ACKNOWLEDGED_MS_MAX: u64 = 5_000;

#[derive(Debug, Default)]
pub(super) struct Observations {
    waiting: VecDeque<v1::Entry>,
    /// By the call: its outcome is sent only after its copy was acknowledged, so that one of them flies at most. Many are
    /// acknowledged one by one, and none is searched for.
    flying: BTreeMap<u64, (Flight, v1::Entry)>,
    /// Calls whose outcome is still to come, or to be sent.
    open: BTreeMap<u64, Copy>,
    /// Entries that wait, fly, or are kept until their copy was acknowledged; and their bytes.
    entries: usize,
    bytes: usize,
    lost: u64,
    told: Option<(StreamId, u64)>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Flight {
    pub(super) stream: StreamId,
    since: Moment,
}

#[derive(Debug)]
enum Copy {
    /// On its way. The outcome, once there is one, waits for it.
    Coming(Option<Box<v1::Entry>>),
    Arrived,
}

// === impl Observations ===

impl Observations {
    #[must_use]
    pub(super) fn take(&mut self, copy: v1::Entry) -> bool {
        if self.open.len() >= OPEN_OBSERVED_MAX || !self.has_room(&copy) {
            self.lose();
            return false;
        }
        self.open.insert(copy.counter, Copy::Coming(None));
        self.waiting.push_back(copy);
        true
    }

    #[must_use]
    pub(super) fn follow(&mut self, outcome: v1::Entry) -> bool {
        let counter = outcome.counter;
        let Some(copy) = self.open.remove(&counter) else { return true };
        if !self.has_room(&outcome) {
            return false;
        }
        match copy {
            Copy::Arrived => self.waiting.push_back(outcome),
            Copy::Coming(_) => {
                self.open.insert(counter, Copy::Coming(Some(Box::new(outcome))));
            }
        }
        true
    }

    pub(super) fn lose(&mut self) {
        self.lost = self.lost.saturating_add(1);
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    /// Whether whoever listens on `stream` knows how many were lost.
    pub(super) fn told(&self, stream: StreamId) -> bool {
        self.lost == 0 || self.told == Some((stream, self.lost))
    }

    pub(super) fn tell(&mut self, stream: StreamId) {
        self.told = Some((stream, self.lost));
    }

    pub(super) fn is_batch(&self) -> bool {
        self.waiting.len() >= BATCH_ENTRIES_MAX && self.flying.len() < FLYING_OBSERVED_MAX
    }

    pub(super) fn batch(&mut self, stream: StreamId, now: Moment, batch: &mut Batch) {
        while batch.has_room() && self.flying.len() < FLYING_OBSERVED_MAX {
            let Some(entry) = self.waiting.pop_front() else { break };
            batch.add(&entry);
            self.flying.insert(entry.counter, (Flight { stream, since: now }, entry));
        }
    }

    pub(super) fn acknowledged(&mut self, counters: &[u64]) {
        for counter in counters {
            let Some((_, entry)) = self.flying.remove(counter) else { continue };
            self.entries = self.entries.saturating_sub(1);
            self.bytes = self.bytes.saturating_sub(entry.encoded_len());
            if matches!(entry.what, Some(v1::entry::What::Observed(_))) {
                self.arrived(*counter);
            }
        }
    }

    pub(super) fn flies_on(&self, stream: StreamId) -> bool {
        self.flying.values().any(|(flight, _)| flight.stream == stream)
    }

    /// Those are sent again, before all else.
    pub(super) fn take_back(&mut self, which: impl Fn(&Flight) -> bool) {
        let (back, kept) = std::mem::take(&mut self.flying).into_iter().partition(|(_, (flight, _))| which(flight));
        self.flying = kept;
        let back: BTreeMap<u64, (Flight, v1::Entry)> = back;
        for (_, entry) in back.into_values().rev() {
            self.waiting.push_front(entry);
        }
    }

    fn arrived(&mut self, counter: u64) {
        match self.open.remove(&counter) {
            Some(Copy::Coming(Some(outcome))) => self.waiting.push_back(*outcome),
            Some(Copy::Coming(None) | Copy::Arrived) => {
                self.open.insert(counter, Copy::Arrived);
            }
            None => {}
        }
    }

    /// Room for `entry`, which is taken.
    fn has_room(&mut self, entry: &v1::Entry) -> bool {
        let bytes = self.bytes.saturating_add(entry.encoded_len());
        if self.entries >= ENTRIES_OF_OBSERVED_MAX || bytes > BYTES_OF_OBSERVED_MAX {
            return false;
        }
        self.entries = self.entries.saturating_add(1);
        self.bytes = bytes;
        true
    }
}

// === impl Flight ===

impl Flight {
    pub(super) fn is_late(&self, now: Moment) -> bool {
        now.ms_since(self.since) >= ACKNOWLEDGED_MS_MAX
    }
}
