//! The tables, as numbered steps forward and back in plain SQL. It refuses a schema that is newer than the program, one
//! whose steps are not the ones written here, and an older one where it may not change it.

use super::link::{Failure, Link};
use agentgate_core::digest::Digest;
use thiserror::Error;
use tokio_postgres::error::SqlState;

/// The schema that this program reads and writes.
pub const CURRENT: i32 = 2;

/// Two replicas that begin at once meet at the same name; the second finds it made.
const ATTEMPTS: usize = 5;

struct Step {
    number: i32,
    name: &'static str,
    up: &'static str,
    down: &'static str,
}

const STEPS: [Step; CURRENT as usize] = [
    Step {
        number: 1,
        name: "journal",
        up: include_str!("schema/0001_journal.up.sql"),
        down: include_str!("schema/0001_journal.down.sql"),
    },
    Step {
        number: 2,
        name: "digests",
        up: include_str!("schema/0002_digests.up.sql"),
        down: include_str!("schema/0002_digests.down.sql"),
    },
];

#[derive(Debug, Error)]
pub enum SchemaError {
    #[error(
        "the database has schema {found}, this program knows up to {CURRENT}; start the newer program, or migrate back with it"
    )]
    Newer { found: i32 },
    #[error(
        "the database has schema {found}, this program needs {CURRENT}; set `journal.migrate = true` for one start, after a backup"
    )]
    Older { found: i32 },
    #[error("step {number} of the database's schema is not this program's; restore the database, or name another")]
    Foreign { number: i32 },
    #[error("the schema cannot go to {0}; this program knows 0 to {CURRENT}")]
    Unknown(i32),
    #[error("the database cannot be read or changed: {0}")]
    Database(String),
}

/// What a start does with a schema that is not `CURRENT`.
pub(super) async fn ready(link: &Link, may_migrate: bool) -> Result<(), SchemaError> {
    if may_migrate && found(link).await? < CURRENT {
        return migrate(link, CURRENT).await;
    }
    match found(link).await? {
        CURRENT => Ok(()),
        found if found > CURRENT => Err(SchemaError::Newer { found }),
        found => Err(SchemaError::Older { found }),
    }
}

/// Goes forward or back to schema `to`, whole or not at all; 0 is an empty database. One at a time does it.
pub(super) async fn migrate(link: &Link, to: i32) -> Result<(), SchemaError> {
    if !(0..=CURRENT).contains(&to) {
        return Err(SchemaError::Unknown(to));
    }
    let mut attempts = 0;
    loop {
        attempts += 1;
        match attempt(link, to).await {
            Err(Attempt::Raced) if attempts < ATTEMPTS => {}
            Err(Attempt::Raced) => return Err(SchemaError::Database("another process changes it".to_owned())),
            Err(Attempt::Failed(error)) => return Err(error),
            Ok(()) => return Ok(()),
        }
    }
}

/// The schema that the database has, by the steps that were taken.
pub(super) async fn found(link: &Link) -> Result<i32, SchemaError> {
    let made = "SELECT 1 FROM information_schema.tables WHERE table_schema = 'agentgate' AND table_name = 'migrations'";
    if link.client.query_opt(made, &[]).await.map_err(failed)?.is_none() {
        return Ok(0);
    }
    taken(link).await.map_err(|attempt| match attempt {
        Attempt::Failed(error) => error,
        Attempt::Raced => SchemaError::Database("another process changes it".to_owned()),
    })
}

enum Attempt {
    Raced,
    Failed(SchemaError),
}

async fn attempt(link: &Link, to: i32) -> Result<(), Attempt> {
    let done = steps(link, to).await;
    if done.is_err() {
        // The transaction is gone with the connection if this fails as well.
        let _ = link.client.batch_execute("ROLLBACK").await;
    }
    done
}

async fn steps(link: &Link, to: i32) -> Result<(), Attempt> {
    link.client.batch_execute("BEGIN; SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0").await?;
    // Asked for first: to make what is there would need a right that only the first start needs.
    let is_there = link.client.query_opt("SELECT 1 FROM pg_namespace WHERE nspname = 'agentgate'", &[]).await?.is_some();
    if !is_there {
        link.client.batch_execute("CREATE SCHEMA agentgate").await?;
    }
    let table = "CREATE TABLE IF NOT EXISTS agentgate.migrations (number integer PRIMARY KEY, name text NOT NULL, \
                 digest bytea NOT NULL, taken_at timestamptz NOT NULL DEFAULT clock_timestamp())";
    link.client.batch_execute(table).await?;
    link.client.batch_execute("LOCK TABLE agentgate.migrations IN ACCESS EXCLUSIVE MODE").await?;
    let now = taken(link).await?;
    if now > CURRENT {
        return Err(Attempt::Failed(SchemaError::Newer { found: now }));
    }
    for step in STEPS.iter().filter(|step| step.number > now && step.number <= to) {
        link.client.batch_execute(step.up).await?;
        let digest = step.digest();
        let note = "INSERT INTO agentgate.migrations (number, name, digest) VALUES ($1, $2, $3)";
        link.client.execute(note, &[&step.number, &step.name, &&digest.as_bytes()[..]]).await?;
    }
    for step in STEPS.iter().rev().filter(|step| step.number <= now && step.number > to) {
        link.client.batch_execute(step.down).await?;
        link.client.execute("DELETE FROM agentgate.migrations WHERE number = $1", &[&step.number]).await?;
    }
    Ok(link.client.batch_execute("COMMIT").await?)
}

/// The last step that was taken. Those that this program knows must be its own.
async fn taken(link: &Link) -> Result<i32, Attempt> {
    let rows = link.client.query("SELECT number, digest FROM agentgate.migrations ORDER BY number", &[]).await?;
    let mut last = 0;
    for row in rows {
        let (number, digest): (i32, &[u8]) = (row.try_get(0)?, row.try_get(1)?);
        let ours = STEPS.iter().find(|step| step.number == number);
        if number != last + 1 || ours.is_some_and(|step| step.digest().as_bytes()[..] != *digest) {
            return Err(Attempt::Failed(SchemaError::Foreign { number }));
        }
        last = number;
    }
    Ok(last)
}

fn failed(error: tokio_postgres::Error) -> SchemaError {
    SchemaError::Database(Failure::from(error).to_string())
}

// === impl Step ===

impl Step {
    fn digest(&self) -> Digest {
        Digest::of("agentgate/schema/1", self.up.as_bytes())
    }
}

// === impl Attempt ===

impl From<tokio_postgres::Error> for Attempt {
    fn from(error: tokio_postgres::Error) -> Self {
        const MADE: [SqlState; 3] = [SqlState::UNIQUE_VIOLATION, SqlState::DUPLICATE_SCHEMA, SqlState::DUPLICATE_TABLE];
        match error.code() {
            Some(code) if MADE.contains(code) => Self::Raced,
            Some(_) | None => Self::Failed(failed(error)),
        }
    }
}
