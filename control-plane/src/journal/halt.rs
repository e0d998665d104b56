//! A journal that can be told to write nothing more: what stands in it contradicts what was signed. It reads on, and it
//! refuses to be told otherwise before the process is started anew.

use super::{
    AppendError, Appended, BoxFuture, Change, Health, Journal, Position, ReadError, Record, Sequence, Slot, Stream, Version,
};
use agentgate_core::digest::Digest;
use agentgate_proto::HALTED;
use bytes::Bytes;
use std::future::ready;
use std::sync::{Arc, OnceLock};

/// The journal beneath, until it is halted.
#[derive(Clone, Debug)]
pub struct Halting {
    journal: Arc<dyn Journal>,
    why: Arc<OnceLock<String>>,
}

// === impl Halting ===

impl Halting {
    #[must_use]
    pub fn new(journal: Arc<dyn Journal>) -> Self {
        Self { journal, why: Arc::default() }
    }

    /// From here on nothing is written. The first reason stays.
    pub fn halt(&self, why: String) {
        if self.why.set(why).is_ok() {
            metrics::gauge!("agentgate_journal_halted").set(1.0);
        }
    }

    /// Why nothing is written.
    #[must_use]
    pub fn halted(&self) -> Option<&str> {
        self.why.get().map(String::as_str)
    }

    fn unless_halted<T: Send + 'static>(
        &self,
        write: impl FnOnce(&dyn Journal) -> BoxFuture<'static, Result<T, AppendError>>,
    ) -> BoxFuture<'static, Result<T, AppendError>> {
        match self.why.get() {
            None => write(self.journal.as_ref()),
            Some(why) => Box::pin(ready(Err(AppendError::Unavailable(format!("{HALTED}{why}"))))),
        }
    }
}

impl Journal for Halting {
    fn append(&self, change: Change) -> BoxFuture<'static, Result<Appended, AppendError>> {
        self.unless_halted(|journal| journal.append(change))
    }

    fn read(&self, stream: Stream, after: Version, limit: u32) -> BoxFuture<'_, Result<Vec<Record>, ReadError>> {
        self.journal.read(stream, after, limit)
    }

    fn version(&self, stream: Stream) -> BoxFuture<'_, Result<Version, ReadError>> {
        self.journal.version(stream)
    }

    fn follow(&self, cursor: Sequence, limit: u32) -> BoxFuture<'_, Result<Vec<Record>, ReadError>> {
        self.journal.follow(cursor, limit)
    }

    fn find(&self, id: Digest) -> BoxFuture<'_, Result<Option<Position>, ReadError>> {
        self.journal.find(id)
    }

    fn keep(&self, bytes: Bytes) -> BoxFuture<'static, Result<Digest, AppendError>> {
        self.unless_halted(|journal| journal.keep(bytes))
    }

    fn fetch(&self, address: Digest) -> BoxFuture<'_, Result<Option<Bytes>, ReadError>> {
        self.journal.fetch(address)
    }

    fn bodies(&self, after: Option<Digest>, limit: u32) -> BoxFuture<'_, Result<Vec<Digest>, ReadError>> {
        self.journal.bodies(after, limit)
    }

    fn discard(&self, addresses: Vec<Digest>) -> BoxFuture<'static, Result<(), AppendError>> {
        self.unless_halted(|journal| journal.discard(addresses))
    }

    fn set(&self, name: Digest, expected: Option<Bytes>, value: Option<Bytes>) -> BoxFuture<'static, Result<Slot, AppendError>> {
        self.unless_halted(|journal| journal.set(name, expected, value))
    }

    fn slot(&self, name: Digest) -> BoxFuture<'_, Result<Option<Bytes>, ReadError>> {
        self.journal.slot(name)
    }

    fn slots(&self, after: Option<Digest>, limit: u32) -> BoxFuture<'_, Result<Vec<(Digest, Bytes)>, ReadError>> {
        self.journal.slots(after, limit)
    }

    fn is_shared(&self) -> bool {
        self.journal.is_shared()
    }

    fn health(&self) -> Health {
        let health = self.journal.health();
        match self.why.get() {
            None => health,
            Some(why) => Health { unavailable: Some(why.clone()), ..health },
        }
    }
}
