//! A checkpoint that was kept: a file of its own, or inside of a pack, a proof or an exported log. Whether the log signed it is not
//! looked at here; what holds none is the caller's mistake and says nothing about the log.

use super::exported::CHECKPOINT;
use super::growth::GrowthFile;
use super::proof::{PROOF_FILE_BYTES_MAX, ProofFile};
use crate::file::{self, Unreadable};
use crate::pack::{PACK_FILE, files};
use agentgate_core::transparency::checkpoint::Checkpoint;
use agentgate_core::transparency::note::Note;
use std::path::Path;

/// # Errors
/// Where it cannot be read, or there is no checkpoint in it.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Unreadable> {
    let found = match path {
        pack if pack.is_dir() && pack.join(PACK_FILE).exists() => of_pack(pack),
        log if log.is_dir() => super::note(&log.join(CHECKPOINT)),
        file if file.file_name().is_some_and(|name| name == PACK_FILE) => of_pack(file.parent().unwrap_or(Path::new(""))),
        file => of_file(file),
    };
    let is_one = |note: &[u8]| Note::parse(note).is_ok_and(|note| Checkpoint::parse(note.text()).is_ok());
    match found {
        Ok(note) if is_one(&note) => Ok(note),
        Err(error) if error.is_absent() && !path.exists() || matches!(error, Unreadable::Irregular { .. }) => Err(error),
        Ok(_) | Err(_) => Err(Unreadable::NoCheckpoint { path: path.into() }),
    }
}

fn of_pack(directory: &Path) -> Result<Vec<u8>, Unreadable> {
    files::pack(directory).map(|pack| pack.checkpoint)
}

fn of_file(path: &Path) -> Result<Vec<u8>, Unreadable> {
    let bytes = file::read(path, PROOF_FILE_BYTES_MAX)?;
    if bytes.first() != Some(&b'{') {
        return Ok(bytes);
    }
    let of_growth = |_| GrowthFile::read(path).map(|growth| growth.checkpoint);
    ProofFile::read(path).map(|proof| proof.checkpoint).or_else(of_growth)
}
