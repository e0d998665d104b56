//! Certificates change while the process runs.

use crate::world::{DAY, EPOCH, World, authority, call, certificate, eventually};
use agentgate_proto::v1::Verdict;
use agentgate_proto::v1::status_client::StatusClient;
use agentgate_proto::v1::undecided::Cause;
use agentgate_proto::v1::{CertificateStatus, ShowStatusRequest};
use std::time::Duration;
use tonic::Code;

async fn certificates(world: &World) -> Vec<CertificateStatus> {
    let mut client = world.operator(StatusClient::new).await;
    client.show_status(ShowStatusRequest {}).await.unwrap().into_inner().certificates
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_serves_without_a_restart_and_a_broken_one_never_does() {
    let world = World::new().await;
    let before = certificates(&world).await;
    certificate(world.path(), "control-plane", world.clock.now(), DAY * 3);
    let after = eventually("the new certificate", async || {
        world.hands.advance(Duration::from_secs(1));
        tokio::time::sleep(Duration::from_millis(5)).await;
        Some(certificates(&world).await).filter(|now| now[0].not_after_us != before[0].not_after_us)
    });
    let after = after.await;
    std::fs::write(world.path().join("control-plane.key"), "no key at all").unwrap();
    let told = eventually("the trouble", async || {
        world.hands.advance(Duration::from_secs(1));
        tokio::time::sleep(Duration::from_millis(5)).await;
        Some(certificates(&world).await).filter(|now| now.len() == 3)
    });
    let told = told.await;
    assert!(told[0].subject.contains("control-plane.key"), "{told:?}");
    assert_eq!(told[1..], after[..], "the old one stays in force");
    assert_eq!(world.vm().await.decided(call(1, "read_note")).await.verdict(), Verdict::Allow);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_expires_on_an_open_connection_asks_no_more() {
    let world = World::new().await;
    let mut vm = world.vm().await;
    assert_eq!(vm.decided(call(1, "read_note")).await.verdict(), Verdict::Allow);
    world.hands.advance(DAY - Duration::from_secs(1));
    assert_eq!(vm.decided(call(2, "read_note")).await.verdict(), Verdict::Allow, "its last second");
    world.hands.advance(Duration::from_secs(3));
    let refused = vm.undecided(call(3, "read_note")).await;
    assert_eq!(refused.cause(), Cause::Identity);
    assert!(refused.detail.contains("expired"), "{}", refused.detail);
    let ended = vm.hear().await.unwrap_err();
    assert_eq!(ended.code(), Code::PermissionDenied, "{ended:?}");
    certificate(world.path(), "filter/laptop", world.clock.now(), DAY);
    assert_eq!(world.vm_of("filter-laptop", EPOCH).await.decided(call(4, "read_note")).await.verdict(), Verdict::Allow);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_that_is_taken_away_takes_open_connections_with_it() {
    let world = World::new().await;
    let mut vm = world.vm().await;
    assert_eq!(vm.decided(call(1, "read_note")).await.verdict(), Verdict::Allow);
    authority(world.path(), world.clock.now());
    for name in ["control-plane", "filter/laptop"] {
        certificate(world.path(), name, world.clock.now(), DAY);
    }
    world.hands.advance(Duration::from_secs(1));
    let counter = std::cell::Cell::new(10);
    let vm = std::cell::RefCell::new(&mut vm);
    #[expect(clippy::await_holding_refcell_ref, reason = "one task looks, one look after the other")]
    let refused = eventually("the old root is gone", async || {
        world.hands.advance(Duration::from_secs(1));
        counter.set(counter.get() + 1);
        match vm.borrow_mut().ask(call(counter.get(), "read_note")).await {
            agentgate_proto::v1::answer::Result::Undecided(undecided) => Some(undecided),
            agentgate_proto::v1::answer::Result::Decided(_) => None,
        }
    });
    assert!(refused.await.detail.contains("no longer trusted"));
    assert_eq!(world.vm_of("filter-laptop", EPOCH).await.decided(call(2, "read_note")).await.verdict(), Verdict::Allow);
}
