//! One call whole, for operators, by each of its names; and why a question about traces has no answer.

use super::past::{self, PastError};
use super::{Session, line};
use crate::journal::Sequence;
use agentgate_core::id::{CallId, Epoch};
use agentgate_proto::v1;
use thiserror::Error;

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
    #[error("{max} operators follow traces already; end one of them")]
    Crowded { max: u32 },
    #[error("the journal cannot be read")]
    Unavailable(#[source] PastError),
    #[error("the journal is damaged")]
    Damaged(#[source] PastError),
}

// === impl Session ===

impl Session {
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
        let mut trace = line::of_found(&found);
        self.add_outcome(&found, &mut trace).await?;
        let mut outcomes = Vec::new();
        for (sequence, at, record) in past::outcomes(&self.bodies, &found.call_digest()).await? {
            let body = past::body_of(&self.bodies, sequence, record.body.as_ref()).await?;
            outcomes.push(v1::OutcomeEvent { sequence, at_us: at.micros(), record: Some(record), body });
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
