//! Opens the segments: finds the tail, brings the index up to it, cuts what nobody was told of, and names what is damaged.
//! It refuses to cut anything that may have been acknowledged, and to cut at all where something is damaged.
//!
//! **Torn or damaged?** Only the last group can be torn, because a group is begun when the one before is durable. A bad last
//! group is torn when a whole sector of it reads as zeros, or its end does, as what never reached the disk; whatever has a
//! group behind it (a clean shutdown and an idle writer leave an empty one, the seal), or lies below the index's mark, or has
//! no such hole, is damaged. What cannot be told apart: a page that turned to zeros within the last group while it had neither
//! a seal behind it nor a mark above it, from a torn write; and a journal whose files and index were all set back
//! together, from one that never went further.

use super::frame::{Gone, GroupHead, HEAD_BYTES, Kind, Location, Place};
use super::index::{Index, IndexError};
use super::overlay::{Indexed, Mark, RecordEntry};
use super::scan::{self, Bad, BodyAt, Damage, Walked, walk};
use super::segments::{Layout, Log, Segments, Tail, cut};
use super::slot_file::SlotDamage;
use super::{Position, Sequence};
use agentgate_core::digest::Digest;
use bytes::Bytes;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// How many entries the index learns at once. sled lets nobody read while it takes a batch, and its flush contends with the
/// writer's: with 640 a call's p99 was 7.6 to 8.2 ms where it is 5.2 to 6.0 (`just bench`). It also holds every page that a
/// batch touches: with 4096, 100,000 calls left the control plane at 131 MB, with these at 70 MB.
pub(super) const LEARN_ENTRIES_MAX: usize = 192;

/// What opening found and did.
#[derive(Clone, Debug, Default)]
pub struct Opening {
    /// The writes that were never acknowledged, and are gone.
    pub cut: Vec<Damage>,
    /// Why nothing can be written.
    pub damage: Vec<Damage>,
    /// Likewise, of the slots.
    pub damaged_slots: Vec<SlotDamage>,
    /// How many groups were read again, of both kinds.
    pub groups_read: u64,
    /// Why the index was built anew.
    pub index_rebuilt: Option<String>,
}

#[derive(Debug)]
pub(super) struct Recovered {
    pub index: Index,
    pub mark: Mark,
    /// Bodies that were discarded, and whose bytes may not be zeros yet.
    pub unfinished: Vec<(Digest, Location)>,
    /// None: damaged, nothing may be written.
    pub logs: Option<(Log, Log)>,
    pub opening: Opening,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum RecoverError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// Feeds the index, and holds the newest group back until it is known to stay.
struct Feed<'a> {
    index: &'a Index,
    /// The mark that the index keeps while it learns.
    mark: Mark,
    groups: Vec<Arc<Indexed>>,
    entries: usize,
    held: Option<Indexed>,
    unfinished: Vec<(Digest, Location)>,
    /// Segments in which something was discarded.
    rewritten: BTreeSet<u32>,
}

enum Anchor {
    Holds,
    /// The index speaks of other segments.
    Foreign,
    Damaged(Damage),
}

