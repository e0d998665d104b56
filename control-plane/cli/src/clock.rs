//! The one place where this program asks what time it is. Everything else takes the answer as an argument.

use agentgate_core::time::Time;
use std::time::{SystemTime, UNIX_EPOCH};

/// Now, by the machine's clock; the beginning of time when that clock stands before 1970.
#[must_use]
pub fn now() -> Time {
    #[expect(clippy::disallowed_methods, reason = "the one clock of this program")]
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time::from_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}
