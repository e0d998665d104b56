//! Recorded calls, decided again by the policy alone: whom it would not let through, how often and by which rule. Kills and
//! grants are left out, since they say nothing of a policy; what cannot be decided again is counted and never guessed.

use super::facts::Case;
use super::scan::{Span, Telling};
use super::{History, HistoryError};
use crate::body::digest_bytes;
use crate::policy::InForce;
use crate::session::{beginning, body_of};
use agentgate_core::decide::{Decision, Verdict};
use agentgate_core::fold;
use agentgate_core::id::{CallId, Epoch};
use agentgate_core::mcp::Method;
use agentgate_core::time::Time;
use agentgate_policies::{Bundle, SourceFile, folder};
use agentgate_proto::v1;
use agentgate_proto::v1::record::What;
use std::collections::HashMap;
use std::sync::Arc;

/// Rows of one answer: more than a person reads.
pub(super) const ROWS_MAX: usize = 1_000;

/// What all rows of an answer may weigh together: it travels in one message.
pub(super) const ROWS_BYTES_MAX: usize = 3 << 20;

/// What a row says of a target and of a reason, at most.
const TARGET_BYTES_MAX: usize = 512;
const REASON_BYTES_MAX: usize = 1_024;

/// What the numbers and the call id of a row weigh, rounded up.
const ROW_BYTES: usize = 256;

/// Who, what and which answer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Which {
    tenant: String,
    principal: String,
    server: String,
    method: String,
    target: String,
    verdict: i32,
    rule: String,
}

#[derive(Debug, Default)]
struct Tally {
    reason: String,
    calls: u64,
    last_us: u64,
    last_call_id: String,
    were_enforced: u64,
}

/// What came of the calls so far.
#[derive(Debug, Default)]
pub(super) struct Rows {
    rows: HashMap<Which, Tally>,
    bytes: usize,
    cut: bool,
    calls: u64,
    allowed: u64,
    not_decidable: u64,
}

/// Of which calls is asked.
struct Asked {
    /// Empty: of all servers.
    server: String,
    /// As orders compare names.
    tool: Option<String>,
}

pub(super) async fn scan(
    history: &History,
    request: v1::ShowImpactRequest,
    telling: &mut Telling<v1::Impact>,
) -> Result<v1::Impact, HistoryError> {
    let policy = policy(history, request.candidate)?;
    let span = Span::since(history.bodies.journal().as_ref(), Time::from_micros(request.since_us)).await?;
    let asked = Asked { server: request.server, tool: Some(fold::loosely(&request.tool)).filter(|tool| !tool.is_empty()) };
    let mut rows = Rows::default();
    let bodies = history.bodies.as_ref();
    span.read(bodies.journal().as_ref(), telling, async |record, at, what| {
        let What::Decision(decision) = what else { return Ok(()) };
        let body = body_of(bodies, record.sequence, decision.body.as_ref()).await?;
        if body.as_ref().is_none_or(|body| asked.covers(body)) {
            rows.take(history, &policy, at, &decision, body);
        }
        Ok(())
    })
    .await?;
    Ok(v1::Impact {
        from_us: span.oldest_at.micros(),
        observations_lost: history.observations_lost(),
        policy_digest: digest_bytes(&policy.bundle.digest()),
        ..rows.finish()
    })
}

/// The candidate, if it could come into force; the policy that is, where none was sent.
fn policy(history: &History, candidate: Vec<v1::FileContent>) -> Result<Arc<InForce>, HistoryError> {
    if candidate.is_empty() {
        return history.in_force().ok_or(HistoryError::NoPolicy);
    }
    if candidate.iter().map(|file| file.content.len()).fold(0, usize::saturating_add) > folder::BYTES_MAX {
        let why = format!("its files hold more than {} bytes", folder::BYTES_MAX);
        return Err(HistoryError::Candidate(why));
    }
    let file = |file: v1::FileContent| SourceFile { path: file.path, bytes: file.content.into() };
    // Its cases are tried by whoever wrote them: they may be many, and each may cost what a call may.
    let bundle = Bundle::load(candidate.into_iter().map(file).collect());
    let bundle = bundle.map_err(|error| HistoryError::Candidate(agentgate_core::error::chain(&error)))?;
    Ok(Arc::new(InForce { since: history.clock.now(), bundle }))
}

