//! Quota: how many bytes of the journal a tenant's calls take in a day, UTC, of the journal's clock. What a call would write
//! is spent before it is written, from a share that was set aside in a slot by compare-and-set: replicas never spend the same
//! byte, and a crash loses a share and overspends nothing.
//!
//! It refuses calls alone. What became of a call that was let on, and counts of unreadable ones, are written whatever is left,
//! and counted. A refusal of its own is on no record: it would take what is used up.

mod account;

use crate::body::Bodies;
use crate::clock::Clock;
use crate::config::Quotas;
use crate::journal::{AppendError, ReadError, Slot};
use crate::telemetry::number;
use account::{Account, Reserved, Spending, begin_of, day_of};
use agentgate_core::digest::Digest;
use agentgate_core::id::Tenant;
use agentgate_core::time::Time;
use agentgate_proto::v1;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use thiserror::Error;

/// How often is looked what other replicas set aside, for whoever looks at the status.
const EVERY: Duration = Duration::from_secs(10);

/// How often a slot is tried that others are first to.
const QUOTA_ATTEMPTS_MAX: u32 = 32;

#[derive(Debug)]
pub struct Quota {
    clock: Clock,
    tenants: BTreeMap<Tenant, Arc<Purse>>,
}

/// Bytes that were spent, for whoever does not write them after all.
#[derive(Debug)]
pub struct Spent {
    purse: Option<Arc<Purse>>,
    bytes: u64,
    day: u64,
}

/// Why nothing was spent.
#[derive(Debug, Error)]
pub enum QuotaError {
    #[error("its tenant's share of the journal is used up for today; the next day begins at 00:00 UTC")]
    Exceeded,
    #[error(transparent)]
    Set(#[from] AppendError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("too many replicas set bytes aside at once")]
    Crowded,
    #[error("the slot of a quota holds something else")]
    Unreadable,
}

/// One tenant's.
#[derive(Debug)]
struct Purse {
    bodies: Arc<Bodies>,
    slot: Digest,
    account: Mutex<Account>,
    /// What the slot held when it was last seen. Held by whoever changes it.
    seen: tokio::sync::Mutex<Option<Bytes>>,
    /// Somebody sets the next share aside.
    ahead: AtomicBool,
    /// The day on which it was last told that nothing is left.
    told: Mutex<u64>,
}

// === impl Quota ===

impl Quota {
    /// Nobody has one.
    #[must_use]
    pub fn none(clock: Clock) -> Self {
        Self { clock, tenants: BTreeMap::new() }
    }

    /// # Errors
    /// When the journal cannot be read.
    pub async fn open(bodies: &Arc<Bodies>, clock: Clock, quotas: &Quotas) -> Result<Self, ReadError> {
        let purse = |(tenant, limit): (&Tenant, &u64)| {
            let slot = bodies.secret_digest("agentgate/slot/quota/1", &[tenant.as_str().as_bytes()]);
            (tenant.clone(), Arc::new(Purse::new(Arc::clone(bodies), slot, *limit)))
        };
        let quota = Self { clock, tenants: quotas.0.iter().map(purse).collect() };
        for purse in quota.tenants.values() {
            purse.look().await?;
        }
        quota.say();
        Ok(quota)
    }

    /// Spends what a call is about to write, once as much is set aside.
    ///
    /// # Errors
    /// When there is not as much for today, or the journal cannot set it aside.
    pub async fn spend(&self, tenant: &Tenant, bytes: u64, at: Time) -> Result<Spent, QuotaError> {
        let day = day_of(at.micros());
        let Some(purse) = self.tenants.get(tenant) else { return Ok(Spent { purse: None, bytes, day }) };
        for _ in 0..QUOTA_ATTEMPTS_MAX {
            let spending = purse.account().spend(bytes, day);
            match spending {
                Spending::Spent => {
                    purse.go_ahead();
                    return Ok(Spent { purse: Some(Arc::clone(purse)), bytes, day });
                }
                Spending::Short(short) => {
                    let share = purse.account().share();
                    Purse::reserve(purse, share.max(short), Some(bytes)).await?;
                }
                Spending::Exceeded => {
                    purse.tell(tenant, day);
                    return Err(QuotaError::Exceeded);
                }
            }
        }
        Err(QuotaError::Crowded)
    }

    /// Counts what is written whatever is left.
    pub fn write_off(&self, tenant: &Tenant, bytes: u64, at: Time) {
        if let Some(purse) = self.tenants.get(tenant) {
            purse.account().write_off(bytes, day_of(at.micros()));
            purse.go_ahead();
        }
    }

    /// # Errors
    /// When no call of this tenant has room any longer today, however small it is.
    pub fn admit(&self, tenant: &Tenant, at: Time) -> Result<(), QuotaError> {
        let Some(purse) = self.tenants.get(tenant) else { return Ok(()) };
        let day = day_of(at.micros());
        if purse.account().is_used_up(day) {
            purse.tell(tenant, day);
            return Err(QuotaError::Exceeded);
        }
        Ok(())
    }

    /// Every tenant that has a quota.
    #[must_use]
    pub fn all(&self) -> Vec<v1::TenantQuota> {
        let today = day_of(self.clock.now().micros());
        let one = |(tenant, purse): (&Tenant, &Arc<Purse>)| {
            let account = purse.account();
            let Reserved { day, bytes } = account.used(today);
            let (day_us, limit_bytes) = (begin_of(day), account.limit);
            v1::TenantQuota { tenant: tenant.to_string(), used_bytes: bytes, limit_bytes, day_us }
        };
        self.tenants.iter().map(one).collect()
    }

