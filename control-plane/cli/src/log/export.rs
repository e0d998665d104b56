//! `agentgate log export`: all tiles, bundles and the checkpoint as static files, which any server could serve as the log.
//!
//! The checkpoint is written last: a copy that was cut off has none, or the one of what it holds whole. An export that is there
//! already is gone on with only where the log that is served begins with it; it may be what shows that it was rolled back. Files
//! beside no checkpoint are believed by nobody: they are read whole, and fetched again unless they make the log's root.

use crate::client::Client;
use crate::failure::{Exit, Failure};
use crate::file::read;
use crate::output::Desk;
use crate::verify::{CHECKPOINT, files, judge_exported, question};
use agentgate_core::transparency::checkpoint::Checkpoint;
use agentgate_core::transparency::note::{NOTE_BYTES_MAX, Note};
use agentgate_core::transparency::proof::Plan;
use agentgate_core::transparency::tile::{Tile, Tiles};
use agentgate_core::transparency::verify::Audit;
use agentgate_proto::v1;
use clap::Args;
use serde_json::json;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// Files that are asked for at once; the control plane gives no more.
const FILES_AT_ONCE: usize = 64;

#[derive(Debug, Args)]
pub struct Arguments {
    /// Where to; what an earlier export left there is gone on with
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

pub(super) async fn run(arguments: &Arguments, client: &Client, desk: &mut Desk<'_>) -> Result<(), Failure> {
    let log = super::signed(client).await?;
    let directory = arguments.directory.as_path();
    let is_gone_on = may_go_on(directory, &log, client).await?;
    let (found, missing) = found(directory, log.size);
    let mut written = fetch(directory, &missing, client, desk).await?;
    if !is_gone_on && !found.is_empty() && !makes_root(directory, &log)? {
        written = written.saturating_add(fetch(directory, &found, client, desk).await?);
    }
    put(&directory.join(CHECKPOINT), &log.checkpoint)?;
    let (size, at) = (log.size, directory.display());
    let said = format!(
        "Wrote {written} files of a log of {size} records into {at}; check them with `agentgate verify {at} --key VERIFIER`\n"
    );
    desk.answer(|_| said, || json!({ "directory": at.to_string(), "size": size, "files_written": written }))
}

/// Files of the log that lie there in their length, and those that do not.
pub(super) fn found(directory: &Path, size: u64) -> (Vec<String>, Vec<String>) {
    let (found, missing): (Vec<_>, Vec<_>) = files(size).partition(|(path, bytes)| is_there(&directory.join(path), *bytes));
    let path = |(path, _): (String, usize)| path;
    (found.into_iter().map(path).collect(), missing.into_iter().map(path).collect())
}

/// Whether the files that lie there are, all of them, those that this checkpoint was signed over.
pub(super) fn makes_root(directory: &Path, log: &v1::ShowLogResponse) -> Result<bool, Failure> {
    let question = question(&log.keys)?;
    let audit = Audit::of(&question.trust, &log.checkpoint)
        .map_err(|error| Failure::new(Exit::Unreachable, "the control plane's checkpoint is not its log's").because(error))?;
    Ok(judge_exported(directory, audit).is_ok_and(|report| report.holds()))
}

async fn fetch(directory: &Path, missing: &[String], client: &Client, desk: &mut Desk<'_>) -> Result<usize, Failure> {
    let mut written = 0_usize;
    for paths in missing.chunks(FILES_AT_ONCE) {
        let answer = client.read_log_files(paths.to_vec()).await?;
        if answer.files.len() != paths.len() {
            return Err(Failure::new(Exit::Unreachable, "the control plane's answer holds another number of files"));
        }
        for (path, bytes) in paths.iter().zip(&answer.files) {
            put(&directory.join(path), bytes)?;
        }
        written = written.saturating_add(paths.len());
        desk.progress(&format!("{written} of {} files", missing.len()))?;
    }
    desk.progress_over()?;
    Ok(written)
}

/// Refuses to write over an export that the log does not begin with. False: there is no checkpoint of one.
async fn may_go_on(directory: &Path, log: &v1::ShowLogResponse, client: &Client) -> Result<bool, Failure> {
    let Some(earlier) = Earlier::read(directory, &log.checkpoint)? else { return Ok(false) };
    let paths: Vec<String> = earlier.plan.tiles().iter().map(Tile::path).collect();
    let mut files = BTreeMap::new();
    for asked in paths.chunks(FILES_AT_ONCE) {
        let answer = client.read_log_files(asked.to_vec()).await?;
        files.extend(asked.iter().cloned().zip(answer.files));
    }
    earlier.begins(|tile| files.get(&tile.path()).cloned().ok_or(io::ErrorKind::NotFound)).map(|()| true)
}

/// An export that is there, and the log that is served. Nobody's signature is looked at: whoever exports asks the log itself.
#[derive(Debug)]
pub(super) struct Earlier<'a> {
    directory: &'a Path,
    old: Checkpoint,
    new: Checkpoint,
    pub(super) plan: Plan,
}

