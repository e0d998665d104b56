//! The journal of one process, on its own disk: segments are the truth, the index only remembers where things lie.
//! It refuses to be opened twice, and to write where anything is damaged or in doubt; what can be read still is.

use super::discard::{Discard, Discarder};
use super::disk::{Disk, RealDisk};
use super::durable::Durable;
use super::form;
use super::frame::{BODY_LENGTH_END, Kind, Place};
use super::group::{Job, Parts, Queue};
use super::index::IndexError;
use super::lock;
use super::overlay::Mark;
use super::recovery::{self, RecoverError, Recovered};
use super::scan::{self, Walked, walk};
use super::segments::{Layout, SEGMENT_BYTES_MIN, Segments};
use super::slots::Slots;
use super::{
    AppendError, Appended, BODIES_PAGE_MAX, BoxFuture, CHANGE_BYTES_MAX, Change, FRAME_BYTES, Health, Journal, Position,
    ReadError, Record, Sequence, Slot, Stream, Version, body_address,
};
use crate::telemetry::Counted;
use agentgate_core::digest::Digest;
use bytes::Bytes;
use std::fs::{DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use thiserror::Error;
use tokio::sync::{Semaphore, oneshot};

pub use super::form::FormError;
pub use super::recovery::Opening;
pub use super::scan::Damage;
pub use super::slot_file::SlotDamage;

/// Reads at once. They come from the machine's memory as a rule; more would only take threads.
pub(super) const READS_MAX: usize = 8;

/// What an embedded journal needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    pub directory: PathBuf,
    /// A new segment's size. Both kinds together write out up to four of them ahead.
    pub segment_bytes: u32,
    /// The most that one change may weigh.
    pub change_bytes_max: usize,
    /// How often a journal that cannot write looks whether it can again.
    pub heal_every: Duration,
}

#[derive(Debug, Error)]
pub enum OpenError {
    #[error("another process has opened the journal `{0}`; stop it, or name another directory")]
    Locked(PathBuf),
    #[error("segments of {segment_bytes} bytes cannot hold a change of {change_bytes_max}")]
    Settings { segment_bytes: u32, change_bytes_max: usize },
    #[error("cannot open the journal `{directory}`")]
    Io { directory: PathBuf, source: io::Error },
    #[error("cannot open the journal `{directory}`")]
    Form { directory: PathBuf, source: FormError },
    #[error("cannot build the index of the journal `{directory}`: {reason}; remove its folder `index` and start again")]
    Index { directory: PathBuf, reason: String },
}

#[derive(Debug)]
pub struct Embedded {
    // Dropped first, in this order: they finish what is under way.
    discarder: Discarder,
    queue: Queue,
    slots: Slots,
    pub(super) durable: Arc<Durable>,
    bytes: Arc<AtomicU64>,
    change_bytes_max: usize,
    reads: Arc<Semaphore>,
    opening: Opening,
    /// Held as long as the journal is open.
    _lock: File,
}

// === impl Settings ===

impl Settings {
    #[must_use]
    pub fn new(directory: PathBuf) -> Self {
        Self { directory, segment_bytes: 16 << 20, change_bytes_max: CHANGE_BYTES_MAX, heal_every: Duration::from_secs(1) }
    }
}

// === impl Embedded ===

impl Embedded {
    /// Opens the journal, or makes a new one. A damaged one opens as well: it can be read, and `health` says what is wrong.
    pub fn open(settings: Settings) -> Result<Self, OpenError> {
        Self::open_on(settings, &(Arc::new(RealDisk) as Arc<dyn Disk>))
    }

