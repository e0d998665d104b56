//! The journal as a replica meets it on a bad day: what it is asked waits until the schedule lets it happen, in another order
//! than it was asked in where the port allows that, and answers come late, or say that nobody knows. Beneath is the real
//! journal in memory. A mutation breaks one promise of the port, to show that the laws find it.

use agentgate_control_plane::journal::{
    AppendError, Appended, BoxFuture, Change, Expected, Health, Journal, Memory, Position, ReadError, Record, Sequence, Slot,
    Stream, Version, Write,
};
use agentgate_core::digest::Digest;
use agentgate_proto::v1;
use agentgate_proto::v1::record::What;
use bytes::Bytes;
use prost::Message as _;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use tokio::sync::oneshot;

/// One promise of the port, or of what a replica was configured with, that is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutation {
    /// A change is written under whatever epochs it was folded from.
    FenceIsNotChecked,
    /// Two writers win one version.
    VersionsAreNotCompared,
    /// The same id is written twice.
    IdsAreNotUnique,
    /// A change is written in part.
    ChangesAreTorn,
    /// It says yes, and nothing was written.
    AnswersBeforeItWrites,
    /// Now and then a record is left out.
    FollowSkips,
    /// Whoever asks how far the approvals are is told what was so at the beginning.
    VersionsAreOld,
    /// A purge is written though another order was first.
    PurgesAreNotCompared,
    /// Of a hold that was placed others hear that one was lifted.
    HoldsAreNotTold,
    /// Of a purge others hear that it names nobody.
    PurgesAreNotTold,
    /// Whoever asks how far purges were carried out is told that all of them were.
    PurgesAreTakenForDone,
    /// Now and then a slot is left out.
    SlotsAreSkipped,
    /// It says yes, and the slot is there.
    SlotsAreNotErased,
    /// The same of slots that lead from a name to something, and say nothing else.
    LeadsAreNotErased,
    /// With one slot another goes.
    NeighboursAreErased,
    /// It says yes, and the body is there.
    BodiesAreNotGivenBack,
    /// What was erased is still read.
    ErasedIsRead,
    /// What a sweep purges is written though another order was first.
    SweepsAreNotCompared,
    /// Replicas keep for a day less than everybody thinks.
    DaysAreFewer,
    /// And for a day more.
    DaysAreMore,
    /// After a sweep nobody gets a new key.
    KeysAreNotMadeAnew,
    /// Now and then a body is not there.
    BodiesAreLost,
}

pub(crate) const MUTATIONS: [Mutation; 22] = [
    Mutation::FenceIsNotChecked,
    Mutation::VersionsAreNotCompared,
    Mutation::IdsAreNotUnique,
    Mutation::ChangesAreTorn,
    Mutation::AnswersBeforeItWrites,
    Mutation::FollowSkips,
    Mutation::VersionsAreOld,
    Mutation::PurgesAreNotCompared,
    Mutation::HoldsAreNotTold,
    Mutation::PurgesAreNotTold,
    Mutation::PurgesAreTakenForDone,
    Mutation::SlotsAreSkipped,
    Mutation::SlotsAreNotErased,
    Mutation::LeadsAreNotErased,
    Mutation::NeighboursAreErased,
    Mutation::BodiesAreNotGivenBack,
    Mutation::ErasedIsRead,
    Mutation::SweepsAreNotCompared,
    Mutation::DaysAreFewer,
    Mutation::DaysAreMore,
    Mutation::KeysAreNotMadeAnew,
    Mutation::BodiesAreLost,
];

/// A key of a session says whose it is, and takes more than this in its slot.
const LEAD_BYTES_MAX: usize = 96;

/// What happens to a question that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Answered,
    /// It happens, and nobody is told.
    ReplyLost,
    /// It does not happen, and nobody is told.
    Lost,
    Refused,
}

/// What `ask` calls whatever writes.
const CHANGE: &str = "a change";

/// Hands an answer over.
type Reply = Box<dyn FnOnce() + Send>;
type Run = Box<dyn FnOnce(&Depot, Fate) -> Reply + Send>;

/// Something that a replica asked the journal.
struct Asked {
    replica: usize,
    what: &'static str,
    is_append: bool,
    /// It waits for a record after this one.
    after: Option<Sequence>,
    run: Run,
}

/// What all replicas share.
pub(crate) struct Depot {
    pub(crate) memory: Arc<Memory>,
    mutation: Option<Mutation>,
    asked: Mutex<Vec<Asked>>,
    replies: Mutex<Vec<(usize, Reply)>>,
    /// What slots and bodies held, for `ErasedIsRead`.
    read: Mutex<HashMap<Digest, Bytes>>,
    /// Who wrote each sweep's purge.
    swept_by: Mutex<HashMap<Sequence, usize>>,
    /// Everything that was ever asked, so that one sees whether somebody still goes on.
    pub(crate) count: AtomicU64,
}

