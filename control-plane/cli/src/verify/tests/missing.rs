//! What was asked for and is not there, beside what nobody asked for.

use super::Said::{self, NotShown, Shown, Wrong};
use super::book::{call, signer};
use super::packs::check;
use crate::pack::Pack;
use crate::pack::tests::made::{ALICE, Call, Made, START_US, list, put};
use agentgate_proto::v1;
use serde_json::{Value, json};
use std::path::Path;

/// Calls 2, 3 and 5 of one source in the log's records 2, 3 and 5, one second after each other; record 4 is a flood of what `asks` names.
fn made(asks: Vec<v1::CountedAsks>) -> Made {
    let mut made = Made::new();
    let mut call = |second: u64| made.call(&Call { at_us: START_US + second * 1_000_000, ..Call::default() });
    call(0);
    call(1);
    made.flood(START_US + 2_000_000, asks);
    made.call(&Call { at_us: START_US + 3_000_000, ..Call::default() });
    made
}

fn scope(principal: &str, since_us: u64, until_us: u64) -> Value {
    json!({ "session": "", "principal": principal, "since_us": since_us, "until_us": until_us })
}

/// A pack of this scope, which the control plane says is all of what was asked for, without these records.
fn check_scope(case: &str, made: &Made, scope: &Value, without: &[u64], said: &Said<'_>) {
    let spoil = |at: &Path| {
        let mut pack: Pack = made.pack(false);
        let size = pack.records.len();
        pack.records.retain(|packed| !without.contains(&packed.entry.sequence));
        let manifest = String::from_utf8(list(&pack.records, scope, false, "")).expect("text");
        let text = manifest.split("\n\n").next().expect("a text");
        let sized: Vec<String> = text
            .lines()
            .map(|line| if line.starts_with("size ") { format!("size {size}\n") } else { format!("{line}\n") })
            .collect();
        pack.manifest = crate::pack::tests::made::statement(&sized.concat(), &signer(1));
        put(&pack, at, &signer(1));
    };
    check(case, &Made::new(), false, spoil, said);
}

#[test]
fn what_was_asked_for_and_is_not_there_is_missing() {
    let burnt = made(Vec::new());
    let source = "0707070707070707070707070707070707070707";
    let everything = scope("", 1, 0);
    let of_log = format!("calls of source {source} have no decision in the log, all of which is here: 4; they were refused");
    check_scope("a call of the whole log", &burnt, &everything, &[], &NotShown(&of_log));
    check_scope(
        "a record of the whole log",
        &burnt,
        &everything,
        &[3],
        &Wrong("it lacks records of the log that can be of no other time: 3"),
    );
    check_scope("its first and its last", &burnt, &everything, &[1, 5], &Wrong("that can be of no other time: 1, 5"));
    let named = v1::CountedAsks { source: call(7, 0).as_bytes()[..20].to_vec().into(), first: vec![4], last: vec![4] };
    let counted = made(vec![named]);
    let whole = format!("no call of source {source} is missing between 2 and 5");
    check_scope("a call that was counted", &counted, &everything, &[], &Shown(&whole));

    const HOUR: u64 = 3_600_000_000;
    let time = scope("", START_US - 1, START_US + 4_000_000);
    let of_time = format!(
        "calls of source {source} have no decision here, though all of the time of the calls beside them was asked for: 4;"
    );
    check_scope("a call of the time", &burnt, &time, &[], &NotShown(&of_log));
    check_scope("a call of a part of the log", &burnt, &scope("", START_US, 0), &[1], &NotShown(&of_time));
    let inside = "it lacks records of the log that can be of no other time: 3";
    let near = "what the log's records 3 are: all of its time was asked for, and they are so near to its edge";
    // Record 2 is of the first moment, and record 4 of two seconds later.
    for (since_us, until_us, said) in [
        (START_US - HOUR, 0, Wrong(inside)),
        (START_US - HOUR + 1, 0, NotShown(near)),
        (START_US - HOUR, START_US + 2_000_000 + HOUR + 1, Wrong(inside)),
        (START_US - HOUR, START_US + 2_000_000 + HOUR, NotShown(near)),
    ] {
        check_scope("a record of the time", &burnt, &scope("", since_us, until_us), &[3], &said);
    }
    check_scope("its last record", &burnt, &scope("", START_US - 2 * HOUR, 0), &[5], &Wrong("of no other time: 5"));
    let unasked = format!("what the calls 4 of source {source} were: they are not among what was asked for");
    check_scope("of one subject", &burnt, &scope(ALICE, 1, 0), &[], &NotShown(&unasked));
    let beyond =
        |case: &str, scope: &Value, without: &[u64]| check_scope(case, &burnt, scope, without, &NotShown("not witnessed"));
    beyond("records before and after the time", &scope("", START_US, START_US + 500_000), &[3, 4, 5]);
    beyond("a record of another subject", &scope(ALICE, 1, 0), &[4]);
}

