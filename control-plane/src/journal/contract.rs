//! The journal's contract as stories, run against every backend. A new backend adds one line to `backends!` and no story.

use super::embedded::{Embedded, Settings};
use super::memory::Memory;
use super::{
    AppendError, Appended, BODIES_PAGE_MAX, CHANGE_BYTES_MAX, CONFLICT_RECORDS_MAX, Change, Epochs, Expected, FRAME_BYTES,
    Journal, PAGE_BYTES_MAX, Position, ReadError, SLOT_BYTES_MAX, SLOTS_PAGE_MAX, Slot, Stream, Write, body_address,
};
use agentgate_core::digest::Digest;
use bytes::Bytes;
use std::time::Duration;

type Told = Result<Appended, AppendError>;

/// Longer than any of this takes on a loaded machine.
const DEADLINE: Duration = Duration::from_secs(30);

pub(super) fn id(name: &str) -> Digest {
    Digest::of("test/id", name.as_bytes())
}

/// An id as a filter counts them: those of one family share their first bytes.
pub(super) fn counted(family: u8, counter: u64) -> Digest {
    let mut id = [family; 32];
    id.iter_mut().skip(20).zip(counter.to_be_bytes()).for_each(|(byte, of_counter)| *byte = of_counter);
    Digest::from_bytes(id)
}

pub(super) fn stream(name: &str) -> Stream {
    Stream(Digest::of("test/stream", name.as_bytes()))
}

pub(super) fn write(on: &str, expected: Expected, name: &str) -> Write {
    Write { stream: stream(on), expected, id: id(name), record: Bytes::copy_from_slice(name.as_bytes()) }
}

pub(super) fn change(writes: Vec<Write>) -> Change {
    Change { fence: None, writes, bodies: Vec::new() }
}

/// One write without an expectation.
pub(super) fn one(on: &str, name: &str) -> Change {
    change(vec![write(on, Expected::Any, name)])
}

fn at(on: &str, version: u64, name: &str) -> Change {
    change(vec![write(on, Expected::Exactly(version), name)])
}

fn stood(positions: &[(u64, u64)]) -> Told {
    let positions = positions.iter().map(|(sequence, version)| Position { sequence: *sequence, version: *version }).collect();
    Ok(Appended { positions })
}

/// What a stream holds, as text.
async fn texts(journal: &dyn Journal, on: &str) -> Vec<String> {
    let records = journal.read(stream(on), 0, 100).await.unwrap();
    records.iter().map(|record| String::from_utf8_lossy(&record.bytes).into_owned()).collect()
}

macro_rules! backends {
    ($($story:ident),* $(,)?) => {
        mod on_memory {
            $(#[tokio::test]
            async fn $story() {
                tokio::time::timeout(super::DEADLINE, super::$story(&super::Memory::new())).await.unwrap();
            })*
        }
        mod on_embedded {
            $(#[tokio::test]
            async fn $story() {
                let directory = tempfile::tempdir().unwrap();
                let journal = super::Embedded::open(super::Settings::new(directory.path().join("journal"))).unwrap();
                tokio::time::timeout(super::DEADLINE, super::$story(&journal)).await.unwrap();
                assert_eq!(journal.verify().await.unwrap(), Vec::new());
            })*
        }
        mod on_postgres {
            $(#[tokio::test]
            async fn $story() {
                let journal = crate::journal::postgres::tests::fresh().await;
                tokio::time::timeout(super::DEADLINE, super::$story(&journal)).await.unwrap();
            })*
        }
    };
}

