//! The writer: takes whatever waits, writes it as one group under the head's lock, and answers when it is durable. While it
//! has no database, or one that it must not write to, it refuses what comes and looks again by itself.

use super::draft::{Asked, Draft, Refused};
use super::link::{Connector, Failure, in_time};
use super::pen::{Held, Pen, Written};
use super::queue::{Answer, Waiting, Work};
use super::read::Readers;
use super::standing::Standing;
use super::watch::Told;
use super::{OpenError, check, schema};
use crate::clock::{Clock, micros};
use crate::journal::{AppendError, Appended, CONFLICT_RECORDS_MAX, Slot};
use crate::telemetry::number;
use agentgate_core::error::chain;
use std::sync::Arc;
use std::time::Duration;

/// Works of one group: beyond it, waiting for a large group costs more than the next group's turn.
const GROUP_WORKS_MAX: usize = 2_048;

/// What they may weigh together; one is taken whatever it weighs.
const GROUP_BYTES_MAX: usize = 4 << 20;

/// How far this machine's clock may be from the store's: leases and expiries are counted in seconds.
const CLOCK_APART_MAX: Duration = Duration::from_secs(1);

/// How long to wait before the database is tried again, at first and at most.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_LAST: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Writer {
    pub connector: Connector,
    pub clock: Clock,
    pub standing: Arc<Standing>,
    pub readers: Arc<Readers>,
    pub told: Arc<Told>,
    pub waiting: Waiting,
    /// What did not fit into the last group.
    pub carried: Option<Work>,
}

/// Why a group was not written, for all of its works.
enum Stop {
    /// The connection may be used again.
    Not(String),
    /// It may not.
    NotAndLost(String),
    Unknown(String),
}

/// What one work is told once its group is durable.
enum Outcome {
    Change(Result<Appended, Refused>, Answer<Appended>),
    Discard(Answer<()>),
    Set(Slot, Answer<Slot>),
}

/// A connection that may write: the database's settings and schema are right, and it is the store that was here before.
pub(super) async fn ready(
    connector: &Connector,
    clock: &Clock,
    standing: &Standing,
    may_migrate: bool,
) -> Result<Pen, OpenError> {
    let link = connector.connect().await?;
    in_time(async { Ok(check::check(&link).await) }).await??;
    schema::ready(&link, may_migrate).await?;
    let pen = in_time(Pen::new(link)).await?;
    verify(&pen, clock, standing).await?;
    Ok(pen)
}

/// Why the head is not held, or not to be written to.
enum NotHeld {
    Failed(Failure),
    Unfit(String),
}

impl From<Failure> for NotHeld {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Holds the head of a store that is fit to be written to: it loses nothing, this machine's clock is near its own, and it has
/// not become shorter. The clock is compared with the span in which the store was asked: the lock may be waited for.
async fn held(pen: &Pen, asked: &Asked, clock: &Clock, standing: &Standing) -> Result<Held, NotHeld> {
    let sent = clock.now();
    let held = pen.hold(asked).await?;
    let received = clock.now();
    if !held.is_durable {
        return Err(NotHeld::Unfit(check::WEAKENED.to_owned()));
    }
    let apart = held.clock.micros_since(received).max(sent.micros_since(held.clock));
    if apart > micros(CLOCK_APART_MAX) {
        let (most, apart) = (CLOCK_APART_MAX.as_secs(), Duration::from_micros(apart).as_secs_f64());
        let why = format!("this machine's clock is {apart:.1} s from the store's, more than {most} s; set both by NTP");
        return Err(NotHeld::Unfit(why));
    }
    if let Some(seen) = standing.seen().filter(|seen| held.head < seen.sequence) {
        let why = format!("a fork: sequence {} was seen, and the store ends at {}", seen.sequence, held.head);
        standing.fork(&why);
        return Err(NotHeld::Unfit(why));
    }
    Ok(held)
}

/// Waits until whoever wrote before is done, compares the store with what was seen of it, and writes to it once: then all
/// that it holds is as durable as that write.
async fn verify(pen: &Pen, clock: &Clock, standing: &Standing) -> Result<(), OpenError> {
    let held = held(pen, &Asked::by([]), clock, standing).await.map_err(|why| match why {
        NotHeld::Failed(failure) => OpenError::from(failure),
        NotHeld::Unfit(why) => OpenError::Unfit(why),
    })?;
    if let Some(seen) = standing.seen() {
        let found = in_time(pen.at(seen.sequence)).await?;
        if found != Some(seen) {
            let why = format!("a fork: the record at sequence {} is another one than was seen", seen.sequence);
            standing.fork(&why);
            return Err(OpenError::Unfit(why));
        }
    }
    match pen.write(&Draft::new(held.head, held.found)).await {
        Written::Done => {}
        Written::Not(why) | Written::Unknown(why) => return Err(OpenError::Unreachable(why)),
    }
    standing.reached(held.head);
    standing.open();
    Ok(())
}

// === impl Writer ===

impl Writer {
    /// Until nobody can come any more and what waited is done.
    pub(super) async fn run(mut self, pen: Pen) {
        let mut pen = Some(pen);
        loop {
            pen = match pen {
                Some(pen) => match self.serve(pen).await {
                    Some(()) => None,
                    None => return,
                },
                None => match self.refuse_until_ready().await {
                    Some(pen) => Some(pen),
                    None => return,
                },
            };
        }
    }

