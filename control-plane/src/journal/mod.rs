//! The journal: the one append-only memory that every room folds. This file is the port; each backend is one file.
//!
//! It knows sequences, versions, ids and bytes. It refuses to know what a record means, and what time it is.

#[cfg(test)]
mod between;
mod cells;
mod change;
#[cfg(test)]
mod contract;
mod discard;
mod disk;
mod draft;
mod durable;
pub mod embedded;
mod form;
mod frame;
mod group;
pub mod halt;
mod index;
mod known;
mod lock;
pub mod memory;
mod overlay;
pub mod postgres;
mod record;
mod recovery;
mod scan;
mod segments;
mod slot_file;
mod slots;
#[cfg(test)]
mod tests;

use agentgate_core::digest::Digest;
use agentgate_proto::HALTED;
use bytes::Bytes;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use thiserror::Error;

pub use agentgate_proto::body_address;
#[cfg(test)]
pub(crate) use between::Between;
pub use change::{SlotError, change_slot};
#[cfg(test)]
pub(crate) use embedded::{Embedded, Settings};
pub use halt::Halting;
pub use memory::Memory;
pub use record::{Record, Stream};

/// The most that one change may weigh (`Change::weight`): four times the largest body that a filter takes by default.
pub const CHANGE_BYTES_MAX: usize = 4 << 20;

/// What a write or a body weighs beside its own bytes: the journal's framing, rounded up. It bounds their number as well.
pub const FRAME_BYTES: usize = 128;

/// The most bytes in one answer of `read` or `follow`; one record is given whatever it weighs.
pub const PAGE_BYTES_MAX: usize = 4 << 20;

/// The largest value of a slot: a wrapped key, or a checkpoint with its cosignatures.
pub const SLOT_BYTES_MAX: usize = 8 << 10;

/// The most slots in one answer of `slots`.
pub const SLOTS_PAGE_MAX: u32 = 1_024;

/// The most addresses in one answer of `bodies`.
pub const BODIES_PAGE_MAX: u32 = 1_024;

/// How many missing records a `Conflict` carries. Whoever lags further behind reads the stream.
pub const CONFLICT_RECORDS_MAX: u32 = 128;

pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The position in the one order of all records: 1, 2, 3, … without a gap.
pub type Sequence = u64;

/// The position in one stream: 1, 2, 3, … A stream that has no record yet is at version 0.
pub type Version = u64;

/// The control streams' versions that a decision was folded from. A change under other ones is fenced off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epochs {
    /// The version of `Stream::global()`.
    pub global: Version,
}

/// What one caller wants to happen, whole or not at all. Without a write it only keeps its bodies.
#[derive(Clone, Debug)]
pub struct Change {
    /// None: not a decision; nothing that an operator orders can void it.
    pub fence: Option<Epochs>,
    /// In order: an expected version counts the writes to the same stream that stand before it.
    pub writes: Vec<Write>,
    /// Bodies that the writes refer to by `body_address`: durable no later than the writes (decision 0006).
    pub bodies: Vec<Bytes>,
}

#[derive(Clone, Debug)]
pub struct Write {
    pub stream: Stream,
    pub expected: Expected,
    /// Names what happened, once for ever: a second write under it is a `Duplicate`.
    pub id: Digest,
    pub record: Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    Any,
    Exactly(Version),
}

/// Where the writes stand, in the order given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    pub positions: Vec<Position>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    pub sequence: Sequence,
    pub version: Version,
}

/// Why a change did not happen. They are looked for in this order: `TooLarge`, `Malformed`, `Duplicate`, `Fenced`, `Conflict`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AppendError {
    #[error("the change weighs more than {limit} bytes")]
    TooLarge { limit: usize },
    /// Nobody may ever write this.
    #[error("the change is malformed: {0}")]
    Malformed(&'static str),
    /// It happened already.
    #[error("the id was written before, at sequence {}", .0.sequence)]
    Duplicate(Position),
    #[error("the control epochs moved to {now:?}")]
    Fenced { now: Epochs },
    /// Another writer was first: `missing` is what stands after the expected version, oldest first, at most
    /// `CONFLICT_RECORDS_MAX` and `PAGE_BYTES_MAX`; compare its last version with `now` before you fold and try again.
    #[error("the stream is at version {now}")]
    Conflict { stream: Stream, now: Version, missing: Vec<Record> },
    /// It did not happen, and nothing of it ever will.
    #[error("the journal cannot write: {0}")]
    Unavailable(String),
    /// It did not happen, and until the process is started anew nothing will.
    #[error("the journal cannot write: {HALTED}{0}")]
    Halted(String),
    /// It may have happened. Answer as unavailable, and look the id up before anything else.
    #[error("the journal does not know whether it wrote: {0}")]
    Unknown(String),
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReadError {
    #[error("the journal cannot read: {0}")]
    Unavailable(String),
    /// What was stored is not what was written.
    #[error("the journal is damaged: {0}")]
    Damaged(String),
}

/// How the journal is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    pub backend: &'static str,
    /// Of a journal that others write too, at least of whatever was read of it, and of what a slot that was read tells of.
    pub head: Sequence,
    pub bytes: u64,
    /// What the file system that it lies on has left; None: it lies on none of ours.
    pub free_bytes: Option<u64>,
    /// Why nothing can be written now.
    pub unavailable: Option<String>,
}

