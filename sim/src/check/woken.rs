//! Whoever waits for a lease to be released is told once it is.
//!
//! Each controller answers its own waiters from its own copy of the table, so what counts is when
//! that copy saw the lease become free. While some are woken the others go on waiting: they may take
//! the lease. A copy that is behind need not know that somebody has: whoever was denied waits until it
//! does, so nothing is said before all has been well for a while.

use std::collections::BTreeMap;
use std::time::Duration;

use portcullis_core::controller::{Input, Output, Request};
use portcullis_core::lease::{Applied, Done, Entry, Key};
use portcullis_core::{AskId, NodeId, Time};

use super::{Check, Sentence};
use crate::asks::Asks;
use crate::dues::Dues;
use crate::facts::Facts;
use crate::history::{Event, Who};
use crate::lookup::Lookup;
use crate::plan::Plan;
use crate::stage::Deed;

/// From a lease becoming free, or the last one being told of it, until the next must be: some gaps
/// between two groups of who are woken, and a look at the table.
pub const WOKEN_WITHIN: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Default)]
struct Woken {
    tables: BTreeMap<NodeId, Table>,
    /// The lease that each waits for.
    keys: Asks<Key>,
    /// By when the next is to be told of a lease at a controller.
    dues: Dues<(NodeId, Key)>,
}

/// The table of one who runs.
#[derive(Default)]
struct Table {
    rooms: Lookup<Key, Room>,
    /// How often a snapshot has taken its place.
    restored: u64,
}

/// A lease at one controller.
#[derive(Default)]
struct Room {
    waits: usize,
    /// Whether it is free: since which snapshot, as the next says nothing of it.
    free: Option<u64>,
    /// By when the next is to be told, where somebody waits for what is free.
    due: Option<Time>,
}

impl Table {
    /// By when the next is to be told of a lease, if anybody is.
    fn due(&self, key: &Key) -> Option<Time> {
        let room = self.rooms.get(key)?;
        room.due.filter(|_| room.free == Some(self.restored))
    }
}

pub(super) fn make(plan: &Plan) -> Option<Box<dyn Check>> {
    // The old way answers waiters by a poll of its own.
    let old_way = plan.settings.policy.old_way(&plan.settings.controllers);
    (!old_way).then(|| Box::new(Woken::default()) as Box<dyn Check>)
}

impl Check for Woken {
    fn name(&self) -> &'static str {
        "woken"
    }

    fn sentence(&self) -> Sentence {
        Sentence {
            seed: "002",
            text: "Applying any Raft logs to the FSM before sending the resulting event back.",
        }
    }

    fn always(
        &mut self,
        at: Time,
        who: Who,
        event: &Event<'_>,
        facts: &Facts,
    ) -> Result<(), String> {
        self.overdue(at, facts)?;
        match (who, event) {
            (Who::Controller(node), Event::Told(input)) => self.told(at, node, input),
            (Who::Controller(node), Event::Ordered(Output::Answer { ask, .. })) => {
                self.answered(at, node, *ask);
            }
            (Who::Controller(node), Event::Ordered(Output::Stopped) | Event::Killed(_)) => {
                self.forget(node);
            }
            (Who::Controller(node), Event::Applied { entry, applied, .. }) => {
                self.applied(at, node, entry, applied);
            }
            (_, Event::Did(Deed::Crash(node) | Deed::Left(node) | Deed::Failed(node))) => {
                self.forget(*node);
            }
            (_, Event::Told(_) | Event::Ordered(_) | Event::Did(_) | Event::Memory(_))
            | (_, Event::AgentTold(_) | Event::AgentOrdered(_) | Event::Applied { .. })
            | (_, Event::Cluster(_) | Event::Singular(_))
            | (_, Event::Front(_) | Event::BacklogFull | Event::Killed(_) | Event::Error(_)) => {}
        }
        Ok(())
    }

    fn settled(&mut self, now: Time, facts: &Facts) -> Result<(), String> {
        self.overdue(now, facts)
    }
}

impl Woken {
    fn overdue(&mut self, now: Time, facts: &Facts) -> Result<(), String> {
        if facts.calm_since().is_none_or(|since| since + WOKEN_WITHIN >= now) {
            return Ok(());
        }
        let tables = &self.tables;
        let stands = |due, (node, key): &(NodeId, Key)| {
            tables.get(node).and_then(|table| table.due(key)) == Some(Time(due))
        };
        match self.dues.overdue(now.0, stands) {
            Some((_, (node, key))) => {
                let room = tables.get(node).and_then(|table| table.rooms.get(key));
                let waits = room.map_or(0, |room| room.waits);
                Err(format!("{waits} wait at {node} for {key}, which is free, and none is told"))
            }
            None => Ok(()),
        }
    }

