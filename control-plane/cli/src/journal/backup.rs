//! Copies a journal's files beside the control plane that writes them, and cuts the copy to one instant. It refuses to
//! write where something is already, and to leave a copy that was not finished looking like a whole one.
//!
//! The instant is when the slots are copied: nothing is set meanwhile, and the records that are whole then are those that the
//! copy keeps, with their bodies. `form` says from the beginning that the copy is not finished, and the form itself last.

use super::format::{Head, Kind, UNFINISHED, is_unfinished};
use super::walk::{Segment, next_head, segments};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;
use thiserror::Error;

/// A segment of bodies may be overwritten while it is copied; then it is copied again.
const COPIES_MAX: usize = 50;
const COPY_AGAIN: Duration = Duration::from_millis(20);

#[derive(Debug, Error)]
pub enum BackupError {
    #[error("`{0}` is no journal: it has no `form`")]
    NoJournal(PathBuf),
    #[error("`{0}` is a copy that was not finished")]
    Unfinished(PathBuf),
    #[error("`{0}` holds something already")]
    NotEmpty(PathBuf),
    #[error("another backup copies `{0}`")]
    Busy(PathBuf),
    #[error("`{}` is not what was written at byte {byte}", file.display())]
    Damaged { file: PathBuf, byte: usize },
    #[error("`{}`", file.display())]
    Io { file: PathBuf, source: io::Error },
}

/// How far a journal was when it was copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Instant {
    pub head: u64,
    group: u64,
    segment: u32,
    end: usize,
}

fn failed(file: &Path) -> impl Fn(io::Error) -> BackupError {
    let file = file.to_owned();
    move |source| BackupError::Io { file: file.clone(), source }
}

/// Copies the journal in `from`, which may be in use, into `to`.
pub fn backup(from: &Path, to: &Path, progress: &mut dyn FnMut(&Path)) -> Result<Instant, BackupError> {
    if !from.join("form").exists() {
        return Err(BackupError::NoJournal(from.to_owned()));
    }
    if is_unfinished(from) {
        return Err(BackupError::Unfinished(from.to_owned()));
    }
    begin(to)?;
    let bodies_hold = held(&from.join("hold-bodies"))?;
    let slots_hold = held(&from.join("hold-slots"))?;
    let instant = newest(from)?;
    copy_file(&from.join("slots"), &to.join("slots"), None)?;
    drop(slots_hold);
    for kind in [Kind::Records, Kind::Bodies] {
        make_empty(&to.join(kind.noun()))?;
    }
    for segment in listed(from, Kind::Records)?.iter().filter(|segment| segment.number <= instant.segment) {
        progress(&segment.path);
        let cut = (segment.number == instant.segment).then_some(instant.end);
        copy_file(&segment.path, &beside(to, Kind::Records, segment), cut)?;
    }
    for segment in listed(from, Kind::Bodies)? {
        progress(&segment.path);
        if !copy_bodies(&segment, &beside(to, Kind::Bodies, &segment), instant.group)? {
            break;
        }
    }
    drop(bodies_hold);
    finish(from, to)?;
    Ok(instant)
}

/// Puts a copy into place: all of it, synced, into a directory that is empty.
pub fn restore(from: &Path, to: &Path, progress: &mut dyn FnMut(&Path)) -> Result<(), BackupError> {
    begin(to)?;
    for kind in [Kind::Records, Kind::Bodies] {
        make_empty(&to.join(kind.noun()))?;
        for segment in listed(from, kind)? {
            progress(&segment.path);
            copy_file(&segment.path, &beside(to, kind, &segment), None)?;
        }
    }
    copy_file(&from.join("slots"), &to.join("slots"), None)?;
    finish(from, to)
}

/// No program takes what is begun here for a journal: one without a `form` could be from before there were any.
fn begin(to: &Path) -> Result<(), BackupError> {
    make_empty(to)?;
    let form = to.join("form");
    write(&form, UNFINISHED.as_bytes(), UNFINISHED.len()).map_err(failed(&form))?;
    sync_directory(to)
}

/// The form comes last, when all else is on the disk.
fn finish(from: &Path, to: &Path) -> Result<(), BackupError> {
    for directory in [to.join("records"), to.join("bodies"), to.to_owned()] {
        sync_directory(&directory)?;
    }
    let (partial, form) = (to.join("form.unfinished"), to.join("form"));
    copy_file(&from.join("form"), &partial, None)?;
    fs::rename(&partial, &form).map_err(failed(&form))?;
    sync_directory(to)
}

