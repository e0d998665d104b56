//! Looks at the clusters: the control plane's, which must be believed and must believe, and those of the gated servers.

use super::configuration::Configuration;
use super::finding::Findings;
use super::listener::{buffer, has_roots, wanted, window};
use super::parts::{Chain, Gate};
use super::place::Place;
use super::route::ways;
use super::table::Check;
use std::collections::BTreeSet;

/// Envoy's own bound of streams to one cluster.
const REQUESTS_MAX_DEFAULT: u64 = 1_024;

/// One stream for each of eight workers and one for the main thread, twice while one is left for another.
const REQUESTS_MIN: u64 = 18;

pub(crate) fn look(configuration: &Configuration<'_>, chains: &[Chain<'_>], findings: &mut Findings) {
    let mut seen = BTreeSet::new();
    for chain in chains {
        let Some(gate) = chain.gate.as_ref().filter(|gate| gate.told.is_ok()) else { continue };
        servers(configuration, chain, gate, findings);
        let name = gate.control_plane();
        routed(chains, name, findings);
        match configuration.cluster(name) {
            Some(cluster) if seen.insert(name) => control_plane(configuration, cluster, name, findings),
            Some(_) => {}
            None => findings.at(Check::ClusterMissing, &chain.at, &gate.filter, format!("it is named `{name}`")),
        }
    }
}

fn servers(configuration: &Configuration<'_>, chain: &Chain<'_>, gate: &Gate<'_>, findings: &mut Findings) {
    let names: BTreeSet<&str> = ways(chain).into_iter().flat_map(|way| way.clusters).collect();
    for name in names {
        let Some(cluster) = configuration.cluster(name) else { continue };
        let (at, wanted, limit) = (format!("cluster {name}"), wanted(gate), buffer(cluster));
        if limit < wanted {
            let place = cluster.field("per_connection_buffer_limit_bytes");
            findings.at(Check::BufferServer, &at, &place, format!("{limit} bytes, and {wanted} are wanted"));
        }
        for options in protocols(cluster).all("http2_protocol_options") {
            window(&at, &options, wanted, findings);
        }
        let retries = protocols(cluster);
        for (check, name) in
            [(Check::Retries, "retry_policy"), (Check::Mirror, "request_mirror_policies"), (Check::Retries, "hedge_policy")]
        {
            let policy = retries.field(name);
            if policy.is_there() {
                findings.at(check, &at, &policy, format!("by `{name}`"));
            }
        }
    }
}

fn routed(chains: &[Chain<'_>], name: &str, findings: &mut Findings) {
    for way in chains.iter().flat_map(ways) {
        if way.clusters.contains(&name) {
            findings.at(Check::ControlPlaneRouted, &way.at, &way.place, "");
        }
    }
}

fn protocols<'a>(cluster: &Place<'a>) -> Place<'a> {
    cluster.field("typed_extension_protocol_options").field("envoy.extensions.upstreams.http.v3.HttpProtocolOptions")
}

fn control_plane(configuration: &Configuration<'_>, cluster: &Place<'_>, name: &str, findings: &mut Findings) {
    let at = format!("cluster {name}");
    spoken(&at, cluster, findings);
    let tls = cluster.at("transport_socket.typed_config");
    if tls.kind() != "UpstreamTlsContext" {
        findings.at(Check::ControlPlanePlain, &at, &cluster.field("transport_socket"), "");
        return;
    }
    let common = tls.opened().field("common_tls_context");
    if !has_roots(&common)
        || common.all("trust_chain_verification").iter().any(|action| action.text() == Some("ACCEPT_UNTRUSTED"))
    {
        findings.at(Check::ControlPlaneUnchecked, &at, &common, "");
    }
    let names = [common.all("match_typed_subject_alt_names"), common.all("match_subject_alt_names")].concat();
    let automatic = tls.opened().field("auto_sni_san_validation").is_true();
    if !automatic && names.iter().all(|names| names.items().is_empty()) {
        findings.at(Check::ControlPlaneUnnamed, &at, &common, "");
    }
    let least = common.at("tls_params.tls_minimum_protocol_version");
    if least.text() != Some("TLSv1_3") {
        findings.at(Check::ControlPlaneTls, &at, &least, "");
    }
    let own = certificates(&common);
    if own.is_empty() {
        findings.at(Check::FilterNameless, &at, &common, "");
    }
    for (other, place) in others(configuration, name) {
        for shared in certificates(&place.field("common_tls_context")).intersection(&own) {
            findings.at(Check::FilterShared, &other, &place, format!("it is `{shared}`"));
        }
    }
}

/// How it is spoken to.
fn spoken(at: &str, cluster: &Place<'_>, findings: &mut Findings) {
    let options = protocols(cluster).at("explicit_http_config.http2_protocol_options");
    let old = cluster.field("http2_protocol_options");
    let options = if options.is_there() { options } else { old };
    if !options.is_there() {
        findings.at(Check::ControlPlaneHttp2, at, cluster, "");
    } else if !options.field("connection_keepalive").is_there() {
        findings.at(Check::ControlPlaneKeepalive, at, &options, "");
    }
    for thresholds in cluster.at("circuit_breakers.thresholds").items() {
        let priority = thresholds.field("priority").text().unwrap_or("DEFAULT");
        let requests = thresholds.field("max_requests");
        if priority == "DEFAULT" && requests.number().unwrap_or(REQUESTS_MAX_DEFAULT) < REQUESTS_MIN {
            findings.at(Check::ControlPlaneBreakers, at, &requests, format!("{} at most", requests.number().unwrap_or_default()));
        }
    }
}

/// Every other connection that shows a certificate: listeners, and clusters but the control plane's.
fn others<'a>(configuration: &Configuration<'a>, control_plane: &str) -> Vec<(String, Place<'a>)> {
    let named = |kind: &str, place: &Place<'_>| format!("{kind} {}", place.field("name").text().unwrap_or("without a name"));
    let mut others = Vec::new();
    for listener in &configuration.listeners {
        for socket in listener.all("transport_socket") {
            others.push((named("listener", listener), socket.field("typed_config").opened()));
        }
    }
    for cluster in configuration.clusters.iter().filter(|cluster| cluster.field("name").text() != Some(control_plane)) {
        for socket in cluster.all("transport_socket") {
            others.push((named("cluster", cluster), socket.field("typed_config").opened()));
        }
    }
    others
}

/// What a connection shows, by file or by secret. The same secret of the same source is the same certificate.
fn certificates(common: &Place<'_>) -> BTreeSet<String> {
    let files = common.field("tls_certificates").items().into_iter().filter_map(|pair| {
        let chain = pair.field("certificate_chain");
        let written = chain.field("filename").text().or_else(|| chain.field("inline_string").text());
        written.or_else(|| chain.field("inline_bytes").text()).map(ToOwned::to_owned)
    });
    let secrets = common.field("tls_certificate_sds_secret_configs").items().into_iter().filter_map(|secret| {
        let source = secret.at("sds_config.path_config_source.path").text().unwrap_or_default();
        Some(format!("{} {source}", secret.field("name").text()?).trim_end().to_owned())
    });
    files.chain(secrets).collect()
}
