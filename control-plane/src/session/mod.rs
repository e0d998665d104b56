//! Sessions: who did what, in order. It keeps each subject's place in the journal, the calls whose outcome is still open,
//! and the traces that operators read.
//!
//! It judges nothing, and it never holds more than its named bounds: what is older is read from the journal.

mod build;
mod columns;
mod filter;
mod heard;
mod line;
mod past;
mod query;
pub mod rpc;
mod snapshot;
mod tail;
mod trace;
mod turn;
mod view;

use crate::body::{Bodies, Erasures, KeyError, SessionId};
use crate::clock::{Clock, Moments};
use crate::config::Limits;
use crate::identity::Subject;
use crate::journal::{Sequence, Stream, Version};
use agentgate_core::digest::Digest;
use agentgate_core::id::{Asker, CallId};
use agentgate_core::time::Time;
use agentgate_proto::v1;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub(crate) use line::beginning;
pub use past::{Found, PastError};
pub(crate) use past::{SLACK_US, body_of, parse};
pub use query::Looked;
pub use tail::Tail;
pub use trace::TraceError;
pub use turn::{Also, Draft, Setback, Standstill, Turn};
pub use view::OpenCall;

/// Everything that is known of calls.
#[derive(Debug)]
pub struct Session {
    bodies: Arc<Bodies>,
    clock: Clock,
    limits: Limits,
    askers: Vec<Asker>,
    moments: Moments,
    subjects: Mutex<turn::Subjects>,
    view: Mutex<view::View>,
    index: Mutex<columns::Index>,
    /// Held where the index changes by what was read a while ago, and where it forgets. In it is what of a snapshot is still to come.
    changing: tokio::sync::Mutex<Option<snapshot::Snapshot>>,
    tailing: Arc<tokio::sync::Semaphore>,
}

/// A decision as it was recorded.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub sequence: Sequence,
    pub at: Time,
    pub stream: Stream,
    pub call: CallId,
    pub record: v1::DecisionRecord,
    pub body: v1::DecisionBody,
}

/// What became of a call, as it was recorded.
#[derive(Clone, Debug)]
pub struct Ended {
    pub call: Digest,
    pub decision: Sequence,
    pub kind: v1::OutcomeKind,
    pub duration_us: u64,
}

/// The two ways in which an outcome gets known; each is recorded at most once for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Reported,
    /// Set by the control plane when nobody reported in time.
    Unknown,
}

// === impl Session ===

impl Session {
    /// Reads what the journal knows of the recent past: the newest `at`, the newest traces, and the allowed calls that have
    /// no outcome yet. Older calls than the outcome deadline before the journal's last record were closed by whoever wrote it.
    ///
    /// # Errors
    /// When the journal cannot be read, or holds a record of a kind that this version does not know.
    pub async fn open(bodies: Arc<Bodies>, clock: Clock, limits: Limits, askers: Vec<Asker>) -> Result<Self, PastError> {
        let recent = past::recent(&bodies, &limits, clock.elapsed()).await?;
        let moments = Moments::after(clock.clone(), recent.last_at);
        if recent.last_at.micros_since(clock.now()) > 1_000_000 {
            tracing::warn!(journal = %recent.last_at, clock = %clock.now(), "the clock is behind the journal; records keep the journal's time until it has caught up");
        }
        let mut index = columns::Index::new(limits.indexed_traces_max as usize, recent.floor, recent.ended);
        let namer = columns::Namer(&bodies);
        recent.decisions.iter().chain(&recent.floods).for_each(|trace| index.add(namer.row(trace)));
        let mut view = view::View::new(&limits, clock.clone(), recent.floor, recent.head);
        if bodies.journal().is_shared() {
            // From the first turn on: somebody may be served before anybody hears the others.
            view.follow();
        }
        recent.open.into_iter().for_each(|open| view.wait_for(open));
        recent.decisions.into_iter().chain(recent.floods).for_each(|trace| view.recover(trace));
        tracing::info!(head = bodies.journal().health().head, open_calls = view.open_calls(), "the journal was read");
        Ok(Self {
            subjects: Mutex::new(turn::Subjects::new(limits.subjects_max as usize)),
            index: Mutex::new(index),
            changing: tokio::sync::Mutex::default(),
            tailing: Arc::new(tokio::sync::Semaphore::new(limits.tails_max as usize)),
            view: Mutex::new(view),
            bodies,
            clock,
            limits,
            askers,
            moments,
        })
    }

    /// The `at` of the next record.
    #[must_use]
    pub fn moment(&self) -> Time {
        self.moments.next()
    }

    /// Waits until it is this subject's turn: its calls are folded one after the other, each on the last one.
    ///
    /// # Errors
    /// When the subject's place in the journal cannot be read.
    pub async fn turn(&self, subject: &Subject) -> Result<Turn, KeyError> {
        self.turn_of(self.bodies.stream(&subject.tenant, &subject.principal).await?).await
    }

    /// Whether this is a turn of the subject still: its stream may have been purged since. Asked after the epochs were read that
    /// it appends under: whoever purges it later fences it off.
    ///
    /// # Errors
    /// As `turn`.
    pub async fn is_turn_of(&self, turn: &Turn, subject: &Subject) -> Result<bool, KeyError> {
        Ok(self.bodies.stream(&subject.tenant, &subject.principal).await? == turn.stream())
    }

