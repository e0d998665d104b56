//! Stories about the past, on the memory journal and a manual clock.

mod bounds;
mod stories;

use super::facts::{Case, NotAgain};
use super::scan::Told;
use super::{Heeded, History, HistoryError, Rooms};
use crate::approval::Approvals;
use crate::body::{Bodies, Scope, Sealed};
use crate::calls::ask;
use crate::clock::{Clock, Manual};
use crate::config::{self, Config, Filter, Limits, PolicyFolder};
use crate::control::Control;
use crate::decide::{self, Decide, Decided, Question};
use crate::journal::{Change, Expected, Journal, Memory, Stream, Write};
use crate::policy::Policy;
use crate::privacy::Privacy;
use crate::quota::Quota;
use crate::session::{Session, body_of, parse};
use agentgate_core::approval::{Order, shown_digest};
use agentgate_core::digest::Digest;
use agentgate_core::id::{CallId, Epoch, SpiffeId};
use agentgate_core::kill::KillTarget;
use agentgate_core::time::Time;
use agentgate_proto::facts;
use agentgate_proto::v1;
use agentgate_proto::v1::record::What;
use bytes::Bytes;
use proptest::prelude::*;
use prost::Message;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

const SECOND_US: u64 = 1_000_000;
const NOTE: &str = r#"{"title":"x","text":"y"}"#;

struct Scene {
    history: Arc<History>,
    decide: Arc<Decide>,
    approvals: Arc<Approvals>,
    control: Arc<Control>,
    policy: Arc<Policy>,
    filter: Arc<Filter>,
    journal: Arc<Memory>,
    clock: Clock,
    hands: Arc<Manual>,
    leave: watch::Sender<bool>,
}

fn filter() -> Arc<Filter> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("control-plane.toml");
    let text = r#"
        [[filter]]
        identity = "spiffe://a/filter/x"
        tenant = "t"
        servers = ["notes", "other"]
        principal = "spiffe://a/agent/x"
    "#;
    std::fs::write(&file, text).unwrap();
    Arc::new(Config::read(&file).unwrap().filter.into_values().next().unwrap())
}

fn default_folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies/default")
}

fn operator() -> SpiffeId {
    SpiffeId::try_from("spiffe://a/operator/boss").unwrap()
}

// === impl Scene ===

impl Scene {
    async fn new() -> Self {
        let (clock, hands) = Clock::manual(Time::from_micros(100 * SECOND_US));
        let (memory, limits) = (Arc::new(Memory::new()), Limits::default());
        let journal = || Arc::clone(&memory) as Arc<dyn Journal>;
        let bodies = Bodies::over(journal()).await;
        let control = Arc::new(Control::open(Arc::clone(&bodies), clock.clone(), limits.clone()).await.unwrap());
        let folder = PolicyFolder { directory: default_folder(), poll: Duration::from_secs(1) };
        let policy = Arc::new(Policy::open(journal(), clock.clone(), folder, Arc::clone(&control)).await.unwrap());
        policy.try_folder().await;
        let waiting = (config::Approvals::default(), limits.clone());
        let approvals = Arc::new(Approvals::open(Arc::clone(&bodies), clock.clone(), waiting).await.unwrap());
        let session = Arc::new(Session::open(Arc::clone(&bodies), clock.clone(), limits.clone(), Vec::new()).await.unwrap());
        let rooms = decide::Rooms {
            heard: Arc::default(),
            control: Arc::clone(&control),
            policy: Arc::clone(&policy),
            approvals: Arc::clone(&approvals),
            session: Arc::clone(&session),
            bodies: Arc::clone(&bodies),
            privacy: Arc::new(Privacy::new(config::Privacy::default(), Arc::clone(&bodies))),
            quota: Arc::new(Quota::none(clock.clone())),
        };
        let decide = Arc::new(Decide::new(&limits, clock.clone(), rooms));
        let rooms = Rooms { heard: Arc::default(), control: Arc::clone(&control), policy: Arc::clone(&policy), session };
        let history = Arc::new(History::new(Arc::clone(&bodies), clock.clone(), limits, rooms));
        let (filter, leave) = (filter(), watch::Sender::new(false));
        Self { history, decide, approvals, control, policy, filter, journal: memory, clock, hands, leave }
    }

