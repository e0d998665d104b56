//! `agentgate log export`: all tiles, bundles and the checkpoint as static files, which any server could serve as the log.
//!
//! The checkpoint is written last: a copy that was cut off has none, or the one of what it holds whole.

use crate::client::Client;
use crate::failure::{Exit, Failure};
use crate::output::Desk;
use crate::verify::files;
use clap::Args;
use serde_json::json;
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
    let log = client.show_log().await?;
    if log.checkpoint.is_empty() {
        return Err(Failure::new(Exit::Refused, "nothing is signed as yet").then("try again in a second"));
    }
    let directory = arguments.directory.as_path();
    let missing: Vec<String> =
        files(log.size).filter(|(path, bytes)| !is_there(&directory.join(path), *bytes)).map(|(path, _)| path).collect();
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
    put(&directory.join("checkpoint"), &log.checkpoint)?;
    let (size, at) = (log.size, directory.display());
    let said = format!("Wrote {written} files of a log of {size} records into {at}; check them with `agentgate verify {at}`\n");
    desk.answer(|_| said, || json!({ "directory": at.to_string(), "size": size, "files_written": written }))
}

fn is_there(path: &Path, bytes: usize) -> bool {
    std::fs::metadata(path).is_ok_and(|found| usize::try_from(found.len()) == Ok(bytes))
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