/// Reads everything behind the index's mark, or everything when `from_start`.
pub(super) fn recover(records: &Layout, bodies: &Layout, directory: &Path, from_start: bool) -> Result<Recovered, RecoverError> {
    let mut opening = Opening::default();
    sync_names(records, bodies)?;
    let (index, known) = trusted_index(records, bodies, directory, &mut opening)?;
    let from = if from_start { Mark::START } else { known };
    let mut feed = Feed::new(&index, known);

    let mut walked_bodies = walk(bodies, from.bodies, 0, &mut |head, bytes| feed.take(indexed_bodies(head, &bytes)))?;
    let held_bodies = feed.held.take();
    let mut last_with_bodies = None;
    let mut walked_records = walk(records, from.records, from.head.saturating_add(1), &mut |head, bytes| {
        last_with_bodies = if head.bodies.is_some() { Some(*head) } else { last_with_bodies };
        feed.take(indexed_records(head, &bytes))
    })?;
    let held_records = feed.held.take();

    opening.groups_read = walked_records.groups + walked_bodies.groups;
    let cuts = settle(&mut walked_records, &mut walked_bodies, last_with_bodies, &from);
    opening.damage.extend(walked_records.damage.drain(..).chain(walked_bodies.damage.drain(..)));
    if opening.damage.is_empty() {
        sync_last(records, walked_records.tail)?;
        sync_last(bodies, walked_bodies.tail)?;
        // A killed process may not have synced what it discarded, and nobody looks for it again.
        feed.rewritten.iter().try_for_each(|segment| bodies.open(*segment)?.file.sync())?;
    }
    let stays = |tail: &Tail, held: Option<Indexed>| held.filter(|group| group.place <= tail.last);
    feed.held = stays(&walked_bodies.tail, held_bodies);
    feed.release()?;
    feed.held = stays(&walked_records.tail, held_records);
    feed.release()?;
    for damage in &opening.damage {
        feed.take(salvaged(damage, records, bodies)?)?;
        feed.release()?;
    }
    // What was lost still counts: whoever follows must hear of it, and not wait for it.
    let lost = opening.damage.iter().filter_map(|damage| damage.last).max().unwrap_or(0);
    let head = walked_records.next.saturating_sub(1).max(known.head).max(lost);
    let mark = Mark { head, records: walked_records.tail, bodies: walked_bodies.tail };
    // The mark of a damaged journal stays, so that the next start finds the damage again.
    feed.finish(if opening.damage.is_empty() { mark } else { known })?;
    let unfinished = std::mem::take(&mut feed.unfinished);

    let logs = if opening.damage.is_empty() {
        for (layout, bad) in cuts {
            cut(&layout_of(layout, records, bodies).open(bad.segment)?, bad.offset, bad.end)?;
            opening.cut.push(bad);
        }
        Some((Log::open(records.clone(), mark.records)?, Log::open(bodies.clone(), mark.bodies)?))
    } else {
        None
    };
    Ok(Recovered { index, mark, unfinished, logs, opening })
}

fn layout_of<'a>(kind: Kind, records: &'a Layout, bodies: &'a Layout) -> &'a Layout {
    match kind {
        Kind::Records => records,
        Kind::Bodies => bodies,
    }
}

/// A process that was killed may have named a segment and not lived until the name was durable: what is written into it next
/// would be lost with the name.
fn sync_names(records: &Layout, bodies: &Layout) -> io::Result<()> {
    [records, bodies].into_iter().try_for_each(|layout| {
        layout.list()?;
        layout.disk.sync_names(&layout.directory)
    })
}

/// What was read may only be in the machine's memory as yet: nothing counts, and the index learns nothing of it, before it is
/// on the disk. Only the last group can be; each one is begun when the one before is durable.
fn sync_last(layout: &Layout, tail: Tail) -> io::Result<()> {
    if tail.group > 0 { layout.open(tail.last.segment)?.file.sync() } else { Ok(()) }
}

/// Decides what the two ends mean together: sets the tails, adds to the damage, and says what is to be cut.
pub(super) fn settle(
    records: &mut Walked,
    bodies: &mut Walked,
    with_bodies: Option<GroupHead>,
    from: &Mark,
) -> Vec<(Kind, Damage)> {
    let mut cuts = Vec::new();
    match records.trailing.take() {
        // The bodies of a later group were begun: this one was acknowledged.
        Some(bad) if bad.has_hole && bodies.tail.group <= records.tail.group + 1 => cuts.push((Kind::Records, bad.damage)),
        Some(bad) => records.damage.push(bad.damage),
        None => {}
    }
    if let Some(head) = with_bodies {
        settle_bodies_of(&head, records, bodies, from, &mut cuts);
    }
    if let Some(bad) = bodies.trailing.take() {
        // Bodies that no whole group of records speaks of were never acknowledged.
        cuts.push((Kind::Bodies, bad.damage));
    }
    if bodies.tail.group > records.tail.group {
        let damage = bodies.last[0].map(|head| head.damage(Kind::Bodies, "bodies without their records"));
        let before = bodies.last[1].as_ref().map_or(from.bodies, Tail::after);
        if bodies.tail.group == records.tail.group + 1 && before.group <= records.tail.group {
            cuts.extend(damage.map(|damage| (Kind::Bodies, damage)));
            bodies.tail = before;
        } else {
            records.damage.extend(bodies.last[0].and_then(|head| lost_before(&head, records)));
            bodies.damage.extend(damage);
        }
    }
    cuts
}

