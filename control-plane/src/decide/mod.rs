//! Decide: may this call happen? One page from the question to the durable answer, and nothing that lets a call through on
//! any other way.
//!
//! It refuses to answer before the record is durable, and to answer one call id twice differently.

mod admission;
mod answer;
mod asks;
pub mod authz;
mod flood;
mod hearing;
mod heavy;
mod listing;
mod once;
mod reading;
mod record;
mod report;
mod routes;
pub mod rpc;
mod sweep;

use crate::approval::Approvals;
use crate::body::Bodies;
use crate::clock::Clock;
use crate::config::{Filter, Limits};
use crate::control::Control;
use crate::identity::{self, Heard, Served};
use crate::policy::Policy;
use crate::rarely::Rarely;
use crate::session::{Session, Setback};
use agentgate_core::digest::Digest;
use agentgate_core::id::{CallId, Server};
use agentgate_core::mcp::Malformed;
use agentgate_proto::v1;
use hearing::{Hearing, Treatment};
use heavy::Heavy;
use once::{Begun, Once};
use routes::Routes;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use thiserror::Error;

pub use admission::Admission;
pub use flood::Flood;
pub(crate) use hearing::consult;
pub(crate) use reading::read_refused;
pub use report::Reporter;

/// How often one call is folded again because its subject or the policy moved.
pub const ATTEMPTS_MAX: u32 = 8;

/// One call and whoever asks for it.
#[derive(Clone, Debug)]
pub struct Question {
    filter: Arc<Filter>,
    call: CallId,
    ask: v1::Ask,
    /// Of `ask`. Computed by the first who needs it, so that a stream reads on while a large body is hashed.
    request: OnceLock<Digest>,
    /// Monotonic: until when the asker waits.
    deadline: Duration,
    /// Why it cannot be read, where the ask does not show it.
    unread: Option<Malformed>,
    /// Whether its asker says what became of it.
    has_outcome: bool,
}

/// The rooms that a decision is folded from.
#[derive(Clone, Debug)]
pub struct Rooms {
    pub heard: Arc<Heard>,
    pub control: Arc<Control>,
    pub policy: Arc<Policy>,
    pub approvals: Arc<Approvals>,
    pub session: Arc<Session>,
    pub bodies: Arc<Bodies>,
}

/// A verdict that is on record.
pub type Decided = v1::Decided;

