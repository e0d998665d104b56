//! A journal copied into another backend: records, bodies and slots, with proof that nothing changed. It is read back whole
//! and compared, and the transparency log's root is computed over both.
//!
//! It refuses a target that holds anything but a part of this very copy, and a source that is written meanwhile.

use crate::journal::{
    AppendError, BODIES_PAGE_MAX, CHANGE_BYTES_MAX, Change, Expected, FRAME_BYTES, Journal, ReadError, Record, SLOTS_PAGE_MAX,
    Sequence, Slot, Write,
};
use crate::transparency::{checkpoint_slot, entry};
use agentgate_core::digest::Digest;
use agentgate_core::transparency::checkpoint::Checkpoint;
use agentgate_core::transparency::note::Note;
use agentgate_core::transparency::tree::{Frontier, Hash};
use bytes::Bytes;
use std::collections::BTreeSet;
use thiserror::Error;

/// Records read at once, and in one change: one commit for as many as its weight allows.
const PAGE_RECORDS: u32 = 1_024;

/// What one change of a copy weighs at most, unless one body or record alone weighs more.
const CHANGE_BYTES: usize = CHANGE_BYTES_MAX / 2;

/// What a copy comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    pub head: Sequence,
    pub bodies: u64,
    pub slots: u64,
    /// Of the transparency log over all records: computed from what each of both gave back.
    pub root: Hash,
    /// The size of the newest signed checkpoint, whose root both have. None: nothing was signed.
    pub signed: Option<u64>,
}

/// What is being done, for whoever watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Bodies,
    Records { of: Sequence },
    Slots,
    Comparing { of: Sequence },
    ComparingBodies,
}

