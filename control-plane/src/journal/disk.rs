//! The few things that the journal asks of a disk, so that tests can put a failing one underneath.
//! It refuses to buffer: what `sync` promised is on the medium.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;

pub(super) trait Disk: Send + Sync + fmt::Debug {
    /// The names in a directory, which is made when it is missing.
    fn list(&self, directory: &Path) -> io::Result<Vec<String>>;
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// A new, empty file; one that was there is emptied.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// Durable when it returns.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// What is left for us on the file system of a directory. None: nobody can say.
    fn free_bytes(&self, _directory: &Path) -> Option<u64> {
        None
    }

    /// The directory and the names in it are durable when it returns, whoever made them.
    fn sync_names(&self, directory: &Path) -> io::Result<()>;
}

pub(super) trait File: Send + Sync + fmt::Debug {
    fn length(&self) -> io::Result<u64>;
    /// Fills `buffer` as far as the file goes and says how far.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// All of `bytes`, or an error and any part of them.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    fn sync(&self) -> io::Result<()>;
}

/// The disk of this machine.
#[derive(Clone, Copy, Debug)]
pub(super) struct RealDisk;

// === impl RealDisk ===

impl Disk for RealDisk {
    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        fs::create_dir_all(directory)?;
        fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(OpenOptions::new().read(true).write(true).open(path)?))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut options = OpenOptions::new();
        // Records and bodies are nobody else's to read.
        options.read(true).write(true).create(true).truncate(true).mode(0o600);
        Ok(Arc::new(options.open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)?;
        to.parent().map_or(Ok(()), |parent| fs::File::open(parent)?.sync_all())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn free_bytes(&self, directory: &Path) -> Option<u64> {
        let found = rustix::fs::statvfs(directory).ok()?;
        found.f_bavail.checked_mul(found.f_frsize)
    }

    fn sync_names(&self, directory: &Path) -> io::Result<()> {
        // A directory's own name stands in the one above it.
        directory.ancestors().take(2).try_for_each(|directory| fs::File::open(directory)?.sync_all())
    }
}

// === impl File ===

impl File for fs::File {
    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, mut buffer: &mut [u8], mut offset: u64) -> io::Result<usize> {
        let wanted = buffer.len();
        while !buffer.is_empty() {
            match std::os::unix::fs::FileExt::read_at(self, buffer, offset) {
                Ok(0) => break,
                Ok(count) => {
                    buffer = buffer.get_mut(count..).unwrap_or_default();
                    offset += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(wanted - buffer.len())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}
