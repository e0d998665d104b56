//! What a hold keeps and a purge erases, by the names that both use. Whatever is not named means all of it.

use crate::id::{Handle, Tenant};
use crate::principal::Principal;
use alloc::string::String;
use core::fmt;

/// Which sessions are meant. It names one thing at least.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    tenant: Option<Tenant>,
    principal: Option<Principal>,
    session: Option<Handle>,
}

/// One session that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    pub tenant: Tenant,
    pub principal: Principal,
    /// Empty: of calls that carry none.
    pub handle: String,
    /// As records name it, in hexadecimal digits.
    pub session: String,
}

// === impl Extent ===

impl Extent {
    /// None: it would name nothing.
    #[must_use]
    pub fn new(tenant: Option<Tenant>, principal: Option<Principal>, session: Option<Handle>) -> Option<Self> {
        let names = tenant.is_some() || principal.is_some() || session.is_some();
        names.then_some(Self { tenant, principal, session })
    }

    #[must_use]
    pub fn tenant(&self) -> Option<&Tenant> {
        self.tenant.as_ref()
    }

    #[must_use]
    pub fn principal(&self) -> Option<&Principal> {
        self.principal.as_ref()
    }

    #[must_use]
    pub fn session(&self) -> Option<&Handle> {
        self.session.as_ref()
    }

    /// The same, of this tenant alone.
    #[must_use]
    pub fn in_tenant(self, tenant: Tenant) -> Self {
        Self { tenant: Some(tenant), ..self }
    }

    #[must_use]
    pub fn covers(&self, kept: &Kept) -> bool {
        let is_it = |named: &Handle| named.as_str() == kept.handle || named.as_str() == kept.session;
        self.tenant.as_ref().is_none_or(|tenant| *tenant == kept.tenant)
            && self.principal.as_ref().is_none_or(|principal| kept.principal.is_covered_by(principal))
            && self.session.as_ref().is_none_or(is_it)
    }
}

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "";
        if let Some(session) = &self.session {
            write!(f, "the session `{}`", session.as_str())?;
            between = " of ";
        }
        if let Some(principal) = &self.principal {
            write!(f, "{between}`{principal}`")?;
            between = " in ";
        }
        if let Some(tenant) = &self.tenant {
            write!(f, "{between}the tenant `{tenant}`")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Extent, Kept};
    use alloc::string::ToString as _;

    fn extent(tenant: &str, principal: &str, session: &str) -> Option<Extent> {
        Extent::new(tenant.try_into().ok(), principal.try_into().ok(), session.try_into().ok())
    }

    #[test]
    fn what_is_named_is_all_meant_and_the_rest_is_not_asked_about() {
        let kept = Kept {
            tenant: "acme".try_into().unwrap(),
            principal: "spiffe://a/agent/x+user:u@https://i".try_into().unwrap(),
            handle: "5f0c".into(),
            session: "00ff".into(),
        };
        for (tenant, principal, session, covered) in [
            ("acme", "", "", true),
            ("other", "", "", false),
            ("", "spiffe://a/agent/x", "", true),
            ("", "user:u@https://i", "", true),
            ("", "user:v@https://i", "", false),
            ("", "", "5f0c", true),
            ("", "", "00ff", true),
            ("", "", "5f0", false),
            ("acme", "spiffe://a/agent/x", "5f0c", true),
            ("other", "spiffe://a/agent/x", "5f0c", false),
            ("acme", "spiffe://a/agent/y", "5f0c", false),
            ("acme", "spiffe://a/agent/x", "7", false),
        ] {
            assert_eq!(extent(tenant, principal, session).unwrap().covers(&kept), covered, "{tenant} {principal} {session}");
        }
        assert_eq!(extent("", "", ""), None);
    }

    #[test]
    fn it_says_what_it_names() {
        for (tenant, principal, session, said) in [
            ("acme", "", "", "the tenant `acme`"),
            ("", "spiffe://a/x", "", "`spiffe://a/x`"),
            ("acme", "spiffe://a/x", "5f", "the session `5f` of `spiffe://a/x` in the tenant `acme`"),
        ] {
            assert_eq!(extent(tenant, principal, session).unwrap().to_string(), said);
        }
    }
}
