//! Keys of signed notes (C2SP signed-note): a name, four bytes that point at the key, and the key, in one line of text.
//!
//! The only file that names the curve. It makes no key: 32 random bytes are an argument. It prints a secret only when asked by name.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use core::fmt;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

/// The longest name of a key, in bytes: room for any address without a scheme.
pub const KEY_NAME_BYTES_MAX: usize = 255;

/// The length of what either algorithm signs with.
pub(super) const SIGNATURE_BYTES: usize = 64;

const SECRET: &str = "PRIVATE+KEY+";

/// Who signs: by custom an address without a scheme. Of a log it is its origin.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName(String);

/// A name and the first four bytes of a digest over it and the key. They say which key is meant, and prove nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId {
    pub name: KeyName,
    pub hash: u32,
}

/// What is signed, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// The text of a note, by Ed25519: how a log signs.
    Ed25519 = 1,
    /// A checkpoint and a time, by Ed25519: how a witness says that it saw the log grow to it (cosignature/v1).
    Cosignature = 4,
}

/// What a signature is checked with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    id: KeyId,
    algorithm: Algorithm,
    key: VerifyingKey,
}

/// What a signature is made with.
#[derive(Clone)]
pub struct SignerKey {
    verifier: VerifierKey,
    key: SigningKey,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum KeyError {
    #[error("`{0}` is no key's name: not empty, at most {KEY_NAME_BYTES_MAX} bytes, without spaces and `+`")]
    Name(String),
    #[error("a verifier's key is written `name+hash+base64`")]
    Form,
    #[error("a signer's key is written `PRIVATE+KEY+name+hash+base64`")]
    SecretForm,
    #[error("the key of `{0}` is of an algorithm that is not known here")]
    Algorithm(KeyName),
    #[error("the key of `{0}` is no point of the curve that a signature can be checked with")]
    Point(KeyName),
    #[error("the hash in the key of `{0}` is of another key")]
    Hash(KeyName),
}

// === impl KeyName ===

impl KeyName {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<&str> for KeyName {
    type Error = KeyError;

    fn try_from(text: &str) -> Result<Self, KeyError> {
        let wrong = |c: char| c.is_whitespace() || c < ' ' || c == '+';
        if text.is_empty() || text.len() > KEY_NAME_BYTES_MAX || text.contains(wrong) {
            return Err(KeyError::Name(text.into()));
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl KeyId ===

/// `name+hash`, as the beginning of the key's own line.
impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{:08x}", self.name, self.hash)
    }
}

// === impl Algorithm ===

impl Algorithm {
    const fn number(self) -> u8 {
        self as u8
    }

    fn numbered(number: u8) -> Option<Self> {
        [Self::Ed25519, Self::Cosignature].into_iter().find(|algorithm| algorithm.number() == number)
    }
}

// === impl VerifierKey ===

impl VerifierKey {
    /// # Errors
    /// `Point`, of 32 bytes that are no key, or one under which many signatures hold.
    pub fn new(name: KeyName, algorithm: Algorithm, key: &[u8; 32]) -> Result<Self, KeyError> {
        match VerifyingKey::from_bytes(key) {
            Ok(key) if !key.is_weak() => Ok(Self::of(name, algorithm, key)),
            Ok(_) | Err(_) => Err(KeyError::Point(name)),
        }
    }

    fn of(name: KeyName, algorithm: Algorithm, key: VerifyingKey) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(name.0.as_bytes());
        hasher.update(b"\n");
        hasher.update([algorithm.number()]);
        hasher.update(key.as_bytes());
        let digest: [u8; 32] = hasher.finalize().into();
        let [a, b, c, d, ..] = digest;
        Self { id: KeyId { name, hash: u32::from_be_bytes([a, b, c, d]) }, algorithm, key }
    }

    #[must_use]
    pub const fn id(&self) -> &KeyId {
        &self.id
    }

    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    #[must_use]
    pub fn key_bytes(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }

    /// The key in what `Display` writes.
    ///
    /// # Errors
    /// Of any other text.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(hash), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(KeyError::Form);
        };
        let name = KeyName::try_from(name)?;
        let (algorithm, key) = read_key(&name, key).map_err(|error| error.unwrap_or(KeyError::Form))?;
        let read = Self::new(name, algorithm, &key)?;
        if format!("{:08x}", read.id.hash) == hash { Ok(read) } else { Err(KeyError::Hash(read.id.name)) }
    }

    pub(super) fn verifies(&self, message: &[u8], signature: &[u8; SIGNATURE_BYTES]) -> bool {
        self.key.verify_strict(message, &Signature::from_bytes(signature)).is_ok()
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.id, written(self.algorithm, self.key.as_bytes()))
    }
}

/// `base64(algorithm, key)`: `None` where it is not written so at all.
fn read_key(name: &KeyName, text: &str) -> Result<(Algorithm, [u8; 32]), Option<KeyError>> {
    let bytes = STANDARD.decode(text).map_err(|_| None)?;
    let (algorithm, key) = bytes.split_first().ok_or(None)?;
    let algorithm = Algorithm::numbered(*algorithm).ok_or_else(|| Some(KeyError::Algorithm(name.clone())))?;
    Ok((algorithm, key.try_into().map_err(|_| None)?))
}

fn written(algorithm: Algorithm, key: &[u8; 32]) -> String {
    let bytes: Vec<u8> = [algorithm.number()].into_iter().chain(*key).collect();
    STANDARD.encode(bytes)
}

// === impl SignerKey ===

impl SignerKey {
    /// The key that these 32 secret bytes make.
    #[must_use]
    pub fn from_seed(name: KeyName, algorithm: Algorithm, seed: &[u8; 32]) -> Self {
        let key = SigningKey::from_bytes(seed);
        Self { verifier: VerifierKey::of(name, algorithm, key.verifying_key()), key }
    }

    #[must_use]
    pub const fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// The line that the key is kept in. Whoever has it is the log.
    #[must_use]
    pub fn secret_text(&self) -> String {
        format!("{SECRET}{}+{}", self.verifier.id, written(self.verifier.algorithm, self.key.as_bytes()))
    }

    /// # Errors
    /// Of any text that `secret_text` does not write. They quote no part of it but the name.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let mut parts = text.strip_prefix(SECRET).ok_or(KeyError::SecretForm)?.splitn(3, '+');
        let (Some(name), Some(hash), Some(seed)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(KeyError::SecretForm);
        };
        let name = KeyName::try_from(name).map_err(|_| KeyError::SecretForm)?;
        let (algorithm, seed) = read_key(&name, seed).map_err(|error| error.unwrap_or(KeyError::SecretForm))?;
        let key = Self::from_seed(name, algorithm, &seed);
        if format!("{:08x}", key.verifier.id.hash) == hash { Ok(key) } else { Err(KeyError::Hash(key.verifier.id.name)) }
    }

    pub(super) fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_BYTES] {
        self.key.sign(message).to_bytes()
    }
}

/// The secret is left out.
impl fmt::Debug for SignerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignerKey").field("verifier", &self.verifier).finish_non_exhaustive()
    }
}
