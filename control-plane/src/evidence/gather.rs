//! What there is about a session, a subject or a time. It reads the journal once, or of a session that records name the
//! streams that its records can stand in; looks up what stands before it and belongs to it; and says more than it can carry by
//! name instead of leaving anything out.

use super::{BUNDLES_MAX, Evidence, EvidenceError, Proved, Scope, WHOSE_MAX};
use crate::approval::step_ids;
use crate::body::{self, FetchError, Opened, SessionId, sessions_of};
use crate::bounded::Bounded;
use crate::journal::{Record, Sequence, Stream, Version};
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
use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::sync::Arc;

/// Records read at once.
const PAGE: u32 = 256;

/// What is read.
#[derive(Debug)]
enum Source {
    /// The whole journal, after this record.
    All(Sequence),
    /// These streams, one after the other: the first one after this version.
    Of { streams: VecDeque<Stream>, after: Version },
}

/// How far the reading is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Far {
    pub(super) read: u64,
    pub(super) of: u64,
}

/// Which records are given, found in one pass.
#[derive(Debug)]
pub(super) struct Choosing<'a> {
    evidence: &'a Evidence,
    scope: &'a Scope,
    source: Source,
    far: Far,
    /// The log's records, of which it reads no later one.
    size: u64,
    /// The session whose name this is, as records have it, and whose key is there: then it is nobody's handle.
    only: Option<SessionId>,
    pub(super) chosen: BTreeSet<Sequence>,
    /// Calls among them, and approvals that these name: what became of them belongs to them.
    decisions: HashSet<Sequence>,
    approvals: HashSet<Bytes>,
    /// Each policy as it came into force last, and where its bundle is.
    policies: BTreeMap<Bytes, (Sequence, Bytes)>,
    decided_by: BTreeSet<Bytes>,
    /// Whose key opens, or opened, what was chosen: a purge that erased it belongs to it.
    sessions: HashSet<SessionId>,
    whose: Bounded<SessionId, Option<body::Scope>>,
    erased: Erased,
}

/// Records of the time that is asked for that a name may have stood in, while it could be read.
#[derive(Debug, Default)]
struct Erased {
    /// The session that was asked for is on record, by the name that records give it.
    met: bool,
    /// Of it.
    named: u64,
    /// Of others.
    others: u64,
    purges: u64,
    last_purge_us: u64,
}

/// A record and its body.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) proved: Proved,
    pub(super) body: Option<v1::EvidenceBody>,
}

// === impl Choosing ===

impl<'a> Choosing<'a> {
    pub(super) async fn new(evidence: &'a Evidence, scope: &'a Scope, size: u64) -> Result<Self, EvidenceError> {
        let mut choosing = Self {
            evidence,
            scope,
            source: Source::All(0),
            far: Far { read: 0, of: size },
            size,
            only: None,
            chosen: BTreeSet::new(),
            decisions: HashSet::new(),
            approvals: HashSet::new(),
            policies: BTreeMap::new(),
            decided_by: BTreeSet::new(),
            sessions: HashSet::new(),
            whose: Bounded::new(WHOSE_MAX),
            erased: Erased::default(),
        };
        if let Some(session) = SessionId::named(&scope.session)
            && let Some(body::Scope::Calls { tenant, principal, .. }) = choosing.whose(session).await?
        {
            choosing.only = Some(session);
            if let Some(subject) = evidence.bodies.stream_there(&tenant, &principal).await? {
                choosing.read_only([subject, Stream::approvals(), Stream::global()]).await?;
            }
        }
        Ok(choosing)
    }

    /// As it would be found without any stream.
    #[cfg(test)]
    pub(super) fn of_all(self) -> Self {
        Self { source: Source::All(0), ..self }
    }

    #[cfg(test)]
    pub(super) fn is_of_streams(&self) -> bool {
        matches!(self.source, Source::Of { .. })
    }

