//! Stories about holds, purges and age, on the memory journal and a manual clock; and what a directory still tells afterwards.

mod cut;
mod held;
mod large;
mod pieces;
mod snapshot;
mod streams;
mod swept;
mod tokens;

use super::*;
use crate::body::{SESSION_KEY_US, SessionId};
use crate::clock::Manual;
use crate::config::Limits;
use crate::identity::Subject;
use crate::journal::{Change, Embedded, Expected, Journal, Memory, Settings, Stream, Write};
use crate::session::{Draft, Recorded};
use agentgate_core::id::{CallId, Epoch};
use agentgate_core::pii::Pii;
use cut::Cut;
use prost::Message as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const DAY: Duration = Duration::from_micros(SESSION_KEY_US);
const AGENT: &str = "spiffe://a/agent/x";

struct Scene {
    retention: Arc<Retention>,
    clock: Clock,
    hands: Arc<Manual>,
    journal: Arc<dyn Journal>,
    config: config::Retention,
}

// === impl Scene ===

impl Scene {
    async fn on(journal: Arc<dyn Journal>) -> Self {
        let (clock, hands) = Clock::manual(Time::from_micros(1_000_000_000));
        Self::after(journal, clock, hands, config::Retention::default()).await
    }

    /// The next life of the process, or another replica.
    async fn again(&self, journal: &Arc<dyn Journal>) -> Self {
        Self::after(Arc::clone(journal), self.clock.clone(), Arc::clone(&self.hands), self.config.clone()).await
    }

    async fn after(journal: Arc<dyn Journal>, clock: Clock, hands: Arc<Manual>, config: config::Retention) -> Self {
        Self::within(Limits::default(), journal, clock, hands, config).await
    }

    async fn within(
        limits: Limits,
        journal: Arc<dyn Journal>,
        clock: Clock,
        hands: Arc<Manual>,
        config: config::Retention,
    ) -> Self {
        let bodies = Bodies::over(Arc::clone(&journal)).await;
        let limits = Limits { holds_max: 3, ..limits };
        let control = Arc::new(Control::open(Arc::clone(&bodies), clock.clone(), limits.clone()).await.unwrap());
        let session = Session::open(Arc::clone(&bodies), clock.clone(), limits.clone(), Vec::new()).await.unwrap();
        let waiting = (config::Approvals::default(), limits);
        let approvals = Arc::new(Approvals::open(Arc::clone(&bodies), clock.clone(), waiting).await.unwrap());
        let altered = [("acme".try_into().unwrap(), Pii::Tokenise), ("empty".try_into().unwrap(), Pii::Redact)].into();
        let privacy = config::Privacy { pii: Pii::Off, tenants: altered };
        let privacy = Arc::new(Privacy::new(privacy, Arc::clone(&bodies)));
        let rooms = Rooms { bodies, control, session: Arc::new(session), approvals, privacy };
        let tenants = BTreeSet::from(["acme".try_into().unwrap(), "empty".try_into().unwrap()]);
        let retention = Arc::new(Retention::new(rooms, clock.clone(), config.clone(), tenants));
        Self { retention, clock, hands, journal, config }
    }

