//! Stories about quotas: two replicas, crashes and days, on the memory journal and a manual clock.

use super::account::{Account, Reserved, Spending, begin_of, day_of};
use super::{Quota, QuotaError, Spent};
use crate::body::Bodies;
use crate::clock::{Clock, Manual};
use crate::config::Quotas;
use crate::journal::{AppendError, Between, BoxFuture, Journal, Memory, Slot};
use agentgate_core::digest::Digest;
use agentgate_core::id::Tenant;
use agentgate_core::time::Time;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

const DAY: u64 = 20_000;
const LIMIT: u64 = 10 << 20;

struct Scene {
    memory: Arc<Memory>,
    clock: Clock,
    hands: Arc<Manual>,
}

/// A journal whose slots are set, and answer that they are once they may.
#[derive(Debug)]
struct SlowSets {
    memory: Arc<Memory>,
    may_answer: watch::Sender<bool>,
}

impl Between for SlowSets {
    fn inner(&self) -> &dyn Journal {
        &*self.memory
    }

    fn set(&self, name: Digest, expected: Option<Bytes>, value: Option<Bytes>) -> BoxFuture<'static, Result<Slot, AppendError>> {
        let (set, mut may_answer) = (self.memory.set(name, expected, value), self.may_answer.subscribe());
        Box::pin(async move {
            let _ = may_answer.wait_for(|may_answer| *may_answer).await;
            set.await
        })
    }
}

// === impl Scene ===

impl Scene {
    fn new() -> Self {
        let (clock, hands) = Clock::manual(Time::from_micros(begin_of(DAY)));
        Self { memory: Arc::new(Memory::shared()), clock, hands }
    }

    async fn replica(&self) -> Quota {
        self.on(Arc::clone(&self.memory) as _).await
    }

    async fn on(&self, journal: Arc<dyn Journal>) -> Quota {
        let quotas = Quotas([(tenant("a"), LIMIT), (tenant("b"), LIMIT)].into());
        Quota::open(&Bodies::over(journal).await, self.clock.clone(), &quotas).await.unwrap()
    }

    async fn spend(&self, quota: &Quota, bytes: u64) -> Result<Spent, QuotaError> {
        quota.spend(&tenant("a"), bytes, self.clock.now()).await
    }

    /// Spends until nothing is left, and says how much that was.
    async fn spend_all(&self, quotas: &[&Quota], bytes: u64) -> u64 {
        let mut spent = 0;
        for round in 0_usize.. {
            match self.spend(quotas[round % quotas.len()], bytes).await {
                Ok(_) => spent += bytes,
                Err(QuotaError::Exceeded) => break,
                Err(error) => panic!("{error}"),
            }
        }
        spent
    }
}

fn tenant(name: &str) -> Tenant {
    name.try_into().unwrap()
}

fn used(quota: &Quota) -> (u64, u64) {
    let shown = quota.all();
    let of = shown.iter().find(|quota| quota.tenant == "a").unwrap();
    assert_eq!(of.limit_bytes, LIMIT);
    (of.used_bytes, of.day_us)
}

#[tokio::test]
async fn what_fits_is_spent_to_the_last_byte_and_the_next_byte_is_refused() {
    let scene = Scene::new();
    let quota = scene.replica().await;
    assert_eq!(scene.spend_all(&[&quota], 1 << 10).await, LIMIT);
    assert!(matches!(scene.spend(&quota, 1).await, Err(QuotaError::Exceeded)));
    assert!(quota.admit(&tenant("a"), scene.clock.now()).is_err());
    // Others go on; and whoever has no quota is not counted.
    for name in ["b", "c"] {
        quota.admit(&tenant(name), scene.clock.now()).unwrap();
        quota.spend(&tenant(name), 1 << 10, scene.clock.now()).await.unwrap();
    }
}

#[tokio::test]
async fn a_call_that_does_not_fit_leaves_room_for_those_that_do() {
    let scene = Scene::new();
    let quota = scene.replica().await;
    assert!(matches!(scene.spend(&quota, LIMIT + 1).await, Err(QuotaError::Exceeded)));
    scene.spend(&quota, LIMIT - 600).await.unwrap();
    assert!(matches!(scene.spend(&quota, 601).await, Err(QuotaError::Exceeded)));
    quota.admit(&tenant("a"), scene.clock.now()).unwrap();
    scene.spend(&quota, 600).await.unwrap();
}

#[tokio::test]
async fn replicas_never_spend_the_same_byte() {
    let scene = Scene::new();
    let (one, other) = (scene.replica().await, scene.replica().await);
    let spent = scene.spend_all(&[&one, &other], 1_000).await + scene.spend_all(&[&one], 1_000).await;
    let spent = spent + scene.spend_all(&[&other], 1_000).await;
    // What does not suffice for one call more may lie at each.
    assert!(spent <= LIMIT && spent > LIMIT - 2_000, "{spent}");
}

#[tokio::test]
async fn a_crash_loses_a_share_and_overspends_nothing() {
    let scene = Scene::new();
    let mut spent = 0;
    let share = Account::new(LIMIT).share();
    for _ in 0..10 {
        let quota = scene.replica().await;
        for _ in 0..100 {
            scene.spend(&quota, 1_000).await.unwrap();
            spent += 1_000;
        }
    }
    let quota = scene.replica().await;
    spent += scene.spend_all(&[&quota], 1_000).await;
    assert!(spent <= LIMIT && spent > LIMIT - 10 * 2 * share - 1_000, "{spent}");
    // Whoever leaves loses nothing.
    let scene = Scene::new();
    let mut spent = 0;
    for _ in 0..10 {
        let quota = scene.replica().await;
        scene.spend(&quota, 1_000).await.unwrap();
        spent += 1_000;
        quota.leave().await;
        assert_eq!(used(&scene.replica().await).0, spent);
    }
}

