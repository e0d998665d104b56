//! What in a pack an archive would keep for good though nothing of it can be erased: names and text that no reader needs. Each is
//! refused by name. What is said in a body is not looked at here, since a purge erases that.

use super::archive::ArchiveError;
use crate::pack::Pack;
use crate::verify::bundles;
use agentgate_core::transparency::key::VerifierKey;
use agentgate_core::transparency::note::Note;

/// Of Ed25519, which the log's key and every witness's is for.
const SIGNATURE_BYTES: usize = 64;

/// A witness's moment, and its signature.
const COSIGNATURE_BYTES: usize = 8 + SIGNATURE_BYTES;

/// Who may have signed a note.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Log,
    LogAndWitnesses,
}

/// # Errors
/// Where something lasts that nobody needs.
pub(super) fn judge(pack: &Pack, note: &Note) -> Result<(), ArchiveError> {
    let parsed = |what, bytes: &[u8]| Note::parse(bytes).map_err(|source| ArchiveError::Note { what, source });
    let (manifest, checkpoint) = (parsed("manifest", &pack.manifest)?, parsed("checkpoint", &pack.checkpoint)?);
    let log = checkpoint.text().lines().next().unwrap_or_default().to_owned();
    signatures("pack.note", note, &log, By::Log)?;
    signatures("manifest", &manifest, &log, By::Log)?;
    signatures("checkpoint", &checkpoint, &log, By::LogAndWitnesses)?;
    let is_key = |text: &String| VerifierKey::parse(text).is_ok_and(|key| key.id().name.as_str() == log);
    if let Some((at, _)) = pack.keys.iter().enumerate().find(|(_, text)| !is_key(text)) {
        return Err(ArchiveError::Key { at, log });
    }
    bundles(pack).map_err(ArchiveError::Policy)
}

/// Each line is a signature of the log's name, or one of a witness's form where those sign.
fn signatures(what: &'static str, note: &Note, log: &str, by: By) -> Result<(), ArchiveError> {
    let is_one = |name: &str, bytes: usize| match name == log {
        true => bytes == SIGNATURE_BYTES,
        false => by == By::LogAndWitnesses && bytes == COSIGNATURE_BYTES,
    };
    let other = note.signatures().iter().find(|signature| !is_one(signature.by.name.as_str(), signature.bytes.len()));
    other.map_or(Ok(()), |other| Err(ArchiveError::Signature { what, name: other.by.name.as_str().to_owned() }))
}
