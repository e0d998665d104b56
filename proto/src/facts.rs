//! A decision on record, before the law again: the one way from what was recorded to the facts that were decided on. It
//! reads the call with the same parser, and refuses to guess what is not there any more.

use crate::order::{Unnamed, target_from_wire};
use crate::reading::{NoAsk, endpoint_of, read_refused};
use crate::v1;
use agentgate_core::approval::{Denied, Grant};
use agentgate_core::decide::{Decision, Denial, Facts, Opinion, SETTLE_VERSION, Verdict, settle};
use agentgate_core::digest::Digest;
use agentgate_core::id::{Asker, NameError, Principal, RuleName, Server, Tenant};
use agentgate_core::kill::Kill;
use agentgate_core::time::Time;
use thiserror::Error;

/// Why a call is refused that a filter could not read, and its control plane could.
pub const REFUSED_BY_FILTER: &str = "refused_by_filter";

/// Why a decision cannot be taken again.
#[derive(Clone, Debug, Error)]
pub enum NotAgain {
    #[error("what was asked has been erased")]
    Erased,
    #[error("it is no longer re-decidable: {0}")]
    Altered(&'static str),
    #[error("version {theirs} of the law decided it, and this release has version {ours}")]
    Law { theirs: u32, ours: u32 },
    #[error("its record holds {what} that is none")]
    Record { what: &'static str },
    #[error(transparent)]
    Name(#[from] NameError),
    #[error(transparent)]
    Kill(#[from] Unnamed),
    #[error(transparent)]
    Ask(#[from] NoAsk),
}

/// A recorded call as the law saw it.
#[derive(Clone, Debug)]
pub struct Case {
    pub facts: Facts,
    /// Its filter could not read it, though it can be read here.
    pub refused_by_filter: bool,
}

// === impl Case ===

impl Case {
    /// The facts of a decision of `at`.
    ///
    /// # Errors
    /// When they are not all there, or another law decided on them.
    pub fn of(
        at: Time,
        record: &v1::DecisionRecord,
        body: Option<&v1::DecisionBody>,
        body_bytes_max: usize,
    ) -> Result<Self, NotAgain> {
        if record.settle_version != SETTLE_VERSION {
            return Err(NotAgain::Law { theirs: record.settle_version, ours: SETTLE_VERSION });
        }
        let body = body.ok_or(NotAgain::Erased)?;
        if let Some(altered) = &body.altered {
            return Err(NotAgain::Altered(altered_word(altered)));
        }
        let ask = body.ask.as_ref().ok_or(NotAgain::Record { what: "a call" })?;
        let facts = Facts {
            at,
            tenant: Tenant::try_from(body.tenant.as_str())?,
            principal: Principal::try_from(body.principal.as_str())?,
            asker: Asker::try_from(body.asker.as_str())?,
            server: Server::try_from(ask.server.as_str())?,
            endpoint: endpoint_of(ask),
            // A body that its filter left out cannot be read again: the recorded reason is the reading.
            reading: read_refused(ask, &body.malformed, body_bytes_max)?,
            kill: body.kill.as_ref().map(kill).transpose()?,
            grant: body.grant.as_ref().map(grant).transpose()?,
            denied: body.denied.as_ref().map(denied).transpose()?,
        };
        let refused_by_filter = record.step == Denial::Malformed.name() && body.malformed.is_empty();
        Ok(Self { facts, refused_by_filter })
    }

    /// What the gate itself came to of this call, without any policy; none where a policy is asked.
    #[must_use]
    pub fn without_a_policy(&self) -> Option<Decision> {
        if self.refused_by_filter && self.facts.reading.is_ok() {
            return Some(refused_by_filter());
        }
        let settled = self.facts.reading.is_err() || self.facts.kill.is_some();
        settled.then(|| settle(&self.facts, Ok(&Opinion::default())))
    }
}

/// It did not reach the tool, so it stays a denial, whatever could be read of it here.
#[must_use]
pub fn refused_by_filter() -> Decision {
    Decision {
        verdict: Verdict::Deny(Denial::Malformed),
        rule: RuleName::of_gate(REFUSED_BY_FILTER),
        reason: "the filter could not read this call, though the control plane can; are both of one release?".into(),
        scope: None,
        approval: None,
    }
}

/// What people call it.
#[must_use]
pub fn altered_word(altered: &v1::Altered) -> &'static str {
    match altered.pii() {
        _ if altered.left_out => "left out",
        v1::Pii::Tokenise => "tokenised",
        v1::Pii::Unspecified | v1::Pii::Off | v1::Pii::Redact => "redacted",
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
