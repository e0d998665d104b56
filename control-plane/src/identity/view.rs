//! Which filter VMs are heard of: by message, never by an open stream, since a dead VM's stream may survive it.

use crate::bounded::Bounded;
use crate::clock::micros;
use crate::telemetry::number;
use agentgate_core::id::{Asker, Epoch, Server};
use agentgate_core::time::Time;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// VMs remembered. An Envoy has one for each worker and one more; the oldest is forgotten first.
const VMS_MAX: usize = 4_096;

/// A VM that was not heard of for so long is probably gone: it speaks every few seconds.
const LATELY: Duration = Duration::from_secs(60);

/// Servers that one VM may name: as many as its filter can hold orders of.
pub const SERVED_MAX: usize = 1_024;

/// One life of a filter VM.
#[derive(Debug)]
pub struct Vm {
    pub asker: Asker,
    pub epoch: Epoch,
    pub node: String,
    pub version: String,
    /// The servers that its routes name, as it last said, and whether the route observes.
    served: Mutex<Arc<BTreeSet<(Server, bool)>>>,
    /// Monotonic, in microseconds.
    heard_us: AtomicU64,
    /// Wall time, for people.
    heard_at_us: AtomicU64,
    /// The control epoch of the standing that it obeys.
    kept_epoch: AtomicU64,
    observations_lost: AtomicU64,
}

/// A server that some route of a filter names, whether or not the filter may ask for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Served {
    pub asker: Asker,
    pub server: Server,
    pub observes: bool,
}

#[derive(Debug)]
pub struct Heard(Mutex<Bounded<(Asker, Epoch), Arc<Vm>>>);

// === impl Heard ===

impl Default for Heard {
    fn default() -> Self {
        Self(Mutex::new(Bounded::new(VMS_MAX)))
    }
}

impl Heard {
    /// A VM says hello, perhaps not for the first time: it opens the next stream before it leaves the old one.
    pub fn hello(&self, asker: &Asker, epoch: Epoch, node: String, version: String) -> Arc<Vm> {
        let mut vms = self.lock();
        if let Some(known) = vms.get(&(asker.clone(), epoch)) {
            return Arc::clone(known);
        }
        let zero = AtomicU64::new;
        let vm = Arc::new(Vm {
            asker: asker.clone(),
            epoch,
            node,
            version,
            served: Mutex::default(),
            heard_us: zero(0),
            heard_at_us: zero(0),
            kept_epoch: zero(0),
            observations_lost: zero(0),
        });
        vms.put((asker.clone(), epoch), Arc::clone(&vm));
        metrics::gauge!("agentgate_filter_vms").set(number(vms.len()));
        vm
    }

    /// How long nothing was heard of a VM. None: it never said hello to this process.
    #[must_use]
    pub fn silent_for(&self, asker: &Asker, epoch: Epoch, now: Duration) -> Option<Duration> {
        let vms = self.lock();
        let vm = vms.get(&(asker.clone(), epoch))?;
        Some(vm.silent_for(now))
    }

    /// What the routes of those that probably live name.
    #[must_use]
    pub fn served(&self, now: Duration) -> BTreeSet<Served> {
        let alive: Vec<Arc<Vm>> = self.lock().values().filter(|vm| vm.silent_for(now) < LATELY).cloned().collect();
        let mut all = BTreeSet::new();
        for vm in alive {
            let served = vm.served();
            let of_vm = served.iter().map(|(server, observes)| Served {
                asker: vm.asker.clone(),
                server: server.clone(),
                observes: *observes,
            });
            all.extend(of_vm);
        }
        all
    }

    #[must_use]
    pub fn all(&self) -> Vec<Arc<Vm>> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Bounded<(Asker, Epoch), Arc<Vm>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Vm ===

impl Vm {
    fn silent_for(&self, now: Duration) -> Duration {
        now.saturating_sub(Duration::from_micros(self.heard_us.load(Ordering::Relaxed)))
    }

    pub fn heard(&self, elapsed: Duration, at: Time) {
        self.heard_us.store(micros(elapsed), Ordering::Relaxed);
        self.heard_at_us.store(at.micros(), Ordering::Relaxed);
    }

    /// Its configuration names these servers, and no others any more.
    pub fn serves(&self, served: BTreeSet<(Server, bool)>) {
        *self.served.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(served);
    }

    #[must_use]
    pub fn served(&self) -> Arc<BTreeSet<(Server, bool)>> {
        Arc::clone(&self.served.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// It obeys the standing of this control epoch.
    pub fn kept(&self, epoch: u64) {
        self.kept_epoch.fetch_max(epoch, Ordering::Relaxed);
    }

    #[must_use]
    pub fn kept_epoch(&self) -> u64 {
        self.kept_epoch.load(Ordering::Relaxed)
    }

    /// It had no room for so many observations in its life. Says how many of them are new.
    pub fn lost(&self, observations: u64) -> u64 {
        let before = self.observations_lost.fetch_max(observations, Ordering::Relaxed);
        observations.saturating_sub(before)
    }

    #[must_use]
    pub fn observations_lost(&self) -> u64 {
        self.observations_lost.load(Ordering::Relaxed)
    }

    #[must_use]
    pub fn heard_at(&self) -> Time {
        Time::from_micros(self.heard_at_us.load(Ordering::Relaxed))
    }
}
