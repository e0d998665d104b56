//! Stories about what comes into force. Edits of a folder that is watched are in `tests/it`.

use super::{InForce, Policy};
use crate::body::Bodies;
use crate::clock::{Clock, Manual};
use crate::config::{Limits, PolicyFolder};
use crate::control::Control;
use crate::journal::{Journal, Memory, Stream};
use agentgate_core::time::Time;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How often the folder is looked at.
const POLL: Duration = Duration::from_secs(1);

async fn policy(journal: &Arc<Memory>, directory: &Path) -> Policy {
    watchable(journal, directory).await.0
}

async fn watchable(journal: &Arc<Memory>, directory: &Path) -> (Policy, Arc<Manual>) {
    let (clock, hands) = Clock::manual(Time::from_micros(1_000_000));
    let folder = PolicyFolder { directory: directory.into(), poll: POLL };
    let shared = Arc::clone(journal) as Arc<dyn Journal>;
    let control = Control::open(Bodies::over(Arc::clone(&shared)).await, clock.clone(), Limits::default()).await.unwrap();
    (Policy::open(shared, clock, folder, Arc::new(control)).await.unwrap(), hands)
}

fn in_force(policy: &Policy) -> Option<Arc<InForce>> {
    policy.in_force(&policy.control.now())
}

/// Moves the clock from look to look until `is_so`.
async fn looked_until(hands: &Manual, what: &str, is_so: impl Fn() -> bool) {
    let looking = async {
        while !is_so() {
            hands.advance(POLL);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), looking).await.unwrap_or_else(|_| panic!("not in time: {what}"));
}

fn default_folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies/default")
}

#[tokio::test]
async fn a_policy_comes_into_force_by_one_record_however_often_it_is_read() {
    let journal = Arc::new(Memory::new());
    let first = policy(&journal, &default_folder()).await;
    assert!(in_force(&first).is_none(), "nothing is in force that the journal does not know");
    for _ in 0..3 {
        first.try_folder().await;
    }
    let again = policy(&journal, &default_folder()).await;
    again.try_folder().await;
    assert_eq!(journal.version(Stream::global()).await.unwrap(), 1);
    assert_eq!(first.control.now().epochs, again.control.now().epochs);
    let digest = |policy: &Policy| in_force(policy).unwrap().bundle.digest();
    assert_eq!(digest(&first), digest(&again));
}

#[tokio::test]
async fn a_journal_that_cannot_write_puts_nothing_in_force() {
    let journal = Arc::new(Memory::new());
    let policy = policy(&journal, &default_folder()).await;
    journal.refuse(Some("the disk is full"));
    policy.try_folder().await;
    assert!(in_force(&policy).is_none());
    assert!(policy.refused().unwrap().why.contains("the disk is full"));
    journal.refuse(None);
    policy.try_folder().await;
    assert!(in_force(&policy).is_some() && policy.refused().is_none());
}

#[tokio::test]
async fn an_edit_that_met_a_journal_that_cannot_write_is_tried_until_it_can() {
    let journal = Arc::new(Memory::new());
    let (policy, hands) = watchable(&journal, &default_folder()).await;
    journal.refuse(Some("the disk is full"));
    let policy = Arc::new(policy);
    let watching = tokio::spawn(Arc::clone(&policy).watch());
    looked_until(&hands, "it is refused", || policy.refused().is_some()).await;
    assert!(in_force(&policy).is_none());
    journal.refuse(None);
    looked_until(&hands, "it is in force", || in_force(&policy).is_some() && policy.refused().is_none()).await;
    watching.abort();
}

#[tokio::test]
async fn content_that_cannot_be_used_is_tried_once() {
    let empty = tempfile::tempdir().unwrap();
    let (policy, hands) = watchable(&Arc::new(Memory::new()), empty.path()).await;
    let policy = Arc::new(policy);
    let watching = tokio::spawn(Arc::clone(&policy).watch());
    looked_until(&hands, "it is refused", || policy.refused().is_some()).await;
    let first = policy.refused().unwrap();
    let until = policy.clock.elapsed() + POLL * 5;
    looked_until(&hands, "five more looks", || policy.clock.elapsed() >= until).await;
    assert_eq!(policy.refused().unwrap(), first, "at the moment of the first attempt");
    std::fs::write(empty.path().join("tools.yaml"), "notes: [").unwrap();
    looked_until(&hands, "other content is tried", || policy.refused().unwrap() != first).await;
    watching.abort();
}

#[tokio::test]
async fn a_folder_comes_into_force_with_its_cases_and_not_without_any() {
    let folder = tempfile::tempdir().unwrap();
    for inner in ["rego", "cases"] {
        std::fs::create_dir(folder.path().join(inner)).unwrap();
        for entry in std::fs::read_dir(default_folder().join(inner)).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), folder.path().join(inner).join(entry.file_name())).unwrap();
        }
    }
    std::fs::copy(default_folder().join("tools.yaml"), folder.path().join("tools.yaml")).unwrap();
    let with = policy(&Arc::new(Memory::new()), folder.path()).await;
    with.try_folder().await;
    assert!(in_force(&with).is_some() && with.refused().is_none());

    std::fs::remove_dir_all(folder.path().join("cases")).unwrap();
    let without = policy(&Arc::new(Memory::new()), folder.path()).await;
    without.try_folder().await;
    assert!(in_force(&without).is_none());
    let why = without.refused().unwrap().why;
    assert!(why.contains("no case") && why.contains("write one in `cases/*.yaml`"), "{why}");
    // Nor does it replace one that is in force.
    let before = in_force(&with).unwrap().bundle.digest();
    with.try_folder().await;
    assert_eq!((in_force(&with).unwrap().bundle.digest(), with.refused().unwrap().why), (before, why));
}

#[tokio::test]
async fn an_edit_back_to_what_was_replaced_meanwhile_is_in_force_again() {
    let journal = Arc::new(Memory::shared());
    let one = policy(&journal, &default_folder()).await;
    one.try_folder().await;
    let other = policy(&journal, &default_folder()).await;
    other.try_folder().await;
    let first = in_force(&one).unwrap().bundle.digest();
    let edited = tempfile::tempdir().unwrap();
    for inner in ["rego", "cases"] {
        std::fs::create_dir(edited.path().join(inner)).unwrap();
        for entry in std::fs::read_dir(default_folder().join(inner)).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), edited.path().join(inner).join(entry.file_name())).unwrap();
        }
    }
    let tools = std::fs::read_to_string(default_folder().join("tools.yaml")).unwrap();
    std::fs::write(edited.path().join("tools.yaml"), format!("{tools}\n# Edited.\n")).unwrap();
    one.try_directory(edited.path().into()).await;
    assert_ne!(in_force(&one).unwrap().bundle.digest(), first);
    // It has not heard of that.
    assert_eq!(in_force(&other).unwrap().bundle.digest(), first);
    other.try_directory(default_folder()).await;
    one.control.catch_up().await.unwrap();
    assert_eq!(one.control.now().policy.unwrap().digest, first, "the last edit wins");
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_told() {
    let journal = Arc::new(Memory::new());
    let policy = policy(&journal, Path::new("no/such/folder")).await;
    policy.try_folder().await;
    assert!(in_force(&policy).is_none());
    assert!(policy.refused().unwrap().why.contains("no/such/folder"));
}
