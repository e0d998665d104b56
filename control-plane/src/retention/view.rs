//! What is kept: the sessions whose keys are there, read from their slots, and the records that are about them.

use super::{PURGED_PER_ORDER_MAX, Retention, RetentionError, Wanted, one_tenant};
use crate::approval::step_ids;
use crate::body::{Bodies, Kept, SESSION_KEY_US, SessionId};
use crate::journal::{ReadError, Record, Sequence};
use crate::session::{SLACK_US, parse};
use agentgate_core::digest::Digest;
use agentgate_core::retention::Extent;
use agentgate_core::time::Time;
use agentgate_proto::v1::record::What;
use std::collections::HashSet;

/// Records read at once.
const PAGE: u32 = 256;

/// How long after a session's last call its records are looked for. What is said of a call later than that is found by the ids
/// of its approvals, or it is a report that came very late: then its ciphertext stays, and nobody can read it.
const LATE_US: u64 = 3_600_000_000;

/// The records of some sessions, page by page.
#[derive(Debug)]
pub(super) struct Records<'a> {
    bodies: &'a Bodies,
    sessions: HashSet<SessionId>,
    cursor: Sequence,
    before: Sequence,
    until_us: u64,
    approvals: HashSet<Digest>,
}

/// What a page has of them.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) calls: u64,
    pub(super) bodies: Vec<Digest>,
}

/// No call of a session is as late as this.
pub(super) fn last_call_us(kept: &Kept) -> u64 {
    kept.since_us.saturating_add(SESSION_KEY_US)
}

// === impl Retention ===

impl Retention {
    /// What an order means, of one tenant where it names one of somebody.
    pub(super) async fn chosen(&self, purge: &Wanted) -> Result<Vec<Kept>, RetentionError> {
        let chosen = self.covered(purge.extent.as_ref(), purge.before).await?;
        let of_somebody = purge.extent.as_ref().filter(|extent| extent.tenant().is_none());
        if let Some(extent) = of_somebody.filter(|_| !chosen.is_empty()) {
            one_tenant(extent, &chosen)?;
        }
        Ok(chosen)
    }

    /// The sessions that this covers, the oldest first.
    pub(super) async fn covered(&self, extent: Option<&Extent>, before: Option<Time>) -> Result<Vec<Kept>, RetentionError> {
        let (mut covered, mut after) = (Vec::new(), None);
        loop {
            let (kept, next) = self.rooms.bodies.kept(after).await?;
            let is_old = |kept: &Kept| before.is_none_or(|before| last_call_us(kept) <= before.micros());
            covered
                .extend(kept.into_iter().filter(|kept| extent.is_none_or(|extent| extent.covers(&kept.whose)) && is_old(kept)));
            if covered.len() > PURGED_PER_ORDER_MAX {
                return Err(RetentionError::TooMany);
            }
            if next.is_none() {
                covered.sort_by_key(|kept| (kept.since_us, kept.session));
                return Ok(covered);
            }
            after = next;
            // Calls are decided first.
            tokio::task::yield_now().await;
        }
    }

    /// How many calls were decided in these sessions.
    pub(super) async fn count(&self, chosen: &[Kept]) -> Result<u64, RetentionError> {
        let (Some(first), Some(last)) = (chosen.first(), chosen.iter().map(last_call_us).max()) else { return Ok(0) };
        let sessions = chosen.iter().map(|kept| kept.session).collect();
        let mut records = Records::new(&self.rooms.bodies, sessions, (first.since_us, last)).await?;
        let mut calls = 0;
        while let Some(page) = records.page().await? {
            calls += page.calls;
        }
        Ok(calls)
    }
}

// === impl Records ===

