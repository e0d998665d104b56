//! Stories about age: what a sweep purges, and what it leaves to others who were ahead of it.

use super::*;

#[tokio::test]
async fn what_is_older_than_it_may_get_is_purged_unless_it_is_held() {
    let config = config::Retention {
        days: 2,
        tenants: [("other".try_into().unwrap(), 4), ("ever".try_into().unwrap(), 0)].into(),
        ..config::Retention::default()
    };
    let (clock, hands) = Clock::manual(Time::from_micros(1_000_000_000));
    let scene = Scene::after(memory(), clock, hands, config).await;
    let [one, held, other, ever] = [("acme", "one"), ("acme", "held"), ("other", ""), ("ever", "")];
    let mut bodies = Vec::new();
    for (tenant, handle) in [one, held, other, ever] {
        bodies.push(scene.call(tenant, AGENT, handle).await);
    }
    let (hold, _) = scene.retention.place(&extent("acme", "", "held"), "a case", &me()).await.unwrap();
    let mut erased = Vec::new();
    assert_eq!(scene.retention.shown().outlook, None, "no sweep came to its end");
    let begun = scene.clock.now();
    for (passes, now_erased, next) in [
        (DAY * 3 - Duration::from_micros(1), &[][..], Some(DAY * 3)),
        (Duration::from_micros(1), &[0], Some(DAY * 5)),
        (DAY * 2, &[0, 2], None),
        (DAY * 1_000, &[0, 2], None),
    ] {
        scene.hands.advance(passes);
        assert!(scene.retention.sweep().await.unwrap());
        erased.clear();
        for (number, body) in bodies.iter().enumerate() {
            if scene.is_erased(body).await {
                erased.push(number);
            }
        }
        assert_eq!(erased, now_erased);
        let next_purge_us = next.map_or(0, |next| begun.micros() + crate::clock::micros(next));
        let outlook = v1::Outlook { swept_at_us: scene.clock.now().micros(), oldest_us: begun.micros(), next_purge_us };
        let shown = scene.retention.shown();
        assert_eq!((shown.days, shown.tenants.len(), shown.holds, shown.outlook), (2, 2, 1, Some(outlook)));
    }
    scene.retention.lift(hold, "over", &me()).await.unwrap();
    let head = scene.journal.health().head;
    scene.retention.sweep().await.unwrap();
    assert!(scene.is_erased(&bodies[1]).await && !scene.is_erased(&bodies[3]).await);
    assert_eq!(scene.journal.health().head, head + 2);
    scene.retention.sweep().await.unwrap();
    assert_eq!(scene.journal.health().head, head + 2, "with nothing to purge nothing is written");
    for (record, expected) in scene.journal.follow(head, 2).await.unwrap().into_iter().zip([(1, 0), (0, 1)]) {
        let Some(v1::record::What::Purge(purge)) = v1::Record::decode(record.bytes).unwrap().what else { panic!("no purge") };
        assert_eq!((purge.sessions.len(), purge.streams.len()), expected, "the key, and then what leads to nobody");
        assert_eq!((purge.cause(), purge.body), (v1::PurgeCause::Retention, None));
    }
}

#[tokio::test]
async fn what_is_held_or_purged_once_a_sweep_has_looked_is_not_purged_by_it() {
    for is_held in [true, false] {
        let inner: Arc<dyn Journal> = Arc::new(Memory::shared());
        let cut = Arc::new(Cut::after(Arc::clone(&inner), i64::MAX));
        let (clock, hands) = Clock::manual(Time::from_micros(1_000_000_000));
        let config = config::Retention { days: 1, ..config::Retention::default() };
        let scene = Scene::after(Arc::clone(&cut) as Arc<dyn Journal>, clock, hands, config).await;
        let (other, body) = (scene.again(&inner).await, scene.call("acme", AGENT, "one").await);
        scene.hands.advance(DAY * 3);
        let mut held = cut.hold_append();
        let retention = Arc::clone(&scene.retention);
        let sweeping = tokio::spawn(async move { retention.sweep().await });
        held.is_there().await;
        if is_held {
            other.retention.place(&extent("acme", "", "one"), "a case", &me()).await.unwrap();
        } else {
            assert!(other.purge(&of(extent("acme", "", "one"))).await.unwrap().finished);
        }
        let head = inner.health().head;
        held.go_on();
        let is_end = sweeping.await.unwrap().unwrap();
        assert_eq!((is_end, scene.retention.shown().outlook), (false, None), "what changed is looked at by the next sweep");
        assert_eq!((inner.health().head, other.is_erased(&body).await), (head, !is_held), "held: {is_held}");
        assert!(scene.retention.sweep().await.unwrap());
        let oldest_us = scene.retention.shown().outlook.unwrap().oldest_us;
        assert_eq!(oldest_us, if is_held { 1_000_000_000 } else { 0 }, "held: {is_held}");
    }
}

/// Words of that session as a record names them, and where they are kept.
async fn say(at: &Scene, id: Digest, stream: Stream, what: impl FnOnce(v1::BodyRef) -> v1::record::What) -> Digest {
    let (tenant, principal) = (Tenant::try_from("acme").unwrap(), AGENT.try_into().unwrap());
    let scope = Scope::Calls { tenant, principal, handle: String::new() };
    // Its own, though its day is over.
    let seal = at.retention.rooms.bodies.seal(&scope, Time::from_micros(1_000_000_000)).await.unwrap();
    let words = v1::ApprovalBody { reason: "the secret reason".into(), ..v1::ApprovalBody::default() };
    let sealed = seal.seal(&words).unwrap();
    let address = Digest::try_from(sealed.reference.address.as_ref()).unwrap();
    let record = v1::Record { at_us: at.clock.now().micros(), what: Some(what(sealed.reference)) }.encode_to_vec().into();
    let write = Write { stream, expected: Expected::Any, id, record };
    at.journal.append(Change { fence: None, writes: vec![write], bodies: vec![sealed.stored] }).await.unwrap();
    address
}

/// An approval may wait for a week, and its session's day is over long before.
#[tokio::test]
async fn what_an_approver_said_long_after_the_sessions_day_is_given_back_wherever_it_stands() {
    let approval = Digest::of("test", b"approval");
    let name = crate::body::digest_bytes(&approval);
    for between in [0, 1] {
        let (clock, hands) = Clock::manual(Time::from_micros(1_000_000_000));
        let config = config::Retention { days: 2, ..config::Retention::default() };
        let scene = Scene::after(memory(), clock, hands, config).await;
        let asks = |body| {
            let decision = v1::DecisionRecord { approval: name.clone(), body: Some(body), ..v1::DecisionRecord::default() };
            v1::record::What::Decision(decision)
        };
        let asked = say(&scene, Digest::of("test", b"call"), Stream(Digest::of("test", b"stream")), asks).await;
        scene.hands.advance(DAY * 3);
        for _ in 0..between {
            scene.call("other", AGENT, "").await;
        }
        let grants = |body| {
            let what = Some(v1::approval_record::What::Granted(v1::ApprovalGranted::default()));
            v1::record::What::Approval(v1::ApprovalRecord { approval: name.clone(), what, body: Some(body) })
        };
        let granted = say(&scene, crate::approval::step_ids(&approval)[2], Stream::approvals(), grants).await;
        assert!(scene.retention.sweep().await.unwrap());
        for address in [asked, granted] {
            assert_eq!(scene.journal.fetch(address).await, Ok(None), "{between} records stand between");
        }
    }
}
