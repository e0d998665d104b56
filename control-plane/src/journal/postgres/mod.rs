//! The journal of many replicas: one PostgreSQL, plain SQL, one order. The lock of one row makes the sequence gapless and
//! commits in order; everything else are tables and unique keys. It refuses a database that could lose what it
//! acknowledged, and to write on after the store became another one.

mod check;
mod draft;
mod link;
mod pen;
mod queue;
mod read;
mod schema;
mod standing;
#[cfg(test)]
pub(super) mod tests;
mod watch;
mod writer;

use super::{
    AppendError, Appended, BoxFuture, CHANGE_BYTES_MAX, Change, Health, Journal, Position, ReadError, Record, SLOT_BYTES_MAX,
    Sequence, Slot, Stream, Version, body_address,
};
use crate::clock::Clock;
use agentgate_core::digest::Digest;
use bytes::Bytes;
use link::{Connector, Failure};
use queue::{Answer, Queue, Set, Waiting, Work, queue};
use read::Readers;
use standing::Standing;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use thiserror::Error;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use watch::{Told, Watcher};
use writer::Writer;

pub use schema::{CURRENT, SchemaError};

/// What a journal in PostgreSQL needs to know.
#[derive(Clone)]
pub struct Settings {
    /// As libpq reads it, several hosts among it: the one that takes writes is used.
    pub url: String,
    /// A file that holds the password, read at each connection.
    pub password: Option<PathBuf>,
    /// The roots that the database's certificate is checked against; those of the system without it.
    pub authority: Option<PathBuf>,
    /// Whether an older schema is brought to this program's at the start.
    pub migrate: bool,
    pub clock: Clock,
}

#[derive(Debug, Error)]
pub enum OpenError {
    #[error("`journal.url` cannot be used: {0}; write e.g. `postgresql://agentgate@db.example/agentgate`")]
    Url(String),
    #[error("`journal.authority`: `{}` cannot be used: {why}; name a PEM file of certificates", path.display())]
    Authority { path: PathBuf, why: String },
    #[error("`journal.password`: cannot read `{}`", path.display())]
    Password { path: PathBuf, source: io::Error },
    #[error("the journal's database cannot be reached: {0}")]
    Unreachable(String),
    #[error("no host of `journal.url` takes writes: each is a standby, or read only; name the primary, or promote one")]
    ReadOnly,
    #[error("the journal's database is PostgreSQL {found}; {least} or newer is needed")]
    Version { found: i32, least: i32 },
    #[error(
        "the journal's database would lose what it acknowledged: `{setting}` is `{found}`; set it to on, for every role and database"
    )]
    Weakened { setting: &'static str, found: String },
    #[error("the journal's schema cannot be used")]
    Schema(#[from] SchemaError),
    /// Nothing may be written to it as it is now.
    #[error("{0}")]
    Unfit(String),
    #[error("cannot start the journal's thread")]
    Thread(#[source] io::Error),
}

impl From<Failure> for OpenError {
    fn from(failure: Failure) -> Self {
        Self::Unreachable(failure.to_string())
    }
}

#[derive(Debug)]
pub struct Postgres {
    queue: Queue,
    standing: Arc<Standing>,
    readers: Arc<Readers>,
    thread: Option<JoinHandle<()>>,
}

// === impl Settings ===

impl Settings {
    #[must_use]
    pub fn new(url: impl Into<String>, clock: Clock) -> Self {
        Self { url: url.into(), password: None, authority: None, migrate: true, clock }
    }
}

impl std::fmt::Debug for Settings {
    /// Without the url: it may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { url: _, password, authority, migrate, clock: _ } = self;
        f.debug_struct("Settings").field("password", password).field("authority", authority).field("migrate", migrate).finish()
    }
}

// === impl Postgres ===

/// The schema that a database has now; 0: none.
///
/// # Errors
/// The database cannot be reached, or its steps are not this program's.
pub async fn schema_of(settings: &Settings) -> Result<i32, OpenError> {
    let link = Connector::new(settings)?.connect().await?;
    Ok(schema::found(&link).await?)
}

/// Brings the schema of a database forward or back to `to`; 0 removes everything. No control plane may run on it meanwhile.
///
/// # Errors
/// The database cannot be reached or used, or its schema is not this program's.
pub async fn migrate(settings: &Settings, to: i32) -> Result<(), OpenError> {
    let link = Connector::new(settings)?.connect().await?;
    check::check(&link).await?;
    Ok(schema::migrate(&link, to).await?)
}

impl Postgres {
    /// Connects, and looks whether the database may keep a journal.
    ///
    /// # Errors
    /// It cannot be reached, or it may not.
    pub async fn open(settings: Settings) -> Result<Self, OpenError> {
        let connector = Connector::new(&settings)?;
        let (queue, waiting) = queue();
        let standing = Arc::new(Standing::new());
        let (begun, opened) = oneshot::channel();
        let theirs = Arc::clone(&standing);
        let run = move || run(connector, settings, theirs, waiting, begun);
        // A thread of its own: what decides never waits for what is written for others.
        let thread = thread::Builder::new().name("journal-postgres".to_owned()).spawn(run).map_err(OpenError::Thread)?;
        let readers = opened.await.map_err(|_| OpenError::Thread(io::Error::other("it ended")))??;
        Ok(Self { queue, standing, readers, thread: Some(thread) })
    }

    fn submit<T: Send + 'static>(&self, work: impl FnOnce(Answer<T>) -> Work) -> BoxFuture<'static, Result<T, AppendError>> {
        let (answer, answered) = oneshot::channel();
        self.queue.push(work(answer));
        let ended = || Err(AppendError::Unknown("its writer has ended".to_owned()));
        Box::pin(async move { answered.await.unwrap_or_else(|_| ended()) })
    }
}

/// The journal's thread: all connections live here.
fn run(
    connector: Connector,
    settings: Settings,
    standing: Arc<Standing>,
    waiting: Waiting,
    begun: oneshot::Sender<Result<Arc<Readers>, OpenError>>,
) {
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return drop(begun.send(Err(OpenError::Thread(error)))),
    };
    runtime.block_on(async {
        let pen = match writer::ready(&connector, &settings.clock, &standing, settings.migrate).await {
            Ok(pen) => pen,
            Err(error) => return drop(begun.send(Err(error))),
        };
        let readers = Arc::new(Readers::new(connector.clone(), Handle::current(), Arc::clone(&standing)));
        let told = Arc::new(Told::default());
        let watcher = Watcher { connector: connector.clone(), standing: Arc::clone(&standing), told: Arc::clone(&told) };
        tokio::spawn(watcher.run());
        // Whoever opened it has gone away: then nobody can come, and the writer ends.
        drop(begun.send(Ok(Arc::clone(&readers))));
        Writer { connector, clock: settings.clock, standing, readers, told, waiting, carried: None }.run(pen).await;
    });
}

