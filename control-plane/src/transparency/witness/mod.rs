//! Witnesses: others who see that the log only grows, and cosign its checkpoints (C2SP tlog-witness).
//!
//! Calls never wait for them, and none of them for another. A cosignature is kept once it holds, never before. A witness that
//! saw another log than this one is a fork: it is said loudly each time, and nothing is mended.

mod ask;
mod keep;
#[cfg(test)]
mod tests;

use super::remembered::Who;
use super::{Published, Transparency, TransparencyError, read};
use crate::clock::Clock;
use crate::config;
use crate::journal::{Journal as _, ReadError};
use crate::rarely::Rarely;
use crate::telemetry::number;
use agentgate_core::digest::Digest;
use agentgate_core::error::chain;
use agentgate_core::transparency::key::{KeyError, VerifierKey};
use agentgate_core::transparency::note::{Note, NoteSignature};
use agentgate_core::transparency::trust::{Trust, TrustError};
use agentgate_outbound::{Plain, Target, TargetError};
use agentgate_proto::v1;
use ask::{Trouble, cosignature};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use thiserror::Error;
use tokio::sync::{Mutex as AsyncMutex, Semaphore};
use tokio::task::JoinSet;

/// Where the witnessed checkpoint is served, beside `checkpoint`.
pub(super) const FILE: &str = "checkpoint/witnessed";

/// The wait after the first failure of a witness; it doubles with each further one.
const BACKOFF: Duration = Duration::from_secs(5);

/// A witness that comes back is asked again within this time.
const BACKOFF_MAX: Duration = Duration::from_secs(600);

/// A fork does not mend itself: it is looked at again, and said again, so often.
const FORK_AGAIN: Duration = Duration::from_secs(3_600);

#[derive(Debug, Error)]
pub enum WitnessError {
    #[error("`transparency.witness`: the address of `{key}`: {source}; write e.g. `https://witness.example`")]
    Target { key: String, source: TargetError },
    #[error("`transparency.witness`: `{key}` is no verifier key")]
    Key { key: String, source: KeyError },
    #[error("`transparency.witness`: these keys are no witnesses of this log")]
    Trust(#[from] TrustError),
}

/// All witnesses of the log, and what each did so far.
#[derive(Debug)]
pub struct Witnesses {
    log: Arc<Transparency>,
    clock: Clock,
    every: Duration,
    witnesses: Vec<Arc<Witness>>,
    /// Since when newer checkpoints have fewer cosignatures than the one that is kept; monotonic.
    fewer_since: Mutex<Option<Duration>>,
    told: Rarely,
}

#[derive(Debug)]
struct Witness {
    target: Target,
    key: VerifierKey,
    state: Mutex<State>,
    /// It is asked one question at a time.
    turn: Arc<Semaphore>,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    /// The size that it cosigned last, as far as this replica knows.
    saw: u64,
    failed: u32,
    /// Monotonic: it is not asked before.
    due: Duration,
    forked: bool,
}

// === impl Witnesses ===

impl Witnesses {
    /// Those of the configuration.
    ///
    /// # Errors
    /// When one cannot be asked, or its key is none of a witness.
    pub fn open(config: Option<&config::Transparency>, log: Arc<Transparency>, clock: &Clock) -> Result<Self, WitnessError> {
        let configured = config.map(|config| config.witnesses.as_slice()).unwrap_or_default();
        let witness = |witness: &config::Witness| Witness::open(witness, clock).map(Arc::new);
        let witnesses = configured.iter().map(witness).collect::<Result<Vec<_>, _>>()?;
        if !witnesses.is_empty() {
            // The log is no witness of itself, and nobody is two.
            let keys = witnesses.iter().map(|witness| witness.key.clone()).collect();
            let _ = log.trust.clone().witnessed_by(keys, witnesses.len())?;
        }
        witnesses.iter().for_each(|witness| log.stands(&witness.key, String::new(), false));
        let every = config.map(|config| config.witness_every).unwrap_or_default();
        Ok(Self { log, clock: clock.clone(), every, witnesses, fewer_since: Mutex::default(), told: Rarely::default() })
    }

    /// Asks again and again. A round waits for nobody's answer: whoever is still asked is left out of it.
    pub async fn asking(self) {
        if self.witnesses.is_empty() {
            return;
        }
        let (witnesses, mut asked) = (Arc::new(self), JoinSet::new());
        loop {
            let begun = witnesses.round(&mut asked).await;
            witnesses.tell(begun);
            while asked.try_join_next().is_some() {}
            witnesses.clock.sleep(witnesses.every).await;
        }
    }

    fn tell(&self, kept: Result<(), TransparencyError>) {
        if let Err(error) = kept
            && let Some(more) = self.told.told(self.clock.elapsed())
        {
            tracing::warn!(error = chain(&error), more, "what witnesses cosigned cannot be kept; it is tried again");
        }
    }

    /// A key that signs since then is believed of the witnessed checkpoint as well, however long no record comes.
    async fn with_signatures_of(&self, newest: &Published, kept: Arc<Published>) -> Result<Arc<Published>, TransparencyError> {
        let (Ok(signed), Ok(held)) = (Note::parse(&newest.note), Note::parse(&kept.note)) else { return Ok(kept) };
        let is_held = |by: &NoteSignature| held.signatures().iter().any(|held| held.by == by.by);
        if signed.signatures().iter().all(is_held) {
            return Ok(kept);
        }
        self.keep(&signed).await?;
        Ok(self.log.witnessed().unwrap_or(kept))
    }

