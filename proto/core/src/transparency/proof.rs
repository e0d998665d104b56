//! Proofs: that a leaf is in a tree (inclusion), and that one tree is the beginning of another (consistency). RFC 6962 says what
//! they are made of, RFC 9162 how they are checked.
//!
//! A check takes bytes alone and believes nothing. It does not say who vouches for a root, nor for a size: a root does not hold
//! its tree's size, so that both must come from one signed checkpoint.

use super::tile::Tile;
use super::tree::{HASH_BYTES, Hash, Node, Nodes, SIZE_MAX, hash_of};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::ops::Range;
use thiserror::Error;

/// The longest proof there is: one hash for each level of the largest tree, and one where a consistency proof begins.
pub const PROOF_HASHES_MAX: usize = 64;

/// The hashes of a proof, from the leaves up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof(Vec<Hash>);

/// Which subtrees a proof consists of, before anything is read: whoever reads slowly fetches `tiles` first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    size: u64,
    ranges: Vec<Range<u64>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ProofError {
    #[error("a tree has at most {SIZE_MAX} leaves, and not {0}")]
    Size(u64),
    #[error("a tree of {size} leaves has no leaf {index}")]
    Index { index: u64, size: u64 },
    #[error("a tree of {old} leaves is no beginning of one of {new}")]
    Shrunk { old: u64, new: u64 },
    #[error("the proof has {0} hashes, which is not what these sizes take")]
    Length(usize),
    #[error("{0} bytes are no proof")]
    Bytes(usize),
    #[error("the proof leads to another root")]
    Root,
    #[error("the proof leads to another old root")]
    OldRoot,
}

// === impl Plan ===

impl Plan {
    /// The proof that leaf `index` is in the tree of `size` leaves.
    ///
    /// # Errors
    /// Where there is no such leaf.
    pub fn inclusion(index: u64, size: u64) -> Result<Self, ProofError> {
        counted(size)?;
        if index >= size {
            return Err(ProofError::Index { index, size });
        }
        let (mut from, mut to) = (0, size);
        let mut ranges = Vec::new();
        while let Some(middle) = split(from, to) {
            if index < middle {
                ranges.push(middle..to);
                to = middle;
            } else {
                ranges.push(from..middle);
                from = middle;
            }
        }
        ranges.reverse();
        Ok(Self { size, ranges })
    }

    /// The proof that the tree of `new` leaves begins with that of `old`. Of equal trees, and of none, it is empty.
    ///
    /// # Errors
    /// Where the old tree is the larger one.
    pub fn consistency(old: u64, new: u64) -> Result<Self, ProofError> {
        counted(new)?;
        if old > new {
            return Err(ProofError::Shrunk { old, new });
        }
        let mut ranges = Vec::new();
        let (mut from, mut to) = (0, new);
        while let Some(middle) = split(from, to).filter(|_| old != 0 && old != to) {
            if old <= middle {
                ranges.push(middle..to);
                to = middle;
            } else {
                ranges.push(from..middle);
                from = middle;
            }
        }
        // The old root itself is known to whoever checks.
        if from != 0 {
            ranges.push(from..to);
        }
        ranges.reverse();
        Ok(Self { size: new, ranges })
    }

    /// The tiles that the proof is made from.
    #[must_use]
    pub fn tiles(&self) -> BTreeSet<Tile> {
        let nodes = self.ranges.iter().cloned().flat_map(Node::within);
        nodes.filter_map(|node| Tile::holding(node, self.size)).collect()
    }

    /// # Errors
    /// Where a node cannot be had.
    pub fn proof<N: Nodes>(&self, nodes: &N) -> Result<Proof, N::Error> {
        self.ranges.iter().map(|range| hash_of(range.clone(), nodes)).collect::<Result<_, _>>().map(Proof)
    }
}

fn counted(size: u64) -> Result<(), ProofError> {
    if size > SIZE_MAX { Err(ProofError::Size(size)) } else { Ok(()) }
}

/// Where RFC 6962 splits a tree: after the largest power of two that is less than its size. A leaf is not split.
fn split(from: u64, to: u64) -> Option<u64> {
    let level = to.checked_sub(from)?.checked_sub(1)?.checked_ilog2()?;
    from.checked_add(1 << level)
}

// === impl Proof ===

impl Proof {
    /// # Errors
    /// `Length`, where no proof is that long.
    pub fn new(hashes: Vec<Hash>) -> Result<Self, ProofError> {
        if hashes.len() > PROOF_HASHES_MAX { Err(ProofError::Length(hashes.len())) } else { Ok(Self(hashes)) }
    }

