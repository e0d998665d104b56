//! What a purge of a whole tenant takes besides its sessions: the key of the tenant's tokens. Nothing is left then to confirm a
//! guess of what a token stood for, not in a copy of the records that somebody has either.
//!
//! It refuses to take the key while anything of the tenant may be held: whoever reads what is held needs its tokens.

use super::{Retention, RetentionError, Wanted};
use crate::body::digest_bytes;
use crate::control::{Hold, Now};
use crate::journal::Sequence;
use agentgate_core::digest::Digest;
use agentgate_core::id::Tenant;
use bytes::Bytes;

/// What becomes of the key of a tenant's tokens. Of whatever is no whole tenant, nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Going {
    tenant: Option<Tenant>,
    /// None: there is no key.
    key: Option<Digest>,
    held: Option<Sequence>,
}

// === impl Retention ===

impl Retention {
    pub(super) async fn going(&self, purge: &Wanted) -> Result<Going, RetentionError> {
        let Some(tenant) = whole(purge) else { return Ok(Going::default()) };
        let held = holding(&self.rooms.control.now(), tenant);
        let key = self.rooms.bodies.tokens_there(tenant.as_str()).await?;
        Ok(Going { tenant: Some(tenant.clone()), key, held })
    }
}

// === impl Going ===

impl Going {
    pub(super) const fn goes(&self) -> bool {
        self.key.is_some() && self.held.is_none()
    }

    /// The hold because of which the key stays.
    pub(super) fn held(&self) -> Option<Sequence> {
        self.key.and(self.held)
    }

    /// As the purge's record has it.
    ///
    /// # Errors
    /// When a hold was placed or lifted since it was looked.
    pub(super) fn to_wire(&self, now: &Now) -> Result<Bytes, RetentionError> {
        if self.tenant.as_ref().and_then(|tenant| holding(now, tenant)) != self.held {
            return Err(RetentionError::Moved);
        }
        Ok(self.key.filter(|_| self.goes()).as_ref().map(digest_bytes).unwrap_or_default())
    }
}

/// The tenant of which a purge leaves nothing.
fn whole(purge: &Wanted) -> Option<&Tenant> {
    let extent = purge.extent.as_ref()?;
    let is_whole = extent.principal().is_none() && extent.session().is_none() && purge.before.is_none();
    extent.tenant().filter(|_| is_whole)
}

/// The oldest hold that may hold something of this tenant, though nothing may be kept of it as yet.
fn holding(now: &Now, tenant: &Tenant) -> Option<Sequence> {
    let may_hold = |hold: &Hold| hold.extent.as_ref().is_none_or(|extent| extent.tenant().is_none_or(|held| held == tenant));
    now.holds.iter().find(|(_, hold)| may_hold(hold)).map(|(number, _)| *number)
}
