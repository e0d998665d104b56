//! Why a body that a pack calls erased is so: a purge of its session, which is a record of the log like any other, or somebody's word.

use super::report::{Of, Report};
use crate::pack::Pack;
use agentgate_proto::v1;
use agentgate_proto::v1::record::What;
use std::collections::BTreeSet;

const ERASED: [&str; 2] = ["it was erased", "they were erased"];
const SAID: [&str; 2] = [
    "it is said to have been erased; no purge of its session is in this pack",
    "they are said to have been erased; no purge of their sessions is in this pack",
];
/// It is no proof: a body may be erased between the log's signature and the gathering.
const SAID_OF_ALL: [&str; 2] = [
    "it is said to have been erased; no purge of its session is in this pack, which has the whole log: ask for the purge",
    "they are said to have been erased; no purge of their sessions is in this pack, which has the whole log: ask for the purges",
];

/// Sessions whose purges a pack shows to be in the log.
pub(super) struct Purged {
    sessions: BTreeSet<Vec<u8>>,
    whole: bool,
}

// === impl Purged ===

impl Purged {
    /// Of records that are the log's, which has so many.
    pub(super) fn of(pack: &Pack, logged: &BTreeSet<u64>, size: u64) -> Self {
        let mut sessions = BTreeSet::new();
        for packed in pack.records.iter().filter(|packed| logged.contains(&packed.entry.sequence)) {
            let Some((_, What::Purge(purge))) = packed.what() else { continue };
            sessions.extend(purge.sessions.iter().map(|session| session.to_vec()));
        }
        Self { sessions, whole: u64::try_from(logged.len()) == Ok(size) }
    }

    /// Says of an erased body why it says nothing any more.
    pub(super) fn say(&self, sequence: u64, reference: &v1::BodyRef, report: &mut Report) {
        let why = match (self.sessions.contains(reference.session.as_ref()), self.whole) {
            (true, _) => ERASED,
            (false, true) => SAID_OF_ALL,
            (false, false) => SAID,
        };
        report.not_shown_of(sequence, Of::Body, why);
    }
}
