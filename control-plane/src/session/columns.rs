//! The index of traces: one row of 56 bytes a call or flood, in the journal's order, for as many of the newest as may be.
//!
//! It holds no name. A row has 32 bits of a keyed digest of each, and a query those of the names that it asks for: so there is
//! no table of names to bound and to clear, a name of any length takes four bytes, and to forget one is to write a zero. What
//! matches by chance, one row in four thousand million, costs one line that is read and thrown away. It refuses to be believed:
//! it is derived from the journal, and whoever uses it reads the lines that it points to.

use super::filter::is_of_session;
use super::past::SLACK_US;
use super::{Ended, line};
use crate::body::Bodies;
use crate::journal::Sequence;
use crate::telemetry::number;
use agentgate_proto::v1;
use std::collections::{HashMap, HashSet, VecDeque};
use std::ops::ControlFlow;

/// Outcomes that were met before their decision, while the index is built backwards. With more of them it is built no further:
/// what is older is read from the journal, as if there were no room for it.
const EARLY_MAX: usize = 262_144;

pub(super) const NAMES: usize = 8;

/// The names of a call, each with its place in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Tenant,
    Principal,
    Handle,
    Session,
    Server,
    Target,
    Method,
    Rule,
}

/// Makes of a name what a row has of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Namer<'a>(pub(super) &'a Bodies);

/// One call or flood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) sequence: Sequence,
    pub(super) at_us: u64,
    /// Zero: it has none, or it was forgotten.
    pub(super) names: [u32; NAMES],
    /// Zero: unknown. `TOOK_LONG`: its outcome says.
    pub(super) took_us: u32,
    pub(super) outcome: u8,
    pub(super) marks: u8,
}

pub(super) const TOOK_LONG: u32 = u32::MAX;

const VERDICT: u8 = 0b0011;
const OBSERVED: u8 = 0b0100;
const CALL: u8 = 0b1000;

/// What a row has to have. Whatever is left out means all.
#[derive(Clone, Debug, Default)]
pub(super) struct Sieve {
    pub(super) names: Vec<(Name, u32)>,
    pub(super) verdict: Option<v1::Verdict>,
    pub(super) outcome: Option<v1::OutcomeKind>,
    pub(super) observed: Option<bool>,
    pub(super) calls: bool,
    pub(super) from_us: u64,
    pub(super) until_us: u64,
}

/// The rows after `floor`.
#[derive(Debug)]
pub(super) struct Index {
    rows: VecDeque<Row>,
    rows_max: usize,
    floor: Sequence,
    /// Outcomes whose decision is not here yet, by its sequence.
    early: HashMap<Sequence, Ended>,
    /// Nothing older will be added.
    is_whole: bool,
}

/// Which way a query goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    NewestFirst,
    OldestFirst,
}

/// What was found in a part of the index.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) found: Vec<Row>,
    pub(super) looked_at: usize,
    pub(super) then: Then,
}

/// Where a query goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// In the index, beyond this sequence.
    On(Sequence),
    /// Beyond the index.
    Out { floor: Sequence },
    /// Nowhere: what is there is of another time.
    End,
}

// === impl Namer ===

impl Namer<'_> {
    pub(super) fn name(&self, name: Name, text: &str) -> u32 {
        if text.is_empty() {
            return 0;
        }
        let digest = self.0.secret_digest("agentgate/trace-name/1", &[&[name as u8], text.as_bytes()]);
        let first = digest.as_bytes().first_chunk().copied().unwrap_or_default();
        u32::from_be_bytes(first).max(1)
    }

    pub(super) fn row(&self, trace: &v1::CallTrace) -> Row {
        let mut row = Row { sequence: trace.sequence, at_us: trace.at_us, names: [0; NAMES], took_us: 0, outcome: 0, marks: 0 };
        for (place, (name, text)) in row.names.iter_mut().zip([
            (Name::Tenant, &trace.tenant),
            (Name::Principal, &trace.principal),
            (Name::Handle, &trace.handle),
            (Name::Session, &trace.session),
            (Name::Server, &trace.server),
            (Name::Target, &trace.target),
            (Name::Method, &trace.method),
            (Name::Rule, &trace.rule),
        ]) {
            *place = self.name(name, text);
        }
        row.marks = number_of(trace.verdict)
            | if trace.observed { OBSERVED } else { 0 }
            | if is_of_session(&trace.method) { 0 } else { CALL };
        row.end(trace.outcome(), trace.duration_us.unwrap_or_default());
        row
    }
}

