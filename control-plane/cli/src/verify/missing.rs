//! What is not in a pack though it was asked for: records of the log between others, and calls that no record accounts for. What
//! was not asked for is no omission, and is said to be that.

use super::manifest::Asked;
use super::report::Report;
use super::shape::some;
use crate::pack::Pack;
use agentgate_core::transparency::claim::ranges;
use agentgate_core::transparency::gaps::{Counted, Counters, TooScattered};
use agentgate_core::transparency::leaf::{Kind, Source};
use agentgate_proto::v1::CountedAsks;
use agentgate_proto::v1::record::What;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::RangeInclusive;

/// Stretches that one sentence names.
const STRETCHES_NAMED: usize = 20;

/// Records are not quite in the order of their times: replicas have clocks of their own. None is off by so much.
const CLOCKS_APART_US: u64 = 3_600_000_000;

/// Why a call is not there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Why {
    /// The pack holds the whole log, and it has none.
    Log,
    /// Everything of its time was asked for.
    Time,
    /// It may be of somebody or of a time that nobody asked for.
    Unasked,
}

pub(super) fn judge(pack: &Pack, asked: Option<&Asked>, size: u64, report: &mut Report) {
    let everybody = asked.filter(|asked| asked.is_of_everybody());
    let covered = everybody.map(|asked| Covered::of(pack, asked));
    let whole = records(pack, everybody, covered.as_ref(), size, report);
    let Ok(counters) = counters(pack) else {
        return report.not_shown("whether calls are missing: there are more sources than can be counted".into());
    };
    for counted in counters.counted() {
        let (source, missing) = (counted.source, &counted.missing);
        if !counted.twice.is_empty() {
            let twice = some(&counted.twice);
            report.wrong_of(
                "sources of which calls were decided more than once",
                format!("calls of source {source} were decided more than once: {twice}"),
            );
        }
        if missing.is_empty() {
            report.shown(format!("no call of source {source} is missing between {} and {}", counted.begins, counted.ends));
        }
        calls(&counted, covered.as_ref(), whole, report);
    }
}

/// Records that everybody's time covers, with their own times, and their calls.
struct Covered {
    sequences: BTreeMap<u64, u64>,
    calls: HashSet<(Source, u64)>,
}

impl Covered {
    fn of(pack: &Pack, asked: &Asked) -> Self {
        let mut covered = Self { sequences: BTreeMap::new(), calls: HashSet::new() };
        for packed in &pack.records {
            let entry = &packed.entry;
            let at_us = packed.what().map(|(at_us, _)| at_us);
            let Some(at_us) = at_us.filter(|at_us| asked.covers(*at_us)) else { continue };
            covered.sequences.insert(entry.sequence, at_us);
            if entry.kind == Kind::Decision {
                covered.calls.insert((entry.source, entry.counter));
            }
        }
        covered
    }

    /// From where to where the log has no record that was not asked for, but for what clocks do at the edges.
    fn within(&self, asked: &Asked, size: u64) -> Option<RangeInclusive<u64>> {
        let first = if asked.is_of_all_before() { 1 } else { *self.sequences.first_key_value()?.0 };
        let last = if asked.is_until_now() { size } else { *self.sequences.last_key_value()?.0 };
        (first <= last).then_some(first..=last)
    }

    /// Whether what stands there must be of the time: those beside it are, and not by a little.
    fn is_inside(&self, hole: &RangeInclusive<u64>, asked: &Asked) -> bool {
        let before = self.sequences.range(..hole.start()).next_back();
        let after = self.sequences.range(hole.end()..).next();
        [before, after].into_iter().flatten().all(|(_, at_us)| asked.covers_for_sure(*at_us, CLOCKS_APART_US))
    }
}

