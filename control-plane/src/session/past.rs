//! The past, read from the journal: one decision with its body, its outcome, or everything backwards from a place.

use super::{Ended, OpenCall, Recorded, Source, line, outcome_id};
use crate::body::{Bodies, BodyError, FetchError, KeyError, Salt};
use crate::clock::micros;
use crate::config::Limits;
use crate::journal::{ReadError, Record, Sequence};
use agentgate_core::digest::Digest;
use agentgate_core::id::{Asker, CallId, Epoch};
use agentgate_core::time::Time;
use agentgate_proto::v1;
use agentgate_proto::v1::record::What;
use prost::Message;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// Records read at once when going backwards.
pub(super) const WINDOW: u64 = 256;

/// Of the records that may be read at start, the part that is read even when the outcome deadline is covered by fewer.
const READ_ANYWAY_PART: u64 = 8;

/// Decisions are recorded in an order that may differ from their `at` by no more than a call takes.
pub(crate) const SLACK_US: u64 = 60_000_000;

#[derive(Clone, Debug, Error)]
pub enum PastError {
    #[error("the past cannot be read")]
    Read(#[source] ReadError),
    #[error("record {sequence} is of a kind that this version does not know; use the release that wrote it, or a later one")]
    UnknownKind { sequence: Sequence },
    #[error("record {sequence} cannot be read: {why}")]
    Unreadable { sequence: Sequence, why: String },
    #[error("the body of record {sequence} cannot be used")]
    Body { sequence: Sequence, source: BodyError },
    #[error("the key of the body of record {sequence} cannot be had")]
    Key { sequence: Sequence, source: Arc<KeyError> },
}

/// A decision in the journal. Its body may have been erased.
#[derive(Clone, Debug)]
pub struct Found {
    pub sequence: Sequence,
    pub at: Time,
    pub stream: crate::journal::Stream,
    pub record: v1::DecisionRecord,
    pub body: Option<v1::DecisionBody>,
    salt: Option<Salt>,
}

/// What the process has to know of the time before it started. No body is in it: a body may be as large as a call.
#[derive(Debug)]
pub(super) struct Recent {
    pub(super) last_at: Time,
    /// The newest record that was looked at.
    pub(super) head: Sequence,
    /// Decisions after this sequence are all in `decisions`, and floods in `floods`.
    pub(super) floor: Sequence,
    pub(super) decisions: Vec<v1::CallTrace>,
    pub(super) floods: Vec<v1::CallTrace>,
    /// At most as many as may be open; they are the newest ones.
    pub(super) open: Vec<OpenCall>,
    /// Outcomes of decisions before `floor`.
    pub(super) ended: Vec<Ended>,
}

/// Recovery on its way backwards.
struct Reading<'a> {
    bodies: &'a Bodies,
    limits: &'a Limits,
    /// When it began.
    elapsed: Duration,
    recent: Recent,
    /// Outcomes whose decision was not met yet.
    ended: HashMap<Digest, Ended>,
    /// The newest decision or flood for whose line there was no room.
    left_out: Sequence,
    /// Open calls for which there was no room.
    open_left_out: u64,
}

/// Reads a record of our own making.
pub(crate) fn parse(record: &Record) -> Result<(Time, What), PastError> {
    let sequence = record.sequence;
    let parsed =
        v1::Record::decode(record.bytes.clone()).map_err(|error| PastError::Unreadable { sequence, why: error.to_string() })?;
    let what = parsed.what.ok_or(PastError::UnknownKind { sequence })?;
    Ok((Time::from_micros(parsed.at_us), what))
}

/// The records of `from..before`, oldest first.
pub(super) async fn range(bodies: &Bodies, from: Sequence, before: Sequence) -> Result<Vec<Record>, PastError> {
    let mut records: Vec<Record> = Vec::new();
    let mut cursor = from.saturating_sub(1);
    while cursor.saturating_add(1) < before {
        let limit = u32::try_from(before - cursor - 1).unwrap_or(u32::MAX);
        let page = bodies.journal().follow(cursor, limit).await.map_err(PastError::Read)?;
        let Some(last) = page.last() else { break };
        cursor = last.sequence;
        records.extend(page.into_iter().filter(|record| record.sequence < before));
    }
    Ok(records)
}

