//! Whether a file that Envoy's configuration names is missing, or only lies on another machine; and what lies in its place.

use std::fs;
use std::path::{Path, PathBuf};

/// More files than these are counted, not named.
const NAMED_MAX: usize = 6;

/// Where relative paths begin, and how sure it is that Envoy looks for them there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Base {
    pub(crate) path: PathBuf,
    pub(crate) sure: Sure,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Sure {
    /// A person said so.
    Told,
    /// The configuration lies there; its files may lie on another machine.
    Beside,
    #[default]
    Guessed,
}

// === impl Sure ===

impl Sure {
    /// It is looked for here, and is not here.
    #[must_use]
    pub(crate) fn is_missing(self, file: &Path) -> bool {
        let looked_for = match self {
            Self::Told => true,
            Self::Beside => file.parent().is_some_and(Path::is_dir),
            Self::Guessed => false,
        };
        looked_for && matches!(file.try_exists(), Ok(false))
    }
}

/// With the files of the same kind in the folder where it should be.
#[must_use]
pub(crate) fn said(file: &Path) -> String {
    let entries = file.parent().and_then(|folder| fs::read_dir(folder).ok());
    let paths = entries.into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let mut names: Vec<String> = paths
        .filter(|path| path.extension() == file.extension())
        .filter_map(|path| Some(format!("`{}`", path.file_name()?.to_str()?)))
        .collect();
    names.sort();
    let more = names.len().saturating_sub(NAMED_MAX);
    names.truncate(NAMED_MAX);
    match (names.as_slice(), more) {
        ([], _) => "it is not there, and nothing like it beside it".into(),
        (names, 0) => format!("it is not there; beside it are {}", names.join(", ")),
        (names, more) => format!("it is not there; beside it are {} and {more} more", names.join(", ")),
    }
}
