//! What the embedded journal does when the world fails it. What every backend must do stands in `contract.rs`.

#![expect(clippy::cast_possible_truncation, reason = "small numbers in tests")]

mod bounds;
mod crash;
mod damage;
mod discard;
mod disks;
mod faults;
mod files;
mod form;
mod loss;
mod model;
mod recorder;
mod slots;
mod spoiled;

use super::contract::{id, one, stream};
use super::embedded::{Embedded, Settings};
use super::{Change, Journal as _, Record, body_address};
use bytes::Bytes;
use std::path::Path;
use std::time::Duration;

/// Longer than any of this takes on a loaded machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// Small segments, so that few groups fill one.
fn small(directory: &Path) -> Settings {
    Settings {
        segment_bytes: 64 << 10,
        change_bytes_max: 32 << 10,
        heal_every: Duration::from_millis(5),
        ..Settings::new(directory.join("journal"))
    }
}

fn open(directory: &Path) -> Embedded {
    Embedded::open(small(directory)).unwrap()
}

/// Number `number`, on one of three streams, with a body of its own.
fn numbered(number: u64) -> Change {
    let name = format!("{number}");
    Change { bodies: vec![body(number)], ..one(["a", "b", "c"][(number % 3) as usize], &name) }
}

fn body(number: u64) -> Bytes {
    Bytes::from(format!("body {number} ").repeat(10))
}

/// Appends `numbers` one by one: a group each.
async fn append_each(journal: &Embedded, numbers: std::ops::RangeInclusive<u64>) {
    for number in numbers {
        journal.append(numbered(number)).await.unwrap();
    }
}

/// All records after `cursor` that are there now.
async fn all(journal: &Embedded, mut cursor: u64) -> Vec<Record> {
    let mut records = Vec::new();
    while cursor < journal.health().head {
        let page = journal.follow(cursor, 64).await.unwrap();
        cursor = page.last().unwrap().sequence;
        records.extend(page);
    }
    records
}

/// Exactly the changes 1 to `last` are there, in order, each with its body.
async fn check_holds(journal: &Embedded, last: u64) {
    let records = all(journal, 0).await;
    let numbers: Vec<_> = records.iter().map(|record| String::from_utf8_lossy(&record.bytes).into_owned()).collect();
    assert_eq!(numbers, (1..=last).map(|number| number.to_string()).collect::<Vec<_>>());
    assert!(records.iter().zip(1..).all(|(record, sequence)| record.sequence == sequence));
    for number in 1..=last {
        assert_eq!(journal.fetch(body_address(&body(number))).await, Ok(Some(body(number))), "body {number}");
        assert_eq!(journal.find(id(&number.to_string())).await.unwrap().map(|found| found.sequence), Some(number));
    }
    let streams: u64 = {
        let mut sum = 0;
        for name in ["a", "b", "c"] {
            sum += journal.version(stream(name)).await.unwrap();
        }
        sum
    };
    assert_eq!(streams, last);
}

/// Waits until `condition` holds.
async fn eventually(condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, wait).await.unwrap();
}
