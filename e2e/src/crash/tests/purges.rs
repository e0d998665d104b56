//! What was purged, and is not: each law has a journal that breaks it.

use super::*;
use crate::crash::purges::{key_slot, order_of};

/// Of another handle, and of operators.
const OTHER: [u8; 16] = [2; 16];
const ORDERS: [u8; 16] = [1; 16];

type Spoil = fn(&mut Files);

/// The purge's record.
const PURGE: u64 = 4;

fn purge(number: u64, order: &str) -> (Vec<u8>, Vec<u8>) {
    let (stored, body) = body(&ORDERS, &v1::PurgeBody { reason: order.into(), by: "me".into() }.encode_to_vec());
    let purge = v1::PurgeRecord { sessions: vec![SESSION.to_vec().into()], body: Some(body), ..v1::PurgeRecord::default() };
    (v1::Record { at_us: number, what: Some(v1::record::What::Purge(purge)) }.encode_to_vec(), stored)
}

fn order() -> String {
    order_of(1, HANDLE)
}

fn other_mark() -> String {
    calls::marked("gate-1", "agent-3")
}

/// Two calls of a session, one of another, and a purge of the first session that nobody carried out.
fn ordered() -> Files {
    let mut files = Files::holding(vec![call(1), call(2), call_in(&OTHER, 3, &other_mark()), purge(PURGE, &order())]);
    for session in [OTHER, ORDERS] {
        let slot = key_slot(&session);
        files.slots.push((slot, wrapped(&DATA_KEY, &slot, session_secret())));
    }
    files
}

fn erase(files: &mut Files, session: &[u8; 16]) {
    files.slots.retain(|(name, _)| *name != key_slot(session));
}

fn say_done(files: &mut Files, purge: &str) {
    let slot = Digest::of("agentgate/slot/purges/1", b"");
    files.slots.push((slot, format!("agentgate purges 1\n{purge}\n").into_bytes()));
}

fn carried_out() -> Files {
    let mut files = ordered();
    erase(&mut files, &SESSION);
    discard(&mut files, 1, usize::MAX);
    discard(&mut files, 2, usize::MAX);
    say_done(&mut files, "4");
    files
}

/// What the callers of the first three records were told, and the operator.
fn told_all() -> Ledger {
    let mut ledger = told(2);
    let of_other = What::Verdict { id: id(3), verdict: Verdict::Allow, sequence: Some(3), handle: "gate-1".into() };
    for what in [of_other, What::Result { mark: other_mark() }] {
        ledger.told[0].push(Told { what, asked_after: 4 });
    }
    let purge = What::Purge { order: order(), sequences: vec![PURGE], finished: true };
    ledger.told.push(vec![Told { what: purge, asked_after: 0 }]);
    ledger.ordered.insert(order());
    ledger
}

/// What they were told when the kill cut off the purge: nothing.
fn told_of_calls() -> Ledger {
    let mut ledger = told_all();
    ledger.told.truncate(1);
    ledger
}

/// The only body of a group is given back: marked, and `erased` bytes behind the mark are written.
fn discard(files: &mut Files, number: usize, erased: usize) {
    let entry = files.starts[number - 1].1 + 64;
    let stored = &mut files.bodies[entry..];
    let length: [u8; 4] = stored[..4].try_into().unwrap();
    let address = stored[8..40].to_vec();
    let mut rest = crc32c::crc32c(&[length.as_slice(), &address].concat()).to_le_bytes().to_vec();
    rest.extend(address);
    rest.resize(36 + u32::from_le_bytes(length) as usize, 0);
    let erased = erased.min(rest.len());
    stored[3] = 0xD5;
    stored[4..4 + erased].copy_from_slice(&rest[..erased]);
}

#[test]
fn a_purge_that_is_carried_out_is_no_fault_and_excuses_no_other_session() {
    let checked = carried_out().check(told_all());
    assert_eq!(checked.faults, Vec::<String>::new());
    assert_eq!((checked.purges, checked.acknowledged_purges, checked.purged, checked.discarded), (1, 1, 1, 2));
    let lost = |mark: String| {
        let mut ledger = told_all();
        ledger.executed.push(mark);
        faults(&carried_out(), ledger)
    };
    assert!(lost(mark(3)).contains("no allow of it is on record"), "two were purged, and this is the third");
    assert!(lost(calls::marked("gate-1", "agent-9")).contains("no allow of it is on record"));
    for erased in [0, 20, 400, usize::MAX] {
        let mut files = carried_out();
        files.bodies.copy_from_slice(&ordered().bodies);
        discard(&mut files, 1, erased);
        discard(&mut files, 2, usize::MAX);
        assert_eq!(faults(&files, told_all()), "", "{erased}");
        // Another group still has to be whole.
        files.bodies[files.starts[2].1 + 200] ^= 1;
        assert_ne!(faults(&files, told_all()), "", "{erased}");
    }
    let mut files = carried_out();
    files.bodies[64 + 5] ^= 1;
    assert_ne!(faults(&files, told_all()), "", "what is left of it was changed");
}

