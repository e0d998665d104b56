//! Stories about the list of replicas, on a shared journal in memory and a manual clock.

use super::{FORGOTTEN_US, GONE_US, REPLICAS_MAX, Replicas, list, name, slot};
use crate::body::Bodies;
use crate::clock::{Clock, Manual};
use crate::config::{Limits, REPLICA_BYTES};
use crate::control::Control;
use crate::journal::{Journal, Memory, SLOT_BYTES_MAX};
use agentgate_core::time::Time;
use std::sync::Arc;
use std::time::Duration;

struct Scene {
    journal: Arc<dyn Journal>,
    clock: Clock,
    hands: Arc<Manual>,
    control: Arc<Control>,
}

// === impl Scene ===

impl Scene {
    async fn on(memory: Memory) -> Self {
        let (clock, hands) = Clock::manual(Time::from_micros(1_000_000_000_000));
        let journal: Arc<dyn Journal> = Arc::new(memory);
        let bodies = Bodies::over(Arc::clone(&journal)).await;
        let control = Arc::new(Control::open(bodies, clock.clone(), Limits::default()).await.unwrap());
        Self { journal, clock, hands, control }
    }

    fn replica(&self, name: &str, life: u8) -> Replicas {
        let known = (Arc::default(), Arc::clone(&self.control));
        Replicas::new(Arc::clone(&self.journal), self.clock.clone(), known, (name.into(), [life; 8]))
    }

    fn passes(&self, micros: u64) {
        self.hands.advance(Duration::from_micros(micros));
    }
}

/// Name, whether it is gone, and whether its name is taken.
fn shown(replica: &Replicas) -> Vec<(String, bool, bool)> {
    replica.all().into_iter().map(|replica| (replica.name, replica.gone, replica.doubled)).collect()
}

fn as_shown(wanted: &[(&str, bool, bool)]) -> Vec<(String, bool, bool)> {
    wanted.iter().map(|(name, gone, doubled)| ((*name).to_owned(), *gone, *doubled)).collect()
}

#[tokio::test]
async fn a_replica_that_is_not_seen_is_gone_and_then_forgotten_and_one_that_leaves_is_neither() {
    let scene = Scene::on(Memory::shared()).await;
    let (one, other) = (scene.replica("one", 1), scene.replica("other", 2));
    for replica in [&one, &other, &one] {
        replica.write(true).await.unwrap();
    }
    let both = as_shown(&[("one", false, false), ("other", false, false)]);
    assert_eq!(shown(&one), both);
    scene.passes(GONE_US);
    one.write(true).await.unwrap();
    assert_eq!(shown(&one), both, "to the last microsecond");
    scene.passes(1);
    assert_eq!(shown(&one), as_shown(&[("one", false, false), ("other", true, false)]));
    scene.passes(FORGOTTEN_US - GONE_US - 1);
    one.write(true).await.unwrap();
    assert_eq!(shown(&one), as_shown(&[("one", false, false)]));
    other.write(true).await.unwrap();
    one.write(true).await.unwrap();
    assert_eq!(shown(&one), both);
    other.leave().await;
    one.write(true).await.unwrap();
    assert_eq!(shown(&one), as_shown(&[("one", false, false)]));
}

#[tokio::test]
async fn two_of_one_name_are_told_and_one_that_was_started_again_is_not() {
    let scene = Scene::on(Memory::shared()).await;
    let killed = scene.replica("one", 1);
    killed.write(true).await.unwrap();
    scene.passes(1_000_000);
    let again = scene.replica("one", 2);
    for _ in 0..3 {
        again.write(true).await.unwrap();
        assert!(shown(&again).iter().all(|(.., doubled)| !doubled), "{:?}", shown(&again));
        scene.passes(5_000_000);
    }
    // The first one lives after all.
    killed.write(true).await.unwrap();
    again.write(true).await.unwrap();
    assert_eq!(shown(&again), as_shown(&[("one", false, true), ("one", false, true)]));
    again.look();
}

#[tokio::test]
async fn all_replicas_fit_into_the_slot_and_the_longest_unseen_is_left_out() {
    let scene = Scene::on(Memory::shared()).await;
    let long = |number: usize| format!("{number:0>REPLICA_BYTES$}");
    for number in 0..=REPLICAS_MAX {
        scene.passes(1);
        scene.replica(&long(number), u8::try_from(number).unwrap()).write(true).await.unwrap();
    }
    let value = scene.journal.slot(slot()).await.unwrap().unwrap();
    assert!(value.len() <= SLOT_BYTES_MAX, "{}", value.len());
    let names: Vec<_> = list(Some(&value)).into_iter().map(|replica| replica.name).collect();
    assert_eq!(names, (1..=REPLICAS_MAX).map(long).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_journal_of_one_process_has_no_list() {
    let scene = Scene::on(Memory::new()).await;
    let alone = scene.replica("alone", 1);
    assert_eq!(shown(&alone), []);
    alone.leave().await;
    assert_eq!(scene.journal.slot(slot()).await, Ok(None));
}

#[test]
fn a_replica_is_called_as_configured_or_by_its_host() {
    for (configured, host, called) in [
        (Some("cp1"), "host", "cp1"),
        (None, "host.example", "host.example-00ff"),
        (None, "", "control-plane-00ff"),
        (None, "a b\u{1b}\u{e4}", "ab-00ff"),
        (None, &"x".repeat(300), &format!("{}-00ff", "x".repeat(48))),
    ] {
        assert_eq!(name(configured.map(Into::into), host, [0, 255]), called);
    }
}
