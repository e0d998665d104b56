//! What this replica signed and showed, outside of the journal: the newest checkpoint under each of its keys, in a file beside
//! the tiles. A journal that comes back older brings its own memory of what was signed along; this file does not come with it.
//!
//! It is on the disk before anybody sees the checkpoint. It says what was signed, and judges nothing.

use super::keys::LogKeys;
use super::{Published, TransparencyError, read};
use agentgate_core::time::Time;
use agentgate_core::transparency::key::VerifierKey;
use agentgate_core::transparency::trust::Trust;
use bytes::Bytes;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// Below the log's directory. Unlike tiles it cannot be made again.
const DIRECTORY: &str = "signed";

/// Between the name of a file that was put aside and its number.
const ASIDE: &str = ".damaged-";

/// Names that are tried: whoever damages more is told of already.
pub(super) const ASIDE_MAX: u32 = 100;

/// Where a replica keeps what it showed.
#[derive(Clone, Debug)]
pub(super) struct Shelf {
    directory: PathBuf,
    keys: Vec<VerifierKey>,
}

/// The largest checkpoint that was shown under one of the keys that sign.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    pub(super) published: Published,
    pub(super) file: PathBuf,
    /// When the file was written, as far as the file system knows: a copy may say anything.
    pub(super) at: Option<Time>,
}

// === impl Shown ===

impl Shown {
    /// When it was shown, told with who says so.
    pub(super) fn by_its_file(&self) -> String {
        self.at.map(|at| format!(", by its file of {at}")).unwrap_or_default()
    }

    /// The slot is set before the file is written, so that no crash leaves it behind. None: it is not.
    pub(super) fn slot_is_older(&self, signed: Option<&Published>) -> Option<String> {
        let (slot, size, file) = (signed.map_or(0, |signed| signed.size), self.published.size, self.file.display());
        (slot < size).then(|| {
            format!(
                "the journal's slots came back older than its records: its own newest checkpoint is over {slot} records, and `{file}` \
                 has one over {size}; keys that were erased since then may be back"
            )
        })
    }
}

// === impl Shelf ===

impl Shelf {
    /// For the keys that sign. What a key of the past signed is nothing that those may contradict.
    pub(super) fn new(log: &Path, keys: &LogKeys) -> Self {
        let keys = keys.signers.iter().map(|key| key.verifier().clone()).collect();
        Self { directory: log.join(DIRECTORY), keys }
    }

    /// What was shown last. A file that holds nothing by its key says nothing, and is put aside: it was written whole, so that
    /// no crash explains it.
    pub(super) fn newest(&self) -> Result<Option<Shown>, TransparencyError> {
        let mut newest: Option<Shown> = None;
        for key in &self.keys {
            let file = self.file(key);
            let note = match fs::read(&file) {
                Ok(note) => Bytes::from(note),
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(source) => return Err(TransparencyError::Shown { path: file, source }),
            };
            let Some(published) = by(key, note) else {
                put_aside(&file);
                continue;
            };
            if newest.as_ref().is_none_or(|newest| newest.published.size < published.size) {
                newest = Some(Shown { published, at: written_at(&file), file });
            }
        }
        Ok(newest)
    }

    /// Files that were put aside, now or at an earlier start, until somebody removes them.
    pub(super) fn damaged(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.directory).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut damaged: Vec<PathBuf> = entries.filter(|path| path.to_string_lossy().contains(ASIDE)).collect();
        damaged.sort();
        damaged
    }

    /// Durable when it returns. Only what a key signed is kept as that key's.
    pub(super) fn keep(&self, note: &Bytes) -> Result<(), TransparencyError> {
        let signed = self.keys.iter().filter(|key| by(key, note.clone()).is_some());
        signed
            .map(|key| self.file(key))
            .try_for_each(|path| self.put(&path, note).map_err(|source| TransparencyError::Shown { path, source }))
    }

    fn file(&self, key: &VerifierKey) -> PathBuf {
        self.directory.join(format!("{:08x}", key.id().hash))
    }

    /// Under another name until it is whole and on the disk.
    fn put(&self, file: &Path, note: &Bytes) -> io::Result<()> {
        if !self.directory.exists() {
            fs::create_dir_all(&self.directory)?;
            // A directory's own name stands in the one above it.
            self.directory.parent().map_or(Ok(()), |above| File::open(above)?.sync_all())?;
        }
        let unfinished = file.with_extension("unfinished");
        let mut written = File::create(&unfinished)?;
        written.write_all(note)?;
        written.sync_all()?;
        fs::rename(&unfinished, file)?;
        File::open(&self.directory)?.sync_all()
    }
}

/// Under the first name that is free. Where that fails nothing can be written in its place either.
fn put_aside(file: &Path) {
    let hash = file.file_name().unwrap_or_default().to_string_lossy();
    let free = (1..=ASIDE_MAX).map(|number| file.with_file_name(format!("{hash}{ASIDE}{number}"))).find(|path| !path.exists());
    if let Err(error) = free.map_or(Ok(()), |free| fs::rename(file, free)) {
        tracing::warn!(file = %file.display(), %error, "this is no checkpoint that its key signed, and it cannot be put aside");
    }
}

/// What a file says that was put aside.
pub(super) fn notice(file: &Path) -> String {
    format!(
        "`{}` is no checkpoint that its key signed: it was damaged, or somebody changed it; a rollback from before it was put aside \
         may not have been noticed; remove it once you know why",
        file.display()
    )
}

fn by(key: &VerifierKey, note: Bytes) -> Option<Published> {
    read(&Trust::new(vec![key.clone()]).ok()?, note).ok()
}

fn written_at(file: &Path) -> Option<Time> {
    let since = fs::metadata(file).ok()?.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(since.as_micros()).ok().map(Time::from_micros)
}
