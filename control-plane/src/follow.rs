//! Following: one task for each replica that reads what all of them write, in the journal's order, and hands each record to
//! the room that it concerns. So a kill of another replica is pushed to the filters of this one within milliseconds.
//!
//! It is a prompt and no truth: orders and approvals are folded from streams of their own, and a decision that was folded
//! from less is fenced off by the journal whether or not this task lives. It refuses to stop: what cannot be had now is
//! tried again, and what can never be read is told and passed.

use crate::approval::Approvals;
use crate::body::FetchError;
use crate::clock::Clock;
use crate::control::{Control, PolicyMark};
use crate::journal::{Journal, ReadError, Record, Sequence, Stream};
use crate::policy::Policy;
use crate::rarely::Rarely;
use crate::session::{PastError, Session, parse};
use crate::telemetry::number;
use agentgate_core::digest::Digest;
use agentgate_core::error::{causes, chain};
use agentgate_core::time::Time;
use agentgate_proto::v1::PolicyRecord;
use agentgate_proto::v1::record::What;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

/// Records read at once.
const PAGE: u32 = 256;

/// The wait after the journal could not be read, or what a record refers to could not be had.
const AGAIN: Duration = Duration::from_millis(200);

/// How often one record is tried again while what it refers to can be read.
const ATTEMPTS_MAX: u32 = 5;

/// The rooms that others' records concern.
#[derive(Debug)]
pub struct Follow {
    pub journal: Arc<dyn Journal>,
    pub clock: Clock,
    pub control: Arc<Control>,
    pub policy: Arc<Policy>,
    pub approvals: Arc<Approvals>,
    pub session: Arc<Session>,
    pub told: Rarely,
}

// === impl Follow ===

impl Follow {
    /// Follows from `cursor` on, until it is dropped.
    pub async fn following(self, mut cursor: Sequence) {
        // The rooms were opened one after the other: what was ordered in between is before the cursor, and not known yet.
        while !self.look_again().await {
            self.clock.sleep(AGAIN).await;
        }
        loop {
            match self.journal.follow(cursor, PAGE).await {
                Ok(page) => {
                    for record in &page {
                        self.hand_over(record).await;
                        cursor = record.sequence;
                        self.say(cursor);
                    }
                }
                Err(ReadError::Unavailable(why)) => {
                    self.trouble("unavailable", &why);
                    self.clock.sleep(AGAIN).await;
                }
                Err(ReadError::Damaged(why)) => {
                    self.trouble("damaged", &why);
                    // It may have been an order: what the rooms fold themselves is looked for all the same.
                    let _ = self.look_again().await;
                    cursor = cursor.saturating_add(1);
                }
            }
        }
    }

    /// Until the record is taken up, or it is clear that it never will be. A store that cannot be read now says nothing of it:
    /// a record that was passed over would be missing here for as long as this process lives.
    async fn hand_over(&self, record: &Record) {
        let mut attempts = 0;
        while attempts < ATTEMPTS_MAX {
            match self.take(record).await {
                Ok(()) => return,
                Err(Trouble::Unread(why)) => self.trouble("unavailable", &why),
                Err(Trouble::Passing(why)) => {
                    attempts += 1;
                    self.trouble("unavailable", &why);
                }
                Err(Trouble::Lasting(why)) => {
                    self.trouble("unreadable", &why);
                    break;
                }
            }
            self.clock.sleep(AGAIN).await;
        }
        self.session.reached(record);
    }

    async fn take(&self, record: &Record) -> Result<(), Trouble> {
        let parsed = parse(record);
        // Whatever it is: who folds the stream says whether it can be folded.
        if record.stream == Stream::global() {
            if let Ok((at, What::Policy(policy))) = &parsed
                && let Some(mark) = mark(policy, *at)
            {
                // Loaded before it is in force here: no call finds a policy that is not there yet.
                self.policy.take_up(mark).await.map_err(Trouble::passing)?;
            }
            self.control.caught_up(record.version).await.map_err(Trouble::passing)?;
        } else if record.stream == Stream::approvals() {
            self.approvals.caught_up(record.version).await.map_err(Trouble::passing)?;
        }
        let (at, what) = parsed?;
        self.control.not_before(at);
        self.approvals.not_before(at);
        Ok(self.session.heard(record, at, what).await?)
    }

