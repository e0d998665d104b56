//! What the writer knows of the durable journal by heart, so that it rarely asks the index: sled lets nobody read while it
//! takes a batch. It refuses to guess: what it does not know for certain is looked up.
//!
//! **Versions** of streams, as they were last written. **Ids**: who mints them counts them up, so those that share their
//! first bytes form a family, and an id that is newer than all that the family had is new. Calls that run side by side
//! arrive out of order: so each family has a floor, and every id that it has above the floor is known.

use super::Version;
use super::durable::Durable;
use super::record::Stream;
use super::{Position, ReadError};
use agentgate_core::digest::Digest;
use std::collections::{BTreeSet, HashMap};

/// Streams whose version is known: some 4 MB.
const STREAMS_MAX: usize = 32_768;

/// Ids of one family that are known, more than one filter VM has in flight.
const FAMILY_IDS_MAX: usize = 512;

/// Ids of all families, and the families themselves: some 4 MB.
const IDS_MAX: usize = 65_536;

/// An id's first bytes are its family: all but what is counted (`CallId::digest`).
pub(super) const FAMILY_BYTES: usize = 20;

#[derive(Debug, Default)]
pub(super) struct Known {
    versions: HashMap<Stream, Version>,
    families: HashMap<[u8; FAMILY_BYTES], Family>,
    /// Of all families.
    ids: usize,
}

/// INVARIANT: every durable id of the family above `floor` is in `above`.
#[derive(Debug)]
struct Family {
    floor: Option<Digest>,
    above: BTreeSet<Digest>,
}

// === impl Known ===

impl Known {
    /// The newest version of a stream.
    pub(super) fn version(&mut self, stream: Stream, durable: &Durable) -> Result<Version, ReadError> {
        if let Some(version) = self.versions.get(&stream) {
            return Ok(*version);
        }
        let version = durable.version(stream)?;
        self.wrote([(stream, version)], []);
        Ok(version)
    }

    /// Where an id stands.
    pub(super) fn position(&mut self, id: &Digest, durable: &Durable) -> Result<Option<Position>, ReadError> {
        if self.family(id, || durable.last_id(&family_of(id)))?.is_new(id) { Ok(None) } else { durable.position(id) }
    }

    /// A group is durable: these are its streams' newest versions, and its ids.
    pub(super) fn wrote(&mut self, versions: impl IntoIterator<Item = (Stream, Version)>, ids: impl IntoIterator<Item = Digest>) {
        for (stream, version) in versions {
            if self.versions.len() >= STREAMS_MAX {
                self.versions.clear();
            }
            self.versions.insert(stream, version);
        }
        for id in ids {
            // Of a family that is not known, nothing is claimed.
            if let Some(family) = self.families.get_mut(&family_of(&id)) {
                let before = family.above.len();
                family.add(id);
                self.ids = self.ids.saturating_sub(before).saturating_add(family.above.len());
            }
        }
    }

    /// How many streams and ids are known.
    pub(super) fn len(&self) -> (usize, usize) {
        (self.versions.len(), self.ids.saturating_add(self.families.len()))
    }

    /// The journal was opened again.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    fn family<E>(&mut self, id: &Digest, last: impl FnOnce() -> Result<Option<Digest>, E>) -> Result<&Family, E> {
        if self.len().1 >= IDS_MAX {
            self.families.clear();
            self.ids = 0;
        }
        Ok(match self.families.entry(family_of(id)) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(unknown) => {
                unknown.insert(Family { floor: last()?, above: BTreeSet::new() })
            }
        })
    }
}

// === impl Family ===

impl Family {
    fn is_new(&self, id: &Digest) -> bool {
        self.floor.is_none_or(|floor| *id > floor) && !self.above.contains(id)
    }

    fn add(&mut self, id: Digest) {
        if self.floor.is_none_or(|floor| id > floor) {
            self.above.insert(id);
        }
        while self.above.len() > FAMILY_IDS_MAX {
            self.floor = self.above.pop_first();
        }
    }
}

fn family_of(id: &Digest) -> [u8; FAMILY_BYTES] {
    let mut family = [0; FAMILY_BYTES];
    family.iter_mut().zip(id.as_bytes()).for_each(|(byte, of_id)| *byte = *of_id);
    family
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::contract::counted;
    use proptest::prelude::*;
    use std::convert::Infallible;

    /// Ids become durable in the order of `counters`; the family is first met after `met` of them.
    fn check_never_denies_what_is_durable(counters: &[u64], met: usize) {
        let mut known = Known::default();
        let mut durable = BTreeSet::new();
        for (number, counter) in counters.iter().enumerate() {
            let id = counted(1, *counter);
            if number >= met {
                let last = || Ok::<_, Infallible>(durable.last().copied());
                let Ok(family) = known.family(&id, last);
                assert!(!(family.is_new(&id) && durable.contains(&id)), "{counter} is said to be new");
            }
            durable.insert(id);
            known.wrote([], [id]);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_durable_is_never_new(
            start in 0..3_u64, near in prop::collection::vec(0..1800_u64, 1..60), met in 0..40_usize
        ) {
            let far = (0..FAMILY_IDS_MAX as u64 * 2).map(|counter| counter * 3 + start);
            check_never_denies_what_is_durable(&near.iter().copied().chain(far).chain(near.iter().copied()).collect::<Vec<_>>(), met);
        }
    }

    #[test]
    fn ids_in_order_and_a_window_out_of_order_are_new_without_a_look() {
        let mut known = Known::default();
        let mut looks = 0;
        let mut is_new = |known: &mut Known, counter| {
            let last = || {
                looks += 1;
                Ok::<_, Infallible>(Some(counted(1, 100)))
            };
            let Ok(family) = known.family(&counted(1, counter), last);
            family.is_new(&counted(1, counter))
        };
        assert!(!is_new(&mut known, 100));
        let most = FAMILY_IDS_MAX as u64;
        for counter in (102..102 + most).rev() {
            assert!(is_new(&mut known, counter));
            known.wrote([], [counted(1, counter)]);
        }
        // One more than a family remembers: the floor rises to the lowest.
        assert!(is_new(&mut known, 101));
        known.wrote([], [counted(1, 102 + most)]);
        assert!(!is_new(&mut known, 101));
        assert!(is_new(&mut known, 103 + most));
        assert_eq!(looks, 1);
    }

    #[test]
    fn all_families_together_have_a_bound() {
        let mut known = Known::default();
        let mut looks = 0;
        for family in 0..IDS_MAX {
            let id = Digest::of("test/family", &family.to_be_bytes());
            let last = || {
                looks += 1;
                Ok::<_, Infallible>(None)
            };
            let Ok(_) = known.family(&id, last);
            known.wrote([], [id]);
            assert!(known.ids + known.families.len() <= IDS_MAX + 1);
        }
        assert_eq!(looks, IDS_MAX);
        assert!(known.families.len() < IDS_MAX);
    }
}
