//! Who remembers that more was signed than the journal has: the alarm of a rollback, as it is told to operators and measured.
//!
//! It judges nothing: whoever compares says what came of it, and what was said stays until it is taken back.

use super::{Published, Shown, TransparencyError};
use crate::journal::Sequence;
use agentgate_proto::v1;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Who {
    /// The log's directory.
    Directory,
    /// The journal's own slot.
    Slot,
    Witness,
}

/// All that remember more, by who they are and their name.
#[derive(Debug, Default)]
pub(super) struct Remembered(Mutex<BTreeMap<(Who, String), v1::Remembered>>);

// === impl Who ===

impl Who {
    /// As the metric and the contract spell it.
    const fn word(self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::Slot => "slot",
            Self::Witness => "witness",
        }
    }
}

// === impl Remembered ===

impl Remembered {
    /// `at_us`: 0 where nobody knows when.
    pub(super) fn more(&self, who: Who, name: &str, size: u64, at_us: u64) {
        let more = v1::Remembered { remembers: who.word().into(), name: name.into(), size, at_us };
        self.all().insert((who, name.into()), more);
        self.measure(who);
    }

    /// It agrees with the journal.
    pub(super) fn no_more(&self, who: Who, name: &str) {
        self.all().remove(&(who, name.into()));
        self.measure(who);
    }

    pub(super) fn told(&self) -> Vec<v1::Remembered> {
        self.all().values().cloned().collect()
    }

    fn measure(&self, who: Who) {
        let is_so = self.all().keys().any(|(known, _)| *known == who);
        metrics::gauge!("agentgate_log_rolled_back", "remembers" => who.word()).set(if is_so { 1.0 } else { 0.0 });
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<(Who, String), v1::Remembered>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why a journal of so many records is not the one over which these were signed. None: it has enough.
    pub(super) fn shorter(&self, head: Sequence, signed: Option<&Published>, shown: Option<&Shown>) -> Option<TransparencyError> {
        let by_slot = signed.map(|signed| signed.size).filter(|size| head < *size);
        if let Some(size) = by_slot {
            self.more(Who::Slot, "", size, 0);
        }
        if let Some(shown) = shown.filter(|shown| head < shown.published.size) {
            let Shown { published, file, at } = shown;
            let (size, at_us) = (published.size, at.map_or(0, |at| at.micros()));
            self.more(Who::Directory, &file.display().to_string(), size, at_us);
            let at = shown.by_its_file();
            let why = format!("it has {head} records, and this control plane signed {size}{at} (`{}`)", file.display());
            return Some(TransparencyError::RolledBack(why));
        }
        let size = by_slot?;
        Some(TransparencyError::RolledBack(format!("it has {head} records, and its own newest checkpoint is over {size}")))
    }
}
