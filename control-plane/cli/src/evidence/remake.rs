//! `agentgate evidence report`: the page and the paper of a pack, made from its records by this program. Who made those that lie in
//! the pack does not matter, nor what reading it holds: neither is looked at.
//!
//! It judges nothing, asks nobody, and writes over nothing.

use super::places::{self, Places, local, unwritten};
use crate::failure::Failure;
use crate::output::Desk;
use crate::pack::files;
use serde_json::json;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

pub(super) fn run(arguments: &Places, desk: &mut Desk<'_>) -> Result<(), Failure> {
    let written = write(&arguments.pack, &arguments.out)?;
    let written: Vec<String> = written.iter().map(|path| path.display().to_string()).collect();
    let text =
        format!("{}\nEach says what the pack's records say; `agentgate verify` says whether these hold\n", written.join("\n"));
    desk.answer(|_| text, || json!({ "files": written }))
}

/// Nothing is written before both are made.
pub(super) fn write(directory: &Path, out: &Path) -> Result<Vec<PathBuf>, Failure> {
    places::is_free(out)?;
    let pack = files::pack(directory).map_err(local)?;
    let told = files::told(&pack)?;
    let failed = |error| unwritten(out, error);
    std::fs::create_dir_all(out).map_err(failed)?;
    let put = |(name, bytes): &(&str, Vec<u8>)| {
        let path = out.join(name);
        File::create_new(&path)?.write_all(bytes).map(|()| path)
    };
    told.iter().map(put).collect::<io::Result<_>>().map_err(failed)
}
