//! Integration: records become leaves, and every few milliseconds the root over them is signed.
//!
//! Order matters: a checkpoint is kept before it is published, and compared with what was signed before it is kept. So
//! nobody is ever shown a root that a later one denies.

use super::leaf::entry;
use super::{Published, Transparency, TransparencyError, checkpoint_slot, read};
use crate::journal::{Journal as _, Record, Slot};
use agentgate_core::error::chain;
use agentgate_core::time::Time;
use agentgate_core::transparency::checkpoint::Checkpoint;
use agentgate_core::transparency::tree::{Frontier, Hash};
use agentgate_proto::v1;
use bytes::Bytes;
use prost::Message as _;
use std::sync::Arc;
use std::time::Duration;

/// How often a root is signed while records come: well below the 100 ms within which each must be in the log.
const SIGN_EVERY: Duration = Duration::from_millis(40);

/// Records that one root takes up at most, so that a long journal is signed on the way.
const PAGE: u32 = 2_048;

/// How long a journal that cannot be read, or a tile that cannot be written, is left alone.
const TRY_AGAIN: Duration = Duration::from_secs(1);

// === impl Transparency ===

impl Transparency {
    /// Integrates again and again, until the journal contradicts what was signed.
    pub async fn integrating(self: Arc<Self>) {
        while self.journal.halted().is_none() {
            let wait = match self.integrate().await {
                Ok(()) => SIGN_EVERY,
                Err(error @ TransparencyError::Contradiction(_)) => return self.halt(&error),
                Err(error) => {
                    if let Some(more) = self.told.told(self.clock.elapsed()) {
                        tracing::warn!(error = chain(&error), more, "the transparency log cannot go on; it is tried again");
                    }
                    TRY_AGAIN
                }
            };
            self.clock.sleep(wait).await;
        }
    }

    /// Takes up what the journal has beyond the log, and publishes a checkpoint over it.
    ///
    /// # Errors
    /// When the journal or the store is in the way, or the journal is another than the one that was signed.
    pub async fn integrate(self: &Arc<Self>) -> Result<(), TransparencyError> {
        let size = self.log().size();
        let signed = self.signed().clone();
        // The log stops at each size that was signed, and looks whether it is the same there.
        let limit = signed.as_ref().map_or(0, |signed| signed.size).saturating_sub(size);
        let limit = if limit == 0 { PAGE } else { u32::try_from(limit).unwrap_or(PAGE).min(PAGE) };
        let records = self.journal.follow(size, limit).await?;
        let (this, oldest) = (Arc::clone(self), oldest_at(&records));
        let grown = tokio::task::spawn_blocking(move || this.grow(&records)).await;
        let (size, root) = grown.map_err(|error| TransparencyError::Sign(error.to_string()))??;
        if let Some(signed) = signed.filter(|signed| signed.size >= size) {
            if signed.size == size && signed.root != root {
                return self.other_at(&signed).await;
            }
            return Ok(());
        }
        self.publish(size, root).await?;
        let lag = oldest.map_or(0, |at| self.clock.now().micros_since(at));
        metrics::histogram!("agentgate_log_duration_seconds").record(Duration::from_micros(lag).as_secs_f64());
        Ok(())
    }

    fn grow(&self, records: &[Record]) -> Result<(u64, Hash), TransparencyError> {
        let mut log = self.log();
        for record in records {
            let next = log.size().saturating_add(1);
            if record.sequence != next {
                let why = format!("record {} follows record {}", record.sequence, log.size());
                return Err(TransparencyError::Contradiction(why));
            }
            log.push(&entry(record)?)?;
        }
        Ok((log.size(), log.root()))
    }

    /// Another root than the signed one. Tiles may have been spoiled on their disk: what counts is the journal itself.
    async fn other_at(&self, signed: &Published) -> Result<(), TransparencyError> {
        let root = self.root_of_journal(signed.size).await?;
        if root == signed.root {
            tracing::warn!("the log's tiles were not what was written; they are made again");
            self.log().begin_again();
            return Ok(());
        }
        Err(TransparencyError::Contradiction(format!(
            "its first {} records have the root {root}, and {} was signed",
            signed.size, signed.root
        )))
    }

