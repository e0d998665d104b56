//! The list of the replicas that share a journal: each writes itself into one slot every few seconds, with what it follows and
//! hears. For operators alone: it refuses to be what anybody decides by, and a replica that cannot write it serves all the same.

use crate::clock::Clock;
use crate::config::REPLICA_BYTES;
use crate::control::Control;
use crate::identity::Heard;
use crate::journal::{Journal, SlotError, change_slot};
use crate::rarely::Rarely;
use crate::telemetry::number;
use agentgate_core::digest::Digest;
use agentgate_core::time::Time;
use agentgate_proto::v1;
use bytes::Bytes;
use prost::Message as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often a replica says that it is there.
const EVERY: Duration = Duration::from_secs(5);

/// A replica that was not seen for this long is gone: four of its words are missing. `status.proto` names it too.
const GONE_US: u64 = 20_000_000;

/// A VM that was not heard for this long is not counted: it speaks every few seconds.
const SILENT_US: u64 = 60_000_000;

/// One that is gone is shown for this long.
const FORGOTTEN_US: u64 = 600_000_000;

/// Clocks of replicas may be this far apart: they refuse to write when they are further from the store's.
const APART_US: u64 = 2_000_000;

/// Replicas in the list: what fits into a slot with names as long as they may be. Beyond it those not seen longest are left out.
const REPLICAS_MAX: usize = 48;

/// A dash and four digits, behind the host's name, and room for a longer one.
const SUFFIX_BYTES: usize = 16;

/// What a replica is called where nobody named it.
const UNNAMED: &str = "control-plane";

#[derive(Debug)]
pub struct Replicas {
    journal: Arc<dyn Journal>,
    clock: Clock,
    heard: Arc<Heard>,
    control: Arc<Control>,
    /// As it said itself at its start.
    own: v1::ReplicaStatus,
    /// What the slot held when it was last seen.
    seen: Mutex<Option<Bytes>>,
    told: Rarely,
}

/// The name of a replica: its configuration's, or its host's with something that no other life has.
#[must_use]
pub fn name(configured: Option<String>, host: &str, random: [u8; 2]) -> String {
    let host: String = host.chars().filter(char::is_ascii_graphic).take(REPLICA_BYTES - SUFFIX_BYTES).collect();
    let host = if host.is_empty() { UNNAMED } else { &host };
    configured.unwrap_or_else(|| format!("{host}-{:04x}", u16::from_be_bytes(random)))
}

/// Where the list is.
fn slot() -> Digest {
    Digest::of("agentgate/slot/replicas/1", b"")
}

fn list(value: Option<&Bytes>) -> Vec<v1::ReplicaStatus> {
    // What cannot be read is written anew by all who are there.
    value.and_then(|value| v1::ReplicaList::decode(value.clone()).ok()).unwrap_or_default().replicas
}

// === impl Replicas ===

impl Replicas {
    /// `life`: random, so that two that were given one name are two.
    #[must_use]
    pub fn new(
        journal: Arc<dyn Journal>,
        clock: Clock,
        (heard, control): (Arc<Heard>, Arc<Control>),
        (name, life): (String, [u8; 8]),
    ) -> Self {
        let own = v1::ReplicaStatus {
            name,
            version: env!("CARGO_PKG_VERSION").into(),
            started_at_us: clock.now().micros(),
            life: Bytes::copy_from_slice(&life),
            ..v1::ReplicaStatus::default()
        };
        metrics::gauge!("agentgate_replicas").set(1.0);
        Self { journal, clock, heard, control, own, seen: Mutex::default(), told: Rarely::default() }
    }

    /// Says again and again that it is there, until it is dropped.
    pub async fn registering(self: Arc<Self>) {
        loop {
            match self.write(true).await {
                Ok(()) => self.look(),
                Err(error) => tracing::debug!(%error, "the list of replicas could not be written"),
            }
            self.clock.sleep(EVERY).await;
        }
    }

