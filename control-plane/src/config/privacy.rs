//! `[privacy]`: how what is personal is recorded, for all tenants and for each.

use super::{ConfigError, field, name};
use agentgate_core::id::Tenant;
use agentgate_core::pii::Pii;
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Privacy {
    /// Of tenants that have none of their own.
    pub pii: Pii,
    pub tenants: BTreeMap<Tenant, Pii>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct PrivacyFile {
    pii: String,
    tenant: Vec<TenantFile>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TenantFile {
    name: String,
    pii: String,
}

// === impl Privacy ===

impl Privacy {
    pub(super) fn check(file: &PrivacyFile) -> Result<Self, ConfigError> {
        let mut tenants = BTreeMap::new();
        for (index, entry) in file.tenant.iter().enumerate() {
            let at = |what: &str| format!("privacy.tenant[{index}].{what}");
            let tenant: Tenant = name(&at("name"), &entry.name)?;
            if tenants.insert(tenant, pii(&at("pii"), &entry.pii)?).is_some() {
                return Err(field(&at("name"), &format!("`{}` has an entry already", entry.name)));
            }
        }
        Ok(Self { pii: pii("privacy.pii", &file.pii)?, tenants })
    }

    /// How this tenant's bodies are recorded.
    #[must_use]
    pub fn of(&self, tenant: &str) -> Pii {
        let own = self.tenants.iter().find(|(name, _)| name.as_str() == tenant);
        own.map_or(self.pii, |(_, pii)| *pii)
    }
}

fn pii(at: &str, text: &str) -> Result<Pii, ConfigError> {
    Pii::named(text).ok_or_else(|| field(at, &format!("`{text}` is unknown; use `off`, `redact` or `tokenise`")))
}

impl Default for PrivacyFile {
    fn default() -> Self {
        Self { pii: Pii::Off.name().into(), tenant: Vec::new() }
    }
}