#[derive(Debug, Error)]
pub enum CopyError {
    #[error("the source is not sound: {0}")]
    Unsound(String),
    #[error("the source cannot be read")]
    Source(#[source] ReadError),
    #[error("the target cannot be read")]
    Target(#[source] ReadError),
    #[error("the target cannot be written; copy again, it goes on from here")]
    Write(#[source] AppendError),
    #[error("the target is not empty: it holds {what}; name an empty directory or database")]
    NotEmpty { what: &'static str },
    #[error("the target is the unfinished copy of another journal; empty it, or name another")]
    Other,
    #[error(
        "the source was written while it was copied; stop every control plane that writes it, and copy again into an empty target"
    )]
    Written,
    #[error("the source is itself an unfinished copy; finish that one first")]
    Unfinished,
    #[error("the copy is not what was copied: {0}; empty the target, and copy again")]
    Different(String),
    #[error("the source contradicts its newest signed checkpoint, over {0} records")]
    Contradiction(u64),
    #[error(transparent)]
    Leaf(#[from] crate::transparency::Unknown),
    #[error("the source's newest checkpoint cannot be read: {0}")]
    Checkpoint(String),
}

/// Where an unfinished copy says that it is one, and of what.
#[must_use]
pub fn copying_slot() -> Digest {
    Digest::of("agentgate/slot/copying/1", b"")
}

/// Copies all of `from` into `to`, which is empty or a part of this copy, and compares both.
///
/// # Errors
/// One of both cannot be used, or they differ. What was copied stays, and is taken up again by another call.
pub async fn copy(from: &dyn Journal, to: &dyn Journal, say: &mut (dyn FnMut(Step, u64) + Send)) -> Result<Copied, CopyError> {
    let health = from.health();
    let head = health.head;
    if let Some(why) = health.unavailable {
        return Err(CopyError::Unsound(why));
    }
    if from.slot(copying_slot()).await.map_err(CopyError::Source)?.is_some() {
        return Err(CopyError::Unfinished);
    }
    begin(from, to).await?;
    copy_bodies(from, to, say).await?;
    copy_records(from, to, head, say).await?;
    let slots = copy_slots(from, to, say).await?;
    let (root, signed) = compare_records(from, to, head, say).await?;
    let bodies = compare_bodies(from, to, say).await?;
    compare_slots(from, to).await?;
    if from.health().head != head {
        return Err(CopyError::Written);
    }
    // The last step: until here no control plane takes it for a journal.
    let mark = to.slot(copying_slot()).await.map_err(CopyError::Target)?;
    put(to, copying_slot(), mark, None).await?;
    Ok(Copied { head, bodies, slots, root, signed })
}

/// Marks an empty target as a copy of this source, or finds that it is one.
async fn begin(from: &dyn Journal, to: &dyn Journal) -> Result<(), CopyError> {
    let first = from_head(from, 0, 1).await?.into_iter().next();
    let name = first.map_or_else(|| Digest::of("agentgate/copy/1", b""), |record| Digest::of("agentgate/copy/1", &record.bytes));
    let mark = Bytes::copy_from_slice(name.as_bytes());
    match to.slot(copying_slot()).await.map_err(CopyError::Target)? {
        Some(known) if known == mark => return Ok(()),
        Some(_) => return Err(CopyError::Other),
        None => {}
    }
    let what = if to.health().head > 0 {
        Some("records")
    } else if !to.bodies(None, 1).await.map_err(CopyError::Target)?.is_empty() {
        Some("bodies")
    } else if !to.slots(None, 1).await.map_err(CopyError::Target)?.is_empty() {
        Some("slots")
    } else {
        None
    };
    match what {
        Some(what) => Err(CopyError::NotEmpty { what }),
        None => put(to, copying_slot(), None, Some(mark)).await,
    }
}

async fn put(to: &dyn Journal, name: Digest, expected: Option<Bytes>, value: Option<Bytes>) -> Result<(), CopyError> {
    match to.set(name, expected, value).await.map_err(CopyError::Write)? {
        Slot::Set => Ok(()),
        Slot::Held(_) => Err(CopyError::Different("somebody else writes to the target".to_owned())),
    }
}

/// Before the records, which refer to them: a part of a copy lacks nothing that its records need.
async fn copy_bodies(from: &dyn Journal, to: &dyn Journal, say: &mut (dyn FnMut(Step, u64) + Send)) -> Result<(), CopyError> {
    let (mut after, mut copied) = (None, 0);
    loop {
        let page = from.bodies(after, BODIES_PAGE_MAX).await.map_err(CopyError::Source)?;
        let Some(last) = page.last() else { return Ok(()) };
        let there = between(to, after, *last).await?;
        let mut change = Change { fence: None, writes: Vec::new(), bodies: Vec::new() };
        for address in page.iter().filter(|address| !there.contains(address)) {
            // Listed and gone: then the source is written.
            let body = from.fetch(*address).await.map_err(CopyError::Source)?.ok_or(CopyError::Written)?;
            if change.weight() + body.len() + FRAME_BYTES > CHANGE_BYTES && !change.bodies.is_empty() {
                let full = std::mem::replace(&mut change, Change { fence: None, writes: Vec::new(), bodies: Vec::new() });
                to.append(full).await.map_err(CopyError::Write)?;
            }
            change.bodies.push(body);
        }
        to.append(change).await.map_err(CopyError::Write)?;
        copied += page.len() as u64;
        after = Some(*last);
        say(Step::Bodies, copied);
    }
}

/// The addresses that the target has behind `after`, up to `last`.
async fn between(to: &dyn Journal, mut after: Option<Digest>, last: Digest) -> Result<BTreeSet<Digest>, CopyError> {
    let mut found = BTreeSet::new();
    loop {
        let page = to.bodies(after, BODIES_PAGE_MAX).await.map_err(CopyError::Target)?;
        let Some(newest) = page.last().copied() else { return Ok(found) };
        found.extend(page.into_iter().filter(|address| *address <= last));
        if newest >= last {
            return Ok(found);
        }
        after = Some(newest);
    }
}

async fn copy_records(
    from: &dyn Journal,
    to: &dyn Journal,
    head: Sequence,
    say: &mut (dyn FnMut(Step, u64) + Send),
) -> Result<(), CopyError> {
    let mut cursor = to.health().head;
    if cursor > head {
        return Err(CopyError::Different(format!("it has {cursor} records, and there are {head}")));
    }
    while cursor < head {
        let page = from_head(from, cursor, wanted(cursor, head)).await?;
        let mut records = page.as_slice();
        while !records.is_empty() {
            let mut change = Change { fence: None, writes: Vec::new(), bodies: Vec::new() };
            let mut count = 0;
            for record in records {
                if change.weight() + record.bytes.len() + FRAME_BYTES > CHANGE_BYTES && count > 0 {
                    break;
                }
                change.writes.push(write(record));
                count += 1;
            }
            let (now, later) = records.split_at(count);
            append(to, change, now).await?;
            records = later;
        }
        cursor = page.last().map_or(cursor, |record| record.sequence);
        say(Step::Records { of: head }, cursor);
    }
    Ok(())
}

fn write(record: &Record) -> Write {
    Write {
        stream: record.stream,
        expected: Expected::Exactly(record.version.saturating_sub(1)),
        id: record.id,
        record: record.bytes.clone(),
    }
}

/// Each must stand where it stood.
async fn append(to: &dyn Journal, change: Change, records: &[Record]) -> Result<(), CopyError> {
    let appended = to.append(change).await.map_err(|error| match error {
        AppendError::Conflict { .. } | AppendError::Duplicate(_) => CopyError::Different(error.to_string()),
        AppendError::TooLarge { .. }
        | AppendError::Malformed(_)
        | AppendError::Fenced { .. }
        | AppendError::Unavailable(_)
        | AppendError::Halted(_)
        | AppendError::Unknown(_) => CopyError::Write(error),
    })?;
    let stands = |(record, position): (&Record, &crate::journal::Position)| {
        (record.sequence, record.version) == (position.sequence, position.version)
    };
    if appended.positions.len() == records.len() && records.iter().zip(&appended.positions).all(stands) {
        return Ok(());
    }
    Err(CopyError::Different("records stand elsewhere".to_owned()))
}

/// After the records: they are the keys to what was copied before.
async fn copy_slots(from: &dyn Journal, to: &dyn Journal, say: &mut (dyn FnMut(Step, u64) + Send)) -> Result<u64, CopyError> {
    let (mut after, mut copied) = (None, 0);
    loop {
        let page = from.slots(after, SLOTS_PAGE_MAX).await.map_err(CopyError::Source)?;
        let Some((last, _)) = page.last() else { return Ok(copied) };
        after = Some(*last);
        for (name, value) in page {
            let held = to.slot(name).await.map_err(CopyError::Target)?;
            put(to, name, held, Some(value)).await?;
            copied += 1;
        }
        say(Step::Slots, copied);
    }
}

/// Every record as both give it back, and the root over all of them; at the signed size it is the signed one.
async fn compare_records(
    from: &dyn Journal,
    to: &dyn Journal,
    head: Sequence,
    say: &mut (dyn FnMut(Step, u64) + Send),
) -> Result<(Hash, Option<u64>), CopyError> {
    let signed = signed(from).await?;
    let (mut one, mut other) = (Frontier::default(), Frontier::default());
    let mut cursor = 0;
    while cursor < head {
        let ours = from_head(from, cursor, wanted(cursor, head)).await?;
        let theirs = exactly(to, cursor, ours.len()).await?;
        for (ours, theirs) in ours.iter().zip(&theirs) {
            if ours != theirs {
                return Err(CopyError::Different(format!("the record at sequence {}", ours.sequence)));
            }
            push(&mut one, ours)?;
            push(&mut other, theirs)?;
            cursor = ours.sequence;
            if signed.as_ref().is_some_and(|signed| signed.size == cursor && signed.root != one.root()) {
                return Err(CopyError::Contradiction(cursor));
            }
        }
        say(Step::Comparing { of: head }, cursor);
    }
    if let Some(signed) = signed.as_ref().filter(|signed| signed.size > head) {
        return Err(CopyError::Contradiction(signed.size));
    }
    if one.root() != other.root() || to.health().head != head {
        return Err(CopyError::Different("another number of records".to_owned()));
    }
    Ok((one.root(), signed.map(|signed| signed.size)))
}

fn push(tree: &mut Frontier, record: &Record) -> Result<(), CopyError> {
    tree.push(entry(record)?.leaf_hash()).map_err(|error| CopyError::Different(error.to_string()))
}

async fn signed(from: &dyn Journal) -> Result<Option<Checkpoint>, CopyError> {
    let Some(note) = from.slot(checkpoint_slot()).await.map_err(CopyError::Source)? else { return Ok(None) };
    let note = Note::parse(&note).map_err(|error| CopyError::Checkpoint(error.to_string()))?;
    Checkpoint::parse(note.text()).map(Some).map_err(|error| CopyError::Checkpoint(error.to_string()))
}

/// Each body as both give it back; each journal compares it with its address.
async fn compare_bodies(from: &dyn Journal, to: &dyn Journal, say: &mut (dyn FnMut(Step, u64) + Send)) -> Result<u64, CopyError> {
    let (mut after, mut compared) = (None, 0);
    loop {
        let ours = from.bodies(after, BODIES_PAGE_MAX).await.map_err(CopyError::Source)?;
        let theirs = to.bodies(after, BODIES_PAGE_MAX).await.map_err(CopyError::Target)?;
        if ours != theirs {
            return Err(CopyError::Different("other bodies are kept".to_owned()));
        }
        let Some(last) = ours.last() else { return Ok(compared) };
        after = Some(*last);
        for address in &ours {
            let one = from.fetch(*address).await.map_err(CopyError::Source)?;
            let other = to.fetch(*address).await.map_err(CopyError::Target)?;
            if one.is_none() || one != other {
                return Err(CopyError::Different(format!("the body {address}")));
            }
        }
        compared += ours.len() as u64;
        say(Step::ComparingBodies, compared);
    }
}

async fn compare_slots(from: &dyn Journal, to: &dyn Journal) -> Result<(), CopyError> {
    let (mut ours, mut theirs) = (all_slots(from, CopyError::Source).await?, all_slots(to, CopyError::Target).await?);
    ours.retain(|(name, _)| *name != copying_slot());
    theirs.retain(|(name, _)| *name != copying_slot());
    if ours == theirs { Ok(()) } else { Err(CopyError::Different("other slots are held".to_owned())) }
}

async fn all_slots(journal: &dyn Journal, failed: fn(ReadError) -> CopyError) -> Result<Vec<(Digest, Digest)>, CopyError> {
    let (mut after, mut all) = (None, Vec::new());
    loop {
        let page = journal.slots(after, SLOTS_PAGE_MAX).await.map_err(failed)?;
        let Some((last, _)) = page.last() else { return Ok(all) };
        after = Some(*last);
        all.extend(page.iter().map(|(name, value)| (*name, Digest::of("agentgate/copy/slot/1", value))));
    }
}

/// How many records to ask for behind `cursor`: never for one that is not there, which would be waited for.
fn wanted(cursor: Sequence, head: Sequence) -> u32 {
    u32::try_from(head.saturating_sub(cursor)).unwrap_or(u32::MAX).min(PAGE_RECORDS)
}

/// The source's records behind `cursor`; none only where there are none.
async fn from_head(from: &dyn Journal, cursor: Sequence, limit: u32) -> Result<Vec<Record>, CopyError> {
    if from.health().head <= cursor {
        return Ok(Vec::new());
    }
    from.follow(cursor, limit).await.map_err(CopyError::Source)
}

/// As many of the target's records behind `cursor`.
async fn exactly(to: &dyn Journal, mut cursor: Sequence, count: usize) -> Result<Vec<Record>, CopyError> {
    let mut records: Vec<Record> = Vec::with_capacity(count);
    while records.len() < count {
        if to.health().head <= cursor {
            return Err(CopyError::Different("records are missing".to_owned()));
        }
        let missing = u32::try_from(count - records.len()).unwrap_or(u32::MAX);
        records.extend(to.follow(cursor, missing).await.map_err(CopyError::Target)?);
        cursor = records.last().map_or(cursor, |record| record.sequence);
    }
    Ok(records)
}
