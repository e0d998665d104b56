//! Identity: who speaks, by certificate, and what the configuration lets them ask.
//!
//! It refuses a certificate that expired or lost its root since its connection was opened, and takes no name from a message but
//! that of a user whose token the filter's Envoy verified, where the configuration says so.

mod peer;
pub mod rpc;
mod trust;
mod users;
mod view;

use crate::clock::Clock;
use crate::config::{Callers, Config, Filter, Role};
use crate::rarely::Rarely;
use agentgate_core::decide::Facts;
use agentgate_core::endpoint::Endpoint;
use agentgate_core::id::{Asker, Principal, Server, SpiffeId, Tenant};
use agentgate_core::mcp::{Malformed, Message};
use agentgate_core::time::Time;
use agentgate_proto::v1::Claim;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use thiserror::Error;

pub use peer::Peer;
pub use trust::{CertificateFacts, POLL, Trust, TrustError};
pub use view::{Heard, SERVED_MAX, Served, Vm};

/// Tenant and verified principal: what labels, budgets and holds fold over.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject {
    pub tenant: Tenant,
    pub principal: Principal,
}

/// Who wants something of whom, through which filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub subject: Subject,
    pub asker: Asker,
    pub server: Server,
}

/// Why somebody is not served. Every message says what to do.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    #[error("no certificate was presented; connect with one that the authority issued")]
    Nobody,
    #[error("the certificate names no workload: {0}; issue one with exactly one spiffe:// URI SAN")]
    Nameless(String),
    #[error("the certificate of `{identity}` expired at {not_after}; renew it and connect again")]
    Expired { identity: SpiffeId, not_after: Time },
    #[error("the certificate of `{identity}` is not valid before {not_before}; check both clocks")]
    Early { identity: SpiffeId, not_before: Time },
    #[error("the certificate of `{identity}` is no longer trusted: {why}")]
    Untrusted { identity: SpiffeId, why: String },
    #[error("`{0}` is not a filter; add it as a [[filter]] of the configuration")]
    NotAFilter(SpiffeId),
    #[error("`{0}` is not an operator; add it as an [[operator]] of the configuration")]
    NotAnOperator(SpiffeId),
    #[error("`{operator}` has not the role `{}`; give it to them in `roles` of their [[operator]]", .role.name())]
    Role { operator: SpiffeId, role: Role },
    #[error("`{asker}` may not ask for the server `{server}`; add it to `servers` of its [[filter]]")]
    Server { asker: Asker, server: String },
    #[error("the caller showed no certificate, and the [[filter]] of `{0}` wants one of its `peers`")]
    NoPeer(Asker),
    #[error("the caller `{peer}` is no workload of `{trust_domain}`, which `peers` of the [[filter]] of `{asker}` names")]
    ForeignPeer { asker: Asker, peer: String, trust_domain: String },
    #[error("the call names no user, and the [filter.users] of `{0}` wants one; send a token whose claims its route names")]
    NoUser(Asker),
    #[error("the user's token is not taken: {why}; the [filter.users] of `{asker}` says what it has to hold")]
    Claims { asker: Asker, why: String },
    #[error("the issuer `{issuer}` is not among `issuers` in the [filter.users] of `{asker}`")]
    Issuer { asker: Asker, issuer: String },
    #[error("the tenant `{tenant}` is not among `tenants` in the [filter.users] of `{asker}`")]
    Tenant { asker: Asker, tenant: String },
    #[error("the client `{client}` is not among `agents` in the [filter.users] of `{asker}`")]
    Client { asker: Asker, client: String },
    #[error("the token was issued to the agent `{claimed}`, but `{shown}` calls through `{asker}`; use a token of its own")]
    OtherAgent { asker: Asker, shown: SpiffeId, claimed: SpiffeId },
}

/// The lists of the configuration, and the certificates that they are compared with.
#[derive(Debug)]
pub struct Identity {
    filters: BTreeMap<Asker, Arc<Filter>>,
    operators: BTreeMap<SpiffeId, BTreeSet<Role>>,
    pub trust: Arc<Trust>,
    pub heard: Arc<Heard>,
    clock: Clock,
    refused: Rarely,
}

// === impl Refused ===

