//! Holds a dead control plane's journal against what callers were told and what the tool server saw. It reads the files
//! itself, opens nothing with the journal's code, and names every difference.

use super::calls;
use super::keys::{Keys, Sessions};
use super::ledger::{Ledger, Told, What};
use super::segments::{Link, Read, Record, Series};
use super::signed::signed;
use super::slots::Slots;
use crate::Broken;
use agentgate_core::digest::Digest;
use agentgate_proto::v1::record::What as Recorded;
use agentgate_proto::v1::{self, Verdict};
use hmac::{Hmac, Mac};
use prost::Message as _;
use sha2::Sha256;
use std::collections::{HashMap, HashSet};
use std::path::Path;

/// The salt that a body begins with once it is opened.
const SALT_BYTES: usize = 32;

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
    /// Writes that the kill cut off, and that nobody was told of.
    pub torn: u64,
    pub faults: Vec<String>,
}

/// The journal, by what is asked of it.
#[derive(Default)]
struct Journal {
    decisions: HashMap<Digest, (u64, Verdict)>,
    outcomes: HashSet<Digest>,
    /// Allowed calls by the mark in their arguments.
    allowed: HashMap<String, u64>,
    /// Allowed calls whose arguments were forgotten: each may be one whose mark is not found.
    unmarked: usize,
    forgotten: HashSet<String>,
}

/// Where a record's body is looked for.
struct Opening<'a> {
    stored: HashMap<Digest, &'a [u8]>,
    bodies: &'a Read,
    keys: &'a Keys,
    slots: &'a Slots,
    sessions: Sessions,
}

enum Found {
    Plain(Vec<u8>),
    Discarded,
    /// It has none, or one with a fault that was named.
    Nothing,
}

// === impl Checked ===

impl Checked {
    /// # Errors
    /// The files cannot be read at all.
    pub(crate) fn of(journal: &Path, keys: &Keys, ledger: Ledger) -> Result<Self, Broken> {
        let mut checked = Self { faults: ledger.faults, ..Self::default() };
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
        let mut journal = checked.contents(&records.records, &bodies, keys, &slots);
        for (caller, told) in ledger.told.iter().enumerate() {
            checked.told(&mut journal, caller, told);
        }
        checked.executions(&mut journal, &ledger.executed);
        Ok(checked)
    }

    /// Whether what was signed is what is there, and no more than that: it is asked after every kill.
    ///
    /// # Errors
    /// The files cannot be read at all.
    pub(crate) fn signed(journal: &Path, keys: &Keys) -> Result<Vec<String>, Broken> {
        if !journal.join(Series::Records.name()).is_dir() {
            return Ok(Vec::new());
        }
        let (records, mut slots) = (Read::of(journal, Series::Records)?, Slots::of(journal)?);
        slots.faults.extend(signed(&records.records, &slots, keys).err());
        Ok(slots.faults)
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

    /// Reads every record, and the body of each that has one.
    fn contents(&mut self, records: &[Record], bodies: &Read, keys: &Keys, slots: &Slots) -> Journal {
        let mut stored: HashMap<Digest, &[u8]> = HashMap::new();
        for body in &bodies.bodies {
            if Digest::of("agentgate/body/1", &body.bytes) != body.address {
                self.fault(format!("the body {} is not what its address says", body.address));
            }
            stored.insert(body.address, &body.bytes);
        }
        let mut opening = Opening { stored, bodies, keys, slots, sessions: Sessions::default() };
        let mut journal = Journal::default();
        for record in records {
            let what = v1::Record::decode(record.bytes.as_slice()).ok().and_then(|record| record.what);
            let Some(what) = what else {
                self.fault(format!("sequence {}: its record cannot be read", record.sequence));
                continue;
            };
            let body = reference(&what).map_or(Ok(Found::Nothing), |reference| opening.body(record.group, reference));
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
                journal.decisions.insert(record.id, (sequence, decision.verdict()));
                let mark = match body {
                    Found::Plain(body) => v1::DecisionBody::decode(body.as_slice()).ok().and_then(|body| body.ask),
                    Found::Discarded if decision.verdict() == Verdict::Allow => {
                        journal.unmarked += 1;
                        None
                    }
                    Found::Discarded | Found::Nothing => None,
                };
                let mark = mark.and_then(|ask| calls::mark(&ask.body));
                if let Some(mark) = mark.filter(|_| decision.verdict() == Verdict::Allow) {
                    journal.allowed.insert(mark, sequence);
                }
            }
            Recorded::Outcome(outcome) => {
                let id = Digest::try_from(outcome.call_id.as_ref()).ok();
                match id.and_then(|id| journal.decisions.get(&id)) {
                    Some((decision, _)) if *decision == outcome.decision => {}
                    Some(_) | None => self.fault(format!("sequence {sequence}: the outcome of no decision before it")),
                }
                journal.outcomes.extend(id);
            }
            Recorded::Policy(_)
            | Recorded::Flood(_)
            | Recorded::Approval(_)
            | Recorded::Kill(_)
            | Recorded::Mode(_)
            | Recorded::Hold(_)
            | Recorded::Purge(_) => {}
        }
    }