// === impl Earlier ===

impl<'a> Earlier<'a> {
    /// None, where the directory holds no checkpoint.
    pub(super) fn read(directory: &'a Path, served: &[u8]) -> Result<Option<Self>, Failure> {
        let path = directory.join(CHECKPOINT);
        if !path.exists() {
            return Ok(None);
        }
        let max = u64::try_from(NOTE_BYTES_MAX).unwrap_or(u64::MAX);
        let kept = read(&path, max).map_err(|error| Failure::new(Exit::Local, error))?;
        let of = |note: &[u8]| Checkpoint::parse(Note::parse(note).ok()?.text()).ok();
        let Some(old) = of(&kept) else {
            return Err(refused(format!("{} is no checkpoint of a log, and is not written over", path.display())));
        };
        let new = of(served).ok_or_else(|| Failure::new(Exit::Unreachable, "the control plane's answer holds no checkpoint"))?;
        let at = directory.display();
        if old.origin != new.origin {
            return Err(refused(format!("{at} holds the log `{}`, and this is the log `{}`", old.origin, new.origin)));
        }
        let plan = Plan::consistency(old.size, new.size).map_err(|_| {
            let (old, new) = (old.size, new.size);
            refused(format!("{at} holds the log of {old} records, and the log has {new}: it was rolled back, or is another one"))
        })?;
        Ok(Some(Self { directory, old, new, plan }))
    }

    /// Holds the earlier root against the tiles of the log that is served.
    pub(super) fn begins<B: AsRef<[u8]>>(&self, fetch: impl Fn(Tile) -> Result<B, io::ErrorKind>) -> Result<(), Failure> {
        let (old, new) = (&self.old, &self.new);
        let proof = self
            .plan
            .proof(&Tiles::new(new.size, fetch))
            .map_err(|error| Failure::new(Exit::Unreachable, format!("the tiles of the log cannot be had: {error}")))?;
        proof.extends((old.size, old.root), (new.size, new.root)).map_err(|error| {
            let at = self.directory.display();
            let said =
                format!("{at} holds {} records that the log of {} does not begin with: it was rewritten", old.size, new.size);
            refused(said).because(error)
        })
    }
}

fn refused(said: String) -> Failure {
    Failure::new(Exit::Refused, said).then("keep what is there: it shows what the log was").then(
        "name another directory, and hold both against each other: agentgate verify OTHER --key VERIFIER --older DIR/checkpoint",
    )
}

fn is_there(path: &Path, bytes: usize) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|found| found.is_file() && usize::try_from(found.len()) == Ok(bytes))
}

/// Whole or not at all.
pub(super) fn put(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let write = || -> io::Result<()> {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let beside = path.with_extension("part");
        std::fs::write(&beside, bytes)?;
        std::fs::rename(&beside, path)
    };
    write().map_err(|error| Failure::new(Exit::Local, format!("cannot write {}", path.display())).because(error))
}
