//! How much later than its asker counts a controller may propose what it was asked for.
//!
//! Two hosts' clocks cannot be compared, so a controller that is asked by another counts from when
//! it hears of it: the time that a message waits or is slow between controllers comes on top, and
//! the time for which who is asked is paused.

use std::collections::BTreeMap;
use std::time::Duration;

use portcullis_core::{NodeId, Time};

use crate::stage::{Deed, Place, Wrong};

/// See the module.
#[derive(Debug, Default)]
pub struct Late {
    /// Links between controllers on which messages wait, and since when.
    held: BTreeMap<(NodeId, NodeId), Time>,
    /// Those that are slower than the network, and by how much.
    slow: BTreeMap<(NodeId, NodeId), Duration>,
    slowest: Duration,
    /// Who is paused, and since when.
    paused: BTreeMap<NodeId, Time>,
    /// By how much all of that has put off what was asked in the beginning.
    by: Duration,
}

/// When somebody gives up what was asked for, by the asker's count.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    until: Time,
    /// What [`Late::by`] was by then.
    from: Duration,
}

impl Late {
    /// Takes note of a deed.
    pub fn note(&mut self, at: Time, deed: &Deed) {
        if let Deed::Pause(node) = deed {
            self.paused.insert(*node, at);
        } else if let Deed::Resume(node) = deed {
            self.by += self.paused.remove(node).map_or(Duration::ZERO, |since| at.since(since));
        }
        let Some((wrong, Place::Controller(from), Place::Controller(to), begins)) = deed.link()
        else {
            return;
        };
        self.by += match (wrong, begins) {
            (Wrong::Held, true) => {
                self.held.insert((from, to), at);
                Duration::ZERO
            }
            (Wrong::Held, false) => {
                self.held.remove(&(from, to)).map_or(Duration::ZERO, |since| at.since(since))
            }
            (Wrong::Slow, _) => {
                let by = if let Deed::Slow { by, .. } = deed { *by } else { Duration::ZERO };
                self.slow.insert((from, to), by);
                self.slowest = self.slow.values().copied().max().unwrap_or_default();
                by
            }
            (Wrong::Cut, _) => Duration::ZERO,
        };
    }

    /// The deadline of what is asked at this moment, and given up at `until`.
    pub fn deadline(&self, until: Time) -> Deadline {
        Deadline { until: until + self.slowest, from: self.by }
    }

    /// Until when it may be proposed, as far as is known by this moment.
    pub fn until(&self, deadline: Deadline) -> Time {
        deadline.until + self.by.saturating_sub(deadline.from)
    }
}
