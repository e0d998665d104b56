//! Looks at a gate of Envoy's own ext_authz: that it asks for every request, shows all of it, and lets nothing on unanswered.

use super::finding::Findings;
use super::parts::{Asks, Chain, Gate};
use super::place::Place;
use super::table::Check;
use agentgate_core::id::Server;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// How long the control plane itself waits.
const WAIT_MS: u64 = 2_000;

/// Envoy's own, where nothing is written.
const TIMEOUT_DEFAULT: Duration = Duration::from_millis(200);

/// Whose context_extensions are ours.
const SERVER: &str = "agentgate.server";

/// Nothing else of ours may stand there.
const KNOWN: [&str; 7] = [
    SERVER,
    "agentgate.path",
    "agentgate.mode",
    "agentgate.versions",
    "agentgate.query_keys",
    "agentgate.origins",
    "agentgate.denied",
];

/// What a running Envoy shows in the place of every one of them.
const REDACTED: &str = "[redacted]";

/// Fields by which some requests go on unasked.
const SOMETIMES: [&str; 3] = ["filter_enabled", "filter_enabled_metadata", "deny_at_disable"];

/// Fields that hide, or keep, headers.
const HIDING: [&str; 3] = ["allowed_headers", "disallowed_headers", "decoder_header_mutation_rules"];

/// A route's own words, which change what is asked.
const OVERRIDING: [&str; 4] = ["disable_request_body_buffering", "with_request_body", "grpc_service", "http_service"];

/// An ext_authz filter that asks the control plane: by its name, its cluster's, or what routes say for it.
#[must_use]
pub(crate) fn gate<'a>(filter: &Place<'a>, index: usize, routes: Option<&Place<'a>>) -> Option<Gate<'a>> {
    let typed = filter.field("typed_config");
    if typed.kind() != "ExtAuthz" {
        return None;
    }
    let plugin = typed.opened();
    let name = filter.field("name").text().unwrap_or_default();
    let cluster = plugin.at("grpc_service.envoy_grpc.cluster_name").text();
    let told: Vec<Value> =
        routes.into_iter().flat_map(|routes| extensions(routes, name)).map(|said| route(&said, &plugin)).collect();
    let named = [Some(name), cluster].into_iter().flatten().any(|name| name.contains("agentgate"));
    if !named && told.is_empty() {
        return None;
    }
    let told = match cluster {
        Some(cluster) => Ok(json!({ "control_plane": { "cluster": cluster, "ask_timeout_ms": WAIT_MS }, "routes": told })),
        None => Err("it has no `grpc_service.envoy_grpc`".to_owned()),
    };
    Some(Gate { name, filter: filter.clone(), asks: Asks::ExtAuthz, plugin, told, index })
}

/// What routes, hosts and clusters say for the filter of this name.
fn extensions<'a>(routes: &Place<'a>, name: &str) -> Vec<Place<'a>> {
    let overrides = routes.all("typed_per_filter_config").into_iter();
    let own = overrides.flat_map(|overrides| overrides.members()).filter(|(of, _)| *of == name);
    let said = own.map(|(_, entry)| entry.opened().at("check_settings.context_extensions"));
    said.filter(|said| said.value.get(SERVER).is_some()).collect()
}

/// As the filter would be told it.
fn route(said: &Place<'_>, plugin: &Place<'_>) -> Value {
    let mut route = Map::new();
    for name in ["server", "path", "mode"] {
        if let Some(value) = said.value.get(format!("agentgate.{name}")).filter(|value| *value != REDACTED) {
            route.insert(name.into(), value.clone());
        }
    }
    if let Some(origins) = said.value.get("agentgate.origins").and_then(Value::as_str).filter(|text| *text != REDACTED) {
        route.insert("origins".into(), origins.split(',').map(str::trim).collect());
    }
    if let Some(bytes) = plugin.at("with_request_body.max_request_bytes").number() {
        route.insert("limits".into(), json!({ "body_bytes_max": bytes }));
    }
    Value::Object(route)
}

pub(crate) fn look(chain: &Chain<'_>, gate: &Gate<'_>, findings: &mut Findings) {
    let plugin = &gate.plugin;
    let allow = plugin.field("failure_mode_allow");
    if allow.is_true() {
        findings.at(Check::FailOpen, &chain.at, &allow, "by `failure_mode_allow`");
    }
    for field in SOMETIMES.map(|name| plugin.field(name)).iter().filter(|field| field.is_there()) {
        findings.at(Check::AuthzSometimes, &chain.at, field, "");
    }
    for (name, field) in HIDING.map(|name| (name, plugin.field(name))) {
        if field.is_there() {
            findings.at(Check::AuthzHeaders, &chain.at, &field, format!("by `{name}`"));
        }
    }
    let raw = plugin.field("encode_raw_headers");
    if !raw.is_true() {
        findings.at(Check::AuthzHeaders, &chain.at, &raw, "they are joined");
    }
    body(chain, plugin, findings);
    asked(chain, plugin, findings);
    let again = plugin.field("clear_route_cache");
    if again.is_true() {
        findings.at(Check::RouteByChanged, &chain.at, &again, "by `clear_route_cache`");
    }
}

