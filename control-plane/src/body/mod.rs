//! Bodies: what a record may not say, kept apart from it as ciphertext, so that it can be forgotten without changing the
//! record.
//!
//! Each session has a key of its own, random, kept in a slot under the data key. The slot erased, every body of the session
//! is erased, in every copy of the journal. The room refuses to guess: a body whose key is gone is erased, one that cannot be
//! read is damaged, and neither is ever taken for the other.

mod cipher;
mod data_key;
mod derived;
mod known;
mod purge;
mod seal;
mod source;
mod streams;
#[cfg(test)]
pub(crate) mod tests;
mod tokens;

use crate::journal::{AppendError, Journal, ReadError, SLOTS_PAGE_MAX, Slot};
use agentgate_core::digest::Digest;
use agentgate_core::id::{Principal, Tenant};
use agentgate_core::time::Time;
use agentgate_proto::v1;
use agentgate_proto::v1::slot_secret::What;
use bytes::Bytes;
use known::Known;
use prost::Message;
use purge::{Named, Purges};
use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use streams::stream_in;
use thiserror::Error;
use tokens::tokens_in;

pub use cipher::{Cipher, KEY_BYTES, NONCE_BYTES, TAG_BYTES, Unsealed};
pub use data_key::{DataKey, UnwrapError};
pub use purge::{Erasures, Kept, PURGES_UNFINISHED_MAX, sessions_of};
pub use seal::{Opened, SEALED_BYTES, SESSION_BYTES, Salt, Seal, Sealed, SessionId, digest_bytes};
pub use source::{DataKeyError, data_key};
pub use streams::Lead;
pub use tokens::Tokens;

/// Where keys come from: the system's randomness, or a test's.
pub type Keys = fn() -> Result<[u8; KEY_BYTES], String>;

/// How long one key takes new bodies. A session that lasts longer goes on under another one, so that what is old can be
/// erased while it lasts.
pub const SESSION_KEY_US: u64 = 86_400_000_000;

/// Handles of one subject that get a key of their own in that time. An agent makes handles up; beyond these its calls share
/// the key of those without one.
pub const HANDLES_PER_SUBJECT_MAX: usize = 1_024;

/// How often a key is made anew because others were erased meanwhile.
const SEAL_ATTEMPTS_MAX: u32 = 8;

/// Whose bodies one key opens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    Calls {
        tenant: Tenant,
        principal: Principal,
        /// Empty: calls that carry none.
        handle: String,
    },
    /// Of operators, to everybody: never erased.
    Orders,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BodyError {
    #[error("the body is shorter than its key")]
    Short,
    #[error("the body is not what the record committed to")]
    Changed,
    #[error("the body cannot be read: {0}")]
    Unreadable(String),
}

/// Why a key cannot be had.
#[derive(Clone, Debug, Error)]
pub enum KeyError {
    #[error("a key cannot be read")]
    Read(#[from] ReadError),
    #[error("a key cannot be kept")]
    Keep(#[source] AppendError),
    #[error("a key of the journal cannot be opened with this data key")]
    Unwrap(#[from] UnwrapError),
    #[error("a slot holds something else than its key")]
    Unreadable,
    #[error("there is no randomness: {0}")]
    Random(String),
    #[error("keys were erased {SEAL_ATTEMPTS_MAX} times meanwhile; try again")]
    Erased,
}

/// Why a body cannot be had.
#[derive(Clone, Debug, Error)]
pub enum FetchError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Key(KeyError),
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error("its record names no body")]
    Unnamed,
    #[error(
        "its record does not say where its body is and which key opens it; a journal from before there were keys is not read, begin with an empty directory"
    )]
    Address,
}

