//! The checker finds what it is there to find: journals are laid out here byte by byte, and spoiled in one place each.

mod purges;
mod turns;

use super::Checked;
use super::calls;
use super::keys::Keys;
use super::ledger::{Ledger, Told, What};
use agentgate_core::digest::Digest;
use agentgate_core::transparency::checkpoint::Checkpoint;
use agentgate_core::transparency::key::{Algorithm, KeyName, SignerKey};
use agentgate_core::transparency::leaf::{Entry, Kind};
use agentgate_core::transparency::tree::Frontier;
use agentgate_core::transparency::trust::Trust;
use agentgate_proto::v1::slot_secret::What as Secret;
use agentgate_proto::v1::{self, Verdict};
use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, Nonce, UnboundKey};
use hmac::{Hmac, Mac};
use prost::Message as _;
use sha2::Sha256;
use std::fs;
use std::path::Path;

const SEGMENT_BYTES: usize = 8 << 10;
const CELLS_AT: usize = 8192;
const CELL_BYTES: usize = 256;

const DATA_KEY: [u8; 32] = [5; 32];
/// The session of all calls, by the handle that they carry.
const SESSION: [u8; 16] = [3; 16];
const HANDLE: &str = "gate-0";
const SESSION_KEY: [u8; 32] = [9; 32];

/// One group of each series, for each allowed call one.
#[derive(Clone)]
struct Files {
    records: Vec<u8>,
    bodies: Vec<u8>,
    slots: Vec<(Digest, Vec<u8>)>,
    /// Where each group begins, in records and in bodies.
    starts: Vec<(usize, usize)>,
}

fn id(number: u64) -> Digest {
    Digest::of("test/id", &number.to_be_bytes())
}

fn mark(number: u64) -> String {
    calls::marked(HANDLE, &format!("agent-{number}"))
}

/// Nonce and ciphertext.
fn sealed(key: &[u8], aad: &[u8], plain: &[u8]) -> Vec<u8> {
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM_SIV, key).unwrap());
    let mut bytes = plain.to_vec();
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key([4; 12]), Aad::from(aad), &mut bytes).unwrap();
    [[4; 12].as_slice(), &bytes].concat()
}

fn session_slot() -> Digest {
    Digest::of("agentgate/slot/session/1", &SESSION)
}

/// The secret as a slot keeps it.
fn wrapped(data_key: &[u8; 32], name: &Digest, secret: Secret) -> Vec<u8> {
    let secret = v1::SlotSecret { what: Some(secret) }.encode_to_vec();
    [[1].as_slice(), &Digest::of("agentgate/data-key/1", data_key).as_bytes()[..8], &sealed(data_key, name.as_bytes(), &secret)]
        .concat()
}

fn session_secret() -> Secret {
    Secret::Session(v1::SessionKey { key: SESSION_KEY.to_vec().into(), ..v1::SessionKey::default() })
}

/// The body of an allowed call as it is stored, and its record.
fn call(number: u64) -> (Vec<u8>, Vec<u8>) {
    call_in(&SESSION, number, &mark(number))
}

fn call_in(session: &[u8; 16], number: u64, mark: &str) -> (Vec<u8>, Vec<u8>) {
    let ask = v1::Ask { body: calls::body(0, mark).into(), ..v1::Ask::default() };
    let (stored, body) = body(session, &v1::DecisionBody { ask: Some(ask), ..v1::DecisionBody::default() }.encode_to_vec());
    decision(number, stored, body)
}

/// What a record says of it is kept so, under the session's key.
fn body(session: &[u8; 16], plaintext: &[u8]) -> (Vec<u8>, v1::BodyRef) {
    let salt = [7; 32];
    let commitment = <Hmac<Sha256> as Mac>::new_from_slice(&salt).unwrap().chain_update(plaintext).finalize();
    let stored = sealed(&SESSION_KEY, session, &[salt.as_slice(), plaintext].concat());
    let reference = reference(session, &stored, &commitment.into_bytes());
    (stored, reference)
}

fn reference(session: &[u8; 16], stored: &[u8], commitment: &[u8]) -> v1::BodyRef {
    let address = Digest::of("agentgate/body/1", stored).as_bytes().to_vec().into();
    v1::BodyRef { address, commitment: commitment.to_vec().into(), session: session.to_vec().into() }
}

