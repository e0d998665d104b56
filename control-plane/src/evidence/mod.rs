//! Evidence: what an auditor is given. Records as they are stored, and proofs that they are in the log.
//!
//! It changes nothing, and it judges nothing: whoever checks it needs public keys and nobody's word.

mod gather;
pub mod rpc;
mod statement;
#[cfg(test)]
mod tests;

use crate::body::{self, Bodies, FetchError, KeyError, SessionId};
use crate::clock::Clock;
use crate::journal::{Journal, ReadError, Sequence};
use crate::privacy::{Privacy, pii_from_wire};
use crate::session::PastError;
use crate::telemetry::Counted;
use crate::transparency::{Published, Transparency, TransparencyError};
use agentgate_core::id::{NameError, Principal, SpiffeId};
use agentgate_core::pii::Pii;
use agentgate_core::time::Time;
use agentgate_core::transparency::leaf::Entry;
use agentgate_core::transparency::proof::Proof;
use agentgate_proto::transparency::hashes_to_wire;
use agentgate_proto::v1;
use agentgate_proto::v1::gather_evidence_response::What as Told;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::{Semaphore, mpsc, watch};

/// Files of the log in one answer: together some megabyte.
pub const LOG_FILES_MAX: usize = 64;

/// Gathered at once: it reads the whole journal, and one core of the smallest machine always stays with the calls.
const GATHERED_AT_ONCE_MAX: usize = 1;

/// Records of one gathering: what a person can still go through, and what fits into one signed list.
const GATHERED_RECORDS_MAX: usize = 10_000;

/// Bytes of records and bodies of one gathering: whoever packs them holds them in memory.
const GATHERED_BYTES_MAX: usize = 64 << 20;

/// Policies of one gathering.
const BUNDLES_MAX: usize = 64;

/// Sessions whose subject is remembered while a gathering goes on; the others are looked up again.
const WHOSE_MAX: usize = 16_384;

/// Sealed bodies that are opened in one answer; a longer pack asks again.
const OPENED_MAX: usize = 64;

/// Files that one statement names.
const FILES_MAX: usize = 16;

/// How often it is told how far the reading is, in pages.
const PAGES_TOLD: u32 = 16;

/// How much of a gathering may be told before somebody listens.
const TOLD_AHEAD: usize = 4;

/// Whoever takes nothing for so long has left: others wait for their turn.
const HEEDED_WITHIN: Duration = Duration::from_secs(30);

/// And whoever takes less than this, a second, of what he is given. So all of a gathering waits for its reader no longer than
/// nine minutes. A megabit a second is the slowest line that somebody may have.
const HEEDED_BYTES_A_SECOND_MIN: u64 = 128 << 10;

#[derive(Debug, Error)]
pub enum EvidenceError {
    #[error("evidence is gathered for {max} already; try again when that has ended")]
    Crowded { max: usize },
    #[error("name a session, a principal or a time: evidence is not gathered of everything")]
    Everything,
    #[error("`principal` is none that a filter names: nobody called by it")]
    Principal(#[source] NameError),
    #[error("bodies are given as they are recorded, redacted or tokenised; this control plane knows no other way")]
    Pii,
    #[error(
        "sealed bodies are given as they are kept, and are altered as their tenants' are when they are opened: leave out `pii`"
    )]
    SealedPii,
    #[error("there are more than {max} {what}; name a shorter time with `since` and `until`, or one session")]
    TooMany { what: &'static str, max: usize },
    #[error("{asked} bodies were given, and at most {OPENED_MAX} are opened at once")]
    Bodies { asked: usize },
    #[error("body {0} of those that were given is not what its record committed to")]
    Sealed(usize),
    #[error("nothing is signed as yet; try again in a second")]
    Unsigned,
    #[error("a statement names 1 to {FILES_MAX} files once each, by lower-case names and digests of 32 bytes")]
    Names,
    #[error(transparent)]
    Past(PastError),
    #[error(transparent)]
    Body(#[from] FetchError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("this replica leaves; ask the next one")]
    Leaving,
    #[error("nobody waits for it any longer")]
    Left,
    #[error(
        "evidence is given no slower than {HEEDED_BYTES_A_SECOND_MIN} bytes a second, because others wait for their turn; name a shorter time, or ask over a faster line"
    )]
    Slow,
    #[error(transparent)]
    Log(#[from] TransparencyError),
    #[error("the journal cannot be read")]
    Read(#[from] ReadError),
    #[error("record {0} is not what the log says of it; `agentgate journal check` says more")]
    Another(Sequence),
    #[error("{asked} files of the log were asked for, and at most {LOG_FILES_MAX} are given at once")]
    Files { asked: usize },
    #[error("the log has no file `{0}` as yet")]
    NoFile(String),
    #[error(
        "a body cannot be read, so that nobody knows what is personal in it; `agentgate-control-plane journal check` says more"
    )]
    Unaltered,
    #[error("making the evidence failed; the log of this replica says more")]
    Failed,
}

