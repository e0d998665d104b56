//! The file that slots lie in: two heads, and cells. It finds what is there, finishes what was begun, and makes room. It
//! refuses to change anything in a file that is damaged.

use super::cells::{CELL_BYTES, Cell, Head, cells_of, decode, encode, free, parse};
use super::disk::{Disk, File};
use agentgate_core::digest::Digest;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

const MAGIC: [u8; 8] = *b"AGslot\x01\n";

/// Each head has a page of its own.
const HEAD_AT: [u64; 2] = [0, 4096];

/// Where cell 0 lies.
pub(super) const CELLS_AT: u64 = 8192;
const HEAD_BYTES: usize = 16;

/// The file grows by a sixteenth of itself, within these.
const GROW_CELLS_MIN: u32 = 256;
const GROW_CELLS_MAX: u32 = 4096;

/// What is read at once.
const PIECE_CELLS: u32 = 4096;

/// Where a value lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Run {
    pub cell: u32,
    pub count: u8,
}

/// A part of the file that is not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotDamage {
    pub offset: u64,
    /// Of the slot, where it can still be read.
    pub name: Option<Digest>,
    pub what: &'static str,
}

#[derive(Debug)]
pub(super) struct SlotFile {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    pub file: Arc<dyn File>,
    /// A bit for each cell that is not free.
    used: Vec<u64>,
    cells: u32,
    /// Where the search for room goes on.
    next: u32,
    stamp: u64,
}

/// What a file holds.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub slots: BTreeMap<Digest, Run>,
    pub damage: Vec<SlotDamage>,
    /// What was begun and not finished, or is older than another.
    leftover: BTreeSet<u32>,
    /// Values that another with the same name was found behind.
    doubles: Vec<(Digest, Run)>,
    stamp: u64,
    open: Option<Open>,
}

/// A value whose first cell was read, and not yet its last.
#[derive(Clone, Copy, Debug)]
struct Open {
    head: Head,
    cell: u32,
    seen: u8,
}

// === impl SlotDamage ===

impl fmt::Display for SlotDamage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "slots at byte {}: {}", self.offset, self.what)?;
        self.name.map_or(Ok(()), |name| write!(f, " (slot {name})"))
    }
}

// === impl SlotFile ===

