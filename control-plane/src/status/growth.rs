//! How fast the journal grows, and when the file system is full at that pace. It refuses to guess from less than
//! `SPAN_MIN`: a burst after a start is no pace.

use std::collections::VecDeque;
use std::time::Duration;

/// The journal is measured this often.
pub const EVERY: Duration = Duration::from_secs(60);

/// What lies further back counts no more.
const WINDOW: Duration = Duration::from_secs(6 * 3600);

const SPAN_MIN: Duration = Duration::from_secs(10 * 60);
const DAY_S: f64 = 86_400.0;

/// The journal's size at moments of the last hours, oldest first: one for each `EVERY` of `WINDOW`.
#[derive(Debug, Default)]
pub struct Growth {
    measured: VecDeque<(Duration, u64)>,
}

// === impl Growth ===

impl Growth {
    pub fn measure(&mut self, now: Duration, bytes: u64) {
        // Whoever measures more often fills no memory.
        if self.measured.len() > 1 && self.measured.iter().nth_back(1).is_some_and(|(at, _)| now.saturating_sub(*at) < EVERY) {
            self.measured.pop_back();
        }
        self.measured.push_back((now, bytes));
        while self.measured.front().is_some_and(|(at, _)| now.saturating_sub(*at) > WINDOW) {
            self.measured.pop_front();
        }
    }

    /// Days until `free_bytes` are used up. None: it does not grow, or was not watched for long enough.
    #[must_use]
    pub fn full_in_days(&self, free_bytes: u64) -> Option<f64> {
        let ((from, before), (to, now)) = self.measured.front().zip(self.measured.back())?;
        let span = to.saturating_sub(*from);
        let grown = now.checked_sub(*before).filter(|grown| *grown > 0 && span >= SPAN_MIN)?;
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let (free, grown) = (free_bytes as f64, grown as f64);
        Some(free / grown * span.as_secs_f64() / DAY_S)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn check(measured: &[(Duration, u64)], free: u64, days: Option<f64>) {
        let mut growth = Growth::default();
        measured.iter().for_each(|(at, bytes)| growth.measure(*at, *bytes));
        assert_eq!(growth.full_in_days(free), days, "{measured:?}");
    }

    #[test]
    fn it_is_full_when_the_pace_of_the_last_hours_has_used_up_what_is_free() {
        check(&[], 100, None);
        check(&[(HOUR, 5)], 100, None);
        check(&[(HOUR, 100), (2 * HOUR, 200)], 2400, Some(1.0));
        check(&[(HOUR, 100), (2 * HOUR, 200)], 0, Some(0.0));
        check(&[(HOUR, 100), (2 * HOUR, 100)], 2400, None);
        check(&[(HOUR, 200), (2 * HOUR, 100)], 2400, None);
        // A burst that long is no pace, and one long ago is none any more.
        check(&[(HOUR, 100), (HOUR + SPAN_MIN - EVERY / 2, 200)], 2400, None);
        check(&[(HOUR, 0), (8 * HOUR, 1000), (9 * HOUR, 1100)], 2400, Some(1.0));
    }

    #[test]
    fn who_measures_often_fills_no_memory() {
        let mut growth = Growth::default();
        for second in 0..3 * 24 * 3600 {
            growth.measure(Duration::from_secs(second), second);
        }
        assert!(growth.measured.len() <= 6 * 60 + 8, "{}", growth.measured.len());
        assert_eq!(growth.full_in_days(24 * 3600).map(f64::round), Some(1.0));
    }
}
