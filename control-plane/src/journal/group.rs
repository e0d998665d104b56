//! The writer: one thread that takes whatever is waiting, puts it into one group, makes it durable with one write and one
//! sync per file, and answers. It refuses to answer before that, and to write at all while anything is in doubt.

use super::draft::{Draft, Refused};
use super::durable::{Durable, Fault};
use super::frame::{GroupDraft, GroupHead, Heading, Kind};
use super::index::Index;
use super::known::Known;
use super::overlay::Mark;
use super::recovery::{self, LEARN_ENTRIES_MAX, Recovered, recover};
use super::segments::{Active, Log};
use super::{AppendError, Appended, Change};
use crate::telemetry::number;
use agentgate_core::digest::Digest;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded, select, tick};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::sync::oneshot;

/// Changes that may wait for the writer. A group takes some 200 µs: more would be waiting, not working.
pub(super) const QUEUE_CHANGES_MAX: usize = 4096;

/// What they may weigh together.
pub(super) const QUEUE_BYTES_MAX: usize = 32 << 20;

/// A group takes no more changes beyond this weight, so that nobody waits for a long write.
const GROUP_BYTES_MAX: usize = 1 << 20;

/// An idle writer leaves a seal, which proves that all before it was acknowledged.
const SEAL_AFTER: Duration = Duration::from_millis(100);

/// How long a record may wait for the index.
const LEARN_AFTER: Duration = Duration::from_millis(200);

type Answer = oneshot::Sender<Result<Appended, AppendError>>;

/// One change under way.
#[derive(Debug)]
pub(super) struct Job {
    pub change: Change,
    /// Of its bodies, in order.
    pub addresses: Vec<Digest>,
    pub weight: usize,
    /// Its bodies are written again, wherever they lie.
    pub is_move: bool,
    pub answer: Answer,
}

/// The ends that callers hold.
#[derive(Debug)]
pub(super) struct Queue {
    entry: Option<Entry>,
    writer: Option<JoinHandle<()>>,
}

/// Where changes are handed in. The writer ends when the last one is dropped.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    jobs: Sender<Job>,
    weight: Arc<AtomicUsize>,
}

/// What the threads are made of.
#[derive(Debug)]
pub(super) struct Parts {
    pub durable: Arc<Durable>,
    pub logs: Option<(Log, Log)>,
    pub mark: Mark,
    pub index_directory: PathBuf,
    pub change_bytes_max: usize,
    pub heal_every: Duration,
    /// Of both kinds of segments, since the journal was made.
    pub bytes: Arc<AtomicU64>,
}

struct Writer {
    parts: Parts,
    jobs: Receiver<Job>,
    weight: Arc<AtomicUsize>,
    /// What did not fit into the last group.
    carried: Option<Job>,
    known: Known,
    is_sealed: bool,
    flusher: Flusher,
    /// Something waits for the index; much does.
    some: Sender<()>,
    much: Sender<()>,
}

/// The thread that writes and syncs bodies beside the records.
struct Flusher {
    work: Sender<(Active, u32, Vec<u8>)>,
    done: Receiver<io::Result<()>>,
}

// === impl Queue ===

impl Queue {
    pub(super) fn start(parts: Parts) -> io::Result<Self> {
        let (jobs, waiting) = bounded(QUEUE_CHANGES_MAX);
        let (some, some_waits) = bounded(1);
        let (much, much_waits) = bounded(1);
        let weight = Arc::new(AtomicUsize::new(0));
        let durable = Arc::clone(&parts.durable);
        let indexer = spawn("journal-index", move || index_until_closed(&durable, &some_waits, &much_waits))?;
        let mut writer = Writer {
            parts,
            jobs: waiting,
            weight: Arc::clone(&weight),
            carried: None,
            known: Known::default(),
            is_sealed: false,
            flusher: Flusher::start()?,
            some,
            much,
        };
        let writer = spawn("journal-writer", move || {
            writer.run();
            drop(writer);
            let _ = indexer.join();
        })?;
        Ok(Self { entry: Some(Entry { jobs, weight }), writer: Some(writer) })
    }

    pub(super) fn entry(&self) -> Option<Entry> {
        self.entry.clone()
    }

