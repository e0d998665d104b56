//! Which asks a count stands for, by their numbers: so that whoever reads the log tells a call that was counted from one
//! that was left out. It refuses to grow beyond a bound; what it then leaves out shows as missing, and is none the worse.

use agentgate_core::id::CallId;
use agentgate_proto::v1;
use std::collections::BTreeMap;

/// Unbroken runs of numbers that one count names. Calls of a flood follow each other; those of many VMs between others may not.
pub(super) const RUNS_MAX: usize = 4_096;

/// A filter's life, as the log names it.
const SOURCE_BYTES: usize = 20;

#[derive(Debug, Default)]
pub(super) struct Asks {
    /// By their first number; none touches the next.
    sources: BTreeMap<[u8; SOURCE_BYTES], BTreeMap<u64, u64>>,
    runs: usize,
}

// === impl Asks ===

impl Asks {
    pub(super) fn add(&mut self, call: &CallId, number: u64) {
        let digest = call.digest();
        let source = std::array::from_fn(|at| digest.as_bytes().get(at).copied().unwrap_or_default());
        if number == 0 || self.runs >= RUNS_MAX {
            return;
        }
        let runs = self.sources.entry(source).or_default();
        let before = runs.len();
        let below = runs.range(..=number).next_back().map(|(first, last)| (*first, *last));
        let (mut first, mut last) = (number, number);
        match below {
            Some((_, end)) if end >= number => return,
            Some((start, end)) if end.saturating_add(1) == number => first = start,
            Some(_) | None => {}
        }
        if let Some(end) = number.checked_add(1).and_then(|next| runs.remove(&next)) {
            last = end;
        }
        runs.insert(first, last);
        self.runs = (self.runs + runs.len()).saturating_sub(before);
    }

    pub(super) fn to_wire(&self) -> Vec<v1::CountedAsks> {
        let of_source = |(source, runs): (&[u8; SOURCE_BYTES], &BTreeMap<u64, u64>)| v1::CountedAsks {
            source: source.to_vec().into(),
            first: runs.keys().copied().collect(),
            last: runs.values().copied().collect(),
        };
        self.sources.iter().map(of_source).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use agentgate_core::id::{Asker, Epoch};

    fn call(epoch: u8) -> CallId {
        CallId { asker: Asker::try_from("spiffe://a/filter/x").unwrap(), epoch: Epoch([epoch; 16]), counter: 1 }
    }

    fn check(numbers: &[u64], runs: &[(u64, u64)]) {
        let mut asks = Asks::default();
        numbers.iter().for_each(|number| asks.add(&call(1), *number));
        let wire = asks.to_wire();
        let told: Vec<(u64, u64)> =
            wire.iter().flat_map(|source| source.first.iter().copied().zip(source.last.iter().copied())).collect();
        assert_eq!(told, runs, "{numbers:?}");
        assert_eq!(asks.runs, runs.len(), "{numbers:?}");
    }

    #[test]
    fn numbers_that_follow_each_other_are_one_run_in_whatever_order_they_come() {
        check(&[], &[]);
        check(&[0], &[]);
        check(&[1, 2, 3], &[(1, 3)]);
        check(&[3, 1, 2], &[(1, 3)]);
        check(&[5, 1, 5, 1], &[(1, 1), (5, 5)]);
        check(&[1, 3, 5, 4], &[(1, 1), (3, 5)]);
        check(&[1, 3, 5, 4, 2], &[(1, 5)]);
        check(&[u64::MAX, u64::MAX - 1], &[(u64::MAX - 1, u64::MAX)]);
        let scattered: Vec<u64> = (1..).step_by(2).take(RUNS_MAX + 1).collect();
        let named: Vec<(u64, u64)> = scattered.iter().take(RUNS_MAX).map(|number| (*number, *number)).collect();
        check(&scattered, &named);
    }

    #[test]
    fn each_life_of_a_filter_counts_for_itself() {
        let mut asks = Asks::default();
        asks.add(&call(1), 1);
        asks.add(&call(2), 2);
        let wire = asks.to_wire();
        assert_eq!(wire.len(), 2);
        assert!(wire.iter().any(|source| source.source == call(1).digest().as_bytes()[..20] && source.last == [1]));
    }
}
