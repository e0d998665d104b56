//! The data key: it wraps every key that the journal keeps, so that a copy of the journal alone opens nothing.
//!
//! It comes from a file, the environment or a command, and it never reaches the journal. An older one still unwraps, so
//! that it can be replaced while everything runs. It refuses whatever was wrapped under a key that it was not given.

use super::cipher::{Cipher, KEY_BYTES, NONCE_BYTES, Unsealed};
use agentgate_core::digest::Digest;
use bytes::Bytes;
use std::fmt;
use thiserror::Error;

/// Raised when what is wrapped changes its form. No signed note begins with it, so a slot shows what it holds.
const FORM: u8 = 1;
const NAME_BYTES: usize = 8;

/// The data key in use, and those that were in use before.
pub struct DataKey {
    current: Wrapping,
    previous: Vec<Wrapping>,
}

struct Wrapping {
    /// The beginning of a digest of the key: it tells keys apart, and nothing else.
    name: [u8; NAME_BYTES],
    cipher: Cipher,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UnwrapError {
    #[error("it is not wrapped")]
    Form,
    #[error("it is wrapped under another data key, `{0}`; configure that one in `data_key.previous`")]
    Key(String),
    #[error("it is not what was wrapped")]
    Changed,
}

// === impl DataKey ===

impl DataKey {
    #[must_use]
    pub fn new(key: &[u8; KEY_BYTES]) -> Self {
        Self { current: Wrapping::new(key), previous: Vec::new() }
    }

    /// Unwraps what was wrapped under `key` as well.
    #[must_use]
    pub fn after(mut self, key: &[u8; KEY_BYTES]) -> Self {
        self.previous.push(Wrapping::new(key));
        self
    }

    /// What people tell data keys apart by.
    #[must_use]
    pub fn name(&self) -> String {
        hex(&self.current.name)
    }

    /// The secret as it is kept in the slot `name`.
    ///
    /// # Errors
    /// When it is longer than the cipher takes, which no key is.
    pub(super) fn wrap(&self, name: &Digest, secret: &[u8], nonce: [u8; NONCE_BYTES]) -> Result<Bytes, UnwrapError> {
        let sealed = self.current.cipher.seal(nonce, name.as_bytes(), secret).ok_or(UnwrapError::Form)?;
        Ok([&[FORM][..], &self.current.name, &sealed].concat().into())
    }

    /// The secret that the slot `name` keeps.
    ///
    /// # Errors
    /// When it was wrapped under an unknown key, or for another slot.
    pub(super) fn unwrap(&self, name: &Digest, wrapped: &[u8]) -> Result<Vec<u8>, UnwrapError> {
        let (form, rest) = wrapped.split_first().ok_or(UnwrapError::Form)?;
        let (key, sealed) = rest.split_at_checked(NAME_BYTES).ok_or(UnwrapError::Form)?;
        if *form != FORM || sealed.len() < NONCE_BYTES {
            return Err(UnwrapError::Form);
        }
        let known = std::iter::once(&self.current).chain(&self.previous).find(|known| known.name == key);
        let known = known.ok_or_else(|| UnwrapError::Key(hex(key)))?;
        known.cipher.open(name.as_bytes(), sealed).map_err(|why| match why {
            Unsealed::Short => UnwrapError::Form,
            Unsealed::Changed => UnwrapError::Changed,
        })
    }

    /// Whether the data key in use wrapped it.
    pub(super) fn is_current(&self, wrapped: &[u8]) -> bool {
        wrapped.get(1..1 + NAME_BYTES).is_some_and(|name| name == self.current.name)
    }
}

/// Whether this is a wrapped secret at all.
pub(super) fn is_wrapped(value: &[u8]) -> bool {
    value.first() == Some(&FORM)
}

/// A key says its name, and never itself.
impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DataKey({})", self.name())
    }
}

// === impl Wrapping ===

impl Wrapping {
    fn new(key: &[u8; KEY_BYTES]) -> Self {
        let digest = Digest::of("agentgate/data-key/1", key);
        let mut name = [0; NAME_BYTES];
        name.iter_mut().zip(digest.as_bytes()).for_each(|(byte, of_digest)| *byte = *of_digest);
        Self { name, cipher: Cipher::new(key) }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
