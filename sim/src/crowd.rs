//! Which agents each controller has, and since when.
//!
//! Decides nothing: it follows who is let in and who is gone, for the figures and the checks of the
//! balance between controllers.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_core::controller::{Input, Output};
use portcullis_core::sessions::{Party, Why};
use portcullis_core::{ConnectionId, NodeId, Time};

use crate::history::{Event, Kind, Kinds, Who};
use crate::lookup::Lookup;
use crate::stage::Deed;

/// How far from even a controller may be, in percent of an even share.
const PERCENT: u64 = 10;
/// So many agents off are nothing, however small the share is.
const LEAST: u64 = 5;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Crowd {
    /// A controller that is down has nobody.
    controllers: BTreeMap<NodeId, Group>,
    /// Controllers that were told to stop.
    stopping: BTreeSet<NodeId>,
    /// How many were moved: sent elsewhere, or made to leave, after they had been let in.
    pub moved: u64,
    /// Since when the controllers are even; none if they are not.
    pub even: Option<Time>,
}

/// The agents of one controller.
#[derive(Clone, Debug, Default)]
struct Group {
    /// Who was let in, and when.
    inside: Lookup<ConnectionId, Time>,
    /// Those that proved who they are, and have no answer yet.
    asking: Lookup<ConnectionId, ()>,
    /// Those that were sent elsewhere and are still there.
    leaving: Lookup<ConnectionId, ()>,
}

/// An agent that is moved by an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// How long it had been let in.
    pub after: std::time::Duration,
}

impl Crowd {
    /// What changes anything here.
    pub const HEARS: Kinds = Kinds::of(&[Kind::Told, Kind::Ordered, Kind::Killed, Kind::Did]);

    /// Nobody is anywhere.
    pub fn new(controllers: impl Iterator<Item = NodeId>) -> Crowd {
        Crowd {
            controllers: controllers.map(|node| (node, Group::default())).collect(),
            stopping: BTreeSet::new(),
            moved: 0,
            even: None,
        }
    }

    /// Whether a controller was told to stop.
    pub fn stops(&self, node: NodeId) -> bool {
        self.stopping.contains(&node)
    }

    /// Takes note of one event, and says whether it moves somebody.
    pub fn note(&mut self, at: Time, who: Who, event: &Event<'_>) -> Option<Move> {
        match (who, event) {
            (Who::Controller(node), Event::Told(Input::Started) | Event::Killed(_)) => {
                self.died(at, node);
            }
            (_, Event::Did(Deed::Crash(node) | Deed::Left(node) | Deed::Failed(node))) => {
                self.died(at, *node)
            }
            (Who::Controller(node), Event::Told(input)) => self.told(at, node, input),
            (Who::Controller(node), Event::Ordered(output)) => {
                return self.ordered(at, node, output);
            }
            (_, Event::Told(_) | Event::Ordered(_) | Event::Killed(_) | Event::Did(_))
            | (_, Event::AgentTold(_) | Event::AgentOrdered(_) | Event::Applied { .. })
            | (_, Event::Cluster(_) | Event::Singular(_))
            | (_, Event::Front(_) | Event::Memory(_) | Event::BacklogFull | Event::Error(_)) => {}
        }
        None
    }

    /// Takes note of what a controller was told.
    fn told(&mut self, at: Time, node: NodeId, input: &Input) {
        if let Input::Stopping = input {
            self.stopping.insert(node);
        } else if let Input::LoggedIn { connection, party: Party::Agent } = input {
            self.controllers.entry(node).or_default().asking.insert(*connection, ());
        } else if let Input::Disconnected { connection } = input {
            if let Some(group) = self.controllers.get_mut(&node) {
                group.asking.remove(connection);
                group.leaving.remove(connection);
                group.inside.remove(connection);
            }
            self.weigh(at);
        }
    }

    /// Takes note of what a controller ordered, and says whether that moves somebody.
    fn ordered(&mut self, at: Time, node: NodeId, output: &Output) -> Option<Move> {
        match output {
            Output::Welcome { connection, .. } => {
                let group = self.controllers.entry(node).or_default();
                if group.asking.remove(connection).is_some() {
                    group.inside.insert(*connection, at);
                    self.weigh(at);
                }
                None
            }
            // Whoever stops sends everybody away, which is no question of balance.
            Output::Redirect { .. } if self.stopping.contains(&node) => None,
            Output::Redirect { connection, .. } => {
                let group = self.controllers.get_mut(&node)?;
                let since = *group.inside.get(connection)?;
                let first = group.leaving.insert(*connection, ()).is_none();
                first.then(|| self.moves(at, since))
            }
            Output::Hangup { connection, why: Why::Surplus } => {
                let group = self.controllers.get(&node)?;
                let since = *group.inside.get(connection)?;
                (!group.leaving.contains(connection)).then(|| self.moves(at, since))
            }
            Output::Hangup {
                why: Why::NotLoggedIn | Why::Silent | Why::Held | Why::Stopping,
                ..
            }
            | Output::Hold { .. }
            | Output::Admit { .. }
            | Output::Condition { .. }
            | Output::Bind { .. }
            | Output::Complain { .. }
            | Output::Stopped
            | Output::Refuse { .. }
            | Output::Open { .. }
            | Output::Accept { .. }
            | Output::Shut { .. }
            | Output::Tell { .. }
            | Output::Propose { .. }
            | Output::Send { .. }
            | Output::Recall { .. }
            | Output::Look { .. }
            | Output::Answer { .. } => None,
        }
    }

    /// A process is gone, and everybody with it.
    fn died(&mut self, at: Time, node: NodeId) {
        self.controllers.insert(node, Group::default());
        self.stopping.remove(&node);
        self.weigh(at);
    }

    /// How many agents each controller has.
    pub fn agents(&self) -> impl Iterator<Item = (NodeId, u64)> {
        self.controllers.iter().map(|(node, group)| (*node, group.inside.len() as u64))
    }

    /// The first controller that is too far from an even share, with what it has and the share.
    pub fn uneven(&self) -> Option<(NodeId, u64, u64)> {
        let all: u64 = self.agents().map(|(_, agents)| agents).sum();
        let share = all / self.controllers.len() as u64;
        let most = (share * PERCENT / 100).max(LEAST);
        let off = self.agents().find(|(_, agents)| agents.abs_diff(share) > most);
        off.map(|(node, agents)| (node, agents, share))
    }

    fn moves(&mut self, at: Time, since: Time) -> Move {
        self.moved += 1;
        Move { after: at.since(since) }
    }

    fn weigh(&mut self, at: Time) {
        self.even = match self.uneven() {
            Some(_) => None,
            None => self.even.or(Some(at)),
        };
    }
}
