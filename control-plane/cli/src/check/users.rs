//! Looks at who vouches for the users that a gate reads claims of: Envoy's jwt_authn, before the gate and for this service alone.

use super::finding::Findings;
use super::parts::{Chain, Gate};
use super::place::Place;
use super::table::Check;
use serde_json::Value;
use std::collections::BTreeSet;

const KIND: &str = "JwtAuthentication";

pub(crate) fn look(chain: &Chain<'_>, gate: &Gate<'_>, findings: &mut Findings) {
    let filters = chain.manager.field("http_filters").items();
    let (before, behind) = filters.split_at(gate.index.min(filters.len()));
    for key in keys(gate) {
        let verifiers: Vec<&Place<'_>> = before.iter().filter(|filter| verifies(filter)).collect();
        let providers: Vec<_> = verifiers.iter().flat_map(|filter| providers(filter, &key)).collect();
        for (name, provider) in &providers {
            if provider.field("audiences").items().is_empty() {
                findings.at(Check::UsersAnyAudience, &chain.at, provider, format!("`{name}`, which keeps `{key}`"));
            }
        }
        if !providers.is_empty() {
            continue;
        }
        let said = if !verifiers.is_empty() {
            format!("no provider that a rule requires has `payload_in_metadata: {key}`")
        } else if behind.iter().any(verifies) {
            "it stands behind the gate".to_owned()
        } else if let Some(other) = before.iter().find(|filter| is_elsewhere(filter)) {
            let name = other.field("name").text().unwrap_or_default();
            findings.unseen(format!("who verifies the users of {}: `{name}` gets its configuration from elsewhere", chain.at));
            continue;
        } else {
            format!("there is none that keeps `{key}`")
        };
        findings.at(Check::UsersUnverified, &chain.at, &gate.filter, said);
    }
}

/// Under which keys of jwt_authn's metadata the routes look for claims.
fn keys(gate: &Gate<'_>) -> BTreeSet<String> {
    let routes = gate.told_routes().into_iter();
    routes.filter_map(|route| route.pointer("/claims/metadata").and_then(Value::as_str)).map(ToOwned::to_owned).collect()
}

fn verifies(filter: &Place<'_>) -> bool {
    filter.field("typed_config").kind() == KIND && !filter.field("disabled").is_true()
}

fn is_elsewhere(filter: &Place<'_>) -> bool {
    let discovery = filter.field("config_discovery");
    discovery.field("type_urls").items().iter().any(|kind| kind.text().is_some_and(|kind| kind.ends_with(KIND)))
}

/// Providers that keep the payload of a token under this key, and that something requires.
fn providers<'a>(filter: &Place<'a>, key: &str) -> Vec<(&'a str, Place<'a>)> {
    let verifier = filter.field("typed_config").opened();
    let required = required(&verifier);
    let keeps = |(name, provider): &(&str, Place<'_>)| {
        provider.field("payload_in_metadata").text() == Some(key) && required.as_ref().is_none_or(|names| names.contains(name))
    };
    verifier.field("providers").members().into_iter().filter(keeps).collect()
}

/// The names that rules require. None: what is required is said for each route or by another filter, and any may be.
fn required<'a>(verifier: &Place<'a>) -> Option<BTreeSet<&'a str>> {
    if verifier.field("requirement_map").is_there() || verifier.field("filter_state_rules").is_there() {
        return None;
    }
    let rules = verifier.field("rules");
    Some(rules.all("provider_name").iter().filter_map(Place::text).collect())
}
