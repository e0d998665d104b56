//! Calls at two replicas while all of their subject is purged: whatever comes between what, it has one stream at a time.

use super::*;
use crate::body::SessionId;
use crate::retention::Wanted;
use agentgate_core::approval::{Order, shown_digest};
use agentgate_core::retention::Extent;
use std::collections::HashSet;
use std::sync::atomic::AtomicU64;

/// A shared journal that is now fast and now slow, as its seed has it.
#[derive(Debug)]
struct Dawdling {
    memory: Arc<Memory>,
    dice: AtomicU64,
    /// False: what no epoch fences is under way, and not written yet.
    unfenced: watch::Sender<bool>,
}

/// Each takes some tenths of a second.
const SEEDS: u64 = 48;

/// So long, in turns of the others.
async fn dawdle(turns: u64) {
    for _ in 0..turns {
        tokio::task::yield_now().await;
    }
}

// === impl Dawdling ===

impl Dawdling {
    fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self { memory: Arc::new(Memory::shared()), dice: AtomicU64::new(seed), unfenced: watch::Sender::new(true) })
    }

    fn turns(&self) -> u64 {
        let step = |dice: u64| dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let drawn = self.dice.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |dice| Some(step(dice))).unwrap() >> 40;
        if drawn.is_multiple_of(4) { drawn >> 3 & 31 } else { 0 }
    }
}

impl Between for Dawdling {
    fn inner(&self) -> &dyn Journal {
        &*self.memory
    }

    fn answer<'a, T: Send + 'a>(&self, answer: BoxFuture<'a, T>) -> BoxFuture<'a, T> {
        let turns = self.turns();
        Box::pin(async move {
            let told = answer.await;
            dawdle(turns).await;
            told
        })
    }

    fn append(&self, change: Change) -> BoxFuture<'static, Result<Appended, AppendError>> {
        let is_unfenced = change.fence.is_none() && change.writes.iter().any(|write| write.stream != Stream::global());
        let (memory, mut may_go) = (Arc::clone(&self.memory), self.unfenced.subscribe());
        if *may_go.borrow() || !is_unfenced {
            return self.answer(self.memory.append(change));
        }
        Box::pin(async move {
            let _ = may_go.wait_for(|may_go| *may_go).await;
            memory.append(change).await
        })
    }
}

fn subject() -> (Tenant, Principal) {
    ("t".try_into().unwrap(), "spiffe://a/agent/x".try_into().unwrap())
}

pub(super) async fn purge(scene: &Scene) {
    let (tenant, principal) = subject();
    let extent = Extent::new(Some(tenant), Some(principal), None);
    let wanted = Wanted { extent, before: None, reason: "x".into() };
    let by = "spiffe://a/operator/me".try_into().unwrap();
    // Others may be first again and again.
    let _ = scene.retention().purge(&wanted, &by, false).await;
}

/// The streams of the subject's calls, in the order of the journal, each with whether anything opens the call's words.
async fn streams(scene: &Scene) -> Vec<(Stream, bool)> {
    let mut told = Vec::new();
    for sequence in 0..scene.journal.health().head {
        let record = scene.journal.follow(sequence, 1).await.unwrap().remove(0);
        if let Some(v1::record::What::Decision(decision)) = v1::Record::decode(record.bytes).unwrap().what {
            let session = SessionId::of(decision.body.as_ref().unwrap()).unwrap();
            told.push((record.stream, scene.bodies.seal_by(session).await.unwrap().is_some()));
        }
    }
    told
}

