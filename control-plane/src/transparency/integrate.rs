//! Integration: records become leaves, and every few milliseconds the root over them is signed.
//!
//! Order matters: a checkpoint is compared with what was signed, then kept in the journal, then in the log's own directory, and
//! published last. So nobody is ever shown a root that a later one denies, and what was shown is remembered outside of the
//! journal. Whoever ends between the two has a directory that is behind, which is no alarm: nobody saw more.

use super::leaf::entry;
use super::{LogError, Published, Transparency, TransparencyError, checkpoint_slot, read};
use crate::journal::{Journal as _, Record, Slot};
use agentgate_core::error::chain;
use agentgate_core::time::Time;
use agentgate_core::transparency::checkpoint::Checkpoint;
use agentgate_core::transparency::key::SignerKey;
use agentgate_core::transparency::note::{Note, NoteError};
use agentgate_core::transparency::tree::{Frontier, Hash};
use agentgate_proto::v1;
use bytes::Bytes;
use prost::Message as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Within so long of its decision a record is under a signed root: what docs/operating.md promises of 99 in 100.
pub(super) const SIGNED_WITHIN: Duration = Duration::from_millis(100);

/// How often a root is signed while records come, from the beginning of one to the beginning of the next. No configuration
/// changes it: who comes just too late for one root waits for the next one, and both may be late.
pub(super) const SIGN_EVERY: Duration = Duration::from_millis(40);

const _: () = assert!(2 * SIGN_EVERY.as_millis() < SIGNED_WITHIN.as_millis(), "a record waits for two roots at most");

/// However long a root took, calls come first for so long.
pub(super) const PAUSE: Duration = Duration::from_millis(10);

/// Records that one root takes up at most, so that a long journal is signed on the way.
const PAGE: u32 = 2_048;

/// How long a journal that cannot be read, or a tile that cannot be written, is left alone.
const TRY_AGAIN: Duration = Duration::from_secs(1);

// === impl Transparency ===

impl Transparency {
    /// Integrates again and again, until the journal contradicts what was signed.
    pub async fn integrating(self: Arc<Self>) {
        while self.journal.halted().is_none() {
            let began = self.clock.elapsed();
            let integrated = self.integrate().await;
            let ended = self.clock.elapsed();
            let next = match integrated {
                Ok(()) => {
                    self.trouble.over();
                    began.saturating_add(SIGN_EVERY).max(ended.saturating_add(PAUSE))
                }
                Err(error @ (TransparencyError::Contradiction(_) | TransparencyError::RolledBack(_))) => {
                    return self.halt(&error);
                }
                Err(error) => {
                    self.trouble.failed(chain(&error), self.clock.now());
                    self.measure();
                    if let Some(more) = self.told.told(self.clock.elapsed()) {
                        tracing::warn!(error = chain(&error), more, "the transparency log cannot go on; it is tried again");
                    }
                    ended.saturating_add(TRY_AGAIN)
                }
            };
            self.clock.sleep_until(next).await;
        }
    }

    /// Takes up what the journal has beyond the log, and publishes a checkpoint over it.
    ///
    /// # Errors
    /// When the journal or the store is in the way, or the journal is another than the one that was signed.
    pub async fn integrate(self: &Arc<Self>) -> Result<(), TransparencyError> {
        let size = self.log().size();
        let signed = self.signed().clone();
        let shown = self.shown.as_ref().map(|shown| shown.published.clone());
        // The log stops at each size that was signed, and looks whether it is the same there.
        let next = signed.iter().chain(&shown).map(|known| known.size.saturating_sub(size)).filter(|more| *more > 0).min();
        let limit = next.map_or(PAGE, |more| u32::try_from(more).unwrap_or(PAGE).min(PAGE));
        // What could not be published does not wait for another record, and neither does what a key has yet to sign.
        let is_owed = signed.as_ref().is_some_and(|signed| signed.size == size && self.is_owed(signed));
        let is_due = next.is_none() && (is_owed || self.unpublished.load(Ordering::Relaxed));
        let records = if is_due {
            Vec::new()
        } else {
            tokio::select! {
                biased;
                () = self.spoiled.notified() => {
                    tracing::warn!("tiles of the log are missing or damaged; they are made again");
                    self.log().begin_again();
                    // Whoever lost tiles may have lost what was remembered beside them.
                    self.unpublished.store(true, Ordering::Relaxed);
                    return Ok(());
                }
                records = self.journal.follow(size, limit) => records?,
            }
        };
        let (this, oldest) = (Arc::clone(self), oldest_at(&records));
        let grown = tokio::task::spawn_blocking(move || this.grow(&records)).await;
        let (size, root) = grown.map_err(|error| TransparencyError::Sign(error.to_string()))??;
        if let Some(other) = signed.iter().chain(&shown).find(|known| known.size == size && known.root != root) {
            return self.other_at(other).await;
        }
        if signed.iter().chain(&shown).any(|known| known.size > size) {
            return Ok(());
        }
        let was_unpublished = self.unpublished.swap(true, Ordering::Relaxed);
        match signed.filter(|signed| signed.size == size) {
            Some(signed) if self.lacks(&signed.note) => self.publish(size, root).await?,
            Some(signed) if was_unpublished || self.is_owed(&signed) => self.show(signed).await?,
            Some(_) => {}
            None => self.publish(size, root).await?,
        }
        self.unpublished.store(false, Ordering::Relaxed);
        let lag = oldest.map_or(0, |at| self.clock.now().micros_since(at));
        metrics::histogram!("agentgate_log_duration_seconds").record(Duration::from_micros(lag).as_secs_f64());
        Ok(())
    }

