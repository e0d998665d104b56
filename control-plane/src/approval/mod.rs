//! Approvals: calls that wait for a person, on record before anybody is told of them, and passed at most once.
//!
//! What a decision does to an approval is in the decision's own change: it asks for one, or it spends one. The journal takes
//! each step of an approval once, because its id follows from the approval and the step. So one grant lets one call through,
//! whoever retries, how often, and across restarts. The room refuses to judge: `core::approval` does.

mod open;
pub mod rpc;
mod step;
mod view;

use crate::body::{Bodies, Erasures, FetchError, KeyError, Seal, SessionId, digest_bytes};
use crate::clock::{Clock, Moments, micros};
use crate::config::{self, Limits};
use crate::journal::{AppendError, Change, ReadError, Version};
use agentgate_core::approval::{Denied, Event, Grant, Order, Refusal, Use};
use agentgate_core::digest::Digest;
use agentgate_core::time::Time;
use agentgate_proto::v1;
use prost::Message as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use thiserror::Error;
use tokio::sync::{broadcast, watch};

pub use step::{Asked, Step, scope, step_ids};
use view::View;

/// What an approver may say, in bytes.
pub const APPROVER_REASON_BYTES_MAX: usize = 1_024;

/// News of approvals that a listener may be behind.
pub const NEWS_MAX: usize = 1_024;

/// Where the call's approval is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Live {
    None,
    Pending(Digest),
    Granted(Grant),
    /// An approver said no, and that stands.
    Denied(Denied),
}

/// What others are told of.
#[derive(Clone, Debug, PartialEq)]
pub struct News {
    pub id: Digest,
    pub approval: v1::Approval,
    pub at: Time,
}

