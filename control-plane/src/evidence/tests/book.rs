//! A journal as the rooms write it: calls of several subjects and sessions, what became of them, and orders, each in its stream
//! and its words under the key that they belong to.

use super::*;
use crate::session::{Source, outcome_id};
use agentgate_core::id::{Principal, Tenant};

pub(super) const ALICE: &str = "spiffe://agentgate.local/agent/alice";
pub(super) const BOB: &str = "spiffe://agentgate.local/agent/bob";

pub(super) struct Book {
    pub(super) bodies: Bodies,
    /// The moment of the next record, and its sequence.
    pub(super) at_us: u64,
    pub(super) records: u64,
}

/// A call that was recorded.
#[derive(Clone, Debug)]
pub(super) struct Called {
    pub(super) sequence: u64,
    pub(super) id: Digest,
    pub(super) session: SessionId,
    subject: body::Scope,
}

pub(super) fn subject(principal: &str, handle: &str) -> body::Scope {
    let (tenant, principal) = (Tenant::try_from("default").unwrap(), Principal::try_from(principal).unwrap());
    body::Scope::Calls { tenant, principal, handle: handle.into() }
}

pub(super) fn bytes(digest: &Digest) -> Bytes {
    Bytes::copy_from_slice(digest.as_bytes())
}

// === impl Book ===

impl Book {
    pub(super) async fn new() -> Self {
        let bodies = Bodies::open(Arc::new(Memory::new()), DataKey::new(&[7; 32]), counting).await.unwrap();
        Self { bodies, at_us: 1, records: 0 }
    }

    async fn stream(&self, scope: &body::Scope) -> Stream {
        match scope {
            body::Scope::Calls { tenant, principal, .. } => self.bodies.stream(tenant, principal).await.unwrap(),
            body::Scope::Orders => Stream::global(),
        }
    }

    async fn sealed(&self, scope: &body::Scope, words: &impl prost::Message) -> (Option<v1::BodyRef>, Vec<Bytes>) {
        let sealed = self.bodies.seal(scope, Time::from_micros(self.at_us)).await.unwrap().seal(words).unwrap();
        (Some(sealed.reference), vec![sealed.stored])
    }

    pub(super) async fn write(&mut self, stream: Stream, id: Digest, what: What, bodies: Vec<Bytes>) -> u64 {
        let record = v1::Record { at_us: self.at_us, what: Some(what) }.encode_to_vec().into();
        let write = Write { stream, expected: Expected::Any, id, record };
        self.bodies.journal().append(Change { fence: None, writes: vec![write], bodies }).await.unwrap();
        self.at_us += 1;
        self.records += 1;
        self.records
    }

    fn fresh(&self) -> Digest {
        Digest::of("test/record", &self.records.to_be_bytes())
    }

    pub(super) async fn call(&mut self, principal: &str, handle: &str, approval: Option<Digest>) -> Called {
        let (scope, id) = (subject(principal, handle), self.fresh());
        let words = v1::DecisionBody { principal: principal.into(), handle: handle.into(), ..v1::DecisionBody::default() };
        let (body, stored) = self.sealed(&scope, &words).await;
        let session = SessionId::of(body.as_ref().unwrap()).unwrap();
        let approval = approval.as_ref().map(bytes).unwrap_or_default();
        let policy_digest = vec![u8::try_from(self.records % 2).unwrap() + 1; 32].into();
        let call_id = bytes(&id);
        let record = v1::DecisionRecord { call_id, body, approval, policy_digest, ..v1::DecisionRecord::default() };
        let stream = self.stream(&scope).await;
        let sequence = self.write(stream, id, What::Decision(record), stored).await;
        Called { sequence, id, session, subject: scope }
    }

    pub(super) async fn outcome(&mut self, called: &Called) -> u64 {
        let (body, stored) = self.sealed(&called.subject, &v1::OutcomeBody::default()).await;
        let record = v1::OutcomeRecord { call_id: bytes(&called.id), decision: called.sequence, body, ..Default::default() };
        let stream = self.stream(&called.subject).await;
        self.write(stream, outcome_id(&called.id, Source::Reported), What::Outcome(record), stored).await
    }

    pub(super) async fn flood(&mut self, principal: &str) -> u64 {
        let (scope, id) = (subject(principal, ""), self.fresh());
        let (body, stored) = self.sealed(&scope, &v1::FloodBody::default()).await;
        let stream = self.stream(&scope).await;
        self.write(stream, id, What::Flood(v1::FloodRecord { count: 2, body, ..Default::default() }), stored).await
    }

    pub(super) async fn step(&mut self, called: &Called, approval: &Digest, step: usize) -> u64 {
        let (body, stored) = self.sealed(&called.subject, &v1::ApprovalBody::default()).await;
        let requested = v1::ApprovalRequested { call_id: bytes(&called.id), ..Default::default() };
        let what = if step == 0 { Step::Requested(requested) } else { Step::Granted(v1::ApprovalGranted::default()) };
        let record = v1::ApprovalRecord { approval: bytes(approval), what: Some(what), body };
        self.write(Stream::approvals(), step_ids(approval)[step], What::Approval(record), stored).await
    }

    pub(super) async fn policy(&mut self, name: u8) -> u64 {
        let (digest, id) = (vec![name; 32].into(), self.fresh());
        let address = self.bodies.journal().keep(vec![name; 9].into()).await.unwrap();
        let policy = v1::PolicyRecord { digest, address: bytes(&address), ..Default::default() };
        self.write(Stream::global(), id, What::Policy(policy), Vec::new()).await
    }

    pub(super) async fn kill(&mut self) -> u64 {
        let (body, stored) = self.sealed(&body::Scope::Orders, &v1::KillBody::default()).await;
        let id = self.fresh();
        self.write(Stream::global(), id, What::Kill(v1::KillRecord { resumed: false, body }), stored).await
    }

    /// Under a key of what it holds.
    pub(super) async fn hold(&mut self, called: &Called) -> u64 {
        let (body, stored) = self.sealed(&called.subject, &v1::HoldBody::default()).await;
        let id = self.fresh();
        self.write(Stream::global(), id, What::Hold(v1::HoldRecord { lifts: 0, body }), stored).await
    }

    /// Erases these sessions, whose calls were between these moments.
    pub(super) async fn purge(&mut self, sessions: &[SessionId], (since_us, until_us): (u64, u64)) -> u64 {
        for session in sessions {
            assert!(self.bodies.erase(*session).await.unwrap());
        }
        let named = sessions.iter().map(|session| Bytes::from(hex_bytes(&session.to_string()))).collect();
        let id = self.fresh();
        let purge = v1::PurgeRecord { sessions: named, since_us, until_us, ..v1::PurgeRecord::default() };
        self.write(Stream::global(), id, What::Purge(purge), Vec::new()).await
    }

    /// Nothing leads any more to a subject of whom nothing is kept.
    pub(super) async fn forget(&mut self) -> u64 {
        let streams = vec![v1::PurgedStream { stream: vec![8; 32].into(), version: 1 }];
        let id = self.fresh();
        let purge = v1::PurgeRecord { streams, ..v1::PurgeRecord::default() };
        self.write(Stream::global(), id, What::Purge(purge), Vec::new()).await
    }

    pub(super) async fn closed(self) -> Arc<Evidence> {
        over(self.bodies, self.records, Clock::system()).await
    }
}

fn hex_bytes(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}
