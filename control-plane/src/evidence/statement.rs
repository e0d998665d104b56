//! What is said of evidence and signed with the log's keys: which records were given, and which files were made of them.
//!
//! Its first line is no name of a log, so that nobody can take a statement for a checkpoint.

use super::{EvidenceError, FILES_MAX, Scope};
use agentgate_core::id::SpiffeId;
use agentgate_core::time::Time;
use agentgate_core::transparency::given::{Given, How};
use agentgate_proto::{body_address, v1};
use serde_json::json;
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// What a manifest says instead of a name, where the bodies are sealed.
const WITHHELD: &str = "(withheld)";

/// How the body of each record was given, so that nobody who holds them can say something else of it afterwards.
#[derive(Debug, Default)]
pub(super) struct Bodies {
    given: Given,
    erased: BTreeSet<u64>,
}

/// The records that were given, out of a log of `size`.
pub(super) fn manifest(
    scope: &Scope,
    by: &SpiffeId,
    at: Time,
    (size, body_bytes_max): (u64, u32),
    records: &BTreeSet<u64>,
    bodies: Bodies,
) -> String {
    // What is signed lasts. The names can be erased as long as only bodies have them.
    let named = |name: &str| if scope.sealed && !name.is_empty() { WITHHELD.to_owned() } else { name.to_owned() };
    let asked = json!({
        "session": named(&scope.session),
        "principal": named(&scope.principal),
        "since_us": scope.since_us,
        "until_us": scope.until_us,
    });
    let (records, pii) = (ranges(records), scope.pii.name());
    // What is sealed may be opened later, and is then still what was given: its address stays.
    let (erased, how, digest) = (ranges(&bodies.erased), if scope.sealed { "sealed" } else { "open" }, bodies.given.digest());
    format!(
        "agentgate evidence 1\nscope {asked}\nby {by}\nat {at}\nsize {size}\nbody_bytes_max {body_bytes_max}\npii {pii}\n\
         records {records}\nerased {erased}\nbodies {how} {digest}\n"
    )
}

/// The files that were made of it.
pub(super) fn files(by: &SpiffeId, at: Time, files: &[v1::EvidenceFile]) -> Result<String, EvidenceError> {
    if files.is_empty() || files.len() > FILES_MAX {
        return Err(EvidenceError::Names);
    }
    let mut text = format!("agentgate evidence pack 1\nby {by}\nat {at}\n");
    let mut names = BTreeSet::new();
    for file in files {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'_' | b'-');
        let is_name = (1..=64).contains(&file.name.len()) && file.name.bytes().all(plain) && names.insert(&file.name);
        if !is_name || file.sha256.len() != 32 {
            return Err(EvidenceError::Names);
        }
        file.sha256.iter().for_each(|byte| {
            // Text grows, and growing cannot fail.
            let _ = write!(text, "{byte:02x}");
        });
        let _ = writeln!(text, " {}", file.name);
    }
    Ok(text)
}

/// `3-5,9`; `none` of none.
fn ranges(sequences: &BTreeSet<u64>) -> String {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for sequence in sequences {
        match ranges.last_mut() {
            Some((_, end)) if end.checked_add(1) == Some(*sequence) => *end = *sequence,
            Some(_) | None => ranges.push((*sequence, *sequence)),
        }
    }
    if ranges.is_empty() {
        return "none".into();
    }
    let range = |(start, end): &(u64, u64)| if start == end { start.to_string() } else { format!("{start}-{end}") };
    ranges.iter().map(range).collect::<Vec<_>>().join(",")
}

// === impl Bodies ===

impl Bodies {
    /// The next record's, in the order of the log.
    pub(super) fn push(&mut self, sequence: u64, body: Option<&v1::EvidenceBody>) {
        let address;
        let how = match body {
            None => How::None,
            Some(body) if body.erased => {
                self.erased.insert(sequence);
                How::Erased
            }
            Some(body) if !body.sealed.is_empty() => {
                address = body_address(&body.sealed);
                How::Sealed { address: address.as_bytes() }
            }
            Some(v1::EvidenceBody { altered: Some(altered), plain, .. }) => How::Altered { pii: altered.pii().word(), plain },
            Some(body) => How::Open { plain: &body.plain },
        };
        self.given.push(sequence, how);
    }
}
