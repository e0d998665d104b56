//! Asked through Envoy's ext_authz: what Envoy would send, over the real listener, and what stands in the journal afterwards.

use crate::world::{DAY, EPOCH, Setup, World, call as ask_of, copy, eventually};
use agentgate_control_plane::journal::{Journal, Memory};
use agentgate_proto::v1::approvals_client::ApprovalsClient;
use agentgate_proto::v1::control_client::ControlClient;
use agentgate_proto::v1::trace_client::TraceClient;
use agentgate_proto::v1::{self, Verdict};
use envoy_types::pb::envoy::config::core::v3::{HeaderMap, HeaderValue};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Peer, Request};
use envoy_types::pb::envoy::service::auth::v3::authorization_client::AuthorizationClient;
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest, CheckResponse};
use std::sync::Arc;
use std::time::Duration;
use tonic::Code;
use tonic::transport::Channel;

/// One Check, as Envoy 1.40 sends it.
#[derive(Clone)]
struct Sent {
    extensions: Vec<(&'static str, &'static str)>,
    principal: &'static str,
    headers: Vec<(&'static str, &'static [u8])>,
    body: String,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Came {
    On {
        remove: Vec<String>,
    },
    /// It goes on, with so many changes.
    Untouched(usize),
    Refused {
        http_status: i32,
        body: String,
    },
}

impl Default for Sent {
    fn default() -> Self {
        Self {
            extensions: vec![("agentgate.server", "notes"), ("agentgate.path", "/mcp")],
            principal: "",
            headers: vec![
                (":method", b"POST"),
                (":path", b"/mcp"),
                (":authority", b"x"),
                ("content-type", b"application/json"),
                ("accept", b"application/json, text/event-stream"),
                ("mcp-protocol-version", b"2025-11-25"),
            ],
            body: call("read_note"),
        }
    }
}

impl Sent {
    fn of(tool: &str) -> Self {
        Self { body: call(tool), ..Self::default() }
    }

    fn with(mut self, name: &'static str, value: &'static [u8]) -> Self {
        self.headers.push((name, value));
        self
    }

    fn replaced(mut self, name: &'static str, value: &'static [u8]) -> Self {
        self.headers.retain(|(other, _)| *other != name);
        self.with(name, value)
    }

    fn extended(mut self, name: &'static str, value: &'static str) -> Self {
        self.extensions.retain(|(other, _)| *other != name);
        self.extensions.push((name, value));
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.extensions.retain(|(other, _)| *other != name);
        self
    }

    fn empty(mut self) -> Self {
        self.body.clear();
        self
    }

    fn check(&self) -> CheckRequest {
        let header =
            |name: &str, value: &[u8]| HeaderValue { key: name.into(), raw_value: value.into(), ..HeaderValue::default() };
        let mut headers: Vec<_> = self.headers.iter().map(|(name, value)| header(name, value)).collect();
        let says_partial = self.headers.iter().any(|(name, _)| *name == "x-envoy-auth-partial-body");
        if !self.body.is_empty() && !says_partial {
            headers.push(header("x-envoy-auth-partial-body", b"false"));
        }
        let http = HttpRequest {
            header_map: Some(HeaderMap { headers }),
            raw_body: self.body.clone().into_bytes(),
            ..HttpRequest::default()
        };
        let pairs = self.extensions.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let attributes = AttributeContext {
            source: Some(Peer { principal: self.principal.into(), ..Peer::default() }),
            request: Some(Request { http: Some(http), ..Request::default() }),
            context_extensions: pairs.collect(),
            ..AttributeContext::default()
        };
        CheckRequest { attributes: Some(attributes) }
    }
}

fn call(tool: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{{"name":"{tool}","arguments":{{"title":"x"}}}}}}"#)
}

struct Envoy(AuthorizationClient<Channel>);

impl Envoy {
    async fn of(world: &World, name: &str) -> Self {
        Self(AuthorizationClient::new(world.channel(world.running.filters, name).await.unwrap()))
    }

