//! What must be so of holds and purges: what was purged is gone, for everybody and once, what is held or of nobody's order stays, and
//! whoever calls again begins anew. It knows which call was recorded under which key, and nothing of how replicas erase.

use crate::age::Ages;
use crate::law::{Broken, Call, digest, must};
use crate::port::{Depot, now};
use agentgate_control_plane::body::{Bodies, SessionId, sessions_of};
use agentgate_control_plane::journal::{Journal as _, Record, Sequence, Stream};
use agentgate_core::digest::Digest;
use agentgate_core::retention::{Extent, Kept};
use agentgate_proto::retention::named_from_wire;
use agentgate_proto::v1::record::What;
use agentgate_proto::v1::{self, approval_record};
use bytes::Bytes;
use prost::Message as _;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::task::{Context, Poll, Waker};

/// The subjects' tenant.
pub(crate) const TENANT: &str = "t";

/// A key as its calls show it.
#[derive(Debug)]
struct Session {
    whose: Kept,
    /// Of its newest decision.
    stream: Stream,
    /// Of the records that name the key.
    bodies: Vec<Named>,
}

/// A body that a record names.
#[derive(Debug)]
struct Named {
    sequence: Sequence,
    reference: v1::BodyRef,
    /// Nobody finds it any more by its time.
    is_late: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Purges {
    pub(crate) ages: Ages,
    sessions: HashMap<SessionId, Session>,
    /// By the first decision under each, which is the call's.
    of_calls: BTreeMap<Sequence, SessionId>,
    /// And the purge that names each.
    purged: HashMap<SessionId, Sequence>,
    /// Under whose key each was asked for.
    approvals: HashMap<Digest, SessionId>,
    tokens: HashSet<Bytes>,
    /// None: it cannot be read, and holds everything.
    holds: BTreeMap<Sequence, Option<Extent>>,
    pub(crate) newest_us: u64,
    /// A record was dated before another one by more than replicas look for.
    is_disordered: bool,
    pub(crate) count: u64,
}

/// How far records may be out of their order for their bodies to be found by time: decision 0014. PostgreSQL lets nobody write whose
/// clock is a second from its own; the clocks of these worlds may be minutes apart.
const ORDERED_WITHIN_US: u64 = 60_000_000;

/// What an operator was told of a purge.
#[derive(Debug)]
pub(crate) struct Acknowledged {
    pub(crate) extent: Extent,
    /// The journal's head when it was ordered.
    pub(crate) ordered_at: Sequence,
    pub(crate) sequences: Vec<Sequence>,
    pub(crate) sessions: u64,
    pub(crate) finished: bool,
}

/// The slot of this key, as the journal's format has it.
fn slot_of(session: SessionId) -> Digest {
    Digest::of("agentgate/slot/session/1", &session.0)
}

// === impl Purges ===

impl Purges {
    fn is_purged(&self, session: SessionId) -> bool {
        self.purged.contains_key(&session)
    }

    fn is_purged_until(&self, session: SessionId, until: Sequence) -> bool {
        self.purged.get(&session).is_some_and(|purge| *purge <= until)
    }

    /// Whether this decision's words were purged until this record.
    pub(crate) fn is_erased(&self, decision: Sequence, until: Sequence) -> bool {
        self.of_calls.get(&decision).is_some_and(|session| self.is_purged_until(*session, until))
    }

    /// Whether this approval was asked for under a key that was purged until this record.
    pub(crate) fn is_forgotten(&self, approval: &Digest, until: Sequence) -> bool {
        self.approvals.get(approval).is_some_and(|session| self.is_purged_until(*session, until))
    }