impl Refused {
    /// Whether another certificate, on another connection, is all that is needed.
    #[must_use]
    pub fn is_outlived(&self) -> bool {
        match self {
            Refused::Expired { .. } | Refused::Untrusted { .. } => true,
            Refused::Nobody
            | Refused::Nameless(_)
            | Refused::Early { .. }
            | Refused::NotAFilter(_)
            | Refused::NotAnOperator(_)
            | Refused::Role { .. }
            | Refused::Server { .. }
            | Refused::NoPeer(_)
            | Refused::ForeignPeer { .. }
            | Refused::NoUser(_)
            | Refused::Claims { .. }
            | Refused::Issuer { .. }
            | Refused::Tenant { .. }
            | Refused::Client { .. }
            | Refused::OtherAgent { .. } => false,
        }
    }
}

// === impl Identity ===

impl Identity {
    #[must_use]
    pub fn new(config: &Config, trust: Arc<Trust>, clock: Clock) -> Self {
        Self {
            filters: config.filter.iter().map(|(identity, filter)| (identity.clone(), Arc::new(filter.clone()))).collect(),
            operators: config.operator.clone(),
            trust,
            heard: Arc::default(),
            clock,
            refused: Rarely::default(),
        }
    }

    /// The filter behind this connection. Asked again for every call: certificates expire and roots go while it is open.
    ///
    /// # Errors
    /// When the certificate is not valid now, or no filter's.
    pub fn filter(&self, peer: &Peer) -> Result<Arc<Filter>, Refused> {
        let identity = peer.identity(&self.trust, self.clock.now())?;
        self.filters.get(identity).cloned().ok_or_else(|| Refused::NotAFilter(identity.clone()))
    }

    /// The operator behind this connection, who has this role.
    ///
    /// # Errors
    /// When the certificate is not valid now, no operator's, or of one without the role.
    pub fn operator(&self, peer: &Peer, role: Role) -> Result<SpiffeId, Refused> {
        let identity = peer.identity(&self.trust, self.clock.now())?;
        let roles = self.operators.get(identity).ok_or_else(|| Refused::NotAnOperator(identity.clone()))?;
        if roles.iter().any(|has| has.may(role)) {
            return Ok(identity.clone());
        }
        Err(Refused::Role { operator: identity.clone(), role })
    }

    /// The servers that some filter may ask for, perhaps several times each.
    pub fn servers(&self) -> impl Iterator<Item = &Server> {
        self.filters.values().flat_map(|filter| &filter.servers)
    }

    /// Whether the filter may ask for the server that a route of it names.
    #[must_use]
    pub fn grants(&self, served: &Served) -> bool {
        self.filters.get(&served.asker).is_some_and(|filter| filter.servers.contains(&served.server))
    }

    /// Somebody was turned away: a line of the log now and then.
    pub fn tell(&self, why: &Refused) {
        if let Some(more) = self.refused.told(self.clock.elapsed()) {
            tracing::warn!(%why, more, "somebody was turned away");
        }
    }

    pub fn askers(&self) -> impl Iterator<Item = &Asker> {
        self.filters.keys()
    }
}

/// Whom `filter` asks for, and on whose behalf: configured, or read from the caller's certificate, or from a user's claims.
///
/// # Errors
/// When the filter may not ask for the server, or the caller is not whom the configuration expects.
pub fn caller(filter: &Filter, server: &str, peer: &str, claims: &[Claim]) -> Result<Caller, Refused> {
    let asker = || filter.identity.clone();
    let refused = || Refused::Server { asker: asker(), server: server.into() };
    let server = Server::try_from(server).map_err(|_| refused())?;
    if !filter.servers.contains(&server) {
        return Err(refused());
    }
    let agent = match &filter.callers {
        Callers::One(agent) => Some(agent.clone()),
        Callers::Users => None,
        Callers::Peers { .. } if peer.is_empty() => return Err(Refused::NoPeer(asker())),
        Callers::Peers { trust_domain } => match SpiffeId::try_from(peer) {
            Ok(peer) if peer.trust_domain() == trust_domain => Some(peer),
            Ok(_) | Err(_) => {
                return Err(Refused::ForeignPeer { asker: asker(), peer: peer.into(), trust_domain: trust_domain.clone() });
            }
        },
    };
    let (principal, tenant) = users::principal(filter, agent, claims)?;
    Ok(Caller { subject: Subject { tenant, principal }, asker: asker(), server })
}

// === impl Caller ===

impl Caller {
    #[must_use]
    pub fn facts(&self, at: Time, endpoint: Endpoint, reading: Result<Message, Malformed>) -> Facts {
        Facts {
            at,
            tenant: self.subject.tenant.clone(),
            principal: self.subject.principal.clone(),
            asker: self.asker.clone(),
            server: self.server.clone(),
            endpoint,
            reading,
            kill: None,
            grant: None,
            denied: None,
        }
    }
}

#[cfg(test)]
mod tests;
