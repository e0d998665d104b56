//! A line of the log for what may happen a thousand times a second: one at a time, and how many there were in between.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Somebody who looks at the log finds the newest within this time.
const EVERY: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub struct Rarely(Mutex<Told>);

#[derive(Debug, Default)]
struct Told {
    /// Monotonic.
    last: Option<Duration>,
    since: u64,
}

// === impl Rarely ===

impl Rarely {
    /// It happened, at `elapsed`. Some: tell it, and that it happened this often since it was last told.
    pub fn told(&self, elapsed: Duration) -> Option<u64> {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.last.is_some_and(|last| elapsed.saturating_sub(last) < EVERY) {
            told.since = told.since.saturating_add(1);
            return None;
        }
        told.last = Some(elapsed);
        Some(std::mem::take(&mut told.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_and_then_one_a_minute_with_the_count_of_the_others() {
        let rarely = Rarely::default();
        for (at_ms, told) in [(0, Some(0)), (1, None), (59_999, None), (60_000, Some(2)), (60_001, None), (180_000, Some(1))] {
            assert_eq!(rarely.told(Duration::from_millis(at_ms)), told, "{at_ms}");
        }
    }
}