    /// Writes groups until the connection cannot be used any more. None: nobody can come any more.
    async fn serve(&mut self, pen: Pen) -> Option<()> {
        loop {
            let work = match self.carried.take() {
                Some(work) => work,
                None => tokio::select! {
                    work = self.waiting.next() => work?,
                    () = pen.link.lost() => {
                        self.standing.close("the connection to the database was lost");
                        return Some(());
                    }
                },
            };
            self.group(&pen, work).await?;
            if self.standing.unavailable().is_some() {
                return Some(());
            }
        }
    }

    /// Refuses what comes until there is a database to write to. None: nobody can come any more.
    async fn refuse_until_ready(&mut self) -> Option<Pen> {
        let mut pause = RETRY_FIRST;
        loop {
            let reason = self.standing.unavailable().unwrap_or_default();
            if let Some(work) = self.carried.take() {
                work.refuse(AppendError::Unavailable(reason.clone()));
            }
            let is_forked = self.standing.is_forked();
            let (standing, connector, clock) = (Arc::clone(&self.standing), self.connector.clone(), self.clock.clone());
            let wait = tokio::time::sleep(pause);
            let trying = async {
                if is_forked {
                    std::future::pending::<()>().await;
                }
                wait.await;
                ready(&connector, &clock, &standing, false).await
            };
            tokio::pin!(trying);
            let tried = loop {
                tokio::select! {
                    tried = &mut trying => break tried,
                    work = self.waiting.next() => work?.refuse(AppendError::Unavailable(reason.clone())),
                }
            };
            match tried {
                Ok(pen) => return Some(pen),
                Err(error) => {
                    self.standing.close(&chain(&error));
                    pause = pause.saturating_mul(2).min(RETRY_LAST);
                }
            }
        }
    }

    /// One group: `first`, and whatever else waits when the head is ours.
    async fn group(&mut self, pen: &Pen, first: Work) -> Option<()> {
        let mut works = Vec::new();
        let mut weight = first.weight();
        works.push(first);
        self.take_more(&mut works, &mut weight);
        self.say();
        let held = match self.hold(pen, &mut works, &mut weight).await {
            Ok(held) => held,
            Err(stop) => return self.stop(works, &stop),
        };
        let mut draft = Draft::new(held.head, held.found);
        let mut outcomes = Vec::with_capacity(works.len());
        for work in works {
            outcomes.push(match work {
                Work::Change(change, addresses, answer) => Outcome::Change(draft.change(change, addresses), answer),
                Work::Discard(addresses, answer) => {
                    draft.discard(addresses);
                    Outcome::Discard(answer)
                }
                Work::Set(set, answer) => Outcome::Set(draft.set(set), answer),
            });
        }
        let stop = if draft.is_empty() {
            // Everything was refused: that holds whether or not the lock can be given back.
            pen.let_go().await.err().map(|failure| Stop::NotAndLost(failure.to_string()))
        } else {
            match pen.write(&draft).await {
                Written::Done => None,
                Written::Not(why) => Some(Stop::NotAndLost(why)),
                Written::Unknown(why) => Some(Stop::Unknown(why)),
            }
        };
        match stop {
            Some(stop) => self.tell_failure(outcomes, &stop),
            None => {
                self.standing.reached(draft.head());
                draft.last().into_iter().for_each(|last| self.standing.saw(last));
                self.told.wrote(!draft.rows.is_empty(), !draft.slots.is_empty() || !draft.gone.is_empty());
                self.tell(outcomes);
            }
        }
        Some(())
    }

