//! Holds a dead control plane's journal against what callers were told and what the tool server saw. It reads the files
//! itself, opens nothing with the journal's code, and names every difference.

use super::calls;
use super::keys::{Keys, Sessions};
use super::ledger::{Ledger, Told, What};
use super::opening::{Found, Opening};
use super::purges::{Purges, handle_of, key_slot};
use super::segments::{Link, Read, Record, Series};
use super::signed::{root_of, signed};
use super::slots::Slots;
use crate::Broken;
use agentgate_core::digest::Digest;
use agentgate_core::transparency::tree::Hash;
use agentgate_proto::v1::record::What as Recorded;
use agentgate_proto::v1::{self, Verdict};
use prost::Message as _;
use std::collections::{HashMap, HashSet};
use std::mem;
use std::path::Path;

/// What was compared, and what differed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    pub records: u64,
    pub bodies: u64,
    /// Bodies that were forgotten.
    pub discarded: u64,
    /// Records under the root that was signed last.
    pub signed: u64,
    pub groups: u64,
    pub verdicts: u64,
    pub results: u64,
    pub outcomes: u64,
    pub executed: u64,
    /// Orders to purge that are on record, the sessions that they name, and those that were acknowledged.
    pub purges: u64,
    pub purged: u64,
    pub acknowledged_purges: u64,
    /// Records of purges that are not carried out.
    pub unfinished: u64,
    /// Writes that the kill cut off, and that nobody was told of.
    pub torn: u64,
    /// All records, and the root of the tree over them.
    pub tree: Option<(u64, Hash)>,
    pub faults: Vec<String>,
}

/// The journal, by what is asked of it.
#[derive(Default)]
struct Journal {
    decisions: HashMap<Digest, Decision>,
    outcomes: HashSet<Digest>,
    /// Allowed calls by the mark in their arguments.
    allowed: HashMap<String, u64>,
    /// The order of each purge that somebody ordered.
    orders: HashMap<u64, String>,
    /// Of each purge, the allowed calls whose arguments it took.
    unmarked: HashMap<u64, usize>,
    /// Marks that were not found, each taken for that of such a call.
    forgotten: HashSet<String>,
}

struct Decision {
    sequence: u64,
    verdict: Verdict,
    /// The purge that took its words.
    purge: Option<u64>,
}

// === impl Checked ===

impl Checked {
    /// # Errors
    /// The files cannot be read at all.
    pub(crate) fn of(journal: &Path, keys: &Keys, mut ledger: Ledger) -> Result<Self, Broken> {
        let mut checked = Self { faults: mem::take(&mut ledger.faults), ..Self::default() };
        let (mut records, mut bodies) = (Read::of(journal, Series::Records)?, Read::of(journal, Series::Bodies)?);
        checked.faults.append(&mut records.faults);
        checked.faults.append(&mut bodies.faults);
        let is_cut = records.cut_without(&bodies);
        checked.torn = [is_cut, records.torn_bytes > 0, bodies.torn_bytes > 0].map(u64::from).iter().sum();
        checked.records = records.records.len() as u64;
        checked.bodies = bodies.bodies.len() as u64;
        checked.discarded = bodies.discarded.len() as u64;
        checked.groups = records.groups + bodies.groups;
        let named: HashSet<_> = bodies.links.iter().map(|link| (link.group, link.checksum)).collect();
        let missing = |link: &&Link| !named.contains(&(link.group, link.checksum)) && !bodies.is_gone(link.group);
        for link in records.links.iter().filter(missing) {
            checked.fault(format!("group {}: its bodies are missing", link.group));
        }
        checked.order(&records.records);
        let mut slots = Slots::of(journal)?;
        checked.faults.append(&mut slots.faults);
        match signed(&records.records, &slots, keys) {
            Ok(size) => checked.signed = size,
            Err(fault) => checked.fault(fault),
        }
        checked.tree(&records.records, ledger.tree);
        let purges = Purges::of(&records.records, &slots).unwrap_or_else(|fault| {
            checked.fault(fault);
            Purges::default()
        });
        let mut journal = checked.contents(&records.records, &bodies, keys, (&slots, &purges));
        checked.purges(&purges, &slots, &ledger);
        checked.orders(&journal, &purges, &ledger);
        for (caller, told) in ledger.told.iter().enumerate() {
            checked.told((&mut journal, &purges), caller, told);
        }
        checked.executions(&mut journal, &ledger.executed);
        Ok(checked)
    }