    /// The change is under way, or its answer has been given.
    pub(super) fn push(&self, job: Job) {
        match &self.entry {
            Some(entry) => entry.push(job),
            None => drop(job.answer.send(Err(AppendError::Unavailable("its writer has ended".to_owned())))),
        }
    }
}

impl Entry {
    /// The change is under way, or its answer has been given.
    pub(super) fn push(&self, job: Job) {
        let weight = job.weight;
        let waiting = self.weight.fetch_add(weight, Ordering::Relaxed);
        // One change is taken whatever it weighs.
        let fits = waiting == 0 || waiting.saturating_add(weight) <= QUEUE_BYTES_MAX;
        let sent = if fits { self.jobs.try_send(job) } else { Err(TrySendError::Full(job)) };
        let (job, reason) = match sent {
            Ok(()) => return,
            Err(TrySendError::Full(job)) => (job, "overloaded"),
            Err(TrySendError::Disconnected(job)) => (job, "its writer has ended"),
        };
        self.weight.fetch_sub(weight, Ordering::Relaxed);
        let _ = job.answer.send(Err(AppendError::Unavailable(reason.to_owned())));
    }
}

impl Drop for Queue {
    /// What is under way is finished first.
    fn drop(&mut self) {
        self.entry = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).spawn(run)
}

fn index_until_closed(durable: &Durable, some: &Receiver<()>, much: &Receiver<()>) {
    while some.recv().is_ok() {
        // Later is better: one flush for more records. A closed channel is a reason to hurry.
        let _ = much.recv_timeout(LEARN_AFTER);
        // The writer sees the fault and opens the index again.
        let _ = durable.learn(LEARN_ENTRIES_MAX);
    }
    let _ = durable.learn(LEARN_ENTRIES_MAX);
}

// === impl Writer ===

impl Writer {
    fn run(&mut self) {
        loop {
            if self.parts.durable.fault().is_some() {
                if !self.refuse_until_healed() {
                    return;
                }
                continue;
            }
            match self.next() {
                Ok(job) => self.group(job),
                Err(RecvTimeoutError::Timeout) => self.seal(),
                Err(RecvTimeoutError::Disconnected) => return self.seal(),
            }
        }
    }

    fn next(&mut self) -> Result<Job, RecvTimeoutError> {
        if let Some(job) = self.carried.take() {
            return Ok(job);
        }
        // A sealed writer looks up now and then: a reader may have found a fault.
        self.jobs.recv_timeout(if self.is_sealed { self.parts.heal_every } else { SEAL_AFTER })
    }

    /// One group: `first`, and whatever else is waiting.
    fn group(&mut self, first: Job) {
        if !self.parts.durable.wait_for_room() {
            return self.refuse(first);
        }
        let mut draft = Draft::new(self.parts.mark.head.saturating_add(1));
        let mut answers: Vec<(Answer, Result<Appended, Refused>)> = Vec::new();
        let mut weight = 0;
        let mut next = Some(first);
        while let Some(job) = next {
            if weight > 0 && job.weight.saturating_add(weight) > GROUP_BYTES_MAX.min(self.parts.change_bytes_max) {
                self.carried = Some(job);
                break;
            }
            weight += job.weight;
            self.weight.fetch_sub(job.weight, Ordering::Relaxed);
            answers
                .push((job.answer, draft.take(&job.change, &job.addresses, job.is_move, &self.parts.durable, &mut self.known)));
            next = self.jobs.try_recv().ok();
        }
        let failure = if draft.is_empty() { None } else { self.write(draft).err() };
        self.say();
        for (answer, result) in answers {
            // Even a refusal may rest on a write of this very group.
            let told = match &failure {
                Some(error) => Err(error.clone()),
                None => result.map_err(|refused| refused.told(&self.parts.durable)),
            };
            // A caller who went away is no reason to stop.
            let _ = answer.send(told);
        }
    }

    fn say(&self) {
        let (streams, ids) = self.known.len();
        metrics::gauge!("agentgate_journal_queued_changes").set(number(self.jobs.len()));
        metrics::gauge!("agentgate_journal_queued_bytes").set(number(self.weight.load(Ordering::Relaxed)));
        metrics::gauge!("agentgate_journal_known_streams").set(number(streams));
        metrics::gauge!("agentgate_journal_known_ids").set(number(ids));
        metrics::gauge!("agentgate_journal_overlay_entries").set(number(self.parts.durable.waiting()));
    }