/// Every body of the journal.
pub struct Bodies {
    journal: Arc<dyn Journal>,
    data_key: DataKey,
    keys: Keys,
    /// Makes names of slots, so that a name says nothing to whoever has not got it.
    naming: [u8; KEY_BYTES],
    known: Mutex<Known>,
    purges: Mutex<Purges>,
    /// A new key is made by one at a time, or two calls of a session would make two.
    making: tokio::sync::Mutex<()>,
    /// Held by each who writes words that no epoch fences.
    unfenced: tokio::sync::RwLock<()>,
}

/// # Errors
/// When the system has no randomness to give.
pub fn system_keys() -> Result<[u8; KEY_BYTES], String> {
    let mut key = [0; KEY_BYTES];
    getrandom::fill(&mut key).map_err(|error| error.to_string())?;
    Ok(key)
}

// === impl KeyError ===

impl KeyError {
    /// Nobody knows.
    fn may_be_kept(&self) -> bool {
        match self {
            Self::Keep(error) => matches!(error, AppendError::Unknown(_)),
            Self::Read(_) | Self::Unwrap(_) | Self::Unreadable | Self::Random(_) | Self::Erased => false,
        }
    }
}

// === impl Bodies ===

impl Bodies {
    /// Takes up the journal's keys; makes the first one of a new journal.
    ///
    /// # Errors
    /// When the journal was written under another data key, or cannot be read.
    pub async fn open(journal: Arc<dyn Journal>, data_key: DataKey, keys: Keys) -> Result<Self, KeyError> {
        let name = naming_slot();
        let fresh = keys().map_err(KeyError::Random)?;
        let mut bodies = Self {
            journal,
            data_key,
            keys,
            naming: fresh,
            known: Mutex::new(Known::new()),
            purges: Mutex::default(),
            making: tokio::sync::Mutex::default(),
            unfenced: tokio::sync::RwLock::default(),
        };
        let What::Naming(naming) = bodies.keep(name, What::Naming(Bytes::copy_from_slice(&fresh))).await? else {
            return Err(KeyError::Unreadable);
        };
        bodies.naming = naming.as_ref().try_into().map_err(|_| KeyError::Unreadable)?;
        bodies.take_up_purges().await?;
        Ok(bodies)
    }

    #[must_use]
    pub fn journal(&self) -> &Arc<dyn Journal> {
        &self.journal
    }

