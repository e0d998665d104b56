//! What becomes of calls: reported, amended, unknown, flooded; and what is left after a kill.

use crate::world::{Setup, World, ask, call, eventually, outcome, refused};
use agentgate_control_plane::config::Limits;
use agentgate_control_plane::telemetry;
use agentgate_core::transparency::gaps::Counters;
use agentgate_core::transparency::leaf::Source;
use agentgate_proto::v1::record::What;
use agentgate_proto::v1::trace_client::TraceClient;
use agentgate_proto::v1::{self, OutcomeKind, Verdict};
use prost::Message;
use std::ops::RangeInclusive;
use std::time::Duration;

const S: Duration = Duration::from_secs(1);

async fn show(world: &World, id: u64) -> v1::ShowTraceResponse {
    let mut client = world.operator(TraceClient::new).await;
    client.show_trace(v1::ShowTraceRequest { id: id.to_string() }).await.unwrap().into_inner()
}

async fn records(world: &World) -> Vec<What> {
    let records = world.journal.follow(0, 10_000).await.unwrap();
    records.into_iter().map(|record| v1::Record::decode(record.bytes).unwrap().what.unwrap()).collect()
}

/// Numbers of asks that the log shows no decision of, and that the flood does not name either.
async fn missing(world: &World, flood: Option<&v1::FloodRecord>) -> Vec<RangeInclusive<u64>> {
    let mut counters = Counters::default();
    for record in world.journal.follow(0, 10_000).await.unwrap() {
        let entry = agentgate_control_plane::transparency::entry(&record).unwrap();
        counters.see(&entry).unwrap();
    }
    for counted in flood.iter().flat_map(|flood| &flood.asks) {
        let source = Source(counted.source.as_ref().try_into().unwrap());
        for (first, last) in counted.first.iter().zip(&counted.last) {
            counters.account(source, *first..=*last).unwrap();
        }
    }
    let seen: Vec<_> = counters.counted().collect();
    let [seen] = seen.as_slice() else { panic!("{seen:?}") };
    let (ends, mut missing) =
        (seen.accounted.last().map_or(seen.ends, |range| seen.ends.max(*range.end())), seen.missing.clone());
    // A hole at the end does not show by itself.
    if ends < 14 {
        missing.push(ends + 1..=14);
    }
    missing
}

