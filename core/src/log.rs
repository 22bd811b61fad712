//! What the log carries: batches of lease commands, and commands about the cluster's members.
//!
//! Both tables live by one log, so that every replica knows the leases and the members of the same
//! moment, and one snapshot holds both. Like [`Leases`] it has [`apply`](State::apply) instead of
//! being a [`Machine`](crate::Machine).

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::lease::{self, Leases};
use crate::members::{self, Members};
use crate::time::GlobalTime;

/// One raft entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Entry {
    /// For the lease table; moves global time.
    Leases(lease::Entry),
    /// For the table of members. Carries no time: it is done at the global time of the last entry
    /// for the leases, of which the leader proposes one a second.
    Members(members::Command),
}

impl Entry {
    /// The least version that a member must read to understand it.
    pub fn version(&self) -> u16 {
        match self {
            Entry::Leases(_) => 1,
            Entry::Members(command) => command.version(),
        }
    }
}

impl From<lease::Entry> for Entry {
    fn from(entry: lease::Entry) -> Entry {
        Entry::Leases(entry)
    }
}

impl From<members::Command> for Entry {
    fn from(command: members::Command) -> Entry {
        Entry::Members(command)
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Entry::Leases(entry) => entry.fmt(f),
            Entry::Members(command) => command.fmt(f),
        }
    }
}

/// What one entry did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Applied {
    /// To the leases.
    Leases(lease::Applied),
    /// To the members.
    Members(members::Outcome),
}

impl Default for Applied {
    /// Nothing: what an entry of raft's own does.
    fn default() -> Applied {
        Applied::Leases(lease::Applied::default())
    }
}

/// Both tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Who holds what.
    pub leases: Leases,
    /// Who belongs to the cluster.
    pub members: Members,
}

/// Both tables, as snapshots carry them: the members whole, or as [`members::First`] in version 1.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot<M = Members> {
    /// The leases.
    pub leases: lease::Snapshot,
    /// The members.
    pub members: M,
}

impl Snapshot {
    /// The least version that a member must read to understand it.
    pub fn version(&self) -> u16 {
        if self.members.prefers() { 2 } else { 1 }
    }

    /// The same in version 1, which must be its own.
    pub fn first(self) -> Snapshot<members::First> {
        Snapshot { leases: self.leases, members: self.members.into() }
    }
}

impl From<Snapshot<members::First>> for Snapshot {
    fn from(first: Snapshot<members::First>) -> Snapshot {
        Snapshot { leases: first.leases, members: first.members.into() }
    }
}

impl State {
    /// Applies one raft entry.
    pub fn apply(&mut self, entry: &Entry) -> Applied {
        match entry {
            Entry::Leases(entry) => Applied::Leases(self.leases.apply(entry)),
            Entry::Members(command) => Applied::Members(self.members.apply(self.now(), command)),
        }
    }

    /// The global time of the last entry.
    pub fn now(&self) -> GlobalTime {
        self.leases.now()
    }

    /// Everything that a replica needs to go on from here.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot { leases: self.leases.snapshot(), members: self.members.clone() }
    }

    /// The tables that a snapshot was taken of.
    pub fn restore(snapshot: Snapshot) -> State {
        State { leases: Leases::restore(snapshot.leases), members: snapshot.members }
    }
}
