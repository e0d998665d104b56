//! Purges: sessions whose keys, streams whose slots, and keys of tokens that are to be erased by a record of the journal, from the
//! moment when it is known until they are.
//!
//! INVARIANT: from that moment on nothing is opened or sealed with such a key, no token is made with one, and no slot leads to such
//! a stream, though the slot may still hold it. How far purges were carried out is kept in a slot, so that what a crash cut is carried out at the next
//! start.

use super::{Bodies, KeyError, SessionId, data_key, slot_of};
use crate::journal::{SLOTS_PAGE_MAX, Sequence, Slot, Stream, Version};
use crate::telemetry::number;
use agentgate_core::digest::Digest;
use agentgate_core::id::{Principal, Tenant};
use agentgate_core::retention;
use agentgate_proto::v1;
use agentgate_proto::v1::slot_secret::What;
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, MutexGuard, PoisonError};
use tokio::sync::RwLockReadGuard;

/// Purges that are on record and not carried out. With more nothing is purged: the journal takes records, and erases nothing.
pub const PURGES_UNFINISHED_MAX: usize = 64;

const DONE: &str = "agentgate purges 1\n";

/// What is to be erased.
#[derive(Debug, Default)]
pub(super) struct Purges {
    unfinished: BTreeMap<Sequence, v1::PurgeRecord>,
    sessions: HashSet<SessionId>,
    named: Arc<Named>,
    /// All purges up to this record were carried out.
    done: Sequence,
}

/// Streams and keys of tokens that purges name which are not carried out. It is taken before a slot is read: what is carried out
/// meanwhile is gone from here and may have been in the slot, and what is purged meanwhile is told by what was forgotten.
#[derive(Clone, Debug, Default)]
pub(super) struct Named {
    /// By the newest purge that names each.
    streams: HashMap<Stream, Left>,
    /// Each with the purge that names it.
    tokens: HashMap<Digest, Sequence>,
}

/// Where a purge left a stream that it names.
#[derive(Clone, Copy, Debug)]
pub(super) struct Left {
    /// As it was before the slots were looked through.
    pub(super) version: Version,
    /// Of the purge.
    pub(super) sequence: Sequence,
}

/// How often keys had been forgotten here when words were about to be read, or to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Erasures(u64);

/// A session whose key is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    pub session: SessionId,
    /// Of its first call.
    pub since_us: u64,
    pub whose: retention::Kept,
}

// === impl Bodies ===

impl Bodies {
    /// The purge is on record: from here on its keys are taken for erased, and its streams are nobody's.
    pub fn purged(&self, sequence: Sequence, purge: &v1::PurgeRecord) {
        let sessions: HashSet<SessionId> = sessions_of(purge).collect();
        {
            let mut purges = self.purges();
            if sequence <= purges.done {
                return;
            }
            purges.sessions.extend(&sessions);
            let named = Arc::make_mut(&mut purges.named);
            named.streams.extend(streams_of(purge).map(|(stream, version)| (stream, Left { version, sequence })));
            named.tokens.extend(tokens_of(purge).map(|key| (key, sequence)));
            purges.unfinished.insert(sequence, purge.clone());
            purges.say();
        }
        self.known().forget(&sessions, &streams_of(purge).map(|(stream, _)| stream).collect());
    }

    /// Whether a purge that is not carried out yet names the session.
    #[must_use]
    pub fn is_purged(&self, session: SessionId) -> bool {
        self.purges().sessions.contains(&session)
    }

    /// Taken before words are read, or written under a fence.
    #[must_use]
    pub fn erasures(&self) -> Erasures {
        Erasures(self.known().forgotten)
    }

    /// Whether words that were there at `since` may come into memory: nothing was forgotten since then, or not this key. A
    /// key that had to leave for others meanwhile is taken for forgotten.
    ///
    /// INVARIANT: whoever asks holds the lock of what the words come into, until they are in it. A purge has keys forgotten
    /// first and takes that lock then, so it finds whatever came in before; and what comes later is told no here.
    #[must_use]
    pub fn may_be_known(&self, session: SessionId, since: Erasures) -> bool {
        let known = self.known();
        known.forgotten == since.0 || known.seal_by(session).is_some()
    }