    #[must_use]
    pub fn hashes(&self) -> &[Hash] {
        &self.0
    }

    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        Hash::concat(&self.0)
    }

    /// # Errors
    /// What `encode` never wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, ProofError> {
        if bytes.len() > PROOF_HASHES_MAX * HASH_BYTES {
            return Err(ProofError::Bytes(bytes.len()));
        }
        Hash::all_of(bytes).map(Self).ok_or(ProofError::Bytes(bytes.len()))
    }

    /// Shows that `leaf` is the leaf at `index` in the tree of `size` leaves with this root.
    ///
    /// # Errors
    /// Where it does not show that.
    pub fn includes(&self, leaf: Hash, index: u64, size: u64, root: Hash) -> Result<(), ProofError> {
        counted(size)?;
        if index >= size {
            return Err(ProofError::Index { index, size });
        }
        let mut climb = Climb { node: index, last: size.saturating_sub(1) };
        let mut hash = leaf;
        for sibling in &self.0 {
            hash = match climb.up().ok_or(ProofError::Length(self.0.len()))? {
                Side::Left => Hash::of_node(sibling, &hash),
                Side::Right => Hash::of_node(&hash, sibling),
            };
        }
        if !climb.is_done() {
            return Err(ProofError::Length(self.0.len()));
        }
        if hash == root { Ok(()) } else { Err(ProofError::Root) }
    }

    /// Shows that the tree of `new` leaves with `new_root` begins with that of `old` leaves and `old_root`.
    ///
    /// # Errors
    /// Where it does not show that.
    pub fn extends(&self, (old, old_root): (u64, Hash), (new, new_root): (u64, Hash)) -> Result<(), ProofError> {
        counted(new)?;
        if old > new {
            return Err(ProofError::Shrunk { old, new });
        }
        if old == 0 || old == new {
            return self.shows_without_hashes(old, old_root, new, new_root);
        }
        let length = ProofError::Length(self.0.len());
        // A perfect old tree is a subtree of the new one, and its root is left out of the proof.
        let (first, rest) = if old.is_power_of_two() {
            (old_root, self.0.as_slice())
        } else {
            self.0.split_first().map(|(first, rest)| (*first, rest)).ok_or(length)?
        };
        let mut climb = Climb { node: old.saturating_sub(1), last: new.saturating_sub(1) };
        climb.skip_right_edges();
        let (mut old_hash, mut new_hash) = (first, first);
        for hash in rest {
            match climb.up().ok_or(length)? {
                Side::Left => {
                    old_hash = Hash::of_node(hash, &old_hash);
                    new_hash = Hash::of_node(hash, &new_hash);
                }
                Side::Right => new_hash = Hash::of_node(&new_hash, hash),
            }
        }
        if !climb.is_done() {
            return Err(length);
        }
        if old_hash != old_root {
            return Err(ProofError::OldRoot);
        }
        if new_hash == new_root { Ok(()) } else { Err(ProofError::Root) }
    }

    fn shows_without_hashes(&self, old: u64, old_root: Hash, new: u64, new_root: Hash) -> Result<(), ProofError> {
        if !self.0.is_empty() {
            return Err(ProofError::Length(self.0.len()));
        }
        if old == 0 && old_root != Hash::EMPTY {
            return Err(ProofError::OldRoot);
        }
        if old == new && old_root != new_root { Err(ProofError::Root) } else { Ok(()) }
    }
}

/// The way from a node up to the root, beside the way from the last one.
struct Climb {
    node: u64,
    last: u64,
}

enum Side {
    Left,
    Right,
}

// === impl Climb ===

impl Climb {
    /// On which side the next hash stands; none where the root is reached.
    fn up(&mut self) -> Option<Side> {
        if self.last == 0 {
            return None;
        }
        let left = self.node & 1 == 1 || self.node == self.last;
        // The last node of a level may have no sibling: it is passed up as it is.
        if left {
            while self.node & 1 == 0 && self.node != 0 {
                self.step();
            }
        }
        self.step();
        Some(if left { Side::Left } else { Side::Right })
    }

    fn skip_right_edges(&mut self) {
        while self.node & 1 == 1 {
            self.step();
        }
    }

    const fn step(&mut self) {
        self.node >>= 1;
        self.last >>= 1;
    }

    const fn is_done(&self) -> bool {
        self.last == 0
    }
}