    /// A decision that is recorded as the room that decides does it.
    async fn call(&self, tenant: &str, principal: &str, handle: &str) -> v1::BodyRef {
        static COUNTER: AtomicU64 = AtomicU64::new(1);
        let counter = COUNTER.fetch_add(1, Ordering::Relaxed);
        let asker = agentgate_core::id::Asker::try_from("spiffe://a/filter/x").unwrap();
        let call = CallId { asker, epoch: Epoch([1; 16]), counter };
        let (tenant, principal) = (Tenant::try_from(tenant).unwrap(), principal.try_into().unwrap());
        let subject = Subject { tenant, principal };
        let scope =
            Scope::Calls { tenant: subject.tenant.clone(), principal: subject.principal.clone(), handle: handle.to_owned() };
        let Rooms { bodies, session, control, .. } = &self.retention.rooms;
        let epochs = control.now().epochs;
        let seal = bodies.seal(&scope, session.moment()).await.unwrap();
        let body = v1::DecisionBody {
            asker: call.asker.to_string(),
            epoch: Bytes::copy_from_slice(&call.epoch.0),
            ask: Some(v1::Ask { counter, ..v1::Ask::default() }),
            handle: handle.into(),
            reason: "the secret reason".into(),
            ..v1::DecisionBody::default()
        };
        let sealed = seal.seal(&body).unwrap();
        let mut record = v1::DecisionRecord {
            call_id: crate::body::digest_bytes(&call.digest()),
            request_commitment: sealed.commit(b"the secret reason"),
            enforced: true,
            body: Some(sealed.reference.clone()),
            ..v1::DecisionRecord::default()
        };
        record.set_verdict(v1::Verdict::Deny);
        let at = session.moment();
        let what = Some(v1::record::What::Decision(record.clone()));
        let encoded = v1::Record { at_us: at.micros(), what }.encode_to_vec().into();
        let turn = session.turn(&subject).await.unwrap();
        let stream = turn.stream();
        let draft =
            Draft { id: call.digest(), record: encoded, body: Some(sealed.stored), fence: Some(epochs), also: Vec::new() };
        let since = bodies.erasures();
        let sequence = turn.append(draft).await.unwrap().sequence;
        session.decided(&Recorded { sequence, at, stream, call, record, body }, since);
        sealed.reference
    }

    async fn is_erased(&self, body: &v1::BodyRef) -> bool {
        let said: Option<v1::DecisionBody> = self.retention.rooms.bodies.fetch(Some(body)).await.unwrap();
        assert!(said.iter().all(|said| said.reason == "the secret reason"));
        said.is_none()
    }

    /// Whether the journal still holds what leads from this name to its stream.
    async fn is_led_to(&self, tenant: &str, principal: &str) -> bool {
        let (tenant, principal) = (tenant.try_into().unwrap(), principal.try_into().unwrap());
        let slot = self.retention.rooms.bodies.stream_slot(&tenant, &principal);
        self.journal.slot(slot).await.unwrap().is_some()
    }

    async fn purge(&self, wanted: &Wanted) -> Result<Purged, RetentionError> {
        self.retention.purge(wanted, &me(), false).await
    }

    fn holds(&self) -> usize {
        self.retention.holds().len()
    }
}

fn me() -> SpiffeId {
    SpiffeId::try_from("spiffe://a/operator/me").unwrap()
}

fn extent(tenant: &str, principal: &str, session: &str) -> Extent {
    Extent::new(tenant.try_into().ok(), principal.try_into().ok(), session.try_into().ok()).unwrap()
}

fn of(extent: Extent) -> Wanted {
    Wanted { extent: Some(extent), before: None, reason: "they asked for it".into() }
}

fn memory() -> Arc<dyn Journal> {
    Arc::new(Memory::new())
}

fn session_of(body: &v1::BodyRef) -> String {
    SessionId::of(body).unwrap().to_string()
}

#[tokio::test]
async fn a_purge_erases_what_it_names_and_nothing_else_and_a_dry_run_nothing() {
    let calls = [("acme", AGENT, "one"), ("acme", AGENT, "two"), ("acme", "user:u@https://i", ""), ("other", AGENT, "three")];
    let late = |at: &Scene| at.clock.now();
    for (tenant, principal, session, before, erased) in [
        ("acme", "", "", None, &[0, 1, 2][..]),
        ("", "", "one", None, &[0]),
        ("", "", "HEX of 1", None, &[1]),
        ("acme", AGENT, "", None, &[0, 1]),
        ("", "user:u@https://i", "", None, &[2]),
        ("acme", AGENT, "three", None, &[]),
        ("nobody", "", "", None, &[]),
        ("", "", "", Some(SESSION_KEY_US), &[0, 1, 2, 3]),
        ("acme", "", "", Some(SESSION_KEY_US), &[0, 1, 2]),
        ("", "", "", Some(SESSION_KEY_US - 1), &[]),
    ] {
        let scene = Scene::on(memory()).await;
        let mut bodies = Vec::new();
        for (tenant, principal, handle) in calls {
            bodies.push(scene.call(tenant, principal, handle).await);
        }
        let session = if session == "HEX of 1" { session_of(&bodies[1]) } else { session.to_owned() };
        let before = before.map(|us| late(&scene).plus_micros(us));
        let extent = Extent::new(tenant.try_into().ok(), principal.try_into().ok(), session.as_str().try_into().ok());
        let wanted = Wanted { extent, before, reason: "x".into() };
        let head = scene.journal.health().head;
        let would = scene.retention.purge(&wanted, &me(), true).await.unwrap();
        assert_eq!((would.sessions, would.calls), (erased.len() as u64, erased.len() as u64), "{wanted:?}");
        assert_eq!(scene.journal.health().head, head, "a dry run writes nothing");
        let purged = scene.purge(&wanted).await.unwrap();
        assert_eq!(Purged { sequences: Vec::new(), ..purged.clone() }, would);
        // One record of the sessions, and one of whoever has none left.
        let is_forgotten = [&[0, 1][..], &[2], &[3]].iter().any(|of_one| of_one.iter().all(|call| erased.contains(call)));
        assert_eq!(purged.sequences.len(), usize::from(!erased.is_empty()) + usize::from(is_forgotten), "{wanted:?}");
        for scene in [&scene, &scene.again(&scene.journal).await] {
            for (number, body) in bodies.iter().enumerate() {
                assert_eq!(scene.is_erased(body).await, erased.contains(&number), "{number} by {wanted:?}");
                let address = Digest::try_from(body.address.as_ref()).unwrap();
                let is_kept = scene.journal.fetch(address).await.unwrap().is_some();
                assert_eq!(is_kept, !erased.contains(&number), "its bytes are given back");
            }
        }
        assert_eq!(scene.purge(&wanted).await.unwrap().sessions, 0, "there is nothing to do twice");
    }
}

