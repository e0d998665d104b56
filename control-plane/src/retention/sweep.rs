//! Sweeps: what is older than it may get is purged though nobody ordered it, unless a hold covers it, and so is what leads to
//! nobody any more. One sweep does a bounded piece of it, and the next one goes on there.

use super::view::last_call_us;
use super::{PURGED_PER_RECORD_MAX, Retention, RetentionError};
use crate::body::Kept;
use crate::control::Now;
use agentgate_core::time::Time;
use agentgate_proto::v1;
use bytes::Bytes;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// Pages of slots that one sweep looks at: some hundred a second can be.
pub(super) const PAGES_PER_SWEEP_MAX: usize = 64;

/// Sessions after which a sweep looks no further: each that it erases is a write.
pub(super) const PURGED_PER_SWEEP_MAX: usize = 8 * PURGED_PER_RECORD_MAX;

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
        let mut leads = self.leads.lock().await;
        if leads.is_none() && !self.sweep_sessions().await? {
            return Ok(false);
        }
        self.sweep_streams(&mut leads).await
    }

    async fn sweep_sessions(&self) -> Result<bool, RetentionError> {
        if self.config.is_for_ever() {
            return Ok(true);
        }
        let mut swept = self.swept.lock().await;
        let (mut after, mut outlook) = *swept;
        if after.is_none() {
            outlook = v1::Outlook::default();
        }
        let (now, at) = (self.rooms.control.now(), self.clock.now());
        let (mut over, mut pages, mut held) = (Vec::new(), 0, 0_u64);
        let ended = loop {
            let (kept, next) = self.rooms.bodies.kept(after).await?;
            pages += 1;
            for kept in kept {
                match (self.is_over(&kept, at), is_held(&now, &kept)) {
                    (true, false) => over.push(kept),
                    (is_over, is_held) => {
                        held += u64::from(is_over && is_held);
                        self.stays(&mut outlook, &kept, is_held);
                    }
                }
            }
            after = next;
            if next.is_none() {
                break true;
            }
            if pages >= PAGES_PER_SWEEP_MAX || over.len() >= PURGED_PER_SWEEP_MAX {
                break false;
            }
            // Calls are decided first.
            tokio::task::yield_now().await;
        };
        over.sort_by_key(|kept| (kept.since_us, kept.session));
        match self.purge_over(&over, now.purges).await {
            // Somebody else purged or held something meanwhile: this piece is done again.
            Err(RetentionError::Moved) => Ok(false),
            Err(error) => Err(error),
            Ok(()) => {
                *swept = (after, outlook);
                metrics::counter!("agentgate_sessions_kept_by_holds_total").increment(held);
                if ended {
                    let outlook = v1::Outlook { swept_at_us: at.micros(), ..outlook };
                    *self.outlook.lock().unwrap_or_else(PoisonError::into_inner) = Some(outlook);
                }
                Ok(ended)
            }
        }
    }

    /// A session that this sweep leaves: the oldest and the next to go are shown.
    fn stays(&self, outlook: &mut v1::Outlook, kept: &Kept, is_held: bool) {
        let earlier = |known: u64, at: u64| if known == 0 { at } else { known.min(at) };
        outlook.oldest_us = earlier(outlook.oldest_us, kept.since_us);
        let over_at = self.config.over_at(&kept.whose.tenant, Time::from_micros(last_call_us(kept)));
        if let Some(over_at) = over_at.filter(|_| !is_held) {
            outlook.next_purge_us = earlier(outlook.next_purge_us, over_at.micros());
        }
    }

    async fn purge_over(&self, over: &[Kept], mut seen: u64) -> Result<(), RetentionError> {
        for part in over.chunks(PURGED_PER_RECORD_MAX) {
            let ack = self
                .order(part, None, |now| {
                    super::unmoved(now, seen)?;
                    // Held since it was looked at: it stays, and that is to be shown.
                    if part.iter().any(|kept| is_held(now, kept)) {
                        return Err(RetentionError::Moved);
                    }
                    Ok((part.to_vec(), Bytes::new()))
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
