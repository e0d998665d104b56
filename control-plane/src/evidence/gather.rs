//! What there is about a session, a subject or a time. It reads the journal once, looks up what stands before it and belongs
//! to it, and says more than it can carry by name instead of leaving anything out.

use super::{BUNDLES_MAX, Evidence, EvidenceError, Proved, Scope, WHOSE_MAX};
use crate::approval::step_ids;
use crate::body::{self, FetchError, Opened, SessionId};
use crate::bounded::Bounded;
use crate::journal::{Record, Sequence};
use crate::session::parse;
use crate::transparency::Published;
use agentgate_core::digest::Digest;
use agentgate_core::id::Tenant;
use agentgate_core::pii::Pii;
use agentgate_core::time::Time;
use agentgate_proto::v1;
use agentgate_proto::v1::approval_record::What as Step;
use agentgate_proto::v1::record::What;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

/// Records read at once.
const PAGE: u32 = 256;

/// Which records are given, found in one pass.
#[derive(Debug)]
pub(super) struct Choosing<'a> {
    evidence: &'a Evidence,
    scope: &'a Scope,
    pub(super) chosen: BTreeSet<Sequence>,
    /// Calls among them, and approvals that these name: what became of them belongs to them.
    decisions: HashSet<Sequence>,
    approvals: HashSet<Bytes>,
    /// Each policy as it came into force last, and where its bundle is.
    policies: BTreeMap<Bytes, (Sequence, Bytes)>,
    decided_by: BTreeSet<Bytes>,
    whose: Bounded<SessionId, Option<body::Scope>>,
}

/// A record and its body.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) proved: Proved,
    pub(super) body: Option<v1::EvidenceBody>,
}

// === impl Choosing ===

impl<'a> Choosing<'a> {
    pub(super) fn new(evidence: &'a Evidence, scope: &'a Scope) -> Self {
        Self {
            evidence,
            scope,
            chosen: BTreeSet::new(),
            decisions: HashSet::new(),
            approvals: HashSet::new(),
            policies: BTreeMap::new(),
            decided_by: BTreeSet::new(),
            whose: Bounded::new(WHOSE_MAX),
        }
    }

    /// Reads the next records up to `size`; false: there are none.
    pub(super) async fn page(&mut self, cursor: &mut Sequence, size: u64) -> Result<bool, EvidenceError> {
        let left = u32::try_from(size.saturating_sub(*cursor)).unwrap_or(u32::MAX);
        if left == 0 {
            return Ok(false);
        }
        let page = self.evidence.journal.follow(*cursor, left.min(PAGE)).await?;
        for record in &page {
            *cursor = record.sequence;
            let (at, what) = parse(record).map_err(EvidenceError::Past)?;
            self.look(record, at, &what).await?;
        }
        Ok(!page.is_empty())
    }

    async fn look(&mut self, record: &Record, at: Time, what: &What) -> Result<(), EvidenceError> {
        if let What::Policy(policy) = what {
            self.policies.insert(policy.digest.clone(), (record.sequence, policy.address.clone()));
        }
        let linked = match what {
            What::Outcome(outcome) => self.decisions.contains(&outcome.decision),
            What::Approval(approval) => self.approvals.contains(&approval.approval),
            // Why a session that was asked for is erased.
            What::Purge(purge) => purge.sessions.iter().any(|session| self.scope.is_named_by(session)),
            What::Decision(_) | What::Policy(_) | What::Flood(_) | What::Kill(_) | What::Mode(_) | What::Hold(_) => false,
        };
        // What became of a call belongs to it, whenever it was.
        let wanted = linked || self.scope.covers(at) && self.is_about(what).await?;
        if !wanted {
            return Ok(());
        }
        self.choose(record.sequence, what);
        self.bounded()
    }