impl SlotFile {
    /// Opens the file, or makes one where there `may_be_none`.
    pub(super) fn open(disk: &Arc<dyn Disk>, path: PathBuf, may_be_none: bool) -> io::Result<(Self, Found)> {
        let mut lost = Vec::new();
        let file = match disk.open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if !may_be_none {
                    lost.push(SlotDamage { offset: 0, name: None, what: "the file is missing" });
                }
                // An empty one in the place of a lost one would hide the loss from the next start.
                create(disk, &path, may_be_none)?
            }
            opened => opened?,
        };
        let (cells, mends_heads) = match heads(&*file)? {
            [Some(one), Some(other)] => (one.max(other), one != other),
            [Some(one), None] | [None, Some(one)] => (one, true),
            [None, None] => {
                lost.push(SlotDamage { offset: 0, name: None, what: "its heads are not what was written" });
                (u32::try_from(file.length()?.saturating_sub(CELLS_AT) / CELL_BYTES as u64).unwrap_or(u32::MAX), false)
            }
        };
        let mut opened = Self { disk: Arc::clone(disk), path, file, used: Vec::new(), cells, next: 0, stamp: 0 };
        let mut found = opened.scan()?;
        found.damage.extend(lost);
        opened.stamp = found.stamp;
        opened.reserve();
        found.slots.values().for_each(|run| opened.mark(*run, true));
        if found.damage.is_empty() {
            // A killed process may have left what is in no medium yet: nothing is told of it, or erased beside it, before it is.
            opened.sync()?;
            if mends_heads {
                opened.write_heads()?;
            }
            let leftover: Vec<_> = found.leftover.iter().map(|cell| Run { cell: *cell, count: 1 }).collect();
            opened.erase(&leftover)?;
        }
        Ok((opened, found))
    }

    pub(super) fn bytes(&self) -> u64 {
        CELLS_AT + u64::from(self.cells) * CELL_BYTES as u64
    }

    /// Takes room for a value; the file grows when there is none. What is taken counts as used until it is erased.
    pub(super) fn take(&mut self, length: usize) -> io::Result<Run> {
        let count = u8::try_from(cells_of(length)).map_err(io::Error::other)?;
        loop {
            if let Some(cell) = self.room(u32::from(count)) {
                let run = Run { cell, count };
                self.mark(run, true);
                self.next = cell.saturating_add(u32::from(count));
                return Ok(run);
            }
            self.grow()?;
        }
    }

    /// Gives back room in which nothing was written.
    pub(super) fn give_back(&mut self, run: Run) {
        self.mark(run, false);
        self.next = self.next.min(run.cell);
    }

    /// Writes a value; it is durable after `sync`.
    pub(super) fn write(&mut self, run: Run, name: &Digest, value: &[u8]) -> io::Result<()> {
        self.stamp = self.stamp.saturating_add(1);
        let bytes = encode(run.cell, name, self.stamp, value).ok_or(io::ErrorKind::InvalidInput)?;
        self.file.write_at(&bytes, offset(run.cell))
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    /// Overwrites runs with zeros, durably; only then their room is used again.
    pub(super) fn erase(&mut self, runs: &[Run]) -> io::Result<()> {
        if runs.is_empty() {
            return Ok(());
        }
        for run in runs {
            self.file.write_at(&free(usize::from(run.count)), offset(run.cell))?;
        }
        self.file.sync()?;
        runs.iter().for_each(|run| self.give_back(*run));
        Ok(())
    }

    /// A descriptor that once failed to sync is not asked again.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        self.file = self.disk.open(&self.path)?;
        Ok(())
    }

    fn grow(&mut self) -> io::Result<()> {
        let more = (self.cells / 16).clamp(GROW_CELLS_MIN, GROW_CELLS_MAX);
        let cells = self.cells.checked_add(more).ok_or(io::ErrorKind::StorageFull)?;
        self.file.write_at(&free(more as usize), offset(self.cells))?;
        self.file.sync()?;
        let before = std::mem::replace(&mut self.cells, cells);
        if let Err(error) = self.write_heads() {
            self.cells = before;
            return Err(error);
        }
        self.reserve();
        Ok(())
    }

    fn write_heads(&self) -> io::Result<()> {
        HEAD_AT.into_iter().try_for_each(|at| {
            self.file.write_at(&head(at, self.cells), at)?;
            self.file.sync()
        })
    }

    fn reserve(&mut self) {
        self.used.resize((self.cells as usize).div_ceil(64), 0);
    }

    fn mark(&mut self, run: Run, is_used: bool) {
        for cell in run.cells() {
            if let Some(word) = self.used.get_mut(cell as usize / 64) {
                let bit = 1 << (cell % 64);
                *word = if is_used { *word | bit } else { *word & !bit };
            }
        }
    }

    /// The first free run of `count` cells behind `next`, or from the start on.
    fn room(&self, count: u32) -> Option<u32> {
        let from = self.next.min(self.cells);
        self.room_within(from, self.cells, count).or_else(|| {
            let end = from.saturating_add(count).min(self.cells);
            self.room_within(0, end, count)
        })
    }

    fn room_within(&self, from: u32, end: u32, count: u32) -> Option<u32> {
        let (mut start, mut at) = (from, from);
        while at < end {
            let word = self.used.get(at as usize / 64).copied().unwrap_or(u64::MAX);
            if word == u64::MAX {
                at = (at / 64 + 1) * 64;
                start = at;
                continue;
            }
            if word & (1 << (at % 64)) != 0 {
                start = at + 1;
            }
            at += 1;
            if at - start.min(at) >= count {
                return Some(start);
            }
        }
        None
    }

    fn scan(&self) -> io::Result<Found> {
        let mut found = Found::default();
        let mut from = 0;
        while from < self.cells {
            let count = PIECE_CELLS.min(self.cells - from);
            let mut bytes = vec![0; count as usize * CELL_BYTES];
            let read = self.file.read_at(&mut bytes, offset(from))?;
            bytes.truncate(read - read % CELL_BYTES);
            for (number, cell) in (from..).zip(bytes.chunks(CELL_BYTES)) {
                found.cell(number, parse(number, cell));
            }
            from += u32::try_from(bytes.len() / CELL_BYTES).unwrap_or(count);
            if bytes.len() < count as usize * CELL_BYTES {
                found.end(from);
                found.bad(from, None, "the file is shorter than it was made");
                return self.settle(found);
            }
        }
        found.end(self.cells);
        self.settle(found)
    }

    /// Of two values with one name the newer stays.
    fn settle(&self, mut found: Found) -> io::Result<Found> {
        for (name, older) in std::mem::take(&mut found.doubles) {
            let stamp_of = |run: Run| Ok::<_, io::Error>(read_run(&*self.file, run)?.map_or(0, |(head, _)| head.stamp));
            let mut runs = vec![older];
            runs.extend(found.slots.get(&name));
            let mut newest = older;
            for run in &runs {
                if stamp_of(*run)? > stamp_of(newest)? {
                    newest = *run;
                }
            }
            runs.iter().filter(|run| **run != newest).for_each(|run| found.leftover.extend(run.cells()));
            found.slots.insert(name, newest);
        }
        Ok(found)
    }
}

