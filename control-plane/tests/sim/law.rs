//! What must be so, whatever happened: the rules of consistency, held against the journal's records one by one, from its
//! beginning, and against each answer that was given. It knows the calls, and nothing of how replicas work.

use crate::purges::{Purges, TENANT};
use agentgate_control_plane::body::{Bodies, SessionId};
use agentgate_control_plane::journal::{Record, Sequence, Stream};
use agentgate_core::approval::id_text;
use agentgate_core::digest::Digest;
use agentgate_core::id::Principal;
use agentgate_core::retention::Kept;
use agentgate_proto::v1::record::What;
use agentgate_proto::v1::{self, ApprovalUse, OutcomeKind, Verdict};
use prost::Message;
use std::collections::HashMap;

/// A call as its filter made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    /// Who calls what: the same for a retry under another id.
    pub(crate) what: (usize, &'static str, u64),
    pub(crate) principal: Principal,
    /// Empty: it carries none.
    pub(crate) handle: &'static str,
    /// The journal's head when it was first asked.
    pub(crate) asked_at: Sequence,
}

#[derive(Debug)]
struct Approval {
    id: Digest,
    what: (usize, &'static str, u64),
    expires_us: u64,
    granted: Option<(Sequence, u64)>,
    denied: Option<Sequence>,
    spent: bool,
    /// It was purged.
    gone: bool,
}

/// The journal as it has to be understood.
#[derive(Debug, Default)]
pub(crate) struct Law {
    pub(crate) cursor: Sequence,
    /// By the digest of the call's id.
    pub(crate) calls: HashMap<Digest, Call>,
    killed: bool,
    policy: Option<Digest>,
    pub(crate) epoch: u64,
    pub(crate) decisions: HashMap<Digest, (Sequence, Verdict)>,
    pub(crate) reported: HashMap<Digest, Sequence>,
    pub(crate) unknown: HashMap<Digest, Sequence>,
    approvals: Vec<Approval>,
    pub(crate) purges: Purges,
    newest_us: HashMap<Stream, u64>,
    /// What the change that is being read must hold next.
    next: Option<(Digest, ApprovalUse)>,
    answers: HashMap<Digest, (Sequence, Verdict)>,
}

/// A law that was broken, in words.
pub(crate) type Broken = String;

pub(crate) fn must(is_so: bool, law: impl FnOnce() -> Broken) -> Result<(), Broken> {
    if is_so { Ok(()) } else { Err(law()) }
}

pub(crate) fn digest(bytes: &[u8]) -> Digest {
    Digest::try_from(bytes).unwrap()
}

// === impl Law ===

impl Law {
    /// The next record. `clock_us`: the most that the clock of whoever swept showed, if it is a sweep's.
    pub(crate) fn read(&mut self, record: &Record, clock_us: u64, bodies: &Bodies) -> Result<(), Broken> {
        let sequence = record.sequence;
        must(sequence == self.cursor + 1, || format!("{sequence} stands after {}", self.cursor))?;
        self.cursor = sequence;
        let parsed = v1::Record::decode(record.bytes.clone()).unwrap();
        let what = parsed.what.unwrap();
        if let Some((approval, how)) = self.next
            && !matches!(&what, What::Approval(step) if digest(&step.approval) == approval)
        {
            return Err(format!("{sequence}: a decision says {how:?}, and its change does not"));
        }
        let call = if let What::Decision(decision) = &what { self.calls.get(&digest(&decision.call_id)) } else { None };
        self.purges.read((record, clock_us), &what, call, bodies)?;
        let newest = self.newest_us.entry(record.stream).or_default();
        // Approvers at several replicas write the approvals' stream without waiting for each other.
        must(parsed.at_us >= *newest || record.stream == Stream::approvals(), || {
            format!("{sequence}: {} is before {newest}, which its stream holds already", parsed.at_us)
        })?;
        *newest = (*newest).max(parsed.at_us);
        match what {
            What::Decision(decision) => self.decision(sequence, parsed.at_us, &decision),
            What::Outcome(outcome) => self.outcome(sequence, &outcome),
            What::Approval(step) => self.step(sequence, parsed.at_us, &step),
            What::Policy(policy) => {
                (self.policy, self.epoch) = (Some(digest(&policy.digest)), self.epoch + 1);
                Ok(())
            }
            What::Kill(kill) => {
                (self.killed, self.epoch) = (!kill.resumed, self.epoch + 1);
                Ok(())
            }
            What::Hold(_) => {
                self.epoch += 1;
                Ok(())
            }
            What::Purge(_) => {
                self.epoch += 1;
                let purges = &self.purges;
                self.approvals.iter_mut().for_each(|approval| approval.gone |= purges.is_forgotten(&approval.id, sequence));
                Ok(())
            }
            What::Flood(_) | What::Mode(_) => Err(format!("{sequence}: nobody did that")),
        }
    }

