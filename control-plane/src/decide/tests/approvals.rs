//! Stories about calls that wait for a person: asked for once, granted, passed once, and never otherwise.

use super::super::{Decided, Question, Undecided};
use super::{Scene, Shared, by_now};
use crate::approval::ApprovalError;
use crate::body::SessionId;
use crate::config::Limits;
use crate::journal::{Journal, Memory, Stream};
use crate::retention::Wanted;
use agentgate_core::approval::{Order, Refusal, shown_digest};
use agentgate_core::id::SpiffeId;
use agentgate_core::retention::Extent;
use agentgate_proto::v1::{self, ApprovalState, Verdict};
use bytes::Bytes;
use prost::Message;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

const NOTE: &str = r#"{"title":"x","text":"y"}"#;

fn order(by: &str, grant: bool, shown: &v1::Approval) -> Order {
    Order { by: SpiffeId::try_from(by).unwrap(), grant, seen: shown_digest(&shown.request) }
}

impl Scene {
    async fn add(&self, counter: u64, arguments: &str) -> Decided {
        self.decide.decide(&self.call(counter, "add_note", arguments)).await.unwrap()
    }

    async fn answer(&self, id: &str, by: &str, grant: bool) -> Result<v1::Approval, ApprovalError> {
        let shown = self.approvals.show(id).await.unwrap();
        self.approvals.decide(id, order(by, grant, &shown), "because").await
    }

    async fn granted(&self, id: &str) {
        let approval = self.answer(id, "spiffe://a/operator/boss", true).await.unwrap();
        assert_eq!(approval.state(), ApprovalState::Granted);
    }

    async fn state(&self, id: &str) -> ApprovalState {
        self.approvals.show(id).await.unwrap().state()
    }

    /// The same call, in a session of its own.
    fn of_another_session(&self, counter: u64) -> Question {
        let mut question = self.call(counter, "add_note", NOTE);
        let session = v1::Header { name: Bytes::from_static(b"mcp-session-id"), value: Bytes::from_static(b"another") };
        question.ask.head.as_mut().unwrap().headers.push(session);
        question
    }

    /// The decision of one call, as the journal has it.
    async fn on_record(&self, counter: u64) -> v1::DecisionRecord {
        let id = self.call(counter, "add_note", NOTE).call.digest();
        self.decide.session.find(&id).await.unwrap().unwrap().record
    }
}

async fn scene() -> Scene {
    Scene::on(Arc::new(Memory::new())).await
}

