//! What became of calls, until the control plane has it: in batches, bounded, sent again over the next stream.
//!
//! It refuses to grow: an entry for which there is no room is not taken, and the caller counts it. Calls that went on unasked
//! have a lane of their own, so that however many they are, they crowd out nothing of a call that was decided.

pub(super) mod observations;

use super::StreamId;
use crate::clock::Moment;
use agentgate_proto::v1;
use observations::Observations;
use prost::Message as _;
use std::collections::VecDeque;

/// Entries that wait or fly.
pub(super) const ENTRIES_MAX: usize = 8_192;
/// Their bytes: entries of refused calls carry bodies.
pub(super) const BYTES_MAX: usize = 16 * 1_024 * 1_024;
/// A flood of refused calls must leave room for what became of released ones.
pub(super) const ENTRIES_OF_REFUSED_MAX: usize = ENTRIES_MAX / 2;
pub(super) const BYTES_OF_REFUSED_MAX: usize = BYTES_MAX / 2;
/// A batch that is sent without waiting for the tick.
pub(super) const BATCH_ENTRIES_MAX: usize = 128;
/// Below the 4 MiB that gRPC servers take by default, with one more entry of the largest body.
pub(super) const BATCH_BYTES_MAX: usize = 1_024 * 1_024;

#[derive(Debug, Default)]
pub(super) struct Reports {
    waiting: VecDeque<v1::Entry>,
    /// Sent, and not yet acknowledged.
    flying: VecDeque<(StreamId, v1::Entry)>,
    bytes: usize,
    observations: Observations,
}

/// The next entries to be sent together.
#[derive(Debug, Default)]
struct Batch {
    entries: Vec<v1::Entry>,
    bytes: usize,
}

// === impl Reports ===

impl Reports {
    /// Whether there was room.
    #[must_use]
    pub(super) fn push(&mut self, entry: v1::Entry) -> bool {
        let bytes = self.bytes.saturating_add(entry.encoded_len());
        let entries = self.waiting.len().saturating_add(self.flying.len());
        let refused = matches!(entry.what, Some(v1::entry::What::Refused(_)));
        let (entries_max, bytes_max) =
            if refused { (ENTRIES_OF_REFUSED_MAX, BYTES_OF_REFUSED_MAX) } else { (ENTRIES_MAX, BYTES_MAX) };
        if entries >= entries_max || bytes > bytes_max {
            return false;
        }
        self.bytes = bytes;
        self.waiting.push_back(entry);
        true
    }

    /// The copy of a call that went on unasked; whether there was room.
    #[must_use]
    pub(super) fn observe(&mut self, entry: v1::Entry) -> bool {
        self.observations.take(entry)
    }

    /// The outcome of such a call; whether there was room. What became of a call whose copy was lost is nobody's.
    #[must_use]
    pub(super) fn follow(&mut self, outcome: v1::Entry) -> bool {
        self.observations.follow(outcome)
    }

    /// A call went on of which there is no copy.
    pub(super) fn unobserved(&mut self) {
        self.observations.lose();
    }

    pub(super) fn is_batch(&self) -> bool {
        self.waiting.len() >= BATCH_ENTRIES_MAX || self.observations.is_batch()
    }

    /// The next entries to be sent on `stream`: first what became of calls that were decided.
    pub(super) fn batch(&mut self, stream: StreamId, now: Moment) -> Option<v1::Report> {
        let mut batch = Batch::default();
        while batch.has_room() {
            let Some(entry) = self.waiting.pop_front() else { break };
            batch.add(&entry);
            self.flying.push_back((stream, entry));
        }
        self.observations.batch(stream, now, &mut batch);
        let lost = self.observations.lost();
        if batch.entries.is_empty() && self.observations.told(stream) {
            return None;
        }
        self.observations.tell(stream);
        Some(v1::Report { entries: batch.entries, observations_lost: lost })
    }

    pub(super) fn acknowledged(&mut self, counters: &[u64]) {
        let bytes = &mut self.bytes;
        self.flying.retain(|(_, entry)| {
            let keep = !counters.contains(&entry.counter);
            if !keep {
                *bytes = bytes.saturating_sub(entry.encoded_len());
            }
            keep
        });
        self.observations.acknowledged(counters);
    }

    pub(super) fn flies_on(&self, stream: StreamId) -> bool {
        self.flying.iter().any(|(on, _)| *on == stream) || self.observations.flies_on(stream)
    }

    /// What was sent on `stream` and never acknowledged is sent again, before all else.
    pub(super) fn take_back(&mut self, stream: StreamId) {
        let (back, kept) = std::mem::take(&mut self.flying).into_iter().partition(|(on, _)| *on == stream);
        self.flying = kept;
        let back: VecDeque<(StreamId, v1::Entry)> = back;
        for (_, entry) in back.into_iter().rev() {
            self.waiting.push_front(entry);
        }
        self.observations.take_back(|flight| flight.stream == stream);
    }

    /// A copy that could not be decided is not acknowledged, and is sent again after a while.
    pub(super) fn send_late_ones_again(&mut self, now: Moment) {
        self.observations.take_back(|flight| flight.is_late(now));
    }
}

// === impl Batch ===

impl Batch {
    fn has_room(&self) -> bool {
        self.entries.len() < BATCH_ENTRIES_MAX && self.bytes < BATCH_BYTES_MAX
    }

    fn add(&mut self, entry: &v1::Entry) {
        self.bytes = self.bytes.saturating_add(entry.encoded_len());
        self.entries.push(entry.clone());
    }
}
