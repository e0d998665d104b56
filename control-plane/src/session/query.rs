//! Pages of traces: found in the index, and read from the journal line by line, only those that are shown. What is older than
//! the index is looked through as it is read.

use super::columns::{Look, Namer, Order, Row, Sieve, Then};
use super::filter::Filter;
use super::past::{self, Found};
use super::{Session, TraceError, line};
use crate::journal::{Record, Sequence};
use agentgate_proto::v1;
use agentgate_proto::v1::record::What;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

/// Traces on a page when nothing is said, and at most.
const PAGE_DEFAULT: u32 = 50;
const PAGE_MAX: u32 = 1_000;

/// Rows of the index that are looked at before whoever decides calls may have it again: a fraction of a millisecond.
const SLICE_MAX: usize = 16_384;

/// Records that one request reads where the index does not reach, so that a filter which matches nothing does not read the
/// whole journal. The answer then holds what was found, and a token to look further.
const LOOKED_AT_MAX: u64 = 20_000;

/// Lines that are read side by side: each is two waits for a thread that reads.
const READ_AHEAD: usize = 8;

/// What a token of pages that go on upwards begins with.
const UPWARDS: char = '+';

/// What an answer took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Looked {
    /// Of the index.
    pub rows: usize,
    /// Records of the journal that were read for their lines.
    pub lines: usize,
}

/// What became of a record that was looked at.
struct Line {
    /// None: it has no line.
    trace: Option<v1::CallTrace>,
    /// It came from the journal.
    is_read: bool,
}

/// An answer on its way.
struct Page<'a> {
    session: &'a Session,
    filter: Filter,
    sieve: Sieve,
    size: usize,
    traces: Vec<v1::CallTrace>,
    looked: Looked,
}

/// Where a page begins: beyond this sequence, whichever way it goes.
fn cursor(token: &str, order: Order, head: Sequence) -> Result<Sequence, TraceError> {
    let ours = match (order, token, token.strip_prefix(UPWARDS)) {
        (Order::NewestFirst, "", _) => Some(head.saturating_add(1)),
        (Order::OldestFirst, "", _) => Some(0),
        (Order::NewestFirst, token, None) => token.parse().ok(),
        (Order::OldestFirst, _, Some(after)) => after.parse().ok(),
        (Order::NewestFirst, _, Some(_)) | (Order::OldestFirst, _, None) => None,
    };
    ours.ok_or_else(|| TraceError::Malformed(format!("`{token}` is no page token of ours, or one of the other order")))
}

// === impl Session ===

impl Session {
    /// A page of traces.
    ///
    /// # Errors
    /// When the filter or the page token is not ours, or the journal cannot be read.
    pub async fn list(&self, request: &v1::ListTracesRequest) -> Result<v1::ListTracesResponse, TraceError> {
        Ok(self.list_counted(request).await?.0)
    }

    /// As `list`, and says what it took.
    ///
    /// # Errors
    /// As `list`.
    pub async fn list_counted(&self, request: &v1::ListTracesRequest) -> Result<(v1::ListTracesResponse, Looked), TraceError> {
        let filter = Filter::read(request.filter.clone())?;
        let size = if request.page_size == 0 { PAGE_DEFAULT } else { request.page_size.min(PAGE_MAX) } as usize;
        let order = if request.oldest_first { Order::OldestFirst } else { Order::NewestFirst };
        let cursor = cursor(&request.page_token, order, self.bodies.journal().health().head)?;
        let sieve = filter.sieve(&Namer(&self.bodies));
        let mut page = Page { session: self, filter, sieve, size, traces: Vec::new(), looked: Looked::default() };
        let next_page_token = match order {
            Order::NewestFirst => page.downwards(cursor).await?.map(|next| next.to_string()),
            Order::OldestFirst => page.upwards(cursor).await?.map(|next| format!("{UPWARDS}{next}")),
        };
        let indexed_from = self.index().floor().saturating_add(1);
        let next_page_token = next_page_token.unwrap_or_default();
        Ok((v1::ListTracesResponse { traces: page.traces, next_page_token, indexed_from }, page.looked))
    }

    /// The line of a call that is still in memory.
    pub(super) fn recent_line(&self, sequence: Sequence) -> Option<v1::CallTrace> {
        self.view().line(sequence).cloned()
    }

    pub(super) async fn add_outcome(&self, found: &Found, trace: &mut v1::CallTrace) -> Result<(), TraceError> {
        let outcomes = past::outcomes(&self.bodies, &found.call_digest()).await?;
        let reported = outcomes.iter().find(|(_, _, outcome)| outcome.kind() != v1::OutcomeKind::Unknown);
        if let Some((_, _, outcome)) = reported.or(outcomes.last()) {
            trace.outcome = outcome.kind;
            trace.duration_us = line::known(outcome.duration_us);
        }
        Ok(())
    }
}

// === impl Page ===

