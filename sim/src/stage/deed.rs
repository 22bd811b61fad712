//! Deeds: what an engine is to do to the world, one thing at a time.

use std::fmt;
use std::time::Duration;

use portcullis_core::NodeId;

use crate::action::{Claims, Second};
use crate::addresses::{Hosts, Written};
use crate::disk::Touch;
use crate::settings::Bytes;

/// One end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    Controller(NodeId),
    /// All agents: they share their fate.
    Agents,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Controller(node) => write!(f, "{node}"),
            Place::Agents => f.write_str("agents"),
        }
    }
}

/// Who has the parts that only the run can give.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// Who leads.
    pub leader: Option<NodeId>,
    /// Who runs the first of the workers that run on one controller alone, or ran it last.
    pub holder: Option<NodeId>,
    /// Who lets agents in.
    pub serving: Nodes,
}

/// Some of the controllers; those beyond the 128th are never among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Nodes(u128);

impl Nodes {
    fn bit(node: NodeId) -> u128 {
        u32::try_from(node.0).ok().and_then(|place| 1u128.checked_shl(place - 1)).unwrap_or(0)
    }

    /// Whether it is among them.
    pub fn has(self, node: NodeId) -> bool {
        self.0 & Nodes::bit(node) != 0
    }

    /// Counts it among them from now on, or no more.
    pub fn set(&mut self, node: NodeId, among: bool) {
        self.0 &= !Nodes::bit(node);
        self.0 |= if among { Nodes::bit(node) } else { 0 };
    }
}

/// One thing for an engine to do. Links have a direction: a partition both ways is two deeds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// The running process dies.
    Crash(NodeId),
    /// A controller is invited, joins, and its process starts.
    Join(NodeId),
    /// A controller is removed from the cluster for ever.
    Remove(NodeId),
    /// The process has ended by itself: it was told to stop, or its controller was removed. No plan
    /// says so: the engine does.
    Left(NodeId),
    /// The dead process starts again on the disk that it left.
    Restart(NodeId),
    /// The running process is told to stop. It starts again by `Restart`.
    Stop(NodeId),
    /// From now on the running process does nothing; it is told afterwards what it missed.
    Pause(NodeId),
    /// It goes on.
    Resume(NodeId),
    /// The operator switches the controller port on or off.
    ControllerPort { node: NodeId, on: bool },
    /// Somebody writes the file that says where the controller door is to be bound.
    BindFile { node: NodeId, says: Written },
    /// From now on the controller has these hosts, and no others.
    ApiAddresses { node: NodeId, are: Hosts },
    /// From now on the controller cannot reach itself.
    LoseItself(NodeId),
    /// It can again.
    FindItself(NodeId),
    /// From now on what `from` sends to `to` is lost.
    Cut { from: Place, to: Place },
    /// It arrives again.
    Mend { from: Place, to: Place },
    /// From now on what `from` sends to `to` waits.
    Hold { from: Place, to: Place },
    /// What waited is delivered.
    Release { from: Place, to: Place },
    /// From now on what `from` sends to `to` takes this much longer than the network does; zero is
    /// as usual.
    Slow { from: Place, to: Place, by: Duration },
    /// From now on every sync of the node's disk takes this much longer than a disk does; zero is
    /// as usual.
    SlowDisk { node: NodeId, by: Duration },
    /// From now on the node's disk has no room.
    FillDisk(NodeId),
    /// It has room again.
    FreeDisk(NodeId),
    /// The next write or sync of the node's disk fails.
    BreakDisk { node: NodeId, at: Touch },
    /// From now on the clock there is fast by so many millionths, and processes start at `offset` on
    /// it, if that is not zero.
    Drift { place: Place, by: i32, offset: Duration },
    /// The process has ended by itself, because its disk failed. No plan says so: the engine does.
    Failed(NodeId),
    /// Every agent drops its connection and returns.
    Herd,
    /// Every agent's process dies and starts again.
    RestartAgents,
    /// From now on processes are killed at this much memory.
    Limit(Bytes),
    /// Clients make these claims.
    Claim(Claims),
    /// The faults are over: everything has healed.
    Settle,
}

