//! One life of a small world: replicas with their real rooms on one journal, filters that ask and ask again, approvers,
//! operators, clocks that jump, crashes. Everything that happens follows from the seed, on one thread and on clocks that only
//! move when the schedule moves them; the laws are looked at after each step.

mod old;

use crate::dice::Dice;
use crate::law::{Broken, Call, Law};
use crate::life::{Life, draw_anew, drawn, open};
use crate::port::{Depot, Fate, Mutation, now};
use crate::purges::{Acknowledged, TENANT};
use agentgate_control_plane::body::{Bodies, DataKey};
use agentgate_control_plane::clock::{Clock, Manual, micros};
use agentgate_control_plane::config::{Callers, Filter};
use agentgate_control_plane::decide::{Question, Reporter};
use agentgate_control_plane::journal::{Change, Expected, Journal, Sequence, Stream, Write};
use agentgate_control_plane::retention::{self, Wanted};
use agentgate_core::approval::{Order, shown_digest};
use agentgate_core::digest::Digest;
use agentgate_core::id::{CallId, Epoch, Principal, SpiffeId};
use agentgate_core::kill::KillTarget;
use agentgate_core::retention::Extent;
use agentgate_core::time::Time;
use agentgate_policies::{Bundle, ENGINE};
use agentgate_proto::v1::{self, Verdict};
use bytes::Bytes;
use old::Old;
use prost::Message;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinSet;

/// What is done before everything is let come to rest.
const STEPS: u32 = 160;

/// Rests that do not end: somebody goes on for ever.
const REST_MAX: u32 = 50_000;

/// Sessions of an agent; the first is of calls that carry no handle.
const HANDLES: [&str; 3] = ["", "one", "two"];

const START_US: u64 = 1_700_000_000_000_000;
const DEADLINE: Duration = Duration::from_secs(2);

struct Replica {
    clock: Clock,
    hands: Arc<Manual>,
    /// None: it is starting, or it is gone.
    life: Arc<Mutex<Option<Arc<Life>>>>,
    tasks: JoinSet<()>,
    is_up: bool,
    /// The most that its clock showed in this life.
    clock_us_max: u64,
}

/// What somebody was told.
enum Told {
    Decided(Asking, v1::Decided),
    Undecided(Asking),
    Reported(usize),
    Approved(String, bool),
    Ordered(u64),
    Purged(usize, Acknowledged),
}

/// A call on its way to a replica.
#[derive(Clone, Copy, Debug)]
struct Asking {
    call: usize,
    at: usize,
    /// The replica knew before that it was purged, and nobody else was asking.
    is_erased: bool,
}

struct Made {
    id: CallId,
    filter: Arc<Filter>,
    ask: v1::Ask,
    what: (usize, &'static str, u64),
    verdict: Option<(Verdict, String)>,
}

pub(crate) struct World {
    dice: Dice,
    depot: Arc<Depot>,
    policies: [v1::PolicyRecord; 2],
    replicas: Vec<Replica>,
    filters: Vec<Arc<Filter>>,
    calls: Vec<Made>,
    told: Arc<Mutex<Vec<Told>>>,
    law: Law,
    /// Reads the journal beside everybody; none: it is not new any more when somebody has to look.
    observer: Option<Bodies>,
    /// Who asks for what at which replica.
    asking: BTreeMap<(usize, usize), u32>,
    steps: Vec<String>,
    counter: u64,
    /// None: everything is kept for ever.
    old: Option<Old>,
}

/// How a world went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Went {
    pub(crate) records: u64,
    pub(crate) decisions: u64,
    pub(crate) allowed: u64,
    pub(crate) purges: u64,
    /// Of them, of what was over its age.
    pub(crate) swept: u64,
}

pub(crate) fn live(seed: u64, mutation: Option<Mutation>, bundles: &[Bundle; 2]) -> Result<Went, (Broken, Vec<String>)> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut world = World::new(seed, mutation, bundles);
        match world.run().await {
            Ok(went) => Ok(went),
            Err(broken) => Err((broken, std::mem::take(&mut world.steps))),
        }
    })
}

// === impl World ===