    /// The next record, of this call if it decides one.
    pub(crate) fn read(
        &mut self,
        (record, clock_us): (&Record, u64),
        what: &What,
        call: Option<&Call>,
        bodies: &Bodies,
    ) -> Result<(), Broken> {
        let sequence = record.sequence;
        let at_us = v1::Record::decode(record.bytes.clone()).unwrap().at_us;
        self.is_disordered |= at_us.saturating_add(ORDERED_WITHIN_US) < self.newest_us;
        self.newest_us = self.newest_us.max(at_us);
        if let (What::Decision(_), Some(reference), Some(call)) = (what, what.body_ref(), call) {
            let session = SessionId::of(reference).unwrap();
            must(!self.is_purged(session), || format!("{sequence}: decided under a key that was purged"))?;
            self.ages.decided(sequence, session, at_us)?;
            self.of_calls.insert(sequence, session);
            let known = self.sessions.entry(session).or_insert_with(|| Session {
                whose: call.whose(session),
                stream: record.stream,
                bodies: Vec::new(),
            });
            must(known.whose == call.whose(session), || format!("{sequence}: {call:?} is under the key of {:?}", known.whose))?;
            known.stream = record.stream;
        }
        match what {
            What::Decision(decision) => {
                let approval = Digest::try_from(decision.approval.as_ref()).ok();
                must(approval.is_none_or(|approval| !self.is_forgotten(&approval, sequence)), || {
                    format!("{sequence}: decided by an approval that was purged: {:?}", decision.approval_use())
                })?;
            }
            What::Approval(step) => {
                if let (Some(approval_record::What::Requested(_)), Some(reference)) = (&step.what, &step.body) {
                    self.approvals.insert(digest(&step.approval), SessionId::of(reference).unwrap());
                }
            }
            What::Hold(hold) if hold.lifts == 0 => {
                let body: Option<v1::HoldBody> = now(Box::pin(bodies.fetch(hold.body.as_ref()))).unwrap();
                let extent = body.and_then(|body| named_from_wire(body.extent.as_ref()).ok());
                self.holds.insert(sequence, extent);
            }
            What::Hold(hold) => drop(self.holds.remove(&hold.lifts)),
            What::Purge(purge) => self.purge(sequence, purge, clock_us)?,
            What::Outcome(_) | What::Policy(_) | What::Flood(_) | What::Kill(_) | What::Mode(_) => {}
        }
        if let Some(reference) = what.body_ref()
            && let Some(id) = SessionId::of(reference)
            && let Some(session) = self.sessions.get_mut(&id)
        {
            let is_late = !matches!(what, What::Approval(_)) && self.ages.is_late(id, at_us, ORDERED_WITHIN_US);
            session.bodies.push(Named { sequence, reference: reference.clone(), is_late });
        }
        Ok(())
    }

    fn purge(&mut self, sequence: Sequence, purge: &v1::PurgeRecord, clock_us: u64) -> Result<(), Broken> {
        self.count += 1;
        let is_swept = purge.cause() == v1::PurgeCause::Retention;
        must(is_swept == purge.body.is_none(), || format!("{sequence}: of {:?}, with {:?}", purge.cause(), purge.body))?;
        if is_swept {
            self.ages.swept(sequence, purge, clock_us)?;
        }
        for session in sessions_of(purge) {
            let before = self.purged.insert(session, sequence);
            must(before.is_none(), || format!("{sequence}: purged before, by {before:?}"))?;
            let of_calls = self.sessions.get(&session).map(|session| &session.whose);
            let Some(whose) = of_calls.or_else(|| self.ages.whose(session)) else { continue };
            let hold = self.hold(whose);
            must(hold.is_none(), || format!("{sequence}: purged {whose:?}, and it is held: {hold:?}"))?;
        }
        if !purge.tokens.is_empty() {
            must(self.holds.is_empty(), || format!("{sequence}: purged the tokens of what may be held"))?;
            must(self.tokens.insert(purge.tokens.clone()), || format!("{sequence}: purged the same tokens twice"))?;
        }
        Ok(())
    }

    fn hold(&self, whose: &Kept) -> Option<(&Sequence, &Option<Extent>)> {
        self.holds.iter().find(|(_, extent)| extent.as_ref().is_none_or(|extent| extent.covers(whose)))
    }

    /// What no purge names is there, whatever happened.
    pub(crate) fn kept(&self, depot: &Depot) -> Result<(), Broken> {
        for (session, Session { whose, .. }) in self.sessions.iter().filter(|(session, _)| !self.is_purged(**session)) {
            let slot = now(depot.memory.slot(slot_of(*session))).unwrap();
            must(slot.is_some(), || format!("the key of {whose:?} is gone, and no purge names it"))?;
        }
        Ok(())
    }

    /// An operator was told that this is purged.
    pub(crate) fn acknowledged(&self, told: &Acknowledged, depot: &Depot) -> Result<(), Broken> {
        for (decision, session) in self.of_calls.range(..=told.ordered_at) {
            let Some(Session { whose, .. }) = self.sessions.get(session) else { continue };
            must(!told.extent.covers(whose) || self.is_purged(*session), || {
                format!("the purge of {:?} was acknowledged, and no purge names the key of record {decision}", told.extent)
            })?;
        }
        let named = self.purged.iter().filter(|(_, sequence)| told.sequences.contains(sequence));
        let (mut count, mut left) = (0, None);
        for (session, sequence) in named {
            count += 1;
            left = left.or(now(depot.memory.slot(slot_of(*session))).unwrap().map(|_| sequence));
        }
        must(count == told.sessions, || {
            format!("a purge of {} keys was acknowledged, and {count} are on record", told.sessions)
        })?;
        must(!told.finished || left.is_none(), || {
            format!("the purge of record {left:?} was called finished, and a key of it is left")
        })
    }

