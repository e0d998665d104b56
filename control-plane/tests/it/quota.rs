//! A tenant that used up its bytes of the journal: who is refused, by which name, what is on record all the same, and that no
//! restart and no second replica spends more.

use crate::world::{Setup, Vm, World, ask, call, outcome, visit};
use agentgate_control_plane::body::{Bodies, DataKey, HANDLES_PER_SUBJECT_MAX, system_keys};
use agentgate_core::digest::Digest;
use agentgate_proto::v1::converse_request::Message as Said;
use agentgate_proto::v1::record::What;
use agentgate_proto::v1::status_client::StatusClient;
use agentgate_proto::v1::undecided::Cause;
use agentgate_proto::v1::{self, OutcomeKind};
use prost::Message;
use std::time::Duration;

const LIMIT: u64 = 200_000;
const DAY_US: u64 = 86_400_000_000;

fn limited(setup: Setup) -> Setup {
    Setup { configured: format!("[quota]\ntenant_bytes_per_day = {LIMIT}\n"), ..setup }
}

async fn quota(world: &World) -> v1::TenantQuota {
    let status = world.operator(StatusClient::new).await.show_status(v1::ShowStatusRequest {}).await.unwrap().into_inner();
    let [quota] = &status.quotas[..] else { panic!("{:?}", status.quotas) };
    quota.clone()
}

/// The bytes of what calls wrote: records, and the bodies that they name.
async fn written(world: &World) -> u64 {
    let mut bytes = 0;
    for stored in world.journal.follow(0, 100_000).await.unwrap() {
        let body = match v1::Record::decode(stored.bytes.clone()).unwrap().what.unwrap() {
            What::Decision(record) => record.body,
            What::Outcome(record) => record.body,
            What::Flood(record) => record.body,
            _ => continue,
        };
        let address = Digest::try_from(body.unwrap().address.as_ref()).unwrap();
        bytes += stored.bytes.len() + world.journal.fetch(address).await.unwrap().unwrap().len();
    }
    u64::try_from(bytes).unwrap()
}

