//! The policy in force: the bundle that decides, and why the folder's newest content may not.
//!
//! A bundle comes into force by an order, which advances the control epoch; a decision that was folded from the one before is
//! then fenced off. A bundle whose cases fail never gets that far.

mod opinion;
mod view;

use crate::body::digest_bytes;
use crate::clock::Clock;
use crate::config::PolicyFolder;
use crate::control::{Control, Now, OrderError, PolicyMark};
use crate::journal::{AppendError, Journal, ReadError};
use agentgate_core::digest::{Digest, Digester};
use agentgate_core::time::Time;
use agentgate_policies::{Bundle, ENGINE, SourceFile, folder};
use agentgate_proto::v1;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use thiserror::Error;

pub use opinion::{hidden, opinion};
pub use view::InForce;

#[derive(Clone, Debug, Error)]
pub enum PolicyError {
    #[error("the policy that is in force cannot be read from the journal")]
    Read(#[source] ReadError),
}

/// Why the folder's newest content is not in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedEdit {
    pub why: String,
    pub at: Time,
}

/// Bundles that are kept loaded: the one in force, and those from which a decision under way may still be folded.
const LOADED_MAX: usize = 4;

/// Why a bundle did not come into force.
#[derive(Debug, Error)]
enum PutError {
    #[error("its bundle cannot be kept")]
    Keep(#[source] AppendError),
    #[error(transparent)]
    Order(#[from] OrderError),
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
    control: Arc<Control>,
    /// The newest first.
    loaded: Mutex<VecDeque<Arc<InForce>>>,
    refused: Mutex<Option<RefusedEdit>>,
}

// === impl Tried ===

impl Tried {
    fn after(error: &PutError) -> Self {
        match error {
            PutError::Keep(AppendError::TooLarge { .. } | AppendError::Malformed(_)) => Self::Settled,
            PutError::Keep(
                AppendError::Duplicate(_)
                | AppendError::Fenced { .. }
                | AppendError::Conflict { .. }
                | AppendError::Unavailable(_)
                | AppendError::Unknown(_),
            )
            | PutError::Order(_) => Self::Hindered,
        }
    }
}

// === impl Policy ===

impl Policy {
    /// Takes up the policy that is in force.
    ///
    /// # Errors
    /// When the journal cannot give its bundle.
    pub async fn open(
        journal: Arc<dyn Journal>,
        clock: Clock,
        folder: PolicyFolder,
        control: Arc<Control>,
    ) -> Result<Self, PolicyError> {
        let (mut loaded, mut refused) = (VecDeque::new(), None);
        if let Some(mark) = control.now().policy {
            match view::bundle(journal.as_ref(), &mark).await? {
                Ok(bundle) => loaded.push_front(Arc::new(InForce { since: mark.since, bundle })),
                Err(why) => {
                    let why = format!("the policy in force since {} cannot be used: {why}", mark.since);
                    refused = Some(RefusedEdit { why, at: clock.now() });
                }
            }
        }
        Ok(Self { journal, clock, folder, control, loaded: Mutex::new(loaded), refused: Mutex::new(refused) })
    }

    /// The bundle that decides at this control epoch. None: nothing does, and every call that can be read is refused.
    #[must_use]
    pub fn in_force(&self, now: &Now) -> Option<Arc<InForce>> {
        let mark = now.policy?;
        let loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.iter().find(|loaded| loaded.bundle.digest() == mark.digest).cloned()
    }

    /// The bundle that decided under this digest, whenever that was. None: the journal has none.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn once_in_force(&self, digest: &Digest) -> Result<Option<Bundle>, PolicyError> {
        let loaded =
            self.loaded.lock().unwrap_or_else(PoisonError::into_inner).iter().find(|l| l.bundle.digest() == *digest).cloned();
        if let Some(loaded) = loaded {
            return Ok(Some(loaded.bundle.clone()));
        }
        match view::mark_of(self.journal.as_ref(), digest).await? {
            Some(mark) => Ok(view::bundle(self.journal.as_ref(), &mark).await?.ok()),
            None => Ok(None),
        }
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

    /// Tries what lies in another directory.
    #[cfg(test)]
    pub(crate) async fn try_directory(&self, directory: std::path::PathBuf) {
        let content = folder::read(&directory).map_err(|error| agentgate_core::error::chain(&error));
        let _ = self.try_content(content).await;
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

    /// Keeps the bundle, orders it into force, and lets decisions use it. Nothing to do when it is already.
    async fn put_in_force(&self, bundle: Bundle) -> Result<(), PutError> {
        let digest = bundle.digest();
        let now = self.control.now();
        if now.policy.is_some_and(|policy| policy.digest == digest) && self.in_force(&now).is_some() {
            return Ok(());
        }
        let address = self.journal.keep(Bytes::from(bundle.to_bytes())).await.map_err(PutError::Keep)?;
        // Loaded before it is ordered: whoever folds from the new epoch finds it.
        self.load(InForce { since: self.clock.now(), bundle: bundle.clone() });
        let policy = v1::PolicyRecord { digest: digest_bytes(&digest), engine: ENGINE.into(), address: digest_bytes(&address) };
        let ack = self.control.put_in_force(policy).await?;
        if let Some(PolicyMark { since, .. }) = self.control.now().policy {
            self.load(InForce { since, bundle: bundle.clone() });
        }
        tracing::info!(%digest, epoch = ack.epoch, rules = bundle.rules(), cases = bundle.cases(), "a policy came into force");
        Ok(())
    }

    fn load(&self, in_force: InForce) {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.retain(|loaded| loaded.bundle.digest() != in_force.bundle.digest());
        loaded.push_front(Arc::new(in_force));
        loaded.truncate(LOADED_MAX);
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
///
/// # Errors
/// When it is none, in words for people.
pub fn load(files: Vec<SourceFile>) -> Result<Bundle, String> {
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

#[cfg(test)]
mod tests;
