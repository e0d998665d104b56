//! What somebody may conclude who has public keys and bytes, and believes nobody.
//!
//! An audit stands on one signed checkpoint. It says what it showed, what was wrong with what it was given, and what it could not
//! show. It says nothing about what happened before a record was written, nor about what a record means.

use super::claim::{Claim, Conclusion, NotShown, Wrong};
use super::gaps::{COUNTER_FIRST, Counted, Counters, TooScattered};
use super::leaf::{Entry, Source};
use super::proof::Proof;
use super::tree::{Frontier, Hash};
use super::trust::{Cosigned, Signed, Trust, TrustError};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::RangeInclusive;

/// An audit under way.
#[derive(Clone, Debug)]
pub struct Audit<'a> {
    trust: &'a Trust,
    signed: Signed,
    /// The roots of older checkpoints that the log signed, and whether each was shown to be the log's beginning.
    older: BTreeMap<u64, (Hash, bool)>,
    /// The largest of them that witnesses saw.
    seen: Option<(u64, Vec<Cosigned>)>,
    ran: bool,
    said: Conclusion,
}

/// A run of entries that is being read, from some sequence to the checkpoint's end.
#[derive(Clone, Debug)]
pub struct Run {
    from: u64,
    frontier: Frontier,
    counters: Counters,
    scattered: Option<TooScattered>,
    /// Older roots that the run has yet to come by, and what it found there.
    marks: BTreeMap<u64, Hash>,
    met: Vec<(u64, bool)>,
}

// === impl Audit ===

impl<'a> Audit<'a> {
    /// An audit of what this checkpoint is of.
    ///
    /// # Errors
    /// Where the log did not sign it: then there is nothing to stand on.
    pub fn of(trust: &'a Trust, note: &[u8]) -> Result<Self, TrustError> {
        let signed = trust.check(note)?;
        let mut said = Conclusion { shown: Vec::new(), wrong: Vec::new(), not_shown: Vec::new() };
        let (size, root) = (signed.checkpoint().size, signed.checkpoint().root);
        said.shown.push(Claim::Signed { size, root, by: signed.by().to_vec() });
        let by = signed.cosigned().to_vec();
        if signed.is_witnessed() {
            said.shown.push(Claim::Witnessed { by });
        } else {
            said.not_shown.push(NotShown::Witnessed { by, quorum: signed.quorum() });
        }
        Ok(Self { trust, signed, older: BTreeMap::new(), seen: None, ran: false, said })
    }

    #[must_use]
    pub const fn signed(&self) -> &Signed {
        &self.signed
    }

    /// Holds an older checkpoint of the log against this one. Without a proof, a run of entries may still show it.
    pub fn older(&mut self, note: &[u8], proof: Option<&Proof>) {
        let older = match self.trust.check(note) {
            Ok(older) => older,
            Err(error) => return self.said.wrong.push(Wrong::Older(error)),
        };
        let (size, root) = (older.checkpoint().size, older.checkpoint().root);
        let (new, new_root) = (self.signed.checkpoint().size, self.signed.checkpoint().root);
        let known = if size == new { Some(new_root) } else { self.older.get(&size).map(|(known, _)| *known) };
        if let Some(one) = known.filter(|known| *known != root) {
            return self.said.wrong.push(Wrong::Fork { size, one, other: root });
        }
        let shown = match proof {
            Some(proof) => match proof.extends((size, root), (new, new_root)) {
                Ok(()) => true,
                Err(source) => return self.said.wrong.push(Wrong::Consistency { old: size, new, source }),
            },
            None => size == new,
        };
        // Every log begins with an empty one: whoever saw that saw nothing of this one.
        if size > 0 && older.is_witnessed() && self.seen.as_ref().is_none_or(|(seen, _)| *seen < size) {
            self.seen = Some((size, older.cosigned().to_vec()));
        }
        let before = self.older.get(&size).is_some_and(|(_, shown)| *shown);
        self.older.insert(size, (root, shown || before));
        if shown && !before {
            self.said.shown.push(Claim::Consistent { old: size, new });
        }
    }

    /// Holds an entry and its proof against the checkpoint.
    pub fn included(&mut self, entry: &Entry, proof: &Proof) {
        let (size, root) = (self.signed.checkpoint().size, self.signed.checkpoint().root);
        match proof.includes(entry.leaf_hash(), entry.index(), size, root) {
            Ok(()) => self.said.shown.push(Claim::Included { entry: *entry }),
            Err(source) => self.said.wrong.push(Wrong::Inclusion { sequence: entry.sequence, source }),
        }
    }

    /// Begins a run of entries: from the log's first, or from the edge of what an older checkpoint is of.
    ///
    /// # Errors
    /// `Start`, where no checkpoint that was given is of that edge.
    pub fn run(&self, from: Frontier) -> Result<Run, NotShown> {
        let size = from.size();
        let signed = |(root, _): &(Hash, bool)| *root == from.root();
        if size != 0 && !self.older.get(&size).is_some_and(signed) {
            return Err(NotShown::Start(size));
        }
        let marks = self.older.iter().filter(|(old, _)| **old >= size).map(|(old, (root, _))| (*old, *root)).collect();
        let mut run = Run { from: size, frontier: from, counters: Counters::default(), scattered: None, marks, met: Vec::new() };
        run.pass();
        Ok(run)
    }