impl<'a> Records<'a> {
    /// Of calls of that time, in all records that there are by now.
    pub(super) async fn new(
        bodies: &'a Bodies,
        sessions: HashSet<SessionId>,
        (since_us, last_us): (u64, u64),
    ) -> Result<Self, ReadError> {
        let before = bodies.journal().health().head.saturating_add(1);
        let cursor = first_at(bodies, since_us.saturating_sub(SLACK_US), before).await?.saturating_sub(1);
        let until_us = last_us.saturating_add(LATE_US);
        Ok(Self { bodies, sessions, cursor, before, until_us, approvals: HashSet::new() })
    }

    /// None: there are no more.
    pub(super) async fn page(&mut self) -> Result<Option<Page>, ReadError> {
        if self.cursor.saturating_add(1) >= self.before {
            return self.late().await;
        }
        let mut page = Page::default();
        let records = match self.bodies.journal().follow(self.cursor, PAGE).await {
            Ok(records) => records,
            // What cannot be read names no body that could be given back.
            Err(ReadError::Damaged(_)) => {
                self.cursor = self.cursor.saturating_add(1);
                return Ok(Some(page));
            }
            Err(error @ ReadError::Unavailable(_)) => return Err(error),
        };
        for record in &records {
            self.cursor = record.sequence;
            let Ok((at, what)) = parse(record) else { continue };
            if record.sequence >= self.before || at.micros() > self.until_us {
                self.before = self.before.min(record.sequence);
                // This one was not looked at: it may be a step that is late.
                self.cursor = self.before.saturating_sub(1);
                break;
            }
            self.look(&what, &mut page);
        }
        tokio::task::yield_now().await;
        Ok(Some(page))
    }

    fn look(&mut self, what: &What, page: &mut Page) {
        let Some(reference) = what.body_ref() else { return };
        if !SessionId::of(reference).is_some_and(|session| self.sessions.contains(&session)) {
            return;
        }
        page.bodies.extend(Digest::try_from(reference.address.as_ref()));
        match what {
            What::Decision(decision) => {
                page.calls += 1;
                self.approvals.extend(Digest::try_from(decision.approval.as_ref()));
            }
            What::Outcome(_)
            | What::Policy(_)
            | What::Flood(_)
            | What::Approval(_)
            | What::Kill(_)
            | What::Mode(_)
            | What::Hold(_)
            | What::Purge(_) => {}
        }
    }

    /// The steps of their approvals, whenever they were.
    async fn late(&mut self) -> Result<Option<Page>, ReadError> {
        let Some(approval) = self.approvals.iter().next().copied() else { return Ok(None) };
        self.approvals.remove(&approval);
        let mut page = Page::default();
        for id in step_ids(&approval) {
            let Some(position) = self.bodies.journal().find(id).await? else { continue };
            if position.sequence > self.cursor
                && let Some(record) = record_at(self.bodies, position.sequence).await?
                && let Ok((_, what @ What::Approval(_))) = parse(&record)
            {
                self.look(&what, &mut page);
            }
        }
        Ok(Some(page))
    }
}

async fn record_at(bodies: &Bodies, sequence: Sequence) -> Result<Option<Record>, ReadError> {
    match bodies.journal().follow(sequence.saturating_sub(1), 1).await {
        Ok(records) => Ok(records.into_iter().find(|record| record.sequence == sequence)),
        Err(ReadError::Damaged(_)) => Ok(None),
        Err(error @ ReadError::Unavailable(_)) => Err(error),
    }
}

/// The first record that is not before this moment, as far as records are in the order of their moments. One that cannot be read
/// counts as later: then more is looked through, and nothing is missed.
async fn first_at(bodies: &Bodies, at_us: u64, before: Sequence) -> Result<Sequence, ReadError> {
    let (mut low, mut high) = (1, before);
    while low < high {
        let middle = low + (high - low) / 2;
        let record = record_at(bodies, middle).await?;
        let is_earlier = record.is_some_and(|record| parse(&record).is_ok_and(|(at, _)| at.micros() < at_us));
        if is_earlier {
            low = middle.saturating_add(1);
        } else {
            high = middle;
        }
    }
    Ok(low)
}