backends!(
    what_was_appended_is_read_in_order,
    an_expected_version_wins_once,
    a_conflict_carries_what_was_missing_and_no_more,
    versions_in_flight_follow_each_other,
    a_failed_change_fails_alone_and_whole,
    one_change_may_write_a_stream_twice,
    an_id_is_written_once_for_ever,
    ids_that_are_counted_come_in_any_order_and_once,
    refusals_are_looked_for_in_a_fixed_order,
    a_moved_epoch_fences_a_change_off,
    a_change_that_nobody_waits_for_happens,
    follow_gives_everything_once_and_waits,
    a_page_has_two_limits,
    a_body_is_kept_by_its_address,
    a_change_carries_its_bodies_or_nothing,
    a_change_has_a_largest_weight,
    two_writers_never_both_win,
    an_empty_change_is_no_change,
    a_discarded_body_is_gone_and_can_be_kept_again,
    a_slot_is_set_by_whoever_knows_what_it_holds,
    slots_are_listed_in_the_order_of_their_names,
    bodies_are_listed_in_the_order_of_their_addresses,
);

async fn what_was_appended_is_read_in_order(journal: &dyn Journal) {
    assert_eq!(journal.append(one("a", "first")).await, stood(&[(1, 1)]));
    assert_eq!(journal.append(one("b", "other")).await, stood(&[(2, 1)]));
    assert_eq!(journal.append(one("a", "second")).await, stood(&[(3, 2)]));
    assert_eq!(texts(journal, "a").await, ["first", "second"]);
    assert_eq!(texts(journal, "nobody's").await, Vec::<String>::new());
    let second = journal.read(stream("a"), 1, 10).await.unwrap();
    assert_eq!((second[0].sequence, second[0].version, second[0].id, second.len()), (3, 2, id("second"), 1));
    assert_eq!(journal.read(stream("a"), 2, 10).await.unwrap(), []);
    assert_eq!(journal.read(stream("a"), u64::MAX, 10).await.unwrap(), []);
    assert_eq!(journal.read(stream("a"), 0, 0).await.unwrap(), []);
    assert_eq!(journal.version(stream("a")).await, Ok(2));
    assert_eq!(journal.version(stream("nobody's")).await, Ok(0));
    let health = journal.health();
    assert_eq!((health.head, health.unavailable), (3, None));
}

async fn an_expected_version_wins_once(journal: &dyn Journal) {
    assert_eq!(journal.append(at("a", 0, "first")).await, stood(&[(1, 1)]));
    assert!(matches!(journal.append(at("a", 0, "late")).await, Err(AppendError::Conflict { now: 1, .. })));
    assert_eq!(journal.append(at("a", 1, "second")).await, stood(&[(2, 2)]));
    let early = AppendError::Conflict { stream: stream("a"), now: 2, missing: Vec::new() };
    assert_eq!(journal.append(at("a", 3, "early")).await, Err(early));
    assert_eq!(texts(journal, "a").await, ["first", "second"]);
}

