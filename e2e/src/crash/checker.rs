//! Holds a dead control plane's journal against what callers were told and what the tool server saw. It reads the files
//! itself, opens nothing with the journal's code, and names every difference.

use super::calls;
use super::ledger::{Ledger, Told, What};
use super::segments::{Body, Read, Record, Series};
use crate::Broken;
use agentgate_core::digest::Digest;
use agentgate_proto::v1::record::What as Recorded;
use agentgate_proto::v1::{self, Verdict};
use hmac::{Hmac, Mac};
use prost::Message as _;
use sha2::Sha256;
use std::collections::{HashMap, HashSet};
use std::path::Path;

/// The salt that a stored body begins with.
const SALT_BYTES: usize = 32;

/// What was compared, and what differed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    pub records: u64,
    pub bodies: u64,
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
}

// === impl Checked ===

impl Checked {
    /// # Errors
    /// The files cannot be read at all.
    pub(crate) fn of(journal: &Path, ledger: Ledger) -> Result<Self, Broken> {
        let mut checked = Self { faults: ledger.faults, ..Self::default() };
        let (mut records, mut bodies) = (Read::of(journal, Series::Records)?, Read::of(journal, Series::Bodies)?);
        checked.faults.append(&mut records.faults);
        checked.faults.append(&mut bodies.faults);
        let is_cut = records.cut_without(&bodies);
        checked.torn = [is_cut, records.torn_bytes > 0, bodies.torn_bytes > 0].map(u64::from).iter().sum();
        checked.records = records.records.len() as u64;
        checked.bodies = bodies.bodies.len() as u64;
        checked.groups = records.groups + bodies.groups;
        let named: HashSet<_> = bodies.links.iter().map(|link| (link.group, link.checksum)).collect();
        for link in records.links.iter().filter(|link| !named.contains(&(link.group, link.checksum))) {
            checked.fault(format!("group {}: its bodies are missing", link.group));
        }
        checked.order(&records.records);
        let journal = checked.contents(&records.records, &bodies.bodies);
        for (caller, told) in ledger.told.iter().enumerate() {
            checked.told(&journal, caller, told);
        }
        checked.executions(&journal, &ledger.executed);
        Ok(checked)
    }

    pub(crate) fn add(&mut self, other: Checked) {
        self.records += other.records;
        self.bodies += other.bodies;
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
    fn contents(&mut self, records: &[Record], bodies: &[Body]) -> Journal {
        let mut stored: HashMap<Digest, &[u8]> = HashMap::new();
        for body in bodies {
            if Digest::of("agentgate/body/1", &body.bytes) != body.address {
                self.fault(format!("the body {} is not what its address says", body.address));
            }
            stored.insert(body.address, &body.bytes);
        }
        let mut journal = Journal::default();
        for record in records {
            let what = v1::Record::decode(record.bytes.as_slice()).ok().and_then(|record| record.what);
            let Some(what) = what else {
                self.fault(format!("sequence {}: its record cannot be read", record.sequence));
                continue;
            };
            let body = self.body(record.sequence, reference(&what), &stored);
            self.content(&mut journal, record, &what, body);
        }
        journal
    }

    /// The plaintext of the body that a record refers to, held against its commitment.
    fn body<'a>(
        &mut self,
        sequence: u64,
        reference: Option<&v1::BodyRef>,
        stored: &HashMap<Digest, &'a [u8]>,
    ) -> Option<&'a [u8]> {
        let reference = reference?;
        let address = Digest::try_from(reference.address.as_ref()).ok();
        let Some(stored) = address.and_then(|address| stored.get(&address)) else {
            self.fault(format!("sequence {sequence}: its body is missing"));
            return None;
        };
        let opened = stored.split_at_checked(SALT_BYTES).filter(|(salt, plaintext)| {
            let mac = <Hmac<Sha256> as Mac>::new_from_slice(salt);
            mac.is_ok_and(|mac| mac.chain_update(plaintext).verify_slice(&reference.commitment).is_ok())
        });
        if opened.is_none() {
            self.fault(format!("sequence {sequence}: its body is not what it committed to"));
        }
        opened.map(|(_, plaintext)| plaintext)
    }

    fn content(&mut self, journal: &mut Journal, record: &Record, what: &Recorded, body: Option<&[u8]>) {
        let sequence = record.sequence;
        match what {
            Recorded::Decision(decision) => {
                if decision.call_id.as_ref() != record.id.as_bytes() {
                    self.fault(format!("sequence {sequence}: its id is not its call's"));
                }
                journal.decisions.insert(record.id, (sequence, decision.verdict()));
                let body = body.and_then(|body| v1::DecisionBody::decode(body).ok());
                let mark = body.and_then(|body| body.ask).and_then(|ask| calls::mark(&ask.body));
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
            Recorded::Policy(_) | Recorded::Flood(_) | Recorded::Approval(_) | Recorded::Kill(_) | Recorded::Mode(_) => {}
        }
    }

    /// All that one caller was told is there, as it was told, and behind all that it had been told when it asked.
    fn told(&mut self, journal: &Journal, caller: usize, told: &[Told]) {
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
    fn found(&mut self, journal: &Journal, what: &What) -> Result<Option<u64>, String> {
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
                journal.allowed.get(mark).map(|at| Some(*at)).ok_or_else(|| format!("the allow of `{mark}` is lost"))
            }
            What::Outcome { id } => {
                self.outcomes += 1;
                if journal.outcomes.contains(id) { Ok(None) } else { Err(format!("the outcome of call {id} is lost")) }
            }
        }
    }

    /// Nothing was executed without a durable allow, and nothing twice.
    fn executions(&mut self, journal: &Journal, executed: &[String]) {
        let mut seen = HashSet::new();
        for mark in executed {
            self.executed += 1;
            if !journal.allowed.contains_key(mark) {
                self.fault(format!("`{mark}` was executed, and no allow of it is on record"));
            }
            if !seen.insert(mark) {
                self.fault(format!("`{mark}` was executed twice"));
            }
        }
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
        Recorded::Policy(_) => None,
    }
}
