//! How slots lie in their file, byte by byte: an array of cells, a value in as many side by side as it needs. It refuses every
//! cell that is not whole and in its own place, and tells what was never finished from what is damaged.
//!
//! A cell is `kind | index | count | 0 | checksum u32 | stamp u64 | … | trailer`, little endian; the first of a value goes on
//! with `length u32 | name 32`. A free cell is its kind and zeros, so that a page of zeros is no free space. A value is written
//! to free cells alone and freed where it stands: whatever was begun and not finished shows, and may be freed.

use agentgate_core::digest::Digest;
use bytes::Bytes;

/// A wrapped key with its name fits into one.
pub(super) const CELL_BYTES: usize = 256;

const FIRST: u8 = 0xA5;
const REST: u8 = 0x3C;
const FREE: u8 = 0x5A;

/// No flipped bit makes a zero of any of its bytes.
const TRAILER: [u8; 4] = *b"\xA5end";
const CELL_HEAD_BYTES: usize = 16;
const FIRST_HEAD_BYTES: usize = CELL_HEAD_BYTES + 4 + 32;
const PAYLOAD_END: usize = CELL_BYTES - TRAILER.len();
const FIRST_PAYLOAD_BYTES: usize = PAYLOAD_END - FIRST_HEAD_BYTES;
const REST_PAYLOAD_BYTES: usize = PAYLOAD_END - CELL_HEAD_BYTES;

/// What the first cell of a value says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub name: Digest,
    /// Of two values with one name the one with the higher stamp is the newer.
    pub stamp: u64,
    pub count: u8,
    length: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    Free,
    /// A write or an erasure that was begun here.
    Unfinished,
    First(Head),
    Rest {
        stamp: u64,
        index: u8,
    },
    Bad,
}

/// How many cells a value takes.
pub(super) const fn cells_of(length: usize) -> usize {
    1 + length.saturating_sub(FIRST_PAYLOAD_BYTES).div_ceil(REST_PAYLOAD_BYTES)
}

/// The cells of a value, to be written from cell `number` on. None: it is too long for any.
pub(super) fn encode(number: u32, name: &Digest, stamp: u64, value: &[u8]) -> Option<Vec<u8>> {
    let count = u8::try_from(cells_of(value.len())).ok()?;
    let mut bytes = Vec::with_capacity(usize::from(count) * CELL_BYTES);
    let (first, rest) = value.split_at(value.len().min(FIRST_PAYLOAD_BYTES));
    let length = u32::try_from(value.len()).ok()?.to_le_bytes();
    let first: [&[u8]; 3] = [&length, name.as_bytes(), first];
    encode_cell(&mut bytes, number, [FIRST, 0, count, 0], stamp, &first);
    for (index, part) in (1..count).zip(rest.chunks(REST_PAYLOAD_BYTES)) {
        encode_cell(&mut bytes, number.checked_add(u32::from(index))?, [REST, index, count, 0], stamp, &[part]);
    }
    Some(bytes)
}

fn encode_cell(bytes: &mut Vec<u8>, number: u32, kind: [u8; 4], stamp: u64, parts: &[&[u8]]) {
    let mut summed = Vec::with_capacity(CELL_BYTES);
    summed.extend_from_slice(&stamp.to_le_bytes());
    parts.iter().for_each(|part| summed.extend_from_slice(part));
    summed.resize(PAYLOAD_END - 8, 0);
    summed.extend_from_slice(&TRAILER);
    bytes.extend_from_slice(&kind);
    bytes.extend_from_slice(&checksum(number, &kind, &summed).to_le_bytes());
    bytes.extend_from_slice(&summed);
}

/// Cells that hold nothing.
pub(super) fn free(count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count * CELL_BYTES];
    bytes.iter_mut().step_by(CELL_BYTES).for_each(|kind| *kind = FREE);
    bytes
}

/// What stands in cell `number`.
pub(super) fn parse(number: u32, bytes: &[u8]) -> Cell {
    let (Some((&kind, rest)), Some(tail)) = (bytes.split_first(), bytes.get(PAYLOAD_END..CELL_BYTES)) else { return Cell::Bad };
    if kind == FREE {
        // A torn erasure leaves the end of what stood here, or a part of its trailer.
        let is_tail_ours = tail.iter().zip(TRAILER).all(|(byte, own)| *byte == 0 || *byte == own);
        return match rest.iter().all(|byte| *byte == 0) {
            true => Cell::Free,
            false if is_tail_ours => Cell::Unfinished,
            false => Cell::Bad,
        };
    }
    if kind != FIRST && kind != REST {
        return Cell::Bad;
    }
    match parse_whole(number, bytes) {
        Some(cell) => cell,
        // It was written over zeros, and its end never came.
        None if tail.last() == Some(&0) && is_begun(tail) => Cell::Unfinished,
        None => Cell::Bad,
    }
}

