//! What waits for the writer: changes, bodies to forget and slots to set, in the order in which they were asked for.
//! It refuses what does not fit, at once.

use crate::journal::{AppendError, Appended, Change, FRAME_BYTES, Slot};
use agentgate_core::digest::Digest;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

/// Works that may wait for the writer. A turn takes some milliseconds: more would be waiting, not working.
const WAITING_MAX: usize = 8_192;

/// What they may weigh together.
const WAITING_BYTES_MAX: usize = 32 << 20;

pub(super) type Answer<T> = oneshot::Sender<Result<T, AppendError>>;

/// One thing to be done under the head's lock.
#[derive(Debug)]
pub(super) enum Work {
    /// With the addresses of its bodies, in order.
    Change(Change, Vec<Digest>, Answer<Appended>),
    Discard(Vec<Digest>, Answer<()>),
    Set(Set, Answer<Slot>),
}

#[derive(Debug)]
pub(super) struct Set {
    pub name: Digest,
    pub expected: Option<Bytes>,
    pub value: Option<Bytes>,
}

/// The end that callers hold.
#[derive(Debug)]
pub(super) struct Queue {
    works: Option<mpsc::Sender<Work>>,
    weight: Arc<AtomicUsize>,
}

/// The end that the writer holds.
#[derive(Debug)]
pub(super) struct Waiting {
    works: mpsc::Receiver<Work>,
    weight: Arc<AtomicUsize>,
}

pub(super) fn queue() -> (Queue, Waiting) {
    let (to, from) = mpsc::channel(WAITING_MAX);
    let weight = Arc::new(AtomicUsize::new(0));
    (Queue { works: Some(to), weight: Arc::clone(&weight) }, Waiting { works: from, weight })
}

// === impl Work ===

impl Work {
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Change(change, ..) => change.weight(),
            Self::Discard(addresses, _) => addresses.len().saturating_mul(FRAME_BYTES),
            Self::Set(set, _) => FRAME_BYTES.saturating_add(set.value.as_ref().map_or(0, Bytes::len)),
        }
    }

    /// Whoever asked may have gone away.
    pub(super) fn refuse(self, error: AppendError) {
        match self {
            Self::Change(_, _, answer) => drop(answer.send(Err(error))),
            Self::Discard(_, answer) => drop(answer.send(Err(error))),
            Self::Set(_, answer) => drop(answer.send(Err(error))),
        }
    }
}

// === impl Queue ===

impl Queue {
    /// It is under way when this returns, or its answer has been given.
    pub(super) fn push(&self, work: Work) {
        let weight = work.weight();
        let waiting = self.weight.fetch_add(weight, Ordering::Relaxed);
        let sent = match &self.works {
            // One is taken whatever it weighs.
            Some(works) if waiting == 0 || waiting.saturating_add(weight) <= WAITING_BYTES_MAX => works.try_send(work),
            Some(_) => Err(TrySendError::Full(work)),
            None => Err(TrySendError::Closed(work)),
        };
        let (work, reason) = match sent {
            Ok(()) => return,
            Err(TrySendError::Full(work)) => (work, "overloaded"),
            Err(TrySendError::Closed(work)) => (work, "its writer has ended"),
        };
        self.weight.fetch_sub(weight, Ordering::Relaxed);
        work.refuse(AppendError::Unavailable(reason.to_owned()));
    }

    /// Nothing comes any more; what waits is still done.
    pub(super) fn close(&mut self) {
        self.works = None;
    }
}

// === impl Waiting ===

impl Waiting {
    /// The next; none when nobody can come any more.
    pub(super) async fn next(&mut self) -> Option<Work> {
        let work = self.works.recv().await?;
        self.weight.fetch_sub(work.weight(), Ordering::Relaxed);
        Some(work)
    }

    /// The next that waits already.
    pub(super) fn ready(&mut self) -> Option<Work> {
        let work = self.works.try_recv().ok()?;
        self.weight.fetch_sub(work.weight(), Ordering::Relaxed);
        Some(work)
    }

    pub(super) fn len(&self) -> usize {
        self.works.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.weight.load(Ordering::Relaxed)
    }
}