    fn choose(&mut self, sequence: Sequence, what: &What) {
        self.chosen.insert(sequence);
        match what {
            What::Decision(decision) => {
                self.decisions.insert(sequence);
                if !decision.approval.is_empty() {
                    self.approvals.insert(decision.approval.clone());
                }
                if !decision.policy_digest.is_empty() {
                    self.decided_by.insert(decision.policy_digest.clone());
                }
            }
            What::Approval(step) => drop(self.approvals.insert(step.approval.clone())),
            What::Outcome(_)
            | What::Policy(_)
            | What::Flood(_)
            | What::Kill(_)
            | What::Mode(_)
            | What::Hold(_)
            | What::Purge(_) => {}
        }
    }

    /// Every step of each approval that was met, and the call that asked for it: they may stand before the time that is asked
    /// for, and who agreed to a call belongs to it.
    pub(super) async fn complete(&mut self, size: u64) -> Result<(), EvidenceError> {
        for approval in self.approvals.clone() {
            // Who gave one that cannot be an id gave no steps either.
            let Ok(approval) = Digest::try_from(approval.as_ref()) else { continue };
            // Calls are decided first.
            tokio::task::yield_now().await;
            for step in step_ids(&approval) {
                let Some(what) = self.take(step, size).await? else { continue };
                if let What::Approval(v1::ApprovalRecord { what: Some(Step::Requested(requested)), .. }) = what
                    && let Ok(call) = Digest::try_from(requested.call_id.as_ref())
                {
                    self.take(call, size).await?;
                }
            }
        }
        Ok(())
    }

    /// Chooses the record that was written under this id; none where the log has none of it.
    async fn take(&mut self, id: Digest, size: u64) -> Result<Option<What>, EvidenceError> {
        let Some(position) = self.evidence.journal.find(id).await? else { return Ok(None) };
        let sequence = position.sequence;
        let Some(record) = self.evidence.stored(sequence, size).await? else { return Ok(None) };
        let (_, what) = parse(&record).map_err(EvidenceError::Past)?;
        self.choose(sequence, &what);
        self.bounded()?;
        Ok(Some(what))
    }

    fn bounded(&self) -> Result<(), EvidenceError> {
        let records_max = self.evidence.bounds.records;
        if self.chosen.len() > records_max {
            return Err(EvidenceError::TooMany { what: "records", max: records_max });
        }
        if self.decided_by.len() > BUNDLES_MAX {
            return Err(EvidenceError::TooMany { what: "policies", max: BUNDLES_MAX });
        }
        Ok(())
    }

    /// Whether it is of the subject and the session that are asked for.
    async fn is_about(&mut self, what: &What) -> Result<bool, EvidenceError> {
        if self.scope.is_of_everybody() {
            return Ok(true);
        }
        let Some(session) = what.body_ref().and_then(SessionId::of) else { return Ok(false) };
        if self.scope.names(session) && self.scope.principal.is_empty() {
            return Ok(true);
        }
        let whose = match self.whose.get(&session) {
            Some(whose) => whose.clone(),
            None => {
                let whose = self.evidence.bodies.whose(session).await?;
                self.whose.put(session, whose.clone());
                whose
            }
        };
        let Some(whose) = whose else { return Ok(false) };
        // Handles beyond the bound of a subject share the key of calls without one: then the call itself says.
        if let (body::Scope::Calls { handle, .. }, What::Decision(decision)) = (&whose, what)
            && handle.is_empty()
            && self.scope.is_of(session, &whose.clone().with_handle(&self.scope.session))
        {
            let body: Option<v1::DecisionBody> = self.evidence.bodies.fetch(decision.body.as_ref()).await?;
            return Ok(self.scope.names(session) || body.is_some_and(|body| body.handle == self.scope.session));
        }
        Ok(self.scope.is_of(session, &whose))
    }

    /// The bundles that decided what was chosen, and where they came into force: those records are given as well.
    pub(super) fn bundles(&mut self) -> Vec<(Bytes, Bytes)> {
        let decided_by = std::mem::take(&mut self.decided_by);
        let mut bundles = Vec::new();
        for digest in decided_by {
            if let Some((sequence, address)) = self.policies.get(&digest) {
                self.chosen.insert(*sequence);
                bundles.push((digest, address.clone()));
            }
        }
        bundles
    }
}

fn erased() -> v1::EvidenceBody {
    v1::EvidenceBody { erased: true, ..v1::EvidenceBody::default() }
}

