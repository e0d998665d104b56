//! Orders and approvals over real gRPC: who may give them, whom they reach, and what the next call is told.

use crate::world::{EPOCH, Setup, Vm, World, call, eventually, hello, visit};
use agentgate_core::approval::shown_digest;
use agentgate_proto::v1::approvals_client::ApprovalsClient;
use agentgate_proto::v1::control_client::ControlClient;
use agentgate_proto::v1::converse_request::Message as Said;
use agentgate_proto::v1::kill_target::Height;
use agentgate_proto::v1::status_client::StatusClient;
use agentgate_proto::v1::{self, Verdict};
use prost::Message as _;
use tonic::Code;
use tonic::transport::Channel;

fn kill(height: Height) -> v1::KillRequest {
    v1::KillRequest { target: Some(v1::KillTarget { height: Some(height) }), reason: "an incident".into() }
}

fn everything() -> v1::KillRequest {
    kill(Height::Everything(v1::Everything {}))
}

fn mode(server: &str, mode: v1::Mode) -> v1::SetModeRequest {
    v1::SetModeRequest { server: server.into(), mode: mode.into(), ..v1::SetModeRequest::default() }
}

async fn status(world: &World) -> v1::ShowStatusResponse {
    world.operator(StatusClient::new).await.show_status(v1::ShowStatusRequest {}).await.unwrap().into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_reaches_every_filter_before_the_next_verdict() {
    let world = World::new().await;
    let (mut vm, mut control) = (world.vm().await, world.operator(ControlClient::new).await);
    assert_eq!(vm.decided(call(1, "read_note")).await.verdict(), Verdict::Allow);
    let ack = control.kill(everything()).await.unwrap().into_inner();
    assert!(ack.changed);
    let standing = vm.stood().await;
    assert_eq!(standing.epoch, ack.epoch);
    assert!(standing.consult && standing.servers.is_empty(), "{standing:?}");
    let refused = vm.decided(call(2, "read_note")).await;
    assert_eq!((refused.verdict(), refused.rule.as_str(), refused.observed), (Verdict::Deny, "gate.killed", false));

    vm.say(Said::Kept(v1::Kept { epoch: standing.epoch })).await;
    let kept = async || status(&world).await.filters.iter().any(|vm| vm.kept_epoch == ack.epoch).then_some(());
    eventually("it is known that the filter obeys", kept).await;
    let shown = status(&world).await.orders.unwrap();
    assert_eq!((shown.kills.len(), shown.kills[0].by.as_str()), (1, "spiffe://agentgate.local/operator/me"));

    let resumed = v1::ResumeRequest { target: everything().target, reason: String::new() };
    assert!(control.resume(resumed).await.unwrap().into_inner().changed);
    assert!(!vm.stood().await.consult);
    assert_eq!(vm.decided(call(3, "read_note")).await.verdict(), Verdict::Allow);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_only_a_route_names_is_under_orders_and_told_of() {
    let world = World::new().await;
    let mut control = world.operator(ControlClient::new).await;
    let mut vm = Vm::open(world.channel(world.running.filters, "filter-laptop").await.unwrap()).await.unwrap();
    let served = |server: &str| v1::Served { server: server.into(), mode: v1::Mode::Observe.into() };
    let hello = v1::Hello { served: vec![served("notes"), served("ntoes"), served("other")], ..hello(EPOCH) };
    vm.say(Said::Hello(hello)).await;
    vm.hear().await.unwrap();
    assert_eq!(vm.stood().await.servers, []);

    let shown = status(&world).await;
    let routes: Vec<_> = shown.routes.iter().map(|route| (route.server.as_str(), route.observes, route.last_call_us)).collect();
    assert_eq!(routes, [("notes", true, 0)], "before any call");
    let ungranted = |shown: &v1::ShowStatusResponse| -> Vec<(String, u64)> {
        shown.ungranted.iter().map(|ungranted| (ungranted.server.clone(), ungranted.calls)).collect()
    };
    assert_eq!(ungranted(&shown), [("ntoes".into(), 0), ("other".into(), 0)]);

    let stop = Height::Tool(v1::ToolName { server: "ntoes".into(), tool: String::new() });
    control.kill(kill(stop)).await.unwrap();
    let standing = vm.stood().await;
    let consulted: Vec<_> =
        standing.servers.iter().filter(|server| server.consult).map(|server| server.server.as_str()).collect();
    assert_eq!((consulted, standing.consult), (vec!["ntoes"], false));
    let refused = vm.undecided(v1::Ask { server: "ntoes".into(), observe: true, ..call(1, "read_note") }).await;
    assert_eq!(refused.cause(), v1::undecided::Cause::Identity);
    assert_eq!(ungranted(&status(&world).await), [("ntoes".into(), 1), ("other".into(), 0)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_operator_may_not_is_refused_by_the_name_of_the_role() {
    let world = World::new().await;
    let channel = world.channel(world.running.operators, "operator-viewer").await.unwrap();
    let (mut control, mut approvals) = (ControlClient::new(channel.clone()), ApprovalsClient::new(channel));
    let decide = v1::DecideApprovalRequest { id: "00000000".into(), grant: true, ..v1::DecideApprovalRequest::default() };
    let refusals = [
        ("incident_admin", control.kill(everything()).await.unwrap_err()),
        ("incident_admin", control.resume(v1::ResumeRequest::default()).await.unwrap_err()),
        ("policy_admin", control.set_mode(mode("notes", v1::Mode::Observe)).await.unwrap_err()),
        ("approval_admin", approvals.decide_approval(decide).await.unwrap_err()),
    ];
    for (role, status) in refusals {
        assert_eq!(status.code(), Code::PermissionDenied, "{role}: {status:?}");
        assert!(status.message().contains(role), "{status:?}");
    }
    assert!(control.list_orders(v1::ListOrdersRequest {}).await.is_ok());
    assert!(approvals.list_approvals(v1::ListApprovalsRequest::default()).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_only_look_is_shown_a_call_as_its_tenants_records_are() {
    for (pii, viewers) in [("off", "a@b.co"), ("redact", "[redacted:email]"), ("tokenise", "[email:")] {
        let world = World::with(Setup { configured: format!("[privacy]\npii = '{pii}'\n"), ..Setup::default() }).await;
        let mut ask = call(1, "add_note");
        ask.body = String::from_utf8(ask.body.to_vec()).unwrap().replace(r#""x""#, r#""to a@b.co""#).into();
        let id = world.vm().await.decided(ask).await.approval;
        let mut digests = Vec::new();
        for (operator, expected) in [("operator-me", "a@b.co"), ("operator-viewer", viewers)] {
            let channel = world.channel(world.running.operators, operator).await.unwrap();
            let mut approvals = ApprovalsClient::new(channel);
            let shown = approvals.show_approval(v1::ShowApprovalRequest { id: id.clone() }).await.unwrap();
            let request = v1::ApprovalRequest::decode(shown.into_inner().approval.unwrap().request).unwrap();
            assert!(request.params.contains(&format!("to {expected}")), "{pii}, {operator}: {}", request.params);
            let listed = approvals.list_approvals(v1::ListApprovalsRequest::default()).await.unwrap().into_inner().approvals;
            let listed = v1::ApprovalRequest::decode(listed[0].request.clone()).unwrap();
            assert_eq!((&listed.target, &listed.call_digest), (&request.target, &request.call_digest), "{pii}, {operator}");
            digests.push(request.call_digest);
        }
        assert_eq!(digests[0] == digests[1], pii == "off", "{pii}: a digest of what was altered confirms a guess");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_names_nothing_is_malformed_and_says_so() {
    let world = World::new().await;
    let mut control = world.operator(ControlClient::new).await;
    for (request, named) in [
        (v1::KillRequest::default(), "what is to be killed"),
        (v1::KillRequest { reason: String::new(), ..everything() }, "reason"),
        (kill(Height::Tenant(String::new())), "tenant"),
        (kill(Height::Agent("alice".into())), "SPIFFE"),
    ] {
        let refused = control.kill(request.clone()).await.unwrap_err();
        assert!(refused.code() == Code::InvalidArgument && refused.message().contains(named), "{request:?}: {refused:?}");
    }
    for (server, named) in [("", "server"), ("unknown", "[[filter]]")] {
        let refused = control.set_mode(mode(server, v1::Mode::Observe)).await.unwrap_err();
        assert!(refused.code() == Code::InvalidArgument && refused.message().contains(named), "{server}: {refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mode_is_told_to_the_filters_that_it_concerns() {
    let world = World::new().await;
    let (mut vm, mut control) = (world.vm().await, world.operator(ControlClient::new).await);
    let observed = v1::Ask { observe: true, ..call(1, "delete_note") };
    let decided = vm.decided(observed.clone()).await;
    assert_eq!((decided.verdict(), decided.observed), (Verdict::Deny, true));
    control.set_mode(mode("notes", v1::Mode::Enforce)).await.unwrap();
    assert_eq!(vm.stood().await.servers[0].mode(), v1::Mode::Enforce);
    let decided = vm.decided(v1::Ask { counter: 2, ..observed }).await;
    assert_eq!((decided.verdict(), decided.observed), (Verdict::Deny, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn observations_that_were_lost_are_told_once_each() {
    let world = World::new().await;
    let mut vm = world.vm().await;
    for lost in [3, 3, 5] {
        vm.say(Said::Report(v1::Report { entries: Vec::new(), observations_lost: lost })).await;
    }
    vm.say(Said::Ping(v1::Ping { number: 1 })).await;
    vm.hear().await.unwrap();
    assert_eq!(status(&world).await.filters[0].observations_lost, 5);
    let (_, metrics) = visit(world.running.metrics, "/metrics").await;
    assert!(metrics.lines().any(|line| line.starts_with("agentgate_observations_lost_total ")), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_waits_is_shown_granted_and_passes_once_over_the_wire() {
    let world = World::new().await;
    let mut vm = world.vm().await;
    let mut approvals: ApprovalsClient<Channel> = world.operator(ApprovalsClient::new).await;
    let waits = vm.decided(call(1, "add_note")).await;
    assert_eq!(waits.verdict(), Verdict::Pending);
    let show = v1::ShowApprovalRequest { id: waits.approval.clone() };
    let shown = approvals.show_approval(show).await.unwrap().into_inner().approval.unwrap();
    let decide = |seen: Vec<u8>| v1::DecideApprovalRequest {
        id: waits.approval.clone(),
        grant: true,
        reason: String::new(),
        seen: seen.into(),
    };
    for (seen, code) in [(vec![0; 32], Code::FailedPrecondition), (vec![0; 31], Code::InvalidArgument)] {
        assert_eq!(approvals.decide_approval(decide(seen)).await.unwrap_err().code(), code);
    }
    let seen = shown_digest(&shown.request).as_bytes().to_vec();
    let granted = approvals.decide_approval(decide(seen.clone())).await.unwrap().into_inner().approval.unwrap();
    assert_eq!(granted.state(), v1::ApprovalState::Granted);
    let again = approvals.decide_approval(decide(seen)).await.unwrap_err();
    assert_eq!(again.code(), Code::FailedPrecondition, "granted already");
    // Another request, another id: the same call.
    let retry = v1::Ask { body: call(1, "add_note").body, ..call(2, "add_note") };
    assert_eq!(vm.decided(retry.clone()).await.verdict(), Verdict::Allow);
    assert_eq!(vm.decided(v1::Ask { counter: 3, ..retry }).await.verdict(), Verdict::Pending);
    assert_eq!(status(&world).await.approvals_pending, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn observed_calls_of_nobody_are_counted_where_an_operator_looks_before_enforcing() {
    let world = World::new().await;
    // This filter names callers by their certificates, and the call comes without one.
    let mut vm = world.vm_of("filter-other", [9; 16]).await;
    let observed = v1::entry::What::Observed(v1::Ask { observe: true, ..call(1, "read_note") });
    let entry = v1::Entry { counter: 1, what: Some(observed), ..v1::Entry::default() };
    assert_eq!(vm.report(vec![entry]).await, [1], "the filter need not repeat it");
    let routes = status(&world).await.routes;
    assert_eq!((routes.len(), routes[0].turned_away, routes[0].observes), (1, 1, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_name_stands_in_one_place_only_is_told() {
    let filter = "[[filter]]\nidentity = \"spiffe://agentgate.local/filter/files\"\ntenant = \"default\"\nservers = [\"files\"]\n\
                  principal = \"spiffe://agentgate.local/agent/laptop\"\n";
    for (configured, wanted) in [("", None), (filter, Some("tools.yaml has no tool of the server `files`"))] {
        let world = World::with(Setup { configured: configured.into(), ..Setup::default() }).await;
        let notices = status(&world).await.policy.unwrap().notices;
        assert_eq!(notices.len(), usize::from(wanted.is_some()), "{notices:?}");
        assert!(wanted.is_none_or(|wanted| notices[0].starts_with(wanted)), "{notices:?}");
    }
}
