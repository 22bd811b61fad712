//! A map to look things up in, and for nothing else: nobody can iterate it, so nothing comes to
//! depend on the order in which it keeps what it has.
//!
//! Decides nothing. The history of a large run asks for millions of leases and asks by name, each
//! of them once or twice; a map in order spends most of that time on comparing names.

#![expect(clippy::disallowed_types, reason = "nobody outside can see its order")]

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hash, Hasher};

/// See the module.
#[derive(Clone)]
pub struct Lookup<K, V>(HashMap<K, V, BuildHasherDefault<Quick>>);

impl<K, V> Default for Lookup<K, V> {
    fn default() -> Lookup<K, V> {
        Lookup(HashMap::default())
    }
}

/// How many there are, and no more: to show them all would be to iterate.
impl<K, V> fmt::Debug for Lookup<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lookup of {}", self.0.len())
    }
}

impl<K: Hash + Eq, V> Lookup<K, V> {
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn contains(&self, key: &K) -> bool {
        self.0.contains_key(key)
    }

    pub fn get(&self, key: &K) -> Option<&V> {
        self.0.get(key)
    }

    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.0.get_mut(key)
    }

    /// Says what it took the place of.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.0.insert(key, value)
    }

    /// Says what was there.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.0.remove(key)
    }

    /// What is kept by this key, made if there is nothing yet. Only then is the key cloned: a name
    /// that two threads share costs more to clone than to look up twice.
    pub fn at(&mut self, key: &K) -> &mut V
    where
        K: Clone,
        V: Default,
    {
        if !self.0.contains_key(key) {
            self.0.insert(key.clone(), V::default());
        }
        self.0.get_mut(key).expect("it is there by now")
    }
}

/// Quick, the same in every process, and no match for whoever wants two keys to collide: nobody does.
#[derive(Clone, Copy, Default)]
struct Quick(u64);

/// The golden ratio's digits: odd, and half of its bits are set.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

impl Hasher for Quick {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks();
        words.iter().for_each(|word| self.write_u64(u64::from_le_bytes(*word)));
        let last = rest.iter().fold(rest.len() as u64, |last, byte| last << 8 | u64::from(*byte));
        self.write_u64(last);
    }

    fn write_u8(&mut self, byte: u8) {
        self.write_u64(u64::from(byte));
    }

    fn write_u32(&mut self, word: u32) {
        self.write_u64(u64::from(word));
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }

    /// Multiplies and folds, so that all bits have a say in the low ones, which choose the place.
    fn write_u64(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word ^ SPREAD) * u128::from(SPREAD);
        self.0 = product as u64 ^ (product >> 64) as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The hash that [`Lookup`] goes by, for lists that are sorted by something short.
pub fn hash(key: &impl Hash) -> u64 {
    let mut hasher = Quick::default();
    key.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn what_was_put_in_is_found() {
        let mut lookup = Lookup::default();
        for number in 0..1_000_u64 {
            *lookup.at(&format!("app{number}")) += number;
        }
        assert_eq!(lookup.len(), 1_000);
        assert_eq!(lookup.get(&"app7".to_string()), Some(&7));
        *lookup.at(&"app7".to_string()) += 1;
        assert_eq!(lookup.insert("app7".into(), 1), Some(8));
        assert_eq!(lookup.remove(&"app7".to_string()), Some(1));
        assert!(!lookup.contains(&"app7".to_string()));
    }

    #[test]
    fn hashes_are_the_same_in_every_process_and_use_their_low_bits() {
        assert_eq!(hash(&7_u64), hash(&7_u64));
        let places = |of: &dyn Fn(u64) -> u64| {
            (0..1_024).map(of).map(|hash| hash % 1_024).collect::<BTreeSet<_>>().len()
        };
        // Of so many thrown at as many places blindly, two thirds are hit.
        assert!(places(&|number| hash(&number)) > 500);
        assert!(places(&|number| hash(&(number << 32))) > 500);
        assert!(places(&|number| hash(&format!("app{number}"))) > 500);
    }
}
