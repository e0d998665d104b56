//! Stories about one decision, on the memory journal and a manual clock.

mod approvals;
mod elsewhere;
mod orders;
mod privacy;
mod purged;
mod rest;

use super::heavy::LIGHT_BYTES_MAX;
use super::report::Reporter;
use super::{ATTEMPTS_MAX, Admission, Decide, Question, Rooms, Undecided};
use crate::approval::Approvals;
use crate::body::Bodies;
use crate::calls::ask;
use crate::clock::{Clock, Manual};
use crate::config::{self, Callers, Filter, Limits, PolicyFolder};
use crate::control::Control;
use crate::identity::Subject;
use crate::journal::{AppendError, Appended, Between, BoxFuture, Change, Expected, Journal, Memory, Record, Stream, Write};
use crate::policy::Policy;
use crate::privacy::Privacy;
use crate::quota::Quota;
use crate::retention::{self, Retention};
use crate::session::Session;
use agentgate_core::digest::Digest;
use agentgate_core::id::{CallId, Epoch, Principal, Tenant};
use agentgate_core::time::Time;
use agentgate_proto::v1;
use prost::Message;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::watch;

struct Scene {
    decide: Arc<Decide>,
    hands: Arc<Manual>,
    clock: Clock,
    journal: Arc<dyn Journal>,
    control: Arc<Control>,
    approvals: Arc<Approvals>,
    policy: Arc<Policy>,
    limits: Limits,
    privacy: config::Privacy,
    bodies: Arc<Bodies>,
}

/// A journal with a second writer, who is first to the subject's stream `busy` times.
#[derive(Debug)]
struct Shared {
    memory: Arc<Memory>,
    busy: AtomicU32,
    written: AtomicU32,
    /// False: the disk is slow, and nothing becomes durable.
    durable: watch::Sender<bool>,
}

// === impl Shared ===

impl Shared {
    fn new(busy: u32) -> Arc<Self> {
        Arc::new(Self {
            memory: Arc::new(Memory::new()),
            busy: AtomicU32::new(busy),
            written: AtomicU32::new(0),
            durable: watch::Sender::new(true),
        })
    }

    fn write_first(&self, stream: Stream) {
        let number = self.written.fetch_add(1, Ordering::SeqCst);
        let id = Digest::of("test", &number.to_be_bytes());
        let flood = v1::Record { at_us: 1, what: Some(v1::record::What::Flood(v1::FloodRecord::default())) };
        let write = Write { stream, expected: Expected::Any, id, record: flood.encode_to_vec().into() };
        drop(self.memory.append(Change { fence: None, writes: vec![write], bodies: Vec::new() }));
    }
}

impl Between for Shared {
    fn inner(&self) -> &dyn Journal {
        &*self.memory
    }

    fn append(&self, change: Change) -> BoxFuture<'static, Result<Appended, AppendError>> {
        let stream = change.writes.first().map(|write| write.stream);
        if let Some(stream) = stream.filter(|stream| *stream != Stream::global())
            && self.busy.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |busy| busy.checked_sub(1)).is_ok()
        {
            self.write_first(stream);
        }
        let (appended, mut durable) = (self.memory.append(change), self.durable.subscribe());
        Box::pin(async move {
            let _ = durable.wait_for(|durable| *durable).await;
            appended.await
        })
    }
}

// === impl Scene ===

impl Scene {
    async fn on(journal: Arc<dyn Journal>) -> Self {
        Self::within(Limits::default(), journal).await
    }

    async fn within(limits: Limits, journal: Arc<dyn Journal>) -> Self {
        let (clock, hands) = Clock::manual(Time::from_micros(1_000_000));
        Self::after((limits, config::Privacy::default()), journal, clock, hands).await
    }

    /// The next life of the process, on what the journal holds.
    async fn restarted(&self) -> Self {
        let config = (self.limits.clone(), self.privacy.clone());
        Self::after(config, Arc::clone(&self.journal), self.clock.clone(), Arc::clone(&self.hands)).await
    }