    /// 32 bytes that nobody can guess.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn random(&self) -> Result<[u8; KEY_BYTES], String> {
        (self.keys)()
    }

    /// The key that seals what this scope says at `at`.
    ///
    /// # Errors
    /// When it cannot be made or kept.
    pub async fn seal(&self, scope: &Scope, at: Time) -> Result<Arc<Seal>, KeyError> {
        if let Some(seal) = self.known().seal(scope, at) {
            return Ok(seal);
        }
        let _turn = self.making.lock().await;
        let scope = self.known().admitted(scope, at);
        if let Some(seal) = self.known().seal(&scope, at) {
            return Ok(seal);
        }
        let mut made: Option<Arc<Seal>> = None;
        for _ in 0..SEAL_ATTEMPTS_MAX {
            let forgotten = self.known().forgotten;
            // It may be among the keys that were erased. If it is not it stays: whoever found it may have sealed a hold with it.
            let seal = match made {
                Some(seal) if self.session_key(seal.session()).await?.is_some() => seal,
                Some(_) | None => {
                    let fresh = self.make(&scope, at).await;
                    if fresh.as_ref().is_err_and(|error| !error.may_be_kept()) {
                        self.known().not_made(&scope);
                    }
                    fresh?
                }
            };
            let mut known = self.known();
            if known.forgotten == forgotten {
                known.sealed(scope, Arc::clone(&seal));
                return Ok(seal);
            }
            drop(known);
            made = Some(seal);
        }
        Err(KeyError::Erased)
    }

    /// A new key of this scope, kept in its slot.
    async fn make(&self, scope: &Scope, at: Time) -> Result<Arc<Seal>, KeyError> {
        let session = SessionId(self.drawn()?);
        let key = self.random().map_err(KeyError::Random)?;
        let (tenant, principal, handle) = scope.words();
        let secret = v1::SessionKey {
            key: Bytes::copy_from_slice(&key),
            tenant,
            principal,
            handle,
            since_us: at.micros(),
            session: Bytes::copy_from_slice(&session.0),
        };
        // A name that comes twice would open one session's bodies with the key of another.
        if self.keep(slot_of(session), What::Session(secret.clone())).await? != What::Session(secret.clone()) {
            return Err(KeyError::Random("it gave what it had given before".into()));
        }
        Ok(Arc::new(Seal::new(session, &secret, self.keys)?))
    }

    /// The key that sealed this body, for what belongs to it. None: it was erased.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn seal_of(&self, reference: &v1::BodyRef) -> Result<Option<Arc<Seal>>, FetchError> {
        let session = SessionId::of(reference).ok_or(FetchError::Address)?;
        self.seal_by(session).await.map_err(FetchError::Key)
    }

    /// The body that a record refers to, or none when it was erased.
    ///
    /// # Errors
    /// When it cannot be read, or is not what the record says.
    pub async fn fetch<M: Message + Default>(&self, reference: Option<&v1::BodyRef>) -> Result<Option<M>, FetchError> {
        Ok(self.open_body(reference).await?.map(|opened| opened.body))
    }

    /// As `fetch`, with what its record's commitments can be compared with.
    ///
    /// # Errors
    /// As `fetch`.
    pub async fn open_body<M: Message + Default>(
        &self,
        reference: Option<&v1::BodyRef>,
    ) -> Result<Option<Opened<M>>, FetchError> {
        let reference = reference.ok_or(FetchError::Unnamed)?;
        let Some((seal, stored)) = self.stored(reference).await? else { return Ok(None) };
        Ok(Some(seal.open(&stored, reference)?))
    }

    /// As `open_body`, byte for byte as it was committed to: for whoever checks the commitment elsewhere.
    ///
    /// # Errors
    /// As `fetch`.
    pub async fn open_plain(&self, reference: &v1::BodyRef) -> Result<Option<Opened<Bytes>>, FetchError> {
        let Some((seal, stored)) = self.stored(reference).await? else { return Ok(None) };
        Ok(Some(seal.plain(&stored, reference)?))
    }

    /// A body as it is kept: ciphertext. None: it was erased, or its key was.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn sealed(&self, reference: &v1::BodyRef) -> Result<Option<Bytes>, FetchError> {
        Ok(self.stored(reference).await?.map(|(_, stored)| stored))
    }

    /// As `open_plain`, of a copy that somebody kept. None: its key was erased.
    ///
    /// # Errors
    /// When it is not what the record says, or the key cannot be read.
    pub async fn open_sealed(&self, reference: &v1::BodyRef, copy: &Bytes) -> Result<Option<Opened<Bytes>>, FetchError> {
        let Some(seal) = self.seal_of(reference).await? else { return Ok(None) };
        Ok(Some(seal.plain(copy, reference)?))
    }

    /// A body as it is kept, and what opens it. None: one of both was erased.
    async fn stored(&self, reference: &v1::BodyRef) -> Result<Option<(Arc<Seal>, Bytes)>, FetchError> {
        let address = Digest::try_from(reference.address.as_ref()).map_err(|_| FetchError::Address)?;
        let Some(seal) = self.seal_of(reference).await? else { return Ok(None) };
        Ok(self.journal.fetch(address).await?.map(|stored| (seal, stored)))
    }

    /// Whose bodies a session's key opens. None: it was erased.
    ///
    /// # Errors
    /// When the key cannot be read.
    pub async fn whose(&self, session: SessionId) -> Result<Option<Scope>, KeyError> {
        let Some(secret) = self.session_key(session).await? else { return Ok(None) };
        if secret.tenant.is_empty() {
            return Ok(Some(Scope::Orders));
        }
        let tenant = Tenant::try_from(secret.tenant.as_str()).map_err(|_| KeyError::Unreadable)?;
        let principal = Principal::try_from(secret.principal.as_str()).map_err(|_| KeyError::Unreadable)?;
        Ok(Some(Scope::Calls { tenant, principal, handle: secret.handle }))
    }

    /// Erases a session's key: nothing opens its bodies from here on. False: it was erased already.
    ///
    /// # Errors
    /// When the journal cannot write.
    pub async fn erase(&self, session: SessionId) -> Result<bool, KeyError> {
        let erased = self.erase_slot(slot_of(session)).await?;
        // After it: whoever read the key before looks again.
        self.known().forget(&HashSet::from([session]), &HashSet::new());
        Ok(erased)
    }

    /// Whatever the slot holds is erased, wrapped anew meanwhile or not.
    async fn erase_slot(&self, name: Digest) -> Result<bool, KeyError> {
        self.erase_slot_if(name, |_| Ok(true)).await
    }

    /// As `erase_slot`, as long as it is what is meant. False: it is not there any more.
    async fn erase_slot_if(&self, name: Digest, is_meant: impl Fn(&Bytes) -> Result<bool, KeyError>) -> Result<bool, KeyError> {
        let mut kept = self.journal.slot(name).await?;
        while let Some(held) = &kept {
            if !is_meant(held)? {
                return Ok(false);
            }
            match self.journal.set(name, kept, None).await.map_err(KeyError::Keep)? {
                Slot::Set => return Ok(true),
                Slot::Held(other) => kept = other,
            }
        }
        Ok(false)
    }

    /// Wraps under the data key in use whatever was wrapped under an earlier one, and says how many.
    ///
    /// INVARIANT: the naming key comes last. A start without the earlier data key opens that one first, so as long as any key
    /// was left behind it is refused, wherever this was cut.
    ///
    /// # Errors
    /// When one cannot be unwrapped, or the journal cannot write.
    pub async fn rewrap(&self) -> Result<u64, KeyError> {
        let (mut after, mut count) = (None, 0);
        loop {
            let page = self.journal.slots(after, SLOTS_PAGE_MAX).await?;
            let Some((last, _)) = page.last() else { break };
            after = Some(*last);
            for (name, kept) in page.into_iter().filter(|(name, _)| *name != naming_slot()) {
                count += u64::from(self.rewrap_slot(name, kept).await?);
            }
        }
        if let Some(kept) = self.journal.slot(naming_slot()).await? {
            count += u64::from(self.rewrap_slot(naming_slot(), kept).await?);
        }
        Ok(count)
    }

    /// False: it was wrapped under this data key, somebody else was first, or it was erased meanwhile.
    async fn rewrap_slot(&self, name: Digest, kept: Bytes) -> Result<bool, KeyError> {
        if !self.is_outdated(&kept) {
            return Ok(false);
        }
        let secret = self.data_key.unwrap(&name, &kept)?;
        let wrapped = self.data_key.wrap(&name, &secret, self.drawn()?)?;
        let told = self.journal.set(name, Some(kept), Some(wrapped)).await.map_err(KeyError::Keep)?;
        Ok(told == Slot::Set)
    }

    fn is_outdated(&self, kept: &[u8]) -> bool {
        data_key::is_wrapped(kept) && !self.data_key.is_current(kept)
    }

    /// As `seal_of`, by the session's name.
    ///
    /// # Errors
    /// As `seal_of`.
    pub async fn seal_by(&self, session: SessionId) -> Result<Option<Arc<Seal>>, KeyError> {
        for _ in 0..SEAL_ATTEMPTS_MAX {
            let forgotten = {
                let known = self.known();
                if let Some(seal) = known.seal_by(session) {
                    return Ok(Some(seal));
                }
                known.forgotten
            };
            let Some(secret) = self.session_key(session).await? else { return Ok(None) };
            let seal = Arc::new(Seal::new(session, &secret, self.keys)?);
            let mut known = self.known();
            if known.forgotten == forgotten {
                known.opened(Arc::clone(&seal));
                return Ok(Some(seal));
            }
        }
        Err(KeyError::Erased)
    }

    /// None: it was erased.
    async fn session_key(&self, session: SessionId) -> Result<Option<v1::SessionKey>, KeyError> {
        if self.is_purged(session) {
            return Ok(None);
        }
        let name = slot_of(session);
        let Some(kept) = self.journal.slot(name).await? else { return Ok(None) };
        let What::Session(secret) = self.unwrap(&name, &kept)? else { return Err(KeyError::Unreadable) };
        Ok(Some(secret))
    }

    /// Keeps the secret, unless the slot has one that no purge names; gives the one that it has then.
    async fn keep(&self, name: Digest, secret: What) -> Result<What, KeyError> {
        let named = self.named();
        let mut kept = self.journal.slot(name).await?;
        for _ in 0..SEAL_ATTEMPTS_MAX {
            if let Some(kept) = &kept {
                let held = self.unwrap(&name, kept)?;
                if self.stands(&held, &named).await? {
                    return Ok(held);
                }
            }
            match self.journal.set(name, kept, Some(self.wrap(&name, &secret)?)).await.map_err(KeyError::Keep)? {
                Slot::Set => return Ok(secret),
                Slot::Held(other) => kept = other,
            }
        }
        Err(KeyError::Erased)
    }

    /// Whether none of these purges takes it.
    async fn stands(&self, kept: &What, named: &Named) -> Result<bool, KeyError> {
        match kept {
            What::Stream(_) => Ok(!self.is_left(stream_in(kept)?, named).await?),
            What::Tokens(_) => Ok(!named.takes(&self.tokens_key(&tokens_in(kept)?))),
            What::Session(_) | What::Naming(_) | What::Derived(_) => Ok(true),
        }
    }

    fn wrap(&self, name: &Digest, secret: &What) -> Result<Bytes, KeyError> {
        let encoded = v1::SlotSecret { what: Some(secret.clone()) }.encode_to_vec();
        Ok(self.data_key.wrap(name, &encoded, self.drawn()?)?)
    }

    fn unwrap(&self, name: &Digest, kept: &[u8]) -> Result<What, KeyError> {
        let secret = self.data_key.unwrap(name, kept)?;
        v1::SlotSecret::decode(secret.as_slice()).ok().and_then(|secret| secret.what).ok_or(KeyError::Unreadable)
    }

    /// So many random bytes; no more than a key has.
    fn drawn<const N: usize>(&self) -> Result<[u8; N], KeyError> {
        let random = self.random().map_err(KeyError::Random)?;
        Ok(std::array::from_fn(|at| random.get(at).copied().unwrap_or_default()))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Bodies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bodies({:?})", self.data_key)
    }
}

/// Where the key is that slots' names are made with. A journal that has none is new.
fn naming_slot() -> Digest {
    Digest::of("agentgate/slot/naming/1", b"")
}

fn slot_of(session: SessionId) -> Digest {
    Digest::of("agentgate/slot/session/1", &session.0)
}

// === impl Scope ===

impl Scope {
    /// The same subject's calls under this handle.
    #[must_use]
    pub fn with_handle(self, named: &str) -> Self {
        match self {
            Scope::Calls { tenant, principal, .. } => Scope::Calls { tenant, principal, handle: named.into() },
            Scope::Orders => Scope::Orders,
        }
    }

    /// Empty: of none.
    #[must_use]
    pub fn tenant(&self) -> &str {
        match self {
            Scope::Calls { tenant, .. } => tenant.as_str(),
            Scope::Orders => "",
        }
    }

    fn words(&self) -> (String, String, String) {
        match self {
            Scope::Calls { tenant, principal, handle } => (tenant.to_string(), principal.to_string(), handle.clone()),
            Scope::Orders => Default::default(),
        }
    }
}
