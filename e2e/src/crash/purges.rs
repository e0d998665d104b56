//! What a dead control plane's records say was purged, and what its slots say of how far that is carried out. It takes nothing for
//! purged that no record names.

use super::segments::Record;
use super::slots::Slots;
use agentgate_core::digest::Digest;
use agentgate_proto::v1;
use agentgate_proto::v1::record::What;
use bytes::Bytes;
use prost::Message as _;
use std::collections::HashMap;

const DONE: &str = "agentgate purges 1\n";

/// The slot of a session's key.
pub(crate) fn key_slot(session: &[u8]) -> Digest {
    Digest::of("agentgate/slot/session/1", session)
}

/// An order as it is recorded with its reason: which it is, and the handle that it is about.
pub(crate) fn order_of(number: u64, handle: &str) -> String {
    format!("purge {number} of {handle}")
}

/// The handle that an order is about.
pub(crate) fn handle_of(order: &str) -> &str {
    order.rsplit(' ').next().unwrap_or_default()
}

/// All purges on record.
#[derive(Debug, Default)]
pub(crate) struct Purges {
    /// The record that names each session.
    sessions: HashMap<Bytes, u64>,
    /// Purges up to this record are carried out, as the control plane says.
    pub(crate) done: u64,
    /// Where each is on record.
    all: Vec<u64>,
}

// === impl Purges ===

impl Purges {
    pub(crate) fn of(records: &[Record], slots: &Slots) -> Result<Self, String> {
        let mut purges = Self::default();
        for record in records {
            let what = v1::Record::decode(record.bytes.as_slice()).ok().and_then(|record| record.what);
            let Some(What::Purge(purge)) = what else { continue };
            purges.all.push(record.sequence);
            for session in purge.sessions {
                purges.sessions.entry(session).or_insert(record.sequence);
            }
        }
        if let Some(done) = slots.value(&Digest::of("agentgate/slot/purges/1", b"")) {
            let text = std::str::from_utf8(done).ok().and_then(|text| text.strip_prefix(DONE)?.strip_suffix('\n'));
            let done = text.and_then(|text| text.parse().ok()).ok_or("how far purges were carried out cannot be read")?;
            if !purges.all.contains(&done) {
                return Err(format!("purges up to {done} are carried out, and none is on record there"));
            }
            purges.done = done;
        }
        Ok(purges)
    }

    /// The record that purges this session.
    pub(crate) fn that_names(&self, session: &[u8]) -> Option<u64> {
        self.sessions.get(session).copied()
    }

    pub(crate) fn sessions(&self) -> impl Iterator<Item = (&Bytes, u64)> {
        self.sessions.iter().map(|(session, purge)| (session, *purge))
    }

    /// Those up to this record that are not carried out.
    pub(crate) fn unfinished(&self, last: u64) -> impl Iterator<Item = u64> {
        self.all.iter().copied().filter(move |purge| self.done < *purge && *purge <= last)
    }
}
