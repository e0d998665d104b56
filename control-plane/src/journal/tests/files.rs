//! What the command line does with a journal's files: an independent reader of the same format, and copies of a journal in use.

use super::{append_each, body, check_holds, eventually, numbered, open, small};
use crate::journal::contract::{counted, id, stream};
use crate::journal::disk::RealDisk;
use crate::journal::embedded::{Embedded, FormError, OpenError};
use crate::journal::frame::{GroupDraft, GroupHead, Heading, Kind, Place, RecordHead};
use crate::journal::{Change, Journal as _, Slot, body_address};
use crate::transparency::checkpoint_slot;
use agentgate_cli::journal::backup::{BackupError, backup, restore};
use agentgate_cli::journal::check::Report;
use agentgate_cli::output::{Desk, Output};
use agentgate_cli::screen::{Charset, Screen};
use agentgate_core::time::Time;
use agentgate_core::transparency::checkpoint::Checkpoint;
use agentgate_core::transparency::key::{Algorithm, KeyName, SignerKey};
use agentgate_core::transparency::tree::Hash;
use bytes::Bytes;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

fn check(directory: &Path) -> Report {
    Report::read(directory, &mut |_| {}).unwrap()
}

/// The findings, each as its file's name and what is said.
fn found(directory: &Path) -> Vec<(String, String)> {
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    check(directory).findings.iter().map(|finding| (name(&finding.file), finding.what.clone())).collect()
}

/// A journal with all that there can be: records, bodies, forgotten ones, a segment given back, slots.
async fn full(directory: &Path) -> std::path::PathBuf {
    let journal = open(directory);
    let large = |number: u64| Bytes::from(format!("large {number} ").repeat(900));
    for number in 1..=40 {
        let change = Change { bodies: vec![large(number)], ..numbered(number) };
        journal.append(change).await.unwrap();
    }
    journal.discard((1..=15).chain([38]).map(|number| body_address(&large(number))).collect()).await.unwrap();
    for number in 0..20 {
        let value = Bytes::from(vec![3; 50 * number as usize]);
        assert_eq!(journal.set(counted(1, number), None, Some(value)).await, Ok(Slot::Set));
    }
    let first = directory.join("journal/bodies/bodies-00000001");
    eventually(|| fs::metadata(&first).is_ok_and(|file| file.len() < 64 << 10)).await;
    drop(journal);
    directory.join("journal")
}

#[tokio::test]
async fn what_was_written_is_sound_to_a_reader_who_shares_no_code() {
    let directory = tempfile::tempdir().unwrap();
    let path = full(directory.path()).await;
    let report = check(&path);
    assert!(report.findings.is_empty() && report.notes.is_empty(), "{report:?}");
    assert_eq!((report.head, report.streams, report.slots), (40, 3, 20));
    assert!(report.bodies >= 24 && report.segments_removed >= 1 && report.discarded > 0, "{report:?}");
}

/// The journal with a newest checkpoint over so many records, signed by so many keys: the more, the more cells.
async fn signed(directory: &Path, size: u64, keys: u8) -> std::path::PathBuf {
    let path = full(directory).await;
    let name = KeyName::try_from("log.example/test").unwrap();
    let root = Hash::from_bytes([7; 32]);
    let journal = open(directory);
    let mut before = None;
    // One that was there before must not be what is compared.
    for size in [1, size] {
        let checkpoint = Checkpoint { origin: name.clone(), size, root, extensions: Vec::new() };
        let mut note = checkpoint.note().unwrap();
        for seed in 1..=keys {
            note.sign(&SignerKey::from_seed(name.clone(), Algorithm::Ed25519, &[seed; 32])).unwrap();
        }
        let note = Some(Bytes::from(note.to_string()));
        assert_eq!(journal.set(checkpoint_slot(), before, note.clone()).await, Ok(Slot::Set));
        before = note;
    }
    path
}

