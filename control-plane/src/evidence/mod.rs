//! Evidence: what an auditor is given. Records as they are stored, and proofs that they are in the log.
//!
//! It changes nothing, and it judges nothing: whoever checks it needs public keys and nobody's word.

pub mod rpc;
#[cfg(test)]
mod tests;

use crate::journal::{Journal, ReadError, Sequence};
use crate::transparency::{Published, Transparency, TransparencyError};
use agentgate_core::transparency::leaf::Entry;
use agentgate_core::transparency::proof::Proof;
use bytes::Bytes;
use std::sync::Arc;
use thiserror::Error;

/// Files of the log in one answer: together some megabyte.
pub const LOG_FILES_MAX: usize = 64;

#[derive(Debug, Error)]
pub enum EvidenceError {
    #[error(transparent)]
    Log(#[from] TransparencyError),
    #[error("the journal cannot be read")]
    Read(#[from] ReadError),
    #[error("record {0} is not what the log says of it; `agentgate journal check` says more")]
    Another(Sequence),
    #[error("{asked} files of the log were asked for, and at most {LOG_FILES_MAX} are given at once")]
    Files { asked: usize },
    #[error("the log has no file `{0}` as yet")]
    NoFile(String),
    #[error("making the evidence failed; the log of this replica says more")]
    Failed,
}

/// A record, and what shows that the log has it.
#[derive(Clone, Debug)]
pub struct Proved {
    pub checkpoint: Arc<Published>,
    pub entry: Entry,
    pub proof: Proof,
    pub record: Bytes,
}

#[derive(Debug)]
pub struct Evidence {
    journal: Arc<dyn Journal>,
    log: Arc<Transparency>,
}

// === impl Evidence ===

impl Evidence {
    #[must_use]
    pub fn new(journal: Arc<dyn Journal>, log: Arc<Transparency>) -> Self {
        Self { journal, log }
    }

    /// One record of the newest checkpoint.
    ///
    /// # Errors
    /// When it is not in the log as yet, or cannot be read.
    pub async fn prove(&self, sequence: Sequence) -> Result<Proved, EvidenceError> {
        let log = Arc::clone(&self.log);
        // Tiles are read from a disk.
        let proved = tokio::task::spawn_blocking(move || log.inclusion(sequence)).await;
        let (checkpoint, entry, proof) = proved.map_err(|_| EvidenceError::Failed)??;
        let page = self.journal.follow(sequence.saturating_sub(1), 1).await?;
        let record = page.into_iter().find(|record| record.sequence == sequence).map(|record| record.bytes);
        let record = record.filter(|record| entry.covers(record)).ok_or(EvidenceError::Another(sequence))?;
        Ok(Proved { checkpoint, entry, proof, record })
    }

    /// # Errors
    /// When there are too many, or one is none.
    pub async fn log_files(&self, paths: Vec<String>) -> Result<Vec<Bytes>, EvidenceError> {
        if paths.len() > LOG_FILES_MAX {
            return Err(EvidenceError::Files { asked: paths.len() });
        }
        let log = Arc::clone(&self.log);
        let read = move || {
            let file = |path: String| log.file(&path).ok_or(EvidenceError::NoFile(path));
            paths.into_iter().map(file).collect::<Result<Vec<_>, _>>()
        };
        tokio::task::spawn_blocking(read).await.map_err(|_| EvidenceError::Failed)?
    }
}
