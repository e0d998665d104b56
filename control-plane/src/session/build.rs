//! Fills the index with what happened before this process, while it serves: from a snapshot as far as there is one, and from
//! the journal, backwards. A query that comes meanwhile reads what is not there yet.

use super::columns::{self, Namer, Row};
use super::past::{self, PastError};
use super::snapshot::{self, Snapshot};
use super::{Ended, Session, line};
use crate::journal::{ReadError, Sequence};
use agentgate_core::error::chain;
use agentgate_proto::v1::record::What;
use std::path::PathBuf;
use std::time::Duration;

/// The wait after the journal could not be read.
const AGAIN: Duration = Duration::from_secs(1);

/// How often a snapshot is written: so much of the past is read again after a kill.
const SNAPSHOT_EVERY: Duration = Duration::from_secs(300);

// === impl Session ===

impl Session {
    /// Builds the index, then keeps its snapshot up to date, until it is dropped. None: nothing outlives this process.
    pub async fn indexing(self: std::sync::Arc<Self>, file: Option<PathBuf>) {
        self.build(file.as_deref()).await;
        let Some(file) = file else { return };
        loop {
            // What is durable now is folded by then.
            let reaches = self.folded();
            self.clock.sleep(SNAPSHOT_EVERY).await;
            self.save(&file, reaches).await;
        }
    }

    /// Writes a snapshot of everything up to `reaches`. That it cannot is told, and nothing else: it is made again.
    pub async fn save(&self, file: &std::path::Path, reaches: Sequence) {
        if let Err(error) = snapshot::write(self, file, reaches).await {
            tracing::warn!(error = chain(&error), file = %file.display(), "the index of traces was not saved; the next start reads it from the journal");
        }
    }

    /// Until nothing older is missing, or there is no room for more.
    pub async fn build(&self, file: Option<&std::path::Path>) {
        let began = self.clock.elapsed();
        if let Some(file) = file {
            self.take_up(file).await;
        }
        while let Some(floor) = self.missing_below() {
            // Nobody forgets a session between the reading of a body and its row.
            let mut snapshot = self.changing.lock().await;
            if let Some(Snapshot { floor: deeper, mut rows, .. }) = snapshot.take_if(|snapshot| snapshot.reaches >= floor) {
                rows.truncate(rows.partition_point(|row| row.sequence <= floor));
                self.index().add_older(rows.into_iter(), deeper.min(floor));
                continue;
            }
            // No window goes beyond where a snapshot is of use.
            let first = snapshot.as_ref().map_or(0, |snapshot| snapshot.reaches);
            let from = floor.saturating_sub(past::WINDOW).max(first);
            match self.rows_of(from, floor).await {
                Ok(rows) => self.index().add_older(rows.into_iter(), from),
                Err(PastError::Read(ReadError::Unavailable(_))) => self.clock.sleep(AGAIN).await,
                Err(error) => {
                    tracing::warn!(
                        error = chain(&error),
                        floor,
                        "the index of traces ends here; what is older is read from the journal"
                    );
                    self.index().leave_it();
                }
            }
            tokio::task::yield_now().await;
        }
        *self.changing.lock().await = None;
        let took = self.clock.elapsed().saturating_sub(began);
        let (rows, floor) = {
            let index = self.index();
            (index.len(), index.floor())
        };
        tracing::info!(rows, floor, took_ms = took.as_millis(), "the index of traces is whole");
    }

    /// Reads the snapshot, for as far as it will be of use. Whoever forgets a session from here on has it forgotten there too.
    async fn take_up(&self, file: &std::path::Path) {
        let mut changing = self.changing.lock().await;
        match snapshot::read(self, file).await {
            Ok(None) => {}
            Ok(Some(mut snapshot)) => {
                // Forgotten already, though the snapshot's key may still be there.
                columns::forget(&mut snapshot.rows, &self.names_of(&self.bodies.unfinished_sessions()));
                *changing = Some(snapshot);
            }
            Err(error) => {
                tracing::info!(why = chain(&error), "there is no snapshot of the traces' index; it is read from the journal");
            }
        }
    }

    /// Up to where everything that is durable is folded, once all that is under way has been told of.
    pub fn folded(&self) -> Sequence {
        let view = self.view();
        if view.follows() { view.head() } else { self.bodies.journal().health().head }
    }

    fn missing_below(&self) -> Option<Sequence> {
        let index = self.index();
        (!index.is_whole()).then(|| index.floor())
    }

    /// The rows after `from` and up to `to`. Outcomes that are met are kept for their decisions.
    async fn rows_of(&self, from: Sequence, to: Sequence) -> Result<Vec<Row>, PastError> {
        let mut rows = Vec::new();
        let mut outcomes: Vec<Ended> = Vec::new();
        let namer = Namer(&self.bodies);
        for record in past::range(&self.bodies, from.saturating_add(1), to.saturating_add(1)).await? {
            match past::parse(&record)? {
                (at, What::Decision(decision)) => {
                    rows.push(namer.row(&line::of_found(&past::found(&self.bodies, &record, at, decision).await?)));
                }
                (at, What::Flood(flood)) => {
                    rows.push(namer.row(&past::flooded(&self.bodies, record.sequence, at, &flood).await?));
                }
                (_, What::Outcome(outcome)) => outcomes.push(past::outcome_of(&outcome)),
                (_, What::Policy(_) | What::Approval(_) | What::Kill(_) | What::Mode(_) | What::Hold(_) | What::Purge(_)) => {}
            }
        }
        let mut index = self.index();
        outcomes.iter().for_each(|ended| index.ended(ended));
        Ok(rows)
    }
}
