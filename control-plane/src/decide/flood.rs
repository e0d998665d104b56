//! Floods: unreadable calls of one subject beyond a rate are counted into one record for an interval, so that whoever
//! sends garbage cannot fill the journal with it. Each of them is refused all the same.

use super::asks::Asks;
use crate::bounded::Bounded;
use crate::config::Limits;
use crate::identity::Subject;
use crate::telemetry::number;
use agentgate_core::id::CallId;
use agentgate_core::mcp::Malformed;
use agentgate_core::time::Time;
use agentgate_proto::v1;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// Subjects whose rate is watched. The one that came first is forgotten first, and then begins anew.
const SUBJECTS_MAX: usize = 4_096;

/// Counts that wait to be recorded outside of their subjects' windows, those that a sweep has in hand among them. When
/// there are more, a new subject's refusals are not counted but recorded one by one.
const LEFTOVER_MAX: usize = 4_096;

#[derive(Debug)]
pub struct Flood {
    per_s_max: u32,
    interval: Duration,
    subjects: Mutex<Bounded<Subject, Window>>,
    leftover: Mutex<Leftover>,
}

/// Counts whose subject was forgotten before their interval ended, and those that the journal did not take.
#[derive(Debug, Default)]
struct Leftover {
    counts: Vec<(Subject, Counts)>,
    /// Taken to be recorded, and neither recorded nor given back.
    in_hand: usize,
    /// The journal did not take some: until it does, what is counted stays where it is.
    is_owed: bool,
}

#[derive(Debug)]
struct Window {
    second: u64,
    in_second: u32,
    counts: Option<Counts>,
}

/// What was counted and not recorded one by one.
#[derive(Debug)]
pub(super) struct Counts {
    pub(super) reasons: BTreeMap<&'static str, Reason>,
    pub(super) from: Time,
    pub(super) to: Time,
    since: Duration,
    /// True once the counts are durable. When it goes before, they are not.
    durable: watch::Sender<bool>,
}

/// What was refused for one reason.
#[derive(Debug, Default)]
pub(super) struct Reason {
    pub(super) count: u64,
    pub(super) asks: Asks,
}

/// Learns whether the counts that an entry went into became durable.
pub(super) type Counted = watch::Receiver<bool>;

/// Counts on their way into the journal. What is not recorded when this goes, for whatever reason, is given back.
#[derive(Debug)]
pub(super) struct Taken<'a> {
    flood: &'a Flood,
    /// None: gone already.
    counts: Option<(Subject, Counts)>,
}

// === impl Flood ===

