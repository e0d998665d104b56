//! One life of a replica: the real rooms, joined as `run` joins them. It refuses to replace any of them.

use crate::port::{Depot, Port};
use crate::purges::TENANT;
use agentgate_control_plane::approval::Approvals;
use agentgate_control_plane::body::{Bodies, DataKey};
use agentgate_control_plane::clock::Clock;
use agentgate_control_plane::config::{self, Limits, PolicyFolder};
use agentgate_control_plane::control::Control;
use agentgate_control_plane::decide::{Decide, Rooms};
use agentgate_control_plane::follow::Follow;
use agentgate_control_plane::journal::Journal;
use agentgate_control_plane::policy::Policy;
use agentgate_control_plane::privacy::Privacy;
use agentgate_control_plane::quota::Quota;
use agentgate_control_plane::retention::{self, Retention};
use agentgate_control_plane::session::Session;
use agentgate_core::digest::Digest;
use agentgate_core::pii::Pii;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How often a folder is looked at that is not there.
const POLL: Duration = Duration::from_secs(2);

const DAY_S: u64 = 86_400;

/// The rooms of one life of a replica.
pub(crate) struct Life {
    pub(crate) control: Arc<Control>,
    pub(crate) approvals: Arc<Approvals>,
    pub(crate) session: Arc<Session>,
    pub(crate) bodies: Arc<Bodies>,
    pub(crate) retention: Arc<Retention>,
    pub(crate) decide: Arc<Decide>,
}

thread_local! {
    static DRAWN: Cell<u64> = const { Cell::new(0) };
}

/// A new world begins.
pub(crate) fn draw_anew() {
    DRAWN.set(0);
}

/// Never the same twice in one world, and the same in the next.
pub(crate) fn drawn() -> Result<[u8; 32], String> {
    let number = DRAWN.replace(DRAWN.get() + 1);
    Ok(*Digest::of("sim/key", &number.to_be_bytes()).as_bytes())
}

/// The rooms, joined as `run` joins them. None: something could not be read.
pub(crate) async fn open(depot: Arc<Depot>, replica: usize, clock: Clock, days: u32) -> Option<(Life, Follow)> {
    let journal: Arc<dyn Journal> = Arc::new(Port { depot, replica });
    let limits = Limits { outcome_deadline_s: 60, ..Limits::default() };
    let bodies = Arc::new(Bodies::open(Arc::clone(&journal), DataKey::new(&[1; 32]), drawn).await.ok()?);
    let control = Arc::new(Control::open(Arc::clone(&bodies), clock.clone(), limits.clone()).await.ok()?);
    let folder = PolicyFolder { directory: "nowhere".into(), poll: POLL };
    let policy = Policy::open(Arc::clone(&journal), clock.clone(), folder, Arc::clone(&control)).await.ok()?;
    let policy = Arc::new(policy);
    let session = Session::open(Arc::clone(&bodies), clock.clone(), limits.clone(), Vec::new()).await.ok()?;
    let session = Arc::new(session);
    // Where things get old some approvals do, and some outlive the key that they were asked for under.
    let (pending_s, unused_grant_s) = if days == 0 { (120, 60) } else { (3 * DAY_S, 2 * DAY_S) };
    let (pending, unused_grant) = (Duration::from_secs(pending_s), Duration::from_secs(unused_grant_s));
    let waiting = (config::Approvals { pending, unused_grant, webhook: None }, limits.clone());
    let approvals = Arc::new(Approvals::open(Arc::clone(&bodies), clock.clone(), waiting).await.ok()?);
    let privacy = config::Privacy { pii: Pii::Tokenise, ..config::Privacy::default() };
    let privacy = Arc::new(Privacy::new(privacy, Arc::clone(&bodies)));
    let kept = retention::Rooms {
        bodies: Arc::clone(&bodies),
        control: Arc::clone(&control),
        session: Arc::clone(&session),
        approvals: Arc::clone(&approvals),
        privacy: Arc::clone(&privacy),
    };
    let ages = config::Retention { days, tenants: BTreeMap::new(), sweep: Duration::from_secs(3_600) };
    let retention = Arc::new(Retention::new(kept, clock.clone(), ages, [TENANT.try_into().unwrap()].into()));
    let rooms = Rooms {
        heard: Arc::default(),
        control: Arc::clone(&control),
        policy: Arc::clone(&policy),
        approvals: Arc::clone(&approvals),
        session: Arc::clone(&session),
        privacy,
        bodies: Arc::clone(&bodies),
        quota: Arc::new(Quota::none(clock.clone())),
    };
    let decide = Arc::new(Decide::new(&limits, clock.clone(), rooms));
    let follow = Follow {
        journal,
        clock,
        control: Arc::clone(&control),
        policy,
        approvals: Arc::clone(&approvals),
        session: Arc::clone(&session),
        told: agentgate_control_plane::rarely::Rarely::default(),
    };
    Some((Life { control, approvals, session, bodies, retention, decide }, follow))
}