/// Whatever a group of bodies stands behind was durable when it was begun, also where nothing is left of it.
fn lost_before(bodies: &GroupHead, records: &Walked) -> Option<Damage> {
    let Place { segment, offset } = records.tail.place;
    let last = bodies.first.checked_sub(1).filter(|last| *last >= records.next)?;
    let what = "the records before these bodies are missing";
    Some(Damage { kind: Kind::Records, segment, offset, end: offset, first: records.next, last: Some(last), what })
}

/// `head` is the newest group of records that has bodies: they must be there, unless it was never acknowledged.
fn settle_bodies_of(head: &GroupHead, records: &mut Walked, bodies: &mut Walked, from: &Mark, cuts: &mut Vec<(Kind, Damage)>) {
    let newest = bodies.last.iter().flatten().find(|found| found.group <= head.group);
    if newest.is_some_and(|found| found.group == head.group && Some(found.checksum) == head.bodies) {
        return;
    }
    // Its bodies stand before these, and each of those follows the one before it.
    if bodies.last.iter().all(|found| found.is_some_and(|found| found.group > head.group)) {
        return;
    }
    let is_last = records.tail.group == head.group && cuts.is_empty() && records.damage.is_empty();
    let is_torn = bodies.tail.group < head.group && bodies.trailing.as_ref().is_none_or(|bad| bad.has_hole);
    if is_last && is_torn {
        cuts.push((Kind::Records, head.damage(Kind::Records, "records whose bodies were never whole")));
        records.tail = records.last[1].as_ref().map_or(from.records, Tail::after);
        records.next = head.first;
    } else {
        let bad = bodies.trailing.take().map(|bad: Bad| bad.damage);
        bodies.damage.push(bad.unwrap_or_else(|| head.damage(Kind::Records, "the bodies of this group are missing")));
    }
}

/// The index, when it speaks of these segments; a new one otherwise.
fn trusted_index(
    records: &Layout,
    bodies: &Layout,
    directory: &Path,
    opening: &mut Opening,
) -> Result<(Index, Mark), RecoverError> {
    let reason = match Index::open(directory).and_then(|index| index.mark().map(|mark| (index, mark))) {
        Ok((index, mark)) => {
            let anchors = [anchor(records, mark.records)?, anchor(bodies, mark.bodies)?];
            if !anchors.iter().any(|anchor| matches!(anchor, Anchor::Foreign)) {
                opening.damage.extend(anchors.into_iter().filter_map(|anchor| match anchor {
                    Anchor::Damaged(damage) => Some(damage),
                    Anchor::Holds | Anchor::Foreign => None,
                }));
                return Ok((index, mark));
            }
            "it speaks of other segments".to_owned()
        }
        // It may be a sound one: it is not this one's to remove.
        Err(error @ IndexError::Held) => return Err(error.into()),
        Err(error) => error.to_string(),
    };
    opening.index_rebuilt = Some(reason);
    remove_index(directory)?;
    Ok((Index::open(directory)?, Mark::START))
}

pub(super) fn remove_index(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Whether the last group that the index knows is where it says.
fn anchor(layout: &Layout, tail: Tail) -> io::Result<Anchor> {
    if tail.group == 0 {
        return Ok(Anchor::Holds);
    }
    let Place { segment, offset } = tail.last;
    let damage = |what| {
        let end = tail.place.offset;
        Anchor::Damaged(Damage { kind: layout.kind, segment, offset, end, first: 0, last: None, what })
    };
    let length = tail.place.offset.saturating_sub(offset);
    let bytes = match Segments::new(layout.clone()).read(Location { place: tail.last, length }) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(damage("the segment is missing")),
        read => read?,
    };
    let Some(head) = GroupHead::parse(layout.kind, tail.last, &bytes) else {
        // An index of long ago.
        if layout.kind == Kind::Bodies && Gone::parse(segment, &layout.read_from(segment, 0)?).is_some() {
            return Ok(Anchor::Foreign);
        }
        return Ok(damage("the last group that the index knows is not there"));
    };
    Ok(if head.checksum != tail.previous || head.group != tail.group {
        Anchor::Foreign
    } else if !head.is_whole(layout.kind, &bytes) {
        damage("a group is not what was written")
    } else if layout.open(segment)?.bytes < head.segment_bytes {
        damage("the segment is shorter than it was made")
    } else {
        Anchor::Holds
    })
}

