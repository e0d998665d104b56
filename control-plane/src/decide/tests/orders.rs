//! Stories about what is ordered: kills are obeyed by every decision after them, and what is only observed is not enforced.

use super::super::report::Reporter;
use super::Scene;
use crate::journal::Memory;
use agentgate_core::id::{Epoch, Server, SpiffeId};
use agentgate_core::kill::KillTarget;
use agentgate_core::mode::Mode;
use agentgate_proto::v1::{self, Verdict};
use std::sync::Arc;

fn me() -> SpiffeId {
    SpiffeId::try_from("spiffe://a/operator/me").unwrap()
}

fn notes() -> Server {
    Server::try_from("notes").unwrap()
}

async fn scene() -> Scene {
    Scene::on(Arc::new(Memory::new())).await
}

impl Scene {
    /// What a call of a tool is answered, on a route that observes or not.
    async fn asked(&self, counter: u64, tool: &str, observe: bool) -> (Verdict, bool) {
        let mut question = self.call(counter, tool, "{}");
        question.ask.observe = observe;
        let decided = self.decide.decide(&question).await.unwrap();
        (decided.verdict(), decided.observed)
    }

    async fn record(&self, counter: u64) -> v1::DecisionRecord {
        let id = self.call(counter, "", "{}").call.digest();
        self.decide.session.find(&id).await.unwrap().unwrap().record
    }

    async fn reported(&self, what: v1::entry::What, counter: u64, reason: &str) -> bool {
        let reporter = Reporter { filter: self.call(counter, "", "{}").filter, epoch: Epoch([1; 16]) };
        let entry = v1::Entry { counter, what: Some(what), reason: reason.into() };
        self.decide.report(&reporter, entry).await
    }
}

#[tokio::test]
async fn a_kill_is_obeyed_by_the_next_decision_and_by_the_next_life() {
    let scene = scene().await;
    assert_eq!(scene.asked(1, "read_note", false).await, (Verdict::Allow, false));
    let target = KillTarget::Tool { server: notes(), tool: Some("read_note".into()) };
    scene.control.kill(target.clone(), "an incident", &me()).await.unwrap();
    for (counter, scene) in [(2, &scene), (3, &scene.restarted().await)] {
        assert_eq!(scene.asked(counter, "read_note", false).await, (Verdict::Deny, false));
        assert_eq!(scene.record(counter).await.step, "killed");
        assert_eq!(scene.asked(counter + 10, "list_notes", false).await, (Verdict::Allow, false));
    }
    scene.control.resume(target, "over", &me()).await.unwrap();
    assert_eq!(scene.asked(4, "read_note", false).await, (Verdict::Allow, false));
}

#[tokio::test]
async fn an_order_counts_more_than_what_the_route_says() {
    // Ordered for the server, ordered for the tool, the route observes; the verdict goes unobeyed.
    for (server, tool, route, observed) in [
        (None, None, true, true),
        (None, None, false, false),
        (Some(Mode::Enforce), None, true, false),
        (Some(Mode::Observe), None, false, true),
        (Some(Mode::Observe), Some(Mode::Enforce), true, false),
        (Some(Mode::Enforce), Some(Mode::Observe), false, true),
    ] {
        let scene = scene().await;
        scene.control.set_mode(notes(), None, server, "", &me()).await.unwrap();
        scene.control.set_mode(notes(), Some("delete_note".into()), tool, "", &me()).await.unwrap();
        let answer = scene.asked(1, "delete_note", route).await;
        assert_eq!(answer, (Verdict::Deny, observed), "{server:?} {tool:?} {route}");
        assert_eq!(scene.record(1).await.enforced, !observed);
    }
}

#[tokio::test]
async fn a_kill_is_enforced_on_a_route_that_observes() {
    let scene = scene().await;
    scene.control.kill(KillTarget::Everything, "an incident", &me()).await.unwrap();
    assert_eq!(scene.asked(1, "read_note", true).await, (Verdict::Deny, false));
}

#[tokio::test]
async fn what_is_observed_asks_for_no_approval_and_uses_none_up() {
    let scene = scene().await;
    assert_eq!(scene.asked(1, "add_note", true).await, (Verdict::Pending, true));
    assert!(scene.approvals.list(true).is_empty());
    assert!(scene.record(1).await.approval.is_empty());
}

#[tokio::test]
async fn an_observed_call_is_decided_recorded_and_ends_like_any_other() {
    let scene = scene().await;
    for (counter, tool, verdict) in
        [(1, "read_note", Verdict::Allow), (2, "add_note", Verdict::Pending), (3, "delete_note", Verdict::Deny)]
    {
        let ask = scene.call(counter, tool, "{}").ask;
        // However often it is reported.
        for _ in 0..2 {
            assert!(scene.reported(v1::entry::What::Observed(ask.clone()), counter, "").await);
        }
        let record = scene.record(counter).await;
        assert_eq!((record.verdict(), record.enforced), (verdict, false), "{tool}");
        let outcome = v1::Outcome { kind: v1::OutcomeKind::Completed.into(), duration_us: 5, ..v1::Outcome::default() };
        assert!(scene.reported(v1::entry::What::Outcome(outcome), counter, "").await);
        let shown = scene.decide.session.show(&record_id(&scene, counter)).await.unwrap();
        assert_eq!(shown.outcomes.len(), 1, "{tool}");
        assert!(shown.trace.unwrap().observed);
    }
}

fn record_id(scene: &Scene, counter: u64) -> String {
    scene.call(counter, "", "{}").call.to_string()
}

#[tokio::test]
async fn an_unreadable_call_that_was_sent_on_is_on_record_as_such() {
    let scene = scene().await;
    let mut ask = scene.call(1, "read_note", "{}").ask;
    ask.body = bytes::Bytes::new();
    assert!(scene.reported(v1::entry::What::Observed(ask), 1, "body_too_large").await);
    let record = scene.record(1).await;
    assert_eq!((record.verdict(), record.enforced, record.step.as_str()), (Verdict::Deny, false, "malformed"));
}

#[tokio::test]
async fn a_call_whose_key_is_purged_by_another_replica_is_sealed_with_a_new_one() {
    let journal: Arc<dyn crate::journal::Journal> = Arc::new(Memory::shared());
    let (scene, other) = (Scene::on(Arc::clone(&journal)).await, Scene::on(journal).await);
    scene.asked(1, "read_note", false).await;
    let retention = other.retention();
    let of_everybody = crate::retention::Wanted {
        extent: agentgate_core::retention::Extent::new("t".try_into().ok(), None, None),
        before: None,
        reason: "x".into(),
    };
    let mut keys = vec![scene.record(1).await.body.unwrap().session];
    for counter in 2..=4 {
        assert_eq!(retention.purge(&of_everybody, &me(), false).await.unwrap().sessions, 1, "{counter}");
        // The key is at hand here still: the decision is fenced off, and folded again.
        assert_eq!(scene.asked(counter, "read_note", false).await, (Verdict::Allow, false));
        let found = |at: u64| {
            let (decide, id) = (Arc::clone(&scene.decide), scene.call(at, "", "{}").call.digest());
            async move { decide.session.find(&id).await.unwrap().unwrap() }
        };
        assert!(found(counter - 1).await.body.is_none(), "{counter}");
        assert!(found(counter).await.body.is_some(), "{counter}: its body is not lost");
        keys.push(scene.record(counter).await.body.unwrap().session);
    }
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 4);
}
