//! What a replica needs to go on from one moment of the table: written down, shared, and restored.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::pages::Pages;
use super::{Key, Lease, Leases};
use crate::mistake::Mistake;
use crate::time::GlobalTime;

/// The whole table, as snapshots carry it. Holds no index: those are made again on restoring.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Global time.
    pub now: GlobalTime,
    /// The highest fence granted.
    pub fence: u64,
    /// Every lease that is held, in order.
    pub leases: Vec<(Key, Lease)>,
    /// Every pinned key with those who pin it, in order.
    pub pins: Vec<(Key, Vec<Arc<str>>)>,
}

/// The table as it was at one moment, which costs no copy of it; on the wire and on the disk it is
/// what the [`Snapshot`] of that moment is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Frozen {
    now: GlobalTime,
    fence: u64,
    leases: Pages<Lease>,
    pins: Pages<BTreeSet<Arc<str>>>,
}

impl Leases {
    /// Everything that a replica needs to go on from here.
    pub fn snapshot(&self) -> Snapshot {
        let pins = |(key, entities): (&Key, &BTreeSet<Arc<str>>)| {
            (key.clone(), entities.iter().cloned().collect())
        };
        Snapshot {
            now: self.now,
            fence: self.fence_kept(),
            leases: self.held.iter().map(|(key, lease)| (key.clone(), lease.clone())).collect(),
            pins: self.pins_kept().iter().map(pins).collect(),
        }
    }

    /// The same without copying it: what is applied from here on copies what it changes. Shares some
    /// thousand pages where the table has a million leases.
    pub fn freeze(&self) -> Frozen {
        Frozen {
            now: self.now,
            fence: self.fence_kept(),
            leases: self.held.clone(),
            pins: self.pins_kept(),
        }
    }

    /// The table that a snapshot was taken of.
    pub fn restore(snapshot: Snapshot) -> Leases {
        let pins = |(key, entities): (Key, Vec<Arc<str>>)| (key, entities.into_iter().collect());
        let mut leases = Leases {
            now: snapshot.now,
            fence: snapshot.fence,
            held: snapshot.leases.into_iter().collect(),
            pins: snapshot.pins.into_iter().map(pins).collect(),
            expiries: BTreeMap::new(),
        };
        for (key, lease) in leases.held.iter() {
            let ends = !leases.pins.contains_key(key) || Mistake::PinnedExpire.made();
            if ends && !Mistake::ExpiriesLeftOut.made() {
                leases.expiries.insert((lease.expiry, lease.fence), key.clone());
            }
        }
        leases
    }

    /// The fence that snapshots carry: whoever held the highest one may be gone.
    fn fence_kept(&self) -> u64 {
        if Mistake::FenceOfHeld.made() {
            return self.held.iter().map(|(_, lease)| lease.fence).max().unwrap_or_default();
        }
        self.fence
    }

    /// The pins that snapshots carry; shares their pages.
    fn pins_kept(&self) -> Pages<BTreeSet<Arc<str>>> {
        if Mistake::PinsLeftOut.made() { Pages::default() } else { self.pins.clone() }
    }
}
