//! The journal's slots, read by code of its own from what docs/journal.md says. It refuses to guess: what a kill cannot have left
//! behind is a fault.

use crate::Broken;
use agentgate_core::digest::Digest;
use std::collections::HashMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

const MAGIC: &[u8] = b"AGslot\x01\n";
const HEADS_AT: [usize; 2] = [0, 4096];
const CELLS_AT: usize = 8192;
const CELL_BYTES: usize = 256;
const TRAILER: [u8; 4] = *b"\xA5end";
const PAYLOAD_END: usize = CELL_BYTES - TRAILER.len();

/// All slots that hold something.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    values: HashMap<Digest, Value>,
    pub(crate) faults: Vec<String>,
}

#[derive(Debug)]
struct Value {
    stamp: u64,
    bytes: Vec<u8>,
}

#[derive(Debug)]
enum Cell<'a> {
    Free,
    /// The kill cut off what was written here, or erased.
    Unfinished,
    First {
        stamp: u64,
        count: u8,
        length: usize,
        name: Digest,
        payload: &'a [u8],
    },
    Rest {
        stamp: u64,
        index: u8,
        payload: &'a [u8],
    },
    Bad,
}

/// A value of which not every cell was read as yet.
struct Open {
    name: Digest,
    count: u8,
    seen: u8,
    length: usize,
    value: Value,
}

// === impl Slots ===

impl Slots {
    /// # Errors
    /// The file cannot be read at all.
    pub(crate) fn of(journal: &Path) -> Result<Self, Broken> {
        let mut slots = Self::default();
        match fs::read(journal.join("slots")) {
            Ok(bytes) => slots.read(&bytes),
            // Killed before there were any; whose records need one will not find it.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(Broken(format!("slots: {error}"))),
        }
        Ok(slots)
    }

    pub(crate) fn value(&self, name: &Digest) -> Option<&[u8]> {
        self.values.get(name).map(|value| value.bytes.as_slice())
    }

    fn read(&mut self, bytes: &[u8]) {
        // It grows first, and then both heads say so, one after the other.
        let Some(count) = HEADS_AT.iter().filter_map(|at| head(bytes, *at)).max() else {
            return self.fault(0, "no head is one");
        };
        let cells = bytes.get(CELLS_AT..CELLS_AT + count as usize * CELL_BYTES);
        let Some(cells) = cells else { return self.fault(bytes.len(), "the file is shorter than its heads say") };
        let mut open = None;
        for (number, cell) in (0_u32..).zip(cells.chunks(CELL_BYTES)) {
            open = self.cell(number, parse(number, cell), open);
        }
    }

    /// What is begun and not whole behind this cell.
    fn cell(&mut self, number: u32, cell: Cell<'_>, open: Option<Open>) -> Option<Open> {
        match (cell, open) {
            (Cell::Bad, _) => self.fault(CELLS_AT + number as usize * CELL_BYTES, "a cell is not what was written"),
            (Cell::Free | Cell::Unfinished, _) => {}
            (Cell::First { stamp, count, length, name, payload }, _) => {
                let value = Value { stamp, bytes: payload.to_vec() };
                return self.whole(Open { name, count, seen: 1, length, value });
            }
            (Cell::Rest { stamp, index, payload }, Some(mut open)) if stamp == open.value.stamp && index == open.seen => {
                open.value.bytes.extend_from_slice(payload);
                open.seen += 1;
                return self.whole(open);
            }
            // Its first cell was freed, or never came.
            (Cell::Rest { .. }, _) => {}
        }
        None
    }

    /// Takes the value when all its cells are there. Of two with one name the newer counts.
    fn whole(&mut self, mut open: Open) -> Option<Open> {
        if open.seen < open.count {
            return Some(open);
        }
        open.value.bytes.truncate(open.length);
        if self.values.get(&open.name).is_none_or(|other| other.stamp < open.value.stamp) {
            self.values.insert(open.name, open.value);
        }
        None
    }

    fn fault(&mut self, at: usize, what: &str) {
        self.faults.push(format!("slots at byte {at}: {what}"));
    }
}

/// How many cells there are.
fn head(bytes: &[u8], at: usize) -> Option<u32> {
    let rest = bytes.get(at..at + 16)?.strip_prefix(MAGIC)?;
    let (checksum, count) = rest.split_first_chunk::<4>()?;
    let place = (at as u64).to_le_bytes();
    let is_whole = crc32c::crc32c(&[place.as_slice(), count].concat()) == u32::from_le_bytes(*checksum);
    count.try_into().ok().filter(|_| is_whole).map(u32::from_le_bytes)
}

fn parse(number: u32, cell: &[u8]) -> Cell<'_> {
    let (Some(kind), Some(tail)) = (cell.first(), cell.get(PAYLOAD_END..)) else { return Cell::Bad };
    match kind {
        0x5A if cell.iter().skip(1).all(|byte| *byte == 0) => Cell::Free,
        0x5A if tail.iter().zip(TRAILER).all(|(byte, own)| *byte == 0 || *byte == own) => Cell::Unfinished,
        0xA5 | 0x3C => match whole(number, cell) {
            Some(cell) => cell,
            None if (0..TRAILER.len()).any(|there| is_cut(tail, there)) => Cell::Unfinished,
            None => Cell::Bad,
        },
        _ => Cell::Bad,
    }
}

/// Whether so much of the trailer is there, and zeros behind it.
fn is_cut(tail: &[u8], there: usize) -> bool {
    let (Some(begun), Some(missing)) = (tail.get(..there), tail.get(there..)) else { return false };
    TRAILER.starts_with(begun) && missing.iter().all(|byte| *byte == 0)
}

fn whole(number: u32, cell: &[u8]) -> Option<Cell<'_>> {
    let (head, rest) = cell.split_first_chunk::<4>()?;
    let (checksum, summed) = rest.split_first_chunk::<4>()?;
    let covered = [number.to_le_bytes().as_slice(), head, summed].concat();
    if crc32c::crc32c(&covered) != u32::from_le_bytes(*checksum) {
        return None;
    }
    let payload = summed.strip_suffix(&TRAILER)?;
    let (stamp, payload) = payload.split_first_chunk::<8>()?;
    let (stamp, [kind, index, count, _]) = (u64::from_le_bytes(*stamp), *head);
    if kind == 0x3C {
        return Some(Cell::Rest { stamp, index, payload });
    }
    let (length, payload) = payload.split_first_chunk::<4>()?;
    let (name, payload) = payload.split_first_chunk::<32>()?;
    let (length, name) = (u32::from_le_bytes(*length) as usize, Digest::from_bytes(*name));
    Some(Cell::First { stamp, count, length, name, payload })
}
