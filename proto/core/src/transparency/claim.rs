//! What an audit says: what was shown, what was wrong with what it was given, and what nothing that it was given shows.
//!
//! Each has one sentence for people. None is softened: what was not looked at was not shown.

use super::gaps::{Counted, TooScattered};
use super::key::KeyId;
use super::leaf::{Entry, Source};
use super::proof::ProofError;
use super::tree::Hash;
use super::trust::{Cosigned, TrustError};
use crate::time::Time;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::ops::RangeInclusive;
use thiserror::Error;

/// What was shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// These keys of the log signed that it has so many entries, and this root.
    Signed { size: u64, root: Hash, by: Vec<KeyId> },
    /// As many witnesses as were asked for saw the log grow to this checkpoint.
    Witnessed { by: Vec<Cosigned> },
    /// As many witnesses as were asked for saw the log grow to an older checkpoint, which this one was shown to begin with.
    WitnessedTo { size: u64, by: Vec<Cosigned> },
    /// The log still begins with what an older checkpoint was signed over.
    Consistent { old: u64, new: u64 },
    /// This entry is in the log, where it says that it is.
    Included { entry: Entry },
    /// The entries that were given, from this sequence to that, are the signed ones: none changed, none left out, none added.
    Unchanged { from: u64, to: u64 },
    /// Between a source's first and last call in these entries, each has its decision or is accounted for.
    NoGap { counted: Counted },
}

/// What was given and does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Wrong {
    #[error("the older checkpoint is not the log's")]
    Older(#[source] TrustError),
    #[error("the log signed two roots over {size} entries, `{one}` and `{other}`: it tells different stories")]
    Fork { size: u64, one: Hash, other: Hash },
    #[error("the log of {new} entries does not begin with the {old} that it signed before: it was rewritten")]
    Rewritten { old: u64, new: u64 },
    #[error(
        "the log has {new} entries, and the checkpoint that was kept is of {old}: it was rolled back, or another log is shown"
    )]
    RolledBack { old: u64, new: u64 },
    #[error("the proof that {old} entries grew to {new} does not hold")]
    Consistency { old: u64, new: u64, source: ProofError },
    #[error("the proof that record {sequence} is in the log does not hold")]
    Inclusion { sequence: u64, source: ProofError },
    #[error("entry {found} stands where {wanted} should")]
    Order { wanted: u64, found: u64 },
    #[error("the entries {from} to {to} are not those that were signed")]
    Changed { from: u64, to: u64 },
    #[error("calls of source {of} were decided more than once: {}", listed(.counters))]
    Twice { of: Source, counters: Vec<u64> },
}

/// What nothing that was given shows.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NotShown {
    #[error(
        "not witnessed: {} of {quorum} witnesses saw this checkpoint{}, so that others may have been shown another log",
        .by.len(), among(.by)
    )]
    Witnessed { by: Vec<Cosigned>, quorum: usize },
    #[error("not witnessed: the entries {from} to {to}, which came after what witnesses saw")]
    WitnessedFrom { from: u64, to: u64 },
    #[error("that the log still begins with its {old} first entries: there is neither a proof nor a run of entries over them")]
    Consistent { old: u64 },
    #[error(
        "that the log still begins with its {old} first entries: this checkpoint is of {new}, and was signed before the one that was kept"
    )]
    Earlier { old: u64, new: u64 },
    #[error("that the log is unchanged since an earlier day: no older checkpoint was given")]
    Older,
    #[error("that nothing is missing: no run of entries was given")]
    Run,
    #[error("that the run of entries belongs to the log: no checkpoint is of its first {0}")]
    Start(u64),
    #[error("anything about the run of entries: it ends at {reached}, and {size} are signed")]
    Short { reached: u64, size: u64 },
    #[error("calls of source {of} have no decision in the log: {}", ranges(.missing))]
    Gap { of: Source, missing: Vec<RangeInclusive<u64>> },
    #[error("what source {of} did before its call {begins}")]
    Before { of: Source, begins: u64 },
    #[error("whether calls are missing")]
    Scattered(#[source] TooScattered),
}

/// All that can be said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conclusion {
    pub shown: Vec<Claim>,
    pub wrong: Vec<Wrong>,
    pub not_shown: Vec<NotShown>,
}

// === impl Claim ===

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signed { size, root, by } => {
                write!(f, "{} signed that the log has {size} entries and the root {root}", listed(by))
            }
            Self::Witnessed { by } => write!(f, "witnessed by {}", listed(by)),
            Self::WitnessedTo { size, by } => write!(f, "the first {size} entries are witnessed by {}", listed(by)),
            Self::Consistent { old, new } => write!(f, "the first {old} of {new} entries are as they were when they were signed"),
            Self::Included { entry } => write!(f, "record {} is in the log, by its digest {}", entry.sequence, entry.record),
            Self::Unchanged { from, to } => write!(f, "the entries {from} to {to} are those that were signed, each and no other"),
            Self::NoGap { counted } => {
                let Counted { source, calls, begins, ends, .. } = counted;
                write!(f, "no call of source {source} is missing between {begins} and {ends}: {calls} have decisions")
            }
        }
    }
}

/// The name, and the time as the witness said it.
impl fmt::Display for Cosigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = Time::from_micros(self.at_s.saturating_mul(1_000_000)).to_string();
        write!(f, "{} at {}", self.by, at.replace('T', " "))
    }
}

/// Those who are too few.
fn among(by: &[Cosigned]) -> String {
    if by.is_empty() { String::new() } else { alloc::format!(" ({})", listed(by)) }
}

fn listed<T: ToString>(all: &[T]) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// `3-5, 9`
#[must_use]
pub fn ranges(all: &[RangeInclusive<u64>]) -> String {
    let range = |range: &RangeInclusive<u64>| match (range.start(), range.end()) {
        (start, end) if start == end => start.to_string(),
        (start, end) => alloc::format!("{start}-{end}"),
    };
    all.iter().map(range).collect::<Vec<_>>().join(", ")
}

// === impl Conclusion ===

impl Conclusion {
    /// Whether nothing that was given was wrong. It does not say that enough was given: `not_shown` does.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.wrong.is_empty()
    }
}
