//! Records and proofs as the transparency log has them: the one place that makes a leaf of a record, for whoever keeps the log
//! and for whoever checks it.

use crate::v1;
use crate::v1::record::What;
use agentgate_core::digest::Digest;
use agentgate_core::transparency::leaf::{Entry, Kind};
use agentgate_core::transparency::proof::Proof;
use prost::bytes::Bytes;

/// What the log says of the record at `sequence`, stored as these bytes. None: it is of a kind that this version does not know,
/// or names a call by something that is no id.
#[must_use]
pub fn entry(sequence: u64, record: &v1::Record, stored: &[u8]) -> Option<Entry> {
    // A call's counter counts whatever its filter met; the number, what the filter asked about.
    let (kind, call, number) = match record.what.as_ref()? {
        What::Decision(decision) => (Kind::Decision, Some(&decision.call_id), decision.number),
        What::Outcome(outcome) => (Kind::Outcome, Some(&outcome.call_id), 0),
        What::Policy(_) => (Kind::Policy, None, 0),
        What::Flood(_) => (Kind::Flood, None, 0),
        What::Approval(_) => (Kind::Approval, None, 0),
        What::Kill(_) => (Kind::Kill, None, 0),
        What::Mode(_) => (Kind::Mode, None, 0),
        What::Hold(_) => (Kind::Hold, None, 0),
        What::Purge(_) => (Kind::Purge, None, 0),
    };
    let call = call.map(|call| Digest::try_from(call.as_ref())).transpose().ok()?;
    Some(Entry { counter: number, ..Entry::of(kind, sequence, call.as_ref(), stored) })
}

#[must_use]
pub fn hashes_to_wire(proof: &Proof) -> Vec<Bytes> {
    proof.hashes().iter().map(|hash| Bytes::copy_from_slice(hash.as_bytes())).collect()
}
