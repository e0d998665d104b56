//! The plan as Envoy's configuration: `envoy/bootstrap.yaml` with this plan's values, and with what its place needs besides.
//!
//! It invents no setting that the bootstrap has: what differs is named here, block by block.

use super::address::{Host, HostPort};
use super::plan::{Behind, Callers, Plan};
use super::quote::{json, yaml};
use super::template::{BOOTSTRAP, Template, TemplateError, indented, taken};
use super::{Asks, At, secrets};
use agentgate_core::mode::Mode;

/// Whose words decide: the block between the listener's own settings and the router. Another gate takes the place of this one here.
const GATE: &str = "                  - name: agentgate";

/// Envoy's settings of the connection to a tool server that speaks TLS.
const UPSTREAM_TLS: &str = r#"      typed_extension_protocol_options:
        envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
          "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
          # HTTP/2 or HTTP/1.1, whichever the server takes in its handshake.
          auto_config:
            http2_protocol_options:
              # As the buffer limit above.
              initial_stream_window_size: 2097152
              initial_connection_window_size: 4194304
      transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
          # The agent speaks plain HTTP to the gate, or its call could not be read; from here on it is TLS again.
SNI          common_tls_context:
            # Envoy's clients stop at 1.2 unless they are told otherwise.
            tls_params: {tls_minimum_protocol_version: TLSv1_2, tls_maximum_protocol_version: TLSv1_3}
            validation_context:
              # AUTHORITY
              trusted_ca: {filename: TRUSTED}
              # This server and no other that the same roots vouch for.
              match_typed_subject_alt_names:
                - san_type: SAN_TYPE
                  matcher: {exact: SAN}
"#;

/// Where Debian and its kin keep the roots.
const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The listener of an inbound gate or a gateway: who calls is proven by a certificate.
const LISTENER_TLS: &str = r#"        - transport_socket:
            name: envoy.transport_sockets.tls
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
              # The caller's certificate is the principal: without one there is nobody to decide about.
              require_client_certificate: true
              common_tls_context:
                alpn_protocols: [h2, http/1.1]
                tls_params: {tls_minimum_protocol_version: TLSv1_2, tls_maximum_protocol_version: TLSv1_3}
                # The listener's own certificate, which callers check. Never the filter's: who can read that one can ask in its name.
                tls_certificate_sds_secret_configs:
                  - name: listener
                    sds_config:
                      path_config_source:
                        path: sds/listener.yaml
                        watched_directory: {path: sds}
                combined_validation_context:
                  default_validation_context:
                    # Never ACCEPT_UNTRUSTED: Envoy then shows the name of a forged certificate as if it were verified.
                    trust_chain_verification: VERIFY_TRUST_CHAIN
                    # The trust domain of `peers` in the control plane's [[filter]].
                    match_typed_subject_alt_names:
                      - san_type: URI
                        matcher: {prefix: TRUST_DOMAIN}
                  validation_context_sds_secret_config:
                    name: callers
                    sds_config:
                      path_config_source:
                        path: sds/callers.yaml
                        watched_directory: {path: sds}
          filters:
"#;

/// Envoy's own question before a request goes on, in the filter's place.
const EXT_AUTHZ: &str = r#"                  # Envoy asks, and says nothing of what becomes of a call: results are not seen, and lists not shortened.
                  - name: agentgate
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz
                      transport_api_version: V3
                      grpc_service:
                        envoy_grpc: {cluster_name: agentgate}
                        # Longer than the control plane's own 2 s, so that it can say why there is no verdict. No retry_policy: a
                        # question that is repeated is another call to it, and uses another grant.
                        timeout: 3s
                      # Where nobody can decide, nothing passes.
                      failure_mode_allow: false
                      status_on_error: {code: ServiceUnavailable}
                      # Bytes as they came, and a repeated header twice. No allowed_headers and no disallowed_headers: they hide some.
                      encode_raw_headers: true
                      # The whole body or none: a larger one gets a plain 413 of Envoy's, and no record.
                      with_request_body:
                        max_request_bytes: 1048576
                        allow_partial_message: false
                        pack_as_bytes: true
"#;

/// # Errors
/// The bootstrap and this program have grown apart.
pub(crate) fn configuration(plan: &Plan) -> Result<String, TemplateError> {
    // What a person may have written in any way comes last, so that no later change can hit it.
    let template = Template::of(BOOTSTRAP)
        .put("node: {id: laptop,", &format!("node: {{id: {},", yaml(&plan.node)))
        .put("{address: 127.0.0.1, port_value: 9901}", &socket(&plan.admin.ip().to_string(), plan.admin.port()))
        .put("{address: 127.0.0.1, port_value: 10000}", &socket(&plan.listen.ip().to_string(), plan.listen.port()));
    let template = routes(control_plane(template, plan), plan);
    let template = match &plan.callers {
        Some(_) => callers(template, plan),
        None => template,
    };
    template
        .block("    - name: server", &clusters(plan)?)
        .block(GATE, &gate(plan)?)
        .head("# Secrets that are read from files ask for both", &head(plan))
        .finish()
}

