//! Streams of subjects: each is random, and only its slot leads from a name to it. Where a purge left nothing else of a subject,
//! the slot goes too, and with it the last thing that could confirm a guess of the name.
//!
//! INVARIANT: no two streams of a subject take calls at once. Whoever replaces or erases a slot folded the purge that names its
//! stream, and every call under an earlier epoch is fenced off. A stream that took a call between the look and the purge is named
//! in vain: everybody finds that call before the purge, and goes on with the stream.

use super::purge::{Left, Named, streams_of};
use super::{Bodies, KeyError, SEAL_ATTEMPTS_MAX, data_key};
use crate::journal::{ReadError, Record, SLOTS_PAGE_MAX, Sequence, Stream};
use agentgate_core::digest::Digest;
use agentgate_core::id::{Principal, Tenant};
use agentgate_proto::v1;
use agentgate_proto::v1::record;
use agentgate_proto::v1::slot_secret::What;
use bytes::Bytes;
use prost::Message as _;
use std::collections::{HashMap, HashSet};

/// Records of a stream read at once. What is read is what was written while slots were looked through: hardly ever more than one.
const PAGE: u32 = 64;

/// A slot that leads to a subject's stream. It does not say whose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lead {
    pub slot: Digest,
    pub stream: Stream,
}

// === impl Bodies ===

impl Bodies {
    /// The stream of everything that one subject did. Its id is random: without its slot nothing leads from a name to it.
    ///
    /// # Errors
    /// When it cannot be read, or not be kept.
    pub async fn stream(&self, tenant: &Tenant, principal: &Principal) -> Result<Stream, KeyError> {
        let subject = (tenant.clone(), principal.clone());
        for _ in 0..SEAL_ATTEMPTS_MAX {
            let forgotten = {
                let known = self.known();
                if let Some(stream) = known.stream(&subject) {
                    return Ok(stream);
                }
                known.forgotten
            };
            let fresh = Bytes::copy_from_slice(&self.random().map_err(KeyError::Random)?);
            let stream = stream_in(&self.keep(self.stream_slot(tenant, principal), What::Stream(fresh)).await?)?;
            let mut known = self.known();
            // It may have been purged since it was read.
            if known.forgotten == forgotten {
                known.streams(subject, stream);
                return Ok(stream);
            }
        }
        Err(KeyError::Erased)
    }

    /// As `stream`, for whoever only looks. None: nothing was written of this subject as yet, or nothing is left of it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn stream_there(&self, tenant: &Tenant, principal: &Principal) -> Result<Option<Stream>, KeyError> {
        let (name, named) = (self.stream_slot(tenant, principal), self.named());
        let Some(kept) = self.journal.slot(name).await? else { return Ok(None) };
        let stream = stream_in(&self.unwrap(&name, &kept)?)?;
        Ok((!self.is_left(stream, &named).await?).then_some(stream))
    }

    /// Where the stream of this subject is found, or would be.
    #[must_use]
    pub fn stream_slot(&self, tenant: &Tenant, principal: &Principal) -> Digest {
        self.secret_digest("agentgate/slot/stream/1", &[tenant.as_str().as_bytes(), principal.as_str().as_bytes()])
    }

    /// The slots after this one that lead to a stream, and the slot to go on after; none: these were the last ones.
    ///
    /// # Errors
    /// When one cannot be read.
    pub async fn leads(&self, after: Option<Digest>) -> Result<(Vec<Lead>, Option<Digest>), KeyError> {
        let page = self.journal.slots(after, SLOTS_PAGE_MAX).await?;
        let last = page.last().map(|(name, _)| *name);
        let mut leads = Vec::new();
        for (slot, kept) in page.iter().filter(|(_, kept)| data_key::is_wrapped(kept)) {
            let secret = self.unwrap(slot, kept)?;
            if matches!(secret, What::Stream(_)) {
                leads.push(Lead { slot: *slot, stream: stream_in(&secret)? });
            }
        }
        Ok((leads, last))
    }

    /// Erases the slots that lead to the streams of a purge, and says how many there still were. `located`: where some are, so
    /// that not every slot has to be looked at.
    ///
    /// # Errors
    /// When the journal cannot read or write.
    pub async fn erase_streams(
        &self,
        sequence: Sequence,
        purge: &v1::PurgeRecord,
        located: &HashMap<Stream, Digest>,
    ) -> Result<u64, KeyError> {
        let (mut erased, mut sought) = (0, HashSet::new());
        for (stream, version) in streams_of(purge) {
            if self.went_on(stream, Left { version, sequence }).await? {
                continue;
            }
            match located.get(&stream) {
                Some(slot) => erased += u64::from(self.erase_lead(Lead { slot: *slot, stream }).await?),
                None => drop(sought.insert(stream)),
            }
        }
        let mut after = None;
        while !sought.is_empty() {
            let (leads, next) = self.leads(after).await?;
            for lead in leads {
                if sought.remove(&lead.stream) {
                    erased += u64::from(self.erase_lead(lead).await?);
                }
            }
            if next.is_none() {
                break;
            }
            after = next;
            // Calls are decided first.
            tokio::task::yield_now().await;
        }
        Ok(erased)
    }

    /// Only where it still leads there: its subject may have called since, and have another stream.
    async fn erase_lead(&self, Lead { slot, stream }: Lead) -> Result<bool, KeyError> {
        self.erase_slot_if(slot, |held| Ok(stream_in(&self.unwrap(&slot, held)?)? == stream)).await
    }

    /// Whether one of these purges left nobody behind this stream.
    pub(super) async fn is_left(&self, stream: Stream, named: &Named) -> Result<bool, ReadError> {
        match named.left(stream) {
            Some(left) => Ok(!self.went_on(stream, left).await?),
            None => Ok(false),
        }
    }

    /// Whether it took a call after that version and before the purge. The same for everybody, and for ever: both are written
    /// under the fence of the epochs, and what is of no epoch does not count.
    async fn went_on(&self, stream: Stream, Left { version, sequence }: Left) -> Result<bool, ReadError> {
        let mut after = version;
        loop {
            let page = self.journal.read(stream, after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(false) };
            after = last.version;
            if page.iter().any(|record| record.sequence < sequence && is_of_a_call(record)) {
                return Ok(true);
            }
            if last.sequence >= sequence {
                return Ok(false);
            }
        }
    }
}

/// Whoever cannot read it takes it for one: then the stream stays.
fn is_of_a_call(record: &Record) -> bool {
    match v1::Record::decode(record.bytes.clone()).ok().and_then(|record| record.what) {
        Some(record::What::Outcome(_)) => false,
        Some(
            record::What::Decision(_)
            | record::What::Flood(_)
            | record::What::Policy(_)
            | record::What::Approval(_)
            | record::What::Kill(_)
            | record::What::Mode(_)
            | record::What::Hold(_)
            | record::What::Purge(_),
        )
        | None => true,
    }
}

pub(super) fn stream_in(kept: &What) -> Result<Stream, KeyError> {
    let What::Stream(stream) = kept else { return Err(KeyError::Unreadable) };
    Ok(Stream(Digest::try_from(stream.as_ref()).map_err(|_| KeyError::Unreadable)?))
}
