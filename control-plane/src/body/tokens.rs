//! What one tenant's tokens are made with: a random key in a slot of its own. Erased, no token says any more what it stood for,
//! and no keyed digest of that tenant confirms a guess.

use super::{Bodies, KEY_BYTES, KeyError};
use crate::journal::Slot;
use agentgate_core::digest::Digest;
use agentgate_core::pii::Kind;
use agentgate_proto::v1::slot_secret::What;
use bytes::Bytes;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use std::fmt;
use std::sync::Arc;

/// Letters of a token: 80 bits, so that two values hardly ever share one. Letters alone: nothing in it looks like a number.
const TOKEN_LETTERS: usize = 20;

/// Makes tokens and keyed digests of one tenant.
pub struct Tokens([u8; KEY_BYTES]);

// === impl Tokens ===

impl Tokens {
    /// The same for the same value of a kind, as long as the key is kept.
    #[must_use]
    pub fn token(&self, kind: Kind, normal: &str) -> String {
        let mac = self.mac(b"token", &[kind.name().as_bytes(), normal.as_bytes()]);
        let letters = mac.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|nibble| char::from(b'a' + nibble));
        letters.take(TOKEN_LETTERS).collect()
    }

    /// What stands for a digest of something that was altered: whoever guesses it needs the key as well.
    #[must_use]
    pub fn keyed(&self, digest: &[u8]) -> Bytes {
        Bytes::copy_from_slice(&self.mac(b"digest", &[digest]))
    }

    #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
    fn mac(&self, domain: &'static [u8], parts: &[&[u8]]) -> [u8; KEY_BYTES] {
        let mut mac = <Hmac<Sha256> as hmac::Mac>::new_from_slice(&self.0).expect("any key length");
        // Domains and kinds have no zero in them.
        for part in [&[domain], parts].concat() {
            mac.update(&[0]);
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

/// Whoever logs it gives nothing away.
impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens")
    }
}

// === impl Bodies ===

impl Bodies {
    /// What this tenant's tokens are made with; made when there is none. What is of no tenant has tokens under the empty name.
    ///
    /// # Errors
    /// When it cannot be read, or not be kept.
    pub async fn tokens(&self, tenant: &str) -> Result<Arc<Tokens>, KeyError> {
        if let Some(tokens) = self.known().tokens(tenant) {
            return Ok(tokens);
        }
        let fresh = self.random().map_err(KeyError::Random)?;
        let kept = self.keep(self.tokens_slot(tenant), What::Tokens(Bytes::copy_from_slice(&fresh))).await?;
        let What::Tokens(key) = kept else { return Err(KeyError::Unreadable) };
        let tokens = Arc::new(Tokens(key.as_ref().try_into().map_err(|_| KeyError::Unreadable)?));
        self.known().made_tokens(tenant, Arc::clone(&tokens));
        Ok(tokens)
    }

    /// Erases it: from here on the tenant has other tokens. Another replica uses the old key until it forgot it.
    ///
    /// # Errors
    /// When the journal cannot write.
    pub async fn erase_tokens(&self, tenant: &str) -> Result<bool, KeyError> {
        let name = self.tokens_slot(tenant);
        let Some(kept) = self.journal.slot(name).await? else { return Ok(false) };
        let told = self.journal.set(name, Some(kept), None).await.map_err(KeyError::Keep)?;
        self.known().forget_tokens(tenant);
        Ok(told == Slot::Set)
    }

    pub(crate) fn tokens_slot(&self, tenant: &str) -> Digest {
        self.secret_digest("agentgate/slot/tokens/1", &[tenant.as_bytes()])
    }
}