    pub(super) fn open_on(settings: Settings, disk: &Arc<dyn Disk>) -> Result<Self, OpenError> {
        let Settings { directory, segment_bytes, change_bytes_max, heal_every } = settings;
        let holds = change_bytes_max.saturating_add(FRAME_BYTES) <= segment_bytes as usize && change_bytes_max < BODY_LENGTH_END;
        if !holds || segment_bytes < SEGMENT_BYTES_MIN {
            return Err(OpenError::Settings { segment_bytes, change_bytes_max });
        }
        let failed = |source| OpenError::Io { directory: directory.clone(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(&directory).map_err(failed)?;
        let lock = locked(&directory)?;
        let not_ours = |source| OpenError::Form { directory: directory.clone(), source };
        let is_known = form::read(&**disk, &directory).map_err(not_ours)?;
        let layout = |kind: Kind| Layout { disk: Arc::clone(disk), directory: directory.join(kind.noun()), kind, segment_bytes };
        let (records, bodies) = (layout(Kind::Records), layout(Kind::Bodies));
        [&records, &bodies].into_iter().try_for_each(Layout::sweep).map_err(failed)?;
        let index_directory = directory.join("index");
        let damage_note = directory.join("damaged");

        let Recovered { index, mark, unfinished, logs, mut opening } =
            recovery::recover(&records, &bodies, &index_directory, damage_note.exists()).map_err(|error| match error {
                RecoverError::Io(source) => failed(source),
                RecoverError::Index(IndexError::Held) => OpenError::Locked(directory.clone()),
                RecoverError::Index(error) => OpenError::Index { directory: directory.clone(), reason: error.to_string() },
            })?;
        let segments = |layout| Segments::new(layout);
        let bytes = Arc::new(AtomicU64::new(
            size(&records, mark.records.place).and_then(|sum| Ok(sum + size(&bodies, mark.bodies.place)?)).map_err(failed)?,
        ));
        let durable = Arc::new(Durable::new(segments(records), segments(bodies), index, mark, damage_note.clone()));
        let (slot_file, held) = Slots::open(disk, directory.join("slots"), !is_known).map_err(failed)?;
        form::write(disk, &directory).map_err(failed)?;
        opening.damaged_slots = held.damage();
        let first = opening.damage.first().map(Damage::to_string);
        match first.or_else(|| opening.damaged_slots.first().map(SlotDamage::to_string)) {
            Some(damage) => durable.damaged(&damage),
            // Somebody has repaired what the note spoke of.
            None => std::fs::remove_file(damage_note).or_else(unless_missing).map_err(failed)?,
        }
        let parts = Parts {
            durable: Arc::clone(&durable),
            logs,
            mark,
            index_directory,
            change_bytes_max,
            heal_every,
            bytes: Arc::clone(&bytes),
        };
        let queue = Queue::start(parts).map_err(failed)?;
        let discarder = Discarder::start(
            Arc::clone(&durable),
            queue.entry(),
            Arc::clone(&bytes),
            heal_every,
            unfinished,
            hold(&directory, "hold-bodies")?,
        )
        .map_err(failed)?;
        let slots = Slots::start(slot_file, Arc::new(held), Arc::clone(&durable), heal_every, hold(&directory, "hold-slots")?)
            .map_err(failed)?;
        Ok(Self {
            discarder,
            queue,
            slots,
            durable,
            bytes,
            change_bytes_max,
            reads: Arc::new(Semaphore::new(READS_MAX)),
            opening,
            _lock: lock,
        })
    }

    /// What opening found and did.
    #[must_use]
    pub fn opening(&self) -> &Opening {
        &self.opening
    }

    /// Reads everything that is durable and names what is not what was written. After such a find the journal writes nothing.
    pub fn verify(&self) -> BoxFuture<'_, Result<Vec<Damage>, ReadError>> {
        self.reading(|durable| {
            let found = verify(durable)?;
            found.first().into_iter().for_each(|damage| durable.damaged(&damage.to_string()));
            Ok(found)
        })
    }

    fn submit(&self, change: Change, addresses: Vec<Digest>) -> oneshot::Receiver<Result<Appended, AppendError>> {
        let (answer, answered) = oneshot::channel();
        match change.shape(self.change_bytes_max) {
            Ok(()) => self.queue.push(Job { weight: change.weight(), change, addresses, is_move: false, answer }),
            // The receiver is right here.
            Err(error) => drop(answer.send(Err(error))),
        }
        answered
    }

    /// A read keeps its turn until it ends, also when nobody waits for it any more: it holds a thread all the same.
    pub(super) fn reading<'a, T: Send + 'static>(
        &'a self,
        read: impl FnOnce(&Durable) -> Result<T, ReadError> + Send + 'static,
    ) -> BoxFuture<'a, Result<T, ReadError>> {
        let durable = Arc::clone(&self.durable);
        Box::pin(async move {
            let unavailable = |error: &dyn std::error::Error| ReadError::Unavailable(error.to_string());
            let turn = Arc::clone(&self.reads).acquire_owned().await.map_err(|error| unavailable(&error))?;
            let counted = Counted::by(metrics::gauge!("agentgate_journal_reads"));
            let read = move || {
                let _until_it_ends = (turn, counted);
                read(&durable)
            };
            tokio::task::spawn_blocking(read).await.map_err(|error| unavailable(&error))?
        })
    }
}

