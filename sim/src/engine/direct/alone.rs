//! Controllers that take silence for death, in the design that has them do so: one that hears no other
//! for a while makes itself the cluster, as an operator does who recovers the last of a cluster.

use std::time::Duration;

use portcullis_core::{NodeId, Time};

use super::raft::Life;
use super::{Event, World};
use crate::history::{Event as Fact, Who};
use crate::stage::Deed;

/// From hearing another controller last to being alone.
const BLIND: Duration = Duration::from_secs(10);
/// From one look at who is heard to the next.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Who has answered raft within this is heard, as in production.
const HEARD_WITHIN: Duration = Duration::from_secs(1);

impl World<'_> {
    /// A process looks from now on whether it hears others, if this run's design has it.
    pub(super) fn watch_others(&mut self, life: Life) {
        if !self.plan.settings.policy.majorities {
            self.heap.push(self.now + LOOK_EVERY, Event::Blind(life, self.now));
        }
    }

    /// One look of a process that has heard somebody last at that time. One that is alone for it
    /// ends and starts again on a log that says so.
    pub(super) fn look_around(&mut self, life: Life, heard_at: Time) {
        let now = self.now;
        if !self.process(life.node).lives(life) {
            return;
        }
        let heard_at = if self.hears_others(life.node) { now } else { heard_at };
        if now.since(heard_at) < BLIND {
            return self.heap.push(now + LOOK_EVERY, Event::Blind(life, heard_at));
        }
        self.record(Who::World, Fact::Did(&Deed::Left(life.node)));
        self.die(life.node);
        self.process(life.node).disk.reduce(life.node);
        self.start(life.node);
    }

    /// Whether a controller hears any other, as far as raft can tell: a leader who answers it, a
    /// follower whom it follows. One that is the cluster already misses nobody.
    fn hears_others(&mut self, node: NodeId) -> bool {
        let process = self.process(node);
        let leader = process.leader;
        let Some(raft) = &process.raft else { return true };
        match raft.picture(HEARD_WITHIN, |_| false) {
            Some(picture) => picture.heard.len() > 1 || picture.voters.len() == 1,
            None => leader.is_some(),
        }
    }
}