#[tokio::test]
async fn a_subject_that_calls_while_all_of_it_is_purged_has_one_stream_at_a_time() {
    let (mut stayed, mut moved, mut forgotten) = (0, 0, 0);
    for seed in 0..SEEDS {
        let journal: Arc<dyn Journal> = Dawdling::new(seed);
        let one = Scene::on(Arc::clone(&journal)).await;
        let other = Scene::on(Arc::clone(&journal)).await;
        for scene in [&one, &other] {
            scene.decide.session.follow();
        }
        let calls = async |scene: &Scene, numbers: std::ops::Range<u64>| {
            for number in numbers {
                dawdle(number * 7 % 5 + seed % 7).await;
                // Contended is an answer too.
                let _ = scene.decide.decide(&scene.question(number)).await;
            }
        };
        calls(&one, 1..2).await;
        calls(&other, 2..3).await;
        tokio::join!(calls(&one, 10..14), calls(&other, 20..24), purge(&one), async {
            dawdle(seed % 11).await;
            purge(&other).await;
            let _ = other.retention().sweep().await;
        });
        // Each replica's follower hears of every order in the end.
        let orders = journal.version(Stream::global()).await.unwrap();
        for scene in [&one, &other] {
            scene.control.caught_up(orders).await.unwrap();
            scene.retention().carry_out().await.unwrap();
        }
        let (tenant, principal) = subject();
        let told = streams(&one).await;
        let mut order: Vec<Stream> = told.iter().map(|(stream, _)| *stream).collect();
        order.dedup();
        let different: HashSet<Stream> = order.iter().copied().collect();
        assert_eq!(order.len(), different.len(), "{seed}: it went back to a stream: {told:?}");
        let there = one.bodies.stream_there(&tenant, &principal).await.unwrap();
        for (stream, is_open) in &told {
            assert!(!is_open || there == Some(*stream), "{seed}: a call that can be read is in no stream: {told:?} {there:?}");
        }
        stayed += usize::from(order.len() == 1);
        moved += usize::from(order.len() > 1);
        // Now nobody calls.
        purge(&one).await;
        forgotten += u64::from(one.bodies.leads(None).await.unwrap().0.is_empty());
        assert!(other.bodies.stream_there(&tenant, &principal).await.unwrap().is_none(), "{seed}");
    }
    assert!(stayed > 2 && moved > 2 && forgotten == SEEDS, "{stayed}, {moved} and {forgotten}");
}

/// Records are never before one another, so they stay ahead with the clock that was; the keys of their words have to as well.
#[tokio::test]
async fn calls_after_a_clock_that_was_ahead_are_found_by_their_purge() {
    let first = Scene::on(Arc::new(Memory::new())).await;
    let now = first.clock.now();
    first.hands.set(Time::from_micros(now.micros() + 3 * crate::body::SESSION_KEY_US));
    first.decide.decide(&first.question(1)).await.unwrap();
    purge(&first).await;
    first.hands.set(now);
    let scene = first.restarted().await;
    scene.decide.decide(&scene.question(2)).await.unwrap();
    let (tenant, principal) = subject();
    let extent = Extent::new(Some(tenant), Some(principal), None);
    let wanted = Wanted { extent, before: None, reason: "x".into() };
    let purged = scene.retention().purge(&wanted, &"spiffe://a/operator/me".try_into().unwrap(), false).await.unwrap();
    assert_eq!((purged.sessions, purged.calls), (1, 1));
    let is_a_calls =
        |record: &Record| matches!(v1::Record::decode(record.bytes.clone()).unwrap().what, Some(v1::record::What::Decision(_)));
    let records = scene.journal.follow(0, 100).await.unwrap();
    for record in records.iter().filter(|record| is_a_calls(record)) {
        let what = v1::Record::decode(record.bytes.clone()).unwrap().what.unwrap();
        let address = Digest::try_from(what.body_ref().unwrap().address.as_ref()).unwrap();
        assert_eq!(scene.journal.fetch(address).await, Ok(None), "record {}: its space is given back", record.sequence);
    }
}

#[tokio::test]
async fn an_answer_in_memory_goes_with_every_purge() {
    let scene = Scene::on(Arc::new(Memory::shared())).await;
    let ask = async || scene.decide.decide(&scene.question(1)).await;
    let first = ask().await.unwrap();
    assert_eq!(ask().await.unwrap(), first);
    purge(&scene).await;
    // Nobody can say any more that it is the same request.
    let again = ask().await;
    assert!(matches!(again, Err(Undecided::Reused)), "{again:?}");
}

