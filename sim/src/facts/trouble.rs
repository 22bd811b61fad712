//! What is wrong: the faults in force, how slow things are, and when that changed last.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use portcullis_core::{NodeId, Time};

use crate::stage::{Deed, Place};

/// Controllers whose links are slower than this, one way, count as cut off: there and back, with a
/// sync between, takes about as long as a follower waits for a leader.
const TOO_FAR: Duration = Duration::from_millis(400);

/// A division loses up to a microsecond, and so does each look at a clock.
const LOSS: Duration = Duration::from_micros(3);

/// See the module.
#[derive(Default)]
pub(super) struct Trouble {
    /// Faults in force, and when that changed last.
    pub faults: usize,
    pub changed: Time,
    /// Until when a link or a disk may be busy with what it was given while it was slower.
    pub under_way: Time,
    slow_disks: BTreeMap<NodeId, Duration>,
    /// By how much the slowest disk is slower than usual.
    pub slow_disk: Duration,
    /// Links between controllers that are slower than the network.
    slow_links: BTreeMap<(NodeId, NodeId), Duration>,
    /// By how much the slowest of them that can be done with is slower, one way.
    pub slow_link: Duration,
    /// By how many millionths any clock was wrong at most.
    drift: u32,
    /// Whose process has ended with its disk and has not started again, each a fault in force.
    failed: BTreeSet<NodeId>,
}

impl Trouble {
    /// Takes note of a deed.
    pub fn did(&mut self, at: Time, deed: &Deed) {
        match deed {
            Deed::Crash(_)
            | Deed::Cut { .. }
            | Deed::Hold { .. }
            | Deed::Stop(_)
            | Deed::Pause(_)
            | Deed::FillDisk(_)
            | Deed::LoseItself(_) => self.faults += 1,
            Deed::Failed(node) => self.faults += usize::from(self.failed.insert(*node)),
            Deed::Restart(_)
            | Deed::Mend { .. }
            | Deed::Release { .. }
            | Deed::FindItself(_)
            | Deed::Resume(_)
            | Deed::FreeDisk(_) => self.faults -= 1,
            Deed::Drift { by, .. } => self.drift = self.drift.max(by.unsigned_abs()),
            Deed::SlowDisk { node, by } => self.slow_down_disk(at, *node, *by),
            Deed::Slow { from: Place::Controller(from), to: Place::Controller(to), by } => {
                self.slow_down_link(at, (*from, *to), *by);
            }
            Deed::Slow { .. }
            | Deed::Left(_)
            | Deed::ControllerPort { .. }
            | Deed::BindFile { .. }
            | Deed::ApiAddresses { .. }
            | Deed::BreakDisk { .. }
            | Deed::Join(_)
            | Deed::Remove(_)
            | Deed::Herd
            | Deed::RestartAgents
            | Deed::Limit(_)
            | Deed::Claim(_)
            | Deed::Settle => {}
        }
        self.changed = at;
    }

    /// A process has started: if it had ended with its disk, that is over.
    pub fn started(&mut self, node: NodeId) {
        self.faults -= usize::from(self.failed.remove(&node));
    }

    /// See [`Facts::stretched`](super::Facts::stretched).
    pub fn stretched(&self, span: Duration) -> Duration {
        match self.drift {
            0 => span,
            drift => span * 1_000_000 / (1_000_000 - drift) + LOSS,
        }
    }

    /// See [`Facts::shrunk`](super::Facts::shrunk).
    pub fn shrunk(&self, span: Duration) -> Duration {
        match self.drift {
            0 => span,
            drift => (span * 1_000_000 / (1_000_000 + drift)).saturating_sub(LOSS),
        }
    }

    fn slow_down_disk(&mut self, at: Time, node: NodeId, by: Duration) {
        let before = self.slow_disks.insert(node, by).unwrap_or_default();
        if by < before {
            self.under_way = self.under_way.max(at + before);
        }
        self.slow_disk = self.slow_disks.values().copied().max().unwrap_or_default();
    }

    fn slow_down_link(&mut self, at: Time, ends: (NodeId, NodeId), by: Duration) {
        let before = self.slow_links.insert(ends, by).unwrap_or_default();
        self.faults += usize::from(by >= TOO_FAR);
        self.faults -= usize::from(before >= TOO_FAR);
        if by < before {
            self.under_way = self.under_way.max(at + before);
        }
        let near = self.slow_links.values().copied().filter(|by| *by < TOO_FAR);
        self.slow_link = near.max().unwrap_or_default();
    }
}
