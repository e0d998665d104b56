//! A lock on a file, waited for a little: who held it may be about to end. sled's own threads let go of its file some time
//! after its last handle is gone, and a process that this one starts holds all of them for an instant.
//! It refuses to wait for whoever stays.

use std::fs::{File, TryLockError};
use std::thread;
use std::time::Duration;

/// 100 looks in 2 s.
const LOOKS_MAX: usize = 100;
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Locks the file until it is closed. `WouldBlock`: somebody else holds it, and stays.
pub(super) fn lock(file: &File) -> Result<(), TryLockError> {
    waited(|| file.try_lock())
}

/// Likewise, beside others who share it.
pub(super) fn lock_shared(file: &File) -> Result<(), TryLockError> {
    waited(|| file.try_lock_shared())
}

fn waited(look: impl Fn() -> Result<(), TryLockError>) -> Result<(), TryLockError> {
    for _ in 1..LOOKS_MAX {
        match look() {
            Err(TryLockError::WouldBlock) => thread::sleep(LOOK_EVERY),
            told @ (Ok(()) | Err(TryLockError::Error(_))) => return told,
        }
    }
    look()
}