impl Journal for Embedded {
    fn append(&self, change: Change) -> BoxFuture<'static, Result<Appended, AppendError>> {
        let addresses = change.bodies.iter().map(|body| body_address(body)).collect();
        let answered = self.submit(change, addresses);
        Box::pin(async move { answered.await.unwrap_or_else(|_| Err(ended())) })
    }

    fn read(&self, stream: Stream, after: Version, limit: u32) -> BoxFuture<'_, Result<Vec<Record>, ReadError>> {
        self.reading(move |durable| durable.read(stream, after, limit))
    }

    fn version(&self, stream: Stream) -> BoxFuture<'_, Result<Version, ReadError>> {
        self.reading(move |durable| durable.version(stream))
    }

    fn follow(&self, cursor: Sequence, limit: u32) -> BoxFuture<'_, Result<Vec<Record>, ReadError>> {
        let mut head = self.durable.head.subscribe();
        Box::pin(async move {
            // The sender lives in `self`, so waiting cannot end in its loss.
            let _ = head.wait_for(|head| *head > cursor).await;
            self.reading(move |durable| durable.after(cursor, limit)).await
        })
    }

    fn find(&self, id: Digest) -> BoxFuture<'_, Result<Option<Position>, ReadError>> {
        self.reading(move |durable| durable.find(&id))
    }

    fn keep(&self, bytes: Bytes) -> BoxFuture<'static, Result<Digest, AppendError>> {
        let address = body_address(&bytes);
        let answered = self.submit(Change { fence: None, writes: Vec::new(), bodies: vec![bytes] }, vec![address]);
        Box::pin(async move { answered.await.unwrap_or_else(|_| Err(ended())).map(|_| address) })
    }

    fn fetch(&self, address: Digest) -> BoxFuture<'_, Result<Option<Bytes>, ReadError>> {
        self.reading(move |durable| durable.fetch(&address))
    }

    fn bodies(&self, after: Option<Digest>, limit: u32) -> BoxFuture<'_, Result<Vec<Digest>, ReadError>> {
        self.reading(move |durable| durable.addresses(after, limit.min(BODIES_PAGE_MAX) as usize))
    }

    fn discard(&self, addresses: Vec<Digest>) -> BoxFuture<'static, Result<(), AppendError>> {
        // Behind everything that is under way.
        let before = self.submit(Change { fence: None, writes: Vec::new(), bodies: Vec::new() }, Vec::new());
        let (answer, answered) = oneshot::channel();
        self.discarder.push(Discard { addresses, before, answer });
        Box::pin(async move { answered.await.unwrap_or_else(|_| Err(ended())) })
    }

    fn set(&self, name: Digest, expected: Option<Bytes>, value: Option<Bytes>) -> BoxFuture<'static, Result<Slot, AppendError>> {
        let answered = self.slots.set(name, expected, value);
        Box::pin(async move { answered.await.unwrap_or_else(|_| Err(ended())) })
    }

    fn slot(&self, name: Digest) -> BoxFuture<'_, Result<Option<Bytes>, ReadError>> {
        let held = self.slots.held();
        self.reading(move |_| held.slot(&name))
    }

    fn slots(&self, after: Option<Digest>, limit: u32) -> BoxFuture<'_, Result<Vec<(Digest, Bytes)>, ReadError>> {
        let held = self.slots.held();
        self.reading(move |_| held.slots(after, limit))
    }

    fn health(&self) -> Health {
        let (held, records) = (self.slots.held(), &self.durable.records.layout);
        // An idle queue is shown as well, from the first look on.
        for queue in ["agentgate_journal_queued_slots", "agentgate_journal_queued_discards"] {
            metrics::gauge!(queue).increment(0.0);
        }
        Health {
            backend: "embedded",
            head: *self.durable.head.borrow(),
            bytes: self.bytes.load(Ordering::Relaxed).saturating_add(held.bytes()),
            free_bytes: records.disk.free_bytes(&records.directory),
            unavailable: self.durable.fault().map(|fault| fault.reason().to_owned()).or_else(|| held.fault()),
        }
    }
}

