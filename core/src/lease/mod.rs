//! The replicated lease table: who holds what, until which global time.
//!
//! Decides claims, extensions, revocations and pins (seeds 002, 003 and 004). It is the one machine
//! that is not a [`Machine`](crate::Machine): replicas must agree, so it has
//! [`apply`](Leases::apply) with the replicated time inside each raft [`Entry`], and knows no local
//! time at all. Everything it iterates is ordered, so every replica says the same.

mod key;
mod pages;
mod snapshot;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::mistake::Mistake;
use crate::time::GlobalTime;
pub use key::Key;
use pages::Pages;
pub use snapshot::{Frozen, Snapshot};

/// Namespace of leadership leases: the lease is an application, the holder a unit.
pub const APPLICATION_LEADERSHIP: &str = "application-leadership";
/// Namespace of the leases behind workers that run on exactly one controller (seed 003).
pub const SINGULAR_CONTROLLER: &str = "singular-controller";

/// Most leases held at once in one table, and most keys that are pinned; a claim or a pin beyond it
/// is refused as [`Refusal::Full`].
/// Sixteen times the 60,000 leases of seed 002's largest run.
pub const LEASES_MAX: usize = 1_000_000;
/// Most entities that may pin one lease; a pin beyond it is refused as [`Refusal::Full`].
pub const PINS_MAX: usize = 1_000;

/// What somebody wants done to a lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operation {
    /// Hold the lease for at least `duration` from the moment of asking. By the present holder it
    /// succeeds and extends, so repeating a claim whose answer was lost is safe.
    Claim { key: Key, holder: Arc<str>, duration: Duration },
    /// Hold on for at least `duration` from the moment of asking; only for the present holder.
    /// Never shortens.
    Extend { key: Key, holder: Arc<str>, duration: Duration },
    /// Give the lease up; only for the present holder.
    Revoke { key: Key, holder: Arc<str> },
    /// Keep the lease from expiring for as long as `entity` pins it, whoever holds it.
    Pin { key: Key, entity: Arc<str> },
    /// Take the pin of `entity` away.
    Unpin { key: Key, entity: Arc<str> },
}

impl Operation {
    /// The lease it is about.
    pub fn key(&self) -> &Key {
        match self {
            Operation::Claim { key, .. }
            | Operation::Extend { key, .. }
            | Operation::Revoke { key, .. }
            | Operation::Pin { key, .. }
            | Operation::Unpin { key, .. } => key,
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Operation::Claim { key, holder, duration } => {
                write!(f, "claim {key} by {holder} for {duration:?}")
            }
            Operation::Extend { key, holder, duration } => {
                write!(f, "extend {key} by {holder} for {duration:?}")
            }
            Operation::Revoke { key, holder } => write!(f, "revoke {key} by {holder}"),
            Operation::Pin { key, entity } => write!(f, "pin {key} by {entity}"),
            Operation::Unpin { key, entity } => write!(f, "unpin {key} by {entity}"),
        }
    }
}

/// One operation on its way through the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// What to do.
    pub operation: Operation,
    /// The global time after which it must not be done: its asker has given up by then.
    pub void_after: GlobalTime,
}

/// One raft entry: a batch of commands, stamped with the global time of its proposal.
///
/// Every entry moves the clock, so however busy the log is, the clock cannot starve (seed 002); an
/// entry without commands is a plain clock advance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Global time when it was proposed. Absolute, so a repeat or a late arrival moves nothing back
    /// and nothing twice.
    pub now: GlobalTime,
    /// What to do, in order. Shared: a leader's log, its followers' and whoever looks on have one
    /// copy where they are in one process.
    pub commands: Arc<[Command]>,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "entry at {} with {} commands", self.now, self.commands.len())
    }
}

/// What came of one command.
pub type Outcome = Result<Done, Refusal>;

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Done {
    /// The asker holds the lease up to, but not including, `expiry`. `fence` grows with every new
    /// grant of a key and stays while the same holder holds on.
    Granted { fence: u64, expiry: GlobalTime },
    /// Nobody holds the lease.
    Revoked,
    /// The pin stands.
    Pinned,
    /// The pin is gone.
    Unpinned,
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Done::Granted { fence, expiry } => write!(f, "granted until {expiry}, fence {fence}"),
            Done::Revoked => f.write_str("revoked"),
            Done::Pinned => f.write_str("pinned"),
            Done::Unpinned => f.write_str("unpinned"),
        }
    }
}

