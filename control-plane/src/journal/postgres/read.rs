//! Reading: a few connections of its own, so that no read waits for a write. Every record is compared with the digest that
//! stands beside it, and every page with the numbers it must have; it refuses to leave out what it cannot read.
//!
//! INVARIANT: no record that was found or read, and none that a slot told of, is beyond the head that is known. The watcher may
//! not have heard of it yet, and whoever looks for it would take it for none.

use super::link::{Connector, FLEETING, Failure, Link, in_time};
use super::pen::signed;
use super::standing::{Standing, record_digest};
use crate::journal::{
    BODIES_PAGE_MAX, PAGE_BYTES_MAX, Position, ReadError, Record, SLOTS_PAGE_MAX, Sequence, Stream, Version, body_address,
};
use crate::telemetry::Counted;
use agentgate_core::digest::Digest;
use agentgate_core::error::chain;
use bytes::Bytes;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::try_join;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, Statement};

/// Reads at once, each on a connection of its own: a database has some hundred for all replicas.
const READS_MAX: usize = 4;

/// Records in one page, whatever was asked for.
const PAGE_RECORDS_MAX: u32 = 4_096;

/// A page of records: as many as were asked for, as far as they fit, one whatever it weighs.
macro_rules! page {
    ($where:literal, $order:literal) => {
        concat!(
            "SELECT sequence, stream, version, id, digest, bytes FROM (SELECT *, row_number() OVER w AS place, ",
            "sum(octet_length(bytes)) OVER w AS total FROM (SELECT * FROM agentgate.records WHERE ",
            $where,
            " ORDER BY ",
            $order,
            " LIMIT $3) AS page WINDOW w AS (ORDER BY ",
            $order,
            " ROWS UNBOUNDED PRECEDING)) AS weighed WHERE place = 1 OR total <= $4 ORDER BY ",
            $order
        )
    };
}

const READ: &str = page!("stream = $1 AND version > $2", "version");
/// The first argument is only there so that both pages take the same ones.
const FOLLOW: &str = page!("$1::bytea IS NULL AND sequence > $2", "sequence");
const VERSION: &str = "SELECT version FROM agentgate.records WHERE stream = $1 ORDER BY version DESC LIMIT 1";
const FIND: &str = "SELECT sequence, version FROM agentgate.records WHERE id = $1";
/// Waits until nobody writes. Whoever was about to has committed then, or never will.
const SETTLE: &str = "SELECT sequence FROM agentgate.head FOR SHARE";
const FETCH: &str = "SELECT bytes FROM agentgate.bodies WHERE address = $1";
const BODIES: &str = "SELECT address FROM agentgate.bodies WHERE address > $1 ORDER BY address LIMIT $2";
/// A slot may tell of records, and these are in the same snapshot.
const SLOT: &str = "SELECT value, (SELECT sequence FROM agentgate.head) FROM agentgate.slots WHERE name = $1";
const SLOTS: &str = "SELECT name, value FROM agentgate.slots WHERE name > $1 ORDER BY name LIMIT $2";

#[derive(Debug)]
pub(super) struct Readers {
    connector: Connector,
    /// Where connections live.
    runtime: Handle,
    standing: Arc<Standing>,
    turns: Semaphore,
    idle: Mutex<Vec<Reader>>,
}

#[derive(Debug)]
struct Reader {
    link: Link,
    read: Statement,
    follow: Statement,
    version: Statement,
    find: Statement,
    settle: Statement,
    fetch: Statement,
    bodies: Statement,
    slot: Statement,
    slots: Statement,
}

