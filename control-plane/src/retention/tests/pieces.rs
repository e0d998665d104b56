//! Stories about what one sweep does before it leaves the rest to the next one.

use super::*;
use crate::journal::{SLOTS_PAGE_MAX, Slot};
use crate::retention::streams::LEADS_PER_SWEEP_MAX;
use crate::retention::sweep::{PAGES_PER_SWEEP_MAX, PURGED_PER_SWEEP_MAX};

async fn scene() -> Scene {
    let (clock, hands) = Clock::manual(Time::from_micros(1_000_000_000));
    let config = config::Retention { days: 1, ..config::Retention::default() };
    Scene::after(memory(), clock, hands, config).await
}

async fn slots(journal: &dyn Journal) -> usize {
    let (mut count, mut after) = (0, None);
    loop {
        let page = journal.slots(after, SLOTS_PAGE_MAX).await.unwrap();
        let Some((last, _)) = page.last() else { return count };
        (count, after) = (count + page.len(), Some(*last));
    }
}

async fn kept(scene: &Scene) -> usize {
    let (mut count, mut after) = (0, None);
    loop {
        let (kept, next) = scene.retention.rooms.bodies.kept(after).await.unwrap();
        count += kept.len();
        if next.is_none() {
            return count;
        }
        after = next;
    }
}

#[tokio::test]
async fn a_sweep_that_purged_enough_leaves_the_rest_to_the_next_one() {
    for (sessions, is_end) in [(PURGED_PER_SWEEP_MAX - 1, true), (PURGED_PER_SWEEP_MAX, false), (PURGED_PER_SWEEP_MAX * 2, false)]
    {
        let scene = scene().await;
        large::keys(&scene, "acme", sessions).await;
        scene.hands.advance(DAY * 3);
        assert_eq!(scene.retention.sweep().await.unwrap(), is_end, "{sessions} sessions");
        let left = kept(&scene).await;
        let most = sessions.saturating_sub(PURGED_PER_SWEEP_MAX);
        assert!(left <= most && left + (SLOTS_PAGE_MAX as usize) >= most, "{left} of {sessions} sessions are left");
        while !scene.retention.sweep().await.unwrap() {}
        assert_eq!(kept(&scene).await, 0, "the next ones purge the rest");
    }
}

#[tokio::test]
async fn a_sweep_that_looked_at_enough_goes_on_there_the_next_time() {
    let full = (PAGES_PER_SWEEP_MAX - 1) * SLOTS_PAGE_MAX as usize;
    for (count, is_end) in [(full, true), (full + 1, false)] {
        let scene = scene().await;
        large::keys(&scene, "acme", 1).await;
        // Slots of others: no key is in them.
        for number in slots(&*scene.journal).await..count {
            let name = Digest::of("test", &number.to_le_bytes());
            let value = Some(Bytes::from_static(b"nobody's"));
            assert_eq!(scene.journal.set(name, None, value).await, Ok(Slot::Set));
        }
        scene.hands.advance(DAY * 3);
        assert_eq!(scene.retention.sweep().await.unwrap(), is_end, "{count} slots");
        if !is_end {
            assert_eq!(scene.retention.shown().outlook, None, "it did not come to the end");
            assert!(scene.retention.sweep().await.unwrap());
        }
        assert!(scene.retention.shown().outlook.is_some());
    }
}

#[tokio::test]
async fn a_sweep_that_found_enough_leads_to_nobody_goes_on_there_the_next_time() {
    for (leads, is_end) in [(LEADS_PER_SWEEP_MAX - 1, true), (LEADS_PER_SWEEP_MAX, false)] {
        let scene = scene().await;
        for number in 0..leads {
            let (tenant, principal) = (Tenant::try_from("acme").unwrap(), format!("spiffe://a/agent/{number}"));
            let principal = principal.as_str().try_into().unwrap();
            scene.retention.rooms.bodies.stream(&tenant, &principal).await.unwrap();
        }
        let mut next = None;
        assert_eq!(scene.retention.sweep_streams(&mut next).await.unwrap(), is_end, "{leads} leads");
        if !is_end {
            assert!(scene.retention.sweep_streams(&mut next).await.unwrap());
        }
        assert_eq!(scene.retention.rooms.bodies.leads(None).await.unwrap().0, []);
    }
}

/// What was looked at and is over, and could not be purged now, is looked at again before anything else.
#[tokio::test]
async fn a_sweep_that_was_stopped_is_done_again_and_not_called_done() {
    for (stopped_by, cut_after) in [("the first write", 0), ("the second record", PURGED_PER_RECORD_MAX + 2)] {
        let inner = memory();
        let cut = Arc::new(Cut::after(Arc::clone(&inner), i64::MAX));
        let (clock, hands) = Clock::manual(Time::from_micros(1_000_000_000));
        let config = config::Retention { days: 1, ..config::Retention::default() };
        let scene = Scene::after(Arc::clone(&cut) as Arc<dyn Journal>, clock, hands, config).await;
        scene.retention.rooms.bodies.seal(&Scope::Orders, scene.clock.now()).await.unwrap();
        large::keys(&scene, "acme", PURGED_PER_SWEEP_MAX + 2 * SLOTS_PAGE_MAX as usize).await;
        scene.hands.advance(DAY * 3);
        cut.left.store(i64::try_from(cut_after).unwrap(), Ordering::SeqCst);
        scene.retention.sweep().await.unwrap_err();
        cut.left.store(i64::MAX, Ordering::SeqCst);
        while !scene.retention.sweep().await.unwrap() {}
        let left = kept(&scene).await;
        assert_eq!(left, 0, "the sweep said that it came to its end; it was stopped by {stopped_by}");
    }
}
