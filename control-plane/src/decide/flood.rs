//! Floods: unreadable calls of one subject beyond a rate are counted into one record for an interval, so that whoever
//! sends garbage cannot fill the journal with it. Each of them is refused all the same.

use crate::bounded::Bounded;
use crate::config::Limits;
use crate::identity::Subject;
use agentgate_core::mcp::Malformed;
use agentgate_core::time::Time;
use agentgate_proto::v1;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// Subjects whose rate is watched. The one that came first is forgotten first, and then begins anew.
const SUBJECTS_MAX: usize = 4_096;

#[derive(Debug)]
pub struct Flood {
    per_s_max: u32,
    interval: Duration,
    subjects: Mutex<Bounded<Subject, Window>>,
    /// Counts whose subject was forgotten before their interval ended.
    leftover: Mutex<Vec<(Subject, Counts)>>,
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
    pub(super) reasons: BTreeMap<&'static str, u64>,
    pub(super) from: Time,
    pub(super) to: Time,
    since: Duration,
    /// Closed once the counts are durable.
    durable: watch::Sender<()>,
}

/// Wakes up when the counts that an entry went into are durable.
pub(super) type Counted = watch::Receiver<()>;

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
    pub(super) fn admit(&self, subject: &Subject, reason: &'static str, elapsed: Duration, at: Time) -> bool {
        self.count(subject, reason, elapsed, at).is_none()
    }

    /// As `admit`, for whoever must know when the count is durable.
    pub(super) fn count(&self, subject: &Subject, reason: &'static str, elapsed: Duration, at: Time) -> Option<Counted> {
        let mut subjects = self.lock();
        if subjects.get(subject).is_none() {
            let window = Window { second: elapsed.as_secs(), in_second: 0, counts: None };
            if let Some((subject, Window { counts: Some(counts), .. })) = subjects.put(subject.clone(), window) {
                self.leftover.lock().unwrap_or_else(PoisonError::into_inner).push((subject, counts));
            }
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
        *counts.reasons.entry(reason).or_default() += 1;
        counts.to = counts.to.max(at);
        Some(counts.durable.subscribe())
    }

    /// Counts whose interval is over, or all of them at the end.
    pub(super) fn due(&self, elapsed: Duration, all: bool) -> Vec<(Subject, Counts)> {
        let mut due = std::mem::take(&mut *self.leftover.lock().unwrap_or_else(PoisonError::into_inner));
        let mut subjects = self.lock();
        for (subject, window) in subjects.iter_mut() {
            let over = |counts: &mut Counts| all || elapsed.saturating_sub(counts.since) >= self.interval;
            if let Some(counts) = window.counts.take_if(over) {
                due.push((subject.clone(), counts));
            }
        }
        due
    }

    /// Counts that could not be recorded are tried again.
    pub(super) fn keep(&self, subject: Subject, counts: Counts) {
        self.leftover.lock().unwrap_or_else(PoisonError::into_inner).push((subject, counts));
    }

    fn lock(&self) -> MutexGuard<'_, Bounded<Subject, Window>> {
        self.subjects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Counts ===

impl Counts {
    fn new(since: Duration, at: Time) -> Self {
        Self { reasons: BTreeMap::new(), from: at, to: at, since, durable: watch::Sender::new(()) }
    }
}

/// The refusal of a call that was counted: it has no record of its own to point to.
pub(super) fn uncounted(malformed: &Malformed) -> v1::Decided {
    let rule = agentgate_core::id::RuleName::of_gate(malformed.reason()).to_string();
    v1::Decided { verdict: v1::Verdict::Deny.into(), rule, reason: malformed.to_string(), sequence: 0 }
}
