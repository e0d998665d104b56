//! Disks that fail when they are told to, and one that is only memory.

use crate::journal::disk::{Disk, File, RealDisk};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};

/// What goes wrong, for files whose path contains `on`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Write,
    /// This many bytes are written before the error.
    ShortWrite(usize),
    Sync,
    /// New files cannot be filled.
    NoSpace,
    /// Files do not become longer.
    NoRoom,
    /// A sync waits until this is lifted.
    Stall,
}

#[derive(Clone, Debug, Default)]
pub(super) struct FailingDisk {
    plan: Arc<Plan>,
}

#[derive(Debug, Default)]
struct Plan {
    fault: Mutex<Option<(Fault, &'static str)>>,
    changed: Condvar,
}

#[derive(Debug)]
struct FailingFile {
    path: PathBuf,
    file: Arc<dyn File>,
    disk: FailingDisk,
}

/// Copies the files of a journal after each change to its bodies, as a crash at that instant would leave them.
#[derive(Clone, Debug)]
pub(super) struct CopyingDisk {
    from: PathBuf,
    to: PathBuf,
    state: Arc<Mutex<(bool, usize)>>,
}

#[derive(Debug)]
struct CopyingFile {
    path: PathBuf,
    file: Arc<dyn File>,
    disk: CopyingDisk,
}

/// Files in memory.
#[derive(Clone, Debug, Default)]
pub(super) struct MemoryDisk {
    pub files: Arc<Mutex<BTreeMap<PathBuf, Arc<MemoryFile>>>>,
}

#[derive(Debug, Default)]
pub(super) struct MemoryFile(pub Mutex<Vec<u8>>);

// === impl FailingDisk ===

impl FailingDisk {
    pub(super) fn set(&self, fault: Option<(Fault, &'static str)>) {
        *self.plan.fault.lock().unwrap() = fault;
        self.plan.changed.notify_all();
    }

    fn fault(&self, path: &Path) -> Option<Fault> {
        let name = path.to_string_lossy();
        self.plan.fault.lock().unwrap().filter(|(_, on)| name.contains(on)).map(|(fault, _)| fault)
    }

    fn wrapped(&self, path: &Path, file: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(FailingFile { path: path.to_owned(), file, disk: self.clone() })
    }
}

impl Disk for FailingDisk {
    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        RealDisk.list(directory)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(self.wrapped(path, RealDisk.open(path)?))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(self.wrapped(path, RealDisk.create(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }

    fn sync_names(&self, directory: &Path) -> io::Result<()> {
        RealDisk.sync_names(directory)
    }
}

impl File for FailingFile {
    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        match self.disk.fault(&self.path) {
            Some(Fault::Write) => Err(io::Error::other("the disk does not write")),
            Some(Fault::ShortWrite(count)) => {
                self.file.write_at(&bytes[..count.min(bytes.len())], offset)?;
                Err(io::Error::other("the disk wrote a part"))
            }
            Some(Fault::NoSpace) => Err(io::ErrorKind::StorageFull.into()),
            Some(Fault::NoRoom) if offset + bytes.len() as u64 > self.file.length()? => Err(io::ErrorKind::StorageFull.into()),
            Some(Fault::Sync | Fault::Stall | Fault::NoRoom) | None => self.file.write_at(bytes, offset),
        }
    }

    fn sync(&self) -> io::Result<()> {
        let mut plan = self.disk.plan.fault.lock().unwrap();
        while *plan == Some((Fault::Stall, "")) {
            plan = self.disk.plan.changed.wait(plan).unwrap();
        }
        drop(plan);
        match self.disk.fault(&self.path) {
            Some(Fault::Sync) => Err(io::Error::other("the disk does not sync")),
            Some(Fault::Write | Fault::ShortWrite(_) | Fault::NoSpace | Fault::NoRoom | Fault::Stall) | None => self.file.sync(),
        }
    }
}

// === impl CopyingDisk ===

impl CopyingDisk {
    pub(super) fn new(from: &Path, to: &Path) -> Self {
        Self { from: from.to_owned(), to: to.to_owned(), state: Arc::default() }
    }

    pub(super) fn arm(&self, is_armed: bool) {
        self.state.lock().unwrap().0 = is_armed;
    }

    pub(super) fn count(&self) -> usize {
        self.state.lock().unwrap().1
    }

    fn changed(&self, path: &Path) {
        let mut state = self.state.lock().unwrap();
        if !state.0 || !path.to_string_lossy().contains("bodies-") {
            return;
        }
        for kind in ["records", "bodies"] {
            let to = self.to.join(state.1.to_string()).join("journal").join(kind);
            std::fs::create_dir_all(&to).unwrap();
            for name in RealDisk.list(&self.from.join(kind)).unwrap() {
                // A segment that is being prepared has no name to keep.
                let _ = std::fs::copy(self.from.join(kind).join(&name), to.join(&name));
            }
        }
        state.1 += 1;
    }

    fn wrapped(&self, path: &Path, file: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(CopyingFile { path: path.to_owned(), file, disk: self.clone() })
    }
}

impl Disk for CopyingDisk {
    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        RealDisk.list(directory)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(self.wrapped(path, RealDisk.open(path)?))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(self.wrapped(path, RealDisk.create(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)?;
        self.changed(to);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }

    fn sync_names(&self, directory: &Path) -> io::Result<()> {
        RealDisk.sync_names(directory)
    }
}

impl File for CopyingFile {
    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        // Half of it first: a write may end anywhere.
        let half = bytes.len() / 2;
        self.file.write_at(&bytes[..half], offset)?;
        if half > 0 {
            self.disk.changed(&self.path);
        }
        self.file.write_at(&bytes[half..], offset + half as u64)?;
        self.disk.changed(&self.path);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }
}

// === impl MemoryDisk ===

impl Disk for MemoryDisk {
    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let files = self.files.lock().unwrap();
        let inside = files.keys().filter(|path| path.parent() == Some(directory));
        Ok(inside.map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect())
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let files = self.files.lock().unwrap();
        files.get(path).map(|file| Arc::clone(file) as Arc<dyn File>).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = Arc::new(MemoryFile::default());
        self.files.lock().unwrap().insert(path.to_owned(), Arc::clone(&file));
        Ok(file)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut files = self.files.lock().unwrap();
        let file = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.files.lock().unwrap().remove(path);
        Ok(())
    }

    fn sync_names(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

impl File for MemoryFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let bytes = self.0.lock().unwrap();
        let there = bytes.get(offset as usize..).unwrap_or_default();
        let count = there.len().min(buffer.len());
        buffer[..count].copy_from_slice(&there[..count]);
        Ok(count)
    }

    fn write_at(&self, written: &[u8], offset: u64) -> io::Result<()> {
        let mut bytes = self.0.lock().unwrap();
        let end = offset as usize + written.len();
        let length = bytes.len().max(end);
        bytes.resize(length, 0);
        bytes[offset as usize..end].copy_from_slice(written);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
