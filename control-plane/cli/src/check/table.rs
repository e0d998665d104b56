//! Every check: its name, how grave it is, what is wrong, why that matters, and the repair. `docs/check.md` is made from here.
//!
//! Names are part of the interface: scripts branch on them, so they never change their meaning.

/// How grave a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    /// A call can pass without a verdict, somebody can speak in another's name, or no call can be decided at all.
    Hole,
    /// It holds, until something happens that will.
    Warning,
    /// To be known.
    Note,
}

macro_rules! checks {
    ($($id:ident $name:literal $severity:ident $what:literal $why:literal $repair:literal;)*) => {
        /// What is looked for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(crate) enum Check { $($id),* }

        impl Check {
            pub(crate) const ALL: &[Self] = &[$(Self::$id),*];

            #[must_use]
            pub(crate) const fn name(self) -> &'static str {
                match self { $(Self::$id => $name),* }
            }

            #[must_use]
            pub(crate) const fn severity(self) -> Severity {
                match self { $(Self::$id => Severity::$severity),* }
            }

            #[must_use]
            pub(crate) const fn what(self) -> &'static str {
                match self { $(Self::$id => $what),* }
            }

            #[must_use]
            pub(crate) const fn why(self) -> &'static str {
                match self { $(Self::$id => $why),* }
            }

            #[must_use]
            pub(crate) const fn repair(self) -> &'static str {
                match self { $(Self::$id => $repair),* }
            }
        }
    };
}

