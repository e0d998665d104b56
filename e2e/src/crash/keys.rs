//! What a dead control plane's journal is opened with: its data key and the keys of its log, read from their files. Bodies are
//! opened by another cipher than the one that sealed them (AWS-LC's). It refuses what it cannot prove to be what was sealed.

use super::purges::key_slot;
use super::slots::Slots;
use crate::{Broken, Doing};
use agentgate_core::digest::Digest;
use agentgate_core::transparency::key::SignerKey;
use agentgate_core::transparency::trust::Trust;
use agentgate_proto::v1;
use agentgate_proto::v1::slot_secret::What;
use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, Nonce, UnboundKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost::Message as _;
use std::collections::HashMap;
use std::fs;
use std::path::Path;

const NONCE_BYTES: usize = 12;

/// A wrapped secret begins with the form and the beginning of a digest of the data key.
const FORM: u8 = 1;
const KEY_NAME_BYTES: usize = 8;

/// The secrets that lie beside the journal, and never in it.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    pub(crate) data_key: [u8; 32],
    pub(crate) trust: Trust,
}

/// The keys of sessions, each unwrapped once.
#[derive(Debug, Default)]
pub(crate) struct Sessions(HashMap<Vec<u8>, Result<LessSafeKey, &'static str>>);

// === impl Keys ===

impl Keys {
    /// The keys of the control plane whose files are in `directory`.
    ///
    /// # Errors
    /// One is not there, or is none.
    pub(crate) fn of(directory: &Path) -> Result<Self, Broken> {
        let text = |name: &str| fs::read_to_string(directory.join(name)).doing(name);
        let data_key = STANDARD.decode(text("data.key")?.trim()).doing("data.key")?;
        let data_key = data_key.as_slice().try_into().doing("data.key")?;
        let signer = SignerKey::parse(text("log.key")?.trim()).doing("log.key")?;
        Ok(Self { data_key, trust: Trust::new(vec![signer.verifier().clone()]).doing("log.key")? })
    }

    /// The secret that the slot `name` keeps.
    fn unwrap(&self, name: &Digest, wrapped: &[u8]) -> Option<What> {
        let (form, rest) = wrapped.split_first()?;
        let (key, sealed) = rest.split_at_checked(KEY_NAME_BYTES)?;
        let own = Digest::of("agentgate/data-key/1", &self.data_key);
        if *form != FORM || !own.as_bytes().starts_with(key) {
            return None;
        }
        let secret = open(&key_of(&self.data_key)?, name.as_bytes(), sealed)?;
        v1::SlotSecret::decode(secret.as_slice()).ok()?.what
    }
}

// === impl Sessions ===

impl Sessions {
    /// The plaintext, with its salt before it, of a body that lies as nonce and ciphertext.
    pub(crate) fn open(&mut self, keys: &Keys, slots: &Slots, session: &[u8], stored: &[u8]) -> Result<Vec<u8>, &'static str> {
        let key = self.0.entry(session.to_vec()).or_insert_with(|| session_key(keys, slots, session));
        let key = key.as_ref().map_err(|fault| *fault)?;
        open(key, session, stored).ok_or("its session's key does not open its body")
    }
}

fn session_key(keys: &Keys, slots: &Slots, session: &[u8]) -> Result<LessSafeKey, &'static str> {
    let name = key_slot(session);
    let wrapped = slots.value(&name).ok_or("the key of its session is lost")?;
    match keys.unwrap(&name, wrapped) {
        Some(What::Session(secret)) => key_of(&secret.key).ok_or("the key of its session is none"),
        Some(What::Naming(_) | What::Stream(_) | What::Derived(_) | What::Tokens(_)) | None => {
            Err("the key of its session cannot be unwrapped")
        }
    }
}

fn key_of(key: &[u8]) -> Option<LessSafeKey> {
    UnboundKey::new(&AES_256_GCM_SIV, key).ok().map(LessSafeKey::new)
}

fn open(key: &LessSafeKey, aad: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let (nonce, ciphertext) = sealed.split_at_checked(NONCE_BYTES)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut bytes = ciphertext.to_vec();
    let length = key.open_in_place(nonce, Aad::from(aad), &mut bytes).ok()?.len();
    bytes.truncate(length);
    Some(bytes)
}