/// Says which records of the log were asked for and are not there; true: it has all of the log.
fn records(pack: &Pack, asked: Option<&Asked>, covered: Option<&Covered>, size: u64, report: &mut Report) -> bool {
    let (Some(asked), Some(covered)) = (asked, covered) else { return false };
    let Some(within) = covered.within(asked, size) else { return size == 0 };
    let there: BTreeSet<u64> = pack.records.iter().map(|packed| packed.entry.sequence).collect();
    let holes = holes(&there, &within);
    if holes.is_empty() {
        return within == (1..=size);
    }
    let (inside, near): (Vec<_>, Vec<_>) = holes.into_iter().partition(|hole| covered.is_inside(hole, asked));
    if !inside.is_empty() {
        let named = named(&inside);
        report.wrong(format!(
            "all of its time was asked for, and it lacks records of the log that can be of no other time: {named}"
        ));
    }
    if !near.is_empty() {
        let named = named(&near);
        report.not_shown(format!(
            "what the log's records {named} are: all of its time was asked for, and they are so near to its edge that they may be of another"
        ));
    }
    false
}

pub(super) fn holes(there: &BTreeSet<u64>, within: &RangeInclusive<u64>) -> Vec<RangeInclusive<u64>> {
    let mut holes = Vec::new();
    let mut next = Some(*within.start());
    for at in there.range(within.clone()) {
        if let Some(from) = next.filter(|from| from < at) {
            holes.push(from..=at.saturating_sub(1));
        }
        next = at.checked_add(1);
    }
    holes.extend(next.filter(|from| from <= within.end()).map(|from| from..=*within.end()));
    holes
}

pub(super) fn named(stretches: &[RangeInclusive<u64>]) -> String {
    let more = stretches.len().saturating_sub(STRETCHES_NAMED);
    let shown = ranges(stretches.get(..STRETCHES_NAMED).unwrap_or(stretches));
    if more == 0 { shown } else { format!("{shown} and {more} stretches more") }
}

/// The pack's decisions, and the calls that its floods count.
fn counters(pack: &Pack) -> Result<Counters, TooScattered> {
    let mut counters = Counters::default();
    for packed in &pack.records {
        counters.see(&packed.entry)?;
        let Some((_, What::Flood(flood))) = packed.what() else { continue };
        for CountedAsks { source, first, last } in &flood.asks {
            let Ok(source) = source.as_ref().try_into().map(Source) else { continue };
            first.iter().zip(last).try_for_each(|(first, last)| counters.account(source, *first..=*last))?;
        }
    }
    Ok(counters)
}

/// Says why calls of a source are not there, for each reason once.
fn calls(counted: &Counted, covered: Option<&Covered>, whole: bool, report: &mut Report) {
    let source = counted.source;
    let near =
        |counter: Option<u64>| counter.zip(covered).is_some_and(|(counter, covered)| covered.calls.contains(&(source, counter)));
    let why = |stretch: &RangeInclusive<u64>| match near(stretch.start().checked_sub(1)) && near(stretch.end().checked_add(1)) {
        _ if whole => Why::Log,
        true => Why::Time,
        false => Why::Unasked,
    };
    for reason in [Why::Log, Why::Time, Why::Unasked] {
        let missing: Vec<_> = counted.missing.iter().filter(|stretch| why(stretch) == reason).cloned().collect();
        if !missing.is_empty() {
            report.not_shown(reason.said(source, &named(&missing)));
        }
    }
}

// === impl Why ===

impl Why {
    fn said(self, source: Source, missing: &str) -> String {
        match self {
            Self::Log => format!(
                "calls of source {source} have no decision in the log, all of which is here: {missing}; they were refused without a record, or left out of the log"
            ),
            Self::Time => format!(
                "calls of source {source} have no decision here, though all of the time of the calls beside them was asked for: {missing}; \
                 they were refused without a record, decided at another time, or left out"
            ),
            Self::Unasked => {
                format!("what the calls {missing} of source {source} were: they are not among what was asked for")
            }
        }
    }
}
