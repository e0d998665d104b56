//! Stories about holds: where their words are, who obeys them, and how many there may be.

use super::*;

#[tokio::test]
async fn a_session_is_held_by_its_handle_as_it_was_altered_since_its_key_is_kept_under_that() {
    let scene = Scene::on(memory()).await;
    let body = scene.call("acme", AGENT, "run-[redacted:email]").await;
    scene.retention.place(&extent("", "", "run-[redacted:email]"), "a case", &me()).await.unwrap();
    let told = scene.purge(&of(extent("acme", AGENT, ""))).await;
    assert!(matches!(told, Err(RetentionError::Held { .. })), "{told:?}");
    assert!(!scene.is_erased(&body).await);
}

/// A hold's words are under the newest key of what it holds, and that may be one that another replica is making.
#[tokio::test]
async fn a_hold_can_be_read_though_keys_were_erased_while_its_own_was_made() {
    let inner: Arc<dyn Journal> = Arc::new(Memory::shared());
    let cut = Arc::new(Cut::after(Arc::clone(&inner), i64::MAX));
    let one = Scene::on(Arc::clone(&cut) as Arc<dyn Journal>).await;
    let other = one.again(&inner).await;
    let mut making = cut.hold_slot();
    let bodies = Arc::clone(&one.retention.rooms.bodies);
    let (tenant, principal) = (Tenant::try_from("acme").unwrap(), AGENT.try_into().unwrap());
    let scope = Scope::Calls { tenant, principal, handle: "one".into() };
    let sealing = tokio::spawn({
        let (bodies, now) = (Arc::clone(&bodies), one.clock.now());
        async move { bodies.seal(&scope, now).await.unwrap().session() }
    });
    making.is_there().await;
    let of_others = v1::PurgeRecord { sessions: vec![Bytes::from_static(&[7; 16])], ..v1::PurgeRecord::default() };
    bodies.purged(1_000, &of_others);
    let mut made = cut.hold_slot();
    making.go_on();
    made.is_there().await;
    let held = extent("acme", "", "one");
    other.retention.place(&held, "a case", &me()).await.unwrap();
    made.go_on();
    let session = sealing.await.unwrap();
    let hold = &one.again(&inner).await.retention.holds()[0];
    assert_eq!((hold.extent.clone(), hold.reason.as_str()), (Some(extent_to_wire(&held)), "a case"));
    assert!(bodies.seal_by(session).await.unwrap().is_some());
    let kept = bodies.kept(None).await.unwrap().0;
    assert_eq!(kept.iter().map(|kept| kept.session).collect::<Vec<_>>(), [session], "one key, and its calls go under it");
}

#[tokio::test]
async fn a_hold_that_nobody_can_read_holds_everything() {
    let scene = Scene::on(memory()).await;
    let body = scene.call("acme", AGENT, "one").await;
    let other = scene.call("acme", "spiffe://a/agent/y", "two").await;
    let (hold, _) = scene.retention.place(&extent("acme", "", "one"), "a case", &me()).await.unwrap();
    scene.retention.rooms.bodies.erase(SessionId::of(&body).unwrap()).await.unwrap();
    let next = scene.again(&scene.journal).await;
    assert_eq!(next.retention.holds()[0].extent, None);
    let told = next.purge(&of(extent("acme", "spiffe://a/agent/y", ""))).await;
    assert!(matches!(told, Err(RetentionError::Held { hold: of, .. }) if of == hold));
    next.retention.lift(hold, "it cannot be read", &me()).await.unwrap();
    next.purge(&of(extent("acme", "spiffe://a/agent/y", ""))).await.unwrap();
    assert!(next.is_erased(&other).await);
}

#[tokio::test]
async fn as_many_holds_as_may_be_are_in_force() {
    let scene = Scene::on(memory()).await;
    for tenant in ["acme", "empty"] {
        scene.retention.place(&extent(tenant, "", ""), "x", &me()).await.unwrap();
    }
    scene.retention.place(&extent("acme", AGENT, ""), "x", &me()).await.unwrap();
    let told = scene.retention.place(&extent("empty", AGENT, ""), "x", &me()).await;
    assert!(matches!(told, Err(RetentionError::Order(OrderError::Crowded { max: 3, .. }))), "{told:?}");
}

#[tokio::test]
async fn of_a_hold_and_a_purge_at_two_replicas_one_is_first() {
    let (mut held_first, mut purged_first) = (0, 0);
    for round in 0..40 {
        let journal: Arc<dyn Journal> = Arc::new(Memory::shared());
        let one = Scene::on(Arc::clone(&journal)).await;
        let body = one.call("acme", AGENT, "one").await;
        let other = one.again(&journal).await;
        let what = extent("acme", "", "one");
        let wanted = of(what.clone());
        let hold = async {
            // Now one is ahead, now the other.
            for _ in 0..round {
                tokio::task::yield_now().await;
            }
            one.retention.place(&what, "a case", &me()).await
        };
        let (hold, purge) = tokio::join!(hold, other.purge(&wanted));
        let next = one.again(&journal).await;
        next.retention.carry_out().await.unwrap();
        match (hold, purge) {
            (Ok(_), Err(RetentionError::Held { .. })) => {
                held_first += 1;
                assert!(!next.is_erased(&body).await && next.holds() == 1);
            }
            (Err(RetentionError::Absent(_)), Ok(purged)) if purged.sessions == 1 => {
                purged_first += 1;
                assert!(next.is_erased(&body).await && next.holds() == 0);
            }
            told => panic!("{round}: {told:?}"),
        }
    }
    assert!(held_first > 0 && purged_first > 0, "{held_first} and {purged_first}");
}
