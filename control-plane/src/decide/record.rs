//! A decision on its way into the journal: the record, its body, and the answer that may be given once both are durable.

use super::hearing::{Hearing, Weighed};
use super::{Decide, Decided, Undecided};
use crate::approval::{Step, scope};
use crate::body::{Erasures, Seal, digest_bytes};
use crate::journal::{Epochs, Sequence, Stream};
use crate::policy::InForce;
use crate::privacy::{self, Altering};
use crate::session::{Also, Draft, Recorded};
use agentgate_core::approval::id_text;
use agentgate_core::decide::{Denial, SETTLE_VERSION, Verdict};
use agentgate_core::digest::Digest;
use agentgate_core::id::CallId;
use agentgate_core::time::Time;
use agentgate_policies::ENGINE;
use agentgate_proto::order::target_to_wire;
use agentgate_proto::v1;
use bytes::Bytes;
use prost::Message as _;

/// A decision that is not on record yet.
#[derive(Debug)]
pub(super) struct Recording {
    at: Time,
    call: CallId,
    id: Digest,
    record: v1::DecisionRecord,
    body: v1::DecisionBody,
    encoded: Bytes,
    stored: Bytes,
    step: Option<Step>,
}

// === impl Recording ===

impl Recording {
    pub(super) fn new(
        hearing: &Hearing<'_>,
        weighed: Weighed,
        policy: Option<&InForce>,
        (seal, altering): (&Seal, Option<&Altering>),
    ) -> Result<Self, Undecided> {
        let (question, at) = (hearing.question, weighed.facts.at);
        let id = question.call.digest();
        let (verdict, step) = (weighed.decision.verdict.into(), step(&weighed.decision.verdict));
        let (enforced, approval, of_approval) = (weighed.enforced, weighed.approval, weighed.step.clone());
        let mut body = decision_body(hearing, weighed);
        altering.iter().for_each(|altering| altering.decision(&mut body));
        let request = question.request();
        let keyed = altering.filter(|_| body.altered.is_some()).map(|altering| altering.keyed(request.as_bytes()));
        let sealed = seal.seal(&body).map_err(Undecided::Journal)?;
        let mut record = v1::DecisionRecord {
            call_id: digest_bytes(&id),
            request_commitment: sealed.commit(keyed.as_deref().unwrap_or(request.as_bytes())),
            verdict: 0,
            step: step.into(),
            settle_version: SETTLE_VERSION,
            engine: ENGINE.into(),
            policy_digest: policy.map(|policy| digest_bytes(&policy.bundle.digest())).unwrap_or_default(),
            enforced,
            body: Some(sealed.reference),
            approval: approval.map(|(id, _)| digest_bytes(&id)).unwrap_or_default(),
            approval_use: approval.map(|(_, how)| how.into()).unwrap_or_default(),
            no_outcome: !question.has_outcome,
            number: question.ask.number,
        };
        record.set_verdict(verdict);
        let what = Some(v1::record::What::Decision(record.clone()));
        let encoded = v1::Record { at_us: at.micros(), what }.encode_to_vec().into();
        Ok(Self { at, call: question.call.clone(), id, record, body, encoded, stored: sealed.stored, step: of_approval })
    }

    pub(super) fn draft(&self, fence: Epochs) -> Draft {
        let also = self.step.iter().map(|step| Also { write: step.write.clone(), body: step.body.clone() });
        Draft {
            id: self.id,
            record: self.encoded.clone(),
            body: Some(self.stored.clone()),
            fence: Some(fence),
            also: also.collect(),
        }
    }

    /// Tells the rooms, and makes the answer. Only what the journal acknowledged comes here.
    /// `since` is from before it was handed over.
    pub(super) fn durable(self, decide: &Decide, since: Erasures, sequence: Sequence, stream: Stream) -> Decided {
        let answer = answer(&self.record, Some(&self.body), sequence);
        let (at, call, record, body) = (self.at, self.call, self.record, self.body);
        if let Some(step) = &self.step {
            decide.approvals.durable(step, since);
        }
        privacy::count(body.altered.as_ref());
        decide.session.decided(&Recorded { sequence, at, stream, call, record, body }, since);
        answer
    }
}

/// The answer that a record gives, the first time and every time.
pub(super) fn answer(record: &v1::DecisionRecord, body: Option<&v1::DecisionBody>, sequence: Sequence) -> Decided {
    let (rule, reason) = match body {
        Some(body) => (body.rule.clone(), body.reason.clone()),
        None => ("gate.erased".into(), "what was said of this call has been erased".into()),
    };
    let approval = if record.verdict() == v1::Verdict::Pending { approval_of(record) } else { String::new() };
    Decided { verdict: record.verdict, rule, reason, sequence, observed: !record.enforced, approval }
}

/// The approval of a decision, as people quote it; empty: it has none.
fn approval_of(record: &v1::DecisionRecord) -> String {
    Digest::try_from(record.approval.as_ref()).map(|id| id_text(&id)).unwrap_or_default()
}

pub(super) fn unavailable(error: impl std::error::Error) -> Undecided {
    Undecided::Journal(agentgate_core::error::chain(&error))
}

fn step(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Allow(_) | Verdict::Pending => "",
        Verdict::Deny(
            denial @ (Denial::Malformed
            | Denial::Killed
            | Denial::Approver
            | Denial::Policy
            | Denial::Unmatched
            | Denial::PolicyFailed),
        ) => denial.name(),
    }
}

fn decision_body(hearing: &Hearing<'_>, weighed: Weighed) -> v1::DecisionBody {
    let Weighed { facts, decision, call, .. } = weighed;
    let mut body = v1::DecisionBody {
        tenant: facts.tenant.to_string(),
        principal: facts.principal.to_string(),
        asker: facts.asker.to_string(),
        epoch: Bytes::copy_from_slice(&hearing.question.call.epoch.0),
        ask: Some(hearing.question.ask.clone()),
        rule: decision.rule.to_string(),
        reason: decision.reason,
        scope: scope(decision.scope).into(),
        call_digest: call.as_ref().map(digest_bytes).unwrap_or_default(),
        kill: facts.kill.map(|kill| v1::KillFact { target: Some(target_to_wire(&kill.target)), reason: kill.reason }),
        grant: facts.grant.map(|grant| v1::GrantFact {
            approval: digest_bytes(&grant.approval),
            call_digest: digest_bytes(&grant.call),
            expires_at_us: grant.expires_at.micros(),
        }),
        denied: facts.denied.map(|denied| v1::DenialFact {
            approval: digest_bytes(&denied.approval),
            call_digest: digest_bytes(&denied.call),
            until_us: denied.until.micros(),
            reason: denied.reason,
        }),
        ..v1::DecisionBody::default()
    };
    match facts.reading {
        Ok(message) => {
            body.method = message.method.name().into();
            body.target = message.target.unwrap_or_default();
            body.handle = message.handle.map(|handle| handle.as_str().into()).unwrap_or_default();
            body.version = message.protocol.as_str().into();
        }
        Err(malformed) => body.malformed = malformed.reason().into(),
    }
    body
}
