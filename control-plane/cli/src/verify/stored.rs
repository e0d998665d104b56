//! A record's stored bytes against what the log says of it. It says nothing about whether the log has that entry.

use super::report::Report;
use agentgate_core::transparency::leaf::Entry;
use agentgate_proto::{transparency, v1};
use prost::Message as _;

/// Says whether these bytes are the record that the log has there, and of the call that it says.
pub(crate) fn judge(said: &Entry, stored: &[u8], report: &mut Report) {
    let sequence = said.sequence;
    if !said.covers(stored) {
        return report.wrong(format!("the record {sequence} that was given is not the one that the log has there"));
    }
    match v1::Record::decode(stored).ok().and_then(|record| transparency::entry(sequence, &record, stored)) {
        Some(own) if own == *said => report.shown(format!("the record {sequence} that was given is the one in the log")),
        Some(_) => report.wrong(format!("the log says that record {sequence} is of another call or kind than it is")),
        None => report.not_shown(format!("what record {sequence} is: it is of a kind that this program does not know")),
    }
}