#[tokio::test]
async fn a_day_begins_with_the_whole_quota_at_every_replica() {
    let scene = Scene::new();
    let (one, other) = (scene.replica().await, scene.replica().await);
    scene.spend_all(&[&one, &other], 1_000).await;
    scene.hands.advance(Duration::from_micros(begin_of(1) - 1));
    assert_eq!(day_of(scene.clock.now().micros()), DAY);
    assert!(matches!(scene.spend(&one, 1_000).await, Err(QuotaError::Exceeded)), "the last microsecond");
    scene.hands.advance(Duration::from_micros(1));
    assert_eq!(used(&one), (0, begin_of(DAY + 1)));
    let spent = scene.spend_all(&[&one, &other], 1_000).await;
    assert!(spent > LIMIT / 2, "{spent}");
    // A clock that lags spends of the day that has begun.
    scene.hands.set(Time::from_micros(begin_of(DAY)));
    let late = scene.replica().await;
    let more = scene.spend_all(&[&late], 1_000).await + scene.spend_all(&[&one], 1_000).await;
    assert!(spent + more <= LIMIT, "{spent} and {more}");
}

#[tokio::test]
async fn what_was_not_written_is_spent_again() {
    let scene = Scene::new();
    let quota = scene.replica().await;
    scene.spend(&quota, LIMIT).await.unwrap().back();
    assert_eq!(used(&quota).0, 0);
    // Whoever looks with a clock that is ahead ends no day.
    scene.hands.set(Time::from_micros(begin_of(DAY + 3)));
    assert_eq!(used(&quota), (0, begin_of(DAY + 3)));
    scene.hands.set(Time::from_micros(begin_of(DAY)));
    let late = scene.spend(&quota, LIMIT).await.unwrap();
    scene.hands.advance(Duration::from_micros(begin_of(1)));
    quota.admit(&tenant("a"), scene.clock.now()).unwrap();
    late.back();
    assert_eq!(used(&quota), (0, begin_of(DAY + 1)));
    assert_eq!(scene.spend_all(&[&quota], 1_000).await, LIMIT / 1_000 * 1_000, "not to a day that it is not of");
}

#[tokio::test]
async fn what_is_written_whatever_is_left_counts() {
    let scene = Scene::new();
    let quota = scene.replica().await;
    scene.spend(&quota, LIMIT).await.unwrap();
    quota.write_off(&tenant("a"), 5_000, scene.clock.now());
    assert_eq!(used(&quota).0, LIMIT + 5_000);
    quota.leave().await;
    assert_eq!(used(&scene.replica().await).0, LIMIT + 5_000, "and in the next life");
}

#[tokio::test]
async fn the_next_share_is_there_before_it_is_needed() {
    let scene = Scene::new();
    let quota = scene.replica().await;
    let share = Account::new(LIMIT).share();
    scene.spend(&quota, 1).await.unwrap();
    let mut spent = 1;
    // Nothing here waits for another one but at the first call: what runs ahead runs when this yields.
    for _ in 0..20 {
        scene.memory.refuse(Some("a disk that is busy"));
        scene.spend(&quota, share / 2).await.unwrap();
        spent += share / 2;
        scene.memory.refuse(None);
        scene.spend(&quota, 1).await.unwrap();
        spent += 1;
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(used(&quota).0, spent);
}

#[tokio::test]
async fn without_a_journal_nothing_is_set_aside_and_nothing_is_lost() {
    let scene = Scene::new();
    let quota = scene.replica().await;
    scene.memory.refuse(Some("full"));
    for _ in 0..10 {
        assert!(matches!(scene.spend(&quota, 1_000).await, Err(QuotaError::Set(_))));
    }
    scene.memory.refuse(None);
    assert_eq!(scene.spend_all(&[&quota], 1 << 10).await, LIMIT);
}

#[test]
fn a_slot_says_what_it_held() {
    let reserved = Reserved { day: DAY, bytes: u64::MAX };
    assert_eq!(Reserved::decode(&reserved.encode()), Some(reserved));
    for spoiled in [&reserved.encode()[1..], &[], &[reserved.encode(), reserved.encode()].concat()] {
        assert_eq!(Reserved::decode(spoiled), None);
    }
}

#[test]
fn a_share_is_a_part_of_the_limit_within_bounds() {
    for (limit, share) in [(1, 1), (64 << 10, 64 << 10), (1 << 20, 64 << 10), (1 << 30, 16 << 20), (1 << 40, 64 << 20)] {
        assert_eq!(Account::new(limit).share(), share, "{limit}");
    }
    assert_eq!(Account::new(1).spend(2, DAY), Spending::Exceeded);
}

#[tokio::test]
async fn what_is_spent_while_the_rest_is_given_back_is_not_given_back() {
    let scene = Scene::new();
    let slow = Arc::new(SlowSets { memory: Arc::clone(&scene.memory), may_answer: watch::Sender::new(true) });
    let quota = scene.on(Arc::clone(&slow) as _).await;
    scene.spend(&quota, 1 << 10).await.unwrap();
    slow.may_answer.send_replace(false);
    let after = async |turns: u32| {
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
    };
    let spending = async {
        after(4).await;
        scene.spend(&quota, 2 << 10).await.unwrap();
    };
    let answering = async {
        after(64).await;
        slow.may_answer.send_replace(true);
    };
    tokio::join!(quota.leave(), spending, answering);
    let other = scene.replica().await;
    assert!(used(&other).0 >= 3 << 10, "{:?}", used(&other));
}