    /// As `of`, after any kill: it may have come before there was a journal.
    ///
    /// # Errors
    /// The files cannot be read at all.
    pub(crate) fn after_kill(journal: &Path, keys: &Keys, ledger: Ledger) -> Result<Self, Broken> {
        let is_begun = [Series::Records, Series::Bodies].iter().all(|series| journal.join(series.name()).is_dir());
        if is_begun { Self::of(journal, keys, ledger) } else { Ok(Self { tree: ledger.tree, ..Self::default() }) }
    }

    /// What it was after a kill, and became in a life after it.
    #[must_use]
    pub(crate) fn settled(self, mut settled: Self) -> Self {
        settled.faults.retain(|fault| !self.faults.contains(fault));
        Self { torn: self.torn, faults: [self.faults, settled.faults].concat(), ..settled }
    }

    pub(crate) fn add(&mut self, other: Checked) {
        self.records += other.records;
        self.bodies += other.bodies;
        self.discarded += other.discarded;
        self.signed += other.signed;
        self.groups += other.groups;
        self.verdicts += other.verdicts;
        self.results += other.results;
        self.outcomes += other.outcomes;
        self.executed += other.executed;
        self.purges += other.purges;
        self.purged += other.purged;
        self.acknowledged_purges += other.acknowledged_purges;
        self.torn += other.torn;
        self.faults.extend(other.faults);
    }

    fn fault(&mut self, fault: String) {
        self.faults.push(fault);
    }

    /// Sequences without a gap, versions without a gap in each stream, and each id once.
    fn order(&mut self, records: &[Record]) {
        let mut versions: HashMap<Digest, u64> = HashMap::new();
        let mut ids = HashSet::new();
        for (record, expected) in records.iter().zip(1_u64..) {
            if record.sequence != expected {
                self.fault(format!("sequence {} stands where {expected} must", record.sequence));
            }
            let version = versions.entry(record.stream).or_default();
            *version += 1;
            if record.version != *version {
                self.fault(format!("sequence {}: version {} where {version} must stand", record.sequence, record.version));
            }
            if !ids.insert(record.id) {
                self.fault(format!("sequence {}: its id stands there twice", record.sequence));
            }
        }
    }

    /// The first records are under the root that they were under before.
    fn tree(&mut self, records: &[Record], before: Option<(u64, Hash)>) {
        let there = records.len() as u64;
        if let Some((size, root)) = before {
            match root_of(records, size) {
                Ok(now) if there >= size && now == root => {}
                Ok(_) => self.fault(format!("the first {size} records are not those that were there before")),
                Err(fault) => self.fault(fault),
            }
        }
        self.tree = root_of(records, there).ok().map(|root| (there, root));
    }

    /// Of what was purged no key is there, as soon as it is said to be carried out; and that is said, where it was told.
    fn purges(&mut self, purges: &Purges, slots: &Slots, ledger: &Ledger) {
        self.unfinished = purges.unfinished(u64::MAX).count() as u64;
        for (session, purge) in purges.sessions() {
            self.purged += 1;
            if purge <= purges.done && slots.value(&key_slot(session)).is_some() {
                self.fault(format!("purge {purge}: it is carried out, and a key that it names is there"));
            }
        }
        for purge in purges.unfinished(ledger.settled) {
            self.fault(format!("purge {purge}: the life after the kill did not carry it out"));
        }
    }