/// What the control plane reads of the routes, as strictly as it does.
pub(crate) fn told(chain: &Chain<'_>, gate: &Gate<'_>, findings: &mut Findings) {
    let Some(routes) = &chain.routes else { return };
    let said = extensions(routes, gate.name);
    if said.is_empty() {
        let said = format!("no route names its server: `{SERVER}` in `context_extensions`");
        findings.at(Check::PluginUnreadable, &chain.at, &gate.filter, said);
    }
    let (shown, hidden): (Vec<_>, Vec<_>) = said.into_iter().partition(|said| !is_hidden(said));
    if !hidden.is_empty() {
        findings.unseen(format!(
            "what the routes of {} say in `context_extensions`: a running Envoy shows it as `{REDACTED}`; look at its file as \
             well: `agentgate check --envoy-config FILE`",
            chain.at
        ));
    }
    for said in shown {
        if let Err(why) = readable(&said) {
            findings.at(Check::PluginUnreadable, &chain.at, &said, why);
        }
    }
}

fn is_hidden(said: &Place<'_>) -> bool {
    said.members().iter().any(|(name, value)| KNOWN.contains(name) && value.text() == Some(REDACTED))
}

fn readable(said: &Place<'_>) -> Result<(), String> {
    let text = |name: &str| said.value.get(name).and_then(Value::as_str);
    let unknown = said.members().into_iter().find(|(name, _)| name.starts_with("agentgate.") && !KNOWN.contains(name));
    if let Some((name, _)) = unknown {
        return Err(format!("`{name}` in `context_extensions` is unknown: {} are known", KNOWN.join(", ")));
    }
    let server = Server::try_from(text(SERVER).unwrap_or_default());
    server.map_err(|error| format!("`{SERVER}` in `context_extensions` is no name: {error}"))?;
    match text("agentgate.path") {
        Some(path) if path.starts_with('/') && !path.contains(['?', '#']) => {}
        Some(path) => {
            return Err(format!("`agentgate.path` is `{path}`: it must begin with a slash and have no query"));
        }
        None => return Err("`agentgate.path` is missing in `context_extensions`".into()),
    }
    match text("agentgate.mode") {
        None | Some("enforce" | "observe") => Ok(()),
        Some(mode) => Err(format!("`agentgate.mode` is `{mode}`: take enforce or observe")),
    }
}

/// An entry of a route, a host or a cluster under the filter's name. False: it says no more than whom it is for.
#[must_use]
pub(crate) fn overrides(entry: &Place<'_>) -> bool {
    let settings = entry.opened().field("check_settings");
    OVERRIDING.iter().any(|name| settings.field(name).is_there()) || !settings.is_there()
}

fn body(chain: &Chain<'_>, plugin: &Place<'_>, findings: &mut Findings) {
    let body = plugin.field("with_request_body");
    let (partial, bytes) = (body.field("allow_partial_message"), body.field("pack_as_bytes"));
    let no_bytes = body.field("max_request_bytes").number().unwrap_or_default() == 0;
    if !body.is_there() || no_bytes {
        findings.at(Check::AuthzBody, &chain.at, &body, "there is no `with_request_body`");
    } else if partial.is_true() {
        findings.at(Check::AuthzBody, &chain.at, &partial, "by `allow_partial_message`");
    } else if !bytes.is_true() {
        findings.at(Check::AuthzBody, &chain.at, &bytes, "there is no `pack_as_bytes`");
    }
}

fn asked(chain: &Chain<'_>, plugin: &Place<'_>, findings: &mut Findings) {
    let service = plugin.field("grpc_service");
    let timeout = service.field("timeout");
    let waits = timeout.duration().unwrap_or(TIMEOUT_DEFAULT);
    if waits <= Duration::from_millis(WAIT_MS) {
        findings.at(Check::AuthzTimeout, &chain.at, &timeout, format!("{} ms", waits.as_millis()));
    }
    for retries in [service.field("retry_policy"), service.at("envoy_grpc.retry_policy")].iter().filter(|field| field.is_there())
    {
        findings.at(Check::AuthzRetries, &chain.at, retries, "");
    }
}
