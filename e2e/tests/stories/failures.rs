//! What fails, and what happens then: refused with a named reason, recovered without help, and nothing that was acknowledged is lost.

use crate::replicas::every_trace;
use crate::wire::{CALL, RESULT, post, recording};
use agentgate_e2e::crash::Crashes;
use agentgate_e2e::http1::Connection;
use agentgate_e2e::upstream::Reply;
use agentgate_e2e::{Stranger, World, eventually, http1, now};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

fn world() -> World {
    recording(|_| Reply::json(RESULT)).start().unwrap()
}

/// Whether the gate let one call through.
fn passes(world: &World) -> bool {
    world.http1(&post(CALL)).is_ok_and(|answer| answer.text() == RESULT)
}

fn refused(world: &World) -> http1::Answer {
    let answer = world.http1(&post(CALL)).unwrap();
    assert_eq!(world.upstream().unwrap().take(), (vec![], vec![]), "{answer:?}");
    answer
}

#[test]
fn calls_are_refused_while_the_control_plane_is_gone_and_pass_when_it_is_back() {
    let mut world = world();
    assert!(passes(&world));
    world.upstream().unwrap().take();
    for kill in [true, false] {
        if kill {
            world.stack.control_plane.kill();
        } else {
            world.stack.control_plane.end().unwrap();
        }
        let answer = refused(&world);
        assert_eq!(answer.json()["error"]["code"], 503, "{answer:?}");
        world.stack.control_plane.begin().unwrap();
        eventually("the gate finds it again", || passes(&world).then_some(())).unwrap();
        world.upstream().unwrap().take();
    }
}

#[test]
fn a_control_plane_that_says_nothing_is_waited_for_as_long_as_was_configured_and_no_longer() {
    let world = world();
    let paused = Paused::new(&world);
    let begun = now();
    let answer = refused(&world);
    let waited = begun.elapsed();
    assert_eq!(answer.json()["error"]["code"], 503, "{answer:?}");
    assert!(waited >= Duration::from_millis(1900) && waited < Duration::from_secs(8), "{waited:?}");
    drop(paused);
    eventually("it passes again", || passes(&world).then_some(())).unwrap();
}

#[test]
fn hundreds_that_are_refused_at_once_are_all_answered_and_end_no_envoy() {
    let mut world = world();
    for kill in [false, true] {
        let paused = Paused::new(&world);
        let mut waiting: Vec<Connection> = (0..500).map(|_| Connection::open(world.stack.gate).unwrap()).collect();
        for connection in &mut waiting {
            connection.send(&post(CALL)).unwrap();
        }
        if kill {
            world.stack.control_plane.kill();
        }
        for connection in &mut waiting {
            assert_eq!(connection.answer().unwrap().json()["error"]["code"], 503);
        }
        drop(paused);
        if kill {
            world.stack.control_plane.begin().unwrap();
        }
        eventually("it passes again", || passes(&world).then_some(())).unwrap();
        world.upstream().unwrap().take();
    }
}

#[test]
fn a_client_that_leaves_while_it_waits_leaves_nothing_behind_it() {
    let mut world = world();
    let paused = Paused::new(&world);
    let mut connection = Connection::open(world.stack.gate).unwrap();
    connection.send(&post(CALL)).unwrap();
    world.stack.envoy.until_stat("http.agents.downstream_rq_active", |active| active == 1).unwrap();
    drop(connection);
    world.stack.envoy.until_stat("http.agents.downstream_rq_active", |active| active == 0).unwrap();
    drop(paused);
    let outcome = eventually("the outcome is on record", || {
        let trace = world.newest_trace("search").ok()?;
        Some(trace["outcome"].clone()).filter(|outcome| !outcome.is_null())
    });
    assert_eq!(outcome.unwrap(), json!("not_released"));
    assert_eq!(world.upstream().unwrap().take(), (vec![], vec![]));
}