async fn becomes(world: &World, sequence: u64, kind: OutcomeKind) -> v1::ShowTraceResponse {
    eventually(&format!("{sequence} becomes {kind:?}"), async || {
        tokio::time::sleep(Duration::from_millis(5)).await;
        Some(show(world, sequence).await).filter(|shown| shown.trace.as_ref().unwrap().outcome() == kind)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_is_recorded_once_and_acknowledged_every_time() {
    let world = World::new().await;
    let mut vm = world.vm().await;
    let (first, second) = (vm.decided(call(1, "read_note")).await, vm.decided(call(2, "read_note")).await);
    let denied = vm.decided(call(3, "delete_note")).await;
    let head = world.head();
    let entries = vec![outcome(1, OutcomeKind::Completed), outcome(2, OutcomeKind::Failed)];
    assert_eq!(vm.report(entries.clone()).await, [1, 2]);
    assert_eq!(world.head(), head + 2);
    assert_eq!(vm.report(entries).await, [1, 2]);
    // Of a call that was denied, of one that never was, of a kind that only the control plane says.
    let odd = vec![outcome(3, OutcomeKind::Completed), outcome(99, OutcomeKind::Completed), outcome(1, OutcomeKind::Unknown)];
    assert_eq!(vm.report(odd).await, [1, 3, 99]);
    assert_eq!(world.head(), head + 2, "nothing more was recorded");
    for (sequence, kind) in [(first.sequence, OutcomeKind::Completed), (second.sequence, OutcomeKind::Failed)] {
        let shown = becomes(&world, sequence, kind).await;
        assert_eq!((shown.outcomes.len(), shown.trace.unwrap().duration_us), (1, Some(1_234)));
    }
    assert!(show(&world, denied.sequence).await.outcomes.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_reports_a_calls_outcome() {
    let world = World::new().await;
    let decided = world.vm().await.decided(call(1, "read_note")).await;
    world.vm_of("filter-laptop", [8; 16]).await.report(vec![outcome(1, OutcomeKind::Completed)]).await;
    world.vm_of("filter-other", crate::world::EPOCH).await.report(vec![outcome(1, OutcomeKind::Completed)]).await;
    assert!(show(&world, decided.sequence).await.outcomes.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_without_a_report_is_unknown_at_its_deadline_and_a_late_report_amends() {
    let limits = Limits { silence_s: 100_000, ..Limits::default() };
    let deadline = limits.outcome_deadline();
    let world = World::with(Setup { limits, ..Setup::default() }).await;
    let mut vm = world.vm().await;
    let decided = vm.decided(call(1, "read_note")).await;
    world.hands.advance(deadline - S);
    world.running.decide.sweep(false).await;
    assert!(show(&world, decided.sequence).await.outcomes.is_empty(), "a second before");
    world.hands.advance(S);
    let unknown = becomes(&world, decided.sequence, OutcomeKind::Unknown).await;
    assert_eq!(unknown.trace.unwrap().duration_us, None, "nobody knows how long it took");
    assert_eq!(vm.report(vec![outcome(1, OutcomeKind::Completed)]).await, [1]);
    let amended = becomes(&world, decided.sequence, OutcomeKind::Completed).await;
    assert_eq!((amended.outcomes.len(), amended.trace.unwrap().duration_us), (2, Some(1_234)), "both are on record");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_calls_of_a_vm_that_fell_silent_are_unknown() {
    let world = World::new().await;
    let mut vm = world.vm().await;
    let decided = vm.decided(call(1, "read_note")).await;
    let silence = Limits::default().silence();
    world.hands.advance(silence);
    world.running.decide.sweep(false).await;
    assert!(show(&world, decided.sequence).await.outcomes.is_empty(), "as long as it may be silent");
    world.hands.advance(S);
    let shown = becomes(&world, decided.sequence, OutcomeKind::Unknown).await;
    assert!(shown.outcomes[0].body.as_ref().unwrap().detail.contains("not heard of"));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_too_many_open_calls_the_oldest_is_unknown_and_its_filter_not_called_silent() {
    let limits = Limits { open_calls_max: 1, ..Limits::default() };
    let world = World::with(Setup { limits, ..Setup::default() }).await;
    let mut vm = world.vm().await;
    let (oldest, newest) = (vm.decided(call(1, "read_note")).await, vm.decided(call(2, "read_note")).await);
    world.running.decide.sweep(false).await;
    let shown = becomes(&world, oldest.sequence, OutcomeKind::Unknown).await;
    assert_eq!(shown.outcomes[0].body.as_ref().unwrap().detail, "more calls were open than may be");
    assert!(show(&world, newest.sequence).await.outcomes.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_is_there_after_a_kill_and_open_calls_are_found_again() {
    let setup = Setup { embedded: true, ..Setup::default() };
    let world = World::with(Setup { embedded: true, ..Setup::default() }).await;
    let mut vm = world.vm().await;
    let (open, closed) = (vm.decided(call(1, "read_note")).await, vm.decided(call(2, "read_note")).await);
    vm.report(vec![outcome(2, OutcomeKind::Completed)]).await;
    let head = world.head();
    drop(vm);

    let world = world.killed_and_restarted(&setup).await;
    assert_eq!(world.head(), head, "the policy in force is still the same");
    let mut vm = world.vm().await;
    assert_eq!(vm.decided(call(1, "read_note")).await, open, "decided once, also by the next process");
    assert_eq!(vm.undecided(call(1, "delete_note")).await.cause(), v1::undecided::Cause::Reused);
    assert_eq!(show(&world, closed.sequence).await.trace.unwrap().outcome(), OutcomeKind::Completed);
    world.hands.advance(Limits::default().outcome_deadline());
    becomes(&world, open.sequence, OutcomeKind::Unknown).await;
    assert_eq!(show(&world, closed.sequence).await.outcomes.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_filter_could_not_read_is_recorded_as_a_denial() {
    let world = World::new().await;
    let mut vm = world.vm().await;
    // One that reads badly here too, one that reads well, and one whose body the filter never had whole.
    let too_large = v1::Entry { reason: "body_too_large".into(), ..refused(ask(3, "")) };
    assert_eq!(vm.report(vec![refused(ask(1, "[]"))]).await, [1]);
    assert_eq!(vm.report(vec![refused(call(2, "read_note"))]).await, [2]);
    assert_eq!(vm.report(vec![too_large]).await, [3]);
    let head = world.head();
    assert_eq!(vm.report(vec![refused(ask(1, "[]"))]).await, [1], "once");
    assert_eq!(world.head(), head);
    for (sequence, rule) in [(2, "gate.batch"), (3, "gate.refused_by_filter"), (4, "gate.body_too_large")] {
        let shown = show(&world, sequence).await;
        let (trace, decision) = (shown.trace.unwrap(), shown.decision.unwrap());
        assert_eq!((trace.verdict(), trace.rule.as_str(), decision.step.as_str()), (Verdict::Deny, rule, "malformed"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_unreadable_calls_becomes_one_record() {
    let limits = Limits { malformed_per_subject_per_s_max: 3, recent_traces_max: 2, ..Limits::default() };
    let interval = limits.flood_interval();
    let setup = || Setup { limits: limits.clone(), ..Setup::default() };
    let world = World::with(setup()).await;
    let mut vm = world.vm().await;
    for counter in 1..=3 {
        assert_ne!(vm.decided(ask(counter, "[]")).await.sequence, 0, "up to the rate, each has a record");
    }
    let before = malformed_counted();
    for counter in 4..=13 {
        let counted = vm.decided(ask(counter, "[]")).await;
        assert_eq!((counted.verdict(), counted.sequence), (Verdict::Deny, 0), "refused all the same");
    }
    vm.say(v1::converse_request::Message::Report(v1::Report { entries: vec![refused(ask(14, "[]"))], observations_lost: 0 }))
        .await;
    let counted = async || (malformed_counted() >= before + 11).then_some(());
    eventually("the report is counted", counted).await;
    assert_eq!(world.head(), 4);
    // The report is acknowledged once its count is durable.
    world.hands.advance(interval - S);
    world.running.decide.sweep(false).await;
    assert_eq!(world.head(), 4, "the interval is not over");
    let acknowledged = eventually("the flood's record", async || {
        world.hands.advance(S);
        tokio::time::sleep(Duration::from_millis(5)).await;
        records(&world).await.into_iter().find_map(|what| if let What::Flood(flood) = what { Some(flood) } else { None })
    });
    let flood = acknowledged.await;
    assert_eq!((flood.reason.as_str(), flood.count), ("batch", 11));
    assert_eq!(missing(&world, None).await, [4..=14], "in the log");
    assert_eq!(missing(&world, Some(&flood)).await, [], "the flood names them");
    let heard = vm.hear().await.unwrap();
    assert!(matches!(&heard, v1::converse_response::Message::Acknowledged(done) if done.counters == [14]), "{heard:?}");

    let line = flood_line(&world).await;
    let said = line.flood.as_ref().map(|flood| (flood.count, flood.to_us >= flood.from_us));
    assert_eq!((line.sequence, line.verdict(), line.rule.as_str(), said), (5, Verdict::Deny, "gate.batch", Some((11, true))));
    assert_eq!(show(&world, 5).await, v1::ShowTraceResponse { trace: Some(line.clone()), ..Default::default() });
    for counter in 20..=22 {
        vm.decided(call(counter, "read_note")).await;
    }
    assert_eq!(missing(&world, Some(&flood)).await, [15..=19], "what was never told is not there");
    assert_eq!(flood_line(&world).await, line, "from the journal");
    let world = world.killed_and_restarted(&setup()).await;
    assert_eq!(flood_line(&world).await, line, "of an earlier life");
}

/// In this process so far, which other tests count in too.
fn malformed_counted() -> u64 {
    let shown = telemetry::metrics().render();
    let value = shown.lines().find_map(|line| line.strip_prefix("agentgate_malformed_counted_total "));
    value.map_or(0, |value| value.parse().unwrap())
}

async fn flood_line(world: &World) -> v1::CallTrace {
    let filter = v1::TraceFilter { rule: "gate.batch".into(), ..v1::TraceFilter::default() };
    let request = v1::ListTracesRequest { filter: Some(filter), ..v1::ListTracesRequest::default() };
    let listed = world.operator(TraceClient::new).await.list_traces(request).await.unwrap().into_inner();
    listed.traces.into_iter().find(|trace| trace.flood.is_some()).unwrap()
}