async fn a_conflict_carries_what_was_missing_and_no_more(journal: &dyn Journal) {
    let last = u64::from(CONFLICT_RECORDS_MAX) + 2;
    for number in 1..=last {
        journal.append(one("a", &format!("{number}"))).await.unwrap();
    }
    let conflict = |told: Told| match told {
        Err(AppendError::Conflict { stream: on, now, missing }) => {
            assert_eq!((on, now), (stream("a"), last));
            missing.iter().map(|record| record.version).collect::<Vec<_>>()
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(conflict(journal.append(at("a", last - 2, "x")).await), [last - 1, last]);
    assert_eq!(conflict(journal.append(at("a", 2, "y")).await), (3..=last).collect::<Vec<_>>());
    assert_eq!(conflict(journal.append(at("a", 1, "z")).await), (2..last).collect::<Vec<_>>());
}

async fn versions_in_flight_follow_each_other(journal: &dyn Journal) {
    let told: Vec<_> = (0..100).map(|version| journal.append(at("a", version, &format!("{version}")))).collect();
    for (told, version) in told.into_iter().zip(1..) {
        assert_eq!(told.await, stood(&[(version, version)]));
    }
    // The one that fails takes those with it that were built on it.
    let told: Vec<_> = [99, 100, 101].map(|version| journal.append(at("a", version, &format!("again {version}")))).into();
    let mut told = told.into_iter();
    assert!(matches!(told.next().unwrap().await, Err(AppendError::Conflict { now: 100, .. })));
    assert_eq!(told.next().unwrap().await, stood(&[(101, 101)]));
    assert_eq!(told.next().unwrap().await, stood(&[(102, 102)]));
}

async fn a_failed_change_fails_alone_and_whole(journal: &dyn Journal) {
    let both = change(vec![write("a", Expected::Any, "half"), write("b", Expected::Exactly(7), "other half")]);
    let told = [journal.append(one("a", "before")), journal.append(both), journal.append(one("a", "after"))];
    let [before, both, after] = told;
    assert_eq!(before.await, stood(&[(1, 1)]));
    assert_eq!(both.await, Err(AppendError::Conflict { stream: stream("b"), now: 0, missing: Vec::new() }));
    assert_eq!(after.await, stood(&[(2, 2)]));
    assert_eq!(texts(journal, "a").await, ["before", "after"]);
    assert_eq!(journal.find(id("half")).await, Ok(None));
}

async fn one_change_may_write_a_stream_twice(journal: &dyn Journal) {
    let twice = |from, names: [&str; 3]| {
        change(vec![
            write("a", Expected::Exactly(from), names[0]),
            write("b", Expected::Any, names[1]),
            write("a", Expected::Exactly(from + 1), names[2]),
        ])
    };
    assert_eq!(journal.append(twice(0, ["1", "2", "3"])).await, stood(&[(1, 1), (2, 1), (3, 2)]));
    assert_eq!(journal.append(twice(2, ["4", "5", "6"])).await, stood(&[(4, 3), (5, 2), (6, 4)]));
    assert!(matches!(journal.append(twice(3, ["7", "8", "9"])).await, Err(AppendError::Conflict { now: 4, .. })));
    let same = change(vec![write("a", Expected::Exactly(4), "10"), write("a", Expected::Exactly(4), "11")]);
    assert!(matches!(journal.append(same).await, Err(AppendError::Conflict { now: 4, .. })));
    let one_id = change(vec![write("a", Expected::Any, "12"), write("b", Expected::Any, "12")]);
    assert!(matches!(journal.append(one_id).await, Err(AppendError::Malformed(_))));
}

async fn an_id_is_written_once_for_ever(journal: &dyn Journal) {
    let first = Position { sequence: 1, version: 1 };
    let told = [one("a", "x"), one("a", "x"), one("b", "x")].map(|change| journal.append(change));
    let [once, again, elsewhere] = told;
    assert_eq!(once.await, stood(&[(1, 1)]));
    assert_eq!(again.await, Err(AppendError::Duplicate(first)));
    assert_eq!(elsewhere.await, Err(AppendError::Duplicate(first)));
    let beside = change(vec![write("b", Expected::Any, "new"), write("b", Expected::Any, "x")]);
    assert_eq!(journal.append(beside).await, Err(AppendError::Duplicate(first)));
    assert_eq!(journal.find(id("x")).await, Ok(Some(first)));
    assert_eq!(journal.find(id("new")).await, Ok(None));
}

async fn ids_that_are_counted_come_in_any_order_and_once(journal: &dyn Journal) {
    const COUNT: u64 = 1600;
    // Three families side by side, each out of order: every number below COUNT, since 7 divides none of its factors.
    let ids: Vec<_> = (0..COUNT).map(|number| counted((number % 3) as u8, number * 7 % COUNT)).collect();
    let append = |id: &Digest| journal.append(change(vec![Write { id: *id, ..write("a", Expected::Any, "") }]));
    let told: Vec<_> = ids.iter().map(append).collect();
    for (told, sequence) in told.into_iter().zip(1..) {
        assert_eq!(told.await, stood(&[(sequence, sequence)]));
    }
    let again: Vec<_> = ids.iter().rev().map(append).collect();
    for (told, sequence) in again.into_iter().zip((1..=COUNT).rev()) {
        assert_eq!(told.await, Err(AppendError::Duplicate(Position { sequence, version: sequence })));
    }
    assert_eq!(append(&counted(1, COUNT)).await, stood(&[(COUNT + 1, COUNT + 1)]));
}

async fn refusals_are_looked_for_in_a_fixed_order(journal: &dyn Journal) {
    journal.append(one("a", "x")).await.unwrap();
    let all_wrong = |name: &str| {
        let fence = Some(Epochs { global: 9 });
        Change { fence, writes: vec![write("a", Expected::Exactly(9), name)], bodies: Vec::new() }
    };
    let first = Position { sequence: 1, version: 1 };
    assert_eq!(journal.append(all_wrong("x")).await, Err(AppendError::Duplicate(first)));
    assert_eq!(journal.append(all_wrong("y")).await, Err(AppendError::Fenced { now: Epochs { global: 0 } }));
    let unfenced = Change { fence: None, ..all_wrong("y") };
    assert!(matches!(journal.append(unfenced).await, Err(AppendError::Conflict { .. })));
}

async fn a_moved_epoch_fences_a_change_off(journal: &dyn Journal) {
    let order = |name: &str| {
        let write = Write { stream: Stream::global(), ..write("", Expected::Any, name) };
        change(vec![write])
    };
    let under = |global, name: &str| Change { fence: Some(Epochs { global }), ..one("a", name) };
    // An order that is under way is obeyed by what comes after it.
    let told = [under(0, "in time"), order("policy"), under(0, "too late"), under(1, "anew")].map(|c| journal.append(c));
    let [in_time, ordered, too_late, anew] = told;
    assert_eq!(in_time.await, stood(&[(1, 1)]));
    assert_eq!(ordered.await, stood(&[(2, 1)]));
    assert_eq!(too_late.await, Err(AppendError::Fenced { now: Epochs { global: 1 } }));
    assert_eq!(anew.await, stood(&[(3, 2)]));
    assert_eq!(journal.append(under(2, "from the future")).await, Err(AppendError::Fenced { now: Epochs { global: 1 } }));
}

async fn a_change_that_nobody_waits_for_happens(journal: &dyn Journal) {
    drop(journal.append(one("a", "forgotten")));
    assert_eq!(journal.append(one("a", "next")).await, stood(&[(2, 2)]));
    assert_eq!(texts(journal, "a").await, ["forgotten", "next"]);
}

async fn follow_gives_everything_once_and_waits(journal: &dyn Journal) {
    for name in ["1", "2", "3"] {
        journal.append(one(name, name)).await.unwrap();
    }
    let sequences = |records: Vec<super::Record>| records.iter().map(|record| record.sequence).collect::<Vec<_>>();
    assert_eq!(sequences(journal.follow(0, 10).await.unwrap()), [1, 2, 3]);
    assert_eq!(sequences(journal.follow(0, 2).await.unwrap()), [1, 2]);
    assert_eq!(sequences(journal.follow(2, 2).await.unwrap()), [3]);
    let waiting = journal.follow(3, 10);
    let (followed, told) = tokio::join!(waiting, async {
        tokio::task::yield_now().await;
        journal.append(one("4", "4")).await
    });
    assert_eq!((sequences(followed.unwrap()), told), (vec![4], stood(&[(4, 1)])));
}

async fn a_page_has_two_limits(journal: &dyn Journal) {
    let third = Bytes::from(vec![1; PAGE_BYTES_MAX / 3 + 1]);
    for name in ["1", "2", "3"] {
        let write = Write { record: third.clone(), ..write("a", Expected::Any, name) };
        journal.append(change(vec![write])).await.unwrap();
    }
    assert_eq!(journal.read(stream("a"), 0, 10).await.unwrap().len(), 2);
    assert_eq!(journal.read(stream("a"), 2, 10).await.unwrap().len(), 1);
    assert_eq!(journal.read(stream("a"), 0, 1).await.unwrap().len(), 1);
    assert_eq!(journal.follow(0, 10).await.unwrap().len(), 2);
    assert_eq!(journal.follow(1, 10).await.unwrap().len(), 2);
    assert_eq!(journal.follow(1, 1).await.unwrap().len(), 1);
}

async fn a_body_is_kept_by_its_address(journal: &dyn Journal) {
    for body in [&b"a bundle"[..], b"", &[0; 5000]] {
        let body = Bytes::from_static(body_static(body));
        let address = journal.keep(body.clone()).await.unwrap();
        assert_eq!(address, body_address(&body));
        assert_eq!(journal.keep(body.clone()).await, Ok(address));
        assert_eq!(journal.fetch(address).await, Ok(Some(body)));
    }
    assert_eq!(journal.fetch(id("never kept")).await, Ok(None));
    assert_eq!(journal.health().head, 0);
    drop(journal.keep(Bytes::from_static(b"forgotten")));
    journal.append(one("a", "x")).await.unwrap();
    assert_eq!(journal.fetch(body_address(b"forgotten")).await, Ok(Some(Bytes::from_static(b"forgotten"))));
}

fn body_static(body: &[u8]) -> &'static [u8] {
    Vec::leak(body.to_vec())
}

async fn a_change_carries_its_bodies_or_nothing(journal: &dyn Journal) {
    let (ask, result) = (Bytes::from_static(b"ask"), Bytes::from_static(b"result"));
    let with = |bodies: Vec<Bytes>, change: Change| Change { bodies, ..change };
    let both = with(vec![ask.clone(), ask.clone(), result.clone()], at("a", 0, "x"));
    assert_eq!(journal.append(both).await, stood(&[(1, 1)]));
    assert_eq!(journal.fetch(body_address(b"ask")).await, Ok(Some(ask.clone())));
    assert_eq!(journal.fetch(body_address(b"result")).await, Ok(Some(result)));
    let refused = with(vec![Bytes::from_static(b"nobody's")], at("a", 0, "y"));
    assert!(journal.append(refused).await.is_err());
    assert_eq!(journal.fetch(body_address(b"nobody's")).await, Ok(None));
    assert_eq!(journal.append(with(vec![ask.clone()], at("a", 1, "z"))).await, stood(&[(2, 2)]));
    assert_eq!(journal.fetch(body_address(b"ask")).await, Ok(Some(ask)));
}

async fn a_change_has_a_largest_weight(journal: &dyn Journal) {
    let of = |name: &str, record: usize, body: usize| {
        let record = Bytes::from(vec![1; record]);
        Change {
            fence: None,
            writes: vec![Write { record, ..write("a", Expected::Any, name) }],
            bodies: vec![vec![2; body].into()],
        }
    };
    let most = CHANGE_BYTES_MAX - 2 * FRAME_BYTES;
    let too_large = AppendError::TooLarge { limit: CHANGE_BYTES_MAX };
    assert_eq!(journal.append(of("1", 100, most - 99)).await, Err(too_large.clone()));
    assert_eq!(journal.append(of("1", 100, most - 100)).await, stood(&[(1, 1)]));
    assert_eq!(journal.append(of("2", most, 0)).await, stood(&[(2, 2)]));
    assert_eq!(journal.keep(vec![3; CHANGE_BYTES_MAX - FRAME_BYTES + 1].into()).await, Err(too_large));
    assert!(journal.keep(vec![3; CHANGE_BYTES_MAX - FRAME_BYTES].into()).await.is_ok());
    assert_eq!(journal.read(stream("a"), 1, 10).await.unwrap()[0].bytes.len(), most);
}

async fn two_writers_never_both_win(journal: &dyn Journal) {
    const ROUNDS: u64 = 50;
    let rounds = |name: &'static str| async move {
        let mut won = 0;
        for version in 0..ROUNDS {
            won += u64::from(journal.append(at("a", version, &format!("{name} {version}"))).await.is_ok());
        }
        won
    };
    let (left, right) = tokio::join!(rounds("left"), rounds("right"));
    assert_eq!((left + right, journal.version(stream("a")).await), (ROUNDS, Ok(ROUNDS)));
}

