//! Operators: who may look, and who may order what. A certificate that is not listed may nothing, and a listed one what its
//! roles say.

use super::{ConfigError, field, name};
use agentgate_core::id::SpiffeId;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// What an operator may do beside looking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Look: traces, status, approvals, orders, what the policy would do. Every operator may.
    Viewer,
    /// Grant and deny calls that wait for a person.
    ApprovalAdmin,
    /// Say what is enforced and what is only observed.
    PolicyAdmin,
    /// Kill and resume.
    IncidentAdmin,
    /// All of it.
    Admin,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OperatorFile {
    identity: String,
    #[serde(default)]
    roles: Vec<String>,
}

// === impl Role ===

impl Role {
    pub const ALL: [Self; 5] = [Self::Viewer, Self::ApprovalAdmin, Self::PolicyAdmin, Self::IncidentAdmin, Self::Admin];

    /// The one spelling.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::ApprovalAdmin => "approval_admin",
            Self::PolicyAdmin => "policy_admin",
            Self::IncidentAdmin => "incident_admin",
            Self::Admin => "admin",
        }
    }

    /// Whether somebody with this role may do what takes `wanted`.
    #[must_use]
    pub fn may(self, wanted: Self) -> bool {
        self == wanted || self == Self::Admin || wanted == Self::Viewer
    }
}

/// Each operator with its roles; without any it may look.
pub(super) fn read(entries: &[OperatorFile]) -> Result<BTreeMap<SpiffeId, BTreeSet<Role>>, ConfigError> {
    let mut operators = BTreeMap::new();
    for (index, entry) in entries.iter().enumerate() {
        let at = |what: &str| format!("operator[{index}].{what}");
        let identity: SpiffeId = name(&at("identity"), &entry.identity)?;
        let mut roles = BTreeSet::from([Role::Viewer]);
        for text in &entry.roles {
            let known = || Role::ALL.map(Role::name).join(", ");
            let role = Role::ALL.into_iter().find(|role| role.name() == text);
            roles.insert(role.ok_or_else(|| field(&at("roles"), &format!("`{text}` is no role; take of {}", known())))?);
        }
        if operators.insert(identity, roles).is_some() {
            return Err(field(&at("identity"), &format!("`{}` has an entry already", entry.identity)));
        }
    }
    Ok(operators)
}

#[cfg(test)]
mod tests {
    use super::Role;

    #[test]
    fn everybody_may_look_and_an_admin_may_all() {
        for role in Role::ALL {
            for wanted in Role::ALL {
                let may = role == wanted || role == Role::Admin || wanted == Role::Viewer;
                assert_eq!(role.may(wanted), may, "{} as {}", role.name(), wanted.name());
            }
        }
        assert!(!Role::ApprovalAdmin.may(Role::IncidentAdmin) && !Role::IncidentAdmin.may(Role::ApprovalAdmin));
    }
}