    async fn after(
        (limits, privacy): (Limits, config::Privacy),
        journal: Arc<dyn Journal>,
        clock: Clock,
        hands: Arc<Manual>,
    ) -> Self {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies/default");
        let folder = PolicyFolder { directory, poll: Duration::from_secs(1) };
        let bodies = Bodies::over(Arc::clone(&journal)).await;
        let control = Control::open(Arc::clone(&bodies), clock.clone(), limits.clone()).await.unwrap();
        let control = Arc::new(control);
        let policy = Policy::open(Arc::clone(&journal), clock.clone(), folder, Arc::clone(&control)).await.unwrap();
        let policy = Arc::new(policy);
        policy.try_folder().await;
        let waiting = (config::Approvals::default(), limits.clone());
        let approvals = Arc::new(Approvals::open(Arc::clone(&bodies), clock.clone(), waiting).await.unwrap());
        let session = Session::open(Arc::clone(&bodies), clock.clone(), limits.clone(), Vec::new()).await.unwrap();
        let rooms = Rooms {
            heard: Arc::default(),
            control: Arc::clone(&control),
            policy: Arc::clone(&policy),
            approvals: Arc::clone(&approvals),
            session: Arc::new(session),
            bodies: Arc::clone(&bodies),
            privacy: Arc::new(Privacy::new(privacy.clone(), Arc::clone(&bodies))),
            quota: Arc::new(Quota::none(clock.clone())),
        };
        let decide = Arc::new(Decide::new(&limits, clock.clone(), rooms));
        Self { decide, hands, clock, journal, limits, control, approvals, policy, privacy, bodies }
    }

    fn question(&self, counter: u64) -> Question {
        self.call(counter, "read_note", "{}")
    }

    /// A call of a tool of the demo's, with these arguments.
    fn call(&self, counter: u64, tool: &str, arguments: &str) -> Question {
        let id = |text: &str| text.try_into().unwrap();
        let filter = Arc::new(Filter {
            identity: id("spiffe://a/filter/x"),
            tenant: "t".try_into().unwrap(),
            servers: ["notes".try_into().unwrap()].into(),
            callers: Callers::One(id("spiffe://a/agent/x")),
            users: None,
        });
        let call = CallId { asker: filter.identity.clone(), epoch: Epoch([1; 16]), counter };
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":{counter},"method":"tools/call","params":{{"name":"{tool}","arguments":{arguments}}}}}"#
        );
        Question::new(filter, call, ask(counter, body), self.clock.elapsed() + Duration::from_secs(2))
    }

    fn retention(&self) -> Retention {
        let rooms = retention::Rooms {
            bodies: Arc::clone(&self.decide.bodies),
            control: Arc::clone(&self.control),
            session: Arc::clone(&self.decide.session),
            approvals: Arc::clone(&self.approvals),
            privacy: Arc::clone(&self.decide.privacy),
        };
        Retention::new(rooms, self.clock.clone(), config::Retention::default(), ["t".try_into().unwrap()].into())
    }

    async fn last_at(&self) -> u64 {
        let last = self.journal.follow(self.journal.health().head - 1, 1).await.unwrap().remove(0);
        v1::Record::decode(last.bytes).unwrap().at_us
    }
}

#[tokio::test]
async fn a_call_whose_subject_moved_is_folded_again_so_many_times_and_then_refused() {
    for busy in 0..=ATTEMPTS_MAX {
        let scene = Scene::on(Shared::new(busy)).await;
        let answer = scene.decide.decide(&scene.question(1)).await;
        if busy < ATTEMPTS_MAX {
            assert_eq!(answer.unwrap().verdict(), v1::Verdict::Allow, "{busy} times");
        } else {
            assert!(matches!(answer, Err(Undecided::Contended)), "{answer:?}");
        }
    }
}

#[tokio::test]
async fn an_order_that_cannot_be_read_fences_every_decision_off() {
    let shared = Shared::new(0);
    let scene = Scene::on(Arc::clone(&shared) as Arc<dyn Journal>).await;
    shared.write_first(Stream::global());
    let answer = scene.decide.decide(&scene.question(1)).await;
    assert!(matches!(&answer, Err(Undecided::Journal(why)) if why.contains("cannot be read")), "{answer:?}");
}

