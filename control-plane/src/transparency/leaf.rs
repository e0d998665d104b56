//! What the log says of a record. A record of a kind that this version does not know stops it: a leaf is for ever.

use crate::journal::Record;
use agentgate_core::transparency::leaf::Entry;
use agentgate_proto::{transparency, v1};
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
    transparency::entry(record.sequence, &parsed, &record.bytes).ok_or(unknown)
}
