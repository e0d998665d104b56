//! The one cipher: AES-256-GCM-SIV, its nonce in front of what it sealed. The one file that knows the crate.
//!
//! It draws no nonce by itself, and it does not commit to its key: whoever must be sure of that holds a commitment as well.

use aes_gcm_siv::aead::{Aead as _, Payload};
use aes_gcm_siv::{Aes256GcmSiv, KeyInit as _, Nonce};
use std::fmt;

/// Length of a data key, and of every key below it.
pub const KEY_BYTES: usize = 32;
pub const NONCE_BYTES: usize = 12;
pub const TAG_BYTES: usize = 16;

pub struct Cipher(Aes256GcmSiv);

/// Why something cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsealed {
    /// It is shorter than a nonce.
    Short,
    /// It was sealed with another key, for something else, or is not what was sealed.
    Changed,
}

// === impl Cipher ===

impl Cipher {
    #[must_use]
    pub fn new(key: &[u8; KEY_BYTES]) -> Self {
        Self(Aes256GcmSiv::new(&(*key).into()))
    }

    /// Nonce and ciphertext, bound to `beside`. None: it is longer than the cipher takes.
    #[must_use]
    pub fn seal(&self, nonce: [u8; NONCE_BYTES], beside: &[u8], plain: &[u8]) -> Option<Vec<u8>> {
        let ciphertext = self.0.encrypt(&Nonce::from(nonce), Payload { msg: plain, aad: beside }).ok()?;
        Some([&nonce[..], &ciphertext].concat())
    }

    /// # Errors
    /// When `seal` did not make it with this key, for the same.
    pub fn open(&self, beside: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Unsealed> {
        let (nonce, ciphertext) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or(Unsealed::Short)?;
        let payload = Payload { msg: ciphertext, aad: beside };
        self.0.decrypt(&Nonce::from(*nonce), payload).map_err(|_| Unsealed::Changed)
    }
}

/// Whoever logs it gives nothing away.
impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cipher")
    }
}