/// The windows of the journal from `first` on and before `before`, newest first.
pub(super) fn windows(first: Sequence, before: Sequence) -> impl Iterator<Item = (Sequence, Sequence)> {
    let (first, mut end) = (first.max(1), before);
    std::iter::from_fn(move || {
        let (from, to) = (end.saturating_sub(WINDOW).max(first), end);
        end = from;
        (from < to).then_some((from, to))
    })
}

/// The decision at `sequence`. An outcome's sequence leads to its decision.
pub(super) async fn decision(bodies: &Bodies, sequence: Sequence) -> Result<Option<Found>, PastError> {
    let mut sequence = sequence;
    for _ in 0..2 {
        if sequence == 0 || sequence > bodies.journal().health().head {
            return Ok(None);
        }
        let Some(record) = range(bodies, sequence, sequence.saturating_add(1)).await?.into_iter().next() else {
            return Ok(None);
        };
        match parse(&record)? {
            (at, What::Decision(decision)) => return found(bodies, &record, at, decision).await.map(Some),
            (_, What::Outcome(outcome)) => sequence = outcome.decision,
            (
                _,
                What::Policy(_)
                | What::Flood(_)
                | What::Approval(_)
                | What::Kill(_)
                | What::Mode(_)
                | What::Hold(_)
                | What::Purge(_),
            ) => return Ok(None),
        }
    }
    Ok(None)
}

pub(super) async fn found(bodies: &Bodies, record: &Record, at: Time, decision: v1::DecisionRecord) -> Result<Found, PastError> {
    let opened = bodies.open_body(decision.body.as_ref()).await;
    let opened = opened.map_err(|error| PastError::of(record.sequence, error))?;
    let (body, salt) = opened.map(|opened| (opened.body, opened.salt)).unzip();
    Ok(Found { sequence: record.sequence, at, stream: record.stream, record: decision, body, salt })
}

/// The line of the flood at `sequence`.
pub(super) async fn flood(bodies: &Bodies, sequence: Sequence) -> Result<Option<v1::CallTrace>, PastError> {
    if sequence == 0 || sequence > bodies.journal().health().head {
        return Ok(None);
    }
    for record in range(bodies, sequence, sequence.saturating_add(1)).await? {
        if let (at, What::Flood(flood)) = parse(&record)? {
            return flooded(bodies, sequence, at, &flood).await.map(Some);
        }
    }
    Ok(None)
}

/// The line of a flood. Whose it was may have been erased.
pub(super) async fn flooded(
    bodies: &Bodies,
    sequence: Sequence,
    at: Time,
    flood: &v1::FloodRecord,
) -> Result<v1::CallTrace, PastError> {
    Ok(line::flood(sequence, at, flood, &named(bodies, sequence, flood).await?))
}

/// Whose a flood was, as far as anybody can say.
pub(super) async fn named(bodies: &Bodies, sequence: Sequence, flood: &v1::FloodRecord) -> Result<v1::FloodBody, PastError> {
    let names = match &flood.body {
        Some(reference) => body_of(bodies, sequence, Some(reference)).await?,
        None => None,
    };
    Ok(names.unwrap_or_default())
}

/// A body, or none when it was erased.
pub(crate) async fn body_of<M: Message + Default>(
    bodies: &Bodies,
    sequence: Sequence,
    reference: Option<&v1::BodyRef>,
) -> Result<Option<M>, PastError> {
    bodies.fetch(reference).await.map_err(|error| PastError::of(sequence, error))
}

/// The outcomes of a call, oldest first: at most the unknown one and the reported one.
pub(super) async fn outcomes(bodies: &Bodies, call: &Digest) -> Result<Vec<(Sequence, Time, v1::OutcomeRecord)>, PastError> {
    let mut outcomes = Vec::new();
    for source in [Source::Reported, Source::Unknown] {
        let Some(position) = bodies.journal().find(outcome_id(call, source)).await.map_err(PastError::Read)? else { continue };
        for record in range(bodies, position.sequence, position.sequence.saturating_add(1)).await? {
            if let (at, What::Outcome(outcome)) = parse(&record)? {
                outcomes.push((record.sequence, at, outcome));
            }
        }
    }
    outcomes.sort_by_key(|(sequence, _, _)| *sequence);
    Ok(outcomes)
}