/// The rows of sessions lose their names, but for the session, which names nobody. So many they were.
pub(super) fn forget<'a>(rows: impl IntoIterator<Item = &'a mut Row>, sessions: &HashSet<u32>) -> usize {
    let session_of = |row: &Row| row.names.get(Name::Session as usize).copied().unwrap_or_default();
    let of_them = rows.into_iter().filter(|row| sessions.contains(&session_of(row)));
    of_them
        .map(|row| {
            let session = session_of(row);
            row.names = [0; NAMES];
            if let Some(place) = row.names.get_mut(Name::Session as usize) {
                *place = session;
            }
        })
        .count()
}

/// Verdicts and outcomes are a few small numbers.
fn number_of(kind: i32) -> u8 {
    u8::try_from(kind).unwrap_or_default()
}

// === impl Row ===

impl Row {
    fn end(&mut self, kind: v1::OutcomeKind, duration_us: u64) {
        self.outcome = number_of(kind.into());
        self.took_us = u32::try_from(duration_us).unwrap_or(TOOK_LONG);
    }

    fn ended(&mut self, ended: &Ended) {
        if ended.kind != v1::OutcomeKind::Unknown || self.outcome == 0 {
            self.end(ended.kind, ended.duration_us);
        }
    }

    /// The line's outcome, if the row knows it to the end.
    pub(super) fn tell(&self, trace: &mut v1::CallTrace) -> bool {
        trace.outcome = self.outcome.into();
        trace.duration_us = line::known(self.took_us.into());
        self.took_us != TOOK_LONG
    }
}

// === impl Sieve ===

impl Sieve {
    fn wants(&self, row: &Row) -> bool {
        self.names.iter().all(|(name, wanted)| row.names.get(*name as usize) == Some(wanted))
            && self.verdict.is_none_or(|verdict| row.marks & VERDICT == number_of(verdict.into()))
            && self.outcome.is_none_or(|outcome| row.outcome == number_of(outcome.into()))
            && self.observed.is_none_or(|observed| observed == (row.marks & OBSERVED != 0))
            && !(self.calls && row.marks & CALL == 0)
            && (self.from_us..self.until_us).contains(&row.at_us)
    }
}

// === impl Index ===

impl Index {
    /// `early`: outcomes after `floor` of decisions before it.
    pub(super) fn new(rows_max: usize, floor: Sequence, early: impl IntoIterator<Item = Ended>) -> Self {
        let early = early.into_iter().map(|ended| (ended.decision, ended)).collect();
        Self { rows: VecDeque::new(), rows_max, floor, early, is_whole: floor == 0 }
    }

    /// Everything after this sequence is here.
    pub(super) fn floor(&self) -> Sequence {
        self.floor
    }

