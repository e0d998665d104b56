//! The Merkle tree of RFC 6962: how leaves and nodes are hashed, and the little of a tree that it takes to go on from its end.
//!
//! It keeps no leaf, and counts no further than others can.

use alloc::vec::Vec;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use core::fmt;
use core::ops::Range;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

pub const HASH_BYTES: usize = 32;

/// The most leaves of a tree. Others count in signed integers of 64 bits.
pub const SIZE_MAX: u64 = i64::MAX.cast_unsigned();

/// The hash of a leaf, of a node or of a whole tree; written in base64, as checkpoints write it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash([u8; HASH_BYTES]);

/// A perfect subtree: the leaves from `index << level`, and `1 << level` of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node {
    pub level: u8,
    pub index: u64,
}

/// Where the hashes of perfect subtrees come from.
pub trait Nodes {
    type Error;

    /// # Errors
    /// Where the hash cannot be had.
    fn node(&self, node: Node) -> Result<Hash, Self::Error>;
}

/// The right edge of a tree: its perfect subtrees, the largest first. With it a tree grows without being there.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    // INVARIANT: one for each bit that is set in `size`.
    peaks: Vec<Hash>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TreeError {
    #[error("a tree has at most {SIZE_MAX} leaves")]
    Full,
    #[error("a tree's edge of {found} bytes is none of {size} leaves")]
    Edge { size: u64, found: usize },
    #[error("a tree's edge is cut short")]
    Short,
}

// === impl Hash ===

impl Hash {
    /// Of the tree without a leaf: SHA-256 of nothing.
    pub const EMPTY: Self = Self([
        0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27, 0xae, 0x41, 0xe4,
        0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
    ]);

    #[must_use]
    pub const fn from_bytes(bytes: [u8; HASH_BYTES]) -> Self {
        Self(bytes)
    }

    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; HASH_BYTES] {
        &self.0
    }

    #[must_use]
    pub fn of_leaf(entry: &[u8]) -> Self {
        let mut hasher = Sha256::new();
        hasher.update([0]);
        hasher.update(entry);
        Self(hasher.finalize().into())
    }

    #[must_use]
    pub fn of_node(left: &Self, right: &Self) -> Self {
        let mut hasher = Sha256::new();
        hasher.update([1]);
        hasher.update(left.0);
        hasher.update(right.0);
        Self(hasher.finalize().into())
    }

    /// What `Display` writes, and nothing else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        STANDARD.decode(text).ok()?.try_into().ok().map(Self)
    }

    /// The hashes that stand one after the other in `bytes`; none where the last is cut.
    #[must_use]
    pub fn all_of(bytes: &[u8]) -> Option<Vec<Self>> {
        let (hashes, rest) = bytes.as_chunks();
        rest.is_empty().then(|| hashes.iter().copied().map(Self).collect())
    }

    #[must_use]
    pub fn concat(hashes: &[Self]) -> Vec<u8> {
        hashes.iter().flat_map(|hash| hash.0).collect()
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

// === impl Node ===

impl Node {
    /// The largest perfect subtrees that `range` is made of, from left to right.
    pub fn within(range: Range<u64>) -> impl Iterator<Item = Self> {
        let mut from = range.start;
        core::iter::from_fn(move || {
            let length = range.end.checked_sub(from)?.checked_ilog2()?;
            let level = length.min(from.trailing_zeros());
            let node = Self { level: u8::try_from(level).ok()?, index: from >> level };
            from += 1 << level;
            Some(node)
        })
    }
}

/// The hash of the subtree over `range`, which is one that RFC 6962 splits a tree into.
pub(super) fn hash_of<N: Nodes>(range: Range<u64>, nodes: &N) -> Result<Hash, N::Error> {
    let peaks = Node::within(range).map(|node| nodes.node(node)).collect::<Result<Vec<_>, _>>()?;
    Ok(joined(&peaks))
}

/// The root of the first `size` leaves.
///
/// # Errors
/// Where a node cannot be had.
pub fn root_of<N: Nodes>(size: u64, nodes: &N) -> Result<Hash, N::Error> {
    hash_of(0..size, nodes)
}

fn joined(peaks: &[Hash]) -> Hash {
    peaks.iter().copied().rev().reduce(|right, left| Hash::of_node(&left, &right)).unwrap_or(Hash::EMPTY)
}

// === impl Frontier ===

impl Frontier {
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    #[must_use]
    pub fn root(&self) -> Hash {
        joined(&self.peaks)
    }

    /// # Errors
    /// `Full`, where no leaf more can be counted.
    pub fn push(&mut self, leaf: Hash) -> Result<(), TreeError> {
        if self.size >= SIZE_MAX {
            return Err(TreeError::Full);
        }
        let mut node = leaf;
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                node = Hash::of_node(&left, &node);
            }
        }
        self.peaks.push(node);
        self.size += 1;
        Ok(())
    }

    // INVARIANT: the caller gives a peak for each bit of `size`.
    pub(super) const fn of(size: u64, peaks: Vec<Hash>) -> Self {
        Self { size, peaks }
    }

    /// The edge of the first `size` leaves.
    ///
    /// # Errors
    /// Where a node cannot be had.
    pub fn read<N: Nodes>(size: u64, nodes: &N) -> Result<Self, N::Error> {
        let peaks = Node::within(0..size).map(|node| nodes.node(node)).collect::<Result<_, _>>()?;
        Ok(Self { size, peaks })
    }

    /// The size, then the hashes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.size.to_be_bytes().to_vec();
        bytes.extend(Hash::concat(&self.peaks));
        bytes
    }

    /// # Errors
    /// What `encode` never wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, TreeError> {
        let (size, hashes) = bytes.split_first_chunk().ok_or(TreeError::Short)?;
        let size = u64::from_be_bytes(*size);
        if size > SIZE_MAX {
            return Err(TreeError::Full);
        }
        let wrong = TreeError::Edge { size, found: bytes.len() };
        let peaks = Hash::all_of(hashes).ok_or(wrong)?;
        if u32::try_from(peaks.len()) != Ok(size.count_ones()) {
            return Err(wrong);
        }
        Ok(Self { size, peaks })
    }
}