/// Everything that a new process has to know: backwards until both the traces and the outcome deadline are covered, or as
/// many records were read as may be. Older calls are then left without an outcome, until somebody reports them.
/// `elapsed`: when it begins.
pub(super) async fn recent(bodies: &Bodies, limits: &Limits, elapsed: Duration) -> Result<Recent, PastError> {
    let end = bodies.journal().health().head.saturating_add(1);
    let deadline_us = micros(limits.outcome_deadline()).saturating_add(SLACK_US);
    let mut reading = Reading::new(bodies, limits, elapsed);
    reading.recent.head = end.saturating_sub(1);
    let records_max = u64::from(limits.recovered_records_max);
    let first = end.saturating_sub(records_max).max(1);
    for (from, to) in windows(first, end) {
        let mut newest = Time::from_micros(0);
        for record in range(bodies, from, to).await?.iter().rev() {
            newest = newest.max(reading.take(record).await?);
        }
        let recent = &mut reading.recent;
        recent.last_at = recent.last_at.max(newest);
        recent.floor = from.saturating_sub(1).max(reading.left_out);
        let covered = recent.last_at.micros_since(newest) > deadline_us;
        let traced = recent.decisions.len() >= limits.recent_traces_max as usize;
        if covered && (traced || end - from >= records_max / READ_ANYWAY_PART) {
            break;
        }
        if !covered && from == first && first > 1 {
            tracing::warn!(records_max, "not all calls that may be open were read; limits.recovered_records_max bounds them");
        }
    }
    if reading.open_left_out > 0 {
        let (left_out, open_max) = (reading.open_left_out, limits.open_calls_max);
        tracing::warn!(left_out, open_max, "not all open calls were taken up; limits.open_calls_max bounds them");
    }
    let Reading { mut recent, ended, .. } = reading;
    recent.ended.extend(ended.into_values());
    recent.ended.retain(|ended| ended.decision <= recent.floor);
    Ok(recent)
}

/// The outcome at `sequence`.
pub(super) async fn ended(bodies: &Bodies, sequence: Sequence) -> Result<Option<Ended>, PastError> {
    let records = range(bodies, sequence, sequence.saturating_add(1)).await?;
    match records.first().map(parse).transpose()? {
        Some((_, What::Outcome(outcome))) => Ok(Some(outcome_of(&outcome))),
        Some(_) | None => Ok(None),
    }
}

/// An outcome as its record has it.
pub(super) fn outcome_of(outcome: &v1::OutcomeRecord) -> Ended {
    let call = digest(&outcome.call_id);
    Ended { call, decision: outcome.decision, kind: outcome.kind(), duration_us: outcome.duration_us }
}

/// Going backwards, a report stands before (after, in time) the unknown that it amends.
fn note(ended: &mut HashMap<Digest, Ended>, outcome: &v1::OutcomeRecord) {
    let new = outcome_of(outcome);
    let known = ended.entry(new.call).or_insert_with(|| new.clone());
    if known.kind == v1::OutcomeKind::Unknown {
        *known = new;
    }
}

/// A digest of our own records. One of another length is no call's.
fn digest(bytes: &[u8]) -> Digest {
    Digest::try_from(bytes).unwrap_or_else(|_| Digest::of("agentgate/unreadable/1", bytes))
}

// === impl Reading ===

impl<'a> Reading<'a> {
    fn new(bodies: &'a Bodies, limits: &'a Limits, elapsed: Duration) -> Self {
        let (decisions, floods, open) = (Vec::new(), Vec::new(), Vec::new());
        let recent = Recent { last_at: Time::from_micros(0), head: 0, floor: 0, decisions, floods, open, ended: Vec::new() };
        Self { bodies, limits, elapsed, recent, ended: HashMap::new(), left_out: 0, open_left_out: 0 }
    }

