//! What one tenant's tokens are made with: a random key in a slot of its own. Erased, no token says any more what it stood for,
//! and no keyed digest of that tenant confirms a guess.
//!
//! INVARIANT: a purge names one key, and never the tenant's next one. Whoever folded it makes no token with that key, and finds or
//! makes another one.

use super::purge::tokens_of;
use super::{Bodies, KEY_BYTES, KeyError, SEAL_ATTEMPTS_MAX, data_key};
use crate::journal::SLOTS_PAGE_MAX;
use agentgate_core::digest::Digest;
use agentgate_core::pii::Kind;
use agentgate_proto::v1;
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
        for _ in 0..SEAL_ATTEMPTS_MAX {
            let forgotten = {
                let known = self.known();
                if let Some(tokens) = known.tokens(tenant) {
                    return Ok(tokens);
                }
                known.forgotten
            };
            let fresh = Bytes::copy_from_slice(&self.random().map_err(KeyError::Random)?);
            let tokens = Arc::new(tokens_in(&self.keep(self.tokens_slot(tenant), What::Tokens(fresh)).await?)?);
            let mut known = self.known();
            // It may have been purged since it was read.
            if known.forgotten == forgotten {
                known.made_tokens(tenant, Arc::clone(&tokens));
                return Ok(tokens);
            }
        }
        Err(KeyError::Erased)
    }

    /// What a purge names the key of this tenant's tokens by. None: there is none, or it was purged.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn tokens_there(&self, tenant: &str) -> Result<Option<Digest>, KeyError> {
        let (name, named) = (self.tokens_slot(tenant), self.named());
        let Some(kept) = self.journal.slot(name).await? else { return Ok(None) };
        let key = self.tokens_key(&tokens_in(&self.unwrap(&name, &kept)?)?);
        Ok((!named.takes(&key)).then_some(key))
    }

    /// Erases the key of tokens that a purge names, wherever it is: a key that was made since stays. True: it was there.
    ///
    /// # Errors
    /// When the journal cannot read or write.
    pub async fn erase_tokens(&self, purge: &v1::PurgeRecord) -> Result<bool, KeyError> {
        let Some(key) = tokens_of(purge) else { return Ok(false) };
        let mut after = None;
        loop {
            let page = self.journal.slots(after, SLOTS_PAGE_MAX).await?;
            let Some((last, _)) = page.last() else { return Ok(false) };
            after = Some(*last);
            for (name, kept) in page.into_iter().filter(|(_, kept)| data_key::is_wrapped(kept)) {
                if self.is_tokens(&name, &kept, key)? {
                    // Only where it still is that key: the tenant may have called since, and have another one.
                    return self.erase_slot_if(name, |held| self.is_tokens(&name, held, key)).await;
                }
            }
            // Calls are decided first.
            tokio::task::yield_now().await;
        }
    }

    fn is_tokens(&self, name: &Digest, kept: &Bytes, key: Digest) -> Result<bool, KeyError> {
        match self.unwrap(name, kept)? {
            secret @ What::Tokens(_) => Ok(self.tokens_key(&tokens_in(&secret)?) == key),
            What::Session(_) | What::Stream(_) | What::Naming(_) | What::Derived(_) => Ok(false),
        }
    }

    /// Says which key it is, and nothing else.
    pub(super) fn tokens_key(&self, tokens: &Tokens) -> Digest {
        self.secret_digest("agentgate/tokens/key/1", &[&tokens.0])
    }

    pub(crate) fn tokens_slot(&self, tenant: &str) -> Digest {
        self.secret_digest("agentgate/slot/tokens/1", &[tenant.as_bytes()])
    }
}

pub(super) fn tokens_in(kept: &What) -> Result<Tokens, KeyError> {
    let What::Tokens(key) = kept else { return Err(KeyError::Unreadable) };
    Ok(Tokens(key.as_ref().try_into().map_err(|_| KeyError::Unreadable)?))
}
