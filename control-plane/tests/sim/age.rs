//! What must be so of what gets over its age: a sweep purges that and nothing younger, and in the end nothing of it is left but what
//! is held. It knows each key from its slot and the clocks that the world has, and nothing of how replicas sweep.

use crate::law::{Broken, must};
use crate::port::{Depot, now};
use agentgate_control_plane::body::{Bodies, Kept, SESSION_KEY_US, SessionId, sessions_of};
use agentgate_control_plane::journal::{Journal as _, SLOTS_PAGE_MAX, Sequence};
use agentgate_core::digest::Digest;
use agentgate_core::retention;
use agentgate_proto::v1;
use std::collections::{HashMap, HashSet};

const DAY_US: u64 = 86_400_000_000;

/// What is said of a call so long after its key's day is found by nobody, approvals excepted, and stays as ciphertext: decision 0014.
const LATE_US: u64 = 3_600_000_000;

#[derive(Debug, Default)]
pub(crate) struct Ages {
    /// 0: for ever.
    pub(crate) days: u32,
    slots: HashSet<Digest>,
    /// All that ever were, also those that sealed nothing.
    keys: HashMap<SessionId, Kept>,
    /// Purges of what was over its age.
    pub(crate) swept: u64,
}

// === impl Ages ===

impl Ages {
    pub(crate) fn of(days: u32) -> Self {
        Self { days, ..Self::default() }
    }

    /// Keys are made: looked at so often that none is gone before it was seen.
    pub(crate) fn see(&mut self, depot: &Depot, bodies: &Bodies) {
        let slots = now(depot.memory.slots(None, SLOTS_PAGE_MAX)).unwrap();
        let known = self.slots.len();
        self.slots.extend(slots.into_iter().map(|(name, _)| name));
        if self.slots.len() > known {
            let (kept, _) = now(Box::pin(bodies.kept(None))).unwrap();
            self.keys.extend(kept.into_iter().map(|kept| (kept.session, kept)));
        }
    }

    pub(crate) fn whose(&self, session: SessionId) -> Option<&retention::Kept> {
        self.keys.get(&session).map(|key| &key.whose)
    }

    fn is_over(&self, key: &Kept, at_us: u64) -> bool {
        self.days > 0 && key.since_us + SESSION_KEY_US + u64::from(self.days) * DAY_US <= at_us
    }

    /// Whether what is said of this session now is said too late to be found.
    pub(crate) fn is_late(&self, session: SessionId, at_us: u64, ordered_within_us: u64) -> bool {
        self.keys.get(&session).is_some_and(|key| key.since_us + SESSION_KEY_US + LATE_US < at_us + ordered_within_us)
    }

    /// A key takes calls for a day, or a young call would go with an old key, and an old one would not be found.
    pub(crate) fn decided(&self, sequence: Sequence, session: SessionId, at_us: u64) -> Result<(), Broken> {
        must(!self.is_late(session, at_us, 0), || {
            format!("{sequence}: decided at {at_us} under a key that was old: {:?}", self.keys.get(&session))
        })
    }

    /// What a sweep purges is over its age by the clock of whoever swept, wherever other clocks are. `clock_us`: the most that this
    /// one showed in that life of its replica, since it may have been set back after the sweep looked at it.
    pub(crate) fn swept(&mut self, sequence: Sequence, purge: &v1::PurgeRecord, clock_us: u64) -> Result<(), Broken> {
        self.swept += u64::from(!purge.sessions.is_empty());
        for session in sessions_of(purge) {
            let key = self.keys.get(&session);
            must(key.is_some_and(|key| self.is_over(key, clock_us)), || {
                format!("{sequence}: a sweep at {clock_us} purged what is not over its {} days: {key:?}", self.days)
            })?;
        }
        Ok(())
    }

    /// All clocks show the same, and everybody swept: of what is over its age what is held is left.
    pub(crate) fn at_rest(
        &self,
        bodies: &Bodies,
        is_held: impl Fn(&retention::Kept) -> bool,
        clock_us: u64,
    ) -> Result<(), Broken> {
        let (kept, _) = now(Box::pin(bodies.kept(None))).unwrap();
        let left = kept.iter().find(|key| self.is_over(key, clock_us) && !is_held(&key.whose));
        must(left.is_none(), || {
            format!("at {clock_us} it is over its {} days, nobody holds it, and it opens: {left:?}", self.days)
        })
    }
}
