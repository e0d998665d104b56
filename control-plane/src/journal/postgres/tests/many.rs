//! Several replicas on one database, and whoever else uses it.

use super::{PATIENCE, all, open};
use crate::clock::Clock;
use crate::journal::contract::{change, id, one, stream, write};
use crate::journal::postgres::link::{Connector, Link};
use crate::journal::postgres::standing::record_digest;
use crate::journal::postgres::{Postgres, Settings};
use crate::journal::{Expected, Journal as _};
use agentgate_core::digest::Digest;
use agentgate_e2e::postgres::Postgres as Server;
use std::time::Duration;

async fn somebody(server: &Server, database: &str) -> Link {
    Connector::new(&Settings::new(server.url(database), Clock::system())).unwrap().connect().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_win_in_turn_and_all_followers_agree() {
    const ROUNDS: u64 = 100;
    let server = Server::shared().unwrap();
    let (database, left) = open(server, None).await;
    let (_, right) = open(server, Some(&database)).await;
    let rounds = |journal: &Postgres, name: &'static str| {
        let told: Vec<_> = (0..ROUNDS)
            .map(|version| {
                let contested = write("a", Expected::Exactly(version), &format!("{name} {version}"));
                let own = write(name, Expected::Exactly(version), &format!("{name}'s own {version}"));
                (journal.append(change(vec![contested])), journal.append(change(vec![own])))
            })
            .collect();
        async move {
            let mut won = 0;
            for (contested, own) in told {
                won += u64::from(contested.await.is_ok());
                own.await.unwrap();
            }
            won
        }
    };
    let both = async { tokio::join!(rounds(&left, "left"), rounds(&right, "right")) };
    let (of_left, of_right) = tokio::time::timeout(PATIENCE, both).await.unwrap();
    assert_eq!((of_left + of_right, left.version(stream("a")).await), (ROUNDS, Ok(ROUNDS)));
    let head = 3 * ROUNDS;
    let (by_left, by_right) = tokio::join!(all(&left, head), all(&right, head));
    assert_eq!(by_left, by_right);
    assert!(by_left.iter().map(|record| record.sequence).eq(1..=head));
    // Alone, one at a time and in turns, both win: neither is locked out.
    for (number, journal) in [&left, &right, &left, &right].into_iter().enumerate() {
        let next = write("a", Expected::Exactly(ROUNDS + number as u64), &format!("turn {number}"));
        assert!(journal.append(change(vec![next])).await.is_ok());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_commit_is_never_skipped() {
    let server = Server::shared().unwrap();
    let (database, journal) = open(server, None).await;
    journal.append(one("a", "first")).await.unwrap();
    // Another replica has the head, has written, and does not commit.
    let late = somebody(server, &database).await;
    late.run("BEGIN; SELECT sequence FROM agentgate.head FOR UPDATE").await.unwrap();
    let digest = record_digest(b"late").to_string();
    let insert = format!(
        "INSERT INTO agentgate.records (sequence, stream, version, id, digest, bytes) \
         VALUES (2, decode('{0}', 'hex'), 1, decode('{0}', 'hex'), decode('{0}', 'hex'), 'late'); \
         UPDATE agentgate.head SET sequence = 2",
        digest
    );
    late.run(&insert).await.unwrap();
    let own = journal.append(one("a", "own"));
    // Nobody sees what comes after it before it is seen.
    let early = tokio::time::timeout(Duration::from_millis(500), journal.follow(1, 10)).await;
    assert!(early.is_err(), "{early:?}");
    late.run("COMMIT").await.unwrap();
    assert_eq!(own.await.unwrap().positions[0].sequence, 3);
    let texts: Vec<_> = all(&journal, 3).await.into_iter().map(|record| record.bytes).collect();
    assert_eq!(texts, ["first", "late", "own"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_writer_in_another_database_holds_nobody_up() {
    let server = Server::shared().unwrap();
    let elsewhere = server.database().unwrap();
    let idle = somebody(server, &elsewhere).await;
    idle.run("SET idle_in_transaction_session_timeout = 0; CREATE TABLE x (y int); BEGIN; INSERT INTO x VALUES (1)")
        .await
        .unwrap();
    let (_, journal) = open(server, None).await;
    for number in 1..=3 {
        journal.append(one("a", &format!("{number}"))).await.unwrap();
        assert_eq!(all(&journal, number).await.len() as u64, number);
    }
    idle.run("COMMIT").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_stops_within_its_turn_is_put_out() {
    let server = Server::shared().unwrap();
    let (database, journal) = open(server, None).await;
    let stuck = somebody(server, &database).await;
    stuck.run("BEGIN; SELECT sequence FROM agentgate.head FOR UPDATE").await.unwrap();
    let told = tokio::time::timeout(PATIENCE, journal.append(one("a", "behind it"))).await.unwrap();
    assert_eq!(told.unwrap().positions[0].sequence, 1);
    assert!(stuck.run("COMMIT").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_replica_writes_is_told_to_who_waits() {
    let server = Server::shared().unwrap();
    let (database, left) = open(server, None).await;
    let (_, right) = open(server, Some(&database)).await;
    let waiting = left.follow(0, 10);
    let (followed, told) = tokio::join!(tokio::time::timeout(PATIENCE, waiting), right.append(one("a", "x")));
    assert_eq!(followed.unwrap().unwrap()[0].sequence, told.unwrap().positions[0].sequence);
    assert_eq!(left.find(id("x")).await.unwrap().unwrap().sequence, 1);
    let looking = async {
        while left.health().bytes == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_record_that_was_found_or_that_a_slot_tells_of_is_beyond_the_head_that_is_known() {
    let server = Server::shared().unwrap();
    let (database, journal) = open(server, None).await;
    // A replica that is killed as soon as it has committed: nobody is told.
    let killed = somebody(server, &database).await;
    let digest = record_digest(b"x").to_string();
    let name = Digest::of("test", b"slot");
    for number in 1..=30_u64 {
        let id = id(&number.to_string());
        let commit = format!(
            "BEGIN; INSERT INTO agentgate.records (sequence, stream, version, id, digest, bytes) \
             VALUES ({number}, decode('{0}', 'hex'), {number}, decode('{id}', 'hex'), decode('{digest}', 'hex'), 'x'); \
             UPDATE agentgate.head SET sequence = {number}; DELETE FROM agentgate.slots; \
             INSERT INTO agentgate.slots (name, value) VALUES (decode('{name}', 'hex'), '{number}'); COMMIT",
            stream("a").0
        );
        killed.run(&commit).await.unwrap();
        let how = match number % 3 {
            0 => {
                assert_eq!(journal.slot(name).await.unwrap(), Some(number.to_string().into()));
                "a slot"
            }
            1 => {
                assert_eq!(journal.find(id).await.unwrap().unwrap().sequence, number);
                "an id"
            }
            _ => {
                assert_eq!(journal.read(stream("a"), number - 1, 1).await.unwrap()[0].sequence, number);
                "a stream"
            }
        };
        assert!(journal.health().head >= number, "{how}");
    }
}