    /// What one session's key seals stands in its subject's stream, in that of approvals, or in that of orders.
    async fn read_only(&mut self, streams: [Stream; 3]) -> Result<(), EvidenceError> {
        self.far.of = 0;
        for stream in streams {
            self.far.of = self.far.of.saturating_add(self.evidence.journal.version(stream).await?);
        }
        self.source = Source::Of { streams: streams.into(), after: 0 };
        Ok(())
    }

    /// Reads the next records; none: there are none.
    pub(super) async fn page(&mut self) -> Result<Option<Far>, EvidenceError> {
        let page = match &mut self.source {
            Source::All(cursor) => {
                let left = u32::try_from(self.size.saturating_sub(*cursor)).unwrap_or(u32::MAX);
                if left == 0 {
                    return Ok(None);
                }
                let page = self.evidence.journal.follow(*cursor, left.min(PAGE)).await?;
                *cursor = page.last().map_or(self.size, |last| last.sequence);
                page
            }
            Source::Of { streams, after } => {
                let Some(stream) = streams.front().copied() else { return Ok(None) };
                let page = self.evidence.journal.read(stream, *after, PAGE).await?;
                match page.last() {
                    Some(last) => *after = last.version,
                    None => (_, *after) = (streams.pop_front(), 0),
                }
                page
            }
        };
        let size = self.size;
        for record in page.iter().filter(|record| record.sequence <= size) {
            let (at, what) = parse(record).map_err(EvidenceError::Past)?;
            self.look(record, at, &what).await?;
        }
        self.far.read = self.far.read.saturating_add(u64::try_from(page.len()).unwrap_or_default());
        Ok(Some(self.far))
    }