impl Flood {
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self {
            per_s_max: limits.malformed_per_subject_per_s_max,
            interval: limits.flood_interval(),
            subjects: Mutex::new(Bounded::new(SUBJECTS_MAX)),
            leftover: Mutex::default(),
        }
    }

    /// True: record this refusal by itself. False: it was counted.
    pub(super) fn admit(
        &self,
        subject: &Subject,
        reason: &'static str,
        ask: (&CallId, u64),
        elapsed: Duration,
        at: Time,
    ) -> bool {
        self.count(subject, reason, ask, elapsed, at).is_none()
    }

    /// As `admit`, for whoever must know when the count is durable.
    pub(super) fn count(
        &self,
        subject: &Subject,
        reason: &'static str,
        (call, number_of_ask): (&CallId, u64),
        elapsed: Duration,
        at: Time,
    ) -> Option<Counted> {
        let mut subjects = self.lock();
        if subjects.get(subject).is_none() {
            let mut leftover = self.leftover();
            if leftover.waiting() >= LEFTOVER_MAX {
                return None;
            }
            let window = Window { second: elapsed.as_secs(), in_second: 0, counts: None };
            let forgotten = subjects.put(subject.clone(), window);
            if let Some((subject, Window { counts: Some(counts), .. })) = forgotten {
                leftover.counts.push((subject, counts));
            }
            leftover.say();
            metrics::gauge!("agentgate_flood_subjects").set(number(subjects.len()));
        }
        let window = subjects.get_mut(subject)?;
        if window.second != elapsed.as_secs() {
            (window.second, window.in_second) = (elapsed.as_secs(), 0);
        }
        if window.in_second < self.per_s_max {
            window.in_second += 1;
            return None;
        }
        metrics::counter!("agentgate_malformed_counted_total").increment(1);
        let counts = window.counts.get_or_insert_with(|| Counts::new(elapsed, at));
        let counted = counts.reasons.entry(reason).or_default();
        counted.count += 1;
        counted.asks.add(call, number_of_ask);
        counts.to = counts.to.max(at);
        Some(counts.durable.subscribe())
    }

    /// Counts whose interval is over, as many as may wait, or all of them at the end.
    pub(super) fn due(&self, elapsed: Duration, all: bool) -> Vec<Taken<'_>> {
        let mut subjects = self.lock();
        let mut leftover = self.leftover();
        let mut due = std::mem::take(&mut leftover.counts);
        let is_owed = std::mem::take(&mut leftover.is_owed);
        if !is_owed || all {
            let room = LEFTOVER_MAX.saturating_sub(leftover.in_hand + due.len());
            let over = |counts: &mut Counts| all || elapsed.saturating_sub(counts.since) >= self.interval;
            let windows = subjects
                .iter_mut()
                .filter_map(|(subject, window)| Some((subject.clone(), window.counts.take_if(over)?)))
                .take(if all { usize::MAX } else { room });
            due.extend(windows);
        }
        leftover.in_hand += due.len();
        leftover.say();
        due.into_iter().map(|counts| Taken { flood: self, counts: Some(counts) }).collect()
    }

    /// Taken after the subjects, never before them.
    fn leftover(&self) -> MutexGuard<'_, Leftover> {
        self.leftover.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Bounded<Subject, Window>> {
        self.subjects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Leftover ===

impl Leftover {
    fn waiting(&self) -> usize {
        self.counts.len() + self.in_hand
    }

    fn say(&self) {
        metrics::gauge!("agentgate_flood_leftover").set(number(self.waiting()));
    }
}

// === impl Taken ===

impl Taken<'_> {
    /// What is to be recorded next. It stays here until it is.
    pub(super) fn next(&self) -> Option<(&Subject, &Counts, &'static str, &Reason)> {
        let (subject, counts) = self.counts.as_ref()?;
        let (reason, counted) = counts.reasons.first_key_value()?;
        Some((subject, counts, reason, counted))
    }

    /// The record of a reason is durable.
    pub(super) fn recorded(&mut self, reason: &'static str) {
        if let Some((_, counts)) = &mut self.counts {
            counts.reasons.remove(reason);
            counts.durable.send_replace(counts.reasons.is_empty());
        }
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut leftover = self.flood.leftover();
        leftover.in_hand = leftover.in_hand.saturating_sub(1);
        if let Some(counts) = self.counts.take_if(|(_, counts)| !counts.reasons.is_empty()) {
            leftover.counts.push(counts);
            leftover.is_owed = true;
        }
        leftover.say();
    }
}

// === impl Counts ===

impl Counts {
    fn new(since: Duration, at: Time) -> Self {
        Self { reasons: BTreeMap::new(), from: at, to: at, since, durable: watch::Sender::new(false) }
    }
}

