//! A disk in memory that remembers every write, sync and change of a directory, and can be rebuilt as a loss of power could
//! have left it. What was synced is there; of everything else, any part. It knows nothing of journals.

use crate::journal::disk::{Disk, File};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

type Number = usize;

/// Something that happened, in the order in which it began.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Create {
        path: PathBuf,
        file: Number,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
        name: u64,
    },
    /// The rename of this name is durable, and with it all that happened in its directory before.
    Renamed {
        name: u64,
    },
    Remove {
        path: PathBuf,
    },
    Write {
        file: Number,
        offset: usize,
        bytes: Vec<u8>,
    },
    SyncBegan {
        file: Number,
        name: u64,
    },
    SyncEnded {
        name: u64,
    },
    /// All that happened in this directory before is durable.
    NamesSynced {
        directory: PathBuf,
    },
    /// Somebody was told that this change is durable: its number, and the sequence of its first record.
    Told {
        number: u64,
        sequence: u64,
    },
    /// A slot is being given this version of its value; or somebody was told that it has it.
    Slot {
        name: u64,
        version: u64,
        is_told: bool,
    },
    /// The body of this change is being forgotten; or somebody was told that it is.
    Forgotten {
        number: u64,
        is_told: bool,
    },
}

/// What a disk holds: by path, all bytes.
pub(super) type Image = BTreeMap<PathBuf, Vec<u8>>;

#[derive(Clone, Debug, Default)]
pub(super) struct Recorder(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    log: Vec<Op>,
    /// What is done right before the log grows beyond this length.
    strike: Option<(usize, Box<dyn FnOnce() + Send>)>,
    paths: BTreeMap<PathBuf, Number>,
    contents: Vec<Vec<u8>>,
    names: u64,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct RecordedFile {
    file: Number,
    recorder: Recorder,
}

/// One unsynced piece of a write, no longer than what the disk writes whole.
pub(super) struct Piece<'a> {
    pub path: Option<&'a Path>,
    /// Which piece of its write it is, and of how many.
    pub number: usize,
    pub count: usize,
}

// === impl Recorder ===

impl Recorder {
    /// A disk on which `image` is durable.
    pub(super) fn holding(image: Image) -> Self {
        let mut state = State::default();
        for (path, bytes) in image {
            state.log.push(Op::Create { path: path.clone(), file: state.contents.len() });
            state.log.push(Op::Write { file: state.contents.len(), offset: 0, bytes: bytes.clone() });
            state
                .log
                .extend([Op::SyncBegan { file: state.contents.len(), name: state.names }, Op::SyncEnded { name: state.names }]);
            state.names += 1;
            let from = path.clone();
            state.log.extend([Op::Rename { from, to: path.clone(), name: state.names }, Op::Renamed { name: state.names }]);
            state.names += 1;
            state.paths.insert(path, state.contents.len());
            state.contents.push(bytes);
        }
        Self(Arc::new(Mutex::new(state)))
    }

    /// A disk whose machine never lost power: all that `log` did is seen, and what it did not sync may still be lost.
    pub(super) fn after(log: &[Op]) -> Self {
        let mut state = State { log: log.to_vec(), names: u64::MAX / 2, ..State::default() };
        for op in log {
            match op {
                Op::Create { path, file } => {
                    state.contents.resize(state.contents.len().max(file + 1), Vec::new());
                    state.paths.insert(path.clone(), *file);
                }
                Op::Rename { from, to, .. } => drop(renamed(&mut state.paths, from, to)),
                Op::Remove { path } => drop(state.paths.remove(path)),
                Op::Write { file, offset, bytes } => put(&mut state.contents[*file], *offset, bytes),
                Op::Renamed { .. }
                | Op::SyncBegan { .. }
                | Op::SyncEnded { .. }
                | Op::NamesSynced { .. }
                | Op::Told { .. }
                | Op::Slot { .. }
                | Op::Forgotten { .. } => {}
            }
        }
        Self(Arc::new(Mutex::new(state)))
    }

    pub(super) fn told(&self, number: u64, sequence: u64) {
        self.note(Op::Told { number, sequence });
    }

    /// Something that is no change of the disk.
    pub(super) fn note(&self, op: Op) {
        self.strike();
        self.0.lock().unwrap().log.push(op);
    }