fn recorded(number: u64, stored: Vec<u8>, commitment: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let body = reference(&SESSION, &stored, commitment);
    decision(number, stored, body)
}

fn decision(number: u64, stored: Vec<u8>, body: v1::BodyRef) -> (Vec<u8>, Vec<u8>) {
    let call_id = id(number).as_bytes().to_vec().into();
    let mut record = v1::DecisionRecord { call_id, body: Some(body), ..v1::DecisionRecord::default() };
    record.set_verdict(Verdict::Allow);
    (v1::Record { at_us: number, what: Some(v1::record::What::Decision(record)) }.encode_to_vec(), stored)
}

fn signer(seed: u8) -> SignerKey {
    SignerKey::from_seed(KeyName::try_from("log.example/test").unwrap(), Algorithm::Ed25519, &[seed; 32])
}

fn checkpoint_slot() -> Digest {
    Digest::of("agentgate/slot/checkpoint/1", b"")
}

/// What `signer` signs of these calls, as the slot keeps it.
fn checkpoint(numbers: impl Iterator<Item = u64>, signer: &SignerKey) -> Vec<u8> {
    let mut frontier = Frontier::default();
    for (number, sequence) in numbers.zip(1..) {
        let entry = Entry { counter: 0, ..Entry::of(Kind::Decision, sequence, Some(&id(number)), &call(number).0) };
        frontier.push(entry.leaf_hash()).unwrap();
    }
    let origin = signer.verifier().id().name.clone();
    let checkpoint = Checkpoint { origin, size: frontier.size(), root: frontier.root(), extensions: Vec::new() };
    let mut note = checkpoint.note().unwrap();
    note.sign(signer).unwrap();
    note.to_string().into_bytes()
}

/// The file of slots: two heads, and the values side by side, with as many free cells behind them.
fn slots(values: &[(Digest, Vec<u8>)]) -> Vec<u8> {
    let mut cells = Vec::new();
    for ((name, value), stamp) in values.iter().zip(1_u64..) {
        let first = [&u32::try_from(value.len()).unwrap().to_le_bytes(), name.as_bytes().as_slice(), value].concat();
        let parts: Vec<&[u8]> = first.chunks(CELL_BYTES - 20).collect();
        let count = u8::try_from(parts.len()).unwrap();
        for (part, index) in parts.into_iter().zip(0..) {
            let mut summed = [stamp.to_le_bytes().as_slice(), part].concat();
            summed.resize(CELL_BYTES - 12, 0);
            summed.extend(b"\xA5end");
            let head = [if index == 0 { 0xA5 } else { 0x3C }, index, count, 0];
            let number = u32::try_from(cells.len() / CELL_BYTES).unwrap().to_le_bytes();
            let checksum = crc32c::crc32c(&[number.as_slice(), &head, &summed].concat()).to_le_bytes();
            cells.extend([head.as_slice(), &checksum, &summed].concat());
        }
    }
    for _ in 0..cells.len() / CELL_BYTES {
        cells.push(0x5A);
        cells.resize(cells.len() + CELL_BYTES - 1, 0);
    }
    let count = u32::try_from(cells.len() / CELL_BYTES).unwrap().to_le_bytes();
    let mut bytes = vec![0; CELLS_AT];
    for at in [0, CELLS_AT / 2] {
        let checksum = crc32c::crc32c(&[(at as u64).to_le_bytes().as_slice(), &count].concat()).to_le_bytes();
        bytes[at..at + 16].copy_from_slice(&[b"AGslot\x01\n".as_slice(), &checksum, &count].concat());
    }
    [bytes, cells].concat()
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
        let mut files = Self::holding((1..=calls).map(call).collect());
        files.slots.push((checkpoint_slot(), checkpoint(1..=calls, &signer(1))));
        files
    }

    /// Calls by their records and stored bodies, and nothing signed.
    fn holding(calls: Vec<(Vec<u8>, Vec<u8>)>) -> Self {
        let slots = vec![(session_slot(), wrapped(&DATA_KEY, &session_slot(), session_secret()))];
        let mut files = Self { records: Vec::new(), bodies: Vec::new(), slots, starts: Vec::new() };
        let (mut previous, mut previous_bodies) = (0, 0);
        for ((record, stored), number) in calls.into_iter().zip(1..) {
            files.starts.push((files.records.len(), files.bodies.len()));
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
        self.check_with(&slots(&self.slots), ledger)
    }

    fn check_with(&self, slots: &[u8], ledger: Ledger) -> Checked {
        let journal = tempfile::tempdir().unwrap();
        for (name, bytes) in [("records", &self.records), ("bodies", &self.bodies)] {
            fs::create_dir(journal.path().join(name)).unwrap();
            fs::write(journal.path().join(format!("{name}/{name}-00000001")), bytes).unwrap();
        }
        fs::write(journal.path().join("slots"), slots).unwrap();
        let keys = Keys { data_key: DATA_KEY, trust: Trust::new(vec![signer(1).verifier().clone()]).unwrap() };
        Checked::of(Path::new(journal.path()), &keys, ledger).unwrap()
    }

    fn slot(&mut self, name: Digest) -> &mut Vec<u8> {
        &mut self.slots.iter_mut().find(|(held, _)| *held == name).unwrap().1
    }
}

