//! How much slower some things, such as disks, are than they should be, and how much of that is left
//! in what they are still busy with.

use std::collections::BTreeMap;
use std::time::Duration;

use portcullis_core::Time;

/// See the module.
pub struct Slower<K>(BTreeMap<K, (Duration, Before)>);

/// How much slower one was before, and until when it may be busy with what it was given by then.
type Before = Option<(Duration, Time)>;

// By hand, because deriving would ask the same of the keys.
impl<K> Default for Slower<K> {
    fn default() -> Slower<K> {
        Slower(BTreeMap::new())
    }
}

impl<K: Ord> Slower<K> {
    /// This one is slower by so much from here on. What it was given before takes `busy` of how
    /// much slower it was.
    pub fn turn(&mut self, at: Time, key: K, by: Duration, busy: impl Fn(Duration) -> Duration) {
        let was = self.by(at, &key);
        self.0.insert(key, (by, Some((was, at + busy(was)))));
    }

    /// By how much what it does at this time may be late.
    pub fn by(&self, at: Time, key: &K) -> Duration {
        let (by, before) = self.0.get(key).copied().unwrap_or_default();
        let before = before.filter(|(_, until)| at < *until);
        before.map_or(by, |(was, _)| was.max(by))
    }
}