impl World {
    fn new(seed: u64, mutation: Option<Mutation>, bundles: &[Bundle; 2]) -> Self {
        draw_anew();
        let (mut dice, depot) = (Dice::new(seed), Depot::new(mutation));
        let policies = bundles.each_ref().map(|bundle| {
            let address = now(depot.memory.keep(Bytes::from(bundle.to_bytes()))).unwrap();
            let bytes = |digest: &Digest| Bytes::copy_from_slice(digest.as_bytes());
            v1::PolicyRecord { digest: bytes(&bundle.digest()), engine: ENGINE.into(), address: bytes(&address) }
        });
        let what = Some(v1::record::What::Policy(policies[0].clone()));
        let record = v1::Record { at_us: START_US, what }.encode_to_vec().into();
        let write = Write { stream: Stream::global(), expected: Expected::Exactly(0), id: Digest::of("sim", b"policy"), record };
        now(depot.memory.append(Change { fence: None, writes: vec![write], bodies: Vec::new() })).unwrap();
        let replicas = (0..=dice.below(4)).map(|_| Replica::new()).collect();
        let filters = ["x", "y"].map(|name| {
            let id = |text: String| SpiffeId::try_from(text.as_str()).unwrap();
            Arc::new(Filter {
                identity: id(format!("spiffe://a/filter/{name}")),
                tenant: TENANT.try_into().unwrap(),
                servers: ["notes".try_into().unwrap()].into(),
                callers: Callers::One(id(format!("spiffe://a/agent/{name}"))),
                users: None,
            })
        });
        let (calls, told, mut law, steps) = (Vec::new(), Arc::default(), Law::default(), Vec::new());
        let old = Old::drawn(seed, mutation, &mut law.purges.ages);
        let (filters, observer, asking) = (filters.into(), None, BTreeMap::new());
        Self { dice, depot, policies, replicas, filters, calls, told, law, observer, asking, steps, counter: 0, old }
    }

    async fn run(&mut self) -> Result<Went, Broken> {
        for replica in 0..self.replicas.len() {
            self.start(replica);
        }
        // Most worlds begin at rest.
        if self.dice.below(4) > 0 {
            self.pump().await?;
        }
        for _ in 0..STEPS {
            self.step();
            self.get_old();
            self.settle().await;
            self.look().await?;
        }
        self.rest().await?;
        self.agree().await?;
        let allowed = self.law.decisions.values().filter(|(_, verdict)| *verdict == Verdict::Allow).count();
        let (decisions, allowed) = (self.law.decisions.len() as u64, allowed as u64);
        let (purges, swept) = (self.law.purges.count, self.law.purges.ages.swept);
        Ok(Went { records: self.law.cursor, decisions, allowed, purges, swept })
    }

    /// One thing that somebody does, or that happens to somebody.
    fn step(&mut self) {
        let replica = self.dice.below(self.replicas.len());
        match self.dice.below(100) {
            0..45 => (0..=self.dice.below(12)).for_each(|_| self.happen(true)),
            45..58 => self.ask(replica),
            58..65 => self.ask_again(replica),
            65..72 => self.report(replica),
            72..79 => self.approve(replica),
            79..83 => self.order(replica),
            83..85 => self.put_in_force(replica),
            85..91 => self.advance(1, 200),
            91..93 => self.advance(1_000, 90),
            93..94 => self.jump(replica),
            94..95 => self.sweep(replica),
            95..96 => self.hold(replica),
            96..97 => {
                let extent = self.extent();
                self.purge(replica, &extent);
                // Somebody else wants the same.
                if self.dice.below(2) == 0 {
                    let other = self.dice.below(self.replicas.len());
                    self.purge(other, &extent);
                }
            }
            97..99 => self.crash(replica),
            _ => self.start(replica),
        }
    }

    fn note(&mut self, step: impl std::fmt::Display) {
        self.steps.push(format!("{:>4}  {step}", self.depot.head()));
    }

    /// Something that was asked of the journal happens, or an answer of it arrives.
    fn happen(&mut self, faults: bool) {
        let (ready, replies) = (self.depot.ready(), self.depot.replies());
        let chosen = self.dice.below(ready.len() + replies);
        let Some(index) = ready.get(chosen) else {
            if replies > 0 {
                self.depot.reply(chosen - ready.len());
                self.note("a late answer arrives");
            }
            return;
        };
        let fate = match self.dice.below(if faults { 40 } else { 1 }) {
            1 => Fate::ReplyLost,
            2 => Fate::Lost,
            3 => Fate::Refused,
            _ => Fate::Answered,
        };
        let at_once = !faults || self.dice.below(10) < 7;
        let what = self.depot.name(*index);
        self.depot.happen(*index, fate, at_once);
        self.note(format!("{what}: {fate:?}{}", if at_once { "" } else { ", and its answer is late" }));
    }

