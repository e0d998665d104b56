//! What a new process has to know of approvals: read backwards from the end of their stream, until nothing older can be live.
//! It reads the words of those alone that are, and holds none that it does not need.

use super::step::is_use;
use super::{ApprovalError, Approvals, NEWS_MAX, Step, View};
use crate::body::Bodies;
use crate::clock::{Clock, Moments, micros};
use crate::config::{self, Limits};
use crate::journal::{Expected, Journal, Record, Stream, Version, Write};
use agentgate_core::digest::Digest;
use agentgate_core::time::Time;
use agentgate_proto::v1;
use agentgate_proto::v1::approval_record::What;
use prost::Message as _;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use tokio::sync::{broadcast, watch};

/// Records of the stream read at once.
const PAGE: u32 = 256;

/// However short the spans are now: they may have been longer.
const LOOK_BACK_US_MIN: u64 = 86_400_000_000;

/// Approvals that are over and are listed again after a start.
const OVER_RECOVERED_MAX: usize = 64;

/// The most that is read at start.
const RECOVERED_STEPS_MAX: u64 = 200_000;

// === impl Approvals ===

impl Approvals {
    /// # Errors
    /// When the journal cannot be read.
    pub async fn open(
        bodies: Arc<Bodies>,
        clock: Clock,
        (config, limits): (config::Approvals, Limits),
    ) -> Result<Self, ApprovalError> {
        let span = micros(config.pending).saturating_add(micros(config.unused_grant)).max(LOOK_BACK_US_MIN);
        let newest = bodies.journal().version(Stream::approvals()).await?;
        let noted = recent(bodies.journal().as_ref(), newest, span).await?;
        let live = live(&noted, clock.now());
        let mut view = View::default();
        for noted in noted.iter().filter(|noted| live.contains(&noted.id)) {
            // One body at a time, and what an approver is shown stays in the journal: it may be as large as a call.
            if let Some(step) = noted.step(&bodies).await? {
                view.apply(&step);
            }
        }
        let (news, erased) = (broadcast::Sender::new(NEWS_MAX), watch::Sender::new(()));
        let moments = Moments::after(clock.clone(), view.newest());
        let (view, folded, deciding) = (Mutex::new(view), tokio::sync::Mutex::new(newest), tokio::sync::Mutex::default());
        Ok(Self { bodies, clock, moments, config, limits, view, folded, deciding, news, erased })
    }