#[test]
fn of_a_purge_that_a_kill_cut_off_any_part_may_be_done_in_its_order_until_it_has_to_be_carried_out() {
    let steps: [Spoil; 3] = [|files| erase(files, &SESSION), |files| discard(files, 1, usize::MAX), |files| discard(files, 2, 0)];
    let mut files = ordered();
    for number in 0..=steps.len() {
        assert_eq!(faults(&files, told_of_calls()), "", "{number} steps");
        let settled = Ledger { settled: PURGE, ..told_of_calls() };
        assert!(faults(&files, settled).contains("purge 4: the life after the kill did not carry it out"), "{number} steps");
        if let Some(step) = steps.get(number) {
            step(&mut files);
        }
    }
    // One that came after that life began may be under way.
    assert_eq!(faults(&files, Ledger { settled: PURGE - 1, ..told_of_calls() }), "");
    // And one that never came to be on record has done nothing.
    let mut files = Files::holding(vec![call(1), call(2)]);
    let ledger = || Ledger { ordered: told_all().ordered, settled: 2, ..told(2) };
    assert_eq!(faults(&files, ledger()), "");
    erase(&mut files, &SESSION);
    assert!(faults(&files, ledger()).contains("the key of its session is lost"));
}

#[test]
fn what_is_purged_otherwise_than_it_was_ordered_is_a_fault() {
    let wrong: [(&str, Spoil); 9] = [
        ("purge 4: it is carried out, and a key that it names is there", |files| {
            files.slots.push((session_slot(), wrapped(&DATA_KEY, &session_slot(), session_secret())));
        }),
        ("sequence 2: its session was purged, and its body is in the segments", |files| {
            files.bodies.copy_from_slice(&ordered().bodies);
            discard(files, 1, usize::MAX);
        }),
        ("sequence 3: the key of its session is lost", |files| erase(files, &OTHER)),
        ("sequence 3: its body was given back, and no purge names its session", |files| discard(files, 3, usize::MAX)),
        ("sequence 1: its body was given back before its key was erased", |files| {
            *files = ordered();
            discard(files, 1, usize::MAX);
        }),
        ("was told to be carried out, and it is not", |files| {
            *files = ordered();
            erase(files, &SESSION);
        }),
        ("purges up to 3 are carried out, and none is on record there", |files| {
            files.slots.pop();
            say_done(files, "3");
        }),
        ("how far purges were carried out cannot be read", |files| {
            files.slots.pop();
            say_done(files, "four");
        }),
        ("is lost: told was [4]", |files| *files = Files::holding(vec![call(1), call(2), call(3)])),
    ];
    for (wanted, spoil) in wrong {
        let mut files = carried_out();
        spoil(&mut files);
        let faults = faults(&files, told_all());
        assert!(faults.contains(wanted), "{wanted}: {faults}");
    }
}

#[test]
fn words_under_a_key_that_was_purged_before_are_a_fault() {
    let mut files = Files::holding(vec![call(1), purge(2, &order()), call(3)]);
    let slot = key_slot(&ORDERS);
    files.slots.push((slot, wrapped(&DATA_KEY, &slot, session_secret())));
    let ledger = Ledger { ordered: told_all().ordered, ..Ledger::default() };
    let wanted = "sequence 3: its words were sealed under a key that a purge before it took";
    assert_eq!(faults(&files, ledger), wanted);
}

#[test]
fn a_purge_that_nobody_ordered_and_one_of_another_session_are_faults() {
    let ledger = Ledger { ordered: [order_of(2, HANDLE)].into(), ..told_of_calls() };
    assert!(faults(&carried_out(), ledger).contains("`purge 1 of gate-0` is on record, and nobody ordered it"));
    let mut ledger = told_all();
    ledger.told[0].push(Told {
        what: What::Verdict { id: id(1), verdict: Verdict::Allow, sequence: None, handle: "gate-1".into() },
        asked_after: 0,
    });
    let faults_of_another = faults(&carried_out(), ledger);
    assert!(faults_of_another.contains("of `gate-1` was erased by `purge 1 of gate-0`"), "{faults_of_another}");
    // By age nothing of the load goes.
    let mut calls = vec![call(1), purge(2, &order())];
    let aged = v1::PurgeRecord { sessions: vec![SESSION.to_vec().into()], ..v1::PurgeRecord::default() };
    calls[1].0 = v1::Record { at_us: 2, what: Some(v1::record::What::Purge(aged)) }.encode_to_vec();
    let found = faults(&Files::holding(calls), Ledger::default());
    assert_eq!(found, "purge 2: it names sessions, and nobody ordered it");
}

#[test]
fn records_that_are_not_under_the_root_that_they_were_under_are_a_fault() {
    let tree = carried_out().check(told_all()).tree;
    assert_eq!(ordered().check(told_of_calls()).tree, tree, "a purge that is carried out changes no record");
    assert_eq!(faults(&carried_out(), Ledger { tree, ..told_all() }), "");
    let fewer = Files::holding(vec![call(1), call(2), call_in(&OTHER, 3, &other_mark())]);
    let others = Files::holding(vec![call(2), call(1), call_in(&OTHER, 3, &other_mark()), purge(PURGE, &order())]);
    for files in [fewer, others] {
        let faults = faults(&files, Ledger { tree, ..Ledger::default() });
        assert!(faults.contains("the first 4 records are not those that were there before"), "{faults}");
    }
}
