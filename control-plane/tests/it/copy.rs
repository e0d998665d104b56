//! What a copy of a journal refuses, and how it goes on where one was left. The whole of it, between real backends, is a
//! story in `e2e/tests/stories/replicas.rs`.

use agentgate_control_plane::copy::{CopyError, Step, copy, copying_slot};
use agentgate_control_plane::journal::{BODIES_PAGE_MAX, Change, Expected, Journal, Memory, Record, Stream, Write};
use agentgate_core::digest::Digest;
use agentgate_core::transparency::tree::Frontier;
use agentgate_proto::v1;
use agentgate_proto::v1::record::What;
use bytes::Bytes;
use prost::Message as _;

fn named(name: &str) -> Digest {
    Digest::of("agentgate/test/1", name.as_bytes())
}

fn write(number: u64, text: &str) -> Write {
    let body = v1::BodyRef { commitment: Bytes::copy_from_slice(text.as_bytes()), ..Default::default() };
    let kill = v1::KillRecord { resumed: false, body: Some(body) };
    let record = v1::Record { at_us: number, what: Some(What::Kill(kill)) };
    let stream = Stream(named(&format!("stream {}", number % 3)));
    Write { stream, expected: Expected::Any, id: named(&format!("id {number}")), record: record.encode_to_vec().into() }
}

/// A journal of so many records, as many bodies, and a few slots.
async fn journal(count: u64, text: &str) -> Memory {
    let journal = Memory::new();
    for number in 0..count {
        let bodies = vec![Bytes::from(format!("body {number} {text}"))];
        journal.append(Change { fence: None, writes: vec![write(number, text)], bodies }).await.unwrap();
    }
    for number in 0..5_u8 {
        let value = Bytes::from(vec![number; 40]);
        journal.set(named(&format!("slot {number}")), None, Some(value)).await.unwrap();
    }
    journal
}

async fn all(journal: &Memory) -> Vec<Record> {
    let mut records: Vec<Record> = Vec::new();
    while (records.len() as u64) < journal.health().head {
        records.extend(journal.follow(records.len() as u64, 1_000).await.unwrap());
    }
    records
}

async fn copied(from: &Memory, to: &Memory) -> Result<(), CopyError> {
    copy(from, to, &mut |_, _| ()).await.map(drop)
}

#[tokio::test]
async fn everything_is_there_afterwards_and_nothing_else() {
    for count in [0, 1, u64::from(BODIES_PAGE_MAX) + 3] {
        let (from, to) = (journal(count, "a").await, Memory::new());
        let copied = copy(&from, &to, &mut |_, _| ()).await.unwrap();
        assert_eq!((copied.head, copied.bodies, copied.slots, copied.signed), (count, count, 5, None));
        assert_eq!(all(&from).await, all(&to).await);
        assert_eq!(from.slots(None, 100).await, to.slots(None, 100).await);
        let mut tree = Frontier::default();
        for record in all(&from).await {
            tree.push(agentgate_control_plane::transparency::entry(&record).unwrap().leaf_hash()).unwrap();
        }
        assert_eq!(copied.root, tree.root());
    }
}

#[tokio::test]
async fn a_target_that_holds_anything_is_refused_and_left_as_it_was() {
    let (records, bodies, slots) = (Memory::new(), Memory::new(), Memory::new());
    records.append(Change { fence: None, writes: vec![write(1, "b")], bodies: Vec::new() }).await.unwrap();
    bodies.keep(Bytes::from_static(b"b")).await.unwrap();
    slots.set(named("b"), None, Some(Bytes::from_static(b"b"))).await.unwrap();
    for (to, holds) in [(records, "records"), (bodies, "bodies"), (slots, "slots")] {
        let (head, kept) = (to.health().head, to.slots(None, 10).await);
        let told = copied(&journal(3, "a").await, &to).await;
        assert!(matches!(told, Err(CopyError::NotEmpty { what }) if what == holds), "{told:?}");
        assert_eq!((to.health().head, to.slots(None, 10).await), (head, kept));
    }
}

#[tokio::test]
async fn a_copy_that_was_cut_off_goes_on_and_one_of_another_journal_does_not() {
    for cut in [Step::Bodies, Step::Records { of: 0 }, Step::Slots, Step::Comparing { of: 0 }] {
        let (from, to) = (journal(2_100, "a").await, Memory::new());
        // The disk is full from the step on: what would be written next is not.
        let mut fill = |step: Step, _| {
            if std::mem::discriminant(&step) == std::mem::discriminant(&cut) {
                to.refuse(Some("full"));
            }
        };
        let told = copy(&from, &to, &mut fill).await;
        assert!(matches!(told, Err(CopyError::Write(_))), "{cut:?}: {told:?}");
        to.refuse(None);
        assert!(to.slot(copying_slot()).await.unwrap().is_some(), "nobody takes it for a journal");
        let other = copied(&journal(2_100, "b").await, &to).await;
        assert!(matches!(other, Err(CopyError::Other)), "{other:?}");
        let onward = copied(&to, &Memory::new()).await;
        assert!(matches!(onward, Err(CopyError::Unfinished)), "{onward:?}");
        copied(&from, &to).await.unwrap();
        assert_eq!(all(&from).await, all(&to).await);
        assert_eq!(to.slot(copying_slot()).await, Ok(None));
    }
}

#[tokio::test]
async fn a_source_that_is_written_meanwhile_is_noticed() {
    for during in [Step::Records { of: 0 }, Step::Slots, Step::ComparingBodies] {
        let (from, to) = (journal(20, "a").await, Memory::new());
        let mut written = false;
        let told = copy(&from, &to, &mut |step, _| {
            if !written && std::mem::discriminant(&step) == std::mem::discriminant(&during) {
                written = true;
                // In memory it happened when it was called.
                drop(from.append(Change { fence: None, writes: vec![write(99, "late")], bodies: Vec::new() }));
            }
        })
        .await;
        assert!(matches!(told, Err(CopyError::Written)), "{during:?}: {told:?}");
        assert!(to.slot(copying_slot()).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn a_target_that_somebody_else_wrote_to_is_no_copy() {
    let (from, to) = (journal(20, "a").await, Memory::new());
    let told = copy(&from, &to, &mut |step, _| {
        if step == Step::Bodies {
            drop(to.append(Change { fence: None, writes: vec![write(99, "strange")], bodies: Vec::new() }));
        }
    })
    .await;
    assert!(matches!(told, Err(CopyError::Different(_))), "{told:?}");
    let body = Bytes::from_static(b"strange");
    let to = Memory::new();
    let told = copy(&from, &to, &mut |step, _| {
        if step == Step::Slots {
            drop(to.keep(body.clone()));
        }
    })
    .await;
    assert!(matches!(told, Err(CopyError::Different(_))), "{told:?}");
}
