//! The policy in force: which bundle decides, since when, and why the folder's newest content may not.
//!
//! A bundle comes into force by a record of the global stream, which advances the control epoch; a decision that was folded
//! from the one before is then fenced off. A bundle whose cases fail never gets that far.

mod opinion;
mod view;

use crate::body::digest_bytes;
use crate::clock::Clock;
use crate::config::PolicyFolder;
use crate::journal::{AppendError, Change, Epochs, Expected, Journal, ReadError, Stream, Version, Write};
use agentgate_core::digest::{Digest, Digester};
use agentgate_core::time::Time;
use agentgate_policies::{Bundle, ENGINE, SourceFile, folder};
use agentgate_proto::v1;
use bytes::Bytes;
use prost::Message;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use thiserror::Error;
use tokio::sync::watch;

pub use opinion::{hidden, opinion};
pub use view::InForce;

#[derive(Clone, Debug, Error)]
pub enum PolicyError {
    #[error("the policy that is in force cannot be read from the journal")]
    Read(#[source] ReadError),
    #[error("record {sequence} of the policies cannot be read; use the release that wrote it, or a later one")]
    Unreadable { sequence: u64 },
}

/// Why the folder's newest content is not in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedEdit {
    pub why: String,
    pub at: Time,
}

/// What decides at one control epoch. No bundle: nothing does, and every call that can be read is refused.
#[derive(Clone, Debug)]
pub struct Now {
    pub epochs: Epochs,
    pub in_force: Option<Arc<InForce>>,
}

/// What became of content that was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tried {
    /// It is in force, or it cannot be: the same content would come to the same again.
    Settled,
    /// The journal was in the way, which says nothing of the content.
    Hindered,
}

#[derive(Debug)]
pub struct Policy {
    journal: Arc<dyn Journal>,
    clock: Clock,
    folder: PolicyFolder,
    now: watch::Sender<Now>,
    refused: Mutex<Option<RefusedEdit>>,
}

// === impl Tried ===

impl Tried {
    fn after(error: &AppendError) -> Self {
        match error {
            AppendError::TooLarge { .. } | AppendError::Malformed(_) => Self::Settled,
            AppendError::Duplicate(_)
            | AppendError::Fenced { .. }
            | AppendError::Conflict { .. }
            | AppendError::Unavailable(_)
            | AppendError::Unknown(_) => Self::Hindered,
        }
    }
}

// === impl Policy ===

impl Policy {
    /// Takes up the policy that the journal says is in force.
    ///
    /// # Errors
    /// When the journal cannot say.
    pub async fn open(journal: Arc<dyn Journal>, clock: Clock, folder: PolicyFolder) -> Result<Self, PolicyError> {
        let (now, refused) = view::read(journal.as_ref()).await?;
        let refused = refused.map(|why| RefusedEdit { why, at: clock.now() });
        Ok(Self { journal, clock, folder, now: watch::Sender::new(now), refused: Mutex::new(refused) })
    }

    /// What decides now, and under which control epochs.
    #[must_use]
    pub fn now(&self) -> Now {
        self.now.borrow().clone()
    }

    /// Waits until this replica knows the policy of control epoch `epoch`.
    pub async fn caught_up(&self, epoch: Version) {
        // The sender lives in `self`: waiting cannot end in its loss.
        let _ = self.now.subscribe().wait_for(|now| now.epochs.global >= epoch).await;
    }

    #[must_use]
    pub fn refused(&self) -> Option<RefusedEdit> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks at the folder, again and again. Content is tried once it stood still for two looks, since an editor or a copy
    /// writes several files one after the other; and at every look until it is settled.
    pub async fn watch(self: Arc<Self>) {
        let mut settled: Option<Digest> = None;
        let mut last: Option<Digest> = None;
        loop {
            self.clock.sleep(self.folder.poll).await;
            let Some(seen) = self.look().await else { continue };
            if Some(seen.0) == last && Some(seen.0) != settled && self.try_content(seen.1).await == Tried::Settled {
                settled = Some(seen.0);
            }
            last = Some(seen.0);
        }
    }

    /// Tries the folder's content as it is now.
    pub async fn try_folder(&self) {
        if let Some((_, content)) = self.look().await {
            let _ = self.try_content(content).await;
        }
    }