#[tokio::test]
async fn records_that_were_signed_and_are_not_there_are_missed() {
    for keys in [1, 4, 9] {
        for (size, is_sound) in [(3, true), (39, true), (40, true), (41, false), (5_000, false)] {
            let directory = tempfile::tempdir().unwrap();
            let path = signed(directory.path(), size, keys).await;
            let (said, wanted) =
                (found(&path), format!("is 40, and the newest checkpoint, which lies in `slots`, is over {size}:"));
            assert_eq!(said.is_empty(), is_sound, "{size} records, {keys} keys: {said:?}");
            assert!(said.iter().all(|(file, what)| file == "records" && what.contains(&wanted)), "{said:?}");
        }
    }
    // The end of the records reads as zeros: as after a crash, but for what was signed.
    let directory = tempfile::tempdir().unwrap();
    let path = signed(directory.path(), 40, 2).await;
    let last = fs::read_dir(path.join("records")).unwrap().map(|entry| entry.unwrap().path()).max().unwrap();
    let mut bytes = fs::read(&last).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    bytes[end - 300..end].fill(0);
    fs::write(&last, bytes).unwrap();
    let said = found(&path);
    assert!(said.iter().any(|(_, what)| what.contains("is over 40: what was behind it is lost")), "{said:?}");
}

#[tokio::test]
async fn every_lock_is_its_owners_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = full(directory.path()).await;
    for name in ["lock", "hold-bodies", "hold-slots"] {
        assert_eq!(fs::metadata(path.join(name)).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
    }
}

#[tokio::test]
async fn every_flipped_bit_is_found_in_its_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = full(directory.path()).await;
    for name in ["records/records-00000001", "bodies/bodies-00000004", "slots", "form", "bodies/bodies-00000001"] {
        let file = path.join(name);
        let whole = fs::read(&file).unwrap();
        let skipped = if name == "slots" { 8192 } else { 0 };
        let end = skipped
            + whole[skipped..].chunks(256).take_while(|part| part.iter().any(|byte| ![0, 0x5A].contains(byte))).count() * 256;
        for at in (skipped..end.min(whole.len())).step_by(if end > 2000 { 397 } else { 3 }) {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            fs::write(&file, bytes).unwrap();
            let report = check(&path);
            // In a free cell nothing is lost.
            let is_free = name == "slots" && whole[at] == 0;
            assert!(!report.is_sound() || is_free, "{name} byte {at}: {report:?}");
        }
        fs::write(&file, whole).unwrap();
    }
    assert!(check(&path).is_sound());
}

#[tokio::test]
async fn what_is_gone_cut_or_newer_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = full(directory.path()).await;
    let check_named = |name: &str, change: &dyn Fn(&Path), file: &str, what: &str| {
        let whole = fs::read(path.join(name)).unwrap();
        change(&path.join(name));
        let said = found(&path);
        assert!(said.iter().any(|(at, told)| at.contains(file) && told.contains(what)), "{name}: {said:?}");
        fs::write(path.join(name), whole).unwrap();
        assert!(check(&path).is_sound(), "{name}");
    };
    let remove = |path: &Path| fs::remove_file(path).unwrap();
    let shorten = |path: &Path| fs::write(path, &fs::read(path).unwrap()[..9000]).unwrap();
    check_named("bodies/bodies-00000004", &remove, "bodies-00000005", "the segment before it is missing");
    check_named("bodies/bodies-00000001", &remove, "bodies-00000002", "the segment before it is missing");
    check_named("slots", &remove, "slots", "the file is missing");
    check_named("slots", &shorten, "slots", "shorter than it was made");
    check_named("records/records-00000001", &shorten, "records-00000001", "");
    check_named("form", &remove, "form", "a backup that was not finished");
    let newer = |path: &Path| fs::write(path, "agentgate journal form 8 needs 7\n").unwrap();
    check_named("form", &newer, "form", "needs a program that knows form 7");
}

