//! When the next root begins, whatever the last one took.

use super::super::integrate::PAUSE;
use super::*;
use crate::journal::{AppendError, Between, BoxFuture, Record, Slot};
use std::sync::atomic::{AtomicU64, Ordering};

/// A journal for which it takes so long to set a slot.
#[derive(Debug)]
struct Laborious {
    inner: Arc<Memory>,
    hands: Arc<Manual>,
    takes_us: AtomicU64,
    /// How often it was asked for what is new: each root begins so.
    begun: AtomicU64,
}

impl Between for Laborious {
    fn inner(&self) -> &dyn Journal {
        &*self.inner
    }

    fn follow(&self, cursor: Sequence, limit: u32) -> BoxFuture<'_, Result<Vec<Record>, ReadError>> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        self.inner.follow(cursor, limit)
    }

    fn set(&self, name: Digest, expected: Option<Bytes>, value: Option<Bytes>) -> BoxFuture<'static, Result<Slot, AppendError>> {
        self.hands.advance(Duration::from_micros(self.takes_us.load(Ordering::SeqCst)));
        self.inner.set(name, expected, value)
    }
}

/// On one thread, so that whoever waits for a root goes on when the integrator has gone to sleep.
#[tokio::test]
async fn a_root_begins_a_period_after_the_last_one_began_and_never_without_a_pause() {
    let scene = Scene::new();
    let (takes_us, begun) = (AtomicU64::new(0), AtomicU64::new(0));
    let journal = Arc::new(Laborious { inner: Arc::clone(&scene.journal), hands: Arc::clone(&scene.hands), takes_us, begun });
    let halting = Halting::new(Arc::clone(&journal) as Arc<dyn Journal>);
    let log = Transparency::open(halting, scene.clock.clone(), keys(&[1], &[]), None).await.map(Arc::new).unwrap();
    let mut published = log.follow();
    scene.grow(1).await;
    let integrating = tokio::spawn(Arc::clone(&log).integrating());
    published.changed().await.unwrap();
    let (instant, most) = (Duration::from_micros(1), SIGN_EVERY - PAUSE);
    // How long a root takes, and how long after it the next one begins.
    for (takes, waits) in [
        (Duration::ZERO, SIGN_EVERY),
        (instant, SIGN_EVERY - instant),
        (SIGN_EVERY / 2, SIGN_EVERY / 2),
        (most, PAUSE),
        (most + instant, PAUSE),
        (SIGN_EVERY, PAUSE),
        (10 * SIGN_EVERY, PAUSE),
    ] {
        journal.takes_us.store(u64::try_from(takes.as_micros()).unwrap(), Ordering::SeqCst);
        let asleep = async || {
            for _ in 0..16 {
                tokio::task::yield_now().await;
            }
        };
        // The first has its turn at once, whatever the last one took; the second is measured from it.
        for early in [SIGN_EVERY, waits - instant] {
            asleep().await;
            scene.grow(scene.journal.health().head + 1).await;
            let begun = journal.begun.load(Ordering::SeqCst);
            scene.hands.advance(early);
            if early != SIGN_EVERY {
                asleep().await;
                assert_eq!(journal.begun.load(Ordering::SeqCst), begun, "{takes:?}: it was its turn only an instant later");
                scene.hands.advance(instant);
            }
            let signed = tokio::time::timeout(Duration::from_secs(30), published.changed()).await;
            signed.unwrap_or_else(|_| panic!("{takes:?}: it was its turn, and nothing was signed")).unwrap();
        }
    }
    integrating.abort();
}