/// Why nothing was done. Every refusal is definite: the command had no effect and never will.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// Another holds the lease, at least until `expiry`.
    Held { holder: Arc<str>, expiry: GlobalTime },
    /// The asker does not hold the lease.
    NotHeld,
    /// It reached the table after the time it was void from.
    Void,
    /// [`LEASES_MAX`] or [`PINS_MAX`] is reached.
    Full,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Held { holder, expiry } => write!(f, "held by {holder} until {expiry}"),
            Refusal::NotHeld => f.write_str("not held"),
            Refusal::Void => f.write_str("void"),
            Refusal::Full => f.write_str("table full"),
        }
    }
}

/// What one entry did to the table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// One outcome a command, in the entry's order.
    pub outcomes: Vec<Outcome>,
    /// The leases that have become free: the expired ones by expiry and then by fence, after them
    /// the revoked ones in the entry's order. One that was granted again since is named all the
    /// same.
    pub released: Vec<Key>,
}

/// A lease that is held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Who holds it.
    pub holder: Arc<str>,
    /// Global time of the grant, or of the extension that moved the expiry last.
    pub start: GlobalTime,
    /// Global time from which on it is not held, unless pinned.
    pub expiry: GlobalTime,
    /// The number of the grant; see [`Done::Granted`].
    pub fence: u64,
}

/// The table itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leases {
    now: GlobalTime,
    fence: u64,
    held: Pages<Lease>,
    pins: Pages<BTreeSet<Arc<str>>>,
    /// Every held, unpinned lease by expiry; the fence tells equal expiries apart.
    expiries: BTreeMap<(GlobalTime, u64), Key>,
}

impl Leases {
    /// Applies one raft entry.
    ///
    /// The clock moves first (never back), then what has expired goes, then the commands are done
    /// in their order, all at that one time.
    pub fn apply(&mut self, entry: &Entry) -> Applied {
        let mut applied = Applied::default();
        self.now = self.now.max(entry.now);
        self.expire(&mut applied.released);
        for command in &*entry.commands {
            let outcome = if self.now > command.void_after && !Mistake::VoidDone.made() {
                Err(Refusal::Void)
            } else {
                self.perform(&command.operation, &mut applied.released)
            };
            applied.outcomes.push(outcome);
        }
        applied
    }

    /// The global time of the last entry.
    pub fn now(&self) -> GlobalTime {
        self.now
    }

    /// The lease as it is held, if it is.
    pub fn get(&self, key: &Key) -> Option<&Lease> {
        self.held.get(key)
    }

