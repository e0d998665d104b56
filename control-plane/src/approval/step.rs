//! One step of an approval, ready to be written: the record, its words apart from it, and the id that makes it happen once.

use crate::body::{Seal, digest_bytes};
use crate::journal::{Expected, Stream, Write};
use agentgate_core::approval::{self, Event, Use, id_of};
use agentgate_core::canonical::{answers, covered_params};
use agentgate_core::decide::{Decision, Facts, Scope};
use agentgate_core::digest::{Digest, Digester};
use agentgate_core::id::CallId;
use agentgate_core::time::Time;
use agentgate_proto::v1;
use agentgate_proto::v1::approval_record::What;
use bytes::Bytes;
use prost::Message as _;

/// Grants that a call takes. One is enough until somebody configures more.
const STEPS: u32 = 1;

/// A call that needs an approval.
#[derive(Debug)]
pub struct Asked<'a> {
    pub call: &'a CallId,
    pub call_digest: Digest,
    pub facts: &'a Facts,
    pub decision: &'a Decision,
    pub policy: Option<Digest>,
}

/// What happens to an approval once it is durable.
#[derive(Clone, Debug)]
pub struct Step {
    pub write: Write,
    pub body: Option<Bytes>,
    pub(super) id: Digest,
    pub(super) at: Time,
    pub(super) record: v1::ApprovalRecord,
    pub(super) words: v1::ApprovalBody,
}

// === impl Step ===

impl Step {
    pub(super) fn request(asked: &Asked<'_>, expires_at: Time, seal: &Seal) -> Result<Self, String> {
        let (facts, id) = (asked.facts, id_of(asked.call, &seal.random()?));
        let message = facts.reading.as_ref().ok();
        let request = v1::ApprovalRequest {
            approval: digest_bytes(&id),
            call_digest: digest_bytes(&asked.call_digest),
            call_id: asked.call.to_string(),
            tenant: facts.tenant.to_string(),
            principal: facts.principal.to_string(),
            asker: facts.asker.to_string(),
            server: facts.server.to_string(),
            method: message.map(|message| message.method.name().into()).unwrap_or_default(),
            target: message.and_then(|message| message.target.clone()).unwrap_or_default(),
            scope: scope(asked.decision.scope).into(),
            rule: asked.decision.rule.to_string(),
            reason: asked.decision.reason.clone(),
            params: message.map(covered_params).unwrap_or_default(),
            requested_at_us: facts.at.micros(),
            expires_at_us: expires_at.micros(),
            policy_digest: asked.policy.as_ref().map(digest_bytes).unwrap_or_default(),
            steps: STEPS,
            path: facts.endpoint.path.clone(),
            answers: message.and_then(answers).unwrap_or_default(),
            http_method: facts.endpoint.method.clone(),
            host: facts.endpoint.host.clone(),
        };
        let what = What::Requested(v1::ApprovalRequested {
            call_id: digest_bytes(&asked.call.digest()),
            expires_at_us: expires_at.micros(),
            steps: STEPS,
        });
        let words = v1::ApprovalBody { request: request.encode_to_vec().into(), ..v1::ApprovalBody::default() };
        Self::of(id, "requested", facts.at, what, words, seal)
    }

    pub(super) fn decide(
        id: Digest,
        event: &Event,
        number: u32,
        words: v1::ApprovalBody,
        (seal, at): (&Seal, Time),
    ) -> Result<Self, String> {
        let what = match event {
            Event::Granted { expires_at, .. } => What::Granted(v1::ApprovalGranted {
                step: number,
                expires_at_us: expires_at.map(Time::micros).unwrap_or_default(),
            }),
            Event::Denied { .. } | Event::Spent(_) => What::Denied(v1::ApprovalDenied { step: number }),
        };
        // One name for both answers: of two approvers at once, one is first.
        Self::of(id, &format!("step-{number}"), at, what, words, seal)
    }

    pub(super) fn spend(id: Digest, spent: Use, by: &CallId, at: Time, seal: &Seal) -> Result<Self, String> {
        let spent = match spent {
            Use::Used => v1::ApprovalUse::Used,
            Use::Voided => v1::ApprovalUse::Voided,
        };
        let what = What::Spent(v1::ApprovalSpent { r#use: spent.into(), call_id: digest_bytes(&by.digest()) });
        let words = v1::ApprovalBody { by: by.to_string(), ..v1::ApprovalBody::default() };
        Self::of(id, "spent", at, what, words, seal)
    }

    fn of(id: Digest, name: &str, at: Time, what: What, words: v1::ApprovalBody, seal: &Seal) -> Result<Self, String> {
        let sealed = seal.seal(&words)?;
        let record = v1::ApprovalRecord { approval: digest_bytes(&id), what: Some(what), body: Some(sealed.reference) };
        let whole = v1::Record { at_us: at.micros(), what: Some(v1::record::What::Approval(record.clone())) };
        let bytes = whole.encode_to_vec().into();
        let write = Write { stream: Stream::approvals(), expected: Expected::Any, id: step_id(&id, name), record: bytes };
        Ok(Self { write, body: Some(sealed.stored), id, at, record, words })
    }

    /// The approval that it is a step of.
    #[must_use]
    pub fn approval(&self) -> Digest {
        self.id
    }

    /// That a grant was used, without a word of the call that did. None: it says something else.
    pub(super) fn use_alone(&self) -> Option<Self> {
        is_use(&self.record).then(|| Self { words: v1::ApprovalBody::default(), ..self.clone() })
    }

    pub(super) fn read(at: Time, record: v1::ApprovalRecord, words: v1::ApprovalBody, write: Write) -> Option<Self> {
        let id = Digest::try_from(record.approval.as_ref()).ok()?;
        Some(Self { write, body: None, id, at, record, words })
    }
}

/// The ids under which the journal has the steps of an approval.
#[must_use]
pub fn step_ids(approval: &Digest) -> Vec<Digest> {
    let numbered = (1..=STEPS).map(|number| step_id(approval, &format!("step-{number}")));
    [step_id(approval, "requested"), step_id(approval, "spent")].into_iter().chain(numbered).collect()
}

/// Whether it says that a grant was used, or voided: that is so without a word.
pub(super) fn is_use(record: &v1::ApprovalRecord) -> bool {
    matches!(record.what, Some(What::Spent(_)))
}

/// A second step of this name is a duplicate, for ever.
fn step_id(approval: &Digest, name: &str) -> Digest {
    let mut digester = Digester::new("agentgate/approval-step/1");
    digester.part(approval.as_bytes());
    digester.part(name.as_bytes());
    digester.finish()
}

/// The one spelling of a scope; empty: none.
#[must_use]
pub fn scope(scope: Option<Scope>) -> &'static str {
    match scope {
        Some(Scope::Read) => "read",
        Some(Scope::Write) => "write",
        None => "",
    }
}

/// What the bytes that an approver is shown are known by.
pub(super) fn shown(words: &v1::ApprovalBody) -> Digest {
    approval::shown_digest(&words.request)
}