    /// Makes the draft durable and tells the readers.
    fn write(&mut self, draft: Draft) -> Result<(), AppendError> {
        let Some((records, bodies)) = self.parts.logs.as_mut() else {
            return Err(AppendError::Unavailable("damaged".to_owned()));
        };
        let written = write_group(&self.flusher, records, bodies, draft);
        let (draft, head, body_head) = match written {
            Ok(written) => written,
            Err(error) => return Err(self.failed(error)),
        };
        let mark = Mark { head: head.next().saturating_sub(1), records: records.tail(), bodies: bodies.tail() };
        let grown = head.length() + body_head.map_or(0, |head| head.length());
        self.parts.bytes.fetch_add(grown as u64, Ordering::Relaxed);
        self.parts.mark = mark;
        self.is_sealed = false;
        if head.count == 0 && body_head.is_none() {
            self.is_sealed = true;
            return Ok(());
        }
        let place = body_head.map_or(mark.bodies.place, |head| head.place);
        let entries = self.parts.durable.publish(Arc::new(draft.indexed(head.place, place, mark, &mut self.known)));
        let _ = self.some.try_send(());
        if entries >= LEARN_ENTRIES_MAX {
            let _ = self.much.try_send(());
        }
        Ok(())
    }

    fn failed(&mut self, failure: WriteFailure) -> AppendError {
        let (error, in_doubt) = match failure {
            WriteFailure::Before(error) => (error, false),
            WriteFailure::Within(error) => (error, true),
        };
        let reason = error.to_string();
        self.known.forget();
        self.parts.durable.set_fault(Some(Fault::Unavailable { reason: reason.clone(), in_doubt }));
        if in_doubt { AppendError::Unknown(reason) } else { AppendError::Unavailable(reason) }
    }

    /// An empty group behind all that was acknowledged: if the last group is bad then, it was not torn.
    fn seal(&mut self) {
        if !self.is_sealed && self.parts.mark.records.group > 0 {
            // A failure shows as a fault.
            let _ = self.write(Draft::new(self.parts.mark.head.saturating_add(1)));
        }
        self.is_sealed = true;
    }

    fn refuse(&self, job: Job) {
        self.weight.fetch_sub(job.weight, Ordering::Relaxed);
        let reason = self.parts.durable.fault().map_or_else(String::new, |fault| fault.reason().to_owned());
        let _ = job.answer.send(Err(AppendError::Unavailable(reason)));
    }

    /// Refuses what comes until the journal is whole again. False: nobody can come any more.
    fn refuse_until_healed(&mut self) -> bool {
        if let Some(job) = self.carried.take() {
            self.refuse(job);
        }
        let ticks = tick(self.parts.heal_every);
        loop {
            select! {
                recv(self.jobs) -> job => match job {
                    Ok(job) => self.refuse(job),
                    Err(_) => return false,
                },
                recv(ticks) -> _ => if self.heal() {
                    return true;
                },
            }
        }
    }

    /// Cuts what is in doubt, makes sure of room, and opens everything again as at a start.
    fn heal(&mut self) -> bool {
        let in_doubt = match self.parts.durable.fault() {
            None => return true,
            Some(Fault::Damaged(_)) => return false,
            Some(Fault::Unavailable { in_doubt, .. }) => in_doubt,
        };
        match self.reopen() {
            Ok(healed) => healed,
            Err(error) => {
                self.parts.durable.set_fault(Some(Fault::Unavailable { reason: error.to_string(), in_doubt }));
                false
            }
        }
    }

