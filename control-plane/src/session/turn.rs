//! Turns: one subject's calls one after the other, without waiting for the disk in between.
//!
//! A turn knows the version that its subject's stream will be at once everything before it is written. It appends under
//! exactly that version; when an earlier append failed, the journal says Conflict and nobody was let through on a guess.
//!
//! INVARIANT: where other replicas write too, no turn begins before the one before it is durable. A guessed version could be
//! right though the record that has it is another replica's, and what was folded from the guess would be missing that record.

use super::At;
use crate::clock::Moments;
use crate::journal::{
    AppendError, Appended, BoxFuture, Change, Epochs, Expected, Journal, Position, ReadError, Sequence, Stream, Version, Write,
};
use crate::telemetry::number;
use agentgate_core::digest::Digest;
use agentgate_core::time::Time;
use agentgate_proto::v1;
use bytes::Bytes;
use prost::Message as _;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use thiserror::Error;
use tokio::sync::{Mutex, OwnedMutexGuard};

/// Where a subject's stream will be, and how often that had to be read again.
#[derive(Debug, Default)]
pub(super) struct Place {
    version: At,
    readings: u64,
}

pub(super) type Line = Arc<Mutex<Place>>;

/// The lines of the subjects that were seen lately.
#[derive(Debug)]
pub(super) struct Subjects {
    max: usize,
    lines: HashMap<Stream, Line>,
    order: VecDeque<Stream>,
}

/// The right to fold one subject and to append what comes of it. Nobody else has it meanwhile.
#[derive(Debug)]
pub struct Turn {
    stream: Stream,
    line: Line,
    place: OwnedMutexGuard<Place>,
    journal: Arc<dyn Journal>,
    /// Others write too.
    shared: bool,
}

/// What a turn appends.
#[derive(Clone, Debug)]
pub struct Draft {
    pub id: Digest,
    pub record: Bytes,
    pub body: Option<Bytes>,
    /// The control epochs that a decision was folded from; none for what no order can void.
    pub fence: Option<Epochs>,
    /// What it causes elsewhere: it happens with it, or neither does.
    pub also: Vec<Also>,
}

/// A write to another stream, with its body.
#[derive(Clone, Debug)]
pub struct Also {
    pub write: Write,
    pub body: Option<Bytes>,
}

