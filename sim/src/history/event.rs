//! What a history is a list of: one thing that happened, and to whom.

use std::fmt;

use portcullis::env::Affair;
use portcullis_core::lease::{Applied, Entry};
use portcullis_core::{NodeId, agent, controller, front};

use crate::settings::Bytes;
use crate::singular::Single;
use crate::stage::Deed;

/// To whom something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// Nobody alone: the plan's deeds.
    World,
    Controller(NodeId),
    /// The one before the controllers.
    Front,
    /// From zero. Those from `agents.count` on are the clients of a workload.
    Agent(u32),
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Who::World => f.pad("world"),
            Who::Controller(node) => f.pad(&node.to_string()),
            Who::Front => f.pad("front"),
            Who::Agent(number) => f.pad(&format!("agent-{number}")),
        }
    }
}

/// One thing that happened.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// The engine did a deed of the plan.
    Did(&'a Deed),
    /// A controller's machine was told.
    Told(&'a controller::Input),
    /// A controller's machine gave an order.
    Ordered(&'a controller::Output),
    /// An agent's machine was told.
    AgentTold(&'a agent::Input),
    /// An agent's machine gave an order.
    AgentOrdered(&'a agent::Output),
    /// Something at the front's machine.
    Front(Fronted<'a>),
    /// A controller's copy of the table applied a log entry.
    Applied { index: u64, entry: &'a Entry, applied: &'a Applied },
    /// Something about the cluster itself.
    Cluster(Affair<'a>),
    /// Something about a worker that runs on one controller alone.
    Singular(Single<'a>),
    /// A controller's process uses this much memory. Said whenever it grows.
    Memory(Bytes),
    /// A listener's backlog was full, so a connection was dropped.
    BacklogFull,
    /// The process was killed for its memory.
    Killed(Bytes),
    /// Something logged an error, which means a bug.
    Error(&'a str),
}

/// What a front's machine was told, or ordered.
#[derive(Clone, Copy, Debug)]
pub enum Fronted<'a> {
    Told(&'a front::Input),
    Ordered(&'a front::Output),
}

impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Did(deed) => marked(f, "* ", deed),
            Event::Told(input) => marked(f, "< ", input),
            Event::Ordered(output) => marked(f, "> ", output),
            Event::AgentTold(input) => marked(f, "< ", input),
            Event::AgentOrdered(output) => marked(f, "> ", output),
            Event::Front(Fronted::Told(input)) => marked(f, "< ", input),
            Event::Front(Fronted::Ordered(output)) => marked(f, "> ", output),
            Event::Applied { index, entry, applied } => {
                write!(f, "= applied {index}, {entry}, released {}", applied.released.len())
            }
            Event::Cluster(affair) => affair.fmt(f),
            Event::Singular(single) => single.fmt(f),
            Event::Memory(bytes) => write!(f, "* memory {}", bytes.0),
            Event::BacklogFull => f.write_str("* backlog full"),
            Event::Killed(bytes) => write!(f, "* killed at memory {}", bytes.0),
            Event::Error(line) => write!(f, "! {line}"),
        }
    }
}

/// What was told or ordered, behind the mark that says which. Millions of lines are written so.
fn marked(f: &mut fmt::Formatter<'_>, mark: &str, what: &impl fmt::Display) -> fmt::Result {
    f.write_str(mark)?;
    what.fmt(f)
}

/// What sort of event it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Did,
    Told,
    Ordered,
    AgentTold,
    AgentOrdered,
    Front,
    Applied,
    Cluster,
    Singular,
    Memory,
    BacklogFull,
    Killed,
    Error,
}

impl Kind {
    /// All of them, in order.
    pub const EACH: [Kind; Kind::Error as usize + 1] = [
        Kind::Did,
        Kind::Told,
        Kind::Ordered,
        Kind::AgentTold,
        Kind::AgentOrdered,
        Kind::Front,
        Kind::Applied,
        Kind::Cluster,
        Kind::Singular,
        Kind::Memory,
        Kind::BacklogFull,
        Kind::Killed,
        Kind::Error,
    ];
    /// How many there are.
    pub const COUNT: usize = Kind::EACH.len();
}

impl Event<'_> {
    /// What sort of event it is.
    pub fn kind(&self) -> Kind {
        match self {
            Event::Did(_) => Kind::Did,
            Event::Told(_) => Kind::Told,
            Event::Ordered(_) => Kind::Ordered,
            Event::AgentTold(_) => Kind::AgentTold,
            Event::AgentOrdered(_) => Kind::AgentOrdered,
            Event::Front(_) => Kind::Front,
            Event::Applied { .. } => Kind::Applied,
            Event::Cluster(_) => Kind::Cluster,
            Event::Singular(_) => Kind::Singular,
            Event::Memory(_) => Kind::Memory,
            Event::BacklogFull => Kind::BacklogFull,
            Event::Killed(_) => Kind::Killed,
            Event::Error(_) => Kind::Error,
        }
    }
}

/// A set of kinds of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kinds(u16);

impl Kinds {
    /// Every event.
    pub const ALL: Kinds = Kinds(u16::MAX);
    /// What agents are told, and what they order.
    pub const OF_AGENTS: Kinds = Kinds::of(&[Kind::AgentTold, Kind::AgentOrdered]);

    /// These alone.
    pub const fn of(kinds: &[Kind]) -> Kinds {
        let mut set = 0;
        let mut place = 0;
        while place < kinds.len() {
            set |= 1 << kinds[place] as u16;
            place += 1;
        }
        Kinds(set)
    }

    /// These, and those of another set.
    pub const fn and(self, other: Kinds) -> Kinds {
        Kinds(self.0 | other.0)
    }

    /// Whether events of this kind are among them.
    pub const fn has(self, kind: Kind) -> bool {
        self.0 & 1 << kind as u16 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_what_it_was_made_of() {
        let set = Kinds::of(&[Kind::Did, Kind::Error]).and(Kinds::OF_AGENTS);
        assert!([Kind::Did, Kind::Error, Kind::AgentTold].iter().all(|kind| set.has(*kind)));
        assert!(![Kind::Told, Kind::Killed].iter().any(|kind| set.has(*kind)));
        assert!(Kind::EACH.into_iter().all(|kind| Kinds::ALL.has(kind)));
        assert!(Kind::EACH.into_iter().enumerate().all(|(place, kind)| kind as usize == place));
    }
}
