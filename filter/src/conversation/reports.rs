//! What became of calls, until the control plane has it: in batches, bounded, sent again over the next stream.
//!
//! It refuses to grow: an entry for which there is no room is not taken, and the caller counts it.

use super::StreamId;
use agentgate_proto::v1;
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

    pub(super) fn is_batch(&self) -> bool {
        self.waiting.len() >= BATCH_ENTRIES_MAX
    }

    /// The next entries to be sent on `stream`.
    pub(super) fn batch(&mut self, stream: StreamId) -> Option<v1::Report> {
        let (mut entries, mut bytes) = (Vec::new(), 0_usize);
        while entries.len() < BATCH_ENTRIES_MAX && bytes < BATCH_BYTES_MAX {
            let Some(entry) = self.waiting.pop_front() else { break };
            bytes = bytes.saturating_add(entry.encoded_len());
            entries.push(entry.clone());
            self.flying.push_back((stream, entry));
        }
        (!entries.is_empty()).then_some(v1::Report { entries, observations_lost: 0 })
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
    }

    pub(super) fn flies_on(&self, stream: StreamId) -> bool {
        self.flying.iter().any(|(on, _)| *on == stream)
    }

    /// What was sent on `stream` and never acknowledged is sent again, before all else.
    pub(super) fn take_back(&mut self, stream: StreamId) {
        let (back, kept) = std::mem::take(&mut self.flying).into_iter().partition(|(on, _)| *on == stream);
        self.flying = kept;
        let back: VecDeque<(StreamId, v1::Entry)> = back;
        for (_, entry) in back.into_iter().rev() {
            self.waiting.push_front(entry);
        }
    }
}