    /// Taken before the key of words that no epoch fences, and held until they are written or will never be.
    pub async fn unfenced(&self) -> RwLockReadGuard<'_, ()> {
        self.unfenced.read().await
    }

    /// Returns once all such words are written whose key was taken before.
    ///
    /// INVARIANT: nobody takes the key of a purge that is known. So after this nothing more comes to be written here under one.
    pub async fn unfenced_written(&self) {
        drop(self.unfenced.write().await);
    }

    /// The oldest purge that is not carried out.
    #[must_use]
    pub fn unfinished(&self) -> Option<(Sequence, v1::PurgeRecord)> {
        let purges = self.purges();
        purges.unfinished.first_key_value().map(|(sequence, purge)| (*sequence, purge.clone()))
    }

    /// All sessions that purges name which are not carried out.
    #[must_use]
    pub fn unfinished_sessions(&self) -> Vec<SessionId> {
        self.purges().sessions.iter().copied().collect()
    }

    #[must_use]
    pub fn unfinished_purges(&self) -> usize {
        self.purges().unfinished.len()
    }

    /// Erases the keys of a purge, and says how many there still were. They were forgotten when it became known, so nobody who
    /// makes a key meanwhile has to make it again.
    ///
    /// # Errors
    /// When the journal cannot write.
    pub async fn erase_purged(&self, sessions: &[SessionId]) -> Result<u64, KeyError> {
        let mut erased = 0;
        for session in sessions {
            erased += u64::from(self.erase_slot(slot_of(*session)).await?);
        }
        Ok(erased)
    }

    /// Whether another process carried out this purge already.
    ///
    /// # Errors
    /// When the journal cannot say.
    pub async fn is_finished(&self, sequence: Sequence) -> Result<bool, KeyError> {
        Ok(read(self.journal.slot(done_slot()).await?.as_deref())? >= sequence)
    }

    /// This purge and all before it are carried out: a new process need not.
    ///
    /// # Errors
    /// When the journal cannot write.
    pub async fn finished(&self, sequence: Sequence) -> Result<(), KeyError> {
        let mut kept = self.journal.slot(done_slot()).await?;
        while read(kept.as_deref())? < sequence {
            let done = Bytes::from(format!("{DONE}{sequence}\n"));
            match self.journal.set(done_slot(), kept, Some(done)).await.map_err(KeyError::Keep)? {
                Slot::Set => break,
                Slot::Held(other) => kept = other,
            }
        }
        let mut purges = self.purges();
        purges.done = purges.done.max(sequence);
        if let Some(purge) = purges.unfinished.remove(&sequence) {
            for session in sessions_of(&purge) {
                purges.sessions.remove(&session);
            }
            let named = Arc::make_mut(&mut purges.named);
            named.streams.retain(|_, left| left.sequence != sequence);
            named.tokens.retain(|_, by| *by != sequence);
        }
        purges.say();
        Ok(())
    }

    /// What purges name besides sessions.
    pub(super) fn named(&self) -> Arc<Named> {
        Arc::clone(&self.purges().named)
    }

    pub(super) async fn take_up_purges(&self) -> Result<(), KeyError> {
        let done = read(self.journal.slot(done_slot()).await?.as_deref())?;
        let mut purges = self.purges();
        purges.done = done;
        purges.say();
        Ok(())
    }

    /// The sessions after this slot whose keys are there, and the slot to go on after; none: these were the last ones. Orders
    /// are nobody's session, and not among them.
    ///
    /// # Errors
    /// When a key cannot be read.
    pub async fn kept(&self, after: Option<Digest>) -> Result<(Vec<Kept>, Option<Digest>), KeyError> {
        let page = self.journal.slots(after, SLOTS_PAGE_MAX).await?;
        let last = page.last().map(|(name, _)| *name);
        let mut kept = Vec::new();
        for (name, value) in page.iter().filter(|(_, value)| data_key::is_wrapped(value)) {
            let What::Session(key) = self.unwrap(name, value)? else { continue };
            if key.tenant.is_empty() {
                continue;
            }
            let session = SessionId::read(&key.session).ok_or(KeyError::Unreadable)?;
            if self.is_purged(session) {
                continue;
            }
            let whose = retention::Kept {
                tenant: Tenant::try_from(key.tenant.as_str()).map_err(|_| KeyError::Unreadable)?,
                principal: Principal::try_from(key.principal.as_str()).map_err(|_| KeyError::Unreadable)?,
                handle: key.handle,
                session: session.to_string(),
            };
            kept.push(Kept { session, since_us: key.since_us, whose });
        }
        Ok((kept, last))
    }

    fn purges(&self) -> MutexGuard<'_, Purges> {
        self.purges.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Purges ===

impl Purges {
    fn say(&self) {
        metrics::gauge!("agentgate_purges_unfinished").set(number(self.unfinished.len()));
    }
}

// === impl Named ===

impl Named {
    pub(super) fn left(&self, stream: Stream) -> Option<Left> {
        self.streams.get(&stream).copied()
    }

    /// Whether the key of tokens goes that is named by this.
    pub(super) fn takes(&self, key: &Digest) -> bool {
        self.tokens.contains_key(key)
    }
}

/// The sessions that a purge erases.
pub fn sessions_of(purge: &v1::PurgeRecord) -> impl Iterator<Item = SessionId> {
    purge.sessions.iter().filter_map(|session| SessionId::read(session))
}

/// The streams of which nobody is left after a purge, and their versions before.
pub(super) fn streams_of(purge: &v1::PurgeRecord) -> impl Iterator<Item = (Stream, Version)> {
    let stream = |named: &v1::PurgedStream| Some((Stream(Digest::try_from(named.stream.as_ref()).ok()?), named.version));
    purge.streams.iter().filter_map(stream)
}

/// The key of a tenant's tokens that a purge erases.
pub(super) fn tokens_of(purge: &v1::PurgeRecord) -> Option<Digest> {
    Digest::try_from(purge.tokens.as_ref()).ok()
}

/// How far purges were carried out. What it holds begins as no wrapped secret does.
fn done_slot() -> Digest {
    Digest::of("agentgate/slot/purges/1", b"")
}

fn read(kept: Option<&[u8]>) -> Result<Sequence, KeyError> {
    let Some(kept) = kept else { return Ok(0) };
    let text = std::str::from_utf8(kept).ok().and_then(|text| text.strip_prefix(DONE));
    text.and_then(|text| text.trim_end().parse().ok()).ok_or(KeyError::Unreadable)
}
