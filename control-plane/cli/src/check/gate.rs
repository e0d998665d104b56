//! Looks whether the filter stands in every way to a gated server, is switched on, and fails as it should.

use super::authz;
use super::configuration::Configuration;
use super::finding::Findings;
use super::parts::{Asks, Chain, Gate};
use super::place::Place;
use super::route::{Way, ways};
use super::table::Check;
use agentgate_core::config::Config;
use serde_json::Value;
use std::collections::BTreeSet;

/// Filters that cannot change a call.
const HARMLESS: [&str; 3] = ["Router", "HealthCheck", "Compressor"];

pub(crate) fn look(configuration: &Configuration<'_>, chains: &[Chain<'_>], findings: &mut Findings) {
    if !chains.iter().any(|chain| chain.gate.is_some()) {
        findings.add(Check::GateMissing, "all listeners", None, "");
        return;
    }
    bypassed(configuration, chains, findings);
    for chain in chains {
        let Some(gate) = &chain.gate else { continue };
        switched(chain, gate, findings);
        behind(chain, gate, findings);
        failing(chain, gate, findings);
    }
}

/// Servers that some gated route leads to, and the ways to them that meet no gate.
fn bypassed(configuration: &Configuration<'_>, chains: &[Chain<'_>], findings: &mut Findings) {
    let gated: BTreeSet<&str> = chains
        .iter()
        .filter(|chain| chain.gate.is_some())
        .flat_map(|chain| ways(chain).into_iter().flat_map(|way| way.clusters))
        .collect();
    let said = |cluster: &str| format!("it leads to `{cluster}`");
    for chain in chains.iter().filter(|chain| chain.gate.is_none()) {
        for Way { at, place, clusters, .. } in ways(chain) {
            for cluster in clusters.iter().filter(|cluster| gated.contains(**cluster)) {
                findings.at(Check::GateBypassed, &at, &place, said(cluster));
            }
        }
    }
    for (at, place) in configuration.passed_through() {
        if let Some(cluster) = place.text().filter(|cluster| gated.contains(cluster)) {
            findings.at(Check::GateBypassed, &at, &place, said(cluster));
        }
    }
}

fn switched(chain: &Chain<'_>, gate: &Gate<'_>, findings: &mut Findings) {
    let disabled = gate.filter.field("disabled");
    if disabled.is_true() {
        findings.at(Check::GateDisabled, &chain.at, &disabled, "");
    }
    if gate.filter.field("is_optional").is_true() {
        findings.at(Check::GateOptional, &chain.at, &gate.filter.field("is_optional"), "");
    }
    if gate.filter.field("config_discovery").is_there() {
        findings.at(Check::GateElsewhere, &chain.at, &gate.filter.field("config_discovery"), "");
    }
    let Some(routes) = &chain.routes else {
        findings.unseen(format!("the routes of {}, which it gets from elsewhere", chain.at));
        return;
    };
    // On the whole, a host, a route, or one of several weighted clusters.
    for overrides in routes.all("typed_per_filter_config") {
        let Some((_, entry)) = overrides.members().into_iter().find(|(name, _)| *name == gate.name) else { continue };
        let off = entry.opened().field("disabled");
        if off.is_true() {
            findings.at(Check::GateDisabled, &chain.at, &off, "in `typed_per_filter_config`");
        } else if gate.asks == Asks::Wasm || authz::overrides(&entry) {
            findings.at(Check::GateOverridden, &chain.at, &entry, "");
        }
    }
}

fn behind(chain: &Chain<'_>, gate: &Gate<'_>, findings: &mut Findings) {
    for filter in chain.manager.field("http_filters").items().iter().skip(gate.index + 1) {
        let kind = filter.field("typed_config").kind();
        if !HARMLESS.contains(&kind) {
            let name = filter.field("name").text().unwrap_or(kind);
            findings.at(Check::FilterAfterGate, &chain.at, filter, format!("it is `{name}`"));
        }
    }
}