fn verdict(id: Digest, verdict: Verdict, sequence: Option<u64>) -> What {
    What::Verdict { id, verdict, sequence, handle: HANDLE.into() }
}

/// One caller who was told of the calls, one after the other, each by its id and by its result.
fn told(calls: u64) -> Ledger {
    let mut ledger = Ledger::of(1);
    for number in 1..=calls {
        let verdict = verdict(id(number), Verdict::Allow, Some(number));
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
    assert_eq!((checked.bodies, checked.discarded, checked.signed), (4, 0, 4));
}

#[test]
fn every_flipped_bit_of_the_files_is_a_fault() {
    // Nothing is signed: what is signed finds all of it once more.
    let files = Files::holding(vec![call(1), call(2)]);
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
    let mut files = Files::of(3);
    *files.slot(checkpoint_slot()) = checkpoint(1..=2, &signer(1));
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
    let verdict = |id, told, sequence| Told { what: verdict(id, told, sequence), asked_after: 0 };
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

#[test]
fn a_body_that_cannot_be_opened_is_a_fault() {
    let naming = Secret::Naming(vec![1; 32].into());
    let short = Secret::Session(v1::SessionKey { key: vec![9; 31].into(), ..v1::SessionKey::default() });
    let other = Secret::Session(v1::SessionKey { key: vec![8; 32].into(), ..v1::SessionKey::default() });
    let (own, another) = (session_slot(), Digest::of("agentgate/slot/session/1", &[2; 16]));
    let wrong = [
        ("the key of its session is lost", another, wrapped(&DATA_KEY, &another, session_secret())),
        ("cannot be unwrapped", own, wrapped(&[6; 32], &own, session_secret())),
        ("cannot be unwrapped", own, wrapped(&DATA_KEY, &another, session_secret())),
        ("cannot be unwrapped", own, wrapped(&DATA_KEY, &own, naming)),
        ("cannot be unwrapped", own, Vec::new()),
        ("is none", own, wrapped(&DATA_KEY, &own, short)),
        ("does not open its body", own, wrapped(&DATA_KEY, &own, other)),
    ];
    for (wanted, name, value) in wrong {
        let mut files = Files::of(1);
        files.slots[0] = (name, value);
        let faults = faults(&files, Ledger::default());
        assert!(faults.contains(wanted), "{wanted}: {faults}");
    }
    let plain = [7; 60];
    let wrong = [
        ("does not open its body", sealed(&SESSION_KEY, &[2; 16], &plain)),
        ("does not open its body", vec![1; 27]),
        ("shorter than its salt", sealed(&SESSION_KEY, &SESSION, &plain[..31])),
        ("not what it committed to", sealed(&SESSION_KEY, &SESSION, &plain)),
    ];
    for (wanted, stored) in wrong {
        let faults = faults(&Files::holding(vec![recorded(1, stored, &[0; 32])]), Ledger::default());
        assert!(faults.contains(wanted), "{wanted}: {faults}");
    }
}

#[test]
fn every_flipped_bit_of_a_slot_is_a_fault() {
    let files = Files::of(1);
    let whole = slots(&files.slots);
    assert_eq!(files.check_with(&whole, told(1)).faults, Vec::<String>::new());
    let cells = (whole.len() - CELLS_AT) / 2;
    for byte in CELLS_AT..CELLS_AT + cells {
        let mut spoiled = whole.clone();
        spoiled[byte] ^= 1 << (byte % 8);
        assert_ne!(files.check_with(&spoiled, told(1)).faults, Vec::<String>::new(), "byte {byte}");
    }
    for length in [0, 8, CELLS_AT, CELLS_AT + cells, whole.len() - 1] {
        assert_ne!(files.check_with(&whole[..length], told(1)).faults, Vec::<String>::new(), "length {length}");
    }
}

#[test]
fn of_a_set_that_was_cut_off_the_old_value_counts_and_of_two_the_newer() {
    let mut files = Files::of(1);
    let value = files.slot(session_slot()).clone();
    *files.slot(session_slot()) = Vec::new();
    files.slots.push((session_slot(), value));
    // The older one is still there, or half erased.
    let whole = slots(&files.slots);
    assert_eq!(files.check_with(&whole, told(1)).faults, Vec::<String>::new());
    for torn in [1, 100, 255] {
        let mut erased = whole.clone();
        erased[CELLS_AT..CELLS_AT + torn].fill(0);
        erased[CELLS_AT] = 0x5A;
        assert_eq!(files.check_with(&erased, told(1)).faults, Vec::<String>::new(), "erased up to {torn}");
    }
    // A newer one is begun: its end never came.
    let mut files = Files::of(1);
    files.slots.push((session_slot(), vec![1; 600]));
    let whole = slots(&files.slots);
    let begun = CELLS_AT + (whole.len() - CELLS_AT) / 2 - 3 * CELL_BYTES;
    for written in [1, 60, 255, 256, 400, 768 - 1] {
        let mut torn = whole.clone();
        for (at, byte) in torn.iter_mut().enumerate().skip(begun + written).take(768 - written) {
            *byte = if (at - CELLS_AT).is_multiple_of(CELL_BYTES) { 0x5A } else { 0 };
        }
        assert_eq!(files.check_with(&torn, told(1)).faults, Vec::<String>::new(), "written up to {written}");
    }
}

#[test]
fn records_that_are_not_those_that_were_signed_are_a_fault() {
    let wrong: [(&str, Vec<u8>); 5] = [
        ("the first 2 records are not those that were signed", checkpoint([2, 1].into_iter(), &signer(1))),
        ("the first 1 records are not those that were signed", checkpoint([2].into_iter(), &signer(1))),
        ("3 records were signed, and 2 are there", checkpoint(1..=3, &signer(1))),
        ("the last checkpoint", checkpoint(1..=2, &signer(2))),
        ("the last checkpoint", b"nonsense".to_vec()),
    ];
    for (wanted, note) in wrong {
        let mut files = Files::of(2);
        *files.slot(checkpoint_slot()) = note;
        let faults = faults(&files, told(2));
        assert!(faults.contains(wanted), "{wanted}: {faults}");
    }
    let mut files = Files::of(2);
    *files.slot(checkpoint_slot()) = checkpoint(1..=1, &signer(1));
    assert_eq!((faults(&files, told(2)), files.check(told(2)).signed), (String::new(), 1));
}

#[test]
fn a_segment_that_was_given_back_takes_its_bodies_along_and_no_others() {
    let files = Files::of(2);
    let head = |bytes: &[u8], at: usize| -> [u8; 4] { bytes[at + 8..at + 12].try_into().unwrap() };
    let gone = |group: u64, checksum: [u8; 4]| {
        let summed = [[1, 0, 0, 0].as_slice(), &[0; 4], &checksum, &group.to_le_bytes(), &(group + 1).to_le_bytes()].concat();
        [b"AGgone\x01\n".as_slice(), &crc32c::crc32c(&summed).to_le_bytes(), &summed].concat()
    };
    let [first, second] = [0, 1].map(|group| head(&files.bodies, files.starts[group].1));
    let mut all = files.clone();
    all.bodies = gone(2, second);
    let unnamed = [1, 2].map(|sequence| format!("sequence {sequence}: its body was given back, and no purge names its session"));
    assert_eq!(faults(&all, Ledger::default()), unnamed.join("\n"));
    // The last group may be what a kill left of a write.
    let mut one = Files::of(3);
    one.bodies = gone(1, first);
    assert!(faults(&one, told(1)).contains("group 2: its bodies are missing"));
    for byte in 0..all.bodies.len() {
        let mut spoiled = all.clone();
        spoiled.bodies[byte] ^= 1;
        assert_ne!(faults(&spoiled, Ledger::default()), unnamed.join("\n"), "byte {byte}");
    }
}
