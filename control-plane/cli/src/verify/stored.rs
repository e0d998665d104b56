//! A record's stored bytes against what the log says of it. It says nothing about whether the log has that entry.

use super::report::Report;
use agentgate_core::digest::Digest;
use agentgate_core::transparency::leaf::{Entry, Kind};
use agentgate_proto::v1;
use agentgate_proto::v1::record::What;
use prost::Message as _;

/// What a record of ours says it is; none where this program knows no such record.
pub(crate) fn entry(sequence: u64, record: &v1::Record, stored: &[u8]) -> Option<Entry> {
    let what = record.what.as_ref()?;
    let (kind, call) = match what {
        What::Decision(decision) => (Kind::Decision, Some(&decision.call_id)),
        What::Outcome(outcome) => (Kind::Outcome, Some(&outcome.call_id)),
        What::Policy(_) => (Kind::Policy, None),
        What::Flood(_) => (Kind::Flood, None),
        What::Approval(_) => (Kind::Approval, None),
        What::Kill(_) => (Kind::Kill, None),
        What::Mode(_) => (Kind::Mode, None),
    };
    let call = match call {
        Some(call) => Some(Digest::try_from(call.as_ref()).ok()?),
        None => None,
    };
    // A call's counter counts whatever its filter met; the number, what the filter asked about.
    let counter = if let What::Decision(decision) = what { decision.number } else { 0 };
    Some(Entry { counter, ..Entry::of(kind, sequence, call.as_ref(), stored) })
}

/// Says whether these bytes are the record that the log has there, and of the call that it says.
pub(crate) fn judge(said: &Entry, stored: &[u8], report: &mut Report) {
    let sequence = said.sequence;
    if !said.covers(stored) {
        return report.wrong(format!("the record {sequence} that was given is not the one that the log has there"));
    }
    match v1::Record::decode(stored).ok().and_then(|record| entry(sequence, &record, stored)) {
        Some(own) if own == *said => report.shown(format!("the record {sequence} that was given is the one in the log")),
        Some(_) => report.wrong(format!("the log says that record {sequence} is of another call or kind than it is")),
        None => report.not_shown(format!("what record {sequence} is: it is of a kind that this program does not know")),
    }
}
