//! Whoever waits for a lease to be released is told once it is.
//!
//! Each controller answers its own waiters from its own copy of the table, so what counts is when
//! that copy saw the lease become free. While some are woken the others go on waiting: they may take
//! the lease. A copy that is behind need not know that somebody has: whoever was denied waits until it
//! does, so nothing is said before all has been well for a while.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use portcullis_core::controller::{Input, Output, Request};
use portcullis_core::lease::{Applied, Done, Entry, Key};
use portcullis_core::{AskId, ConnectionId, NodeId, Time};

use super::{Check, Sentence};
use crate::facts::Facts;
use crate::history::{Event, Who};
use crate::plan::Plan;
use crate::stage::Deed;

/// From a lease becoming free, or the last one being told of it, until the next must be: some gaps
/// between two groups of who are woken, and a look at the table.
pub const WOKEN_WITHIN: Duration = Duration::from_secs(5);

/// A lease at one controller.
type Room = (NodeId, Key);

/// See the module.
#[derive(Default)]
struct Woken {
    waits: BTreeMap<Room, BTreeSet<AskId>>,
    /// The lease that each waits for.
    keys: BTreeMap<(NodeId, AskId), Key>,
    /// What is free by the copies of those who run.
    free: BTreeSet<Room>,
    /// By when the next is to be told, where somebody waits for what is free; and the same by time.
    due: BTreeMap<Room, Time>,
    dues: BTreeSet<(Time, Room)>,
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
    fn overdue(&self, now: Time, facts: &Facts) -> Result<(), String> {
        let calm = facts.calm_since().is_some_and(|since| since + WOKEN_WITHIN < now);
        match self.dues.first() {
            Some((due, (node, key))) if calm && *due < now => {
                let waits = self.waits.get(&(*node, key.clone())).map_or(0, BTreeSet::len);
                Err(format!("{waits} wait at {node} for {key}, which is free, and none is told"))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn told(&mut self, at: Time, node: NodeId, input: &Input) {
        match input {
            Input::Asked { ask, request: Request::Wait(key), .. } => {
                let room = (node, key.clone());
                self.keys.insert((node, *ask), key.clone());
                let first = self.waits.get(&room).is_none_or(BTreeSet::is_empty);
                self.waits.entry(room.clone()).or_default().insert(*ask);
                if first {
                    self.weigh(at, room);
                }
            }
            Input::Cancelled { ask } => self.answered(at, node, *ask),
            Input::Disconnected { connection } => self.left(at, node, *connection),
            Input::Started => self.forget(node),
            // A snapshot took the table's place: what it says of leases is not told.
            Input::Restored { .. } => {
                let (ours, others) =
                    std::mem::take(&mut self.free).into_iter().partition(|(of, _)| *of == node);
                self.free = others;
                let ours: BTreeSet<Room> = ours;
                ours.into_iter().for_each(|room| self.weigh(at, room));
            }
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
        for key in &applied.released {
            let room = (node, key.clone());
            if self.free.insert(room.clone()) {
                self.weigh(at, room);
            }
        }
        for (command, outcome) in entry.commands.iter().zip(&applied.outcomes) {
            if let Ok(Done::Granted { .. }) = outcome {
                let room = (node, command.operation.key().clone());
                if self.free.remove(&room) {
                    self.weigh(at, room);
                }
            }
        }
    }

    fn answered(&mut self, at: Time, node: NodeId, ask: AskId) {
        let Some(key) = self.keys.remove(&(node, ask)) else { return };
        let room = (node, key);
        if let Some(waits) = self.waits.get_mut(&room) {
            waits.remove(&ask);
            if waits.is_empty() {
                self.waits.remove(&room);
            }
        }
        self.weigh(at, room);
    }

    /// Whoever was connected so waits no longer.
    fn left(&mut self, at: Time, node: NodeId, connection: ConnectionId) {
        let first = AskId { connection, serial: 0 };
        let last = AskId { connection, serial: u64::MAX };
        let theirs = self.keys.range((node, first)..=(node, last));
        let theirs: Vec<AskId> = theirs.map(|((_, ask), _)| *ask).collect();
        theirs.into_iter().for_each(|ask| self.answered(at, node, ask));
    }

    /// Sets anew by when the next is to be told of a lease, if it is free and somebody waits.
    fn weigh(&mut self, at: Time, room: Room) {
        if let Some(due) = self.due.remove(&room) {
            self.dues.remove(&(due, room.clone()));
        }
        if self.free.contains(&room) && self.waits.contains_key(&room) {
            let due = at + WOKEN_WITHIN;
            self.due.insert(room.clone(), due);
            self.dues.insert((due, room));
        }
    }

    /// A process is gone, and with it all that it knew.
    fn forget(&mut self, node: NodeId) {
        self.waits.retain(|(of, _), _| *of != node);
        self.keys.retain(|(of, _), _| *of != node);
        self.free.retain(|(of, _)| *of != node);
        self.due.retain(|(of, _), _| *of != node);
        self.dues.retain(|(_, (of, _))| *of != node);
    }
}

#[cfg(test)]
mod tests {
    use portcullis_core::GlobalTime;
    use portcullis_core::lease::{Command, Operation};
    use portcullis_core::queue::Answer;

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
