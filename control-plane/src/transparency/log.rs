//! The log as it grows: entries go in, tiles and bundles come out, and proofs are made from them.
//!
//! It signs nothing and reads no journal. What lies in the store is believed only as far as a signed root agrees.

use super::store::Store;
use agentgate_core::transparency::bundle::{self, Bundle};
use agentgate_core::transparency::edge::Edge;
use agentgate_core::transparency::leaf::Entry;
use agentgate_core::transparency::proof::{Plan, Proof, ProofError};
use agentgate_core::transparency::tile::{TILE_HEIGHT, TILE_WIDTH, Tile, TileError, Tiles};
use agentgate_core::transparency::tree::{Hash, Node, Nodes as _, root_of};
use std::io;
use thiserror::Error;

const WIDTH: u64 = TILE_WIDTH as u64;

/// Bytes of one hash in a tile.
const HASH_BYTES: usize = 32;

#[derive(Debug)]
pub(super) struct Log {
    store: Store,
    edge: Edge,
    /// The entries of the bundle that is not full.
    tail: Vec<Entry>,
}

#[derive(Debug, Error)]
pub enum LogError {
    #[error(transparent)]
    Proof(#[from] ProofError),
    #[error("a tile cannot be had")]
    Tile(#[from] TileError<io::Error>),
    #[error("a tile cannot be written")]
    Write(#[source] io::Error),
    #[error("the log takes no further entry")]
    Full,
}

// === impl Log ===

impl Log {
    /// The log as far as its full tiles are there, and a root over them was signed. No later comparison would find what lies
    /// beyond: tiles of another journal, or ones that a loss of power spoiled.
    pub(super) fn reopen(store: Store, signed: u64) -> Self {
        let most = signed / WIDTH;
        let full = (0..most).find(|index| !Self::is_there(&store, *index)).unwrap_or(most);
        let size = full.saturating_mul(WIDTH);
        // A partial tile stands for full ones below it.
        let edge = Edge::read(size, |tile| lower(&store, tile, size));
        let edge = edge.unwrap_or_else(|error| {
            tracing::warn!(%error, "the log's tiles are not whole; they are made again");
            Edge::default()
        });
        Self { store, edge, tail: Vec::new() }
    }

    /// Forgets what it knows, and begins again.
    pub(super) fn begin_again(&mut self) {
        self.edge = Edge::default();
        self.tail.clear();
    }

    fn is_there(store: &Store, index: u64) -> bool {
        let Some((tile, bundle)) = Tile::at(0, index, u64::MAX >> 1).and_then(|tile| Some((tile, Bundle::below(tile)?))) else {
            return false;
        };
        let hashes = store.get(&tile.path()).is_ok_and(|bytes| bytes.len() == usize::from(TILE_WIDTH) * HASH_BYTES);
        hashes && store.get(&bundle.path()).is_ok_and(|bytes| bundle.decode(&bytes).is_ok())
    }

    pub(super) fn size(&self) -> u64 {
        self.edge.size()
    }

    pub(super) fn root(&self) -> Hash {
        self.edge.root()
    }

    /// The root that the log had at `size`.
    pub(super) fn root_at(&self, size: u64) -> Result<Hash, LogError> {
        if size == self.size() {
            return Ok(self.root());
        }
        Ok(root_of(size, &self.nodes())?)
    }

    /// Takes the next entry. When what it fills cannot be written the log is as it was before.
    pub(super) fn push(&mut self, entry: &Entry) -> Result<(), LogError> {
        let fills = (self.size() + 1).is_multiple_of(WIDTH);
        let before = fills.then(|| self.edge.clone());
        let mut full = Vec::new();
        self.edge.push(entry.leaf_hash(), |tile, bytes| full.push((tile, bytes))).map_err(|_| LogError::Full)?;
        self.tail.push(*entry);
        if let Some(before) = before {
            if let Err(error) = self.write(full) {
                self.edge = before;
                self.tail.pop();
                return Err(LogError::Write(error));
            }
            self.tail.clear();
        }
        Ok(())
    }

    fn write(&self, full: Vec<(Tile, Vec<u8>)>) -> io::Result<()> {
        for (tile, bytes) in full {
            if let Some(bundle) = Bundle::below(tile) {
                self.store.put(&bundle.path(), bundle::encode(&self.tail))?;
            }
            self.store.put(&tile.path(), bytes)?;
        }
        Ok(())
    }

    /// Whether a file of this name was written once: a tile or a bundle that is full, or cut from one.
    pub(super) fn was_written(&self, path: &str) -> bool {
        let size = self.size();
        let tile = || {
            let tile = Tile::parse(path)?;
            Some(Tile::at(tile.level(), tile.index(), size)?.is_full())
        };
        let bundle = || Some(Bundle::at(Bundle::parse(path)?.index(), size)?.width() == TILE_WIDTH);
        tile().or_else(bundle).unwrap_or_default()
    }

    /// A file of the log. None: there is none of this name as yet, or ever.
    pub(super) fn file(&self, path: &str) -> Option<Vec<u8>> {
        if let Some(tile) = Tile::parse(path) {
            return self.tile(tile).ok();
        }
        let bundle = Bundle::parse(path)?;
        let whole = Bundle::at(bundle.index(), self.size()).filter(|whole| whole.width() >= bundle.width())?;
        if whole.width() == TILE_WIDTH {
            let bytes = self.store.get(&whole.path()).ok()?;
            let entries = whole.decode(&bytes).ok()?;
            return Some(bundle::encode(entries.iter().take(bundle.width().into())));
        }
        Some(bundle::encode(self.tail.iter().take(bundle.width().into())))
    }

    /// What the log says of the record at this index.
    pub(super) fn entry(&self, index: u64) -> Option<Entry> {
        let bundle = Bundle::at(index / WIDTH, self.size())?;
        let bytes = self.file(&bundle.path())?;
        let within = usize::try_from(index % WIDTH).ok()?;
        bundle.decode(&bytes).ok()?.get(within).copied()
    }

    pub(super) fn inclusion(&self, index: u64, size: u64) -> Result<Proof, LogError> {
        Ok(Plan::inclusion(index, size)?.proof(&self.nodes())?)
    }

    pub(super) fn consistency(&self, old: u64, new: u64) -> Result<Proof, LogError> {
        Ok(Plan::consistency(old, new)?.proof(&self.nodes())?)
    }

    fn nodes(&self) -> Tiles<impl Fn(Tile) -> io::Result<Vec<u8>>> {
        Tiles::new(self.size(), |tile| self.tile(tile))
    }

    /// A tile in any width that it has had.
    fn tile(&self, tile: Tile) -> io::Result<Vec<u8>> {
        let whole = Tile::at(tile.level(), tile.index(), self.size()).filter(|whole| whole.width() >= tile.width());
        let whole = whole.ok_or_else(missing)?;
        let mut bytes = if whole.is_full() {
            self.store.get(&whole.path())?
        } else {
            let mut partial = self.edge.partial();
            partial.find(|(known, _)| *known == whole).map(|(_, bytes)| bytes).ok_or_else(missing)?
        };
        bytes.truncate(usize::from(tile.width()) * HASH_BYTES);
        Ok(bytes)
    }
}

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

/// A tile that is not full, from the full ones that its hashes stand for.
fn lower(store: &Store, tile: Tile, size: u64) -> io::Result<Vec<u8>> {
    let fetch = |tile: Tile| store.get(&tile.path());
    let nodes = Tiles::new(size, fetch);
    let Some(half) = (tile.level() * TILE_HEIGHT).checked_sub(1) else { return Ok(Vec::new()) };
    let first = tile.index() * WIDTH;
    let hash = |index: u64| {
        let [left, right] = [2 * index, 2 * index + 1].map(|index| nodes.node(Node { level: half, index }));
        let unreadable = |error: TileError<io::Error>| match error {
            TileError::Fetch { source, .. } => source,
            TileError::Outside { .. } | TileError::Length { .. } => io::ErrorKind::InvalidData.into(),
        };
        Ok(Hash::of_node(&left.map_err(unreadable)?, &right.map_err(unreadable)?))
    };
    let hashes = (first..first + u64::from(tile.width())).map(hash).collect::<io::Result<Vec<_>>>()?;
    Ok(Hash::concat(&hashes))
}
