//! Orders: each is one record of the global stream, written under the epoch that it was folded from, or it did not happen.

use super::view::{self, ControlError, Event};
use super::{Control, Now};
use crate::body::{KeyError, Scope, Seal};
use crate::journal::{AppendError, Change, Epochs, Expected, Sequence, Stream, Version, Write};
use agentgate_core::digest::{Digest, Digester};
use agentgate_core::id::{Server, SpiffeId};
use agentgate_core::kill::KillTarget;
use agentgate_core::mode::Mode;
use agentgate_core::pii;
use agentgate_core::time::Time;
use agentgate_proto::order::{mode_to_wire, target_to_wire};
use agentgate_proto::v1;
use agentgate_proto::v1::record::What;
use bytes::Bytes;
use prost::Message;
use std::sync::Arc;
use thiserror::Error;

/// What an order may give as its reason, in bytes: the refused agent is told of it.
pub(super) const ORDER_REASON_BYTES_MAX: usize = 1_024;

/// How often one order is folded again because another replica was first.
const ORDER_ATTEMPTS_MAX: u32 = 8;

/// An order that is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Of its record; 0: none was needed.
    pub sequence: Sequence,
    pub epoch: Version,
    /// False: it was so already.
    pub changed: bool,
}

#[derive(Clone, Debug, Error)]
pub enum OrderError {
    #[error("{0}")]
    Malformed(String),
    #[error(
        "`{name}` holds what `[privacy]` writes in the place of something personal, and no call has such a {what}; {instead}"
    )]
    StandIn { what: &'static str, name: String, instead: &'static str },
    #[error("{max} {what} are in force already; `limits.{limit}` bounds them")]
    Crowded { what: &'static str, max: u32, limit: &'static str },
    #[error("the order cannot be recorded, and is not in force")]
    Journal(#[source] AppendError),
    /// It may be in force: whoever gave it looks before they give it again.
    #[error("whether the order was recorded is not known; look with `agentgate status`")]
    Unknown(#[source] AppendError),
    #[error(transparent)]
    Read(#[from] ControlError),
    #[error("other replicas gave orders {ORDER_ATTEMPTS_MAX} times meanwhile; try again")]
    Contended,
    #[error("the order cannot be sealed, and is not in force")]
    Keys(#[source] KeyError),
}

// === impl Control ===

impl Control {
    /// # Errors
    /// When it would stop nothing, when there is no room for one more, or it cannot be recorded.
    pub async fn kill(&self, target: KillTarget, reason: &str, by: &SpiffeId) -> Result<Ack, OrderError> {
        check_reason(reason)?;
        if reason.trim().is_empty() {
            return Err(OrderError::Malformed("a kill needs a reason: people will ask".into()));
        }
        check_target(&target)?;
        let max = self.limits.kills_max;
        self.order(|now| {
            if now.kills.same(&target).is_some() {
                return Ok(None);
            }
            if now.kills.len() >= max as usize {
                return Err(OrderError::Crowded { what: "kills", max, limit: "kills_max" });
            }
            Ok(Some(kill(&target, false, reason, by)))
        })
        .await
    }

    /// # Errors
    /// When no kill could have its name, or it cannot be recorded.
    pub async fn resume(&self, target: KillTarget, reason: &str, by: &SpiffeId) -> Result<Ack, OrderError> {
        check_reason(reason)?;
        self.order(|now| match now.kills.same(&target) {
            Some(killed) => Ok(Some(kill(killed, true, reason, by))),
            None => check_target(&target).map(|()| None),
        })
        .await
    }

    /// Without a mode the order before is forgotten.
    ///
    /// # Errors
    /// When it would concern nothing, there is no room for one more, or it cannot be recorded.
    pub async fn set_mode(
        &self,
        server: Server,
        tool: Option<String>,
        mode: Option<Mode>,
        reason: &str,
        by: &SpiffeId,
    ) -> Result<Ack, OrderError> {
        check_reason(reason)?;
        let max = self.limits.modes_max;
        self.order(|now| {
            let ordered = now.modes.ordered(&server, tool.as_deref());
            // One from before may be forgotten.
            if mode.is_some() || ordered.is_none() {
                check_tool(&server, tool.as_deref())?;
            }
            if ordered == mode {
                return Ok(None);
            }
            if ordered.is_none() && now.ordered_modes.len() >= max as usize {
                return Err(OrderError::Crowded { what: "modes", max, limit: "modes_max" });
            }
            let body = v1::ModeBody {
                server: server.to_string(),
                tool: tool.clone().unwrap_or_default(),
                reason: reason.into(),
                by: by.to_string(),
            };
            Ok(Some(Event::Mode { mode: mode_to_wire(mode), body }))
        })
        .await
    }

    /// # Errors
    /// When it cannot be recorded.
    pub async fn put_in_force(&self, policy: v1::PolicyRecord) -> Result<Ack, OrderError> {
        self.order(|now| {
            let digest = now.policy.map(|policy| policy.digest);
            let is_new = digest.is_none_or(|digest| digest.as_bytes().as_slice() != policy.digest.as_ref());
            Ok(is_new.then(|| Event::Policy(policy.clone())))
        })
        .await
    }

    /// Writes what `draft` makes of what is in force, until nobody else was first. None: there is nothing to order.
    async fn order(&self, draft: impl Fn(&Now) -> Result<Option<Event>, OrderError>) -> Result<Ack, OrderError> {
        self.order_under(None, draft).await
    }

    /// As `order`, with its words under this key; none: under that of orders, which is never erased.
    pub(super) async fn order_under<E: From<OrderError>>(
        &self,
        key: Option<&Seal>,
        draft: impl Fn(&Now) -> Result<Option<Event>, E>,
    ) -> Result<Ack, E> {
        let _turn = self.ordering.lock().await;
        let mut is_current = false;
        for _ in 0..ORDER_ATTEMPTS_MAX {
            let now = self.now();
            let epoch = now.epochs.global;
            let drafted = draft(&now);
            if !is_current && !matches!(drafted, Ok(Some(_))) {
                // Where nothing is written, the journal does not say that another replica ordered otherwise.
                self.catch_up().await.map_err(OrderError::from)?;
                is_current = true;
                continue;
            }
            let Some(event) = drafted? else { return Ok(Ack { sequence: 0, epoch, changed: false }) };
            let at = self.moments.next().max(now.at);
            let (record, body) = self.seal(&event, key, at).await?;
            let id = order_id(epoch, &record);
            let write = Write { stream: Stream::global(), expected: Expected::Exactly(epoch), id, record };
            let change =
                Change { fence: Some(Epochs { global: epoch }), writes: vec![write], bodies: body.into_iter().collect() };
            match self.bodies.journal().append(change).await {
                Ok(appended) => {
                    let Some(position) = appended.positions.first() else { return Err(OrderError::Contended.into()) };
                    let mut now = Now::clone(&now);
                    view::purged(&self.bodies, &event, position.sequence);
                    now.epochs.global = position.version;
                    if view::apply(&mut now, event, at, position.sequence).is_none() {
                        return Err(OrderError::from(ControlError::Unreadable { sequence: position.sequence }).into());
                    }
                    self.take_up(now);
                    return Ok(Ack { sequence: position.sequence, epoch: position.version, changed: true });
                }
                Err(AppendError::Conflict { .. } | AppendError::Fenced { .. } | AppendError::Duplicate(_)) => {
                    self.catch_up().await.map_err(OrderError::from)?;
                }
                Err(error @ AppendError::Unknown(_)) => {
                    // Whether it happened or not, what is in force is what the journal says.
                    let _ = self.catch_up().await;
                    return Err(OrderError::Unknown(error).into());
                }
                Err(
                    error @ (AppendError::Unavailable(_)
                    | AppendError::Halted(_)
                    | AppendError::TooLarge { .. }
                    | AppendError::Malformed(_)),
                ) => {
                    return Err(OrderError::Journal(error).into());
                }
            }
        }
        Err(OrderError::Contended.into())
    }

    /// Takes up what other replicas ordered, as far as the journal has any.
    ///
    /// # Errors
    /// When the journal cannot say, or holds an order that this version does not know.
    pub async fn catch_up(&self) -> Result<(), ControlError> {
        let mut now = Now::clone(&self.now());
        view::catch_up(&self.bodies, &mut now).await?;
        self.take_up(now);
        Ok(())
    }

    /// Never back: an order of our own and one that was read meanwhile are folded at the same time.
    fn take_up(&self, now: Now) {
        self.now.send_if_modified(|known| {
            let is_newer = now.epochs.global > known.epochs.global;
            if is_newer {
                now.say();
                *known = Arc::new(now);
            }
            is_newer
        });
    }

    /// The record of an order, and its words apart from it.
    async fn seal(&self, event: &Event, key: Option<&Seal>, at: Time) -> Result<(Bytes, Option<Bytes>), OrderError> {
        let of_orders = self.bodies.seal(&Scope::Orders, at).await.map_err(|error| match error {
            KeyError::Keep(error) => OrderError::Journal(error),
            error @ (KeyError::Read(_) | KeyError::Unwrap(_) | KeyError::Unreadable | KeyError::Random(_) | KeyError::Erased) => {
                OrderError::Keys(error)
            }
        })?;
        let seal = key.unwrap_or(&of_orders);
        let (what, stored) = match event {
            Event::Policy(policy) => (What::Policy(policy.clone()), None),
            Event::Kill { resumed, body } => {
                let sealed = seal.seal(body).map_err(|why| OrderError::Keys(KeyError::Random(why)))?;
                (What::Kill(v1::KillRecord { resumed: *resumed, body: Some(sealed.reference) }), Some(sealed.stored))
            }
            Event::Mode { mode, body } => {
                let sealed = seal.seal(body).map_err(|why| OrderError::Keys(KeyError::Random(why)))?;
                (What::Mode(v1::ModeRecord { mode: (*mode).into(), body: Some(sealed.reference) }), Some(sealed.stored))
            }
            Event::Hold { lifts, body, .. } => {
                let body = body.clone().unwrap_or_default();
                let sealed = seal.seal(&body).map_err(|why| OrderError::Keys(KeyError::Random(why)))?;
                (What::Hold(v1::HoldRecord { lifts: *lifts, body: Some(sealed.reference) }), Some(sealed.stored))
            }
            Event::Purge { purge, body: Some(body) } => {
                let sealed = seal.seal(body).map_err(|why| OrderError::Keys(KeyError::Random(why)))?;
                let purge = v1::PurgeRecord { body: Some(sealed.reference), ..purge.clone() };
                (What::Purge(purge), Some(sealed.stored))
            }
            Event::Purge { purge, body: None } => (What::Purge(purge.clone()), None),
        };
        let record = v1::Record { at_us: at.micros(), what: Some(what) };
        Ok((record.encode_to_vec().into(), stored))
    }
}

fn kill(target: &KillTarget, resumed: bool, reason: &str, by: &SpiffeId) -> Event {
    let body = v1::KillBody { target: Some(target_to_wire(target)), reason: reason.into(), by: by.to_string() };
    Event::Kill { resumed, body }
}

/// Traces show such names, but calls are compared as they were written: the order would be in force and stop nothing.
fn check_target(target: &KillTarget) -> Result<(), OrderError> {
    match target {
        KillTarget::Everything => Ok(()),
        KillTarget::Tenant(tenant) => check_name("tenant", tenant.as_str(), "write it as the configuration does"),
        KillTarget::Tool { server, tool } => check_tool(server, tool.as_deref()),
        KillTarget::Agent(principal) => check_name("principal", principal.as_str(), "write it as its identity has it"),
        KillTarget::Session(handle) => {
            check_name("handle", handle.as_str(), "kill the agent, or the session by its handle as the agent writes it")
        }
    }
}

fn check_tool(server: &Server, tool: Option<&str>) -> Result<(), OrderError> {
    check_name("server", server.as_str(), "write it as the configuration does")?;
    check_name("tool", tool.unwrap_or_default(), "name the whole server, or the tool as its server calls it")
}

/// # Errors
/// When the name is one that only whoever is shown altered words knows.
pub(crate) fn check_name(what: &'static str, name: &str, instead: &'static str) -> Result<(), OrderError> {
    if pii::holds_stand_in(name) {
        return Err(OrderError::StandIn { what, name: name.into(), instead });
    }
    Ok(())
}

pub(super) fn check_reason(reason: &str) -> Result<(), OrderError> {
    if reason.len() > ORDER_REASON_BYTES_MAX {
        return Err(OrderError::Malformed(format!("the reason is longer than {ORDER_REASON_BYTES_MAX} bytes; say it in fewer")));
    }
    Ok(())
}

/// One order under one epoch, whoever gives it.
fn order_id(epoch: Version, record: &[u8]) -> Digest {
    let mut digester = Digester::new("agentgate/order/1");
    digester.part(&epoch.to_be_bytes());
    digester.part(record);
    digester.finish()
}
