//! Subjects of whom nothing is kept: what leads from their names to their streams is purged too, by a record of its own. It is
//! written once their last keys are gone, and by the sweep wherever a slot is found that leads to nobody.
//!
//! It refuses to guess: a subject is left alone as long as one key of it is there, held or not.

use super::{PURGED_PER_RECORD_MAX, Purged, Retention, RetentionError};
use crate::body::{Kept, Lead};
use crate::journal::{Sequence, Stream};
use agentgate_core::digest::Digest;
use agentgate_core::id::{Principal, Tenant};
use agentgate_core::retention::Extent;
use agentgate_proto::v1;
use bytes::Bytes;
use std::collections::{BTreeSet, HashMap};

/// Slots that lead to streams after which a sweep looks no further: 5 MB while it lasts, and one look through all keys.
pub(super) const LEADS_PER_SWEEP_MAX: usize = 65_536;

type Subject = (Tenant, Principal);

/// Whom an order is about: those of whom it purges something, and the one that it names though nothing of it may be kept but
/// the slot.
pub(super) fn subjects_of(extent: Option<&Extent>, chosen: &[Kept]) -> BTreeSet<Subject> {
    let named = extent.and_then(|extent| Some((extent.tenant()?.clone(), extent.principal()?.clone())));
    chosen.iter().map(|kept| (kept.whose.tenant.clone(), kept.whose.principal.clone())).chain(named).collect()
}

// === impl Retention ===

impl Retention {
    /// Of those of whom nothing is kept any more nobody finds out that they called.
    pub(super) async fn forget_subjects(
        &self,
        subjects: &BTreeSet<Subject>,
        words: &v1::PurgeBody,
        purged: &mut Purged,
    ) -> Result<(), RetentionError> {
        let bodies = &self.rooms.bodies;
        let mut leads = HashMap::new();
        for (tenant, principal) in subjects {
            if let Some(stream) = bodies.stream_there(tenant, principal).await? {
                leads.insert(bodies.stream_slot(tenant, principal), stream);
            }
        }
        self.purge_streams(leads, Some(words), &mut purged.sequences).await
    }

    /// Looks through slots that lead to streams, on from where the last sweep came to. True: it came to the end.
    pub(super) async fn sweep_streams(&self, next: &mut Option<Digest>) -> Result<bool, RetentionError> {
        let (mut leads, mut after) = (HashMap::new(), *next);
        loop {
            let (page, last) = self.rooms.bodies.leads(after).await?;
            leads.extend(page.into_iter().map(|Lead { slot, stream }| (slot, stream)));
            after = last;
            if after.is_none() || leads.len() >= LEADS_PER_SWEEP_MAX {
                break;
            }
            tokio::task::yield_now().await;
        }
        self.leave_kept(&mut leads).await?;
        self.purge_streams(leads, None, &mut Vec::new()).await?;
        *next = after;
        Ok(after.is_none())
    }

    /// Purges the streams that these slots lead to, unless something is kept of their subjects.
    async fn purge_streams(
        &self,
        mut leads: HashMap<Digest, Stream>,
        words: Option<&v1::PurgeBody>,
        sequences: &mut Vec<Sequence>,
    ) -> Result<(), RetentionError> {
        // Before it is looked what is kept: whatever a subject does from here on shows by its version.
        let mut versions = HashMap::new();
        for stream in leads.values() {
            versions.insert(*stream, self.rooms.bodies.journal().version(*stream).await?);
        }
        self.leave_kept(&mut leads).await?;
        let located = leads.iter().map(|(slot, stream)| (*stream, *slot)).collect();
        let named = |stream: &Stream| v1::PurgedStream {
            stream: Bytes::copy_from_slice(stream.0.as_bytes()),
            version: versions.get(stream).copied().unwrap_or_default(),
        };
        let mut streams: Vec<_> = leads.values().map(named).collect();
        // In an order that says nothing of their names.
        streams.sort_by(|one, other| one.stream.cmp(&other.stream));
        for part in streams.chunks(PURGED_PER_RECORD_MAX) {
            let ack = self.write(words, |_| Ok(v1::PurgeRecord { streams: part.to_vec(), ..v1::PurgeRecord::default() }));
            sequences.push(ack.await?.sequence);
            self.carry_out_at(&located).await?;
        }
        Ok(())
    }

    /// Leaves out the slots of subjects of whom a key is there.
    async fn leave_kept(&self, leads: &mut HashMap<Digest, Stream>) -> Result<(), RetentionError> {
        let (bodies, mut after) = (&self.rooms.bodies, None);
        while !leads.is_empty() {
            let (kept, next) = bodies.kept(after).await?;
            for kept in kept {
                leads.remove(&bodies.stream_slot(&kept.whose.tenant, &kept.whose.principal));
            }
            if next.is_none() {
                break;
            }
            after = next;
            // Calls are decided first.
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}
