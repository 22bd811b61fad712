//! Who outside still waits for something to be done to a lease.

use std::collections::BTreeMap;
use std::sync::Arc;

use portcullis_core::lease::{Key, Operation};
use portcullis_core::{NodeId, Time};

use super::Ask;
use crate::lookup::Lookup;

/// See the module.
#[derive(Default)]
pub(super) struct Wanted {
    leases: Lookup<Key, Vec<Want>>,
    /// The last ask of all that each process may have known of when it ended.
    gone: BTreeMap<NodeId, u64>,
}

/// Somebody waits at a controller for the answer to an ask.
struct Want {
    operation: Arc<Operation>,
    node: NodeId,
    serial: u64,
    until: Time,
}

impl Want {
    /// Whether the controller that was asked still knows of it, and its asker is still there.
    fn stands(&self, at: Time, gone: &BTreeMap<NodeId, u64>) -> bool {
        self.until >= at && gone.get(&self.node).is_none_or(|last| self.serial > *last)
    }
}

impl Wanted {
    /// Somebody asks for this at a controller.
    pub fn add(&mut self, at: Time, node: NodeId, ask: &Ask) {
        let Some(operation) = ask.operation.as_ref().filter(|_| ask.edge) else { return };
        let wants = self.leases.at(operation.key());
        wants.retain(|want| want.stands(at, &self.gone));
        let (operation, serial, until) = (Arc::clone(operation), ask.serial, ask.until);
        wants.push(Want { operation, node, serial, until });
    }

    /// Nobody waits for an ask any more.
    pub fn remove(&mut self, ask: &Ask) {
        let Some(operation) = ask.operation.as_ref().filter(|_| ask.edge) else { return };
        let Some(wants) = self.leases.get_mut(operation.key()) else { return };
        if let Some(place) = wants.iter().position(|want| want.serial == ask.serial) {
            wants.swap_remove(place);
        }
    }

    /// A process is gone, and nobody waits for what it was asked; `serials` were counted so far.
    pub fn died(&mut self, node: NodeId, serials: u64) {
        self.gone.insert(node, serials);
    }

    /// Whether anybody waits for this to be done.
    pub fn has(&self, at: Time, operation: &Operation) -> bool {
        let wants = self.leases.get(operation.key());
        let wanted = |want: &Want| *want.operation == *operation && want.stands(at, &self.gone);
        wants.is_some_and(|wants| wants.iter().any(wanted))
    }
}
