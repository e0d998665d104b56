//! The writer's connection: the statements of one group, in two round trips, under the lock of the one `head` row. Whoever
//! holds that lock is the only writer of all replicas, and sees everything that was committed before.
//!
//! It refuses to say that something was written unless COMMIT said so without a warning: PostgreSQL warns when the wait for
//! a standby was cancelled, and answers as if all were well.

use super::check::IS_DURABLE;
use super::draft::{Asked, Draft, Found, Row};
use super::link::{ANSWER_WITHIN, Failure, Link, in_time};
use super::read::{digest, number};
use super::standing::Seen;
use crate::journal::{Position, Sequence, Stream};
use agentgate_core::digest::Digest;
use agentgate_core::time::Time;
use bytes::Bytes;
use std::collections::HashMap;
use tokio::try_join;
use tokio_postgres::Statement;
use tokio_postgres::types::ToSql;

const LOCK: &str = "SELECT sequence FROM agentgate.head FOR UPDATE";

/// By id or by stream, in later statements than the lock: each sees what was committed before it began.
const IDS: &str = "SELECT id, sequence, version FROM agentgate.records WHERE id = ANY($1)";
const VERSIONS: &str = "SELECT asked.stream, coalesce((SELECT r.version FROM agentgate.records r WHERE r.stream = asked.stream \
     ORDER BY r.version DESC LIMIT 1), 0) FROM unnest($1::bytea[]) AS asked(stream)";
const SLOTS: &str = "SELECT name, value FROM agentgate.slots WHERE name = ANY($1)";
const AT: &str = "SELECT id, digest FROM agentgate.records WHERE sequence = $1";

const PUT_RECORDS: &str = "INSERT INTO agentgate.records (sequence, stream, version, id, digest, bytes) SELECT * FROM \
     unnest($1::bigint[], $2::bytea[], $3::bigint[], $4::bytea[], $5::bytea[], $6::bytea[])";
const DROP_BODIES: &str = "DELETE FROM agentgate.bodies WHERE address = ANY($1)";
const PUT_BODIES: &str = "INSERT INTO agentgate.bodies (address, bytes) SELECT * FROM unnest($1::bytea[], $2::bytea[]) \
     ON CONFLICT (address) DO NOTHING";
const DROP_SLOTS: &str = "DELETE FROM agentgate.slots WHERE name = ANY($1)";
const PUT_SLOTS: &str = "INSERT INTO agentgate.slots (name, value) SELECT * FROM unnest($1::bytea[], $2::bytea[]) \
     ON CONFLICT (name) DO UPDATE SET value = excluded.value";
const ADVANCE: &str = "UPDATE agentgate.head SET sequence = $1, clock = greatest(clock, clock_timestamp())";

#[derive(Debug)]
pub(super) struct Pen {
    pub link: Link,
    lock: Statement,
    moment: Statement,
    ids: Statement,
    versions: Statement,
    slots: Statement,
    at: Statement,
    put_records: Statement,
    drop_bodies: Statement,
    put_bodies: Statement,
    drop_slots: Statement,
    put_slots: Statement,
    advance: Statement,
}

/// What the store is like, now that its head is held.
#[derive(Debug)]
pub(super) struct Held {
    pub head: Sequence,
    pub clock: Time,
    pub is_durable: bool,
    pub found: Found,
}

/// What became of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Written {
    Done,
    /// It did not happen, and nothing of it ever will.
    Not(String),
    /// It may have.
    Unknown(String),
}

// === impl Pen ===

