//! Stories about orders of more sessions than one record takes.

use super::*;

#[tokio::test]
async fn more_sessions_than_one_record_takes_are_purged_by_several() {
    for (sessions, records) in [(PURGED_PER_RECORD_MAX, 1), (PURGED_PER_RECORD_MAX + 1, 2)] {
        let scene = Scene::on(memory()).await;
        keys(&scene, "acme", sessions).await;
        let purged = scene.purge(&of(extent("acme", "", ""))).await.unwrap();
        assert_eq!((purged.sessions, purged.sequences.len(), purged.finished), (sessions as u64, records, true));
        assert_eq!(scene.purge(&of(extent("acme", "", ""))).await.unwrap().sessions, 0);
    }
}

/// Keys of this tenant's sessions, nothing else of them.
pub(super) async fn keys(scene: &Scene, tenant: &str, count: usize) {
    for number in 0..count {
        let scope = Scope::Calls {
            tenant: tenant.try_into().unwrap(),
            principal: format!("spiffe://a/agent/{number}").as_str().try_into().unwrap(),
            handle: String::new(),
        };
        scene.retention.rooms.bodies.seal(&scope, scene.clock.now()).await.unwrap();
    }
}

#[tokio::test]
async fn an_order_that_is_stopped_between_its_records_says_what_is_erased() {
    let inner = memory();
    let cut = Arc::new(Cut::after(Arc::clone(&inner), i64::MAX));
    let scene = Scene::on(Arc::clone(&cut) as Arc<dyn Journal>).await;
    keys(&scene, "acme", PURGED_PER_RECORD_MAX + 1).await;
    scene.retention.rooms.bodies.seal(&Scope::Orders, scene.clock.now()).await.unwrap();
    // The first record, its keys, and that it is carried out.
    cut.left.store(i64::try_from(PURGED_PER_RECORD_MAX).unwrap() + 2, Ordering::SeqCst);
    let told = scene.purge(&of(extent("acme", "", ""))).await.unwrap_err();
    let RetentionError::Partly { sessions, sequences, why } = &told else { panic!("{told:?}") };
    assert_eq!((*sessions, sequences.len()), (PURGED_PER_RECORD_MAX as u64, 1));
    assert!(matches!(**why, RetentionError::Order(_)), "{why:?}");
    let number = sequences[0];
    let words = format!("1024 of its sessions were erased for ever before it stopped (#{number}), and the rest was not");
    assert_eq!(told.to_string(), words);
    cut.left.store(i64::MAX, Ordering::SeqCst);
    assert_eq!(scene.purge(&of(extent("acme", "", ""))).await.unwrap().sessions, 1);
}

#[tokio::test]
async fn a_large_order_comes_to_its_end_though_another_replica_purges_after_each_of_its_records() {
    let records = usize::try_from(RETAIN_ATTEMPTS_MAX).unwrap() + 1;
    let journal: Arc<dyn Journal> = Arc::new(Memory::shared());
    let begun = Scene::on(Arc::clone(&journal)).await;
    let sessions = PURGED_PER_RECORD_MAX * records;
    keys(&begun, "acme", sessions).await;
    keys(&begun, "empty", records).await;
    let slow: Arc<dyn Journal> = Arc::new(Cut::after(Arc::clone(&journal), i64::MAX));
    let (one, other) = (begun.again(&slow).await, begun.again(&journal).await);
    let large = of(extent("acme", "", ""));
    let small = async {
        for number in 0..records {
            let head = journal.health().head;
            while journal.health().head == head {
                tokio::task::yield_now().await;
            }
            other.purge(&of(extent("empty", &format!("spiffe://a/agent/{number}"), ""))).await.unwrap();
        }
    };
    let purged = tokio::select! {
        purged = one.purge(&large) => purged,
        // The large order alone says when it is over.
        () = async { small.await; std::future::pending().await } => unreachable!(),
    };
    assert_eq!(purged.unwrap().sessions, sessions as u64);
}
