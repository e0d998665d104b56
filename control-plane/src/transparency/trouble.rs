//! Why nothing is signed at the moment and since when, and for how long records wait: what status says, and the metric to
//! alert on. A log that hangs waits as well as one that fails.

use super::Transparency;
use crate::journal::{Journal as _, Sequence};
use agentgate_core::time::Time;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

#[derive(Debug, Default)]
pub(super) struct Trouble(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    why: Option<(String, Time)>,
    /// How far the log was signed, and since when it is no further while records wait; monotonic.
    stands: Option<(Sequence, Duration)>,
}

// === impl Trouble ===

impl Trouble {
    /// Since the first of the failures that nothing came between.
    pub(super) fn failed(&self, why: String, at: Time) {
        let mut state = self.state();
        let since = state.why.take().map_or(at, |(_, since)| since);
        state.why = Some((why, since));
    }

    pub(super) fn over(&self) {
        self.state().why = None;
    }

    pub(super) fn told(&self) -> Option<(String, Time)> {
        self.state().why.clone()
    }

    /// For how long a journal of `head` records waits, of which so many are signed.
    fn waits(&self, head: Sequence, signed: Sequence, elapsed: Duration) -> Duration {
        let mut state = self.state();
        if signed >= head {
            state.stands = None;
            return Duration::ZERO;
        }
        let since = state.stands.filter(|(known, _)| *known == signed).map_or(elapsed, |(_, since)| since);
        state.stands = Some((signed, since));
        elapsed.saturating_sub(since)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Transparency ===

impl Transparency {
    /// Says how long records wait. Whoever measures does so again and again.
    pub fn measure(&self) {
        let signed = self.newest().map_or(0, |newest| newest.size);
        let waits = self.trouble.waits(self.journal.health().head, signed, self.clock.elapsed());
        metrics::gauge!("agentgate_log_waiting_seconds").set(waits.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_wait_from_when_nothing_more_was_signed() {
        let trouble = Trouble::default();
        for (head, signed, at_s, waits_s) in [
            (0, 0, 1, 0),
            (5, 0, 2, 0),
            (9, 0, 12, 10),
            (9, 4, 22, 0),
            (9, 4, 32, 10),
            (99, 4, 42, 20),
            (99, 99, 52, 0),
            (100, 99, 62, 0),
            (100, 99, 72, 10),
        ] {
            let waits = trouble.waits(head, signed, Duration::from_secs(at_s));
            assert_eq!(waits, Duration::from_secs(waits_s), "at {at_s} s");
        }
    }

    #[test]
    fn trouble_is_told_with_its_newest_cause_and_its_beginning() {
        let trouble = Trouble::default();
        let at = Time::from_micros;
        assert_eq!(trouble.told(), None);
        trouble.failed("one".into(), at(1));
        trouble.failed("two".into(), at(2));
        assert_eq!(trouble.told(), Some(("two".into(), at(1))));
        trouble.over();
        trouble.failed("three".into(), at(3));
        assert_eq!(trouble.told(), Some(("three".into(), at(3))));
    }
}
