//! Each limit of the listeners, of a stream and of the start from both sides: just inside is served, just outside is not.

use crate::raw::{Became, REFUSED_STREAM, Raw};
use crate::world::{EPOCH, PATIENCE, Setup, Vm, World, call, shake_hands, tls, visit};
use agentgate_control_plane::config::Limits;
use agentgate_control_plane::identity::Subject;
use agentgate_core::id::{CallId, Epoch};
use agentgate_proto::v1::converse_request::Message as Said;
use agentgate_proto::v1::converse_response::Message as Heard;
use agentgate_proto::v1::undecided::Cause;
use agentgate_proto::v1::{self, Verdict};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const MS: Duration = Duration::from_millis(1);

async fn world(limits: Limits) -> World {
    World::with(Setup { limits, ..Setup::default() }).await
}

pub(crate) fn subject() -> Subject {
    let principal = "spiffe://agentgate.local/agent/laptop".try_into().unwrap();
    Subject { tenant: "default".try_into().unwrap(), principal }
}

/// Says something and is answered, so often that whatever could happen beside it has happened.
async fn talk(vm: &mut Vm) {
    for number in 1_000..1_400 {
        vm.say(Said::Ping(v1::Ping { number })).await;
        assert_eq!(vm.hear().await.unwrap(), Heard::Echo(v1::Echo { number }));
    }
}