impl Pen {
    pub(super) async fn new(link: Link) -> Result<Self, Failure> {
        // The journal's clock: what the head was last written at, if this machine's is behind.
        let moment = format!(
            "SELECT (extract(epoch FROM greatest(clock, clock_timestamp())) * 1000000)::bigint, {IS_DURABLE} FROM agentgate.head"
        );
        let client = &link.client;
        let (lock, moment, ids, versions, slots, at) = try_join!(
            client.prepare(LOCK),
            client.prepare(&moment),
            client.prepare(IDS),
            client.prepare(VERSIONS),
            client.prepare(SLOTS),
            client.prepare(AT)
        )?;
        let (put_records, drop_bodies, put_bodies, drop_slots, put_slots, advance) = try_join!(
            client.prepare(PUT_RECORDS),
            client.prepare(DROP_BODIES),
            client.prepare(PUT_BODIES),
            client.prepare(DROP_SLOTS),
            client.prepare(PUT_SLOTS),
            client.prepare(ADVANCE)
        )?;
        Ok(Self {
            lock,
            moment,
            ids,
            versions,
            slots,
            at,
            put_records,
            drop_bodies,
            put_bodies,
            drop_slots,
            put_slots,
            advance,
            link,
        })
    }

    /// Begins a transaction, waits for the head, and looks up what was asked for: one round trip.
    pub(super) async fn hold(&self, asked: &Asked) -> Result<Held, Failure> {
        // In the order in which they are written here: each is sent when it is first polled.
        let ((), head, (clock, is_durable), found) =
            in_time(async { try_join!(biased; self.link.run("BEGIN"), self.lock(), self.moment(), self.look(asked)) }).await?;
        Ok(Held { head, clock, is_durable, found })
    }

    async fn lock(&self) -> Result<Sequence, Failure> {
        let row = self.link.client.query_opt(&self.lock, &[]).await?;
        let row = row.ok_or_else(|| Failure::Damaged("the row of `agentgate.head` is missing".to_owned()))?;
        number(&row, 0)
    }

    async fn moment(&self) -> Result<(Time, bool), Failure> {
        let row = self.link.client.query_one(&self.moment, &[]).await?;
        Ok((Time::from_micros(number(&row, 0)?), row.try_get(1)?))
    }

    pub(super) async fn look(&self, asked: &Asked) -> Result<Found, Failure> {
        let (ids, versions, slots) =
            try_join!(biased; self.positions(&asked.ids), self.versions(&asked.streams), self.slots(&asked.slots))?;
        Ok(Found { ids, versions, slots })
    }

