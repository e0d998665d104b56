//! A journal of tests: something stands between a room and another journal, and holds up, refuses or counts what it says it does.
//! Everything else is passed on as it was asked. It keeps nothing itself.

use super::{
    AppendError, Appended, BoxFuture, Change, Health, Journal, Position, ReadError, Record, Sequence, Slot, Stream, Version,
};
use agentgate_core::digest::Digest;
use bytes::Bytes;
use std::fmt;

/// What stands between. It says only what it does otherwise.
pub(crate) trait Between: fmt::Debug + Send + Sync {
    fn inner(&self) -> &dyn Journal;

    /// Every answer on its way back.
    fn answer<'a, T: Send + 'a>(&self, answer: BoxFuture<'a, T>) -> BoxFuture<'a, T> {
        answer
    }

    fn append(&self, change: Change) -> BoxFuture<'static, Result<Appended, AppendError>> {
        self.answer(self.inner().append(change))
    }

    fn follow(&self, cursor: Sequence, limit: u32) -> BoxFuture<'_, Result<Vec<Record>, ReadError>> {
        self.answer(self.inner().follow(cursor, limit))
    }

    fn keep(&self, bytes: Bytes) -> BoxFuture<'static, Result<Digest, AppendError>> {
        self.answer(self.inner().keep(bytes))
    }

    fn fetch(&self, address: Digest) -> BoxFuture<'_, Result<Option<Bytes>, ReadError>> {
        self.answer(self.inner().fetch(address))
    }

    fn discard(&self, addresses: Vec<Digest>) -> BoxFuture<'static, Result<(), AppendError>> {
        self.answer(self.inner().discard(addresses))
    }

    fn set(&self, name: Digest, expected: Option<Bytes>, value: Option<Bytes>) -> BoxFuture<'static, Result<Slot, AppendError>> {
        self.answer(self.inner().set(name, expected, value))
    }

    fn slot(&self, name: Digest) -> BoxFuture<'_, Result<Option<Bytes>, ReadError>> {
        self.answer(self.inner().slot(name))
    }
}

// === impl Journal ===

impl<B: Between> Journal for B {
    fn append(&self, change: Change) -> BoxFuture<'static, Result<Appended, AppendError>> {
        Between::append(self, change)
    }

    fn read(&self, stream: Stream, after: Version, limit: u32) -> BoxFuture<'_, Result<Vec<Record>, ReadError>> {
        self.answer(self.inner().read(stream, after, limit))
    }

    fn version(&self, stream: Stream) -> BoxFuture<'_, Result<Version, ReadError>> {
        self.answer(self.inner().version(stream))
    }

    fn follow(&self, cursor: Sequence, limit: u32) -> BoxFuture<'_, Result<Vec<Record>, ReadError>> {
        Between::follow(self, cursor, limit)
    }

    fn find(&self, id: Digest) -> BoxFuture<'_, Result<Option<Position>, ReadError>> {
        self.answer(self.inner().find(id))
    }

    fn keep(&self, bytes: Bytes) -> BoxFuture<'static, Result<Digest, AppendError>> {
        Between::keep(self, bytes)
    }

    fn fetch(&self, address: Digest) -> BoxFuture<'_, Result<Option<Bytes>, ReadError>> {
        Between::fetch(self, address)
    }

    fn bodies(&self, after: Option<Digest>, limit: u32) -> BoxFuture<'_, Result<Vec<Digest>, ReadError>> {
        self.answer(self.inner().bodies(after, limit))
    }

    fn discard(&self, addresses: Vec<Digest>) -> BoxFuture<'static, Result<(), AppendError>> {
        Between::discard(self, addresses)
    }

    fn set(&self, name: Digest, expected: Option<Bytes>, value: Option<Bytes>) -> BoxFuture<'static, Result<Slot, AppendError>> {
        Between::set(self, name, expected, value)
    }

    fn slot(&self, name: Digest) -> BoxFuture<'_, Result<Option<Bytes>, ReadError>> {
        Between::slot(self, name)
    }

    fn slots(&self, after: Option<Digest>, limit: u32) -> BoxFuture<'_, Result<Vec<(Digest, Bytes)>, ReadError>> {
        self.answer(self.inner().slots(after, limit))
    }

    fn health(&self) -> Health {
        self.inner().health()
    }

    fn is_shared(&self) -> bool {
        self.inner().is_shared()
    }
}
