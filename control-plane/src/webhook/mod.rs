//! The webhook: tells approvers, in a place of theirs, that a call waits for them and what became of it.
//!
//! It is off every call's path: what cannot be told in time is given up and counted. It never sends the arguments of a call,
//! follows no redirect, reads nothing of an answer but its status, and sends nothing of an approval that was purged.

mod message;
mod send;
mod target;
mod told;
mod waiting;

use crate::approval::{Approvals, News};
use crate::body::Keys;
use crate::clock::Clock;
use crate::config::WebhookTarget;
use crate::journal::Journal;
use crate::privacy::Privacy;
use crate::rarely::Rarely;
use agentgate_core::error::chain;
use hyper::StatusCode;
use message::Message;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::task::JoinSet;

use target::Target;
pub use target::WebhookError;
use told::Told;
use waiting::Waiting;

/// For one attempt, from the look-up of the name to the status. A receiver answers first and works afterwards.
const ATTEMPT: Duration = Duration::from_secs(10);

/// Attempts at once: a receiver that lets some of them hang still hears of the others.
const AT_ONCE_MAX: usize = 4;

/// The wait after the first failed attempt; it doubles with each further one.
const BACKOFF: Duration = Duration::from_secs(1);

/// A receiver that comes back is told within this time.
const BACKOFF_MAX: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub struct Webhook {
    /// None: nobody is told.
    target: Option<Target>,
    clock: Clock,
    keys: Keys,
    approvals: Arc<Approvals>,
    privacy: Arc<Privacy>,
    waiting: Waiting,
    trouble: Mutex<Option<String>>,
    warned: Rarely,
    told: Told,
}

/// What an attempt came to.
#[derive(Debug)]
enum Attempt {
    Taken,
    /// It may be taken later.
    Failed(String),
    /// It will never be taken.
    Refused(String),
    /// What it tells of was purged.
    Erased,
}

// === impl Webhook ===

impl Webhook {
    /// # Errors
    /// When the configuration names what cannot be used; the message names the field.
    pub fn open(
        config: Option<&WebhookTarget>,
        clock: Clock,
        keys: Keys,
        (journal, approvals, privacy): (Arc<dyn Journal>, Arc<Approvals>, Arc<Privacy>),
    ) -> Result<Self, WebhookError> {
        let target = config.map(|config| Target::open(config, &clock)).transpose()?;
        metrics::gauge!("agentgate_webhook_waiting").set(0.0);
        Ok(Self {
            target,
            clock,
            keys,
            approvals,
            privacy,
            waiting: Waiting::default(),
            trouble: Mutex::default(),
            warned: Rarely::default(),
            told: Told::new(journal),
        })
    }

    /// Tells what waits now, what was decided and nobody told of, and what happens from now on.
    pub async fn telling(self: Arc<Self>) {
        if self.target.is_none() {
            return;
        }
        let news = self.approvals.follow();
        let mut workers = JoinSet::new();
        for _ in 0..AT_ONCE_MAX {
            workers.spawn(Arc::clone(&self).working());
        }
        self.tell_again().await;
        self.hearing(news).await;
    }

