//! What is kept of the front: whom it has let in, where they are, and how controllers look from
//! there.

use std::collections::BTreeMap;

use portcullis_core::front::{News, Output};
use portcullis_core::{Address, BackendId, NodeId, Time};

use super::series::Level;
use crate::engine::configuration;
use crate::gate::Gate;
use crate::history::Fronted;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Front {
    gate: Gate,
    /// Connections that were let in and are not over.
    pub connections: Level,
    /// Those of them that no controller has.
    pub joining: Level,
    backends: BTreeMap<NodeId, Backend>,
    nodes: BTreeMap<BackendId, NodeId>,
}

/// A controller as the front sees it; the same one, however often it is taken out and put back.
#[derive(Clone, Debug)]
pub struct Backend {
    /// Those on their way there included.
    pub connections: Level,
    pub health: Health,
}

/// How a controller looks from the front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Nothing is known of it.
    Unseen,
    Up,
    Down,
    Unready,
    /// It is taken out, and its connections go on for a while.
    Leaving,
    Gone,
}

impl Health {
    /// In a word.
    pub fn word(self) -> &'static str {
        match self {
            Health::Unseen => "not seen",
            Health::Up => "up",
            Health::Down => "down",
            Health::Unready => "not ready",
            Health::Leaving => "taken out",
            Health::Gone => "gone",
        }
    }
}

impl Front {
    /// The controllers that it knows, in order.
    pub fn backends(&self) -> impl Iterator<Item = (NodeId, &Backend)> {
        self.backends.iter().map(|(node, backend)| (*node, backend))
    }

    /// Takes note of what its machine was told, or ordered.
    pub fn note(&mut self, at: Time, event: &Fronted<'_>) {
        if let Fronted::Ordered(output) = event {
            self.ordered(output);
        }
        self.gate.note(event);
        self.connections.set(at, self.gate.connections as u64);
        self.joining.set(at, self.gate.joining.len() as u64);
        for (node, backend) in &mut self.backends {
            let of_node = |id: &BackendId| self.nodes.get(id) == Some(node);
            let theirs = self.gate.backends.iter().filter(|(id, _)| of_node(id));
            let count: usize = theirs.map(|(_, (count, _))| *count).sum();
            backend.connections.set(at, count as u64);
        }
    }

    fn ordered(&mut self, output: &Output) {
        match output {
            Output::Probe { backend, address } | Output::Connect { backend, address, .. } => {
                self.of(*backend, address);
            }
            Output::Announce { backend, address, news } => {
                let health = match news {
                    News::Up => Health::Up,
                    News::Down => Health::Down,
                    News::Unready => Health::Unready,
                    News::Leaving => Health::Leaving,
                    News::Gone => Health::Gone,
                };
                self.of(*backend, address).health = health;
            }
            Output::Accept
            | Output::Withdraw
            | Output::Refuse { .. }
            | Output::HangUp { .. }
            | Output::Shut
            | Output::Exit => {}
        }
    }

    fn of(&mut self, backend: BackendId, address: &Address) -> &mut Backend {
        let node = *self.nodes.entry(backend).or_insert_with(|| configuration::node(address));
        self.backends
            .entry(node)
            .or_insert_with(|| Backend { connections: Level::default(), health: Health::Unseen })
    }
}
