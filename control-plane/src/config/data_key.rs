//! `[data_key]`: where the key comes from that wraps the journal's keys.

use super::{ConfigError, field};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// Where a data key comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataKeySource {
    File(PathBuf),
    /// The name of a variable.
    Environment(String),
    /// A program and its arguments, which prints it.
    Command(Vec<String>),
}

/// The data key in use, and the files of those before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataKeys {
    pub current: DataKeySource,
    pub previous: Vec<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct DataKeyFile {
    file: Option<PathBuf>,
    environment: Option<String>,
    command: Option<Vec<String>>,
    previous: Vec<PathBuf>,
}

// === impl DataKeys ===

impl DataKeys {
    pub(super) fn check(file: DataKeyFile, base: &Path) -> Result<Self, ConfigError> {
        let current = match (file.file, file.environment, file.command) {
            (None, None, None) => DataKeySource::File(base.join("data.key")),
            (Some(file), None, None) => DataKeySource::File(base.join(file)),
            (None, Some(name), None) if !name.is_empty() => DataKeySource::Environment(name),
            (None, None, Some(command)) if command.first().is_some_and(|program| !program.is_empty()) => {
                DataKeySource::Command(command)
            }
            (None, Some(_), None) => return Err(field("data_key.environment", "is empty; name a variable")),
            (None, None, Some(_)) => return Err(field("data_key.command", "is empty; name a program and its arguments")),
            (Some(_), _, _) | (_, Some(_), _) => {
                return Err(field("data_key", "names the key twice; keep one of `file`, `environment` and `command`"));
            }
        };
        Ok(Self { current, previous: file.previous.iter().map(|file| base.join(file)).collect() })
    }
}
