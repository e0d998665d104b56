//! Watches the head for all who follow: asks for it again and again on a connection of its own, sooner when another replica
//! says that it wrote. A hint that is lost costs a moment and nothing else; it refuses to believe one without looking.

use super::link::{Connector, FLEETING, Failure, Link, in_time};
use super::standing::Standing;
use crate::journal::Sequence;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// How late a follower is who hears no hint.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Looks between two at how much the store takes, and at whether there is something to sweep away.
const CHORE_EVERY_LOOKS: u32 = 100;

/// How long to wait before the database is tried again.
const RETRY_EVERY: Duration = Duration::from_millis(500);

const HEAD: &str = "SELECT sequence FROM agentgate.head";
const BYTES: &str = "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class c \
     JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'agentgate' AND c.relkind = 'r'";

/// What the writer tells the watcher.
#[derive(Debug, Default)]
pub(super) struct Told {
    wrote: Notify,
    erased: AtomicBool,
}

#[derive(Debug)]
pub(super) struct Watcher {
    pub connector: Connector,
    pub standing: Arc<Standing>,
    pub told: Arc<Told>,
}

// === impl Told ===

impl Told {
    pub(super) fn wrote(&self, has_records: bool, has_erased: bool) {
        if has_erased {
            self.erased.store(true, Ordering::SeqCst);
        }
        if has_records {
            self.wrote.notify_one();
        }
    }
}

// === impl Watcher ===

impl Watcher {
    /// For as long as the writer's thread lives.
    pub(super) async fn run(self) {
        loop {
            // Why it failed, the writer says: it has the same database.
            if let Ok(link) = self.connector.connect().await {
                let _ = self.watch(&link).await;
            }
            tokio::time::sleep(RETRY_EVERY).await;
        }
    }

    async fn watch(&self, link: &Link) -> Result<(), Failure> {
        in_time(link.run(FLEETING)).await?;
        in_time(link.run("LISTEN agentgate_journal")).await?;
        let mut looks: u32 = 0;
        loop {
            self.standing.reached(in_time(one(link, HEAD)).await?);
            if looks.is_multiple_of(CHORE_EVERY_LOOKS) {
                self.standing.bytes.store(in_time(one(link, BYTES)).await?, Ordering::Relaxed);
                self.sweep(link).await?;
            }
            looks = looks.wrapping_add(1);
            tokio::select! {
                () = self.told.wrote.notified() => in_time(link.run("NOTIFY agentgate_journal")).await?,
                () = link.notified() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = link.lost() => return Err(Failure::Lost("the connection to the database was lost".to_owned())),
            }
        }
    }

    /// What was replaced or forgotten is still on the pages until they are swept.
    async fn sweep(&self, link: &Link) -> Result<(), Failure> {
        if self.told.erased.swap(false, Ordering::SeqCst) {
            in_time(link.run("VACUUM agentgate.slots")).await?;
        }
        Ok(())
    }
}

async fn one(link: &Link, statement: &str) -> Result<Sequence, Failure> {
    super::read::number(&link.client.query_one(statement, &[]).await?, 0)
}
