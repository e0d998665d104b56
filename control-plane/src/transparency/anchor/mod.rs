//! Anchors: a place outside is told of a checkpoint now and then, and its answer is kept as a receipt.
//!
//! What is to be sent is in the journal before it is sent, so that it is sent until it is taken, by whatever replica is there.
//! The same checkpoint always has the same key: to send it twice does no harm. What a receipt means is not judged here.

#[cfg(test)]
mod tests;

use super::{Transparency, TransparencyError, read};
use crate::clock::Clock;
use crate::config;
use crate::journal::{Journal as _, ReadError, SLOT_BYTES_MAX, Slot};
use crate::rarely::Rarely;
use agentgate_core::digest::Digest;
use agentgate_core::error::chain;
use agentgate_outbound::header::CONTENT_TYPE;
use agentgate_outbound::{Plain, SendError, StatusCode, Target, TargetError, answer};
use agentgate_proto::v1;
use bytes::Bytes;
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// Anchors that are remembered, with their receipts: all of them are in one slot. `agentgate log receipts` copies them out.
pub(super) const ANCHORS_MAX: usize = 8;

/// Eight addresses and a checkpoint fit into one slot.
const URL_BYTES_MAX: usize = 512;

/// A receipt lies in a slot of its own.
pub(super) const RECEIPT_BYTES_MAX: usize = SLOT_BYTES_MAX;

/// For one attempt, from the look-up of the name to the end of the answer.
pub(super) const ATTEMPT: Duration = Duration::from_secs(30);

/// How often it is looked at whether something is to be sent.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The wait after the first failed attempt; it doubles with each further one.
pub(super) const BACKOFF: Duration = Duration::from_secs(5);

/// A place that comes back is told within this time.
const BACKOFF_MAX: Duration = Duration::from_secs(600);

/// Before the digest of a receipt in its path.
const RECEIPT: &str = "receipt/";