    /// Nothing is purged but what somebody ordered.
    fn orders(&mut self, journal: &Journal, purges: &Purges, ledger: &Ledger) {
        let orders: HashSet<&String> = journal.orders.values().collect();
        self.purges = orders.len() as u64;
        for order in orders.into_iter().filter(|order| !ledger.ordered.contains(order.as_str())) {
            self.fault(format!("`{order}` is on record, and nobody ordered it"));
        }
        let by_nobody: HashSet<u64> =
            purges.sessions().map(|(_, purge)| purge).filter(|purge| !journal.orders.contains_key(purge)).collect();
        for purge in by_nobody {
            self.fault(format!("purge {purge}: it names sessions, and nobody ordered it"));
        }
    }

    /// Reads every record, and the body of each that has one.
    fn contents(&mut self, records: &[Record], bodies: &Read, keys: &Keys, (slots, purges): (&Slots, &Purges)) -> Journal {
        let mut stored: HashMap<Digest, &[u8]> = HashMap::new();
        for body in &bodies.bodies {
            if Digest::of("agentgate/body/1", &body.bytes) != body.address {
                self.fault(format!("the body {} is not what its address says", body.address));
            }
            stored.insert(body.address, &body.bytes);
        }
        let mut opening = Opening { stored, bodies, keys, slots, sessions: Sessions::default(), purges };
        let mut journal = Journal::default();
        for record in records {
            let what = v1::Record::decode(record.bytes.as_slice()).ok().and_then(|record| record.what);
            let Some(what) = what else {
                self.fault(format!("sequence {}: its record cannot be read", record.sequence));
                continue;
            };
            let body = reference(&what).map_or(Ok(Found::Nothing), |reference| opening.body(record, &what, reference));
            let body = body.unwrap_or_else(|fault| {
                self.fault(format!("sequence {}: {fault}", record.sequence));
                Found::Nothing
            });
            self.content(&mut journal, record, &what, body);
        }
        journal
    }

    fn content(&mut self, journal: &mut Journal, record: &Record, what: &Recorded, body: Found) {
        let sequence = record.sequence;
        match what {
            Recorded::Decision(decision) => {
                if decision.call_id.as_ref() != record.id.as_bytes() {
                    self.fault(format!("sequence {sequence}: its id is not its call's"));
                }
                let (verdict, mut purge) = (decision.verdict(), None);
                let mark = match body {
                    Found::Plain(body) => v1::DecisionBody::decode(body.as_slice()).ok().and_then(|body| body.ask),
                    Found::Purged(by) => {
                        purge = Some(by);
                        *journal.unmarked.entry(by).or_default() += usize::from(verdict == Verdict::Allow);
                        None
                    }
                    Found::Nothing => None,
                };
                journal.decisions.insert(record.id, Decision { sequence, verdict, purge });
                let mark = mark.and_then(|ask| calls::mark(&ask.body));
                if let Some(mark) = mark.filter(|_| verdict == Verdict::Allow) {
                    journal.allowed.insert(mark, sequence);
                }
            }
            Recorded::Outcome(outcome) => {
                let id = Digest::try_from(outcome.call_id.as_ref()).ok();
                match id.and_then(|id| journal.decisions.get(&id)) {
                    Some(decision) if decision.sequence == outcome.decision => {}
                    Some(_) | None => self.fault(format!("sequence {sequence}: the outcome of no decision before it")),
                }
                journal.outcomes.extend(id);
            }
            Recorded::Policy(_)
            | Recorded::Flood(_)
            | Recorded::Approval(_)
            | Recorded::Kill(_)
            | Recorded::Mode(_)
            | Recorded::Hold(_) => {}
            Recorded::Purge(_) => {
                if let Found::Plain(body) = body
                    && let Ok(body) = v1::PurgeBody::decode(body.as_slice())
                {
                    journal.orders.insert(sequence, body.reason);
                }
            }
        }
    }

    /// All that one caller was told is there, as it was told, and behind all that it had been told when it asked.
    fn told(&mut self, (journal, purges): (&mut Journal, &Purges), caller: usize, told: &[Told]) {
        // The highest sequence among the first n acknowledgements.
        let mut highest = vec![0_u64];
        for Told { what, asked_after } in told {
            let before = highest.get(*asked_after).copied().unwrap_or_default();
            let mut top = highest.last().copied().unwrap_or_default();
            let found = self.found(journal, purges, what);
            match found {
                Err(fault) => self.fault(format!("caller {caller}: {fault}")),
                Ok(Some(sequence)) if sequence <= before => {
                    self.fault(format!("caller {caller}: sequence {sequence} of a later call is not behind {before}"));
                }
                Ok(sequence) => top = top.max(sequence.unwrap_or_default()),
            }
            highest.push(top);
        }
    }

