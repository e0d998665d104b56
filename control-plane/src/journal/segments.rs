//! Segments: the files that records and bodies lie in, one series for each. A segment is written out with zeros before it
//! is used, so that a sync changes no metadata, and it is never grown, shortened or written twice in one place except to
//! cut what nobody was told of. It refuses to decide what may be cut: `recovery` does.

use super::disk::{Disk, File};
use super::frame::{Gone, GroupHead, Kind, Location, Place};
use crate::telemetry::number;
use bytes::Bytes;
use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

/// Zeros are written in pieces of this size, each synced, so that a running group never waits behind a whole segment.
const ZEROS_BYTES: usize = 1 << 20;

/// Segments that readers hold open at once, per kind.
const OPEN_FILES_MAX: usize = 16;

/// A shorter file was never made by us.
pub(super) const SEGMENT_BYTES_MIN: u32 = 64 << 10;

/// Where one kind's segments lie.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub disk: Arc<dyn Disk>,
    pub directory: PathBuf,
    pub kind: Kind,
    /// The size of segments made from now on; those that are there keep theirs.
    pub segment_bytes: u32,
}

/// The place behind the last group, and what the next one must continue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tail {
    pub place: Place,
    /// The last group's number; 0: none yet.
    pub group: u64,
    /// The checksum of its head.
    pub previous: u32,
    /// Where it stands.
    pub last: Place,
}

/// One kind's segments, for the one thread that writes them.
#[derive(Debug)]
pub(super) struct Log {
    layout: Layout,
    tail: Tail,
    active: Active,
    /// The segment after the active one, being written out or ready.
    spare: Option<JoinHandle<io::Result<()>>>,
    /// How far an attempt beyond the tail may have reached, in the segment where it was made.
    attempt: Option<(Active, u32, usize)>,
}

#[derive(Clone, Debug)]
pub(super) struct Active {
    pub segment: u32,
    pub file: Arc<dyn File>,
    pub bytes: u32,
}

/// One kind's segments, for everybody who reads.
#[derive(Debug)]
pub(super) struct Segments {
    pub layout: Layout,
    open: Mutex<HashMap<u32, Arc<dyn File>>>,
}

// === impl Layout ===

impl Layout {
    pub(super) fn path(&self, segment: u32) -> PathBuf {
        self.directory.join(format!("{}-{segment:08}", self.kind.noun()))
    }

    /// The segments that are there, in order.
    pub(super) fn list(&self) -> io::Result<Vec<u32>> {
        let names = self.disk.list(&self.directory)?;
        let mut segments: Vec<u32> = names.iter().filter_map(|name| self.number_in(name)?.parse().ok()).collect();
        segments.sort_unstable();
        Ok(segments)
    }

    /// Removes what an interrupted preparation left.
    pub(super) fn sweep(&self) -> io::Result<()> {
        for name in self.disk.list(&self.directory)? {
            if self.number_in(&name).is_some_and(|number| number.parse::<u32>().is_err()) {
                self.disk.remove(&self.directory.join(&name))?;
            }
        }
        Ok(())
    }

    fn number_in<'a>(&self, name: &'a str) -> Option<&'a str> {
        name.strip_prefix(self.kind.noun())?.strip_prefix('-')
    }

    /// Puts a few bytes in the place of a whole segment, durably.
    pub(super) fn replace(&self, gone: &Gone) -> io::Result<()> {
        let path = self.path(gone.segment);
        let unfinished = path.with_extension("unfinished");
        let file = self.disk.create(&unfinished)?;
        file.write_at(&gone.encode(), 0)?;
        file.sync()?;
        self.disk.rename(&unfinished, &path)
    }

    pub(super) fn open(&self, segment: u32) -> io::Result<Active> {
        let file = self.disk.open(&self.path(segment))?;
        let bytes = u32::try_from(file.length()?).map_err(io::Error::other)?;
        Ok(Active { segment, file, bytes })
    }

    /// The whole segment from `offset` on.
    pub(super) fn read_from(&self, segment: u32, offset: u32) -> io::Result<Bytes> {
        let active = self.open(segment)?;
        let mut bytes = vec![0; active.bytes.saturating_sub(offset) as usize];
        let count = active.file.read_at(&mut bytes, u64::from(offset))?;
        bytes.truncate(count);
        Ok(Bytes::from(bytes))
    }

    /// Writes a segment out, under another name until it is whole.
    fn prepare(&self, segment: u32) -> io::Result<()> {
        let path = self.path(segment);
        let unfinished = path.with_extension("unfinished");
        let made = self.write_zeros(&unfinished).and_then(|()| self.disk.rename(&unfinished, &path));
        if made.is_err() {
            // Space is what is most likely missing: give back what the attempt took.
            let _ = self.disk.remove(&unfinished);
        }
        made
    }

    fn write_zeros(&self, path: &std::path::Path) -> io::Result<()> {
        let file = self.disk.create(path)?;
        let zeros = vec![0; ZEROS_BYTES.min(self.segment_bytes as usize)];
        let mut offset = 0;
        while offset < self.segment_bytes as usize {
            let piece = zeros.get(..zeros.len().min(self.segment_bytes as usize - offset)).unwrap_or_default();
            file.write_at(piece, offset as u64)?;
            file.sync()?;
            offset += piece.len();
        }
        Ok(())
    }
}

// === impl Tail ===

impl Tail {
    /// Before the first group of a new journal.
    pub(super) const START: Tail =
        Tail { place: Place { segment: 1, offset: 0 }, group: 0, previous: 0, last: Place { segment: 0, offset: 0 } };