fn ended() -> AppendError {
    AppendError::Unknown("its writer has ended".to_owned())
}

fn locked(directory: &Path) -> Result<File, OpenError> {
    let failed = |source| OpenError::Io { directory: directory.to_owned(), source };
    let file =
        File::options().create(true).truncate(false).write(true).mode(0o600).open(directory.join("lock")).map_err(failed)?;
    match lock::lock(&file) {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked(directory.to_owned())),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// What a backup locks while it copies.
fn hold(directory: &Path, name: &str) -> Result<File, OpenError> {
    let failed = |source| OpenError::Io { directory: directory.to_owned(), source };
    File::options().create(true).truncate(false).write(true).mode(0o600).open(directory.join(name)).map_err(failed)
}

fn unless_missing(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

/// What one kind has written before `tail`.
fn size(layout: &Layout, tail: Place) -> io::Result<u64> {
    let mut full = layout.list()?.into_iter().filter(|segment| *segment < tail.segment);
    full.try_fold(u64::from(tail.offset), |sum, segment| Ok(sum + u64::from(layout.open(segment)?.bytes)))
}

fn verify(durable: &Durable) -> Result<Vec<Damage>, ReadError> {
    let unreadable = |error: io::Error| ReadError::Unavailable(error.to_string());
    // What is written while this runs is not its business.
    let mark = durable.mark();
    let mut found = Vec::new();
    let records = walk(&durable.records.layout, Mark::START.records, 1, &mut |group, bytes| {
        for (_, _, record) in scan::records(&bytes, &(group.first..group.next())) {
            let is_indexed = durable
                .position(&record.id)
                .is_ok_and(|position| position == Some(Position { sequence: record.sequence, version: record.version }));
            if !is_indexed && record.sequence <= mark.head {
                found.push(group.damage(Kind::Records, "the index does not know a record"));
            }
        }
        Ok(())
    });
    let records = records.map_err(unreadable)?;
    let mut bodies = walk_bodies(durable, &mut found).map_err(unreadable)?;
    if !bodies.damage.is_empty() {
        // A body may have been overwritten while it was read.
        let _not_now = durable.rewriting();
        bodies = walk_bodies(durable, &mut found).map_err(unreadable)?;
    }
    found.extend(records.damage.into_iter().chain(bodies.damage));
    for (trailing, tail) in [(records.trailing, mark.records), (bodies.trailing, mark.bodies)] {
        let is_ours = |damage: &Damage| Place { segment: damage.segment, offset: damage.offset } < tail.place;
        found.extend(trailing.map(|bad| bad.damage).filter(is_ours));
    }
    Ok(found)
}

fn walk_bodies(durable: &Durable, found: &mut Vec<Damage>) -> io::Result<Walked> {
    walk(&durable.bodies.layout, Mark::START.bodies, 0, &mut |group, bytes| {
        if scan::bodies(&scan::entries_of(group, &bytes), true).len() != group.count as usize {
            found.push(group.damage(Kind::Bodies, "a body does not have its address"));
        }
        Ok(())
    })
}
