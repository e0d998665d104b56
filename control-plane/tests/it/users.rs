//! Users behind agents, over the real contract: claims make the subject, and what they may say is configured.

use crate::world::{DAY, EPOCH, Setup, World, call, certificate};
use agentgate_proto::v1::control_client::ControlClient;
use agentgate_proto::v1::trace_client::TraceClient;
use agentgate_proto::v1::{self, Verdict, undecided::Cause};

const CONFIGURED: &str = r#"
    [[filter]]
    identity = "spiffe://agentgate.local/filter/users"
    tenant = "default"
    servers = ["notes"]
    [filter.users]
    issuers = ["https://idp.example"]
    agent_claim = "azp"
    agents = { "laptop-client" = "spiffe://agentgate.local/agent/laptop" }
    tenant_claim = "tenant"
    tenants = ["acme"]
"#;

fn of(counter: u64, user: &str, tenant: &str) -> v1::Ask {
    let claim = |name: &str, value: &str| v1::Claim { name: name.into(), value: value.into(), unreadable: false };
    let claims =
        vec![claim("iss", "https://idp.example"), claim("sub", user), claim("azp", "laptop-client"), claim("tenant", tenant)];
    v1::Ask { claims, ..call(counter, "read_note") }
}

async fn world() -> World {
    let world = World::with(Setup { configured: CONFIGURED.into(), ..Setup::default() }).await;
    certificate(world.path(), "filter/users", world.clock.now(), DAY);
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_names_the_user_and_the_agent_and_the_tenant_of_the_token() {
    let world = world().await;
    let mut vm = world.vm_of("filter-users", EPOCH).await;
    for (counter, user, tenant) in [(1, "alice", "acme"), (2, "bob", "acme"), (3, "alice", "default")] {
        assert_eq!(vm.decided(of(counter, user, tenant)).await.verdict(), Verdict::Allow);
    }
    let mut operator = world.operator(TraceClient::new).await;
    let listed = operator.list_traces(v1::ListTracesRequest::default()).await.unwrap();
    let mut subjects: Vec<_> =
        listed.into_inner().traces.into_iter().map(|trace| format!("{} {}", trace.tenant, trace.principal)).collect();
    subjects.sort();
    let agent = "spiffe://agentgate.local/agent/laptop";
    assert_eq!(
        subjects,
        [
            format!("acme {agent}+user:alice@https://idp.example"),
            format!("acme {agent}+user:bob@https://idp.example"),
            format!("default {agent}+user:alice@https://idp.example"),
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_says_more_than_is_configured_is_refused_and_leaves_no_trace() {
    let world = world().await;
    let mut vm = world.vm_of("filter-users", EPOCH).await;
    let head = world.head();
    let mut listed = of(4, "alice", "acme").claims;
    for claim in listed.iter_mut().filter(|claim| claim.name == "azp") {
        (claim.value, claim.unreadable) = (String::new(), true);
    }
    for (counter, ask, why) in [
        (1, of(1, "alice", "globex"), "the tenant `globex` is not among"),
        (2, v1::Ask { claims: Vec::new(), ..of(2, "alice", "acme") }, "names no user"),
        (3, of(3, "", "acme"), "the claim `sub` is there, but is no text"),
        (4, v1::Ask { claims: listed, ..of(4, "alice", "acme") }, "the claim `azp` is there, but is no text"),
    ] {
        let undecided = vm.undecided(ask).await;
        assert_eq!(undecided.cause(), Cause::Identity, "{counter}");
        assert!(undecided.detail.contains(why), "{}", undecided.detail);
    }
    assert_eq!(world.head(), head);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_ask_with_another_users_claims_is_no_repetition() {
    let world = world().await;
    let mut vm = world.vm_of("filter-users", EPOCH).await;
    let first = vm.decided(of(1, "alice", "acme")).await;
    assert_eq!(vm.decided(of(1, "alice", "acme")).await, first);
    for other in [of(1, "bob", "acme"), of(1, "alice", "default"), v1::Ask { observe: true, ..of(1, "alice", "acme") }] {
        assert_eq!(vm.undecided(other).await.cause(), Cause::Reused);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_of_a_tenant_that_a_token_may_name_stops_its_users_and_no_others() {
    let world = world().await;
    let mut vm = world.vm_of("filter-users", EPOCH).await;
    let mut operator = world.operator(ControlClient::new).await;
    let target = v1::KillTarget { height: Some(v1::kill_target::Height::Tenant("acme".into())) };
    let order = v1::KillRequest { target: Some(target), reason: "looked at".into() };
    operator.kill(order).await.unwrap();
    // The filter is told: one of the tenants that it may name is concerned.
    let standing = vm.stood().await;
    assert!(format!("{standing:?}").contains("consult: true"), "{standing:?}");
    assert_eq!(vm.decided(of(1, "alice", "acme")).await.verdict(), Verdict::Deny);
    assert_eq!(vm.decided(of(2, "alice", "default")).await.verdict(), Verdict::Allow);
}
