//! Why something that was given cannot be judged at all. Each has a name, so that nobody takes a torn file for a forged one.

use agentgate_core::transparency::bundle::BundleError;
use agentgate_core::transparency::leaf::EntryError;
use agentgate_core::transparency::note::NoteError;
use agentgate_core::transparency::proof::ProofError;
use rustix::fs::OFlags;
use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use thiserror::Error;

#[derive(Debug, Error)]
pub enum Unreadable {
    #[error("cannot read `{}`", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("`{}` is no ordinary file, and nothing else is read", path.display())]
    Irregular { path: PathBuf },
    #[error("`{}` holds more values than so few bytes have in any file of this form", path.display())]
    Crowded { path: PathBuf },
    #[error("`{}` has more than {max} bytes, which no such file has", path.display())]
    Large { path: PathBuf, max: u64 },
    #[error("`{}` holds {found} {what}, and a pack has at most {max}", path.display())]
    Many { path: PathBuf, what: &'static str, found: usize, max: usize },
    #[error("`{}` is cut short", path.display())]
    Cut { path: PathBuf, source: serde_json::Error },
    #[error("`{}` is corrupt: it is no JSON", path.display())]
    Json { path: PathBuf, source: serde_json::Error },
    #[error("`{}` is corrupt: an object in it holds a key twice", path.display())]
    Twice { path: PathBuf, source: serde_json::Error },
    #[error("`{}` is neither a proof, nor an exported log, nor an evidence pack", path.display())]
    Form { path: PathBuf },
    #[error("`{}` is of version {found} of its form, and this program reads up to {known}; use a newer `agentgate`", path.display())]
    Newer { path: PathBuf, found: u64, known: u64 },
    #[error("`{}` is corrupt: `{field}` is not {wanted}", path.display())]
    Field { path: PathBuf, field: String, wanted: &'static str },
    #[error("`{}` is corrupt: its checkpoint is no signed note", path.display())]
    Checkpoint { path: PathBuf, source: NoteError },
    #[error("`{}` is corrupt: it is no signed note", path.display())]
    Statement { path: PathBuf, source: NoteError },
    #[error("`{}` is of a later form than this program reads; use a newer `agentgate`", path.display())]
    Later { path: PathBuf },
    #[error("`{}` names `{name}`, which is no name of a pack's file, or stands there twice", path.display())]
    Named { path: PathBuf, name: String },
    #[error("`{}` is corrupt: its entry is none", path.display())]
    Entry { path: PathBuf, source: EntryError },
    #[error("`{}` is corrupt: its proof is none", path.display())]
    Proof { path: PathBuf, source: ProofError },
    #[error("`{}` is corrupt", path.display())]
    Bundle { path: PathBuf, source: BundleError },
    #[error("the pack in `{}` lacks `{note}`, without which nothing says that it is one", path.display())]
    Unsigned { path: PathBuf, note: &'static str },
    #[error("`{}` is a file of a pack or of a log, which are checked whole: name its directory, `{}`", path.display(), directory.display())]
    Part { path: PathBuf, directory: PathBuf },
    #[error("`{}` holds no checkpoint: name one that was kept, or a pack, a proof or an exported log", path.display())]
    NoCheckpoint { path: PathBuf },
    #[error("the log in `{}` is cut short: `{file}` is missing; `agentgate log export` goes on where it stopped", path.display())]
    Missing { path: PathBuf, file: String },
}

// === impl Unreadable ===

impl Unreadable {
    /// Whether there is no such file.
    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Self::File { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// The bytes of an ordinary file that is not larger than it may be. A pipe or a device may be endless, and keep whoever opens
/// it waiting: what is asked about it is asked of what was opened.
pub(crate) fn read(path: &Path, max: u64) -> Result<Vec<u8>, Unreadable> {
    let failed = |source| Unreadable::File { path: path.into(), source };
    let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
    let file = File::options().read(true).custom_flags(nonblocking).open(path).map_err(failed)?;
    let found = file.metadata().map_err(failed)?;
    if !found.is_file() {
        return Err(Unreadable::Irregular { path: path.into() });
    }
    if found.len() > max {
        return Err(Unreadable::Large { path: path.into(), max });
    }
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(file, max.saturating_add(1)), &mut bytes).map_err(failed)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > max {
        return Err(Unreadable::Large { path: path.into(), max });
    }
    Ok(bytes)
}
