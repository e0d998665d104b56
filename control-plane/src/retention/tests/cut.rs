//! A journal that is cut off after so many writes, or held up at the next body, change or slot.

use crate::journal::{AppendError, Appended, Between, BoxFuture, Change, Journal, ReadError, Slot};
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
    held_fetch: Mutex<Option<Held>>,
    held_append: Mutex<Option<Held>>,
    held_slot: Mutex<Option<Held>>,
}

/// What is held up, as the journal has it: it tells that it is there, and waits.
type Held = (oneshot::Sender<()>, oneshot::Receiver<()>);

/// What is held up, as the test has it.
pub(super) struct Holding {
    is_there: oneshot::Receiver<()>,
    go_on: oneshot::Sender<()>,
}

// === impl Cut ===

impl Cut {
    pub(super) fn after(inner: Arc<dyn Journal>, left: i64) -> Self {
        let (held_fetch, held_append, held_slot) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { inner, left: AtomicI64::new(left), held_fetch, held_append, held_slot }
    }

    /// The next body is read, and given only when that is said.
    pub(super) fn hold_fetch(&self) -> Holding {
        hold(&self.held_fetch)
    }

    /// The next change is appended only when that is said.
    pub(super) fn hold_append(&self) -> Holding {
        hold(&self.held_append)
    }

    /// The next slot is read, and what it held is given only when that is said.
    pub(super) fn hold_slot(&self) -> Holding {
        hold(&self.held_slot)
    }

    fn is_cut(&self) -> bool {
        self.left.fetch_sub(1, Ordering::SeqCst) <= 0
    }
}

// === impl Holding ===

impl Holding {
    pub(super) async fn is_there(&mut self) {
        (&mut self.is_there).await.unwrap();
    }

    pub(super) fn go_on(self) {
        self.go_on.send(()).unwrap();
    }
}

fn hold(place: &Mutex<Option<Held>>) -> Holding {
    let ((tells, is_there), (go_on, waits)) = (oneshot::channel(), oneshot::channel());
    *place.lock().unwrap() = Some((tells, waits));
    Holding { is_there, go_on }
}

async fn pass(held: Option<Held>) {
    if let Some((tells, waits)) = held {
        tells.send(()).unwrap();
        waits.await.unwrap();
    }
}

fn gone<T: Send + 'static>() -> BoxFuture<'static, Result<T, AppendError>> {
    Box::pin(async { Err(AppendError::Unavailable("cut".into())) })
}

impl Between for Cut {
    fn inner(&self) -> &dyn Journal {
        &*self.inner
    }

    fn append(&self, change: Change) -> BoxFuture<'static, Result<Appended, AppendError>> {
        if self.is_cut() {
            return gone();
        }
        let (held, inner) = (self.held_append.lock().unwrap().take(), Arc::clone(&self.inner));
        Box::pin(async move {
            pass(held).await;
            inner.append(change).await
        })
    }

    fn keep(&self, bytes: Bytes) -> BoxFuture<'static, Result<Digest, AppendError>> {
        if self.is_cut() { gone() } else { self.inner.keep(bytes) }
    }

    fn fetch(&self, address: Digest) -> BoxFuture<'_, Result<Option<Bytes>, ReadError>> {
        Box::pin(async move {
            let read = self.inner.fetch(address).await;
            let held = self.held_fetch.lock().unwrap().take();
            pass(held).await;
            read
        })
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
        Box::pin(async move {
            let held = self.inner.slot(name).await;
            let waits = self.held_slot.lock().unwrap().take();
            pass(waits).await;
            held
        })
    }
}