async fn an_empty_change_is_no_change(journal: &dyn Journal) {
    assert_eq!(journal.append(change(Vec::new())).await, stood(&[]));
    let fenced = Change { fence: Some(Epochs { global: 1 }), ..change(Vec::new()) };
    assert_eq!(journal.append(fenced).await, Err(AppendError::Fenced { now: Epochs { global: 0 } }));
    assert_eq!(journal.health().head, 0);
}

async fn a_discarded_body_is_gone_and_can_be_kept_again(journal: &dyn Journal) {
    let [kept, gone, beside] = ["kept", "gone", "beside"].map(|text| Bytes::from_static(text.as_bytes()));
    journal.append(Change { bodies: vec![kept.clone(), beside.clone()], ..one("a", "x") }).await.unwrap();
    journal.keep(gone.clone()).await.unwrap();
    let addresses = [&gone, &beside, &Bytes::from_static(b"never there")].map(|body| body_address(body));
    assert_eq!(journal.discard(addresses.to_vec()).await, Ok(()));
    assert_eq!(journal.discard(addresses.to_vec()).await, Ok(()));
    assert_eq!(journal.discard(Vec::new()).await, Ok(()));
    for (body, is_there) in [(&kept, true), (&gone, false), (&beside, false)] {
        assert_eq!(journal.fetch(body_address(body)).await, Ok(is_there.then(|| body.clone())));
    }
    assert_eq!(journal.keep(gone.clone()).await, Ok(body_address(&gone)));
    assert_eq!(journal.fetch(body_address(&gone)).await, Ok(Some(gone)));
    assert_eq!(texts(journal, "a").await, ["x"]);
}

