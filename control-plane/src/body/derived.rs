//! What files that are derived from the journal are made with: a key of their own, which can be forgotten, and digests that
//! nobody else can make.

use super::{Bodies, Cipher, KEY_BYTES, KeyError};
use crate::journal::Slot;
use agentgate_core::digest::{Digest, Digester};
use agentgate_proto::v1::slot_secret::What;
use bytes::Bytes;

// === impl Bodies ===

impl Bodies {
    /// Seals files that are derived from the journal and tell of names. Made when there is none.
    ///
    /// # Errors
    /// When it cannot be read, or not be kept.
    pub async fn derived_cipher(&self) -> Result<Cipher, KeyError> {
        let fresh = self.random().map_err(KeyError::Random)?;
        let kept = self.keep(derived_slot(), What::Derived(Bytes::copy_from_slice(&fresh))).await?;
        let What::Derived(key) = kept else { return Err(KeyError::Unreadable) };
        let key: &[u8; KEY_BYTES] = key.as_ref().try_into().map_err(|_| KeyError::Unreadable)?;
        Ok(Cipher::new(key))
    }

    /// Nothing opens those files from here on.
    ///
    /// # Errors
    /// When the journal cannot write.
    pub async fn forget_derived_key(&self) -> Result<(), KeyError> {
        let mut kept = self.journal.slot(derived_slot()).await?;
        while kept.is_some() {
            match self.journal.set(derived_slot(), kept, None).await.map_err(KeyError::Keep)? {
                Slot::Set => break,
                // Wrapped anew meanwhile, or forgotten by somebody else.
                Slot::Held(other) => kept = other,
            }
        }
        Ok(())
    }

    /// The same for the same parts in every process of this journal, and nowhere else.
    #[must_use]
    pub fn secret_digest(&self, domain: &'static str, parts: &[&[u8]]) -> Digest {
        let mut digester = Digester::new(domain);
        digester.part(&self.naming);
        parts.iter().for_each(|part| digester.part(part));
        digester.finish()
    }
}

fn derived_slot() -> Digest {
    Digest::of("agentgate/slot/derived/1", b"")
}
