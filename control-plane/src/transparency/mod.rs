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
mod remembered;
pub mod rpc;
mod shown;
mod store;
#[cfg(test)]
mod tests;
mod trouble;
mod witness;

use crate::clock::Clock;
use crate::config;
use crate::journal::{Halting, Journal as _, ReadError, Sequence};
use crate::rarely::Rarely;
use agentgate_core::digest::Digest;
use agentgate_core::error::chain;
use agentgate_core::transparency::checkpoint::Checkpoint;
use agentgate_core::transparency::key::SignerKey;
use agentgate_core::transparency::leaf::Entry;
use agentgate_core::transparency::note::{Note, NoteError};
use agentgate_core::transparency::proof::Proof;
use agentgate_core::transparency::tree::Hash;
use agentgate_core::transparency::trust::Trust;
use agentgate_proto::{LOG_STOPPED, v1};
use bytes::Bytes;
use log::Log;
use remembered::Remembered;
use shown::{Shelf, Shown};
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use store::Store;
use thiserror::Error;
use tokio::sync::{Notify, watch};
use trouble::Trouble;

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
    #[error("`{}`, which says what was shown, cannot be read or written", path.display())]
    Shown { path: PathBuf, source: io::Error },
    /// Nothing may be signed, or written, any more.
    #[error("the journal contradicts what was signed: {0}")]
    Contradiction(String),
    /// As a contradiction, and told apart from it: what is there is what was there once.
    #[error(
        "the journal contradicts what was signed: it was rolled back: {0}; put the newer journal back, or go on under a new key \
         (docs/operating.md, Restoring)"
    )]
    RolledBack(String),
    #[error("no record {0} is in the log")]
    Absent(Sequence),
    #[error("the log's tiles are read or made again, up to {0} records so far; ask again in a moment")]
    Unread(u64),
    #[error("a tile of the log is missing or damaged; it is made again from the journal, ask again in a moment")]
    Spoiled,
    /// What is asked for was not read again before the log stopped, or never will be.
    #[error("{LOG_STOPPED}{0}")]
    Stopped(String),
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
    /// What this replica showed in an earlier life, by its own memory: nothing may contradict that either.
    shown: Option<Shown>,
    /// None: nothing outlives the process, and the log neither.
    shelf: Option<Shelf>,
    published: watch::Sender<Option<Arc<Published>>>,
    /// The log grew, and publishing that failed.
    unpublished: AtomicBool,
    /// Somebody asked for a tile that was written, and it was not there.
    spoiled: Notify,
    /// The newest checkpoint that witnesses cosigned.
    witnessed: Mutex<Option<Arc<Published>>>,
    /// How each witness answered last, by the name of its key.
    witnesses: Mutex<BTreeMap<String, v1::WitnessStanding>>,
    remembered: Remembered,
    /// What the start found that halts nothing, and that people have to know.
    notices: Vec<String>,
    trouble: Trouble,
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
        let shelf = config.map(|config| Shelf::new(&config.directory, &keys));
        let kept = journal.slot(checkpoint_slot()).await?;
        let signed = kept.map(|note| read(&keys.trust, note)).transpose()?;
        let shown = shelf.as_ref().map(Shelf::newest).transpose()?.flatten();
        let sizes = || [signed.as_ref(), shown.as_ref().map(|shown| &shown.published)].into_iter().flatten().map(|one| one.size);
        // The log comes by each root that was signed, and is compared with it there.
        let least = sizes().min().unwrap_or_default();
        let reopened = tokio::task::spawn_blocking(move || Log::reopen(store, least)).await;
        let log = reopened.unwrap_or_else(|_| Log::reopen(Store::memory(), 0));
        let remembered = Remembered::default();
        if let Some(error) = remembered.shorter(journal.health().head, signed.as_ref(), shown.as_ref()) {
            tracing::error!(error = chain(&error), "nothing is signed and nothing is written any more");
            journal.halt(chain(&error));
        }
        let older = shown.as_ref().filter(|_| journal.halted().is_none()).and_then(|shown| shown.slot_is_older(signed.as_ref()));
        let damaged = shelf.as_ref().map(Shelf::damaged).unwrap_or_default();
        metrics::gauge!("agentgate_log_memory_damaged").set(crate::telemetry::number(damaged.len()));
        let notices: Vec<String> = damaged.iter().map(|file| shown::notice(file)).chain(older).collect();
        notices.iter().for_each(|notice| tracing::warn!("{notice}"));
        let is_new = shown.is_none() && journal.halted().is_none();
        let kept = signed.as_ref().zip(shelf.as_ref()).filter(|_| is_new).map(|(signed, shelf)| shelf.keep(&signed.note));
        if let Some(Err(error)) = &kept {
            tracing::warn!(error = chain(error), "what was signed is served once it is kept; it is tried again");
        }
        // What is in the journal alone is compared with what was shown before anybody sees it.
        let was_shown = shown.as_ref().map(|shown| &shown.published);
        let served = was_shown.filter(|shown| signed.as_ref().is_some_and(|signed| shown.size < signed.size)).or(signed.as_ref());
        let served = served.filter(|_| !matches!(kept, Some(Err(_))));
        let published = watch::Sender::new(served.cloned().map(Arc::new));
        let witnessed = witness::kept(&journal, &keys.trust).await?.map(Arc::new);
        let LogKeys { signers, trust } = keys;
        let (log, signed, witnessed) = (Mutex::new(log), Mutex::new(signed), Mutex::new(witnessed));
        let (unpublished, spoiled) = (AtomicBool::new(false), Notify::new());
        let (witnesses, told) = (Mutex::default(), Rarely::default());
        Ok(Self {
            journal,
            clock,
            keys: signers,
            trust,
            log,
            signed,
            shown,
            shelf,
            published,
            unpublished,
            spoiled,
            witnessed,
            witnesses,
            remembered,
            notices,
            trouble: Trouble::default(),
            told,
        })
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

    /// A log that is stopped has all that it was stopped with; one that is not may have more in a moment.
    fn absent(&self, sequence: Sequence) -> TransparencyError {
        self.stopped().map_or(TransparencyError::Absent(sequence), TransparencyError::Stopped)
    }

    /// What was signed, and is beyond what was read again as yet.
    fn unread(&self, log: &Log) -> TransparencyError {
        self.stopped().map_or_else(|| TransparencyError::Unread(log.size()), TransparencyError::Stopped)
    }

    /// What the log has should be there, and is not.
    fn spoiled(&self) -> TransparencyError {
        self.stopped().map_or_else(
            || {
                self.spoiled.notify_one();
                TransparencyError::Spoiled
            },
            TransparencyError::Stopped,
        )
    }

    fn proven(&self, proof: Result<Proof, LogError>) -> Result<Proof, TransparencyError> {
        proof.map_err(|error| match error {
            LogError::Tile(_) => self.spoiled(),
            LogError::Proof(_) | LogError::Write(_) | LogError::Full => error.into(),
        })
    }

    /// Refuses what a log that stopped before it was read again can prove nothing of.
    ///
    /// # Errors
    /// `Stopped`, where it is so.
    pub fn provable(&self, checkpoint: Option<&Published>) -> Result<(), TransparencyError> {
        let is_read = checkpoint.is_some_and(|checkpoint| checkpoint.size <= self.log().size());
        self.stopped().filter(|_| !is_read).map_or(Ok(()), |why| Err(TransparencyError::Stopped(why)))
    }

    /// That the record is in the newest checkpoint's tree.
    ///
    /// # Errors
    /// When it is not as yet, or its tiles cannot be read.
    pub fn inclusion(&self, sequence: Sequence) -> Result<(Arc<Published>, Entry, Proof), TransparencyError> {
        let newest = self.newest().ok_or_else(|| self.absent(sequence))?;
        let (entry, proof) = self.inclusion_in(&newest, sequence)?;
        Ok((newest, entry, proof))
    }

    /// That the record is in the tree of this checkpoint.
    ///
    /// # Errors
    /// As `inclusion`.
    pub fn inclusion_in(&self, checkpoint: &Published, sequence: Sequence) -> Result<(Entry, Proof), TransparencyError> {
        if !(1..=checkpoint.size).contains(&sequence) {
            return Err(self.absent(sequence));
        }
        let log = self.log();
        // What an earlier life signed may not have been read again as yet.
        if log.size() < checkpoint.size {
            return Err(self.unread(&log));
        }
        let entry = log.entry(sequence - 1).ok_or_else(|| self.spoiled())?;
        let proof = self.proven(log.inclusion(sequence - 1, checkpoint.size))?;
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
            let was_signed = self.newest().is_some_and(|newest| new <= newest.size);
            return Err(if was_signed { self.unread(&log) } else { self.absent(new) });
        }
        self.proven(log.consistency(old, new))
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
        let log = self.log();
        let file = log.file(path);
        if file.is_none() && log.was_written(path) {
            self.spoiled.notify_one();
        }
        file.map(Bytes::from)
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
