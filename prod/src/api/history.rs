//! Which leases have changed of late, so that whoever watches can go on from where they stopped.

use std::collections::{BTreeSet, VecDeque};

use portcullis_core::lease::{Applied, Done, Entry, Key};
use serde::{Deserialize, Serialize};

/// Most changes that are remembered; who falls further behind must list anew. A little more than a
/// full expiry of seed 002's largest run, and some 10 MiB with names of usual length.
pub const CHANGES_MAX: usize = 65_536;

/// A place among all changes there ever were, the same on every controller: before the `nth` change
/// of log entry `index`, counted from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Mark {
    /// The log entry.
    pub index: u64,
    /// The change in it.
    #[serde(default)]
    pub nth: usize,
}

/// What [`History::since`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// These have changed; all before `next` has been looked at.
    Changed { keys: BTreeSet<Key>, next: Mark },
    /// What came after the mark is forgotten, up to `next`.
    Forgotten { next: Mark },
}

/// The latest changes, oldest first.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Whatever changed from here on is remembered; nothing before the first entry.
    first: Option<Mark>,
    changes: VecDeque<(Mark, Key)>,
    /// Where the next entry begins.
    next: Mark,
}

impl Mark {
    /// Before whatever comes after the log entry.
    pub fn after(index: u64) -> Mark {
        Mark { index: index + 1, nth: 0 }
    }
}

impl History {
    /// Remembers what the entry at `index` changed.
    pub fn applied(&mut self, index: u64, entry: &Entry, applied: &Applied) {
        self.first.get_or_insert(Mark { index, nth: 0 });
        let done = entry.commands.iter().zip(&applied.outcomes);
        let changed = done.filter_map(|(command, outcome)| match outcome {
            Ok(Done::Granted { .. }) => Some(command.operation.key()),
            // What is revoked is among the released; a pin changes no lease.
            Ok(Done::Revoked | Done::Pinned | Done::Unpinned) | Err(_) => None,
        });
        for (nth, key) in applied.released.iter().chain(changed).enumerate() {
            self.changes.push_back((Mark { index, nth }, key.clone()));
        }
        while self.changes.len() > CHANGES_MAX {
            if let Some((gone, _)) = self.changes.pop_front() {
                self.first = Some(Mark { nth: gone.nth + 1, ..gone });
            }
        }
        self.next = Mark::after(index);
    }

    /// Forgets everything: the table was replaced by that of the entry at `index`.
    pub fn restored(&mut self, index: u64) {
        self.changes.clear();
        self.next = Mark::after(index);
        self.first = Some(self.next);
    }

    /// What has changed from the mark on, of what is `wanted`: at most `most` leases.
    pub fn since(&self, from: Mark, wanted: impl Fn(&Key) -> bool, most: usize) -> Found {
        match self.first {
            Some(first) if from < first => return Found::Forgotten { next: self.next },
            Some(_) | None => {}
        }
        let mut keys = BTreeSet::new();
        let start = self.changes.partition_point(|(mark, _)| *mark < from);
        for (mark, key) in self.changes.range(start..) {
            if keys.len() >= most && !keys.contains(key) {
                return Found::Changed { keys, next: *mark };
            }
            if wanted(key) {
                keys.insert(key.clone());
            }
        }
        Found::Changed { keys, next: self.next.max(from) }
    }
}

#[cfg(test)]
mod tests {
    use portcullis_core::GlobalTime;
    use portcullis_core::lease::{Command, Operation};

    use super::*;

    fn key(number: usize) -> Key {
        Key::new("", "", &format!("{number:06}"))
    }

    fn claimed(history: &mut History, index: u64, numbers: std::ops::Range<usize>) {
        let granted = Done::Granted { fence: 1, expiry: GlobalTime(1) };
        let command = |number| Command {
            operation: Operation::Revoke { key: key(number), holder: "".into() },
            void_after: GlobalTime(1),
        };
        let outcomes = numbers.clone().map(|_| Ok(granted.clone())).collect();
        let entry = Entry { now: GlobalTime(1), commands: numbers.map(command).collect() };
        history.applied(index, &entry, &Applied { outcomes, released: Vec::new() });
    }

    fn changed(found: Found) -> (Vec<Key>, Mark) {
        match found {
            Found::Changed { keys, next } => (keys.into_iter().collect(), next),
            Found::Forgotten { next } => panic!("forgotten up to {next:?}"),
        }
    }

    #[test]
    fn a_large_entry_is_told_in_parts() {
        let mut history = History::default();
        claimed(&mut history, 7, 0..5);
        let (keys, next) = changed(history.since(Mark::after(6), |_| true, 3));
        assert_eq!((keys, next), ((0..3).map(key).collect(), Mark { index: 7, nth: 3 }));
        let (keys, next) = changed(history.since(next, |_| true, 3));
        assert_eq!((keys, next), ((3..5).map(key).collect(), Mark::after(7)));
        let (keys, next) = changed(history.since(next, |_| true, 3));
        assert_eq!((keys, next), (vec![], Mark::after(7)));
        let ahead = Mark::after(9);
        assert_eq!(changed(history.since(ahead, |_| true, 3)), (vec![], ahead));
    }

    #[test]
    fn what_is_forgotten_is_said_to_be() {
        let mut history = History::default();
        claimed(&mut history, 7, 0..2);
        let forgotten = Found::Forgotten { next: Mark::after(7) };
        assert_eq!(history.since(Mark::after(5), |_| true, 3), forgotten);
        claimed(&mut history, 8, 0..CHANGES_MAX);
        assert_eq!(changed(history.since(Mark::after(7), |_| true, 1)).0, [key(0)]);
        let forgotten = Found::Forgotten { next: Mark::after(8) };
        assert_eq!(history.since(Mark::after(6), |_| true, 3), forgotten);
        history.restored(20);
        let forgotten = Found::Forgotten { next: Mark::after(20) };
        assert_eq!(history.since(Mark::after(8), |_| true, 3), forgotten);
        assert_eq!(changed(history.since(Mark::after(20), |_| true, 3)).0, []);
    }
}