    async fn call(&self, counter: u64, tool: &str, arguments: &str) -> Decided {
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":{counter},"method":"tools/call","params":{{"name":"{tool}","arguments":{arguments}}}}}"#
        );
        self.say(counter, body, false).await
    }

    async fn say(&self, counter: u64, body: String, observe: bool) -> Decided {
        let ask = v1::Ask { observe, ..ask(counter, body) };
        let call = CallId { asker: self.filter.identity.clone(), epoch: Epoch([1; 16]), counter };
        let deadline = self.clock.elapsed() + Duration::from_secs(2);
        self.decide.decide(&Question::new(Arc::clone(&self.filter), call, ask, deadline)).await.unwrap()
    }

    async fn grant(&self, id: &str) {
        let shown = self.approvals.show(id).await.unwrap();
        let order = Order { by: operator(), grant: true, seen: shown_digest(&shown.request) };
        self.approvals.decide(id, order, "because").await.unwrap();
    }

    /// A record as it could be, with a body or without.
    async fn write(&self, at: Time, what: What, body: Option<Bytes>) -> u64 {
        let id = Digest::of("test", &self.journal.health().head.to_be_bytes());
        let stream = Stream(Digest::of("test", b"a subject"));
        let record = v1::Record { at_us: at.micros(), what: Some(what) }.encode_to_vec().into();
        let write = Write { stream, expected: Expected::Any, id, record };
        let change = Change { fence: None, writes: vec![write], bodies: body.into_iter().collect() };
        self.journal.append(change).await.unwrap().positions[0].sequence
    }

    async fn outcome(&self, decision: u64, kind: v1::OutcomeKind, tools: &[&'static str]) {
        let body = v1::OutcomeBody { tools: tools.iter().map(|tool| (*tool).into()).collect(), ..v1::OutcomeBody::default() };
        let sealed = self.sealed(&body).await;
        let outcome =
            v1::OutcomeRecord { decision, kind: kind.into(), body: Some(sealed.reference), ..v1::OutcomeRecord::default() };
        self.write(self.clock.now(), What::Outcome(outcome), Some(sealed.stored)).await;
    }

    async fn sealed(&self, body: &impl prost::Message) -> Sealed {
        self.history.bodies.seal(&Scope::Orders, self.clock.now()).await.unwrap().seal(body).unwrap()
    }

    /// All decisions on record, with their bodies.
    async fn decisions(&self) -> Vec<(Time, v1::DecisionRecord, v1::DecisionBody)> {
        let mut decisions = Vec::new();
        for record in self.journal.follow(0, u32::MAX).await.unwrap() {
            if let (at, What::Decision(decision)) = parse(&record).unwrap() {
                let body = body_of(&self.history.bodies, record.sequence, decision.body.as_ref()).await.unwrap();
                decisions.push((at, decision, body.unwrap()));
            }
        }
        decisions
    }

    async fn learned(&self, since: Time, server: &str) -> v1::LearnedTools {
        let request = v1::LearnToolsRequest { since_us: since.micros(), server: server.into() };
        done(self.history.learn(request, self.leave.subscribe()).unwrap()).await.unwrap()
    }

    async fn impact(&self, since: Time, candidate: Vec<v1::FileContent>) -> Result<v1::Impact, HistoryError> {
        self.asked(v1::ShowImpactRequest { since_us: since.micros(), candidate, ..v1::ShowImpactRequest::default() }).await
    }

    async fn asked(&self, request: v1::ShowImpactRequest) -> Result<v1::Impact, HistoryError> {
        done(self.history.impact(request, self.leave.subscribe()).unwrap()).await
    }
}

