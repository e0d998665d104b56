//! Stories about what is personal: it is decided on, and it is not recorded.

use super::super::report::Reporter;
use super::{Question, Scene, Undecided};
use crate::clock::Clock;
use crate::config::{self, Limits};
use crate::journal::{Journal, Memory};
use agentgate_core::approval::{Order, shown_digest};
use agentgate_core::id::{Epoch, SpiffeId};
use agentgate_core::pii::Pii;
use agentgate_core::time::Time;
use agentgate_proto::facts::{Case, NotAgain};
use agentgate_proto::v1;
use bytes::Bytes;
use prost::Message as _;
use std::sync::Arc;

const PLAIN: [&str; 3] = ["anna@mail.example", "anna%40mail.example", "4111111111111111"];
const ARGUMENTS: &str = r#"{"to":"anna@mail.example","card":4111111111111111,"title":"x"}"#;

async fn scene(pii: Pii) -> Scene {
    on(Arc::new(Memory::new()), pii).await
}

async fn on(journal: Arc<dyn Journal>, pii: Pii) -> Scene {
    let (clock, hands) = Clock::manual(Time::from_micros(1_000_000));
    let privacy = config::Privacy { pii: Pii::Off, tenants: [("t".try_into().unwrap(), pii)].into() };
    Scene::after((Limits::default(), privacy), journal, clock, hands).await
}

impl Scene {
    async fn body_of(&self, question: &Question) -> (v1::DecisionRecord, v1::DecisionBody) {
        let found = self.decide.session.find(&question.call.digest()).await.unwrap().unwrap();
        (found.record, found.body.unwrap())
    }

    /// Every body that the journal has, opened.
    async fn opened(&self) -> Vec<Vec<u8>> {
        let mut opened = Vec::new();
        for record in self.journal.follow(0, 100).await.unwrap() {
            let what = v1::Record::decode(record.bytes).unwrap().what.unwrap();
            if let Some(reference) = what.body_ref() {
                opened.push(self.bodies.open_plain(reference).await.unwrap().unwrap().body.to_vec());
            }
        }
        opened
    }

    async fn report(&self, counter: u64, outcome: v1::Outcome) {
        let reporter = Reporter { filter: self.question(counter).filter, epoch: Epoch([1; 16]) };
        let entry = v1::Entry { counter, what: Some(v1::entry::What::Outcome(outcome)), reason: String::new() };
        assert!(self.decide.report(&reporter, entry).await);
    }

    async fn outcome_of(&self, counter: u64) -> (v1::OutcomeRecord, v1::OutcomeBody) {
        let found = self.decide.session.find(&self.question(counter).call.digest()).await.unwrap().unwrap();
        let shown = self.decide.session.show(&found.sequence.to_string()).await.unwrap();
        let event = shown.outcomes.into_iter().next().unwrap();
        (event.record.unwrap(), event.body.unwrap())
    }
}

fn holds(bytes: &[u8], words: &str) -> bool {
    bytes.windows(words.len()).any(|window| window == words.as_bytes())
}

fn reported() -> v1::Outcome {
    v1::Outcome {
        kind: v1::OutcomeKind::Failed.into(),
        detail: "no such user: anna@mail.example".into(),
        result_digest: Bytes::from_static(&[7; 32]),
        ..v1::Outcome::default()
    }
}

