//! An ordered map in pages, so that what it is at one moment can be kept without copying it.
//!
//! A snapshot of a table of a million leases takes a second to write down, and nothing can be applied
//! to what is being read. A clone of this shares every page; whoever changes a page that is shared
//! copies that page alone.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Bound;

use serde::ser::{Serialize, SerializeSeq, Serializer};

use super::Key;

/// Most entries of one page: copying so many takes some ten microseconds, and a table of
/// [`LEASES_MAX`](super::LEASES_MAX) has no more than 8,000 pages to share.
const PAGE_MAX: usize = 256;

type Page<V> = Vec<(Key, V)>;

/// See the module. Serialized as the sequence of its entries.
pub(super) struct Pages<V> {
    /// Each page by a key that is not above its own, and above all those of the pages before it.
    pages: BTreeMap<Key, Arc<Page<V>>>,
    len: usize,
}

impl<V: Clone> Pages<V> {
    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The value of a key.
    pub(super) fn get(&self, key: &Key) -> Option<&V> {
        let (_, page) = self.page(key)?;
        let at = place(page, key).ok()?;
        Some(&page[at].1)
    }

    /// Whether the key has a value.
    pub(super) fn contains_key(&self, key: &Key) -> bool {
        self.get(key).is_some()
    }

    /// The value of a key, to be changed.
    pub(super) fn get_mut(&mut self, key: &Key) -> Option<&mut V> {
        let (name, page) = self.page(key)?;
        let at = place(page, key).ok()?;
        let name = name.clone();
        let page = Arc::make_mut(self.pages.get_mut(&name)?);
        Some(&mut page[at].1)
    }

    /// Gives a key this value.
    pub(super) fn insert(&mut self, key: Key, value: V) {
        let Some(mut name) = self.page(&key).map(|(name, _)| name.clone()) else {
            self.pages.insert(key.clone(), Arc::new(Vec::from([(key, value)])));
            self.len = 1;
            return;
        };
        if key < name {
            // It comes before all others, and is what the first page is called by from here on.
            let first = self.pages.remove(&name).expect("the page is there");
            self.pages.insert(key.clone(), first);
            name = key.clone();
        }
        // It was found a moment ago.
        let page = Arc::make_mut(self.pages.get_mut(&name).expect("the page is there"));
        match place(page, &key) {
            Ok(at) => page[at].1 = value,
            Err(at) => {
                page.insert(at, (key, value));
                self.len += 1;
            }
        }
        if page.len() > PAGE_MAX {
            let half = page.split_off(PAGE_MAX / 2);
            self.pages.insert(half[0].0.clone(), Arc::new(half));
        }
    }

    /// Takes a key out. A page goes with its last entry.
    pub(super) fn remove(&mut self, key: &Key) {
        let Some((name, page)) = self.page(key) else { return };
        let Ok(at) = place(page, key) else { return };
        let name = name.clone();
        // It was found a moment ago.
        let page = Arc::make_mut(self.pages.get_mut(&name).expect("the page is there"));
        page.remove(at);
        self.len -= 1;
        if page.is_empty() {
            self.pages.remove(&name);
        }
    }

    /// Every entry, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Key, &V)> {
        self.pages.values().flat_map(|page| page.iter()).map(|(key, value)| (key, value))
    }

    /// The entries after this key, or all of them, in order.
    pub(super) fn after(&self, key: Option<&Key>) -> impl Iterator<Item = (&Key, &V)> {
        let found = key.and_then(|key| Some((key, self.page(key)?)));
        let (here, from) = match found {
            Some((key, (name, page))) => {
                let at = place(page, key).map_or_else(|at| at, |at| at + 1);
                (&page[at..], Bound::Excluded(name))
            }
            None => (&[][..], Bound::Unbounded),
        };
        let others = self.pages.range((from, Bound::Unbounded)).flat_map(|(_, page)| page.iter());
        here.iter().chain(others).map(|(key, value)| (key, value))
    }

    /// The page on which a key is or would be; none if there are no pages.
    fn page(&self, key: &Key) -> Option<(&Key, &Arc<Page<V>>)> {
        self.pages.range(..=key).next_back().or_else(|| self.pages.first_key_value())
    }
}

