//! History: what the past says to whoever writes a policy. It reads the tools that were seen, decides recorded calls again,
//! and says why one call was decided as it was.
//!
//! It changes nothing, and it never works on a thread that decides calls.

mod explain;
mod facts;
mod impact;
mod learn;
pub mod rpc;
mod scan;

use crate::body::Bodies;
use crate::clock::Clock;
use crate::config::Limits;
use crate::control::Control;
use crate::identity::Heard;
use crate::policy::{InForce, Policy, PolicyError};
use crate::session::{PastError, Session, TraceError};
use crate::telemetry::Counted;
use agentgate_policies::folder;
use agentgate_proto::v1;
use scan::Telling;
use std::sync::Arc;
use thiserror::Error;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, watch};

pub use scan::Told;

/// Scans of the past at once: one core of the smallest machine always stays with the calls.
const HISTORIES_MAX: usize = 1;

/// Calls that are explained at once; more wait. Each edit of the table that is tried is a policy to be compiled.
const EXPLAINED_AT_ONCE_MAX: usize = 1;

/// A request with a candidate: a policy folder as large as it may be, and the names of its files.
pub const REQUEST_BYTES_MAX: usize = folder::BYTES_MAX + 256 * 1_024;

/// What is heard of a scan until it ends.
pub type Heeded<T> = mpsc::Receiver<Result<Told<T>, HistoryError>>;

#[derive(Debug, Error)]
pub enum HistoryError {
    #[error("the past is read for {max} already; try again when that has ended")]
    Crowded { max: usize },
    #[error("the candidate is no policy that could serve: {0}")]
    Candidate(String),
    #[error("no policy is in force; `agentgate status` says why")]
    NoPolicy,
    #[error(transparent)]
    Past(#[from] PastError),
    #[error(transparent)]
    Trace(#[from] TraceError),
    #[error(transparent)]
    Policy(#[from] PolicyError),
    #[error("this replica leaves; ask the next one")]
    Leaving,
    #[error("nobody waits for it any longer")]
    Left,
    #[error("reading the past failed; the log of this replica says more")]
    Failed,
}

#[derive(Debug)]
pub struct History {
    bodies: Arc<Bodies>,
    clock: Clock,
    limits: Limits,
    rooms: Rooms,
    scans: Arc<Semaphore>,
    explained: Arc<Semaphore>,
}

/// The rooms that know what the past does not.
#[derive(Clone, Debug)]
pub struct Rooms {
    pub heard: Arc<Heard>,
    pub control: Arc<Control>,
    pub policy: Arc<Policy>,
    pub session: Arc<Session>,
}

// === impl History ===

impl History {
    #[must_use]
    pub fn new(bodies: Arc<Bodies>, clock: Clock, limits: Limits, rooms: Rooms) -> Self {
        let (scans, explained) = (Arc::new(Semaphore::new(HISTORIES_MAX)), Arc::new(Semaphore::new(EXPLAINED_AT_ONCE_MAX)));
        Self { bodies, clock, limits, rooms, scans, explained }
    }

    /// The tools that were seen since then.
    ///
    /// # Errors
    /// When the past is read for too many already.
    pub fn learn(
        self: &Arc<Self>,
        request: v1::LearnToolsRequest,
        leaving: watch::Receiver<bool>,
    ) -> Result<Heeded<v1::LearnedTools>, HistoryError> {
        self.scan(leaving, async move |history, telling| learn::scan(history, &request, telling).await)
    }

    /// The recorded calls since then, decided again.
    ///
    /// # Errors
    /// As `learn`.
    pub fn impact(
        self: &Arc<Self>,
        request: v1::ShowImpactRequest,
        leaving: watch::Receiver<bool>,
    ) -> Result<Heeded<v1::Impact>, HistoryError> {
        self.scan(leaving, async move |history, telling| impact::scan(history, request, telling).await)
    }

    /// One call: why it was decided as it was.
    ///
    /// # Errors
    /// When there is no such call, or the journal cannot be read.
    pub async fn explain(self: &Arc<Self>, id: &str) -> Result<v1::ExplainCallResponse, HistoryError> {
        let turn = Arc::clone(&self.explained).acquire_owned().await.map_err(|_| HistoryError::Leaving)?;
        let turn = (turn, counted("explain"));
        let shown = self.rooms.session.show(id).await?;
        let (history, runtime) = (Arc::clone(self), Handle::current());
        let work = move || {
            // It works to its end though its rpc is cancelled, and so long it is nobody else's turn.
            let _turn = turn;
            runtime.block_on(explain::explain(&history, shown))
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| HistoryError::Failed)?
    }

    /// On a thread of its own, since it may take minutes.
    fn scan<T: Send + 'static>(
        self: &Arc<Self>,
        leaving: watch::Receiver<bool>,
        work: impl AsyncFnOnce(&Self, &mut Telling<T>) -> Result<T, HistoryError> + Send + 'static,
    ) -> Result<Heeded<T>, HistoryError> {
        let crowded = |_| HistoryError::Crowded { max: HISTORIES_MAX };
        let place = (Arc::clone(&self.scans).try_acquire_owned().map_err(crowded)?, counted("scan"));
        // From hand to hand.
        let (said, heeded) = mpsc::channel(1);
        let (history, runtime, ending) = (Arc::clone(self), Handle::current(), said.clone());
        let mut telling = Telling::new(said, leaving, self.clock.clone());
        let scanning = tokio::task::spawn_blocking(move || {
            let came = runtime.block_on(work(&history, &mut telling));
            // The next one may begin, however long this answer takes on its way.
            drop(place);
            came
        });
        tokio::spawn(async move {
            let came = scanning.await.unwrap_or(Err(HistoryError::Failed));
            // Whoever left has nobody to tell.
            let _ = ending.send(came.map(Told::Done)).await;
        });
        Ok(heeded)
    }

    /// The policy that decides now.
    fn in_force(&self) -> Option<Arc<InForce>> {
        self.rooms.policy.in_force(&self.rooms.control.now())
    }

    /// Calls that went on unasked and of which nothing is known, as far as their filters said.
    fn observations_lost(&self) -> u64 {
        self.rooms.heard.all().iter().map(|vm| vm.observations_lost()).fold(0, u64::saturating_add)
    }
}

fn counted(kind: &'static str) -> Counted {
    Counted::by(metrics::gauge!("agentgate_histories", "kind" => kind))
}

#[cfg(test)]
mod tests;
