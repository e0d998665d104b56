//! A record's stored bytes against what the log says of it. It says nothing about whether the log has that entry.

use super::report::Report;
use agentgate_core::transparency::leaf::Entry;
use agentgate_proto::{transparency, v1};
use prost::Message as _;

/// What a record's bytes are beside what the log says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    Same,
    /// Other bytes.
    Another,
    /// The log says something else of it than it says itself.
    Unlike,
    /// Nobody here can read what it is.
    Unknown,
}

/// Says whether these bytes are the record that the log has there, and of the call that it says.
pub(crate) fn judge(said: &Entry, stored: &[u8], report: &mut Report) {
    let of = Stored::of(said, stored);
    let sentence = of.said(said.sequence);
    match of {
        Stored::Same => report.shown(sentence),
        Stored::Another | Stored::Unlike => report.wrong(sentence),
        Stored::Unknown => report.not_shown(sentence),
    }
}

// === impl Stored ===

impl Stored {
    pub(super) fn of(said: &Entry, stored: &[u8]) -> Self {
        if !said.covers(stored) {
            return Self::Another;
        }
        match v1::Record::decode(stored).ok().and_then(|record| transparency::entry(said.sequence, &record, stored)) {
            Some(own) if own == *said => Self::Same,
            Some(_) => Self::Unlike,
            None => Self::Unknown,
        }
    }

    pub(super) fn said(self, sequence: u64) -> String {
        match self {
            Self::Same => format!("the record {sequence} that was given is the one in the log"),
            Self::Another => format!("the record {sequence} that was given is not the one that the log has there"),
            Self::Unlike => format!("the log says that record {sequence} is of another call or kind than it is"),
            Self::Unknown => {
                format!("what record {sequence} is: it is of a kind that this program does not know")
            }
        }
    }
}
