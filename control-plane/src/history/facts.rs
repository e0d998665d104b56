//! A decision on record, before the law again: the one way from what was recorded to the facts that were decided on. It
//! reads the call with the same parser, and refuses to guess what is not there any more.

use crate::config::Limits;
use crate::decide::{Undecided, consult, endpoint_of, read_refused, refused_by_filter};
use crate::policy::InForce;
use agentgate_core::approval::{Denied, Grant};
use agentgate_core::decide::{Decision, Denial, Facts, SETTLE_VERSION};
use agentgate_core::digest::Digest;
use agentgate_core::id::{Asker, NameError, Principal, Server, Tenant};
use agentgate_core::kill::Kill;
use agentgate_core::time::Time;
use agentgate_proto::order::{Unnamed, target_from_wire};
use agentgate_proto::v1;
use thiserror::Error;

/// Why a decision cannot be taken again.
#[derive(Clone, Debug, Error)]
pub(super) enum NotAgain {
    #[error("what was asked has been erased")]
    Erased,
    #[error("version {theirs} of the law decided it, and this release has version {ours}")]
    Law { theirs: u32, ours: u32 },
    #[error("the journal no longer has the policy that decided it")]
    PolicyGone,
    #[error("its record holds {what} that is none")]
    Record { what: &'static str },
    #[error(transparent)]
    Name(#[from] NameError),
    #[error(transparent)]
    Kill(#[from] Unnamed),
    #[error(transparent)]
    Undecided(#[from] Undecided),
}

/// A recorded call as the law saw it.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) facts: Facts,
    /// Its filter could not read it, though it can be read here.
    pub(super) refused_by_filter: bool,
}

// === impl Case ===

impl Case {
    /// The facts of a decision of `at`.
    ///
    /// # Errors
    /// When they are not all there, or another law decided on them.
    pub(super) fn of(
        at: Time,
        record: &v1::DecisionRecord,
        body: Option<&v1::DecisionBody>,
        limits: &Limits,
    ) -> Result<Self, NotAgain> {
        if record.settle_version != SETTLE_VERSION {
            return Err(NotAgain::Law { theirs: record.settle_version, ours: SETTLE_VERSION });
        }
        let body = body.ok_or(NotAgain::Erased)?;
        let ask = body.ask.as_ref().ok_or(NotAgain::Record { what: "a call" })?;
        let facts = Facts {
            at,
            tenant: Tenant::try_from(body.tenant.as_str())?,
            principal: Principal::try_from(body.principal.as_str())?,
            asker: Asker::try_from(body.asker.as_str())?,
            server: Server::try_from(ask.server.as_str())?,
            endpoint: endpoint_of(ask),
            // A body that its filter left out cannot be read again: the recorded reason is the reading.
            reading: read_refused(ask, &body.malformed, limits)?,
            kill: body.kill.as_ref().map(kill).transpose()?,
            grant: body.grant.as_ref().map(grant).transpose()?,
            denied: body.denied.as_ref().map(denied).transpose()?,
        };
        let refused_by_filter = record.step == Denial::Malformed.name() && body.malformed.is_empty();
        Ok(Self { facts, refused_by_filter })
    }

    /// The same call, if nothing were killed, granted or denied: what the policy alone says of it.
    pub(super) fn before_the_policy(mut self) -> Self {
        (self.facts.kill, self.facts.grant, self.facts.denied) = (None, None, None);
        self
    }

    /// What the call comes to under `policy`.
    ///
    /// # Errors
    /// When the policy cannot be asked.
    pub(super) fn settle(&self, policy: Option<&InForce>) -> Result<Decision, Undecided> {
        if self.refused_by_filter && self.facts.reading.is_ok() {
            return Ok(refused_by_filter());
        }
        consult(policy, &self.facts)
    }
}

fn kill(fact: &v1::KillFact) -> Result<Kill, Unnamed> {
    Ok(Kill { target: target_from_wire(fact.target.as_ref())?, reason: fact.reason.clone() })
}

fn digest(bytes: &[u8]) -> Result<Digest, NotAgain> {
    Digest::try_from(bytes).map_err(|_| NotAgain::Record { what: "a digest" })
}

fn denied(fact: &v1::DenialFact) -> Result<Denied, NotAgain> {
    Ok(Denied {
        approval: digest(&fact.approval)?,
        call: digest(&fact.call_digest)?,
        until: Time::from_micros(fact.until_us),
        reason: fact.reason.clone(),
    })
}

fn grant(fact: &v1::GrantFact) -> Result<Grant, NotAgain> {
    Ok(Grant {
        approval: digest(&fact.approval)?,
        call: digest(&fact.call_digest)?,
        expires_at: Time::from_micros(fact.expires_at_us),
    })
}
