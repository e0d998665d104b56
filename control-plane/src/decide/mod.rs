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
use crate::body::{Bodies, Scope};
use crate::clock::Clock;
use crate::config::{Filter, Limits};
use crate::control::Control;
use crate::identity::{self, Heard, Served};
use crate::policy::Policy;
use crate::privacy::{Altering, Privacy};
use crate::quota::{Quota, QuotaError};
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
    pub privacy: Arc<Privacy>,
    pub quota: Arc<Quota>,
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
    /// Whoever runs it finds the words in the log and the status; whoever asks learns nothing of what lies behind the gate.
    #[error("the decision cannot be recorded")]
    Journal(String),
    /// As `Journal`.
    #[error("what is personal cannot be taken out of its record")]
    Privacy(String),
    #[error("{0}")]
    Policy(String),
    #[error("this replica leaves; ask the next one")]
    Draining,
    #[error(transparent)]
    Identity(#[from] identity::Refused),
    #[error("this call id was used for another request")]
    Reused,
    #[error("its tenant's share of the journal is used up for today; the next day begins at 00:00 UTC")]
    QuotaExceeded,
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
    privacy: Arc<Privacy>,
    quota: Arc<Quota>,
    unconfigured: Rarely,
    unrecorded: Rarely,
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
        let Rooms { heard, control, policy, approvals, session, bodies, privacy, quota } = rooms;
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
            privacy,
            quota,
            unconfigured: Rarely::default(),
            unrecorded: Rarely::default(),
            limits: limits.clone(),
        }
    }

    /// Decides a call once. It runs to its end whether or not anybody still waits: `rpc.rs` spawns it.
    pub async fn decide(&self, question: &Question) -> Result<Decided, Undecided> {
        let started = self.clock.elapsed();
        let answer = match self.once.begin(question.call.digest(), question.request(), self.bodies.erasures()) {
            Begun::First(claim) => claim.settle(self.first(question).await),
            Begun::Known(answer) => Ok(answer),
            Begun::Joined(other) => other.await.unwrap_or(Err(Undecided::Draining)),
            Begun::Reused => Err(Undecided::Reused),
        };
        if let Err(undecided) = &answer {
            self.tell(undecided);
        }
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
        self.quota.admit(&caller.subject.tenant, self.session.moment())?;
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

    /// The words of whatever is beneath the journal are for whoever runs it.
    fn tell(&self, undecided: &Undecided) {
        let why = undecided.detail();
        if !why.is_empty()
            && let Some(more) = self.unrecorded.told(self.clock.elapsed())
        {
            tracing::error!(why, more, "decisions cannot be recorded, and calls are refused");
        }
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
        let (_, scope) = self.altering(hearing).await?;
        // Made before the subject's turn: it may take a write.
        let seal = self.before(question, self.bodies.seal(&scope, self.session.moment())).await?;
        seal.map_err(record::unavailable)?;
        for _ in 0..ATTEMPTS_MAX {
            let turn = self.before(question, self.session.turn(&hearing.caller.subject)).await?.map_err(record::unavailable)?;
            let now = self.control.now();
            // Not before `now`, and neither are its keys: whoever purged one of them since is a later epoch, and fences the decision off.
            let is_ours = self.session.is_turn_of(&turn, &hearing.caller.subject);
            if !self.before(question, is_ours).await?.map_err(record::unavailable)? {
                continue;
            }
            let (altering, scope) = self.altering(hearing).await?;
            let seal =
                self.before(question, self.bodies.seal(&scope, self.session.moment())).await?.map_err(record::unavailable)?;
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
            let at = weighed.facts.at;
            if !seal.takes(at) {
                // The clock went on by more than the key's day since it was taken: what is under a key is found by that day.
                continue;
            }
            let make = || record::Recording::new(hearing, weighed, policy.as_deref(), (&seal, altering.as_ref()));
            let recording = match work {
                Some(work) => work.work(make),
                None => make(),
            }?;
            let (stream, draft, since) = (turn.stream(), recording.draft(now.epochs), self.bodies.erasures());
            let spending = self.quota.spend(&hearing.caller.subject.tenant, draft.bytes(), at);
            let spent = self.before(question, spending).await??;
            // What others fold from is told before anybody else has the turn.
            let written = if draft.also.is_empty() {
                turn.append(draft).await.map(|position| (position, None))
            } else {
                turn.append_alone(draft).await.map(|(position, standstill)| (position, Some(standstill)))
            };
            let setback = match written {
                Ok((position, _standstill)) => return Ok(recording.durable(self, since, position.sequence, stream)),
                Err(setback) => setback,
            };
            if !setback.may_be_written() {
                spent.back();
            }
            match setback {
                Setback::Moved => {}
                Setback::Fenced(now) => {
                    self.before(question, self.control.caught_up(now.global)).await?.map_err(record::unavailable)?;
                }
                Setback::Duplicate(_) => match self.recorded(question).await? {
                    Some(decided) => return Ok(decided),
                    // Not this call: its approval was spent, or asked for, by somebody who was first.
                    None => self.approvals.look_again().await.map_err(record::unavailable)?,
                },
                Setback::Journal(why) | Setback::Unknown(why) => return Err(Undecided::Journal(why)),
            }
            metrics::counter!("agentgate_decisions_folded_again_total").increment(1);
        }
        Err(Undecided::Contended)
    }

    /// How this call is recorded, and under whose key.
    async fn altering(&self, hearing: &Hearing<'_>) -> Result<(Option<Altering>, Scope), Undecided> {
        let recording = self.privacy.recording(hearing.caller.subject.tenant.as_str());
        let altering = self.before(hearing.question, recording).await?;
        let altering = altering.map_err(|error| Undecided::Privacy(agentgate_core::error::chain(&error)))?;
        let scope = altering.iter().fold(hearing.scope(), |scope, altering| altering.scope(scope));
        Ok((altering, scope))
    }

    /// What an earlier life of this process, or another replica, decided under this call id.
    async fn recorded(&self, question: &Question) -> Result<Option<Decided>, Undecided> {
        let found = self.session.find(&question.call.digest()).await.map_err(record::unavailable)?;
        let Some(found) = found else { return Ok(None) };
        let request = question.request();
        // Where what was asked was altered, its digest is keyed.
        let tenant = found.body.as_ref().filter(|body| body.altered.is_some()).map(|body| body.tenant.as_str());
        let is_same = match tenant {
            Some(tenant) => {
                let tokens = self.bodies.tokens(tenant).await.map_err(record::unavailable)?;
                found.was_asked(&tokens.keyed(request.as_bytes()))
            }
            None => found.was_asked(request.as_bytes()),
        };
        if !is_same {
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

// === impl Undecided ===

impl Undecided {
    /// What only whoever runs it is told.
    fn detail(&self) -> &str {
        match self {
            Self::Journal(why) | Self::Privacy(why) => why,
            Self::Overloaded { .. }
            | Self::Expired
            | Self::Contended
            | Self::Policy(_)
            | Self::Draining
            | Self::Identity(_)
            | Self::Reused
            | Self::QuotaExceeded
            | Self::Unreadable(_) => "",
        }
    }
}

impl From<QuotaError> for Undecided {
    fn from(error: QuotaError) -> Self {
        match error {
            QuotaError::Exceeded => Self::QuotaExceeded,
            QuotaError::Set(_) | QuotaError::Read(_) | QuotaError::Crowded | QuotaError::Unreadable => record::unavailable(error),
        }
    }
}

#[cfg(test)]
mod tests;