    /// Behind `head`.
    pub(super) fn after(head: &GroupHead) -> Self {
        let end = head.place.offset.saturating_add(u32::try_from(head.length()).unwrap_or(u32::MAX));
        let place = Place { segment: head.place.segment, offset: end };
        Self { place, group: head.group, previous: head.checksum, last: head.place }
    }
}

// === impl Log ===

impl Log {
    /// Opens at `tail`; the first segment of a new journal is made here.
    pub(super) fn open(layout: Layout, tail: Tail) -> io::Result<Self> {
        if !layout.list()?.contains(&tail.place.segment) {
            layout.prepare(tail.place.segment)?;
        }
        let active = layout.open(tail.place.segment)?;
        Ok(Self { layout, tail, active, spare: None, attempt: None })
    }

    pub(super) fn tail(&self) -> Tail {
        self.tail
    }

    /// Where a group of `length` bytes goes next. Nothing counts before `commit`.
    pub(super) fn place(&mut self, length: usize) -> io::Result<Active> {
        let place = self.tail.place;
        let fits = (place.offset as usize).checked_add(length).is_some_and(|end| end <= self.active.bytes as usize);
        let (active, offset) = if fits { (self.active.clone(), place.offset) } else { (self.next()?, 0) };
        if length > active.bytes as usize {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a group is longer than a segment"));
        }
        self.attempt = Some((active.clone(), offset, length));
        Ok(active)
    }

    /// The place of the attempt that `place` made room for.
    pub(super) fn attempted(&self) -> Place {
        self.attempt.as_ref().map_or(self.tail.place, |(active, offset, _)| Place { segment: active.segment, offset: *offset })
    }

    /// The attempt at `place` is durable.
    pub(super) fn commit(&mut self, head: &GroupHead) {
        if let Some((active, ..)) = self.attempt.take() {
            self.active = active;
        }
        self.tail = Tail::after(head);
        // Half a segment is time enough to write out the next.
        if self.spare.is_none() && self.tail.place.offset > self.active.bytes / 2 {
            let (layout, segment) = (self.layout.clone(), self.active.segment.saturating_add(1));
            let prepare = move || layout.ready(segment);
            self.spare = thread::Builder::new().name("journal-spare".into()).spawn(prepare).ok();
        }
    }

    /// Cuts whatever an attempt left beyond the tail. Until this succeeds nobody knows whether it happened.
    pub(super) fn cut_attempt(&mut self) -> io::Result<()> {
        if let Some((active, offset, length)) = self.attempt.clone() {
            // A descriptor that once failed to sync is not asked again.
            let active = self.layout.open(active.segment)?;
            let end = (offset as usize).saturating_add(length).min(active.bytes as usize);
            cut(&active, offset, u32::try_from(end).unwrap_or(u32::MAX))?;
            self.active = self.layout.open(self.tail.place.segment)?;
            self.attempt = None;
        }
        Ok(())
    }

    /// Makes sure that there is room for a group of any size.
    pub(super) fn make_room(&mut self, length_max: usize) -> io::Result<()> {
        let room = self.active.bytes.saturating_sub(self.tail.place.offset) as usize;
        if room < length_max { self.next().map(drop) } else { Ok(()) }
    }

    fn next(&mut self) -> io::Result<Active> {
        let segment = self.active.segment.checked_add(1).ok_or(io::ErrorKind::StorageFull)?;
        match self.spare.take().map(JoinHandle::join) {
            Some(Ok(prepared)) => prepared?,
            Some(Err(_)) | None => self.layout.ready(segment)?,
        }
        self.layout.open(segment)
    }
}

impl Layout {
    /// Prepares a segment unless it is there.
    fn ready(&self, segment: u32) -> io::Result<()> {
        if self.disk.open(&self.path(segment)).is_ok() { Ok(()) } else { self.prepare(segment) }
    }
}

/// Writes zeros over what nobody was told of.
pub(super) fn cut(active: &Active, start: u32, end: u32) -> io::Result<()> {
    let zeros = vec![0; end.min(active.bytes).saturating_sub(start) as usize];
    active.file.write_at(&zeros, u64::from(start))?;
    active.file.sync()
}

// === impl Segments ===

impl Segments {
    pub(super) fn new(layout: Layout) -> Self {
        Self { layout, open: Mutex::default() }
    }

    /// The bytes of one entry as they stand on disk; fewer when the file ends before.
    pub(super) fn read(&self, location: Location) -> io::Result<Bytes> {
        let file = self.file(location.place.segment)?;
        let mut bytes = vec![0; location.length as usize];
        let count = file.read_at(&mut bytes, u64::from(location.place.offset))?;
        bytes.truncate(count);
        Ok(Bytes::from(bytes))
    }

    /// Whether the segment was removed on purpose.
    pub(super) fn is_gone(&self, segment: u32) -> bool {
        let file = self.layout.open(segment).ok().filter(|file| file.bytes < SEGMENT_BYTES_MIN);
        file.is_some_and(|_| self.layout.read_from(segment, 0).is_ok_and(|bytes| Gone::parse(segment, &bytes).is_some()))
    }

    /// Another file stands there now.
    pub(super) fn replaced(&self, segment: u32) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&segment);
    }

    fn file(&self, segment: u32) -> io::Result<Arc<dyn File>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = open.get(&segment) {
            return Ok(Arc::clone(file));
        }
        let file = self.layout.disk.open(&self.layout.path(segment))?;
        if open.len() >= OPEN_FILES_MAX {
            open.clear();
        }
        open.insert(segment, Arc::clone(&file));
        metrics::gauge!("agentgate_journal_open_files", "kind" => self.layout.kind.noun()).set(number(open.len()));
        Ok(file)
    }
}