/// A journal's contract, which `contract.rs` runs against every backend.
///
/// `append` MUST NOT resolve before the change is durable, and two writers MUST NOT both win one version. The order of
/// calls to `append` on one thread is the order of their changes; a change is under way once `append` was called, whether
/// or not its future is polled or dropped. Other callers' changes may share the flush, never the fate.
/// Futures are polled inside a tokio runtime.
pub trait Journal: Send + Sync + fmt::Debug {
    fn append(&self, change: Change) -> BoxFuture<'static, Result<Appended, AppendError>>;

    /// The records of one stream after version `after`, oldest first, at most `limit` and `PAGE_BYTES_MAX`: fewer than
    /// `limit` does not mean that there are no more, none does. A record that cannot be read is `Damaged`, never left out;
    /// what stands after it can still be asked for.
    fn read(&self, stream: Stream, after: Version, limit: u32) -> BoxFuture<'_, Result<Vec<Record>, ReadError>>;

    /// The newest version of a stream; 0: none.
    fn version(&self, stream: Stream) -> BoxFuture<'_, Result<Version, ReadError>>;

    /// Everything after `cursor`, in the one order that all replicas agree on, at most `limit` and `PAGE_BYTES_MAX`; waits
    /// for the first record; never skips: a record that cannot be read is `Damaged`.
    fn follow(&self, cursor: Sequence, limit: u32) -> BoxFuture<'_, Result<Vec<Record>, ReadError>>;

    /// Where the write with this id stands. After an `Unknown` it is `Unavailable` for as long as none could become one.
    fn find(&self, id: Digest) -> BoxFuture<'_, Result<Option<Position>, ReadError>>;

    /// Keeps bytes by content (`body_address`): bundles, and whatever has no record beside it. Durable when it resolves,
    /// under way when it was called, like `append`.
    fn keep(&self, bytes: Bytes) -> BoxFuture<'static, Result<Digest, AppendError>>;

    /// The bytes kept under `address`, compared with it.
    fn fetch(&self, address: Digest) -> BoxFuture<'_, Result<Option<Bytes>, ReadError>>;

    /// The addresses after `after` under which bytes are kept, in their order, at most `limit` and `BODIES_PAGE_MAX`; fewer
    /// does not mean that there are no more, none does. What is kept or discarded meanwhile may be among them or not.
    fn bodies(&self, after: Option<Digest>, limit: u32) -> BoxFuture<'_, Result<Vec<Digest>, ReadError>>;

    /// Forgets bodies: `fetch` gives None for them from here on, and the space that they took is used again. Those that are
    /// not there are forgotten already. Durable when it resolves; records never change.
    fn discard(&self, addresses: Vec<Digest>) -> BoxFuture<'static, Result<(), AppendError>>;

    /// Compares and sets: the slot holds `value` when this resolves with `Set`, durably, if it held `expected` before. None
    /// is a slot that holds nothing. What was replaced is gone: it is overwritten wherever this journal keeps it.
    fn set(&self, name: Digest, expected: Option<Bytes>, value: Option<Bytes>) -> BoxFuture<'static, Result<Slot, AppendError>>;

    /// What the slot holds.
    fn slot(&self, name: Digest) -> BoxFuture<'_, Result<Option<Bytes>, ReadError>>;

    /// The slots after `after` that hold something, in the order of their names, at most `limit` and `SLOTS_PAGE_MAX`.
    fn slots(&self, after: Option<Digest>, limit: u32) -> BoxFuture<'_, Result<Vec<(Digest, Bytes)>, ReadError>>;

    fn health(&self) -> Health;

    /// Whether other processes write it as well, so that what they wrote has to be followed.
    fn is_shared(&self) -> bool {
        false
    }
}

/// What became of a `set`. Slots are the few small values beside the records that change, or must be able to be forgotten:
/// wrapped keys, the last signed checkpoint. What decides a call is never in one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Slot {
    Set,
    /// It held this instead, and still does.
    Held(Option<Bytes>),
}

// === impl Change ===

impl Change {
    /// What the change weighs against `CHANGE_BYTES_MAX`.
    #[must_use]
    pub fn weight(&self) -> usize {
        let records = self.writes.iter().map(|write| write.record.len());
        let bodies = self.bodies.iter().map(Bytes::len);
        records.chain(bodies).fold(0, |sum: usize, bytes| sum.saturating_add(bytes).saturating_add(FRAME_BYTES))
    }

    /// What can be refused without looking at the journal.
    fn shape(&self, limit: usize) -> Result<(), AppendError> {
        if self.weight() > limit {
            return Err(AppendError::TooLarge { limit });
        }
        let mut ids = std::collections::HashSet::with_capacity(self.writes.len());
        if self.writes.iter().all(|write| ids.insert(write.id)) {
            Ok(())
        } else {
            Err(AppendError::Malformed("two of its writes have one id"))
        }
    }
}
