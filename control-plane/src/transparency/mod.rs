//! The transparency log: a Merkle tree over every record of the journal, signed again and again, so that whoever kept one
//! checkpoint notices when the past was changed.
//!
//! It follows the journal, and every replica comes to the same roots. It refuses to sign what contradicts a root that was
//! signed before: then nothing is written any more, and people are told.

mod anchor;
pub mod http;
mod integrate;
mod keys;
mod leaf;
mod log;
pub mod rpc;
mod store;
#[cfg(test)]
mod tests;
mod witness;

use crate::clock::Clock;
use crate::config;
use crate::journal::{Halting, Journal as _, ReadError, Sequence};
use crate::rarely::Rarely;
use agentgate_core::digest::Digest;
use agentgate_core::transparency::checkpoint::Checkpoint;
use agentgate_core::transparency::key::SignerKey;
use agentgate_core::transparency::leaf::Entry;
use agentgate_core::transparency::note::{Note, NoteError};
use agentgate_core::transparency::proof::Proof;
use agentgate_core::transparency::tree::Hash;
use agentgate_core::transparency::trust::Trust;
use agentgate_proto::v1;
use bytes::Bytes;
use log::Log;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use store::Store;
use thiserror::Error;
use tokio::sync::watch;

pub use anchor::{AnchorError, Anchoring};
pub use keys::{LogKeyError, LogKeys, log_keys};
pub use leaf::{Unknown, entry};
pub use log::LogError;
pub use witness::{WitnessError, Witnesses};

/// A checkpoint as it was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The signed note.
    pub note: Bytes,
    pub size: u64,
    pub root: Hash,
}

