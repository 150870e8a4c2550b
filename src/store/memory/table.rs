//! An ordered map that can take back what was done to it since it was last settled.

use std::collections::{BTreeMap, btree_map};
use std::ops::RangeBounds;

/// Rows by key, with the old values of whatever the current act has changed.
#[derive(Debug)]
pub(super) struct Table<K, V> {
    rows: BTreeMap<K, V>,
    undo: Vec<(K, Option<V>)>,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self {
            rows: BTreeMap::new(),
            undo: Vec::new(),
        }
    }
}

impl<K: Ord + Clone, V> Table<K, V> {
    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.rows.get(key)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(super) fn values(&self) -> btree_map::Values<'_, K, V> {
        self.rows.values()
    }

    pub(super) fn iter(&self) -> btree_map::Iter<'_, K, V> {
        self.rows.iter()
    }

    pub(super) fn range(&self, range: impl RangeBounds<K>) -> btree_map::Range<'_, K, V> {
        self.rows.range(range)
    }

    pub(super) fn insert(&mut self, key: K, value: V) {
        let old = self.rows.insert(key.clone(), value);
        self.undo.push((key, old));
    }

    pub(super) fn remove(&mut self, key: &K) {
        if let Some(old) = self.rows.remove(key) {
            self.undo.push((key.clone(), Some(old)));
        }
    }

    /// Removes every row that `is_gone` names.
    pub(super) fn remove_where(&mut self, is_gone: impl Fn(&K, &V) -> bool) {
        let gone: Vec<K> = self
            .rows
            .iter()
            .filter(|(key, row)| is_gone(key, row))
            .map(|(key, _)| key.clone())
            .collect();
        for key in &gone {
            self.remove(key);
        }
    }

    /// Keeps what was done since the last time, or takes it back, the newest first.
    pub(super) fn settle(&mut self, keep: bool) {
        let undo = std::mem::take(&mut self.undo);
        if keep {
            return;
        }
        for (key, old) in undo.into_iter().rev() {
            match old {
                Some(old) => self.rows.insert(key, old),
                None => self.rows.remove(&key),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Table;

    #[test]
    fn what_is_not_kept_never_happened() {
        let mut table = Table::default();
        table.insert(1, "a");
        table.insert(2, "b");
        table.settle(true);
        table.insert(1, "c");
        table.insert(1, "d");
        table.remove(&2);
        table.insert(3, "e");
        table.remove(&3);
        table.settle(false);
        assert_eq!(table.iter().collect::<Vec<_>>(), [(&1, &"a"), (&2, &"b")]);
    }
}