    /// Holds a run against the checkpoint. What its counters show is said only of entries that are the signed ones.
    pub fn end(&mut self, run: Run) {
        self.ran = true;
        let (size, root) = (self.signed.checkpoint().size, self.signed.checkpoint().root);
        let (from, to) = (run.from.saturating_add(1), run.frontier.size());
        if to != size {
            return self.said.not_shown.push(NotShown::Short { reached: to, size });
        }
        if run.frontier.root() != root {
            return self.said.wrong.push(Wrong::Changed { from, to });
        }
        if from <= to {
            self.said.shown.push(Claim::Unchanged { from, to });
        }
        for (old, agrees) in run.met {
            match self.older.get_mut(&old) {
                Some((_, shown)) if agrees && !*shown => {
                    *shown = true;
                    self.said.shown.push(Claim::Consistent { old, new: size });
                }
                Some(_) | None if agrees => {}
                Some(_) | None => self.said.wrong.push(Wrong::Rewritten { old, new: size }),
            }
        }
        match run.scattered {
            Some(scattered) => self.said.not_shown.push(NotShown::Scattered(scattered)),
            None => run.counters.counted().for_each(|counted| self.count(counted)),
        }
    }

    /// What was shown, what was wrong, and what is left.
    #[must_use]
    pub fn conclude(mut self) -> Conclusion {
        self.witnessed_before();
        let rewritten =
            |old: u64| self.said.wrong.iter().any(|wrong| matches!(wrong, Wrong::Rewritten { old: other, .. } if *other == old));
        let unshown = self.older.iter().filter(|(old, (_, shown))| !*shown && !rewritten(**old));
        let new = self.signed.checkpoint().size;
        let not = |old: u64| if old > new { NotShown::Earlier { old, new } } else { NotShown::Consistent { old } };
        let unshown: Vec<_> = unshown.map(|(old, _)| not(*old)).collect();
        self.said.not_shown.extend(unshown);
        // One that was wrong was given all the same.
        let is_older = |wrong: &Wrong| matches!(wrong, Wrong::Older(_) | Wrong::Fork { .. } | Wrong::Consistency { .. });
        if self.older.is_empty() && !self.said.wrong.iter().any(is_older) {
            self.said.not_shown.push(NotShown::Older);
        }
        if !self.ran {
            self.said.not_shown.push(NotShown::Run);
        }
        self.said
    }

    /// What witnesses saw of an older checkpoint they saw of this one's beginning, once that is shown.
    fn witnessed_before(&mut self) {
        let new = self.signed.checkpoint().size;
        let shown = |size: &u64| self.older.get(size).is_some_and(|(_, shown)| *shown);
        let Some((size, by)) = self.seen.take().filter(|(size, _)| shown(size) && !self.signed.is_witnessed()) else { return };
        self.said.not_shown.retain(|not| !matches!(not, NotShown::Witnessed { .. }));
        if size == new {
            return self.said.shown.push(Claim::Witnessed { by });
        }
        self.said.shown.push(Claim::WitnessedTo { size, by });
        self.said.not_shown.push(NotShown::WitnessedFrom { from: size.saturating_add(1), to: new });
    }

    fn count(&mut self, counted: Counted) {
        let of = counted.source;
        if !counted.twice.is_empty() {
            self.said.wrong.push(Wrong::Twice { of, counters: counted.twice.clone() });
        }
        if counted.begins > COUNTER_FIRST {
            self.said.not_shown.push(NotShown::Before { of, begins: counted.begins });
        }
        if counted.missing.is_empty() {
            self.said.shown.push(Claim::NoGap { counted });
        } else {
            self.said.not_shown.push(NotShown::Gap { of, missing: counted.missing });
        }
    }
}

// === impl Run ===

impl Run {
    /// Takes the next entry.
    ///
    /// # Errors
    /// `Order`, where it is another: the run is over, and shows nothing.
    pub fn entry(&mut self, entry: &Entry) -> Result<(), Wrong> {
        let wanted = self.frontier.size().saturating_add(1);
        if entry.sequence != wanted {
            return Err(Wrong::Order { wanted, found: entry.sequence });
        }
        self.frontier.push(entry.leaf_hash()).map_err(|_| Wrong::Order { wanted, found: entry.sequence })?;
        let seen = self.counters.see(entry);
        self.keep(seen);
        self.pass();
        Ok(())
    }

    /// Says that these calls of a source are accounted for otherwise: by a flood that a record of the log names.
    pub fn account(&mut self, source: Source, counters: RangeInclusive<u64>) {
        let accounted = self.counters.account(source, counters);
        self.keep(accounted);
    }

    /// What it takes to go on from here another day.
    #[must_use]
    pub const fn frontier(&self) -> &Frontier {
        &self.frontier
    }

    fn keep(&mut self, outcome: Result<(), TooScattered>) {
        self.scattered = self.scattered.or(outcome.err());
    }

    fn pass(&mut self) {
        let size = self.frontier.size();
        if let Some(root) = self.marks.remove(&size) {
            self.met.push((size, root == self.frontier.root()));
        }
    }
}
