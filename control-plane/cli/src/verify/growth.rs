//! A growth proof: a file that shows that the log only grew from an older checkpoint to the one in it. JSON, with hashes in base64.
//!
//! It holds no older root: only the checkpoint that the auditor kept says what the log was, and only the one of what he checks says
//! what it is. Its own checkpoint is believed no more than any other.

use super::report::Report;
use crate::file::fields::{Fields, parse};
use crate::file::{Unreadable, read};
use agentgate_core::error::chain;
use agentgate_core::transparency::checkpoint::Checkpoint;
use agentgate_core::transparency::claim::Wrong;
use agentgate_core::transparency::note::Note;
use agentgate_core::transparency::proof::Proof;
use agentgate_core::transparency::tree::Hash;
use agentgate_core::transparency::trust::Trust;
use agentgate_core::transparency::verify::Audit;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

pub(super) const WHAT: &str = "growth proof";

const FORM: &str = "agentgate growth";
const VERSION: u64 = 1;

/// What no reader looks at could say anything.
const FIELDS: [&str; 6] = ["form", "version", "old_size", "new_size", "checkpoint", "hashes"];

/// The largest growth proof: the longest checkpoint, of which JSON may write each byte as two, and hashes, which take far less.
pub(super) const GROWTH_FILE_BYTES_MAX: u64 = 2 << 20;

/// That the log of `old_size` entries grew to that of the checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrowthFile {
    /// Where it was read.
    pub path: PathBuf,
    pub old_size: u64,
    pub new_size: u64,
    pub checkpoint: Vec<u8>,
    pub proof: Proof,
}

/// What is to be said of the proofs themselves, once the rest is judged.
#[derive(Debug, Default)]
pub(super) struct Held {
    wrong: Vec<String>,
    not_shown: Vec<String>,
}

/// Holds older checkpoints against the audit's own, each with the proofs that are of their sizes.
pub(super) fn hold(audit: &mut Audit<'_>, trust: &Trust, older: &[Vec<u8>], grown: &[GrowthFile]) -> Held {
    let Checkpoint { size: new, root, .. } = audit.signed().checkpoint().clone();
    let (mut held, mut used) = (Held::default(), Vec::new());
    for note in older {
        // Of one that the log did not sign no proof is looked at: it is wrong.
        let old = trust.check(note).ok().map(|signed| signed.checkpoint().size);
        let fits = |growth: &&GrowthFile| Some(growth.old_size) == old && growth.new_size == new;
        let before = used.len();
        for growth in grown.iter().filter(fits) {
            audit.older(note, Some(&growth.proof));
            used.push(&growth.path);
        }
        if used.len() == before {
            audit.older(note, None);
        }
    }
    for growth in grown {
        let GrowthFile { path, old_size, new_size, .. } = growth;
        let at = path.display();
        match trust.check(&growth.checkpoint) {
            Err(error) => held.wrong.push(format!("the checkpoint in `{at}` is not the log's: {}", chain(&error))),
            Ok(signed) if signed.checkpoint().size == new && signed.checkpoint().root != root => {
                held.wrong.push(Wrong::Fork { size: new, one: root, other: signed.checkpoint().root }.to_string());
            }
            Ok(_) => {}
        }
        if !used.contains(&path) {
            let lacks = if *new_size == new {
                format!("no older checkpoint that the log signed is of {old_size}")
            } else {
                format!("what is checked is of {new}")
            };
            held.not_shown.push(format!("what `{at}` is for: it is of {old_size} entries that grew to {new_size}, and {lacks}"));
        }
    }
    held
}

// === impl Held ===

impl Held {
    pub(super) fn tell(self, report: &mut Report) {
        self.wrong.into_iter().for_each(|wrong| report.wrong(wrong));
        self.not_shown.into_iter().for_each(|not| report.not_shown(not));
    }
}

// === impl GrowthFile ===

impl GrowthFile {
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "form": FORM,
            "version": VERSION,
            "old_size": self.old_size,
            "new_size": self.new_size,
            "checkpoint": String::from_utf8_lossy(&self.checkpoint),
            "hashes": self.proof.hashes().iter().map(Hash::to_string).collect::<Vec<_>>(),
        })
    }

    /// # Errors
    /// Where it is not one, or one of a later version.
    pub fn read(path: &Path) -> Result<Self, Unreadable> {
        let value = parse(path, &read(path, GROWTH_FILE_BYTES_MAX)?)?;
        let fields = Fields::of(path, &value, FORM, VERSION)?;
        fields.only(&FIELDS)?;
        let checkpoint = fields.text("checkpoint")?.as_bytes().to_vec();
        let note = Note::parse(&checkpoint).map_err(|source| Unreadable::Checkpoint { path: path.into(), source })?;
        let signed = Checkpoint::parse(note.text()).map_err(|_| fields.wrong("checkpoint", "one of a log"))?;
        let (old_size, new_size) = (fields.number("old_size")?, fields.number("new_size")?);
        if new_size != signed.size {
            return Err(fields.wrong("new_size", "what its checkpoint says"));
        }
        Ok(Self { path: path.into(), old_size, new_size, checkpoint, proof: fields.proof("hashes")? })
    }
}
