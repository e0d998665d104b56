//! What is kept in memory of calls: the newest traces, and the allowed calls that have no outcome yet.

use super::line::{amend, erase};
use super::past::awaits_outcome;
use super::{Ended, Recorded};
use crate::body::SessionId;
use crate::clock::{Clock, micros};
use crate::config::Limits;
use crate::journal::{Sequence, Stream};
use crate::telemetry::number;
use agentgate_core::digest::Digest;
use agentgate_core::id::CallId;
use agentgate_core::time::Time;
use agentgate_proto::v1;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

/// Records of our own that were not met in the journal's order yet. With more, the oldest is taken for somebody else's when
/// it is met, and listed twice.
const AHEAD_MAX: usize = 65_536;

/// How much longer than its own replica the others leave an open call alone: it is closed by others only if that one is gone.
const OTHERS_GRACE: Duration = Duration::from_secs(30);

/// An allowed call that nobody reported yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenCall {
    pub sequence: Sequence,
    pub stream: Stream,
    pub call: CallId,
    /// Under whose key its outcome is sealed.
    pub session: Option<SessionId>,
    /// Nobody reports it later, by the journal's time.
    pub deadline: Time,
    /// Nor later than this by this process's clock, however far back the wall clock was set meanwhile.
    pub latest: Duration,
}

#[derive(Debug)]
pub(super) struct View {
    clock: Clock,
    recent_max: usize,
    open_max: usize,
    outcome_deadline: Duration,
    /// Every decision and every flood after `floor` is here.
    recent: BTreeMap<Sequence, v1::CallTrace>,
    floor: Sequence,
    open: HashMap<Digest, OpenCall>,
    oldest: BTreeMap<Sequence, Digest>,
    /// Up to where the journal was read; all before it is folded.
    head: Sequence,
    /// Others write too, and `head` moves on.
    follows: bool,
    /// Our own that are folded already, though they are after `head`.
    ahead: BTreeSet<Sequence>,
}

// === impl View ===

impl View {
    pub(super) fn new(limits: &Limits, clock: Clock, floor: Sequence, head: Sequence) -> Self {
        Self {
            clock,
            recent_max: limits.recent_traces_max as usize,
            open_max: limits.open_calls_max as usize,
            outcome_deadline: limits.outcome_deadline(),
            recent: BTreeMap::new(),
            floor,
            open: HashMap::new(),
            oldest: BTreeMap::new(),
            head,
            follows: false,
            ahead: BTreeSet::new(),
        }
    }

    /// From now on what others write is heard too, from the record after this one on.
    pub(super) fn follow(&mut self) -> Sequence {
        self.follows = true;
        self.head
    }

    /// Up to where the journal was heard.
    pub(super) fn head(&self) -> Sequence {
        self.head
    }

    pub(super) fn follows(&self) -> bool {
        self.follows
    }

    /// Whether a record of our own is still to be folded: it may have been met in the journal's order already.
    pub(super) fn is_new(&mut self, sequence: Sequence) -> bool {
        if !self.follows {
            return true;
        }
        if sequence <= self.head {
            return false;
        }
        self.ahead.insert(sequence);
        if self.ahead.len() > AHEAD_MAX {
            self.ahead.pop_first();
        }
        true
    }

    pub(super) fn is_ahead(&self, sequence: Sequence) -> bool {
        self.ahead.contains(&sequence)
    }

    /// The next record in the journal's order. True: it was not folded here yet.
    pub(super) fn reach(&mut self, sequence: Sequence) -> bool {
        self.head = self.head.max(sequence);
        let was_ahead = self.ahead.remove(&sequence);
        metrics::gauge!("agentgate_records_ahead").set(number(self.ahead.len()));
        !was_ahead
    }

    pub(super) fn decided_elsewhere(&mut self, recorded: &Recorded, trace: v1::CallTrace) {
        if awaits_outcome(&recorded.record) {
            self.wait_for(self.opened(recorded, OTHERS_GRACE));
        }
        self.remember(trace);
        self.say();
    }

    /// A decision of the time before this process.
    pub(super) fn recover(&mut self, trace: v1::CallTrace) {
        self.remember(trace);
        self.say();
    }