    async fn check(&mut self, sent: &Sent) -> Came {
        came(self.0.check(sent.check()).await.unwrap().into_inner())
    }

    async fn goes_on(&mut self, sent: &Sent) -> Vec<String> {
        match self.check(sent).await {
            Came::On { remove } => remove,
            came => panic!("{came:?}"),
        }
    }

    async fn refused(&mut self, sent: &Sent) -> (i32, String) {
        match self.check(sent).await {
            Came::Refused { http_status, body } => (http_status, body),
            came => panic!("{came:?}"),
        }
    }
}

fn came(response: CheckResponse) -> Came {
    let code = response.status.unwrap().code;
    match response.http_response.unwrap() {
        HttpResponse::OkResponse(on) => {
            assert_eq!(code, 0);
            let set: Vec<_> = on.headers.iter().filter_map(|header| header.header.as_ref()).collect();
            let once = set.iter().any(|header| (header.key.as_str(), header.value.as_str()) == ("x-envoy-max-retries", "0"));
            if once { Came::On { remove: on.headers_to_remove } } else { Came::Untouched(on.headers_to_remove.len() + set.len()) }
        }
        HttpResponse::DeniedResponse(denied) => {
            assert_ne!(code, 0);
            let types = denied.headers.iter().filter_map(|header| header.header.as_ref());
            assert!(types.into_iter().any(|header| header.value == "application/json"));
            Came::Refused { http_status: denied.status.unwrap().code, body: denied.body }
        }
        HttpResponse::ErrorResponse(error) => panic!("{error:?}"),
    }
}

