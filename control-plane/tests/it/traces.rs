//! What operators read: pages, one call by its names, and what happens from now on.

use crate::world::{EPOCH, Setup, World, call, outcome};
use agentgate_control_plane::config::Limits;
use agentgate_proto::v1::trace_client::TraceClient;
use agentgate_proto::v1::{self, OutcomeKind, Verdict};
use std::time::Duration;
use tonic::Code;

async fn pages(world: &World, request: v1::ListTracesRequest) -> Vec<Vec<u64>> {
    let mut client = world.operator(TraceClient::new).await;
    let (mut pages, mut request) = (Vec::new(), request);
    loop {
        let page = client.list_traces(request.clone()).await.unwrap().into_inner();
        pages.push(page.traces.iter().map(|trace| trace.sequence).collect());
        if page.next_page_token.is_empty() {
            return pages;
        }
        request.page_token = page.next_page_token;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_go_from_memory_into_the_journal_without_a_seam() {
    let limits = Limits { recent_traces_max: 7, ..Limits::default() };
    let world = World::with(Setup { limits, ..Setup::default() }).await;
    let mut vm = world.vm().await;
    let mut sequences = Vec::new();
    for counter in 1..=20 {
        let tool = if counter % 2 == 0 { "read_note" } else { "delete_note" };
        sequences.push(vm.decided(call(counter, tool)).await.sequence);
        if counter % 2 == 0 {
            vm.report(vec![outcome(counter, OutcomeKind::Completed)]).await;
        }
    }
    sequences.reverse();
    for page_size in [1, 3, 7, 8, 20, 50] {
        let pages = pages(&world, v1::ListTracesRequest { page_size, ..v1::ListTracesRequest::default() }).await;
        assert!(pages.iter().all(|page| page.len() <= page_size as usize));
        assert_eq!(pages.concat(), sequences, "pages of {page_size}");
    }
    let allowed =
        v1::ListTracesRequest { verdict: Verdict::Allow.into(), tool: "read_note".into(), ..v1::ListTracesRequest::default() };
    assert_eq!(pages(&world, allowed.clone()).await.concat().len(), 10);
    let mut client = world.operator(TraceClient::new).await;
    let traces = client.list_traces(allowed).await.unwrap().into_inner().traces;
    assert!(traces.iter().all(|trace| trace.outcome() == OutcomeKind::Completed), "old ones and new ones have their outcome");
    let nobody = v1::ListTracesRequest { principal: "spiffe://x/y".into(), ..v1::ListTracesRequest::default() };
    assert_eq!(pages(&world, nobody).await.concat(), Vec::<u64>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_found_by_each_of_its_names() {
    let limits = Limits { recent_traces_max: 2, ..Limits::default() };
    let world = World::with(Setup { limits, ..Setup::default() }).await;
    let mut vm = world.vm().await;
    let first = vm.decided(call(1, "read_note")).await;
    vm.report(vec![outcome(1, OutcomeKind::Completed)]).await;
    vm.decided(call(2, "read_note")).await;
    vm.decided(call(3, "read_note")).await;
    let mut other = world.vm_of("filter-laptop", [9; 16]).await;
    other.decided(call(1, "read_note")).await;
    let epoch: String = EPOCH.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut client = world.operator(TraceClient::new).await;
    let mut show = async |id: &str| client.show_trace(v1::ShowTraceRequest { id: id.into() }).await;
    for id in [format!("{epoch}-1"), first.sequence.to_string(), (first.sequence + 1).to_string()] {
        let shown = show(&id).await.unwrap().into_inner();
        assert_eq!(shown.trace.unwrap().call_id, format!("{epoch}-1"), "by {id}");
        assert_eq!(shown.body.unwrap().ask.unwrap().body, call(1, "read_note").body);
    }
    for (id, says) in [("09090909-", "no call among the newest 2"), (&format!("{epoch}-9"), "no call `0707")] {
        let absent = show(id).await.unwrap_err();
        assert!(absent.code() == Code::NotFound && absent.message().contains(says), "{absent:?}");
    }
    assert_eq!(show(&"09".repeat(16)).await.unwrap().into_inner().trace.unwrap().call_id, format!("{}-1", "09".repeat(16)));
    for (id, code) in
        [("4711", Code::NotFound), ("1", Code::NotFound), ("zebra", Code::InvalidArgument), ("", Code::InvalidArgument)]
    {
        assert_eq!(show(id).await.unwrap_err().code(), code, "`{id}`");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_sees_each_call_and_a_slow_one_is_told_what_it_missed() {
    let limits = Limits { tails_max: 2, tail_behind_max: 4, ..Limits::default() };
    let world = World::with(Setup { limits, ..Setup::default() }).await;
    let mut vm = world.vm().await;
    let mut client = world.operator(TraceClient::new).await;
    let mut tail = client.tail_traces(v1::TailTracesRequest {}).await.unwrap().into_inner();
    let _second = client.tail_traces(v1::TailTracesRequest {}).await.unwrap();
    let third = client.tail_traces(v1::TailTracesRequest {}).await;
    assert_eq!(third.unwrap_err().code(), Code::ResourceExhausted, "one more than may follow");
    let decided = vm.decided(call(1, "read_note")).await;
    let seen = tail.message().await.unwrap().unwrap().trace.unwrap();
    assert_eq!((seen.sequence, seen.target.as_str()), (decided.sequence, "read_note"));
    vm.report(vec![outcome(1, OutcomeKind::Completed)]).await;
    let ended = tail.message().await.unwrap().unwrap().ended.unwrap();
    assert_eq!(ended.outcome(), OutcomeKind::Completed);
    assert_eq!(
        v1::CallTrace { outcome: 0, duration_us: ended.duration_us, ..ended },
        v1::CallTrace { duration_us: ended.duration_us, ..seen }
    );

    // Nobody reads while so much happens that no window holds it.
    let filler = "x".repeat(4_000);
    for counter in 2..=2_000 {
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{filler}{counter}"}}}}"#);
        vm.decided(crate::world::ask(counter, &body)).await;
    }
    let cut = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            if let Err(status) = tail.message().await {
                return status;
            }
        }
    });
    let cut = cut.await.unwrap();
    assert_eq!(cut.code(), Code::ResourceExhausted);
    assert!(cut.message().contains("missed"), "{}", cut.message());
}
