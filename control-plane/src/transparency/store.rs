//! Where tiles lie: files in a directory, or in memory for a journal that is itself in memory.
//!
//! All of it can be made again from the journal, so nothing is synced, and a file that is missing or of another length is
//! made again. Only full tiles are written: they never change. What is not full is cut from memory when somebody asks.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

#[derive(Debug)]
pub(super) enum Store {
    Directory(PathBuf),
    Memory(Mutex<HashMap<String, Vec<u8>>>),
}

// === impl Store ===

impl Store {
    pub(super) fn memory() -> Self {
        Self::Memory(Mutex::default())
    }

    /// Under another name until it is whole.
    pub(super) fn put(&self, path: &str, bytes: Vec<u8>) -> io::Result<()> {
        match self {
            Self::Directory(directory) => {
                let path = directory.join(path);
                if let Some(parent) = path.parent() {
                    fs::create_dir_all(parent)?;
                }
                let unfinished = path.with_extension("unfinished");
                fs::write(&unfinished, bytes)?;
                fs::rename(&unfinished, &path)
            }
            Self::Memory(files) => {
                locked(files).insert(path.to_owned(), bytes);
                Ok(())
            }
        }
    }

    pub(super) fn get(&self, path: &str) -> io::Result<Vec<u8>> {
        match self {
            Self::Directory(directory) => fs::read(directory.join(path)),
            Self::Memory(files) => locked(files).get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into()),
        }
    }
}

fn locked(files: &Mutex<HashMap<String, Vec<u8>>>) -> MutexGuard<'_, HashMap<String, Vec<u8>>> {
    files.lock().unwrap_or_else(PoisonError::into_inner)
}