fn socket(address: &str, port: u16) -> String {
    format!("{{address: {}, port_value: {port}}}", yaml(address))
}

/// What stands above all settings: where this gate is, how it judges, and what it needs.
fn head(plan: &Plan) -> String {
    let place = match plan.at {
        At::Outbound => "beside the agent, which calls it on loopback in plain HTTP. The principal is configured.",
        At::Inbound => "before its tool server. Callers prove who they are by a certificate: the principal is theirs.",
        At::Gateway => {
            "shared by callers and tool servers. Callers prove who they are by a certificate: the principal is theirs."
        }
    };
    let names: Vec<String> = plan.servers.iter().map(|behind| yaml(behind.server.as_str())).collect();
    let mode = match plan.mode {
        Mode::Observe => format!(
            "# THIS GATE OBSERVES: it records each call and what would have been decided, and refuses nothing.\n# Enforce, when you dare:{}\n",
            names.iter().map(|name| format!("\n#   agentgate enforce {name}")).collect::<String>()
        ),
        Mode::Enforce => "# This gate enforces: a call that the control plane does not allow is refused.\n".to_owned(),
    };
    let mut files: Vec<(&str, &str)> = plan.wasm().map(|wasm| (wasm, "the filter")).into_iter().collect();
    files.extend([
        (plan.filter.certificate.as_str(), "the filter's own certificate, never a workload's"),
        (&plan.filter.key, "its key"),
        (&plan.authority, "what the control plane's certificate is checked against"),
    ]);
    if let Some(Callers { listener, authority }) = &plan.callers {
        files.push((&listener.certificate, "the listener's certificate, which callers check"));
        files.push((&listener.key, "its key"));
        files.push((authority, "what callers' certificates are checked against"));
    }
    let listed = files.iter().map(|(file, what)| format!("#   {:<40} {what}\n", yaml(file))).collect::<String>();
    let sds = secrets::names(plan).join(", ");
    format!(
        "# AgentGate at {}: {place}\n#\n{mode}#\n# Start it in a directory that holds what is named here relatively:\n{listed}#   {sds:<40} say where those lie\n\
         #   envoy -c envoy.yaml\n# `agentgate check --envoy-config envoy.yaml` says whether a change to it leaves the gate whole.\n\n",
        plan.at.name()
    )
}

/// The block of whatever asks.
fn gate(plan: &Plan) -> Result<String, TemplateError> {
    if plan.asks == Asks::ExtAuthz {
        return Ok(EXT_AUTHZ.to_owned());
    }
    let value = "                          value: |";
    Template::of(&format!("\n{}", taken(GATE)?))
        .put("{filename: agentgate_filter.wasm}", &format!("{{filename: {}}}", yaml(&plan.wasm)))
        .block(value, &format!("{value}\n{}", indented(&filter_configuration(plan), 28)))
        .finish()
        .map(|block| block.trim_start_matches('\n').to_owned())
}

/// The filter's own configuration: what is not said has its default.
fn filter_configuration(plan: &Plan) -> String {
    let mode = match plan.mode {
        Mode::Observe => ", \"mode\": \"observe\"",
        Mode::Enforce => "",
    };
    let route =
        |behind: &Behind| format!("{{ \"path\": {}, \"server\": {}{mode} }}", json(&behind.path), json(behind.server.as_str()));
    let routes: Vec<String> = plan.servers.iter().map(route).collect();
    format!(
        "{{ \"control_plane\": {{ \"cluster\": \"agentgate\", \"ask_timeout_ms\": 2000 }},\n  \"unnamed_paths\": \"refuse\",\n  \"routes\": [ {} ] }}\n",
        routes.join(",\n              ")
    )
}

fn routes(template: Template, plan: &Plan) -> Template {
    let route = "                        - match: {prefix: /}";
    let comment = "                            # A timeout of the route would cut event streams. The filter and stream_idle_timeout bound the wait.\n";
    let each = plan.servers.iter().map(|behind| {
        let matched = if behind.is_moved() || plan.servers.len() > 1 {
            format!("{{path: {}}}", yaml(&behind.path))
        } else {
            "{prefix: /}".into()
        };
        let moved = if behind.is_moved() {
            format!(
                "                            # The server's own path. It is written after the verdict, and no route looks at it again.\n{}prefix_rewrite: {}\n",
                " ".repeat(28),
                yaml(&behind.server_path)
            )
        } else {
            String::new()
        };
        let host = format!(
            "{moved}{0}# The server sees its own name: many refuse another (that is how they hold off DNS rebinding).\n{0}host_rewrite_literal: {1}\n",
            " ".repeat(28),
            yaml(&behind.url.authority())
        );
        format!(
            "{0}- match: {matched}\n{0}  route:\n{0}    cluster: {1}\n{host}{comment}{0}    timeout: 0s\n\
             {0}    max_stream_duration: {{max_stream_duration: 0s}}\n{2}",
            " ".repeat(24),
            yaml(&cluster_name(plan, behind)),
            asked_for(plan, behind)
        )
    });
    template.block(route, &each.collect::<String>())
}

