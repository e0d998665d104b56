//! What only a real database can show.

mod many;
mod refusals;
mod steps;
mod tls;
mod trouble;

use super::{Postgres, Settings};
use crate::clock::Clock;
use crate::journal::contract::one;
use crate::journal::{AppendError, Journal as _, Record};
use agentgate_e2e::postgres::Postgres as Server;
use std::time::Duration;

/// Longer than any of this takes on a loaded machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// A journal in a new database of the shared server.
pub(in crate::journal) async fn fresh() -> Postgres {
    open(Server::shared().unwrap(), None).await.1
}

/// A journal in `database` of `server`, or in a new one.
pub(super) async fn open(server: &Server, database: Option<&str>) -> (String, Postgres) {
    let database = database.map_or_else(|| server.database().unwrap(), str::to_owned);
    let journal = Postgres::open(Settings::new(server.url(&database), Clock::system())).await.unwrap();
    (database, journal)
}

/// Everything up to sequence `head`, in the order in which it is told.
pub(super) async fn all(journal: &Postgres, head: u64) -> Vec<Record> {
    let mut records: Vec<Record> = Vec::new();
    while records.len() < usize::try_from(head).unwrap() {
        let cursor = records.last().map_or(0, |record| record.sequence);
        records.extend(tokio::time::timeout(PATIENCE, journal.follow(cursor, 100)).await.unwrap().unwrap());
    }
    records
}

/// Until `journal` writes again: the first change that it takes.
pub(super) async fn heals(journal: &Postgres, name: &str) -> u64 {
    let trying = async {
        loop {
            match journal.append(one("healed", name)).await {
                Ok(appended) => return appended.positions[0].sequence,
                Err(AppendError::Duplicate(position)) => return position.sequence,
                Err(AppendError::Unavailable(_) | AppendError::Unknown(_)) => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(other) => panic!("{other:?}"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, trying).await.unwrap()
}

/// Until `journal` says that it cannot write, and why.
pub(super) async fn says(journal: &Postgres, word: &str) {
    let looking = async {
        while !journal.health().unavailable.is_some_and(|why| why.contains(word)) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.unwrap_or_else(|_| panic!("`{word}`: {:?}", journal.health()));
}
