//! Entry bundles (C2SP tlog-tiles): the entries of one tile of leaves in one file, each behind its length. A bundle of another
//! number of entries, or with a byte more, is none.

use super::leaf::{ENTRY_BYTES, Entry, EntryError};
use super::path;
use super::tile::Tile;
use alloc::string::String;
use alloc::vec::Vec;
use thiserror::Error;

const PREFIX: &str = "tile/entries/";
const LENGTH: u16 = 70;
const _: () = assert!(LENGTH as usize == ENTRY_BYTES);

/// The entries below one tile of leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bundle {
    index: u64,
    width: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BundleError {
    #[error("`{path}` holds {found} entries in place of {wanted}")]
    Count { path: String, found: usize, wanted: u16 },
    #[error("`{path}` is cut short in its entry {at}")]
    Short { path: String, at: usize },
    #[error("entry {at} of `{path}` is none")]
    Entry { path: String, at: usize, source: EntryError },
    #[error("entry {at} of `{path}` says that it is the log's {sequence}th")]
    Sequence { path: String, at: usize, sequence: u64 },
}

// === impl Bundle ===

impl Bundle {
    /// The bundle below a tile of leaves; none below any other tile.
    #[must_use]
    pub fn below(tile: Tile) -> Option<Self> {
        (tile.level() == 0).then_some(Self { index: tile.index(), width: tile.width() })
    }

    /// The bundle as it is in a log of `size` entries; none where it would hold nothing.
    #[must_use]
    pub fn at(index: u64, size: u64) -> Option<Self> {
        Tile::at(0, index, size).and_then(Self::below)
    }

    /// The bundles to be written when a log grows from `old` to `new` entries.
    pub fn changed(old: u64, new: u64) -> impl Iterator<Item = Self> {
        Tile::changed(old, new).map_while(Self::below)
    }

    #[must_use]
    pub const fn index(&self) -> u64 {
        self.index
    }

    #[must_use]
    pub const fn width(&self) -> u16 {
        self.width
    }

    /// The sequence of its first entry.
    #[must_use]
    pub fn first_sequence(&self) -> u64 {
        self.index * u64::from(super::tile::TILE_WIDTH) + 1
    }

    #[must_use]
    pub fn path(&self) -> String {
        path::print(PREFIX, self.index, self.width)
    }

    /// The bundle at this path; none where no log has one, or where its path is another.
    #[must_use]
    pub fn parse(path: &str) -> Option<Self> {
        let (index, width) = path::parse(PREFIX, path)?;
        Self::at(index, super::tree::SIZE_MAX).filter(|whole| whole.width >= width).map(|_| Self { index, width })
    }

    /// The entries in this bundle's bytes, which say themselves where they stand.
    ///
    /// # Errors
    /// Where the bytes are not exactly these entries.
    pub fn decode(&self, bytes: &[u8]) -> Result<Vec<Entry>, BundleError> {
        let path = || self.path();
        let mut entries = Vec::new();
        let mut rest = bytes;
        while let Some((length, after)) = rest.split_first_chunk() {
            let at = entries.len();
            let short = || BundleError::Short { path: path(), at };
            let (entry, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*length))).ok_or_else(short)?;
            let entry = Entry::decode(entry).map_err(|source| BundleError::Entry { path: path(), at, source })?;
            if entry.sequence.checked_sub(self.first_sequence()) != Some(at as u64) {
                return Err(BundleError::Sequence { path: path(), at, sequence: entry.sequence });
            }
            entries.push(entry);
            rest = after;
        }
        if !rest.is_empty() {
            return Err(BundleError::Short { path: path(), at: entries.len() });
        }
        if entries.len() != usize::from(self.width) {
            return Err(BundleError::Count { path: path(), found: entries.len(), wanted: self.width });
        }
        Ok(entries)
    }
}

/// The bytes of a bundle of these entries.
#[must_use]
pub fn encode<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Vec<u8> {
    entries.into_iter().flat_map(|entry| LENGTH.to_be_bytes().into_iter().chain(entry.encode())).collect()
}
