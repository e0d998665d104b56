//! Every check has a configuration, a certificate or a control plane where it fires, and one where it does not.

mod certificates;
mod running;

use super::configuration::Configuration;
use super::finding::Findings;
use super::place::Place;
use super::table::{Check, Severity, document};
use super::{configured, yaml};
use crate::envoy::tests::configuration;
use std::collections::BTreeSet;

const SHIPPED: &str = include_str!("../../../../envoy/bootstrap.yaml");

/// Where a route's own fields stand.
const ROUTE: &str = "                            timeout: 0s\n";
const END: &str = "                            max_stream_duration: {max_stream_duration: 0s}\n";
const FILTER: &str = "                  - name: agentgate\n";
const STOP: &str = "                        allow_on_headers_stop_iteration: true\n";
const RELOAD: &str = "failure_policy: FAIL_RELOAD\n";
const CODE: &str = "code: {local: {filename: agentgate_filter.wasm}}";
const LISTENER: &str = "      per_connection_buffer_limit_bytes: 2097152\n      filter_chains:";
const SERVER: &str = "      per_connection_buffer_limit_bytes: 2097152\n      load_assignment:";
/// Of ext_authz.
const TYPE: &str = "                      transport_api_version: V3\n";
const ORIGIN: &str = "\"server\": \"notes\" }";

