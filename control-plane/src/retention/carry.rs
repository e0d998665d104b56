//! Purges carried out: what a record orders is done step by step, each of which can be done again, and only then it is finished.
//! So a crash between two steps leaves nothing but work.

use super::view::Records;
use super::{Retention, RetentionError};
use crate::body::{SessionId, sessions_of};
use crate::journal::{Sequence, Stream};
use agentgate_core::digest::Digest;
use agentgate_proto::v1;
use std::collections::HashMap;

/// Bodies given back at once.
const GIVEN_BACK_AT_ONCE: usize = 1_024;

// === impl Retention ===

impl Retention {
    /// Carries out all purges on record that are not.
    ///
    /// # Errors
    /// When the journal cannot read or write; it is to be tried again.
    pub async fn carry_out(&self) -> Result<(), RetentionError> {
        self.carry_out_at(&HashMap::new()).await
    }

    /// As `carry_out`, by somebody who knows which slots lead to some of the streams.
    pub(super) async fn carry_out_at(&self, located: &HashMap<Stream, Digest>) -> Result<(), RetentionError> {
        let _turn = self.carrying.lock().await;
        while let Some((sequence, purge)) = self.rooms.bodies.unfinished() {
            // Before anything that can fail: whatever the journal takes, nobody is shown what a record says is gone.
            self.forget().await;
            self.carry(sequence, &purge, located).await?;
        }
        Ok(())
    }

    /// What all purges name that are not carried out leaves this process's memory.
    async fn forget(&self) {
        let sessions = self.rooms.bodies.unfinished_sessions();
        if !sessions.is_empty() {
            self.rooms.approvals.forget(&sessions);
            self.rooms.session.forget(&sessions).await;
        }
    }

    async fn carry(
        &self,
        sequence: Sequence,
        purge: &v1::PurgeRecord,
        located: &HashMap<Stream, Digest>,
    ) -> Result<(), RetentionError> {
        let (bodies, sessions): (_, Vec<SessionId>) = (&self.rooms.bodies, sessions_of(purge).collect());
        let erased = bodies.erase_purged(&sessions).await?;
        metrics::counter!("agentgate_session_keys_erased_total").increment(erased);
        if !sessions.is_empty() {
            self.rooms.session.forget_snapshots().await?;
        }
        // Another replica may have found and given back what is here to be found and given back.
        if !bodies.is_finished(sequence).await? {
            let streams = bodies.erase_streams(sequence, purge, located).await?;
            metrics::counter!("agentgate_subjects_forgotten_total").increment(streams);
            if bodies.erase_tokens(purge).await? {
                tracing::info!(sequence, "the key of a purged tenant's tokens was erased");
            }
            if !sessions.is_empty() {
                self.give_back(purge, sessions).await?;
            }
        }
        bodies.finished(sequence).await?;
        tracing::info!(sequence, keys = erased, "a purge was carried out");
        Ok(())
    }

    /// The space that nobody can read any more.
    async fn give_back(&self, purge: &v1::PurgeRecord, sessions: Vec<SessionId>) -> Result<(), RetentionError> {
        // How a call ended, and what was said of its approval, may have been under way when the purge came to be on record.
        self.rooms.bodies.unfenced_written().await;
        let span = (purge.since_us, purge.until_us);
        let mut records = Records::new(&self.rooms.bodies, sessions.into_iter().collect(), span).await?;
        let mut found = Vec::new();
        loop {
            let page = records.page().await?;
            let is_last = page.is_none();
            found.extend(page.unwrap_or_default().bodies);
            if !found.is_empty() && (is_last || found.len() >= GIVEN_BACK_AT_ONCE) {
                metrics::counter!("agentgate_bodies_given_back_total").increment(found.len() as u64);
                let given_back = self.rooms.bodies.journal().discard(std::mem::take(&mut found));
                given_back.await.map_err(RetentionError::GiveBack)?;
            }
            if is_last {
                return Ok(());
            }
        }
    }
}
