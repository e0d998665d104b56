//! `[retention]`: how long what calls said is kept, for all and for single tenants. What is not said is kept for ever.

use super::{ConfigError, field, name, positive};
use agentgate_core::id::Tenant;
use agentgate_core::time::Time;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;

const DAY_US: u64 = 86_400_000_000;

/// A hundred years: more is for ever, which is 0.
const DAYS_MAX: u32 = 36_500;

/// When sessions are erased though nobody ordered it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    /// 0: for ever.
    pub days: u32,
    pub tenants: BTreeMap<Tenant, u32>,
    /// How often it is looked for what is over.
    pub sweep: Duration,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RetentionFile {
    days: u32,
    tenants: BTreeMap<String, u32>,
    sweep_s: u32,
}

// === impl Retention ===

impl Retention {
    pub(super) fn check(file: RetentionFile) -> Result<Self, ConfigError> {
        let days = |at: &str, days: u32| match days {
            0..=DAYS_MAX => Ok(days),
            _ => Err(field(at, &format!("must be at most {DAYS_MAX} days; 0 keeps it for ever"))),
        };
        let mut tenants = BTreeMap::new();
        for (text, of_tenant) in file.tenants {
            let at = format!("retention.tenants.{text}");
            tenants.insert(name(&at, &text)?, days(&at, of_tenant)?);
        }
        let sweep = positive("retention.sweep_s", file.sweep_s, Duration::from_secs)?;
        Ok(Self { days: days("retention.days", file.days)?, tenants, sweep })
    }

    /// Whether nothing is ever over.
    #[must_use]
    pub fn is_for_ever(&self) -> bool {
        self.days == 0 && self.tenants.values().all(|days| *days == 0)
    }

    /// Whether a session of this tenant, whose last call was before `last`, is over at `now`.
    #[must_use]
    pub fn is_over(&self, tenant: &Tenant, last: Time, now: Time) -> bool {
        self.over_at(tenant, last).is_some_and(|at| now >= at)
    }

    /// When that session is over. None: it is kept for ever.
    #[must_use]
    pub fn over_at(&self, tenant: &Tenant, last: Time) -> Option<Time> {
        let days = self.tenants.get(tenant).copied().unwrap_or(self.days);
        (days != 0).then(|| last.plus_micros(DAY_US.saturating_mul(days.into())))
    }
}

impl Default for RetentionFile {
    fn default() -> Self {
        Self { days: 0, tenants: BTreeMap::new(), sweep_s: 3_600 }
    }
}

impl Default for Retention {
    fn default() -> Self {
        let RetentionFile { days, tenants: _, sweep_s } = RetentionFile::default();
        Self { days, tenants: BTreeMap::new(), sweep: Duration::from_secs(sweep_s.into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_over_when_its_tenants_days_are() {
        let of = |days: u32, tenants: &[(&str, u32)]| {
            let tenants = tenants.iter().map(|(name, days)| ((*name).to_owned(), *days)).collect();
            Retention::check(RetentionFile { days, tenants, sweep_s: 1 }).unwrap()
        };
        let last = Time::from_micros(5);
        for (days, tenants, after_us, over) in [
            (0, &[][..], 1_000 * DAY_US, false),
            (2, &[], 2 * DAY_US - 1, false),
            (2, &[], 2 * DAY_US, true),
            (2, &[("acme", 3)], 2 * DAY_US, false),
            (2, &[("acme", 3)], 3 * DAY_US, true),
            (2, &[("acme", 0)], 1_000 * DAY_US, false),
            (0, &[("acme", 1)], DAY_US, true),
            (0, &[("other", 1)], DAY_US, false),
        ] {
            let retention = of(days, tenants);
            let acme = Tenant::try_from("acme").unwrap();
            assert_eq!(retention.is_over(&acme, last, last.plus_micros(after_us)), over, "{retention:?} after {after_us}");
            assert!(!retention.is_over(&acme, last, Time::from_micros(0)), "a clock that was set back ends nothing");
        }
        assert!(of(0, &[("acme", 0)]).is_for_ever() && !of(0, &[("acme", 1)]).is_for_ever() && !of(1, &[]).is_for_ever());
    }

    #[test]
    fn days_are_bounded_and_tenants_are_names() {
        for (days, tenant, of_tenant, sweep_s, fine) in [
            (DAYS_MAX, "acme", DAYS_MAX, 1, true),
            (DAYS_MAX + 1, "acme", 0, 1, false),
            (0, "acme", DAYS_MAX + 1, 1, false),
            (0, "a b", 0, 1, false),
            (0, "acme", 0, 0, false),
        ] {
            let file = RetentionFile { days, tenants: BTreeMap::from([(tenant.to_owned(), of_tenant)]), sweep_s };
            assert_eq!(Retention::check(file).is_ok(), fine, "{days} {tenant} {of_tenant} {sweep_s}");
        }
    }
}
