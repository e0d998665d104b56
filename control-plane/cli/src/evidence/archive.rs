//! `agentgate evidence archive`: a sealed pack, kept once and for good under a name that follows from its bytes.
//!
//! It takes no pack whose bodies are open, since nothing could erase those again; it writes over nothing, and removes nothing.

use super::files::{self, NOTE_FILE, Named, PACK_FILE};
use super::pack::{Body, Pack};
use crate::failure::{Exit, Failure};
use crate::output::Desk;
use clap::Args;
use serde_json::json;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// What is being written, or was left by somebody who was stopped while he wrote: no pack.
pub(super) const PART: &str = ".part";

/// Nobody writes to what is archived.
const FILE_MODE: u32 = 0o444;
const DIRECTORY_MODE: u32 = 0o555;

#[derive(Debug, Args)]
pub struct Arguments {
    /// A pack that was written with --sealed
    #[arg(value_name = "PACK")]
    pack: PathBuf,
    /// The archive; it is made where there is none
    #[arg(long, value_name = "DIR")]
    into: PathBuf,
}

/// Why a pack is not taken.
#[derive(Debug, Error)]
pub(super) enum ArchiveError {
    #[error(
        "the body of record {0} is open, and nothing could erase it in an archive; `agentgate evidence pack --sealed` leaves it sealed"
    )]
    Open(u64),
    #[error("`{0}` is not the file that was signed")]
    Changed(String),
    #[error("`{0}` lies in it and is no file of the pack")]
    Other(String),
    #[error("`{0}` is not among the files that were signed")]
    Unsigned(&'static str),
    #[error("`{}` is there already and holds something else; an archive is never written over", .0.display())]
    Held(PathBuf),
}

/// A file's place, and whether it was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    Now,
    Before,
}

pub(super) fn run(arguments: &Arguments, desk: &mut Desk<'_>) -> Result<(), Failure> {
    let (name, new) = keep(&arguments.pack, &arguments.into)?;
    let place = arguments.into.join(&name);
    let said = if new { "Archived as" } else { "Nothing changed: it is archived already, as" };
    let text = format!("{said} {}\n", place.display());
    desk.answer(|_| text, || json!({ "name": name, "path": place.display().to_string(), "new": new }))
}

/// Keeps the pack, and says under which name, and whether anything had to be written.
pub(crate) fn keep(pack: &Path, into: &Path) -> Result<(String, bool), Failure> {
    let (named, contents) = whole(pack)?;
    let name = files::digest(&named.bytes);
    let place = into.join(&name);
    let failed = |error| Failure::new(Exit::Local, format!("cannot write into {}", place.display())).because(error);
    let refused = |why| Failure::new(Exit::Refused, format!("{} was not archived", pack.display())).because(why);
    fs::create_dir_all(&place).map_err(failed)?;
    let mut new = false;
    // The note last: what has none is no pack.
    let note = (NOTE_FILE.to_owned(), named.bytes.clone());
    for (file, bytes) in contents.iter().chain([&note]) {
        let path = place.join(file);
        match put(into, &path, bytes) {
            Ok(Kept::Now) => new = true,
            Ok(Kept::Before) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(refused(ArchiveError::Held(path))),
            Err(error) => return Err(failed(error)),
        }
    }
    if let Some(other) = named.others(&place).into_iter().next() {
        return Err(refused(ArchiveError::Held(place.join(other))));
    }
    new |= close(&place, into).map_err(failed)?;
    Ok((name, new))
}

/// From here on nothing is put into the directory. False: that was so already.
fn close(place: &Path, into: &Path) -> io::Result<bool> {
    if fs::metadata(place)?.permissions().mode() & 0o777 == DIRECTORY_MODE {
        return Ok(false);
    }
    fs::set_permissions(place, fs::Permissions::from_mode(DIRECTORY_MODE))?;
    [place, into].into_iter().try_for_each(sync).map(|()| true)
}

/// The pack's files, each as it was signed, and none of them open.
#[expect(clippy::type_complexity, reason = "a name and its bytes")]
fn whole(directory: &Path) -> Result<(Named, Vec<(String, Vec<u8>)>), Failure> {
    let refused = |why| Failure::new(Exit::Refused, format!("{} was not archived", directory.display())).because(why);
    let named = Named::read(directory).map_err(local)?;
    if let Some(other) = named.others(directory).into_iter().next() {
        return Err(refused(ArchiveError::Other(other)));
    }
    let mut contents = Vec::new();
    let mut pack = None;
    for (name, digest) in &named.files {
        let bytes = files::file(directory, name).map_err(local)?;
        if files::digest(&bytes) != *digest {
            return Err(refused(ArchiveError::Changed(name.clone())));
        }
        if name == PACK_FILE {
            pack = Some(Pack::read(&directory.join(name), &bytes).map_err(local)?.0);
        }
        contents.push((name.clone(), bytes));
    }
    let pack = pack.ok_or_else(|| refused(ArchiveError::Unsigned(PACK_FILE)))?;
    if let Some(open) = pack.records.iter().find(|packed| matches!(packed.body, Body::Open { .. } | Body::Altered { .. })) {
        return Err(refused(ArchiveError::Open(open.entry.sequence)));
    }
    Ok((named, contents))
}

/// Writes a file that is not there yet: beside all packs, synced, read-only, and then under its name, which fails where
/// somebody else was first. What is there must be the same.
fn put(into: &Path, path: &Path, bytes: &[u8]) -> io::Result<Kept> {
    let same = || if fs::read(path)? == bytes { Ok(Kept::Before) } else { Err(io::ErrorKind::AlreadyExists.into()) };
    if path.exists() {
        return same();
    }
    let beside = into.join(format!(".{}{PART}", std::process::id()));
    let written = write(&beside, bytes).and_then(|()| fs::hard_link(&beside, path));
    // Whatever came of it, nothing is left beside.
    let removed = fs::remove_file(&beside);
    match written {
        Ok(()) => removed.and_then(|()| sync(path.parent().unwrap_or(into))).map(|()| Kept::Now),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => same(),
        Err(error) => Err(error),
    }
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(bytes)?;
    file.set_permissions(fs::Permissions::from_mode(FILE_MODE))?;
    file.sync_all()
}

fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

fn local(error: crate::verify::Unreadable) -> Failure {
    Failure::new(Exit::Local, error)
}