#[tokio::test]
async fn an_order_that_could_mean_more_than_it_says_is_refused_before_anything_changes() {
    let scene = Scene::on(memory()).await;
    let bodies = [scene.call("acme", AGENT, "one").await, scene.call("other", AGENT, "one").await];
    let head = scene.journal.health().head;
    let nothing = Wanted { extent: None, before: None, reason: "x".into() };
    assert!(matches!(scene.purge(&nothing).await, Err(RetentionError::Malformed(_))));
    let silent = Wanted { reason: " ".into(), ..of(extent("acme", "", "")) };
    assert!(matches!(scene.purge(&silent).await, Err(RetentionError::Malformed(_))));
    let long = "x".repeat(1_025);
    let long = Wanted { reason: long, ..of(extent("acme", "", "")) };
    assert!(matches!(scene.purge(&long).await, Err(RetentionError::Order(OrderError::Malformed(_)))));
    for ambiguous in [extent("", AGENT, ""), extent("", "", "one")] {
        let told = scene.purge(&of(ambiguous.clone())).await;
        assert!(matches!(&told, Err(RetentionError::Tenants { count: 2, names }) if names == "acme, other"), "{told:?}");
        let told = scene.retention.place(&ambiguous, "x", &me()).await;
        assert!(matches!(&told, Err(RetentionError::Tenants { count: 2, .. })), "{told:?}");
    }
    for (unknown, expected) in [
        (extent("nobody", "", ""), "nobody is configured to call in the tenant `nobody`"),
        (extent("nobody", AGENT, ""), "nobody is configured to call in the tenant `nobody`"),
        (extent("", "spiffe://a/agent/y", ""), "nothing is kept of `spiffe://a/agent/y`"),
        (extent("acme", "", "four"), "nothing is kept of the session `four`"),
        (extent("acme", "user:[redacted:email]@https://i", ""), "no call has such a principal"),
    ] {
        let told = scene.retention.place(&unknown, "x", &me()).await.unwrap_err().to_string();
        assert!(told.contains(expected), "{told}");
    }
    assert!(matches!(scene.retention.lift(17, "x", &me()).await, Err(RetentionError::NoHold(17))));
    assert_eq!(scene.journal.health().head, head, "nothing was written");
    assert!(!scene.is_erased(&bodies[0]).await && !scene.is_erased(&bodies[1]).await);
}

