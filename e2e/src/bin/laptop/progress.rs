//! What happens, as it happens, and how long it has taken so far.

use agentgate_e2e::now;
use std::time::{Duration, Instant};

pub(crate) struct Progress {
    begun: Instant,
}

// === impl Progress ===

impl Progress {
    pub(crate) fn begin() -> Self {
        Self { begun: now() }
    }

    pub(crate) fn say(&self, what: &str) {
        say!("{:>6.1} s  {what}", self.elapsed().as_secs_f32());
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }
}
