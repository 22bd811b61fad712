//! What the roles' machine is told and orders, and its limits.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use core::fmt;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::NodeId;
use crate::members::{Members, READS, Versions};

/// Limits of the roles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Which controller this is.
    pub node: NodeId,
    /// The versions of log entries that this controller reads and writes.
    pub reads: Versions,
    /// How long a member is not heard of before another gets its vote. Above `steady_min`. Longer
    /// than a restart takes, for that is no reason to move a vote.
    pub silent_max: Duration,
    /// How long a member is heard of without a break before it gets a role. Who comes and goes gets
    /// none.
    pub steady_min: Duration,
    /// Most log entries that a member may lack and still count as one that has the log.
    pub lag_max: u64,
    /// How often the leader looks. Above zero.
    pub look_every: Duration,
    /// Longest wait for what comes of a change. Nobody knows then, and the next look tells.
    pub change_within: Duration,
    /// How long a member that said that it leaves is believed.
    pub leaving_for: Duration,
}

impl Config {
    /// Every limit at its default.
    pub fn new(node: NodeId) -> Config {
        Config {
            node,
            reads: READS,
            silent_max: Duration::from_secs(15),
            steady_min: Duration::from_secs(3),
            // A fifth of what is kept behind a snapshot: a moment's work.
            lag_max: 200,
            look_every: Duration::from_secs(1),
            change_within: Duration::from_secs(30),
            leaving_for: Duration::from_secs(60),
        }
    }
}

/// How the cluster stands, as its leader sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Picture {
    /// Who belongs to it, and how many of each role are wanted.
    pub members: Members,
    /// Who votes, by the last change of roles.
    pub voters: BTreeSet<NodeId>,
    /// Who voted before it, while that change is not finished and both must agree.
    pub before: Option<BTreeSet<NodeId>>,
    /// Who has the log and no vote.
    pub learners: BTreeSet<NodeId>,
    /// Who was heard of within the last heartbeats. This controller always counts as heard.
    pub heard: BTreeSet<NodeId>,
    /// The index of the last log entry.
    pub last: u64,
    /// Up to which index the others are known to have the log.
    pub matched: BTreeMap<NodeId, u64>,
}

impl fmt::Display for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Picture { voters, before, learners, heard, last, .. } = self;
        write!(f, "{} members, voters{}", self.members.len(), Names(voters))?;
        if let Some(before) = before {
            write!(f, " after{}", Names(before))?;
        }
        write!(f, ", stand-bys{}, heard{}, log at {last}", Names(learners), Names(heard))
    }
}

/// The numbers of some controllers, each after a space.
pub struct Names<'a>(pub &'a BTreeSet<NodeId>);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str(" none");
        }
        self.0.iter().try_for_each(|node| write!(f, " {}", node.0))
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// This controller leads.
    Led,
    /// This controller does not lead.
    Followed,
    /// This is how the cluster stands.
    Seen(Box<Picture>),
    /// What was ordered last is done.
    Changed,
    /// It is not done, or nobody knows.
    NotChanged,
    /// A member says that it is about to stop.
    Leaving { node: NodeId },
    /// This controller is about to stop.
    Stopping,
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Input::Led => f.write_str("led"),
            Input::Followed => f.write_str("followed"),
            Input::Seen(picture) => write!(f, "seen: {picture}"),
            Input::Changed => f.write_str("changed"),
            Input::NotChanged => f.write_str("not changed"),
            Input::Leaving { node } => write!(f, "{node} is leaving"),
            Input::Stopping => f.write_str("stopping"),
        }
    }
}

/// What must be done. All but looking is one change, of which the outcome must be told before there
/// is another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Say how the cluster stands.
    Look,
    /// Write the members into the log that the configuration names.
    Found,
    /// Make these the voters, in one step. Who is none of them any more is a stand-by.
    Appoint { voters: BTreeSet<NodeId> },
    /// Make the spare a stand-by: it gets the log.
    Add { node: NodeId },
    /// Make the stand-by a spare, or nothing at all if it is no member: it gets no log.
    Drop { node: NodeId },
    /// Make that voter lead.
    HandOver { to: NodeId },
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Output::Look => f.write_str("look"),
            Output::Found => f.write_str("found"),
            Output::Appoint { voters } => write!(f, "appoint{}", Names(voters)),
            Output::Add { node } => write!(f, "add {node}"),
            Output::Drop { node } => write!(f, "drop {node}"),
            Output::HandOver { to } => write!(f, "hand over to {to}"),
        }
    }
}