    fn decision(&mut self, sequence: Sequence, at_us: u64, decision: &v1::DecisionRecord) -> Result<(), Broken> {
        let id = digest(&decision.call_id);
        let call = self.calls.get(&id).cloned().ok_or_else(|| format!("{sequence}: nobody made this call"))?;
        let before = self.decisions.insert(id, (sequence, decision.verdict()));
        must(before.is_none(), || format!("{sequence}: decided before, {before:?}"))?;
        must(decision.policy_digest == self.policy.map(|policy| policy.as_bytes().to_vec()).unwrap_or_default(), || {
            format!("{sequence}: decided under another policy than the one that was in force")
        })?;
        must(!self.killed || decision.verdict() == Verdict::Deny, || {
            format!("{sequence}: {:?} after a kill", decision.verdict())
        })?;
        let gated = call.what.1 == "add_note";
        must(!gated || decision.verdict() != Verdict::Allow || decision.approval_use() == ApprovalUse::Used, || {
            format!("{sequence}: allowed without a grant")
        })?;
        let live = self.approvals.iter().rev().find(|approval| approval.what == call.what && approval.is_live(at_us));
        match decision.approval_use() {
            ApprovalUse::Requested => {
                // One that had lapsed, and was granted by a slower clock while this was being decided, comes too late for it.
                let late = |live: &Approval| {
                    at_us >= live.expires_us && live.granted.is_some_and(|(granted, _)| granted > call.asked_at)
                };
                must(live.is_none_or(late), || {
                    format!("{sequence}: at {at_us} {:?} asks for an approval though one is live: {live:?}", call.what)
                })?;
                self.next = Some((digest(&decision.approval), ApprovalUse::Requested));
            }
            ApprovalUse::Waited => {
                let id = digest(&decision.approval);
                let waits = self.approvals.iter().find(|approval| approval.id == id && approval.what == call.what);
                let waits = waits.filter(|approval| !approval.spent && !approval.gone && at_us < approval.expires_us);
                let answered = waits.map(|waits| waits.granted.map(|(granted, _)| granted).or(waits.denied));
                // What its approver said while it was being decided may come too late for it, and for it alone.
                must(answered.is_some_and(|answered| answered.is_none_or(|answered| answered > call.asked_at)), || {
                    format!("{sequence}: at {at_us}, asked at {}, it waits for {id} of {:?}", call.asked_at, self.approvals)
                })?;
            }
            how @ (ApprovalUse::Used | ApprovalUse::Voided) => {
                let id = digest(&decision.approval);
                let granted = live.is_some_and(|live| live.id == id && live.granted.is_some());
                must(granted, || format!("{sequence}: {how:?} without a live grant for this call; live is {live:?}"))?;
                self.next = Some((id, how));
            }
            ApprovalUse::Refused => {
                must(live.is_some_and(|live| live.denied.is_some()), || {
                    format!("{sequence}: nobody denied it; live is {live:?}")
                })?;
            }
            ApprovalUse::Unspecified => {}
        }
        Ok(())
    }

