//! The policy folder changes while the process runs.

use crate::world::{Setup, World, call, copy, eventually, tried, visit};
use agentgate_control_plane::journal::Journal;
use agentgate_control_plane::journal::memory::Memory;
use agentgate_core::error::chain;
use agentgate_proto::v1::status_client::StatusClient;
use agentgate_proto::v1::undecided::Cause;
use agentgate_proto::v1::{PolicyStatus, ShowStatusRequest, Verdict};
use std::fs;
use std::time::Duration;

async fn status(world: &World) -> PolicyStatus {
    let mut client = world.operator(StatusClient::new).await;
    client.show_status(ShowStatusRequest {}).await.unwrap().into_inner().policy.unwrap()
}

async fn until(world: &World, what: &str, wanted: impl Fn(&PolicyStatus) -> bool) -> PolicyStatus {
    eventually(what, async || {
        world.hands.advance(Duration::from_secs(1));
        tokio::time::sleep(Duration::from_millis(20)).await;
        Some(status(world).await).filter(&wanted)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_edit_decides_the_next_call_and_a_bad_one_never_does() {
    let world = World::new().await;
    let mut vm = world.vm().await;
    let before = status(&world).await;
    assert_eq!(vm.decided(call(1, "brand_new")).await.verdict(), Verdict::Deny);

    let tools = world.path().join("policies/tools.yaml");
    let good = fs::read_to_string(&tools).unwrap() + "  brand_new: { tag: open, scope: read }\n";
    fs::write(&tools, &good).unwrap();
    let after = until(&world, "the edit is in force", |status| status.digest != before.digest).await;
    assert_eq!(after.refused_edit, "");
    assert_eq!(vm.decided(call(2, "brand_new")).await.verdict(), Verdict::Allow);
    assert_eq!(vm.decided(call(1, "brand_new")).await.verdict(), Verdict::Deny, "what was decided stays decided");

    // One that does not compile, one whose cases fail.
    let rego = world.path().join("policies/rego/broken.rego");
    fs::write(&rego, "package agentgate.platform\nallow contains {").unwrap();
    let refused = until(&world, "the syntax error is told", |status| !status.refused_edit.is_empty()).await;
    assert!(refused.refused_edit.contains("broken.rego"), "{}", refused.refused_edit);
    assert_eq!(refused.digest, after.digest);
    fs::remove_file(&rego).unwrap();
    fs::write(&tools, good.replace("delete_note:  { tag: blocked", "delete_note:  { tag: open")).unwrap();
    let refused = until(&world, "the failed cases are told", |status| status.refused_edit.contains("cases")).await;
    assert_eq!(refused.digest, after.digest);
    assert_eq!(vm.decided(call(3, "delete_note")).await.verdict(), Verdict::Deny);

    fs::write(&tools, &good).unwrap();
    until(&world, "the good content is back", |status| status.refused_edit.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_went_bad_leaves_the_policy_on_record_in_force() {
    let setup = Setup::default();
    let world = World::with(Setup::default()).await;
    let before = status(&world).await;
    fs::write(world.path().join("policies/tools.yaml"), "notes: [").unwrap();
    let world = world.killed_and_restarted(&setup).await;
    let after = status(&world).await;
    assert_eq!(after.digest, before.digest);
    assert!(after.refused_edit.contains("tools.yaml"), "{}", after.refused_edit);
    assert_eq!(world.vm().await.decided(call(1, "read_note")).await.verdict(), Verdict::Allow);
}

/// A file system that is not mounted.
#[tokio::test(flavor = "multi_thread")]
async fn an_empty_journal_under_a_log_that_remembers_ends_the_start_with_the_rollback() {
    let world = World::new().await;
    let signed = world.path().join("log/signed");
    let is_kept = async || fs::read_dir(&signed).ok()?.flatten().find(|entry| entry.path().extension().is_none());
    eventually("what is shown is remembered", is_kept).await;
    let empty: std::sync::Arc<dyn Journal> = std::sync::Arc::new(Memory::new());
    let error = tried(world.path(), &Setup::default(), &world.clock, &empty).await.unwrap_err();
    let told = chain(&error);
    let begins = "the journal contradicts what was signed: it was rolled back: it has 0 records";
    assert!(told.starts_with(begins) && told.contains("nothing can be served"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_policy_nothing_is_allowed_and_the_replica_says_why_it_is_not_ready() {
    let world = World::new().await;
    assert_eq!(visit(world.running.metrics, "/readyz").await, ("200 OK".into(), "ready\n".into()));
    for (edit, why) in [
        (Edit::Away, "policies"),
        (Edit::Emptied("cases"), "it has no case, so nothing is shown to work; write one in `cases/*.yaml`"),
        (Edit::Emptied("rego"), "rego/*.rego"),
    ] {
        let (clock, journal) = (world.clock.clone(), std::sync::Arc::new(Memory::new()));
        let (directory, hands) = (tempfile::tempdir().unwrap(), std::sync::Arc::clone(&world.hands));
        copy(world.path(), directory.path());
        // Its journal is a new one, which another log does not remember.
        let _ = fs::remove_dir_all(directory.path().join("log"));
        edit.make(&directory.path().join("policies"));
        let other = World::on(directory, clock, hands, journal, &Setup::default()).await;
        let undecided = other.vm().await.undecided(call(1, "read_note")).await;
        assert_eq!(undecided.cause(), Cause::Policy);
        let told = other.operator(StatusClient::new).await.show_status(ShowStatusRequest {}).await.unwrap().into_inner();
        let named = told.unready.starts_with("no policy is in force: ") && told.unready.contains(why);
        assert!(named && told.policy.unwrap().refused_edit.contains(why), "{}", told.unready);
        assert_eq!(
            visit(other.running.metrics, "/readyz").await,
            ("503 Service Unavailable".into(), format!("{}\n", told.unready))
        );
        let malformed = other.vm().await.decided(crate::world::ask(2, "[]")).await;
        assert_eq!(malformed.verdict(), Verdict::Deny, "what cannot be read needs no policy to be refused");
    }
}

/// What somebody did to the policy folder.
enum Edit {
    Away,
    Emptied(&'static str),
}

impl Edit {
    fn make(&self, policies: &std::path::Path) {
        match self {
            Self::Away => fs::remove_dir_all(policies).unwrap(),
            Self::Emptied(inner) => fs::remove_dir_all(policies.join(inner)).unwrap(),
        }
    }
}
