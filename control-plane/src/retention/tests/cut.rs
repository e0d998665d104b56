//! A journal that is cut off after so many writes, or held up while a body is read. It keeps nothing itself.

use crate::journal::{
    AppendError, Appended, BoxFuture, Change, Health, Journal, Position, ReadError, Record, Sequence, Slot, Stream, Version,
};
use agentgate_core::digest::Digest;
use bytes::Bytes;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::oneshot;

/// A journal that takes so many writes more, and then none.
#[derive(Debug)]
pub(super) struct Cut {
    inner: Arc<dyn Journal>,
    pub(super) left: AtomicI64,
    /// The next body that is read is told of, and given when that is said.
    pub(super) pause: Mutex<Option<Pause>>,
    /// The next change is told of, and appended when that is said.
    pub(super) pause_append: Mutex<Option<Pause>>,
}

type Pause = (oneshot::Sender<()>, oneshot::Receiver<()>);

// === impl Cut ===

impl Cut {
    pub(super) fn after(inner: Arc<dyn Journal>, left: i64) -> Self {
        Self { inner, left: AtomicI64::new(left), pause: Mutex::default(), pause_append: Mutex::default() }
    }

    fn is_cut(&self) -> bool {
        self.left.fetch_sub(1, Ordering::SeqCst) <= 0
    }
}

fn gone<T: Send + 'static>() -> BoxFuture<'static, Result<T, AppendError>> {
    Box::pin(async { Err(AppendError::Unavailable("cut".into())) })
}

impl Journal for Cut {
    fn append(&self, change: Change) -> BoxFuture<'static, Result<Appended, AppendError>> {
        if self.is_cut() {
            return gone();
        }
        let (pause, inner) = (self.pause_append.lock().unwrap().take(), Arc::clone(&self.inner));
        Box::pin(async move {
            if let Some((is_there, go_on)) = pause {
                is_there.send(()).unwrap();
                go_on.await.unwrap();
            }
            inner.append(change).await
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
        if self.is_cut() { gone() } else { self.inner.keep(bytes) }
    }

    fn fetch(&self, address: Digest) -> BoxFuture<'_, Result<Option<Bytes>, ReadError>> {
        Box::pin(async move {
            let read = self.inner.fetch(address).await;
            let pause = self.pause.lock().unwrap().take();
            if let Some((was_read, go_on)) = pause {
                was_read.send(()).unwrap();
                go_on.await.unwrap();
            }
            read
        })
    }

    fn bodies(&self, after: Option<Digest>, limit: u32) -> BoxFuture<'_, Result<Vec<Digest>, ReadError>> {
        self.inner.bodies(after, limit)
    }

    fn discard(&self, addresses: Vec<Digest>) -> BoxFuture<'static, Result<(), AppendError>> {
        if self.is_cut() { gone() } else { self.inner.discard(addresses) }
    }

    fn set(&self, name: Digest, expected: Option<Bytes>, value: Option<Bytes>) -> BoxFuture<'static, Result<Slot, AppendError>> {
        if self.is_cut() {
            return gone();
        }
        let set = self.inner.set(name, expected, value);
        Box::pin(async move {
            // As a store does: others have their turn meanwhile.
            tokio::task::yield_now().await;
            set.await
        })
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
