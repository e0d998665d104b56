//! The witnessed checkpoint that all replicas and every restart find: the newest one, with as many cosignatures as there are.

use super::super::{Published, Transparency, TransparencyError, read};
use super::{Witnesses, witnessed_slot};
use crate::journal::{Journal as _, Slot};
use agentgate_core::transparency::note::Note;
use bytes::Bytes;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// How long a checkpoint with more cosignatures is preferred to newer ones with fewer: a witness that is away for a moment
/// must not cost those who ask for a quorum theirs, and one that is gone must not hold up the others.
pub(super) const FEWER_AFTER: Duration = Duration::from_secs(120);

/// Replicas that may come in between.
const ATTEMPTS_MAX: usize = 8;

// === impl Witnesses ===

impl Witnesses {
    pub(super) async fn keep(&self, note: &Note) -> Result<(), TransparencyError> {
        let mut note = note.clone();
        let mut expected = self.log.journal.slot(witnessed_slot()).await?;
        for _ in 0..ATTEMPTS_MAX {
            if let Some(held) = expected.as_ref().and_then(|held| read(&self.log.trust, held.clone()).ok()) {
                let mine = read(&self.log.trust, Bytes::from(note.to_string()))?;
                if held.size == mine.size && held.root == mine.root {
                    join(&mut note, &held);
                } else if held.size >= mine.size || self.has_fewer(&note, &held) {
                    self.log.saw_witnessed(held);
                    return Ok(());
                }
            }
            let bytes = Bytes::from(note.to_string());
            let told = self.log.journal.set(witnessed_slot(), expected.clone(), Some(bytes.clone())).await;
            match told.map_err(TransparencyError::Keep)? {
                Slot::Set => {
                    self.log.saw_witnessed(read(&self.log.trust, bytes)?);
                    return Ok(());
                }
                Slot::Held(other) => expected = other,
            }
        }
        // Others keep it meanwhile, and it is looked at again in the next round.
        Ok(())
    }

    /// Whether the one that is kept says more, and has not done so for too long.
    fn has_fewer(&self, note: &Note, held: &Published) -> bool {
        let Ok(held) = Note::parse(&held.note) else { return false };
        let mut since = self.fewer_since.lock().unwrap_or_else(PoisonError::into_inner);
        if self.cosignatures(note) >= self.cosignatures(&held) {
            *since = None;
            return false;
        }
        let now = self.clock.elapsed();
        let waited = now.saturating_sub(*since.get_or_insert(now));
        waited < FEWER_AFTER
    }

    fn cosignatures(&self, note: &Note) -> usize {
        let holds = |at_s: Result<Option<u64>, _>| at_s.is_ok_and(|at_s| at_s.is_some());
        self.witnesses.iter().filter(|witness| holds(note.cosigned_by(&witness.key))).count()
    }
}

// === impl Transparency ===

impl Transparency {
    /// What another replica kept, or an earlier life.
    pub(super) async fn take_up_witnessed(&self) -> Result<Option<Arc<Published>>, TransparencyError> {
        Ok(super::kept(&self.journal, &self.trust).await?.map(|kept| self.saw_witnessed(kept)))
    }

    /// The newest of what the slot held: it only ever gets more, but what it held is told by several, and by each when it comes to it.
    fn saw_witnessed(&self, kept: Published) -> Arc<Published> {
        let mut seen = self.seen_by_witnesses();
        let more = |published: &Published| (published.size, published.note.len());
        if let Some(known) = seen.as_ref().filter(|known| more(known) > more(&kept)) {
            return Arc::clone(known);
        }
        gauge(&kept);
        Arc::clone(seen.insert(Arc::new(kept)))
    }
}

/// Cosignatures that another replica got meanwhile.
fn join(note: &mut Note, held: &Published) {
    let Ok(held) = Note::parse(&held.note) else { return };
    for signature in held.signatures() {
        if !note.signatures().iter().any(|own| own.by == signature.by) {
            let _ = note.put(signature.clone());
        }
    }
}

fn gauge(kept: &Published) {
    metrics::gauge!("agentgate_log_witnessed_size")
        .set(crate::telemetry::number(usize::try_from(kept.size).unwrap_or(usize::MAX)));
}