/// Whether it is the trailer's beginning, and zeros from there on.
fn is_begun(tail: &[u8]) -> bool {
    let same = tail.iter().zip(TRAILER).take_while(|(byte, own)| **byte == *own).count();
    tail.iter().skip(same).all(|byte| *byte == 0)
}

fn parse_whole(number: u32, bytes: &[u8]) -> Option<Cell> {
    let head: [u8; 4] = bytes.get(..4)?.try_into().ok()?;
    let found = u32::from_le_bytes(bytes.get(4..8)?.try_into().ok()?);
    let summed = bytes.get(8..CELL_BYTES)?;
    if checksum(number, &head, summed) != found || !summed.ends_with(&TRAILER) {
        return None;
    }
    let [kind, index, count, _] = head;
    let stamp = u64::from_le_bytes(summed.get(..8)?.try_into().ok()?);
    if kind == REST {
        return Some(Cell::Rest { stamp, index });
    }
    let length = u32::from_le_bytes(summed.get(8..12)?.try_into().ok()?);
    let name = Digest::try_from(summed.get(12..44)?).ok()?;
    (cells_of(length as usize) == usize::from(count)).then_some(Cell::First(Head { name, stamp, count, length }))
}

/// The value whose cells these are, when all of them are there.
pub(super) fn decode(number: u32, bytes: &Bytes) -> Option<(Head, Bytes)> {
    let Cell::First(head) = parse(number, bytes.get(..CELL_BYTES)?) else { return None };
    if bytes.len() != usize::from(head.count) * CELL_BYTES {
        return None;
    }
    let mut value = Vec::with_capacity(head.length as usize);
    let first = bytes.get(FIRST_HEAD_BYTES..PAYLOAD_END)?;
    value.extend_from_slice(first.get(..first.len().min(head.length as usize))?);
    for (index, cell) in (1..head.count).zip(bytes.get(CELL_BYTES..)?.chunks(CELL_BYTES)) {
        let expected = Cell::Rest { stamp: head.stamp, index };
        if parse(number.checked_add(u32::from(index))?, cell) != expected {
            return None;
        }
        let part = cell.get(CELL_HEAD_BYTES..PAYLOAD_END)?;
        value.extend_from_slice(part.get(..part.len().min(head.length as usize - value.len()))?);
    }
    Some((head, Bytes::from(value)))
}

/// It covers the place as well: a cell that lies elsewhere is no cell.
fn checksum(number: u32, kind: &[u8; 4], summed: &[u8]) -> u32 {
    let place = crc32c::crc32c_append(crc32c::crc32c(&number.to_le_bytes()), kind);
    crc32c::crc32c_append(place, summed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::SLOT_BYTES_MAX;
    use crate::journal::contract::id;

    #[test]
    fn a_value_of_any_length_is_read_as_it_was_written() {
        for length in [0, 1, 199, 200, 201, 435, 436, 437, 8191, SLOT_BYTES_MAX] {
            let value: Vec<u8> = (0..=u8::MAX).cycle().take(length).collect();
            let bytes = Bytes::from(encode(7, &id("a"), 3, &value).unwrap());
            assert_eq!(bytes.len(), cells_of(length) * CELL_BYTES);
            let (head, read) = decode(7, &bytes).unwrap();
            assert_eq!((head.name, head.stamp, read.as_ref()), (id("a"), 3, value.as_slice()), "{length}");
            assert_eq!(decode(8, &bytes), None, "in another place");
        }
    }

    #[test]
    fn every_flipped_bit_of_a_value_is_damage() {
        let bytes = encode(7, &id("a"), 3, &[9; 300]).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let cells: Vec<_> = bytes.chunks(CELL_BYTES).zip(7..).map(|(cell, number)| parse(number, cell)).collect();
            assert_eq!(cells.iter().filter(|cell| **cell == Cell::Bad).count(), 1, "bit {bit}: {cells:?}");
        }
        assert_eq!(parse(7, &[0; CELL_BYTES]), Cell::Bad, "zeros are no free cell");
    }

    #[test]
    fn what_was_torn_is_unfinished_and_never_damage() {
        let (whole, freed) = (encode(7, &id("a"), 3, &[9; 200]).unwrap(), free(1));
        for torn in 1..CELL_BYTES {
            let written = [&whole[..torn], &freed[torn..]].concat();
            assert_eq!(parse(7, &written), Cell::Unfinished, "written up to {torn}");
            let erased = [&freed[..torn], &whole[torn..]].concat();
            assert_eq!(parse(7, &erased), Cell::Unfinished, "erased up to {torn}");
        }
        assert_eq!(parse(7, &freed), Cell::Free);
    }
}
