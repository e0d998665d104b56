//! The process is killed while it appends: everything that it was told of is there afterwards, once and in order.

use super::{DEADLINE, all, body, numbered, open};
use crate::journal::{Journal as _, body_address};
use std::collections::HashSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::sync::Arc;

/// Names the directory in which this process is the one that will be killed.
const VICTIM: &str = "AGENTGATE_JOURNAL_VICTIM";

const WRITERS: u64 = 4;
const ROUNDS: u64 = 5;

/// Appends until it is killed and prints the number of each change once it was acknowledged.
/// As an ordinary test it does nothing: `acknowledged_changes_survive_a_kill` starts it with a directory.
#[tokio::test]
async fn victim() {
    let Ok(directory) = std::env::var(VICTIM) else { return };
    let journal = Arc::new(open(directory.as_ref()));
    let start = journal.health().head * 10;
    let writers = (0..WRITERS).map(|writer| {
        let journal = Arc::clone(&journal);
        tokio::spawn(async move {
            for round in 0.. {
                let number = start + round * WRITERS + writer + 1;
                let appended = journal.append(numbered(number)).await.unwrap();
                writeln!(std::io::stdout(), "acknowledged {number} {}", appended.positions[0].sequence).unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
}

#[tokio::test]
async fn acknowledged_changes_survive_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let mut acknowledged = Vec::new();
    for round in 0..ROUNDS {
        let path = directory.path().to_owned();
        let more = tokio::task::spawn_blocking(move || kill_after(&path, 50 + 97 * round));
        acknowledged.extend(tokio::time::timeout(DEADLINE, more).await.unwrap().unwrap());
        if round == 2 {
            std::fs::remove_dir_all(directory.path().join("journal/index")).unwrap();
        }
        let journal = open(directory.path());
        assert!(journal.opening().damage.is_empty(), "{:?}", journal.opening());
        let records = all(&journal, 0).await;
        let numbers: Vec<u64> = records.iter().map(|record| String::from_utf8_lossy(&record.bytes).parse().unwrap()).collect();
        assert_eq!(numbers.iter().collect::<HashSet<_>>().len(), numbers.len());
        for (number, sequence) in &acknowledged {
            assert_eq!(numbers[*sequence as usize - 1], *number);
            assert_eq!(journal.fetch(body_address(&body(*number))).await, Ok(Some(body(*number))));
        }
        assert_eq!(journal.verify().await.unwrap(), []);
    }
}

/// Starts the victim, kills it after `count` acknowledgements, and returns all that it printed whole.
fn kill_after(directory: &std::path::Path, count: u64) -> Vec<(u64, u64)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["journal::tests::crash::victim", "--exact", "--nocapture", "--test-threads=1"])
        .env(VICTIM, directory)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut acknowledged = Vec::new();
    let mut line = String::new();
    while lines.read_line(&mut line).unwrap() > 0 && line.ends_with('\n') {
        // The test runner's own words stand before the first of ours.
        if let Some((_, rest)) = line.trim_end().split_once("acknowledged ") {
            let (number, sequence) = rest.split_once(' ').unwrap();
            acknowledged.push((number.parse().unwrap(), sequence.parse().unwrap()));
        }
        if acknowledged.len() as u64 == count {
            child.kill().unwrap();
        }
        line.clear();
    }
    child.wait().unwrap();
    assert!(acknowledged.len() as u64 >= count, "the victim ended by itself");
    acknowledged
}