async fn a_slot_is_set_by_whoever_knows_what_it_holds(journal: &dyn Journal) {
    let (first, second, largest) = (Bytes::from_static(b"1"), Bytes::from_static(b"2"), Bytes::from(vec![3; SLOT_BYTES_MAX]));
    let steps = [
        // expected, value, told, held afterwards
        (None, None, Slot::Set, None),
        (Some(&first), Some(&second), Slot::Held(None), None),
        (None, Some(&first), Slot::Set, Some(&first)),
        (None, Some(&second), Slot::Held(Some(first.clone())), Some(&first)),
        (Some(&second), None, Slot::Held(Some(first.clone())), Some(&first)),
        (Some(&first), Some(&second), Slot::Set, Some(&second)),
        (Some(&second), Some(&second), Slot::Set, Some(&second)),
        (Some(&second), Some(&largest), Slot::Set, Some(&largest)),
        (Some(&largest), None, Slot::Set, None),
        (None, Some(&first), Slot::Set, Some(&first)),
    ];
    for (number, (expected, value, told, held)) in steps.into_iter().enumerate() {
        assert_eq!(journal.set(id("a"), expected.cloned(), value.cloned()).await, Ok(told), "step {number}");
        assert_eq!(journal.slot(id("a")).await, Ok(held.cloned()), "step {number}");
    }
    let too_large = Bytes::from(vec![3; SLOT_BYTES_MAX + 1]);
    let refused = journal.set(id("b"), None, Some(too_large)).await;
    assert_eq!(refused, Err(AppendError::TooLarge { limit: SLOT_BYTES_MAX }));
    assert_eq!(journal.slot(id("b")).await, Ok(None));
    // One of many wins.
    let told = (0..20_u8).map(|number| journal.set(id("c"), None, Some(Bytes::from(vec![number])))).collect::<Vec<_>>();
    let mut winners = Vec::new();
    for (number, told) in (0..20_u8).zip(told) {
        winners.extend((told.await == Ok(Slot::Set)).then_some(number));
    }
    assert_eq!(winners.len(), 1, "{winners:?}");
    assert_eq!(journal.slot(id("c")).await, Ok(Some(Bytes::from(winners))));
    assert_eq!(journal.health().head, 0);
}

