//! Any changes, in any order, with restarts in between: the embedded journal answers as the one in memory does.

use super::small;
use crate::journal::contract::{counted, id, stream};
use crate::journal::embedded::Embedded;
use crate::journal::memory::Memory;
use crate::journal::{Change, Epochs, Expected, Journal, Stream, Write, body_address};
use agentgate_core::digest::Digest;
use bytes::Bytes;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    /// Changes that are under way together.
    Append(Vec<Change>),
    Keep(u8),
    Discard(Vec<u8>),
    /// Of one of few slots: what it is expected to hold, and what it shall hold.
    Set(u8, Option<u8>, Option<u8>),
    Slots(u8, u32),
    Read(u8, u64, u32),
    Follow(u64, u32),
    /// The embedded journal is closed and opened again; without its index when true.
    Reopen(bool),
}

fn any_stream() -> impl Strategy<Value = Stream> {
    (0..3_u8).prop_map(|number| if number == 0 { Stream::global() } else { stream(&number.to_string()) })
}

fn any_body() -> impl Strategy<Value = Bytes> {
    (0..20_u8).prop_map(body)
}

fn body(number: u8) -> Bytes {
    Bytes::from(vec![number; usize::from(number) * 100])
}

/// Half of them strangers to each other, half counted.
fn any_id() -> impl Strategy<Value = Digest> {
    prop_oneof![
        (0..60_u32).prop_map(|name| id(&name.to_string())),
        (0..2_u8, 0..30_u64).prop_map(|(family, counter)| counted(family, counter))
    ]
}

fn any_write() -> impl Strategy<Value = Write> {
    let expected = prop_oneof![Just(Expected::Any), (0..6_u64).prop_map(Expected::Exactly)];
    (any_stream(), expected, any_id(), 0..900_usize).prop_map(|(stream, expected, id, length)| Write {
        stream,
        expected,
        id,
        record: vec![b'r'; length].into(),
    })
}

fn any_change() -> impl Strategy<Value = Change> {
    let fence = prop_oneof![3 => Just(None), 1 => (0..3_u64).prop_map(|global| Some(Epochs { global }))];
    (fence, prop::collection::vec(any_write(), 0..4), prop::collection::vec(any_body(), 0..3))
        .prop_map(|(fence, writes, bodies)| Change { fence, writes, bodies })
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop::collection::vec(any_change(), 1..6).prop_map(Step::Append),
        1 => (0..30_u8).prop_map(Step::Keep),
        1 => prop::collection::vec(0..30_u8, 0..6).prop_map(Step::Discard),
        4 => (0..3_u8, prop::option::of(0..3_u8), prop::option::of(0..3_u8))
            .prop_map(|(name, expected, value)| Step::Set(name, expected, value)),
        1 => (0..3_u8, 0..4_u32).prop_map(|(after, limit)| Step::Slots(after, limit)),
        2 => (0..3_u8, 0..8_u64, 0..8_u32).prop_map(|(stream, after, limit)| Step::Read(stream, after, limit)),
        2 => (0..30_u64, 1..8_u32).prop_map(|(cursor, limit)| Step::Follow(cursor, limit)),
        1 => any::<bool>().prop_map(Step::Reopen),
    ]
}

async fn equal(memory: &Memory, embedded: &Embedded, step: Step) {
    match step {
        Step::Append(changes) => {
            let told: Vec<_> =
                changes.iter().map(|change| (memory.append(change.clone()), embedded.append(change.clone()))).collect();
            for (wanted, told) in told {
                // `missing` may be longer here: the group may have gone on before it was read.
                let (wanted, told) = (wanted.await, told.await);
                assert_eq!(format!("{:?}", shortened(told)), format!("{:?}", shortened(wanted)));
            }
        }
        Step::Keep(number) => assert_eq!(embedded.keep(body(number)).await, memory.keep(body(number)).await),
        Step::Discard(numbers) => {
            let addresses: Vec<_> = numbers.iter().map(|number| body_address(&body(*number))).collect();
            assert_eq!(embedded.discard(addresses.clone()).await, memory.discard(addresses).await);
        }
        Step::Set(name, expected, value) => {
            let (name, held) = (id(&name.to_string()), |value: Option<u8>| value.map(|value| Bytes::from(vec![value; 300])));
            let told = embedded.set(name, held(expected), held(value)).await;
            assert_eq!(told, memory.set(name, held(expected), held(value)).await);
            assert_eq!(embedded.slot(name).await, memory.slot(name).await);
        }
        Step::Slots(after, limit) => {
            let after = (after > 0).then(|| id(&after.to_string()));
            assert_eq!(embedded.slots(after, limit).await, memory.slots(after, limit).await);
        }
        Step::Read(number, after, limit) => {
            let stream = if number == 0 { Stream::global() } else { stream(&number.to_string()) };
            assert_eq!(embedded.read(stream, after, limit).await, memory.read(stream, after, limit).await);
            assert_eq!(embedded.version(stream).await, memory.version(stream).await);
        }
        Step::Follow(cursor, limit) if cursor < memory.health().head => {
            assert_eq!(embedded.follow(cursor, limit).await, memory.follow(cursor, limit).await);
        }
        Step::Follow(..) | Step::Reopen(_) => {}
    }
}

/// A conflict without the records that were appended after it was found.
fn shortened(
    told: Result<crate::journal::Appended, crate::journal::AppendError>,
) -> Result<crate::journal::Appended, crate::journal::AppendError> {
    told.map_err(|mut error| {
        if let crate::journal::AppendError::Conflict { now, missing, .. } = &mut error {
            missing.retain(|record| record.version <= *now);
        }
        error
    })
}

async fn play(steps: Vec<Step>) {
    let directory = tempfile::tempdir().unwrap();
    let memory = Memory::new();
    let mut embedded = Embedded::open(small(directory.path())).unwrap();
    for step in steps {
        if let Step::Reopen(without_index) = step {
            drop(embedded);
            if without_index {
                std::fs::remove_dir_all(directory.path().join("journal/index")).unwrap();
            }
            embedded = Embedded::open(small(directory.path())).unwrap();
        } else {
            equal(&memory, &embedded, step).await;
        }
    }
    assert_eq!(embedded.health().head, memory.health().head);
    assert_eq!(embedded.verify().await.unwrap(), []);
    let names = (0..60).map(|name| id(&name.to_string()));
    for id in names.chain((0..60).map(|number| counted(number % 2, u64::from(number / 2)))) {
        assert_eq!(embedded.find(id).await, memory.find(id).await);
    }
    for number in 0..30 {
        let address = body_address(&body(number));
        assert_eq!(embedded.fetch(address).await, memory.fetch(address).await);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn embedded_answers_as_memory_does(steps in prop::collection::vec(any_step(), 1..30)) {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(play(steps));
    }
}