#[tokio::test]
async fn what_is_held_is_not_purged_until_it_is_lifted_and_the_words_of_the_hold_are_erased_with_it() {
    for (held, purged, is_held) in [
        (extent("acme", "", ""), extent("", "", "one"), true),
        (extent("", "", "one"), extent("acme", "", ""), true),
        (extent("acme", AGENT, ""), extent("acme", "", ""), true),
        (extent("acme", AGENT, ""), extent("", "", "one"), true),
        (extent("", "user:u@https://i", ""), extent("", "", "one"), false),
        (extent("empty", "", ""), extent("acme", "", ""), false),
        (extent("empty", AGENT, ""), extent("acme", "", ""), false),
    ] {
        let scene = Scene::on(memory()).await;
        let body = scene.call("acme", AGENT, "one").await;
        scene.call("acme", "user:u@https://i", "two").await;
        let (hold, ack) = scene.retention.place(&held, "a case", &me()).await.unwrap();
        let again = scene.retention.place(&held, "another", &me()).await.unwrap();
        assert!(ack.changed && !again.1.changed && again.0 == hold, "the first hold stands");
        let next = scene.again(&scene.journal).await;
        assert_eq!((next.holds(), next.retention.holds()[0].reason.as_str()), (1, "a case"));
        let told = next.purge(&of(purged.clone())).await;
        if !is_held {
            assert!(told.is_ok() && next.is_erased(&body).await, "{held} and {purged}: {told:?}");
            continue;
        }
        let told = told.unwrap_err().to_string();
        assert!(told.starts_with(&format!("HELD: the hold {hold} covers ")), "{told}");
        let dry = next.retention.purge(&of(purged.clone()), &me(), true).await;
        assert!(matches!(dry, Err(RetentionError::Held { .. })), "{dry:?}");
        assert!(!next.is_erased(&body).await);
        assert!(next.retention.lift(hold, "over", &me()).await.unwrap().changed);
        assert_eq!((next.holds(), scene.again(&scene.journal).await.holds()), (0, 0));
        next.purge(&of(extent("acme", "", ""))).await.unwrap();
        assert!(next.is_erased(&body).await);
        let names_somebody = held.principal().is_some() || held.session().is_some();
        for record in scene.journal.read(Stream::global(), 0, 10).await.unwrap() {
            let what = v1::Record::decode(record.bytes).unwrap().what.unwrap();
            if let v1::record::What::Hold(hold) = what {
                let words: Option<v1::HoldBody> = next.retention.rooms.bodies.fetch(hold.body.as_ref()).await.unwrap();
                assert_eq!(words.is_none(), names_somebody, "{held}");
            }
        }
        // A hold that was lifted and cannot be read any more holds nothing.
        assert_eq!(scene.again(&scene.journal).await.holds(), 0);
    }
}

#[tokio::test]
async fn a_stale_replica_obeys_a_hold_and_goes_on_under_a_new_key_after_a_purge() {
    let journal: Arc<dyn Journal> = Arc::new(Memory::shared());
    let one = Scene::on(Arc::clone(&journal)).await;
    let other = one.again(&journal).await;
    let body = one.call("acme", AGENT, "one").await;
    let (hold, _) = one.retention.place(&extent("acme", "", ""), "a case", &me()).await.unwrap();
    let told = other.purge(&of(extent("acme", "", "one"))).await;
    assert!(matches!(told, Err(RetentionError::Held { hold: of, .. }) if of == hold), "{told:?}");
    other.retention.lift(hold, "over", &me()).await.unwrap();
    other.purge(&of(extent("acme", "", "one"))).await.unwrap();
    // The key is at hand here until the purge is heard of, and then it is not, though its slot could be read before.
    one.retention.rooms.control.caught_up(3).await.unwrap();
    assert!(one.is_erased(&body).await);
    let next = one.call("acme", AGENT, "one").await;
    assert!(session_of(&next) != session_of(&body) && !one.is_erased(&next).await && !other.is_erased(&next).await);
}

#[tokio::test]
async fn a_stale_replica_places_what_was_lifted_and_lifts_what_was_placed() {
    let journal: Arc<dyn Journal> = Arc::new(Memory::shared());
    let one = Scene::on(Arc::clone(&journal)).await;
    let body = one.call("acme", AGENT, "one").await;
    let other = one.again(&journal).await;
    let what = extent("acme", "", "one");
    let (hold, _) = one.retention.place(&what, "a case", &me()).await.unwrap();
    assert!(other.retention.lift(hold, "over", &me()).await.unwrap().changed, "it is in force");
    let (again, ack) = one.retention.place(&what, "the case again", &me()).await.unwrap();
    assert!(again != hold && ack.changed, "it was lifted");
    let told = one.again(&journal).await.purge(&of(what)).await;
    assert!(matches!(told, Err(RetentionError::Held { hold, .. }) if hold == again), "{told:?}");
    assert!(!one.is_erased(&body).await);
}

