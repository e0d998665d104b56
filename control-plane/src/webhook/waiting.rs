//! Messages that wait for their next attempt: bounded, and the oldest leaves when there is no room.

use super::message::Message;
use crate::clock::Clock;
use crate::telemetry::number;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// Twice as many as anybody looks through; of what is left out, those calls that still wait are told after a restart.
const WAITING_MAX: usize = 2_048;

#[derive(Debug, Default)]
pub(super) struct Waiting {
    queue: Mutex<Queue>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    /// In the order in which they came.
    messages: BTreeMap<u64, Message>,
    came: u64,
}

// === impl Waiting ===

impl Waiting {
    /// Puts it in, once, and says how many had to leave for it.
    pub(super) fn put(&self, mut message: Message) -> u64 {
        let mut queue = self.lock();
        if queue.messages.values().any(|other| other.id == message.id) {
            return 0;
        }
        if message.number == 0 {
            queue.came = queue.came.saturating_add(1);
            message.number = queue.came;
        }
        queue.messages.insert(message.number, message);
        let dropped = if queue.messages.len() > WAITING_MAX { queue.messages.pop_first().map_or(0, |_| 1) } else { 0 };
        metrics::gauge!("agentgate_webhook_waiting").set(number(queue.messages.len()));
        drop(queue);
        self.changed.notify_waiters();
        dropped
    }

    /// Those that are not wanted any more leave, and how many they were.
    pub(super) fn keep(&self, is_wanted: impl Fn(&Message) -> bool) -> u64 {
        let mut queue = self.lock();
        let before = queue.messages.len();
        queue.messages.retain(|_, message| is_wanted(message));
        metrics::gauge!("agentgate_webhook_waiting").set(number(queue.messages.len()));
        before.saturating_sub(queue.messages.len()) as u64
    }

    /// The next one that is due, when it is.
    pub(super) async fn next(&self, clock: &Clock) -> Message {
        loop {
            let changed = self.changed.notified();
            match self.take(clock.elapsed()) {
                Ok(message) => return message,
                Err(Some(due)) => {
                    let _ = clock.before(due, changed).await;
                }
                Err(None) => changed.await,
            }
        }
    }

    /// The oldest that is due, or else when the first will be.
    fn take(&self, now: Duration) -> Result<Message, Option<Duration>> {
        let mut queue = self.lock();
        let due = queue.messages.values().find(|message| message.due <= now).map(|message| message.number);
        let taken = due.and_then(|due| queue.messages.remove(&due));
        metrics::gauge!("agentgate_webhook_waiting").set(number(queue.messages.len()));
        taken.ok_or_else(|| queue.messages.values().map(|message| message.due).min())
    }

    /// When the first is due. None: none waits.
    #[cfg(test)]
    pub(super) fn due(&self) -> Option<Duration> {
        self.lock().messages.values().map(|message| message.due).min()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lock().messages.len()
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::{WAITING_MAX, Waiting};
    use crate::clock::Clock;
    use crate::webhook::message::Message;
    use agentgate_core::digest::Digest;
    use agentgate_core::time::Time;
    use std::time::Duration;

    fn message(id: usize, due_s: u64) -> Message {
        let (due, until) = (Duration::from_secs(due_s), Duration::from_secs(900));
        let (approval, body) = (Digest::of("test", b""), String::new());
        Message { id: id.to_string(), approval, body, is_decision: false, number: 0, attempts: 0, due, until }
    }

    #[test]
    fn the_oldest_leaves_when_one_too_many_comes() {
        let waiting = Waiting::default();
        for id in 0..WAITING_MAX {
            assert_eq!(waiting.put(message(id, 0)), 0);
        }
        assert_eq!(waiting.put(message(7, 0)), 0, "it is there already");
        let mut tried = waiting.take(Duration::ZERO).unwrap();
        assert_eq!(tried.id, "0");
        assert_eq!(waiting.put(message(WAITING_MAX, 0)), 0);
        tried.due = Duration::from_secs(5);
        assert_eq!(waiting.put(tried), 1, "a message that comes back is as old as before, and leaves first");
        assert_eq!(waiting.take(Duration::ZERO).unwrap().id, "1");
    }

    #[tokio::test]
    async fn the_first_that_is_due_is_next() {
        let (clock, hands) = Clock::manual(Time::from_micros(0));
        let waiting = Waiting::default();
        waiting.put(message(1, 9));
        waiting.put(message(2, 3));
        let next = waiting.next(&clock);
        hands.advance(Duration::from_secs(4));
        assert_eq!(next.await.id, "2");
        hands.advance(Duration::from_secs(5));
        assert_eq!(waiting.next(&clock).await.id, "1");
        assert_eq!(waiting.take(Duration::MAX).unwrap_err(), None);
    }
}
