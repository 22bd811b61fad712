//! What a front does: whom it has let in, who has reached a controller, and how controllers look
//! from there.
//!
//! Decides nothing: it counts, for the figures and the check of the front.

use std::collections::BTreeMap;

use portcullis_core::front::{Input, News, Output};
use portcullis_core::{BackendId, ConnectionId};

use crate::history::Fronted;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Gate {
    /// Permits that nobody has come in by.
    pub permits: u64,
    /// Connections that were let in and are not over.
    pub connections: usize,
    pub connections_most: usize,
    /// Those of them that no controller has, and where each is on its way to.
    pub joining: BTreeMap<ConnectionId, Option<BackendId>>,
    pub joining_most: usize,
    /// Connections of each backend, those on their way included, and whether it is up.
    pub backends: BTreeMap<BackendId, (usize, bool)>,
    pub let_in: u64,
    pub joined: u64,
    /// Attempts to reach a controller that came to nothing.
    pub missed: u64,
    pub refused: u64,
    pub probes: u64,
    /// How often a backend turned up, went down, said itself that it is not ready, or was taken out.
    pub up: u64,
    pub down: u64,
    pub unready: u64,
    pub leaving: u64,
    /// Connections that were open when their backend had to go.
    pub hung_up: u64,
}

impl Gate {
    /// Takes note of what the front was told, or ordered.
    pub fn note(&mut self, event: &Fronted<'_>) {
        match event {
            Fronted::Told(input) => self.told(input),
            Fronted::Ordered(output) => self.ordered(output),
        }
    }

    fn told(&mut self, input: &Input) {
        match input {
            Input::Accepted { connection } => {
                self.permits = self.permits.saturating_sub(1);
                self.let_in += 1;
                self.connections += 1;
                self.connections_most = self.connections_most.max(self.connections);
                self.joining.insert(*connection, None);
                self.joining_most = self.joining_most.max(self.joining.len());
            }
            Input::Withdrawn => self.permits = self.permits.saturating_sub(1),
            Input::Joined { connection } => {
                self.joined += 1;
                self.joining.remove(connection);
            }
            Input::NotJoined { connection, .. } => {
                self.missed += 1;
                if let Some(Some(backend)) = self.joining.insert(*connection, None) {
                    self.leave(backend);
                }
            }
            Input::Ended { backend } => {
                self.connections -= 1;
                self.leave(*backend);
            }
            Input::BackendsSet { .. } | Input::Probed { .. } | Input::Stopping => {}
        }
    }

    fn ordered(&mut self, output: &Output) {
        match output {
            Output::Accept => self.permits += 1,
            Output::Probe { .. } => self.probes += 1,
            Output::Connect { connection, backend, .. } => {
                self.joining.insert(*connection, Some(*backend));
                self.backends.entry(*backend).or_default().0 += 1;
            }
            Output::Refuse { connection, .. } => {
                self.refused += 1;
                self.connections -= 1;
                self.joining.remove(connection);
            }
            Output::HangUp { backend } => {
                self.hung_up += self.backends.get(backend).map_or(0, |(count, _)| *count as u64);
            }
            Output::Announce { backend, news, .. } => {
                let count = match news {
                    News::Up => &mut self.up,
                    News::Down => &mut self.down,
                    News::Unready => &mut self.unready,
                    News::Leaving => &mut self.leaving,
                    News::Gone => {
                        self.backends.remove(backend);
                        return;
                    }
                };
                *count += 1;
                self.backends.entry(*backend).or_default().1 = *news == News::Up;
            }
            Output::Withdraw | Output::Shut | Output::Exit => {}
        }
    }

    fn leave(&mut self, backend: BackendId) {
        if let Some((count, _)) = self.backends.get_mut(&backend) {
            *count -= 1;
        }
    }
}