#[tokio::test]
async fn whoever_lists_calls_sees_no_name_of_a_purged_one() {
    let scene = Scene::on(memory()).await;
    let body = scene.call("acme", AGENT, "one").await;
    scene.call("acme", AGENT, "two").await;
    scene.purge(&of(extent("acme", "", "one"))).await.unwrap();
    for scene in [&scene, &scene.again(&scene.journal).await] {
        let filter = v1::TraceFilter::default();
        let request = v1::ListTracesRequest { filter: Some(filter), ..v1::ListTracesRequest::default() };
        let listed = scene.retention.rooms.session.list(&request).await.unwrap().traces;
        let erased: Vec<_> = listed.iter().filter(|call| call.session == session_of(&body)).collect();
        assert_eq!((listed.len(), erased.len()), (2, 1));
        assert_eq!((erased[0].principal.as_str(), erased[0].handle.as_str(), erased[0].reason.as_str()), ("", "", ""));
    }
}

#[tokio::test]
async fn a_purge_that_was_cut_anywhere_is_carried_out_by_the_next_life() {
    let (mut cut_after_record, mut cut_between_records) = (0, 0);
    for writes in 0.. {
        let inner = memory();
        let before = Scene::on(Arc::clone(&inner)).await;
        let bodies = [before.call("acme", AGENT, "one").await, before.call("acme", AGENT, "two").await];
        let kept = before.call("other", AGENT, "three").await;
        // The key that orders are sealed with is there, so that the first write of the purge is its record.
        let (hold, _) = before.retention.place(&extent("empty", "", ""), "x", &me()).await.unwrap();
        before.retention.lift(hold, "x", &me()).await.unwrap();
        let cut = Arc::new(Cut::after(Arc::clone(&inner), i64::MAX));
        let scene = before.again(&(Arc::clone(&cut) as Arc<dyn Journal>)).await;
        scene.retention.rooms.bodies.seal(&Scope::Orders, scene.clock.now()).await.unwrap();
        cut.left.store(writes, Ordering::SeqCst);
        let told = scene.purge(&of(extent("acme", "", ""))).await;
        let is_whole = matches!(&told, Ok(purged) if purged.finished);
        // On record or not: the one that was told and the next life say the same.
        let is_recorded = told.is_ok();
        assert_eq!(is_recorded, writes > 0, "{writes}: {told:?}");
        for body in &bodies {
            assert_eq!(scene.is_erased(body).await, is_recorded, "{writes}: nothing opens it once it is on record");
        }
        let all = v1::ListTracesRequest { page_size: 10, ..v1::ListTracesRequest::default() };
        let shown = scene.retention.rooms.session.list(&all).await.unwrap().traces;
        assert_eq!(shown.iter().any(|trace| trace.handle == "one"), !is_recorded, "{writes}: and nobody is shown it");
        let next = before.again(&inner).await;
        for body in &bodies {
            assert_eq!(next.is_erased(body).await, is_recorded, "{writes}: before it is carried out");
        }
        let unfinished = next.retention.rooms.bodies.unfinished_purges();
        assert!(unfinished <= usize::from(is_recorded && !is_whole), "{writes}");
        // Between its two records there is nothing to carry out: the sweep writes the second one.
        cut_between_records += usize::from(is_recorded && !is_whole && unfinished == 0);
        cut_after_record += unfinished;
        next.retention.carry_out().await.unwrap();
        assert!(next.retention.sweep().await.unwrap());
        assert_eq!(next.is_led_to("acme", AGENT).await, !is_recorded, "{writes}");
        assert!(next.is_led_to("other", AGENT).await);
        let last = before.again(&inner).await;
        assert_eq!(last.retention.rooms.bodies.unfinished_purges(), 0);
        for body in &bodies {
            assert_eq!(last.is_erased(body).await, is_recorded);
            let address = Digest::try_from(body.address.as_ref()).unwrap();
            assert_eq!(inner.fetch(address).await.unwrap().is_none(), is_recorded, "{writes}");
        }
        assert!(!last.is_erased(&kept).await);
        if is_whole {
            break;
        }
    }
    // Two keys, the bodies, and that it is done; then the slot that leads to the stream, and that that is done.
    assert!(cut_after_record >= 6 && cut_between_records == 1, "{cut_after_record} and {cut_between_records}");
}