async fn slots_are_listed_in_the_order_of_their_names(journal: &dyn Journal) {
    assert_eq!(journal.slots(None, 10).await, Ok(Vec::new()));
    let count = u64::from(SLOTS_PAGE_MAX) + 2;
    for number in (0..count).rev() {
        let value = Bytes::from(number.to_string());
        assert_eq!(journal.set(counted(1, number), None, Some(value)).await, Ok(Slot::Set));
    }
    assert_eq!(journal.set(counted(1, 1), Some(Bytes::from_static(b"1")), None).await, Ok(Slot::Set));
    let named = |numbers: &[u64]| -> Vec<(Digest, Bytes)> {
        numbers.iter().map(|number| (counted(1, *number), Bytes::from(number.to_string()))).collect()
    };
    assert_eq!(journal.slots(None, 3).await.unwrap(), named(&[0, 2, 3]));
    assert_eq!(journal.slots(Some(counted(1, 1)), 1).await.unwrap(), named(&[2]));
    assert_eq!(journal.slots(Some(counted(1, count - 2)), 9).await.unwrap(), named(&[count - 1]));
    assert_eq!(journal.slots(Some(counted(1, count - 1)), 9).await, Ok(Vec::new()));
    assert_eq!(journal.slots(None, 0).await, Ok(Vec::new()));
    assert_eq!(journal.slots(None, u32::MAX).await.unwrap().len(), SLOTS_PAGE_MAX as usize);
}