fn place<V>(page: &Page<V>, key: &Key) -> Result<usize, usize> {
    page.binary_search_by(|(found, _)| found.cmp(key))
}

impl<V: Clone> FromIterator<(Key, V)> for Pages<V> {
    fn from_iter<I: IntoIterator<Item = (Key, V)>>(entries: I) -> Pages<V> {
        let mut pages = Pages::default();
        for (key, value) in entries {
            pages.insert(key, value);
        }
        pages
    }
}

// By hand, because deriving would ask the same of the values.
impl<V> Default for Pages<V> {
    fn default() -> Pages<V> {
        Pages { pages: BTreeMap::new(), len: 0 }
    }
}

impl<V> Clone for Pages<V> {
    fn clone(&self) -> Pages<V> {
        Pages { pages: self.pages.clone(), len: self.len }
    }
}

/// Equal if the entries are, wherever the pages end.
impl<V: Clone + PartialEq> PartialEq for Pages<V> {
    fn eq(&self, other: &Pages<V>) -> bool {
        self.len == other.len && self.iter().eq(other.iter())
    }
}

impl<V: Clone + Eq> Eq for Pages<V> {}

impl<V: Clone + fmt::Debug> fmt::Debug for Pages<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<V: Clone + Serialize> Serialize for Pages<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut sequence = serializer.serialize_seq(Some(self.len))?;
        for entry in self.iter() {
            sequence.serialize_element(&entry)?;
        }
        sequence.end()
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;
    use crate::Seed;

    fn key(number: u64) -> Key {
        Key { lease: format!("{number:05}").into(), ..Key::default() }
    }

    #[test]
    fn pages_are_a_map_whatever_is_done_to_them() {
        let mut rng = Seed(7).child("pages", 0).rng();
        let (mut pages, mut map) = (Pages::default(), BTreeMap::new());
        let mut kept = Vec::new();
        for step in 0..40_000_u64 {
            let key = key(rng.below(3_000));
            // It grows, and then it shrinks to nothing.
            if rng.below(40_000) > step {
                pages.insert(key.clone(), step);
                map.insert(key.clone(), step);
            } else {
                pages.remove(&key);
                map.remove(&key);
            }
            if let Some(value) = pages.get_mut(&key) {
                *value += 1;
                *map.get_mut(&key).expect("both have it") += 1;
            }
            assert_eq!((pages.len(), pages.get(&key)), (map.len(), map.get(&key)));
            if step % 1_000 == 0 {
                assert!(pages.iter().eq(map.iter()));
                let after = map.range((Bound::Excluded(&key), Bound::Unbounded));
                assert!(pages.after(Some(&key)).eq(after));
                assert!(pages.after(None).eq(map.iter()));
                assert!(pages.pages.values().all(|page| (1..=PAGE_MAX).contains(&page.len())));
                kept.push((pages.clone(), map.clone()));
            }
        }
        for (pages, map) in kept {
            assert!(pages.iter().eq(map.iter()), "what was kept has not changed");
        }
    }

    #[test]
    fn a_change_copies_one_page_of_what_is_shared() {
        let mut pages: Pages<u64> = (0..10_000).map(|number| (key(number), number)).collect();
        let kept = pages.clone();
        *pages.get_mut(&key(5_000)).expect("it is there") = 0;
        pages.remove(&key(5_001));
        let shared = |(one, other): (&Arc<Page<u64>>, &Arc<Page<u64>>)| Arc::ptr_eq(one, other);
        let both = pages.pages.values().zip(kept.pages.values());
        assert_eq!(both.filter(|both| !shared(*both)).count(), 1);
        assert_eq!(kept.get(&key(5_000)), Some(&5_000));
    }
}
