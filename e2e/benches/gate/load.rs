//! The load: calls at a fixed rate, whatever becomes of the ones before (open), or one call after another on each connection (closed).
//!
//! In the open form a latency counts from the instant at which its call was *meant* to start, so a gate that stalls cannot hide
//! the calls that had to wait for it. One thread does everything: two would take the cores from what is measured.

use crate::call::Call;
use crate::connection::{Answer, Connection};
use agentgate_e2e::{Broken, Doing, now};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

/// Calls under way at once; beyond it a due call waits in the driver, and its latency goes on counting.
const CONNECTIONS_MAX: usize = 256;

/// Nothing comes back for this long: the gate hangs, and a figure would be a lie.
const SILENCE_MAX: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// `rate` calls per second, evenly spaced.
    Open { rate: u32 },
    /// As many as the gate can take, over this many connections.
    Closed { connections: usize },
}

/// The connections to one gate, and what is sent over them.
#[derive(Debug)]
pub(crate) struct Load {
    target: SocketAddr,
    call: Call,
    connections: Vec<Connection>,
    /// Indices of connections without a call; the last used one is taken first.
    idle: Vec<usize>,
    calls: u64,
}

/// What one run of the load saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Microseconds, sorted.
    pub(crate) latencies_us: Vec<f64>,
    pub(crate) elapsed: Duration,
}

struct Run {
    pace: Pace,
    begun: Instant,
    ends: Instant,
    sent: u32,
    heard: Instant,
    latencies_us: Vec<f64>,
}

/// Timers of this thread fire on time and not up to 50 µs later, as the kernel's default allows.
pub(crate) fn sharpen_timers() {
    // A kernel that refuses measures a little more coarsely, the same for every gate.
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
}

// === impl Load ===

impl Load {
    pub(crate) fn new(target: SocketAddr, call: Call) -> Self {
        Self { target, call, connections: Vec::new(), idle: Vec::new(), calls: 0 }
    }

    /// Calls that were sent, in all runs.
    pub(crate) fn calls(&self) -> u64 {
        self.calls
    }

    /// Runs for `length`, waits for the last answer, and fails at the first one that is not the tool's result.
    pub(crate) fn run(&mut self, pace: Pace, length: Duration) -> Result<Seen, Broken> {
        let begun = now();
        let mut run = Run { pace, begun, ends: begun + length, sent: 0, heard: begun, latencies_us: Vec::new() };
        loop {
            let next = self.send_due(&mut run)?;
            let busy = self.connections.len() > self.idle.len();
            match (next, busy) {
                (None, false) => break,
                (next, _) => self.wait(&mut run, next)?,
            }
        }
        let elapsed = begun.elapsed();
        run.latencies_us.sort_by(f64::total_cmp);
        Ok(Seen { latencies_us: run.latencies_us, elapsed })
    }

    /// Sends what is due, and says when the next call will be; `None` when there will be none, or none before an answer.
    fn send_due(&mut self, run: &mut Run) -> Result<Option<Instant>, Broken> {
        loop {
            let Some(due) = run.next(self.connections.len() - self.idle.len()) else { return Ok(None) };
            if due > now() {
                return Ok(Some(due));
            }
            let Some(at) = self.idle_connection()? else { return Ok(None) };
            let connection = self.connections.get_mut(at).doing("a connection")?;
            connection.send(self.call.numbered(self.calls), due)?;
            self.calls += 1;
            run.sent += 1;
        }
    }

    fn idle_connection(&mut self) -> Result<Option<usize>, Broken> {
        if let Some(at) = self.idle.pop() {
            return Ok(Some(at));
        }
        if self.connections.len() >= CONNECTIONS_MAX {
            return Ok(None);
        }
        self.connections.push(Connection::open(self.target)?);
        Ok(Some(self.connections.len() - 1))
    }

    /// Sleeps until an answer comes or the next call is due, and takes the answers that came.
    fn wait(&mut self, run: &mut Run, next: Option<Instant>) -> Result<(), Broken> {
        let busy: Vec<usize> = (0..self.connections.len()).filter(|at| self.is_busy(*at)).collect();
        let timeout = next.map_or(SILENCE_MAX, |next| next.saturating_duration_since(now()));
        let timeout = Timespec { tv_sec: timeout.as_secs().cast_signed(), tv_nsec: timeout.subsec_nanos().into() };
        let ready: Vec<usize> = {
            let streams = busy.iter().filter_map(|at| self.connections.get(*at));
            let mut polled: Vec<PollFd<'_>> = streams.map(|c| PollFd::new(&c.stream, PollFlags::IN)).collect();
            poll(&mut polled, Some(&timeout)).doing("waiting for answers")?;
            busy.iter().zip(&polled).filter(|(_, fd)| !fd.revents().is_empty()).map(|(at, _)| *at).collect()
        };
        let at = now();
        if ready.is_empty() && !busy.is_empty() && at.duration_since(run.heard) > SILENCE_MAX {
            return Err(Broken(format!("{} calls got no answer within {} s", busy.len(), SILENCE_MAX.as_secs())));
        }
        ready.into_iter().try_for_each(|index| self.take(index, run))
    }

    fn is_busy(&self, at: usize) -> bool {
        self.connections.get(at).is_some_and(|connection| connection.due.is_some())
    }

    fn take(&mut self, index: usize, run: &mut Run) -> Result<(), Broken> {
        let connection = self.connections.get_mut(index).doing("a connection")?;
        match connection.receive()? {
            None => return Ok(()),
            Some(Answer::Other(text)) => {
                return Err(Broken(format!("a call was not answered with the tool's result but with\n{text}")));
            }
            Some(Answer::Result) => {}
        }
        run.heard = now();
        if let Some(due) = connection.due.take() {
            run.latencies_us.push(run.heard.duration_since(due).as_secs_f64() * 1e6);
        }
        self.idle.push(index);
        Ok(())
    }
}

// === impl Run ===

impl Run {
    /// When the next call is meant to start, if there will be one with so many under way.
    fn next(&self, under_way: usize) -> Option<Instant> {
        let due = match self.pace {
            Pace::Open { rate } => self.begun + Duration::from_secs(1) * self.sent / rate,
            Pace::Closed { connections } if under_way < connections => now(),
            Pace::Closed { .. } => return None,
        };
        (due < self.ends).then_some(due)
    }
}

// === impl Seen ===

impl Seen {
    pub(crate) fn quantile_us(&self, quantile: f64) -> f64 {
        crate::numbers::quantile(&self.latencies_us, quantile)
    }

    pub(crate) fn per_second(&self) -> f64 {
        self.count() / self.elapsed.as_secs_f64()
    }

    pub(crate) fn count(&self) -> f64 {
        u32::try_from(self.latencies_us.len()).map_or(f64::MAX, f64::from)
    }
}
