//! Users behind agents: which claims of a verified token mean something, and what they may say. It refuses a table under
//! which a call could be nobody's.

use super::{Callers, ConfigError, field, name};
use agentgate_core::id::{SpiffeId, Tenant};
use agentgate_core::principal::User;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// What a filter may say of users, from tokens that its Envoy verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Users {
    pub issuers: BTreeSet<String>,
    /// The claim that names the user.
    pub subject: String,
    /// Whether a call without a user is refused.
    pub required: bool,
    /// Which agent a client is. None: tokens do not say it.
    pub agents: Option<Agents>,
    /// None: everybody is of the filter's own tenant.
    pub tenants: Option<Tenants>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agents {
    pub claim: String,
    pub known: BTreeMap<String, SpiffeId>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenants {
    pub claim: String,
    pub known: BTreeSet<Tenant>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UsersFile {
    issuers: Vec<String>,
    subject: Option<String>,
    required: Option<bool>,
    agents: Option<BTreeMap<String, String>>,
    agent_claim: Option<String>,
    tenants: Option<Vec<String>>,
    tenant_claim: Option<String>,
}

// === impl Users ===

impl Users {
    /// `at`: the field's whole name of one of the entry's own; `tenant`: that of the filter.
    pub(super) fn check(
        at: &dyn Fn(&str) -> String,
        file: UsersFile,
        callers: &Callers,
        tenant: &Tenant,
    ) -> Result<Self, ConfigError> {
        let of = |name: &str| at(&format!("users.{name}"));
        if file.issuers.is_empty() {
            return Err(field(&of("issuers"), "is empty; name the `iss` of the tokens that Envoy verifies"));
        }
        if let Some((issuer, error)) = file.issuers.iter().find_map(|issuer| Some((issuer, User::new("x", issuer).err()?))) {
            return Err(field(&of("issuers"), &format!("`{issuer}` cannot be part of a principal: {error}")));
        }
        let required = file.required.unwrap_or(true);
        if !required && *callers == Callers::Users {
            let why = "is false, and a call without a user would be nobody's; name a `principal` or `peers` beside it";
            return Err(field(&of("required"), why));
        }
        let users = Self {
            issuers: file.issuers.into_iter().collect(),
            subject: file.subject.unwrap_or_else(|| "sub".into()),
            required,
            agents: agents(&of, file.agents, file.agent_claim)?,
            tenants: tenants(&of, file.tenants, file.tenant_claim, tenant)?,
        };
        users.distinct(&of)?;
        Ok(users)
    }

    /// The claims that mean something.
    pub fn claims(&self) -> impl Iterator<Item = &str> {
        let agent = self.agents.as_ref().map(|agents| agents.claim.as_str());
        let tenant = self.tenants.as_ref().map(|tenants| tenants.claim.as_str());
        [Some(ISSUER), Some(self.subject.as_str()), agent, tenant].into_iter().flatten()
    }

    fn distinct(&self, of: &dyn Fn(&str) -> String) -> Result<(), ConfigError> {
        if let Some(empty) = self.claims().find(|claim| claim.trim() != *claim || claim.is_empty()) {
            return Err(field(&of("subject"), &format!("`{empty}` is no claim's name, here or in agent_claim or tenant_claim")));
        }
        let claims: BTreeSet<&str> = self.claims().collect();
        if claims.len() < self.claims().count() {
            return Err(field(&of("subject"), "one claim would mean two things; name others in agent_claim and tenant_claim"));
        }
        Ok(())
    }
}

/// The claim that names who issued the token.
pub const ISSUER: &str = "iss";

fn agents(
    of: &dyn Fn(&str) -> String,
    known: Option<BTreeMap<String, String>>,
    claim: Option<String>,
) -> Result<Option<Agents>, ConfigError> {
    match (known, claim) {
        (None, None) => Ok(None),
        (Some(known), Some(claim)) if !known.is_empty() => {
            let read = |(client, agent): (String, String)| Ok((client, name(&of("agents"), &agent)?));
            Ok(Some(Agents { claim, known: known.into_iter().map(read).collect::<Result<_, ConfigError>>()? }))
        }
        (Some(_), None) => Err(field(&of("agent_claim"), "is missing; name the claim that says which of `agents` a client is")),
        (Some(_) | None, Some(_)) => Err(field(&of("agents"), "names nobody; say which agent each client of `agent_claim` is")),
    }
}

fn tenants(
    of: &dyn Fn(&str) -> String,
    known: Option<Vec<String>>,
    claim: Option<String>,
    own: &Tenant,
) -> Result<Option<Tenants>, ConfigError> {
    let Some(claim) = claim else {
        return match known {
            None => Ok(None),
            Some(_) => Err(field(&of("tenant_claim"), "is missing; name the claim that says which of `tenants` a user is of")),
        };
    };
    let mut all = BTreeSet::from([own.clone()]);
    for tenant in known.unwrap_or_default() {
        all.insert(name(&of("tenants"), &tenant)?);
    }
    Ok(Some(Tenants { claim, known: all }))
}