type Arguments<'a> = &'a [&'a (dyn ToSql + Sync)];

// === impl Readers ===

impl Readers {
    pub(super) fn new(connector: Connector, runtime: Handle, standing: Arc<Standing>) -> Self {
        Self { connector, runtime, standing, turns: Semaphore::new(READS_MAX), idle: Mutex::default() }
    }

    pub(super) async fn read(&self, stream: Stream, after: Version, limit: u32) -> Result<Vec<Record>, ReadError> {
        let limit = i64::from(limit.min(PAGE_RECORDS_MAX));
        let bytes_max = signed(PAGE_BYTES_MAX as u64);
        let rows = self.query(|reader| &reader.read, &[&name(&stream.0), &signed(after), &limit, &bytes_max]).await?;
        self.page(&rows, after, |record| record.version)
    }

    pub(super) async fn after(&self, cursor: Sequence, limit: u32) -> Result<Vec<Record>, ReadError> {
        let limit = i64::from(limit.min(PAGE_RECORDS_MAX));
        let (nobody, bytes_max) = (None::<&[u8]>, signed(PAGE_BYTES_MAX as u64));
        let rows = self.query(|reader| &reader.follow, &[&nobody, &signed(cursor), &limit, &bytes_max]).await?;
        if rows.is_empty() && limit > 0 {
            return Err(missing(cursor));
        }
        self.page(&rows, cursor, |record| record.sequence)
    }

    pub(super) async fn version(&self, stream: Stream) -> Result<Version, ReadError> {
        let rows = self.query(|reader| &reader.version, &[&name(&stream.0)]).await?;
        rows.first().map_or(Ok(0), |row| number(row, 0)).map_err(failed)
    }

    pub(super) async fn find(&self, id: Digest) -> Result<Option<Position>, ReadError> {
        // Nobody is answered by a write that may still be undone. On a fork nothing is written any more, so no doubt would ever
        // end, and people read what this store has.
        if self.standing.is_in_doubt() && !self.standing.is_forked() {
            return Err(ReadError::Unavailable("a write is in doubt, and may be the one that is looked for".to_owned()));
        }
        let position = |rows: &[Row]| -> Result<Option<Position>, ReadError> {
            let Some(row) = rows.first() else { return Ok(None) };
            let found = Position { sequence: number(row, 0).map_err(failed)?, version: number(row, 1).map_err(failed)? };
            self.standing.reached(found.sequence);
            Ok(Some(found))
        };
        if let Some(found) = position(&self.query(|reader| &reader.find, &[&name(&id)]).await?)? {
            return Ok(Some(found));
        }
        // Another replica may be about to commit it.
        self.query(|reader| &reader.settle, &[]).await?;
        position(&self.query(|reader| &reader.find, &[&name(&id)]).await?)
    }

    pub(super) async fn fetch(&self, address: Digest) -> Result<Option<Bytes>, ReadError> {
        let rows = self.query(|reader| &reader.fetch, &[&name(&address)]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let body = Bytes::from(row.try_get::<_, Vec<u8>>(0).map_err(failed)?);
        if body_address(&body) == address {
            return Ok(Some(body));
        }
        Err(ReadError::Damaged(format!("the body {address} is not what was kept")))
    }

    pub(super) async fn bodies(&self, after: Option<Digest>, limit: u32) -> Result<Vec<Digest>, ReadError> {
        // No address is empty: every one stands after that.
        let after = after.as_ref().map_or(&[][..], name);
        let limit = i64::from(limit.min(BODIES_PAGE_MAX));
        let rows = self.query(|reader| &reader.bodies, &[&after, &limit]).await?;
        rows.iter().map(|row| digest(row, 0).map_err(failed)).collect()
    }

    pub(super) async fn slot(&self, slot: Digest) -> Result<Option<Bytes>, ReadError> {
        let rows = self.query(|reader| &reader.slot, &[&name(&slot)]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        self.standing.reached(number(row, 1).map_err(failed)?);
        Ok(Some(Bytes::from(row.try_get::<_, Vec<u8>>(0).map_err(failed)?)))
    }

    pub(super) async fn slots(&self, after: Option<Digest>, limit: u32) -> Result<Vec<(Digest, Bytes)>, ReadError> {
        // No name is empty: every one stands after that.
        let after = after.as_ref().map_or(&[][..], name);
        let limit = i64::from(limit.min(SLOTS_PAGE_MAX));
        let rows = self.query(|reader| &reader.slots, &[&after, &limit]).await?;
        let slot = |row: &Row| Ok((digest(row, 0)?, Bytes::from(row.try_get::<_, Vec<u8>>(1)?)));
        rows.iter().map(|row| slot(row).map_err(|failure: Failure| failed(failure))).collect()
    }

    /// The first of `rows` that are what they must be; an error where none is.
    fn page(&self, rows: &[Row], after: u64, at: impl Fn(&Record) -> u64) -> Result<Vec<Record>, ReadError> {
        let mut page: Vec<Record> = Vec::with_capacity(rows.len());
        for (row, number) in rows.iter().zip(after.saturating_add(1)..) {
            match record(row)
                .map_err(failed)
                .and_then(|found| if at(&found) == number { Ok(found) } else { Err(missing(number - 1)) })
            {
                Ok(record) => page.push(record),
                Err(_) if !page.is_empty() => break,
                Err(error) => return Err(error),
            }
        }
        if let Some(newest) = page.iter().max_by_key(|record| record.sequence) {
            self.standing.saw_record(newest);
            self.standing.reached(newest.sequence);
        }
        Ok(page)
    }

    /// One statement on a connection that is free, or on a new one. A connection that was lost while nobody used it is no
    /// reason to fail.
    async fn query(&self, statement: impl Fn(&Reader) -> &Statement, arguments: Arguments<'_>) -> Result<Vec<Row>, ReadError> {
        let _turn = self.turns.acquire().await.map_err(|error| ReadError::Unavailable(error.to_string()))?;
        let _counted = Counted::by(metrics::gauge!("agentgate_journal_reads"));
        loop {
            let free = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let is_new = free.is_none();
            let reader = match free {
                Some(reader) if reader.link.is_lost() => continue,
                Some(reader) => reader,
                None => self.reader().await?,
            };
            let told = in_time(async { Ok(reader.link.client.query(statement(&reader), arguments).await?) }).await;
            if let Err(Failure::Lost(_)) = &told
                && !is_new
            {
                continue;
            }
            if !matches!(told, Err(Failure::Lost(_))) {
                self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(reader);
            }
            return told.map_err(failed);
        }
    }

    async fn reader(&self) -> Result<Reader, ReadError> {
        let connector = self.connector.clone();
        let made = self.runtime.spawn(async move {
            let link = connector.connect().await.map_err(|error| ReadError::Unavailable(chain(&error)))?;
            in_time(Reader::new(link)).await.map_err(failed)
        });
        made.await.map_err(|error| ReadError::Unavailable(error.to_string()))?
    }
}

// === impl Reader ===

impl Reader {
    async fn new(link: Link) -> Result<Self, Failure> {
        link.run(FLEETING).await?;
        let client = &link.client;
        let (read, follow, version, find, settle, fetch, bodies, slot, slots) = try_join!(
            client.prepare(READ),
            client.prepare(FOLLOW),
            client.prepare(VERSION),
            client.prepare(FIND),
            client.prepare(SETTLE),
            client.prepare(FETCH),
            client.prepare(BODIES),
            client.prepare(SLOT),
            client.prepare(SLOTS)
        )?;
        Ok(Self { read, follow, version, find, settle, fetch, bodies, slot, slots, link })
    }
}

fn record(row: &Row) -> Result<Record, Failure> {
    let sequence = number(row, 0)?;
    let bytes = Bytes::from(row.try_get::<_, Vec<u8>>(5)?);
    if record_digest(&bytes) != digest(row, 4)? {
        return Err(Failure::Damaged(format!("the record at sequence {sequence} is not what was written")));
    }
    Ok(Record { sequence, stream: Stream(digest(row, 1)?), version: number(row, 2)?, id: digest(row, 3)?, bytes })
}

/// A number that counts from zero.
pub(super) fn number(row: &Row, column: usize) -> Result<u64, Failure> {
    let number: i64 = row.try_get(column)?;
    u64::try_from(number).map_err(|_| Failure::Damaged(format!("a count of {number}")))
}

pub(super) fn digest(row: &Row, column: usize) -> Result<Digest, Failure> {
    let bytes: &[u8] = row.try_get(column)?;
    Digest::try_from(bytes).map_err(|_| Failure::Damaged(format!("a digest of {} bytes", bytes.len())))
}

fn name(digest: &Digest) -> &[u8] {
    &digest.as_bytes()[..]
}

fn missing(after: u64) -> ReadError {
    ReadError::Damaged(format!("what stands behind {after} is missing"))
}

fn failed(failure: impl Into<Failure>) -> ReadError {
    match failure.into() {
        Failure::Damaged(why) => ReadError::Damaged(why),
        Failure::Refused(why) | Failure::Lost(why) => ReadError::Unavailable(why),
    }
}