    fn ask(&mut self, at: usize) {
        let subject = self.dice.below(self.filters.len());
        let tool = ["read_note", "add_note", "add_note"][self.dice.below(3)];
        let argument = self.dice.below(2) as u64;
        self.counter += 1;
        let (filter, counter) = (Arc::clone(&self.filters[subject]), self.counter);
        let epoch = Epoch([u8::try_from(self.dice.below(2)).unwrap(); 16]);
        let id = CallId { asker: filter.identity.clone(), epoch, counter };
        let (what, handle) = ((subject, tool, argument), HANDLES[self.dice.below(HANDLES.len())]);
        let principal = agent(subject);
        self.law.calls.insert(id.digest(), Call { what, principal, handle, asked_at: self.depot.head() });
        let ask = ask(counter, tool, argument, handle);
        self.calls.push(Made { id, filter, ask, what, verdict: None });
        self.send(self.calls.len() - 1, at);
    }

    fn ask_again(&mut self, at: usize) {
        if let Some(call) = self.dice.one_of(self.calls.len()) {
            self.send(call, at);
        }
    }

    fn send(&mut self, call: usize, at: usize) {
        let what = self.calls[call].what;
        self.note(format!("call {call} ({what:?}) is asked at {at}"));
        let made = &self.calls[call];
        let question = (Arc::clone(&made.filter), made.id.clone(), made.ask.clone());
        let (told, clock) = (Arc::clone(&self.told), self.replicas[at].clock.clone());
        let decision = self.law.decisions.get(&made.id.digest()).map(|(sequence, _)| *sequence);
        let Some(life) = self.replicas[at].life.lock().unwrap().clone() else { return };
        let under_way = self.asking.entry((at, call)).or_default();
        // What it does not know of as yet it knows soon: it follows.
        let knows = life.control.now().epochs.global == self.law.epoch && *under_way == 0;
        *under_way += 1;
        let asking = Asking {
            call,
            at,
            is_erased: knows && decision.is_some_and(|decision| self.law.purges.is_erased(decision, Sequence::MAX)),
        };
        self.at(at, |life| async move {
            let (filter, id, ask) = question;
            let answer = life.decide.decide(&Question::new(filter, id, ask, clock.elapsed() + DEADLINE)).await;
            told.lock().unwrap().push(answer.map_or(Told::Undecided(asking), |decided| Told::Decided(asking, decided)));
        });
    }

    fn report(&mut self, at: usize) {
        let allowed = |made: &Made| made.verdict.as_ref().is_some_and(|(verdict, _)| *verdict == Verdict::Allow);
        let allowed: Vec<usize> = (0..self.calls.len()).filter(|call| allowed(&self.calls[*call])).collect();
        let Some(call) = self.dice.one_of(allowed.len()).map(|index| allowed[index]) else { return };
        self.note(format!("call {call} is reported at {at}"));
        let made = &self.calls[call];
        let reporter = Reporter { filter: Arc::clone(&made.filter), epoch: made.id.epoch };
        let outcome = v1::Outcome { kind: v1::OutcomeKind::Completed.into(), duration_us: 7, ..v1::Outcome::default() };
        let what = Some(v1::entry::What::Outcome(outcome));
        let entry = v1::Entry { counter: made.id.counter, what, ..v1::Entry::default() };
        let told = Arc::clone(&self.told);
        self.at(at, |life| async move {
            if life.decide.report(&reporter, entry).await {
                told.lock().unwrap().push(Told::Reported(call));
            }
        });
    }