    fn step(&mut self, sequence: Sequence, at_us: u64, step: &v1::ApprovalRecord) -> Result<(), Broken> {
        use v1::approval_record::What as Step;
        let (id, next) = (digest(&step.approval), self.next.take());
        let known = self.approvals.iter_mut().find(|approval| approval.id == id);
        match (step.what.as_ref().unwrap(), known) {
            (Step::Requested(requested), None) => {
                must(next == Some((id, ApprovalUse::Requested)), || format!("{sequence}: no decision asked for it"))?;
                let (expires_us, decided) = (requested.expires_at_us, self.decisions.iter().max_by_key(|(_, (at, _))| *at));
                let what = decided.and_then(|(call, _)| self.calls.get(call)).map(|call| call.what).unwrap();
                self.approvals.push(Approval { id, what, expires_us, granted: None, denied: None, spent: false, gone: false });
                Ok(())
            }
            (Step::Requested(_), Some(_)) => Err(format!("{sequence}: asked for twice")),
            (_, None) => Err(format!("{sequence}: nobody asked for it")),
            (Step::Granted(granted), Some(approval)) => {
                must(next.is_none() && approval.is_open(), || format!("{sequence}: granted, but it was {approval:?}"))?;
                must(at_us < approval.expires_us, || format!("{sequence}: granted too late"))?;
                approval.granted = Some((sequence, granted.expires_at_us));
                Ok(())
            }
            (Step::Denied(_), Some(approval)) => {
                must(next.is_none() && approval.is_open(), || format!("{sequence}: denied, but it was {approval:?}"))?;
                approval.denied = Some(sequence);
                Ok(())
            }
            (Step::Spent(spent), Some(approval)) => {
                must(!approval.spent && approval.granted.is_some(), || format!("{sequence}: spent, but it was {approval:?}"))?;
                must(next == Some((id, spent.r#use())), || format!("{sequence}: spent by no decision, or otherwise"))?;
                approval.spent = true;
                Ok(())
            }
        }
    }

    fn outcome(&mut self, sequence: Sequence, outcome: &v1::OutcomeRecord) -> Result<(), Broken> {
        let id = digest(&outcome.call_id);
        let decided = self.decisions.get(&id);
        must(decided == Some(&(outcome.decision, Verdict::Allow)), || format!("{sequence}: an outcome of {decided:?}"))?;
        must(!self.reported.contains_key(&id), || format!("{sequence}: {:?} after its report", outcome.kind()))?;
        let known = if outcome.kind() == OutcomeKind::Unknown { &mut self.unknown } else { &mut self.reported };
        must(known.insert(id, sequence).is_none(), || format!("{sequence}: {:?} twice", outcome.kind()))
    }

    /// A verdict that somebody was given.
    pub(crate) fn answered(&mut self, call: Digest, decided: &v1::Decided) -> Result<(), Broken> {
        let told = (decided.sequence, decided.verdict());
        let recorded = self.decisions.get(&call);
        must(recorded == Some(&told), || format!("{told:?} was answered, and {recorded:?} is on record"))?;
        let first = *self.answers.entry(call).or_insert(told);
        must(first == told, || format!("{told:?} was answered after {first:?}"))
    }

    pub(crate) fn approvals(&self) -> Vec<Digest> {
        self.approvals.iter().map(|approval| approval.id).collect()
    }

    /// An approver was told that this is so.
    pub(crate) fn approved(&self, id: &str, grant: bool) -> Result<(), Broken> {
        let known = self.approvals.iter().find(|approval| id_text(&approval.id) == id);
        let is_so = known.is_some_and(|known| if grant { known.granted.is_some() } else { known.denied.is_some() });
        must(is_so, || format!("an approver was told that {id} is answered, and it is {known:?}"))
    }
}

// === impl Call ===

impl Call {
    /// As the key of its body says.
    pub(crate) fn whose(&self, session: SessionId) -> Kept {
        let (tenant, session) = (TENANT.try_into().unwrap(), session.to_string());
        Kept { tenant, principal: self.principal.clone(), handle: self.handle.into(), session }
    }
}

// === impl Approval ===

impl Approval {
    fn is_open(&self) -> bool {
        self.granted.is_none() && self.denied.is_none() && !self.spent
    }

    fn is_live(&self, at_us: u64) -> bool {
        let until = self.granted.map_or(self.expires_us, |(_, until)| until);
        !self.spent && !self.gone && at_us < until
    }
}
