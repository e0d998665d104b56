//! Looks at a gated listener and its connection manager: who may speak, how much is held, and that a path has one spelling.

use super::configuration::Configuration;
use super::finding::Findings;
use super::parts::{Chain, Gate};
use super::place::Place;
use super::table::Check;
use std::time::Duration;

/// What stands above the filter's own limit.
const MARGIN_BYTES: u64 = 1_024 * 1_024;

/// Envoy's own limit where none is written.
const BUFFER_BYTES_DEFAULT: u64 = 1_024 * 1_024;

/// Longer than this a closed connection hangs.
const DELAYED_CLOSE_MAX: Duration = Duration::from_secs(1);

pub(crate) fn admin(configuration: &Configuration<'_>, findings: &mut Findings) {
    for admin in &configuration.admin {
        let address = admin.field("address");
        if address.is_there() && is_open(&address) {
            findings.at(Check::AdminOpen, "admin", &address, shown(&address));
        }
    }
}

pub(crate) fn look(chain: &Chain<'_>, gate: &Gate<'_>, findings: &mut Findings) {
    held(chain, gate, findings);
    spelled(chain, findings);
    bounded(chain, findings);
    callers(chain, findings);
}

/// So much must fit.
#[must_use]
pub(crate) fn wanted(gate: &Gate<'_>) -> u64 {
    gate.body_bytes_max().saturating_add(MARGIN_BYTES)
}

/// What a `per_connection_buffer_limit_bytes` allows.
#[must_use]
pub(crate) fn buffer(holder: &Place<'_>) -> u64 {
    holder.field("per_connection_buffer_limit_bytes").number().unwrap_or(BUFFER_BYTES_DEFAULT)
}

fn held(chain: &Chain<'_>, gate: &Gate<'_>, findings: &mut Findings) {
    let wanted = wanted(gate);
    let limit = buffer(&chain.listener);
    if limit < wanted {
        let place = chain.listener.field("per_connection_buffer_limit_bytes");
        findings.at(Check::BufferListener, &chain.at, &place, format!("{limit} bytes, and {wanted} are wanted"));
    }
    window(&chain.at, &chain.manager.field("http2_protocol_options"), wanted, findings);
}

/// Of HTTP/2, on either side.
pub(crate) fn window(at: &str, options: &Place<'_>, wanted: u64, findings: &mut Findings) {
    let window = options.field("initial_stream_window_size");
    match window.number() {
        Some(bytes) if bytes < wanted => {
            findings.at(Check::Window, at, &window, format!("{bytes} bytes, and {wanted} are wanted"));
        }
        Some(_) => {}
        None => findings.at(Check::WindowDefault, at, &window, ""),
    }
}

fn spelled(chain: &Chain<'_>, findings: &mut Findings) {
    let manager = &chain.manager;
    for (check, name) in [(Check::NormalizePath, "normalize_path"), (Check::MergeSlashes, "merge_slashes")] {
        let field = manager.field(name);
        if !field.is_true() {
            findings.at(check, &chain.at, &field, "");
        }
    }
    let slashes = manager.field("path_with_escaped_slashes_action");
    if !matches!(slashes.text(), Some("REJECT_REQUEST" | "UNESCAPE_AND_REDIRECT")) {
        findings.at(Check::EscapedSlashes, &chain.at, &slashes, "");
    }
    let underscores = manager.at("common_http_protocol_options.headers_with_underscores_action");
    if !matches!(underscores.text(), Some("REJECT_REQUEST" | "DROP_HEADER")) {
        findings.at(Check::Underscores, &chain.at, &underscores, "");
    }
    let upgrades = manager.field("upgrade_configs");
    if upgrades.is_there() {
        findings.at(Check::Upgrade, &chain.at, &upgrades, "");
    }
    let remote = manager.field("use_remote_address");
    if !remote.is_true() {
        findings.at(Check::ClientAddress, &chain.at, &remote, "");
    }
    let networks = manager.at("internal_address_config.cidr_ranges");
    for range in networks.items() {
        let prefix = range.field("address_prefix").text().unwrap_or_default();
        if !prefix.starts_with("127.") && prefix != "::1" {
            findings.at(Check::ClientAddress, &chain.at, &range, format!("`{prefix}` counts as internal"));
        }
    }
}

fn bounded(chain: &Chain<'_>, findings: &mut Findings) {
    let close = chain.manager.field("delayed_close_timeout");
    // Envoy's own value is 1 s.
    if close.duration().is_some_and(|after| after > DELAYED_CLOSE_MAX) {
        findings.at(Check::DelayedClose, &chain.at, &close, close.text().unwrap_or_default());
    }
    let request = chain.manager.field("request_timeout");
    if request.duration().unwrap_or_default().is_zero() {
        findings.at(Check::RequestTimeout, &chain.at, &request, "");
    }
}

fn callers(chain: &Chain<'_>, findings: &mut Findings) {
    let socket = chain.filter_chain.field("transport_socket");
    let tls = socket.field("typed_config");
    if tls.kind() != "DownstreamTlsContext" {
        let address = chain.listener.field("address");
        if is_open(&address) {
            findings.at(Check::ListenerOpen, &chain.at, &address, shown(&address));
        }
        return;
    }
    let tls = tls.opened();
    let required = tls.field("require_client_certificate");
    if !required.is_true() {
        findings.at(Check::CallersUnnamed, &chain.at, &required, "");
    }
    let common = tls.field("common_tls_context");
    let untrusted = tls.all("trust_chain_verification").into_iter().find(|action| action.text() == Some("ACCEPT_UNTRUSTED"));
    if let Some(untrusted) = untrusted {
        findings.at(Check::CallersUnchecked, &chain.at, &untrusted, "`ACCEPT_UNTRUSTED`");
    } else if !has_roots(&common) {
        findings.at(Check::CallersUnchecked, &chain.at, &common, "there are no trust roots");
    }
    let age = chain.manager.at("common_http_protocol_options.max_connection_duration");
    if age.duration().unwrap_or_default().is_zero() {
        findings.at(Check::ConnectionAge, &chain.at, &age, "");
    }
}

/// A certificate of the other side is checked against something.
#[must_use]
pub(crate) fn has_roots(common: &Place<'_>) -> bool {
    let combined = common.field("combined_validation_context");
    let secrets = [common.field("validation_context_sds_secret_config"), combined.field("validation_context_sds_secret_config")];
    let written = [common.field("validation_context"), combined.field("default_validation_context")];
    let roots = |context: &Place<'_>| {
        ["trusted_ca", "verify_certificate_hash", "verify_certificate_spki", "custom_validator_config"]
            .iter()
            .any(|name| context.field(name).is_there())
    };
    secrets.iter().any(Place::is_there) || written.iter().any(roots)
}

/// Reachable from other machines. A socket that is a file is not.
fn is_open(address: &Place<'_>) -> bool {
    let socket = address.field("socket_address");
    let host = socket.field("address").text().unwrap_or_default();
    let loopback = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    socket.is_there() && !loopback
}

fn shown(address: &Place<'_>) -> String {
    let socket = address.field("socket_address");
    format!("{}:{}", socket.field("address").text().unwrap_or_default(), socket.field("port_value").number().unwrap_or_default())
}