impl Evidence {
    /// One record, its proof to this checkpoint, and its body.
    pub(super) async fn give(
        &self,
        scope: &Scope,
        checkpoint: &Arc<Published>,
        sequence: Sequence,
    ) -> Result<Given, EvidenceError> {
        let proved = self.prove_in(Arc::clone(checkpoint), sequence).await?;
        let record =
            <v1::Record as prost::Message>::decode(proved.record.clone()).map_err(|_| EvidenceError::Another(sequence))?;
        let body = match record.what.as_ref().and_then(|what| Some((what, what.body_ref()?))) {
            Some((_, reference)) if scope.sealed => Some(match self.bodies.sealed(reference).await? {
                Some(sealed) => v1::EvidenceBody { sealed, ..v1::EvidenceBody::default() },
                None => erased(),
            }),
            Some((what, reference)) => {
                let opened = self.bodies.open_plain(reference).await?;
                Some(self.shown(scope.pii, (what, reference), opened).await?)
            }
            None => None,
        };
        Ok(Given { proved, body })
    }

    /// A body as it was committed to, or as it may be given. Where it is altered its salt is not given: that would confirm a guess.
    async fn shown(
        &self,
        pii: Pii,
        (what, reference): (&What, &v1::BodyRef),
        opened: Option<Opened<Bytes>>,
    ) -> Result<v1::EvidenceBody, EvidenceError> {
        let Some(opened) = opened else { return Ok(erased()) };
        let Some(seal) = self.bodies.seal_of(reference).await? else { return Ok(erased()) };
        if let Some(altering) = self.privacy.giving(pii, seal.tenant().map_or("", Tenant::as_str)).await?
            && let Some((plain, altered)) = altering.given(what, &opened.body).map_err(|_| EvidenceError::Unaltered)?
        {
            return Ok(v1::EvidenceBody { plain, altered: Some(altered), ..v1::EvidenceBody::default() });
        }
        Ok(v1::EvidenceBody { salt: Bytes::copy_from_slice(&opened.salt.0), plain: opened.body, ..v1::EvidenceBody::default() })
    }

    /// A body that was gathered sealed, as one that is given as its tenant's are recorded, or erased.
    pub(super) async fn open_one(&self, at: usize, given: v1::SealedBody) -> Result<v1::EvidenceBody, EvidenceError> {
        let wrong = || EvidenceError::Sealed(at);
        let size = self.log.newest().ok_or(EvidenceError::Unsigned)?.size;
        // Who gives the record says with it which key opens the body, and how the body is read.
        let stored = self.stored(given.sequence, size).await?.filter(|stored| stored.bytes == given.record).ok_or_else(wrong)?;
        let record = <v1::Record as prost::Message>::decode(stored.bytes).map_err(|_| wrong())?;
        let (what, reference) = record.what.as_ref().and_then(|what| Some((what, what.body_ref()?))).ok_or_else(wrong)?;
        match self.bodies.open_sealed(reference, &given.sealed).await {
            Ok(opened) => self.shown(Pii::Off, (what, reference), opened).await,
            Err(FetchError::Body(_) | FetchError::Unnamed | FetchError::Address) => Err(wrong()),
            Err(error @ (FetchError::Read(_) | FetchError::Key(_))) => Err(error.into()),
        }
    }

    /// A record that a log of this size has. The journal would wait for one that it has not.
    pub(super) async fn stored(&self, sequence: Sequence, size: u64) -> Result<Option<Record>, EvidenceError> {
        if !(1..=size).contains(&sequence) {
            return Ok(None);
        }
        let page = self.journal.follow(sequence.saturating_sub(1), 1).await?;
        Ok(page.into_iter().find(|record| record.sequence == sequence))
    }

    pub(super) async fn bundle(&self, digest: Bytes, address: &Bytes) -> Result<Option<v1::EvidenceBundle>, EvidenceError> {
        let Ok(address) = Digest::try_from(address.as_ref()) else { return Ok(None) };
        Ok(self.journal.fetch(address).await?.map(|content| v1::EvidenceBundle { digest, content }))
    }
}
