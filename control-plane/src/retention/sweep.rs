//! Sweeps: what is older than it may get is purged though nobody ordered it, unless a hold covers it. One sweep does a bounded
//! piece of it, and the next one goes on there.

use super::view::last_call_us;
use super::{PURGED_PER_RECORD_MAX, Retention, RetentionError};
use crate::body::Kept;
use crate::control::Now;
use agentgate_core::time::Time;
use agentgate_proto::v1;
use std::sync::Arc;
use std::time::Duration;

/// Slots that one sweep looks at: some hundred thousand a second can be.
const SLOTS_PER_SWEEP_MAX: usize = 65_536;

/// Sessions that one sweep erases: each is a write.
const PURGED_PER_SWEEP_MAX: usize = 8 * PURGED_PER_RECORD_MAX;

/// The wait after something could not be done, and between the pieces of what is more than one sweep does.
const AGAIN: Duration = Duration::from_secs(5);

// === impl Retention ===

impl Retention {
    /// Carries out what is ordered, and sweeps, until it is dropped.
    pub async fn keeping(self: Arc<Self>) {
        let mut orders = self.rooms.control.follow();
        let mut next = self.clock.elapsed();
        loop {
            if let Err(error) = self.carry_out().await {
                self.trouble(&error);
                next = self.clock.elapsed().saturating_add(AGAIN);
            } else if self.clock.elapsed() >= next {
                let wait = match self.sweep().await {
                    Ok(true) => self.config.sweep,
                    Ok(false) => AGAIN,
                    Err(error) => {
                        metrics::counter!("agentgate_sweeps_failed_total").increment(1);
                        tracing::warn!(error = agentgate_core::error::chain(&error), "what is over could not be purged");
                        AGAIN
                    }
                };
                next = self.clock.elapsed().saturating_add(wait);
            }
            let wait = next.saturating_sub(self.clock.elapsed());
            tokio::select! {
                changed = orders.changed() => if changed.is_err() { return },
                () = self.clock.sleep(wait) => {}
            }
        }
    }

    /// One sweep. True: it came to the end of what is kept.
    ///
    /// # Errors
    /// When the journal cannot read or write.
    pub async fn sweep(&self) -> Result<bool, RetentionError> {
        if self.config.is_for_ever() {
            return Ok(true);
        }
        let mut swept = self.swept.lock().await;
        let (seen, at) = (self.rooms.control.now().purges, self.clock.now());
        let (mut over, mut looked_at, mut held) = (Vec::new(), 0, 0_u64);
        let now = self.rooms.control.now();
        let ended = loop {
            let (kept, next) = self.rooms.bodies.kept(*swept).await?;
            looked_at += kept.len().max(1);
            for kept in kept.into_iter().filter(|kept| self.is_over(kept, at)) {
                if is_held(&now, &kept) {
                    held += 1;
                } else {
                    over.push(kept);
                }
            }
            *swept = next;
            if next.is_none() {
                break true;
            }
            if looked_at >= SLOTS_PER_SWEEP_MAX || over.len() >= PURGED_PER_SWEEP_MAX {
                break false;
            }
        };
        metrics::counter!("agentgate_sessions_kept_by_holds_total").increment(held);
        over.sort_by_key(|kept| (kept.since_us, kept.session));
        match self.purge_over(&over, seen).await {
            // Another replica swept: what is left is found by the next sweep.
            Err(RetentionError::Moved) => Ok(false),
            Err(error) => Err(error),
            Ok(()) => Ok(ended),
        }
    }

    async fn purge_over(&self, over: &[Kept], mut seen: u64) -> Result<(), RetentionError> {
        for part in over.chunks(PURGED_PER_RECORD_MAX) {
            let ack = self
                .order(part, v1::PurgeCause::Retention, None, |now| {
                    super::unmoved(now, seen)?;
                    Ok(part.iter().filter(|kept| !is_held(now, kept)).cloned().collect())
                })
                .await?;
            seen += u64::from(ack.changed);
            self.carry_out().await?;
        }
        Ok(())
    }

    fn is_over(&self, kept: &Kept, now: Time) -> bool {
        self.config.is_over(&kept.whose.tenant, Time::from_micros(last_call_us(kept)), now)
    }
}

fn is_held(now: &Now, kept: &Kept) -> bool {
    now.hold(&kept.whose).is_some()
}
