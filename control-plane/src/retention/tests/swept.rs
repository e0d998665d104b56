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