/// A record, and what shows that the log has it.
#[derive(Clone, Debug)]
pub struct Proved {
    pub checkpoint: Arc<Published>,
    pub entry: Entry,
    pub proof: Proof,
    pub record: Bytes,
}

/// What evidence is asked about. All that is named must agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    session: String,
    principal: String,
    since_us: u64,
    until_us: u64,
    /// How bodies are given; off: as each tenant's are recorded.
    pii: Pii,
    /// Bodies are given as they are kept.
    sealed: bool,
}

/// What one gathering may take.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    records: usize,
    bytes: usize,
}

/// What is heard of a gathering until it ends.
pub type Heeded = mpsc::Receiver<Result<v1::GatherEvidenceResponse, EvidenceError>>;

type Saying = mpsc::Sender<Result<v1::GatherEvidenceResponse, EvidenceError>>;

/// How long a gathering waited for whoever takes it, and how much he took. What it takes to read is nobody's fault.
#[derive(Debug, Default)]
struct Pace {
    waited: Duration,
    bytes: u64,
}

#[derive(Debug)]
pub struct Evidence {
    journal: Arc<dyn Journal>,
    bodies: Arc<Bodies>,
    privacy: Arc<Privacy>,
    clock: Clock,
    log: Arc<Transparency>,
    /// As it is now: what was decided is read again by it.
    body_bytes_max: u32,
    bounds: Bounds,
    gathering: Arc<Semaphore>,
}

// === impl Scope ===

impl Scope {
    /// # Errors
    /// Where nothing is named, or nobody, or a way to give bodies that is none here.
    pub fn read(request: v1::GatherEvidenceRequest) -> Result<Self, EvidenceError> {
        // A way that a later release knows is not to be taken for none.
        let pii = pii_from_wire(v1::Pii::try_from(request.pii).map_err(|_| EvidenceError::Pii)?);
        if request.sealed && pii != Pii::Off {
            return Err(EvidenceError::SealedPii);
        }
        let v1::GatherEvidenceRequest { session, principal, since_us, until_us, pii: _, sealed } = request;
        if session.is_empty() && principal.is_empty() && since_us == 0 && until_us == 0 {
            return Err(EvidenceError::Everything);
        }
        // What is asked for is signed: a name that looks like another one would be signed to have done nothing.
        if !principal.is_empty() {
            Principal::try_from(principal.as_str()).map_err(EvidenceError::Principal)?;
        }
        Ok(Self { session, principal, since_us, until_us, pii, sealed })
    }

    fn covers(&self, at: Time) -> bool {
        at.micros() >= self.since_us && (self.until_us == 0 || at.micros() < self.until_us)
    }

    fn is_of_everybody(&self) -> bool {
        self.session.is_empty() && self.principal.is_empty()
    }

    /// Whether it names this session as records do.
    fn names(&self, session: SessionId) -> bool {
        self.session == session.to_string()
    }

    /// Whether something of this time is of the time that is asked for.
    fn overlaps(&self, since_us: u64, until_us: u64) -> bool {
        until_us >= self.since_us && (self.until_us == 0 || since_us < self.until_us)
    }

    fn is_of(&self, session: SessionId, whose: &body::Scope) -> bool {
        match whose {
            body::Scope::Calls { principal, handle, .. } => {
                let session = self.session.is_empty() || self.names(session) || *handle == self.session;
                session && (self.principal.is_empty() || principal.as_str() == self.principal)
            }
            // They are to everybody, and about nobody.
            body::Scope::Orders => self.is_of_everybody(),
        }
    }
}

// === impl Pace ===

impl Pace {
    /// How much longer it may wait, with so many bytes more to take.
    fn left(&mut self, bytes: usize) -> Duration {
        self.bytes = self.bytes.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        let fair = Duration::from_micros(self.bytes.saturating_mul(1_000_000) / HEEDED_BYTES_A_SECOND_MIN);
        HEEDED_WITHIN.saturating_add(fair).saturating_sub(self.waited)
    }
}

// === impl Evidence ===

