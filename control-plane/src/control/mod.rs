//! Control: what everybody obeys, in one place and under one epoch: which policy is in force, what is killed, what is
//! enforced or only observed, what is held, and what was purged.
//!
//! An order is a record of the global stream. It is in force for every decision after its acknowledgement: whoever folded
//! from the epoch before is fenced off by the journal. It refuses to know what a policy says.

mod order;
mod retain;
pub mod rpc;
mod standing;
mod view;

use crate::body::{Bodies, SessionId};
use crate::clock::{Clock, Moments};
use crate::config::Limits;
use crate::journal::{Epochs, Sequence, Version};
use agentgate_core::decide::Facts;
use agentgate_core::digest::Digest;
use agentgate_core::id::Server;
use agentgate_core::kill::{Kill, Kills};
use agentgate_core::mode::{Mode, Modes};
use agentgate_core::retention::{Extent, Kept};
use agentgate_core::time::Time;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::{Mutex, watch};

pub(crate) use order::check_name;
pub use order::{Ack, OrderError};
pub use retain::Retaining;
pub use standing::standing;
pub use view::ControlError;

/// What decides at one control epoch, beside the call.
#[derive(Clone, Debug)]
pub struct Now {
    pub epochs: Epochs,
    /// None: there never was one, and every call that can be read is refused.
    pub policy: Option<PolicyMark>,
    pub kills: Kills<Ordered>,
    pub modes: Modes,
    /// Who ordered each mode, by server and tool.
    pub ordered_modes: BTreeMap<(Server, Option<String>), Ordered>,
    /// By the sequence of the record that placed each.
    pub holds: BTreeMap<Sequence, Hold>,
    /// How many purges were ordered so far.
    pub purges: u64,
    /// Of the newest order; the next one is not before it.
    at: Time,
}

/// Which policy is in force, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyMark {
    pub digest: Digest,
    /// Where the journal keeps its bundle.
    pub address: Digest,
    pub since: Time,
}

/// What is known of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ordered {
    pub by: String,
    pub reason: String,
    pub at: Time,
    pub sequence: Sequence,
}

/// A hold in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// None: it cannot be read, and holds everything.
    pub extent: Option<Extent>,
    pub order: Ordered,
    /// Under which its words are.
    pub key: Option<SessionId>,
}

#[derive(Debug)]
pub struct Control {
    bodies: Arc<Bodies>,
    limits: Limits,
    now: watch::Sender<Arc<Now>>,
    moments: Moments,
    /// Orders are given one after the other.
    ordering: Mutex<()>,
    /// Orders of others are taken up by one for all who wait for them.
    reading: Mutex<()>,
}

// === impl Control ===

impl Control {
    /// Takes up what the journal says is in force.
    ///
    /// # Errors
    /// When the journal cannot say, or holds an order that this version does not know.
    pub async fn open(bodies: Arc<Bodies>, clock: Clock, limits: Limits) -> Result<Self, ControlError> {
        let mut now = Now::default();
        view::catch_up(&bodies, &mut now).await?;
        now.say();
        let moments = Moments::after(clock, now.at);
        Ok(Self {
            bodies,
            limits,
            now: watch::Sender::new(Arc::new(now)),
            moments,
            ordering: Mutex::new(()),
            reading: Mutex::new(()),
        })
    }

    #[must_use]
    pub fn now(&self) -> Arc<Now> {
        Arc::clone(&self.now.borrow())
    }

    /// What is in force now, and whatever comes after it.
    #[must_use]
    pub fn follow(&self) -> watch::Receiver<Arc<Now>> {
        self.now.subscribe()
    }

    /// Another replica wrote a record of this moment: no order of ours is before it.
    pub fn not_before(&self, at: Time) {
        self.moments.not_before(at);
    }

    /// Takes up what other replicas ordered, until this one knows control epoch `epoch`.
    ///
    /// # Errors
    /// When the journal cannot say, or holds an order that this version does not know.
    pub async fn caught_up(&self, epoch: Version) -> Result<(), ControlError> {
        if self.now().epochs.global >= epoch {
            return Ok(());
        }
        let _turn = self.reading.lock().await;
        if self.now().epochs.global >= epoch {
            return Ok(());
        }
        self.catch_up().await
    }
}

// === impl Now ===

impl Now {
    /// The highest kill that covers a call that could be read.
    #[must_use]
    pub fn kill(&self, facts: &Facts) -> Option<Kill> {
        if self.kills.is_empty() {
            return None;
        }
        let message = facts.reading.as_ref().ok()?;
        let (target, order) = self.kills.covering(&facts.tenant, &facts.principal, &facts.server, message)?;
        Some(Kill { target: target.clone(), reason: order.reason.clone() })
    }

    /// How a call is treated; `route` is what its route's configuration says.
    #[must_use]
    pub fn mode(&self, server: &Server, tool: Option<&str>, route: Mode) -> Mode {
        self.modes.of(server, tool, route)
    }

    /// The oldest hold that covers the session.
    #[must_use]
    pub fn hold(&self, kept: &Kept) -> Option<(Sequence, &Hold)> {
        let covers = |hold: &&Hold| hold.extent.as_ref().is_none_or(|extent| extent.may_cover(kept));
        self.holds.iter().map(|(sequence, hold)| (*sequence, hold)).find(|(_, hold)| covers(hold))
    }

    fn say(&self) {
        let epoch = u32::try_from(self.epochs.global).unwrap_or(u32::MAX);
        metrics::gauge!("agentgate_control_epoch").set(f64::from(epoch));
        metrics::gauge!("agentgate_kills").set(crate::telemetry::number(self.kills.len()));
        metrics::gauge!("agentgate_holds").set(crate::telemetry::number(self.holds.len()));
        metrics::gauge!("agentgate_modes").set(crate::telemetry::number(self.ordered_modes.len()));
    }
}

impl Default for Now {
    fn default() -> Self {
        Self {
            epochs: Epochs { global: 0 },
            policy: None,
            kills: Kills::default(),
            modes: Modes::default(),
            ordered_modes: BTreeMap::new(),
            holds: BTreeMap::new(),
            purges: 0,
            at: Time::from_micros(0),
        }
    }
}

#[cfg(test)]
mod tests;