    fn approve(&mut self, at: usize) {
        let waits =
            self.calls.iter().filter_map(|made| made.verdict.as_ref()).filter(|(verdict, _)| *verdict == Verdict::Pending);
        let waits: Vec<String> = waits.map(|(_, approval)| approval.clone()).collect();
        let Some(id) = self.dice.one_of(waits.len()).map(|index| waits[index].clone()) else { return };
        let grant = self.dice.below(4) > 0;
        self.note(format!("{id} is answered at {at}: {grant}"));
        let told = Arc::clone(&self.told);
        self.at(at, |life| async move {
            let by = SpiffeId::try_from("spiffe://a/operator/me").unwrap();
            let Ok(shown) = life.approvals.show(&id).await else { return };
            let order = Order { by, grant, seen: shown_digest(&shown.request) };
            if life.approvals.decide(&id, order, "because").await.is_ok() {
                told.lock().unwrap().push(Told::Approved(id, grant));
            }
        });
    }

    fn order(&mut self, at: usize) {
        let kill = self.dice.below(3) == 0;
        self.note(format!("{} at {at}", if kill { "a kill" } else { "a resume" }));
        let told = Arc::clone(&self.told);
        self.at(at, |life| async move {
            let by = SpiffeId::try_from("spiffe://a/operator/me").unwrap();
            let target = KillTarget::Everything;
            let ack = if kill { life.control.kill(target, "x", &by).await } else { life.control.resume(target, "x", &by).await };
            if let Ok(ack) = ack {
                told.lock().unwrap().push(Told::Ordered(ack.epoch));
            }
        });
    }

    fn put_in_force(&mut self, at: usize) {
        let policy = self.dice.below(2);
        self.note(format!("policy {policy} is put in force at {at}"));
        let (record, told) = (self.policies[policy].clone(), Arc::clone(&self.told));
        self.at(at, |life| async move {
            if let Ok(ack) = life.control.put_in_force(record).await {
                told.lock().unwrap().push(Told::Ordered(ack.epoch));
            }
        });
    }

    fn sweep(&mut self, at: usize) {
        self.note(format!("{at} sweeps"));
        self.at(at, |life| async move {
            life.decide.sweep(false).await;
            let _ = life.retention.sweep().await;
        });
    }

    /// Some of what is kept, by names.
    fn extent(&mut self) -> Extent {
        let (tenant, principal) = (TENANT.try_into().ok(), Some(agent(self.dice.below(self.filters.len()))));
        let extent = match self.dice.below(5) {
            0 => Extent::new(tenant, None, None),
            1 => Extent::new(None, None, HANDLES[1 + self.dice.below(2)].try_into().ok()),
            2 => Extent::new(None, principal, None),
            _ => Extent::new(tenant, principal, None),
        };
        extent.unwrap()
    }

    fn hold(&mut self, at: usize) {
        let (extent, lifts) = (self.extent(), self.dice.below(2) == 0);
        self.note(format!("{} at {at}", if lifts { "a hold is lifted".into() } else { format!("a hold of {extent}") }));
        let told = Arc::clone(&self.told);
        self.at(at, |life| async move {
            let by = SpiffeId::try_from("spiffe://a/operator/me").unwrap();
            let ack = if lifts {
                let Some(hold) = life.retention.holds().first().map(|hold| hold.hold) else { return };
                life.retention.lift(hold, "x", &by).await
            } else {
                life.retention.place(&extent, "x", &by).await.map(|(_, ack)| ack)
            };
            if let Ok(ack) = ack {
                told.lock().unwrap().push(Told::Ordered(ack.epoch));
            }
        });
    }

    fn purge(&mut self, at: usize, extent: &Extent) {
        self.note(format!("a purge of {extent} at {at}"));
        let (told, ordered_at, extent) = (Arc::clone(&self.told), self.depot.head(), extent.clone());
        self.at(at, |life| async move {
            let by = SpiffeId::try_from("spiffe://a/operator/me").unwrap();
            let wanted = Wanted { extent: Some(extent.clone()), before: None, reason: "x".into() };
            if let Ok(purged) = life.retention.purge(&wanted, &by, false).await {
                let retention::Purged { sessions, sequences, finished, .. } = purged;
                let acknowledged = Acknowledged { extent, ordered_at, sequences, sessions, finished };
                told.lock().unwrap().push(Told::Purged(at, acknowledged));
            }
        });
    }

    /// Time passes for everybody: less than so many of these milliseconds.
    fn advance(&mut self, unit_ms: u64, below: usize) {
        let span = Duration::from_millis(unit_ms * self.dice.below(below) as u64);
        self.pass(span);
    }

