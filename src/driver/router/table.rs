//! The router's one kind of table, sorted. Its keys are numbers that nearly always ascend, and end in about the order in
//! which they began, so both ends are where things happen; or units' names, of which there are few, but for a watch
//! on a busy host: a new name among 10,000 takes about 40 µs to put in. To find one is a binary search.

use std::borrow::Borrow;
use std::collections::VecDeque;

#[derive(Debug)]
pub(super) struct Table<K, V>(VecDeque<(K, V)>);

impl<K, V> Default for Table<K, V> {
    fn default() -> Table<K, V> {
        Table(VecDeque::new())
    }
}

impl<K: Ord, V> Table<K, V> {
    fn find<Q: Ord + ?Sized>(&self, key: &Q) -> Result<usize, usize>
    where
        K: Borrow<Q>,
    {
        self.0.binary_search_by(|(known, _)| known.borrow().cmp(key))
    }

    pub(super) fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.find(key).ok().map(|at| &self.0[at].1)
    }

    pub(super) fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.find(key).ok().map(|at| &mut self.0[at].1)
    }

    pub(super) fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.find(key).is_ok()
    }

    /// Sets what a key stands for, and gives what it stood for before.
    pub(super) fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.find(&key) {
            Ok(at) => Some(std::mem::replace(&mut self.0[at].1, value)),
            Err(at) => {
                self.put(at, (key, value));
                None
            }
        }
    }

    /// What a key stands for; what it is to stand for where it is new.
    pub(super) fn get_or_insert(&mut self, key: K, new: impl FnOnce() -> V) -> &mut V {
        let at = self.find(&key).unwrap_or_else(|at| {
            self.put(at, (key, new()));
            at
        });
        &mut self.0[at].1
    }

    pub(super) fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let at = self.find(key).ok()?;
        self.cut(at).map(|(_, value)| value)
    }

    /// By steps from the nearer end, where it nearly always is already. What the deque itself does moves all between
    /// at once, and weighs half a kilobyte for each kind of entry.
    fn put(&mut self, at: usize, entry: (K, V)) {
        if at < self.0.len() / 2 {
            self.0.push_front(entry);
            (0..at).for_each(|step| self.0.swap(step, step + 1));
        } else {
            self.0.push_back(entry);
            (at + 1..self.0.len()).rev().for_each(|step| self.0.swap(step, step - 1));
        }
    }

    fn cut(&mut self, at: usize) -> Option<(K, V)> {
        if at < self.0.len() / 2 {
            (0..at).rev().for_each(|step| self.0.swap(step, step + 1));
            self.0.pop_front()
        } else {
            (at + 1..self.0.len()).for_each(|step| self.0.swap(step, step - 1));
            self.0.pop_back()
        }
    }

    pub(super) fn first(&self) -> Option<&K> {
        self.0.front().map(|(key, _)| key)
    }

    pub(super) fn pop_first(&mut self) -> Option<V> {
        self.0.pop_front().map(|(_, value)| value)
    }

    /// Takes all, in order.
    pub(super) fn take(&mut self) -> impl Iterator<Item = (K, V)> + use<K, V> {
        std::mem::take(&mut self.0).into_iter()
    }

    pub(super) fn retain(&mut self, stays: impl FnMut(&(K, V)) -> bool) {
        self.0.retain(stays);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.0.iter().map(|(key, value)| (key, value))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.0.iter_mut().map(|(key, value)| (&*key, value))
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &K> {
        self.0.iter().map(|(key, _)| key)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.0.iter().map(|(_, value)| value)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_as_any_ordered_map_in_whatever_order_keys_come_and_go(
            steps in prop::collection::vec((0..16u8, prop::option::of(0..100u8)), 0..200),
        ) {
            let (mut table, mut map) = (Table::default(), BTreeMap::new());
            for (key, value) in steps {
                match value {
                    Some(value) => prop_assert_eq!(table.insert(key, value), map.insert(key, value)),
                    None => prop_assert_eq!(table.remove(&key), map.remove(&key)),
                }
                prop_assert_eq!(table.get(&key), map.get(&key));
                prop_assert_eq!(table.first(), map.first_key_value().map(|(key, _)| key));
            }
            prop_assert!(table.keys().eq(map.keys()) && table.values().eq(map.values()));
            prop_assert!(table.take().eq(map));
        }
    }
}