#[test]
fn every_call_that_was_let_through_is_on_record_once_after_kill_9_under_load() {
    let mut world = world();
    let through = under_load(&mut world);
    assert!(through > 0, "no call came through before the kill");
    let arrived = world.upstream().unwrap().arrived();
    let mut allowed: BTreeMap<String, usize> = BTreeMap::new();
    for trace in every_trace(&world.stack.cli) {
        assert_eq!(trace["verdict"], "allow", "{trace}");
        *allowed.entry(trace["call_id"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    assert!(allowed.values().all(|times| *times == 1), "{allowed:?}");
    assert!(arrived.len() <= allowed.len(), "{} reached the tool, {} are on record", arrived.len(), allowed.len());
    assert!(through <= arrived.len());
}

/// Four clients call without a pause; the control plane is killed in the middle and comes back. How many calls came through.
fn under_load(world: &mut World) -> usize {
    const BEFORE_THE_KILL: usize = 100;
    let gate = world.stack.gate;
    let enough = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let enough = Arc::clone(&enough);
            thread::spawn(move || load(gate, &enough))
        })
        .collect();
    world.upstream().unwrap().until_arrived(BEFORE_THE_KILL).unwrap();
    world.stack.control_plane.kill();
    world.stack.control_plane.begin().unwrap();
    let before = world.upstream().unwrap().arrived().len();
    world.upstream().unwrap().until_arrived(before + BEFORE_THE_KILL).unwrap();
    enough.store(true, Ordering::Relaxed);
    clients.into_iter().map(|client| client.join().unwrap()).sum()
}

fn load(gate: std::net::SocketAddr, enough: &AtomicBool) -> usize {
    let mut through = 0;
    while !enough.load(Ordering::Relaxed) {
        through += usize::from(http1::exchange(gate, &post(CALL)).is_ok_and(|answer| answer.text() == RESULT));
    }
    through
}

#[test]
fn nothing_that_was_acknowledged_is_lost_by_a_few_kills_at_random_instants() {
    let summary = Crashes { rotate_every: 3, ..Crashes::new(5, 4) }.run(|_| ()).unwrap();
    assert_eq!(summary.checked.faults, Vec::<String>::new());
    assert_eq!((summary.kills, summary.journals), (5, 2));
    assert!(summary.checked.verdicts > 0 && summary.checked.executed > 0, "{}", summary.table());
}

#[test]
fn a_gate_whose_certificate_is_not_a_filters_own_gets_no_verdict() {
    let own = |name, options| Stranger { name, options, foreign: false };
    let strangers = [
        Stranger { name: "filter/laptop", options: &[], foreign: true },
        own("filter/laptop", &["--not-before", "-2h", "--valid-for", "1h"]),
        own("filter/laptop", &["--not-before", "+1h"]),
        own("filter/unheard-of", &[]),
        own("operator/me", &[]),
        own("agent/laptop", &[]),
    ];
    for stranger in strangers {
        let mut plan = recording(|_| Reply::json(RESULT));
        plan.stack.stranger = Some(stranger);
        let world = plan.start().unwrap();
        let tried = [
            "wasmcustom.agentgate.streams_refused",
            "wasmcustom.agentgate.streams_lost",
            "cluster.agentgate.upstream_cx_connect_fail",
        ];
        let turned_away = || tried.iter().any(|name| world.stack.envoy.stat(name).is_ok_and(|times| times > 0)).then_some(());
        eventually(format_args!("{stranger:?} is turned away"), turned_away).unwrap();
        let answer = refused(&world);
        assert_eq!(answer.json()["error"]["code"], 503, "{stranger:?}: {answer:?}");
    }
}

/// The control plane, alive and silent, until this is dropped.
struct Paused(Pid);

// === impl Paused ===

impl Paused {
    fn new(world: &World) -> Self {
        let id = world.stack.control_plane.process_id().unwrap();
        let process = Pid::from_raw(i32::try_from(id).unwrap()).unwrap();
        kill_process(process, Signal::STOP).unwrap();
        Self(process)
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        // A story may have killed it meanwhile.
        let _ = kill_process(self.0, Signal::CONT);
    }
}