    fn pass(&mut self, span: Duration) {
        self.note(format!("{} ms pass", span.as_millis()));
        for replica in &mut self.replicas {
            replica.hands.advance(span);
            replica.look_at_clock();
        }
    }

    /// Somebody sets the wall clock of a replica.
    fn jump(&mut self, at: usize) {
        let by = Duration::from_secs(self.dice.below(240) as u64);
        let is_ahead = self.dice.below(2) == 0;
        self.set_clock(at, by, is_ahead);
    }

    fn set_clock(&mut self, at: usize, by: Duration, is_ahead: bool) {
        let (now_us, by_us) = (self.replicas[at].clock.now().micros(), micros(by));
        let to = if is_ahead { now_us + by_us } else { now_us - by_us };
        self.note(format!("the clock of {at} jumps from {now_us} to {to}"));
        self.replicas[at].hands.set(Time::from_micros(to));
        self.replicas[at].look_at_clock();
    }

    fn crash(&mut self, at: usize) {
        if self.replicas[at].is_up {
            let written = self.dice.below(3);
            self.note(format!("{at} crashes; {written} of its changes under way happen"));
            self.replicas[at].is_up = false;
            self.replicas[at].tasks = JoinSet::new();
            *self.replicas[at].life.lock().unwrap() = None;
            self.asking.retain(|(of, _), _| *of != at);
            self.depot.crash(at, written);
        }
    }

    fn start(&mut self, at: usize) {
        if self.replicas[at].is_up {
            return;
        }
        self.note(format!("{at} starts"));
        let days = self.old.as_ref().map_or(0, |old| old.days);
        let (depot, replica) = (Arc::clone(&self.depot), &mut self.replicas[at]);
        replica.is_up = true;
        replica.clock_us_max = replica.clock.now().micros();
        let (clock, place) = (replica.clock.clone(), Arc::clone(&replica.life));
        replica.tasks.spawn(async move {
            loop {
                // Whatever cannot be read at a start ends the process, and somebody starts it again.
                let Some((life, follow)) = open(Arc::clone(&depot), at, clock.clone(), days).await else { continue };
                let (cursor, retention) = (life.session.follow(), Arc::clone(&life.retention));
                *place.lock().unwrap() = Some(Arc::new(life));
                tokio::join!(follow.following(cursor), retention.keeping());
                return;
            }
        });
    }