/// The refusal of a call that was counted: it has no record of its own to point to.
pub(super) fn uncounted(malformed: &Malformed) -> v1::Decided {
    let rule = agentgate_core::id::RuleName::of_gate(malformed.reason()).to_string();
    v1::Decided { verdict: v1::Verdict::Deny.into(), rule, reason: malformed.to_string(), ..v1::Decided::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(number: usize) -> Subject {
        let principal = format!("spiffe://agentgate.local/agent/{number}").as_str().try_into().unwrap();
        Subject { tenant: "default".try_into().unwrap(), principal }
    }

    fn call() -> CallId {
        use agentgate_core::id::{Asker, Epoch};
        CallId { asker: Asker::try_from("spiffe://a/filter/x").unwrap(), epoch: Epoch([1; 16]), counter: 1 }
    }

    /// One call each is recorded, the next are counted, for 10 s.
    fn flood() -> Flood {
        Flood::new(&Limits { malformed_per_subject_per_s_max: 1, flood_interval_s: 10, ..Limits::default() })
    }

    fn is_counted(flood: &Flood, number: usize, at_s: u64) -> bool {
        flood.count(&subject(number), "reason", (&call(), 0), Duration::from_secs(at_s), Time::from_micros(1)).is_some()
    }

    /// Records all that is due, and says how many counts that were.
    fn record(due: Vec<Taken<'_>>) -> usize {
        let number = due.len();
        for mut taken in due {
            while let Some((_, _, reason, _)) = taken.next() {
                taken.recorded(reason);
            }
        }
        number
    }

    #[test]
    fn counts_of_forgotten_subjects_wait_up_to_a_bound() {
        let flood = flood();
        let all = SUBJECTS_MAX + LEFTOVER_MAX;
        for number in 0..all {
            assert!(!is_counted(&flood, number, 0), "{number}: the first is recorded");
            assert!(is_counted(&flood, number, 0), "{number}: the second is counted");
        }
        // No room to forget one more: a stranger's calls are recorded, whoever is watched is counted still.
        assert!(!is_counted(&flood, all, 0));
        assert!(!is_counted(&flood, all, 0));
        assert!(is_counted(&flood, all - 1, 0));
        // Nor while they are in hand: they may come back.
        let in_hand = flood.due(Duration::from_secs(1), false);
        assert_eq!(in_hand.len(), LEFTOVER_MAX);
        assert!(!is_counted(&flood, all, 1));
        assert!(!is_counted(&flood, all, 1));
        drop(in_hand);
        assert!(!is_counted(&flood, all, 1));
        assert!(!is_counted(&flood, all, 1));
        assert_eq!(record(flood.due(Duration::from_secs(1), false)), LEFTOVER_MAX);
        assert!(!is_counted(&flood, all, 1));
        assert!(is_counted(&flood, all, 1));
        assert_eq!(record(flood.due(Duration::ZERO, true)), SUBJECTS_MAX + 1);
        assert_eq!(flood.leftover().waiting(), 0);
    }

    #[test]
    fn no_more_than_may_wait_is_due_at_once() {
        let flood = flood();
        for number in 0..=SUBJECTS_MAX {
            is_counted(&flood, number, 0);
            is_counted(&flood, number, 0);
        }
        for _ in 0..2 {
            // Given back, it waits, and is no more than may.
            assert_eq!(flood.due(Duration::from_secs(10), false).len(), LEFTOVER_MAX);
            assert_eq!(flood.leftover().waiting(), LEFTOVER_MAX);
        }
        assert_eq!(record(flood.due(Duration::from_secs(10), false)), LEFTOVER_MAX);
        assert_eq!(record(flood.due(Duration::from_secs(10), false)), 1);
        assert_eq!(flood.due(Duration::from_secs(10), true).len(), 0);
    }

    #[test]
    fn counts_are_durable_once_all_their_reasons_are_recorded_and_not_when_they_go() {
        for recorded in 0..=2 {
            let flood = flood();
            is_counted(&flood, 1, 0);
            let counted = |reason| flood.count(&subject(1), reason, (&call(), 0), Duration::ZERO, Time::from_micros(1)).unwrap();
            let (first, second) = (counted("a"), counted("b"));
            let mut taken = flood.due(Duration::ZERO, true).remove(0);
            ["a", "b"].into_iter().take(recorded).for_each(|reason| taken.recorded(reason));
            drop(taken);
            assert_eq!(flood.leftover().waiting(), usize::from(recorded < 2));
            drop(flood);
            for counted in [first, second] {
                assert!(counted.has_changed().is_err(), "its sender is gone");
                assert_eq!(*counted.borrow(), recorded == 2, "{recorded} of 2 are recorded");
            }
        }
    }

    #[test]
    fn what_the_journal_did_not_take_is_due_before_anything_else() {
        let flood = flood();
        for number in [1, 1, 2, 2] {
            is_counted(&flood, number, 0);
        }
        let due = |at_s: u64, all: bool| flood.due(Duration::from_secs(at_s), all);
        assert_eq!(due(9, false).len(), 0);
        assert_eq!(due(10, false).len(), 2, "and given back");
        for number in [1, 1, 2, 2] {
            is_counted(&flood, number, 11);
        }
        let owed = due(30, false);
        assert_eq!(owed.iter().map(|taken| taken.next().unwrap().3.count).collect::<Vec<_>>(), [1, 1]);
        drop(owed);
        assert_eq!(record(due(31, false)), 2);
        assert_eq!(record(due(32, false)), 2);
        assert_eq!(due(33, false).len(), 0);
    }

    #[test]
    fn all_are_due_at_the_end() {
        let flood = flood();
        for number in [1, 1, 2, 2] {
            is_counted(&flood, number, 0);
        }
        let mut due = flood.due(Duration::from_secs(10), false);
        due.truncate(1);
        record(due);
        is_counted(&flood, 2, 10);
        is_counted(&flood, 2, 10);
        assert_eq!(flood.due(Duration::from_secs(10), true).len(), 2);
    }
}