/// One replica's way to it.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) depot: Arc<Depot>,
    pub(crate) replica: usize,
}

// === impl Depot ===

impl Depot {
    pub(crate) fn new(mutation: Option<Mutation>) -> Arc<Self> {
        let (memory, count) = (Arc::new(Memory::shared()), AtomicU64::new(0));
        let (asked, replies, read, swept_by) = (Mutex::default(), Mutex::default(), Mutex::default(), Mutex::default());
        Arc::new(Self { memory, mutation, asked, replies, read, swept_by, count })
    }

    pub(crate) fn head(&self) -> Sequence {
        self.memory.health().head
    }

    /// What may happen next: everything that was asked, but a later change of a replica never before an earlier one.
    pub(crate) fn ready(&self) -> Vec<usize> {
        let (asked, head) = (lock(&self.asked), self.head());
        let is_first = |index: usize, one: &Asked| {
            !one.is_append || !asked.iter().take(index).any(|earlier| earlier.is_append && earlier.replica == one.replica)
        };
        let may = |(index, one): &(usize, &Asked)| one.after.is_none_or(|after| head > after) && is_first(*index, one);
        asked.iter().enumerate().filter(may).map(|(index, _)| index).collect()
    }

    /// What it is, for people.
    pub(crate) fn name(&self, index: usize) -> String {
        lock(&self.asked).get(index).map(|asked| format!("{} of {}", asked.what, asked.replica)).unwrap_or_default()
    }

    /// It happens now. `at_once`: and whoever asked is told; or else the answer is on its way.
    pub(crate) fn happen(&self, index: usize, fate: Fate, at_once: bool) {
        let Asked { replica, run, .. } = lock(&self.asked).remove(index);
        let reply = run(self, fate);
        if at_once { reply() } else { lock(&self.replies).push((replica, reply)) }
    }

    pub(crate) fn replies(&self) -> usize {
        lock(&self.replies).len()
    }

    pub(crate) fn reply(&self, index: usize) {
        let (_, reply) = lock(&self.replies).remove(index);
        reply();
    }

    /// The replica is gone. `written`: so many of its changes that were under way happen all the same.
    pub(crate) fn crash(&self, replica: usize, mut written: usize) {
        lock(&self.replies).retain(|(of, _)| *of != replica);
        loop {
            let index = lock(&self.asked).iter().position(|asked| asked.replica == replica);
            let Some(index) = index else { return };
            let Asked { is_append, run, .. } = lock(&self.asked).remove(index);
            if is_append && written > 0 {
                written -= 1;
                drop(run(self, Fate::Answered));
            }
        }
    }

    pub(crate) fn swept_by(&self, purge: Sequence) -> Option<usize> {
        lock(&self.swept_by).get(&purge).copied()
    }

    fn append(&self, replica: usize, change: Change) -> Result<Appended, AppendError> {
        let sweeps: Vec<bool> = change.writes.iter().map(is_sweep).collect();
        let appended = self.write(change)?;
        let written = appended.positions.iter().zip(sweeps).filter(|(_, is_sweep)| *is_sweep);
        lock(&self.swept_by).extend(written.map(|(position, _)| (position.sequence, replica)));
        Ok(appended)
    }

    fn write(&self, mut change: Change) -> Result<Appended, AppendError> {
        match self.mutation {
            Some(Mutation::FenceIsNotChecked) => change.fence = None,
            Some(Mutation::VersionsAreNotCompared) => {
                change.writes.iter_mut().for_each(|write| write.expected = Expected::Any);
            }
            Some(Mutation::IdsAreNotUnique) => {
                let head = self.head();
                for write in &mut change.writes {
                    // What stands beside it is still found, by whoever asks for the first of them.
                    if now(self.memory.find(write.id)).is_ok_and(|found| found.is_some()) {
                        write.id = Digest::of("sim/again", &[&head.to_be_bytes()[..], write.id.as_bytes()].concat());
                    }
                }
            }
            Some(Mutation::PurgesAreNotCompared) if change.writes.iter().any(is_purge) => {
                change.fence = None;
                change.writes.iter_mut().for_each(|write| write.expected = Expected::Any);
            }
            Some(Mutation::SweepsAreNotCompared) if change.writes.iter().any(is_sweep) => {
                change.fence = None;
                change.writes.iter_mut().for_each(|write| write.expected = Expected::Any);
            }
            Some(Mutation::ChangesAreTorn) => change.writes.truncate(1),
            Some(Mutation::AnswersBeforeItWrites) if self.head() % 5 == 3 => {
                let version = |stream: Stream| now(self.memory.version(stream)).unwrap_or_default();
                let positions = change
                    .writes
                    .iter()
                    .zip(1..)
                    .map(|(write, nth)| Position { sequence: self.head() + nth, version: version(write.stream) + 1 });
                return Ok(Appended { positions: positions.collect() });
            }
            Some(_) | None => {}
        }
        now(self.memory.append(change))
    }