#[tokio::test]
async fn frames_that_are_whole_and_say_the_wrong_thing_are_named() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(directory.path()));
    let path = directory.path().join("journal");
    let (mut bytes, mut previous) = (Vec::new(), 0);
    // Sequence, version, id.
    let groups = [vec![(1, 1, "a"), (2, 2, "b")], vec![(3, 4, "c")], vec![(4, 5, "a")], vec![(7, 6, "e")]];
    for (records, group) in groups.iter().zip(1..) {
        let mut draft = GroupDraft::new(Kind::Records);
        for (sequence, version, name) in records {
            let head = RecordHead { sequence: *sequence, version: *version, stream: stream("s"), id: id(name) };
            draft.push_record(&head, b"x").unwrap();
        }
        let place = Place { segment: 1, offset: bytes.len() as u32 };
        let first = records[0].0;
        let heading = Heading { place, group, previous, first, bodies: None, segment_bytes: 64 << 10 };
        let (head, written): (GroupHead, Vec<u8>) = draft.finish(&heading).unwrap();
        previous = head.checksum;
        bytes.extend(written);
    }
    bytes.resize(64 << 10, 0);
    fs::write(path.join("records/records-00000001"), bytes).unwrap();
    let said: Vec<String> = found(&path).into_iter().map(|(_, what)| what).collect();
    for what in ["version 4 of its stream, which is at 2", "an id that was there before", "sequence 7 stands where 5 must"] {
        assert!(said.iter().any(|said| said.contains(what)), "{what} in {said:?}");
    }
}

#[tokio::test]
async fn a_torn_tail_is_no_difference_and_a_journal_in_use_is_not_looked_at() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path());
    append_each(&journal, 1..=3).await;
    let path = directory.path().join("journal");
    let run = |directory: &Path| {
        let mut out = Vec::new();
        let screen = Screen { color: false, charset: Charset::Unicode, columns: 80, terminal: false };
        let now = Time::from_micros(0);
        let mut desk = Desk { screen, output: Output::Json, now, out: &mut out, person: None };
        let line = ["agentgate", "journal", "check", directory.to_str().unwrap()];
        let matches = agentgate_cli::arguments::command().try_get_matches_from(line).unwrap();
        let verb = <agentgate_cli::arguments::Arguments as clap::FromArgMatches>::from_arg_matches(&matches).unwrap().verb;
        let agentgate_cli::arguments::Verb::Journal(verb) = verb else { panic!("another verb") };
        let told = agentgate_cli::journal::run(&verb, &mut desk).map_err(|failure| (failure.exit, failure.chain().concat()));
        (told, String::from_utf8(out).unwrap())
    };
    let (exit, said) = run(&path).0.unwrap_err();
    assert!(exit == agentgate_cli::failure::Exit::Refused && said.contains("has opened the journal"), "{said}");
    drop(journal);
    let file = path.join("records/records-00000001");
    let mut bytes = fs::read(&file).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    let torn = [&bytes[..80], &[0; 20]].concat();
    bytes[(end + 1).next_multiple_of(8)..][..100].copy_from_slice(&torn);
    fs::write(&file, &bytes).unwrap();
    let (told, out) = run(&path);
    assert!(told.is_ok() && out.contains("a write was never finished"), "{out}");
    bytes[100] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let (told, out) = run(&path);
    assert!(told.is_err_and(|(exit, _)| exit == agentgate_cli::failure::Exit::Refused), "{out}");
    assert!(out.contains("\"sound\":false") && out.contains("records-00000001"), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_a_busy_journal_holds_all_that_was_told_and_opens_as_one_instant() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Arc::new(Embedded::open_on(small(directory.path()), &(Arc::new(RealDisk) as _)).unwrap());
    let (stop, told) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let busy = tokio::spawn({
        let (journal, stop, told) = (Arc::clone(&journal), Arc::clone(&stop), Arc::clone(&told));
        async move {
            let mut held = None;
            for number in 1.. {
                journal.append(numbered(number)).await.unwrap();
                // As a session's key does, its slot stands before what needs it, and a checkpoint behind what it covers.
                let value = Some(Bytes::from(number.to_string()));
                assert_eq!(journal.set(id("checkpoint"), held, value.clone()).await, Ok(Slot::Set));
                held = value;
                let extra = Bytes::from(format!("forgotten {number} ").repeat(200));
                journal.keep(extra.clone()).await.unwrap();
                journal.discard(vec![body_address(&extra)]).await.unwrap();
                told.store(number, Ordering::Release);
                if stop.load(Ordering::Acquire) {
                    break;
                }
            }
        }
    });
    eventually(|| told.load(Ordering::Acquire) > 60).await;
    let path = directory.path().join("journal");
    for round in 0..4 {
        let (copy, restored) = (directory.path().join(format!("copy-{round}")), tempfile::tempdir().unwrap());
        let before = told.load(Ordering::Acquire);
        let (from, to) = (path.clone(), copy.clone());
        let instant = tokio::task::spawn_blocking(move || backup(&from, &to, &mut |_| {}).unwrap()).await.unwrap();
        let report = check(&copy);
        assert_eq!(report.findings, [], "round {round}");
        assert!(report.head >= before && instant.head == report.head, "{} of {before}", report.head);
        assert!(matches!(backup(&path, &copy, &mut |_| {}), Err(BackupError::NotEmpty(_))));
        restore(&copy, &restored.path().join("journal"), &mut |_| {}).unwrap();
        let journal = open(restored.path());
        assert!(journal.opening().damage.is_empty() && journal.opening().damaged_slots.is_empty(), "{:?}", journal.opening());
        let head = journal.health().head;
        assert!(head >= before, "{head} of {before}");
        check_holds(&journal, head).await;
        let checkpoint = journal.slot(id("checkpoint")).await.unwrap().unwrap();
        let covered: u64 = String::from_utf8_lossy(&checkpoint).parse().unwrap();
        assert!((before..=head).contains(&covered), "{before} {covered} {head}");
        assert_eq!(journal.verify().await.unwrap(), []);
        append_each(&journal, head + 1..=head + 3).await;
        let now = told.load(Ordering::Acquire);
        eventually(|| told.load(Ordering::Acquire) > now + 20).await;
    }
    stop.store(true, Ordering::Release);
    busy.await.unwrap();
    assert_eq!(journal.fetch(body_address(&body(1))).await, Ok(Some(body(1))));
    assert_eq!(journal.health().unavailable, None);
}

