//! `agentgate evidence archive`: a sealed pack, kept once and for good under a name that follows from its bytes.
//!
//! It takes no pack whose bodies are open, since nothing could erase those again; it writes over nothing, and removes nothing.

use super::lasting;
use super::places::{local, unwritten};
use crate::failure::{Exit, Failure};
use crate::file::Unreadable;
use crate::output::Desk;
use crate::pack::{Beside, NOTE_FILE, Named, PACK_FILE, Pack, RELEASE, files};
use crate::screen::Screen;
use crate::text::escape;
use crate::verify;
use agentgate_core::transparency::note::NoteError;
use clap::Args;
use serde_json::json;
use std::fs::{self, File};
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
    /// A verifier key of the log, as `agentgate log show` prints it; without it those that the pack names of itself
    #[arg(long, value_name = "VERIFIER")]
    key: Vec<String>,
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
    #[error("`{0}` was signed and is no file of a pack")]
    Foreign(String),
    #[error("`{0}` is not among the files that were signed")]
    Unsigned(&'static str),
    #[error(
        "`{0}` is not what this program makes of the pack, and nobody would read it again; pack it anew with `agentgate evidence pack --sealed`"
    )]
    Unread(&'static str),
    #[error("record {0} is in it twice")]
    Twice(u64),
    #[error("its `{what}` is no signed note")]
    Note { what: &'static str, source: NoteError },
    #[error(
        "`{what}` has a signature line of `{name}`, which is neither the log's nor a witness's, and nothing erases it in an archive"
    )]
    Signature { what: &'static str, name: String },
    #[error("`keys[{at}]` of `{PACK_FILE}` is no verifier key of the log `{log}`, and nothing erases it in an archive")]
    Key { at: usize, log: String },
    #[error("{0}, and nothing erases it in an archive")]
    Policy(String),
    #[error("its report cannot be made: {0}")]
    Unmade(String),
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    #[error("it does not hold: {0}")]
    Wrong(String),
    #[error("`{}` is a link, or nothing that an archive holds", .0.display())]
    Linked(PathBuf),
    #[error("`{}` is there already and holds something else; an archive is never written over", .0.display())]
    Held(PathBuf),
}

/// A pack as an archive may hold it, each file as it was signed.
#[derive(Debug)]
pub(super) struct Whole {
    named: Named,
    contents: Vec<(String, Vec<u8>)>,
    pub(super) pack: Pack,
    beside: Beside,
}

/// What became of a pack.
#[derive(Debug)]
pub(super) struct Archived {
    name: String,
    /// False: it was there already, all of it.
    new: bool,
    /// The pack's own, where they were all that it was held against.
    pub(super) own_keys: Vec<String>,
}

/// A file's place, and whether it was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    Now,
    Before,
}

