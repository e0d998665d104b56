//! Opens what records refer to: each body by its session's key, held against what its record committed to, or gone as a purge has it.
//! It refuses to excuse what no purge names.

use super::keys::{Keys, Sessions};
use super::purges::{Purges, key_slot};
use super::segments::{Read, Record};
use super::slots::Slots;
use agentgate_core::digest::Digest;
use agentgate_proto::v1;
use agentgate_proto::v1::record::What as Recorded;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::collections::HashMap;

/// The salt that a body begins with once it is opened.
const SALT_BYTES: usize = 32;

/// Where a record's body is looked for.
pub(crate) struct Opening<'a> {
    pub(crate) stored: HashMap<Digest, &'a [u8]>,
    pub(crate) bodies: &'a Read,
    pub(crate) keys: &'a Keys,
    pub(crate) slots: &'a Slots,
    pub(crate) sessions: Sessions,
    pub(crate) purges: &'a Purges,
}

pub(crate) enum Found {
    Plain(Vec<u8>),
    /// By the purge of this sequence.
    Purged(u64),
    /// It has none, or one with a fault that was named.
    Nothing,
}

// === impl Opening ===

impl Opening<'_> {
    /// The plaintext of the body that a record refers to, held against its commitment; or that it was purged, as it must be.
    pub(crate) fn body(&mut self, record: &Record, what: &Recorded, reference: &v1::BodyRef) -> Result<Found, &'static str> {
        let address = Digest::try_from(reference.address.as_ref()).map_err(|_| "its body's address is none")?;
        let (stored, purge) = (self.stored.get(&address).copied(), self.purges.that_names(&reference.session));
        // What lived when its segment was given back lies elsewhere.
        let is_given_back = self.bodies.is_gone(record.group) || self.bodies.discarded.contains(&address);
        let is_decided = matches!(what, Recorded::Decision(_) | Recorded::Flood(_));
        let has_key = self.slots.value(&key_slot(&reference.session)).is_some();
        let stored = match (stored, purge) {
            (None, _) if !is_given_back => return Err("its body is missing"),
            (None, None) => return Err("its body was given back, and no purge names its session"),
            (_, Some(purge)) if purge < record.sequence && is_decided => {
                return Err("its words were sealed under a key that a purge before it took");
            }
            (None, Some(_)) if has_key => return Err("its body was given back before its key was erased"),
            (Some(_), Some(purge)) if purge <= self.purges.done => {
                return Err("its session was purged, and its body is in the segments");
            }
            (None, Some(purge)) => return Ok(Found::Purged(purge)),
            // It is under way: its key may be gone, and its body not yet.
            (Some(_), Some(purge)) if !has_key => return Ok(Found::Purged(purge)),
            (Some(stored), Some(_) | None) => stored,
        };
        let mut plain = self.sessions.open(self.keys, self.slots, &reference.session, stored)?;
        if plain.len() < SALT_BYTES {
            return Err("its body is shorter than its salt");
        }
        let body = plain.split_off(SALT_BYTES);
        let mac = <Hmac<Sha256> as Mac>::new_from_slice(&plain).map(|mac| mac.chain_update(&body));
        let is_committed = mac.is_ok_and(|mac| mac.verify_slice(&reference.commitment).is_ok());
        if is_committed { Ok(Found::Plain(body)) } else { Err("its body is not what it committed to") }
    }
}