#[tokio::test]
async fn what_another_replica_ordered_is_taken_up_by_the_decision_that_it_fences_off() {
    let journal: Arc<dyn Journal> = Arc::new(Memory::new());
    let (scene, other) = (Scene::on(Arc::clone(&journal)).await, Scene::on(journal).await);
    let verdict = async |counter: u64| scene.decide.decide(&scene.question(counter)).await.unwrap();
    assert_eq!(verdict(1).await.verdict(), v1::Verdict::Allow);
    let by = "spiffe://a/operator/me".try_into().unwrap();
    other.control.kill(agentgate_core::kill::KillTarget::Everything, "x", &by).await.unwrap();
    assert_eq!(verdict(2).await.rule, "gate.killed");
    other.control.resume(agentgate_core::kill::KillTarget::Everything, "x", &by).await.unwrap();
    let without = tempfile::tempdir().unwrap();
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies/default"), without.path());
    let tools = without.path().join("tools.yaml");
    let text = std::fs::read_to_string(&tools).unwrap();
    std::fs::write(&tools, text + "  brand_new: { tag: open, scope: read }\n").unwrap();
    other.policy.try_directory(without.path().into()).await;
    let decided = scene.decide.decide(&scene.call(3, "brand_new", "{}")).await.unwrap();
    assert_eq!(decided.verdict(), v1::Verdict::Allow, "{decided:?}");
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let (entry, to) = (entry.unwrap(), to.to_path_buf());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir_all(to.join(entry.file_name())).unwrap();
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

#[tokio::test]
async fn expired_work_is_dropped_before_it_is_evaluated() {
    let scene = Scene::on(Arc::new(Memory::new())).await;
    for (wait, expired) in [(1_999, false), (2_000, true)] {
        let question = scene.question(wait);
        scene.hands.advance(Duration::from_millis(wait));
        let head = scene.journal.health().head;
        let answer = scene.decide.decide(&question).await;
        assert_eq!(matches!(answer, Err(Undecided::Expired)), expired, "{answer:?}");
        assert_eq!(scene.journal.health().head, head + u64::from(!expired));
    }
}

#[tokio::test]
async fn a_journal_that_cannot_write_gives_no_verdict_and_the_call_can_be_asked_again() {
    let memory = Arc::new(Memory::new());
    let scene = Scene::on(Arc::clone(&memory) as Arc<dyn Journal>).await;
    memory.refuse(Some("the disk is full"));
    for _ in 0..3 {
        let answer = scene.decide.decide(&scene.question(1)).await;
        assert!(matches!(&answer, Err(Undecided::Journal(why)) if why.contains("the disk is full")), "{answer:?}");
    }
    memory.refuse(None);
    assert_eq!(scene.decide.decide(&scene.question(1)).await.unwrap().verdict(), v1::Verdict::Allow);
}

#[tokio::test]
async fn as_many_answers_as_may_be_come_from_memory_and_older_ones_from_the_journal() {
    let memory = Arc::new(Memory::new());
    let limits = Limits { recent_calls_max: 2, ..Limits::default() };
    let scene = Scene::within(limits, Arc::clone(&memory) as Arc<dyn Journal>).await;
    let mut first = Vec::new();
    for counter in 1..=3 {
        first.push(scene.decide.decide(&scene.question(counter)).await.unwrap());
    }
    // What is in memory needs no journal.
    memory.refuse(Some("the disk is full"));
    for (counter, remembered) in [(1, false), (2, true), (3, true)] {
        let again = scene.decide.decide(&scene.question(counter)).await;
        assert_eq!(again.is_ok(), remembered, "{counter}: {again:?}");
    }
    memory.refuse(None);
    for (counter, first) in (1..).zip(first) {
        assert_eq!(scene.decide.decide(&scene.question(counter)).await.unwrap(), first, "decided once");
    }
}

#[tokio::test]
async fn a_slow_disk_fills_the_share_and_one_more_call_is_refused_at_once() {
    let shared = Shared::new(0);
    let limits = Limits { in_flight_per_subject_max: 2, ..Limits::default() };
    let scene = Scene::within(limits, Arc::clone(&shared) as Arc<dyn Journal>).await;
    shared.durable.send_replace(false);
    let mut deciding = tokio::task::JoinSet::new();
    // The second and third ask are one and the same call: it takes one place.
    for counter in [1, 2, 2] {
        let (decide, question) = (Arc::clone(&scene.decide), scene.question(counter));
        deciding.spawn(async move { decide.decide(&question).await });
        tokio::task::yield_now().await;
    }
    let question = scene.question(3);
    let refused = by_now(&mut Box::pin(scene.decide.decide(&question))).await;
    assert!(matches!(refused, Some(Err(Undecided::Overloaded { max: 2, .. }))), "{refused:?}");
    shared.durable.send_replace(true);
    let mut sequences = Vec::new();
    while let Some(answer) = deciding.join_next().await {
        sequences.push(answer.unwrap().unwrap().sequence);
    }
    sequences.sort_unstable();
    assert_eq!(sequences, [2, 3, 3], "one record for each call");
    assert!(scene.decide.decide(&scene.question(3)).await.is_ok(), "a refusal is not remembered");
}

#[tokio::test]
async fn a_large_body_waits_for_the_large_one_before_it_and_a_light_one_does_not() {
    let scene = Scene::on(Arc::new(Memory::new())).await;
    let of_size = |counter, bytes: usize| {
        let Question { filter, call, mut ask, .. } = scene.question(counter);
        let padding = bytes - ask.body.len();
        ask.body = [ask.body.as_ref(), &vec![b' '; padding]].concat().into();
        Question::new(filter, call, ask, scene.clock.elapsed() + Duration::from_secs(1))
    };
    let working = scene.decide.heavy.turn(LIGHT_BYTES_MAX + 1).await;
    let (light, large) = (of_size(1, LIGHT_BYTES_MAX), of_size(2, LIGHT_BYTES_MAX + 1));
    let mut passing = Box::pin(scene.decide.decide(&light));
    assert!(matches!(by_now(&mut passing).await, Some(Ok(_))), "it need not wait");
    let mut waiting = Box::pin(scene.decide.decide(&large));
    assert!(by_now(&mut waiting).await.is_none(), "it must wait");
    drop(working);
    assert!(waiting.await.is_ok());
}

#[tokio::test]
async fn a_sweep_that_is_cut_loses_no_flood_and_acknowledges_none() {
    let shared = Shared::new(0);
    let limits = Limits { malformed_per_subject_per_s_max: 1, flood_interval_s: 10, ..Limits::default() };
    let scene = Scene::within(limits, Arc::clone(&shared) as Arc<dyn Journal>).await;
    let refused = |counter| {
        let Question { filter, ask, .. } = scene.question(counter);
        let entry = v1::Entry { counter, what: Some(v1::entry::What::Refused(ask)), ..v1::Entry::default() };
        let decide = Arc::clone(&scene.decide);
        Box::pin(async move { decide.report(&Reporter { filter, epoch: Epoch([1; 16]) }, entry).await })
    };
    assert!(refused(1).await, "recorded by itself");
    let mut counted = [refused(2), refused(3)];
    for counted in &mut counted {
        assert_eq!(by_now(counted).await, None, "not on record");
    }
    for _ in 0..2 {
        let call = scene.question(1).call;
        scene.decide.flood.admit(&subject("t", "y"), "method", (&call, 1), scene.clock.elapsed(), scene.clock.now());
    }
    scene.hands.advance(Duration::from_secs(10));
    shared.durable.send_replace(false);
    let mut sweep = Box::pin(scene.decide.sweep(false));
    assert_eq!(by_now(&mut sweep).await, None, "the disk is slow");
    drop(sweep);
    assert_eq!(by_now(&mut counted[0]).await, None, "not durable");
    shared.durable.send_replace(true);
    scene.decide.sweep(true).await;
    for counted in &mut counted {
        assert_eq!(by_now(counted).await, Some(true));
    }
    let mut counts = Vec::new();
    for record in scene.journal.follow(0, 100).await.unwrap() {
        if let Some(v1::record::What::Flood(flood)) = v1::Record::decode(record.bytes).unwrap().what {
            counts.push((flood.reason, flood.count));
        }
    }
    counts.sort_unstable();
    assert_eq!(counts, [("method".to_owned(), 1), ("refused_by_filter".to_owned(), 2)], "each once");
    // Whoever looks finds what became durable after it was cut too.
    let listed = scene.decide.session.list(&v1::ListTracesRequest::default()).await.unwrap().traces;
    assert_eq!(listed.iter().filter(|trace| trace.flood.is_some()).count(), 2);
}

/// What a future comes to when nothing but itself holds it up.
async fn by_now<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    for _ in 0..64 {
        let polled = std::future::poll_fn(|context| std::task::Poll::Ready(Pin::new(&mut *future).poll(context))).await;
        if let std::task::Poll::Ready(output) = polled {
            return Some(output);
        }
        tokio::task::yield_now().await;
    }
    None
}