#[tokio::test]
async fn what_is_personal_is_on_no_record_and_the_same_ask_gets_the_recorded_answer() {
    for (pii, in_place) in [(Pii::Redact, "[redacted:email]"), (Pii::Tokenise, "[email:")] {
        let scene = scene(pii).await;
        let mut question = scene.call(1, "read_note", ARGUMENTS);
        question.ask.head.as_mut().unwrap().path = Bytes::from_static(b"/mcp?u=anna%40mail.example");
        question.ask.query_keys = vec!["u".into()];
        let first = scene.decide.decide(&question).await.unwrap();
        scene.report(1, reported()).await;
        for body in scene.opened().await {
            assert!(PLAIN.iter().all(|plain| !holds(&body, plain)), "{pii:?}: {}", String::from_utf8_lossy(&body));
        }
        let (record, body) = scene.body_of(&question).await;
        let ask = body.ask.clone().unwrap();
        assert!(holds(&ask.body, in_place) && holds(&ask.body, r#""title":"x""#), "{ask:?}");
        let counts: Vec<_> = body.altered.clone().unwrap().kinds.into_iter().map(|kind| (kind.kind, kind.count)).collect();
        assert_eq!(counts, [("email".to_owned(), 2), ("card".to_owned(), 1)]);
        // A guess is confirmed by nothing that is kept.
        let plain = on(Arc::new(Memory::new()), Pii::Off).await;
        plain.decide.decide(&question).await.unwrap();
        let (_, before) = plain.body_of(&question).await;
        assert!(before.altered.is_none() && before.call_digest.len() == 32 && before.call_digest != body.call_digest);
        let again = Case::of(Time::from_micros(1), &record, Some(&body), 10_000);
        assert!(matches!(again, Err(NotAgain::Altered(_))), "{again:?}");

        // The next life knows the ask by the journal alone.
        let next = scene.restarted().await;
        assert_eq!(next.decide.decide(&question).await.unwrap(), first);
        let mut other = scene.call(1, "read_note", &ARGUMENTS.replace("anna", "bert"));
        other.ask.head.clone_from(&question.ask.head);
        other.ask.query_keys.clone_from(&question.ask.query_keys);
        assert!(matches!(next.decide.decide(&other).await, Err(Undecided::Reused)));
    }
}

#[tokio::test]
async fn a_record_keeps_no_commitment_that_its_own_salt_opens() {
    let scene = scene(Pii::Redact).await;
    let question = scene.call(1, "read_note", ARGUMENTS);
    scene.decide.decide(&question).await.unwrap();
    let found = scene.decide.session.find(&question.call.digest()).await.unwrap().unwrap();
    assert!(!found.was_asked(question.request().as_bytes()), "who can open the body could try arguments");
    let tokens = scene.bodies.tokens("t").await.unwrap();
    assert!(found.was_asked(&tokens.keyed(question.request().as_bytes())));
    // The key erased, nobody can say any more.
    let key = scene.bodies.tokens_there("t").await.unwrap().unwrap();
    let purge = v1::PurgeRecord { tokens: crate::body::digest_bytes(&key), ..v1::PurgeRecord::default() };
    assert!(scene.bodies.erase_tokens(&purge).await.unwrap());
    let next = scene.restarted().await;
    assert!(matches!(next.decide.decide(&question).await, Err(Undecided::Reused)));
}

#[tokio::test]
async fn what_has_nothing_personal_is_recorded_as_it_is() {
    let scene = scene(Pii::Tokenise).await;
    let question = scene.question(1);
    scene.decide.decide(&question).await.unwrap();
    let (record, body) = scene.body_of(&question).await;
    assert_eq!((&body.altered, body.ask.as_ref()), (&None, Some(&question.ask)));
    assert!(Case::of(Time::from_micros(1), &record, Some(&body), 10_000).is_ok());
}

#[tokio::test]
async fn an_approver_sees_the_call_and_its_grant_is_for_that_call() {
    let scene = scene(Pii::Redact).await;
    let call = |counter| scene.call(counter, "add_note", r#"{"title":"x","text":"to anna@mail.example"}"#);
    let waits = scene.decide.decide(&call(1)).await.unwrap();
    assert_eq!(waits.verdict(), v1::Verdict::Pending);
    let shown = scene.approvals.show(&waits.approval).await.unwrap();
    assert!(holds(&shown.request, "anna@mail.example"), "an approver must see what he approves");
    let by = SpiffeId::try_from("spiffe://a/operator/me").unwrap();
    let order = Order { by, grant: true, seen: shown_digest(&shown.request) };
    scene.approvals.decide(&waits.approval, order, "because").await.unwrap();
    let other = scene.call(2, "add_note", r#"{"title":"x","text":"to bert@mail.example"}"#);
    assert_eq!(scene.decide.decide(&other).await.unwrap().verdict(), v1::Verdict::Pending);
    assert_eq!(scene.decide.decide(&call(3)).await.unwrap().verdict(), v1::Verdict::Allow);
    let (_, body) = scene.body_of(&call(3)).await;
    let grant = body.grant.unwrap();
    assert_eq!(grant.call_digest, body.call_digest);
    assert_ne!(grant.call_digest.as_ref(), [0; 32]);
}

#[tokio::test]
async fn an_outcome_keeps_no_digest_of_a_result_that_could_be_guessed() {
    let scene = scene(Pii::Tokenise).await;
    scene.decide.decide(&scene.question(1)).await.unwrap();
    scene.report(1, reported()).await;
    let (record, body) = scene.outcome_of(1).await;
    assert!(body.detail.starts_with("no such user: [email:"), "{body:?}");
    assert_eq!(body.result_digest.len(), 32);
    assert_ne!(body.result_digest, reported().result_digest);
    assert_eq!(record.result_commitment.len(), 32);
    assert_eq!(body.altered.unwrap().kinds.len(), 1);
}

#[tokio::test]
async fn without_the_tenants_key_a_call_is_refused_and_an_outcome_says_nothing() {
    let memory: Arc<dyn Journal> = Arc::new(Memory::new());
    let before = on(Arc::clone(&memory), Pii::Off).await;
    before.decide.decide(&before.question(1)).await.unwrap();
    let broken = before.bodies.tokens_slot("t");
    memory.set(broken, None, Some(Bytes::from_static(b"no key"))).await.unwrap();
    for pii in [Pii::Redact, Pii::Tokenise] {
        let scene = on(Arc::clone(&memory), pii).await;
        let head = memory.health().head;
        let refused = scene.decide.decide(&scene.call(2, "read_note", ARGUMENTS)).await;
        assert!(matches!(&refused, Err(Undecided::Privacy(why)) if why.contains("cannot be opened")), "{refused:?}");
        assert_eq!(memory.health().head, head, "nothing is on record");
    }
    let scene = on(Arc::clone(&memory), Pii::Redact).await;
    scene.report(1, reported()).await;
    let (record, body) = scene.outcome_of(1).await;
    assert_eq!(record.kind(), v1::OutcomeKind::Failed);
    let said = v1::OutcomeBody { altered: None, ..body.clone() };
    assert_eq!((said, body.altered.unwrap().left_out), (v1::OutcomeBody::default(), true));
}

#[tokio::test]
async fn a_handle_is_the_agents_to_choose_and_no_key_is_named_by_it() {
    let scene = scene(Pii::Tokenise).await;
    let mut question = scene.question(1);
    let session = v1::Header { name: Bytes::from_static(b"mcp-session-id"), value: Bytes::from_static(b"anna@mail.example") };
    question.ask.head.as_mut().unwrap().headers.push(session);
    scene.decide.decide(&question).await.unwrap();
    let (record, body) = scene.body_of(&question).await;
    assert!(body.handle.starts_with("[email:"), "{body:?}");
    let session = crate::body::SessionId::of(&record.body.unwrap()).unwrap();
    let whose = scene.bodies.whose(session).await.unwrap().unwrap();
    assert!(matches!(whose, crate::body::Scope::Calls { handle, .. } if handle == body.handle));
}