/// What ext_authz says of this route's requests. The filter has all of it in its own configuration.
fn asked_for(plan: &Plan, behind: &Behind) -> String {
    if plan.asks == Asks::Wasm {
        return String::new();
    }
    let mode = match plan.mode {
        Mode::Observe => "                                  agentgate.mode: observe\n",
        Mode::Enforce => "",
    };
    format!(
        r#"                          typed_per_filter_config:
                            agentgate:
                              "@type": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute
                              check_settings:
                                # No client can set these. Another path is refused, though Envoy may send it here.
                                context_extensions:
                                  agentgate.server: {}
                                  agentgate.path: {}
{mode}"#,
        yaml(behind.server.as_str()),
        yaml(&behind.path)
    )
}

fn callers(template: Template, plan: &Plan) -> Template {
    let domain = format!("spiffe://{}/", plan.trust_domain());
    let idle = "                  idle_timeout: 3600s\n";
    let age = format!(
        "{idle}{0}# A connection keeps the identity that it began with: this bounds for how long after its certificate was taken back.\n{0}max_connection_duration: 600s\n",
        " ".repeat(18)
    );
    template.put("        - filters:\n", &LISTENER_TLS.replace("TRUST_DOMAIN", &yaml(&domain))).put(idle, &age).put(
        "                # HTTP/1.1, or HTTP/2 with prior knowledge.\n",
        "                # HTTP/1.1, or HTTP/2, as the handshake agreed.\n",
    )
}

/// `server` where there is one, as the bootstrap names it.
fn cluster_name(plan: &Plan, behind: &Behind) -> String {
    if plan.servers.len() == 1 { "server".into() } else { format!("server-{}", behind.server) }
}

fn clusters(plan: &Plan) -> Result<String, TemplateError> {
    let mut clusters = Vec::new();
    for behind in &plan.servers {
        let name = yaml(&cluster_name(plan, behind));
        let HostPort { host, port } = &behind.url.at;
        let cluster = Template::of(&taken("    - name: server")?)
            .put("- name: server\n", &format!("- name: {name}\n"))
            .put("cluster_name: server\n", &format!("cluster_name: {name}\n"))
            .put("{address: 127.0.0.1, port_value: 8000}", &socket(&host.bare(), *port));
        clusters.push(cluster.finish()? + &upstream_tls(plan, behind));
    }
    Ok(clusters.join("\n"))
}

fn upstream_tls(plan: &Plan, behind: &Behind) -> String {
    if !behind.url.is_tls() {
        return String::new();
    }
    let host = &behind.url.at.host;
    let (sni, kind) = match host {
        Host::Name(name) => (format!("          sni: {}\n", yaml(name)), "DNS"),
        // An address is no server name in TLS.
        Host::Ip(_) => (String::new(), "IP_ADDRESS"),
    };
    let (trusted, authority) = match &plan.upstream_authority {
        Some(path) => (yaml(path), "The authority that issued the server's certificate."),
        None => (yaml(SYSTEM_ROOTS), "The roots of this system (Debian's path); --upstream-authority names another file."),
    };
    UPSTREAM_TLS
        .replace("SNI", &sni)
        .replace("SAN_TYPE", kind)
        .replace("AUTHORITY", authority)
        .replace("exact: SAN", &format!("exact: {}", yaml(&host.bare())))
        .replace("TRUSTED", &trusted)
}

/// Its address, and the name that its certificate must have.
fn control_plane(template: Template, plan: &Plan) -> Template {
    let HostPort { host, port } = &plan.control_plane;
    let template = template.put("{address: 127.0.0.1, port_value: 9443}", &socket(&host.bare(), *port));
    match host {
        host if host.is_loopback() => template,
        Host::Name(name) => template
            .put("          sni: localhost\n", &format!("          sni: {}\n", yaml(name)))
            .put("matcher: {exact: localhost}", &format!("matcher: {{exact: {}}}", yaml(name))),
        Host::Ip(ip) => template.put("          sni: localhost\n", "").put(
            "- san_type: DNS\n                    matcher: {exact: localhost}",
            &format!("- san_type: IP_ADDRESS\n                    matcher: {{exact: {}}}", yaml(&ip.to_string())),
        ),
    }
}
