//! Following: what is decided and what becomes of it, in the journal's order, from any place in it. A reader may be as slow as
//! it likes, leave, and go on at another replica or after a restart: what it was not told yet is in the journal.

use super::filter::Filter;
use super::past::{self, PastError};
use super::{Session, Source, TraceError, line, outcome_id};
use crate::journal::{Record, Sequence};
use crate::telemetry::Counted;
use agentgate_proto::v1;
use agentgate_proto::v1::record::What;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;

/// Records read at once.
const PAGE: u32 = 256;

/// After so many records of which none was wanted, a follower is told where it is.
const SILENT_RECORDS: u64 = 4_096;

/// A follower of traces.
#[derive(Debug)]
pub struct Tail {
    session: Arc<Session>,
    filter: Filter,
    /// Records that were read and not told of yet: a page of them.
    read: VecDeque<Record>,
    cursor: Sequence,
    told: Option<Sequence>,
    _place: (OwnedSemaphorePermit, Counted),
}

// === impl Session ===

impl Session {
    /// Follows what is decided from now on, or after a record.
    ///
    /// # Errors
    /// When too many follow already, or the filter or the record is none.
    pub fn tail(self: &Arc<Self>, request: v1::TailTracesRequest) -> Result<Tail, TraceError> {
        let filter = Filter::read(request.filter)?;
        let journal = self.bodies.journal();
        let head = journal.health().head;
        let cursor = request.after_sequence.unwrap_or(head);
        // Another replica may know of more.
        if cursor > head && !journal.is_shared() {
            let why = format!(
                "the journal ends at {head}, before record {cursor}: it is another one, or an older copy; follow from now on"
            );
            return Err(TraceError::Malformed(why));
        }
        let crowded = |_| TraceError::Crowded { max: self.limits.tails_max };
        let place = Arc::clone(&self.tailing).try_acquire_owned().map_err(crowded)?;
        let counted = Counted::by(metrics::gauge!("agentgate_tails"));
        Ok(Tail { session: Arc::clone(self), filter, read: VecDeque::new(), cursor, told: None, _place: (place, counted) })
    }
}

// === impl Tail ===

impl Tail {
    /// The next trace, or one that has got its outcome; or where the tail is.
    ///
    /// # Errors
    /// When the journal cannot be read. What was not told is still to come.
    pub async fn next(&mut self) -> Result<v1::TailTracesResponse, TraceError> {
        while self.told.is_some_and(|told| self.cursor - told < SILENT_RECORDS) {
            let Some(record) = self.read.front() else {
                let page = self.session.bodies.journal().follow(self.cursor, PAGE).await;
                self.read.extend(page.map_err(|error| TraceError::from(PastError::Read(error)))?);
                continue;
            };
            let news = self.news(record).await?;
            self.cursor = record.sequence;
            self.read.pop_front();
            if let Some(news) = news {
                self.told = Some(self.cursor);
                return Ok(v1::TailTracesResponse { sequence: self.cursor, ..news });
            }
        }
        self.told = Some(self.cursor);
        Ok(v1::TailTracesResponse { sequence: self.cursor, ..v1::TailTracesResponse::default() })
    }

    async fn news(&self, record: &Record) -> Result<Option<v1::TailTracesResponse>, TraceError> {
        let (session, sequence) = (&self.session, record.sequence);
        let bodies = &session.bodies;
        let trace = match past::parse(record)? {
            (at, What::Decision(decision)) => match session.recent_line(sequence) {
                // As it was decided: what came of it is told in its turn.
                Some(trace) => v1::CallTrace { outcome: v1::OutcomeKind::Unspecified.into(), duration_us: None, ..trace },
                None => line::of_found(&past::found(bodies, record, at, decision).await?),
            },
            (at, What::Flood(flood)) => past::flooded(bodies, sequence, at, &flood).await?,
            (_, What::Outcome(outcome)) => {
                let ended = self.ended(sequence, &outcome).await?.filter(|trace| self.filter.wants(trace));
                return Ok(ended.map(|ended| v1::TailTracesResponse { ended: Some(ended), ..v1::TailTracesResponse::default() }));
            }
            (_, What::Policy(_) | What::Approval(_) | What::Kill(_) | What::Mode(_) | What::Hold(_) | What::Purge(_)) => {
                return Ok(None);
            }
        };
        let wanted = self.filter.wants(&trace);
        Ok(wanted.then(|| v1::TailTracesResponse { trace: Some(trace), ..v1::TailTracesResponse::default() }))
    }

    /// The line of a call that got this outcome. None: it says less than what was known by then.
    async fn ended(&self, sequence: Sequence, outcome: &v1::OutcomeRecord) -> Result<Option<v1::CallTrace>, TraceError> {
        let (session, ended) = (&self.session, past::outcome_of(outcome));
        if ended.kind == v1::OutcomeKind::Unknown {
            let reported = session.bodies.journal().find(outcome_id(&ended.call, Source::Reported)).await;
            let reported = reported.map_err(|error| TraceError::from(PastError::Read(error)))?;
            if reported.is_some_and(|position| position.sequence < sequence) {
                return Ok(None);
            }
        }
        let mut trace = match session.recent_line(ended.decision) {
            Some(trace) => trace,
            None => match past::decision(&session.bodies, ended.decision).await? {
                Some(found) => line::of_found(&found),
                None => return Ok(None),
            },
        };
        line::end(&mut trace, &ended);
        Ok(Some(trace))
    }
}