/// A change to the shipped configuration, and the checks that it makes fire.
fn outbound() -> Vec<(Check, &'static str, String)> {
    let route = |more: &str| format!("{ROUTE}{}{more}\n", " ".repeat(28));
    let listener = |filter: &str| {
        format!(
            "    - {{name: other, address: {{socket_address: {{address: 127.0.0.1, port_value: 1}}}}, filter_chains: [{{filters: [{filter}]}}]}}\n\n  clusters:\n"
        )
    };
    let manager = |route: &str| {
        format!(
            "{{name: m, typed_config: {{\"@type\": a.HttpConnectionManager, route_config: {{virtual_hosts: \
             [{{name: v, domains: [\"*\"], routes: [{{match: {{prefix: /}}, route: {{{route}}}}}]}}]}}}}}}"
        )
    };
    let after = "                  - {name: lua, typed_config: {\"@type\": a.Lua}}\n                  - name: envoy.filters.http.router\n";
    vec![
        (Check::GateMissing, "extensions.filters.http.wasm.v3.Wasm", "extensions.filters.http.lua.v3.Lua".into()),
        (Check::GateBypassed, "\n  clusters:\n", listener("{name: t, typed_config: {\"@type\": a.TcpProxy, cluster: server}}")),
        (Check::GateBypassed, "\n  clusters:\n", listener(&manager("cluster: server"))),
        (
            Check::GateBypassed,
            "\n  clusters:\n",
            listener(&manager("weighted_clusters: {clusters: [{name: x, weight: 1}, {name: server, weight: 1}]}")),
        ),
        (Check::GateDisabled, FILTER, format!("{FILTER}                    disabled: yes\n")),
        (
            Check::GateDisabled,
            END,
            format!("{END}                          typed_per_filter_config: {{agentgate: {{\"@type\": a.FilterConfig, disabled: true}}}}\n"),
        ),
        (Check::GateOverridden, END, format!("{END}                          typedPerFilterConfig: {{agentgate: {{\"@type\": a.Other}}}}\n")),
        (Check::GateOptional, FILTER, format!("{FILTER}                    is_optional: true\n")),
        (Check::GateElsewhere, FILTER, format!("{FILTER}                    config_discovery: {{type_urls: [a.Wasm]}}\n")),
        (Check::FilterAfterGate, "                  - name: envoy.filters.http.router\n", after.into()),
        (Check::FailOpen, RELOAD, "failure_policy: FAIL_OPEN\n".into()),
        (Check::FailOpen, RELOAD, "fail_open: true\n".into()),
        (Check::FailClosed, RELOAD, "failure_policy: FAIL_CLOSED\n".into()),
        (Check::FailClosed, RELOAD, "other: 1\n".into()),
        (Check::HeadersStop, STOP, String::new()),
        (Check::HeadersStop, STOP, STOP.replace("true", "false")),
        (Check::ModuleUnpinned, CODE, "code: {remote: {http_uri: {uri: \"https://a/f.wasm\"}}}".into()),
        (Check::PluginUnreadable, "\"unnamed_paths\": \"refuse\",", "unnamed_paths: refuse,".into()),
        (Check::PluginUnreadable, "\"unnamed_paths\": \"refuse\",", "\"unnamed_paths\": \"maybe\",".into()),
        (Check::PluginUnreadable, ORIGIN, "\"server\": \"notes\", \"mode\": \"watch\" }".into()),
        (Check::PluginUnreadable, "\"server\": \"notes\" }", "\"name\": \"notes\" }".into()),
        (Check::PluginUnreadable, "\"path\": \"/mcp\", \"server\": \"notes\" }", "\"server\": \"notes\" }".into()),
        (Check::PluginUnreadable, "\"path\": \"/mcp\", \"server\": \"notes\" }", "\"path\": \"mcp\", \"server\": \"notes\" }".into()),
        (Check::UnnamedPass, "\"unnamed_paths\": \"refuse\",", "\"unnamed_paths\": \"pass\",".into()),
        (Check::Observes, ORIGIN, "\"server\": \"notes\", \"mode\": \"observe\" }".into()),
        (Check::OriginsNamed, ORIGIN, "\"server\": \"notes\", \"origins\": [\"https://a.example\"] }".into()),
        (Check::OriginPlain, ORIGIN, "\"server\": \"notes\", \"origins\": [\"http://a.example\"] }".into()),
        (Check::BufferListener, LISTENER, LISTENER.replace("2097152", "2097151")),
        (Check::BufferListener, LISTENER, "      filter_chains:".into()),
        (Check::BufferServer, SERVER, SERVER.replace("2097152", "1048576")),
        (Check::Window, "                  initial_stream_window_size: 2097152\n", "                  initial_stream_window_size: 65536\n".into()),
        (Check::WindowDefault, "                  initial_stream_window_size: 2097152\n", String::new()),
        (Check::Retries, ROUTE, route("retry_policy: {retry_on: 5xx}")),
        (Check::Retries, ROUTE, route("hedge_policy: {}")),
        (Check::Retries, "include_request_attempt_count: false", "retry_policy: {retry_on: 5xx}".into()),
        (Check::Mirror, ROUTE, route("request_mirror_policies: [{cluster: server}]")),
        (Check::InternalRedirect, ROUTE, route("internal_redirect_policy: {}")),
        (
            Check::RetryHeader,
            "include_request_attempt_count: false",
            "request_headers_to_add: [{header: {key: X-Envoy-Max-Retries, value: \"3\"}}]".into(),
        ),
        (Check::NormalizePath, "normalize_path: true", "normalize_path: false".into()),
        (Check::MergeSlashes, "                merge_slashes: true\n", String::new()),
        (Check::EscapedSlashes, "path_with_escaped_slashes_action: REJECT_REQUEST", "path_with_escaped_slashes_action: KEEP_UNCHANGED".into()),
        (Check::Underscores, "headers_with_underscores_action: REJECT_REQUEST", "headers_with_underscores_action: ALLOW".into()),
        (Check::RouteByHeader, "match: {prefix: /}", "match: {prefix: /, headers: [{name: x-team, present_match: true}]}".into()),
        (Check::RouteByChanged, "match: {prefix: /}", "match: {prefix: /, headers: [{name: X-Envoy-Any, present_match: true}]}".into()),
        (Check::RouteByChanged, "cluster: server\n", "cluster_header: x-team\n".into()),
        (Check::HeadersLeft, "                    - x-rewrite-url\n", String::new()),
        (Check::Upgrade, "                normalize_path: true\n", "                upgrade_configs: [{upgrade_type: websocket}]\n                normalize_path: true\n".into()),
        (Check::Upgrade, "match: {prefix: /}", "match: {connect_matcher: {}}".into()),
        (Check::RouteTimeout, ROUTE, String::new()),
        (Check::RouteTimeout, ROUTE, ROUTE.replace("0s", "15s")),
        (Check::IdleUnbounded, "stream_idle_timeout: 300s", "stream_idle_timeout: 0s".into()),
        (Check::IdleShort, "stream_idle_timeout: 300s", "stream_idle_timeout: 2s".into()),
        (Check::DelayedClose, "delayed_close_timeout: 0.05s", "delayed_close_timeout: 5s".into()),
        (Check::RequestTimeout, "                request_timeout: 30s\n", String::new()),
        (Check::ClientAddress, "                use_remote_address: true\n", String::new()),
        (
            Check::ClientAddress,
            "                use_remote_address: true\n",
            "                use_remote_address: true\n                internal_address_config: {cidr_ranges: [{address_prefix: 10.0.0.0, prefix_len: 8}]}\n".into(),
        ),
        (Check::AdminOpen, "{address: 127.0.0.1, port_value: 9901}", "{address: 0.0.0.0, port_value: 9901}".into()),
        (Check::ListenerOpen, "{address: 127.0.0.1, port_value: 10000}", "{address: \"::\", port_value: 10000}".into()),
        (Check::ClusterMissing, "\"cluster\": \"agentgate\"", "\"cluster\": \"elsewhere\"".into()),
        (Check::ControlPlaneRouted, "cluster: server\n", "cluster: agentgate\n".into()),
        (Check::ControlPlanePlain, "tls.v3.UpstreamTlsContext", "raw_buffer.v3.RawBuffer".into()),
        (Check::ControlPlaneUnchecked, "              validation_context_sds_secret_config:\n", "              other:\n".into()),
        (Check::ControlPlaneUnnamed, "                match_typed_subject_alt_names:\n", "                other:\n".into()),
        (Check::ControlPlaneTls, "tls_minimum_protocol_version: TLSv1_3, ", String::new()),
        (Check::FilterNameless, "            tls_certificate_sds_secret_configs:\n", "            other:\n".into()),
        (Check::ControlPlaneHttp2, "explicit_http_config:\n            http2_protocol_options:\n", "explicit_http_config:\n            http_protocol_options:\n".into()),
        (Check::ControlPlaneKeepalive, "              connection_keepalive: {interval: 10s, timeout: 5s}\n", String::new()),
        (Check::ControlPlaneBreakers, "max_requests: 256", "max_requests: 4".into()),
    ]
}

