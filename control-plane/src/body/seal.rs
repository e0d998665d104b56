//! One session's key, and what it seals: ciphertext to keep, and what a record may say of it.
//!
//! A body is kept as nonce and ciphertext of (salt, plaintext). The record holds where it lies and an HMAC of the plaintext
//! under that salt. The key erased, nothing is left that could confirm a guess.

use super::cipher::{Cipher, KEY_BYTES, NONCE_BYTES, TAG_BYTES, Unsealed};
use super::{BodyError, KeyError, Keys, SESSION_KEY_US};
use crate::journal::body_address;
use agentgate_core::digest::Digest;
use agentgate_core::id::Tenant;
use agentgate_core::time::Time;
use agentgate_proto::v1;
use bytes::{BufMut as _, Bytes, BytesMut};
use hmac::{Hmac, Mac};
use prost::Message;
use sha2::Sha256;
use std::fmt;

pub const SESSION_BYTES: usize = 16;

/// A session, as records name it: random, so that it says nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub [u8; SESSION_BYTES]);

/// The right to seal and open one session's bodies.
pub struct Seal {
    pub(super) session: SessionId,
    pub(super) since: Time,
    /// Whose; none for orders.
    tenant: Option<Tenant>,
    cipher: Cipher,
    keys: Keys,
}

/// A body, ready to be kept.
#[derive(Clone, Debug)]
pub struct Sealed {
    pub stored: Bytes,
    pub reference: v1::BodyRef,
    salt: Salt,
}

/// A body, and what its record's commitments can be compared with.
#[derive(Clone, Debug, PartialEq)]
pub struct Opened<M> {
    pub body: M,
    pub salt: Salt,
}

/// What a body's commitments were made with.
#[derive(Clone, PartialEq, Eq)]
pub struct Salt(pub [u8; KEY_BYTES]);

/// How many bytes a body takes beside its plaintext.
pub const SEALED_BYTES: usize = NONCE_BYTES + KEY_BYTES + TAG_BYTES;

/// A commitment to something that a body holds as well, under the body's salt.
#[must_use]
fn commit(salt: &[u8], bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(&mac(salt, bytes).finalize().into_bytes())
}

#[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
fn mac(key: &[u8], plaintext: &[u8]) -> Hmac<Sha256> {
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(key).expect("any key length");
    mac.update(plaintext);
    mac
}

// === impl SessionId ===

impl SessionId {
    /// The session that a record's body is of.
    #[must_use]
    pub fn of(reference: &v1::BodyRef) -> Option<Self> {
        Self::read(&reference.session)
    }

    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The session of this name, as records are shown.
    #[must_use]
    pub fn named(text: &str) -> Option<Self> {
        let number = u128::from_str_radix(text, 16).ok()?;
        Some(Self(number.to_be_bytes())).filter(|session| session.to_string() == text)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

// === impl Seal ===

impl Seal {
    pub(super) fn new(session: SessionId, secret: &v1::SessionKey, keys: Keys) -> Result<Self, KeyError> {
        let key: &[u8; KEY_BYTES] = secret.key.as_ref().try_into().map_err(|_| KeyError::Unreadable)?;
        let tenant = Some(secret.tenant.as_str()).filter(|tenant| !tenant.is_empty());
        let tenant = tenant.map(Tenant::try_from).transpose().map_err(|_| KeyError::Unreadable)?;
        Ok(Self { session, since: Time::from_micros(secret.since_us), tenant, cipher: Cipher::new(key), keys })
    }

    /// Whose calls it seals; none where it seals orders.
    #[must_use]
    pub fn tenant(&self) -> Option<&Tenant> {
        self.tenant.as_ref()
    }

    /// Whether what is said at `at` may go under it: for a day from its first call.
    #[must_use]
    pub fn takes(&self, at: Time) -> bool {
        at.micros_since(self.since) < SESSION_KEY_US
    }

    #[must_use]
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// 32 bytes that nobody can guess.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn random(&self) -> Result<[u8; KEY_BYTES], String> {
        (self.keys)()
    }

    /// # Errors
    /// When there is no randomness, or the body is longer than the cipher takes.
    pub fn seal(&self, body: &impl Message) -> Result<Sealed, String> {
        let salt = self.random()?;
        let mut plain = BytesMut::with_capacity(KEY_BYTES + body.encoded_len());
        plain.put_slice(&salt);
        body.encode(&mut plain).map_err(|error| error.to_string())?;
        let commitment = commit(&salt, plain.get(KEY_BYTES..).unwrap_or_default());
        let stored = self.cipher.seal(nonce(&salt), &self.session.0, &plain).ok_or("a body is too long")?;
        let stored = Bytes::from(stored);
        let address = digest_bytes(&body_address(&stored));
        let session = Bytes::copy_from_slice(&self.session.0);
        Ok(Sealed { reference: v1::BodyRef { address, commitment, session }, stored, salt: Salt(salt) })
    }

    /// The body, if it is the one that the record committed to.
    pub(super) fn open<M: Message + Default>(&self, stored: &Bytes, expected: &v1::BodyRef) -> Result<Opened<M>, BodyError> {
        let Opened { body: plain, salt } = self.plain(stored, expected)?;
        let body = M::decode(plain).map_err(|error| BodyError::Unreadable(error.to_string()))?;
        Ok(Opened { body, salt })
    }

    /// As `open`, byte for byte as it was committed to.
    pub(super) fn plain(&self, stored: &Bytes, expected: &v1::BodyRef) -> Result<Opened<Bytes>, BodyError> {
        let plain = self.cipher.open(&self.session.0, stored).map_err(|why| match why {
            Unsealed::Short => BodyError::Short,
            Unsealed::Changed => BodyError::Changed,
        })?;
        let plain = Bytes::from(plain);
        let (salt, plaintext) = plain.split_at_checked(KEY_BYTES).ok_or(BodyError::Short)?;
        mac(salt, plaintext).verify_slice(&expected.commitment).map_err(|_| BodyError::Changed)?;
        let salt = Salt(salt.try_into().map_err(|_| BodyError::Short)?);
        Ok(Opened { body: plain.slice(KEY_BYTES..), salt })
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Seal({})", self.session)
    }
}

/// The salt is random and used once, and so is what follows from it.
fn nonce(salt: &[u8; KEY_BYTES]) -> [u8; NONCE_BYTES] {
    let digest = Digest::of("agentgate/body-nonce/1", salt);
    std::array::from_fn(|at| digest.as_bytes().get(at).copied().unwrap_or_default())
}

/// Whoever logs it gives nothing away.
impl fmt::Debug for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Salt")
    }
}

#[must_use]
pub fn digest_bytes(digest: &Digest) -> Bytes {
    Bytes::copy_from_slice(digest.as_bytes())
}

// === impl Sealed, Salt ===

impl Sealed {
    /// A commitment that can be erased with the body.
    #[must_use]
    pub fn commit(&self, bytes: &[u8]) -> Bytes {
        commit(&self.salt.0, bytes)
    }
}

impl Salt {
    /// Whether the record committed to these bytes.
    #[must_use]
    pub fn committed(&self, commitment: &[u8], bytes: &[u8]) -> bool {
        mac(&self.0, bytes).verify_slice(commitment).is_ok()
    }
}
