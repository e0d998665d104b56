//! The keys that sign checkpoints, and those that are believed. A new log gets a key of its own; one that has signed never
//! gets another by itself, or a thief of the file could give it one.

use super::checkpoint_slot;
use crate::body::Keys;
use crate::config;
use crate::journal::{Journal, ReadError};
use crate::secret_file;
use agentgate_core::transparency::key::{Algorithm, KeyError, KeyName, SignerKey, VerifierKey};
use agentgate_core::transparency::trust::{Trust, TrustError};
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Keys that sign, the one in use first, and all that are believed.
#[derive(Debug)]
pub struct LogKeys {
    pub(super) signers: Vec<SignerKey>,
    pub(super) trust: Trust,
}

#[derive(Debug, Error)]
pub enum LogKeyError {
    #[error("cannot read the log's key `{}`", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write a new key of the log to `{}`", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("`{}` is no key that signs a log", path.display())]
    Form { path: PathBuf, source: KeyError },
    #[error(
        "the log's key `{}` is missing, and checkpoints were signed with it; put it back, or make a new one and name the lost one's verifier key in `transparency.previous`",
        path.display()
    )]
    Lost { path: PathBuf },
    #[error("`{0}` of `transparency.previous` is no verifier key")]
    Previous(String, #[source] KeyError),
    #[error("`transparency.origin` is no name of a log")]
    Origin(#[source] KeyError),
    #[error("the keys of the log do not belong together")]
    Trust(#[from] TrustError),
    #[error("the system has no randomness to give: {0}")]
    Random(String),
    #[error("the journal cannot say whether it has checkpoints")]
    Journal(#[from] ReadError),
}

/// The keys as they are configured. Without a configuration the log is as short-lived as its journal, and so is its key.
///
/// # Errors
/// When a key is not where it is said to be, or is none.
pub async fn log_keys(config: Option<&config::Transparency>, journal: &dyn Journal, keys: Keys) -> Result<LogKeys, LogKeyError> {
    let Some(config) = config else { return LogKeys::new(vec![fresh(None, keys)?], &[]) };
    if !config.key.exists() {
        if journal.slot(checkpoint_slot()).await?.is_some() {
            return Err(LogKeyError::Lost { path: config.key.clone() });
        }
        let key = fresh(config.origin.as_deref(), keys)?;
        let failed = |source| LogKeyError::Write { path: config.key.clone(), source };
        secret_file::make(&config.key, &key.secret_text()).map_err(failed)?;
        tracing::info!(file = %config.key.display(), verifier = %key.verifier(), "made a new key for the transparency log; give its verifier key to whoever checks it");
    }
    let signers = std::iter::once(&config.key).chain(&config.also).map(|path| read(path)).collect::<Result<Vec<_>, _>>()?;
    LogKeys::new(signers, &config.previous)
}

fn read(path: &Path) -> Result<SignerKey, LogKeyError> {
    let text = std::fs::read_to_string(path).map_err(|source| LogKeyError::Read { path: path.into(), source })?;
    SignerKey::parse(text.trim()).map_err(|source| LogKeyError::Form { path: path.into(), source })
}

/// A name that nobody else's log has, unless one was chosen.
fn fresh(origin: Option<&str>, keys: Keys) -> Result<SignerKey, LogKeyError> {
    let random = keys().map_err(LogKeyError::Random)?;
    let seed = keys().map_err(LogKeyError::Random)?;
    let made = || {
        random.iter().take(4).fold(String::from("agentgate.local/log/"), |mut name, byte| {
            // Text grows, and growing cannot fail.
            let _ = write!(name, "{byte:02x}");
            name
        })
    };
    let origin = origin.map_or_else(made, str::to_owned);
    let name = KeyName::try_from(origin.as_str()).map_err(LogKeyError::Origin)?;
    Ok(SignerKey::from_seed(name, Algorithm::Ed25519, &seed))
}

// === impl LogKeys ===

impl LogKeys {
    pub(super) fn new(signers: Vec<SignerKey>, previous: &[String]) -> Result<Self, LogKeyError> {
        let parse = |text: &String| VerifierKey::parse(text).map_err(|error| LogKeyError::Previous(text.clone(), error));
        let previous = previous.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        let own = signers.iter().map(|key| key.verifier().clone());
        let trust = Trust::new(own.chain(previous).collect())?;
        Ok(Self { signers, trust })
    }
}