    async fn take(&mut self, record: &Record) -> Result<Time, PastError> {
        let (at, what) = parse(record)?;
        match what {
            What::Decision(decision) => self.decision(record, at, decision).await?,
            What::Outcome(outcome) => note(&mut self.ended, &outcome),
            What::Flood(_) if self.recent.floods.len() >= self.limits.recent_traces_max as usize => {
                self.left_out = self.left_out.max(record.sequence);
            }
            What::Flood(flood) => self.recent.floods.push(flooded(self.bodies, record.sequence, at, &flood).await?),
            What::Policy(_) | What::Approval(_) | What::Kill(_) | What::Mode(_) | What::Hold(_) | What::Purge(_) => {}
        }
        Ok(at)
    }

    /// Of the body stays what the line and the open call say, and nothing else, before the next one is read.
    async fn decision(&mut self, record: &Record, at: Time, decision: v1::DecisionRecord) -> Result<(), PastError> {
        let traced = self.recent.decisions.len() < self.limits.recent_traces_max as usize;
        let ended = self.ended.remove(&digest(&decision.call_id));
        self.recent.ended.extend(ended.clone());
        let mut open = awaits_outcome(&decision) && ended.is_none();
        if !traced {
            self.left_out = self.left_out.max(record.sequence);
        }
        if open && self.recent.open.len() >= self.limits.open_calls_max as usize {
            self.open_left_out += 1;
            open = false;
        }
        if !traced && !open {
            return Ok(());
        }
        let found = found(self.bodies, record, at, decision).await?;
        if traced {
            let mut trace = line::of_found(&found);
            if let Some(ended) = &ended {
                line::amend(&mut trace, ended);
            }
            self.recent.decisions.push(trace);
        }
        // An erased body names no VM that could still report: nothing is open behind it.
        if open && let Some(recorded) = found.recorded() {
            self.recent.open.push(OpenCall::of(&recorded, self.limits.outcome_deadline(), self.elapsed));
        }
        Ok(())
    }
}

/// Whether it went on to its server, and its asker says what became of it.
pub(super) fn awaits_outcome(decision: &v1::DecisionRecord) -> bool {
    let sent_on = decision.verdict() == v1::Verdict::Allow || !decision.enforced;
    sent_on && !decision.no_outcome
}

// === impl PastError ===

impl PastError {
    fn of(sequence: Sequence, error: FetchError) -> Self {
        match error {
            FetchError::Read(error) | FetchError::Key(KeyError::Read(error)) => Self::Read(error),
            FetchError::Key(source) => Self::Key { sequence, source: Arc::new(source) },
            FetchError::Body(source) => Self::Body { sequence, source },
            FetchError::Unnamed | FetchError::Address => Self::Unreadable { sequence, why: error.to_string() },
        }
    }
}

// === impl Found ===

impl Found {
    /// Whether it decided this very request. Once its body is erased nobody can say.
    #[must_use]
    pub fn was_asked(&self, request: &[u8]) -> bool {
        self.salt.as_ref().is_some_and(|salt| salt.committed(&self.record.request_commitment, request))
    }

    /// Who called, if the body is still there.
    #[must_use]
    pub fn call(&self) -> Option<CallId> {
        let body = self.body.as_ref()?;
        let asker = Asker::try_from(body.asker.as_str()).ok()?;
        let epoch = Epoch(body.epoch.as_ref().try_into().ok()?);
        Some(CallId { asker, epoch, counter: body.ask.as_ref()?.counter })
    }

    /// The id under which its outcomes stand: the record has it, whatever became of the body.
    pub(super) fn call_digest(&self) -> Digest {
        digest(&self.record.call_id)
    }

    /// Whether it reached its server: it was let through, or its verdict was not enforced.
    #[must_use]
    pub fn was_sent_on(&self) -> bool {
        self.record.verdict() == v1::Verdict::Allow || !self.record.enforced
    }

    pub(super) fn recorded(self) -> Option<Recorded> {
        let call = self.call()?;
        Some(Recorded { sequence: self.sequence, at: self.at, stream: self.stream, call, record: self.record, body: self.body? })
    }
}