    /// Begins to ask whoever has not cosigned the newest checkpoint. What they say is kept as it comes.
    async fn round(self: &Arc<Self>, asked: &mut JoinSet<()>) -> Result<(), TransparencyError> {
        let kept = self.log.take_up_witnessed().await?;
        let Some(newest) = self.log.newest() else { return Ok(()) };
        // Another replica is ahead: what this one has was seen.
        let base = match kept {
            Some(kept) if kept.size > newest.size => return Ok(()),
            Some(kept) if kept.size == newest.size && kept.root == newest.root => self.with_signatures_of(&newest, kept).await?,
            Some(_) | None => newest,
        };
        let Ok(note) = Note::parse(&base.note) else { return Ok(()) };
        let cosigned = Arc::new(AsyncMutex::new(note.clone()));
        for witness in &self.witnesses {
            let has_cosigned = note.cosigned_by(&witness.key).is_ok_and(|at_s| at_s.is_some());
            if has_cosigned || witness.state().due > self.clock.elapsed() {
                continue;
            }
            let Ok(turn) = Arc::clone(&witness.turn).try_acquire_owned() else { continue };
            let (this, witness) = (Arc::clone(self), Arc::clone(witness));
            let (base, cosigned) = (Arc::clone(&base), Arc::clone(&cosigned));
            asked.spawn(async move {
                let signature = witness.ask(&this.log, &this.clock, &base).await;
                if let Some(signature) = signature {
                    // Those of one round are of one checkpoint, and are kept together.
                    let mut cosigned = cosigned.lock().await;
                    if cosigned.put(signature).is_ok() {
                        this.tell(this.keep(&cosigned).await);
                    }
                }
                let forked = this.witnesses.iter().filter(|witness| witness.state().forked).count();
                metrics::gauge!("agentgate_witness_forks").set(number(forked));
                drop(turn);
            });
        }
        Ok(())
    }
}

// === impl Witness ===

impl Witness {
    fn open(config: &config::Witness, clock: &Clock) -> Result<Self, WitnessError> {
        let key = config.key.clone();
        let read = VerifierKey::parse(&key).map_err(|source| WitnessError::Key { key: key.clone(), source })?;
        let time = Arc::new(clock.clone());
        // What is sent is public, and what comes back is signed.
        let target = Target::open(&config.url, Plain::Anywhere, config.authority.as_deref(), time)
            .map_err(|source| WitnessError::Target { key, source })?;
        let turn = Arc::new(Semaphore::new(1));
        Ok(Self { target, key: read, state: Mutex::default(), turn })
    }

    /// Its cosignature, or what that is waiting for now.
    async fn ask(&self, log: &Arc<Transparency>, clock: &Clock, checkpoint: &Published) -> Option<NoteSignature> {
        let mut saw = self.state().saw;
        let answered = cosignature(self, log, clock, checkpoint, &mut saw).await;
        let by = self.key.id();
        let mut more = None;
        let mut state = self.state();
        // Whoever says something odd is asked anew, and not held to what it said before.
        state.saw = if answered.is_ok() { checkpoint.size } else { 0 };
        let end = match &answered {
            Ok(_) => {
                *state = State { saw: state.saw, ..State::default() };
                "cosigned"
            }
            Err(trouble @ (Trouble::Fork(_) | Trouble::RolledBack { .. })) => {
                state.forked = true;
                more = if let Trouble::RolledBack { saw, .. } = trouble { Some(*saw) } else { None };
                state.due = clock.elapsed().saturating_add(FORK_AGAIN);
                "fork"
            }
            // What it saw is not taken back by its being away.
            Err(_) => {
                let wait = BACKOFF.saturating_mul(1_u32.checked_shl(state.failed).unwrap_or(u32::MAX)).min(BACKOFF_MAX);
                state.due = clock.elapsed().saturating_add(wait);
                state.failed = state.failed.saturating_add(1);
                "failed"
            }
        };
        let is_fork = state.forked;
        drop(state);
        match more {
            Some(size) => log.remembered.more(Who::Witness, &by.name.to_string(), size, 0),
            None if is_fork && end == "failed" => {}
            None => log.remembered.no_more(Who::Witness, &by.name.to_string()),
        }
        let trouble = answered.as_ref().err().map(|trouble| chain(trouble)).unwrap_or_default();
        log.stands(&self.key, trouble, is_fork);
        metrics::counter!("agentgate_witness_answers_total", "end" => end).increment(1);
        match answered {
            Ok(signature) => Some(signature),
            Err(fork @ (Trouble::Fork(_) | Trouble::RolledBack { .. })) => {
                tracing::error!(witness = %by, why = chain(&fork), "a witness saw another log than this one; docs/operating.md says what to do");
                None
            }
            Err(trouble) => {
                tracing::warn!(witness = %by, why = chain(&trouble), "a witness did not cosign the log; it is asked again");
                None
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Transparency {
    fn stands(&self, key: &VerifierKey, trouble: String, fork: bool) {
        let name = key.id().name.to_string();
        self.standings().insert(name.clone(), v1::WitnessStanding { name, trouble, fork });
    }
}

/// Where the newest witnessed checkpoint is, for every replica.
fn witnessed_slot() -> Digest {
    Digest::of("agentgate/slot/witnessed/1", b"")
}

/// The witnessed checkpoint that was kept last. One of keys that nobody knows any more is as good as none.
pub(super) async fn kept(journal: &crate::journal::Halting, trust: &Trust) -> Result<Option<Published>, ReadError> {
    let note = journal.slot(witnessed_slot()).await?;
    Ok(note.and_then(|note| read(trust, note).ok()))
}