#[tokio::test]
async fn asking_again_gives_the_same_approval_and_other_arguments_another() {
    let scene = scene().await;
    let first = scene.add(1, NOTE).await;
    assert_eq!((first.verdict(), first.approval.len(), first.observed), (Verdict::Pending, 32, false));
    assert_eq!(scene.add(2, NOTE).await.approval, first.approval);
    // The order of keys is nobody's business.
    assert_eq!(scene.add(3, r#"{"text":"y","title":"x"}"#).await.approval, first.approval);
    assert_ne!(scene.add(4, r#"{"title":"x","text":"z"}"#).await.approval, first.approval);
    assert_eq!(scene.restarted().await.add(5, NOTE).await.approval, first.approval, "a restart forgets nobody");
    let uses: Vec<_> = [scene.on_record(1).await, scene.on_record(2).await].iter().map(|d| d.approval_use()).collect();
    assert_eq!(uses, [v1::ApprovalUse::Requested, v1::ApprovalUse::Waited]);
}

#[tokio::test]
async fn a_grant_lets_exactly_one_call_through_and_the_next_one_waits_anew() {
    let scene = scene().await;
    let asked = scene.add(1, NOTE).await;
    scene.granted(&asked.approval).await;
    assert_eq!(scene.add(2, r#"{"title":"x","text":"other"}"#).await.verdict(), Verdict::Pending, "bound to its arguments");
    let passed = scene.add(3, NOTE).await;
    assert_eq!((passed.verdict(), passed.rule.as_str()), (Verdict::Allow, "tool_gated"));
    assert_eq!(scene.on_record(3).await.approval_use(), v1::ApprovalUse::Used);
    let again = scene.add(4, NOTE).await;
    assert_eq!(again.verdict(), Verdict::Pending);
    assert_ne!(again.approval, asked.approval);
    let over = scene.approvals.show(&asked.approval).await.unwrap();
    assert_eq!((over.state(), over.used_by.as_str()), (ApprovalState::Used, scene.call(3, "x", "{}").call.to_string().as_str()));
}

#[tokio::test]
async fn of_many_retries_at_once_one_passes_though_the_disk_is_slow() {
    let shared = Shared::new(0);
    let scene = Scene::on(Arc::clone(&shared) as Arc<dyn Journal>).await;
    let asked = scene.add(1, NOTE).await;
    scene.granted(&asked.approval).await;
    shared.durable.send_replace(false);
    let mut retries = tokio::task::JoinSet::new();
    for counter in 2..10 {
        let (decide, question) = (Arc::clone(&scene.decide), scene.call(counter, "add_note", NOTE));
        retries.spawn(async move { decide.decide(&question).await.unwrap().verdict() });
        tokio::task::yield_now().await;
    }
    shared.durable.send_replace(true);
    let verdicts = retries.join_all().await;
    assert_eq!(verdicts.iter().filter(|verdict| **verdict == Verdict::Allow).count(), 1, "{verdicts:?}");
    assert_eq!(scene.approvals.list(false).len(), 1, "the others wait for one and the same");
}

#[tokio::test]
async fn a_grant_survives_a_restart_and_so_does_its_use() {
    let scene = scene().await;
    let asked = scene.add(1, NOTE).await;
    scene.granted(&asked.approval).await;
    let scene = scene.restarted().await;
    assert_eq!(scene.state(&asked.approval).await, ApprovalState::Granted);
    assert_eq!(scene.add(2, NOTE).await.verdict(), Verdict::Allow);
    let scene = scene.restarted().await;
    assert_eq!(scene.state(&asked.approval).await, ApprovalState::Used);
    assert_eq!(scene.add(3, NOTE).await.verdict(), Verdict::Pending);
}

/// Who asked and who passed may be of different sessions: the words of either go alone.
#[tokio::test]
async fn a_grant_stays_used_when_the_call_that_used_it_is_purged() {
    let one = scene().await;
    let asked = one.add(1, NOTE).await;
    one.granted(&asked.approval).await;
    let other = one.restarted().await;
    let passing = one.of_another_session(2);
    assert_eq!(one.decide.decide(&passing).await.unwrap().verdict(), Verdict::Allow);
    let body = one.on_record(2).await.body.unwrap();
    assert!(one.bodies.erase(SessionId::of(&body).unwrap()).await.unwrap());
    let restarted = one.restarted().await;
    other.approvals.look_again().await.unwrap();
    for (who, scene) in [("whoever saw it", &one), ("a replica that comes late", &other), ("the next life", &restarted)] {
        let approval = scene.approvals.show(&asked.approval).await.unwrap();
        assert_eq!(approval.state(), ApprovalState::Used, "{who}");
    }
    let again = restarted.add(3, NOTE).await;
    assert_eq!(again.verdict(), Verdict::Pending);
    assert_ne!(again.approval, asked.approval);
}

#[tokio::test]
async fn a_grant_is_used_though_the_call_that_used_it_is_purged_before_that_is_durable() {
    let shared = Shared::new(0);
    let one = Scene::on(Arc::clone(&shared) as Arc<dyn Journal>).await;
    let other = Scene::on(Arc::clone(&shared.memory) as Arc<dyn Journal>).await;
    let asked = one.add(1, NOTE).await;
    one.granted(&asked.approval).await;
    let passing = one.of_another_session(2);
    shared.durable.send_replace(false);
    let mut deciding = Box::pin(one.decide.decide(&passing));
    assert!(by_now(&mut deciding).await.is_none());
    let extent = Extent::new(None, None, "another".try_into().ok());
    let wanted = Wanted { extent, before: None, reason: "x".into() };
    let purged = other.retention().purge(&wanted, &"spiffe://a/operator/me".try_into().unwrap(), false).await.unwrap();
    assert_eq!(purged.sessions, 1);
    one.control.caught_up(shared.version(Stream::global()).await.unwrap()).await.unwrap();
    shared.durable.send_replace(true);
    assert_eq!(deciding.await.unwrap().verdict(), Verdict::Allow);
    assert_eq!(one.state(&asked.approval).await, ApprovalState::Used);
}

#[tokio::test]
async fn nobody_waits_for_an_approval_that_another_replica_purged() {
    for is_granted in [false, true] {
        let one = Scene::on(Arc::new(Memory::shared())).await;
        let asked = one.add(1, NOTE).await;
        if is_granted {
            one.granted(&asked.approval).await;
        }
        let other = one.restarted().await;
        super::purged::purge(&other).await;
        // The purge is on record, and this one has not carried it out.
        let orders = one.journal.version(Stream::global()).await.unwrap();
        one.control.caught_up(orders).await.unwrap();
        let again = one.add(2, NOTE).await;
        assert_eq!(again.verdict(), Verdict::Pending, "granted: {is_granted}");
        assert_ne!(again.approval, asked.approval, "granted: {is_granted}");
    }
}

#[tokio::test]
async fn two_processes_on_one_journal_let_one_call_through_by_one_grant() {
    let one = scene().await;
    let asked = one.add(1, NOTE).await;
    one.granted(&asked.approval).await;
    let two = one.restarted().await;
    assert_eq!(one.add(2, NOTE).await.verdict(), Verdict::Allow);
    // The other knows nothing of it: the journal does.
    assert_eq!(two.add(3, NOTE).await.verdict(), Verdict::Pending);
}

#[tokio::test]
async fn what_waits_too_long_lapses_on_both_sides_of_the_grant() {
    for (wait_s, state) in [(899, ApprovalState::Pending), (900, ApprovalState::Lapsed)] {
        let scene = scene().await;
        let asked = scene.add(1, NOTE).await;
        scene.hands.advance(Duration::from_secs(wait_s));
        assert_eq!(scene.state(&asked.approval).await, state, "{wait_s} s pending");
        let granted = scene.answer(&asked.approval, "spiffe://a/operator/boss", true).await;
        assert_eq!(granted.is_ok(), state == ApprovalState::Pending, "{granted:?}");
    }
    for (wait_s, verdict) in [(299, Verdict::Allow), (300, Verdict::Pending)] {
        let scene = scene().await;
        let asked = scene.add(1, NOTE).await;
        scene.granted(&asked.approval).await;
        scene.hands.advance(Duration::from_secs(wait_s));
        let answer = scene.add(2, NOTE).await;
        assert_eq!(answer.verdict(), verdict, "{wait_s} s unused");
        assert_eq!(answer.approval.is_empty(), verdict == Verdict::Allow);
        assert_ne!(answer.approval, asked.approval, "a lapsed one is not asked for again");
    }
}

#[tokio::test]
async fn a_denial_stands_for_a_while_and_nobody_grants_their_own() {
    let scene = scene().await;
    let asked = scene.add(1, NOTE).await;
    for own in ["spiffe://a/agent/x", "spiffe://a/filter/x"] {
        let refused = scene.answer(&asked.approval, own, true).await.unwrap_err();
        assert!(matches!(refused, ApprovalError::Refused(Refusal::Requester(_))), "{own}: {refused}");
    }
    let denied = scene.answer(&asked.approval, "spiffe://a/operator/boss", false).await.unwrap();
    assert_eq!(denied.state(), ApprovalState::Denied);
    let refused = scene.answer(&asked.approval, "spiffe://a/operator/boss", true).await.unwrap_err();
    assert!(matches!(refused, ApprovalError::Refused(Refusal::Over("denied"))), "{refused}");
    // Nobody is asked again about what was denied, however often the agent tries: not after a restart either.
    for (counter, scene) in [(2, &scene), (3, &scene.restarted().await)] {
        let told = scene.add(counter, NOTE).await;
        assert_eq!((told.verdict(), told.rule.as_str()), (Verdict::Deny, "gate.approval_denied"));
        assert!(told.reason.contains("because"), "in the approver's words: {}", told.reason);
        assert_eq!(scene.on_record(counter).await.approval_use(), v1::ApprovalUse::Refused);
        assert_eq!(scene.add(counter + 10, r#"{"title":"x","text":"z"}"#).await.verdict(), Verdict::Pending, "another call");
    }
    scene.hands.advance(Duration::from_secs(900));
    let again = scene.add(4, NOTE).await;
    assert_eq!(again.verdict(), Verdict::Pending);
    assert_ne!(again.approval, asked.approval);
}

#[tokio::test]
async fn an_approver_decides_about_exactly_what_was_shown() {
    let scene = scene().await;
    let note = r#"{"title":"\u202egnp.exe","text":"1.0"}"#;
    let asked = scene.add(1, note).await;
    let shown = scene.approvals.show(&asked.approval).await.unwrap();
    let request = v1::ApprovalRequest::decode(shown.request.clone()).unwrap();
    assert!(request.params.contains("\u{202e}gnp.exe"), "whole and as it is: {}", request.params);
    let listed = &scene.approvals.list(false)[0];
    for (seen, granted) in [(listed, false), (&shown, true)] {
        let decided = scene.approvals.decide(&asked.approval, order("spiffe://a/operator/boss", true, seen), "").await;
        assert_eq!(decided.is_ok(), granted, "{decided:?}");
    }
    let step = &scene.approvals.show(&asked.approval).await.unwrap().steps[0];
    assert_eq!(step.seen.as_ref(), shown_digest(&shown.request).as_bytes(), "the grant keeps it");
}

#[tokio::test]
async fn a_new_policy_voids_a_grant_only_when_it_denies_the_call() {
    for (tag, verdict, state) in [
        ("gated", Verdict::Allow, ApprovalState::Used),
        ("open", Verdict::Allow, ApprovalState::Granted),
        ("blocked", Verdict::Deny, ApprovalState::Voided),
    ] {
        let scene = scene().await;
        let asked = scene.add(1, NOTE).await;
        scene.granted(&asked.approval).await;
        scene.tag("add_note", tag).await;
        assert_eq!(scene.add(2, NOTE).await.verdict(), verdict, "{tag}");
        assert_eq!(scene.state(&asked.approval).await, state, "{tag}");
        scene.tag("add_note", "gated").await;
        let again = scene.add(3, NOTE).await.verdict();
        let wanted = if state == ApprovalState::Granted { Verdict::Allow } else { Verdict::Pending };
        assert_eq!(again, wanted, "{tag}, and gated again");
    }
}

impl Scene {
    /// Puts a policy into force that is the default one but for one tool's tag.
    async fn tag(&self, tool: &str, tag: &str) {
        let directory = tempfile::tempdir().unwrap();
        let default = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies/default");
        for folder in ["rego", "cases"] {
            fs::create_dir(directory.path().join(folder)).unwrap();
        }
        for file in ["rego/platform.rego", "rego/methods.rego", "cases/methods.yaml"] {
            fs::copy(default.join(file), directory.path().join(file)).unwrap();
        }
        fs::write(directory.path().join("tools.yaml"), format!("notes:\n  {tool}: {{ tag: {tag}, scope: write }}\n")).unwrap();
        self.policy.try_directory(directory.path().into()).await;
        assert_eq!(self.policy.refused(), None);
    }
}

#[tokio::test]
async fn a_kill_refuses_a_granted_call_and_leaves_the_grant() {
    let scene = scene().await;
    let asked = scene.add(1, NOTE).await;
    scene.granted(&asked.approval).await;
    let (everything, me) = (agentgate_core::kill::KillTarget::Everything, SpiffeId::try_from("spiffe://a/operator/me").unwrap());
    scene.control.kill(everything.clone(), "an incident", &me).await.unwrap();
    let refused = scene.add(2, NOTE).await;
    assert_eq!((refused.verdict(), refused.rule.as_str()), (Verdict::Deny, "gate.killed"));
    scene.control.resume(everything, "over", &me).await.unwrap();
    assert_eq!(scene.add(3, NOTE).await.verdict(), Verdict::Allow);
}

#[tokio::test]
async fn a_call_more_than_may_wait_is_refused_as_overloaded() {
    for (limits, max) in
        [(Limits { approvals_max: 2, ..Limits::default() }, 2), (Limits { approvals_per_subject_max: 3, ..Limits::default() }, 3)]
    {
        let scene = Scene::within(limits, Arc::new(Memory::new())).await;
        let note = |number: u64| format!(r#"{{"title":"x","text":"{number}"}}"#);
        let mut first = String::new();
        for number in 1..=max {
            let asked = scene.add(number.into(), &note(number.into())).await;
            assert_eq!(asked.verdict(), Verdict::Pending);
            first = asked.approval;
        }
        let one_more = scene.call(9, "add_note", &note(9));
        let refused = scene.decide.decide(&one_more).await;
        assert!(matches!(&refused, Err(Undecided::Overloaded { max: at, .. }) if *at == max), "{refused:?}");
        assert_eq!(scene.add(10, &note(u64::from(max))).await.approval, first, "what waits already needs no room");
        scene.answer(&first, "spiffe://a/operator/boss", false).await.unwrap();
        assert!(scene.decide.decide(&one_more).await.is_ok());
    }
}

#[tokio::test]
async fn a_journal_that_cannot_write_grants_nothing_and_uses_nothing_up() {
    let memory = Arc::new(Memory::new());
    let scene = Scene::on(Arc::clone(&memory) as Arc<dyn Journal>).await;
    let asked = scene.add(1, NOTE).await;
    memory.refuse(Some("the disk is full"));
    let refused = scene.answer(&asked.approval, "spiffe://a/operator/boss", true).await.unwrap_err();
    assert!(matches!(refused, ApprovalError::Journal(_)), "{refused}");
    memory.refuse(None);
    scene.granted(&asked.approval).await;
    memory.refuse(Some("the disk is full"));
    let refused = scene.decide.decide(&scene.call(2, "add_note", NOTE)).await;
    assert!(matches!(refused, Err(Undecided::Journal(_))), "{refused:?}");
    memory.refuse(None);
    assert_eq!(scene.add(3, NOTE).await.verdict(), Verdict::Allow, "the grant is still there");
}

#[tokio::test]
async fn an_approval_is_found_by_its_beginning() {
    let scene = scene().await;
    let asked = scene.add(1, NOTE).await;
    for (id, found) in [
        (asked.approval.as_str(), true),
        (&asked.approval[..4], true),
        (&asked.approval[..8].to_uppercase(), true),
        (&asked.approval[..3], false),
        ("zzzz", false),
        ("", false),
    ] {
        assert_eq!(scene.approvals.show(id).await.is_ok(), found, "{id}");
    }
    let absent = scene.approvals.show("00000000").await;
    assert!(matches!(absent, Err(ApprovalError::Absent(_))), "{absent:?}");
}

#[tokio::test]
async fn another_query_or_another_question_is_another_call() {
    let scene = scene().await;
    let with = |counter, path: &str, body: Option<&str>| {
        let mut question = scene.call(counter, "add_note", NOTE);
        question.ask.query_keys = vec!["workspace".into()];
        question.ask.head.as_mut().unwrap().path = path.to_owned().into();
        question.ask.body = body.map_or_else(|| question.ask.body.clone(), |body| body.to_owned().into());
        question
    };
    let dev = scene.decide.decide(&with(1, "/mcp?workspace=dev", None)).await.unwrap();
    scene.granted(&dev.approval).await;
    let shown = scene.approvals.show(&dev.approval).await.unwrap();
    let request = v1::ApprovalRequest::decode(shown.request).unwrap();
    assert_eq!(request.path, "/mcp?workspace=dev", "an approver sees it");
    let prod = scene.decide.decide(&with(2, "/mcp?workspace=prod", None)).await.unwrap();
    assert_eq!(prod.verdict(), Verdict::Pending);
    assert_eq!(scene.decide.decide(&with(3, "/mcp?workspace=dev", None)).await.unwrap().verdict(), Verdict::Allow);
}

#[tokio::test]
async fn a_clock_that_is_set_back_gives_nobody_more_time() {
    let scene = scene().await;
    let asked = scene.add(1, NOTE).await;
    scene.hands.advance(Duration::from_secs(900));
    // Something else happens after it lapsed; then somebody sets the clock back.
    scene.add(2, r#"{"title":"x","text":"later"}"#).await;
    scene.hands.set(agentgate_core::time::Time::from_micros(2_000_000));
    let granted = scene.answer(&asked.approval, "spiffe://a/operator/boss", true).await;
    assert!(matches!(granted, Err(ApprovalError::Refused(Refusal::Over("lapsed")))), "{granted:?}");
}