#[tokio::test]
async fn a_copy_that_was_cut_anywhere_is_never_taken_for_a_journal() {
    let directory = tempfile::tempdir().unwrap();
    let path = full(directory.path()).await;
    let at = |name: &str| directory.path().join(name);
    backup(&path, &at("copy"), &mut |_| {}).unwrap();
    let last = fs::read_dir(at("copy/bodies")).unwrap().count() + fs::read_dir(at("copy/records")).unwrap().count();
    for cut in 1..=last {
        for is_restored in [false, true] {
            let home = at(&format!("{is_restored}-{cut}"));
            let to = home.join("journal");
            let mut copied = 0;
            // As a kill does, it leaves what was begun: the cut is where a segment is about to be copied.
            let cut_off = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let mut progress = |_: &Path| {
                    copied += 1;
                    if copied == cut {
                        std::panic::resume_unwind(Box::new("cut"));
                    }
                };
                if is_restored { restore(&at("copy"), &to, &mut progress) } else { backup(&path, &to, &mut progress).map(drop) }
            }));
            assert!(cut_off.is_err());
            // Behind the last segment only the slots and the form are missing: as bad, and quicker to look at.
            check_refused(&home);
        }
    }
}

fn check_refused(home: &Path) {
    let to = home.join("journal");
    assert!(found(&to).iter().any(|(file, what)| file == "form" && what.contains("not finished")), "{to:?}");
    let again = backup(&to, &home.join("again"), &mut |_| {});
    assert!(matches!(again, Err(BackupError::Unfinished(_))), "{again:?}");
    let opened = Embedded::open(small(home));
    assert!(matches!(opened, Err(OpenError::Form { source: FormError::Unfinished, .. })), "{opened:?}");
    assert!(!to.join("index").exists(), "nothing was made of it");
}