/// The same for the configuration of an inbound gate with an https server.
fn inbound() -> Vec<(Check, &'static str, String)> {
    let secret = "                  - name: listener\n                    sds_config:\n                      \
                  path_config_source:\n                        path: sds/listener.yaml\n";
    vec![
        (Check::CallersUnnamed, "require_client_certificate: true", "require_client_certificate: false".into()),
        (
            Check::CallersUnchecked,
            "trust_chain_verification: VERIFY_TRUST_CHAIN",
            "trust_chain_verification: ACCEPT_UNTRUSTED".into(),
        ),
        (
            Check::CallersUnchecked,
            "                  validation_context_sds_secret_config:\n                    name: callers\n",
            "                  other:\n                    name: callers\n".into(),
        ),
        (Check::ConnectionAge, "                  max_connection_duration: 600s\n", String::new()),
        (Check::FilterShared, secret, secret.replace("listener", "filter")),
    ]
}

/// The same for a gate of Envoy's ext_authz.
fn ext_authz() -> Vec<(Check, &'static str, String)> {
    let field = |more: &str| format!("                      {more}\n{TYPE}");
    let settings = "                              check_settings:\n";
    let setting = |more: &str| format!("{settings}                                {more}\n");
    vec![
        (Check::FailOpen, "failure_mode_allow: false", "failure_mode_allow: true".into()),
        (Check::AuthzSometimes, TYPE, field("filter_enabled: {default_value: {numerator: 1}}")),
        (Check::AuthzSometimes, TYPE, field("denyAtDisable: {default_value: false}")),
        (Check::AuthzBody, "allow_partial_message: false", "allow_partial_message: true".into()),
        (Check::AuthzBody, "                      with_request_body:\n", "                      other:\n".into()),
        (Check::AuthzBody, "max_request_bytes: 1048576", "max_request_bytes: 0".into()),
        (Check::AuthzBody, "pack_as_bytes: true", "pack_as_bytes: false".into()),
        (Check::BufferListener, "max_request_bytes: 1048576", "max_request_bytes: 4194304".into()),
        (Check::AuthzHeaders, "encode_raw_headers: true", "encode_raw_headers: false".into()),
        (Check::AuthzHeaders, TYPE, field("allowed_headers: {patterns: []}")),
        (Check::AuthzHeaders, TYPE, field("disallowed_headers: {patterns: []}")),
        (Check::AuthzTimeout, "timeout: 3s", "timeout: 2s".into()),
        (Check::AuthzTimeout, "                        timeout: 3s\n", String::new()),
        (Check::AuthzRetries, "{cluster_name: agentgate}", "{cluster_name: agentgate, retry_policy: {num_retries: 1}}".into()),
        (Check::RouteByChanged, TYPE, field("clear_route_cache: true")),
        (Check::PluginUnreadable, "                        envoy_grpc: {cluster_name: agentgate}\n", String::new()),
        (Check::ClusterMissing, "{cluster_name: agentgate}", "{cluster_name: elsewhere}".into()),
        (
            Check::GateDisabled,
            settings,
            "                              disabled: true\n                              other:\n".into(),
        ),
        (Check::GateOverridden, settings, setting("disable_request_body_buffering: true")),
        (Check::GateOverridden, settings, setting("with_request_body: {max_request_bytes: 1}")),
        (Check::GateMissing, "ext_authz.v3.ExtAuthz\n", "lua.v3.Lua\n".into()),
        (Check::PluginUnreadable, "agentgate.path: /mcp", "agentgate.path: mcp".into()),
        (Check::PluginUnreadable, "agentgate.path: /mcp", "agentgate.paths: /mcp".into()),
        (
            Check::PluginUnreadable,
            "agentgate.path: /mcp",
            "agentgate.path: /mcp\n                                  agentgate.mode: watch".into(),
        ),
        (Check::PluginUnreadable, "agentgate.server: notes", "agentgate.server: a b".into()),
    ]
}