    async fn look(&mut self, record: &Record, at: Time, what: &What) -> Result<(), EvidenceError> {
        if let What::Policy(policy) = what {
            self.policies.insert(policy.digest.clone(), (record.sequence, policy.address.clone()));
        }
        let linked = match what {
            What::Outcome(outcome) => self.decisions.contains(&outcome.decision),
            What::Approval(approval) => self.approvals.contains(&approval.approval),
            What::Purge(purge) => {
                self.note(at, purge);
                self.is_erased_by(purge)
            }
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

    /// Why something here is erased, or a session that was asked for.
    fn is_erased_by(&self, purge: &v1::PurgeRecord) -> bool {
        sessions_of(purge).any(|session| self.scope.names(session) || self.sessions.contains(&session))
    }

    /// Counts a purge of what was said in the time that is asked for.
    fn note(&mut self, at: Time, purge: &v1::PurgeRecord) {
        // One of streams alone erased no words.
        if !purge.sessions.is_empty() && self.scope.overlaps(purge.since_us, purge.until_us) {
            self.erased.purges = self.erased.purges.saturating_add(1);
            self.erased.last_purge_us = at.micros();
        }
    }

    /// False: it was chosen already.
    fn choose(&mut self, sequence: Sequence, what: &What) -> bool {
        let is_new = self.chosen.insert(sequence);
        self.sessions.extend(what.body_ref().and_then(SessionId::of));
        self.approvals.extend(what.approval().cloned());
        if let What::Decision(decision) = what {
            self.decisions.insert(sequence);
            if !decision.policy_digest.is_empty() {
                self.decided_by.insert(decision.policy_digest.clone());
            }
        }
        is_new
    }

    /// Every step of each approval that was met, and the call that asked for it: they may stand before the time that is asked
    /// for, and who agreed to a call belongs to it.
    pub(super) async fn complete(&mut self) -> Result<(), EvidenceError> {
        let known = self.sessions.len();
        for approval in self.approvals.clone() {
            // Who gave one that cannot be an id gave no steps either.
            let Ok(approval) = Digest::try_from(approval.as_ref()) else { continue };
            // Calls are decided first.
            tokio::task::yield_now().await;
            for step in step_ids(&approval) {
                let Some(what) = self.take(step).await? else { continue };
                if let What::Approval(v1::ApprovalRecord { what: Some(Step::Requested(requested)), .. }) = what
                    && let Ok(call) = Digest::try_from(requested.call_id.as_ref())
                {
                    self.take(call).await?;
                }
            }
        }
        // Their purges may have been read before they were met.
        if self.sessions.len() > known { self.purges().await } else { Ok(()) }
    }

    async fn purges(&mut self) -> Result<(), EvidenceError> {
        let (size, mut after) = (self.size, 0);
        loop {
            let page = self.evidence.journal.read(Stream::global(), after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.version;
            for record in page.iter().filter(|record| record.sequence <= size) {
                let (_, what) = parse(record).map_err(EvidenceError::Past)?;
                if matches!(&what, What::Purge(purge) if self.is_erased_by(purge)) {
                    self.choose(record.sequence, &what);
                    self.bounded()?;
                }
            }
        }
    }

    /// Chooses the record that was written under this id; none where the log has none of it.
    async fn take(&mut self, id: Digest) -> Result<Option<What>, EvidenceError> {
        let Some(position) = self.evidence.journal.find(id).await? else { return Ok(None) };
        let sequence = position.sequence;
        let Some(record) = self.evidence.stored(sequence, self.size).await? else { return Ok(None) };
        let (at, what) = parse(&record).map_err(EvidenceError::Past)?;
        if self.choose(sequence, &what) && self.scope.covers(at) {
            self.uncount(&what).await?;
        }
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
        let names = self.scope.names(session);
        self.erased.met |= names;
        if self.only.is_some() && !names {
            return Ok(false);
        }
        if names && self.scope.principal.is_empty() {
            return Ok(true);
        }
        let Some(whose) = self.whose(session).await? else {
            let count = self.erased.count(names);
            *count = count.saturating_add(1);
            return Ok(false);
        };
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

    /// It was counted among those that a name may have stood in, and is given all the same.
    async fn uncount(&mut self, what: &What) -> Result<(), EvidenceError> {
        let Some(session) = what.body_ref().and_then(SessionId::of) else { return Ok(()) };
        let names = self.scope.names(session);
        let is_matched = self.scope.is_of_everybody() || names && self.scope.principal.is_empty();
        if !is_matched && (names || self.only.is_none()) && self.whose(session).await?.is_none() {
            let count = self.erased.count(names);
            *count = count.saturating_sub(1);
        }
        Ok(())
    }

    /// None where no name was asked for.
    pub(super) fn unmatched(&self) -> Option<v1::Unmatched> {
        let Erased { met, named, others, purges, last_purge_us } = self.erased;
        // A session that is on record by its own name is no other one.
        let records = if met { named } else { named.saturating_add(others) };
        (!self.scope.is_of_everybody()).then_some(v1::Unmatched { records, purges, last_purge_us })
    }

    /// None: nobody can say any longer.
    async fn whose(&mut self, session: SessionId) -> Result<Option<body::Scope>, EvidenceError> {
        if let Some(whose) = self.whose.get(&session) {
            return Ok(whose.clone());
        }
        let whose = self.evidence.bodies.whose(session).await?;
        self.whose.put(session, whose.clone());
        Ok(whose)
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

// === impl Erased ===

impl Erased {
    fn count(&mut self, names: bool) -> &mut u64 {
        if names { &mut self.named } else { &mut self.others }
    }
}

/// The manifest's line of it. It says nothing where nothing is unmatched.
pub(super) fn unmatched(unmatched: &v1::Unmatched) -> String {
    let v1::Unmatched { records, purges, last_purge_us } = unmatched;
    match (records, purges) {
        (0, _) => String::new(),
        (records, 0) => format!("unmatched {records}\n"),
        (records, purges) => {
            format!("unmatched {records}; purges {purges}, the last at {}\n", Time::from_micros(*last_purge_us))
        }
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