/// As people quote it; empty: its record does not say.
fn call_id(body: &v1::DecisionBody) -> String {
    let of = |body: &v1::DecisionBody| {
        let asker = body.asker.as_str().try_into().ok()?;
        let epoch = Epoch(body.epoch.as_ref().try_into().ok()?);
        Some(CallId { asker, epoch, counter: body.ask.as_ref()?.counter }.to_string())
    };
    of(body).unwrap_or_default()
}

// === impl Asked ===

impl Asked {
    fn covers(&self, body: &v1::DecisionBody) -> bool {
        let is_server = self.server.is_empty() || body.ask.as_ref().is_some_and(|ask| ask.server == self.server);
        let is_tool = |tool: &String| body.method == Method::ToolsCall.name() && fold::loosely(&body.target) == *tool;
        is_server && self.tool.as_ref().is_none_or(is_tool)
    }
}

// === impl Rows ===

impl Rows {
    fn take(
        &mut self,
        history: &History,
        policy: &InForce,
        at: Time,
        record: &v1::DecisionRecord,
        body: Option<v1::DecisionBody>,
    ) {
        let case = Case::of(at, record, body.as_ref(), &history.limits).map(Case::before_the_policy);
        let came = case.ok().and_then(|case| case.settle(Some(policy)).ok());
        match (came, body) {
            (Some(decision), Some(body)) => self.count(at, record, body, &decision),
            (Some(_) | None, None) | (None, Some(_)) => self.not_decidable += 1,
        }
    }

    pub(super) fn count(&mut self, at: Time, record: &v1::DecisionRecord, body: v1::DecisionBody, decision: &Decision) {
        self.calls += 1;
        if let Verdict::Allow(_) = decision.verdict {
            self.allowed += 1;
            return;
        }
        let last_call_id = call_id(&body);
        let which = Which {
            server: body.ask.map(|ask| ask.server).unwrap_or_default(),
            tenant: body.tenant,
            principal: body.principal,
            method: body.method,
            target: beginning(&body.target, TARGET_BYTES_MAX),
            verdict: v1::Verdict::from(decision.verdict).into(),
            rule: decision.rule.to_string(),
        };
        let Some(tally) = self.tally(which) else { return };
        tally.calls += 1;
        tally.were_enforced += u64::from(record.enforced && record.verdict() != v1::Verdict::Allow);
        // Records stand almost in the order of their times.
        if at.micros() >= tally.last_us {
            tally.last_us = at.micros();
            tally.last_call_id = last_call_id;
            tally.reason = beginning(&decision.reason, REASON_BYTES_MAX);
        }
    }

    /// The row for this; none where there is no room for one more.
    fn tally(&mut self, which: Which) -> Option<&mut Tally> {
        if !self.rows.contains_key(&which) {
            let bytes = self.bytes.saturating_add(which.bytes());
            if self.rows.len() >= ROWS_MAX || bytes > ROWS_BYTES_MAX {
                self.cut = true;
                return None;
            }
            self.bytes = bytes;
        }
        Some(self.rows.entry(which).or_default())
    }

    /// The most frequent first.
    pub(super) fn finish(self) -> v1::Impact {
        let mut all: Vec<(Which, Tally)> = self.rows.into_iter().collect();
        all.sort_by(|(one, first), (other, second)| second.calls.cmp(&first.calls).then_with(|| one.cmp(other)));
        let row = |(which, tally): (Which, Tally)| v1::ImpactRow {
            tenant: which.tenant,
            principal: which.principal,
            server: which.server,
            method: which.method,
            target: which.target,
            verdict: which.verdict,
            rule: which.rule,
            reason: tally.reason,
            calls: tally.calls,
            last_us: tally.last_us,
            last_call_id: tally.last_call_id,
            were_enforced: tally.were_enforced,
        };
        v1::Impact {
            calls: self.calls,
            allowed: self.allowed,
            not_decidable: self.not_decidable,
            rows: all.into_iter().map(row).collect(),
            rows_cut: self.cut,
            ..v1::Impact::default()
        }
    }
}

// === impl Which ===

impl Which {
    /// What its row weighs at most.
    fn bytes(&self) -> usize {
        let texts = [&self.tenant, &self.principal, &self.server, &self.method, &self.target, &self.rule];
        texts.iter().map(|text| text.len()).sum::<usize>() + REASON_BYTES_MAX + ROW_BYTES
    }
}
