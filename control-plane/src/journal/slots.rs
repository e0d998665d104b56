//! Slots: the few small values that change and must be able to be forgotten. One thread sets them, in groups of two syncs:
//! the new values, then zeros over the old ones. It refuses to say that a slot is empty where a damaged one may be its own.

use super::disk::{Disk, File};
use super::durable::{Durable, Fault};
use super::lock::lock_shared;
use super::slot_file::{Found, Run, SlotDamage, SlotFile, read_run};
use super::{AppendError, ReadError, SLOT_BYTES_MAX, SLOTS_PAGE_MAX, Slot};
use crate::telemetry::number;
use agentgate_core::digest::Digest;
use bytes::Bytes;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};
use std::collections::{BTreeMap, HashSet};
use std::io;
use std::ops::Bound;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::sync::oneshot;

/// Sets that may wait: at most 16 MB.
pub(super) const QUEUE_SETS_MAX: usize = 1024;

/// Sets that share their two syncs.
const GROUP_SETS_MAX: usize = 128;

type Answer = oneshot::Sender<Result<Slot, AppendError>>;

/// The ends that callers hold.
#[derive(Debug)]
pub(super) struct Slots {
    sets: Option<Sender<Set>>,
    held: Arc<Held>,
    setter: Option<JoinHandle<()>>,
}

/// What readers and the setter share.
#[derive(Debug)]
pub(super) struct Held {
    table: Mutex<Table>,
    bytes: AtomicU64,
}

#[derive(Debug)]
struct Table {
    file: Arc<dyn File>,
    slots: BTreeMap<Digest, Run>,
    damage: Vec<SlotDamage>,
    /// Why nothing can be set now.
    fault: Option<String>,
    /// What a failed group was about.
    in_doubt: HashSet<Digest>,
}

#[derive(Debug)]
struct Set {
    name: Digest,
    expected: Option<Bytes>,
    value: Option<Bytes>,
    answer: Answer,
}

struct Setter {
    sets: Receiver<Set>,
    held: Arc<Held>,
    durable: Arc<Durable>,
    file: SlotFile,
    heal_every: Duration,
    /// Whoever copies the slots holds it for as long.
    hold: std::fs::File,
    /// What did not go into the last group.
    carried: Option<Set>,
    /// What must be erased before anything else is done: a write failed.
    unfinished: Vec<Run>,
}

/// One group under construction.
#[derive(Default)]
struct Group {
    names: HashSet<Digest>,
    /// None: it is erased.
    values: Vec<(Digest, Option<(Run, Bytes)>)>,
    replaced: Vec<Run>,
    answers: Vec<Answer>,
}

// === impl Slots ===

impl Slots {
    /// Opens the slots, or makes new ones where there `may_be_none`.
    pub(super) fn open(disk: &Arc<dyn Disk>, path: PathBuf, may_be_none: bool) -> io::Result<(SlotFile, Held)> {
        let (file, Found { slots, damage, .. }) = SlotFile::open(disk, path, may_be_none)?;
        let bytes = AtomicU64::new(file.bytes());
        let table = Table { file: Arc::clone(&file.file), slots, damage, fault: None, in_doubt: HashSet::new() };
        Ok((file, Held { table: Mutex::new(table), bytes }))
    }

    pub(super) fn start(
        file: SlotFile,
        held: Arc<Held>,
        durable: Arc<Durable>,
        heal_every: Duration,
        hold: std::fs::File,
    ) -> io::Result<Self> {
        let (sets, waiting) = bounded(QUEUE_SETS_MAX);
        let mut setter = Setter {
            sets: waiting,
            held: Arc::clone(&held),
            durable,
            file,
            heal_every,
            hold,
            carried: None,
            unfinished: Vec::new(),
        };
        let setter = thread::Builder::new().name("journal-slots".into()).spawn(move || setter.run())?;
        Ok(Self { sets: Some(sets), held, setter: Some(setter) })
    }

    pub(super) fn held(&self) -> Arc<Held> {
        Arc::clone(&self.held)
    }

