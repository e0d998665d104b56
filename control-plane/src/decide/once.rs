//! Once: a call id is decided one time. Asks that arrive meanwhile join the first; later ones get its answer.
//!
//! What fell out of this memory is still decided once: the journal refuses a second record under the same id.

use super::{Decided, Undecided};
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
    settled: bool,
}

// === impl Once ===

impl Once {
    pub(super) fn new(decided_max: usize) -> Self {
        Self(Arc::new(Mutex::new(Calls { running: HashMap::new(), decided: Bounded::new(decided_max) })))
    }

    pub(super) fn begin(&self, call: Digest, request: Digest) -> Begun {
        let mut calls = lock(&self.0);
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
        Begun::First(Claim { calls: Arc::clone(&self.0), call, settled: false })
    }
}

// === impl Claim ===

impl Claim {
    /// A verdict is remembered; that there was none is not, so that the call can be asked again.
    pub(super) fn settle(mut self, answer: Answer) -> Answer {
        self.settled = true;
        let mut calls = lock(&self.calls);
        if let Some(running) = calls.running.remove(&self.call) {
            if let Ok(decided) = &answer {
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
