//! Trees to test with: leaves by number, their tiles, and a reader of nodes that hashes from the leaves, as RFC 6962 writes it down.

use agentgate_core::digest::Digest;
use agentgate_core::transparency::edge::Edge;
use agentgate_core::transparency::leaf::{Entry, Kind};
use agentgate_core::transparency::tile::Tile;
use agentgate_core::transparency::tree::{Hash, Node, Nodes};
use std::collections::BTreeMap;
use std::convert::Infallible;

/// A log of so many decisions of one source, and all that was ever written of it.
pub(super) struct Forest {
    pub(super) entries: Vec<Entry>,
    pub(super) files: BTreeMap<String, Vec<u8>>,
    pub(super) edge: Edge,
}

/// RFC 6962's `MTH`, by its own recursive words.
pub(super) fn mth(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Hash::EMPTY,
        [leaf] => *leaf,
        more => {
            let (left, right) = more.split_at(more.len().next_power_of_two() / 2);
            Hash::of_node(&mth(left), &mth(right))
        }
    }
}

/// A leaf's number as a place in memory.
pub(super) fn place(number: u64) -> usize {
    usize::try_from(number).unwrap()
}

pub(super) fn entry(sequence: u64) -> Entry {
    let call = Digest::from_bytes(std::array::from_fn(|at| match at {
        0..20 => 7,
        20..28 => sequence.to_be_bytes()[at - 20],
        _ => 0,
    }));
    Entry::of(Kind::Decision, sequence, Some(&call), format!("record {sequence}").as_bytes())
}

// === impl Forest ===

impl Forest {
    pub(super) fn of(size: u64) -> Self {
        let mut forest = Self { entries: Vec::new(), files: BTreeMap::new(), edge: Edge::default() };
        forest.grow(size);
        forest
    }

    /// Grows to `size` leaves in one step, and writes what that changes.
    pub(super) fn grow(&mut self, size: u64) {
        for sequence in self.edge.size() + 1..=size {
            let entry = entry(sequence);
            self.edge.push(entry.leaf_hash(), |tile, bytes| drop(self.files.insert(tile.path(), bytes))).unwrap();
            self.entries.push(entry);
        }
        self.files.extend(self.edge.partial().map(|(tile, bytes)| (tile.path(), bytes)));
    }

    pub(super) fn leaves(&self) -> Vec<Hash> {
        self.entries.iter().map(Entry::leaf_hash).collect()
    }

    pub(super) fn fetch(&self, tile: Tile) -> Result<&[u8], Missing> {
        self.files.get(&tile.path()).map(Vec::as_slice).ok_or_else(|| Missing(tile.path()))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` was never written")]
pub(super) struct Missing(String);

/// Every node of a tree, hashed once.
pub(super) struct Table(Vec<Vec<Hash>>);

impl Table {
    pub(super) fn of(leaves: Vec<Hash>) -> Self {
        let mut levels = vec![leaves];
        while levels.last().is_some_and(|level| level.len() > 1) {
            let pairs = levels.last().unwrap().chunks_exact(2);
            let above = pairs.map(|pair| Hash::of_node(&pair[0], &pair[1])).collect();
            levels.push(above);
        }
        Self(levels)
    }
}

impl Nodes for Table {
    type Error = Infallible;

    fn node(&self, node: Node) -> Result<Hash, Infallible> {
        Ok(self.0[usize::from(node.level)][place(node.index)])
    }
}

/// Nodes hashed from the leaves each time.
pub(super) struct Slow<'a>(pub(super) &'a [Hash]);

impl Nodes for Slow<'_> {
    type Error = Infallible;

    fn node(&self, node: Node) -> Result<Hash, Infallible> {
        let from = place(node.index << node.level);
        Ok(mth(&self.0[from..from + (1 << node.level)]))
    }
}
