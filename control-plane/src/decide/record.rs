//! A decision on its way into the journal: the record, its body, and the answer that may be given once both are durable.

use super::{Decided, Question, Undecided};
use crate::body::{self, KEY_BYTES, digest_bytes};
use crate::journal::{Epochs, Sequence, Stream};
use crate::policy::InForce;
use crate::session::{Draft, Recorded, Session};
use agentgate_core::canonical::call_digest;
use agentgate_core::decide::{Decision, Denial, Facts, SETTLE_VERSION, Scope, Verdict};
use agentgate_core::digest::Digest;
use agentgate_core::id::CallId;
use agentgate_core::time::Time;
use agentgate_policies::ENGINE;
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
}

// === impl Recording ===

impl Recording {
    pub(super) fn new(
        question: &Question,
        facts: Facts,
        decision: Decision,
        policy: Option<&InForce>,
        key: Result<[u8; KEY_BYTES], String>,
    ) -> Result<Self, Undecided> {
        let key = key.map_err(Undecided::Journal)?;
        let at = facts.at;
        let id = question.call.digest();
        let (verdict, step) = (decision.verdict.into(), step(&decision.verdict));
        let body = decision_body(question, facts, decision);
        let (stored, reference) = body::seal(&key, &body);
        let mut record = v1::DecisionRecord {
            call_id: digest_bytes(&id),
            request_digest: digest_bytes(&question.request()),
            verdict: 0,
            step: step.into(),
            settle_version: SETTLE_VERSION,
            engine: ENGINE.into(),
            policy_digest: policy.map(|policy| digest_bytes(&policy.bundle.digest())).unwrap_or_default(),
            enforced: true,
            body: Some(reference),
        };
        record.set_verdict(verdict);
        let what = Some(v1::record::What::Decision(record.clone()));
        let encoded = v1::Record { at_us: at.micros(), what }.encode_to_vec().into();
        Ok(Self { at, call: question.call.clone(), id, record, body, encoded, stored })
    }

    pub(super) fn draft(&self, fence: Epochs) -> Draft {
        Draft { id: self.id, record: self.encoded.clone(), body: Some(self.stored.clone()), fence: Some(fence) }
    }

    /// Tells the session, and makes the answer. Only what the journal acknowledged comes here.
    pub(super) fn durable(self, session: &Session, sequence: Sequence, stream: Stream) -> Decided {
        let answer = answer(&self.record, Some(&self.body), sequence);
        let (at, call, record, body) = (self.at, self.call, self.record, self.body);
        session.decided(&Recorded { sequence, at, stream, call, record, body });
        answer
    }
}

/// The answer that a record gives, the first time and every time.
pub(super) fn answer(record: &v1::DecisionRecord, body: Option<&v1::DecisionBody>, sequence: Sequence) -> Decided {
    let (rule, reason) = match body {
        Some(body) => (body.rule.clone(), body.reason.clone()),
        None => ("gate.erased".into(), "what was said of this call has been erased".into()),
    };
    Decided { verdict: record.verdict, rule, reason, sequence }
}

pub(super) fn unavailable(error: impl std::error::Error) -> Undecided {
    Undecided::Journal(agentgate_core::error::chain(&error))
}

fn step(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Allow(_) | Verdict::Pending => "",
        Verdict::Deny(denial @ (Denial::Malformed | Denial::Policy | Denial::Unmatched | Denial::PolicyFailed)) => denial.name(),
    }
}

fn decision_body(question: &Question, facts: Facts, decision: Decision) -> v1::DecisionBody {
    let mut body = v1::DecisionBody {
        tenant: facts.tenant.to_string(),
        principal: facts.principal.to_string(),
        asker: facts.asker.to_string(),
        epoch: Bytes::copy_from_slice(&question.call.epoch.0),
        ask: Some(question.ask.clone()),
        rule: decision.rule.to_string(),
        reason: decision.reason,
        scope: match decision.scope {
            Some(Scope::Read) => "read".into(),
            Some(Scope::Write) => "write".into(),
            None => String::new(),
        },
        ..v1::DecisionBody::default()
    };
    match facts.reading {
        Ok(message) => {
            let digest = call_digest(&facts.tenant, &facts.principal, &facts.server, &message);
            body.call_digest = digest_bytes(&digest);
            body.method = message.method.name().into();
            body.target = message.target.unwrap_or_default();
            body.handle = message.handle.map(|handle| handle.as_str().into()).unwrap_or_default();
            body.version = message.version.as_str().into();
        }
        Err(malformed) => body.malformed = malformed.reason().into(),
    }
    body
}