    /// Somebody asks a replica for something; while it is not up, it is not there to be asked.
    fn at<F>(&mut self, at: usize, work: impl FnOnce(Arc<Life>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let replica = &mut self.replicas[at];
        let life = replica.life.lock().unwrap().clone();
        if let Some(life) = life {
            replica.tasks.spawn(work(life));
        }
    }

    /// Until everybody waits for something that has not happened.
    async fn settle(&mut self) {
        let progress = |world: &Self| world.depot.count.load(Ordering::Relaxed) + world.told.lock().unwrap().len() as u64;
        let (mut before, mut still) = (progress(self), 0);
        while still < 4 {
            tokio::task::yield_now().await;
            let after = progress(self);
            still = if after == before { still + 1 } else { 0 };
            before = after;
        }
        for replica in &mut self.replicas {
            while replica.tasks.try_join_next().is_some() {}
        }
    }

    /// Holds the laws against what is new.
    async fn look(&mut self) -> Result<(), Broken> {
        while self.depot.head() > self.law.cursor {
            let observer = self.observer.get_or_insert_with(|| reader(&self.depot));
            for record in now(self.depot.memory.follow(self.law.cursor, 100)).unwrap() {
                let sweeper = self.depot.swept_by(record.sequence).map(|at| &self.replicas[at]);
                self.law.read(&record, sweeper.map_or(0, |sweeper| sweeper.clock_us_max), observer)?;
            }
        }
        if let (Some(_), Some(observer)) = (&self.old, &self.observer) {
            self.law.purges.ages.see(&self.depot, observer);
        }
        self.law.purges.kept(&self.depot)?;
        let told: Vec<Told> = std::mem::take(&mut *self.told.lock().unwrap());
        for told in told {
            match told {
                Told::Decided(asking @ Asking { call, .. }, decided) => {
                    self.answered(asking);
                    self.note(format!("call {call} is answered: {:?} of record {}", decided.verdict(), decided.sequence));
                    self.law.answered(self.calls[call].id.digest(), &decided)?;
                    if asking.is_erased && decided.rule != "gate.erased" {
                        return Err(format!("call {call} was purged, and {} answers with words of it: {decided:?}", asking.at));
                    }
                    self.calls[call].verdict = Some((decided.verdict(), decided.approval));
                }
                Told::Undecided(asking) => {
                    self.answered(asking);
                    self.note(format!("call {} has no answer", asking.call));
                    if self.old.as_ref().is_some_and(|old| old.is_at_rest) {
                        return Err(format!("call {} has no answer, and nothing goes wrong", asking.call));
                    }
                }
                Told::Reported(call) => {
                    let id = self.calls[call].id.digest();
                    if !self.law.reported.contains_key(&id) {
                        return Err(format!("the report of call {call} was acknowledged and is on no record"));
                    }
                }
                Told::Approved(id, grant) => self.law.approved(&id, grant)?,
                Told::Ordered(epoch) if epoch > self.law.epoch => {
                    return Err(format!("an order was acknowledged at epoch {epoch}, and the journal is at {}", self.law.epoch));
                }
                Told::Ordered(_) => {}
                Told::Purged(at, acknowledged) => {
                    self.note(format!("{at} acknowledges {acknowledged:?}"));
                    self.law.purges.acknowledged(&acknowledged, &self.depot)?;
                    // It knows what was ordered before, and not what others order since.
                    let until = acknowledged.sequences.iter().max().copied().unwrap_or_default();
                    self.shown(at, until).await?;
                }
            }
        }
        Ok(())
    }

    fn answered(&mut self, Asking { call, at, .. }: Asking) {
        if let Some(under_way) = self.asking.get_mut(&(at, call)) {
            *under_way -= 1;
        }
    }

    /// What a replica has in its memory says nothing of what was purged.
    async fn shown(&self, at: usize, until: Sequence) -> Result<(), Broken> {
        let Some(life) = self.replicas[at].life.lock().unwrap().clone() else { return Ok(()) };
        let page_size = u32::try_from(self.law.decisions.len().max(1)).unwrap();
        let all = v1::ListTracesRequest { page_size, ..v1::ListTracesRequest::default() };
        let traces = life.session.list(&all).await.unwrap().traces;
        self.law.purges.shown(until, &traces, &life.approvals.list(true), &self.law.approvals())?;
        Ok(())
    }

    /// Whatever is under way comes to its end.
    async fn pump(&mut self) -> Result<(), Broken> {
        for _ in 0..REST_MAX {
            self.settle().await;
            self.look().await?;
            if self.depot.ready().is_empty() && self.depot.replies() == 0 {
                return Ok(());
            }
            self.happen(false);
        }
        Err("it never comes to rest".into())
    }

    /// Everybody is up, nothing goes wrong any longer, and time passes until nothing is left to do.
    async fn rest(&mut self) -> Result<(), Broken> {
        for round in 0..4 {
            for replica in 0..self.replicas.len() {
                self.start(replica);
            }
            self.pump().await?;
            if round == 0 {
                self.wait_until_old();
            }
            if round < 3 {
                self.pass(Duration::from_secs(600));
                self.settle().await;
                (0..self.replicas.len()).for_each(|replica| self.sweep(replica));
            }
            if round == 0 && self.old.as_ref().is_some_and(|old| old.is_called) {
                (0..self.replicas.len()).for_each(|replica| self.ask(replica));
            }
        }
        self.sweep_alone().await
    }

    /// At rest every replica knows the same, and it is what the journal says.
    async fn agree(&mut self) -> Result<(), Broken> {
        let law = &self.law;
        let allowed = law.decisions.iter().filter(|(_, (_, verdict))| *verdict == Verdict::Allow);
        let is_open = |call: &Digest| !law.reported.contains_key(call) && !law.unknown.contains_key(call);
        // Who called what was erased is known to nobody: nobody is waited for.
        let open = allowed.clone().find(|(call, (sequence, _))| is_open(call) && !law.purges.is_erased(*sequence, Sequence::MAX));
        if let Some((_, (sequence, _))) = open {
            return Err(format!("the call of record {sequence} has no outcome, and nobody waits for one"));
        }
        let wanted: BTreeMap<u64, v1::OutcomeKind> = law
            .decisions
            .iter()
            .map(|(call, (sequence, verdict))| {
                let kind = match (verdict, law.reported.contains_key(call)) {
                    (Verdict::Allow, true) => v1::OutcomeKind::Completed,
                    (Verdict::Allow, false) if is_open(call) => v1::OutcomeKind::Unspecified,
                    (Verdict::Allow, false) => v1::OutcomeKind::Unknown,
                    (Verdict::Unspecified | Verdict::Deny | Verdict::Pending, _) => v1::OutcomeKind::Unspecified,
                };
                (*sequence, kind)
            })
            .collect();
        let mut approvals = None;
        for (index, replica) in self.replicas.iter().enumerate() {
            let Some(life) = replica.life.lock().unwrap().clone() else { return Err(format!("{index} never starts")) };
            let epoch = life.control.now().epochs.global;
            if epoch != law.epoch {
                return Err(format!("{index} obeys epoch {epoch} of {}", law.epoch));
            }
            let page_size = u32::try_from(wanted.len().max(1)).unwrap();
            let listed = life.session.list(&v1::ListTracesRequest { page_size, ..v1::ListTracesRequest::default() }).await;
            let listed: BTreeMap<u64, v1::OutcomeKind> =
                listed.unwrap().traces.iter().map(|trace| (trace.sequence, trace.outcome())).collect();
            if listed != wanted {
                return Err(format!("{index} lists {listed:?}, and the journal says {wanted:?}"));
            }
            if !life.session.overdue(|_| true).is_empty() {
                return Err(format!("{index} waits for an outcome that is on record"));
            }
            let of = |approval: v1::Approval| (approval.id, approval.state);
            let known: BTreeMap<String, i32> = life.approvals.list(true).into_iter().map(of).collect();
            match &approvals {
                None => approvals = Some(known),
                Some(first) if *first != known => {
                    return Err(format!("{index} knows the approvals {known:?}, another {first:?}"));
                }
                Some(_) => {}
            }
            let unfinished = life.bodies.unfinished_purges();
            if unfinished > 0 {
                return Err(format!("{index} has {unfinished} purges to carry out, and does not"));
            }
            self.shown(index, Sequence::MAX).await?;
            law.purges.forgotten(&life.bodies).map_err(|broken| format!("{index}: {broken}"))?;
        }
        // Whoever read a hold before has its key at hand.
        law.purges.at_rest(&self.depot, &reader(&self.depot), self.replicas[0].clock.now().micros())
    }
}

// === impl Replica ===

impl Replica {
    fn new() -> Self {
        let (clock, hands) = Clock::manual(Time::from_micros(START_US));
        Self { clock, hands, life: Arc::default(), tasks: JoinSet::new(), is_up: false, clock_us_max: START_US }
    }

