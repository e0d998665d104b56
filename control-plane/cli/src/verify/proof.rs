//! A proof file: one record as it was stored, and what shows that the log has it. JSON, with bytes in base64.

use super::report::Report;
use super::stored;
use crate::file::fields::{Fields, base64, parse};
use crate::file::{Unreadable, read};
use agentgate_core::transparency::leaf::Entry;
use agentgate_core::transparency::proof::Proof;
use agentgate_core::transparency::tree::Hash;
use agentgate_core::transparency::verify::Audit;
use serde_json::{Value, json};
use std::path::Path;

pub(crate) const FORM: &str = "agentgate proof";
const VERSION: u64 = 1;

/// What no reader looks at could say anything.
const FIELDS: [&str; 7] = ["form", "version", "sequence", "checkpoint", "entry", "hashes", "record"];

/// The largest proof file: a record is never larger than what a journal writes at once, and base64 takes a third more.
pub(crate) const PROOF_FILE_BYTES_MAX: u64 = 8 << 20;

/// One record, and what shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofFile {
    pub checkpoint: Vec<u8>,
    pub entry: Entry,
    pub proof: Proof,
    pub record: Vec<u8>,
}

// === impl ProofFile ===

impl ProofFile {
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "form": FORM,
            "version": VERSION,
            "sequence": self.entry.sequence,
            "checkpoint": String::from_utf8_lossy(&self.checkpoint),
            "entry": base64(&self.entry.encode()),
            "hashes": self.proof.hashes().iter().map(Hash::to_string).collect::<Vec<_>>(),
            "record": base64(&self.record),
        })
    }

    /// # Errors
    /// Where it is not one, or one of a later version.
    pub fn read(path: &Path) -> Result<Self, Unreadable> {
        let value = parse(path, &read(path, PROOF_FILE_BYTES_MAX)?)?;
        let fields = Fields::of(path, &value, FORM, VERSION)?;
        fields.only(&FIELDS)?;
        let entry = fields.bytes("entry")?;
        let entry = Entry::decode(&entry).map_err(|source| Unreadable::Entry { path: path.into(), source })?;
        if fields.number("sequence")? != entry.sequence {
            return Err(fields.wrong("sequence", "what its entry says"));
        }
        Ok(Self {
            checkpoint: fields.text("checkpoint")?.as_bytes().to_vec(),
            entry,
            proof: fields.proof("hashes")?,
            record: fields.bytes("record")?,
        })
    }

    /// Says what it shows of its record, beside what the audit says of the log.
    pub(crate) fn judge(&self, mut audit: Audit<'_>) -> Report {
        audit.included(&self.entry, &self.proof);
        let mut report = Report::of("proof", audit.conclude());
        stored::judge(&self.entry, &self.record, &mut report);
        report
    }
}