#[derive(Clone, Debug, Error)]
pub enum ApprovalError {
    #[error("{0}")]
    Malformed(String),
    #[error("no approval `{0}`; `agentgate approve list --all` shows which there are")]
    Absent(String),
    #[error("`{id}` begins {count} ids; write more of it")]
    Ambiguous { id: String, count: usize },
    #[error("this call is not granted or denied by this order")]
    Refused(#[from] Refusal),
    #[error("what was asked for has been erased")]
    Erased,
    #[error("the order cannot be recorded, and nothing was granted or denied")]
    Journal(#[source] AppendError),
    #[error("whether the order was recorded is not known; look with `agentgate approve show`")]
    Unknown(#[source] AppendError),
    #[error("the journal cannot be read")]
    Read(#[source] FetchError),
    #[error("what it says cannot be altered as its tenant's records are, and is shown to approvers alone")]
    Unaltered(#[source] KeyError),
    #[error("the order cannot be sealed, and nothing was granted or denied")]
    Keys(#[source] KeyError),
}

/// Too many wait already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crowded {
    pub what: &'static str,
    pub max: u32,
}

#[derive(Debug)]
pub struct Approvals {
    bodies: Arc<Bodies>,
    clock: Clock,
    moments: Moments,
    config: config::Approvals,
    limits: Limits,
    view: Mutex<View>,
    /// How far the stream was folded: everything up to it is in the view.
    folded: tokio::sync::Mutex<Version>,
    /// Approvers are served one after the other.
    deciding: tokio::sync::Mutex<()>,
    news: broadcast::Sender<News>,
    /// Changes whenever some were erased.
    erased: watch::Sender<()>,
}

// === impl Approvals ===

impl Approvals {
    /// Where the approval of this very call is at `at`. Of one that was purged nothing counts, carried out or not.
    #[must_use]
    pub fn live(&self, call: &Digest, at: Time) -> Live {
        let view = self.view();
        let is_purged = view.asked_under(call).is_some_and(|session| self.bodies.is_purged(session));
        if is_purged { Live::None } else { view.live(call, at) }
    }

    /// How many steps were folded, whoever wrote them: what was folded from fewer may be old.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.view().steps()
    }

    /// Asks for an approval, in the change of the decision that needs it.
    ///
    /// # Errors
    /// When too many wait already.
    pub fn request(&self, asked: &Asked<'_>, seal: &Seal) -> Result<Result<Step, String>, Crowded> {
        self.view().room(&asked.facts.tenant, &asked.facts.principal, asked.facts.at, &self.limits)?;
        let expires_at = asked.facts.at.plus_micros(micros(self.config.pending));
        Ok(Step::request(asked, expires_at, seal))
    }

    /// Spends a grant, in the change of the decision that it lets through or that denies it.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn spend(
        &self,
        approval: Digest,
        spent: Use,
        by: &agentgate_core::id::CallId,
        at: Time,
        seal: &Seal,
    ) -> Result<Step, String> {
        Step::spend(approval, spent, by, at, seal)
    }

    /// Another replica wrote a record of this moment: no answer of an approver is before it.
    pub fn not_before(&self, at: Time) {
        self.moments.not_before(at);
    }

    /// The keys of sessions were erased: what was asked for under them is known to nobody any longer, and granted to nobody.
    pub fn forget(&self, sessions: &[SessionId]) {
        self.view().erase(&sessions.iter().copied().collect());
        self.erased.send_replace(());
    }

    /// Whether this approval may still be spoken of: not when it was purged, whoever ordered it, carried out or not.
    #[must_use]
    pub fn is_known(&self, id: &Digest) -> bool {
        let session = self.view().session_of(id);
        session.is_some_and(|session| !self.bodies.is_purged(session))
    }

    /// Returns once this approval is known no longer.
    pub async fn forgotten(&self, id: &Digest) {
        let mut erased = self.erasures();
        while self.is_known(id) && erased.changed().await.is_ok() {}
    }

    /// Changes whenever some approvals were erased.
    #[must_use]
    pub fn erasures(&self) -> watch::Receiver<()> {
        self.erased.subscribe()
    }

    /// A step is durable: it counts from here on. `since` is from before it was written.
    pub fn durable(&self, step: &Step, since: Erasures) {
        if let Some(told) = self.fold(step, since) {
            self.tell(told, step.at);
        }
    }

    /// None: it was purged between `since` and now, and nobody may know of it. A grant that was used is used all the same.
    fn fold(&self, step: &Step, since: Erasures) -> Option<Option<(Digest, v1::Approval)>> {
        let mut view = self.view();
        let session = step.record.body.as_ref().and_then(SessionId::of);
        if session.is_none_or(|session| self.bodies.may_be_known(session, since)) {
            return Some(view.apply(step));
        }
        step.use_alone().map(|used| view.apply(&used))
    }

    /// Grants or denies.
    ///
    /// # Errors
    /// When the approval does not take the order, or it cannot be recorded.
    pub async fn decide(&self, id: &str, order: Order, reason: &str) -> Result<v1::Approval, ApprovalError> {
        if reason.len() > APPROVER_REASON_BYTES_MAX {
            return Err(ApprovalError::Malformed(format!("the reason is longer than {APPROVER_REASON_BYTES_MAX} bytes")));
        }
        let _turn = self.deciding.lock().await;
        // What another replica asked or answered is known to whoever was told of it, perhaps before it is known here.
        self.look_again().await?;
        // A clock that was set back gives nobody time that is over.
        let at = self.moments.next().max(self.view().newest());
        let (id, event, number, request) = {
            let view = self.view();
            let (id, approval) = view.find(id)?;
            let number = u32::try_from(approval.granted_by().len()).unwrap_or(u32::MAX).saturating_add(1);
            let (_, request) = view.wire(&id, at).ok_or_else(|| ApprovalError::Absent(id.to_string()))?;
            (id, approval.decide(&order, at, micros(self.config.unused_grant))?, number, request)
        };
        let (by, seen) = (order.by.to_string(), digest_bytes(&order.seen));
        let words = v1::ApprovalBody { by, reason: reason.into(), seen, ..v1::ApprovalBody::default() };
        let since = self.bodies.erasures();
        let _unfenced = self.bodies.unfenced().await;
        // Whoever erases the call erases what was said of it.
        let seal = self.bodies.seal_of(&request).await.map_err(ApprovalError::Read)?.ok_or(ApprovalError::Erased)?;
        let step = Step::decide(id, &event, number, words, (&seal, at));
        let step = step.map_err(|why| ApprovalError::Keys(KeyError::Random(why)))?;
        let change = Change { fence: None, writes: vec![step.write.clone()], bodies: Vec::from_iter(step.body.clone()) };
        match self.bodies.journal().append(change).await {
            Ok(_) => self.durable(&step, since),
            // Another replica was first, or an order before this one whose fate was not known: what it says stands.
            Err(AppendError::Duplicate(_)) => {
                self.look_again().await?;
                let view = self.view();
                let (_, approval) = view.find(&id.to_string())?;
                approval.decide(&order, at, micros(self.config.unused_grant))?;
            }
            Err(error @ AppendError::Unknown(_)) => {
                // If it happened, it is in force: what the journal says is taken up as soon as it can be read.
                let _ = self.look_again().await;
                return Err(ApprovalError::Unknown(error));
            }
            Err(error) => return Err(ApprovalError::Journal(error)),
        }
        match event {
            Event::Granted { .. } => metrics::counter!("agentgate_approvals_decided_total", "answer" => "granted").increment(1),
            Event::Denied { .. } => metrics::counter!("agentgate_approvals_decided_total", "answer" => "denied").increment(1),
            Event::Spent(_) => {}
        }
        self.show(&id.to_string()).await
    }

    /// One approval, with everything that its approver must see.
    ///
    /// # Errors
    /// When there is none, or its words cannot be had.
    pub async fn show(&self, id: &str) -> Result<v1::Approval, ApprovalError> {
        let (mut shown, reference) = {
            let view = self.view();
            let (id, _) = view.find(id)?;
            view.wire(&id, self.clock.now()).ok_or_else(|| ApprovalError::Absent(id.to_string()))?
        };
        let body: Option<v1::ApprovalBody> = self.bodies.fetch(Some(&reference)).await.map_err(ApprovalError::Read)?;
        shown.request = body.ok_or(ApprovalError::Erased)?.request;
        Ok(shown)
    }

    /// The newest first; without the parameters, which may be large.
    #[must_use]
    pub fn list(&self, all: bool) -> Vec<v1::Approval> {
        self.view().list(all, self.clock.now())
    }

    /// How many wait for a person.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.view().pending(self.clock.now())
    }

    /// What happens from now on.
    #[must_use]
    pub fn follow(&self) -> broadcast::Receiver<News> {
        self.news.subscribe()
    }

    fn tell(&self, approval: Option<(Digest, v1::Approval)>, at: Time) {
        if let Some((id, approval)) = approval {
            // An error says that nobody follows.
            let _ = self.news.send(News { id, approval, at });
        }
    }

    fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<ReadError> for ApprovalError {
    fn from(error: ReadError) -> Self {
        Self::Read(FetchError::Read(error))
    }
}

/// The bytes that the approver is shown, as a message.
fn decode(request: &[u8]) -> Option<v1::ApprovalRequest> {
    v1::ApprovalRequest::decode(request).ok()
}

#[cfg(test)]
mod tests;
