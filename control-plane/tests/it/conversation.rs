//! What a filter asks, and what it is answered.

use crate::world::{EPOCH, PATIENCE, Vm, World, ask, call, eventually, hello, refused};
use agentgate_proto::v1::converse_request::Message as Said;
use agentgate_proto::v1::converse_response::Message as Heard;
use agentgate_proto::v1::gate_client::GateClient;
use agentgate_proto::v1::undecided::Cause;
use agentgate_proto::v1::{self, Verdict};
use tonic::Code;

#[tokio::test(flavor = "multi_thread")]
async fn each_call_gets_the_verdict_of_the_policy() {
    let world = World::new().await;
    let mut vm = world.vm().await;
    for (counter, tool, verdict) in [
        (1, "read_note", Verdict::Allow),
        (2, "add_note", Verdict::Pending),
        (3, "delete_note", Verdict::Deny),
        (4, "no_such_tool", Verdict::Deny),
    ] {
        let decided = vm.decided(call(counter, tool)).await;
        // A call that waits is followed by what it waits for, in the same change.
        let behind = u64::from(verdict == Verdict::Pending);
        assert_eq!((decided.verdict(), decided.sequence), (verdict, world.head() - behind), "{tool}: {decided:?}");
    }
    let malformed = vm.decided(ask(5, r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#)).await;
    assert_eq!(malformed.verdict(), Verdict::Deny);
    assert!(malformed.rule.starts_with("gate."), "{malformed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_decided_once_however_often_it_is_asked() {
    let world = World::new().await;
    let mut vm = world.vm().await;
    let first = vm.decided(call(1, "read_note")).await;
    let again = v1::Ask { deadline_ms: 77, ..call(1, "read_note") };
    assert_eq!(vm.decided(again).await, first, "how long somebody waits is no part of a request");
    assert_eq!(vm.undecided(call(1, "delete_note")).await.cause(), Cause::Reused);
    let head = world.head();

    // At once, on two streams and by the unary rpc.
    let (mut one, mut two) = (world.vm().await, world.vm().await);
    let mut unary = GateClient::new(world.channel(world.running.filters, "filter-laptop").await.unwrap());
    let request = v1::DecideRequest { epoch: EPOCH.to_vec().into(), ask: Some(call(2, "read_note")) };
    let (one, two, three) =
        tokio::join!(one.decided(call(2, "read_note")), two.decided(call(2, "read_note")), unary.decide(request));
    let three = three.unwrap().into_inner().answer.unwrap();
    assert_eq!((&one, three.result), (&two, Some(v1::answer::Result::Decided(one.clone()))));
    assert_eq!(world.head(), head + 1);

    // The same counter in another life of the VM, and under another certificate, is another call.
    let other = world.vm_of("filter-laptop", [8; 16]).await.decided(call(1, "read_note")).await;
    assert_ne!(other.sequence, first.sequence);
    let peer = v1::Ask { peer: "spiffe://agentgate.local/agent/laptop".into(), ..call(1, "read_note") };
    let other = world.vm_of("filter-other", EPOCH).await.decided(peer).await;
    assert_ne!(other.sequence, first.sequence);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_that_is_cut_leaves_its_calls_decided() {
    let world = World::new().await;
    let vm = world.vm().await;
    for counter in 1..=50 {
        vm.say(Said::Ask(call(counter, "read_note"))).await;
    }
    vm.say(Said::Ping(v1::Ping { number: 1 })).await;
    // The echo says that all asks before it were heard.
    let mut vm = vm;
    while !matches!(vm.hear().await.unwrap(), Heard::Echo(_)) {}
    drop(vm);
    eventually("50 decisions and the policy", async || (world.head() == 51).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_calls_of_one_subject_are_all_decided_in_order() {
    let world = World::new().await;
    let mut vm = world.vm().await;
    for counter in 1..=200 {
        vm.say(Said::Ask(call(counter, "read_note"))).await;
    }
    let mut sequences = Vec::new();
    while sequences.len() < 200 {
        let Heard::Answer(v1::Answer { result: Some(v1::answer::Result::Decided(decided)), .. }) = vm.hear().await.unwrap()
        else {
            panic!("not decided");
        };
        sequences.push(decided.sequence);
    }
    sequences.sort_unstable();
    assert_eq!(sequences, (2..=201).collect::<Vec<u64>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_ask_for_this_gets_no_verdict() {
    let world = World::new().await;
    let mut one = world.vm().await;
    let wrong = one.undecided(v1::Ask { server: "bank".into(), ..call(1, "read_note") }).await;
    assert_eq!(wrong.cause(), Cause::Identity);
    assert!(wrong.detail.contains("may not ask for the server `bank`"), "{}", wrong.detail);
    let mut peers = world.vm_of("filter-other", EPOCH).await;
    for (counter, peer, says) in [
        (1, "", "showed no certificate"),
        (2, "spiffe://elsewhere/agent/x", "no workload of `agentgate.local`"),
        (3, "https://agentgate.local/", "no workload of `agentgate.local`"),
    ] {
        let refused = peers.undecided(v1::Ask { peer: peer.into(), ..call(counter, "read_note") }).await;
        assert_eq!(refused.cause(), Cause::Identity);
        assert!(refused.detail.contains(says), "{}", refused.detail);
    }
    assert_eq!(world.head(), 1, "nothing was recorded of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_begins_with_one_hello_of_the_same_contract() {
    let world = World::new().await;
    let bad_epoch = v1::Hello { epoch: vec![1].into(), ..hello(EPOCH) };
    let newer = v1::Hello { contract: 999, ..hello(EPOCH) };
    let served = |server: String| v1::Served { server, mode: v1::Mode::Observe.into() };
    let nameless = v1::Hello { served: vec![served(String::new())], ..hello(EPOCH) };
    let many = |count: usize| v1::Hello { served: (0..count).map(|n| served(format!("s{n}"))).collect(), ..hello(EPOCH) };
    for (first, code) in [
        (Said::Ask(call(1, "read_note")), Code::InvalidArgument),
        (Said::Hello(bad_epoch), Code::InvalidArgument),
        (Said::Hello(newer), Code::FailedPrecondition),
        (Said::Hello(nameless), Code::InvalidArgument),
        (Said::Hello(many(1_025)), Code::InvalidArgument),
    ] {
        let mut vm = Vm::open(world.channel(world.running.filters, "filter-laptop").await.unwrap()).await.unwrap();
        vm.say(first).await;
        assert_eq!(vm.hear().await.unwrap_err().code(), code);
    }
    let mut vm = Vm::open(world.channel(world.running.filters, "filter-laptop").await.unwrap()).await.unwrap();
    vm.say(Said::Hello(many(1_024))).await;
    assert!(matches!(vm.hear().await.unwrap(), Heard::Welcome(_)));
    let mut vm = world.vm().await;
    vm.say(Said::Hello(hello(EPOCH))).await;
    assert_eq!(vm.hear().await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_hides_what_is_refused_whatever_its_arguments() {
    let world = World::new().await;
    let mut vm = world.vm().await;
    let list = ask(1, r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#);
    assert_eq!(vm.decided(list).await.verdict(), Verdict::Allow);
    let tools: Vec<String> = ["read_note", "add_note", "delete_note", "stranger"].map(Into::into).to_vec();
    vm.say(Said::Listing(v1::Listing { counter: 1, tools: tools.clone() })).await;
    let Heard::Listed(v1::Listed { result: Some(v1::listed::Result::Hidden(hidden)), .. }) = vm.hear().await.unwrap() else {
        panic!("not listed");
    };
    assert_eq!(hidden.tools, ["delete_note", "stranger"]);
    // No such call, and a call that is no list.
    vm.decided(call(2, "read_note")).await;
    for counter in [2, 99] {
        vm.say(Said::Listing(v1::Listing { counter, tools: tools.clone() })).await;
        let listed = vm.hear().await.unwrap();
        let undecided = matches!(&listed, Heard::Listed(v1::Listed { result: Some(v1::listed::Result::Undecided(_)), .. }));
        assert!(undecided, "{listed:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_larger_than_the_limit_breaks_the_stream_and_nothing_else() {
    let world = World::new().await;
    let mut vm = world.vm().await;
    let limit = agentgate_control_plane::config::Limits::default();
    let body = |bytes: u32| ask(1, &"x".repeat(bytes as usize));
    assert_eq!(vm.decided(body(limit.body_bytes_max + 1)).await.verdict(), Verdict::Deny, "a message, but no body");
    vm.say(Said::Report(v1::Report { entries: vec![refused(body(limit.message_bytes_max))], observations_lost: 0 })).await;
    let gone = tokio::time::timeout(PATIENCE, async { while vm.hear().await.is_ok() {} }).await;
    assert!(gone.is_ok());
    assert_eq!(world.vm().await.decided(call(2, "read_note")).await.verdict(), Verdict::Allow);
}