    /// Under way when this returns.
    pub(super) fn set(
        &self,
        name: Digest,
        expected: Option<Bytes>,
        value: Option<Bytes>,
    ) -> oneshot::Receiver<Result<Slot, AppendError>> {
        let (answer, answered) = oneshot::channel();
        if value.as_ref().is_some_and(|value| value.len() > SLOT_BYTES_MAX) {
            let _ = answer.send(Err(AppendError::TooLarge { limit: SLOT_BYTES_MAX }));
            return answered;
        }
        let set = Set { name, expected, value, answer };
        let sent = self.sets.as_ref().map(|sets| sets.try_send(set));
        if let Some(Err(TrySendError::Full(set) | TrySendError::Disconnected(set))) = sent {
            let _ = set.answer.send(Err(AppendError::Unavailable("overloaded".to_owned())));
        }
        answered
    }
}

impl Drop for Slots {
    /// What is under way is finished first.
    fn drop(&mut self) {
        self.sets = None;
        if let Some(setter) = self.setter.take() {
            let _ = setter.join();
        }
    }
}

// === impl Held ===

impl Held {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn damage(&self) -> Vec<SlotDamage> {
        self.table().damage.clone()
    }

    /// Why nothing can be set now.
    pub(super) fn fault(&self) -> Option<String> {
        self.table().fault.clone()
    }

    /// What the slot holds.
    pub(super) fn slot(&self, name: &Digest) -> Result<Option<Bytes>, ReadError> {
        let mut seen = None;
        loop {
            let (file, run) = {
                let table = self.table();
                (Arc::clone(&table.file), table.run(name)?)
            };
            let Some(run) = run else { return Ok(None) };
            let read = read_run(&*file, run).map_err(|error| ReadError::Unavailable(error.to_string()))?;
            if let Some((_, value)) = read.filter(|(head, _)| head.name == *name) {
                return Ok(Some(value));
            }
            // It may have been replaced while it was read; then it lies elsewhere by now.
            if seen.replace(run) == Some(run) {
                let what = "a slot is not what was written";
                let damage = SlotDamage { offset: super::slot_file::offset(run.cell), name: Some(*name), what };
                return Err(self.damaged(damage));
            }
        }
    }

