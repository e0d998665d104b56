//! Approvals: a call waits for a person, is granted or denied, and passes once. Two pure functions, `decide` and `apply`.
//!
//! An approval is bound to one call by its digest. Nobody grants their own call, nobody grants twice, and nothing is granted
//! that the approver was not shown. Time is an argument: what lapsed has lapsed for everybody who asks with the same `at`.

use crate::digest::{Digest, Digester};
use crate::id::{CallId, SpiffeId, Tenant};
use crate::principal::Principal;
use crate::time::Time;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use thiserror::Error;

/// The most grants that one call may take, each by somebody else.
pub const STEPS_MAX: u32 = 10;

/// Hex digits of an id that people are shown.
const ID_DIGITS: usize = 32;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub id: Digest,
    pub tenant: Tenant,
    /// Who made the call, and may not grant it.
    pub requester: Principal,
    /// The filter that asked; it may not grant either.
    pub asker: SpiffeId,
    /// The digest of the very call.
    pub call: Digest,
    /// The digest of what an approver is shown.
    pub shown: Digest,
    /// Pending until then.
    pub expires_at: Time,
    /// Grants that it takes.
    pub steps: u32,
}

/// One approval and all that happened to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    pub request: Request,
    /// Who granted, in order.
    granted_by: Vec<SpiffeId>,
    progress: Progress,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Asked,
    Granted { expires_at: Time },
    Denied,
    Spent(Use),
}

/// How a grant ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// The call was let through by it.
    Used,
    /// A policy denies the call.
    Voided,
}

/// Where an approval is at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Pending,
    /// To be used until then.
    Granted {
        expires_at: Time,
    },
    Denied,
    Used,
    Voided,
    /// Not granted in time, or not used in time.
    Lapsed,
}

/// What an approver orders, having seen `seen`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    pub by: SpiffeId,
    pub grant: bool,
    pub seen: Digest,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// `expires_at` is there with the last grant: the call passes until then.
    Granted {
        by: SpiffeId,
        expires_at: Option<Time>,
    },
    Denied {
        by: SpiffeId,
    },
    Spent(Use),
}

/// Why an order is not followed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    #[error("`{0}` made this call, and nobody grants their own; ask somebody else")]
    Requester(SpiffeId),
    #[error("`{0}` granted it already, and the next grant has to be somebody else's")]
    SameApprover(SpiffeId),
    #[error("this is not what was shown to you; show it again, then decide")]
    NotSeen,
    #[error("it is {0} already")]
    Over(&'static str),
}

/// A live grant, as a fact of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    pub approval: Digest,
    /// The call that was granted.
    pub call: Digest,
    pub expires_at: Time,
}

/// A denial that still stands, as a fact of a call: who asks again is told so, and no approver is asked again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    pub approval: Digest,
    /// The call that was denied.
    pub call: Digest,
    pub until: Time,
    /// The approver's words; the agent is told.
    pub reason: String,
}

/// The id of the approval that this call asks for. It is random: it must not confirm what was asked for once that is erased.
#[must_use]
pub fn id_of(asked_by: &CallId, random: &[u8; 32]) -> Digest {
    let mut digester = Digester::new("agentgate/approval/2");
    digester.part(asked_by.digest().as_bytes());
    digester.part(random);
    digester.finish()
}

/// An approval's id as people quote it: 32 hex digits, half of it, which is random enough.
#[must_use]
pub fn id_text(id: &Digest) -> String {
    let mut text = id.to_string();
    text.truncate(ID_DIGITS);
    text
}

/// The digest of what an approver is shown: the encoded request.
#[must_use]
pub fn shown_digest(request: &[u8]) -> Digest {
    Digest::of("agentgate/approval-request/1", request)
}

// === impl Approval ===

impl Approval {
    #[must_use]
    pub fn new(request: Request) -> Self {
        Self { request, granted_by: Vec::new(), progress: Progress::Asked }
    }

    #[must_use]
    pub fn state(&self, at: Time) -> State {
        match self.progress {
            Progress::Asked if at < self.request.expires_at => State::Pending,
            Progress::Granted { expires_at } if at < expires_at => State::Granted { expires_at },
            Progress::Asked | Progress::Granted { .. } => State::Lapsed,
            Progress::Denied => State::Denied,
            Progress::Spent(Use::Used) => State::Used,
            Progress::Spent(Use::Voided) => State::Voided,
        }
    }

    /// The grant, while it can be used.
    #[must_use]
    pub fn grant(&self, at: Time) -> Option<Grant> {
        match self.state(at) {
            State::Granted { expires_at } => Some(Grant { approval: self.request.id, call: self.request.call, expires_at }),
            State::Pending | State::Denied | State::Used | State::Voided | State::Lapsed => None,
        }
    }

    /// Until when a denial stands: as long as the call would have waited. None: it was not denied, or that is over.
    #[must_use]
    pub fn denied_until(&self, at: Time) -> Option<Time> {
        (self.progress == Progress::Denied && at < self.request.expires_at).then_some(self.request.expires_at)
    }

    /// Grants that are there.
    #[must_use]
    pub fn granted_by(&self) -> &[SpiffeId] {
        &self.granted_by
    }

    /// What an order comes to at `at`. `usable_us`: how long a whole grant may be used.
    ///
    /// # Errors
    /// When it is not for this person, or not for this moment.
    pub fn decide(&self, order: &Order, at: Time, usable_us: u64) -> Result<Event, Refusal> {
        let over = match self.state(at) {
            State::Pending => None,
            State::Granted { .. } => Some("granted"),
            State::Denied => Some("denied"),
            State::Used => Some("used"),
            State::Voided => Some("voided"),
            State::Lapsed => Some("lapsed"),
        };
        if let Some(over) = over {
            return Err(Refusal::Over(over));
        }
        if order.seen != self.request.shown {
            return Err(Refusal::NotSeen);
        }
        if !order.grant {
            return Ok(Event::Denied { by: order.by.clone() });
        }
        if self.request.requester.agent() == Some(&order.by) || self.request.asker == order.by {
            return Err(Refusal::Requester(order.by.clone()));
        }
        if self.granted_by.contains(&order.by) {
            return Err(Refusal::SameApprover(order.by.clone()));
        }
        let is_last = self.granted_by.len().saturating_add(1) >= usize::try_from(self.request.steps).unwrap_or(usize::MAX);
        Ok(Event::Granted { by: order.by.clone(), expires_at: is_last.then(|| at.plus_micros(usable_us)) })
    }

    /// What happened, happened: nothing is refused here.
    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::Granted { by, expires_at } => {
                self.granted_by.push(by.clone());
                if let Some(expires_at) = *expires_at {
                    self.progress = Progress::Granted { expires_at };
                }
            }
            Event::Denied { .. } => self.progress = Progress::Denied,
            Event::Spent(spent) => self.progress = Progress::Spent(*spent),
        }
    }
}

// === impl Denied ===

impl Denied {
    /// Whether it stands against the call of this digest at `at`.
    #[must_use]
    pub fn covers(&self, call: &Digest, at: Time) -> bool {
        self.call == *call && at < self.until
    }
}

// === impl Grant ===

impl Grant {
    /// Whether it lets the call of this digest through at `at`.
    #[must_use]
    pub fn covers(&self, call: &Digest, at: Time) -> bool {
        self.call == *call && at < self.expires_at
    }
}

#[cfg(test)]
mod tests;
