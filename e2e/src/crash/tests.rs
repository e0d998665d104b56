//! The checker finds what it is there to find: journals are laid out here byte by byte, and spoiled in one place each.

use super::Checked;
use super::calls;
use super::ledger::{Ledger, Told, What};
use agentgate_core::digest::Digest;
use agentgate_proto::v1::{self, Verdict};
use hmac::{Hmac, Mac};
use prost::Message as _;
use sha2::Sha256;
use std::fs;
use std::path::Path;

const SEGMENT_BYTES: usize = 8 << 10;

/// One group of each series, for each allowed call one.
#[derive(Clone)]
struct Files {
    records: Vec<u8>,
    bodies: Vec<u8>,
    /// Where each group begins, in records and in bodies.
    starts: Vec<(usize, usize)>,
}

fn id(number: u64) -> Digest {
    Digest::of("test/id", &number.to_be_bytes())
}

fn mark(number: u64) -> String {
    format!("agent-{number}")
}

/// A salt and the body of an allowed call, and its record.
fn call(number: u64) -> (Vec<u8>, Vec<u8>) {
    let ask = v1::Ask { body: calls::body(0, &mark(number)).into(), ..v1::Ask::default() };
    let plaintext = v1::DecisionBody { ask: Some(ask), ..v1::DecisionBody::default() }.encode_to_vec();
    let salt = [7; 32];
    let commitment = <Hmac<Sha256> as Mac>::new_from_slice(&salt).unwrap().chain_update(&plaintext).finalize();
    let stored = [salt.as_slice(), &plaintext].concat();
    let address = Digest::of("agentgate/body/1", &stored).as_bytes().to_vec().into();
    let mut record = v1::DecisionRecord {
        call_id: id(number).as_bytes().to_vec().into(),
        body: Some(v1::BodyRef { address, commitment: commitment.into_bytes().to_vec().into(), ..v1::BodyRef::default() }),
        ..v1::DecisionRecord::default()
    };
    record.set_verdict(Verdict::Allow);
    (v1::Record { at_us: number, what: Some(v1::record::What::Decision(record)) }.encode_to_vec(), stored)
}

fn entry(fields: &[&[u8]], bytes: &[u8]) -> Vec<u8> {
    let covered = [&fields.concat(), bytes].concat();
    let length = u32::try_from(bytes.len()).unwrap().to_le_bytes();
    let checksum = crc32c::crc32c(&[length.as_slice(), &covered].concat()).to_le_bytes();
    [length.as_slice(), &checksum, &covered].concat()
}

/// A group of one entry, and the checksum of its head.
fn group(magic: &[u8], number: u64, offset: usize, mut entries: Vec<u8>, previous: u32, bodies: Option<u32>) -> (Vec<u8>, u32) {
    entries.resize(entries.len().next_multiple_of(8), 0);
    let mut summed = crc32c::crc32c(&entries).to_le_bytes().to_vec();
    summed.extend([number, number].map(u64::to_le_bytes).concat());
    let (offset, length) = (u32::try_from(offset).unwrap(), u32::try_from(entries.len()).unwrap());
    let flags = u32::from(bodies.is_some());
    let rest = [1, offset, 1, length, previous, bodies.unwrap_or_default(), flags, u32::try_from(SEGMENT_BYTES).unwrap()];
    summed.extend(rest.map(u32::to_le_bytes).concat());
    let checksum = crc32c::crc32c(&summed);
    ([magic, &checksum.to_le_bytes(), &summed, &entries, b"\xA5AGend\r\n"].concat(), checksum)
}

// === impl Files ===

impl Files {
    fn of(calls: u64) -> Self {
        let mut files = Self { records: Vec::new(), bodies: Vec::new(), starts: Vec::new() };
        let (mut previous, mut previous_bodies) = (0, 0);
        for number in 1..=calls {
            files.starts.push((files.records.len(), files.bodies.len()));
            let (record, stored) = call(number);
            let address = Digest::of("agentgate/body/1", &stored);
            let bodies = entry(&[address.as_bytes()], &stored);
            let (bodies, head) = group(b"AGbody\x01\n", number, files.bodies.len(), bodies, previous_bodies, None);
            previous_bodies = head;
            let (place, stream) = ([number, number].map(u64::to_le_bytes).concat(), Digest::of("test/stream", b""));
            let records = entry(&[&place, stream.as_bytes(), id(number).as_bytes()], &record);
            let (records, head) = group(b"AGrecd\x01\n", number, files.records.len(), records, previous, Some(head));
            previous = head;
            files.records.extend(records);
            files.bodies.extend(bodies);
        }
        files.records.resize(SEGMENT_BYTES, 0);
        files.bodies.resize(SEGMENT_BYTES, 0);
        files
    }