    /// The slots after `after`, in the order of their names.
    pub(super) fn slots(&self, after: Option<Digest>, limit: u32) -> Result<Vec<(Digest, Bytes)>, ReadError> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let names: Vec<Digest> = {
            let table = self.table();
            if let Some(damage) = table.damage.first() {
                return Err(ReadError::Damaged(damage.to_string()));
            }
            let range = table.slots.range((from, Bound::Unbounded));
            range.take(limit.min(SLOTS_PAGE_MAX) as usize).map(|(name, _)| *name).collect()
        };
        let held = names.into_iter().map(|name| Ok(self.slot(&name)?.map(|value| (name, value))));
        held.filter_map(Result::transpose).collect()
    }

    fn damaged(&self, damage: SlotDamage) -> ReadError {
        let text = damage.to_string();
        let mut table = self.table();
        if !table.damage.contains(&damage) {
            table.damage.push(damage);
        }
        ReadError::Damaged(text)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Table ===

impl Table {
    /// Where the slot lies. None: it holds nothing, for certain.
    fn run(&self, name: &Digest) -> Result<Option<Run>, ReadError> {
        if let Some(reason) = self.fault.as_ref().filter(|_| self.in_doubt.contains(name)) {
            return Err(ReadError::Unavailable(reason.clone()));
        }
        let run = self.slots.get(name).copied();
        // What lies in a damaged cell may be anybody's who is not found.
        let is_its = |damage: &&SlotDamage| damage.name == Some(*name) || (damage.name.is_none() && run.is_none());
        match self.damage.iter().find(is_its) {
            Some(damage) => Err(ReadError::Damaged(damage.to_string())),
            None => Ok(run),
        }
    }
}

// === impl Setter ===

impl Setter {
    fn run(&mut self) {
        loop {
            metrics::gauge!("agentgate_journal_queued_slots").set(number(self.sets.len()));
            let next = self.carried.take().map_or_else(|| self.sets.recv_timeout(self.heal_every), Ok);
            match next {
                Ok(set) => match self.refusal() {
                    None => self.group(set),
                    Some(reason) => drop(set.answer.send(Err(AppendError::Unavailable(reason)))),
                },
                Err(RecvTimeoutError::Timeout) => drop(self.refusal()),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Why nothing can be set now; what failed is tried again.
    fn refusal(&mut self) -> Option<String> {
        if let Some(Fault::Damaged(reason)) = self.durable.fault() {
            return Some(reason);
        }
        if let Some(damage) = self.held.damage().first().map(SlotDamage::to_string) {
            self.durable.damaged(&damage);
            return Some(damage);
        }
        self.held.fault()?;
        match self.file.reopen().and_then(|()| self.file.erase(&self.unfinished)) {
            Ok(()) => {
                self.unfinished.clear();
                let mut table = self.held.table();
                table.file = Arc::clone(&self.file.file);
                table.fault = None;
                table.in_doubt.clear();
                None
            }
            Err(error) => Some(error.to_string()),
        }
    }

    /// `first`, and whatever else is waiting, with the same two syncs.
    fn group(&mut self, first: Set) {
        let mut group = Group::default();
        let mut next = Some(first);
        while let Some(set) = next {
            if group.names.contains(&set.name) || group.answers.len() >= GROUP_SETS_MAX {
                self.carried = Some(set);
                break;
            }
            self.admit(set, &mut group);
            next = self.sets.try_recv().ok();
        }
        if group.answers.is_empty() {
            return;
        }
        if lock_shared(&self.hold).is_err() {
            return self.refuse(group);
        }
        let names = std::mem::take(&mut group.names);
        let answers = std::mem::take(&mut group.answers);
        let told = self.write(group).map_err(|(error, unfinished)| {
            let reason = error.to_string();
            self.unfinished.extend(unfinished);
            let mut table = self.held.table();
            table.fault = Some(reason.clone());
            table.in_doubt.extend(names);
            AppendError::Unknown(reason)
        });
        // An unlock that fails ends with the process.
        let _ = self.hold.unlock();
        self.held.bytes.store(self.file.bytes(), Ordering::Relaxed);
        for answer in answers {
            // A caller who went away is no reason to stop.
            let _ = answer.send(told.clone().map(|()| Slot::Set));
        }
    }

    /// Nothing was written.
    fn refuse(&mut self, group: Group) {
        group.values.iter().filter_map(|(_, value)| value.as_ref()).for_each(|(run, _)| self.file.give_back(*run));
        for answer in group.answers {
            let _ = answer.send(Err(AppendError::Unavailable("a backup copies the slots".to_owned())));
        }
    }

    /// Answers at once, or puts it into the group.
    fn admit(&mut self, set: Set, group: &mut Group) {
        let Set { name, expected, value, answer } = set;
        let told = match self.held.slot(&name) {
            Err(error) => Err(AppendError::Unavailable(error.to_string())),
            Ok(held) if held != expected => Ok(Slot::Held(held)),
            Ok(held) if held == value => Ok(Slot::Set),
            Ok(_) => match value.map(|value| self.file.take(value.len()).map(|run| (run, value))).transpose() {
                Err(error) => Err(AppendError::Unavailable(error.to_string())),
                Ok(value) => {
                    group.names.insert(name);
                    group.replaced.extend(self.held.table().slots.get(&name));
                    group.values.push((name, value));
                    group.answers.push(answer);
                    return;
                }
            },
        };
        let _ = answer.send(told);
    }

    /// With the error comes what is to be erased before anything else.
    fn write(&mut self, group: Group) -> Result<(), (io::Error, Vec<Run>)> {
        let runs = || group.values.iter().filter_map(|(_, value)| value.as_ref().map(|(run, _)| *run)).collect::<Vec<_>>();
        let written = group.values.iter().filter_map(|(name, value)| value.as_ref().map(|(run, value)| (name, *run, value)));
        for (name, run, value) in written {
            self.file.write(run, name, value).map_err(|error| (error, runs()))?;
        }
        if !runs().is_empty() {
            self.file.sync().map_err(|error| (error, runs()))?;
        }
        let mut table = self.held.table();
        for (name, value) in &group.values {
            match value {
                Some((run, _)) => table.slots.insert(*name, *run),
                None => table.slots.remove(name),
            };
        }
        drop(table);
        self.file.erase(&group.replaced).map_err(|error| (error, group.replaced))
    }
}