    /// What a replica shows says nothing of what was purged until this record.
    pub(crate) fn shown(
        &self,
        until: Sequence,
        traces: &[v1::CallTrace],
        approvals: &[v1::Approval],
        ids: &[Digest],
    ) -> Result<(), Broken> {
        for trace in traces {
            if !self.is_erased(trace.sequence, Sequence::MAX) {
                must(!trace.principal.is_empty(), || format!("nobody purged the call of record {}: {trace:?}", trace.sequence))?;
            }
            if !self.is_erased(trace.sequence, until) {
                continue;
            }
            let erased = v1::CallTrace {
                sequence: trace.sequence,
                at_us: trace.at_us,
                verdict: trace.verdict,
                outcome: trace.outcome,
                duration_us: trace.duration_us,
                session: trace.session.clone(),
                ..v1::CallTrace::default()
            };
            must(*trace == erased, || format!("the call of record {} was purged, and is shown: {trace:?}", trace.sequence))?;
        }
        let id = |id: &Digest| agentgate_core::approval::id_text(id);
        let gone: HashSet<String> = ids.iter().filter(|id| self.is_forgotten(id, until)).map(id).collect();
        let shown = approvals.iter().find(|approval| gone.contains(&approval.id));
        must(shown.is_none(), || format!("an approval was purged, and is shown: {shown:?}"))
    }

    /// A replica knows no key that was purged.
    pub(crate) fn forgotten(&self, bodies: &Bodies) -> Result<(), Broken> {
        // Whoever has to look it up has not got it.
        let is_at_hand = |session: &&SessionId| {
            let asked = std::pin::pin!(bodies.seal_by(**session));
            matches!(asked.poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(Some(_))))
        };
        let known = self.purged.keys().find(is_at_hand);
        must(known.is_none(), || format!("the key of {known:?} was purged, and is at hand"))
    }

    /// Everything was carried out: the journal holds what was not purged, and nothing of the rest. `clock_us`: what all clocks show
    /// where something gets old.
    pub(crate) fn at_rest(&self, depot: &Depot, bodies: &Bodies, clock_us: u64) -> Result<(), Broken> {
        self.ages.at_rest(bodies, |whose| self.hold(whose).is_some(), clock_us)?;
        for (session, Session { whose, bodies: named, .. }) in &self.sessions {
            let purge = self.purged.get(session);
            let is_there = now(depot.memory.slot(slot_of(*session))).unwrap().is_some();
            must(is_there == purge.is_none(), || format!("the purge of {whose:?} is {purge:?}, and its key: {is_there}"))?;
            for Named { sequence, reference, is_late } in named {
                let stored = now(depot.memory.fetch(digest(&reference.address))).unwrap();
                let opened = now(Box::pin(bodies.open_plain(reference)));
                match purge {
                    None => {
                        must(matches!(opened, Ok(Some(_))), || format!("the body of record {sequence} was lost: {opened:?}"))?;
                    }
                    Some(purge) => {
                        must(matches!(opened, Ok(None)), || format!("the body of record {sequence} was purged, and opens"))?;
                        // What was said of it later is nobody's to find, and opens no more.
                        must(stored.is_none() || sequence > purge || *is_late || self.is_disordered, || {
                            format!("the body of record {sequence} was purged by {purge}, and not given back")
                        })?;
                    }
                }
            }
        }
        self.names(bodies)
    }

    /// Nothing leads to somebody of whom nothing is kept, and to everybody else their stream.
    fn names(&self, bodies: &Bodies) -> Result<(), Broken> {
        let (kept, _) = now(Box::pin(bodies.kept(None))).unwrap();
        let leads = now(Box::pin(bodies.leads(None))).unwrap().0;
        let expected: HashSet<Digest> =
            kept.iter().map(|kept| bodies.stream_slot(&kept.whose.tenant, &kept.whose.principal)).collect();
        let lead = leads.iter().find(|lead| !expected.contains(&lead.slot));
        must(lead.is_none(), || format!("a slot leads to somebody of whom nothing is kept: {lead:?}"))?;
        for (session, Session { whose, stream, .. }) in self.sessions.iter().filter(|(session, _)| !self.is_purged(**session)) {
            let slot = bodies.stream_slot(&whose.tenant, &whose.principal);
            let found = leads.iter().find(|lead| lead.slot == slot).map(|lead| lead.stream);
            must(found == Some(*stream), || format!("the calls of {session} are in {stream:?}, and found in {found:?}"))?;
        }
        let tokens = now(Box::pin(bodies.tokens_there(TENANT))).unwrap();
        must(tokens.is_none_or(|key| !self.tokens.contains(key.as_bytes().as_slice())), || {
            "the key of a tenant's tokens was purged, and is there".into()
        })?;
        Ok(())
    }
}