/// Why there is no verdict. All of these are ours, and the call is not let through.
#[derive(Clone, Debug, Error)]
pub enum Undecided {
    #[error("{what} of {max} calls at once is used up; try again")]
    Overloaded { what: &'static str, max: u32 },
    #[error("nobody waits for it any longer")]
    Expired,
    #[error("the subject or the policy moved {ATTEMPTS_MAX} times; try again")]
    Contended,
    #[error("the decision cannot be recorded: {0}")]
    Journal(String),
    #[error("{0}")]
    Policy(String),
    #[error("this replica leaves; ask the next one")]
    Draining,
    #[error(transparent)]
    Identity(#[from] identity::Refused),
    #[error("this call id was used for another request")]
    Reused,
    #[error("the ask cannot be read: {0}")]
    Unreadable(&'static str),
}

#[derive(Debug)]
pub struct Decide {
    clock: Clock,
    limits: Limits,
    heard: Arc<Heard>,
    control: Arc<Control>,
    policy: Arc<Policy>,
    approvals: Arc<Approvals>,
    session: Arc<Session>,
    admission: Admission,
    heavy: Heavy,
    flood: Flood,
    once: Once,
    routes: Routes,
    turned_away: Rarely,
    bodies: Arc<Bodies>,
    unconfigured: Rarely,
}

// === impl Question ===

impl Question {
    #[must_use]
    pub fn new(filter: Arc<Filter>, call: CallId, ask: v1::Ask, deadline: Duration) -> Self {
        Self { filter, call, ask, request: OnceLock::new(), deadline, unread: None, has_outcome: true }
    }

    fn request(&self) -> Digest {
        *self.request.get_or_init(|| agentgate_proto::reading::request_digest(&self.ask))
    }
}

// === impl Decide ===

impl Decide {
    #[must_use]
    pub fn new(limits: &Limits, clock: Clock, rooms: Rooms) -> Self {
        let Rooms { heard, control, policy, approvals, session, bodies } = rooms;
        metrics::gauge!("agentgate_ungranted_servers").set(0.0);
        Self {
            clock,
            heard,
            control,
            policy,
            approvals,
            session,
            admission: Admission::new(limits),
            heavy: Heavy::new(),
            flood: Flood::new(limits),
            routes: Routes::default(),
            turned_away: Rarely::default(),
            once: Once::new(limits.recent_calls_max as usize),
            bodies,
            unconfigured: Rarely::default(),
            limits: limits.clone(),
        }
    }

    /// Decides a call once. It runs to its end whether or not anybody still waits: `rpc.rs` spawns it.
    pub async fn decide(&self, question: &Question) -> Result<Decided, Undecided> {
        let started = self.clock.elapsed();
        let answer = match self.once.begin(question.call.digest(), question.request()) {
            Begun::First(claim) => claim.settle(self.first(question).await),
            Begun::Known(answer) => Ok(answer),
            Begun::Joined(other) => other.await.unwrap_or(Err(Undecided::Draining)),
            Begun::Reused => Err(Undecided::Reused),
        };
        answer::count(&answer, self.clock.elapsed().saturating_sub(started));
        answer
    }

    /// How each server's calls were treated lately, or would be: `served` were granted.
    #[must_use]
    pub fn routes(&self, served: &[Served]) -> Vec<v1::RouteStatus> {
        self.routes.all(served)
    }

    /// Servers of which no call can be decided: `served` were not granted.
    #[must_use]
    pub fn ungranted(&self, served: &[Served]) -> Vec<v1::Ungranted> {
        self.routes.all_ungranted(served, self.clock.now())
    }

    /// Calls under way.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.admission.in_flight()
    }

    async fn first(&self, question: &Question) -> Result<Decided, Undecided> {
        let caller = identity::caller(&question.filter, &question.ask.server, &question.ask.peer, &question.ask.claims);
        let caller = caller.inspect_err(|why| self.turned_away(why))?;
        let _place = self.admission.enter(&caller.subject, &self.clock, question.deadline).await?;
        let turn = self.before(question, self.heavy.turn(question.ask.body.len())).await?.ok_or(Undecided::Draining)?;
        let reading = turn.work(|| question.read(&self.limits))?;
        if let Err(malformed) = &reading
            && !self.flood.admit(
                &caller.subject,
                malformed.reason(),
                (&question.call, question.ask.number),
                self.clock.elapsed(),
                self.clock.now(),
            )
        {
            return Ok(flood::uncounted(malformed));
        }
        self.record(&Hearing::new(question, &caller, reading, Treatment::Asked), Some(&turn)).await
    }

    /// Whoever looks at the status finds the server that a filter asks for and may not.
    fn turned_away(&self, why: &identity::Refused) {
        if let identity::Refused::Server { asker, server } = why
            && let Ok(server) = Server::try_from(server.as_str())
        {
            self.routes.ungranted(asker, &server, self.clock.now());
        }
    }

    /// Folds, decides and appends, until the subject, the orders and the policy stood still for it.
    async fn record(&self, hearing: &Hearing<'_>, work: Option<&heavy::Turn<'_>>) -> Result<Decided, Undecided> {
        let question = hearing.question;
        self.routes.called(&hearing.caller.server, question.ask.observe, self.clock.now());
        let scope = hearing.scope();
        // Made before the subject's turn: it may take a write.
        let seal = self.before(question, self.bodies.seal(&scope, self.clock.now())).await?;
        seal.map_err(record::unavailable)?;
        for _ in 0..ATTEMPTS_MAX {
            let turn = self.before(question, self.session.turn(&hearing.caller.subject)).await?.map_err(record::unavailable)?;
            let now = self.control.now();
            // Not before `now`: whoever purged this key since is a later epoch, and fences the decision off.
            let seal = self.before(question, self.bodies.seal(&scope, self.clock.now())).await?.map_err(record::unavailable)?;
            let policy = self.before(question, self.policy.deciding(&now)).await?.map_err(record::unavailable)?;
            let weigh = || match work {
                Some(work) => work.work(|| hearing.weigh(self, &now, policy.as_deref(), &seal)),
                None => hearing.weigh(self, &now, policy.as_deref(), &seal),
            };
            let steps = self.approvals.steps();
            let mut weighed = weigh()?;
            // An approver's answer at another replica, or an approval asked for there, is obeyed though it was not heard of yet.
            if weighed.waits() {
                self.before(question, self.approvals.look_again()).await?.map_err(record::unavailable)?;
                if self.approvals.steps() != steps {
                    weighed = weigh()?;
                }
            }
            let recording = record::Recording::new(hearing, weighed, policy.as_deref(), &seal)?;
            let (stream, draft) = (turn.stream(), recording.draft(now.epochs));
            // What others fold from is told before anybody else has the turn.
            let written = if draft.also.is_empty() {
                turn.append(draft).await.map(|position| (position, None))
            } else {
                turn.append_alone(draft).await.map(|(position, standstill)| (position, Some(standstill)))
            };
            match written {
                Ok((position, _standstill)) => return Ok(recording.durable(self, position.sequence, stream)),
                Err(Setback::Moved) => {}
                Err(Setback::Fenced(now)) => {
                    self.before(question, self.control.caught_up(now.global)).await?.map_err(record::unavailable)?;
                }
                Err(Setback::Duplicate(_)) => match self.recorded(question).await? {
                    Some(decided) => return Ok(decided),
                    // Not this call: its approval was spent, or asked for, by somebody who was first.
                    None => self.approvals.look_again().await.map_err(record::unavailable)?,
                },
                Err(Setback::Journal(why)) => return Err(Undecided::Journal(why)),
            }
            metrics::counter!("agentgate_decisions_folded_again_total").increment(1);
        }
        Err(Undecided::Contended)
    }

    /// What an earlier life of this process, or another replica, decided under this call id.
    async fn recorded(&self, question: &Question) -> Result<Option<Decided>, Undecided> {
        let found = self.session.find(&question.call.digest()).await.map_err(record::unavailable)?;
        let Some(found) = found else { return Ok(None) };
        if !found.was_asked(&question.request()) {
            return Err(Undecided::Reused);
        }
        Ok(Some(record::answer(&found.record, found.body.as_ref(), found.sequence)))
    }

    /// Waits no longer than the asker does.
    async fn before<T>(&self, question: &Question, work: impl Future<Output = T>) -> Result<T, Undecided> {
        if self.clock.elapsed() >= question.deadline {
            return Err(Undecided::Expired);
        }
        self.clock.before(question.deadline, work).await.ok_or(Undecided::Expired)
    }
}

#[cfg(test)]
mod tests;
