//! Entries and bundles of them.

use super::forest::entry;
use agentgate_core::digest::Digest;
use agentgate_core::id::{Asker, CallId, Epoch};
use agentgate_core::transparency::bundle::{Bundle, BundleError, encode};
use agentgate_core::transparency::leaf::{Entry, EntryError, Kind, Source, record_digest};

fn call() -> CallId {
    CallId { asker: Asker::try_from("spiffe://a/filter").unwrap(), epoch: Epoch([9; 16]), counter: 0x0102_0304_0506_0708 }
}

#[test]
fn an_entry_is_written_as_it_was_agreed() {
    let id = call().digest();
    let entry = Entry::of(Kind::Outcome, 0x1112_1314_1516_1718, Some(&id), b"stored");
    let wanted = [
        &[1, 2][..],
        &[0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18],
        &id.as_bytes()[..20],
        &[1, 2, 3, 4, 5, 6, 7, 8],
        Digest::of("agentgate/record/1", b"stored").as_bytes(),
    ]
    .concat();
    assert_eq!((entry.encode().as_slice(), wanted.len()), (wanted.as_slice(), 70));
    assert_eq!((entry.counter, entry.index()), (call().counter, 0x1112_1314_1516_1717));
    assert_eq!((entry.covers(b"stored"), entry.covers(b"stores")), (true, false));
    let of_no_call = Entry::of(Kind::Mode, 1, None, b"");
    assert_eq!(of_no_call.encode()[10..38], [0; 28]);
    assert_eq!((of_no_call.source, of_no_call.index(), of_no_call.record), (Source::NONE, 0, record_digest(b"")));
}

/// An entry with one byte set, and what is said of it.
fn check(at: usize, byte: u8, wanted: Result<(), EntryError>) {
    let mut bytes = entry(1).encode();
    bytes[at] = byte;
    assert_eq!(Entry::decode(&bytes).map(|read| assert_eq!(read.encode(), bytes)), wanted, "{at} {byte}");
}

#[test]
fn what_is_no_entry_is_refused_by_name() {
    for (form, wanted) in [(0, Err(EntryError::Form(0))), (1, Ok(())), (2, Err(EntryError::Form(2)))] {
        check(0, form, wanted);
    }
    for kind in 0..=255 {
        check(1, kind, if (1..=9).contains(&kind) { Ok(()) } else { Err(EntryError::Kind(kind)) });
    }
    for (sequence, wanted) in [(0, Err(EntryError::Sequence(0))), (1, Ok(()))] {
        check(9, sequence, wanted);
    }
    check(2, 0x7f, Ok(()));
    check(2, 0x80, Err(EntryError::Sequence((1 << 63) + 1)));
    let of_no_call = Entry { source: Source::NONE, ..entry(3) };
    assert_eq!(Entry::decode(&of_no_call.encode()), Err(EntryError::Counter(3)));
    let bytes = [entry(1).encode().as_slice(), &[0]].concat();
    for length in 0..=bytes.len() {
        let read = Entry::decode(&bytes[..length]);
        assert_eq!(read, if length == 70 { Ok(entry(1)) } else { Err(EntryError::Length(length)) });
    }
}

#[test]
fn every_bit_of_an_entry_counts() {
    let (bytes, hash) = (entry(5).encode(), entry(5).leaf_hash());
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes;
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(Entry::decode(&flipped).map_or(true, |read| read.leaf_hash() != hash), "{bit}");
    }
}

#[test]
fn a_bundle_holds_its_entries_and_nothing_else() {
    let entries: Vec<_> = (257..=300).map(entry).collect();
    let bytes = encode(&entries);
    let bundle = Bundle::at(1, 300).unwrap();
    let path = || "tile/entries/001.p/44".to_owned();
    assert_eq!((bundle.path(), bundle.decode(&bytes)), (path(), Ok(entries.clone())));
    assert_eq!(bytes[..4], [0, 70, 1, 1]);

    for cut in 1..bytes.len() {
        let read = bundle.decode(&bytes[..cut]);
        let wanted = match cut % 72 {
            0 => BundleError::Count { path: path(), found: cut / 72, wanted: 44 },
            _ => BundleError::Short { path: path(), at: cut / 72 },
        };
        assert_eq!(read, Err(wanted), "{cut}");
    }
    let longer = [bytes.clone(), encode([&entry(301)])].concat();
    assert_eq!(bundle.decode(&longer), Err(BundleError::Count { path: path(), found: 45, wanted: 44 }));
    let mut swapped = entries.clone();
    swapped.swap(0, 1);
    assert_eq!(bundle.decode(&encode(&swapped)), Err(BundleError::Sequence { path: path(), at: 0, sequence: 258 }));
    let elsewhere = Bundle::at(0, 44).unwrap().decode(&bytes);
    let first = "tile/entries/000.p/44".to_owned();
    assert_eq!(elsewhere, Err(BundleError::Sequence { path: first, at: 0, sequence: 257 }));
    let mut strange = bytes;
    strange[3] = 10;
    let wanted = BundleError::Entry { path: path(), at: 0, source: EntryError::Kind(10) };
    // The kind is the entry's second byte, behind two of its length.
    assert_eq!(bundle.decode(&strange), Err(wanted));
}
