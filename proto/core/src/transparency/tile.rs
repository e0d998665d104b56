//! Tiles (C2SP tlog-tiles): the tree as files that never change, 256 hashes wide, each hash of one standing for a full one below.
//!
//! This file says which tiles there are and finds a node's hash in them. It fetches none and believes none: what is made from
//! them is proved against a signed root.

use super::path;
use super::tree::{Hash, Node, Nodes, SIZE_MAX};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use thiserror::Error;

/// How many hashes a full tile holds, and how many levels of the tree that spans.
pub const TILE_WIDTH: u16 = 256;
pub const TILE_HEIGHT: u8 = 8;

/// The levels of tiles that a tree of `SIZE_MAX` leaves has.
pub const TILE_LEVELS: u8 = 8;

/// The `width` hashes from `index * 256` on, at the tree's level `level * 8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tile {
    level: u8,
    index: u64,
    width: u16,
}

/// The nodes of a tree of `size` leaves, read from tiles that `fetch` gives.
#[derive(Clone, Copy, Debug)]
pub struct Tiles<F> {
    size: u64,
    fetch: F,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TileError<E> {
    #[error("a tree of {size} leaves has no node {} at level {}", .node.index, .node.level)]
    Outside { node: Node, size: u64 },
    #[error("`{path}` has {found} bytes in place of {wanted}")]
    Length { path: String, found: usize, wanted: usize },
    #[error("`{path}` was not given")]
    Fetch { path: String, source: E },
}

// === impl Tile ===

impl Tile {
    /// The tile as it is in a tree of `size` leaves, full or not; none where it would hold nothing.
    #[must_use]
    pub fn at(level: u8, index: u64, size: u64) -> Option<Self> {
        let hashes = hashes_at(level, size)?;
        let before = index.checked_mul(u64::from(TILE_WIDTH))?;
        let width = hashes.checked_sub(before)?.min(u64::from(TILE_WIDTH));
        let width = u16::try_from(width).ok().filter(|width| *width > 0)?;
        Some(Self { level, index, width })
    }

    /// The tile of a tree of `size` leaves that `node` is read from; none where the tree has no such node.
    #[must_use]
    pub fn holding(node: Node, size: u64) -> Option<Self> {
        let within = node.level % TILE_HEIGHT;
        let nodes = size.checked_shr(u32::from(node.level)).filter(|nodes| *nodes > node.index);
        nodes.and_then(|_| Self::at(node.level / TILE_HEIGHT, node.index >> (TILE_HEIGHT - within), size))
    }

    /// The tiles to be written when a tree grows from `old` to `new` leaves, level by level, each as it then is.
    pub fn changed(old: u64, new: u64) -> impl Iterator<Item = Self> {
        (0..TILE_LEVELS).flat_map(move |level| {
            let (from, to) = (hashes_at(level, old).unwrap_or(0), hashes_at(level, new).unwrap_or(0));
            let end = if from < to { to.div_ceil(u64::from(TILE_WIDTH)) } else { 0 };
            (from / u64::from(TILE_WIDTH)..end).filter_map(move |index| Self::at(level, index, new))
        })
    }

    /// The tiles of a tree of `size` leaves that are not full: what it takes to go on.
    pub fn partial(size: u64) -> impl Iterator<Item = Self> {
        (0..TILE_LEVELS).filter_map(move |level| {
            let hashes = hashes_at(level, size)?;
            Self::at(level, hashes / u64::from(TILE_WIDTH), size)
        })
    }

    /// The last full tile at `level`.
    pub(super) fn last_full(level: u8, size: u64) -> Option<Self> {
        let full = hashes_at(level, size)? / u64::from(TILE_WIDTH);
        Self::at(level, full.checked_sub(1)?, size)
    }

    #[must_use]
    pub const fn level(&self) -> u8 {
        self.level
    }

    #[must_use]
    pub const fn index(&self) -> u64 {
        self.index
    }

    #[must_use]
    pub const fn width(&self) -> u16 {
        self.width
    }

    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.width == TILE_WIDTH
    }

    /// Whether a tree of `size` leaves has this tile, in this width or a larger one.
    #[must_use]
    pub fn is_in(&self, size: u64) -> bool {
        Self::at(self.level, self.index, size).is_some_and(|tile| tile.width >= self.width)
    }

    #[must_use]
    pub fn path(&self) -> String {
        path::print(&format!("tile/{}/", self.level), self.index, self.width)
    }

    /// The tile at this path; none where no tree has one, or where its path is another.
    #[must_use]
    pub fn parse(path: &str) -> Option<Self> {
        let (level, _) = path.strip_prefix("tile/")?.split_once('/')?;
        let level = level.parse().ok()?;
        let (index, width) = path::parse(&format!("tile/{level}/"), path)?;
        let tile = Self { level, index, width };
        tile.is_in(SIZE_MAX).then_some(tile)
    }

    /// The hashes in this tile's bytes.
    ///
    /// # Errors
    /// `Length`, where there are more or fewer.
    pub fn hashes<E>(&self, bytes: &[u8]) -> Result<Vec<Hash>, TileError<E>> {
        let wanted = usize::from(self.width) * super::tree::HASH_BYTES;
        let length = || TileError::Length { path: self.path(), found: bytes.len(), wanted };
        if bytes.len() != wanted {
            return Err(length());
        }
        Hash::all_of(bytes).ok_or_else(length)
    }
}

/// How many hashes all tiles of a level hold.
fn hashes_at(level: u8, size: u64) -> Option<u64> {
    size.checked_shr(u32::from(level).checked_mul(u32::from(TILE_HEIGHT))?)
}

/// The hash of a perfect subtree, by the hashes of its lowest level: a power of two of them.
pub(super) fn perfect(mut hashes: Vec<Hash>) -> Option<Hash> {
    while hashes.len() > 1 {
        let (pairs, odd) = hashes.as_chunks();
        if !odd.is_empty() {
            return None;
        }
        hashes = pairs.iter().map(|[left, right]| Hash::of_node(left, right)).collect();
    }
    hashes.pop()
}

// === impl Tiles ===

impl<F> Tiles<F> {
    pub const fn new(size: u64, fetch: F) -> Self {
        Self { size, fetch }
    }
}

impl<F, B, E> Nodes for Tiles<F>
where
    F: Fn(Tile) -> Result<B, E>,
    B: AsRef<[u8]>,
{
    type Error = TileError<E>;

    fn node(&self, node: Node) -> Result<Hash, TileError<E>> {
        let outside = || TileError::Outside { node, size: self.size };
        let tile = Tile::holding(node, self.size).ok_or_else(outside)?;
        let bytes = (self.fetch)(tile).map_err(|source| TileError::Fetch { path: tile.path(), source })?;
        let hashes = tile.hashes(bytes.as_ref())?;
        let below = 1_usize << (node.level % TILE_HEIGHT);
        let before = node.index % (u64::from(TILE_WIDTH) >> (node.level % TILE_HEIGHT));
        let start = usize::try_from(before).map_err(|_| outside())?.saturating_mul(below);
        let own = hashes.get(start..start.saturating_add(below)).map(<[Hash]>::to_vec);
        own.and_then(perfect).ok_or_else(outside)
    }
}