/// Asks until the quota is used up, and says how many calls were decided, and which was refused.
async fn used_up(vm: &mut Vm, first: u64) -> (u64, v1::Undecided) {
    for counter in first.. {
        match vm.ask(call(counter, "read_note")).await {
            v1::answer::Result::Decided(_) => {}
            v1::answer::Result::Undecided(undecided) => return (counter - first, undecided),
        }
    }
    unreachable!("a quota that is never used up");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_beyond_its_quota_is_refused_by_name_until_the_next_day() {
    let world = World::with(limited(Setup::default())).await;
    let mut vm = world.vm().await;
    let (calls, undecided) = used_up(&mut vm, 1).await;
    assert_eq!(undecided.cause(), Cause::QuotaExceeded);
    assert!(undecided.detail.contains("the next day begins at 00:00 UTC"), "{undecided:?}");
    let (used, on_record) = (quota(&world).await, written(&world).await);
    assert_eq!((used.tenant.as_str(), used.used_bytes, used.limit_bytes), ("default", on_record, LIMIT));
    assert!(on_record <= LIMIT && on_record + on_record / calls > LIMIT - 1_000, "{on_record} of {calls} calls");

    // Neither refusals nor what cannot be read fill the journal.
    let head = world.head();
    for counter in 10_000..10_100 {
        vm.undecided(call(counter, "read_note")).await;
    }
    for counter in 10_100..10_200 {
        // The first of them may fit into what is left.
        vm.ask(ask(counter, "[]")).await;
    }
    assert!(world.head() <= head + 3, "{} records more", world.head() - head);
    // What was let on ends on record, and counts.
    assert_eq!(vm.report(vec![outcome(1, OutcomeKind::Completed)]).await, [1]);
    assert_eq!(quota(&world).await.used_bytes, written(&world).await);
    // What its filter let on or refused by itself has no room, and is not kept there.
    let head = world.head();
    let observed = |counter| v1::Entry {
        counter,
        what: Some(v1::entry::What::Observed(call(counter, "read_note"))),
        ..v1::Entry::default()
    };
    assert_eq!(vm.report(vec![observed(20_000), observed(20_001)]).await, [20_000, 20_001]);
    assert_eq!(world.head(), head);
    let (_, metrics) = visit(world.running.metrics, "/metrics").await;
    for line in ["agentgate_quota_refused_total", "agentgate_asks_total{answer=\"quota_exceeded\"}"] {
        assert!(metrics.contains(line), "{line} in\n{metrics}");
    }

    let today = quota(&world).await.day_us;
    let left_us = today + DAY_US - world.clock.now().micros();
    world.hands.advance(Duration::from_micros(left_us));
    vm.say(Said::Ping(v1::Ping { number: 1 })).await;
    vm.hear().await.unwrap();
    vm.decided(call(30_000, "read_note")).await;
    assert_eq!(quota(&world).await.day_us, today + DAY_US);
}

/// A key is made before its call's size is known. It is no part of the quota, and what bounds it is how many handles of a subject
/// get one.
#[tokio::test(flavor = "multi_thread")]
async fn calls_that_are_too_large_for_what_is_left_leave_no_more_keys_than_a_subject_may_have() {
    let world = World::with(Setup { configured: "[quota]\ntenant_bytes_per_day = 8000\n".into(), ..Setup::default() }).await;
    let mut vm = world.vm().await;
    let large = |counter: u64| {
        let arguments = format!(r#"{{"title":"{}"}}"#, "x".repeat(8_000));
        let mut ask = call(counter, "read_note");
        ask.body = String::from_utf8(ask.body.to_vec()).unwrap().replace(r#"{"title":"x"}"#, &arguments).into();
        let (name, value) = ("mcp-session-id".to_owned().into(), format!("s-{counter}").into());
        ask.head.as_mut().unwrap().headers.push(v1::Header { name, value });
        ask
    };
    let slots = async || {
        let (mut count, mut after) = (0, None);
        loop {
            let page = world.journal.slots(after, 1_000).await.unwrap();
            let Some((last, _)) = page.last() else { return count };
            (count, after) = (count + page.len(), Some(*last));
        }
    };
    // The key of the index's snapshot is made by a task of its own, at whatever time.
    let bodies = Bodies::open(std::sync::Arc::clone(&world.journal), DataKey::new(&[1; 32]), system_keys).await.unwrap();
    bodies.derived_cipher().await.unwrap();
    let head = world.head();
    vm.undecided(large(1)).await;
    let before = slots().await;
    vm.undecided(large(2)).await;
    assert_eq!(slots().await, before + 1, "of a new handle it leaves a key");
    // The first two had theirs; whoever has none shares one more.
    for counter in 3..=(HANDLES_PER_SUBJECT_MAX as u64 + 20) {
        assert_eq!(vm.undecided(large(counter)).await.cause(), Cause::QuotaExceeded);
    }
    assert_eq!(slots().await, before + HANDLES_PER_SUBJECT_MAX);
    assert_eq!(world.head(), head, "none is on record");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_spend_one_quota() {
    let setup = || limited(Setup { shared: true, ..Setup::default() });
    let one = World::with(setup()).await;
    let other = one.beside(&setup()).await;
    let mut vms = [one.vm().await, other.vm_of("filter-laptop", [8; 16]).await];
    let (mut calls, mut counter) = (0, 0);
    let mut is_refused = [false; 2];
    while is_refused != [true; 2] {
        counter += 1;
        for (vm, is_refused) in vms.iter_mut().zip(&mut is_refused) {
            match vm.ask(call(counter, "read_note")).await {
                v1::answer::Result::Decided(_) => calls += 1,
                v1::answer::Result::Undecided(undecided) => {
                    *is_refused = undecided.cause() == Cause::QuotaExceeded;
                    assert!(*is_refused || undecided.cause() == Cause::Contended, "{undecided:?}");
                }
            }
        }
    }
    let on_record = written(&one).await;
    assert!(calls > 50 && on_record <= LIMIT, "{on_record} of {calls} calls");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_loses_a_share_and_overspends_nothing() {
    let setup = || limited(Setup { embedded: true, ..Setup::default() });
    let mut world = World::with(setup()).await;
    let mut counter = 1;
    for _ in 0..2 {
        let mut vm = world.vm().await;
        for _ in 0..10 {
            vm.decided(call(counter, "read_note")).await;
            counter += 1;
        }
        drop(vm);
        world = world.killed_and_restarted(&setup()).await;
    }
    let mut vm = world.vm().await;
    let (calls, undecided) = used_up(&mut vm, counter).await;
    assert_eq!(undecided.cause(), Cause::QuotaExceeded);
    let on_record = written(&world).await;
    // Each life had at most two shares of 64 KiB aside.
    assert!(calls > 10 && on_record <= LIMIT, "{on_record} with {calls} calls in the last life");
    assert!(quota(&world).await.used_bytes >= on_record);
}
