//! One slot changed from what it holds, whoever else changes it meanwhile. It refuses to go on for ever: who is beaten each
//! time is told so.

use super::{AppendError, Journal, ReadError, Slot};
use agentgate_core::digest::Digest;
use bytes::Bytes;
use thiserror::Error;

/// How often it is tried while others are first.
const SLOT_ATTEMPTS_MAX: u32 = 8;

/// Why a slot was not changed.
#[derive(Debug, Error)]
pub enum SlotError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Set(#[from] AppendError),
    #[error("other replicas were first, each time")]
    Contended,
}

/// Puts into the slot what `next` makes of what it holds, and gives that; None of it leaves the slot as it is.
///
/// # Errors
/// When the journal cannot read or write, or others are first too often.
pub async fn change_slot(
    journal: &dyn Journal,
    name: Digest,
    next: impl Fn(Option<&Bytes>) -> Option<Bytes> + Send,
) -> Result<Option<Bytes>, SlotError> {
    let mut held = journal.slot(name).await?;
    for _ in 0..SLOT_ATTEMPTS_MAX {
        let Some(value) = next(held.as_ref()) else { return Ok(held) };
        match journal.set(name, held, Some(value.clone())).await? {
            Slot::Set => return Ok(Some(value)),
            Slot::Held(other) => held = other,
        }
    }
    Err(SlotError::Contended)
}