    async fn positions(&self, ids: &[Digest]) -> Result<HashMap<Digest, Position>, Failure> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let rows = self.link.client.query(&self.ids, &[&column(ids)]).await?;
        let found = rows.iter().map(|row| {
            let position = Position { sequence: number(row, 1)?, version: number(row, 2)? };
            Ok((digest(row, 0)?, position))
        });
        found.collect()
    }

    async fn versions(&self, streams: &[Stream]) -> Result<HashMap<Stream, u64>, Failure> {
        let named: Vec<&[u8]> = streams.iter().map(|stream| &stream.0.as_bytes()[..]).collect();
        let rows = self.link.client.query(&self.versions, &[&named]).await?;
        rows.iter().map(|row| Ok((Stream(digest(row, 0)?), number(row, 1)?))).collect()
    }

    async fn slots(&self, names: &[Digest]) -> Result<HashMap<Digest, Bytes>, Failure> {
        if names.is_empty() {
            return Ok(HashMap::new());
        }
        let rows = self.link.client.query(&self.slots, &[&column(names)]).await?;
        rows.iter().map(|row| Ok((digest(row, 0)?, Bytes::from(row.try_get::<_, Vec<u8>>(1)?)))).collect()
    }

    /// The record at a sequence, by its id and digest.
    pub(super) async fn at(&self, sequence: Sequence) -> Result<Option<Seen>, Failure> {
        let row = self.link.client.query_opt(&self.at, &[&signed(sequence)]).await?;
        row.map(|row| Ok(Seen { sequence, id: digest(&row, 0)?, digest: digest(&row, 1)? })).transpose()
    }

    /// Lets the head go; nothing was written.
    pub(super) async fn let_go(&self) -> Result<(), Failure> {
        in_time(self.link.run("ROLLBACK")).await
    }

    /// Writes the group and commits it: one round trip. An empty one moves the journal's clock, and proves that whatever
    /// was committed before it is as durable as it is.
    pub(super) async fn write(&self, draft: &Draft) -> Written {
        let (warnings, client) = (self.link.warnings(), &self.link.client);
        let gone: Vec<Digest> = draft.slots.iter().filter(|(_, value)| value.is_none()).map(|(name, _)| *name).collect();
        let head = signed(draft.head());
        let statements = async {
            tokio::join!(
                biased;
                self.put_records(&draft.rows),
                self.erase(&self.drop_bodies, draft.gone.iter().copied().collect()),
                self.put(&self.put_bodies, draft.kept.iter()),
                self.erase(&self.drop_slots, gone),
                self.put(&self.put_slots, draft.slots.iter().filter_map(|(name, value)| Some((name, value.as_ref()?)))),
                async { client.execute(&self.advance, &[&head]).await.map(|_| ()).map_err(Failure::from) },
                self.link.run("COMMIT")
            )
        };
        let Ok((records, forgotten, bodies, emptied, slots, advanced, committed)) =
            tokio::time::timeout(ANSWER_WITHIN, statements).await
        else {
            return Written::Unknown(format!("COMMIT was not answered within {} s", ANSWER_WITHIN.as_secs()));
        };
        // What one of them refused, COMMIT rolled back.
        for told in [records, forgotten, bodies, emptied, slots, advanced] {
            match told {
                Ok(()) => {}
                Err(Failure::Refused(why) | Failure::Damaged(why)) => return Written::Not(why),
                Err(Failure::Lost(why)) => return Written::Unknown(why),
            }
        }
        match committed {
            Ok(()) if self.link.warnings() == warnings => Written::Done,
            Ok(()) => Written::Unknown("COMMIT came with a warning; the database's log holds it".to_owned()),
            Err(error) => Written::Unknown(error.to_string()),
        }
    }

    async fn put_records(&self, rows: &[Row]) -> Result<(), Failure> {
        if rows.is_empty() {
            return Ok(());
        }
        let sequences: Vec<i64> = rows.iter().map(|row| signed(row.position.sequence)).collect();
        let versions: Vec<i64> = rows.iter().map(|row| signed(row.position.version)).collect();
        let streams: Vec<&[u8]> = rows.iter().map(|row| &row.stream.0.as_bytes()[..]).collect();
        let ids: Vec<&[u8]> = rows.iter().map(|row| &row.id.as_bytes()[..]).collect();
        let digests: Vec<&[u8]> = rows.iter().map(|row| &row.digest.as_bytes()[..]).collect();
        let bytes: Vec<&[u8]> = rows.iter().map(|row| &row.bytes[..]).collect();
        let columns: [&(dyn ToSql + Sync); 6] = [&sequences, &streams, &versions, &ids, &digests, &bytes];
        self.link.client.execute(&self.put_records, &columns).await?;
        Ok(())
    }

    async fn erase(&self, statement: &Statement, names: Vec<Digest>) -> Result<(), Failure> {
        if !names.is_empty() {
            self.link.client.execute(statement, &[&column(&names)]).await?;
        }
        Ok(())
    }

    async fn put(&self, statement: &Statement, named: impl Iterator<Item = (&Digest, &Bytes)>) -> Result<(), Failure> {
        let (names, values): (Vec<&[u8]>, Vec<&[u8]>) = named.map(|(name, value)| (&name.as_bytes()[..], &value[..])).unzip();
        if !names.is_empty() {
            self.link.client.execute(statement, &[&names, &values]).await?;
        }
        Ok(())
    }
}

fn column(digests: &[Digest]) -> Vec<&[u8]> {
    digests.iter().map(|digest| &digest.as_bytes()[..]).collect()
}

/// As the database counts. Whatever is larger than it can hold stands behind everything.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
