//! What all parts of one journal know of the store: its head, the newest record that was seen, whether a write is in doubt,
//! and why nothing can be written. It refuses to forget a fork.

use crate::journal::{Record, Sequence};
use agentgate_core::digest::Digest;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

#[derive(Debug)]
pub(super) struct Standing {
    head: watch::Sender<Sequence>,
    pub(super) bytes: AtomicU64,
    state: Mutex<State>,
}

/// What it means, and what is to be done: nobody but a person can know which of two stores is the one.
const ON_A_FORK: &str = "; what was answered in between is promised and not in this store: bring back the store that has it, or \
                         take this one, which loses it; then start every control plane again";

/// The newest record that was acknowledged or read here. A store that does not hold it is another store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub sequence: Sequence,
    pub id: Digest,
    pub digest: Digest,
}

#[derive(Debug, Default)]
struct State {
    seen: Option<Seen>,
    closed: Option<String>,
    in_doubt: bool,
    fork: Option<String>,
}

/// The digest of a record's bytes, as it stands beside them.
pub(super) fn record_digest(bytes: &[u8]) -> Digest {
    Digest::of("agentgate/record/1", bytes)
}

// === impl Standing ===

impl Standing {
    pub(super) fn new() -> Self {
        let state = State { closed: Some("it is not connected yet".to_owned()), ..State::default() };
        Self { head: watch::Sender::new(0), bytes: AtomicU64::new(0), state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn head(&self) -> watch::Receiver<Sequence> {
        self.head.subscribe()
    }

    /// The store's head is at least this.
    pub(super) fn reached(&self, sequence: Sequence) {
        self.head.send_if_modified(|head| {
            let moved = sequence > *head;
            *head = sequence.max(*head);
            moved
        });
    }

    pub(super) fn seen(&self) -> Option<Seen> {
        self.state().seen
    }

    pub(super) fn saw(&self, seen: Seen) {
        let mut state = self.state();
        if state.seen.is_none_or(|last| last.sequence < seen.sequence) {
            state.seen = Some(seen);
        }
    }

    pub(super) fn saw_record(&self, record: &Record) {
        self.saw(Seen { sequence: record.sequence, id: record.id, digest: record_digest(&record.bytes) });
    }

    /// Nothing can be written, until it is opened again.
    pub(super) fn close(&self, why: &str) {
        self.state().closed = Some(why.to_owned());
    }

    /// A write may have happened, or may still.
    pub(super) fn doubt(&self, why: &str) {
        let mut state = self.state();
        state.in_doubt = true;
        state.closed = Some(why.to_owned());
    }

    /// Everything that was written is durable, and nothing else can come of it.
    pub(super) fn open(&self) {
        let mut state = self.state();
        (state.in_doubt, state.closed) = (false, None);
        metrics::gauge!("agentgate_journal_forked").set(if state.fork.is_some() { 1.0 } else { 0.0 });
    }

    /// For ever.
    pub(super) fn fork(&self, why: &str) {
        let mut state = self.state();
        if state.fork.is_none() {
            metrics::gauge!("agentgate_journal_forked").set(1.0);
            let why = format!("{why}{ON_A_FORK}");
            tracing::error!(why, "the journal's store is another one than before: nothing is written any more");
            state.fork = Some(why);
        }
    }

    pub(super) fn is_forked(&self) -> bool {
        self.state().fork.is_some()
    }

    pub(super) fn is_in_doubt(&self) -> bool {
        self.state().in_doubt
    }

    pub(super) fn unavailable(&self) -> Option<String> {
        let state = self.state();
        state.fork.clone().or_else(|| state.closed.clone())
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}
