//! Where packs lie, and where they are written. It writes over nothing.

use crate::client::Client;
use crate::failure::{Exit, Failure};
use crate::file::Unreadable;
use crate::pack::files::{FILE_BYTES_MAX, made};
use crate::pack::{NOTE_FILE, Pack};
use agentgate_proto::v1;
use clap::Args;
use sha2::{Digest as _, Sha256};
use std::io;
use std::path::{Path, PathBuf};

/// A pack that is there, and where what is made of it goes.
#[derive(Debug, Args)]
pub struct Places {
    /// A pack, or one of an archive
    #[arg(value_name = "PACK")]
    pub(super) pack: PathBuf,
    /// Where to; a new or empty directory
    #[arg(long, value_name = "DIR")]
    pub(super) out: PathBuf,
}

/// A new directory, or one that holds nothing.
pub(super) fn is_free(out: &Path) -> Result<(), Failure> {
    if std::fs::read_dir(out).is_ok_and(|mut files| files.next().is_some()) {
        let full = format!("`{}` is not empty, and nothing is written beside or over what is there", out.display());
        return Err(Failure::new(Exit::Refused, full).then("name a new directory"));
    }
    Ok(())
}

/// Has the pack's files signed, and writes them.
pub(super) async fn write(pack: &Pack, out: &Path, client: &Client) -> Result<(), Failure> {
    let files = made(pack)?;
    files.iter().try_for_each(|(name, bytes)| fits(name, bytes.len()))?;
    let digest = |(name, bytes): &(&str, Vec<u8>)| {
        let sha256 = Sha256::digest(bytes).to_vec().into();
        v1::EvidenceFile { name: (*name).to_owned(), sha256 }
    };
    let signed = client.sign_evidence(files.iter().map(digest).collect()).await?;
    let failed = |error| unwritten(out, error);
    std::fs::create_dir_all(out).map_err(failed)?;
    for (name, bytes) in &files {
        std::fs::write(out.join(name), bytes).map_err(failed)?;
    }
    // Last: what has no note is no pack.
    std::fs::write(out.join(NOTE_FILE), &signed.note).map_err(failed)
}

/// Nobody is given a pack that no reader takes.
pub(super) fn fits(name: &str, bytes: usize) -> Result<(), Failure> {
    if u64::try_from(bytes).is_ok_and(|bytes| bytes <= FILE_BYTES_MAX) {
        return Ok(());
    }
    let said = format!("`{name}` would have {bytes} bytes, and no pack's file has more than {FILE_BYTES_MAX}");
    Err(Failure::new(Exit::Refused, said).then("ask for less: a shorter time, one session or one principal"))
}

/// Where nothing can be put into a directory.
pub(super) fn unwritten(into: &Path, error: io::Error) -> Failure {
    Failure::new(Exit::Local, format!("cannot write into {}", into.display())).because(error)
}

/// Where a file cannot be read, or is none of a pack.
pub(super) fn local(error: Unreadable) -> Failure {
    let is_absent = error.is_absent();
    let failure = Failure::new(Exit::Local, error);
    if is_absent { failure.then("name the directory of an evidence pack") } else { failure }
}
