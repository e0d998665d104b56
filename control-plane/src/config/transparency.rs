//! `[transparency]`: where the log is served, where its tiles lie, and what signs it.

use super::{ConfigError, address, field, positive};
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Witnesses of one log: their cosignatures lie in one slot of the journal, beside the log's own.
pub(super) const WITNESSES_MAX: usize = 8;

/// The transparency log of a journal that lasts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transparency {
    /// None: on the listener of the metrics.
    pub listen: Option<SocketAddr>,
    /// Tiles: they can be made again from the journal.
    pub directory: PathBuf,
    pub key: PathBuf,
    /// Keys that sign beside it, while it is replaced.
    pub also: Vec<PathBuf>,
    /// Verifier keys of the past.
    pub previous: Vec<String>,
    /// The name of a log that has no key as yet.
    pub origin: Option<String>,
    pub witnesses: Vec<Witness>,
    /// How often they are asked.
    pub witness_every: Duration,
    pub anchor: Option<Anchor>,
}

/// Somebody who is asked to see the log grow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    pub url: String,
    /// Its verifier key.
    pub key: String,
    /// Roots for an https address; none: those of the system.
    pub authority: Option<PathBuf>,
}

/// A place outside that is told of checkpoints, and gives receipts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchor {
    pub url: String,
    pub every: Duration,
    /// As a witness's.
    pub authority: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct TransparencyFile {
    listen: Option<String>,
    directory: PathBuf,
    key: PathBuf,
    also: Vec<PathBuf>,
    previous: Vec<String>,
    origin: Option<String>,
    witness: Vec<WitnessFile>,
    witness_s: u32,
    anchor: Option<AnchorFile>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WitnessFile {
    url: String,
    key: String,
    authority: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AnchorFile {
    url: String,
    #[serde(default = "AnchorFile::every_s")]
    every_s: u32,
    authority: Option<PathBuf>,
}

// === impl Transparency ===

impl Transparency {
    pub(super) fn check(file: TransparencyFile, base: &Path) -> Result<Self, ConfigError> {
        if file.witness.len() > WITNESSES_MAX {
            return Err(field("transparency.witness", &format!("names more than {WITNESSES_MAX} witnesses")));
        }
        let in_base = |path: Option<PathBuf>| path.map(|path| base.join(path));
        let witness = |WitnessFile { url, key, authority }| Witness { url, key, authority: in_base(authority) };
        let anchor = |AnchorFile { url, every_s, authority }| {
            let every = positive("transparency.anchor.every_s", every_s, Duration::from_secs)?;
            Ok(Anchor { url, every, authority: in_base(authority) })
        };
        Ok(Self {
            listen: file.listen.map(|text| address("transparency.listen", Some(text), 9_446)).transpose()?,
            directory: base.join(file.directory),
            key: base.join(file.key),
            also: file.also.iter().map(|path| base.join(path)).collect(),
            previous: file.previous,
            origin: file.origin,
            witnesses: file.witness.into_iter().map(witness).collect(),
            witness_every: positive("transparency.witness_s", file.witness_s, Duration::from_secs)?,
            anchor: file.anchor.map(anchor).transpose()?,
        })
    }
}

impl Default for TransparencyFile {
    fn default() -> Self {
        Self {
            listen: None,
            directory: "log".into(),
            key: "log.key".into(),
            also: Vec::new(),
            previous: Vec::new(),
            origin: None,
            witness: Vec::new(),
            witness_s: 10,
            anchor: None,
        }
    }
}

// === impl AnchorFile ===

impl AnchorFile {
    const fn every_s() -> u32 {
        3_600
    }
}
