//! Approvals: how long a call waits for a person, how long a grant may be used, and who is told.

use super::{ConfigError, field};
use serde::Deserialize;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A second is too short for anybody; what nobody looked at for a week is forgotten.
const SPAN_S: RangeInclusive<u32> = 1..=604_800;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approvals {
    /// How long a call may wait for its grant.
    pub pending: Duration,
    /// How long a grant may wait for its call.
    pub unused_grant: Duration,
    pub webhook: Option<WebhookTarget>,
}

/// Where approvers are told, and by which key the message is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookTarget {
    pub url: String,
    pub secret: PathBuf,
    /// Roots for an https address; none: those of the system.
    pub authority: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ApprovalsFile {
    pending_s: u32,
    unused_grant_s: u32,
    webhook: Option<WebhookFile>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WebhookFile {
    url: String,
    secret: PathBuf,
    authority: Option<PathBuf>,
}

impl Default for ApprovalsFile {
    fn default() -> Self {
        Self { pending_s: 900, unused_grant_s: 300, webhook: None }
    }
}

// === impl Approvals ===

impl Approvals {
    pub(super) fn check(file: ApprovalsFile, base: &Path) -> Result<Self, ConfigError> {
        Ok(Self {
            pending: span("approvals.pending_s", file.pending_s)?,
            unused_grant: span("approvals.unused_grant_s", file.unused_grant_s)?,
            webhook: file.webhook.map(|webhook| WebhookTarget {
                url: webhook.url,
                secret: base.join(webhook.secret),
                authority: webhook.authority.map(|authority| base.join(authority)),
            }),
        })
    }
}

impl Default for Approvals {
    fn default() -> Self {
        let file = ApprovalsFile::default();
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        Self { pending: seconds(file.pending_s), unused_grant: seconds(file.unused_grant_s), webhook: None }
    }
}

fn span(at: &str, seconds: u32) -> Result<Duration, ConfigError> {
    if SPAN_S.contains(&seconds) {
        return Ok(Duration::from_secs(seconds.into()));
    }
    Err(field(at, &format!("must be {} to {} seconds", SPAN_S.start(), SPAN_S.end())))
}