checks! {
    GateMissing "gate_missing" Hole
        "no listener has the filter"
        "every call passes"
        "put the filter's block before the router, as `agentgate envoy` prints it";
    GateBypassed "gate_bypassed" Hole
        "a way to a gated server leads past the filter"
        "who takes that way meets no gate"
        "put the filter on it too, or take the way out";
    GateDisabled "gate_disabled" Hole
        "the filter is switched off"
        "what it would have refused passes in silence"
        "take `disabled` out";
    GateOverridden "gate_overridden" Hole
        "a route or host has a configuration of its own under the filter's name"
        "there the filter is skipped, or is another one"
        "take the entry out of `typed_per_filter_config`";
    GateOptional "gate_optional" Hole
        "the filter is optional"
        "an Envoy that does not know it starts without it"
        "take `is_optional` out";
    GateElsewhere "gate_elsewhere" Warning
        "the filter's configuration comes from elsewhere (`config_discovery`)"
        "until it is there a default may pass calls, and nothing here can look at it"
        "write `typed_config` out, or check what is delivered";
    FilterAfterGate "filter_after_gate" Warning
        "a filter stands between the gate and the router"
        "it can change the call after its verdict"
        "put it before the gate";
    FailOpen "fail_open" Hole
        "the filter fails open"
        "when its VM traps, everything passes"
        "`failure_policy: FAIL_RELOAD`";
    FailClosed "fail_closed" Warning
        "the filter fails closed and never recovers"
        "after one trap a worker answers 503 until Envoy is restarted"
        "`failure_policy: FAIL_RELOAD`";
    HeadersStop "headers_stop" Hole
        "`allow_on_headers_stop_iteration` is not set"
        "a paused request never gets a body: every call hangs"
        "`allow_on_headers_stop_iteration: true` in the plugin's configuration";
    AuthzSometimes "authz_sometimes" Hole
        "ext_authz asks for some requests only"
        "the others pass without a verdict"
        "take `filter_enabled`, `filter_enabled_metadata` and `deny_at_disable` out";
    AuthzBody "authz_body" Hole
        "ext_authz does not send the whole body as it came"
        "what is not sent is not decided, or no call can be read"
        "`with_request_body` with `allow_partial_message: false` and `pack_as_bytes: true`";
    AuthzHeaders "authz_headers" Hole
        "ext_authz does not send all headers as they came, or may not take some out"
        "a repeated one is seen once, or one that changes the call reaches the server"
        "`encode_raw_headers: true`, and no other field that chooses headers";
    AuthzTimeout "authz_timeout" Warning
        "ext_authz waits no longer than the control plane does"
        "a call that was allowed too late is refused, and its grant is used up"
        "`timeout: 3s` in `grpc_service`";
    AuthzRetries "authz_retries" Warning
        "ext_authz asks again by itself"
        "each time is another call: it has a record, and uses a grant, of its own"
        "take `retry_policy` out of `grpc_service`";
    ModuleUnpinned "module_unpinned" Hole
        "the module is fetched and its digest is not given"
        "who answers the fetch is the gate"
        "add `sha256` to `code.remote`, or read it from a file";
    PluginUnreadable "plugin_unreadable" Hole
        "the filter's own configuration cannot be read"
        "the filter does not start, and every request gets 503"
        "compare it with what `agentgate envoy` prints";
    UnnamedPass "unnamed_pass" Warning
        "paths that no route names pass"
        "`/mcp/`, `/MCP` or `/mcp;x` may be the same to the server and pass without a verdict"
        "`unnamed_paths: refuse`";
    UsersUnverified "users_unverified" Hole
        "a route reads a user's claims, and no jwt_authn before the gate verifies and keeps them"
        "no user is ever verified; where none is required, everybody is the agent"
        "`envoy.filters.http.jwt_authn` before the gate, with the route's `metadata` as `payload_in_metadata`";
    UsersAnyAudience "users_any_audience" Warning
        "users' claims come from a provider without `audiences`"
        "a token that was issued for another service is good here"
        "`audiences` at the provider, with the name of this service";
    Observes "observes" Note
        "the gate observes"
        "it records what would be refused, and refuses nothing"
        "`agentgate enforce SERVER`, then write `\"mode\": \"enforce\"` into the route";
    ObservesUnheard "observes_unheard" Hole
        "a route observes by its configuration, and its filter hears no control plane"
        "its calls pass, on no record, whatever an order enforces or kills"
        "write `\"mode\": \"enforce\"` into the route; `docs/operating.md` says why a filter hears nobody";
    EnforcedByOrder "enforced_by_order" Warning
        "the gate enforces by an order alone; its own configuration observes"
        "a VM that starts while no control plane is reachable lets everything pass"
        "write `\"mode\": \"enforce\"` into the route";
    OriginsNamed "origins_named" Note
        "web pages may call"
        "each page that is named can call every tool that the caller may"
        "keep only those that need to";
    OriginPlain "origin_plain" Warning
        "a web page that may call comes over plain HTTP"
        "who stands between can put any words into it"
        "name it by `https://`, or by localhost";
    BufferListener "buffer_listener" Warning
        "the listener may hold less than the filter's body limit and 1 MiB"
        "Envoy answers a plain 413 in the filter's place, or a plain 500 after the tool has run"
        "`per_connection_buffer_limit_bytes: 2097152` on the listener, more for larger bodies";
    BufferServer "buffer_server" Warning
        "the server's cluster may hold less than the filter's body limit and 1 MiB"
        "a large result becomes a plain 500 after the tool has run"
        "`per_connection_buffer_limit_bytes: 2097152` on the cluster";
    Window "window" Warning
        "an HTTP/2 stream's window is smaller than the filter's body limit and 1 MiB"
        "a large call stops in the middle, and waits for its end in vain"
        "`initial_stream_window_size: 2097152` in `http2_protocol_options`";
    WindowDefault "window_default" Note
        "HTTP/2 windows are Envoy's own, 16 MiB for each stream"
        "a few clients can fill Envoy's memory"
        "`initial_stream_window_size: 2097152` in `http2_protocol_options`";
    Retries "retries" Hole
        "a gated route retries"
        "one verdict, several executions"
        "take `retry_policy` and `hedge_policy` out";
    Mirror "mirror" Hole
        "a gated route is mirrored"
        "one verdict, several executions, and somebody else sees every allowed call"
        "take `request_mirror_policies` out";
    InternalRedirect "internal_redirect" Hole
        "a gated route follows redirects inside of Envoy"
        "the server chooses where the allowed call is executed next"
        "take `internal_redirect_policy` out";
    RetryHeader "retry_header" Hole
        "a gated route adds a header that makes Envoy retry"
        "one verdict, several executions"
        "take `x-envoy-*` out of `request_headers_to_add`";
    NormalizePath "normalize_path" Warning
        "paths are not normalised"
        "`/%6dcp` and `/x/../mcp` are another path to the gate and perhaps the same to the server"
        "`normalize_path: true`";
    MergeSlashes "merge_slashes" Warning
        "double slashes are kept"
        "`//mcp` is another path to the gate and perhaps the same to the server"
        "`merge_slashes: true`";
    EscapedSlashes "escaped_slashes" Warning
        "`%2f` and `%5c` in paths are kept"
        "they may be a slash to the server and none to the gate"
        "`path_with_escaped_slashes_action: REJECT_REQUEST`";
    Underscores "underscores" Hole
        "header names with underscores are let through"
        "`Mcp_Name` passes beside `Mcp-Name`, and some servers take one for the other"
        "`headers_with_underscores_action: REJECT_REQUEST` in `common_http_protocol_options`";
    RouteByHeader "route_by_header" Warning
        "a gated route is chosen by a header"
        "a client chooses the way of its call"
        "choose by path or host";
    RouteByChanged "route_by_changed" Hole
        "a route is chosen by a header that the filter changes, or that names the cluster"
        "after the verdict the call can go elsewhere"
        "choose by path or host, and write `cluster` out";
    HeadersLeft "headers_left" Note
        "headers that name another path are not removed"
        "the filter removes them, but only where it is on"
        "`request_headers_to_remove: [x-original-url, x-rewrite-url, x-forwarded-uri]`";
    Upgrade "upgrade" Warning
        "upgrades or CONNECT are switched on"
        "an upgraded stream has no end to wait for; only the filter refuses it"
        "take `upgrade_configs` and `connect_matcher` out";
    RouteTimeout "route_timeout" Warning
        "a gated route has a timeout"
        "event streams are cut; without a value it is 15 s"
        "`timeout: 0s`";
    IdleUnbounded "idle_unbounded" Warning
        "nothing bounds a stream that is silent"
        "a paused request may be held for ever"
        "`stream_idle_timeout: 300s`";
    IdleShort "idle_short" Warning
        "a silent stream ends before the filter's own deadline"
        "Envoy answers 504 or 408 where the filter would say why"
        "`stream_idle_timeout: 300s`, longer than `ask_timeout_ms`";
    DelayedClose "delayed_close" Note
        "a closed HTTP/1.1 connection lingers for longer than 1 s"
        "an answer that the filter ends hangs for so long"
        "`delayed_close_timeout: 0.05s`";
    RequestTimeout "request_timeout" Note
        "a request's body may take for ever"
        "slow bodies hold memory"
        "`request_timeout: 30s`";
    ClientAddress "client_address" Warning
        "a client's address is taken from its headers"
        "a client that says it is internal may set `x-envoy-*`"
        "`use_remote_address: true`, and no `internal_address_config` with others' networks";
    AdminOpen "admin_open" Hole
        "Envoy's admin port is reachable from elsewhere"
        "whoever reaches it can stop and change the gate"
        "bind `admin` to 127.0.0.1, or to a socket's file";
    ListenerOpen "listener_open" Warning
        "a listener without TLS is reachable from elsewhere"
        "whoever reaches it speaks as the agent beside the gate"
        "bind it to loopback or to the pod, or require client certificates";
    CallersUnnamed "callers_unnamed" Hole
        "the gate's TLS listener asks for no client certificate"
        "a caller has no name, and any may call"
        "`require_client_certificate: true`";
    CallersUnchecked "callers_unchecked" Hole
        "callers' certificates are not checked against trust roots"
        "a forged certificate speaks in any name"
        "`validation_context` with `trusted_ca`, and never `ACCEPT_UNTRUSTED`";
    ConnectionAge "connection_age" Warning
        "a caller's connection may live for ever"
        "it keeps the identity that it began with, whatever happened to the certificate"
        "`max_connection_duration: 600s` in `common_http_protocol_options`";
    ClusterMissing "cluster_missing" Hole
        "the filter's control plane is no cluster of this Envoy"
        "no call can be decided"
        "name the cluster as `control_plane.cluster` does";
    ControlPlaneRouted "control_plane_routed" Hole
        "a route leads to the control plane's cluster"
        "who calls it asks and reports with the filter's certificate"
        "take the route out";
    ControlPlanePlain "control_plane_plain" Hole
        "the control plane is asked without TLS"
        "who stands between allows whatever it likes"
        "`transport_socket` with `UpstreamTlsContext`, as `agentgate envoy` prints it";
    ControlPlaneUnchecked "control_plane_unchecked" Hole
        "the control plane's certificate is not checked against trust roots"
        "whoever answers is believed"
        "`trusted_ca` in its `validation_context`";
    ControlPlaneUnnamed "control_plane_unnamed" Hole
        "the control plane's name is not checked"
        "any certificate of the same authority, an agent's too, may allow calls"
        "`match_typed_subject_alt_names` with its DNS name";
    ControlPlaneTls "control_plane_tls" Warning
        "the control plane is asked with less than TLS 1.3"
        "with 1.2 certificates are sent in the clear"
        "`tls_minimum_protocol_version` and `tls_maximum_protocol_version: TLSv1_3`";
    FilterNameless "filter_nameless" Hole
        "the filter has no certificate of its own"
        "the control plane turns it away: no call can be decided"
        "`tls_certificate_sds_secret_configs` in the control plane's cluster";
    FilterShared "filter_shared" Hole
        "the filter's certificate is also the listener's or a server connection's"
        "a workload that holds it can ask and report in the filter's name"
        "issue one: `agentgate authority issue filter/NAME`";
    ControlPlaneHttp2 "control_plane_http2" Hole
        "the control plane's cluster does not speak HTTP/2"
        "gRPC needs it: no call can be decided"
        "`explicit_http_config: {http2_protocol_options: {}}`";
    ControlPlaneKeepalive "control_plane_keepalive" Note
        "nothing asks whether the control plane's connection is alive"
        "a peer that vanished is noticed by the filter's heartbeat alone"
        "`connection_keepalive: {interval: 10s, timeout: 5s}`";
    ControlPlaneBreakers "control_plane_breakers" Warning
        "the control plane's cluster admits fewer streams than there are VMs"
        "some workers never reach it"
        "`max_requests` of at least twice the workers and 2";
    EnvoyOld "envoy_old" Hole
        "this Envoy is older than 1.35"
        "it does not know `allow_on_headers_stop_iteration`: calls hang"
        "take 1.36 to 1.40";
    EnvoyUntried "envoy_untried" Warning
        "this version of Envoy was not tried"
        "tried are 1.36 to 1.40"
        "take one of these, or run the stories on yours";
    FilterUnheard "filter_unheard" Warning
        "no VM of the filter has opened its stream"
        "no call can be decided: what enforces is refused, and what observes passes"
        "`docs/operating.md` says which of five reasons it is";
    ServerUngranted "server_ungranted" Hole
        "a route names a server that its filter may not ask for"
        "no call of it is decided or recorded: where the route observes each goes on, where it enforces each is refused"
        "add the server to `servers` of the [[filter]], or correct the name in the route; then restart the control plane";
    FilterTurnedAway "filter_turned_away" Note
        "some streams of the filter did not come about since Envoy started"
        "meanwhile enforced calls were undecided: the control plane was away, or it turned the filter away"
        "nothing, if it was away and is back; else the control plane's log names who was turned away";
    VmTrapped "vm_trapped" Warning
        "a VM of the filter has trapped and was made anew"
        "for about a second that worker answered 503; calls under way ended as `unknown`"
        "keep Envoy's log of it, and report it";
    FilterSilent "filter_silent" Warning
        "the control plane hears nothing of a filter"
        "its calls are undecided, or its Envoy is gone"
        "`agentgate status --verbose`";
    Versions "versions" Warning
        "filter, command line and control plane differ in their version"
        "what one of them writes the others may refuse"
        "take all of one version";
    ClockOff "clock_off" Warning
        "this machine's clock and the control plane's differ by more than a second"
        "expiries and traces are read wrongly"
        "let both follow one time server";
    ClockFar "clock_far" Hole
        "this machine's clock and the control plane's differ by more than 30 s"
        "certificates are refused, and approvals expire before their time"
        "let both follow one time server";
    CertificateMissing "certificate_missing" Hole
        "a certificate or key that the gate shows or believes is not where the configuration says"
        "Envoy has nothing to show or to compare with: no call gets through"
        "put it there, or name the one that is (`agentgate envoy … --node NAME`), or issue it: `agentgate authority issue filter/NAME`";
    CertificateUnreadable "certificate_unreadable" Warning
        "a certificate or key that the configuration names cannot be read here"
        "nothing can be said about it"
        "run this where Envoy runs, with --directory";
    CertificateExpired "certificate_expired" Hole
        "a certificate is expired"
        "whoever checks it refuses: no call gets through"
        "issue another: `agentgate authority issue … --force`";
    CertificateEarly "certificate_early" Hole
        "a certificate is not valid yet"
        "whoever checks it refuses: no call gets through"
        "check the clocks; else wait, or issue another";
    CertificateDue "certificate_due" Warning
        "less than a third of a certificate's life is left"
        "whoever renews it should have: soon it is expired"
        "issue another: `agentgate authority issue … --force`";
    CertificateName "certificate_name" Hole
        "a certificate does not have exactly one URI, or that is no SPIFFE ID"
        "it names nobody: Envoy shows the first URI, the control plane wants one"
        "issue one with a SPIFFE ID";
    CertificateKey "certificate_key" Hole
        "certificate and key do not belong together"
        "Envoy refuses them"
        "put a pair into place";
    CertificateChain "certificate_chain" Hole
        "a certificate is not by the trust roots beside it"
        "whoever checks it refuses"
        "issue it by that authority, or mend the roots";
    KeyOpen "key_open" Warning
        "others than its owner can read a key"
        "who can read the filter's key can ask and report in its name"
        "`chmod 600`, owned by Envoy's user";
    TrustDomains "trust_domains" Warning
        "certificates name different trust domains"
        "`peers` and SAN checks compare with one"
        "issue all of them in one trust domain";
}

// === impl Severity ===

impl Severity {
    pub(crate) const ALL: [Self; 3] = [Self::Hole, Self::Warning, Self::Note];

    /// The one spelling, in tables and JSON.
    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Hole => "hole",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// The page of the documents.
#[must_use]
pub(crate) fn document() -> String {
    let mut page = String::from(
        "# What `agentgate check` looks for\n\n\
         A **hole** lets a call pass without a verdict, lets somebody speak in another's name, or decides no call at all: `agentgate check` then\n\
         ends with 1. A **warning** holds until something happens that will. A **note** is to be known. This page is made from\n\
         `control-plane/cli/src/check/table.rs`; `agentgate check --list` prints it.\n",
    );
    for severity in Severity::ALL {
        let title = match severity {
            Severity::Hole => "Holes",
            Severity::Warning => "Warnings",
            Severity::Note => "Notes",
        };
        page += &format!("\n## {title}\n\n| check | what | why | repair |\n|---|---|---|---|\n");
        for check in Check::ALL.iter().filter(|check| check.severity() == severity) {
            page += &format!("| `{}` | {} | {} | {} |\n", check.name(), check.what(), check.why(), check.repair());
        }
    }
    page
}
