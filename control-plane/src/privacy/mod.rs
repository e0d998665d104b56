//! Privacy: what is personal does not reach the journal of a tenant that is not to have it, nor a pack that is not to show it.
//!
//! It changes what is recorded and what is given away, never what a policy decides on or a tool gets. What it changes says so,
//! and it never lets a body pass that it should have changed and could not.

mod alter;
#[cfg(test)]
mod tests;

use crate::body::{Bodies, KeyError, Tokens};
use crate::config;
use agentgate_core::pii::Pii;
use agentgate_proto::v1;
use bytes::Bytes;
use prost::Message as _;
use std::sync::Arc;

/// Who knows how each tenant's bodies are recorded.
#[derive(Debug)]
pub struct Privacy {
    config: config::Privacy,
    bodies: Arc<Bodies>,
}

/// Takes out of one tenant's bodies what is personal.
#[derive(Clone, Debug)]
pub struct Altering {
    pii: Pii,
    tokens: Arc<Tokens>,
}

// === impl Privacy ===

impl Privacy {
    #[must_use]
    pub fn new(config: config::Privacy, bodies: Arc<Bodies>) -> Self {
        Self { config, bodies }
    }

    /// How this tenant's bodies are recorded.
    #[must_use]
    pub fn of(&self, tenant: &str) -> Pii {
        self.config.of(tenant)
    }

    /// How bodies are recorded: of tenants without an entry of their own, then of each that has one.
    #[must_use]
    pub fn modes(&self) -> Vec<v1::TenantPrivacy> {
        let told = |tenant: &str, pii: Pii| v1::TenantPrivacy { tenant: tenant.into(), pii: pii.name().into() };
        let own = self.config.tenants.iter().map(|(tenant, pii)| told(tenant.as_str(), *pii));
        std::iter::once(told("", self.config.pii)).chain(own).collect()
    }

    /// What is to be done with this tenant's bodies as they are recorded. None: nothing.
    ///
    /// # Errors
    /// When the tenant's key cannot be had.
    pub async fn recording(&self, tenant: &str) -> Result<Option<Altering>, KeyError> {
        self.with(self.of(tenant), tenant).await
    }

    /// The same as they are given away: what was asked for, or else as they are recorded.
    ///
    /// # Errors
    /// When the tenant's key cannot be had.
    pub async fn giving(&self, asked: Pii, tenant: &str) -> Result<Option<Altering>, KeyError> {
        self.with(if asked == Pii::Off { self.of(tenant) } else { asked }, tenant).await
    }

    /// An approval as others than its approvers are told of it: as its tenant's bodies are recorded.
    ///
    /// # Errors
    /// When the tenant's key cannot be had.
    pub async fn shown(&self, mut approval: v1::Approval) -> Result<v1::Approval, KeyError> {
        let Ok(request) = v1::ApprovalRequest::decode(approval.request.clone()) else {
            // What is no request is not given away unread.
            approval.request = Bytes::new();
            return Ok(approval);
        };
        if let Some(altering) = self.recording(&request.tenant).await? {
            altering.shown(&mut approval, request);
        }
        Ok(approval)
    }

    async fn with(&self, pii: Pii, tenant: &str) -> Result<Option<Altering>, KeyError> {
        match pii {
            Pii::Off => Ok(None),
            // Who redacts needs the key as well: digests of what was redacted are keyed.
            Pii::Redact | Pii::Tokenise => Ok(Some(Altering { pii, tokens: self.bodies.tokens(tenant).await? })),
        }
    }
}

/// What stands in a body that had to be left out.
#[must_use]
pub fn left_out(pii: Pii) -> v1::Altered {
    v1::Altered { pii: pii_to_wire(pii).into(), kinds: Vec::new(), left_out: true }
}

#[must_use]
pub const fn pii_to_wire(pii: Pii) -> v1::Pii {
    match pii {
        Pii::Off => v1::Pii::Off,
        Pii::Redact => v1::Pii::Redact,
        Pii::Tokenise => v1::Pii::Tokenise,
    }
}

/// Unspecified: off.
#[must_use]
pub const fn pii_from_wire(pii: v1::Pii) -> Pii {
    match pii {
        v1::Pii::Unspecified | v1::Pii::Off => Pii::Off,
        v1::Pii::Redact => Pii::Redact,
        v1::Pii::Tokenise => Pii::Tokenise,
    }
}

/// Counts what was taken out of a body that is on record.
pub fn count(altered: Option<&v1::Altered>) {
    for kind in altered.into_iter().flat_map(|altered| &altered.kinds) {
        metrics::counter!("agentgate_pii_altered_total", "kind" => kind.kind.clone()).increment(kind.count);
    }
    if altered.is_some_and(|altered| altered.left_out) {
        metrics::counter!("agentgate_bodies_left_out_total").increment(1);
    }
}
