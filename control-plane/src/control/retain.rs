//! Holds and purges as orders: under one epoch with everything else, so that of a hold and a purge at once one is first, on
//! however many replicas, and the other one is folded again on it.

use super::order::{Ack, OrderError, check_reason};
use super::view::Event;
use super::{Control, Now};
use crate::body::Seal;
use crate::journal::Sequence;
use agentgate_proto::v1;

/// What is ordered of what is kept.
#[derive(Clone, Debug)]
pub enum Retaining {
    Place(v1::HoldBody),
    Lift {
        hold: Sequence,
        body: v1::HoldBody,
    },
    Purge {
        purge: v1::PurgeRecord,
        /// None: nobody ordered it.
        body: Option<v1::PurgeBody>,
    },
}

// === impl Control ===

impl Control {
    /// Writes what `draft` makes of what is in force, until nobody else was first. Its words are sealed under `key`; none: under
    /// that of orders, which is never erased.
    ///
    /// # Errors
    /// Those of `draft`, and when it cannot be recorded.
    pub async fn retain<E: From<OrderError>>(
        &self,
        key: Option<&Seal>,
        draft: impl Fn(&Now) -> Result<Option<Retaining>, E>,
    ) -> Result<Ack, E> {
        let max = self.limits.holds_max;
        self.order_under(key, |now| {
            let Some(retaining) = draft(now)? else { return Ok(None) };
            Ok(Some(match retaining {
                Retaining::Place(body) => {
                    check_reason(&body.reason)?;
                    if now.holds.len() >= max as usize {
                        return Err(OrderError::Crowded { what: "holds", max, limit: "holds_max" }.into());
                    }
                    Event::Hold { lifts: 0, body: Some(body), key: key.map(Seal::session) }
                }
                Retaining::Lift { hold, body } => {
                    check_reason(&body.reason)?;
                    Event::Hold { lifts: hold, body: Some(body), key: None }
                }
                Retaining::Purge { purge, body } => {
                    check_reason(body.as_ref().map_or("", |body| &body.reason))?;
                    Event::Purge { purge, body }
                }
            }))
        })
        .await
    }
}