    fn look_at_clock(&mut self) {
        self.clock_us_max = self.clock_us_max.max(self.clock.now().micros());
    }
}

/// Reads what all replicas share.
fn reader(depot: &Depot) -> Bodies {
    let journal = Arc::clone(&depot.memory) as Arc<dyn Journal>;
    now(Box::pin(Bodies::open(journal, DataKey::new(&[1; 32]), drawn))).unwrap()
}

fn agent(subject: usize) -> Principal {
    ["spiffe://a/agent/x", "spiffe://a/agent/y"][subject].try_into().unwrap()
}

fn ask(counter: u64, tool: &str, argument: u64, session: &'static str) -> v1::Ask {
    let header = |name: &'static str, value: &'static str| v1::Header { name: name.into(), value: value.into() };
    let mut headers = vec![
        header("content-type", "application/json"),
        header("accept", "application/json, text/event-stream"),
        header("mcp-protocol-version", "2025-11-25"),
    ];
    headers.extend((!session.is_empty()).then(|| header("mcp-session-id", session)));
    // What is personal in it is altered on record.
    let arguments =
        if tool == "read_note" { format!(r#"{{"id":{argument}}}"#) } else { format!(r#"{{"title":"{argument}@b.example"}}"#) };
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":{counter},"method":"tools/call","params":{{"name":"{tool}","arguments":{arguments}}}}}"#
    );
    v1::Ask {
        counter,
        server: "notes".into(),
        head: Some(v1::Head { method: "POST".into(), path: "/mcp".into(), headers }),
        body: body.into(),
        versions: vec!["2025-11-25".into()],
        ..v1::Ask::default()
    }
}
