//! Extents: which sessions a hold or a purge means, wire ⇄ core.

use crate::v1;
use agentgate_core::id::{Handle, NameError, Principal, Tenant};
use agentgate_core::retention::Extent;
use thiserror::Error;

/// Why an extent on the wire is none.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unnamed {
    #[error("it does not say what is meant: name a session, a principal or a tenant")]
    Nothing,
    #[error(transparent)]
    Name(#[from] NameError),
}

/// None: of everybody.
///
/// # Errors
/// When it names something by no name.
pub fn extent_from_wire(extent: Option<&v1::Extent>) -> Result<Option<Extent>, Unnamed> {
    let Some(v1::Extent { tenant, principal, session }) = extent else { return Ok(None) };
    let named = |text: &String| (!text.is_empty()).then(|| text.clone());
    let tenant = named(tenant).map(|text| Tenant::try_from(text.as_str())).transpose()?;
    let principal = named(principal).map(|text| Principal::try_from(text.as_str())).transpose()?;
    let session = named(session).map(|text| Handle::try_from(text.as_str())).transpose()?;
    Ok(Extent::new(tenant, principal, session))
}

/// # Errors
/// When it names nothing, or something by no name.
pub fn named_from_wire(extent: Option<&v1::Extent>) -> Result<Extent, Unnamed> {
    extent_from_wire(extent)?.ok_or(Unnamed::Nothing)
}

#[must_use]
pub fn extent_to_wire(extent: &Extent) -> v1::Extent {
    v1::Extent {
        tenant: extent.tenant().map(ToString::to_string).unwrap_or_default(),
        principal: extent.principal().map(ToString::to_string).unwrap_or_default(),
        session: extent.session().map(|session| session.as_str().to_owned()).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Unnamed, extent_from_wire, extent_to_wire, named_from_wire};
    use crate::v1::Extent;

    #[test]
    fn an_extent_comes_back_from_the_wire_as_it_went() {
        for (tenant, principal, session, is_named) in [
            ("acme", "", "", true),
            ("", "spiffe://a/agent/x", "", true),
            ("acme", "user:u@https://i", "5f0c", true),
            ("", "alice", "", false),
            ("", "", "\n", false),
        ] {
            let wire = Extent { tenant: tenant.into(), principal: principal.into(), session: session.into() };
            let read = named_from_wire(Some(&wire));
            assert_eq!(read.is_ok(), is_named, "{wire:?}");
            if let Ok(extent) = read {
                assert_eq!(extent_to_wire(&extent), wire);
            }
        }
        for nothing in [None, Some(Extent::default())] {
            assert_eq!(extent_from_wire(nothing.as_ref()), Ok(None));
            assert_eq!(named_from_wire(nothing.as_ref()), Err(Unnamed::Nothing));
        }
    }
}