    /// Whether everything before the index is older than that.
    pub(super) fn begins_before(&self, at_us: u64) -> bool {
        self.rows.front().is_some_and(|oldest| oldest.at_us.saturating_add(SLACK_US) < at_us)
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether nothing older will be added.
    pub(super) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// What is older is left to the journal.
    pub(super) fn leave_it(&mut self) {
        self.is_whole = true;
        self.early = HashMap::new();
        self.say();
    }

    /// A call that was decided just now. Others may have been told of before it that were decided later.
    pub(super) fn add(&mut self, row: Row) {
        let place = self.rows.partition_point(|known| known.sequence < row.sequence);
        let is_known = self.rows.get(place).is_some_and(|known| known.sequence == row.sequence);
        if row.sequence > self.floor && !is_known {
            self.rows.insert(place, row);
        }
        while self.rows.len() > self.rows_max
            && let Some(oldest) = self.rows.pop_front()
        {
            self.floor = oldest.sequence;
            self.leave_it();
        }
        self.say();
    }

    /// All rows after `floor` and up to the floor that was, oldest first.
    pub(super) fn add_older(&mut self, rows: impl DoubleEndedIterator<Item = Row>, floor: Sequence) {
        if self.is_whole {
            return;
        }
        for mut row in rows.rev() {
            if self.rows.len() >= self.rows_max {
                // Of those that are left out this is the newest.
                self.floor = row.sequence;
                self.leave_it();
                return;
            }
            if let Some(ended) = self.early.remove(&row.sequence) {
                row.ended(&ended);
            }
            self.rows.push_front(row);
        }
        self.floor = floor;
        if floor == 0 || self.early.len() > EARLY_MAX {
            self.leave_it();
        }
        self.say();
    }

    pub(super) fn ended(&mut self, ended: &Ended) {
        if let Ok(place) = self.rows.binary_search_by_key(&ended.decision, |row| row.sequence) {
            if let Some(row) = self.rows.get_mut(place) {
                row.ended(ended);
            }
        } else if ended.decision <= self.floor && !self.is_whole {
            let known = self.early.entry(ended.decision).or_insert_with(|| ended.clone());
            if known.kind == v1::OutcomeKind::Unknown {
                *known = ended.clone();
            }
        }
        self.say();
    }

    /// As `forget`, of all rows.
    pub(super) fn forget(&mut self, sessions: &HashSet<u32>) -> usize {
        forget(&mut self.rows, sessions)
    }

    /// Looks at no more than `slice` rows beyond `cursor` for no more than `wanted`.
    pub(super) fn look(&self, sieve: &Sieve, order: Order, cursor: Sequence, wanted: usize, slice: usize) -> Look {
        let mut look = Look { found: Vec::new(), looked_at: 0, then: Then::Out { floor: self.floor } };
        if order == Order::OldestFirst && cursor < self.floor {
            return look;
        }
        // No row is older than one before it by more than the slack, so what halving leaves out is out.
        let too_old = self.rows.partition_point(|row| row.at_us.saturating_add(SLACK_US) < sieve.from_us);
        let too_new = self.rows.partition_point(|row| row.at_us < sieve.until_us.saturating_add(SLACK_US));
        let mut take = |row: &Row| {
            look.looked_at += 1;
            if sieve.wants(row) {
                look.found.push(*row);
            }
            if look.found.len() >= wanted || look.looked_at >= slice {
                return ControlFlow::Break(row.sequence);
            }
            ControlFlow::Continue(())
        };
        let (stopped, end) = match order {
            Order::NewestFirst => {
                let end = self.rows.partition_point(|row| row.sequence < cursor).min(too_new);
                let stopped = self.rows.range(too_old.min(end)..end).rev().try_for_each(&mut take);
                (stopped, if too_old > 0 { Then::End } else { Then::Out { floor: self.floor } })
            }
            Order::OldestFirst => {
                let start = self.rows.partition_point(|row| row.sequence <= cursor).max(too_old);
                (self.rows.range(start..too_new.max(start)).try_for_each(&mut take), Then::End)
            }
        };
        look.then = match stopped {
            ControlFlow::Break(sequence) => Then::On(sequence),
            ControlFlow::Continue(()) => end,
        };
        look
    }

    /// At most so many rows after `cursor` and up to `last`, oldest first.
    pub(super) fn copy(&self, cursor: Sequence, last: Sequence, count: usize) -> Vec<Row> {
        let start = self.rows.partition_point(|row| row.sequence <= cursor);
        self.rows.range(start..).take(count).take_while(|row| row.sequence <= last).copied().collect()
    }

    fn say(&self) {
        metrics::gauge!("agentgate_indexed_traces").set(number(self.rows.len()));
        metrics::gauge!("agentgate_early_outcomes").set(number(self.early.len()));
    }
}