/// Nobody has the subject's next turn until this is let go.
#[derive(Debug)]
pub struct Standstill(#[expect(dead_code, reason = "held, and never looked at")] OwnedMutexGuard<Place>);

/// Why a draft was not written.
#[derive(Clone, Debug, Error)]
pub enum Setback {
    #[error("the subject moved")]
    Moved,
    #[error("the control epochs moved to {0:?}")]
    Fenced(Epochs),
    #[error("it was written before, at sequence {0}")]
    Duplicate(Sequence),
    #[error("{0}")]
    Journal(String),
    /// It may be written.
    #[error("{0}")]
    Unknown(String),
}

// === impl Subjects ===

impl Subjects {
    pub(super) fn new(max: usize) -> Self {
        Self { max, lines: HashMap::new(), order: VecDeque::new() }
    }

    /// Another replica wrote this version of a stream: the next turn begins behind it.
    pub(super) fn moved(&self, stream: Stream, version: Version) {
        if let Some(line) = self.lines.get(&stream)
            && let Ok(mut place) = line.try_lock()
            && place.version.is_some_and(|known| known < version)
        {
            place.version = Some(version);
            place.readings += 1;
        }
    }

    pub(super) fn line(&mut self, stream: Stream) -> Line {
        if let Some(line) = self.lines.get(&stream) {
            return Arc::clone(line);
        }
        self.make_room();
        let line = Line::default();
        self.lines.insert(stream, Arc::clone(&line));
        self.order.push_back(stream);
        metrics::gauge!("agentgate_subjects").set(number(self.lines.len()));
        line
    }

    /// Forgets the oldest line that nobody stands in. If somebody stands in each, one is forgotten nevertheless: two lines
    /// of one subject cost a Conflict, and no more.
    fn make_room(&mut self) {
        for _ in 0..self.order.len() {
            if self.lines.len() < self.max {
                return;
            }
            let Some(oldest) = self.order.pop_front() else { return };
            let idle = self.lines.get(&oldest).is_none_or(|line| Arc::strong_count(line) == 1);
            if idle {
                self.lines.remove(&oldest);
            } else {
                self.order.push_back(oldest);
            }
        }
        if self.lines.len() >= self.max
            && let Some(oldest) = self.order.pop_front()
        {
            self.lines.remove(&oldest);
        }
    }
}

// === impl Draft ===

impl Draft {
    /// What it adds to the journal: records, and the bodies beside them.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let one = |record: &Bytes, body: &Option<Bytes>| record.len() + body.as_ref().map_or(0, Bytes::len);
        let also = self.also.iter().map(|also| one(&also.write.record, &also.body));
        let bytes = also.fold(one(&self.record, &self.body), usize::saturating_add);
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

// === impl Turn ===

impl Turn {
    /// `others`: other replicas write too, and what is written here is not before what they wrote of the same subject.
    pub(super) async fn wait(
        line: Line,
        stream: Stream,
        journal: &Arc<dyn Journal>,
        others: Option<&Moments>,
    ) -> Result<Self, ReadError> {
        let mut place = Arc::clone(&line).lock_owned().await;
        if place.version.is_none() {
            let mut version = journal.version(stream).await?;
            if let Some(moments) = others
                && let Some(last) = journal.read(stream, version.saturating_sub(1), 1).await?.first()
            {
                version = last.version;
                if let Ok(record) = v1::Record::decode(last.bytes.clone()) {
                    moments.not_before(Time::from_micros(record.at_us));
                }
            }
            place.version = Some(version);
            place.readings += 1;
        }
        Ok(Self { stream, line, place, journal: Arc::clone(journal), shared: others.is_some() })
    }

    #[must_use]
    pub fn stream(&self) -> Stream {
        self.stream
    }

    /// As `append`, but nobody has the next turn before what came of this one is known, and told to whom it concerns.
    ///
    /// # Errors
    /// As `append`.
    pub async fn append_alone(mut self, draft: Draft) -> Result<(Position, Standstill), Setback> {
        let written = self.hand_over(draft);
        match written.await {
            Ok(appended) => {
                let position = appended.positions.first().copied();
                let position = position.ok_or_else(|| Setback::Journal("no position was given".into()))?;
                Ok((position, Standstill(self.place)))
            }
            Err(error) => {
                self.place.version = None;
                Err(error.into())
            }
        }
    }

    fn hand_over(&mut self, draft: Draft) -> BoxFuture<'static, Result<Appended, AppendError>> {
        let version = self.place.version.unwrap_or_default();
        let write = Write { stream: self.stream, expected: Expected::Exactly(version), id: draft.id, record: draft.record };
        let (mut writes, mut bodies) = (vec![write], Vec::from_iter(draft.body));
        for also in draft.also {
            writes.push(also.write);
            bodies.extend(also.body);
        }
        self.place.version = Some(version.saturating_add(1));
        self.journal.append(Change { fence: draft.fence, writes, bodies })
    }

    /// Hands the draft to the journal at once, lets the next turn begin where nobody else writes, and resolves when the draft
    /// is durable.
    pub fn append(mut self, draft: Draft) -> impl Future<Output = Result<Position, Setback>> + Send + 'static {
        let written = self.hand_over(draft);
        let (readings, line) = (self.place.readings, self.line);
        let held = self.shared.then_some(self.place);
        async move {
            let error = match written.await {
                Ok(appended) => {
                    return appended.positions.first().copied().ok_or_else(|| Setback::Journal("no position was given".into()));
                }
                Err(error) => error,
            };
            // The guess was wrong for every later turn too. The first who learns it has the place read again.
            let mut place = match held {
                Some(place) => place,
                None => line.lock_owned().await,
            };
            if place.readings == readings {
                place.version = None;
            }
            Err(error.into())
        }
    }
}

// === impl Setback ===

impl Setback {
    /// Nobody knows.
    #[must_use]
    pub fn may_be_written(&self) -> bool {
        match self {
            Self::Unknown(_) => true,
            Self::Moved | Self::Fenced(_) | Self::Duplicate(_) | Self::Journal(_) => false,
        }
    }
}

impl From<AppendError> for Setback {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Conflict { .. } => Self::Moved,
            AppendError::Fenced { now } => Self::Fenced(now),
            AppendError::Duplicate(position) => Self::Duplicate(position.sequence),
            AppendError::Unknown(_) => Self::Unknown(error.to_string()),
            AppendError::Malformed(_) | AppendError::TooLarge { .. } | AppendError::Unavailable(_) | AppendError::Halted(_) => {
                Self::Journal(error.to_string())
            }
        }
    }
}