/// Every decision, oldest first, with its body.
async fn decisions(world: &World) -> Vec<(v1::DecisionRecord, v1::DecisionBody)> {
    let mut client = world.operator(TraceClient::new).await;
    let listed = client.list_traces(v1::ListTracesRequest { page_size: 100, ..Default::default() }).await.unwrap().into_inner();
    let mut decisions = Vec::new();
    for trace in listed.traces.iter().rev() {
        assert!(trace.no_outcome, "{trace:?}");
        let shown = client.show_trace(v1::ShowTraceRequest { id: trace.sequence.to_string() }).await.unwrap().into_inner();
        decisions.push((shown.decision.unwrap(), shown.body.unwrap()));
    }
    decisions
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_read_decided_and_recorded_as_one_of_the_filters() {
    let world = World::new().await;
    let mut envoy = Envoy::of(&world, "filter-laptop").await;
    // Envoy does not say whether a client sent one: it is always taken out.
    assert_eq!(envoy.goes_on(&Sent::default()).await, ["x-envoy-auth-partial-body"]);
    assert_eq!(envoy.goes_on(&Sent::default()).await, ["x-envoy-auth-partial-body"]);
    let (status, body) = envoy.refused(&Sent::of("unheard_of")).await;
    assert_eq!(status, 200);
    assert!(body.contains(r#""isError":true"#) && body.contains("This was not done: the policy refuses it"), "{body}");
    let decisions = decisions(&world).await;
    let verdicts: Vec<Verdict> = decisions.iter().map(|(record, _)| record.verdict()).collect();
    assert_eq!(verdicts, [Verdict::Allow, Verdict::Allow, Verdict::Deny], "one record for each request, equal ones too");
    for (record, body) in &decisions {
        assert!(record.enforced && record.no_outcome);
        assert_eq!(body.principal, "spiffe://agentgate.local/agent/laptop");
        let headers = &body.ask.as_ref().unwrap().head.as_ref().unwrap().headers;
        assert!(headers.iter().all(|header| !header.name.starts_with(b"x-envoy")), "{headers:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_became_of_a_call_is_waited_for_only_where_somebody_says_it() {
    let setup = Setup { embedded: true, ..Setup::default() };
    let world = World::with(setup).await;
    let mut envoy = Envoy::of(&world, "filter-laptop").await;
    envoy.goes_on(&Sent::default()).await;
    let mut vm = world.vm().await;
    assert_eq!(vm.decided(ask_of(1, "read_note")).await.verdict(), Verdict::Allow);
    drop(vm);
    let before = world.head();
    world.hands.advance(Duration::from_secs(400));
    eventually("the filter's call is closed", async || (world.head() > before).then_some(())).await;
    world.running.decide.sweep(false).await;
    assert_eq!(world.head(), before + 1, "the other one is not");
    let world = world.killed_and_restarted(&Setup { embedded: true, ..Setup::default() }).await;
    world.hands.advance(DAY / 2);
    world.running.decide.sweep(false).await;
    assert_eq!(world.head(), before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pending_call_goes_on_once_after_it_was_granted() {
    let world = World::new().await;
    let mut envoy = Envoy::of(&world, "filter-laptop").await;
    let gated = Sent { body: call("add_note"), ..Sent::default() };
    let (status, body) = envoy.refused(&gated).await;
    assert_eq!(status, 200);
    assert!(body.contains(r#""verdict":"pending""#) && body.contains("agentgate approve show"), "{body}");
    let mut approvals = world.operator(ApprovalsClient::new).await;
    let listed = approvals.list_approvals(v1::ListApprovalsRequest::default()).await.unwrap().into_inner();
    let id = listed.approvals[0].id.clone();
    let shown = approvals.show_approval(v1::ShowApprovalRequest { id }).await.unwrap().into_inner();
    let approval = shown.approval.unwrap();
    let seen = agentgate_core::approval::shown_digest(&approval.request).as_bytes().to_vec().into();
    let grant = v1::DecideApprovalRequest { id: approval.id, grant: true, reason: "it may".into(), seen };
    approvals.decide_approval(grant).await.unwrap();
    let (_, elsewhere) = envoy.refused(&gated.clone().replaced(":authority", b"y")).await;
    assert!(elsewhere.contains(r#""verdict":"pending""#), "the grant is for one host: {elsewhere}");
    envoy.goes_on(&gated).await;
    let (_, again) = envoy.refused(&gated).await;
    assert!(again.contains(r#""verdict":"pending""#), "{again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_refused_and_recorded_with_its_reason() {
    let world = World::new().await;
    let mut envoy = Envoy::of(&world, "filter-laptop").await;
    let twice = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"read_note","name":"x"}}"#;
    for (sent, reason) in [
        (Sent { body: twice.into(), ..Sent::default() }, "duplicate_key"),
        (Sent::default().empty(), "body_empty"),
        (Sent::default().empty().with("content-length", b"90"), "truncated"),
        (Sent::default().empty().with("transfer-encoding", b"chunked"), "truncated"),
        (Sent::default().with("content-length", b"9"), "truncated"),
        (Sent::default().with("x-envoy-auth-partial-body", b"true"), "body_too_large"),
        (
            Sent::default().with("x-envoy-auth-partial-body", b"false").with("x-envoy-auth-partial-body", b"false"),
            "body_too_large",
        ),
        (Sent::default().replaced(":method", b"GET").with("content-length", b"5").empty(), "body_unexpected"),
        (Sent::default().with("mcp-protocol-version", b"2025-11-25"), "header_repeated"),
        (Sent::default().replaced("mcp-protocol-version", b"2025-\xff"), "header_not_text"),
        (Sent::default().with("origin", b"https://page.example"), "origin"),
        (Sent::default().replaced(":path", b"/mcp?a=b"), "query"),
        (Sent::default().extended("agentgate.versions", "2025-06-18"), "unsupported_version"),
    ] {
        let (status, body) = envoy.refused(&sent).await;
        assert!(status >= 400 && body.contains("refused unread"), "{reason}: {status} {body}");
        let (record, newest) = decisions(&world).await.pop().unwrap();
        assert_eq!((newest.malformed.as_str(), record.verdict()), (reason, Verdict::Deny));
    }
    assert_eq!(decisions(&world).await.len(), 13);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_configuration_does_not_name_is_not_let_through_and_not_a_call() {
    let world = World::new().await;
    let mut envoy = Envoy::of(&world, "filter-laptop").await;
    let head = world.head();
    let joined = Sent { headers: Vec::new(), ..Sent::default() };
    for (sent, status, said) in [
        (Sent::default().without("agentgate.server"), 503, "`agentgate.server` is missing"),
        (Sent::default().without("agentgate.path"), 503, "`agentgate.path` is missing"),
        (Sent::default().extended("agentgate.mode", "off"), 503, "`agentgate.mode`"),
        (Sent::default().extended("agentgate.observe", "true"), 503, "`agentgate.observe`"),
        (Sent { extensions: Vec::new(), ..Sent::default() }, 403, "no route of the gate names this path"),
        (joined, 503, "encode_raw_headers"),
        (Sent::default().replaced(":path", b"/mcp/"), 403, "no route of the gate"),
        (Sent::default().with("upgrade", b"websocket"), 403, "upgrades"),
        (Sent::default().replaced(":method", b"CONNECT"), 403, "upgrades"),
        (Sent::default().extended("agentgate.server", "strangers"), 200, r#""cause":"identity""#),
        (Sent::default().extended("agentgate.server", "strangers").extended("agentgate.denied", "http_403"), 503, "identity"),
    ] {
        let (came, body) = envoy.refused(&sent).await;
        assert!(came == status && body.contains(said), "{said}: {came} {body}");
        // An observing route changes nothing of what is wrong with it.
        if status == 503 && !said.contains("mode") && said != "identity" {
            assert_eq!(envoy.refused(&sent.extended("agentgate.mode", "observe")).await.0, 503, "{said}");
        }
    }
    assert_eq!(world.head(), head);
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_could_change_what_a_call_is_are_taken_out_by_their_names() {
    let world = World::new().await;
    let mut envoy = Envoy::of(&world, "filter-laptop").await;
    let sent = Sent::default()
        .with("x-envoy-max-retries", b"3")
        .with("x-envoy-retry-on", b"5xx")
        .with("x-envoy-retry-on", b"reset")
        .with("x-original-url", b"/other")
        .with("expect", b"100-continue")
        .with("x-mine", b"1");
    let mut removed = envoy.goes_on(&sent).await;
    removed.sort_unstable();
    assert_eq!(removed, ["expect", "x-envoy-auth-partial-body", "x-envoy-max-retries", "x-envoy-retry-on", "x-original-url"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_callers_certificate_says_who_calls_where_the_configuration_wants_one() {
    let world = World::new().await;
    let mut envoy = Envoy::of(&world, "filter-other").await;
    let named = |principal| Sent { principal, ..Sent::default() };
    envoy.goes_on(&named("spiffe://agentgate.local/agent/a1")).await;
    assert_eq!(decisions(&world).await.pop().unwrap().1.principal, "spiffe://agentgate.local/agent/a1");
    for (principal, said) in [
        ("", "showed no certificate"),
        ("spiffe://elsewhere/agent/a1", "is no workload of"),
        ("agent.example", "is no workload of"),
        ("CN=spiffe://agentgate.local/agent/a1", "is no workload of"),
    ] {
        let (_, body) = envoy.refused(&named(principal)).await;
        assert!(body.contains(said), "{principal}: {body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_observing_route_lets_all_through_and_records_what_would_have_been() {
    let world = World::new().await;
    let mut envoy = Envoy::of(&world, "filter-laptop").await;
    let observed = |sent: Sent| sent.extended("agentgate.mode", "observe");
    let stripped = Sent::of("unheard_of").with("x-envoy-max-retries", b"3");
    assert_eq!(envoy.check(&observed(stripped)).await, Came::Untouched(0));
    assert_eq!(envoy.check(&observed(Sent { body: "[]".into(), ..Sent::default() })).await, Came::Untouched(0));
    // Nobody can decide it, and nothing else is ordered.
    let of_nobody = observed(Sent::default().extended("agentgate.server", "strangers"));
    assert_eq!(envoy.check(&of_nobody).await, Came::Untouched(0));
    let decided = decisions(&world).await;
    let seen: Vec<_> = decided.iter().map(|(record, _)| (record.verdict(), record.enforced)).collect();
    assert_eq!(seen, [(Verdict::Deny, false), (Verdict::Deny, false)]);

    let mut control = world.operator(ControlClient::new).await;
    let enforce = v1::SetModeRequest { server: "notes".into(), mode: v1::Mode::Enforce.into(), ..Default::default() };
    control.set_mode(enforce).await.unwrap();
    envoy.refused(&observed(Sent::of("unheard_of"))).await;
    envoy.goes_on(&observed(Sent::default())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_beyond_its_quota_is_refused_by_name() {
    let configured = "[[quota.tenant]]\nname = \"default\"\nbytes_per_day = 20000\n".to_owned();
    let world = World::with(Setup { configured, ..Setup::default() }).await;
    let mut envoy = Envoy::of(&world, "filter-laptop").await;
    let refused = loop {
        if let Came::Refused { http_status, body } = envoy.check(&Sent::default()).await {
            break (http_status, body);
        }
    };
    let head = world.head();
    assert_eq!(refused.0, 200);
    for said in ["(quota_exceeded: ", "the next day begins at 00:00 UTC", "Sending it again does not help"] {
        assert!(refused.1.contains(said), "{said} in {}", refused.1);
    }
    assert!(!refused.1.contains("retry_after_ms"), "{}", refused.1);
    envoy.refused(&Sent::default()).await;
    assert_eq!(world.head(), head);
    // Where the route observes it goes on, and is on no record.
    let observed = Sent::default().extended("agentgate.mode", "observe");
    assert_eq!(envoy.check(&observed).await, Came::Untouched(0));
    assert_eq!(world.head(), head);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_refused_learns_nothing_of_what_lies_behind_the_gate() {
    const WORDS: &str = "error connecting to server: db1.internal: Connection refused (os error 111)";
    let first = World::new().await;
    let directory = tempfile::tempdir().unwrap();
    copy(first.path(), directory.path());
    let memory = Arc::new(Memory::new());
    let journal: Arc<dyn Journal> = Arc::clone(&memory) as _;
    let world = World::on(directory, first.clock.clone(), Arc::clone(&first.hands), journal, &Setup::default()).await;
    let (mut vm, mut envoy) = (world.vm().await, Envoy::of(&world, "filter-laptop").await);
    memory.refuse(Some(WORDS));
    let undecided = vm.undecided(ask_of(1, "read_note")).await;
    assert_eq!(
        (undecided.cause(), undecided.detail.as_str()),
        (v1::undecided::Cause::Journal, "the decision cannot be recorded")
    );
    let (status, body) = envoy.refused(&Sent::default()).await;
    assert!(status == 200 && body.contains("(journal: the decision cannot be recorded)"), "{body}");
    // None of them could be digits of an id.
    for word in ["db1.", "refused (", "os error", "connecting"] {
        assert!(!body.contains(word), "{word} in {body}");
    }
    // Whoever runs it does.
    let shown = world.operator(v1::status_client::StatusClient::new).await.show_status(v1::ShowStatusRequest {}).await;
    let shown = shown.unwrap().into_inner();
    assert!(shown.unready.contains(WORDS) && shown.journal.unwrap().unavailable.contains(WORDS));
    memory.refuse(None);
    vm.decided(ask_of(2, "read_note")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_id_of_ext_authz_is_nobodys_else() {
    let world = World::new().await;
    let (mut envoy, mut other) = (Envoy::of(&world, "filter-laptop").await, Envoy::of(&world, "filter-other").await);
    envoy.goes_on(&Sent::default()).await;
    other.goes_on(&Sent { principal: "spiffe://agentgate.local/agent/a1", ..Sent::default() }).await;
    let epochs: Vec<_> = decisions(&world).await.into_iter().map(|(_, body)| body.epoch).collect();
    assert!(epochs.iter().all(|epoch| epoch != &EPOCH[..] && epoch.len() == 16), "{epochs:?}");
    let status = Envoy::of(&world, "agent-laptop").await.0.check(Sent::default().check()).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
}