#[tokio::test]
async fn a_session_is_held_and_purged_by_the_handle_that_its_agent_writes() {
    const HANDLE: &str = "bob@corp.example";
    // Whose calls there are, what is named, and what is kept by the hold and erased by the purge.
    let is = |done: &str| done == "done";
    for (tenants, tenant, handle, hold, purge) in [
        (vec!["acme"], "acme", HANDLE, "done", "done"),
        (vec!["acme"], "", HANDLE, "done", "done"),
        (vec!["acme"], "", "ann@corp.example", "nothing is kept", "0"),
        (vec!["acme"], "empty", HANDLE, "nothing is kept", "0"),
        (vec!["empty"], "empty", HANDLE, "done", "redacts such handles"),
        (vec!["empty"], "", HANDLE, "done", "redacts such handles"),
        // Where nothing is altered it is what it is.
        (vec!["other"], "", HANDLE, "done", "done"),
        (vec!["acme", "empty"], "", HANDLE, "it is of 2 tenants (acme, empty)", "it is of 2 tenants (acme, empty)"),
        (vec!["acme", "empty"], "acme", HANDLE, "done", "done"),
    ] {
        let what = format!("{tenants:?} {tenant} {handle}");
        let scene = Scene::on(memory()).await;
        for tenant in &tenants {
            let altering = scene.retention.rooms.privacy.recording(tenant).await.unwrap();
            let kept = altering.map_or(HANDLE.to_owned(), |altering| altering.handle(HANDLE));
            assert_eq!(kept == HANDLE, *tenant == "other", "{kept}");
            scene.call(tenant, AGENT, &kept).await;
        }
        let named = extent(tenant, "", handle);
        match scene.retention.place(&named, "a case", &me()).await {
            Ok((number, _)) => {
                let covered = scene.purge(&of(extent(tenants[0], AGENT, ""))).await;
                let is_held = matches!(covered, Err(RetentionError::Held { hold, .. }) if hold == number);
                assert!(is(hold) && is_held, "{what}: {covered:?}");
                scene.retention.lift(number, "it is over", &me()).await.unwrap();
            }
            Err(error) => assert!(error.to_string().contains(hold), "{what}: {error}"),
        }
        match scene.purge(&of(named)).await {
            Ok(purged) => assert_eq!(purged.sessions.to_string(), if is(purge) { "1" } else { purge }, "{what}"),
            Err(error) => assert!(error.to_string().contains(purge), "{what}: {error}"),
        }
    }
}

/// The agent wrote one handle all the time.
#[tokio::test]
async fn what_a_hold_names_is_held_and_a_purge_leaves_nothing_behind_though_privacy_was_changed_between_the_calls() {
    const PLAIN: &str = "bob@corp.example";
    const REDACTED: &str = "[redacted:email]";
    const TOKENISED: &str = "[email:abcdefghijklmnopabcd]";
    for (before, after, named) in [
        (PLAIN, TOKENISED, PLAIN),
        (PLAIN, REDACTED, PLAIN),
        (TOKENISED, PLAIN, TOKENISED),
        (REDACTED, PLAIN, REDACTED),
        (TOKENISED, REDACTED, TOKENISED),
    ] {
        let scene = Scene::on(memory()).await;
        let what = format!("{before}, then {after}");
        scene.call("other", AGENT, before).await;
        let (number, _) = scene.retention.place(&extent("other", "", named), "a case", &me()).await.unwrap();
        let later = scene.call("other", AGENT, after).await;
        let of_later = of(extent("", "", &SessionId::of(&later).unwrap().to_string()));
        let held = scene.purge(&of_later).await;
        assert!(matches!(held, Err(RetentionError::Held { hold, .. }) if hold == number), "{what}: {held:?}");
        scene.retention.lift(number, "it is over", &me()).await.unwrap();
        if named == PLAIN {
            let refused = scene.purge(&of(extent("other", "", PLAIN))).await.unwrap_err().to_string();
            assert!(refused.contains(after) && refused.contains("32 digits"), "{what}: {refused}");
            scene.purge(&of_later).await.unwrap();
        }
        assert_eq!(scene.purge(&of(extent("other", "", named))).await.unwrap().sessions, 1, "{what}");
    }
}

