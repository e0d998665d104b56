//! A journal that answers no change for as long as it is held: whoever appends waits. It keeps nothing itself.

use agentgate_control_plane::journal::{
    AppendError, Appended, BoxFuture, Change, Health, Journal, Position, ReadError, Record, Sequence, Slot, Stream, Version,
};
use agentgate_core::digest::Digest;
use bytes::Bytes;
use std::sync::Arc;
use tokio::sync::watch;

#[derive(Debug)]
pub(crate) struct Held {
    inner: Arc<dyn Journal>,
    is_held: watch::Sender<bool>,
    waiting: watch::Sender<usize>,
}

// === impl Held ===

impl Held {
    /// Not held yet.
    pub(crate) fn over(inner: Arc<dyn Journal>) -> Arc<Self> {
        Arc::new(Self { inner, is_held: watch::Sender::new(false), waiting: watch::Sender::new(0) })
    }

    pub(crate) fn hold(&self) {
        self.is_held.send_replace(true);
    }

    pub(crate) fn let_go(&self) {
        self.is_held.send_replace(false);
    }

    /// Until so many changes were held up.
    pub(crate) async fn waiting(&self, count: usize) {
        self.waiting.subscribe().wait_for(|waiting| *waiting >= count).await.unwrap();
    }
}

// === impl Journal ===

impl Journal for Held {
    /// Durable at once, as a change is; that it is, nobody hears.
    fn append(&self, change: Change) -> BoxFuture<'static, Result<Appended, AppendError>> {
        let (appended, mut is_held) = (self.inner.append(change), self.is_held.subscribe());
        let waiting = self.waiting.clone();
        Box::pin(async move {
            let appended = appended.await;
            if *is_held.borrow() {
                waiting.send_modify(|waiting| *waiting += 1);
            }
            let _ = is_held.wait_for(|is_held| !is_held).await;
            appended
        })
    }

    fn read(&self, stream: Stream, after: Version, limit: u32) -> BoxFuture<'_, Result<Vec<Record>, ReadError>> {
        self.inner.read(stream, after, limit)
    }

    fn version(&self, stream: Stream) -> BoxFuture<'_, Result<Version, ReadError>> {
        self.inner.version(stream)
    }

    fn follow(&self, cursor: Sequence, limit: u32) -> BoxFuture<'_, Result<Vec<Record>, ReadError>> {
        self.inner.follow(cursor, limit)
    }

    fn find(&self, id: Digest) -> BoxFuture<'_, Result<Option<Position>, ReadError>> {
        self.inner.find(id)
    }

    fn keep(&self, bytes: Bytes) -> BoxFuture<'static, Result<Digest, AppendError>> {
        self.inner.keep(bytes)
    }

    fn fetch(&self, address: Digest) -> BoxFuture<'_, Result<Option<Bytes>, ReadError>> {
        self.inner.fetch(address)
    }

    fn bodies(&self, after: Option<Digest>, limit: u32) -> BoxFuture<'_, Result<Vec<Digest>, ReadError>> {
        self.inner.bodies(after, limit)
    }

    fn discard(&self, addresses: Vec<Digest>) -> BoxFuture<'static, Result<(), AppendError>> {
        self.inner.discard(addresses)
    }

    fn set(&self, name: Digest, expected: Option<Bytes>, value: Option<Bytes>) -> BoxFuture<'static, Result<Slot, AppendError>> {
        self.inner.set(name, expected, value)
    }

    fn slot(&self, name: Digest) -> BoxFuture<'_, Result<Option<Bytes>, ReadError>> {
        self.inner.slot(name)
    }

    fn slots(&self, after: Option<Digest>, limit: u32) -> BoxFuture<'_, Result<Vec<(Digest, Bytes)>, ReadError>> {
        self.inner.slots(after, limit)
    }

    fn health(&self) -> Health {
        self.inner.health()
    }
}
