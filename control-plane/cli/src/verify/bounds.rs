//! What deciding again may take. A policy of a pack is a program that somebody else wrote, and the engine counts its steps but not
//! what one of them costs (decision 0003): a text that is doubled forty times fits no machine.
//!
//! It mends nothing: a program that takes more is ended, and says nothing of the pack.

use rustix::process::{Resource, getrlimit, setrlimit};
use std::io;
use std::sync::mpsc;
use std::time::Duration;

/// Of all the program: the largest pack without its policies takes a sixth of it. What cannot be had ends the program at once.
pub(super) const MEMORY_BYTES_MAX: u64 = 4 << 30;

/// Twice what 10,000 decisions take of which each takes all the steps that it may.
pub(super) const TIME_MAX: Duration = Duration::from_secs(15 * 60);

/// From here on this program has no more memory than that; it may have less already.
///
/// # Errors
/// Where the system does not let it.
pub(super) fn memory(bytes_max: u64) -> io::Result<()> {
    let mut limit = getrlimit(Resource::As);
    limit.current = Some(limit.current.map_or(bytes_max, |current| current.min(bytes_max)));
    setrlimit(Resource::As, limit).map_err(io::Error::from)
}

/// What the work comes to; none where it takes longer. Nobody waits for it then, and it ends with the program.
pub(super) fn within<T: Send + 'static>(time_max: Duration, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (said, heard) = mpsc::channel();
    std::thread::spawn(move || {
        // Nobody may be there to hear it any more.
        let _ = said.send(work());
    });
    heard.recv_timeout(time_max).ok()
}
