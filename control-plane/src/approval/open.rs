//! What a new process has to know of approvals: read backwards from the end of their stream, until nothing older can be live.

use super::{ApprovalError, Approvals, NEWS_MAX, Step, View, micros};
use crate::body::{self, Keys};
use crate::clock::Clock;
use crate::config::{self, Limits};
use crate::journal::{Journal, Record, Stream, Version, Write};
use agentgate_core::time::Time;
use agentgate_proto::v1;
use prost::Message as _;
use std::sync::{Arc, Mutex};
use tokio::sync::broadcast;

/// Records of the stream read at once.
const PAGE: u32 = 256;

/// However short the spans are now: they may have been longer.
const LOOK_BACK_US_MIN: u64 = 86_400_000_000;

/// The most that is read at start.
const RECOVERED_STEPS_MAX: u64 = 200_000;

// === impl Approvals ===

impl Approvals {
    /// # Errors
    /// When the journal cannot be read.
    pub async fn open(
        journal: Arc<dyn Journal>,
        clock: Clock,
        (config, limits): (config::Approvals, Limits),
        keys: Keys,
    ) -> Result<Self, ApprovalError> {
        let span = micros(config.pending).saturating_add(micros(config.unused_grant)).max(LOOK_BACK_US_MIN);
        let mut view = View::default();
        for step in recent(journal.as_ref(), span).await? {
            view.apply(&step);
        }
        let news = broadcast::Sender::new(NEWS_MAX);
        Ok(Self { journal, clock, config, limits, keys, view: Mutex::new(view), deciding: tokio::sync::Mutex::default(), news })
    }

    /// Takes up the newest steps again: somebody else wrote one.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn look_again(&self) -> Result<(), ApprovalError> {
        let newest = self.journal.version(Stream::approvals()).await?;
        let steps = page(self.journal.as_ref(), newest.saturating_sub(PAGE.into())).await?;
        let mut view = self.view();
        for step in steps {
            view.apply(&step);
        }
        Ok(())
    }

    /// Those that wait for a person now; of these others are told again after a restart.
    #[must_use]
    pub fn waiting(&self) -> Vec<super::News> {
        let at = self.clock.now();
        let view = self.view();
        let waiting = view.list(false, at).into_iter().filter(|approval| approval.state() == v1::ApprovalState::Pending);
        waiting.filter_map(|approval| view.find(&approval.id).ok().map(|(id, _)| super::News { id, approval, at })).collect()
    }
}

/// The steps of the last `span_us` before the newest one, oldest first.
async fn recent(journal: &dyn Journal, span_us: u64) -> Result<Vec<Step>, ApprovalError> {
    let newest = journal.version(Stream::approvals()).await?;
    let (mut pages, mut end, mut last) = (Vec::new(), newest, None);
    while end > 0 && newest - end < RECOVERED_STEPS_MAX {
        let after: Version = end.saturating_sub(PAGE.into());
        let mut steps = page(journal, after).await?;
        steps.truncate(usize::try_from(end - after).unwrap_or(usize::MAX));
        let Some(oldest) = steps.first().map(|step| step.at) else { break };
        let last = *last.get_or_insert(steps.last().map_or(oldest, |step| step.at));
        pages.push(steps);
        if last.micros_since(oldest) > span_us {
            break;
        }
        end = after;
    }
    Ok(pages.into_iter().rev().flatten().collect())
}

/// The steps after this version, at most a page of them.
async fn page(journal: &dyn Journal, after: Version) -> Result<Vec<Step>, ApprovalError> {
    let (mut steps, mut after, end) = (Vec::new(), after, after.saturating_add(PAGE.into()));
    // A page of the journal may end before it is full.
    while after < end {
        let records = journal.read(Stream::approvals(), after, u32::try_from(end - after).unwrap_or(PAGE)).await?;
        let Some(newest) = records.last() else { break };
        after = newest.version;
        for record in &records {
            steps.extend(step(journal, record).await?);
        }
    }
    Ok(steps)
}

/// None: its words were erased, and nobody can grant it any more.
async fn step(journal: &dyn Journal, record: &Record) -> Result<Option<Step>, ApprovalError> {
    let unreadable = || ApprovalError::Malformed(format!("record {} of the approvals cannot be read", record.sequence));
    let parsed = v1::Record::decode(record.bytes.clone()).map_err(|_| unreadable())?;
    let Some(v1::record::What::Approval(approval)) = parsed.what else { return Err(unreadable()) };
    let words = match &approval.body {
        Some(reference) => match body::fetch(journal, Some(reference)).await.map_err(ApprovalError::Read)? {
            Some(words) => words,
            None => return Ok(None),
        },
        None => v1::ApprovalBody::default(),
    };
    let expected = crate::journal::Expected::Any;
    let write = Write { stream: record.stream, expected, id: record.id, record: record.bytes.clone() };
    Ok(Step::read(Time::from_micros(parsed.at_us), approval, words, write))
}
