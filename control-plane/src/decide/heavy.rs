//! Heavy calls: bodies so large that reading and judging them takes milliseconds. They go one at a time, on a thread that
//! holds nobody else up, so that whoever sends large bodies delays large bodies, and no heartbeat.

use crate::telemetry::Counted;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{Semaphore, SemaphorePermit};

/// A body up to this size is read and judged in some hundred microseconds, where it came in.
pub(super) const LIGHT_BYTES_MAX: usize = 32 * 1024;

/// One core of the smallest machine always stays with the light calls.
const HEAVY_AT_ONCE_MAX: usize = 1;

#[derive(Debug)]
pub(super) struct Heavy(Semaphore);

/// The right to work for long. Light calls need none.
#[derive(Debug)]
pub(super) struct Turn<'a>(Option<(SemaphorePermit<'a>, Counted)>);

// === impl Heavy ===

impl Heavy {
    pub(super) fn new() -> Self {
        Self(Semaphore::new(HEAVY_AT_ONCE_MAX))
    }

    /// Resolves when a body of this size may be worked on. None: this replica ends.
    pub(super) async fn turn(&self, body_bytes: usize) -> Option<Turn<'_>> {
        if body_bytes <= LIGHT_BYTES_MAX {
            return Some(Turn(None));
        }
        let permit = self.0.acquire().await.ok()?;
        Some(Turn(Some((permit, Counted::by(metrics::gauge!("agentgate_heavy_calls"))))))
    }
}

// === impl Turn ===

impl Turn<'_> {
    /// Does the work here, and, when it is heavy, lets another thread go on with what waits for this one.
    pub(super) fn work<T>(&self, work: impl FnOnce() -> T) -> T {
        let others = Handle::try_current().is_ok_and(|handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread);
        if self.0.is_some() && others { tokio::task::block_in_place(work) } else { work() }
    }
}
