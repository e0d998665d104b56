//! What is in force, folded from the global stream. A record of a kind that this version does not know makes it refuse: what
//! was ordered must not be overlooked.

use super::{Hold, Now, Ordered, PolicyMark};
use crate::body::{Bodies, FetchError, SessionId};
use crate::journal::{ReadError, Record, Sequence, Stream};
use agentgate_core::digest::Digest;
use agentgate_core::id::Server;
use agentgate_core::time::Time;
use agentgate_proto::order::{mode_from_wire, target_from_wire, tool_from_wire};
use agentgate_proto::retention::named_from_wire;
use agentgate_proto::v1;
use agentgate_proto::v1::record::What;
use prost::Message;
use thiserror::Error;

/// Records of the global stream read at once.
const PAGE: u32 = 256;

#[derive(Clone, Debug, Error)]
pub enum ControlError {
    #[error(
        "what is in force cannot be read from the journal; where it is damaged, find out what is lost (agentgate journal check DIR) and \
         put a copy back (docs/operating.md, Restoring)"
    )]
    Read(#[from] ReadError),
    #[error("the order of record {sequence} cannot be read; use the release that wrote it, or a later one")]
    Unreadable { sequence: Sequence },
    #[error("the words of the order of record {sequence} cannot be had")]
    Body { sequence: Sequence, source: FetchError },
}

/// One order, with its words.
#[derive(Clone, Debug)]
pub(super) enum Event {
    Policy(v1::PolicyRecord),
    Kill {
        resumed: bool,
        body: v1::KillBody,
    },
    Mode {
        mode: v1::Mode,
        body: v1::ModeBody,
    },
    /// Without words: they were erased.
    Hold {
        lifts: Sequence,
        body: Option<v1::HoldBody>,
        key: Option<SessionId>,
    },
    /// Its words are for people alone, and not read here.
    Purge {
        purge: v1::PurgeRecord,
        body: Option<v1::PurgeBody>,
    },
}

/// Folds what stands in the global stream after `now`.
pub(super) async fn catch_up(bodies: &Bodies, now: &mut Now) -> Result<(), ControlError> {
    loop {
        let page = bodies.journal().read(Stream::global(), now.epochs.global, PAGE).await?;
        if page.is_empty() {
            return Ok(());
        }
        for record in &page {
            let sequence = record.sequence;
            let (at, event) = event(bodies, record).await?;
            purged(bodies, &event, sequence);
            apply(now, event, at, sequence).ok_or(ControlError::Unreadable { sequence })?;
            now.epochs.global = record.version;
        }
    }
}

async fn event(bodies: &Bodies, record: &Record) -> Result<(Time, Event), ControlError> {
    let sequence = record.sequence;
    let unreadable = || ControlError::Unreadable { sequence };
    let gone = |source| ControlError::Body { sequence, source };
    let parsed = v1::Record::decode(record.bytes.clone()).map_err(|_| unreadable())?;
    let event = match parsed.what {
        Some(What::Policy(policy)) => Event::Policy(policy),
        Some(What::Kill(kill)) => {
            let body = bodies.fetch(kill.body.as_ref()).await.map_err(gone)?.ok_or_else(unreadable)?;
            Event::Kill { resumed: kill.resumed, body }
        }
        Some(What::Mode(mode)) => {
            let body = bodies.fetch(mode.body.as_ref()).await.map_err(gone)?.ok_or_else(unreadable)?;
            let mode = v1::Mode::try_from(mode.mode).map_err(|_| unreadable())?;
            Event::Mode { mode, body }
        }
        Some(What::Hold(hold)) => {
            let body = bodies.fetch(hold.body.as_ref()).await.map_err(gone)?;
            Event::Hold { lifts: hold.lifts, body, key: hold.body.as_ref().and_then(SessionId::of) }
        }
        Some(What::Purge(purge)) => Event::Purge { purge, body: None },
        Some(What::Decision(_) | What::Outcome(_) | What::Flood(_) | What::Approval(_)) | None => return Err(unreadable()),
    };
    Ok((Time::from_micros(parsed.at_us), event))
}

/// Before the epoch of a purge is known here: whoever decides under that epoch seals with no key that it erases.
pub(super) fn purged(bodies: &Bodies, event: &Event, sequence: Sequence) {
    match event {
        Event::Purge { purge, .. } => bodies.purged(sequence, purge),
        Event::Policy(_) | Event::Kill { .. } | Event::Mode { .. } | Event::Hold { .. } => {}
    }
}

/// None: it names what cannot be named.
pub(super) fn apply(now: &mut Now, event: Event, at: Time, sequence: Sequence) -> Option<()> {
    now.at = now.at.max(at);
    match event {
        Event::Policy(policy) => {
            let digest = Digest::try_from(policy.digest.as_ref()).ok()?;
            let address = Digest::try_from(policy.address.as_ref()).ok()?;
            now.policy = Some(PolicyMark { digest, address, since: at });
        }
        Event::Kill { resumed, body } => {
            let target = target_from_wire(body.target.as_ref()).ok()?;
            if resumed {
                now.kills.resume(&target);
            } else {
                now.kills.kill(target, Ordered { by: body.by, reason: body.reason, at, sequence });
            }
        }
        Event::Mode { mode, body } => {
            let server = Server::try_from(body.server.as_str()).ok()?;
            let tool = tool_from_wire(&body.tool).ok()?;
            let mode = mode_from_wire(mode);
            let key = (server.clone(), tool.clone());
            match mode {
                Some(_) => now.ordered_modes.insert(key, Ordered { by: body.by, reason: body.reason, at, sequence }),
                None => now.ordered_modes.remove(&key),
            };
            now.modes.set(server, tool, mode);
        }
        Event::Hold { lifts: 0, body, key } => {
            let body = body.unwrap_or_default();
            // What cannot be read any more holds everything: nobody can say what it meant.
            let extent = named_from_wire(body.extent.as_ref()).ok();
            let order = Ordered { by: body.by, reason: body.reason, at, sequence };
            now.holds.insert(sequence, Hold { extent, order, key });
        }
        Event::Hold { lifts, .. } => drop(now.holds.remove(&lifts)),
        Event::Purge { .. } => now.purges += 1,
    }
    Some(())
}