/// What a person is asked of a call, as the room of approvals records it.
async fn asks(at: &Scene, principal: &str) {
    let Rooms { bodies, .. } = &at.retention.rooms;
    let (tenant, principal) = (Tenant::try_from("acme").unwrap(), principal.try_into().unwrap());
    let request = v1::ApprovalRequest {
        tenant: "acme".into(),
        principal: AGENT.into(),
        asker: "spiffe://a/filter/x".into(),
        call_digest: crate::body::digest_bytes(&Digest::of("test", b"call")),
        reason: "the secret reason".into(),
        ..v1::ApprovalRequest::default()
    };
    let words = v1::ApprovalBody { request: request.encode_to_vec().into(), ..v1::ApprovalBody::default() };
    let seal = bodies.seal(&Scope::Calls { tenant, principal, handle: String::new() }, at.clock.now()).await.unwrap();
    let sealed = seal.seal(&words).unwrap();
    let expires_at_us = at.clock.now().micros() + SESSION_KEY_US;
    let what = v1::approval_record::What::Requested(v1::ApprovalRequested { expires_at_us, steps: 1, ..Default::default() });
    let id = Digest::of("test", b"approval");
    let approval = crate::body::digest_bytes(&id);
    let record = v1::ApprovalRecord { approval, what: Some(what), body: Some(sealed.reference) };
    let what = Some(v1::record::What::Approval(record));
    let record = v1::Record { at_us: at.clock.now().micros(), what }.encode_to_vec().into();
    let write = Write { stream: Stream::approvals(), expected: Expected::Any, id, record };
    at.journal.append(Change { fence: None, writes: vec![write], bodies: vec![sealed.stored] }).await.unwrap();
}

/// What was refused without a record each, as the room that decides counts it.
async fn floods(at: &Scene) {
    let (tenant, principal) = (Tenant::try_from("acme").unwrap(), AGENT.try_into().unwrap());
    let scope = Scope::Calls { tenant, principal, handle: String::new() };
    let words = v1::FloodBody { tenant: "acme".into(), principal: AGENT.into() };
    let seal = at.retention.rooms.bodies.seal(&scope, at.clock.now()).await.unwrap();
    let sealed = seal.seal(&words).unwrap();
    let flood = v1::FloodRecord { count: 2, body: Some(sealed.reference), ..v1::FloodRecord::default() };
    let record = v1::Record { at_us: at.clock.now().micros(), what: Some(v1::record::What::Flood(flood)) };
    let (stream, id, record) =
        (Stream(Digest::of("test", b"stream")), Digest::of("test", b"flood"), record.encode_to_vec().into());
    let write = Write { stream, expected: Expected::Any, id, record };
    at.journal.append(Change { fence: None, writes: vec![write], bodies: vec![sealed.stored] }).await.unwrap();
}

/// The words are read, and only then purged, wholly: order, keys and caches. What was read must not come into memory then.
#[tokio::test]
async fn what_is_purged_while_another_replica_reads_its_words_is_known_to_nobody() {
    let all = ["a call", "an approval", "a flood"].into_iter().flat_map(|what| [(what, false), (what, true)]);
    for (what, is_purged) in all {
        let one = Scene::on(memory()).await;
        let slow = Arc::new(Cut::after(Arc::clone(&one.journal), i64::MAX));
        let other = one.again(&(Arc::clone(&slow) as Arc<dyn Journal>)).await;
        let Rooms { session, approvals, .. } = other.retention.rooms.clone();
        let cursor = session.follow();
        match what {
            "a call" => drop(one.call("acme", AGENT, "the secret handle").await),
            "a flood" => floods(&one).await,
            _ => asks(&one, AGENT).await,
        }
        let record = one.journal.follow(cursor, 1).await.unwrap().remove(0);
        let mut held = slow.hold_fetch();
        let hearing = tokio::spawn({
            let (session, approvals) = (Arc::clone(&session), Arc::clone(&approvals));
            async move {
                let (at, what) = crate::session::parse(&record).unwrap();
                approvals.caught_up(u64::from(record.stream == Stream::approvals())).await.unwrap();
                session.heard(&record, at, what).await.unwrap();
            }
        });
        held.is_there().await;
        if is_purged {
            let purged = other.purge(&of(extent("acme", AGENT, ""))).await.unwrap();
            assert!(purged.finished && purged.sessions == 1, "{what}: {purged:?}");
        }
        held.go_on();
        hearing.await.unwrap();
        let known = format!("{session:?}{approvals:?}");
        let (secret, by_name) = match what {
            // It says nothing else of anybody.
            "a flood" => (AGENT, v1::TraceFilter { principal: AGENT.into(), ..v1::TraceFilter::default() }),
            _ => ("the secret", v1::TraceFilter { handle: "the secret handle".into(), ..v1::TraceFilter::default() }),
        };
        assert_eq!(known.contains(secret), !is_purged, "{what}");
        let request = v1::ListTracesRequest { page_size: 5, filter: Some(by_name), ..v1::ListTracesRequest::default() };
        let listed = session.list(&request).await.unwrap().traces.len();
        assert_eq!(listed, usize::from(what != "an approval" && !is_purged), "{what}");
        assert_eq!(approvals.list(true).len(), usize::from(what == "an approval" && !is_purged), "{what}");
    }
}

