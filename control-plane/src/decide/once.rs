//! Once: a call id is decided one time. Asks that arrive meanwhile join the first; later ones get its answer.
//!
//! What fell out of this memory is still decided once: the journal refuses a second record under the same id. So all of it goes
//! with every purge: an answer has words of its call, and is under no key.

use super::{Decided, Undecided};
use crate::body::Erasures;
use crate::bounded::Bounded;
use crate::telemetry::{Counted, number};
use agentgate_core::digest::Digest;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

type Answer = Result<Decided, Undecided>;

/// Asks that may wait for one and the same call. A filter repeats an ask once in a while, never by the hundred.
const JOINED_MAX: usize = 16;

#[derive(Debug)]
pub(super) struct Once(Arc<Mutex<Calls>>);

#[derive(Debug)]
struct Calls {
    running: HashMap<Digest, Running>,
    decided: Bounded<Digest, (Digest, Decided)>,
    decided_max: usize,
    /// What was decided was answered after these.
    since: Option<Erasures>,
}

#[derive(Debug)]
struct Running {
    request: Digest,
    joined: Vec<(oneshot::Sender<Answer>, Counted)>,
}

/// How an ask begins.
#[derive(Debug)]
pub(super) enum Begun {
    First(Claim),
    Joined(oneshot::Receiver<Answer>),
    Known(Decided),
    Reused,
}

/// The duty to settle a call. Dropped without an answer, those who joined learn that there is none.
#[derive(Debug)]
pub(super) struct Claim {
    calls: Arc<Mutex<Calls>>,
    call: Digest,
    since: Erasures,
    settled: bool,
}

// === impl Once ===

impl Once {
    pub(super) fn new(decided_max: usize) -> Self {
        let decided = Bounded::new(decided_max);
        Self(Arc::new(Mutex::new(Calls { running: HashMap::new(), decided, decided_max, since: None })))
    }

    /// What was answered before the newest of the erasures, which are `now`, is known no longer.
    pub(super) fn forget(&self, now: Erasures) {
        lock(&self.0).forget(now);
    }

    pub(super) fn begin(&self, call: Digest, request: Digest, now: Erasures) -> Begun {
        let mut calls = lock(&self.0);
        calls.forget(now);
        if let Some((first, answer)) = calls.decided.get(&call) {
            return if *first == request { Begun::Known(answer.clone()) } else { Begun::Reused };
        }
        if let Some(running) = calls.running.get_mut(&call) {
            if running.request != request || running.joined.len() >= JOINED_MAX {
                return Begun::Reused;
            }
            let (sender, receiver) = oneshot::channel();
            running.joined.push((sender, Counted::by(metrics::gauge!("agentgate_calls_joined"))));
            return Begun::Joined(receiver);
        }
        calls.running.insert(call, Running { request, joined: Vec::new() });
        Begun::First(Claim { calls: Arc::clone(&self.0), call, since: now, settled: false })
    }
}

// === impl Calls ===

impl Calls {
    fn forget(&mut self, now: Erasures) {
        if self.since != Some(now) {
            (self.since, self.decided) = (Some(now), Bounded::new(self.decided_max));
            metrics::gauge!("agentgate_recent_calls").set(0.0);
        }
    }
}

// === impl Claim ===

impl Claim {
    /// A verdict is remembered; that there was none is not, so that the call can be asked again.
    pub(super) fn settle(mut self, answer: Answer) -> Answer {
        self.settled = true;
        let mut calls = lock(&self.calls);
        if let Some(running) = calls.running.remove(&self.call) {
            // What was purged meanwhile may be this.
            if let Ok(decided) = &answer
                && calls.since == Some(self.since)
            {
                calls.decided.put(self.call, (running.request, decided.clone()));
                metrics::gauge!("agentgate_recent_calls").set(number(calls.decided.len()));
            }
            for (joined, _) in running.joined {
                // Whoever left meanwhile has nobody to tell.
                let _ = joined.send(answer.clone());
            }
        }
        drop(calls);
        answer
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.settled {
            lock(&self.calls).running.remove(&self.call);
        }
    }
}

fn lock(calls: &Mutex<Calls>) -> MutexGuard<'_, Calls> {
    calls.lock().unwrap_or_else(PoisonError::into_inner)
}
