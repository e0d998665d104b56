//! A session by the handle that its agent writes. Where `[privacy]` alters what is personal in handles, its key is kept under the
//! altered one.
//!
//! It refuses to purge by a handle that was redacted, since others may have become the same; and by one of which sessions may be
//! kept under another name as well, since `[privacy]` was another one once: they would be left behind.

use super::{Retention, RetentionError};
use agentgate_core::id::{Handle, Tenant};
use agentgate_core::pii::{self, Pii};
use agentgate_core::retention::Extent;
use std::collections::BTreeMap;

/// What is done with what a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meant {
    /// It may be more than is meant.
    ToHold,
    ToPurge,
}

// === impl Retention ===

impl Retention {
    /// The same as it is kept: as it was named, where something is kept under that name or nothing of it is altered.
    pub(super) async fn as_kept(&self, extent: &Extent, meant: Meant) -> Result<Extent, RetentionError> {
        let Some(handle) = extent.session().filter(|handle| !pii::find(handle.as_str()).is_empty()) else {
            return Ok(extent.clone());
        };
        if !self.covered(Some(extent), None).await?.is_empty() {
            if meant == Meant::ToPurge {
                self.leaves_none(extent).await?;
            }
            return Ok(extent.clone());
        }
        let mut found = BTreeMap::new();
        for tenant in self.tenants.iter().filter(|tenant| extent.tenant().is_none_or(|named| named == *tenant)) {
            if let Some(kept) = self.altered(extent, handle, tenant).await? {
                found.insert(tenant.clone(), kept);
            }
        }
        if found.len() > 1 {
            let names: Vec<&str> = found.keys().take(8).map(Tenant::as_str).collect();
            return Err(RetentionError::Tenants { count: found.len(), names: names.join(", ") });
        }
        let Some((tenant, kept)) = found.pop_first() else { return Ok(extent.clone()) };
        if meant == Meant::ToPurge && self.rooms.privacy.of(tenant.as_str()) == Pii::Redact {
            return Err(RetentionError::Redacted(tenant));
        }
        if meant == Meant::ToPurge {
            self.leaves_none(&kept).await?;
        }
        Ok(kept)
    }

    /// Whether all that may be of this handle is kept under this very name.
    async fn leaves_none(&self, extent: &Extent) -> Result<(), RetentionError> {
        let mut after = None;
        loop {
            let (kept, next) = self.rooms.bodies.kept(after).await?;
            if let Some(other) = kept.into_iter().find(|kept| extent.may_cover(&kept.whose) && !extent.covers(&kept.whose)) {
                return Err(RetentionError::OtherName(other.whose.handle));
            }
            if next.is_none() {
                return Ok(());
            }
            after = next;
            // Calls are decided first.
            tokio::task::yield_now().await;
        }
    }

    /// What is kept in this tenant under what becomes of the handle there. None: nothing.
    async fn altered(&self, extent: &Extent, handle: &Handle, tenant: &Tenant) -> Result<Option<Extent>, RetentionError> {
        // Without a key nothing was altered there as yet, and none is made for a question.
        if self.rooms.bodies.tokens_there(tenant.as_str()).await?.is_none() {
            return Ok(None);
        }
        let Some(altering) = self.rooms.privacy.recording(tenant.as_str()).await? else { return Ok(None) };
        let Ok(handle) = Handle::try_from(altering.handle(handle.as_str()).as_str()) else { return Ok(None) };
        let Some(kept) = Extent::new(Some(tenant.clone()), extent.principal().cloned(), Some(handle)) else { return Ok(None) };
        Ok((!self.covered(Some(&kept), None).await?.is_empty()).then_some(kept))
    }
}
