//! The policy in force: the bundle that decides, and why the folder's newest content may not.
//!
//! A bundle comes into force by an order, which advances the control epoch; a decision that was folded from the one before is
//! then fenced off. A bundle whose cases fail never gets that far. Which folder's content wins where several replicas have
//! folders of their own is decision 0013: an edit does, and a start only with what was never in force.

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
    #[error(
        "the folder holds what was in force before, and another replica put `{in_force}` in force since; a start does not take \
         that back: edit the folder while this replica runs"
    )]
    Superseded { in_force: Digest },
    #[error("whether it was in force before cannot be read")]
    Past(#[source] PolicyError),
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
    /// One loads what another replica put in force, and all who need it wait.
    loading: tokio::sync::Mutex<()>,
    refused: Mutex<Option<RefusedEdit>>,
    folder_seen: Mutex<FolderSeen>,
}

/// What this life of the process knows of its folder.
#[derive(Clone, Copy, Debug, Default)]
struct FolderSeen {
    /// The content that was tried, and would come to the same again.
    settled: Option<Digest>,
    /// The bundle that it was.
    bundle: Option<Digest>,
}

// === impl Tried ===

impl Tried {
    fn after(error: &PutError) -> Self {
        match error {
            PutError::Superseded { .. } | PutError::Keep(AppendError::TooLarge { .. } | AppendError::Malformed(_)) => {
                Self::Settled
            }
            PutError::Keep(
                AppendError::Duplicate(_)
                | AppendError::Fenced { .. }
                | AppendError::Conflict { .. }
                | AppendError::Unavailable(_)
                | AppendError::Halted(_)
                | AppendError::Unknown(_),
            )
            | PutError::Past(_)
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
        Ok(Self {
            journal,
            clock,
            folder,
            control,
            loaded: Mutex::new(loaded),
            loading: tokio::sync::Mutex::default(),
            refused: Mutex::new(refused),
            folder_seen: Mutex::default(),
        })
    }

    /// The bundle that decides at this control epoch. None: nothing does, and every call that can be read is refused.
    #[must_use]
    pub fn in_force(&self, now: &Now) -> Option<Arc<InForce>> {
        let mark = now.policy?;
        self.loaded(&mark.digest)
    }

    /// As `in_force`; what another replica put in force is loaded from the journal first.
    ///
    /// # Errors
    /// When the journal cannot give its bundle.
    pub async fn deciding(&self, now: &Now) -> Result<Option<Arc<InForce>>, PolicyError> {
        match now.policy {
            Some(mark) if self.in_force(now).is_none() => self.take_up(mark).await?,
            Some(_) | None => {}
        }
        Ok(self.in_force(now))
    }

    /// Loads the bundle under this mark, unless it is loaded. One that cannot be used is told, and decides nothing.
    ///
    /// # Errors
    /// When the journal cannot give it.
    pub async fn take_up(&self, mark: PolicyMark) -> Result<(), PolicyError> {
        let _turn = self.loading.lock().await;
        if let Some(loaded) = self.loaded(&mark.digest) {
            if loaded.since != mark.since {
                self.load(InForce { since: mark.since, bundle: loaded.bundle.clone() });
            }
            return Ok(());
        }
        match view::bundle(self.journal.as_ref(), &mark).await? {
            Ok(bundle) => self.load(InForce { since: mark.since, bundle }),
            Err(why) => {
                let why = format!("the policy in force since {} cannot be used: {why}", mark.since);
                if self.refused().is_none_or(|refused| refused.why != why) {
                    self.refuse(why);
                }
            }
        }
        Ok(())
    }

    /// The folder holds another policy than the one in force: another replica's is newer.
    #[must_use]
    pub fn is_overruled(&self) -> bool {
        let (folder, in_force) = (self.seen().bundle, self.control.now().policy);
        folder.zip(in_force).is_some_and(|(folder, in_force)| folder != in_force.digest)
    }

    /// The bundle that decided under this digest, whenever that was. None: the journal has none.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn once_in_force(&self, digest: &Digest) -> Result<Option<Bundle>, PolicyError> {
        if let Some(loaded) = self.loaded(digest) {
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
        let mut last: Option<Digest> = None;
        loop {
            self.clock.sleep(self.folder.poll).await;
            let Some(seen) = self.look().await else { continue };
            if Some(seen.0) == last && Some(seen.0) != self.seen().settled {
                self.try_seen(seen.0, seen.1).await;
            }
            last = Some(seen.0);
        }
    }

    /// Tries the folder's content as it is now.
    pub async fn try_folder(&self) {
        if let Some((digest, content)) = self.look().await {
            self.try_seen(digest, content).await;
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

    async fn try_seen(&self, digest: Digest, content: Result<Vec<SourceFile>, String>) {
        if self.try_content(content).await == Tried::Settled {
            self.see(|seen| seen.settled = Some(digest));
        }
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
        let digest = bundle.digest();
        let tried = self.put_in_force(bundle).await;
        if tried.as_ref().map_or_else(Tried::after, |()| Tried::Settled) == Tried::Settled {
            self.see(|seen| seen.bundle = Some(digest));
        }
        match tried {
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
        // What is in force as far as is known here may have been replaced by another replica.
        self.control.catch_up().await.map_err(OrderError::from)?;
        let now = self.control.now();
        if now.policy.is_some_and(|policy| policy.digest == digest) && self.in_force(&now).is_some() {
            return Ok(());
        }
        if let Some(in_force) = now.policy
            // With nobody else, what the folder holds at a start is what its operator wants.
            && self.journal.is_shared()
            && self.seen().bundle.is_none()
            && in_force.digest != digest
            && view::mark_of(self.journal.as_ref(), &digest).await.map_err(PutError::Past)?.is_some()
        {
            return Err(PutError::Superseded { in_force: in_force.digest });
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

    fn seen(&self) -> FolderSeen {
        *self.folder_seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn see(&self, what: impl FnOnce(&mut FolderSeen)) {
        what(&mut self.folder_seen.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn loaded(&self, digest: &Digest) -> Option<Arc<InForce>> {
        let loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.iter().find(|loaded| loaded.bundle.digest() == *digest).cloned()
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