/// The same for a gate that reads users' claims behind Envoy's jwt_authn.
fn users() -> Vec<(Check, &'static str, String)> {
    vec![
        (Check::UsersUnverified, "jwt_authn.v3.JwtAuthentication", "lua.v3.Lua".into()),
        (Check::UsersUnverified, "\"metadata\": \"jwt\"", "\"metadata\": \"other\"".into()),
        (Check::UsersUnverified, ", payload_in_metadata: jwt", String::new()),
        (Check::UsersUnverified, "provider_name: idp", "allow_missing: {}".into()),
        (
            Check::UsersUnverified,
            "name: envoy.filters.http.jwt_authn,",
            "name: envoy.filters.http.jwt_authn, disabled: true,".into(),
        ),
        (Check::UsersAnyAudience, "audiences: [notes], ", String::new()),
        (Check::UsersAnyAudience, "audiences: [notes], ", "audiences: [], ".into()),
    ]
}

const CLAIMS: &str = "\"server\": \"notes\", \"claims\": { \"metadata\": \"jwt\", \"names\": [\"sub\"] } }";

/// As docs/operating.md has it.
const VERIFIER: &str = "                  - {name: envoy.filters.http.jwt_authn, typed_config: {\"@type\": a.jwt_authn.v3.JwtAuthentication, \
    providers: {idp: {issuer: \"https://idp.example\", audiences: [notes], payload_in_metadata: jwt}}, \
    rules: [{match: {prefix: /}, requires: {provider_name: idp}}]}}\n";

fn with_users() -> String {
    SHIPPED.replace(ORIGIN, CLAIMS).replace(FILTER, &format!("{VERIFIER}{FILTER}"))
}

