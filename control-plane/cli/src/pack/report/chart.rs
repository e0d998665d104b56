//! When calls came, and what became of them: columns over the time between the first and the last.

use crate::pack::reading::{Line, Reading};
use agentgate_core::time::Time;

/// So many columns are still told apart on paper.
const COLUMNS: usize = 60;

/// A chart is so many units high and wide: the page and the paper scale it.
pub(super) const HEIGHT: usize = 100;
pub(super) const WIDTH: usize = COLUMNS * COLUMN;
const COLUMN: usize = 10;

/// Between two columns.
const GAP: usize = 2;

/// The smallest count is still seen.
const BAR_HEIGHT_MIN: usize = 2;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Chart {
    pub(super) bars: Vec<Bar>,
    /// Calls of the highest column.
    pub(super) most: usize,
    pub(super) from: String,
    pub(super) to: String,
}

/// One verdict's part of a column, from the top left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bar {
    pub(super) name: &'static str,
    pub(super) count: usize,
    pub(super) x: usize,
    pub(super) y: usize,
    pub(super) width: usize,
    pub(super) height: usize,
}

/// How many of each verdict one column counts: allow, pending, deny.
type Counts = [usize; 3];

const NAMES: [&str; 3] = ["allow", "pending", "deny"];

// === impl Chart ===

impl Chart {
    pub(super) fn of(reading: &Reading) -> Self {
        let calls: Vec<&Line> = reading.lines.iter().filter(|line| line.kind == "decision").collect();
        let (Some(first), Some(last)) = (calls.iter().map(|line| line.at_us).min(), calls.iter().map(|line| line.at_us).max())
        else {
            return Self::default();
        };
        let mut columns = [Counts::default(); COLUMNS];
        for call in &calls {
            let verdict = NAMES.iter().position(|name| *name == call.said).unwrap_or(2);
            let counts = columns.get_mut(column(call.at_us, first, last));
            if let Some(count) = counts.and_then(|counts| counts.get_mut(verdict)) {
                *count = count.saturating_add(1);
            }
        }
        let most = columns.iter().map(|counts| counts.iter().sum()).max().unwrap_or_default();
        let bars = columns.iter().enumerate().flat_map(|(at, counts)| bars(at, counts, most)).collect();
        let word = |micros| Time::from_micros(micros).to_string();
        Self { bars, most, from: word(first), to: word(last) }
    }
}

/// The column of a moment; all in the first where there is but one.
fn column(at: u64, first: u64, last: u64) -> usize {
    let (since, span) = (u128::from(at.saturating_sub(first)), u128::from(last.saturating_sub(first)).saturating_add(1));
    let columns = u128::try_from(COLUMNS).unwrap_or(1);
    usize::try_from(since.saturating_mul(columns) / span).unwrap_or_default()
}

/// From the floor up: what was allowed stands lowest.
fn bars(at: usize, counts: &Counts, most: usize) -> Vec<Bar> {
    let mut floor = HEIGHT;
    let counted = NAMES.into_iter().zip(counts).filter(|(_, count)| **count > 0);
    let bar = |(name, count): (&'static str, &usize)| {
        let height = (count.saturating_mul(HEIGHT) / most.max(1)).max(BAR_HEIGHT_MIN).min(floor);
        floor -= height;
        Bar { name, count: *count, x: at * COLUMN, y: floor, width: COLUMN - GAP, height }
    };
    counted.map(bar).collect()
}
