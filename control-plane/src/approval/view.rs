//! What is known of approvals, folded from their stream: those that are not over, and the newest of those that are. What an
//! approver must see in full stays in the journal.

use super::step::shown;
use super::{ApprovalError, Crowded, Live, Step, decode};
use crate::body::SessionId;
use crate::config::Limits;
use crate::telemetry::number;
use agentgate_core::approval::{Approval, Denied, Event, Request, State, Use, id_text};
use agentgate_core::digest::Digest;
use agentgate_core::id::{Asker, Principal, SpiffeId, Tenant};
use agentgate_core::time::Time;
use agentgate_proto::v1;
use agentgate_proto::v1::approval_record::What;
use bytes::Bytes;
use prost::Message as _;
use std::collections::{BTreeSet, HashMap, HashSet};

/// Approvals that are over and still listed.
const OVER_MAX: usize = 1_024;

/// Hex digits that an id needs at least to be looked for.
const PREFIX_DIGITS_MIN: usize = 4;

#[derive(Debug)]
pub(super) struct View {
    entries: HashMap<Digest, Entry>,
    /// The newest last.
    order: BTreeSet<(Time, Digest)>,
    /// The newest approval of a call.
    of_call: HashMap<Digest, Digest>,
    /// When the newest step happened.
    newest: Time,
    steps: u64,
}

#[derive(Debug)]
struct Entry {
    approval: Approval,
    /// What was asked for, without the parameters.
    summary: v1::ApprovalRequest,
    body: v1::BodyRef,
    steps: Vec<v1::ApprovalStep>,
    used_by: String,
}

// === impl View ===

impl Default for View {
    fn default() -> Self {
        let newest = Time::from_micros(0);
        Self { entries: HashMap::new(), order: BTreeSet::new(), of_call: HashMap::new(), newest, steps: 0 }
    }
}

impl View {
    pub(super) fn live(&self, call: &Digest, at: Time) -> Live {
        let Some(entry) = self.of_call.get(call).and_then(|id| self.entries.get(id)) else { return Live::None };
        match entry.approval.state(at) {
            State::Pending => Live::Pending(entry.approval.request.id),
            State::Granted { .. } => entry.approval.grant(at).map_or(Live::None, Live::Granted),
            State::Denied => entry.denied(at).map_or(Live::None, Live::Denied),
            State::Used | State::Voided | State::Lapsed => Live::None,
        }
    }

    pub(super) fn steps(&self) -> u64 {
        self.steps
    }

    pub(super) fn newest(&self) -> Time {
        self.newest
    }

    /// Whether one more may wait.
    pub(super) fn room(&self, tenant: &Tenant, principal: &Principal, at: Time, limits: &Limits) -> Result<(), Crowded> {
        let open = || self.entries.values().filter(|entry| entry.is_open(at));
        if open().count() >= limits.approvals_max as usize {
            return Err(Crowded { what: "the room for calls that wait for a person", max: limits.approvals_max });
        }
        let is_theirs =
            |entry: &&Entry| entry.approval.request.tenant == *tenant && entry.approval.request.requester == *principal;
        if open().filter(is_theirs).count() >= limits.approvals_per_subject_max as usize {
            let max = limits.approvals_per_subject_max;
            return Err(Crowded { what: "the subject's room for calls that wait for a person", max });
        }
        Ok(())
    }

    /// Whether this step of it was folded already.
    pub(super) fn knows(&self, id: &Digest, record: &v1::ApprovalRecord) -> bool {
        let Some(entry) = self.entries.get(id) else { return false };
        match &record.what {
            Some(What::Requested(_)) | None => true,
            Some(What::Granted(v1::ApprovalGranted { step, .. }) | What::Denied(v1::ApprovalDenied { step, .. })) => {
                entry.steps.len() >= *step as usize
            }
            Some(What::Spent(_)) => !entry.used_by.is_empty(),
        }
    }

