//! Traces for operators: one line a call, one call whole, and what happens from now on.

use super::past::{self, Found, PastError};
use super::{Session, line};
use crate::journal::Sequence;
use crate::telemetry::{Counted, number};
use agentgate_core::id::{CallId, Epoch};
use agentgate_proto::v1;
use agentgate_proto::v1::record::What;
use thiserror::Error;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

/// Traces on a page when nothing is said, and at most.
const PAGE_DEFAULT: u32 = 50;
const PAGE_MAX: u32 = 1_000;

/// Records that one request looks at, so that a filter which matches nothing does not read the whole journal. The answer
/// then holds what was found, and a token to look further.
const LOOKED_AT_MAX: u64 = 20_000;

/// Hex digits of an epoch.
const EPOCH_DIGITS: usize = 32;

#[derive(Clone, Debug, Error)]
pub enum TraceError {
    #[error("{0}")]
    Malformed(String),
    #[error("no call `{0}`; `agentgate trace list` shows which there are")]
    Absent(String),
    #[error(
        "no call among the newest {among} has an id that begins with `{id}`; older ones are found by their whole id, as the \
         refusal quotes it, or by the sequence that `agentgate trace list` shows"
    )]
    NotAmongNewest { id: String, among: usize },
    #[error("`{id}` begins {count} call ids; write more of it")]
    Ambiguous { id: String, count: usize },
    #[error("{missed} traces were missed, since this reader was too slow; list them, then follow again")]
    Behind { missed: u64 },
    #[error("{max} operators follow traces already; end one of them")]
    Crowded { max: u32 },
    #[error("the journal cannot be read")]
    Unavailable(#[source] PastError),
    #[error("the journal is damaged")]
    Damaged(#[source] PastError),
}

/// A follower of traces.
#[derive(Debug)]
pub struct Tail {
    traces: Receiver<v1::TailTracesResponse>,
    _place: (OwnedSemaphorePermit, Counted),
}

/// The line of a call whose body may be gone: then it says when and what, and no more.
fn line_of(found: &Found) -> v1::CallTrace {
    match found.clone().recorded() {
        Some(recorded) => line::of(&recorded),
        None => v1::CallTrace {
            sequence: found.sequence,
            at_us: found.at.micros(),
            verdict: found.record.verdict,
            ..v1::CallTrace::default()
        },
    }
}

fn wanted(trace: &v1::CallTrace, request: &v1::ListTracesRequest) -> bool {
    let matches = |wanted: &str, has: &str| wanted.is_empty() || wanted == has;
    matches(&request.principal, &trace.principal)
        && matches(&request.handle, &trace.handle)
        && matches(&request.tool, &trace.target)
        && matches(&request.rule, &trace.rule)
        && (request.verdict() == v1::Verdict::Unspecified || request.verdict == trace.verdict)
}

// === impl Session ===

impl Session {
    /// A page of traces, newest first.
    ///
    /// # Errors
    /// When the page token is not ours, or the journal cannot be read.
    pub async fn list(&self, request: &v1::ListTracesRequest) -> Result<v1::ListTracesResponse, TraceError> {
        let size = if request.page_size == 0 { PAGE_DEFAULT } else { request.page_size.min(PAGE_MAX) } as usize;
        let before = match request.page_token.as_str() {
            "" => self.bodies.journal().health().head.saturating_add(1),
            token => token.parse().map_err(|_| TraceError::Malformed(format!("`{token}` is no page token of ours")))?,
        };
        let (mut traces, floor) = {
            let view = self.view();
            let (recent, floor) = view.recent(before);
            (recent.filter(|trace| wanted(trace, request)).take(size).cloned().collect::<Vec<_>>(), floor)
        };
        let mut next = traces.last().map_or(floor, |last| last.sequence);
        if traces.len() < size {
            next = self.older(floor, size, request, &mut traces).await?;
        }
        let next_page_token = if next > 1 { next.to_string() } else { String::new() };
        Ok(v1::ListTracesResponse { traces, next_page_token })
    }

    /// Adds traces before `before` from the journal, and says where to go on.
    async fn older(
        &self,
        before: Sequence,
        size: usize,
        request: &v1::ListTracesRequest,
        traces: &mut Vec<v1::CallTrace>,
    ) -> Result<Sequence, TraceError> {
        for (from, to) in past::windows(1, before) {
            for record in past::range(&self.bodies, from, to).await?.iter().rev() {
                match past::parse(record)? {
                    (at, What::Decision(decision)) => {
                        let found = past::found(&self.bodies, record, at, decision).await?;
                        let mut trace = line_of(&found);
                        if wanted(&trace, request) {
                            self.add_outcome(&found, &mut trace).await?;
                            traces.push(trace);
                        }
                    }
                    (at, What::Flood(flood)) => {
                        let trace = past::flooded(&self.bodies, record.sequence, at, &flood).await?;
                        traces.extend(wanted(&trace, request).then_some(trace));
                    }
                    (_, What::Outcome(_) | What::Policy(_) | What::Approval(_) | What::Kill(_) | What::Mode(_)) => continue,
                }
                if traces.len() >= size {
                    return Ok(record.sequence);
                }
            }
            if before - from >= LOOKED_AT_MAX {
                return Ok(from);
            }
        }
        Ok(0)
    }

    async fn add_outcome(&self, found: &Found, trace: &mut v1::CallTrace) -> Result<(), TraceError> {
        let Some(call) = found.call() else { return Ok(()) };
        let outcomes = past::outcomes(&self.bodies, &call.digest()).await?;
        let reported = outcomes.iter().find(|(_, _, outcome)| outcome.kind() != v1::OutcomeKind::Unknown);
        if let Some((_, _, outcome)) = reported.or(outcomes.last()) {
            trace.outcome = outcome.kind;
            trace.duration_us = line::known(outcome.duration_us);
        }
        Ok(())
    }

    /// One call, whole: by call id, by the unique beginning of one of the newest, or by sequence.
    ///
    /// # Errors
    /// When there is none, or several, or the journal cannot be read.
    pub async fn show(&self, id: &str) -> Result<v1::ShowTraceResponse, TraceError> {
        let absent = || TraceError::Absent(id.into());
        let sequence = self.resolve(id).await?;
        let Some(found) = past::decision(&self.bodies, sequence).await? else {
            let flood = past::flood(&self.bodies, sequence).await?.ok_or_else(absent)?;
            return Ok(v1::ShowTraceResponse { trace: Some(flood), ..v1::ShowTraceResponse::default() });
        };
        let mut trace = line_of(&found);
        self.add_outcome(&found, &mut trace).await?;
        let mut outcomes = Vec::new();
        if let Some(call) = found.call() {
            for (sequence, at, record) in past::outcomes(&self.bodies, &call.digest()).await? {
                let body = past::body_of(&self.bodies, sequence, record.body.as_ref()).await?;
                outcomes.push(v1::OutcomeEvent { sequence, at_us: at.micros(), record: Some(record), body });
            }
        }
        Ok(v1::ShowTraceResponse { trace: Some(trace), decision: Some(found.record), body: found.body, outcomes })
    }

    async fn resolve(&self, id: &str) -> Result<Sequence, TraceError> {
        let id = id.trim();
        if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-') {
            return Err(TraceError::Malformed(format!("`{id}` is neither a call id nor a sequence")));
        }
        if id.len() < EPOCH_DIGITS
            && let Ok(sequence) = id.parse()
        {
            return Ok(sequence);
        }
        let call_id = id.to_ascii_lowercase();
        if let Some(sequence) = self.whole(&call_id).await? {
            return Ok(sequence);
        }
        let (among, begun): (usize, Vec<Sequence>) = {
            let view = self.view();
            let recent = || view.recent(Sequence::MAX).0;
            let begun = recent().filter(|trace| trace.call_id.starts_with(&call_id)).map(|trace| trace.sequence);
            (recent().count(), begun.collect())
        };
        match *begun.as_slice() {
            [sequence] => Ok(sequence),
            [] if is_whole(&call_id) => Err(TraceError::Absent(id.into())),
            [] => Err(TraceError::NotAmongNewest { id: id.into(), among }),
            [_, _, ..] => Err(TraceError::Ambiguous { id: id.into(), count: begun.len() }),
        }
    }

    /// A whole call id names no asker, since its epoch is random: each configured one is tried.
    async fn whole(&self, call_id: &str) -> Result<Option<Sequence>, TraceError> {
        let Some((epoch, counter)) = parts(call_id) else { return Ok(None) };
        for asker in &self.askers {
            let call = CallId { asker: asker.clone(), epoch, counter };
            let found =
                self.bodies.journal().find(call.digest()).await.map_err(|error| TraceError::from(PastError::Read(error)))?;
            if let Some(position) = found {
                return Ok(Some(position.sequence));
            }
        }
        Ok(None)
    }

    /// Follows what is decided from now on.
    ///
    /// # Errors
    /// When too many follow already.
    pub fn tail(&self) -> Result<Tail, TraceError> {
        let crowded = |_| TraceError::Crowded { max: self.limits.tails_max };
        let place = std::sync::Arc::clone(&self.tailing).try_acquire_owned().map_err(crowded)?;
        let counted = Counted::by(metrics::gauge!("agentgate_tails"));
        Ok(Tail { traces: self.tails.subscribe(), _place: (place, counted) })
    }
}

