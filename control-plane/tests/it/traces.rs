//! What operators read: pages, one call by its names, and what happens from now on.

use crate::world::{EPOCH, PATIENCE, Setup, World, call, outcome};
use agentgate_control_plane::config::Limits;
use agentgate_proto::v1::trace_client::TraceClient;
use agentgate_proto::v1::{self, OutcomeKind, Verdict};
use tonic::{Code, Streaming};

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
        asking(v1::TraceFilter { verdict: Verdict::Allow.into(), tool: "read_note".into(), ..v1::TraceFilter::default() });
    assert_eq!(pages(&world, allowed.clone()).await.concat().len(), 10);
    let mut client = world.operator(TraceClient::new).await;
    let traces = client.list_traces(allowed).await.unwrap().into_inner().traces;
    assert!(traces.iter().all(|trace| trace.outcome() == OutcomeKind::Completed), "old ones and new ones have their outcome");
    let nobody = asking(v1::TraceFilter { principal: "spiffe://x/y".into(), ..v1::TraceFilter::default() });
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

fn asking(filter: v1::TraceFilter) -> v1::ListTracesRequest {
    v1::ListTracesRequest { filter: Some(filter), ..v1::ListTracesRequest::default() }
}

/// What a follower is told next of a call.
async fn news(tail: &mut Streaming<v1::TailTracesResponse>) -> v1::TailTracesResponse {
    let told = async {
        loop {
            let news = tail.message().await.unwrap().expect("the tail goes on");
            if news.trace.is_some() || news.ended.is_some() {
                return news;
            }
        }
    };
    tokio::time::timeout(PATIENCE, told).await.expect("something is told")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_sees_each_call_as_it_was_decided_and_as_it_ended() {
    let limits = Limits { tails_max: 2, ..Limits::default() };
    let world = World::with(Setup { limits, ..Setup::default() }).await;
    let mut vm = world.vm().await;
    let mut client = world.operator(TraceClient::new).await;
    let mut tail = client.tail_traces(v1::TailTracesRequest::default()).await.unwrap().into_inner();
    let _second = client.tail_traces(v1::TailTracesRequest::default()).await.unwrap();
    let third = client.tail_traces(v1::TailTracesRequest::default()).await;
    assert_eq!(third.unwrap_err().code(), Code::ResourceExhausted, "one more than may follow");
    let begun = tail.message().await.unwrap().unwrap();
    assert!(begun.trace.is_none() && begun.ended.is_none() && begun.sequence > 0, "it says where it begins: {begun:?}");
    let decided = vm.decided(call(1, "read_note")).await;
    let told = news(&mut tail).await;
    let seen = told.trace.unwrap();
    assert_eq!((seen.sequence, seen.target.as_str(), told.sequence), (decided.sequence, "read_note", decided.sequence));
    vm.report(vec![outcome(1, OutcomeKind::Completed)]).await;
    let told = news(&mut tail).await;
    let ended = told.ended.unwrap();
    assert_eq!((ended.outcome(), told.sequence), (OutcomeKind::Completed, decided.sequence + 1));
    assert_eq!(
        v1::CallTrace { outcome: 0, duration_us: ended.duration_us, ..ended },
        v1::CallTrace { duration_us: ended.duration_us, ..seen }
    );
}

/// The reader stops while so much happens that no window holds it, and while the control plane is killed.
#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_was_slow_or_away_goes_on_where_it_was_and_misses_nothing() {
    const CALLS: u64 = 600;
    let setup = Setup { limits: Limits { recent_traces_max: 16, ..Limits::default() }, embedded: true, ..Setup::default() };
    let world = World::with(Setup { limits: setup.limits.clone(), embedded: true, ..Setup::default() }).await;
    let mut vm = world.vm().await;
    let mut client = world.operator(TraceClient::new).await;
    let mut tail = client.tail_traces(v1::TailTracesRequest::default()).await.unwrap().into_inner();
    let filler = "x".repeat(4_000);
    let mut decided = Vec::new();
    for counter in 1..=CALLS {
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{filler}{counter}"}}}}"#);
        decided.push(vm.decided(crate::world::ask(counter, &body)).await.sequence);
    }
    let mut seen = Vec::new();
    for _ in 0..CALLS / 3 {
        seen.push(news(&mut tail).await.trace.unwrap().sequence);
    }
    drop((tail, client, vm));
    let world = world.killed_and_restarted(&setup).await;
    let mut client = world.operator(TraceClient::new).await;
    let after_sequence = seen.last().copied();
    let mut tail = client.tail_traces(v1::TailTracesRequest { filter: None, after_sequence }).await.unwrap().into_inner();
    for _ in CALLS / 3..CALLS {
        seen.push(news(&mut tail).await.trace.unwrap().sequence);
    }
    assert_eq!(seen, decided);
    let beyond = v1::TailTracesRequest { filter: None, after_sequence: Some(u64::MAX) };
    let refused = client.tail_traces(beyond).await.unwrap_err();
    assert!(refused.code() == Code::InvalidArgument && refused.message().contains("the journal ends at"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_is_told_of_what_it_asked_for_alone() {
    let world = World::new().await;
    let mut vm = world.vm().await;
    let mut client = world.operator(TraceClient::new).await;
    let mut follow = async |filter: v1::TraceFilter| {
        let request = v1::TailTracesRequest { filter: Some(filter), after_sequence: Some(0) };
        client.tail_traces(request).await.unwrap().into_inner()
    };
    let mut denied = follow(v1::TraceFilter { verdict: Verdict::Deny.into(), ..v1::TraceFilter::default() }).await;
    let failed = Some(OutcomeKind::Failed.into());
    let mut failed = follow(v1::TraceFilter { outcome: failed, ..v1::TraceFilter::default() }).await;
    vm.decided(call(1, "read_note")).await;
    let refused = vm.decided(call(2, "delete_note")).await;
    let last = vm.decided(call(3, "read_note")).await;
    vm.report(vec![outcome(1, OutcomeKind::Completed), outcome(3, OutcomeKind::Failed)]).await;
    assert_eq!(news(&mut denied).await.trace.unwrap().sequence, refused.sequence);
    assert_eq!(news(&mut failed).await.ended.unwrap().sequence, last.sequence);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_for_wrongly_is_refused_and_says_why() {
    let world = World::new().await;
    let mut client = world.operator(TraceClient::new).await;
    let filter = v1::TraceFilter::default;
    for (request, says) in [
        (v1::ListTracesRequest { page_token: "x".into(), ..Default::default() }, "`x` is no page token"),
        (v1::ListTracesRequest { page_token: "+7".into(), ..Default::default() }, "of the other order"),
        (v1::ListTracesRequest { page_token: "7".into(), oldest_first: true, ..Default::default() }, "of the other order"),
        (asking(v1::TraceFilter { session: "session-1".into(), ..filter() }), "is a handle"),
        (asking(v1::TraceFilter { verdict: 9, ..filter() }), "9 is no verdict"),
        (asking(v1::TraceFilter { outcome: Some(99), ..filter() }), "99 is no outcome"),
        (asking(v1::TraceFilter { from_us: 7, until_us: 7, ..filter() }), "ends before it begins"),
    ] {
        let refused = client.list_traces(request).await.unwrap_err();
        assert!(refused.code() == Code::InvalidArgument && refused.message().contains(says), "{says}: {refused:?}");
    }
}
