//! Leaving: nobody who asked is left without an answer.

use crate::held::Held;
use crate::world::{PATIENCE, Setup, World, ask, call, refused};
use agentgate_control_plane::config::Limits;
use agentgate_control_plane::journal::{Journal, Memory};
use agentgate_proto::v1;
use agentgate_proto::v1::converse_request::Message as Said;
use agentgate_proto::v1::converse_response::Message as Heard;
use agentgate_proto::v1::trace_client::TraceClient;
use std::sync::Arc;
use std::time::Duration;
use tonic::Code;

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_leaves_says_so_and_answers_what_was_asked() {
    let world = World::new().await;
    let mut vm = world.vm().await;
    for counter in 1..=20 {
        vm.say(Said::Ask(call(counter, "read_note"))).await;
    }
    let World { running, hands, directory, journal, clock } = world;
    let leaving = tokio::spawn(running.leave());
    let (mut answers, mut told) = (0, false);
    let ended = loop {
        hands.advance(Duration::from_millis(50));
        match vm.hear().await {
            Ok(Heard::Answer(_)) => answers += 1,
            Ok(Heard::Draining(_)) => {
                told = true;
                // Time passes only now and then: what is in flight is answered first.
                let hands = hands.clone();
                tokio::spawn(async move {
                    loop {
                        tokio::time::sleep(Duration::from_millis(10)).await;
                        hands.advance(Duration::from_millis(50));
                    }
                });
            }
            Ok(other) => panic!("{other:?}"),
            Err(status) => break status,
        }
    };
    assert_eq!((answers, told, ended.code()), (20, true, Code::Unavailable), "{ended:?}");
    tokio::time::timeout(PATIENCE, leaving).await.unwrap().unwrap();
    drop((directory, journal, clock));
}

/// The index of traces that is saved at the end goes up to what is durable: what somebody asked who hung up must be in it.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_leaves_waits_for_calls_whose_filter_hung_up_or_does_not_save_what_it_knows() {
    for (is_let_go, drain_s) in [(true, 15), (false, 1)] {
        let inner: Arc<dyn Journal> = Arc::new(Memory::new());
        let held = Held::over(Arc::clone(&inner));
        // What is listed comes from the index, but for the newest call.
        let limits = Limits { drain_s, recent_traces_max: 1, ..Limits::default() };
        let setup = || Setup { limits: limits.clone(), ..Setup::default() };
        let world = World::over(setup(), |_, _| Arc::clone(&held) as Arc<dyn Journal>).await;
        let mut vm = world.vm().await;
        vm.decided(call(1, "read_note")).await;
        held.hold();
        vm.say(Said::Ask(call(2, "read_note"))).await;
        held.waiting(1).await;
        drop(vm);
        let World { running, directory, clock, hands, .. } = world;
        let leaving = tokio::spawn(running.leave());
        if is_let_go {
            held.let_go();
        }
        tokio::time::timeout(PATIENCE, leaving).await.unwrap().unwrap();
        assert_eq!(directory.path().join("traces.snapshot").exists(), is_let_go);
        let world = World::on(directory, clock, hands, inner, &setup()).await;
        let filter = Some(v1::TraceFilter { tool: "read_note".into(), ..v1::TraceFilter::default() });
        let request = v1::ListTracesRequest { filter, ..v1::ListTracesRequest::default() };
        let listed = world.operator(TraceClient::new).await.list_traces(request).await.unwrap().into_inner();
        assert_eq!(listed.traces.len(), 2);
    }
}

/// A report of what is counted is acknowledged once the count is on record, and that is otherwise after its interval.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_leaves_waits_for_no_interval_of_a_flood() {
    for hangs_up in [true, false] {
        let limits = Limits { malformed_per_subject_per_s_max: 1, flood_interval_s: 3_600, drain_s: 5, ..Limits::default() };
        let world = World::with(Setup { limits, ..Setup::default() }).await;
        let mut vm = world.vm().await;
        vm.report(vec![refused(ask(1, "[]"))]).await;
        vm.say(Said::Report(v1::Report { entries: vec![refused(ask(2, "[]"))], observations_lost: 0 })).await;
        // What was said before it is under way when it is answered.
        vm.say(Said::Ping(v1::Ping { number: 7 })).await;
        assert!(matches!(vm.hear().await.unwrap(), Heard::Echo(_)));
        let World { running, directory, journal, hands, .. } = world;
        let mut vm = Some(vm).filter(|_| !hangs_up);
        let leaving = tokio::spawn(running.leave());
        let advancing = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(10)).await;
                hands.advance(Duration::from_millis(20));
            }
        });
        if let Some(vm) = &mut vm {
            let heard = [vm.hear().await.unwrap(), vm.hear().await.unwrap()];
            let is_done = |heard: &Heard| matches!(heard, Heard::Acknowledged(done) if done.counters == [2]);
            assert!(heard.iter().any(is_done), "{heard:?}");
        }
        drop(vm);
        tokio::time::timeout(PATIENCE, leaving).await.unwrap().unwrap();
        advancing.abort();
        assert!(directory.path().join("traces.snapshot").exists(), "it ended in time; it hung up: {hangs_up}");
        assert_eq!(journal.health().head, 3, "a policy, a refusal and a flood");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_connection_is_told_to_leave() {
    let world = World::with(Setup { connection_age_max: Duration::from_secs(600), ..Setup::default() }).await;
    let mut vm = world.vm().await;
    world.hands.advance(Duration::from_secs(599));
    vm.decided(call(1, "read_note")).await;
    world.hands.advance(Duration::from_secs(2));
    assert!(matches!(vm.hear().await.unwrap(), Heard::Draining(_)));
    vm.decided(call(2, "read_note")).await;
    let advancing = tokio::spawn({
        let hands = world.hands.clone();
        async move {
            loop {
                tokio::time::sleep(Duration::from_millis(10)).await;
                hands.advance(Duration::from_millis(100));
            }
        }
    });
    assert_eq!(vm.hear().await.unwrap_err().code(), Code::Unavailable);
    advancing.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_that_was_told_to_leave_and_talks_on_is_ended() {
    const SHORTER_THAN_ANY_QUIET: Duration = Duration::from_millis(100);
    let drain_s = agentgate_control_plane::config::Limits::default().drain_s;
    let world = World::with(Setup { connection_age_max: Duration::from_secs(600), ..Setup::default() }).await;
    let mut vm = world.vm().await;
    world.hands.advance(Duration::from_secs(601));
    assert!(matches!(vm.hear().await.unwrap(), Heard::Draining(_)));
    let mut ended = None;
    for counter in 1..=u64::from(drain_s) * 20 {
        world.hands.advance(SHORTER_THAN_ANY_QUIET);
        vm.say(Said::Ask(call(counter, "read_note"))).await;
        if let Err(status) = vm.hear().await {
            ended = Some((status.code(), counter));
            break;
        }
    }
    let (code, calls) = ended.expect("it talks on for twice the time that it was given");
    assert!(code == Code::Unavailable && calls >= u64::from(drain_s) * 10 - 1, "{code:?} after {calls} calls");
}