/// What can be wrong with a link, each by itself: what mends one mends no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wrong {
    Cut,
    Held,
    Slow,
}

impl Deed {
    /// Whether the deed makes something wrong with a link, or ends it, and with which.
    pub fn link(&self) -> Option<(Wrong, Place, Place, bool)> {
        match self {
            Deed::Cut { from, to } => Some((Wrong::Cut, *from, *to, true)),
            Deed::Mend { from, to } => Some((Wrong::Cut, *from, *to, false)),
            Deed::Hold { from, to } => Some((Wrong::Held, *from, *to, true)),
            Deed::Release { from, to } => Some((Wrong::Held, *from, *to, false)),
            Deed::Slow { from, to, by } => Some((Wrong::Slow, *from, *to, !by.is_zero())),
            Deed::Crash(_)
            | Deed::Join(_)
            | Deed::Remove(_)
            | Deed::Left(_)
            | Deed::Restart(_)
            | Deed::Stop(_)
            | Deed::Pause(_)
            | Deed::Resume(_)
            | Deed::ControllerPort { .. }
            | Deed::BindFile { .. }
            | Deed::ApiAddresses { .. }
            | Deed::LoseItself(_)
            | Deed::FindItself(_)
            | Deed::SlowDisk { .. }
            | Deed::FillDisk(_)
            | Deed::FreeDisk(_)
            | Deed::BreakDisk { .. }
            | Deed::Failed(_)
            | Deed::Drift { .. }
            | Deed::Herd
            | Deed::RestartAgents
            | Deed::Limit(_)
            | Deed::Claim(_)
            | Deed::Settle => None,
        }
    }
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Deed::Crash(node) => write!(f, "crash {node}"),
            Deed::Restart(node) => write!(f, "restart {node}"),
            Deed::Stop(node) => write!(f, "stop {node}"),
            Deed::Join(node) => write!(f, "join {node}"),
            Deed::Remove(node) => write!(f, "remove {node}"),
            Deed::Left(node) => write!(f, "{node} has left"),
            Deed::Pause(node) => write!(f, "pause {node}"),
            Deed::Resume(node) => write!(f, "resume {node}"),
            Deed::ControllerPort { node, on: true } => write!(f, "controller port of {node} on"),
            Deed::ControllerPort { node, on: false } => write!(f, "controller port of {node} off"),
            Deed::BindFile { node, says } => write!(f, "bind file of {node} says {says}"),
            Deed::ApiAddresses { node, are } => write!(f, "api addresses of {node} are {are}"),
            Deed::LoseItself(node) => write!(f, "{node} loses itself"),
            Deed::FindItself(node) => write!(f, "{node} finds itself"),
            Deed::Cut { from, to } => write!(f, "cut {from} > {to}"),
            Deed::Mend { from, to } => write!(f, "mend {from} > {to}"),
            Deed::Hold { from, to } => write!(f, "hold {from} > {to}"),
            Deed::Release { from, to } => write!(f, "release {from} > {to}"),
            Deed::Slow { from, to, by } => write!(f, "slow {from} > {to} by {}", Second(*by)),
            Deed::SlowDisk { node, by } => write!(f, "slow the disk of {node} by {}", Second(*by)),
            Deed::FillDisk(node) => write!(f, "fill the disk of {node}"),
            Deed::FreeDisk(node) => write!(f, "free the disk of {node}"),
            Deed::BreakDisk { node, at } => write!(f, "break the next {at} of {node}"),
            Deed::Drift { place, by, offset: Duration::ZERO } => {
                write!(f, "clock of {place} by {by}ppm")
            }
            Deed::Drift { place, by, offset } => {
                write!(f, "clock of {place} by {by}ppm from {}", Second(*offset))
            }
            Deed::Failed(node) => write!(f, "{node} has failed with its disk"),
            Deed::Herd => f.write_str("herd"),
            Deed::RestartAgents => f.write_str("restart agents"),
            Deed::Limit(bytes) => write!(f, "limit memory to {bytes}"),
            Deed::Claim(claims) => write!(f, "{claims}"),
            Deed::Settle => f.write_str("settle"),
        }
    }
}
