//! What lies beside a log and is none of its files. Nobody is to take it for something that was checked: it is named, and a
//! report without its pack is wrong. It follows no link, and opens nothing but tiles that the log has outgrown.

use super::exported::{CHECKPOINT, LOG_FILE_BYTES_MAX};
use super::report::Report;
use crate::file::{Unreadable, read};
use crate::pack::{PDF_FILE, REPORT_FILE};
use agentgate_core::transparency::bundle::Bundle;
use agentgate_core::transparency::tile::Tile;
use std::fs::DirEntry;
use std::path::Path;

/// Where all files of a log lie but its checkpoint.
const TILES: &str = "tile";

/// Names that one sentence lists.
const NAMED: usize = 20;

/// Folders below each other that a log has: its tiles, a level, and the groups of a number.
const DEPTH_MAX: usize = 10;

/// What was found beside a log of `size`.
struct Found<'a> {
    directory: &'a Path,
    size: u64,
    /// What an earlier export left, and does not begin what is there now.
    other: Vec<String>,
    reports: Vec<String>,
    foreign: Vec<String>,
}

pub(super) fn judge(directory: &Path, size: u64, report: &mut Report) -> Result<(), Unreadable> {
    let mut found = Found { directory, size, other: Vec::new(), reports: Vec::new(), foreign: Vec::new() };
    found.folder("", 0)?;
    let Found { mut other, mut reports, mut foreign, .. } = found;
    [&mut other, &mut reports, &mut foreign].into_iter().for_each(|names| names.sort());
    for path in other {
        report.wrong(format!("the tile `{path}` is not made of the log's entries"));
    }
    for name in reports {
        report.wrong(format!("`{name}` lies in it and is the report of a pack, which a log is not"));
    }
    if !foreign.is_empty() {
        let listed: Vec<String> = foreign.iter().take(NAMED).map(|name| format!("`{name}`")).collect();
        let more = foreign.len().saturating_sub(NAMED);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        report.not_shown(format!("what {}{more} say: no file of the log, and not looked at", listed.join(", ")));
    }
    Ok(())
}

// === impl Found ===

impl Found<'_> {
    fn folder(&mut self, below: &str, depth: usize) -> Result<(), Unreadable> {
        let path = self.directory.join(below);
        let failed = |source| Unreadable::File { path: path.clone(), source };
        for found in std::fs::read_dir(&path).map_err(failed)? {
            self.entry(below, &found.map_err(failed)?, depth)?;
        }
        Ok(())
    }

    fn entry(&mut self, below: &str, found: &DirEntry, depth: usize) -> Result<(), Unreadable> {
        let name = found.file_name().to_string_lossy().into_owned();
        let path = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
        let kind = found.file_type().map_err(|source| Unreadable::File { path: found.path(), source })?;
        match (below.is_empty(), name.as_str()) {
            (true, CHECKPOINT) => {}
            (true, TILES) if kind.is_dir() => self.folder(&path, depth.saturating_add(1))?,
            (false, _) if kind.is_dir() && depth < DEPTH_MAX => self.folder(&path, depth.saturating_add(1))?,
            (_, REPORT_FILE | PDF_FILE) => self.reports.push(path),
            (_, _) => match self.of_log(&path) {
                Some(now) if now == path => {}
                Some(now) if kind.is_file() => self.outgrown(path, &now)?,
                Some(_) | None => self.foreign.push(path),
            },
        }
        Ok(())
    }

    /// The file of the log that this path is or was; none of a path that a log of this size never had.
    fn of_log(&self, path: &str) -> Option<String> {
        if let Some(bundle) = Bundle::parse(path) {
            return Bundle::at(bundle.index(), self.size).filter(|now| now.width() >= bundle.width()).map(|now| now.path());
        }
        let tile = Tile::parse(path).filter(|tile| tile.is_in(self.size))?;
        Tile::at(tile.level(), tile.index(), self.size).map(|now| now.path())
    }

    /// Of a tile that grew, the bytes that were there stay.
    fn outgrown(&mut self, path: String, now: &str) -> Result<(), Unreadable> {
        let bytes = |path: &str| read(&self.directory.join(path), LOG_FILE_BYTES_MAX);
        let (then, whole) = (bytes(&path)?, bytes(now)?);
        if !whole.starts_with(&then) {
            self.other.push(path);
        }
        Ok(())
    }
}