#[tokio::test]
async fn a_record_is_never_older_than_the_journals_last() {
    let scene = Scene::on(Arc::new(Memory::new())).await;
    scene.hands.set(Time::from_micros(9_000_000));
    scene.decide.decide(&scene.question(1)).await.unwrap();
    scene.hands.set(Time::from_micros(3_000_000));
    scene.decide.decide(&scene.question(2)).await.unwrap();
    assert_eq!(scene.last_at().await, 9_000_000);
    // Nor after a restart with the clock still wrong.
    let session =
        Session::open(Bodies::over(Arc::clone(&scene.journal)).await, scene.clock.clone(), Limits::default(), Vec::new())
            .await
            .unwrap();
    assert_eq!(session.moment(), Time::from_micros(9_000_000));
}

fn subject(tenant: &str, principal: &str) -> Subject {
    Subject {
        tenant: Tenant::try_from(tenant).unwrap(),
        principal: Principal::try_from(format!("spiffe://a/{principal}").as_str()).unwrap(),
    }
}

#[tokio::test]
async fn one_call_too_many_is_refused_at_once() {
    let (clock, _) = Clock::manual(Time::from_micros(0));
    let limits = Limits { in_flight_per_tenant_max: 3, in_flight_per_subject_max: 2, ..Limits::default() };
    let admission = Admission::new(&limits);
    let enter = |subject: Subject| {
        let (admission, clock) = (&admission, &clock);
        async move { admission.enter(&subject, clock, Duration::from_secs(1)).await }
    };
    let first = enter(subject("t", "x")).await.unwrap();
    let _second = enter(subject("t", "x")).await.unwrap();
    let refused = enter(subject("t", "x")).await.unwrap_err();
    assert!(matches!(refused, Undecided::Overloaded { max: 2, .. }), "the subject's share: {refused}");
    let _third = enter(subject("t", "y")).await.unwrap();
    let refused = enter(subject("t", "z")).await.unwrap_err();
    assert!(matches!(refused, Undecided::Overloaded { max: 3, .. }), "the tenant's share: {refused}");
    assert!(enter(subject("u", "x")).await.is_ok(), "another tenant has its own");
    drop(first);
    assert!(enter(subject("t", "x")).await.is_ok(), "a place that was left is free");
    assert_eq!(admission.in_flight(), 2);
}

