//! What is kept of each ask that has no answer, at each controller.
//!
//! Decides nothing. The asks of a connection stand together in the order in which it made them, as
//! they end together when it does; those of a process are forgotten together.

use std::collections::{BTreeMap, VecDeque};

use portcullis_core::{AskId, ConnectionId, NodeId};

use crate::lookup::Lookup;

/// See the module.
#[derive(Debug)]
pub struct Asks<T> {
    nodes: BTreeMap<NodeId, Lookup<ConnectionId, Line<T>>>,
}

/// The asks of one connection by their serials, which only grow: a new one goes to the end, and it
/// is the oldest that are answered.
type Line<T> = VecDeque<(u64, T)>;

impl<T> Default for Asks<T> {
    fn default() -> Asks<T> {
        Asks { nodes: BTreeMap::new() }
    }
}

impl<T> Asks<T> {
    /// Keeps something of an ask, and says what it took the place of.
    pub fn insert(&mut self, node: NodeId, ask: AskId, value: T) -> Option<T> {
        let connections = self.nodes.entry(node).or_default();
        let Some(line) = connections.get_mut(&ask.connection) else {
            // Most connections have one ask at a time.
            let mut line = VecDeque::with_capacity(1);
            line.push_back((ask.serial, value));
            connections.insert(ask.connection, line);
            return None;
        };
        match line.binary_search_by_key(&ask.serial, |(serial, _)| *serial) {
            Ok(place) => Some(std::mem::replace(&mut line[place].1, value)),
            Err(place) => {
                line.insert(place, (ask.serial, value));
                None
            }
        }
    }

    /// An ask has its answer: says what was kept of it.
    pub fn remove(&mut self, node: NodeId, ask: AskId) -> Option<T> {
        let connections = self.nodes.get_mut(&node)?;
        let line = connections.get_mut(&ask.connection)?;
        let place = line.binary_search_by_key(&ask.serial, |(serial, _)| *serial).ok()?;
        let (_, value) = line.remove(place)?;
        if line.is_empty() {
            connections.remove(&ask.connection);
        }
        Some(value)
    }

    /// A connection is over: gives what was kept of its asks, in their order.
    pub fn leave(&mut self, node: NodeId, connection: ConnectionId) -> impl Iterator<Item = T> {
        let line = self.nodes.get_mut(&node).and_then(|all| all.remove(&connection));
        line.into_iter().flatten().map(|(_, value)| value)
    }

    /// A process is gone, and with it all that it was asked.
    pub fn forget(&mut self, node: NodeId) {
        self.nodes.remove(&node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId(1);

    fn ask(connection: u64, serial: u64) -> AskId {
        AskId { connection: ConnectionId(connection), serial }
    }

    fn some() -> Asks<u64> {
        let mut asks = Asks::default();
        for serial in [1, 2, 5, 3] {
            assert_eq!(asks.insert(NODE, ask(2, serial), serial * 10), None);
        }
        asks.insert(NODE, ask(3, 1), 0);
        asks.insert(NodeId(2), ask(2, 1), 0);
        asks
    }

    #[test]
    fn an_ask_is_kept_until_it_is_answered() {
        let mut asks = some();
        assert_eq!(asks.insert(NODE, ask(2, 3), 31), Some(30));
        assert_eq!(asks.remove(NODE, ask(2, 3)), Some(31));
        assert_eq!(asks.remove(NODE, ask(2, 3)), None);
        assert_eq!(asks.remove(NODE, ask(4, 1)), None);
    }

    #[test]
    fn the_asks_of_a_connection_end_with_it() {
        let mut asks = some();
        assert_eq!(asks.leave(NODE, ConnectionId(2)).collect::<Vec<_>>(), [10, 20, 30, 50]);
        assert_eq!(asks.leave(NODE, ConnectionId(2)).count(), 0);
        assert_eq!(asks.remove(NODE, ask(3, 1)), Some(0));
    }

    #[test]
    fn the_asks_of_a_process_end_with_it() {
        let mut asks = some();
        asks.forget(NODE);
        assert_eq!(asks.remove(NODE, ask(2, 1)), None);
        assert_eq!(asks.remove(NodeId(2), ask(2, 1)), Some(0));
    }
}
