//! Databases that may not keep a journal, and what is not what was written.

use super::{PATIENCE, all, heals, open, says};
use crate::clock::Clock;
use crate::journal::contract::{one, stream};
use crate::journal::postgres::link::Connector;
use crate::journal::postgres::standing::{Seen, Standing, record_digest};
use crate::journal::postgres::{OpenError, Postgres, Settings, writer};
use crate::journal::{AppendError, Journal as _, ReadError, body_address};
use agentgate_core::error::chain;
use agentgate_core::time::Time;
use agentgate_e2e::postgres::Postgres as Server;
use bytes::Bytes;

async fn refused(settings: Settings) -> String {
    chain(&Postgres::open(settings).await.map(|_| ()).unwrap_err())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_would_lose_what_it_acknowledged_is_refused() {
    let server = Server::start(&[]).unwrap();
    let (database, journal) = open(&server, None).await;
    let set = |setting: &str| {
        server.sql("postgres", &format!("ALTER SYSTEM {setting}")).unwrap();
        server.sql("postgres", "SELECT pg_reload_conf()").unwrap();
    };
    for (name, value) in [("fsync", "off"), ("full_page_writes", "off"), ("synchronous_commit", "local")] {
        set(&format!("SET {name} = {value}"));
        let wanted = format!("`{name}` is `{value}`");
        let settings = || Settings::new(server.url(&database), Clock::system());
        let asked = tokio::time::timeout(PATIENCE, async {
            loop {
                // The server takes its new settings up when it likes.
                match Postgres::open(settings()).await {
                    Ok(_) => {}
                    Err(error) => return chain(&error),
                }
            }
        });
        let said = asked.await.unwrap();
        assert!(said.contains(&wanted), "{name}: {said}");
        if name != "synchronous_commit" {
            // One that is open stops, and goes on by itself. What a session is set to, it keeps.
            tokio::time::timeout(PATIENCE, async {
                while journal.append(one("a", name)).await.is_ok() || journal.health().unavailable.is_none() {}
            })
            .await
            .unwrap_or_else(|_| panic!("{name}"));
        }
        set(&format!("RESET {name}"));
        heals(&journal, name).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_cannot_be_used_is_named() {
    let server = Server::shared().unwrap();
    let reads_only = server.database().unwrap();
    server.sql("postgres", &format!("ALTER DATABASE {reads_only} SET default_transaction_read_only = on")).unwrap();
    let settings = |url: String| Settings::new(url, Clock::system());
    let url = server.url(&reads_only);
    let cases = [
        (settings(url.clone()), "no host of `journal.url` takes writes"),
        (settings("postgresql://u:secret@h:port/d".into()), "`journal.url` cannot be used"),
        (settings(server.url("nowhere")), "does not exist"),
        (settings("host=/nowhere user=agentgate".into()), "cannot be reached"),
        (Settings { password: Some("/nowhere".into()), ..settings(url.clone()) }, "`journal.password`: cannot read `/nowhere`"),
        (Settings { authority: Some("/nowhere".into()), ..settings(url) }, "`journal.authority`: `/nowhere` cannot be used"),
    ];
    for (settings, wanted) in cases {
        let said = refused(settings).await;
        assert!(said.contains(wanted) && !said.contains("secret"), "`{wanted}`: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_too_far_from_the_stores_writes_nothing() {
    let server = Server::shared().unwrap();
    let (clock, hands) = Clock::manual(Clock::system().now());
    let settings = || Settings::new(server.url(&server.database().unwrap()), clock.clone());
    // The hands stand still by themselves: whatever takes a second on a loaded machine would be far from the store's clock.
    let moving = || async {
        loop {
            hands.set(Clock::system().now());
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let opening = async {
        let settings = settings();
        loop {
            match Postgres::open(settings.clone()).await {
                Ok(journal) => return journal,
                Err(error) => assert!(chain(&error).contains("set both by NTP"), "{error:?}"),
            }
        }
    };
    let journal = tokio::select! {
        opened = tokio::time::timeout(PATIENCE, opening) => opened.unwrap(),
        () = moving() => unreachable!("it moves for ever"),
    };
    for (apart_us, number) in [(3_600_000_000_i64, 1), (-3_600_000_000, 2)] {
        hands.set(Time::from_micros(Clock::system().now().micros().checked_add_signed(apart_us).unwrap()));
        let told = journal.append(one("a", &format!("{number}"))).await;
        assert!(matches!(&told, Err(AppendError::Unavailable(why)) if why.contains("s from the store's")), "{told:?}");
        says(&journal, "set both by NTP").await;
        assert!(refused(settings()).await.contains("set both by NTP"));
        let name = format!("again {number}");
        tokio::select! {
            head = heals(&journal, &name) => assert_eq!(head, number),
            () = moving() => unreachable!("it moves for ever"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_not_the_one_that_was_seen_is_a_fork() {
    let server = Server::shared().unwrap();
    let (database, journal) = open(server, None).await;
    for name in ["1", "2"] {
        journal.append(one("a", name)).await.unwrap();
    }
    let second = journal.read(stream("a"), 1, 1).await.unwrap().remove(0);
    let seen = Seen { sequence: 2, id: second.id, digest: record_digest(&second.bytes) };
    let clock = Clock::system();
    let connector = Connector::new(&Settings::new(server.url(&database), clock.clone())).unwrap();
    let cases = [
        (seen, true),
        (Seen { digest: record_digest(b"another"), ..seen }, false),
        (Seen { id: seen.digest, ..seen }, false),
        (Seen { sequence: 3, ..seen }, false),
        (Seen { sequence: 1, ..seen }, false),
    ];
    for (seen, is_ours) in cases {
        let standing = Standing::new();
        standing.saw(seen);
        let told = writer::ready(&connector, &clock, &standing, false).await.map(|_| ());
        let is_fork = matches!(&told, Err(OpenError::Unfit(why)) if why.starts_with("a fork: "));
        assert_eq!((told.is_ok(), is_fork, standing.is_forked()), (is_ours, !is_ours, !is_ours), "{seen:?}: {told:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_what_was_written_is_damage_and_the_rest_is_read() {
    let server = Server::shared().unwrap();
    let (database, journal) = open(server, None).await;
    for name in ["1", "2", "3", "4", "5"] {
        journal.append(one("a", name)).await.unwrap();
    }
    let body = Bytes::from_static(b"a body");
    journal.keep(body.clone()).await.unwrap();
    server.sql(&database, "UPDATE agentgate.records SET bytes = 'x' WHERE sequence = 2").unwrap();
    server.sql(&database, "DELETE FROM agentgate.records WHERE sequence = 4").unwrap();
    server.sql(&database, "UPDATE agentgate.bodies SET bytes = 'x'").unwrap();
    let damaged = |told: Result<_, ReadError>| matches!(told, Err(ReadError::Damaged(_)));
    for after in 0..5 {
        let (followed, read) = (journal.follow(after, 10).await, journal.read(stream("a"), after, 10).await);
        assert_eq!(followed, read, "after {after}");
        match after {
            1 | 3 => assert!(damaged(followed), "after {after}"),
            _ => assert_eq!(followed.unwrap().iter().map(|record| record.sequence).collect::<Vec<_>>(), [after + 1]),
        }
    }
    assert!(matches!(journal.fetch(body_address(&body)).await, Err(ReadError::Damaged(_))));
    server.sql(&database, "DELETE FROM agentgate.records WHERE sequence = 5").unwrap();
    assert!(damaged(journal.follow(4, 10).await));
    assert_eq!(all(&journal, 1).await.len(), 1);
}