    fn grow(&self, records: &[Record]) -> Result<(u64, Hash), TransparencyError> {
        let mut log = self.log();
        let before = log.size();
        for record in records {
            let next = log.size().saturating_add(1);
            if record.sequence != next {
                let why = format!("record {} follows record {}", record.sequence, log.size());
                return Err(TransparencyError::Contradiction(why));
            }
            match log.push(&entry(record)?) {
                // What is before the tile that cannot be written is signed. The next turn begins with this record.
                Err(LogError::Write(_)) if log.size() > before => break,
                pushed => pushed?,
            }
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
        Err(self.another(signed, root))
    }

    fn another(&self, signed: &Published, root: Hash) -> TransparencyError {
        let Published { size, root: was, .. } = signed;
        let kept = self.shown.as_ref().filter(|shown| shown.published == *signed);
        let kept = kept.map_or_else(String::new, |shown| format!("{} (`{}`)", shown.by_its_file(), shown.file.display()));
        TransparencyError::Contradiction(format!("its first {size} records have the root {root}, and {was} was signed{kept}"))
    }

    /// Reads the journal from its beginning, and compares it with the checkpoints of an earlier life. Tiles say what was
    /// written once; only this says what is there now.
    pub async fn auditing(self: Arc<Self>) {
        // A journal that was found out at the start is not what was signed, whatever one of its checkpoints covers.
        if self.stopped().is_some() {
            return;
        }
        let signed = self.signed().clone();
        let shown = self.shown.as_ref().map(|shown| &shown.published).filter(|shown| signed.as_ref() != Some(*shown));
        for signed in signed.iter().chain(shown) {
            match self.root_of_journal(signed.size).await {
                Ok(root) if root == signed.root => tracing::info!(size = signed.size, "the journal is what was signed"),
                Ok(root) => self.halt(&self.another(signed, root)),
                Err(error) => {
                    tracing::warn!(error = chain(&error), "whether the journal is what was signed could not be seen");
                }
            }
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

    /// Whether a checkpoint of the log's size is to be shown or signed, with no record more.
    pub(super) fn is_owed(&self, signed: &Published) -> bool {
        self.newest().is_none_or(|newest| newest.note != signed.note) || self.lacks(&signed.note)
    }

    /// Whether a key that signs now has not signed this.
    fn lacks(&self, note: &Bytes) -> bool {
        Note::parse(note).is_ok_and(|note| !self.lacking(&note).is_empty())
    }

    fn lacking(&self, note: &Note) -> Vec<&SignerKey> {
        self.keys.iter().filter(|key| note.signatures().iter().all(|one| one.by != *key.verifier().id())).collect()
    }

    /// What others signed, with the keys that sign now beside theirs: whoever believes one of them believes it on.
    fn joined(&self, note: &Bytes) -> Result<Bytes, TransparencyError> {
        self.signed_by_all(Note::parse(note).map_err(|error| unsigned(&error))?)
    }

    fn signed_by_all(&self, mut note: Note) -> Result<Bytes, TransparencyError> {
        for key in self.lacking(&note) {
            note.sign(key).map_err(|error| unsigned(&error))?;
        }
        Ok(note.to_string().into())
    }

    /// Signs, keeps, and then shows. Who finds the same root signed by others adds its own signatures.
    async fn publish(&self, size: u64, root: Hash) -> Result<(), TransparencyError> {
        let signed = self.signed().clone();
        let same = signed.as_ref().filter(|signed| signed.size == size);
        let mut note = same.map_or_else(|| self.sign(size, root), |signed| self.joined(&signed.note))?;
        let mut expected = signed.map(|signed| signed.note);
        while expected.as_ref() != Some(&note) {
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
                    if theirs.size == size {
                        note = self.joined(&other)?;
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
        {
            let mut signed = self.signed();
            if signed.as_ref().is_none_or(|signed| signed.size <= size) {
                *signed = Some(published.clone());
            }
        }
        self.show(published).await
    }

    /// Into the log's directory first, so that it is remembered there, and then to everybody.
    async fn show(&self, published: Published) -> Result<(), TransparencyError> {
        if let Some(shelf) = self.shelf.clone() {
            let note = published.note.clone();
            let kept = tokio::task::spawn_blocking(move || shelf.keep(&note)).await;
            kept.map_err(|error| TransparencyError::Sign(error.to_string()))??;
        }
        let size = usize::try_from(published.size).unwrap_or(usize::MAX);
        metrics::gauge!("agentgate_log_size").set(crate::telemetry::number(size));
        self.published.send_replace(Some(Arc::new(published)));
        Ok(())
    }

    fn sign(&self, size: u64, root: Hash) -> Result<Bytes, TransparencyError> {
        let checkpoint = Checkpoint { origin: self.trust.origin().clone(), size, root, extensions: Vec::new() };
        self.signed_by_all(checkpoint.note().map_err(|error| unsigned(&error))?)
    }

    fn halt(&self, error: &TransparencyError) {
        tracing::error!(
            error = chain(error),
            "nothing is signed and nothing is written any more; docs/operating.md says what to do"
        );
        self.journal.halt(chain(error));
    }
}

fn unsigned(error: &NoteError) -> TransparencyError {
    TransparencyError::Sign(error.to_string())
}

/// When the record was decided that waited longest.
fn oldest_at(records: &[Record]) -> Option<Time> {
    let oldest = records.first()?;
    v1::Record::decode(oldest.bytes.clone()).ok().map(|record| Time::from_micros(record.at_us))
}