    fn reopen(&mut self) -> io::Result<bool> {
        let durable = Arc::clone(&self.parts.durable);
        // What is half overwritten would be read as damage.
        let _not_now = durable.rewriting();
        let Parts { logs, mark, change_bytes_max, index_directory, .. } = &mut self.parts;
        for log in logs.iter_mut().flat_map(|(records, bodies)| [records, bodies]) {
            log.cut_attempt()?;
            log.make_room(change_bytes_max.saturating_add(super::FRAME_BYTES))?;
        }
        let indexed = durable.indexed();
        if !durable.close_index() {
            return Ok(false);
        }
        if durable.is_index_spoiled() {
            recovery::remove_index(index_directory)?;
        }
        let (records, bodies) = (&durable.records.layout, &durable.bodies.layout);
        let recovered = recover(records, bodies, index_directory, false).map_err(io::Error::other);
        let Recovered { index, mark: found, logs: reopened, opening, .. } = recovered.inspect_err(|_| {
            // What can be read still is, if the index knows what it knew. A younger one would deny what is there.
            let knows = |index: &Index| index.mark().ok().zip(indexed).is_some_and(|(now, then)| now.head >= then.head);
            let _ = Index::open(index_directory).map(|index| knows(&index).then(|| durable.index_back(index)));
        })?;
        if let Some(damage) = opening.damage.first() {
            durable.damaged(&damage.to_string());
        } else if found.head < mark.head {
            durable.damaged(&format!("sequences {} to {} are missing", found.head + 1, mark.head));
        } else {
            (*mark, *logs) = (found, reopened);
        }
        durable.reopened(index, Mark { head: found.head.max(mark.head), ..found });
        self.known.forget();
        self.is_sealed = false;
        Ok(self.parts.durable.fault().is_none())
    }
}

enum WriteFailure {
    /// Nothing was written.
    Before(io::Error),
    /// Something may have been.
    Within(io::Error),
}

type Written = (Draft, GroupHead, Option<GroupHead>);

/// One write and one sync for each file, side by side.
fn write_group(flusher: &Flusher, records: &mut Log, bodies: &mut Log, mut draft: Draft) -> Result<Written, WriteFailure> {
    use WriteFailure::{Before, Within};
    let group = records.tail().group.saturating_add(1);
    let first = draft.first();
    let mut body_head = None;
    if draft.bodies.count() > 0 {
        let drafted = std::mem::replace(&mut draft.bodies, GroupDraft::new(Kind::Bodies));
        let active = bodies.place(drafted.length()).map_err(Before)?;
        let heading = Heading {
            place: bodies.attempted(),
            group,
            previous: bodies.tail().previous,
            first,
            bodies: None,
            segment_bytes: active.bytes,
        };
        let (head, bytes) = drafted.finish(&heading).ok_or_else(|| Before(io::ErrorKind::InvalidInput.into()))?;
        body_head = Some((head, active, bytes));
    }
    let drafted = std::mem::replace(&mut draft.records, GroupDraft::new(Kind::Records));
    let active = records.place(drafted.length()).map_err(Before)?;
    let heading = Heading {
        place: records.attempted(),
        group,
        previous: records.tail().previous,
        first,
        bodies: body_head.as_ref().map(|(head, ..)| head.checksum),
        segment_bytes: active.bytes,
    };
    let (head, bytes) = drafted.finish(&heading).ok_or_else(|| Before(io::ErrorKind::InvalidInput.into()))?;

    let body_head = body_head.map(|(head, active, bytes)| (head, flusher.start_flush(active, head.place.offset, bytes)));
    let flushed = flush(&active, head.place.offset, &bytes);
    // Both are waited for, whatever the first says: an attempt must have ended before it is cut.
    let bodies_flushed = body_head.as_ref().map_or(Ok(()), |(_, started)| flusher.finish_flush(*started));
    flushed.and(bodies_flushed).map_err(Within)?;
    records.commit(&head);
    let body_head = body_head.map(|(head, _)| head);
    if let Some(head) = &body_head {
        bodies.commit(head);
    }
    Ok((draft, head, body_head))
}

fn flush(active: &Active, offset: u32, bytes: &[u8]) -> io::Result<()> {
    active.file.write_at(bytes, u64::from(offset))?;
    active.file.sync()
}

// === impl Flusher ===

impl Flusher {
    fn start() -> io::Result<Self> {
        let (work, waiting) = bounded::<(Active, u32, Vec<u8>)>(1);
        let (finished, done) = bounded(1);
        spawn("journal-bodies", move || {
            for (active, offset, bytes) in waiting {
                if finished.send(flush(&active, offset, &bytes)).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { work, done })
    }

    fn start_flush(&self, active: Active, offset: u32, bytes: Vec<u8>) -> bool {
        self.work.send((active, offset, bytes)).is_ok()
    }

    fn finish_flush(&self, started: bool) -> io::Result<()> {
        let ended = || io::Error::other("the thread that writes bodies has ended");
        if started { self.done.recv().map_err(|_| ended())? } else { Err(ended()) }
    }
}