/// What fires by this configuration alone.
fn fired(text: &str) -> Findings {
    let document = yaml::read(text).expect("YAML");
    let mut findings = Findings::default();
    configured(&Configuration::of(&Place::root(&document)), &mut findings);
    findings
}

fn names(findings: &Findings) -> BTreeSet<Check> {
    findings.list.iter().map(|finding| finding.check).collect()
}

fn check(base: &str, (wanted, from, to): &(Check, &str, String)) {
    assert_eq!(base.matches(from).count(), 1, "{}: `{from}` must stand there once", wanted.name());
    let findings = fired(&base.replace(from, to));
    let finding = findings.list.iter().find(|finding| finding.check == *wanted);
    let finding = finding.unwrap_or_else(|| panic!("{} does not fire at `{to}`, but {:?}", wanted.name(), names(&findings)));
    assert!(!finding.at.is_empty());
    assert!(finding.line.is_some() || *wanted == Check::GateMissing, "{finding:?} names no line");
}

fn gateway() -> String {
    configuration(&["--at", "inbound", "--upstream", "https://tools.example/mcp", "--server", "notes", "--mode", "enforce"])
}

fn by_ext_authz(mode: &str) -> String {
    configuration(&[
        "--filter",
        "ext-authz",
        "--at",
        "outbound",
        "--upstream",
        "http://127.0.0.1:8000/mcp",
        "--server",
        "notes",
        "--mode",
        mode,
    ])
}

#[test]
fn what_we_ship_and_print_has_nothing_to_find() {
    assert_eq!(names(&fired(SHIPPED)), BTreeSet::new());
    assert_eq!(names(&fired(&gateway())), BTreeSet::new());
    assert_eq!(names(&fired(&with_users())), BTreeSet::new());
    assert_eq!(names(&fired(&by_ext_authz("enforce"))), BTreeSet::new());
    assert_eq!(names(&fired(&by_ext_authz("observe"))), BTreeSet::from([Check::Observes]));
}

#[test]
fn an_ext_authz_that_asks_somebody_else_is_no_gate_of_ours() {
    let other = by_ext_authz("enforce")
        .replace("- name: agentgate\n                    typed", "- name: other\n                    typed")
        .replace("{cluster_name: agentgate}", "{cluster_name: opa}");
    assert_eq!(names(&fired(&other)), BTreeSet::from([Check::GateMissing]));
}

#[test]
fn each_fault_of_a_configuration_is_found_where_it_stands() {
    outbound().iter().for_each(|case| check(SHIPPED, case));
    let base = gateway();
    inbound().iter().for_each(|case| check(&base, case));
    let base = by_ext_authz("enforce");
    ext_authz().iter().for_each(|case| check(&base, case));
    let base = with_users();
    users().iter().for_each(|case| check(&base, case));
}

#[test]
fn who_vouches_for_users_stands_before_the_gate() {
    let router = "                  - name: envoy.filters.http.router\n";
    let asked = SHIPPED.replace(ORIGIN, CLAIMS);
    let said = |text: &str| {
        let found = fired(text).list.into_iter().find(|finding| finding.check == Check::UsersUnverified);
        found.map(|finding| finding.said).unwrap_or_default()
    };
    assert_eq!(said(&asked), "there is none that keeps `jwt`");
    assert_eq!(said(&asked.replace(router, &format!("{VERIFIER}{router}"))), "it stands behind the gate");
    let elsewhere =
        FILTER.replace("agentgate", "users") + "                    config_discovery: {type_urls: [a.JwtAuthentication]}\n";
    let found = fired(&asked.replace(FILTER, &(elsewhere + FILTER)));
    assert!(!names(&found).contains(&Check::UsersUnverified) && found.unseen[0].contains("`users`"), "{found:?}");
    // For each route, by name.
    let named = with_users().replace("rules: [", "requirement_map: {users: {provider_name: idp}}, other: [");
    assert_eq!(said(&named), "");
}

#[test]
fn a_fault_is_found_in_the_line_where_it_stands() {
    let text = SHIPPED.replace("normalize_path: true", "normalize_path: false");
    let line = text.lines().position(|line| line.contains("normalize_path: false")).map(|at| at + 1);
    assert_eq!(fired(&text).list.first().and_then(|finding| finding.line), line);
}

