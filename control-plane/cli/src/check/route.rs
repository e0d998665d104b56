//! Looks at every route of a gated chain: one verdict must be one execution, at the server that the verdict was about.

use super::finding::Findings;
use super::parts::{Chain, Gate};
use super::place::Place;
use super::table::Check;
use std::time::Duration;

/// The filter removes or changes these, whatever else it lets through.
const CHANGED: [&str; 5] = ["x-original-url", "x-rewrite-url", "x-forwarded-uri", "accept-encoding", "content-length"];

/// What names another path, to some servers.
const OTHER_PATHS: [&str; 3] = ["x-original-url", "x-rewrite-url", "x-forwarded-uri"];

/// What the filter waits for a verdict, when it is not told.
const ASK_TIMEOUT_MS: u64 = 2_000;

/// A route that leads to a server, and where.
#[derive(Clone, Debug)]
pub(crate) struct Way<'a> {
    pub(crate) at: String,
    pub(crate) place: Place<'a>,
    pub(crate) host: Place<'a>,
    pub(crate) clusters: Vec<&'a str>,
}

/// Every route with the clusters that it leads to. Redirects and answers of Envoy's own lead to none.
#[must_use]
pub(crate) fn ways<'a>(chain: &Chain<'a>) -> Vec<Way<'a>> {
    let mut ways = Vec::new();
    for host in chain.routes.iter().flat_map(|routes| routes.field("virtual_hosts").items()) {
        let name = host.field("name").text().unwrap_or("without a name");
        for (index, place) in host.field("routes").items().into_iter().enumerate() {
            let action = place.field("route");
            if !action.is_there() {
                continue;
            }
            let weighted = action.at("weighted_clusters.clusters").items().into_iter().map(|cluster| cluster.field("name"));
            let clusters = [action.field("cluster")].into_iter().chain(weighted).filter_map(|cluster| cluster.text()).collect();
            let at = format!("{}, host {name}, route {}", chain.at, index + 1);
            ways.push(Way { at, place, host: host.clone(), clusters });
        }
    }
    ways
}

pub(crate) fn look(chain: &Chain<'_>, gate: &Gate<'_>, findings: &mut Findings) {
    let Some(routes) = &chain.routes else { return };
    multiplied(&chain.at, routes, findings);
    removed(chain, routes, findings);
    for way in ways(chain) {
        let action = way.place.field("route");
        for level in [&way.host, &way.place, &action] {
            multiplied(&way.at, level, findings);
        }
        chosen(&way, findings);
        timeouts(&way, chain, gate, findings);
        for upgrade in [action.field("upgrade_configs"), way.place.at("match.connect_matcher")] {
            if upgrade.is_there() {
                findings.at(Check::Upgrade, &way.at, &upgrade, "");
            }
        }
    }
}

/// What makes several executions of one verdict, at any level.
fn multiplied(at: &str, level: &Place<'_>, findings: &mut Findings) {
    for (check, names) in [
        (Check::Retries, &["retry_policy", "retry_policy_typed_config", "hedge_policy"][..]),
        (Check::Mirror, &["request_mirror_policies"]),
        (Check::InternalRedirect, &["internal_redirect_policy"]),
    ] {
        for name in names {
            let field = level.field(name);
            let empty = field.value.as_array().is_some_and(Vec::is_empty);
            if field.is_there() && !empty {
                findings.at(check, at, &field, format!("by `{name}`"));
            }
        }
    }
    for added in level.field("request_headers_to_add").items() {
        let name = added.at("header.key").text().unwrap_or_default().to_ascii_lowercase();
        if name.starts_with("x-envoy-") {
            findings.at(Check::RetryHeader, at, &added, format!("it adds `{name}`"));
        }
    }
}

fn removed(chain: &Chain<'_>, routes: &Place<'_>, findings: &mut Findings) {
    let field = routes.field("request_headers_to_remove");
    let removed: Vec<String> = field.items().iter().filter_map(|name| Some(name.text()?.to_ascii_lowercase())).collect();
    let left: Vec<&str> = OTHER_PATHS.into_iter().filter(|name| !removed.iter().any(|other| other == name)).collect();
    if !left.is_empty() {
        findings.at(Check::HeadersLeft, &chain.at, &field, left.join(", "));
    }
}

fn chosen(way: &Way<'_>, findings: &mut Findings) {
    let action = way.place.field("route");
    for field in ["cluster_header", "cluster_specifier_plugin", "inline_cluster_specifier_plugin"] {
        let place = action.field(field);
        if place.is_there() {
            findings.at(Check::RouteByChanged, &way.at, &place, format!("by `{field}`"));
        }
    }
    for header in way.place.at("match.headers").items() {
        let name = header.field("name").text().unwrap_or_default().to_ascii_lowercase();
        let changed = name.starts_with("x-envoy-") || CHANGED.contains(&name.as_str());
        let check = if changed { Check::RouteByChanged } else { Check::RouteByHeader };
        if name != ":authority" {
            findings.at(check, &way.at, &header, format!("by `{name}`"));
        }
    }
}

fn timeouts(way: &Way<'_>, chain: &Chain<'_>, gate: &Gate<'_>, findings: &mut Findings) {
    let timeout = way.place.at("route.timeout");
    if timeout.duration() != Some(Duration::ZERO) {
        findings.at(Check::RouteTimeout, &way.at, &timeout, "");
    }
    let own = way.place.at("route.idle_timeout");
    let idle = if own.is_there() { own } else { chain.manager.field("stream_idle_timeout") };
    idles(&way.at, &idle, gate, findings);
}

/// Envoy's own value is five minutes.
fn idles(at: &str, idle: &Place<'_>, gate: &Gate<'_>, findings: &mut Findings) {
    let ask = gate.told_number("/control_plane/ask_timeout_ms").unwrap_or(ASK_TIMEOUT_MS);
    match idle.duration() {
        None => {}
        Some(Duration::ZERO) => findings.at(Check::IdleUnbounded, at, idle, ""),
        Some(idle_for) if idle_for <= Duration::from_millis(ask) => {
            findings.at(Check::IdleShort, at, idle, format!("{} ms, and it asks for up to {ask} ms", idle_for.as_millis()));
        }
        Some(_) => {}
    }
}
