//! `[quota]`: how many bytes of the journal the calls of a tenant may take in a day.

use super::{ConfigError, Filter, field};
use agentgate_core::id::{Asker, Tenant};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Every tenant that has a quota, in bytes a day. The others have none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quotas(pub BTreeMap<Tenant, u64>);

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct QuotaFile {
    /// 0: none.
    tenant_bytes_per_day: u64,
    tenant: Vec<TenantFile>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TenantFile {
    name: String,
    bytes_per_day: u64,
}

// === impl Quotas ===

impl Quotas {
    /// `filters`: whoever else is named calls nothing, and is a mistake.
    pub(super) fn check(file: &QuotaFile, filters: &BTreeMap<Asker, Filter>) -> Result<Self, ConfigError> {
        let tenants = filters.values().flat_map(Filter::tenants);
        let mut quotas: BTreeMap<Tenant, u64> = tenants.map(|tenant| (tenant.clone(), file.tenant_bytes_per_day)).collect();
        let mut named = std::collections::BTreeSet::new();
        for (index, entry) in file.tenant.iter().enumerate() {
            let at = format!("quota.tenant[{index}].name");
            let tenant: Tenant = super::name(&at, &entry.name)?;
            let Some(quota) = quotas.get_mut(&tenant) else {
                return Err(field(&at, &format!("`{tenant}` is the tenant of no [[filter]]")));
            };
            *quota = entry.bytes_per_day;
            if !named.insert(tenant) {
                return Err(field(&at, &format!("`{}` has an entry already", entry.name)));
            }
        }
        quotas.retain(|_, bytes| *bytes > 0);
        Ok(Self(quotas))
    }
}
