//! What callers were told, and what the tool server saw, written down before anything is killed. It believes nobody's journal.

use super::purges::handle_of;
use crate::clock;
use agentgate_core::digest::Digest;
use agentgate_core::transparency::tree::Hash;
use agentgate_proto::v1::Verdict;
use std::collections::HashSet;
use std::mem;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// One acknowledgement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) what: What,
    /// How many acknowledgements this caller had when it asked: what it was told since must stand behind all of those.
    pub(crate) asked_after: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// A verdict under a call's id, the place of its record where the answer names it, and the session that it
    /// was asked in.
    Verdict { id: Digest, verdict: Verdict, sequence: Option<u64>, handle: String },
    /// The tool's own result came back through the gate: this call was let through.
    Result { mark: String },
    /// The control plane has the outcome of this call.
    Outcome { id: Digest },
    /// A purge is on record there; and, if it is `finished`, carried out.
    Purge { order: String, sequences: Vec<u64>, finished: bool },
}

/// What one life of a journal must hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    /// By caller, in the order in which each was told.
    pub(crate) told: Vec<Vec<Told>>,
    /// The calls that reached the tool server, by their marks.
    pub(crate) executed: Vec<String>,
    /// All orders to purge, told or not: no other may be on record.
    pub(crate) ordered: HashSet<String>,
    /// Purges up to this record must be carried out: a life since then said that none is left.
    pub(crate) settled: u64,
    /// The tree over the first records as it was once: how many, and its root.
    pub(crate) tree: Option<(u64, Hash)>,
    /// What must never be said at all.
    pub(crate) faults: Vec<String>,
    pub(crate) undecided: u64,
}

/// What callers may do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    Call,
    /// Finish what is under way, and wait.
    Rest,
    Leave,
}

/// What driver and callers share.
#[derive(Debug)]
pub(crate) struct Shared {
    ledger: Mutex<Ledger>,
    phase: AtomicU8,
    pub(crate) resting: AtomicUsize,
    /// Acknowledgements so far: by way of the filter, and of callers that are filters themselves.
    pub(crate) through_gate: AtomicUsize,
    pub(crate) direct: AtomicUsize,
    /// And of purges.
    pub(crate) purged: AtomicUsize,
}

// === impl Ledger ===

impl Ledger {
    pub(crate) fn of(callers: usize) -> Self {
        Self { told: vec![Vec::new(); callers], ..Self::default() }
    }
}

// === impl Shared ===

impl Shared {
    pub(crate) fn new(callers: usize) -> Self {
        Self {
            ledger: Mutex::new(Ledger::of(callers)),
            phase: AtomicU8::new(Phase::Call as u8),
            resting: AtomicUsize::new(0),
            through_gate: AtomicUsize::new(0),
            direct: AtomicUsize::new(0),
            purged: AtomicUsize::new(0),
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            phase if phase == Phase::Call as u8 => Phase::Call,
            phase if phase == Phase::Rest as u8 => Phase::Rest,
            _ => Phase::Leave,
        }
    }

    /// Waits until the others have rested too.
    pub(crate) fn rest(&self) {
        self.resting.fetch_add(1, Ordering::AcqRel);
        while self.phase() == Phase::Rest {
            clock::pause(Duration::from_millis(1));
        }
        self.resting.fetch_sub(1, Ordering::AcqRel);
    }

    pub(crate) fn set(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Release);
    }

    /// How many acknowledgements `caller` has.
    pub(crate) fn count(&self, caller: usize) -> usize {
        self.held().told.get(caller).map_or(0, Vec::len)
    }

    pub(crate) fn tell(&self, caller: usize, told: Told) {
        if let Some(of_caller) = self.held().told.get_mut(caller) {
            of_caller.push(told);
        }
    }

    pub(crate) fn executed(&self, mark: String) {
        self.held().executed.push(mark);
    }

    pub(crate) fn ordered(&self, order: String) {
        self.held().ordered.insert(order);
    }

    /// Whether somebody ordered to purge the sessions of this handle.
    pub(crate) fn is_ordered(&self, handle: &str) -> bool {
        self.held().ordered.iter().any(|order| handle_of(order) == handle)
    }

    /// What was ordered so far, and what `caller` was told: of a journal that callers still write to.
    pub(crate) fn orders(&self, caller: usize) -> Ledger {
        let ledger = self.held();
        let told = ledger.told.get(caller).cloned().unwrap_or_default();
        Ledger { told: vec![told], ordered: ledger.ordered.clone(), ..Ledger::default() }
    }

    pub(crate) fn undecided(&self) {
        self.held().undecided += 1;
    }

    pub(crate) fn fault(&self, fault: String) {
        self.held().faults.push(fault);
    }

    /// Everything since the last time.
    pub(crate) fn take(&self) -> Ledger {
        let mut ledger = self.held();
        let callers = ledger.told.len();
        mem::replace(&mut *ledger, Ledger::of(callers))
    }

    fn held(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