    /// Takes up the steps that others wrote, as far as the journal has any.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn look_again(&self) -> Result<(), ApprovalError> {
        let newest = self.bodies.journal().version(Stream::approvals()).await?;
        self.caught_up(newest).await
    }

    /// As `look_again`, up to this version of the stream at least. Nobody is told: whoever wrote a step tells of it.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn caught_up(&self, version: Version) -> Result<(), ApprovalError> {
        let mut folded = self.folded.lock().await;
        while *folded < version {
            let steps = page(self.bodies.journal().as_ref(), *folded).await?;
            if steps.is_empty() {
                break;
            }
            for noted in steps {
                while !self.view().knows(&noted.id, &noted.record) {
                    let since = self.bodies.erasures();
                    let Some(step) = noted.step(&self.bodies).await? else { break };
                    // Purged while its words were read: they are looked for once more, and are not there.
                    if self.fold(&step, since).is_some() {
                        break;
                    }
                }
                *folded = noted.version;
            }
        }
        Ok(())
    }

    /// Those that somebody granted or denied, as they were then, the newest last. Of those that are over some were forgotten.
    #[must_use]
    pub fn decided(&self) -> Vec<super::News> {
        let at = self.clock.now();
        let view = self.view();
        let decided = view.list(true, at).into_iter().rev().filter_map(as_decided);
        decided.filter_map(|approval| view.find(&approval.id).ok().map(|(id, _)| super::News { id, approval, at })).collect()
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

/// An approval as it was when an approver's word decided it, whatever came of it since.
fn as_decided(mut approval: v1::Approval) -> Option<v1::Approval> {
    let is_granted = approval.steps.last()?.granted;
    match approval.state() {
        v1::ApprovalState::Granted | v1::ApprovalState::Used | v1::ApprovalState::Voided if is_granted => {
            approval.set_state(v1::ApprovalState::Granted);
            approval.used_by.clear();
        }
        v1::ApprovalState::Denied => {}
        v1::ApprovalState::Granted
        | v1::ApprovalState::Used
        | v1::ApprovalState::Voided
        | v1::ApprovalState::Pending
        | v1::ApprovalState::Lapsed
        | v1::ApprovalState::Unspecified => return None,
    }
    Some(approval)
}

/// A step as its record has it, without its words.
#[derive(Debug)]
struct Noted {
    id: Digest,
    at: Time,
    version: Version,
    record: v1::ApprovalRecord,
    write: Write,
}

/// The steps of the last `span_us` before the newest one, oldest first.
async fn recent(journal: &dyn Journal, newest: Version, span_us: u64) -> Result<Vec<Noted>, ApprovalError> {
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

/// Those that may still be granted, used or insisted upon at `at`, and the newest of those that are over, for people.
fn live(noted: &[Noted], at: Time) -> HashSet<Digest> {
    let mut until: HashMap<Digest, u64> = HashMap::new();
    for noted in noted {
        match &noted.record.what {
            Some(What::Requested(requested)) => drop(until.insert(noted.id, requested.expires_at_us)),
            Some(What::Granted(granted)) if granted.expires_at_us != 0 => drop(until.insert(noted.id, granted.expires_at_us)),
            Some(What::Spent(_)) => drop(until.insert(noted.id, 0)),
            // A denial stands as long as the call would have waited.
            Some(What::Granted(_) | What::Denied(_)) | None => {}
        }
    }
    let is_over = |id: &Digest| until.get(id).is_none_or(|until| at.micros() >= *until);
    let requested = noted.iter().rev().filter(|noted| matches!(noted.record.what, Some(What::Requested(_))));
    let over = requested.map(|noted| noted.id).filter(is_over).take(OVER_RECOVERED_MAX);
    over.chain(until.keys().filter(|id| !is_over(id)).copied()).collect()
}

/// The steps after this version, at most a page of them.
async fn page(journal: &dyn Journal, after: Version) -> Result<Vec<Noted>, ApprovalError> {
    let (mut steps, mut after, end) = (Vec::new(), after, after.saturating_add(PAGE.into()));
    // A page of the journal may end before it is full.
    while after < end {
        let records = journal.read(Stream::approvals(), after, u32::try_from(end - after).unwrap_or(PAGE)).await?;
        let Some(newest) = records.last() else { break };
        after = newest.version;
        for record in &records {
            steps.push(Noted::read(record)?);
        }
    }
    Ok(steps)
}

// === impl Noted ===

impl Noted {
    fn read(record: &Record) -> Result<Self, ApprovalError> {
        let unreadable = || ApprovalError::Malformed(format!("record {} of the approvals cannot be read", record.sequence));
        let parsed = v1::Record::decode(record.bytes.clone()).map_err(|_| unreadable())?;
        let Some(v1::record::What::Approval(approval)) = parsed.what else { return Err(unreadable()) };
        let id = Digest::try_from(approval.approval.as_ref()).map_err(|_| unreadable())?;
        let write = Write { stream: record.stream, expected: Expected::Any, id: record.id, record: record.bytes.clone() };
        Ok(Self { id, at: Time::from_micros(parsed.at_us), version: record.version, record: approval, write })
    }

    /// With its words. None: they were erased, and nobody can grant it any more. That a grant was used is so without words: they are
    /// its call's, which may have been purged alone.
    async fn step(&self, bodies: &Bodies) -> Result<Option<Step>, ApprovalError> {
        let words = match &self.record.body {
            Some(reference) => match bodies.fetch(Some(reference)).await.map_err(ApprovalError::Read)? {
                Some(words) => words,
                None if is_use(&self.record) => v1::ApprovalBody::default(),
                None => return Ok(None),
            },
            None => v1::ApprovalBody::default(),
        };
        Ok(Step::read(self.at, self.record.clone(), words, self.write.clone()))
    }
}