#[test]
fn tools_that_are_no_mcp_have_no_path_of_their_own() {
    let mapped = |second: &str| {
        let tool = |path: &str| format!("{{\"tool\": \"t\", \"method\": \"GET\", \"path\": \"{path}\"}}");
        let rest = format!("\"rest\": {{\"tools\": [{}, {}]}}, ", tool("/items/{id}"), tool(second));
        fired(&SHIPPED.replace("\"path\": \"/mcp\", ", &rest))
    };
    assert_eq!(names(&mapped("/others")), BTreeSet::new());
    let found = mapped("/items/low");
    assert_eq!(names(&found), BTreeSet::from([Check::PluginUnreadable]));
    assert_eq!(found.list[0].said, "`GET /items/low` overlaps with `GET /items/{id}`: a request could be taken for either");
}

#[test]
fn a_configuration_that_is_no_text_is_read_like_the_text_of_it() {
    let (start, end) = ("value: |\n", "\"server\": \"notes\" } ] }\n");
    let from = SHIPPED.find(start).expect("the plugin's configuration");
    let to = SHIPPED.find(end).expect("its end") + end.len();
    let structured = |route: &str| {
        let told = format!("value: {{control_plane: {{cluster: agentgate}}, routes: [{{server: notes, {route}}}]}}\n");
        fired(&format!("{}{told}{}", &SHIPPED[..from], &SHIPPED[to..]))
    };
    assert_eq!(names(&structured("path: /mcp, limits: {body_bytes_max: 1024}")), BTreeSet::new());
    assert_eq!(names(&structured("paths: /mcp")), BTreeSet::from([Check::PluginUnreadable]));
}

/// As a running Envoy's dump has it: each of these values is a secret to it.
#[test]
fn what_envoy_does_not_show_is_unseen_and_no_hole() {
    let shown = by_ext_authz("observe");
    let hidden = ["server: notes", "path: /mcp", "mode: observe"].iter().fold(shown, |text, said| {
        let (name, _) = said.split_once(' ').expect("a value");
        text.replace(&format!("agentgate.{said}"), &format!("agentgate.{name} \"[redacted]\""))
    });
    assert_eq!(hidden.matches("[redacted]").count(), 3);
    let findings = fired(&hidden);
    assert_eq!(names(&findings), BTreeSet::new());
    assert_eq!(findings.unseen.len(), 1);
    assert!(findings.unseen[0].contains("check --envoy-config FILE"), "{:?}", findings.unseen);
}

#[test]
fn nothing_is_found_twice_and_a_configuration_of_nothing_is_no_gate() {
    let twice = SHIPPED.replace(ROUTE, &format!("{ROUTE}                            retry_policy: {{retry_on: 5xx}}\n"));
    assert_eq!(fired(&twice).list.len(), 1);
    for text in ["{}", "static_resources: {listeners: [{name: a}]}", "[]", "configs: []"] {
        assert_eq!(names(&fired(text)), BTreeSet::from([Check::GateMissing]), "{text}");
    }
}

#[test]
fn every_check_is_tried_and_none_has_the_name_of_another() {
    let mut tried: BTreeSet<Check> =
        outbound().iter().chain(&inbound()).chain(&ext_authz()).chain(&users()).map(|(check, ..)| *check).collect();
    tried.extend(certificates::TRIED);
    tried.extend(running::TRIED);
    let untried: Vec<&str> = Check::ALL.iter().filter(|check| !tried.contains(check)).map(|check| check.name()).collect();
    assert_eq!(untried, Vec::<&str>::new());
    let names: BTreeSet<&str> = Check::ALL.iter().map(|check| check.name()).collect();
    assert_eq!(names.len(), Check::ALL.len());
    assert!(Severity::ALL.is_sorted());
}

#[test]
fn the_page_of_the_documents_is_the_table() {
    let page = include_str!("../../../../docs/check.md");
    assert!(page == document(), "docs/check.md is not what `agentgate check --list` prints; write it anew");
}