    /// Reads the journal from its beginning, and compares it with the last checkpoint of an earlier life. Tiles say what was
    /// written once; only this says what is there now.
    pub async fn auditing(self: Arc<Self>) {
        let Some(signed) = self.signed().clone() else { return };
        match self.root_of_journal(signed.size).await {
            Ok(root) if root == signed.root => {
                tracing::info!(size = signed.size, "the journal is what was signed");
            }
            Ok(root) => {
                let why = format!("its first {} records have the root {root}, and {} was signed", signed.size, signed.root);
                self.halt(&TransparencyError::Contradiction(why));
            }
            Err(error) => tracing::warn!(error = chain(&error), "whether the journal is what was signed could not be seen"),
        }
    }

    async fn root_of_journal(&self, size: u64) -> Result<Hash, TransparencyError> {
        let mut frontier = Frontier::default();
        while frontier.size() < size {
            if self.journal.health().head < size {
                return Err(TransparencyError::Contradiction(format!("it has fewer than the {size} records that were signed")));
            }
            let limit = u32::try_from(size - frontier.size()).unwrap_or(PAGE).min(PAGE);
            for record in self.journal.follow(frontier.size(), limit).await? {
                let full = |error: agentgate_core::transparency::tree::TreeError| TransparencyError::Sign(error.to_string());
                frontier.push(entry(&record)?.leaf_hash()).map_err(full)?;
            }
            // Calls come first.
            tokio::task::yield_now().await;
        }
        Ok(frontier.root())
    }

    /// Signs, keeps, and then shows.
    async fn publish(&self, size: u64, root: Hash) -> Result<(), TransparencyError> {
        let note = self.sign(size, root)?;
        let mut expected = self.signed().as_ref().map(|signed| signed.note.clone());
        loop {
            let told = self.journal.set(checkpoint_slot(), expected.clone(), Some(note.clone())).await;
            match told.map_err(TransparencyError::Keep)? {
                Slot::Set => break,
                Slot::Held(None) if expected.is_some() => {
                    return Err(TransparencyError::Contradiction("the last checkpoint is gone".into()));
                }
                Slot::Held(None) => expected = None,
                Slot::Held(Some(other)) => {
                    // Another replica was first.
                    let theirs = read(&self.trust, other.clone())?;
                    let is_ahead = theirs.size > size;
                    if !is_ahead && self.log().root_at(theirs.size)? != theirs.root {
                        let (size, theirs) = (theirs.size, theirs.root);
                        let why =
                            format!("another replica signed the root {theirs} over {size} records, and this one reads others");
                        return Err(TransparencyError::Contradiction(why));
                    }
                    *self.signed() = Some(theirs);
                    if is_ahead {
                        break;
                    }
                    expected = Some(other);
                }
            }
        }
        let published = Published { note, size, root };
        let mut signed = self.signed();
        if signed.as_ref().is_none_or(|signed| signed.size < size) {
            *signed = Some(published.clone());
        }
        drop(signed);
        metrics::gauge!("agentgate_log_size").set(crate::telemetry::number(usize::try_from(size).unwrap_or(usize::MAX)));
        self.published.send_replace(Some(Arc::new(published)));
        Ok(())
    }

    fn sign(&self, size: u64, root: Hash) -> Result<Bytes, TransparencyError> {
        let unsigned = |error: agentgate_core::transparency::note::NoteError| TransparencyError::Sign(error.to_string());
        let checkpoint = Checkpoint { origin: self.trust.origin().clone(), size, root, extensions: Vec::new() };
        let mut note = checkpoint.note().map_err(unsigned)?;
        for key in &self.keys {
            note.sign(key).map_err(unsigned)?;
        }
        Ok(note.to_string().into())
    }

    fn halt(&self, error: &TransparencyError) {
        tracing::error!(
            error = chain(error),
            "nothing is signed and nothing is written any more; docs/operating.md says what to do"
        );
        self.journal.halt(chain(error));
    }
}

/// When the record was decided that waited longest.
fn oldest_at(records: &[Record]) -> Option<Time> {
    let oldest = records.first()?;
    v1::Record::decode(oldest.bytes.clone()).ok().map(|record| Time::from_micros(record.at_us))
}
