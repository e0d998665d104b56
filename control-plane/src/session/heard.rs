//! What other replicas wrote, in the journal's order: their calls are in our lists and tails, and their open calls are closed
//! here when nobody else does it. What this replica wrote itself is met again on this way, and folded once.

use super::past::{self, PastError};
use super::{Session, line};
use crate::journal::{Record, Sequence};
use agentgate_core::time::Time;
use agentgate_proto::v1::record::What;

// === impl Session ===

impl Session {
    /// Others write too: from now on every record after the one that is returned is to be `heard`, in order.
    pub fn follow(&self) -> Sequence {
        self.view().follow()
    }

    /// Whether others write too.
    #[must_use]
    pub fn follows(&self) -> bool {
        self.view().follows()
    }

    /// The next record of the journal, whoever wrote it.
    ///
    /// # Errors
    /// When its words cannot be read. It counts as heard only once they were; what was purged while they were read has none.
    pub async fn heard(&self, record: &Record, at: Time, what: What) -> Result<(), PastError> {
        self.moments.not_before(at);
        let (sequence, is_ours) = (record.sequence, self.view().is_ahead(record.sequence));
        match what {
            What::Decision(decision) if !is_ours => {
                let since = self.bodies.erasures();
                let found = past::found(&self.bodies, record, at, decision).await?;
                let mut trace = line::of_found(&found);
                self.remember(&mut trace, found.record.body.as_ref(), since);
                let mut view = self.view();
                self.erase_if_purged(&mut trace, found.record.body.as_ref(), since);
                if view.reach(sequence) {
                    match found.recorded() {
                        Some(recorded) => view.decided_elsewhere(&recorded, trace),
                        // An erased body names no VM that could still report: nothing is open behind it.
                        None => view.recover(trace),
                    }
                }
            }
            What::Flood(flood) if !is_ours => {
                let since = self.bodies.erasures();
                let mut trace = past::flooded(&self.bodies, sequence, at, &flood).await?;
                self.remember(&mut trace, flood.body.as_ref(), since);
                let mut view = self.view();
                self.erase_if_purged(&mut trace, flood.body.as_ref(), since);
                if view.reach(sequence) {
                    view.flooded(trace);
                }
            }
            // The same outcome again is no news, so that nobody has to know who wrote it.
            What::Outcome(outcome) => self.ended(&past::outcome_of(&outcome)),
            What::Decision(_)
            | What::Flood(_)
            | What::Policy(_)
            | What::Approval(_)
            | What::Kill(_)
            | What::Mode(_)
            | What::Hold(_)
            | What::Purge(_) => {}
        }
        self.reached(record);
        Ok(())
    }

    /// This record was heard, or cannot be.
    pub fn reached(&self, record: &Record) {
        self.view().reach(record.sequence);
        self.subjects.lock().unwrap_or_else(std::sync::PoisonError::into_inner).moved(record.stream, record.version);
    }
}