#[derive(Debug, Error)]
pub enum AnchorError {
    #[error("`transparency.anchor.url`: {0}; write e.g. `https://anchor.example/agentgate`")]
    Target(#[from] TargetError),
    #[error("`transparency.anchor.url`: it has more than {URL_BYTES_MAX} bytes")]
    Long,
}

/// Why a checkpoint was not anchored.
#[derive(Debug, Error)]
enum Trouble {
    #[error(transparent)]
    Send(#[from] SendError),
    #[error("it did not answer within {} s", ATTEMPT.as_secs())]
    Late,
    #[error("it answered {0}")]
    Status(StatusCode),
    #[error(transparent)]
    Log(#[from] TransparencyError),
}

/// The place, and how it fared.
#[derive(Debug)]
pub struct Anchoring {
    log: Arc<Transparency>,
    clock: Clock,
    place: Option<Place>,
    told: Rarely,
}

#[derive(Debug)]
struct Place {
    target: Target,
    url: String,
    every: Duration,
}

// === impl Anchoring ===

impl Anchoring {
    /// The place of the configuration, if there is one.
    ///
    /// # Errors
    /// When it cannot be told anything.
    pub fn open(config: Option<&config::Transparency>, log: Arc<Transparency>, clock: &Clock) -> Result<Self, AnchorError> {
        let place = |anchor: &config::Anchor| {
            if anchor.url.len() > URL_BYTES_MAX {
                return Err(AnchorError::Long);
            }
            let time = Arc::new(clock.clone());
            let target = Target::open(&anchor.url, Plain::Anywhere, anchor.authority.as_deref(), time)?;
            Ok(Place { target, url: anchor.url.clone(), every: anchor.every })
        };
        let place = config.and_then(|config| config.anchor.as_ref()).map(place).transpose()?;
        Ok(Self { log, clock: clock.clone(), place, told: Rarely::default() })
    }

    /// Sends again and again.
    pub async fn sending(self) {
        let Some(place) = &self.place else { return };
        let mut failed = 0_u32;
        loop {
            let wait = match self.look(place).await {
                Ok(()) => {
                    failed = 0;
                    LOOK_EVERY
                }
                Err(trouble) => {
                    metrics::counter!("agentgate_anchor_attempts_failed_total").increment(1);
                    if let Some(more) = self.told.told(self.clock.elapsed()) {
                        let (host, why) = (place.target.host(), chain(&trouble));
                        tracing::warn!(host, why, more, "a checkpoint is not anchored; it is tried again");
                    }
                    let wait = BACKOFF.saturating_mul(1_u32.checked_shl(failed).unwrap_or(u32::MAX)).min(BACKOFF_MAX);
                    failed = failed.saturating_add(1);
                    wait
                }
            };
            self.clock.sleep(wait).await;
        }
    }

    /// Takes up what is to be sent, and sends it.
    async fn look(&self, place: &Place) -> Result<(), Trouble> {
        let (mut kept, mut book) = self.log.anchor_book().await?;
        if book.pending.is_empty() {
            let Some(note) = self.due(place, &book) else { return Ok(()) };
            book.pending = note;
            let next = Bytes::from(book.encode_to_vec());
            if self.log.journal.set(anchors_slot(), kept, Some(next.clone())).await.map_err(TransparencyError::Keep)? != Slot::Set
            {
                // Another replica is at it.
                return Ok(());
            }
            kept = Some(next);
        }
        self.send(place, kept, book).await
    }

    /// What is to be sent now.
    fn due(&self, place: &Place, book: &v1::Anchors) -> Option<Bytes> {
        let newest = self.log.newest()?;
        let Some(last) = book.anchors.first() else { return Some(newest.note.clone()) };
        let now_us = self.clock.now().micros();
        // A clock that was set back is no reason to wait for the time that it showed.
        let waited = now_us.checked_sub(last.at_us).is_none_or(|waited| Duration::from_micros(waited) >= place.every);
        (waited && newest.size > last.size).then(|| newest.note.clone())
    }

    async fn send(&self, place: &Place, kept: Option<Bytes>, mut book: v1::Anchors) -> Result<(), Trouble> {
        let note = std::mem::take(&mut book.pending);
        let Ok(checkpoint) = read(&self.log.trust, note.clone()) else {
            // Nobody knows its key any more: the next one is sent instead.
            let set = self.log.journal.set(anchors_slot(), kept, Some(book.encode_to_vec().into())).await;
            return set.map(drop).map_err(|error| TransparencyError::Keep(error).into());
        };
        let receipt = self.post(place, &note, &key(&self.log, &checkpoint)).await?;
        let digest = Bytes::copy_from_slice(&Sha256::digest(&receipt));
        self.log.keep_receipt(&digest, Some(receipt)).await?;
        book.anchors.insert(
            0,
            v1::Anchor {
                size: checkpoint.size,
                root: Bytes::copy_from_slice(checkpoint.root.as_bytes()),
                at_us: self.clock.now().micros(),
                receipt: digest,
                url: place.url.clone(),
            },
        );
        let over = book.anchors.split_off(book.anchors.len().min(ANCHORS_MAX));
        let set = self.log.journal.set(anchors_slot(), kept, Some(book.encode_to_vec().into())).await;
        // Where another replica was first, its receipt is as good as ours.
        if set.map_err(TransparencyError::Keep)? == Slot::Set {
            metrics::counter!("agentgate_anchors_total").increment(1);
            for old in over.iter().filter(|old| book.anchors.iter().all(|anchor| anchor.receipt != old.receipt)) {
                self.log.keep_receipt(&old.receipt, None).await?;
            }
        }
        Ok(())
    }

    async fn post(&self, place: &Place, note: &Bytes, key: &str) -> Result<Bytes, Trouble> {
        let request = place.target.post().header(CONTENT_TYPE, "text/plain; charset=utf-8");
        let request = request.header("idempotency-key", format!("\"{key}\"")).body(String::from_utf8_lossy(note).into_owned());
        let deadline = self.clock.elapsed().saturating_add(ATTEMPT);
        let answered = answer(&place.target, request.map_err(SendError::Request)?, RECEIPT_BYTES_MAX);
        let answer = self.clock.before(deadline, answered).await.ok_or(Trouble::Late)??;
        if answer.status.is_success() { Ok(answer.body) } else { Err(Trouble::Status(answer.status)) }
    }
}

/// The same for the same checkpoint, whoever signed it and whichever replica sends it.
fn key(log: &Transparency, checkpoint: &super::Published) -> String {
    let named = format!("{}\n{}\n{}\n", log.trust.origin(), checkpoint.size, checkpoint.root);
    Digest::of("agentgate/anchor/1", named.as_bytes()).to_string()
}

// === impl Transparency ===

impl Transparency {
    /// Checkpoints that were anchored, the newest first.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn anchors(&self) -> Result<Vec<v1::Anchor>, TransparencyError> {
        Ok(self.anchor_book().await?.1.anchors)
    }

    /// The receipt at `receipt/DIGEST`; none where it is no such path, or the receipt is not kept any more.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn receipt(&self, path: &str) -> Result<Option<Bytes>, TransparencyError> {
        let Some(named) = path.strip_prefix(RECEIPT) else { return Ok(None) };
        let anchors = self.anchors().await?;
        let Some(anchor) = anchors.iter().find(|anchor| hex(&anchor.receipt) == named) else { return Ok(None) };
        // A slot that holds nothing is a receipt that says nothing.
        Ok(Some(self.journal.slot(receipt_slot(&anchor.receipt)).await?.unwrap_or_default()))
    }

    async fn keep_receipt(&self, digest: &[u8], receipt: Option<Bytes>) -> Result<(), TransparencyError> {
        let (name, wanted) = (receipt_slot(digest), receipt.filter(|receipt| !receipt.is_empty()));
        let held = self.journal.slot(name).await?;
        if held != wanted {
            self.journal.set(name, held, wanted).await.map_err(TransparencyError::Keep)?;
        }
        Ok(())
    }

    async fn anchor_book(&self) -> Result<(Option<Bytes>, v1::Anchors), TransparencyError> {
        let kept = self.journal.slot(anchors_slot()).await?;
        let damaged = || ReadError::Damaged("the slot of anchors holds something else".into());
        let book = v1::Anchors::decode(kept.clone().unwrap_or_default()).map_err(|_| damaged())?;
        Ok((kept, book))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn anchors_slot() -> Digest {
    Digest::of("agentgate/slot/anchors/1", b"")
}

fn receipt_slot(digest: &[u8]) -> Digest {
    Digest::of("agentgate/slot/receipt/1", digest)
}
