//! The user behind a call: read from claims that the filter's Envoy verified, as far as the configuration lets that filter say so.
//!
//! It refuses a token that says half of what it has to, or says it in what is no text, and one that names a tenant, an issuer or a client that nobody configured.

use super::Refused;
use crate::config::{Callers, Filter, ISSUER, Users};
use agentgate_core::id::{Principal, SpiffeId, Tenant, User};
use agentgate_proto::v1::Claim;

/// Of what a token says, so much is shown to people.
const SHOWN_CHARS_MAX: usize = 200;

/// What a token says.
#[derive(Debug)]
struct Token<'a> {
    user: User,
    /// None: it does not say.
    agent: Option<&'a SpiffeId>,
    tenant: &'a Tenant,
}

/// On whose behalf the call is made, and whose tenant it concerns. `agent`: as configured or by certificate, which counts more
/// than any token.
pub(super) fn principal(filter: &Filter, agent: Option<SpiffeId>, claims: &[Claim]) -> Result<(Principal, Tenant), Refused> {
    let asker = || filter.identity.clone();
    let token = match &filter.users {
        // Whatever claims there are mean nothing here.
        None => None,
        Some(users) => token(filter, users, claims)?,
    };
    let Some(token) = token else {
        let agent = agent.ok_or_else(|| Refused::NoUser(asker()))?;
        return Ok((Principal::of_agent(agent), filter.tenant.clone()));
    };
    let agent = match (agent, token.agent) {
        (Some(shown), Some(claimed)) if shown != *claimed => {
            return Err(Refused::OtherAgent { asker: asker(), shown, claimed: claimed.clone() });
        }
        (Some(shown), _) => Some(shown),
        (None, claimed) => claimed.cloned(),
    };
    let unreadable = |error: agentgate_core::id::NameError| Refused::Claims { asker: asker(), why: error.to_string() };
    Ok((Principal::of_user(agent, token.user).map_err(unreadable)?, token.tenant.clone()))
}

/// None: there is no token, and none is needed.
fn token<'a>(filter: &'a Filter, users: &'a Users, claims: &[Claim]) -> Result<Option<Token<'a>>, Refused> {
    let asker = || filter.identity.clone();
    let claim = |name: &str| one(filter, claims, name);
    let needed = |name: &str| {
        let missing = || Refused::Claims { asker: asker(), why: format!("there is no claim `{name}`") };
        claim(name)?.ok_or_else(missing)
    };
    if !claims.iter().any(|claim| users.claims().any(|name| name == claim.name)) {
        return if users.required { Err(Refused::NoUser(asker())) } else { Ok(None) };
    }
    let issuer = needed(ISSUER)?;
    if !users.issuers.contains(issuer) {
        return Err(Refused::Issuer { asker: asker(), issuer: shown(issuer) });
    }
    let unreadable = |error: agentgate_core::id::NameError| Refused::Claims { asker: asker(), why: error.to_string() };
    let user = User::new(needed(&users.subject)?, issuer).map_err(unreadable)?;
    let agent = match &users.agents {
        None => None,
        Some(agents) => match claim(&agents.claim)? {
            Some(client) => {
                let unknown = || Refused::Client { asker: asker(), client: shown(client) };
                Some(agents.known.get(client).ok_or_else(unknown)?)
            }
            // Whoever is known without the token needs none of it.
            None if filter.callers != Callers::Users => None,
            None => return Err(Refused::Claims { asker: asker(), why: format!("there is no claim `{}`", agents.claim) }),
        },
    };
    let tenant = match &users.tenants {
        None => &filter.tenant,
        Some(tenants) => {
            let named = needed(&tenants.claim)?;
            let foreign = || Refused::Tenant { asker: asker(), tenant: shown(named) };
            tenants.known.iter().find(|tenant| tenant.as_str() == named).ok_or_else(foreign)?
        }
    };
    Ok(Some(Token { user, agent, tenant }))
}

/// The claim of this name. With two, two readers could differ; and one that is there and says nothing readable is not one that
/// is not there: whoever it names is not whoever would be asked for without it.
fn one<'a>(filter: &Filter, claims: &'a [Claim], name: &str) -> Result<Option<&'a str>, Refused> {
    let refused = |why: String| Err(Refused::Claims { asker: filter.identity.clone(), why });
    let mut found = claims.iter().filter(|claim| claim.name == name);
    match (found.next(), found.next()) {
        (None, None) => Ok(None),
        (Some(claim), None) if claim.unreadable || claim.value.is_empty() => {
            let agents = filter.users.as_ref().and_then(|users| users.agents.as_ref());
            let names_agent = agents.is_some_and(|agents| agents.claim == name);
            let instead = if names_agent { "; choose an `agent_claim` that is text, such as `azp` or `client_id`" } else { "" };
            refused(format!(
                "the claim `{name}` is there, but is no text that could name anybody (a list, a number, empty, too long){instead}"
            ))
        }
        (Some(claim), None) => Ok(Some(&claim.value)),
        (_, Some(_)) => refused(format!("the claim `{name}` is there twice")),
    }
}

fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(SHOWN_CHARS_MAX).collect()
}