    /// The approval as it is now, if it is there. The same step twice is one.
    pub(super) fn apply(&mut self, step: &Step) -> Option<(Digest, v1::Approval)> {
        let (id, at) = (step.id, step.at);
        self.newest = self.newest.max(at);
        self.steps = self.steps.saturating_add(1);
        match step.record.what.as_ref()? {
            What::Requested(requested) => self.insert(step, requested)?,
            What::Granted(granted) => {
                let entry = self.entries.get_mut(&id)?;
                if entry.steps.len() < granted.step as usize {
                    let by = SpiffeId::try_from(step.words.by.as_str()).ok()?;
                    let expires_at = (granted.expires_at_us != 0).then(|| Time::from_micros(granted.expires_at_us));
                    entry.approval.apply(&Event::Granted { by, expires_at });
                    entry.steps.push(said(true, step));
                }
            }
            What::Denied(denied) => {
                let entry = self.entries.get_mut(&id)?;
                if entry.steps.len() < denied.step as usize {
                    let by = SpiffeId::try_from(step.words.by.as_str()).ok()?;
                    entry.approval.apply(&Event::Denied { by });
                    entry.steps.push(said(false, step));
                }
            }
            What::Spent(spent) => {
                let entry = self.entries.get_mut(&id)?;
                let how = if spent.r#use() == v1::ApprovalUse::Voided { Use::Voided } else { Use::Used };
                entry.approval.apply(&Event::Spent(how));
                entry.used_by = step.words.by.clone();
            }
        }
        self.forget(at);
        metrics::gauge!("agentgate_approvals").set(number(self.entries.len()));
        let (approval, _) = self.wire(&id, at)?;
        Some((id, approval))
    }

    fn insert(&mut self, step: &Step, requested: &v1::ApprovalRequested) -> Option<()> {
        if self.entries.contains_key(&step.id) {
            return Some(());
        }
        let summary = v1::ApprovalRequest { params: String::new(), ..decode(&step.words.request)? };
        let request = Request {
            id: step.id,
            tenant: Tenant::try_from(summary.tenant.as_str()).ok()?,
            requester: Principal::try_from(summary.principal.as_str()).ok()?,
            asker: Asker::try_from(summary.asker.as_str()).ok()?,
            call: Digest::try_from(summary.call_digest.as_ref()).ok()?,
            shown: shown(&step.words),
            expires_at: Time::from_micros(requested.expires_at_us),
            steps: requested.steps,
        };
        self.of_call.insert(request.call, step.id);
        self.order.insert((step.at, step.id));
        let body = step.record.body.clone()?;
        let approval = Approval::new(request);
        self.entries.insert(step.id, Entry { approval, summary, body, steps: Vec::new(), used_by: String::new() });
        Some(())
    }

    /// Those that were asked for under these sessions' keys leave.
    pub(super) fn erase(&mut self, sessions: &HashSet<SessionId>) {
        let is_gone = |entry: &Entry| SessionId::of(&entry.body).is_some_and(|session| sessions.contains(&session));
        self.entries.retain(|_, entry| !is_gone(entry));
        let entries = &self.entries;
        self.order.retain(|(_, id)| entries.contains_key(id));
        self.of_call.retain(|_, id| entries.contains_key(id));
        metrics::gauge!("agentgate_approvals").set(number(self.entries.len()));
    }

    /// Those that are over leave, the oldest first.
    fn forget(&mut self, at: Time) {
        let over: Vec<(Time, Digest)> = self
            .order
            .iter()
            .filter(|(_, id)| self.entries.get(id).is_none_or(|entry| !entry.is_open(at) && entry.denied(at).is_none()))
            .copied()
            .collect();
        for (requested, id) in over.iter().take(over.len().saturating_sub(OVER_MAX)) {
            self.order.remove(&(*requested, *id));
            if let Some(gone) = self.entries.remove(id)
                && self.of_call.get(&gone.approval.request.call) == Some(id)
            {
                self.of_call.remove(&gone.approval.request.call);
            }
        }
    }

