//! The records from a moment on, oldest first, on a thread that no call waits for. It stops when whoever asked has left or
//! this replica leaves, and keeps nothing of what it read.

use super::HistoryError;
use crate::clock::Clock;
use crate::journal::{Journal, Record, Sequence};
use crate::session::{PastError, SLACK_US, parse};
use agentgate_core::time::Time;
use agentgate_proto::v1;
use agentgate_proto::v1::record::What;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Records read at once.
const PAGE: u32 = 256;

/// Records looked at for one of a subject's, whose times go on: orders and approvals have a clock of their own.
const PROBE: u32 = 16;

/// How often it is told how far a scan is, at least: by time, and by records.
const TOLD_EVERY: Duration = Duration::from_millis(500);
pub(super) const TOLD_EVERY_RECORDS: u64 = 1_000;

/// What is heard of a scan.
#[derive(Clone, Debug)]
pub enum Told<T> {
    Progress(v1::Progress),
    /// Once, last.
    Done(T),
}

/// Whoever waits for a scan, and whether they still do.
#[derive(Debug)]
pub(super) struct Telling<T> {
    said: mpsc::Sender<Result<Told<T>, HistoryError>>,
    leaving: watch::Receiver<bool>,
    clock: Clock,
    told_at: Duration,
    told: u64,
}

/// The records that a scan reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from: Sequence,
    /// The first that is not read: it did not exist when the scan began.
    pub(super) end: Sequence,
    since: Time,
    /// Of the oldest record that there is.
    pub(super) oldest_at: Time,
}

// === impl Span ===

impl Span {
    /// Looks for the first record since `since` by halving. No record of a subject is older than one before it by more than
    /// the slack, so what the search leaves out is out; what it takes too much is left out one by one.
    pub(super) async fn since(journal: &dyn Journal, since: Time) -> Result<Self, PastError> {
        let end = journal.health().head.saturating_add(1);
        let surely_before = Time::from_micros(since.micros().saturating_sub(SLACK_US));
        let (mut from, mut reached) = (1, end);
        while from < reached {
            let middle = from + (reached - from) / 2;
            match first_of_a_subject(journal, middle, reached).await? {
                Some((sequence, at)) if at < surely_before => from = sequence.saturating_add(1),
                Some(_) | None => reached = middle,
            }
        }
        let oldest = page(journal, 0, 1, end).await?;
        let oldest_at = oldest.first().map(parse).transpose()?.map_or(Time::from_micros(0), |(at, _)| at);
        Ok(Self { from, end, since, oldest_at })
    }

    pub(super) async fn read<T>(
        &self,
        journal: &dyn Journal,
        telling: &mut Telling<T>,
        mut take: impl AsyncFnMut(&Record, Time, What) -> Result<(), HistoryError>,
    ) -> Result<(), HistoryError> {
        let mut cursor = self.from.saturating_sub(1);
        loop {
            let page = page(journal, cursor, PAGE, self.end).await?;
            let Some(last) = page.last() else { return Ok(()) };
            cursor = last.sequence;
            for record in &page {
                telling.go_on(record.sequence.saturating_sub(self.from), self.end.saturating_sub(self.from))?;
                // Whoever decides calls goes first.
                std::thread::yield_now();
                let (at, what) = parse(record)?;
                if at >= self.since {
                    take(record, at, what).await?;
                }
            }
        }
    }
}

/// Records after `cursor` and before `end`; none: there are no more.
async fn page(journal: &dyn Journal, cursor: Sequence, limit: u32, end: Sequence) -> Result<Vec<Record>, PastError> {
    let left = u32::try_from(end.saturating_sub(cursor).saturating_sub(1)).unwrap_or(u32::MAX);
    if left == 0 {
        return Ok(Vec::new());
    }
    journal.follow(cursor, left.min(limit)).await.map_err(PastError::Read)
}

/// The first record of a subject from `from` on, among so many as are looked at.
async fn first_of_a_subject(journal: &dyn Journal, from: Sequence, end: Sequence) -> Result<Option<(Sequence, Time)>, PastError> {
    for record in page(journal, from.saturating_sub(1), 1, end).await? {
        if let Some(found) = of_a_subject(&record)? {
            return Ok(Some(found));
        }
    }
    for record in page(journal, from, PROBE, end).await? {
        if let Some(found) = of_a_subject(&record)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn of_a_subject(record: &Record) -> Result<Option<(Sequence, Time)>, PastError> {
    Ok(match parse(record)? {
        (at, What::Decision(_) | What::Outcome(_) | What::Flood(_)) => Some((record.sequence, at)),
        (_, What::Policy(_) | What::Approval(_) | What::Kill(_) | What::Mode(_) | What::Hold(_) | What::Purge(_)) => None,
    })
}

// === impl Telling ===

impl<T> Telling<T> {
    pub(super) fn new(said: mpsc::Sender<Result<Told<T>, HistoryError>>, leaving: watch::Receiver<bool>, clock: Clock) -> Self {
        let told_at = clock.elapsed();
        Self { said, leaving, clock, told_at, told: 0 }
    }

    /// Says how far it is, now and then.
    ///
    /// # Errors
    /// When there is nobody to go on for.
    fn go_on(&mut self, records_read: u64, records: u64) -> Result<(), HistoryError> {
        if self.said.is_closed() {
            return Err(HistoryError::Left);
        }
        // A sender that is gone means the same.
        if *self.leaving.borrow() || self.leaving.has_changed().is_err() {
            return Err(HistoryError::Leaving);
        }
        let now = self.clock.elapsed();
        if records_read >= self.told + TOLD_EVERY_RECORDS || now >= self.told_at + TOLD_EVERY {
            (self.told, self.told_at) = (records_read, now);
            // Who has not read the one before needs no other: a scan waits for nobody.
            let _ = self.said.try_send(Ok(Told::Progress(v1::Progress { records_read, records })));
        }
        Ok(())
    }
}
