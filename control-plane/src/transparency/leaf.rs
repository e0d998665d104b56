//! What the log says of a record. A record of a kind that this version does not know stops it: a leaf is for ever.

use crate::journal::Record;
use agentgate_core::digest::Digest;
use agentgate_core::transparency::leaf::{Entry, Kind};
use agentgate_proto::v1;
use agentgate_proto::v1::record::What;
use bytes::Bytes;
use prost::Message as _;
use thiserror::Error;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("record {sequence} is none that this version can enter into the log; use the release that wrote it, or a later one")]
pub struct Unknown {
    pub sequence: u64,
}

/// The entry of a record.
///
/// # Errors
/// Where the record is of an unknown kind, or names a call by something that is no id.
pub fn entry(record: &Record) -> Result<Entry, Unknown> {
    let unknown = Unknown { sequence: record.sequence };
    let parsed = v1::Record::decode(record.bytes.clone()).map_err(|_| unknown)?;
    let mut number = 0;
    let (kind, call) = match parsed.what.ok_or(unknown)? {
        What::Decision(decision) => {
            number = decision.number;
            (Kind::Decision, Some(decision.call_id))
        }
        What::Outcome(outcome) => (Kind::Outcome, Some(outcome.call_id)),
        What::Policy(_) => (Kind::Policy, None),
        What::Flood(_) => (Kind::Flood, None),
        What::Approval(_) => (Kind::Approval, None),
        What::Kill(_) => (Kind::Kill, None),
        What::Mode(_) => (Kind::Mode, None),
    };
    let call = call.map(|call: Bytes| Digest::try_from(call.as_ref()).map_err(|_| unknown)).transpose()?;
    // A call's counter counts whatever its filter met; the number, what the filter asked about.
    Ok(Entry { counter: number, ..Entry::of(kind, record.sequence, call.as_ref(), &record.bytes) })
}