impl Evidence {
    #[must_use]
    pub fn new(
        (bodies, privacy): (Arc<Bodies>, Arc<Privacy>),
        clock: Clock,
        log: Arc<Transparency>,
        body_bytes_max: u32,
    ) -> Self {
        let bounds = Bounds { records: GATHERED_RECORDS_MAX, bytes: GATHERED_BYTES_MAX };
        let gathering = Arc::new(Semaphore::new(GATHERED_AT_ONCE_MAX));
        Self { journal: Arc::clone(bodies.journal()), bodies, privacy, clock, log, body_bytes_max, bounds, gathering }
    }

    /// One record of the newest checkpoint.
    ///
    /// # Errors
    /// When it is not in the log as yet, or cannot be read.
    pub async fn prove(&self, sequence: Sequence) -> Result<Proved, EvidenceError> {
        let newest = self.log.newest();
        self.log.provable(newest.as_deref())?;
        let newest = newest.ok_or(TransparencyError::Absent(sequence))?;
        self.prove_in(newest, sequence).await
    }

    async fn prove_in(&self, checkpoint: Arc<Published>, sequence: Sequence) -> Result<Proved, EvidenceError> {
        let (log, signed) = (Arc::clone(&self.log), Arc::clone(&checkpoint));
        // Tiles are read from a disk.
        let proved = tokio::task::spawn_blocking(move || log.inclusion_in(&signed, sequence)).await;
        let (entry, proof) = proved.map_err(|_| EvidenceError::Failed)??;
        let record = self.stored(sequence, checkpoint.size).await?.map(|record| record.bytes);
        let record = record.filter(|record| entry.covers(record)).ok_or(EvidenceError::Another(sequence))?;
        Ok(Proved { checkpoint, entry, proof, record })
    }

    /// All that there is about this, for an operator, one after the other.
    ///
    /// # Errors
    /// When it is gathered for somebody already.
    pub fn gather(self: &Arc<Self>, scope: Scope, by: SpiffeId, leaving: watch::Receiver<bool>) -> Result<Heeded, EvidenceError> {
        let crowded = |_| EvidenceError::Crowded { max: GATHERED_AT_ONCE_MAX };
        let turn = Arc::clone(&self.gathering).try_acquire_owned().map_err(crowded)?;
        let turn = (turn, Counted::by(metrics::gauge!("agentgate_evidence_gatherings")));
        let (said, heeded) = mpsc::channel(TOLD_AHEAD);
        let evidence = Arc::clone(self);
        tokio::spawn(async move {
            let mut leaving = leaving;
            let gathered = tokio::select! {
                gathered = evidence.tell(&scope, &by, &said) => gathered,
                _ = leaving.wait_for(|leaving| *leaving) => Err(EvidenceError::Leaving),
                () = said.closed() => Err(EvidenceError::Left),
            };
            drop(turn);
            if let Err(error) = gathered {
                // Whoever left has nobody to tell.
                let _ = evidence.say(&said, &mut Pace::default(), Err(error)).await;
            }
        });
        Ok(heeded)
    }

    async fn tell(&self, scope: &Scope, by: &SpiffeId, said: &Saying) -> Result<(), EvidenceError> {
        let mut pace = Pace::default();
        let mut tell = async |what| self.say(said, &mut pace, Ok(v1::GatherEvidenceResponse { what: Some(what) })).await;
        let newest = self.log.newest();
        // Before the journal is read for nothing.
        self.log.provable(newest.as_deref())?;
        let checkpoint = newest.ok_or(EvidenceError::Unsigned)?;
        let mut choosing = gather::Choosing::new(self, scope, checkpoint.size).await?;
        let mut pages = 0_u32;
        while let Some(far) = choosing.page().await? {
            // Calls are decided first.
            tokio::task::yield_now().await;
            if pages.is_multiple_of(PAGES_TOLD) {
                tell(Told::Progress(v1::Progress { records_read: far.read, records: far.of })).await?;
            }
            pages = pages.wrapping_add(1);
        }
        choosing.complete().await?;
        let bundles = choosing.bundles();
        let unmatched = choosing.unmatched();
        let chosen = choosing.chosen;
        let checkpoint = self.witnessed_or(checkpoint, chosen.last().copied().unwrap_or_default());
        let (mut bytes, mut bodies) = (0_usize, statement::Bodies::default());
        let mut weigh = |more: usize| {
            bytes = bytes.saturating_add(more);
            let what = "bytes of records and bodies";
            if bytes > self.bounds.bytes { Err(EvidenceError::TooMany { what, max: self.bounds.bytes }) } else { Ok(()) }
        };
        for sequence in &chosen {
            let gather::Given { proved, body } = self.give(scope, &checkpoint, *sequence).await?;
            let weight = body.as_ref().map_or(0, |body| body.plain.len().saturating_add(body.sealed.len()));
            weigh(proved.record.len().saturating_add(weight))?;
            bodies.push(*sequence, body.as_ref());
            tell(Told::Record(v1::EvidenceRecord {
                entry: Bytes::copy_from_slice(&proved.entry.encode()),
                hashes: hashes_to_wire(&proved.proof),
                record: proved.record,
                body,
            }))
            .await?;
        }
        for (digest, address) in bundles {
            if let Some(bundle) = self.bundle(digest, &address).await? {
                weigh(bundle.content.len())?;
                tell(Told::Bundle(bundle)).await?;
            }
        }
        let size = (checkpoint.size, self.body_bytes_max);
        let manifest = statement::manifest(scope, by, self.clock.now(), size, &chosen, bodies)
            + &unmatched.as_ref().map(gather::unmatched).unwrap_or_default();
        let (manifest, keys) = (self.log.sign_statement(&manifest)?, self.log.verifier_keys());
        tell(Told::End(v1::EvidenceEnd { checkpoint: checkpoint.note.clone(), manifest, keys, unmatched })).await
    }

