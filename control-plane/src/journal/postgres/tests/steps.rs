//! The schema's steps, forward and back, with data in it.

use crate::clock::Clock;
use crate::journal::contract::{id, one, stream};
use crate::journal::postgres::{CURRENT, Postgres, Settings, migrate};
use crate::journal::{Change, Journal as _, Slot, body_address};
use agentgate_core::error::chain;
use agentgate_e2e::postgres::Postgres as Server;
use bytes::Bytes;

#[tokio::test(flavor = "multi_thread")]
async fn steps_go_forward_and_back_and_lose_nothing_that_cannot_be_made_again() {
    let server = Server::shared().unwrap();
    let database = server.database().unwrap();
    let settings = Settings::new(server.url(&database), Clock::system());
    migrate(&settings, CURRENT).await.unwrap();
    let (body, value) = (Bytes::from_static(b"body"), Bytes::from_static(b"value"));
    let journal = Postgres::open(settings.clone()).await.unwrap();
    for number in 0..50 {
        let bodies = vec![body.clone()];
        journal.append(Change { bodies, ..one("a", &format!("{number}")) }).await.unwrap();
    }
    assert_eq!(journal.set(id("slot"), None, Some(value.clone())).await, Ok(Slot::Set));
    let before = journal.read(stream("a"), 0, 100).await.unwrap();
    drop(journal);
    for to in (1..CURRENT).rev().chain(2..=CURRENT) {
        migrate(&settings, to).await.unwrap();
        let taken = server.sql(&database, "SELECT count(*) FROM agentgate.migrations").unwrap();
        assert_eq!(taken, to.to_string());
        let refused = Postgres::open(Settings { migrate: false, ..settings.clone() }).await.map(|_| ());
        let said = refused.as_ref().map_or_else(|error| chain(error), |()| String::new());
        assert_eq!(said.contains(&format!("the database has schema {to}, this program needs {CURRENT}")), to < CURRENT, "{said}");
    }
    migrate(&settings, 1).await.unwrap();
    // The start takes the step by itself, and the digests that it makes are those that the journal compares with.
    let journal = Postgres::open(settings.clone()).await.unwrap();
    assert_eq!(journal.read(stream("a"), 0, 100).await.unwrap(), before);
    assert_eq!(journal.fetch(body_address(&body)).await, Ok(Some(body)));
    assert_eq!(journal.slot(id("slot")).await, Ok(Some(value)));
    drop(journal);
    migrate(&settings, 0).await.unwrap();
    assert_eq!(server.sql(&database, "SELECT count(*) FROM pg_tables WHERE schemaname = 'agentgate'").unwrap(), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_is_not_ours_is_refused() {
    let server = Server::shared().unwrap();
    let cases = [
        (
            "INSERT INTO agentgate.migrations (number, name, digest) VALUES (3, 'x', 'x')",
            "has schema 3, this program knows up to 2",
        ),
        (
            "UPDATE agentgate.migrations SET digest = 'x' WHERE number = 2",
            "step 2 of the database's schema is not this program's",
        ),
        ("DELETE FROM agentgate.migrations WHERE number = 1", "step 2 of the database's schema is not this program's"),
    ];
    for (statement, wanted) in cases {
        let database = server.database().unwrap();
        let settings = Settings::new(server.url(&database), Clock::system());
        migrate(&settings, CURRENT).await.unwrap();
        server.sql(&database, statement).unwrap();
        for may_migrate in [true, false] {
            let opened = Postgres::open(Settings { migrate: may_migrate, ..settings.clone() }).await;
            let said = chain(&opened.map(|_| ()).unwrap_err());
            assert!(said.contains(wanted), "{said}");
        }
        assert!(chain(&migrate(&settings, 1).await.unwrap_err()).contains(wanted));
    }
    let settings = Settings::new(server.url(&server.database().unwrap()), Clock::system());
    assert!(chain(&migrate(&settings, CURRENT + 1).await.unwrap_err()).contains("this program knows 0 to 2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_begin_at_once_make_one_schema() {
    let server = Server::shared().unwrap();
    let settings = Settings::new(server.url(&server.database().unwrap()), Clock::system());
    let open = || Postgres::open(settings.clone());
    let (first, second, third, fourth) = tokio::join!(open(), open(), open(), open());
    for (number, journal) in [first, second, third, fourth].into_iter().enumerate() {
        let appended = journal.unwrap().append(one("a", &format!("{number}"))).await.unwrap();
        assert_eq!(appended.positions[0].sequence, number as u64 + 1);
    }
}
