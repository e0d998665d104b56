//! Holds the records against the root that was signed last: what somebody may have been shown must be what is there. The root is
//! computed from the records alone; tiles are not looked at.

use super::keys::Keys;
use super::segments::Record;
use super::slots::Slots;
use agentgate_core::digest::Digest;
use agentgate_core::transparency::leaf::{Entry, Kind};
use agentgate_core::transparency::tree::{Frontier, Hash};
use agentgate_proto::v1;
use agentgate_proto::v1::record::What;
use prost::Message as _;

/// How many records the last checkpoint signs; none was kept: 0.
pub(crate) fn signed(records: &[Record], slots: &Slots, keys: &Keys) -> Result<u64, String> {
    let Some(note) = slots.value(&Digest::of("agentgate/slot/checkpoint/1", b"")) else { return Ok(0) };
    let signed = keys.trust.check(note).map_err(|error| format!("the last checkpoint: {error}"))?;
    let (size, root) = (signed.checkpoint().size, signed.checkpoint().root);
    let there = records.len() as u64;
    if there < size {
        return Err(format!("{size} records were signed, and {there} are there"));
    }
    if root_of(records, size)? == root {
        Ok(size)
    } else {
        Err(format!("the first {size} records are not those that were signed"))
    }
}

/// The root over so many of the records.
pub(crate) fn root_of(records: &[Record], size: u64) -> Result<Hash, String> {
    let mut frontier = Frontier::default();
    for record in records.iter().zip(0..size).map(|(record, _)| record) {
        let entry = entry(record).ok_or_else(|| format!("sequence {}: no leaf can be made of it", record.sequence))?;
        frontier.push(entry.leaf_hash()).map_err(|error| error.to_string())?;
    }
    Ok(frontier.root())
}

fn entry(record: &Record) -> Option<Entry> {
    let mut counter = 0;
    let (kind, call) = match v1::Record::decode(record.bytes.as_slice()).ok()?.what? {
        What::Decision(decision) => {
            counter = decision.number;
            (Kind::Decision, Some(decision.call_id))
        }
        What::Outcome(outcome) => (Kind::Outcome, Some(outcome.call_id)),
        What::Policy(_) => (Kind::Policy, None),
        What::Flood(_) => (Kind::Flood, None),
        What::Approval(_) => (Kind::Approval, None),
        What::Kill(_) => (Kind::Kill, None),
        What::Mode(_) => (Kind::Mode, None),
        What::Hold(_) => (Kind::Hold, None),
        What::Purge(_) => (Kind::Purge, None),
    };
    let call = call.map(|call| Digest::try_from(call.as_ref())).transpose().ok()?;
    Some(Entry { counter, ..Entry::of(kind, record.sequence, call.as_ref(), &record.bytes) })
}