    fn told(&mut self, at: Time, node: NodeId, input: &Input) {
        match input {
            Input::Asked { ask, request: Request::Wait(key), .. } => {
                if let Some(before) = self.keys.insert(node, *ask, key.clone()) {
                    self.waits_no_more(at, node, &before);
                }
                let room = self.room(node, key);
                room.waits += 1;
                if room.waits == 1 {
                    self.weigh(at, node, key);
                }
            }
            Input::Cancelled { ask } => self.answered(at, node, *ask),
            Input::Disconnected { connection } => {
                let left: Vec<Key> = self.keys.leave(node, *connection).collect();
                left.iter().for_each(|key| self.waits_no_more(at, node, key));
            }
            Input::Started => self.forget(node),
            // A snapshot took the table's place: what it says of leases is not told.
            Input::Restored { .. } => self.tables.entry(node).or_default().restored += 1,
            Input::Asked { .. }
            | Input::Connected { .. }
            | Input::Arrived { .. }
            | Input::LoggedIn { .. }
            | Input::Led { .. }
            | Input::Followed { .. }
            | Input::Opened { .. }
            | Input::NotOpened { .. }
            | Input::Pinged { .. }
            | Input::Answered { .. }
            | Input::NotSent { .. }
            | Input::Lost { .. }
            | Input::Looked { .. }
            | Input::Committed { .. }
            | Input::NotProposed { .. }
            | Input::BatchLost { .. }
            | Input::Applied { .. }
            | Input::Reconfigured { .. }
            | Input::Knocked { .. }
            | Input::Linked { .. }
            | Input::Committing { .. }
            | Input::Working { .. }
            | Input::Offered { .. }
            | Input::Heard { .. }
            | Input::Memory { .. }
            | Input::Stopping => {}
        }
    }

    fn applied(&mut self, at: Time, node: NodeId, entry: &Entry, applied: &Applied) {
        let restored = self.tables.entry(node).or_default().restored;
        for key in &applied.released {
            let before = self.room(node, key).free.replace(restored);
            if before != Some(restored) {
                self.weigh(at, node, key);
            }
        }
        for (command, outcome) in entry.commands.iter().zip(&applied.outcomes) {
            if let Ok(Done::Granted { .. }) = outcome
                && let Some(table) = self.tables.get_mut(&node)
                && let Some(room) = table.rooms.get_mut(command.operation.key())
            {
                room.free = None;
            }
        }
    }

    fn answered(&mut self, at: Time, node: NodeId, ask: AskId) {
        if let Some(key) = self.keys.remove(node, ask) {
            self.waits_no_more(at, node, &key);
        }
    }

    fn waits_no_more(&mut self, at: Time, node: NodeId, key: &Key) {
        self.room(node, key).waits -= 1;
        self.weigh(at, node, key);
    }

    fn room(&mut self, node: NodeId, key: &Key) -> &mut Room {
        self.tables.entry(node).or_default().rooms.at(key)
    }

    /// Sets anew by when the next is to be told of a lease, if it is free and somebody waits.
    fn weigh(&mut self, at: Time, node: NodeId, key: &Key) {
        let table = self.tables.entry(node).or_default();
        let free = Some(table.restored);
        let room = table.rooms.at(key);
        room.due = (room.free == free && room.waits > 0).then(|| at + WOKEN_WITHIN);
        if let Some(due) = room.due {
            self.dues.add(due.0, (node, key.clone()));
        }
    }

    /// A process is gone, and with it all that it knew.
    fn forget(&mut self, node: NodeId) {
        self.tables.remove(&node);
        self.keys.forget(node);
        self.dues.take(|(of, _)| *of == node);
    }
}

#[cfg(test)]
mod tests {
    use portcullis_core::lease::{Command, Operation};
    use portcullis_core::queue::Answer;
    use portcullis_core::{ConnectionId, GlobalTime};

    use super::*;
    use crate::check::tests::{ONE, Story};

    const ASK: AskId = AskId { connection: ConnectionId(2), serial: 1 };

    /// One waits from the beginning for a lease that becomes free after a second.
    fn story() -> Story {
        let mut story = Story::new(make, "");
        story.serving(ONE);
        let (request, patience) = (Request::Wait(Key::default()), Duration::from_secs(5));
        let wait = Input::Asked { ask: ASK, request, renews: false, patience };
        assert!(story.told(0, ONE, wait).is_ok());
        let entry = Entry { now: GlobalTime(0), commands: Default::default() };
        let applied = Applied { outcomes: Vec::new(), released: vec![Key::default()] };
        let event = Event::Applied { index: 1, entry: &entry, applied: &applied };
        assert!(story.event(1_000, ONE, event).is_ok());
        story
    }

    fn answered(at: u64) -> Result<(), String> {
        let mut story = story();
        story.ordered(at, ONE, Output::Answer { ask: ASK, answer: Answer::Released })?;
        story.settled(60_000)
    }

    #[test]
    fn a_waiter_that_nobody_tells_is_caught() {
        assert_eq!(answered(6_000), Ok(()));
        assert!(answered(6_001).is_err());
        assert!(story().settled(6_001).is_err());
    }

    #[test]
    fn nobody_need_be_told_of_what_another_has_taken() {
        let mut story = story();
        let (holder, duration) = ("a".into(), Duration::from_secs(60));
        let operation = Operation::Claim { key: Key::default(), holder, duration };
        let now = GlobalTime(0);
        let entry = Entry { now, commands: [Command { operation, void_after: now }].into() };
        let outcomes = vec![Ok(Done::Granted { fence: 1, expiry: now + duration })];
        let applied = Applied { outcomes, released: Vec::new() };
        let event = Event::Applied { index: 2, entry: &entry, applied: &applied };
        assert!(story.event(2_000, ONE, event).is_ok());
        assert_eq!(story.settled(60_000), Ok(()));
    }

    #[test]
    fn whoever_has_left_need_not_be_told() {
        let mut story = story();
        let gone = Input::Disconnected { connection: ASK.connection };
        assert!(story.told(2_000, ONE, gone).is_ok());
        assert_eq!(story.settled(60_000), Ok(()));
    }
}