    /// Every lease that is held, in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Lease)> {
        self.held.iter()
    }

    /// The leases that come after this one, or all of them, in the order of their keys.
    pub fn after(&self, key: Option<&Key>) -> impl Iterator<Item = (&Key, &Lease)> {
        self.held.after(key)
    }

    /// The pinned keys that come after this one, or all of them, in order, with those who pin them.
    pub fn pins_after(
        &self,
        key: Option<&Key>,
    ) -> impl Iterator<Item = (&Key, &BTreeSet<Arc<str>>)> {
        self.pins.after(key)
    }

    /// Whether somebody pins the key.
    pub fn pinned(&self, key: &Key) -> bool {
        self.pins.contains_key(key)
    }

    /// Most entities that pin one key; at most [`PINS_MAX`]. Looks at every pinned key.
    pub fn pins_most(&self) -> usize {
        self.pins.iter().map(|(_, entities)| entities.len()).max().unwrap_or_default()
    }

    /// How many leases are held.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether nobody holds anything.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    fn expire(&mut self, released: &mut Vec<Key>) {
        while let Some(earliest) = self.expiries.first_entry() {
            let late = Duration::from_secs(u64::from(Mistake::LateExpiry.made()));
            let early = Duration::from_secs(u64::from(Mistake::EarlyExpiry.made()));
            if earliest.key().0 + late > self.now + early {
                break;
            }
            let key = earliest.remove();
            self.held.remove(&key);
            released.push(key);
        }
    }

    fn perform(&mut self, operation: &Operation, released: &mut Vec<Key>) -> Outcome {
        let full = self.held.len() >= LEASES_MAX;
        match operation {
            Operation::Claim { key, holder, duration } => match self.held.get_mut(key) {
                Some(lease) if lease.holder == *holder || Mistake::ClaimTakes.made() => {
                    Ok(extend(lease, &mut self.expiries, self.now, *duration))
                }
                Some(lease) => {
                    Err(Refusal::Held { holder: lease.holder.clone(), expiry: lease.expiry })
                }
                None if full => Err(Refusal::Full),
                None => Ok(self.grant(key, holder, *duration)),
            },
            Operation::Extend { key, holder, duration } => match self.held.get_mut(key) {
                Some(lease) if lease.holder == *holder || Mistake::ExtensionTakes.made() => {
                    Ok(extend(lease, &mut self.expiries, self.now, *duration))
                }
                Some(_) | None => Err(Refusal::NotHeld),
            },
            Operation::Revoke { key, holder } => match self.held.get(key) {
                Some(lease) if lease.holder == *holder => {
                    self.expiries.remove(&(lease.expiry, lease.fence));
                    self.held.remove(key);
                    released.push(key.clone());
                    Ok(Done::Revoked)
                }
                Some(_) | None => Err(Refusal::NotHeld),
            },
            Operation::Pin { key, entity } => self.pin(key, entity),
            Operation::Unpin { key, entity } => Ok(self.unpin(key, entity)),
        }
    }

    fn grant(&mut self, key: &Key, holder: &Arc<str>, duration: Duration) -> Done {
        self.fence += u64::from(!Mistake::FenceStill.made());
        let lease = Lease {
            holder: holder.clone(),
            start: self.now,
            expiry: self.now + duration,
            fence: self.fence,
        };
        let done = Done::Granted { fence: lease.fence, expiry: lease.expiry };
        if !self.pins.contains_key(key) {
            self.expiries.insert((lease.expiry, lease.fence), key.clone());
        }
        self.held.insert(key.clone(), lease);
        done
    }

    fn pin(&mut self, key: &Key, entity: &Arc<str>) -> Outcome {
        if self.pins.len() >= LEASES_MAX && !self.pins.contains_key(key) {
            return Err(Refusal::Full);
        }
        match self.pins.get_mut(key) {
            Some(entities) if entities.len() >= PINS_MAX && !entities.contains(entity) => {
                return Err(Refusal::Full);
            }
            Some(entities) => {
                entities.insert(entity.clone());
            }
            None => self.pins.insert(key.clone(), BTreeSet::from([entity.clone()])),
        }
        if let Some(lease) = self.held.get(key) {
            self.expiries.remove(&(lease.expiry, lease.fence));
        }
        Ok(Done::Pinned)
    }

    /// Takes one pin away. A lease whose expiry passed while it was pinned goes with the next
    /// entry.
    fn unpin(&mut self, key: &Key, entity: &str) -> Done {
        let Some(entities) = self.pins.get_mut(key) else { return Done::Unpinned };
        entities.remove(entity);
        if entities.is_empty() {
            self.pins.remove(key);
            if let Some(lease) = self.held.get(key) {
                self.expiries.insert((lease.expiry, lease.fence), key.clone());
            }
        }
        Done::Unpinned
    }
}

/// Moves the expiry of a held lease, never to an earlier time.
fn extend(
    lease: &mut Lease,
    expiries: &mut BTreeMap<(GlobalTime, u64), Key>,
    now: GlobalTime,
    duration: Duration,
) -> Done {
    let expiry = now + duration;
    if expiry > lease.expiry {
        if let Some(key) = expiries.remove(&(lease.expiry, lease.fence)) {
            expiries.insert((expiry, lease.fence), key);
        }
        lease.start = now;
        lease.expiry = expiry;
    }
    Done::Granted { fence: lease.fence, expiry: lease.expiry }
}