/// What the index learns of a whole group of records.
fn indexed_records(head: &GroupHead, bytes: &Bytes) -> Indexed {
    records_in(&scan::entries_of(head, bytes), shifted(head.place, HEAD_BYTES), head.place, &(head.first..head.next()))
}

fn records_in(bytes: &Bytes, start: Place, place: Place, sequences: &std::ops::Range<Sequence>) -> Indexed {
    let entry = |(offset, length, record): (u32, u32, super::Record)| RecordEntry {
        stream: record.stream,
        id: record.id,
        position: Position { sequence: record.sequence, version: record.version },
        location: Location { place: shifted(start, offset as usize), length },
    };
    let records = scan::records(bytes, sequences).into_iter().map(entry).collect();
    Indexed { records, bodies: Vec::new(), discarded: Vec::new(), unfinished: Vec::new(), place, mark: Mark::START }
}

/// What the index learns of a whole group of bodies.
fn indexed_bodies(head: &GroupHead, bytes: &Bytes) -> Indexed {
    bodies_in(&scan::entries_of(head, bytes), true, shifted(head.place, HEAD_BYTES), head.place)
}

fn bodies_in(bytes: &Bytes, is_start: bool, start: Place, place: Place) -> Indexed {
    let location = |entry: &BodyAt| Location { place: shifted(start, entry.offset as usize), length: entry.length };
    let (kept, discarded): (Vec<_>, Vec<_>) = scan::bodies(bytes, is_start).into_iter().partition(|entry| entry.body.is_some());
    let bodies = kept.iter().map(|entry| (entry.address, location(entry))).collect();
    let unfinished = discarded.iter().filter(|entry| entry.is_unfinished).map(|entry| (entry.address, location(entry))).collect();
    let discarded = discarded.iter().map(location).collect();
    Indexed { records: Vec::new(), bodies, discarded, unfinished, place, mark: Mark::START }
}

/// What can still be read within the damage.
fn salvaged(damage: &Damage, records: &Layout, bodies: &Layout) -> io::Result<Indexed> {
    let place = Place { segment: damage.segment, offset: damage.offset };
    let location = Location { place, length: damage.end.saturating_sub(damage.offset) };
    let segments = Segments::new(layout_of(damage.kind, records, bodies).clone());
    let bytes = if location.length == 0 { Bytes::new() } else { segments.read(location).unwrap_or_default() };
    let last = damage.last.unwrap_or(Sequence::MAX - 1);
    Ok(match damage.kind {
        Kind::Records => records_in(&bytes, place, place, &(damage.first..last.saturating_add(1))),
        Kind::Bodies => bodies_in(&bytes, false, place, place),
    })
}

fn shifted(place: Place, by: usize) -> Place {
    Place { offset: place.offset.saturating_add(u32::try_from(by).unwrap_or(u32::MAX)), ..place }
}

// === impl Feed ===

impl<'a> Feed<'a> {
    fn new(index: &'a Index, mark: Mark) -> Self {
        let (groups, unfinished) = (Vec::new(), Vec::new());
        Self { index, mark, groups, entries: 0, held: None, unfinished, rewritten: BTreeSet::new() }
    }

    fn take(&mut self, group: Indexed) -> io::Result<()> {
        self.release().map_err(io::Error::other)?;
        self.unfinished.extend(group.unfinished.iter().copied());
        self.rewritten.extend(group.discarded.iter().map(|location| location.place.segment));
        self.held = Some(group);
        Ok(())
    }

    fn release(&mut self) -> Result<(), IndexError> {
        if let Some(group) = self.held.take().filter(|group| group.entries() > 0) {
            self.entries += group.entries();
            self.groups.push(Arc::new(group));
        }
        if self.entries >= LEARN_ENTRIES_MAX {
            self.learn(self.mark)?;
        }
        Ok(())
    }

    fn learn(&mut self, mark: Mark) -> Result<(), IndexError> {
        self.index.learn(&self.groups, mark)?;
        self.groups.clear();
        self.entries = 0;
        Ok(())
    }

    fn finish(&mut self, mark: Mark) -> Result<(), IndexError> {
        self.release()?;
        if self.groups.is_empty() && mark == self.mark { Ok(()) } else { self.learn(mark) }
    }
}
