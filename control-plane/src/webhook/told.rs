//! Which decisions approvers were told of, in a slot that all replicas share: so whoever starts tells what somebody else was
//! killed before telling. A number up to which all is told would have to be everybody's, and the slowest would hold it back.
//!
//! It holds digests of messages' ids, the newest alone: what fell out and still matters is told twice, under one id.

use crate::journal::{Journal, ReadError, SlotError, change_slot};
use agentgate_core::digest::Digest;
use bytes::Bytes;
use std::sync::Arc;

/// Many more than are decided while one of them is worth telling.
const TOLD_MAX: usize = 512;

const KEY_BYTES: usize = 8;

/// The first byte: no wrapped key begins so.
const FORM: u8 = 0;

#[derive(Debug)]
pub(super) struct Told(Arc<dyn Journal>);

/// What was told, as the slot had it.
#[derive(Debug, Default)]
pub(super) struct Known(Vec<[u8; KEY_BYTES]>);

fn slot() -> Digest {
    Digest::of("agentgate/slot/webhook-told/1", b"")
}

fn key(id: &str) -> [u8; KEY_BYTES] {
    let digest = Digest::of("agentgate/webhook-told/1", id.as_bytes());
    std::array::from_fn(|at| digest.as_bytes().get(at).copied().unwrap_or_default())
}

// === impl Told ===

impl Told {
    pub(super) fn new(journal: Arc<dyn Journal>) -> Self {
        Self(journal)
    }

    pub(super) async fn known(&self) -> Result<Known, ReadError> {
        Ok(Known::decode(self.0.slot(slot()).await?.as_ref()))
    }

    /// This message was taken, or never will be. What was not marked is told again after a restart.
    pub(super) async fn mark(&self, id: &str) -> Result<(), SlotError> {
        let next = |held: Option<&Bytes>| {
            let mut known = Known::decode(held);
            (!known.has(id)).then(|| {
                known.0.push(key(id));
                known.encode()
            })
        };
        change_slot(self.0.as_ref(), slot(), next).await.map(drop)
    }
}

// === impl Known ===

impl Known {
    pub(super) fn has(&self, id: &str) -> bool {
        self.0.contains(&key(id))
    }

    /// What cannot be read counts as nothing: then some are told twice.
    fn decode(value: Option<&Bytes>) -> Self {
        let keys = value.and_then(|value| value.strip_prefix(&[FORM])).unwrap_or_default();
        Self(keys.chunks_exact(KEY_BYTES).filter_map(|key| key.try_into().ok()).collect())
    }

    fn encode(&self) -> Bytes {
        let newest = self.0.iter().skip(self.0.len().saturating_sub(TOLD_MAX));
        std::iter::once(FORM).chain(newest.flatten().copied()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{TOLD_MAX, Told, slot};
    use crate::journal::{Journal, Memory, SLOT_BYTES_MAX};
    use std::sync::Arc;

    #[tokio::test]
    async fn the_newest_are_known_and_the_oldest_leave() {
        let memory = Arc::new(Memory::shared());
        let (one, other) = (Told::new(Arc::clone(&memory) as _), Told::new(Arc::clone(&memory) as _));
        assert!(!one.known().await.unwrap().has("0"));
        for number in 0..TOLD_MAX {
            let replica = if number % 2 == 0 { &one } else { &other };
            replica.mark(&number.to_string()).await.unwrap();
        }
        one.mark("7").await.unwrap();
        let known = other.known().await.unwrap();
        assert!((0..TOLD_MAX).all(|number| known.has(&number.to_string())), "told twice is told once");
        one.mark("one more").await.unwrap();
        let known = other.known().await.unwrap();
        assert!(!known.has("0") && known.has("1") && known.has("one more"));
        let value = memory.slot(slot()).await.unwrap().unwrap();
        assert!(value.len() <= SLOT_BYTES_MAX);
        memory.set(slot(), Some(value), Some(b"something else".as_slice().into())).await.unwrap();
        assert!(!one.known().await.unwrap().has("1"));
        one.mark("1").await.unwrap();
        assert!(one.known().await.unwrap().has("1"));
    }
}
