//! A growing tree's tiles: leaves go in, tiles come out, each hashed once when it is full.
//!
//! It holds one tile a level that is not full, and writes nothing: whoever drives it keeps the tiles before the checkpoint.

use super::tile::{TILE_LEVELS, TILE_WIDTH, Tile, TileError, perfect};
use super::tree::{Frontier, Hash, Node, SIZE_MAX, TreeError};
use alloc::vec::Vec;

/// The tiles at a tree's end, one a level, none of them full.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Edge {
    size: u64,
    // INVARIANT: `size` says how long each is, and none is full.
    levels: [Vec<Hash>; TILE_LEVELS as usize],
}

// === impl Edge ===

impl Edge {
    /// The edge of a tree of `size` leaves, from its tiles that are not full (`Tile::partial`).
    ///
    /// # Errors
    /// Where a tile is not given, or is none.
    pub fn read<B: AsRef<[u8]>, E>(size: u64, fetch: impl Fn(Tile) -> Result<B, E>) -> Result<Self, TileError<E>> {
        let mut edge = Self { size, ..Self::default() };
        for tile in Tile::partial(size) {
            let bytes = fetch(tile).map_err(|source| TileError::Fetch { path: tile.path(), source })?;
            if let Some(level) = edge.levels.get_mut(usize::from(tile.level())) {
                *level = tile.hashes(bytes.as_ref())?;
            }
        }
        Ok(edge)
    }

    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Takes the next leaf, and gives each tile that it fills to `full`.
    ///
    /// # Errors
    /// `Full`, where no leaf more can be counted.
    pub fn push(&mut self, leaf: Hash, mut full: impl FnMut(Tile, Vec<u8>)) -> Result<(), TreeError> {
        if self.size >= SIZE_MAX {
            return Err(TreeError::Full);
        }
        self.size += 1;
        let mut node = leaf;
        for (level, hashes) in (0..).zip(&mut self.levels) {
            hashes.push(node);
            if hashes.len() < usize::from(TILE_WIDTH) {
                break;
            }
            let hashes = core::mem::take(hashes);
            if let Some(tile) = Tile::last_full(level, self.size) {
                full(tile, Hash::concat(&hashes));
            }
            match perfect(hashes) {
                Some(hash) => node = hash,
                None => break,
            }
        }
        Ok(())
    }

    /// The tiles that are not full, as they are now.
    pub fn partial(&self) -> impl Iterator<Item = (Tile, Vec<u8>)> {
        Tile::partial(self.size).filter_map(|tile| Some((tile, Hash::concat(self.levels.get(usize::from(tile.level()))?))))
    }

    #[must_use]
    pub fn root(&self) -> Hash {
        self.frontier().root()
    }

    /// What of this edge it takes to know its root.
    #[must_use]
    pub fn frontier(&self) -> Frontier {
        // Each peak of a tree lies in a tile that is not full; the larger, the higher.
        let peaks = self.levels.iter().rev().flat_map(|hashes| {
            let mut rest = hashes.as_slice();
            Node::within(0..u64::from(TILE_WIDTH).min(rest.len() as u64)).filter_map(move |node| {
                let (own, after) = rest.split_at_checked(1 << node.level)?;
                rest = after;
                perfect(own.to_vec())
            })
        });
        Frontier::of(self.size, peaks.collect())
    }
}