/// How many traces a follower has not read yet: the slowest one's when something is decided, anybody's when it reads on.
pub(super) fn behind(traces: usize) {
    metrics::gauge!("agentgate_tail_behind").set(number(traces));
}

fn is_whole(call_id: &str) -> bool {
    parts(call_id).is_some()
}

fn parts(call_id: &str) -> Option<(Epoch, u64)> {
    let (epoch, counter) = call_id.split_once('-')?;
    Some((epoch_of(epoch)?, counter.parse().ok()?))
}

fn epoch_of(hex: &str) -> Option<Epoch> {
    if hex.len() != EPOCH_DIGITS {
        return None;
    }
    u128::from_str_radix(hex, 16).ok().map(|number| Epoch(number.to_be_bytes()))
}

// === impl Tail ===

impl Tail {
    /// The next trace, or one that has got its outcome. None: this replica leaves.
    pub async fn next(&mut self) -> Option<Result<v1::TailTracesResponse, TraceError>> {
        let news = self.traces.recv().await;
        behind(self.traces.len());
        match news {
            Ok(news) => Some(Ok(news)),
            Err(RecvError::Lagged(missed)) => Some(Err(TraceError::Behind { missed })),
            Err(RecvError::Closed) => None,
        }
    }
}

// === impl TraceError ===

impl From<PastError> for TraceError {
    fn from(error: PastError) -> Self {
        match error {
            PastError::Read(crate::journal::ReadError::Unavailable(_)) => Self::Unavailable(error),
            PastError::Read(crate::journal::ReadError::Damaged(_))
            | PastError::UnknownKind { .. }
            | PastError::Unreadable { .. }
            | PastError::Key { .. }
            | PastError::Body { .. } => Self::Damaged(error),
        }
    }
}