fn failing(chain: &Chain<'_>, gate: &Gate<'_>, findings: &mut Findings) {
    let plugin = &gate.plugin;
    if !plugin.is_there() {
        return;
    }
    match gate.asks {
        Asks::Wasm => loaded(chain, plugin, findings),
        Asks::ExtAuthz => authz::look(chain, gate, findings),
    }
    match &gate.told {
        Err(why) => findings.at(Check::PluginUnreadable, &chain.at, &plugin.field("configuration"), why.clone()),
        Ok(told) => {
            match gate.asks {
                Asks::Wasm => plugin_read(chain, gate, told, findings),
                Asks::ExtAuthz => authz::told(chain, gate, findings),
            }
            plugin_told(chain, gate, told, findings);
        }
    }
}

fn loaded(chain: &Chain<'_>, plugin: &Place<'_>, findings: &mut Findings) {
    let policy = plugin.field("failure_policy");
    match policy.text() {
        Some("FAIL_RELOAD") => {}
        Some("FAIL_OPEN") => findings.at(Check::FailOpen, &chain.at, &policy, ""),
        Some(_) | None if plugin.field("fail_open").is_true() => {
            findings.at(Check::FailOpen, &chain.at, &plugin.field("fail_open"), "");
        }
        Some(_) => findings.at(Check::FailClosed, &chain.at, &policy, ""),
        None => findings.at(Check::FailClosed, &chain.at, &policy, "there is no `failure_policy`"),
    }
    let stop = plugin.field("allow_on_headers_stop_iteration");
    if !stop.is_true() {
        findings.at(Check::HeadersStop, &chain.at, &stop, "");
    }
    let remote = plugin.at("vm_config.code.remote");
    if remote.is_there() && remote.field("sha256").text().is_none_or(str::is_empty) {
        findings.at(Check::ModuleUnpinned, &chain.at, &remote, "");
    }
}

/// As the filter reads it: what it does not take, Envoy does not start with.
fn plugin_read(chain: &Chain<'_>, gate: &Gate<'_>, told: &Value, findings: &mut Findings) {
    let place = gate.plugin.field("configuration");
    let read = match place.field("value").text() {
        Some(text) => Config::parse(text.as_bytes()),
        None => Config::parse(told.to_string().as_bytes()),
    };
    if let Err(error) = read {
        findings.at(Check::PluginUnreadable, &chain.at, &place, agentgate_core::error::chain(&error));
    }
}

/// What it is told and may be told, and a person should know of.
fn plugin_told(chain: &Chain<'_>, gate: &Gate<'_>, told: &Value, findings: &mut Findings) {
    let place = &gate.plugin.field("configuration");
    if told.get("unnamed_paths").and_then(Value::as_str) == Some("pass") {
        findings.at(Check::UnnamedPass, &chain.at, place, "");
    }
    for route in gate.told_routes() {
        let Some(server) = route.get("server").and_then(Value::as_str) else { continue };
        if route.get("mode").and_then(Value::as_str) == Some("observe") {
            findings.at(Check::Observes, &chain.at, place, observed(server));
        }
        origins(chain, place, server, route, findings);
    }
}

/// The words of [`Check::Observes`], by which it is withdrawn where more is known.
#[must_use]
pub(crate) fn observed(server: &str) -> String {
    format!("`{server}` is observed")
}

fn origins(chain: &Chain<'_>, place: &Place<'_>, server: &str, route: &Value, findings: &mut Findings) {
    let origins = route.get("origins").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    for origin in origins {
        findings.at(Check::OriginsNamed, &chain.at, place, format!("`{origin}`, at `{server}`"));
        let host =
            origin.strip_prefix("http://").map(|host| host.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches(':'));
        if host.is_some_and(|host| !["localhost", "127.0.0.1", "[::1]"].contains(&host) && !host.starts_with("127.")) {
            findings.at(Check::OriginPlain, &chain.at, place, format!("`{origin}`, at `{server}`"));
        }
    }
}