    /// Tells whoever listens, and waits for him no longer than others may have to wait for him.
    async fn say(
        &self,
        said: &Saying,
        pace: &mut Pace,
        told: Result<v1::GatherEvidenceResponse, EvidenceError>,
    ) -> Result<(), EvidenceError> {
        let (began, bytes) = (self.clock.elapsed(), told.as_ref().map_or(0, prost::Message::encoded_len));
        let left = pace.left(bytes);
        let heeded = self.clock.before(began.saturating_add(left.min(HEEDED_WITHIN)), said.send(told)).await;
        pace.waited = pace.waited.saturating_add(self.clock.elapsed().saturating_sub(began));
        match heeded {
            Some(Ok(())) => Ok(()),
            None if left < HEEDED_WITHIN => Err(EvidenceError::Slow),
            Some(Err(_)) | None => Err(EvidenceError::Left),
        }
    }

    /// Bodies that were gathered sealed, each open or erased.
    ///
    /// # Errors
    /// When there are too many, one is not what its record says, or a key cannot be read.
    pub async fn open(&self, sealed: Vec<v1::SealedBody>) -> Result<Vec<v1::EvidenceBody>, EvidenceError> {
        if sealed.len() > OPENED_MAX {
            return Err(EvidenceError::Bodies { asked: sealed.len() });
        }
        let mut bodies = Vec::with_capacity(sealed.len());
        for (at, given) in sealed.into_iter().enumerate() {
            bodies.push(self.open_one(at, given).await?);
        }
        Ok(bodies)
    }

    /// The checkpoint that witnesses saw, where it is of all the records up to this one: what others saw is worth more to an
    /// auditor than what was signed a moment later.
    fn witnessed_or(&self, newest: Arc<Published>, last: Sequence) -> Arc<Published> {
        let covers = |witnessed: &Arc<Published>| (last..=newest.size).contains(&witnessed.size);
        self.log.witnessed().filter(covers).unwrap_or(newest)
    }

    /// A signed statement about files that were made of evidence.
    ///
    /// # Errors
    /// When they are not named as files are.
    pub fn sign(&self, files: &[v1::EvidenceFile], by: &SpiffeId) -> Result<Bytes, EvidenceError> {
        Ok(self.log.sign_statement(&statement::files(by, self.clock.now(), files)?)?)
    }

    /// # Errors
    /// When there are too many, or one is none.
    pub async fn log_files(&self, paths: Vec<String>) -> Result<Vec<Bytes>, EvidenceError> {
        if paths.len() > LOG_FILES_MAX {
            return Err(EvidenceError::Files { asked: paths.len() });
        }
        let mut receipts = BTreeMap::new();
        for path in &paths {
            if let Some(receipt) = self.log.receipt(path).await? {
                receipts.insert(path.clone(), receipt);
            }
        }
        let log = Arc::clone(&self.log);
        let read = move || {
            let file = |path: String| match receipts.get(&path).cloned().or_else(|| log.file(&path)) {
                Some(file) => Ok(file),
                None if path.starts_with("tile/") => {
                    log.provable(log.newest().as_deref())?;
                    Err(EvidenceError::NoFile(path))
                }
                None => Err(EvidenceError::NoFile(path)),
            };
            paths.into_iter().map(file).collect::<Result<Vec<_>, _>>()
        };
        tokio::task::spawn_blocking(read).await.map_err(|_| EvidenceError::Failed)?
    }
}
