//! Whom a verifier believes: the log's keys, old and new, and the witnesses of whom so many must have seen the same log.
//!
//! A checkpoint is believed when a key of the log signed it. That others saw it as well is said apart, and never assumed.

use super::checkpoint::{Checkpoint, CheckpointError};
use super::key::{Algorithm, KeyId, KeyName, VerifierKey};
use super::note::{Note, NoteError};
use alloc::vec::Vec;
use thiserror::Error;

/// The most keys of a log, and the most witnesses: each costs a look at every signature.
pub const KEYS_MAX: usize = 100;

/// Public keys, and nothing else, make a verifier.
#[derive(Clone, Debug)]
pub struct Trust {
    origin: KeyName,
    log: Vec<VerifierKey>,
    witnesses: Vec<VerifierKey>,
    quorum: usize,
}

/// A checkpoint that the log signed. Only `Trust::check` makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    checkpoint: Checkpoint,
    by: Vec<KeyId>,
    cosigned: Vec<Cosigned>,
    quorum: usize,
}

/// That a witness saw the log grow to a checkpoint, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cosigned {
    pub by: KeyId,
    pub at_s: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TrustError {
    #[error("a log is verified by 1 to {KEYS_MAX} keys, and not {0}")]
    Keys(usize),
    #[error("the key `{0}` is of a witness, not of a log")]
    Witness(KeyId),
    #[error("the key `{0}` is no witness's; such a key is of the kind 0x04")]
    NoWitness(KeyId),
    #[error("the key `{0}` is of another log than `{1}`")]
    Another(KeyId, KeyName),
    #[error("the key of `{0}` is named twice, and would count as two")]
    Twice(KeyId),
    #[error("{quorum} of {witnesses} witnesses cannot be asked for")]
    Quorum { quorum: usize, witnesses: usize },
    #[error("the checkpoint is no signed note")]
    Note(#[from] NoteError),
    #[error("what is signed is no checkpoint")]
    Checkpoint(#[from] CheckpointError),
    #[error("the checkpoint is of the log `{0}`, not of `{1}`")]
    Origin(KeyName, KeyName),
    #[error("no key of the log `{0}` that was given signed the checkpoint")]
    Stranger(KeyName),
}

// === impl Trust ===

impl Trust {
    /// The keys of one log, which all bear its name. Several are for a log that changed its key.
    ///
    /// # Errors
    /// Where these are not the keys of one log.
    pub fn new(log: Vec<VerifierKey>) -> Result<Self, TrustError> {
        let first = log.first().filter(|_| log.len() <= KEYS_MAX).ok_or(TrustError::Keys(log.len()))?;
        let origin = first.id().name.clone();
        for key in &log {
            match key.algorithm() {
                Algorithm::Ed25519 => {}
                Algorithm::Cosignature => return Err(TrustError::Witness(key.id().clone())),
            }
            if key.id().name != origin {
                return Err(TrustError::Another(key.id().clone(), origin));
            }
        }
        once(&log)?;
        Ok(Self { origin, log, witnesses: Vec::new(), quorum: 0 })
    }

    /// Asks that `quorum` of these witnesses saw each checkpoint. A key counts once, under whatever names.
    ///
    /// # Errors
    /// Where one is no witness's, or is the log's own, and where there are fewer than the quorum.
    pub fn witnessed_by(mut self, witnesses: Vec<VerifierKey>, quorum: usize) -> Result<Self, TrustError> {
        if quorum == 0 || quorum > witnesses.len() || witnesses.len() > KEYS_MAX {
            return Err(TrustError::Quorum { quorum, witnesses: witnesses.len() });
        }
        for key in &witnesses {
            match key.algorithm() {
                Algorithm::Cosignature => {}
                Algorithm::Ed25519 => return Err(TrustError::NoWitness(key.id().clone())),
            }
        }
        let all: Vec<_> = self.log.iter().chain(&witnesses).cloned().collect();
        once(&all)?;
        self.witnesses = witnesses;
        self.quorum = quorum;
        Ok(self)
    }

    #[must_use]
    pub const fn origin(&self) -> &KeyName {
        &self.origin
    }

    /// # Errors
    /// Where the note is none, or is no checkpoint of this log, signed by it.
    pub fn check(&self, note: &[u8]) -> Result<Signed, TrustError> {
        let note = Note::parse(note)?;
        let mut by = Vec::new();
        for key in &self.log {
            if note.signed_by(key)? {
                by.push(key.id().clone());
            }
        }
        // Nothing is said about a text that nobody known has signed, not even that it is no checkpoint.
        if by.is_empty() {
            return Err(TrustError::Stranger(self.origin.clone()));
        }
        let checkpoint = Checkpoint::parse(note.text())?;
        if checkpoint.origin != self.origin {
            return Err(TrustError::Origin(checkpoint.origin, self.origin.clone()));
        }
        let mut cosigned = Vec::new();
        for key in &self.witnesses {
            let at_s = note.cosigned_by(key)?;
            cosigned.extend(at_s.map(|at_s| Cosigned { by: key.id().clone(), at_s }));
        }
        Ok(Signed { checkpoint, by, cosigned, quorum: self.quorum })
    }
}

fn once(keys: &[VerifierKey]) -> Result<(), TrustError> {
    let again = |(at, key): &(usize, &VerifierKey)| keys.iter().take(*at).any(|other| other.key_bytes() == key.key_bytes());
    keys.iter().enumerate().find(again).map_or(Ok(()), |(_, key)| Err(TrustError::Twice(key.id().clone())))
}

// === impl Signed ===

impl Signed {
    #[must_use]
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The log's keys that signed it.
    #[must_use]
    pub fn by(&self) -> &[KeyId] {
        &self.by
    }

    /// The witnesses that saw it, be they enough or not.
    #[must_use]
    pub fn cosigned(&self) -> &[Cosigned] {
        &self.cosigned
    }

    #[must_use]
    pub const fn quorum(&self) -> usize {
        self.quorum
    }

    /// Whether as many witnesses saw it as were asked for. Where none were asked for, nobody did.
    #[must_use]
    pub const fn is_witnessed(&self) -> bool {
        self.quorum > 0 && self.cosigned.len() >= self.quorum
    }
}
