//! What is missing: a filter counts its calls, so that a decision that is left out leaves a hole among the others of its source.
//!
//! It sees no hole before the first call nor after the last. It says what the entries show, and not why.

use super::leaf::{Entry, Kind, Source};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::RangeInclusive;
use thiserror::Error;

/// The most stretches of counters that are kept at a time, of all sources together: some 100 bytes each. A log in order has one
/// a source, that is one for each life of each filter.
pub const STRETCHES_MAX: usize = 1 << 21;

/// What a filter calls its first call.
pub const COUNTER_FIRST: u64 = 1;

/// The counters of decisions, by source.
#[derive(Clone, Debug)]
pub struct Counters {
    sources: BTreeMap<Source, Seen>,
    stretches: usize,
    stretches_max: usize,
}

/// What the log shows of one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    pub source: Source,
    /// How many decisions there are.
    pub calls: u64,
    /// The lowest counter and the highest.
    pub begins: u64,
    pub ends: u64,
    /// Between them, what neither a decision nor anything else accounts for.
    pub missing: Vec<RangeInclusive<u64>>,
    /// What has no decision and was accounted for otherwise: floods.
    pub accounted: Vec<RangeInclusive<u64>>,
    /// Counters that were decided more than once.
    pub twice: Vec<u64>,
    /// How many decisions stand behind one of a later call. Calls may overtake each other: it is no fault.
    pub overtaken: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the counters of the log's sources are in more than {max} stretches, more than are kept")]
pub struct TooScattered {
    pub max: usize,
}

#[derive(Clone, Debug, Default)]
struct Seen {
    calls: u64,
    decided: Stretches,
    accounted: Stretches,
    twice: Vec<u64>,
    overtaken: u64,
}

/// Disjoint stretches of counters, by their first; none touches the next.
#[derive(Clone, Debug, Default)]
struct Stretches(BTreeMap<u64, u64>);

// === impl Counters ===

impl Default for Counters {
    fn default() -> Self {
        Self::bounded(STRETCHES_MAX)
    }
}

impl Counters {
    /// Keeps at most so many stretches.
    #[must_use]
    pub const fn bounded(stretches_max: usize) -> Self {
        Self { sources: BTreeMap::new(), stretches: 0, stretches_max }
    }

    /// Takes the next entry. Only decisions count: each call has one. One whose filter does not number its asks says nothing of
    /// the others.
    ///
    /// # Errors
    /// `TooScattered`, and from then on nothing can be said.
    pub fn see(&mut self, entry: &Entry) -> Result<(), TooScattered> {
        if entry.kind != Kind::Decision || entry.source == Source::NONE || entry.counter < COUNTER_FIRST {
            return Ok(());
        }
        let seen = self.sources.entry(entry.source).or_default();
        let before = seen.weight();
        seen.calls += 1;
        if seen.decided.contains(entry.counter) {
            seen.twice.push(entry.counter);
        } else {
            seen.overtaken += u64::from(seen.decided.last().is_some_and(|last| last > entry.counter));
            seen.decided.insert(entry.counter..=entry.counter);
        }
        let after = seen.weight();
        self.weigh(before, after)
    }

    /// Says that these calls of a source are accounted for otherwise.
    ///
    /// # Errors
    /// `TooScattered`, and from then on nothing can be said.
    pub fn account(&mut self, source: Source, counters: RangeInclusive<u64>) -> Result<(), TooScattered> {
        if counters.is_empty() {
            return Ok(());
        }
        let seen = self.sources.entry(source).or_default();
        let before = seen.weight();
        seen.accounted.insert(counters);
        let after = seen.weight();
        self.weigh(before, after)
    }

    /// What is there, source by source.
    pub fn counted(&self) -> impl Iterator<Item = Counted> {
        self.sources.iter().filter_map(|(source, seen)| seen.counted(*source))
    }

    const fn weigh(&mut self, before: usize, after: usize) -> Result<(), TooScattered> {
        self.stretches = (self.stretches + after).saturating_sub(before);
        if self.stretches > self.stretches_max { Err(TooScattered { max: self.stretches_max }) } else { Ok(()) }
    }
}

// === impl Seen ===

impl Seen {
    fn weight(&self) -> usize {
        self.decided.0.len() + self.accounted.0.len() + self.twice.len()
    }

    fn counted(&self, source: Source) -> Option<Counted> {
        let mut all = self.decided.clone();
        self.accounted.iter().for_each(|stretch| all.insert(stretch));
        let (begins, ends) = (all.first()?, all.last()?);
        let undecided = self.decided.holes(begins, ends);
        let accounted = undecided.iter().flat_map(|hole| self.accounted.iter().filter_map(|other| common(hole, &other)));
        let mut twice = self.twice.clone();
        twice.sort_unstable();
        twice.dedup();
        Some(Counted {
            source,
            calls: self.calls,
            begins,
            ends,
            missing: all.holes(begins, ends),
            accounted: accounted.collect(),
            twice,
            overtaken: self.overtaken,
        })
    }
}

fn common(one: &RangeInclusive<u64>, other: &RangeInclusive<u64>) -> Option<RangeInclusive<u64>> {
    let both = *one.start().max(other.start())..=*one.end().min(other.end());
    (!both.is_empty()).then_some(both)
}

// === impl Stretches ===

impl Stretches {
    fn iter(&self) -> impl Iterator<Item = RangeInclusive<u64>> {
        self.0.iter().map(|(start, end)| *start..=*end)
    }

    fn first(&self) -> Option<u64> {
        self.0.first_key_value().map(|(start, _)| *start)
    }

    fn last(&self) -> Option<u64> {
        self.0.last_key_value().map(|(_, end)| *end)
    }

    fn contains(&self, counter: u64) -> bool {
        self.0.range(..=counter).next_back().is_some_and(|(_, end)| *end >= counter)
    }

    fn insert(&mut self, stretch: RangeInclusive<u64>) {
        let (mut start, mut end) = stretch.into_inner();
        // Whatever overlaps or touches becomes part of it.
        while let Some((own_start, own_end)) = self.0.range(..=end.saturating_add(1)).next_back().map(|(s, e)| (*s, *e)) {
            if own_end.saturating_add(1) < start {
                break;
            }
            start = start.min(own_start);
            end = end.max(own_end);
            self.0.remove(&own_start);
        }
        self.0.insert(start, end);
    }

    /// What of `begins..=ends` is in no stretch.
    fn holes(&self, begins: u64, ends: u64) -> Vec<RangeInclusive<u64>> {
        let mut holes = Vec::new();
        let mut next = Some(begins);
        for stretch in self.iter() {
            if let Some(from) = next.filter(|from| *stretch.start() > *from) {
                holes.push(from..=stretch.start().saturating_sub(1));
            }
            next = stretch.end().checked_add(1);
        }
        holes.extend(next.filter(|from| *from <= ends).map(|from| from..=ends));
        holes
    }
}