    fn check(&self, ledger: Ledger) -> Checked {
        let journal = tempfile::tempdir().unwrap();
        for (name, bytes) in [("records", &self.records), ("bodies", &self.bodies)] {
            fs::create_dir(journal.path().join(name)).unwrap();
            fs::write(journal.path().join(format!("{name}/{name}-00000001")), bytes).unwrap();
        }
        Checked::of(Path::new(journal.path()), ledger).unwrap()
    }
}

/// One caller who was told of the calls, one after the other, each by its id and by its result.
fn told(calls: u64) -> Ledger {
    let mut ledger = Ledger::of(1);
    for number in 1..=calls {
        let verdict = What::Verdict { id: id(number), verdict: Verdict::Allow, sequence: Some(number) };
        let asked_after = ledger.told[0].len();
        ledger.told[0].push(Told { what: verdict, asked_after });
        ledger.told[0].push(Told { what: What::Result { mark: mark(number) }, asked_after });
        ledger.executed.push(mark(number));
    }
    ledger
}

fn faults(files: &Files, ledger: Ledger) -> String {
    files.check(ledger).faults.join("\n")
}

#[test]
fn a_sound_journal_has_no_fault() {
    let checked = Files::of(4).check(told(4));
    assert_eq!(checked.faults, Vec::<String>::new());
    assert_eq!((checked.records, checked.verdicts, checked.results, checked.executed, checked.torn), (4, 4, 4, 4, 0));
}

#[test]
fn every_flipped_bit_of_the_files_is_a_fault() {
    let files = Files::of(2);
    let ends = [&files.records, &files.bodies].map(|bytes| bytes.iter().rposition(|byte| *byte != 0).unwrap());
    for byte in 0..=ends[0] {
        let mut spoiled = files.clone();
        spoiled.records[byte] ^= 1 << (byte % 8);
        assert_ne!(faults(&spoiled, told(2)), "", "records, byte {byte}");
    }
    for byte in 0..=ends[1] {
        let mut spoiled = files.clone();
        spoiled.bodies[byte] ^= 1 << (byte % 8);
        assert_ne!(faults(&spoiled, told(2)), "", "bodies, byte {byte}");
    }
}

#[test]
fn a_last_write_that_was_cut_off_is_a_fault_only_if_somebody_was_told_of_it() {
    let files = Files::of(3);
    let (records, bodies) = files.starts[2];
    let cuts: [fn(&mut Files, usize, usize); 3] = [
        |files, records, _| files.records[records + 200..].fill(0),
        |files, records, _| files.records[records..].fill(0),
        |files, _, bodies| files.bodies[bodies..].fill(0),
    ];
    for cut in cuts {
        let mut files = files.clone();
        cut(&mut files, records, bodies);
        assert_eq!(faults(&files, told(2)), "");
        assert!(faults(&files, told(3)).contains("is lost"));
    }
}

#[test]
fn what_was_told_and_is_otherwise_on_record_is_a_fault() {
    let verdict = |id, verdict, sequence| Told { what: What::Verdict { id, verdict, sequence }, asked_after: 0 };
    let wrong: [(&str, Told); 4] = [
        ("is lost", verdict(id(9), Verdict::Allow, None)),
        ("told was Deny", verdict(id(1), Verdict::Deny, None)),
        ("told was Some(2)", verdict(id(1), Verdict::Allow, Some(2))),
        ("the outcome of call", Told { what: What::Outcome { id: id(1) }, asked_after: 0 }),
    ];
    for (wanted, told_wrong) in wrong {
        let mut ledger = told(2);
        ledger.told[0].push(told_wrong);
        assert!(faults(&Files::of(2), ledger).contains(wanted), "{wanted}");
    }
}

#[test]
fn a_later_call_that_stands_before_an_earlier_one_is_a_fault() {
    let mut ledger = told(0);
    for number in [2, 1] {
        let asked_after = ledger.told[0].len();
        ledger.told[0].push(Told { what: What::Result { mark: mark(number) }, asked_after });
    }
    assert!(faults(&Files::of(2), ledger).contains("is not behind 2"));
}

#[test]
fn an_execution_without_an_allow_and_a_second_one_are_faults() {
    let mut ledger = told(1);
    ledger.executed.extend([mark(1), mark(2)]);
    let faults = faults(&Files::of(1), ledger);
    assert!(faults.contains("was executed twice") && faults.contains("no allow of it is on record"), "{faults}");
}