    /// # Errors
    /// As `turn`.
    pub async fn turn_of(&self, stream: Stream) -> Result<Turn, KeyError> {
        let line = self.subjects.lock().unwrap_or_else(PoisonError::into_inner).line(stream);
        Ok(Turn::wait(line, stream, self.bodies.journal(), self.follows().then_some(&self.moments)).await?)
    }

    /// A decision is durable. `since` is from before it was written.
    pub fn decided(&self, recorded: &Recorded, since: Erasures) {
        let (mut trace, body) = (line::of(recorded), recorded.record.body.as_ref());
        self.remember(&mut trace, body, since);
        let mut view = self.view();
        self.erase_if_purged(&mut trace, body, since);
        if view.is_new(recorded.sequence) {
            view.decided(recorded, trace);
        } else {
            view.decided_here(recorded);
        }
    }

    /// The record of a flood is durable. `since` is from before it was written.
    pub fn flooded(&self, (sequence, at): (Sequence, Time), flood: &v1::FloodRecord, names: &v1::FloodBody, since: Erasures) {
        let mut trace = line::flood(sequence, at, flood, names);
        self.remember(&mut trace, flood.body.as_ref(), since);
        let mut view = self.view();
        self.erase_if_purged(&mut trace, flood.body.as_ref(), since);
        if view.is_new(sequence) {
            view.flooded(trace);
        }
    }

    /// The record of a flood was durable before anybody here knew: it is read as it is.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn flooded_before(&self, sequence: Sequence) -> Result<(), PastError> {
        let since = self.bodies.erasures();
        for record in past::range(&self.bodies, sequence, sequence.saturating_add(1)).await? {
            if let (at, v1::record::What::Flood(flood)) = parse(&record)? {
                let names = past::named(&self.bodies, sequence, &flood).await?;
                self.flooded((sequence, at), &flood, &names, since);
            }
        }
        Ok(())
    }

    /// An outcome is durable.
    pub fn ended(&self, ended: &Ended) {
        self.index().ended(ended);
        self.view().ended(ended);
    }

    /// The keys of sessions are to be erased: nothing here knows their names any longer.
    pub async fn forget(&self, sessions: &[SessionId]) {
        let mut changing = self.changing.lock().await;
        let texts: HashSet<String> = sessions.iter().map(SessionId::to_string).collect();
        self.view().forget(&texts);
        let names = self.names_of(sessions);
        self.index().forget(&names);
        if let Some(snapshot) = changing.as_mut() {
            columns::forget(&mut snapshot.rows, &names);
        }
    }

    /// What rows have of these sessions.
    fn names_of(&self, sessions: &[SessionId]) -> HashSet<u32> {
        let namer = columns::Namer(&self.bodies);
        sessions.iter().map(|session| namer.name(columns::Name::Session, &session.to_string())).collect()
    }

    /// And no file of ours does: those that there are open no more.
    ///
    /// # Errors
    /// When the key of snapshots cannot be erased; they can then still be read.
    pub async fn forget_snapshots(&self) -> Result<(), KeyError> {
        let _changing = self.changing.lock().await;
        self.bodies.forget_derived_key().await
    }

    /// The allowed call that still waits for its outcome.
    #[must_use]
    pub fn open_call(&self, call: &Digest) -> Option<OpenCall> {
        self.view().open_call(call).cloned()
    }

    /// Open calls to close as unknown now: late, of a VM that fell silent, or too many.
    pub fn overdue(&self, silent: impl Fn(&OpenCall) -> bool) -> Vec<OpenCall> {
        self.view().overdue(silent)
    }

    /// The decision of a call, from the journal.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn find(&self, call: &Digest) -> Result<Option<Found>, PastError> {
        match self.bodies.journal().find(*call).await.map_err(PastError::Read)? {
            Some(position) => past::decision(&self.bodies, position.sequence).await,
            None => Ok(None),
        }
    }

    /// What a call's asker reported of it, whenever and to whomever that was.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn reported(&self, call: &Digest) -> Result<Option<Ended>, PastError> {
        let position = self.bodies.journal().find(outcome_id(call, Source::Reported)).await.map_err(PastError::Read)?;
        match position {
            Some(position) => past::ended(&self.bodies, position.sequence).await,
            None => Ok(None),
        }
    }

    #[must_use]
    pub fn outcome_deadline(&self) -> Duration {
        self.limits.outcome_deadline()
    }

    /// It may have been purged between `since` and now, wholly: whoever asks holds the lock of where the line goes.
    fn erase_if_purged(&self, trace: &mut v1::CallTrace, body: Option<&v1::BodyRef>, since: Erasures) -> bool {
        let is_purged = body.and_then(SessionId::of).is_some_and(|session| !self.bodies.may_be_known(session, since));
        if is_purged {
            line::erase(trace);
        }
        is_purged
    }

    fn remember(&self, trace: &mut v1::CallTrace, body: Option<&v1::BodyRef>, since: Erasures) {
        let namer = columns::Namer(&self.bodies);
        let mut row = namer.row(trace);
        let mut index = self.index();
        if self.erase_if_purged(trace, body, since) {
            row = namer.row(trace);
        }
        index.add(row);
    }

    fn index(&self) -> MutexGuard<'_, columns::Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn view(&self) -> MutexGuard<'_, view::View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The id under which the journal knows an outcome: beside its decision's, which ends in zero.
#[must_use]
pub fn outcome_id(call: &Digest, source: Source) -> Digest {
    call.beside(match source {
        Source::Reported => 1,
        Source::Unknown => 2,
    })
}

/// A version that a stream is at.
pub(super) type At = Option<Version>;

#[cfg(test)]
mod tests;
