//! An ordered map in pages, so that what it is at one moment can be kept without copying it.
//!
//! A snapshot of a table of a million leases takes a second to write down, and nothing can be applied
//! to what is being read. A clone of this shares every page; whoever changes a page that is shared
//! copies that page alone.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use serde::ser::{Serialize, SerializeSeq, Serializer};

use super::Key;
use super::key::Head;

/// Most entries of one page: copying so many takes some ten microseconds, and a table of
/// [`LEASES_MAX`](super::LEASES_MAX) has no more than 8,000 pages to share.
const PAGE_MAX: usize = 256;

/// Some entries in order.
#[derive(Clone)]
struct Page<V> {
    /// The [`Head`] of each key: with 60,000 leases, and the keys' own bytes all over memory, a
    /// sixth of a simulation was spent on finding keys.
    heads: Vec<Head>,
    entries: Vec<(Key, V)>,
}

impl<V> Page<V> {
    /// Where the key is, or would be; `head` is its own.
    fn place(&self, head: Head, key: &Key) -> Result<usize, usize> {
        let first = self.heads.partition_point(|other| *other < head);
        // Where there is one of this head at most, which is nearly always, that is soon found out.
        let same = match self.heads.get(first + 1) {
            Some(next) if *next == head => {
                self.heads[first..].partition_point(|other| *other == head)
            }
            Some(_) | None => usize::from(self.heads.get(first) == Some(&head)),
        };
        let same = &self.entries[first..first + same];
        let place = same.binary_search_by(|(other, _)| other.cmp(key));
        place.map(|at| first + at).map_err(|at| first + at)
    }

    fn insert(&mut self, at: usize, head: Head, key: Key, value: V) {
        self.heads.insert(at, head);
        self.entries.insert(at, (key, value));
    }

    fn remove(&mut self, at: usize) {
        self.heads.remove(at);
        self.entries.remove(at);
    }

    fn split_off(&mut self, at: usize) -> Page<V> {
        Page { heads: self.heads.split_off(at), entries: self.entries.split_off(at) }
    }

    /// What the first entry makes of it.
    fn name(&self) -> (Head, Key) {
        (self.heads[0], self.entries[0].0.clone())
    }
}

/// A page, and what it is called by.
type Named<V> = ((Head, Key), Arc<Page<V>>);

/// See the module. Serialized as the sequence of its entries.
pub(super) struct Pages<V> {
    /// Each page by a key that is not above its own, and above all those of the pages before it,
    /// and by the head of that.
    pages: Vec<Named<V>>,
    len: usize,
}

/// Where a key is, or would be: which page, and where on it.
struct Place {
    page: usize,
    on_it: Result<usize, usize>,
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
        let place = self.place(key)?;
        Some(&self.pages[place.page].1.entries[place.on_it.ok()?].1)
    }

    /// Whether the key has a value.
    pub(super) fn contains_key(&self, key: &Key) -> bool {
        self.get(key).is_some()
    }

    /// The value of a key, to be changed.
    pub(super) fn get_mut(&mut self, key: &Key) -> Option<&mut V> {
        let place = self.place(key)?;
        let at = place.on_it.ok()?;
        Some(&mut Arc::make_mut(&mut self.pages[place.page].1).entries[at].1)
    }

    /// Gives a key this value.
    pub(super) fn insert(&mut self, key: Key, value: V) {
        let head = key.head();
        let Some(place) = self.place(&key) else {
            let page = Page { heads: Vec::from([head]), entries: Vec::from([(key, value)]) };
            self.pages.push((page.name(), Arc::new(page)));
            self.len = 1;
            return;
        };
        let (name, page) = &mut self.pages[place.page];
        let page = Arc::make_mut(page);
        match place.on_it {
            Ok(at) => page.entries[at].1 = value,
            Err(at) => {
                page.insert(at, head, key, value);
                self.len += 1;
                // It may come before all others, and is what the first page is called by then.
                if page.entries[0].0 < name.1 {
                    *name = page.name();
                }
            }
        }
        if page.entries.len() > PAGE_MAX {
            let half = page.split_off(PAGE_MAX / 2);
            self.pages.insert(place.page + 1, (half.name(), Arc::new(half)));
        }
    }

    /// Takes a key out. A page goes with its last entry.
    pub(super) fn remove(&mut self, key: &Key) {
        let Some(Place { page: number, on_it: Ok(at) }) = self.place(key) else { return };
        let page = Arc::make_mut(&mut self.pages[number].1);
        page.remove(at);
        self.len -= 1;
        if page.entries.is_empty() {
            self.pages.remove(number);
        }
    }

    /// Every entry, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Key, &V)> {
        entries(&self.pages)
    }

    /// The entries after this key, or all of them, in order.
    pub(super) fn after(&self, key: Option<&Key>) -> impl Iterator<Item = (&Key, &V)> {
        let (here, others) = match key.and_then(|key| self.place(key)) {
            Some(Place { page, on_it }) => {
                let at = on_it.map_or_else(|at| at, |at| at + 1);
                (&self.pages[page].1.entries[at..], &self.pages[page + 1..])
            }
            None => (&[][..], &self.pages[..]),
        };
        here.iter().map(|(key, value)| (key, value)).chain(entries(others))
    }

    /// Where a key is or would be; none if there are no pages.
    fn place(&self, key: &Key) -> Option<Place> {
        let head = key.head();
        let not_above = |((name_head, name), _): &Named<V>| {
            name_head.cmp(&head).then_with(|| name.cmp(key)).is_le()
        };
        let page = self.pages.partition_point(not_above).saturating_sub(1);
        let on_it = self.pages.get(page)?.1.place(head, key);
        Some(Place { page, on_it })
    }
}

/// Every entry of some pages, in order.
fn entries<V>(pages: &[Named<V>]) -> impl Iterator<Item = (&Key, &V)> {
    pages.iter().flat_map(|(_, page)| page.entries.iter()).map(|(key, value)| (key, value))
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
        Pages { pages: Vec::new(), len: 0 }
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
    use alloc::collections::BTreeMap;
    use alloc::format;
    use core::ops::Bound;

    use super::*;
    use crate::Seed;

    fn key(number: u64) -> Key {
        Key::new("", "", &format!("{number:05}"))
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
                assert!(
                    pages
                        .pages
                        .iter()
                        .all(|(_, page)| (1..=PAGE_MAX).contains(&page.entries.len()))
                );
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
        let both = pages.pages.iter().zip(&kept.pages);
        assert_eq!(both.filter(|((_, one), (_, other))| !Arc::ptr_eq(one, other)).count(), 1);
        assert_eq!(kept.get(&key(5_000)), Some(&5_000));
    }

    #[test]
    fn heads_are_in_the_order_of_their_keys() {
        let long = "abcdefghijklmnop";
        let longer = [format!("{long}a"), format!("{long}b")];
        let names = ["", "\0", "a", "a\0", "ab", long, &longer[0], &longer[1], &long[1..], "é"];
        let keys = names.map(|name| Key::new("", "", name));
        for one in &keys {
            for other in &keys {
                let (heads, order) = (one.head().cmp(&other.head()), one.cmp(other));
                assert!(heads.is_eq() || heads == order, "{one} and {other}");
            }
        }
        // Most of these have the same head, and are found all the same.
        let pages: Pages<usize> = keys.iter().cloned().zip(0..).collect();
        let found = keys.iter().map(|key| pages.get(key).copied());
        assert!(found.eq((0..keys.len()).map(Some)));
        assert!(pages.iter().map(|(key, _)| key).eq(&keys), "they are written down in order");
    }
}