    /// It is not there any longer, and nobody has to find out.
    pub async fn leave(&self) {
        if self.journal.is_shared()
            && let Err(error) = self.write(false).await
        {
            tracing::debug!(%error, "the list of replicas still has this one; it is shown as gone soon");
        }
    }

    /// All of them by name, as they are seen now. None, where the journal is of one process.
    #[must_use]
    pub fn all(&self) -> Vec<v1::ReplicaStatus> {
        if !self.journal.is_shared() {
            return Vec::new();
        }
        let seen = self.lock().clone();
        let now = self.clock.now();
        judged(self.next(&list(seen.as_ref()), now, true), now)
    }

    /// Puts this one into the list, or takes it out.
    async fn write(&self, is_there: bool) -> Result<(), SlotError> {
        let next = |held: Option<&Bytes>| {
            let replicas = self.next(&list(held), self.clock.now(), is_there);
            Some(v1::ReplicaList { replicas }.encode_to_vec().into())
        };
        *self.lock() = change_slot(self.journal.as_ref(), slot(), next).await?;
        Ok(())
    }

    /// The list with this one in it, or without, and without those that are forgotten.
    fn next(&self, before: &[v1::ReplicaStatus], now: Time, is_there: bool) -> Vec<v1::ReplicaStatus> {
        let is_remembered = |other: &&v1::ReplicaStatus| {
            other.life != self.own.life && now.micros().saturating_sub(other.last_seen_us) < FORGOTTEN_US
        };
        let mut replicas: Vec<_> = before.iter().filter(is_remembered).cloned().collect();
        replicas.sort_by_key(|replica| std::cmp::Reverse(replica.last_seen_us));
        replicas.truncate(REPLICAS_MAX - usize::from(is_there));
        replicas.extend(is_there.then(|| self.current(now)));
        replicas.sort_by(|one, other| (&one.name, one.started_at_us).cmp(&(&other.name, other.started_at_us)));
        replicas
    }

    fn current(&self, now: Time) -> v1::ReplicaStatus {
        let is_heard = |at: Time| now.micros_since(at) <= SILENT_US;
        v1::ReplicaStatus {
            last_seen_us: now.micros(),
            filters: u32::try_from(self.heard.all().iter().filter(|vm| is_heard(vm.heard_at())).count()).unwrap_or(u32::MAX),
            epoch: self.control.now().epochs.global,
            ..self.own.clone()
        }
    }

    /// Says loudly what a person must mend.
    fn look(&self) {
        let all = self.all();
        metrics::gauge!("agentgate_replicas").set(number(all.iter().filter(|replica| !replica.gone).count()));
        let doubled = all.iter().any(|replica| replica.doubled && replica.name == self.own.name);
        metrics::gauge!("agentgate_replica_doubled").set(if doubled { 1.0 } else { 0.0 });
        if doubled && let Some(more) = self.told.told(self.clock.elapsed()) {
            let name = &self.own.name;
            tracing::error!(name, more, "another replica that lives has this name; give each a `replica` of its own");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Bytes>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who is gone, and whose name is taken: two that have one, of which the older was seen well after the younger began. One that
/// was started again under its name is no such pair.
fn judged(mut replicas: Vec<v1::ReplicaStatus>, now: Time) -> Vec<v1::ReplicaStatus> {
    for replica in &mut replicas {
        replica.gone = now.micros().saturating_sub(replica.last_seen_us) > GONE_US;
    }
    let lives: Vec<_> = replicas.iter().filter(|replica| !replica.gone).cloned().collect();
    let is_beside = |one: &v1::ReplicaStatus, other: &v1::ReplicaStatus| {
        let both_since = one.started_at_us.max(other.started_at_us).saturating_add(APART_US);
        one.name == other.name && one.life != other.life && one.last_seen_us.min(other.last_seen_us) > both_since
    };
    for replica in replicas.iter_mut().filter(|replica| !replica.gone) {
        replica.doubled = lives.iter().any(|other| is_beside(replica, other));
    }
    replicas
}

#[cfg(test)]
mod tests;