    /// The folder's content under a digest of it; a folder that cannot be read is content too.
    async fn look(&self) -> Option<(Digest, Result<Vec<SourceFile>, String>)> {
        let directory = self.folder.directory.clone();
        let content =
            tokio::task::spawn_blocking(move || folder::read(&directory).map_err(|error| agentgate_core::error::chain(&error)));
        let content = content.await.ok()?;
        let mut digester = Digester::new("agentgate/policy-folder/1");
        match &content {
            Ok(files) => {
                for file in files {
                    digester.part(file.path.as_bytes());
                    digester.part(&file.bytes);
                }
            }
            Err(error) => digester.part(error.as_bytes()),
        }
        Some((digester.finish(), content))
    }

    async fn try_content(&self, content: Result<Vec<SourceFile>, String>) -> Tried {
        let loaded = tokio::task::spawn_blocking(move || load(content?)).await;
        let bundle = match loaded.unwrap_or_else(|_| Err("the policy engine failed while it loaded the folder".into())) {
            Ok(bundle) => bundle,
            Err(why) => {
                self.refuse(why);
                return Tried::Settled;
            }
        };
        match self.put_in_force(bundle).await {
            Ok(()) => {
                *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = None;
                Tried::Settled
            }
            Err(error) => {
                let why = agentgate_core::error::chain(&error);
                // Each further attempt would only say the same.
                if self.refused().is_none_or(|refused| refused.why != why) {
                    self.refuse(why);
                }
                Tried::after(&error)
            }
        }
    }

    /// Keeps the bundle, records that it is in force, and lets decisions use it. Nothing to do when it is already.
    async fn put_in_force(&self, bundle: Bundle) -> Result<(), AppendError> {
        let now = self.now().in_force;
        if now.as_ref().is_some_and(|now| now.bundle.digest() == bundle.digest()) {
            return Ok(());
        }
        let address = self.journal.keep(Bytes::from(bundle.to_bytes())).await?;
        let epoch = self.journal.version(Stream::global()).await.map_err(|error| AppendError::Unavailable(error.to_string()))?;
        let at = now.as_ref().map_or(self.clock.now(), |now| now.since.max(self.clock.now()));
        let policy =
            v1::PolicyRecord { digest: digest_bytes(&bundle.digest()), engine: ENGINE.into(), address: digest_bytes(&address) };
        let record = v1::Record { at_us: at.micros(), what: Some(v1::record::What::Policy(policy)) };
        let write = Write {
            stream: Stream::global(),
            expected: Expected::Exactly(epoch),
            id: change_id(epoch, &bundle.digest()),
            record: record.encode_to_vec().into(),
        };
        let fence = Some(Epochs { global: epoch });
        let appended = self.journal.append(Change { fence, writes: vec![write], bodies: Vec::new() }).await?;
        let epoch = appended.positions.first().map_or(epoch.saturating_add(1), |position| position.version);
        tracing::info!(digest = %bundle.digest(), epoch, rules = bundle.rules(), cases = bundle.cases(), "a policy came into force");
        metrics::gauge!("agentgate_policy_epoch").set(f64::from(u32::try_from(epoch).unwrap_or(u32::MAX)));
        let in_force = Some(Arc::new(InForce { since: at, bundle }));
        self.now.send_replace(Now { epochs: Epochs { global: epoch }, in_force });
        Ok(())
    }

    fn refuse(&self, why: String) {
        tracing::warn!(why, "the policy folder's content is not used");
        metrics::counter!("agentgate_policy_edits_refused_total").increment(1);
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(RefusedEdit { why, at: self.clock.now() });
    }

    #[must_use]
    pub fn poll(&self) -> Duration {
        self.folder.poll
    }
}

/// A bundle whose cases all pass, and that has some: without, nothing is shown to work.
fn load(files: Vec<SourceFile>) -> Result<Bundle, String> {
    let bundle = Bundle::load(files).map_err(|error| agentgate_core::error::chain(&error))?;
    if bundle.cases() == 0 {
        return Err(
            "it has no case, so nothing is shown to work; write one in `cases/*.yaml`: what is given, what is wanted".into()
        );
    }
    let report = bundle.try_cases();
    let Some(first) = report.rows.iter().find(|row| row.failure.is_some()) else { return Ok(bundle) };
    let (failed, place) = (report.failed(), format!("{}:{}", first.file, first.line));
    Err(format!("{failed} of its cases fail, first `{}` ({place}); `agentgate policy test DIR` shows each", first.name))
}

fn change_id(epoch: Version, digest: &Digest) -> Digest {
    let mut digester = Digester::new("agentgate/policy-change/1");
    digester.part(&epoch.to_be_bytes());
    digester.part(digest.as_bytes());
    digester.finish()
}

#[cfg(test)]
mod tests;
