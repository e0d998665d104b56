//! The clock: the only file that asks the machine for the time. Everybody else is given a `Clock`, in tests a manual one.

use agentgate_core::time::Time;
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::Notify;

/// Wall time for records, monotonic time for deadlines, and waiting.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System { started: Instant },
    Manual(Arc<Manual>),
}

/// The hands of a clock that only moves when it is told to.
#[derive(Debug)]
pub struct Manual {
    wall_us: AtomicU64,
    elapsed_us: AtomicU64,
    /// Wakes in the order in which they went to sleep: what a test does once it does again.
    moved: Notify,
    asleep: AtomicUsize,
}

/// One who waits for the hands to move, until it is dropped.
struct Asleep<'a>(&'a AtomicUsize);

/// Moments for records: never before one that was handed out earlier, even when the wall clock is set back.
#[derive(Debug)]
pub struct Moments {
    clock: Clock,
    last_us: AtomicU64,
}

/// A span as records count it; stays at the end of time instead of wrapping.
#[must_use]
pub fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

// === impl Clock ===

impl Clock {
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one clock")]
    pub fn system() -> Self {
        Self(Source::System { started: Instant::now() })
    }

    /// A clock for tests, and its hands.
    #[must_use]
    pub fn manual(at: Time) -> (Self, Arc<Manual>) {
        let wall_us = AtomicU64::new(at.micros());
        let (elapsed_us, asleep) = (AtomicU64::new(0), AtomicUsize::new(0));
        let manual = Arc::new(Manual { wall_us, elapsed_us, moved: Notify::new(), asleep });
        (Self(Source::Manual(Arc::clone(&manual))), manual)
    }

    /// Wall time. It may go back: take a record's `at` from `Moments`.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one clock")]
    pub fn now(&self) -> Time {
        match &self.0 {
            Source::System { .. } => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                Time::from_micros(micros(since))
            }
            Source::Manual(manual) => Time::from_micros(manual.wall_us.load(Ordering::SeqCst)),
        }
    }

    /// Monotonic time since this clock was made. Deadlines are points of it.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        match &self.0 {
            Source::System { started } => started.elapsed(),
            Source::Manual(manual) => manual.elapsed(),
        }
    }

    pub async fn sleep_until(&self, deadline: Duration) {
        match &self.0 {
            Source::System { started } => tokio::time::sleep_until((*started + deadline).into()).await,
            Source::Manual(manual) => {
                let mut moved = pin!(manual.moved.notified());
                // It listens before it looks: a move in between is not missed.
                moved.as_mut().enable();
                let _asleep = Asleep::new(&manual.asleep);
                while manual.elapsed() < deadline {
                    moved.as_mut().await;
                    moved.set(manual.moved.notified());
                    moved.as_mut().enable();
                }
            }
        }
    }

    pub async fn sleep(&self, span: Duration) {
        self.sleep_until(self.elapsed().saturating_add(span)).await;
    }

    /// What `work` comes to, or none when `deadline` was there first.
    pub async fn before<T>(&self, deadline: Duration, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            value = work => Some(value),
            () = self.sleep_until(deadline) => None,
        }
    }
}

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_micros(self.now().micros())))
    }
}

// === impl Manual ===

impl Manual {
    /// Both hands move on.
    pub fn advance(&self, span: Duration) {
        self.wall_us.fetch_add(micros(span), Ordering::SeqCst);
        self.elapsed_us.fetch_add(micros(span), Ordering::SeqCst);
        self.moved.notify_waiters();
    }

    fn elapsed(&self) -> Duration {
        Duration::from_micros(self.elapsed_us.load(Ordering::SeqCst))
    }

    /// How many wait for the hands to move. Time that passes while nobody does is time that nobody waited.
    #[must_use]
    pub fn asleep(&self) -> usize {
        self.asleep.load(Ordering::SeqCst)
    }

    /// Somebody sets the wall clock; monotonic time knows nothing of it.
    pub fn set(&self, at: Time) {
        self.wall_us.store(at.micros(), Ordering::SeqCst);
    }
}

// === impl Asleep ===

impl<'a> Asleep<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Asleep<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

// === impl Moments ===

impl Moments {
    /// `last`: the newest `at` that the journal holds.
    #[must_use]
    pub fn after(clock: Clock, last: Time) -> Self {
        Self { clock, last_us: AtomicU64::new(last.micros()) }
    }

    #[must_use]
    pub fn next(&self) -> Time {
        let now = self.clock.now().micros();
        let before = self.last_us.fetch_max(now, Ordering::SeqCst);
        Time::from_micros(now.max(before))
    }

    /// Somebody else wrote a record of this moment: none of ours is before it.
    pub fn not_before(&self, at: Time) {
        self.last_us.fetch_max(at.micros(), Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::{Clock, Moments};
    use agentgate_core::time::Time;
    use std::time::Duration;

    #[test]
    fn a_clock_that_is_set_back_holds_the_records_time() {
        let (clock, hands) = Clock::manual(Time::from_micros(1_000));
        let moments = Moments::after(clock, Time::from_micros(5_000));
        assert_eq!(moments.next(), Time::from_micros(5_000), "never before the journal's last");
        hands.set(Time::from_micros(9_000));
        assert_eq!(moments.next(), Time::from_micros(9_000));
        hands.set(Time::from_micros(2_000));
        assert_eq!(moments.next(), Time::from_micros(9_000));
        for (others, next) in [(9_500, 9_500), (7_000, 9_500)] {
            moments.not_before(Time::from_micros(others));
            assert_eq!(moments.next(), Time::from_micros(next), "never before what another replica wrote");
        }
    }

    #[tokio::test]
    async fn a_deadline_passes_on_the_manual_clock() {
        let (clock, hands) = Clock::manual(Time::from_micros(0));
        let deadline = Duration::from_secs(5);
        let waiting = clock.before(deadline, std::future::pending::<()>());
        hands.advance(deadline);
        assert_eq!(waiting.await, None);
        assert_eq!(clock.before(deadline, async { 1 }).await, Some(1), "work that is ready wins");
    }
}