    /// What the files are that somebody would read now.
    pub(super) fn seen(&self) -> Image {
        let state = self.0.lock().unwrap();
        state.paths.iter().map(|(path, file)| (path.clone(), state.contents[*file].clone())).collect()
    }

    pub(super) fn log(&self) -> Vec<Op> {
        self.0.lock().unwrap().log.clone()
    }

    /// `act` runs right before the log grows beyond `length`: what lies on other disks can be looked at there.
    pub(super) fn strike_at(&self, length: usize, act: impl FnOnce() + Send + 'static) {
        self.0.lock().unwrap().strike = Some((length, Box::new(act)));
    }

    fn strike(&self) {
        let mut state = self.0.lock().unwrap();
        let length = state.log.len();
        let struck = state.strike.take_if(|(at, _)| length >= *at);
        drop(state);
        struck.into_iter().for_each(|(_, act)| act());
    }

    pub(super) fn length(&self) -> usize {
        self.0.lock().unwrap().log.len()
    }

    fn file(&self, file: Number) -> Arc<dyn File> {
        Arc::new(RecordedFile { file, recorder: self.clone() })
    }
}

/// A file is known by its directory's name and its own: the same image may be opened anywhere.
fn short(path: &Path) -> PathBuf {
    path.iter().skip(path.iter().count().saturating_sub(2)).collect()
}

fn put(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let length = content.len().max(offset + bytes.len());
    content.resize(length, 0);
    content[offset..offset + bytes.len()].copy_from_slice(bytes);
}

fn renamed(paths: &mut BTreeMap<PathBuf, Number>, from: &Path, to: &Path) -> Option<Number> {
    let file = paths.remove(from)?;
    paths.insert(to.to_owned(), file)
}