    /// A record as others read it.
    fn told(&self, mut record: Record) -> Record {
        let parsed = v1::Record::decode(record.bytes.clone()).unwrap();
        let what = match (self.mutation, parsed.what) {
            (Some(Mutation::HoldsAreNotTold), Some(What::Hold(hold))) => {
                What::Hold(v1::HoldRecord { lifts: Sequence::MAX, ..hold })
            }
            (Some(Mutation::PurgesAreNotTold), Some(What::Purge(_))) => What::Purge(v1::PurgeRecord::default()),
            (_, _) => return record,
        };
        record.bytes = v1::Record { what: Some(what), ..parsed }.encode_to_vec().into();
        record
    }

    fn set(&self, name: Digest, expected: Option<Bytes>, value: Bytes) -> Result<Slot, AppendError> {
        let is_key = expected.is_none() && value.len() > LEAD_BYTES_MAX;
        if self.mutation == Some(Mutation::KeysAreNotMadeAnew) && is_key && !lock(&self.swept_by).is_empty() {
            return Err(AppendError::Unavailable("the disk is full".into()));
        }
        now(self.memory.set(name, expected, Some(value)))
    }

    fn erase(&self, name: Digest, expected: Option<Bytes>) -> Result<Slot, AppendError> {
        match self.mutation {
            Some(Mutation::SlotsAreNotErased) => return Ok(Slot::Set),
            Some(Mutation::LeadsAreNotErased) if expected.as_ref().is_some_and(|held| held.len() <= LEAD_BYTES_MAX) => {
                return Ok(Slot::Set);
            }
            Some(Mutation::NeighboursAreErased) => {
                let neighbours = now(self.memory.slots(Some(name), 1)).unwrap_or_default();
                for (neighbour, held) in neighbours.into_iter().filter(|(_, held)| held.len() > LEAD_BYTES_MAX) {
                    drop(now(self.memory.set(neighbour, Some(held), None)));
                }
            }
            Some(_) | None => {}
        }
        now(self.memory.set(name, expected, None))
    }

    fn discard(&self, addresses: Vec<Digest>) -> Result<(), AppendError> {
        match self.mutation {
            Some(Mutation::BodiesAreNotGivenBack) => Ok(()),
            Some(_) | None => now(self.memory.discard(addresses)),
        }
    }

    fn fetch(&self, address: Digest) -> Result<Option<Bytes>, ReadError> {
        let is_lost = self.mutation == Some(Mutation::BodiesAreLost) && address.as_bytes()[0] % 4 == 1;
        let held = now(self.memory.fetch(address))?;
        Ok(if is_lost { None } else { self.held(address, held) })
    }

    /// What a slot or an address holds, or held.
    fn held(&self, name: Digest, held: Option<Bytes>) -> Option<Bytes> {
        match self.mutation {
            Some(Mutation::PurgesAreTakenForDone) if name == Digest::of("agentgate/slot/purges/1", b"") => {
                Some(format!("agentgate purges 1\n{}\n", self.head()).into())
            }
            Some(Mutation::ErasedIsRead) => {
                let mut read = lock(&self.read);
                read.extend(held.clone().map(|held| (name, held)));
                held.or_else(|| read.get(&name).cloned())
            }
            Some(_) | None => held,
        }
    }
}

fn is_purge(write: &Write) -> bool {
    purge_of(write).is_some()
}

/// Of what is over its age.
fn is_sweep(write: &Write) -> bool {
    purge_of(write).is_some_and(|purge| purge.cause() == v1::PurgeCause::Retention && !purge.sessions.is_empty())
}

fn purge_of(write: &Write) -> Option<v1::PurgeRecord> {
    let what = v1::Record::decode(write.record.clone()).ok()?.what?;
    if let What::Purge(purge) = what { Some(purge) } else { None }
}

impl fmt::Debug for Depot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Depot").finish_non_exhaustive()
    }
}

// === impl Port ===

impl Port {
    /// A change that waits for its turn. Dropped with its replica, nobody knows what became of it.
    fn change<T: Send + 'static>(
        &self,
        run: impl FnOnce(&Depot) -> Result<T, AppendError> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, AppendError>> {
        let unknown = || AppendError::Unknown("the connection broke".into());
        let answered = self.ask(CHANGE, None, move |depot, fate| match fate {
            Fate::Answered => run(depot),
            Fate::ReplyLost => {
                drop(run(depot));
                Err(unknown())
            }
            Fate::Lost => Err(unknown()),
            Fate::Refused => Err(AppendError::Unavailable("the disk is full".into())),
        });
        Box::pin(async move { answered.await.unwrap_or_else(|_| Err(unknown())) })
    }