    pub(super) fn decided(&mut self, recorded: &Recorded, trace: v1::CallTrace) {
        if awaits_outcome(&recorded.record) {
            self.wait_for(self.opened(recorded, Duration::ZERO));
        }
        self.remember(trace);
        self.say();
    }

    /// As `decided`, of a decision that was met in the journal's order before this replica knew that it is its own: it is
    /// listed already, and if it is open still, no grace is owed to anybody else.
    pub(super) fn decided_here(&mut self, recorded: &Recorded) {
        let here = self.opened(recorded, Duration::ZERO);
        if let Some(open) = self.open.get_mut(&recorded.call.digest()) {
            *open = here;
        }
    }

    fn opened(&self, recorded: &Recorded, grace: Duration) -> OpenCall {
        OpenCall::of(recorded, self.outcome_deadline.saturating_add(grace), self.clock.elapsed())
    }

    pub(super) fn wait_for(&mut self, open: OpenCall) {
        let id = open.call.digest();
        self.oldest.insert(open.sequence, id);
        self.open.insert(id, open);
        self.say();
    }

    pub(super) fn flooded(&mut self, trace: v1::CallTrace) {
        self.remember(trace);
        self.say();
    }

    fn remember(&mut self, trace: v1::CallTrace) {
        if trace.sequence > self.floor {
            self.recent.insert(trace.sequence, trace);
        }
        while self.recent.len() > self.recent_max
            && let Some((sequence, _)) = self.recent.pop_first()
        {
            self.floor = sequence;
        }
    }

    pub(super) fn ended(&mut self, ended: &Ended) {
        if let Some(open) = self.open.remove(&ended.call) {
            self.oldest.remove(&open.sequence);
        }
        if let Some(trace) = self.recent.get_mut(&ended.decision) {
            amend(trace, ended);
        }
        self.say();
    }

    pub(super) fn open_call(&self, call: &Digest) -> Option<&OpenCall> {
        self.open.get(call)
    }

    pub(super) fn open_calls(&self) -> usize {
        self.open.len()
    }

    /// Oldest first. They stay open until their outcome is durable.
    pub(super) fn overdue(&self, silent: impl Fn(&OpenCall) -> bool) -> Vec<OpenCall> {
        let (now, elapsed) = (self.clock.now(), self.clock.elapsed());
        let too_many = self.open.len().saturating_sub(self.open_max);
        let in_order = self.oldest.values().filter_map(|call| self.open.get(call));
        in_order
            .enumerate()
            .filter(|(index, open)| *index < too_many || open.is_late(now, elapsed) || silent(open))
            .map(|(_, open)| open.clone())
            .collect()
    }

    /// The newest traces before `before`, newest first, and below which sequence the journal has to be asked.
    pub(super) fn recent(&self, before: Sequence) -> (impl Iterator<Item = &v1::CallTrace>, Sequence) {
        (self.recent.range(..before).rev().map(|(_, trace)| trace), self.floor.saturating_add(1).min(before))
    }

    pub(super) fn line(&self, sequence: Sequence) -> Option<&v1::CallTrace> {
        self.recent.get(&sequence)
    }

    /// The lines of sessions lose what only their bodies say.
    pub(super) fn forget(&mut self, sessions: &HashSet<String>) {
        self.recent.values_mut().filter(|trace| sessions.contains(&trace.session)).for_each(erase);
    }

    fn say(&self) {
        metrics::gauge!("agentgate_open_calls").set(number(self.open.len()));
        metrics::gauge!("agentgate_recent_traces").set(number(self.recent.len()));
        metrics::gauge!("agentgate_records_ahead").set(number(self.ahead.len()));
    }
}

// === impl OpenCall ===

impl OpenCall {
    /// `wait`: how long it has for its outcome. `elapsed`: when it was heard of here.
    pub(super) fn of(recorded: &Recorded, wait: Duration, elapsed: Duration) -> Self {
        let deadline = recorded.at.plus_micros(micros(wait));
        let latest = elapsed.saturating_add(wait);
        let session = recorded.record.body.as_ref().and_then(SessionId::of);
        Self { sequence: recorded.sequence, stream: recorded.stream, call: recorded.call.clone(), session, deadline, latest }
    }

    /// Whether its outcome should have been reported by now.
    #[must_use]
    pub fn is_late(&self, now: Time, elapsed: Duration) -> bool {
        self.deadline <= now || self.latest <= elapsed
    }
}
