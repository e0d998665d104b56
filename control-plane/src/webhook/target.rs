//! Where approvers are told, and by which key: read from the configuration once, at start. It refuses an address whose words
//! others could read on their way, and a key that is short or cannot be read.

use crate::clock::Clock;
use crate::config::WebhookTarget;
use agentgate_outbound::{self as outbound, Plain, TargetError};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;

/// As Standard Webhooks has it.
const SECRET_BYTES: RangeInclusive<usize> = 24..=64;

/// What may stand before a secret.
const PREFIX: &str = "whsec_";

#[derive(Debug, Error)]
pub enum WebhookError {
    #[error("`approvals.webhook.url`: {why}; write e.g. `https://chat.example/hooks/agentgate`")]
    Url { why: String },
    #[error("`approvals.webhook.secret`: cannot read `{}`", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("`approvals.webhook.secret`: `{}` {why}; make one with `openssl rand -base64 32`", path.display())]
    Secret { path: PathBuf, why: String },
    #[error("`approvals.webhook.authority`: {why}")]
    Roots { why: String },
}

pub(super) struct Target {
    address: outbound::Target,
    secret: Secret,
}

/// The key of the signatures.
pub(super) struct Secret(Vec<u8>);

// === impl Target ===

impl Target {
    pub(super) fn open(config: &WebhookTarget, clock: &Clock) -> Result<Self, WebhookError> {
        let target = outbound::Target::open(&config.url, Plain::Loopback, config.authority.as_deref(), Arc::new(clock.clone()));
        let address = target.map_err(|error| match error {
            TargetError::Url(why) => WebhookError::Url { why: why.into() },
            TargetError::Roots(why) => WebhookError::Roots { why },
        })?;
        Ok(Self { address, secret: Secret::read(&config.secret)? })
    }

    pub(super) fn address(&self) -> &outbound::Target {
        &self.address
    }

    pub(super) fn secret(&self) -> &Secret {
        &self.secret
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.address, f)
    }
}

// === impl Secret ===

impl Secret {
    pub(super) fn read(path: &Path) -> Result<Self, WebhookError> {
        let wrong = |why: String| WebhookError::Secret { path: path.into(), why };
        let text = std::fs::read_to_string(path).map_err(|source| WebhookError::Unreadable { path: path.into(), source })?;
        let text = text.trim();
        let key = STANDARD.decode(text.strip_prefix(PREFIX).unwrap_or(text)).map_err(|_| wrong("is not in base64".into()))?;
        if !SECRET_BYTES.contains(&key.len()) {
            let (min, max) = (SECRET_BYTES.start(), SECRET_BYTES.end());
            return Err(wrong(format!("holds {} bytes, not {min} to {max}", key.len())));
        }
        Ok(Self(key))
    }

    /// As Standard Webhooks has it: over the id, the time and the very bytes of the body.
    pub(super) fn sign(&self, id: &str, timestamp_s: u64, body: &str) -> String {
        // HMAC takes a key of any length.
        let Ok(mac) = Hmac::<Sha256>::new_from_slice(&self.0) else { return String::new() };
        let mac =
            mac.chain_update(id).chain_update(".").chain_update(timestamp_s.to_string()).chain_update(".").chain_update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}
