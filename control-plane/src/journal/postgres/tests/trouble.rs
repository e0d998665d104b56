//! Servers that are killed, replaced, rolled back, or told not to wait for their standby.

use super::{PATIENCE, all, heals, open, says};
use crate::clock::Clock;
use crate::journal::contract::{id, one, stream};
use crate::journal::postgres::{Postgres, Settings};
use crate::journal::{AppendError, Journal as _, ReadError};
use agentgate_e2e::postgres::Postgres as Server;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

fn set(server: &Server, setting: &str) {
    server.sql("postgres", &format!("ALTER SYSTEM {setting}")).unwrap();
    server.sql("postgres", "SELECT pg_reload_conf()").unwrap();
}

/// Until a statement on `server` says `wanted`.
async fn shows(server: &Server, statement: &str, wanted: &str) {
    let looking = async {
        while server.sql("postgres", statement).unwrap() != wanted {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.unwrap_or_else(|_| panic!("`{statement}` is not {wanted}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_wait_was_cut_is_unknown_until_it_is_durable() {
    let server = Server::start(&[]).unwrap();
    let (_, journal) = open(&server, None).await;
    for (number, cut) in (1..).zip(["pg_cancel_backend", "pg_terminate_backend"]) {
        set(&server, "SET synchronous_standby_names = 'nobody'");
        shows(&server, "SHOW synchronous_standby_names", "nobody").await;
        let told = journal.append(one("a", cut));
        let waits = "FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        shows(&server, &format!("SELECT count(*) {waits}"), "1").await;
        server.sql("postgres", &format!("SELECT {cut}(pid) {waits}")).unwrap();
        let told = tokio::time::timeout(PATIENCE, told).await.unwrap();
        assert!(matches!(told, Err(AppendError::Unknown(_))), "{cut}: {told:?}");
        assert!(journal.health().unavailable.is_some());
        // It is in the store, but the standby may never see it.
        assert!(matches!(journal.find(id(cut)).await, Err(ReadError::Unavailable(_))), "{cut}");
        set(&server, "RESET synchronous_standby_names");
        let last = heals(&journal, &format!("after {cut}")).await;
        assert_eq!(last, 2 * number);
        assert_eq!(journal.find(id(cut)).await.unwrap().unwrap().sequence, last - 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_loses_nothing_that_was_acknowledged() {
    const ACKNOWLEDGED: u64 = 200;
    let mut server = Server::start(&[]).unwrap();
    let (_, journal) = open(&server, None).await;
    let acknowledged = AtomicU64::new(0);
    let mut kept: HashMap<String, u64> = HashMap::new();
    for life in 0..3 {
        let begun = acknowledged.load(Ordering::SeqCst);
        let writer = |writer: u64| {
            let (journal, acknowledged) = (&journal, &acknowledged);
            async move {
                let mut told = Vec::new();
                for number in 0.. {
                    let name = format!("{life} {writer} {number}");
                    match journal.append(one(&format!("{writer}"), &name)).await {
                        Ok(appended) => told.push((name, Some(appended.positions[0].sequence))),
                        Err(AppendError::Unknown(_)) => {
                            told.push((name, None));
                            break;
                        }
                        Err(AppendError::Unavailable(_)) => break,
                        Err(other) => panic!("{other:?}"),
                    }
                    acknowledged.fetch_add(1, Ordering::SeqCst);
                }
                told
            }
        };
        let killing = async {
            while acknowledged.load(Ordering::SeqCst) < begun + ACKNOWLEDGED {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            server.kill();
        };
        let writers = async {
            let (a, b, c, d) = tokio::join!(writer(0), writer(1), writer(2), writer(3));
            [a, b, c, d]
        };
        let (told, ()) = tokio::time::timeout(PATIENCE, async { tokio::join!(writers, killing) }).await.unwrap();
        assert!(journal.health().unavailable.is_some());
        server.again().unwrap();
        heals(&journal, &format!("life {life}")).await;
        for (name, sequence) in told.into_iter().flatten() {
            let found = journal.find(id(&name)).await.unwrap().map(|position| position.sequence);
            if sequence.is_some() {
                assert_eq!(found, sequence, "{name}");
            }
            kept.extend(found.map(|found| (name, found)));
        }
    }
    let records = all(&journal, journal.health().head).await;
    assert!(records.iter().map(|record| record.sequence).eq(1..=records.len() as u64));
    let texts: HashMap<String, u64> =
        records.iter().map(|record| (String::from_utf8(record.bytes.to_vec()).unwrap(), record.sequence)).collect();
    assert_eq!(texts.len(), records.len(), "each once");
    for (name, sequence) in kept {
        assert_eq!(texts.get(&name), Some(&sequence), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_was_rolled_back_is_never_written_to_again() {
    let mut server = Server::start(&[]).unwrap();
    let (database, journal) = open(&server, None).await;
    journal.append(one("a", "1")).await.unwrap();
    server.stop();
    server.save("older").unwrap();
    server.again().unwrap();
    heals(&journal, "2").await;
    server.stop();
    server.restore("older").unwrap();
    server.again().unwrap();
    says(&journal, "a fork: sequence 2 was seen").await;
    // Another replica, which saw less, goes on; this one does not, even when the store is as long as it was.
    let (_, other) = open(&server, Some(&database)).await;
    for name in ["b", "c", "d"] {
        other.append(one("a", name)).await.unwrap();
    }
    let told = journal.append(one("a", "3")).await;
    assert!(matches!(&told, Err(AppendError::Unavailable(why)) if why.contains("a fork")), "{told:?}");
    assert_eq!(journal.read(stream("a"), 0, 10).await.unwrap().len(), 4);
}

/// Whether or not a write was in doubt when the store was lost: that doubt never ends, since nothing is written any more.
#[tokio::test(flavor = "multi_thread")]
async fn on_a_fork_what_is_there_is_read() {
    for is_in_doubt in [false, true] {
        let mut server = Server::start(&[]).unwrap();
        let (_, journal) = open(&server, None).await;
        journal.append(one("a", "kept")).await.unwrap();
        server.stop();
        server.save("older").unwrap();
        server.again().unwrap();
        heals(&journal, "seen").await;
        let mut doubtful = None;
        if is_in_doubt {
            set(&server, "SET synchronous_standby_names = 'nobody'");
            shows(&server, "SHOW synchronous_standby_names", "nobody").await;
            doubtful = Some(journal.append(one("a", "doubtful")));
            shows(&server, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'", "1").await;
        }
        server.kill();
        if let Some(told) = doubtful {
            let told = tokio::time::timeout(PATIENCE, told).await.unwrap();
            assert!(matches!(told, Err(AppendError::Unknown(_))), "{told:?}");
        }
        server.restore("older").unwrap();
        server.again().unwrap();
        says(&journal, "a fork: sequence 2 was seen").await;
        assert_eq!(journal.find(id("kept")).await.unwrap().unwrap().sequence, 1, "in doubt: {is_in_doubt}");
        for name in ["seen", "doubtful"] {
            assert_eq!(journal.find(id(name)).await, Ok(None), "{name}, in doubt: {is_in_doubt}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_takes_over_with_all_that_was_acknowledged() {
    let mut primary = Server::start(&[]).unwrap();
    let database = primary.database().unwrap();
    let standby = primary.standby().unwrap();
    set(&primary, "SET synchronous_standby_names = 'standby'");
    shows(&primary, "SELECT sync_state FROM pg_stat_replication", "sync").await;
    let hosts = format!("{},{}", primary.directory().display(), standby.directory().display());
    let ports = format!("{},{}", primary.port(), standby.port());
    let url = format!("host={hosts} port={ports} user=agentgate dbname={database}");
    let journal = Postgres::open(Settings::new(url, Clock::system())).await.unwrap();
    let mut acknowledged = Vec::new();
    for number in 0..50 {
        let name = format!("{number}");
        acknowledged.push((journal.append(one("a", &name)).await.unwrap().positions[0].sequence, name));
    }
    let under_way: Vec<_> = (50..60).map(|number| journal.append(one("a", &format!("{number}")))).collect();
    primary.kill();
    for told in under_way {
        match tokio::time::timeout(PATIENCE, told).await.unwrap() {
            Ok(_) | Err(AppendError::Unavailable(_) | AppendError::Unknown(_)) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    // Until somebody promotes the standby, nobody takes writes.
    says(&journal, "takes writes").await;
    assert!(matches!(journal.append(one("a", "no")).await, Err(AppendError::Unavailable(_))));
    standby.sql("postgres", "SELECT pg_promote()").unwrap();
    heals(&journal, "healed").await;
    for (sequence, name) in acknowledged {
        assert_eq!(journal.find(id(&name)).await.unwrap().unwrap().sequence, sequence);
    }
    assert_eq!(journal.find(id("no")).await, Ok(None));
}