impl Drop for Postgres {
    /// What is under way is finished first.
    fn drop(&mut self) {
        self.queue.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Journal for Postgres {
    fn append(&self, change: Change) -> BoxFuture<'static, Result<Appended, AppendError>> {
        if let Err(error) = change.shape(CHANGE_BYTES_MAX) {
            return Box::pin(std::future::ready(Err(error)));
        }
        let addresses = change.bodies.iter().map(|body| body_address(body)).collect();
        self.submit(|answer| Work::Change(change, addresses, answer))
    }

    fn read(&self, stream: Stream, after: Version, limit: u32) -> BoxFuture<'_, Result<Vec<Record>, ReadError>> {
        Box::pin(self.readers.read(stream, after, limit))
    }

    fn version(&self, stream: Stream) -> BoxFuture<'_, Result<Version, ReadError>> {
        Box::pin(self.readers.version(stream))
    }

    fn follow(&self, cursor: Sequence, limit: u32) -> BoxFuture<'_, Result<Vec<Record>, ReadError>> {
        let mut head = self.standing.head();
        Box::pin(async move {
            // The sender lives in `self`, so waiting cannot end in its loss.
            let _ = head.wait_for(|head| *head > cursor).await;
            self.readers.after(cursor, limit).await
        })
    }

    fn find(&self, id: Digest) -> BoxFuture<'_, Result<Option<Position>, ReadError>> {
        Box::pin(self.readers.find(id))
    }

    fn keep(&self, bytes: Bytes) -> BoxFuture<'static, Result<Digest, AppendError>> {
        let address = body_address(&bytes);
        let kept = self.append(Change { fence: None, writes: Vec::new(), bodies: vec![bytes] });
        Box::pin(async move { kept.await.map(|_| address) })
    }

    fn fetch(&self, address: Digest) -> BoxFuture<'_, Result<Option<Bytes>, ReadError>> {
        Box::pin(self.readers.fetch(address))
    }

    fn bodies(&self, after: Option<Digest>, limit: u32) -> BoxFuture<'_, Result<Vec<Digest>, ReadError>> {
        Box::pin(self.readers.bodies(after, limit))
    }

    fn discard(&self, addresses: Vec<Digest>) -> BoxFuture<'static, Result<(), AppendError>> {
        self.submit(|answer| Work::Discard(addresses, answer))
    }

    fn set(&self, name: Digest, expected: Option<Bytes>, value: Option<Bytes>) -> BoxFuture<'static, Result<Slot, AppendError>> {
        if value.as_ref().is_some_and(|value| value.len() > SLOT_BYTES_MAX) {
            return Box::pin(std::future::ready(Err(AppendError::TooLarge { limit: SLOT_BYTES_MAX })));
        }
        self.submit(|answer| Work::Set(Set { name, expected, value }, answer))
    }

    fn slot(&self, name: Digest) -> BoxFuture<'_, Result<Option<Bytes>, ReadError>> {
        Box::pin(self.readers.slot(name))
    }

    fn slots(&self, after: Option<Digest>, limit: u32) -> BoxFuture<'_, Result<Vec<(Digest, Bytes)>, ReadError>> {
        Box::pin(self.readers.slots(after, limit))
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn health(&self) -> Health {
        Health {
            backend: "postgres",
            head: *self.standing.head().borrow(),
            bytes: self.standing.bytes(),
            // The database's file system is not ours to look at.
            free_bytes: None,
            unavailable: self.standing.unavailable(),
        }
    }
}