/// A call at the start that asks for an approval, by which another call passes four seconds later. Whether the request names the
/// first one.
fn agreed(named: bool) -> Made {
    let mut made = Made::new();
    let note = json!({ "title": "x", "text": "y" });
    let add = Call { tool: "add_note", arguments: note, approval: Some((9, v1::ApprovalUse::Requested)), ..Call::default() };
    let first = made.call(&add);
    let step = |what| v1::ApprovalRecord { approval: vec![9; 32].into(), what: Some(what), body: None };
    let call_id = call(7, if named { first } else { first + 90 }).as_bytes().to_vec().into();
    let requested = v1::ApprovalRequested { steps: 1, call_id, ..Default::default() };
    made.step(step(v1::approval_record::What::Requested(requested)), &v1::ApprovalBody::default());
    let granted = v1::ApprovalGranted { step: 1, ..Default::default() };
    made.step(step(v1::approval_record::What::Granted(granted)), &v1::ApprovalBody::default());
    made.call(&Call { at_us: START_US + 4_000_000, approval: Some((9, v1::ApprovalUse::Used)), ..add });
    made
}

#[test]
fn a_record_of_another_time_than_was_asked_for_is_wrong_unless_it_belongs_to_one_that_was() {
    let (named, unnamed, burnt, all) = (agreed(true), agreed(false), made(Vec::new()), Made::of_everything());
    let late = scope("", START_US + 4_000_000, 0);
    let one = "1 decision is of another time: it asked for an approval that what was asked for names";
    check_scope("the call that asked", &named, &late, &[], &Shown(one));
    let wrong = "record 2 is of 2026-11-22 19:05:52.000Z, which was not asked for, and it belongs to nothing that was";
    check_scope("a call that nobody names", &unnamed, &late, &[], &Wrong(wrong));
    check_scope("a call and its approval, both too late", &named, &scope("", 1, 2), &[], &Wrong(wrong));
    check_scope("of one subject", &burnt, &scope(ALICE, 1, 2), &[], &Wrong(wrong));
    // The edges: since is of the time, until is not.
    check_scope("since", &burnt, &scope("", START_US, 0), &[], &NotShown("not witnessed"));
    check_scope("after since", &burnt, &scope("", START_US + 1, 0), &[], &Wrong(wrong));
    check_scope("until", &burnt, &scope("", 1, START_US + 3_000_001), &[], &NotShown("not witnessed"));
    check_scope("at until", &burnt, &scope("", 1, START_US + 3_000_000), &[], &Wrong("record 5 is of 2026-11-22 19:05:55.000Z"));
    // An order, which belongs to no call; and the outcome of a call that is there.
    check_scope("an order", &all, &scope("", START_US, START_US + 6), &[], &Wrong("record 10 is of 2026-11-22 19:05:52.000Z"));
    check_scope("an order more", &all, &scope("", START_US, START_US + 7), &[], &Wrong("record 11 is of"));
}

#[test]
fn stretches_beyond_what_a_sentence_names_are_counted() {
    let mut made = Made::new();
    let calls: Vec<u64> = (0..50).map(|at| made.call(&Call { at_us: START_US + at, ..Call::default() })).collect();
    let without = |count: usize| calls.iter().copied().step_by(2).take(count).collect::<Vec<_>>();
    let lacks = |count: usize, said: &str| check_scope(said, &made, &scope("", 1, 0), &without(count), &Wrong(said));
    lacks(20, "of no other time: 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 32, 34, 36, 38, 40");
    lacks(22, "38, 40 and 2 stretches more");
}
