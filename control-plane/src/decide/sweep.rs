//! What happens because nothing happened: calls that nobody reported become unknown, and floods get their record.

use super::flood::{Counts, Reason, Taken};
use super::{ATTEMPTS_MAX, Decide};
use crate::body::{KeyError, Scope};
use crate::identity::Subject;
use crate::journal::Stream;
use crate::session::{Draft, OpenCall, Setback};
use agentgate_core::digest::{Digest, Digester};
use agentgate_core::error::chain;
use agentgate_proto::v1;
use prost::Message as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How often is looked for what did not happen.
const EVERY: Duration = Duration::from_secs(1);

// === impl Decide ===

impl Decide {
    /// Sweeps again and again, until it is dropped.
    pub async fn sweeping(self: Arc<Self>, mut leaving: watch::Receiver<bool>) {
        let mut is_leaving = false;
        loop {
            tokio::select! {
                () = self.clock.sleep(EVERY) => {}
                _ = leaving.wait_for(|leaving| *leaving), if !is_leaving => is_leaving = true,
            }
            // A report of what was counted is under way until the count is on record.
            self.sweep(is_leaving).await;
        }
    }

    /// One sweep. `leaving`: counts of floods are recorded before their interval is over.
    pub async fn sweep(&self, leaving: bool) {
        self.once.forget(self.bodies.erasures());
        let elapsed = self.clock.elapsed();
        let silence = self.limits.silence();
        // A VM that said hello to an earlier life of this process counts as heard when this one began.
        let silent_for = |open: &OpenCall| self.heard.silent_for(&open.call.asker, open.call.epoch, elapsed).unwrap_or(elapsed);
        // A VM that speaks to another replica is silent here: then only the deadline says that nobody will report.
        let alone = !self.session.follows();
        let is_silent = |open: &OpenCall| alone && silent_for(open) > silence;
        for open in self.session.overdue(is_silent) {
            let detail = if open.is_late(self.clock.now(), self.clock.elapsed()) {
                "nobody reported in time"
            } else if is_silent(&open) {
                "its filter is not heard of any longer"
            } else {
                "more calls were open than may be"
            };
            if let Err(error) = self.unknown(&open, detail).await {
                tracing::warn!(%error, "an open call could not be closed; it is tried again");
                break;
            }
        }
        for taken in self.flood.due(elapsed, leaving) {
            self.record_flood(taken).await;
        }
    }

    /// One record a reason. Whoever drops this on its way loses nothing: what may be on record is tried again under its id.
    async fn record_flood(&self, mut taken: Taken<'_>) {
        while let Some((subject, counts, reason, counted)) = taken.next() {
            if let Err(error) = self.append_flood(subject, counts, reason, counted).await {
                tracing::warn!(%error, "a flood could not be recorded; it is tried again");
                return;
            }
            taken.recorded(reason);
        }
    }

    async fn append_flood(&self, subject: &Subject, counts: &Counts, reason: &str, counted: &Reason) -> Result<(), Setback> {
        let (tenant, principal) = (subject.tenant.clone(), subject.principal.clone());
        let hidden = |error: KeyError| Setback::Journal(chain(&error));
        let scope = Scope::Calls { tenant, principal, handle: String::new() };
        let names = v1::FloodBody { tenant: subject.tenant.to_string(), principal: subject.principal.to_string() };
        let (from_us, to_us) = (counts.from.micros(), counts.to.micros());
        for _ in 0..ATTEMPTS_MAX {
            let turn = self.session.turn(subject).await.map_err(hidden)?;
            let (stream, epochs, since) = (turn.stream(), self.control.now().epochs, self.bodies.erasures());
            // Not before the epochs: a purge of this stream or this key is a later one.
            if !self.session.is_turn_of(&turn, subject).await.map_err(hidden)? {
                continue;
            }
            let seal = self.bodies.seal(&scope, self.session.moment()).await.map_err(hidden)?;
            let sealed = seal.seal(&names).map_err(Setback::Journal)?;
            let flood = v1::FloodRecord {
                reason: reason.into(),
                count: counted.count,
                from_us,
                to_us,
                body: Some(sealed.reference),
                asks: counted.asks.to_wire(),
            };
            let at = self.session.moment();
            let record =
                v1::Record { at_us: at.micros(), what: Some(v1::record::What::Flood(flood.clone())) }.encode_to_vec().into();
            let body = Some(sealed.stored);
            let draft = Draft { id: flood_id(stream, &flood), record, body, fence: Some(epochs), also: Vec::new() };
            let bytes = draft.bytes();
            match turn.append(draft).await {
                Ok(position) => {
                    self.quota.write_off(&subject.tenant, bytes, at);
                    self.session.flooded((position.sequence, at), &flood, &names, since);
                    return Ok(());
                }
                // Whoever wrote it was cut before it was told of.
                Err(Setback::Duplicate(sequence)) => {
                    return self.session.flooded_before(sequence).await.map_err(|error| Setback::Journal(chain(&error)));
                }
                Err(Setback::Moved) => {}
                Err(Setback::Fenced(now)) => {
                    self.control.caught_up(now.global).await.map_err(|error| Setback::Journal(chain(&error)))?;
                }
                Err(error @ (Setback::Journal(_) | Setback::Unknown(_))) => return Err(error),
            }
        }
        Err(Setback::Moved)
    }
}

fn flood_id(stream: Stream, flood: &v1::FloodRecord) -> Digest {
    let mut digester = Digester::new("agentgate/flood/1");
    digester.part(stream.0.as_bytes());
    digester.part(flood.reason.as_bytes());
    digester.part(&flood.from_us.to_be_bytes());
    digester.finish()
}