    /// The sequence of what was acknowledged; none where its place says nothing.
    fn found(&mut self, journal: &mut Journal, purges: &Purges, what: &What) -> Result<Option<u64>, String> {
        match what {
            What::Verdict { id, verdict, sequence, handle } => {
                self.verdicts += 1;
                let Some(Decision { sequence: at, verdict: stored, purge }) = journal.decisions.get(id) else {
                    return Err(format!("the {verdict:?} of call {id} is lost"));
                };
                if stored != verdict {
                    return Err(format!("sequence {at} says {stored:?}, told was {verdict:?}"));
                }
                if sequence.is_some_and(|told| told != *at) {
                    return Err(format!("the call {id} stands at {at}, told was {sequence:?}"));
                }
                match purge.and_then(|purge| journal.orders.get(&purge)) {
                    Some(order) if handle_of(order) != handle => {
                        Err(format!("the call {id} of `{handle}` was erased by `{order}`"))
                    }
                    Some(_) | None => Ok(Some(*at)),
                }
            }
            What::Result { mark } => {
                self.results += 1;
                let at = journal.allowed.get(mark).copied();
                if at.is_some() || journal.may_have(mark) { Ok(at) } else { Err(format!("the allow of `{mark}` is lost")) }
            }
            What::Outcome { id } => {
                self.outcomes += 1;
                if journal.outcomes.contains(id) { Ok(None) } else { Err(format!("the outcome of call {id} is lost")) }
            }
            What::Purge { order, sequences, finished } => {
                self.acknowledged_purges += 1;
                if sequences.iter().any(|sequence| journal.orders.get(sequence) != Some(order)) {
                    return Err(format!("`{order}` is lost: told was {sequences:?}"));
                }
                let last = sequences.iter().max().copied().unwrap_or_default();
                if *finished && purges.done < last {
                    return Err(format!("`{order}` was told to be carried out, and it is not"));
                }
                Ok(None)
            }
        }
    }

    /// Nothing was executed without a durable allow, and nothing twice.
    fn executions(&mut self, journal: &mut Journal, executed: &[String]) {
        let mut seen = HashSet::new();
        for mark in executed {
            self.executed += 1;
            if !journal.allowed.contains_key(mark) && !journal.may_have(mark) {
                self.fault(format!("`{mark}` was executed, and no allow of it is on record"));
            }
            if !seen.insert(mark) {
                self.fault(format!("`{mark}` was executed twice"));
            }
        }
    }
}

// === impl Journal ===

impl Journal {
    /// Whether an allow of this mark may be among those whose arguments were purged with its session.
    fn may_have(&mut self, mark: &str) -> bool {
        if self.forgotten.contains(mark) {
            return true;
        }
        let of_handle = self
            .unmarked
            .iter_mut()
            .filter(|(purge, _)| self.orders.get(purge).is_some_and(|order| handle_of(order) == calls::handle_in(mark)));
        let Some((_, room)) = of_handle.into_iter().find(|(_, room)| **room > 0) else { return false };
        *room -= 1;
        self.forgotten.insert(mark.to_owned())
    }
}

fn reference(what: &Recorded) -> Option<&v1::BodyRef> {
    match what {
        Recorded::Decision(record) => record.body.as_ref(),
        Recorded::Outcome(record) => record.body.as_ref(),
        Recorded::Flood(record) => record.body.as_ref(),
        Recorded::Approval(record) => record.body.as_ref(),
        Recorded::Kill(record) => record.body.as_ref(),
        Recorded::Mode(record) => record.body.as_ref(),
        Recorded::Hold(record) => record.body.as_ref(),
        Recorded::Purge(record) => record.body.as_ref(),
        Recorded::Policy(_) => None,
    }
}