/// Why the log cannot go on.
#[derive(Debug, Error)]
pub enum TransparencyError {
    #[error("the journal cannot be read")]
    Read(#[from] ReadError),
    #[error(transparent)]
    Leaf(#[from] leaf::Unknown),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("the checkpoint cannot be kept")]
    Keep(#[source] crate::journal::AppendError),
    #[error("the checkpoint cannot be signed: {0}")]
    Sign(String),
    #[error("the last checkpoint is not of this log's keys ({0}); name the keys of the past in `transparency.previous`")]
    Stranger(String),
    /// Nothing may be signed, or written, any more.
    #[error("the journal contradicts what was signed: {0}")]
    Contradiction(String),
    #[error("no record {0} is in the log")]
    Absent(Sequence),
}

#[derive(Debug)]
pub struct Transparency {
    journal: Halting,
    clock: Clock,
    keys: Vec<SignerKey>,
    trust: Trust,
    log: Mutex<Log>,
    /// What others, or this replica in an earlier life, signed: nothing may contradict it.
    signed: Mutex<Option<Published>>,
    published: watch::Sender<Option<Arc<Published>>>,
    /// The newest checkpoint that witnesses cosigned.
    witnessed: Mutex<Option<Arc<Published>>>,
    /// How each witness answered last, by the name of its key.
    witnesses: Mutex<BTreeMap<String, v1::WitnessStanding>>,
    told: Rarely,
}

// === impl Transparency ===

impl Transparency {
    /// Takes up the last checkpoint. A journal that is shorter than it is halted here, and one that is another is as soon as
    /// it was read.
    ///
    /// # Errors
    /// When the journal cannot say what was signed, or no known key signed it.
    pub async fn open(
        journal: Halting,
        clock: Clock,
        keys: LogKeys,
        config: Option<&config::Transparency>,
    ) -> Result<Self, TransparencyError> {
        let store = config.map_or_else(Store::memory, |config| Store::Directory(config.directory.clone()));
        let kept = journal.slot(checkpoint_slot()).await?;
        let signed = kept.map(|note| read(&keys.trust, note)).transpose()?;
        let (head, size) = (journal.health().head, signed.as_ref().map_or(0, |signed| signed.size));
        let reopened = tokio::task::spawn_blocking(move || Log::reopen(store, size)).await;
        let log = reopened.unwrap_or_else(|_| Log::reopen(Store::memory(), 0));
        if head < size {
            let why = format!("it has {head} records, and {size} were signed: the store came back older than it was");
            tracing::error!(why, "the journal contradicts its transparency log; nothing is written any more");
            journal.halt(TransparencyError::Contradiction(why).to_string());
        }
        let witnessed = witness::kept(&journal, &keys.trust).await?.map(Arc::new);
        let published = watch::Sender::new(signed.clone().map(Arc::new));
        let LogKeys { signers, trust } = keys;
        let (log, signed, witnessed) = (Mutex::new(log), Mutex::new(signed), Mutex::new(witnessed));
        let (witnesses, told) = (Mutex::default(), Rarely::default());
        Ok(Self { journal, clock, keys: signers, trust, log, signed, published, witnessed, witnesses, told })
    }

    /// The newest checkpoint; none before the first one.
    #[must_use]
    pub fn newest(&self) -> Option<Arc<Published>> {
        self.published.borrow().clone()
    }

    /// What is published from now on.
    #[must_use]
    pub fn follow(&self) -> watch::Receiver<Option<Arc<Published>>> {
        self.published.subscribe()
    }

    /// The newest one that witnesses cosigned; none before the first.
    #[must_use]
    pub fn witnessed(&self) -> Option<Arc<Published>> {
        self.seen_by_witnesses().clone()
    }

    /// How each witness of the configuration answered last.
    #[must_use]
    pub fn witnesses(&self) -> Vec<v1::WitnessStanding> {
        self.standings().values().cloned().collect()
    }

    fn standings(&self) -> MutexGuard<'_, BTreeMap<String, v1::WitnessStanding>> {
        self.witnesses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Verifier keys as people pass them on, the one in use first.
    #[must_use]
    pub fn verifier_keys(&self) -> Vec<String> {
        self.keys.iter().map(|key| key.verifier().to_string()).collect()
    }

    /// Why nothing is integrated any more.
    #[must_use]
    pub fn stopped(&self) -> Option<String> {
        self.journal.halted().map(str::to_owned)
    }

    /// That the record is in the newest checkpoint's tree.
    ///
    /// # Errors
    /// When it is not as yet, or its tiles cannot be read.
    pub fn inclusion(&self, sequence: Sequence) -> Result<(Arc<Published>, Entry, Proof), TransparencyError> {
        let absent = || TransparencyError::Absent(sequence);
        let newest = self.newest().ok_or_else(absent)?;
        let (entry, proof) = self.inclusion_in(&newest, sequence)?;
        Ok((newest, entry, proof))
    }

    /// That the record is in the tree of this checkpoint.
    ///
    /// # Errors
    /// As `inclusion`.
    pub fn inclusion_in(&self, checkpoint: &Published, sequence: Sequence) -> Result<(Entry, Proof), TransparencyError> {
        let absent = || TransparencyError::Absent(sequence);
        let log = self.log();
        // What an earlier life signed may not have been read again as yet.
        if !(1..=checkpoint.size).contains(&sequence) || log.size() < checkpoint.size {
            return Err(absent());
        }
        let entry = log.entry(sequence - 1).ok_or_else(absent)?;
        let proof = log.inclusion(sequence - 1, checkpoint.size)?;
        Ok((entry, proof))
    }

    /// Signs a statement about the log with its keys. It refuses whatever could be taken for a checkpoint.
    ///
    /// # Errors
    /// When the statement is one, or is no note.
    pub fn sign_statement(&self, statement: &str) -> Result<Bytes, TransparencyError> {
        if Checkpoint::parse(statement).is_ok() {
            return Err(TransparencyError::Sign("a statement is no checkpoint".into()));
        }
        let sign = || {
            let mut note = Note::new(statement)?;
            self.keys.iter().try_for_each(|key| note.sign(key))?;
            Ok(Bytes::from(note.to_string()))
        };
        sign().map_err(|error: NoteError| TransparencyError::Sign(error.to_string()))
    }

    /// That the log only grew from `old` to `new` entries.
    ///
    /// # Errors
    /// When it never had so many, or its tiles cannot be read.
    pub fn consistency(&self, old: u64, new: u64) -> Result<Proof, TransparencyError> {
        let log = self.log();
        if new > log.size() {
            return Err(TransparencyError::Absent(new));
        }
        Ok(log.consistency(old, new)?)
    }

    /// A file of the log, as it is served over HTTP.
    #[must_use]
    pub fn file(&self, path: &str) -> Option<Bytes> {
        if path == "checkpoint" {
            return self.newest().map(|newest| newest.note.clone());
        }
        if path == witness::FILE {
            return self.witnessed().map(|witnessed| witnessed.note.clone());
        }
        self.log().file(path).map(Bytes::from)
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seen_by_witnesses(&self) -> MutexGuard<'_, Option<Arc<Published>>> {
        self.witnessed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn signed(&self) -> MutexGuard<'_, Option<Published>> {
        self.signed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the newest signed checkpoint is, for every replica.
#[must_use]
pub fn checkpoint_slot() -> Digest {
    Digest::of("agentgate/slot/checkpoint/1", b"")
}

fn read(trust: &Trust, note: Bytes) -> Result<Published, TransparencyError> {
    let signed = trust.check(&note).map_err(|error| TransparencyError::Stranger(error.to_string()))?;
    let checkpoint = signed.checkpoint();
    Ok(Published { size: checkpoint.size, root: checkpoint.root, note })
}