    /// By the id, or by the beginning of one.
    pub(super) fn find(&self, id: &str) -> Result<(Digest, &Approval), ApprovalError> {
        let id = id.to_ascii_lowercase();
        if id.len() < PREFIX_DIGITS_MIN || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(ApprovalError::Malformed(format!(
                "`{}` is no approval's id: at least {PREFIX_DIGITS_MIN} of its hex digits",
                id.escape_debug()
            )));
        }
        let mut found = self.entries.iter().filter(|(known, _)| known.to_string().starts_with(&id));
        match (found.next(), found.count()) {
            (None, _) => Err(ApprovalError::Absent(id)),
            (Some((known, entry)), 0) => Ok((*known, &entry.approval)),
            (Some(_), more) => Err(ApprovalError::Ambiguous { id, count: more.saturating_add(1) }),
        }
    }

    /// The approval without its parameters, and where those are.
    pub(super) fn wire(&self, id: &Digest, at: Time) -> Option<(v1::Approval, v1::BodyRef)> {
        let entry = self.entries.get(id)?;
        Some((entry.wire(at), entry.body.clone()))
    }

    /// Under whose key it was asked for.
    pub(super) fn session_of(&self, id: &Digest) -> Option<SessionId> {
        self.entries.get(id).and_then(|entry| SessionId::of(&entry.body))
    }

    /// Under whose key the newest approval of this call was asked for.
    pub(super) fn asked_under(&self, call: &Digest) -> Option<SessionId> {
        self.of_call.get(call).and_then(|id| self.session_of(id))
    }

    pub(super) fn list(&self, all: bool, at: Time) -> Vec<v1::Approval> {
        let newest = self.order.iter().rev().filter_map(|(_, id)| self.entries.get(id));
        newest.filter(|entry| all || entry.is_open(at)).map(|entry| entry.wire(at)).collect()
    }

    pub(super) fn pending(&self, at: Time) -> usize {
        self.entries.values().filter(|entry| entry.approval.state(at) == State::Pending).count()
    }
}

// === impl Entry ===

impl Entry {
    /// The approver's no, while it stands.
    fn denied(&self, at: Time) -> Option<Denied> {
        let (approval, call) = (self.approval.request.id, self.approval.request.call);
        let reason = self.steps.last().map(|step| step.reason.clone()).unwrap_or_default();
        self.approval.denied_until(at).map(|until| Denied { approval, call, until, reason })
    }

    /// It waits for a person, or for its call.
    fn is_open(&self, at: Time) -> bool {
        matches!(self.approval.state(at), State::Pending | State::Granted { .. })
    }

    fn wire(&self, at: Time) -> v1::Approval {
        let (state, expires_at) = match self.approval.state(at) {
            State::Pending => (v1::ApprovalState::Pending, self.approval.request.expires_at),
            State::Granted { expires_at } => (v1::ApprovalState::Granted, expires_at),
            State::Denied => (v1::ApprovalState::Denied, self.approval.request.expires_at),
            State::Used => (v1::ApprovalState::Used, self.approval.request.expires_at),
            State::Voided => (v1::ApprovalState::Voided, self.approval.request.expires_at),
            State::Lapsed => (v1::ApprovalState::Lapsed, self.approval.request.expires_at),
        };
        v1::Approval {
            id: id_text(&self.approval.request.id),
            state: state.into(),
            request: Bytes::from(self.summary.encode_to_vec()),
            steps: self.steps.clone(),
            expires_at_us: expires_at.micros(),
            used_by: self.used_by.clone(),
        }
    }
}

fn said(granted: bool, step: &Step) -> v1::ApprovalStep {
    let v1::ApprovalBody { by, reason, seen, .. } = step.words.clone();
    v1::ApprovalStep { granted, by, reason, at_us: step.at.micros(), seen }
}