    /// Holds the head for all that waits by then.
    async fn hold(&mut self, pen: &Pen, works: &mut Vec<Work>, weight: &mut usize) -> Result<Held, Stop> {
        let lost = |failure: Failure| Stop::NotAndLost(failure.to_string());
        let mut held = match held(pen, &Asked::by(works.iter()), &self.clock, &self.standing).await {
            Ok(held) => held,
            Err(NotHeld::Failed(failure)) => return Err(lost(failure)),
            Err(NotHeld::Unfit(why)) => {
                pen.let_go().await.map_err(lost)?;
                return Err(Stop::Not(why));
            }
        };
        let known = works.len();
        self.take_more(works, weight);
        if let Some(more @ [_, ..]) = works.get(known..) {
            held.found.extend(in_time(pen.look(&Asked::by(more))).await.map_err(lost)?);
        }
        Ok(held)
    }

    fn take_more(&mut self, works: &mut Vec<Work>, weight: &mut usize) {
        while self.carried.is_none() && works.len() < GROUP_WORKS_MAX {
            let Some(work) = self.waiting.ready() else { return };
            if weight.saturating_add(work.weight()) > GROUP_BYTES_MAX {
                self.carried = Some(work);
                return;
            }
            *weight = weight.saturating_add(work.weight());
            works.push(work);
        }
    }

    fn stop(&self, works: Vec<Work>, stop: &Stop) -> Option<()> {
        let error = self.closed(stop);
        works.into_iter().for_each(|work| work.refuse(error.clone()));
        Some(())
    }

    fn tell_failure(&self, outcomes: Vec<Outcome>, stop: &Stop) {
        let error = self.closed(stop);
        for outcome in outcomes {
            match outcome {
                Outcome::Change(_, answer) => drop(answer.send(Err(error.clone()))),
                Outcome::Discard(answer) => drop(answer.send(Err(error.clone()))),
                Outcome::Set(_, answer) => drop(answer.send(Err(error.clone()))),
            }
        }
    }

    /// Nothing more is written before the store was looked at again.
    fn closed(&self, stop: &Stop) -> AppendError {
        match stop {
            Stop::Not(why) | Stop::NotAndLost(why) => {
                self.standing.close(why);
                AppendError::Unavailable(why.clone())
            }
            Stop::Unknown(why) => {
                self.standing.doubt(why);
                AppendError::Unknown(why.clone())
            }
        }
    }

    fn tell(&self, outcomes: Vec<Outcome>) {
        for outcome in outcomes {
            // A caller who went away is no reason to stop.
            match outcome {
                Outcome::Change(Ok(appended), answer) => drop(answer.send(Ok(appended))),
                Outcome::Change(Err(Refused::Duplicate(position)), answer) => {
                    drop(answer.send(Err(AppendError::Duplicate(position))));
                }
                Outcome::Change(Err(Refused::Fenced(now)), answer) => drop(answer.send(Err(AppendError::Fenced { now }))),
                Outcome::Change(Err(Refused::Conflict { stream, expected, now }), answer) => {
                    let readers = Arc::clone(&self.readers);
                    tokio::spawn(async move {
                        // Who sees that records are missing from `missing` reads the stream.
                        let mut missing = readers.read(stream, expected, CONFLICT_RECORDS_MAX).await.unwrap_or_default();
                        missing.retain(|record| record.version <= now);
                        let _ = answer.send(Err(AppendError::Conflict { stream, now, missing }));
                    });
                }
                Outcome::Discard(answer) => drop(answer.send(Ok(()))),
                Outcome::Set(slot, answer) => drop(answer.send(Ok(slot))),
            }
        }
    }

    fn say(&self) {
        metrics::gauge!("agentgate_journal_queued_changes").set(number(self.waiting.len()));
        metrics::gauge!("agentgate_journal_queued_bytes").set(number(self.waiting.bytes()));
    }
}
