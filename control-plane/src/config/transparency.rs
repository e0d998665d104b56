//! `[transparency]`: where the log is served, where its tiles lie, and what signs it.

use super::{ConfigError, address};
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

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
}

// === impl Transparency ===

impl Transparency {
    pub(super) fn check(file: TransparencyFile, base: &Path) -> Result<Self, ConfigError> {
        Ok(Self {
            listen: file.listen.map(|text| address("transparency.listen", Some(text), 9_446)).transpose()?,
            directory: base.join(file.directory),
            key: base.join(file.key),
            also: file.also.iter().map(|path| base.join(path)).collect(),
            previous: file.previous,
            origin: file.origin,
        })
    }
}

impl Default for TransparencyFile {
    fn default() -> Self {
        let (also, previous) = (Vec::new(), Vec::new());
        Self { listen: None, directory: "log".into(), key: "log.key".into(), also, previous, origin: None }
    }
}
