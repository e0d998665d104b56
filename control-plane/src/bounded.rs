//! A map that forgets its oldest entries instead of growing.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// At most `max` entries; the one that was put in first leaves first. Not an LRU: looking never changes it.
#[derive(Debug)]
pub struct Bounded<K, V> {
    max: usize,
    entries: HashMap<K, V>,
    order: VecDeque<K>,
}

// === impl Bounded ===

impl<K: Hash + Eq + Clone, V> Bounded<K, V> {
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { max, entries: HashMap::new(), order: VecDeque::new() }
    }

    #[must_use]
    pub fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key)
    }

    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.entries.get_mut(key)
    }

    /// The value of `key`, made when there is none; then the oldest may have to leave.
    pub fn get_or_put(&mut self, key: K, make: impl Fn() -> V) -> &mut V {
        if !self.entries.contains_key(&key) {
            self.put(key.clone(), make());
        }
        self.entries.entry(key).or_insert_with(make)
    }

    /// Puts `value` in, and returns what had to leave for it.
    pub fn put(&mut self, key: K, value: V) -> Option<(K, V)> {
        if self.entries.insert(key.clone(), value).is_some() {
            return None;
        }
        self.order.push_back(key);
        if self.entries.len() <= self.max {
            return None;
        }
        self.order.pop_front().and_then(|oldest| self.entries.remove_entry(&oldest))
    }

    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.order.iter().filter_map(|key| self.entries.get(key))
    }

    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.iter()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.entries.iter_mut()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Keeps only what `keep` says.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &V) -> bool) {
        self.entries.retain(|key, value| keep(key, value));
        self.order.retain(|key| self.entries.contains_key(key));
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::Bounded;

    #[test]
    fn the_oldest_leaves_when_one_too_many_comes() {
        let mut map = Bounded::new(2);
        assert_eq!(map.put("a", 1), None);
        assert_eq!(map.put("b", 2), None);
        assert_eq!(map.put("a", 3), None, "a known key takes no new place");
        assert_eq!(map.put("c", 4), Some(("a", 3)));
        assert_eq!((map.get(&"a"), map.get(&"b"), map.get(&"c")), (None, Some(&2), Some(&4)));
        assert_eq!((map.len(), *map.get_or_put("b", || 9)), (2, 2));
        assert_eq!((*map.get_or_put("d", || 4), map.get(&"b"), map.len()), (4, None, 2));
    }
}