impl Disk for Recorder {
    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let state = self.0.lock().unwrap();
        let inside = state.paths.keys().filter(|path| path.parent() == directory.file_name().map(Path::new));
        Ok(inside.map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect())
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let found = self.0.lock().unwrap().paths.get(&short(path)).copied();
        Ok(self.file(found.ok_or(io::ErrorKind::NotFound)?))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.strike();
        let mut state = self.0.lock().unwrap();
        let file = state.contents.len();
        state.contents.push(Vec::new());
        state.paths.insert(short(path), file);
        state.log.push(Op::Create { path: short(path), file });
        drop(state);
        Ok(self.file(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.strike();
        let mut state = self.0.lock().unwrap();
        let name = state.names;
        state.names += 1;
        let (from, to) = (short(from), short(to));
        state.log.push(Op::Rename { from: from.clone(), to: to.clone(), name });
        renamed(&mut state.paths, &from, &to);
        drop(state);
        // Others go on between the two.
        std::thread::yield_now();
        self.strike();
        self.0.lock().unwrap().log.push(Op::Renamed { name });
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.strike();
        let mut state = self.0.lock().unwrap();
        state.log.push(Op::Remove { path: short(path) });
        state.paths.remove(&short(path));
        Ok(())
    }

    fn sync_names(&self, directory: &Path) -> io::Result<()> {
        self.strike();
        let directory = directory.file_name().map(PathBuf::from).unwrap();
        self.0.lock().unwrap().log.push(Op::NamesSynced { directory });
        Ok(())
    }
}

impl File for RecordedFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.recorder.0.lock().unwrap().contents[self.file].len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.recorder.0.lock().unwrap();
        let there = state.contents[self.file].get(offset as usize..).unwrap_or_default();
        let count = there.len().min(buffer.len());
        buffer[..count].copy_from_slice(&there[..count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.recorder.strike();
        let mut state = self.recorder.0.lock().unwrap();
        state.log.push(Op::Write { file: self.file, offset: offset as usize, bytes: bytes.to_vec() });
        put(&mut state.contents[self.file], offset as usize, bytes);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.recorder.strike();
        let mut state = self.recorder.0.lock().unwrap();
        let name = state.names;
        state.names += 1;
        state.log.push(Op::SyncBegan { file: self.file, name });
        drop(state);
        std::thread::yield_now();
        self.recorder.strike();
        self.recorder.0.lock().unwrap().log.push(Op::SyncEnded { name });
        Ok(())
    }
}

// === the loss of power ===

/// The disk as it may be when power fails right after `log`: `keep` says of each unsynced piece whether it reached the
/// disk, and `draw` draws how many of the directory's unsynced changes did. Pieces are `page` bytes long, as they lie.
pub(super) fn rebuilt(
    log: &[Op],
    page: usize,
    keep: &mut dyn FnMut(&Piece<'_>) -> bool,
    draw: &mut dyn FnMut(usize) -> usize,
) -> Image {
    let ended: BTreeSet<u64> = log
        .iter()
        .filter_map(|op| if let Op::SyncEnded { name } | Op::Renamed { name } = op { Some(*name) } else { None })
        .collect();
    let durable_before = |of: Number| {
        let synced = log.iter().enumerate().rev();
        let mut synced =
            synced.filter(|(_, op)| matches!(op, Op::SyncBegan { file, name } if *file == of && ended.contains(name)));
        synced.next().map_or(0, |(at, _)| at)
    };
    let paths = directories(log, &ended, draw);
    let names: BTreeMap<Number, &Path> = paths.iter().map(|(path, file)| (*file, path.as_path())).collect();
    let mut durable: BTreeMap<Number, usize> = BTreeMap::new();
    let mut contents: BTreeMap<Number, Vec<u8>> = BTreeMap::new();
    for (at, op) in log.iter().enumerate() {
        let Op::Write { file, offset, bytes } = op else { continue };
        let content = contents.entry(*file).or_default();
        if at < *durable.entry(*file).or_insert_with(|| durable_before(*file)) {
            put(content, *offset, bytes);
            continue;
        }
        let (first, last) = (offset / page, (offset + bytes.len()).saturating_sub(1) / page);
        for number in first..=last {
            let piece = Piece { path: names.get(file).copied(), number: number - first, count: last - first + 1 };
            if keep(&piece) {
                let (from, to) = ((number * page).max(*offset), ((number + 1) * page).min(offset + bytes.len()));
                put(content, from, &bytes[from - offset..to - offset]);
            }
        }
    }
    paths.into_iter().map(|(path, file)| (path, contents.remove(&file).unwrap_or_default())).collect()
}

/// The directories: whatever stands before a durable rename in the same one, and of the rest any first part.
fn directories(log: &[Op], ended: &BTreeSet<u64>, draw: &mut dyn FnMut(usize) -> usize) -> BTreeMap<PathBuf, Number> {
    let mut changes: BTreeMap<PathBuf, Vec<&Op>> = BTreeMap::new();
    for op in log {
        match op {
            Op::Create { path, .. } | Op::Rename { to: path, .. } | Op::Remove { path } => {
                changes.entry(path.parent().unwrap().to_owned()).or_default().push(op);
            }
            Op::NamesSynced { directory } => changes.entry(directory.clone()).or_default().push(op),
            Op::Renamed { .. }
            | Op::Write { .. }
            | Op::SyncBegan { .. }
            | Op::SyncEnded { .. }
            | Op::Told { .. }
            | Op::Slot { .. }
            | Op::Forgotten { .. } => {}
        }
    }
    let mut paths = BTreeMap::new();
    for changes in changes.into_values() {
        let is_durable = |op: &&Op| match op {
            Op::Rename { name, .. } => ended.contains(name),
            Op::NamesSynced { .. } => true,
            Op::Create { .. }
            | Op::Renamed { .. }
            | Op::Remove { .. }
            | Op::Write { .. }
            | Op::SyncBegan { .. }
            | Op::SyncEnded { .. }
            | Op::Told { .. }
            | Op::Slot { .. }
            | Op::Forgotten { .. } => false,
        };
        let durable = changes.iter().rposition(is_durable).map_or(0, |last| last + 1);
        let count = durable + draw(changes.len() - durable + 1);
        for op in &changes[..count] {
            match op {
                Op::Create { path, file } => drop(paths.insert(path.clone(), *file)),
                Op::Rename { from, to, .. } => drop(renamed(&mut paths, from, to)),
                Op::Remove { path } => drop(paths.remove(path)),
                Op::Renamed { .. }
                | Op::Write { .. }
                | Op::SyncBegan { .. }
                | Op::SyncEnded { .. }
                | Op::NamesSynced { .. }
                | Op::Told { .. }
                | Op::Slot { .. }
                | Op::Forgotten { .. } => {}
            }
        }
    }
    paths
}