    fn look<T: Send + 'static>(
        &self,
        what: &'static str,
        after: Option<Sequence>,
        run: impl FnOnce(&Depot) -> Result<T, ReadError> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, ReadError>> {
        let gone = || ReadError::Unavailable("the connection broke".into());
        let answered = self.ask(what, after, move |depot, fate| match fate {
            Fate::Answered => run(depot),
            Fate::ReplyLost | Fate::Lost | Fate::Refused => Err(gone()),
        });
        Box::pin(async move { answered.await.unwrap_or_else(|_| Err(gone())) })
    }

    fn ask<T: Send + 'static>(
        &self,
        what: &'static str,
        after: Option<Sequence>,
        run: impl FnOnce(&Depot, Fate) -> T + Send + 'static,
    ) -> oneshot::Receiver<T> {
        let (told, answered) = oneshot::channel();
        let run: Run = Box::new(move |depot, fate| {
            let answer = run(depot, fate);
            Box::new(move || drop(told.send(answer)))
        });
        self.depot.count.fetch_add(1, Ordering::Relaxed);
        lock(&self.depot.asked).push(Asked { replica: self.replica, what, is_append: what == CHANGE, after, run });
        answered
    }
}

impl Journal for Port {
    fn append(&self, change: Change) -> BoxFuture<'static, Result<Appended, AppendError>> {
        let replica = self.replica;
        self.change(move |depot| depot.append(replica, change))
    }

    fn read(&self, stream: Stream, after: Version, limit: u32) -> BoxFuture<'_, Result<Vec<Record>, ReadError>> {
        self.look("read", None, move |depot| {
            let page = now(depot.memory.read(stream, after, limit))?;
            Ok(page.into_iter().map(|record| depot.told(record)).collect())
        })
    }

    fn version(&self, stream: Stream) -> BoxFuture<'_, Result<Version, ReadError>> {
        self.look("version", None, move |depot| match depot.mutation {
            Some(Mutation::VersionsAreOld) if stream == Stream::approvals() => Ok(0),
            Some(_) | None => now(depot.memory.version(stream)),
        })
    }

    fn follow(&self, cursor: Sequence, limit: u32) -> BoxFuture<'_, Result<Vec<Record>, ReadError>> {
        self.look("follow", Some(cursor), move |depot| {
            let page = now(depot.memory.follow(cursor, limit))?;
            let skips = depot.mutation == Some(Mutation::FollowSkips) && page.len() > 1;
            Ok(page.into_iter().skip(usize::from(skips)).collect())
        })
    }

    fn find(&self, id: Digest) -> BoxFuture<'_, Result<Option<Position>, ReadError>> {
        self.look("find", None, move |depot| now(depot.memory.find(id)))
    }

    fn keep(&self, bytes: Bytes) -> BoxFuture<'static, Result<Digest, AppendError>> {
        self.change(move |depot| now(depot.memory.keep(bytes)))
    }

    fn fetch(&self, address: Digest) -> BoxFuture<'_, Result<Option<Bytes>, ReadError>> {
        self.look("fetch", None, move |depot| depot.fetch(address))
    }

    fn bodies(&self, after: Option<Digest>, limit: u32) -> BoxFuture<'_, Result<Vec<Digest>, ReadError>> {
        self.look("bodies", None, move |depot| now(depot.memory.bodies(after, limit)))
    }

    fn discard(&self, addresses: Vec<Digest>) -> BoxFuture<'static, Result<(), AppendError>> {
        self.change(move |depot| depot.discard(addresses))
    }

    fn set(&self, name: Digest, expected: Option<Bytes>, value: Option<Bytes>) -> BoxFuture<'static, Result<Slot, AppendError>> {
        self.change(move |depot| match value {
            Some(value) => depot.set(name, expected, value),
            None => depot.erase(name, expected),
        })
    }

    fn slot(&self, name: Digest) -> BoxFuture<'_, Result<Option<Bytes>, ReadError>> {
        self.look("slot", None, move |depot| Ok(depot.held(name, now(depot.memory.slot(name))?)))
    }

    fn slots(&self, after: Option<Digest>, limit: u32) -> BoxFuture<'_, Result<Vec<(Digest, Bytes)>, ReadError>> {
        self.look("slots", None, move |depot| {
            let page = now(depot.memory.slots(after, limit))?;
            let skips = depot.mutation == Some(Mutation::SlotsAreSkipped) && page.len() > 1;
            Ok(page.into_iter().skip(usize::from(skips)).collect())
        })
    }

    fn health(&self) -> Health {
        self.depot.memory.health()
    }

    fn is_shared(&self) -> bool {
        true
    }
}

/// The answer of a journal that never waits.
pub(crate) fn now<T>(mut future: BoxFuture<'_, T>) -> T {
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("the journal in memory answers at once"),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