    /// All that one caller was told is there, as it was told, and behind all that it had been told when it asked.
    fn told(&mut self, journal: &mut Journal, caller: usize, told: &[Told]) {
        // The highest sequence among the first n acknowledgements.
        let mut highest = vec![0_u64];
        for Told { what, asked_after } in told {
            let before = highest.get(*asked_after).copied().unwrap_or_default();
            let mut top = highest.last().copied().unwrap_or_default();
            let found = self.found(journal, what);
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
    fn found(&mut self, journal: &mut Journal, what: &What) -> Result<Option<u64>, String> {
        match what {
            What::Verdict { id, verdict, sequence } => {
                self.verdicts += 1;
                match journal.decisions.get(id) {
                    None => Err(format!("the {verdict:?} of call {id} is lost")),
                    Some((at, stored)) if stored != verdict => {
                        Err(format!("sequence {at} says {stored:?}, told was {verdict:?}"))
                    }
                    Some((at, _)) if sequence.is_some_and(|told| told != *at) => {
                        Err(format!("the call {id} stands at {at}, told was {sequence:?}"))
                    }
                    Some((at, _)) => Ok(Some(*at)),
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
    /// Whether an allow of this mark may be among those whose arguments were forgotten.
    fn may_have(&mut self, mark: &str) -> bool {
        let is_room = self.forgotten.len() < self.unmarked;
        self.forgotten.contains(mark) || (is_room && self.forgotten.insert(mark.to_owned()))
    }
}

// === impl Opening ===

impl Opening<'_> {
    /// The plaintext of the body that a record of `group` refers to, held against its commitment.
    fn body(&mut self, group: u64, reference: &v1::BodyRef) -> Result<Found, &'static str> {
        let address = Digest::try_from(reference.address.as_ref()).map_err(|_| "its body's address is none")?;
        let Some(stored) = self.stored.get(&address) else {
            // What lived when its segment was given back lies elsewhere.
            let is_discarded = self.bodies.is_gone(group) || self.bodies.discarded.contains(&address);
            return if is_discarded { Ok(Found::Discarded) } else { Err("its body is missing") };
        };
        let mut plain = self.sessions.open(self.keys, self.slots, &reference.session, stored)?;
        if plain.len() < SALT_BYTES {
            return Err("its body is shorter than its salt");
        }
        let body = plain.split_off(SALT_BYTES);
        let mac = <Hmac<Sha256> as Mac>::new_from_slice(&plain).map(|mac| mac.chain_update(&body));
        let is_committed = mac.is_ok_and(|mac| mac.verify_slice(&reference.commitment).is_ok());
        if is_committed { Ok(Found::Plain(body)) } else { Err("its body is not what it committed to") }
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