/// Nothing comes of `waiting` while others are served.
async fn waits<T>(waiting: &mut (impl Future<Output = T> + Unpin), others: &mut Vm) {
    tokio::select! {
        biased;
        _ = waiting => panic!("it was served, beyond the limit"),
        () = talk(others) => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_too_many_waits_until_another_one_ends() {
    let world = world(Limits { connections_max: 2, ..Limits::default() }).await;
    let (mut first, second) = (world.vm_of("filter-laptop", [1; 16]).await, world.vm_of("filter-laptop", [2; 16]).await);
    let mut third = Box::pin(world.vm_of("filter-laptop", [3; 16]));
    waits(&mut third, &mut first).await;
    drop(second);
    talk(&mut tokio::time::timeout(PATIENCE, third).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_stream_too_many_of_a_connection_is_refused() {
    let world = world(Limits { streams_per_connection_max: 2, ..Limits::default() }).await;
    let mut raw = Raw::connect(&world).await;
    for stream in [1, 3, 5] {
        raw.open(stream).await;
    }
    let mut became = [raw.next().await, raw.next().await, raw.next().await];
    became.sort_by_key(|(stream, _)| *stream);
    assert_eq!(became, [(1, Became::Answered), (3, Became::Answered), (5, Became::Reset { code: REFUSED_STREAM })]);
    raw.cancel(1).await;
    raw.open(7).await;
    assert_eq!(raw.next().await, (7, Became::Answered), "a stream that ended makes room");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_takes_too_long_is_cut() {
    let world = World::new().await;
    let max = MS * Limits::default().handshake_ms_max;
    let tls = tls(Some((world.path(), "filter-laptop")), world.path());
    for (after, served) in [(max - MS, true), (max, false)] {
        let mut silent = TcpStream::connect(world.running.filters).await.unwrap();
        // Connections are accepted in order: once the next one is served, this one's time runs.
        let _next = world.vm().await;
        world.hands.advance(after);
        if served {
            assert!(shake_hands(&tls, silent).await.is_ok(), "after {after:?}");
        } else {
            assert_eq!(cut(&mut silent).await, "", "after {after:?}");
        }
    }
}

/// What still came until the other end closed.
async fn cut(stream: &mut TcpStream) -> String {
    let mut rest = Vec::new();
    // A close with unread bytes before it is a reset.
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await.unwrap();
    String::from_utf8(rest).unwrap()
}

async fn begin(to: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n").await.unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_connection_that_takes_too_long_is_cut() {
    let world = World::new().await;
    let max = MS * Limits::default().metrics_connection_ms_max;
    for (after, served) in [(max - MS, true), (max, false)] {
        let mut slow = begin(world.running.metrics).await;
        assert_eq!(visit(world.running.metrics, "/healthz").await.1, "alive\n", "accepted after the slow one");
        world.hands.advance(after);
        if served {
            slow.write_all(b"\r\n").await.unwrap();
            assert!(cut(&mut slow).await.starts_with("HTTP/1.1 200 OK\r\n"), "after {after:?}");
        } else {
            assert_eq!(cut(&mut slow).await, "", "after {after:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_connection_is_answered_once() {
    let world = World::new().await;
    let get = "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
    for asked in [get.to_owned(), get.repeat(2), get.repeat(100)] {
        let mut stream = TcpStream::connect(world.running.metrics).await.unwrap();
        stream.write_all(asked.as_bytes()).await.unwrap();
        let answer = cut(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("connection: close\r\n"), "{answer}");
        assert_eq!(answer.matches("alive\n").count(), 1, "{answer}");
    }
    // Nor in a protocol in which one connection asks as often as it likes.
    let mut stream = TcpStream::connect(world.running.metrics).await.unwrap();
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    stream.write_all(&[&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &settings].concat()).await.unwrap();
    let answer = cut(&mut stream).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_plain_connection_too_many_waits_until_another_one_ends() {
    let limits = Limits { metrics_connections_max: 2, ..Limits::default() };
    let max = MS * limits.metrics_connection_ms_max;
    let world = world(limits).await;
    let mut vm = world.vm().await;
    let (mut first, mut second) = (begin(world.running.metrics).await, begin(world.running.metrics).await);
    let mut third = Box::pin(visit(world.running.metrics, "/healthz"));
    waits(&mut third, &mut vm).await;
    second.write_all(b"\r\n").await.unwrap();
    assert!(cut(&mut second).await.ends_with("alive\n"));
    assert_eq!(third.await.1, "alive\n");
    // Who never ends is cut, and so nobody waits for ever.
    let _also = begin(world.running.metrics).await;
    let mut fourth = Box::pin(visit(world.running.metrics, "/healthz"));
    waits(&mut fourth, &mut vm).await;
    world.hands.advance(max);
    assert_eq!((fourth.await.1.as_str(), cut(&mut first).await.as_str()), ("alive\n", ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_with_too_many_messages_under_way_is_read_no_further() {
    let world = world(Limits { messages_per_stream_max: 2, ..Limits::default() }).await;
    let (mut vm, mut other) = (world.vm().await, world.vm_of("filter-other", EPOCH).await);
    // Whoever has the subject's turn holds up each of its calls.
    let turn = world.running.session.turn(&subject()).await.unwrap();
    for counter in [1, 2] {
        vm.say(Said::Ask(call(counter, "read_note"))).await;
    }
    vm.say(Said::Ping(v1::Ping { number: 1 })).await;
    assert_eq!(vm.hear().await.unwrap(), Heard::Echo(v1::Echo { number: 1 }), "as many as may be, and it is read on");
    vm.say(Said::Ask(call(3, "read_note"))).await;
    vm.say(Said::Ping(v1::Ping { number: 2 })).await;
    talk(&mut other).await;
    drop(turn);
    let mut order = Vec::new();
    for _ in 0..4 {
        order.push(matches!(vm.hear().await.unwrap(), Heard::Answer(_)));
    }
    assert!(order[0], "what stands behind one too many was heard before a place was free");
    assert_eq!(order.iter().filter(|answer| **answer).count(), 3, "all three are answered");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_asker_that_would_wait_too_long_is_held_to_the_limit() {
    let limits = Limits { deadline_ms_max: 5_000, ..Limits::default() };
    let max = limits.deadline_ms_max;
    let world = world(limits).await;
    let mut vm = world.vm().await;
    for (counter, asked_ms, held_to_ms) in
        [(1, max - 1, max - 1), (2, max, max), (3, max + 1, max), (4, u32::MAX, max), (5, 0, max)]
    {
        let turn = world.running.session.turn(&subject()).await.unwrap();
        vm.say(Said::Ask(v1::Ask { deadline_ms: asked_ms, ..call(counter, "read_note") })).await;
        talk(&mut vm).await;
        world.hands.advance(MS * (held_to_ms - 1));
        talk(&mut vm).await;
        world.hands.advance(MS);
        let Heard::Answer(v1::Answer { result: Some(v1::answer::Result::Undecided(undecided)), .. }) = vm.hear().await.unwrap()
        else {
            panic!("{asked_ms} ms: it was decided");
        };
        assert_eq!(undecided.cause(), Cause::Expired, "{asked_ms} ms");
        drop(turn);
    }
    assert_eq!(vm.decided(call(6, "read_note")).await.verdict(), Verdict::Allow);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_call_is_found_again_among_as_many_records_as_are_read_at_start() {
    let limits = Limits { recovered_records_max: 4, ..Limits::default() };
    let setup = Setup { limits: limits.clone(), ..Setup::default() };
    for (later, found) in [(limits.recovered_records_max - 1, true), (limits.recovered_records_max, false)] {
        let world = world(limits.clone()).await;
        let mut vm = world.vm().await;
        vm.decided(call(1, "read_note")).await;
        for counter in 0..later {
            vm.decided(call(100 + u64::from(counter), "delete_note")).await;
        }
        drop(vm);
        let world = world.killed_and_restarted(&setup).await;
        let open = CallId { asker: crate::world::FILTER.try_into().unwrap(), epoch: Epoch(EPOCH), counter: 1 };
        assert_eq!(world.running.session.open_call(&open.digest()).is_some(), found, "{later} records later");
        // Whoever reports it is heard all the same.
        assert_eq!(world.vm().await.report(vec![crate::world::outcome(1, v1::OutcomeKind::Completed)]).await, [1]);
        assert_eq!(world.head(), u64::from(later) + 3, "the policy, the calls, and the outcome");
    }
}