fn sync_directory(path: &Path) -> Result<(), BackupError> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(failed(path))
}

fn make_empty(path: &Path) -> Result<(), BackupError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed(path))?;
    match fs::read_dir(path).map_err(failed(path))?.next() {
        None => Ok(()),
        Some(_) => Err(BackupError::NotEmpty(path.to_owned())),
    }
}

/// The control plane waits for it, or leaves alone what it is about.
fn held(path: &Path) -> Result<File, BackupError> {
    let file = File::options().create(true).truncate(false).write(true).open(path).map_err(failed(path))?;
    for _ in 0..COPIES_MAX {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(fs::TryLockError::WouldBlock) => thread::sleep(COPY_AGAIN),
            Err(fs::TryLockError::Error(error)) => return Err(failed(path)(error)),
        }
    }
    Err(BackupError::Busy(path.to_owned()))
}

fn listed(directory: &Path, kind: Kind) -> Result<Vec<Segment>, BackupError> {
    segments(directory, kind).map_err(failed(directory))
}

fn beside(to: &Path, kind: Kind, segment: &Segment) -> PathBuf {
    to.join(kind.noun()).join(segment.path.file_name().unwrap_or_default())
}

/// The newest group of records that is whole now.
fn newest(from: &Path) -> Result<Instant, BackupError> {
    for segment in listed(from, Kind::Records)?.iter().rev() {
        let bytes = fs::read(&segment.path).map_err(failed(&segment.path))?;
        let (mut at, mut found) = (0, None);
        while let Some(rest) = bytes.get(at..) {
            let head = Head::parse(Kind::Records, segment.number, at, rest).filter(|head| head.records(rest).is_some());
            let Some(head) = head else { break };
            at += head.length();
            let head_sequence = (head.first + u64::from(head.count)).saturating_sub(1);
            found = Some(Instant { head: head_sequence, group: head.group, segment: segment.number, end: at });
        }
        // One group may be on its way; one behind that was acknowledged.
        let rest = bytes.get(at..).unwrap_or_default();
        if next_head(Kind::Records, segment.number, at, rest).is_some() {
            return Err(BackupError::Damaged { file: segment.path.clone(), byte: at });
        }
        if let Some(found) = found {
            return Ok(found);
        }
    }
    Ok(Instant::default())
}

/// The groups up to `last`; false: there are none behind it. What stands in the place of a removed segment is copied too.
fn copy_bodies(segment: &Segment, to: &Path, last: u64) -> Result<bool, BackupError> {
    let mut bad = 0;
    for _ in 0..COPIES_MAX {
        let bytes = fs::read(&segment.path).map_err(failed(&segment.path))?;
        match end_of(segment.number, &bytes, last) {
            Ok((end, goes_on)) => {
                write(to, &bytes, end).map_err(failed(to))?;
                return Ok(goes_on);
            }
            Err(at) => bad = at,
        }
        thread::sleep(COPY_AGAIN);
    }
    Err(BackupError::Damaged { file: segment.path.clone(), byte: bad })
}

/// Where the groups up to `last` end, and whether more of them may follow in the next segment.
fn end_of(segment: u32, bytes: &[u8], last: u64) -> Result<(usize, bool), usize> {
    if super::format::Gone::parse(segment, bytes).is_some() {
        return Ok((bytes.len(), true));
    }
    let mut at = 0;
    while let Some(rest) = bytes.get(at..).filter(|rest| rest.iter().any(|byte| *byte != 0)) {
        let head = Head::parse(Kind::Bodies, segment, at, rest);
        match head {
            Some(head) if head.group > last => return Ok((at, false)),
            Some(head) if head.bodies(rest).is_some() => at += head.length(),
            Some(_) | None => return Err(at),
        }
    }
    Ok((at, true))
}

fn copy_file(from: &Path, to: &Path, cut: Option<usize>) -> Result<(), BackupError> {
    let bytes = fs::read(from).map_err(failed(from))?;
    write(to, &bytes, cut.unwrap_or(bytes.len())).map_err(failed(to))
}

/// `bytes`, with zeros from `end` on.
fn write(to: &Path, bytes: &[u8], end: usize) -> io::Result<()> {
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(to)?;
    file.write_all(bytes.get(..end).unwrap_or(bytes))?;
    let zeros = vec![0; bytes.len().saturating_sub(end)];
    file.write_all_at(&zeros, end as u64)?;
    file.sync_all()
}
