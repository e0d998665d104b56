//! What a hold keeps and a purge erases, by the names that both use. Whatever is not named means all of it.

use crate::id::{Handle, Tenant};
use crate::pii;
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
        self.is_about(kept, |named| named == kept.handle)
    }

    /// As `covers`, or the handle may be the same, kept as `[privacy]` of another time had it. It may be more than is meant.
    #[must_use]
    pub fn may_cover(&self, kept: &Kept) -> bool {
        self.is_about(kept, |named| pii::may_be_the_same(named, &kept.handle))
    }

    fn is_about(&self, kept: &Kept, is_handle: impl Fn(&str) -> bool) -> bool {
        let is_it = |named: &Handle| is_handle(named.as_str()) || named.as_str() == kept.session;
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
    fn a_handle_may_be_the_same_where_it_was_kept_in_another_way() {
        const PLAIN: &str = "run:ann@b.co";
        const REDACTED: &str = "run:[redacted:email]";
        const TOKENISED: &str = "run:[email:abcdefghijklmnopabcd]";
        for (named, handle, covered, may_be) in [
            (PLAIN, PLAIN, true, true),
            (PLAIN, "run:bob@b.co", false, false),
            (PLAIN, REDACTED, false, true),
            (PLAIN, TOKENISED, false, true),
            (PLAIN, "walk:[redacted:email]", false, false),
            (PLAIN, "run:[redacted:card]", false, false),
            (REDACTED, REDACTED, true, true),
            (REDACTED, PLAIN, false, true),
            (REDACTED, TOKENISED, false, true),
            (TOKENISED, TOKENISED, true, true),
            (TOKENISED, "run:[email:bbbbbbbbbbbbbbbbbbbb]", false, false),
            (TOKENISED, REDACTED, false, true),
            (TOKENISED, PLAIN, false, true),
            ("run:[email:", "run:[redacted:email]", false, false),
            ("run", PLAIN, false, false),
        ] {
            let kept = Kept {
                tenant: "acme".try_into().unwrap(),
                principal: "spiffe://a/x".try_into().unwrap(),
                handle: handle.into(),
                session: "00ff".into(),
            };
            let extent = extent("acme", "", named).unwrap();
            assert_eq!((extent.covers(&kept), extent.may_cover(&kept)), (covered, may_be), "{named} and {handle}");
            let elsewhere = super::Kept { tenant: "other".try_into().unwrap(), ..kept };
            assert!(!extent.may_cover(&elsewhere), "{named} and {handle}");
        }
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
