//! The transparency log: what it takes to keep one, and what it takes to believe one without believing who keeps it.
//!
//! Formats are others': RFC 6962 and 9162 for the tree and its proofs, C2SP tlog-tiles, signed-note, tlog-checkpoint and
//! tlog-cosignature for the rest (decision 0011). Keys, times and bytes are arguments; nothing is fetched, kept or drawn by lot.

pub mod bundle;
pub mod checkpoint;
pub mod claim;
pub mod edge;
pub mod gaps;
pub mod given;
pub mod key;
pub mod leaf;
pub mod note;
mod path;
pub mod proof;
pub mod tile;
pub mod tree;
pub mod trust;
pub mod verify;