#[tokio::test]
async fn tenants_take_turns_and_in_a_tenant_its_subjects_do() {
    let (clock, _) = Clock::manual(Time::from_micros(0));
    let admission = Arc::new(Admission::new(&Limits { deciding_max: 1, ..Limits::default() }));
    let busy = admission.enter(&subject("t", "x"), &clock, Duration::from_secs(1)).await.unwrap();
    let order = Arc::new(std::sync::Mutex::new(Vec::new()));
    let mut waiting = tokio::task::JoinSet::new();
    for (tenant, principal) in [("t", "x"), ("t", "x"), ("t", "x"), ("t", "y"), ("u", "z"), ("u", "z")] {
        let (admission, clock, order) = (Arc::clone(&admission), clock.clone(), Arc::clone(&order));
        waiting.spawn(async move {
            let place = admission.enter(&subject(tenant, principal), &clock, Duration::from_secs(1)).await.unwrap();
            order.lock().unwrap().push(principal);
            drop(place);
        });
        tokio::task::yield_now().await;
    }
    drop(busy);
    while waiting.join_next().await.is_some() {}
    assert_eq!(*order.lock().unwrap(), ["x", "z", "y", "z", "x", "x"]);
}

#[tokio::test]
async fn whoever_waits_too_long_leaves_the_queue_to_the_others() {
    let (clock, hands) = Clock::manual(Time::from_micros(0));
    let admission = Admission::new(&Limits { deciding_max: 1, ..Limits::default() });
    let (one, two) = (subject("t", "x"), subject("t", "y"));
    let busy = admission.enter(&one, &clock, Duration::from_secs(1)).await.unwrap();
    let impatient = admission.enter(&one, &clock, Duration::from_secs(1));
    let patient = admission.enter(&two, &clock, Duration::from_secs(60));
    let (impatient, patient, ()) = tokio::join!(impatient, patient, async {
        hands.advance(Duration::from_secs(2));
        tokio::task::yield_now().await;
        drop(busy);
    });
    assert!(matches!(impatient, Err(Undecided::Expired)));
    drop(patient.unwrap());
    assert_eq!(admission.in_flight(), 0);
}
