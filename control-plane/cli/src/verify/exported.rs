//! An exported log: its checkpoint, all its entries and all its tiles, against the one root that was signed.

use super::foreign;
use super::report::Report;
use crate::file::{Unreadable, read};
use agentgate_core::transparency::bundle::Bundle;
use agentgate_core::transparency::claim::{Conclusion, NotShown, Wrong};
use agentgate_core::transparency::edge::Edge;
use agentgate_core::transparency::leaf::ENTRY_BYTES;
use agentgate_core::transparency::tile::Tile;
use agentgate_core::transparency::tree::{Frontier, HASH_BYTES};
use agentgate_core::transparency::verify::Audit;
use std::collections::BTreeSet;
use std::path::Path;
use std::{io, mem};

pub(crate) const CHECKPOINT: &str = "checkpoint";

/// The largest file of a log: a full bundle of entries, with room.
pub(super) const LOG_FILE_BYTES_MAX: u64 = 64 << 10;

/// An entry, and its length before it.
const ENTRY_IN_BUNDLE_BYTES: usize = ENTRY_BYTES + 2;

/// Every file of a log of this size but its checkpoint, and how many bytes it has.
pub(crate) fn files(size: u64) -> impl Iterator<Item = (String, usize)> {
    let tiles = Tile::changed(0, size).map(|tile| (tile.path(), usize::from(tile.width()) * HASH_BYTES));
    let bundles = Bundle::changed(0, size).map(|bundle| (bundle.path(), usize::from(bundle.width()) * ENTRY_IN_BUNDLE_BYTES));
    tiles.chain(bundles)
}

/// Reads all of it.
pub(crate) fn judge(directory: &Path, audit: Audit<'_>) -> Result<Report, Unreadable> {
    served(directory, audit, &BTreeSet::new())
}

/// The same of a log that is served now, which is never smaller than it was known to be. Of what witnesses saw that is not said: a
/// replica may be behind.
pub(super) fn served(directory: &Path, mut audit: Audit<'_>, had: &BTreeSet<u64>) -> Result<Report, Unreadable> {
    let size = audit.signed().checkpoint().size;
    let mut tiles = Tiles { directory, edge: Edge::default(), other: Vec::new() };
    let mut order = None;
    // An empty frontier is every log's beginning.
    let run = audit.run(Frontier::default()).ok();
    if let Some(mut run) = run {
        'log: for bundle in (0_u64..).map_while(|index| Bundle::at(index, size)) {
            let path = bundle.path();
            let decoded = bundle.decode(&file(directory, &path)?);
            let entries = decoded.map_err(|source| Unreadable::Bundle { path: directory.join(&path), source })?;
            for entry in entries {
                if let Err(wrong) = run.entry(&entry) {
                    order = Some(wrong);
                    break 'log;
                }
                tiles.push(entry.leaf_hash())?;
            }
        }
        audit.end(run);
    }
    tiles.end()?;
    let mut report = Report::of("log", rolled_back(audit.conclude(), had));
    if let Some(wrong) = order {
        report.wrong(wrong.to_string());
    }
    for path in tiles.other {
        report.wrong(format!("the tile `{path}` is not made of the log's entries"));
    }
    foreign::judge(directory, size, &mut report)?;
    Ok(report)
}

fn rolled_back(mut conclusion: Conclusion, had: &BTreeSet<u64>) -> Conclusion {
    for not in mem::take(&mut conclusion.not_shown) {
        if let NotShown::Earlier { old, new } = not
            && had.contains(&old)
        {
            conclusion.wrong.push(Wrong::RolledBack { old, new });
        } else {
            conclusion.not_shown.push(not);
        }
    }
    conclusion
}

/// The tiles as they must be, beside those that were given.
struct Tiles<'a> {
    directory: &'a Path,
    edge: Edge,
    other: Vec<String>,
}

// === impl Tiles ===

impl Tiles<'_> {
    fn push(&mut self, leaf: agentgate_core::transparency::tree::Hash) -> Result<(), Unreadable> {
        let mut full = Vec::new();
        // Beyond what can be counted there is no bundle that an entry could have come from.
        let _ = self.edge.push(leaf, |tile, bytes| full.push((tile, bytes)));
        full.into_iter().try_for_each(|(tile, bytes)| self.compare(tile, &bytes))
    }

    fn end(&mut self) -> Result<(), Unreadable> {
        let partial: Vec<_> = self.edge.partial().collect();
        partial.into_iter().try_for_each(|(tile, bytes)| self.compare(tile, &bytes))
    }

    fn compare(&mut self, tile: Tile, wanted: &[u8]) -> Result<(), Unreadable> {
        let path = tile.path();
        if file(self.directory, &path)? != wanted {
            self.other.push(path);
        }
        Ok(())
    }
}

fn file(directory: &Path, path: &str) -> Result<Vec<u8>, Unreadable> {
    let found = read(&directory.join(path), LOG_FILE_BYTES_MAX);
    if let Err(Unreadable::File { source, .. }) = &found
        && source.kind() == io::ErrorKind::NotFound
    {
        return Err(Unreadable::Missing { path: directory.into(), file: path.into() });
    }
    found
}
