//! Who starts a process again that has ended by itself: each host's service manager.

use std::collections::BTreeMap;

use portcullis_core::{NodeId, Time};

use super::{Play, locked};
use crate::engine::REVIVE_AFTER;
use crate::history::{Event, Who};
use crate::stage::Deed;

/// The service managers of all hosts: whom they start again, and when.
#[derive(Default)]
pub struct Supervisor(BTreeMap<NodeId, Time>);

impl Supervisor {
    /// Whose process has just ended by itself, and is to be killed now: production's would be gone.
    pub fn ended(&mut self, play: &Play, now: Time) -> Vec<NodeId> {
        let ended = std::mem::take(&mut *locked(&play.failed));
        for node in &ended {
            play.book.record(Who::World, Event::Did(&Deed::Failed(*node)));
            self.0.insert(*node, now + REVIVE_AFTER);
        }
        ended
    }

    /// Takes note of a deed: whom the plan ends, or starts, no service manager starts again.
    pub fn saw(&mut self, deed: &Deed) {
        if let Deed::Crash(node) | Deed::Stop(node) | Deed::Restart(node) = deed {
            self.0.remove(node);
        }
    }

    /// When somebody is to be started next.
    pub fn next(&self) -> Option<Time> {
        self.0.values().copied().min()
    }

    /// Who is to be started by now.
    pub fn due(&mut self, now: Time) -> Vec<NodeId> {
        self.0.extract_if(.., |_, at| *at <= now).map(|(node, _)| node).collect()
    }
}

impl Play {
    /// Returns when a process is to end by itself.
    pub async fn failing(&self) {
        self.failing.notified().await;
    }
}