    /// True: all that is folded from streams of its own was taken up.
    async fn look_again(&self) -> bool {
        let orders = match self.journal.version(Stream::global()).await {
            Ok(version) => self.control.caught_up(version).await.map_err(Trouble::passing),
            Err(error) => Err(Trouble::passing(error)),
        };
        let approvals = self.approvals.look_again().await.map_err(Trouble::passing);
        let failed: Vec<Trouble> = [orders, approvals].into_iter().filter_map(Result::err).collect();
        for Trouble::Unread(why) | Trouble::Passing(why) | Trouble::Lasting(why) in &failed {
            self.trouble("unavailable", why);
        }
        failed.is_empty()
    }

    fn say(&self, cursor: Sequence) {
        let behind = self.journal.health().head.saturating_sub(cursor);
        metrics::gauge!("agentgate_records_behind").set(number(usize::try_from(behind).unwrap_or(usize::MAX)));
    }

    fn trouble(&self, kind: &'static str, why: &str) {
        metrics::counter!("agentgate_records_not_followed_total", "why" => kind).increment(1);
        if let Some(more) = self.told.told(self.clock.elapsed()) {
            tracing::warn!(kind, why, more, "what other replicas wrote cannot be followed");
        }
    }
}

/// Why a record is not taken up.
#[derive(Debug)]
enum Trouble {
    /// What it refers to cannot be read now.
    Unread(String),
    Passing(String),
    Lasting(String),
}

// === impl Trouble ===

impl Trouble {
    fn passing(error: impl Error + 'static) -> Self {
        let why = chain(&error);
        if is_unavailable(&error) { Self::Unread(why) } else { Self::Passing(why) }
    }
}

/// Whether the store could not be read, whoever says so.
fn is_unavailable(error: &(dyn Error + 'static)) -> bool {
    let read = |cause: &(dyn Error + 'static)| match cause.downcast_ref() {
        // It is transparent.
        Some(FetchError::Read(read)) => matches!(read, ReadError::Unavailable(_)),
        Some(_) | None => matches!(cause.downcast_ref(), Some(ReadError::Unavailable(_))),
    };
    causes(Some(error)).any(read)
}

impl From<PastError> for Trouble {
    fn from(error: PastError) -> Self {
        match &error {
            PastError::Read(ReadError::Unavailable(_)) => Self::Unread(chain(&error)),
            PastError::Read(ReadError::Damaged(_))
            | PastError::UnknownKind { .. }
            | PastError::Unreadable { .. }
            | PastError::Key { .. }
            | PastError::Body { .. } => Self::Lasting(chain(&error)),
        }
    }
}

fn mark(policy: &PolicyRecord, at: Time) -> Option<PolicyMark> {
    let (digest, address) = (Digest::try_from(policy.digest.as_ref()).ok()?, Digest::try_from(policy.address.as_ref()).ok()?);
    Some(PolicyMark { digest, address, since: at })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::approval::ApprovalError;
    use crate::body::KeyError;
    use crate::control::ControlError;
    use crate::policy::PolicyError;

    #[test]
    fn a_store_that_cannot_be_read_is_no_reason_to_pass_a_record_over() {
        let errors: [fn(ReadError) -> Trouble; 6] = [
            Trouble::passing,
            |error| Trouble::passing(ApprovalError::from(error)),
            |error| Trouble::passing(ApprovalError::Read(FetchError::Key(KeyError::Read(error)))),
            |error| Trouble::passing(ControlError::Read(error)),
            |error| Trouble::passing(PolicyError::Read(error)),
            |error| Trouble::passing(KeyError::Read(error)),
        ];
        for (nth, passing) in errors.into_iter().enumerate() {
            let (unread, damaged) = (passing(ReadError::Unavailable("away".into())), passing(ReadError::Damaged("bits".into())));
            assert!(matches!(&unread, Trouble::Unread(why) if why.contains("away")), "{nth}: {unread:?}");
            assert!(matches!(&damaged, Trouble::Passing(why) if why.contains("bits")), "{nth}: {damaged:?}");
        }
        assert!(matches!(Trouble::passing(KeyError::Unreadable), Trouble::Passing(_)));
    }
}