#[tokio::test]
async fn files_that_tell_of_calls_are_opened_by_nobody_after_a_purge_of_some() {
    for (named, is_forgotten) in [(extent("acme", "", ""), true), (extent("empty", "", ""), false)] {
        let scene = Scene::on(memory()).await;
        scene.call("acme", AGENT, "one").await;
        scene.retention.rooms.bodies.derived_cipher().await.unwrap();
        let key = async || scene.journal.slot(Digest::of("agentgate/slot/derived/1", b"")).await.unwrap();
        assert!(key().await.is_some());
        scene.purge(&of(named.clone())).await.unwrap();
        assert_eq!(key().await.is_none(), is_forgotten, "{named}");
    }
}

#[tokio::test]
async fn nothing_in_the_directory_could_confirm_a_guess_after_a_purge() {
    let directory = tempfile::tempdir().unwrap();
    let guesses = |session: &v1::BodyRef, wrapped: &Bytes| {
        let text = b"the secret reason".to_vec();
        let digests = ["agentgate/body/1", "agentgate/request/1", "agentgate/call/1"].map(|domain| Digest::of(domain, &text));
        let mut guesses: Vec<(&str, Vec<u8>)> =
            vec![("the text", text), ("the principal", AGENT.into()), ("the handle", "one-handle".into())];
        guesses.extend(digests.iter().map(|digest| ("a digest", digest.as_bytes().to_vec())));
        guesses.push(("the key", wrapped.to_vec()));
        (guesses, session.clone())
    };
    let (told, body) = {
        let journal: Arc<dyn Journal> = Arc::new(Embedded::open(Settings::new(directory.path().into())).unwrap());
        let scene = Scene::on(Arc::clone(&journal)).await;
        let body = scene.call("acme", AGENT, "one-handle").await;
        let slot = Digest::of("agentgate/slot/session/1", &body.session);
        let wrapped = journal.slot(slot).await.unwrap().unwrap();
        let (mut told, body) = guesses(&body, &wrapped);
        let (tenant, principal) = ("acme".try_into().unwrap(), AGENT.try_into().unwrap());
        let lead = scene.retention.rooms.bodies.stream_slot(&tenant, &principal);
        assert!(holds(directory.path(), lead.as_bytes()));
        told.push(("where its stream is found", lead.as_bytes().to_vec()));
        assert!(holds(directory.path(), &wrapped), "this search finds what is there");
        assert!(holds(directory.path(), &body.session));
        scene.purge(&of(extent("acme", "", ""))).await.unwrap();
        (told, body)
    };
    for (what, bytes) in told {
        assert!(!holds(directory.path(), &bytes), "{what}");
    }
    let journal: Arc<dyn Journal> = Arc::new(Embedded::open(Settings::new(directory.path().into())).unwrap());
    assert!(Scene::on(journal).await.is_erased(&body).await);
}

/// Whether some file below this folder holds these bytes.
fn holds(folder: &Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return holds(&path, bytes);
        }
        std::fs::read(&path).unwrap().windows(bytes.len()).any(|part| part == bytes)
    })
}
