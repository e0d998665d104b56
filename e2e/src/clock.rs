//! The harness's only clock, and the only way to wait: for a condition, with a deadline. Nothing sleeps blindly but who draws an instant.

use crate::Broken;
use std::fmt::Display;
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long a condition may take. Long, because a loaded machine is slow; a passing story never waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// How often a condition is looked at that nobody can announce.
const LOOK_EVERY: Duration = Duration::from_millis(5);

#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the harness's clock")]
pub fn now() -> Instant {
    Instant::now()
}

/// Seconds since 1970, as a witness says when it saw something.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the harness's clock")]
pub fn wall_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Looks until `condition` yields something.
///
/// # Errors
/// `what` did not become true in time.
pub fn eventually<T>(what: impl Display, mut condition: impl FnMut() -> Option<T>) -> Result<T, Broken> {
    let begun = now();
    loop {
        if let Some(found) = condition() {
            return Ok(found);
        }
        if begun.elapsed() > PATIENCE {
            return Err(Broken(format!("waited {} s in vain: {what}", PATIENCE.as_secs())));
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// Lets a drawn time go by: an instant that nothing announces, or a pace.
pub(crate) fn pause(span: Duration) {
    thread::sleep(span);
}

/// Whether somebody listens there.
pub(crate) fn answers(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, PATIENCE).is_ok()
}