/// Reads the value that lies there. None: there is none that is whole.
pub(super) fn read_run(file: &dyn File, run: Run) -> io::Result<Option<(Head, Bytes)>> {
    let mut bytes = vec![0; usize::from(run.count) * CELL_BYTES];
    let count = file.read_at(&mut bytes, offset(run.cell))?;
    bytes.truncate(count);
    Ok(decode(run.cell, &Bytes::from(bytes)))
}

fn create(disk: &Arc<dyn Disk>, path: &std::path::Path, is_meant: bool) -> io::Result<Arc<dyn File>> {
    let unfinished = path.with_extension("unfinished");
    let made = (|| {
        let file = disk.create(&unfinished)?;
        let mut bytes = vec![0; usize::try_from(CELLS_AT).unwrap_or_default()];
        for (at, part) in HEAD_AT.into_iter().zip(bytes.chunks_mut(4096)) {
            part.iter_mut().zip(head(at, GROW_CELLS_MIN)).for_each(|(byte, own)| *byte = own);
        }
        bytes.extend(free(GROW_CELLS_MIN as usize));
        file.write_at(&bytes, 0)?;
        file.sync()?;
        Ok(file)
    })();
    match made {
        Ok(file) if !is_meant => disk.remove(&unfinished).map(|()| file),
        Ok(_) => disk.rename(&unfinished, path).and_then(|()| disk.open(path)),
        Err(error) => {
            let _ = disk.remove(&unfinished);
            Err(error)
        }
    }
}

fn heads(file: &dyn File) -> io::Result<[Option<u32>; 2]> {
    let mut found = [None; 2];
    for (at, found) in HEAD_AT.into_iter().zip(&mut found) {
        let mut bytes = [0; HEAD_BYTES];
        file.read_at(&mut bytes, at)?;
        let [.., a, b, c, d] = bytes;
        let cells = u32::from_le_bytes([a, b, c, d]);
        *found = (bytes == head(at, cells)).then_some(cells);
    }
    Ok(found)
}

fn head(at: u64, cells: u32) -> [u8; HEAD_BYTES] {
    let mut head = [0; HEAD_BYTES];
    let sum = crc32c::crc32c_append(crc32c::crc32c(&at.to_le_bytes()), &cells.to_le_bytes());
    let parts = MAGIC.into_iter().chain(sum.to_le_bytes()).chain(cells.to_le_bytes());
    head.iter_mut().zip(parts).for_each(|(byte, part)| *byte = part);
    head
}

pub(super) fn offset(cell: u32) -> u64 {
    CELLS_AT + u64::from(cell) * CELL_BYTES as u64
}

// === impl Run ===

impl Run {
    fn cells(self) -> std::ops::Range<u32> {
        self.cell..self.cell.saturating_add(u32::from(self.count))
    }
}

// === impl Found ===

impl Found {
    fn cell(&mut self, number: u32, cell: Cell) {
        if let Some(open) = self.open.take() {
            match cell {
                Cell::Rest { stamp, index } if stamp == open.head.stamp && index == open.seen => {
                    return self.value(Open { seen: open.seen.saturating_add(1), ..open });
                }
                Cell::Bad => return self.bad(number, Some(open.head.name), "a cell is not what was written"),
                // It was never finished, or is half erased.
                Cell::Free | Cell::Unfinished | Cell::First(_) | Cell::Rest { .. } => self.leftover.extend(open.cell..number),
            }
        }
        match cell {
            Cell::Free => {}
            Cell::Unfinished | Cell::Rest { .. } => drop(self.leftover.insert(number)),
            Cell::Bad => self.bad(number, None, "a cell is not what was written"),
            Cell::First(head) => {
                self.stamp = self.stamp.max(head.stamp);
                self.value(Open { head, cell: number, seen: 1 });
            }
        }
    }

    fn value(&mut self, open: Open) {
        let run = Run { cell: open.cell, count: open.head.count };
        if open.seen < run.count {
            self.open = Some(open);
        } else if let Some(other) = self.slots.insert(open.head.name, run) {
            self.doubles.push((open.head.name, other));
        }
    }

    fn end(&mut self, number: u32) {
        if let Some(open) = self.open.take() {
            self.leftover.extend(open.cell..number);
        }
    }

    fn bad(&mut self, cell: u32, name: Option<Digest>, what: &'static str) {
        self.damage.push(SlotDamage { offset: offset(cell), name, what });
    }
}