    /// Looks again and again what others set aside, until it is dropped.
    pub async fn watching(self: Arc<Self>) {
        loop {
            self.clock.sleep(EVERY).await;
            for purse in self.tenants.values() {
                if let Err(error) = purse.look().await {
                    tracing::debug!(%error, "a quota could not be read");
                }
            }
            self.say();
        }
    }

    /// Nothing is spent here any longer: what is left is for others.
    pub async fn leave(&self) {
        for purse in self.tenants.values() {
            if let Err(error) = purse.give_back().await {
                tracing::warn!(%error, "what is left of a tenant's quota could not be given back; it is lost for today");
            }
        }
    }

    /// How much of its quota the tenant used that used most of it. No tenant is named where nobody is asked who they are.
    fn say(&self) {
        #[expect(clippy::cast_precision_loss, reason = "a gauge")]
        let ratio = |quota: v1::TenantQuota| quota.used_bytes as f64 / quota.limit_bytes.max(1) as f64;
        let most = self.all().into_iter().map(ratio).fold(0.0, f64::max);
        metrics::gauge!("agentgate_quota_used_ratio").set(most);
        metrics::gauge!("agentgate_quota_tenants").set(number(self.tenants.len()));
    }
}

// === impl Spent ===

impl Spent {
    /// Nothing of it was written, and nothing will be.
    pub fn back(self) {
        if let Some(purse) = self.purse {
            purse.account().back(self.bytes, self.day);
        }
    }
}

// === impl Purse ===

impl Purse {
    fn new(bodies: Arc<Bodies>, slot: Digest, limit: u64) -> Self {
        let account = Mutex::new(Account::new(limit));
        Self { bodies, slot, account, seen: tokio::sync::Mutex::default(), ahead: AtomicBool::new(false), told: Mutex::default() }
    }

    /// The next share is set aside before it is needed.
    fn go_ahead(self: &Arc<Self>) {
        if !self.account().is_low() || self.ahead.swap(true, Ordering::SeqCst) {
            return;
        }
        let (purse, share) = (Arc::clone(self), self.account().share());
        tokio::spawn(async move {
            if let Err(error) = purse.change(share, None).await {
                tracing::debug!(%error, "no share of a quota could be set aside ahead; a call will wait for it");
            }
            purse.ahead.store(false, Ordering::SeqCst);
        });
    }

    /// Runs to its end whether or not anybody waits: what was set aside is here then.
    async fn reserve(this: &Arc<Self>, want: u64, needed: Option<u64>) -> Result<(), QuotaError> {
        let purse = Arc::clone(this);
        let reserved = tokio::spawn(async move { purse.change(want, needed).await });
        reserved.await.unwrap_or(Err(QuotaError::Crowded))
    }

    /// Sets `want` bytes aside, or as many as there are. `needed`: not, where somebody else set as many aside meanwhile.
    async fn change(&self, want: u64, needed: Option<u64>) -> Result<(), QuotaError> {
        let mut seen = self.seen.lock().await;
        if needed.is_some_and(|needed| self.account().has(needed)) {
            return Ok(());
        }
        for _ in 0..QUOTA_ATTEMPTS_MAX {
            let (next, owed) = {
                let account = self.account();
                (account.next(want), account.owed())
            };
            let Some((reserved, granted)) = next else { return Ok(()) };
            if self.set(&mut seen, reserved).await? {
                self.account().set_aside(reserved, granted, owed);
                return Ok(());
            }
        }
        Err(QuotaError::Crowded)
    }

    async fn give_back(&self) -> Result<(), QuotaError> {
        let mut seen = self.seen.lock().await;
        for _ in 0..QUOTA_ATTEMPTS_MAX {
            let (next, owed) = {
                let mut account = self.account();
                (account.given_back(), account.owed())
            };
            let Some((reserved, left)) = next else { return Ok(()) };
            if self.set(&mut seen, reserved).await? {
                self.account().gave_back(reserved, owed);
                return Ok(());
            }
            self.account().back(left, reserved.day);
        }
        Err(QuotaError::Crowded)
    }

    /// False: the slot held something else, which is known now.
    async fn set(&self, seen: &mut Option<Bytes>, reserved: Reserved) -> Result<bool, QuotaError> {
        let value = reserved.encode();
        match self.bodies.journal().set(self.slot, seen.clone(), Some(value.clone())).await? {
            Slot::Set => {
                *seen = Some(value);
                Ok(true)
            }
            Slot::Held(held) => {
                self.saw(seen, held)?;
                Ok(false)
            }
        }
    }

    /// Reads what all set aside.
    async fn look(&self) -> Result<(), ReadError> {
        let mut seen = self.seen.lock().await;
        let held = self.bodies.journal().slot(self.slot).await?;
        // What cannot be read refuses each call that needs it, and says so there.
        let _ = self.saw(&mut seen, held);
        Ok(())
    }

    fn saw(&self, seen: &mut Option<Bytes>, held: Option<Bytes>) -> Result<(), QuotaError> {
        let reserved = held.as_deref().map(|held| Reserved::decode(held).ok_or(QuotaError::Unreadable)).transpose()?;
        self.account().seen(reserved.unwrap_or_default());
        *seen = held;
        Ok(())
    }

    /// Once a day, and a count of each.
    fn tell(&self, tenant: &Tenant, day: u64) {
        metrics::counter!("agentgate_quota_refused_total").increment(1);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if *told < day {
            *told = day;
            tracing::warn!(%tenant, "a tenant's quota of the journal does not suffice for its calls today: they are refused");
        }
    }

    fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