async fn bodies_are_listed_in_the_order_of_their_addresses(journal: &dyn Journal) {
    assert_eq!(journal.bodies(None, 10).await, Ok(Vec::new()));
    let count = BODIES_PAGE_MAX + 2;
    let bodies: Vec<Bytes> = (0..count).map(|number| Bytes::from(number.to_string())).collect();
    let mut addresses: Vec<Digest> = bodies.iter().map(|body| body_address(body)).collect();
    for some in bodies.chunks(100) {
        journal.append(Change { fence: None, writes: Vec::new(), bodies: some.to_vec() }).await.unwrap();
    }
    // What is kept twice is there once, and what was discarded is not.
    journal.keep(Bytes::from_static(b"7")).await.unwrap();
    addresses.sort_unstable();
    let gone = addresses.remove(3);
    journal.discard(vec![gone]).await.unwrap();
    assert_eq!(journal.bodies(None, 4).await.unwrap(), addresses[..4]);
    assert_eq!(journal.bodies(Some(gone), 2).await.unwrap(), addresses[3..5]);
    assert_eq!(journal.bodies(None, 0).await, Ok(Vec::new()));
    let mut listed = Vec::new();
    loop {
        let page = journal.bodies(listed.last().copied(), u32::MAX).await.unwrap();
        assert!(page.len() <= BODIES_PAGE_MAX as usize);
        match page.is_empty() {
            true => break,
            false => listed.extend(page),
        }
    }
    assert_eq!(listed, addresses);
}

/// Every error reads as a sentence.
#[test]
fn errors_speak_plainly() {
    let position = Position { sequence: 3, version: 1 };
    let cases = [
        (AppendError::Duplicate(position).to_string(), "the id was written before, at sequence 3"),
        (AppendError::Unavailable("overloaded".into()).to_string(), "the journal cannot write: overloaded"),
        (ReadError::Damaged("x".into()).to_string(), "the journal is damaged: x"),
    ];
    for (told, wanted) in cases {
        assert_eq!(told, wanted);
    }
}