/// Why a file is not put there.
#[derive(Debug, Error)]
enum PutError {
    #[error("it holds something else")]
    Held,
    #[error("it is no file")]
    Linked,
    #[error(transparent)]
    File(#[from] io::Error),
}

pub(super) fn run(arguments: &Arguments, desk: &mut Desk<'_>) -> Result<(), Failure> {
    let Archived { name, new, own_keys } = archive(&arguments.pack, &arguments.into, &arguments.key)?;
    let place = arguments.into.join(&name).display().to_string();
    let said = if new { "Archived as" } else { "Nothing changed: it is archived already, as" };
    let text = |screen: &Screen| format!("{said} {place}\n{}", believed(&own_keys, &arguments.into, screen));
    desk.answer(text, || json!({ "name": name, "path": place, "new": new, "own_keys": own_keys }))
}

/// Whoever signs a pack again with a key of his own writes that key into it as well.
fn believed(own_keys: &[String], into: &Path, screen: &Screen) -> String {
    if own_keys.is_empty() {
        return String::new();
    }
    let keys = own_keys.iter().map(|key| format!("  {}\n", escape(key, screen.charset)));
    let list = format!("`agentgate evidence list {} --key VERIFIER`", into.display());
    format!(
        "No --key was given, so these keys were believed, which the pack names of itself; {list} asks the log's:\n{}",
        keys.collect::<String>()
    )
}

#[cfg(test)]
pub(crate) fn keep(pack: &Path, into: &Path, keys: &[String]) -> Result<(String, bool), Failure> {
    archive(pack, into, keys).map(|Archived { name, new, .. }| (name, new))
}

/// Keeps the pack, and says under which name, and whether anything had to be written. Without keys it is held against those that it
/// names: what does not even follow from itself, as words in the place of ciphertext, is found without anybody's.
pub(super) fn archive(pack: &Path, into: &Path, keys: &[String]) -> Result<Archived, Failure> {
    let untaken = |why| untaken(pack, "archived", why);
    let whole = Whole::read(pack).map_err(untaken)?;
    whole.closed().and_then(|()| whole.as_made()).map_err(untaken)?;
    let own = if keys.is_empty() { &whole.pack.keys } else { keys };
    let report = verify::judge(pack, &verify::question(own)?, &[]).map_err(local)?;
    if let Some(wrong) = report.all_wrong().first() {
        return Err(untaken(ArchiveError::Wrong(wrong.clone())).then("`agentgate verify` says all that is wrong with it"));
    }
    let own_keys = if keys.is_empty() { whole.pack.keys.clone() } else { Vec::new() };
    let Whole { named, contents, .. } = whole;
    let name = files::digest(&named.bytes);
    let place = into.join(&name);
    let failed = |error| unwritten(&place, error);
    fs::create_dir_all(into).map_err(failed)?;
    directory(&place).map_err(failed)?;
    if !is_there(&place, fs::FileType::is_dir).map_err(failed)? {
        return Err(untaken(ArchiveError::Linked(place)));
    }
    let mut new = false;
    // The note last: what has none is no pack.
    let note = (NOTE_FILE.to_owned(), named.bytes.clone());
    for (file, bytes) in contents.iter().chain([&note]) {
        let path = place.join(file);
        match put(into, &path, bytes) {
            Ok(Kept::Now) => new = true,
            Ok(Kept::Before) => {}
            Err(PutError::Held) => return Err(untaken(ArchiveError::Held(path))),
            Err(PutError::Linked) => return Err(untaken(ArchiveError::Linked(path))),
            Err(PutError::File(error)) => return Err(failed(error)),
        }
    }
    if let Some(other) = named.others(&place).map_err(local)?.into_iter().next() {
        return Err(untaken(ArchiveError::Held(place.join(other))));
    }
    new |= close(&place, into).map_err(failed)?;
    Ok(Archived { name, new, own_keys })
}

/// From here on nothing is put into the directory. False: that was so already.
fn close(place: &Path, into: &Path) -> io::Result<bool> {
    if fs::metadata(place)?.permissions().mode() & 0o777 == DIRECTORY_MODE {
        return Ok(false);
    }
    fs::set_permissions(place, fs::Permissions::from_mode(DIRECTORY_MODE))?;
    [place, into].into_iter().try_for_each(sync).map(|()| true)
}

/// Why nothing was done with a pack.
pub(super) fn untaken(directory: &Path, done: &str, why: ArchiveError) -> Failure {
    if let ArchiveError::Unreadable(error) = why {
        return local(error);
    }
    Failure::new(Exit::Refused, format!("{} was not {done}", directory.display())).because(why)
}

/// Writes a file that is not there yet: beside all packs, synced, read-only, and then under its name, which fails where
/// somebody else was first. What is there must be the same.
fn put(into: &Path, path: &Path, bytes: &[u8]) -> Result<Kept, PutError> {
    if fs::symlink_metadata(path).is_ok() {
        return same(path, bytes);
    }
    // Its name is nobody else's, also where others write from elsewhere; it is gone again whatever comes of it.
    let mut beside = tempfile::Builder::new().prefix(".").suffix(PART).tempfile_in(into)?;
    beside.write_all(bytes)?;
    beside.as_file().set_permissions(fs::Permissions::from_mode(FILE_MODE))?;
    beside.as_file().sync_all()?;
    match beside.persist_noclobber(path) {
        Ok(_) => sync(path.parent().unwrap_or(into))?,
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => return same(path, bytes),
        Err(error) => return Err(error.error.into()),
    }
    same(path, bytes).map(|_| Kept::Now)
}

/// What lies there is this, in a file of its own, and nobody writes to it from here on.
fn same(path: &Path, bytes: &[u8]) -> Result<Kept, PutError> {
    let found = fs::symlink_metadata(path)?;
    if !found.is_file() {
        return Err(PutError::Linked);
    }
    // What has another length is not read: it may have any.
    if found.len() != u64::try_from(bytes.len()).unwrap_or(u64::MAX) || fs::read(path)? != bytes {
        return Err(PutError::Held);
    }
    if found.permissions().mode() & 0o777 != FILE_MODE {
        fs::set_permissions(path, fs::Permissions::from_mode(FILE_MODE))?;
        File::open(path)?.sync_all()?;
    }
    Ok(Kept::Before)
}

/// Whether this lies there by itself: what a link leads to could be anywhere.
pub(super) fn is_there(path: &Path, kind: fn(&fs::FileType) -> bool) -> io::Result<bool> {
    fs::symlink_metadata(path).map(|found| kind(&found.file_type()))
}

fn directory(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

// === impl Whole ===

impl Whole {
    /// # Errors
    /// Where a file is not the one that was signed, or holds what nobody reads and nothing erases.
    pub(super) fn read(directory: &Path) -> Result<Self, ArchiveError> {
        let named = Named::read(directory)?;
        if let Some(other) = named.others(directory)?.into_iter().next() {
            return Err(ArchiveError::Other(other));
        }
        if let Some(foreign) = named.foreign().next() {
            return Err(ArchiveError::Foreign(foreign.to_owned()));
        }
        let mut contents = Vec::new();
        for (name, digest) in &named.files {
            let bytes = files::file(directory, name)?;
            if files::digest(&bytes) != *digest {
                return Err(ArchiveError::Changed(name.clone()));
            }
            contents.push((name.clone(), bytes));
        }
        let bytes = contents.iter().find(|(name, _)| name == PACK_FILE).ok_or(ArchiveError::Unsigned(PACK_FILE))?;
        let (pack, beside) = Pack::read(&directory.join(PACK_FILE), &bytes.1)?;
        let mut pairs = pack.records.iter().zip(pack.records.iter().skip(1));
        if let Some((_, twice)) = pairs.find(|(one, next)| one.entry.sequence >= next.entry.sequence) {
            return Err(ArchiveError::Twice(twice.entry.sequence));
        }
        lasting::judge(&pack, &named.note)?;
        Ok(Self { named, contents, pack, beside })
    }

    /// # Errors
    /// Where a body says what it says without a key.
    pub(super) fn closed(&self) -> Result<(), ArchiveError> {
        self.pack.open().map_or(Ok(()), |open| Err(ArchiveError::Open(open)))
    }

    pub(super) fn is_named_by(&self, note: &[u8]) -> bool {
        self.named.bytes == note
    }

    /// Whether this release made it, as it says.
    pub(super) fn is_of_this_release(&self) -> bool {
        self.beside.release.as_deref() == Some(RELEASE)
    }

    /// What does not follow from the pack is read by nobody, and could say what is sealed in it.
    ///
    /// # Errors
    /// Where a file is not the one that this program makes of it.
    pub(super) fn as_made(&self) -> Result<(), ArchiveError> {
        let made = files::made(&self.pack).map_err(|failure| ArchiveError::Unmade(failure.chain().join(": ")))?;
        for (name, bytes) in &made {
            match self.contents.iter().find(|(own, _)| own == name) {
                Some((_, signed)) if signed == bytes => {}
                Some(_) => return Err(ArchiveError::Unread(name)),
                None => return Err(ArchiveError::Unsigned(name)),
            }
        }
        Ok(())
    }
}