#[tokio::test]
async fn an_answer_that_was_under_way_when_its_call_was_purged_is_not_remembered() {
    let shared = Shared::new(0);
    let scene = Scene::on(Arc::clone(&shared) as Arc<dyn Journal>).await;
    let other = Scene::on(Arc::clone(&shared.memory) as Arc<dyn Journal>).await;
    let (question, next) = (scene.question(1), scene.question(2));
    shared.durable.send_replace(false);
    let mut deciding = Box::pin(scene.decide.decide(&question));
    assert!(by_now(&mut deciding).await.is_none(), "it is on record, and not told to be");
    purge(&other).await;
    scene.control.caught_up(shared.version(Stream::global()).await.unwrap()).await.unwrap();
    // What is known of calls is forgotten with the next one, and not once more.
    let mut asking = Box::pin(scene.decide.decide(&next));
    assert!(by_now(&mut asking).await.is_none());
    shared.durable.send_replace(true);
    assert!(deciding.await.is_ok() && asking.await.is_ok());
    let again = scene.decide.decide(&question).await;
    assert!(matches!(again, Err(Undecided::Reused)), "{again:?}");
}

/// No epoch fences what is said of a call later, so it may be written after the call's purge, under a key that it had before.
#[tokio::test]
async fn what_is_said_of_a_call_while_it_is_purged_leaves_nothing_to_be_read_or_kept() {
    for is_outcome in [true, false] {
        let journal = Dawdling::new(1);
        let scene = Scene::on(Arc::clone(&journal) as Arc<dyn Journal>).await;
        let saying: Pin<Box<dyn Future<Output = bool>>> = if is_outcome {
            scene.decide.decide(&scene.question(1)).await.unwrap();
            let reporter = Reporter { filter: scene.question(1).filter, epoch: Epoch([1; 16]) };
            let kind = v1::OutcomeKind::Completed.into();
            let outcome = v1::Outcome { kind, detail: "said".into(), ..v1::Outcome::default() };
            let entry = v1::Entry { counter: 1, what: Some(v1::entry::What::Outcome(outcome)), ..v1::Entry::default() };
            let decide = Arc::clone(&scene.decide);
            Box::pin(async move { decide.report(&reporter, entry).await })
        } else {
            let asked = scene.decide.decide(&scene.call(1, "add_note", r#"{"title":"x","text":"y"}"#)).await.unwrap();
            let shown = scene.approvals.show(&asked.approval).await.unwrap();
            let by = "spiffe://a/operator/boss".try_into().unwrap();
            let order = Order { by, grant: true, seen: shown_digest(&shown.request) };
            let approvals = Arc::clone(&scene.approvals);
            // Nobody is shown what was purged, not even who granted it.
            Box::pin(async move { approvals.decide(&asked.approval, order, "said").await.is_err() })
        };
        journal.unfenced.send_replace(false);
        let (mut saying, mut purging) = (saying, Box::pin(purge(&scene)));
        for _ in 0..8 {
            assert_eq!(by_now(&mut saying).await, None, "it is under way");
        }
        let mut purged = None;
        for _ in 0..8 {
            purged = purged.or(by_now(&mut purging).await);
            if purged.is_some() {
                break;
            }
        }
        assert_eq!(purged, None, "it waits for what took its key before");
        journal.unfenced.send_replace(true);
        assert_eq!(tokio::join!(saying, purging), (true, ()), "an outcome: {is_outcome}");
        let records = scene.journal.follow(0, 100).await.unwrap().into_iter();
        let what = records.filter_map(|record| v1::Record::decode(record.bytes).unwrap().what);
        let is_said = |what: &v1::record::What| {
            use v1::approval_record::What::Granted;
            use v1::record::What::{Approval, Outcome};
            matches!(what, Outcome(_) | Approval(v1::ApprovalRecord { what: Some(Granted(_)), .. }))
        };
        let said: Vec<_> = what.filter(is_said).collect();
        let address = |what: &v1::record::What| Digest::try_from(what.body_ref().unwrap().address.as_ref()).unwrap();
        assert_eq!(said.len(), 1, "an outcome: {is_outcome}");
        assert_eq!(scene.journal.fetch(address(&said[0])).await, Ok(None), "its space is given back");
    }
}