impl Page<'_> {
    fn is_full(&self) -> bool {
        self.traces.len() >= self.size
    }

    /// Newest first; says where the next page begins, if there may be one.
    async fn downwards(&mut self, mut cursor: Sequence) -> Result<Option<Sequence>, TraceError> {
        let floor = loop {
            match self.indexed(Order::NewestFirst, cursor).await? {
                Then::On(sequence) => cursor = sequence,
                Then::Out { floor } => break floor,
                Then::End => return Ok(None),
            }
            if self.is_full() {
                return Ok(Some(cursor).filter(|cursor| *cursor > 1));
            }
        };
        let before = cursor.min(floor.saturating_add(1));
        for (from, to) in past::windows(1, before) {
            for record in past::range(&self.session.bodies, from, to).await?.iter().rev() {
                let (at, what) = past::parse(record)?;
                if at.micros().saturating_add(past::SLACK_US) < self.filter.since_us() && is_of_a_subject(&what) {
                    return Ok(None);
                }
                let line = self.read(record, None).await?;
                self.add(line);
                if self.is_full() {
                    return Ok(Some(record.sequence).filter(|next| *next > 1));
                }
            }
            if before - from >= LOOKED_AT_MAX {
                return Ok(Some(from).filter(|next| *next > 1));
            }
        }
        Ok(None)
    }

    /// Oldest first.
    async fn upwards(&mut self, mut cursor: Sequence) -> Result<Option<Sequence>, TraceError> {
        let began = cursor;
        loop {
            let floor = match self.indexed(Order::OldestFirst, cursor).await? {
                Then::On(sequence) if self.is_full() => return Ok(Some(sequence)),
                Then::On(sequence) => {
                    cursor = sequence;
                    continue;
                }
                Then::Out { floor } => floor,
                Then::End => return Ok(None),
            };
            if self.session.index().begins_before(self.filter.since_us()) {
                cursor = floor;
                continue;
            }
            let to = cursor.saturating_add(past::WINDOW).min(floor);
            for record in past::range(&self.session.bodies, cursor.saturating_add(1), to.saturating_add(1)).await? {
                let (at, what) = past::parse(&record)?;
                if at.micros() > self.filter.until_us().saturating_add(past::SLACK_US) && is_of_a_subject(&what) {
                    return Ok(None);
                }
                let line = self.read(&record, None).await?;
                self.add(line);
                if self.is_full() {
                    return Ok(Some(record.sequence));
                }
            }
            cursor = to;
            if cursor - began >= LOOKED_AT_MAX {
                return Ok(Some(cursor));
            }
        }
    }

    /// A slice of the index, and the lines of what was found there.
    async fn indexed(&mut self, order: Order, cursor: Sequence) -> Result<Then, TraceError> {
        let wanted = self.size - self.traces.len();
        let Look { found, looked_at, then } = self.session.index().look(&self.sieve, order, cursor, wanted, SLICE_MAX);
        self.looked.rows += looked_at;
        let this = &*self;
        let mut lines = stream::iter(found).map(|row| this.line_of(row)).buffered(READ_AHEAD);
        let mut read = Vec::new();
        while let Some(line) = lines.try_next().await? {
            read.push(line);
        }
        drop(lines);
        read.into_iter().for_each(|line| self.add(line));
        tokio::task::yield_now().await;
        Ok(then)
    }

    /// The line that a row points to.
    async fn line_of(&self, row: Row) -> Result<Line, TraceError> {
        if let Some(trace) = self.session.recent_line(row.sequence) {
            return Ok(Line { trace: Some(trace), is_read: false });
        }
        let records = past::range(&self.session.bodies, row.sequence, row.sequence.saturating_add(1)).await?;
        match records.first() {
            Some(record) => self.read(record, Some(&row)).await,
            None => Ok(Line { trace: None, is_read: false }),
        }
    }

    /// A record's line, if it has one. The row of the index knows its outcome; without one it is looked for.
    async fn read(&self, record: &Record, row: Option<&Row>) -> Result<Line, TraceError> {
        let bodies = &self.session.bodies;
        let trace = match past::parse(record)? {
            (at, What::Decision(decision)) => {
                let found = past::found(bodies, record, at, decision).await?;
                let mut trace = line::of_found(&found);
                if !row.is_some_and(|row| row.tell(&mut trace)) {
                    self.session.add_outcome(&found, &mut trace).await?;
                }
                Some(trace)
            }
            (at, What::Flood(flood)) => Some(past::flooded(bodies, record.sequence, at, &flood).await?),
            (
                _,
                What::Outcome(_)
                | What::Policy(_)
                | What::Approval(_)
                | What::Kill(_)
                | What::Mode(_)
                | What::Hold(_)
                | What::Purge(_),
            ) => None,
        };
        Ok(Line { is_read: trace.is_some(), trace })
    }

    /// Shows the line, if it is wanted.
    fn add(&mut self, line: Line) {
        self.looked.lines += usize::from(line.is_read);
        self.traces.extend(line.trace.filter(|trace| self.filter.wants(trace)));
    }
}

/// Orders and approvals have a clock of their own.
fn is_of_a_subject(what: &What) -> bool {
    match what {
        What::Decision(_) | What::Outcome(_) | What::Flood(_) => true,
        What::Policy(_) | What::Approval(_) | What::Kill(_) | What::Mode(_) | What::Hold(_) | What::Purge(_) => false,
    }
}