    /// Why approvers are not told. None: they are, or nobody is to be.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.lock().clone()
    }

    async fn hearing(&self, mut news: broadcast::Receiver<News>) {
        let mut erased = self.approvals.erasures();
        loop {
            let news = tokio::select! {
                news = news.recv() => news,
                Ok(()) = erased.changed() => {
                    ended("erased", self.waiting.keep(|message| self.approvals.is_known(&message.approval)));
                    continue;
                }
            };
            match news {
                Ok(news) => self.tell(&news).await,
                Err(RecvError::Lagged(missed)) => {
                    ended("dropped", missed);
                    self.tell_again().await;
                }
                Err(RecvError::Closed) => return,
            }
        }
    }

    /// What an earlier life of this process, or a replica that is gone, may not have told.
    async fn tell_again(&self) {
        let known = self.told.known().await.unwrap_or_else(|error| {
            tracing::warn!(%error, "what approvers were told of cannot be read; they are told again");
            told::Known::default()
        });
        for news in self.approvals.decided() {
            let (now, elapsed) = (self.clock.now(), self.clock.elapsed());
            let message = Message::of(&news, &self.privacy, (now, elapsed)).await;
            if let Some(message) = message.filter(|message| message.until > elapsed && !known.has(&message.id)) {
                self.put(message);
            }
        }
        for news in self.approvals.waiting() {
            self.tell(&news).await;
        }
    }

    /// Nobody has to tell this any more. A request is told in each life while it waits.
    async fn settled(&self, message: &Message) {
        if message.is_decision
            && let Err(error) = self.told.mark(&message.id).await
        {
            tracing::debug!(%error, "a message could not be marked as told; it is told again after a restart");
        }
    }

    async fn tell(&self, news: &News) {
        let moment = (self.clock.now(), self.clock.elapsed());
        if let Some(message) = Message::of(news, &self.privacy, moment).await {
            self.put(message);
        }
    }

    /// What was purged waits for nothing.
    fn put(&self, message: Message) {
        if self.approvals.is_known(&message.approval) {
            ended("dropped", self.waiting.put(message));
        } else {
            ended("erased", 1);
        }
    }

    async fn working(self: Arc<Self>) {
        let Some(target) = &self.target else { return };
        loop {
            let mut message = self.waiting.next(&self.clock).await;
            // INVARIANT: nothing of an approval is sent once it was purged: it is looked at first, and an attempt ends with it.
            let attempt = tokio::select! {
                biased;
                () = self.approvals.forgotten(&message.approval) => Attempt::Erased,
                attempt = self.attempt(target, &message) => attempt,
            };
            match attempt {
                Attempt::Erased => ended("erased", 1),
                Attempt::Taken => {
                    ended("sent", 1);
                    *self.lock() = None;
                    self.settled(&message).await;
                }
                Attempt::Refused(why) => {
                    ended("failed", 1);
                    self.failed(target, &why);
                    self.settled(&message).await;
                }
                Attempt::Failed(why) => {
                    message.due = self.clock.elapsed().saturating_add(self.backoff(message.attempts));
                    message.attempts = message.attempts.saturating_add(1);
                    if message.due < message.until {
                        self.put(message);
                    } else {
                        ended("failed", 1);
                    }
                    self.failed(target, &why);
                }
            }
        }
    }

    async fn attempt(&self, target: &Target, message: &Message) -> Attempt {
        let deadline = self.clock.elapsed().saturating_add(ATTEMPT);
        let request = match send::request(target, message, self.clock.now()) {
            Ok(request) => request,
            Err(error) => return Attempt::Refused(chain(&error)),
        };
        match self.clock.before(deadline, send::post(target, request)).await {
            None => Attempt::Failed(format!("it did not answer within {} s", ATTEMPT.as_secs())),
            Some(Err(error)) => Attempt::Failed(chain(&error)),
            Some(Ok(status)) if status.is_success() => Attempt::Taken,
            Some(Ok(status)) if may_change(status) => Attempt::Failed(format!("it answered {status}")),
            Some(Ok(status)) => Attempt::Refused(format!("it answered {status}, and is not asked again")),
        }
    }

    fn failed(&self, target: &Target, why: &str) {
        metrics::counter!("agentgate_webhook_attempts_failed_total").increment(1);
        if let Some(more) = self.warned.told(self.clock.elapsed()) {
            tracing::warn!(host = target.address().host(), why, more, "approvers are not told");
        }
        *self.lock() = Some(format!("`{}`: {why}", target.address().host()));
    }

    /// Twice as long each time, and half of it by chance: receivers that come back are not met by everybody at once.
    fn backoff(&self, attempts: u32) -> Duration {
        let whole = BACKOFF.saturating_mul(1_u32.checked_shl(attempts).unwrap_or(u32::MAX)).min(BACKOFF_MAX);
        let chance = (self.keys)().ok().and_then(|key| key.first().copied()).unwrap_or_default();
        whole / 2 + whole / 2 * u32::from(chance) / u32::from(u8::MAX)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the same request may be taken later. A redirect, a wrong path or a wrong key are mended by a person.
fn may_change(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
}

fn ended(end: &'static str, messages: u64) {
    metrics::counter!("agentgate_webhook_messages_total", "end" => end).increment(messages);
}

#[cfg(test)]
mod tests;