async fn done<T>(mut heeded: Heeded<T>) -> Result<T, HistoryError> {
    loop {
        match heeded.recv().await.expect("a scan ends with what it came to")? {
            Told::Progress(_) => {}
            Told::Done(done) => return Ok(done),
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Call { tool: &'static str, arguments: &'static str, observe: bool },
    Unreadable,
    GrantAll,
    Kill,
    Resume,
    Later,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let tool = prop::sample::select(vec!["read_note", "add_note", "send_note", "delete_note", "search_notes", "nobodys"]);
    let arguments =
        prop::sample::select(vec!["{}", NOTE, r#"{"id":1,"to":"a@example.com"}"#, r#"{"query":"secret"}"#, r#"{"Query":1}"#]);
    let call = (tool, arguments, any::<bool>());
    let call = call.prop_map(|(tool, arguments, observe)| Step::Call { tool, arguments, observe });
    let step = prop_oneof![
        8 => call,
        1 => Just(Step::Unreadable),
        2 => Just(Step::GrantAll),
        1 => Just(Step::Kill),
        2 => Just(Step::Resume),
        1 => Just(Step::Later),
    ];
    prop::collection::vec(step, 1..24)
}

impl Scene {
    async fn run(&self, counter: u64, step: &Step) {
        match step {
            Step::Call { tool, arguments, observe } => {
                let params = format!(r#"{{"name":"{tool}","arguments":{arguments}}}"#);
                let body = format!(r#"{{"jsonrpc":"2.0","id":{counter},"method":"tools/call","params":{params}}}"#);
                self.say(counter, body, *observe).await;
            }
            Step::Unreadable => drop(self.say(counter, "[]".into(), false).await),
            Step::GrantAll => {
                let waits = |approval: &v1::Approval| approval.state() == v1::ApprovalState::Pending;
                for approval in self.approvals.list(false).into_iter().filter(waits) {
                    self.grant(&approval.id).await;
                }
            }
            Step::Kill => drop(self.control.kill(KillTarget::Everything, "an incident", &operator()).await.unwrap()),
            Step::Resume => drop(self.control.resume(KillTarget::Everything, "over", &operator()).await.unwrap()),
            Step::Later => self.hands.advance(Duration::from_secs(400)),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn every_decision_settles_again_to_what_it_was(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let scene = Scene::new().await;
            for (counter, step) in (1..).zip(&steps) {
                scene.run(counter, step).await;
            }
            let policy = scene.policy.in_force(&scene.control.now());
            for (at, record, body) in scene.decisions().await {
                let case = Case::of(at, &record, Some(&body), &Limits::default()).unwrap();
                let again = case.settle(policy.as_deref()).unwrap();
                assert_eq!((v1::Verdict::from(again.verdict), again.rule.as_str()), (record.verdict(), body.rule.as_str()));
                assert_eq!(again.reason, body.reason);
                let used = record.approval_use() == v1::ApprovalUse::Used;
                assert_eq!(again.approval.is_some(), used, "a grant is used where it was");
            }
        });
    }
}

#[tokio::test]
async fn what_is_not_there_any_more_is_not_guessed() {
    let scene = Scene::new().await;
    scene.call(1, "add_note", NOTE).await;
    let (at, record, body) = scene.decisions().await.remove(0);
    let check = |record: &v1::DecisionRecord, body: Option<&v1::DecisionBody>| Case::of(at, record, body, &Limits::default());
    assert!(check(&record, Some(&body)).is_ok());
    assert!(matches!(check(&record, None), Err(NotAgain::Facts(facts::NotAgain::Erased))));
    let older = v1::DecisionRecord { settle_version: 1, ..record.clone() };
    assert!(matches!(check(&older, Some(&body)), Err(NotAgain::Facts(facts::NotAgain::Law { theirs: 1, .. }))));
    let nobody = v1::DecisionBody { principal: String::new(), ..body.clone() };
    assert!(matches!(check(&record, Some(&nobody)), Err(NotAgain::Facts(facts::NotAgain::Name(_)))));
    let no_call = v1::DecisionBody { ask: None, ..body.clone() };
    assert!(matches!(check(&record, Some(&no_call)), Err(NotAgain::Facts(facts::NotAgain::Record { what: "a call" }))));
    let half = v1::GrantFact { approval: Bytes::from_static(b"short"), ..v1::GrantFact::default() };
    let half = v1::DecisionBody { grant: Some(half), ..body };
    assert!(matches!(check(&record, Some(&half)), Err(NotAgain::Facts(facts::NotAgain::Record { what: "a digest" }))));
}
