//! While many wait, entries carry many: whoever waits alone is alone.

use std::collections::BTreeMap;

use portcullis_core::controller::{Input, Output};
use portcullis_core::{BatchId, NodeId, Time};

use super::{Check, Sentence};
use crate::facts::Facts;
use crate::history::{Event, Kind, Kinds, Who};
use crate::plan::Plan;

/// An entry of one command may leave so many behind it: they came in the same moment.
pub const LEFT_MAX: usize = 16;
/// How many such entries may leave more behind, one after another.
pub const LONELY_MAX: u32 = 8;

/// See the module.
#[derive(Default)]
struct Batched {
    controllers: BTreeMap<NodeId, Controller>,
}

#[derive(Default)]
struct Controller {
    /// How many commands each batch in flight carries, and all of them.
    flights: BTreeMap<BatchId, usize>,
    in_flight: usize,
    /// Entries in a row that carried one command and left many behind.
    lonely: u32,
}

/// Nothing, if entries are to carry one command.
pub(super) fn make(plan: &Plan) -> Option<Box<dyn Check>> {
    (plan.settings.controllers.batch_max > 1).then(|| Box::<Batched>::default() as Box<dyn Check>)
}

impl Check for Batched {
    fn name(&self) -> &'static str {
        "batched"
    }

    fn sentence(&self) -> Sentence {
        Sentence {
            seed: "004",
            text: "Raft is now fronted with a queuing system that can coalesce command operations \
                   for batching",
        }
    }

    fn hears(&self) -> Kinds {
        Kinds::of(&[Kind::Told, Kind::Ordered, Kind::Killed])
    }

    fn always(
        &mut self,
        _: Time,
        who: Who,
        event: &Event<'_>,
        facts: &Facts,
    ) -> Result<(), String> {
        match (who, event) {
            (Who::Controller(node), Event::Told(Input::Started) | Event::Killed(_)) => {
                self.controllers.remove(&node);
                Ok(())
            }
            (
                Who::Controller(node),
                Event::Told(
                    Input::Committed { batch, .. }
                    | Input::NotProposed { batch, .. }
                    | Input::BatchLost { batch },
                ),
            ) => {
                let controller = self.controllers.entry(node).or_default();
                controller.in_flight -= controller.flights.remove(batch).unwrap_or_default();
                Ok(())
            }
            (Who::Controller(node), Event::Ordered(Output::Propose { batch, entry })) => {
                let commands = entry.commands.len();
                let queued = facts.queued(node);
                self.controllers.entry(node).or_default().proposed(*batch, commands, queued, node)
            }
            (_, Event::Told(_) | Event::Ordered(_) | Event::Did(_) | Event::Memory(_))
            | (_, Event::AgentTold(_) | Event::AgentOrdered(_) | Event::Applied { .. })
            | (_, Event::Cluster(_) | Event::Singular(_))
            | (_, Event::Front(_) | Event::BacklogFull | Event::Killed(_) | Event::Error(_)) => {
                Ok(())
            }
        }
    }
}

impl Controller {
    fn proposed(
        &mut self,
        batch: BatchId,
        commands: usize,
        queued: usize,
        node: NodeId,
    ) -> Result<(), String> {
        self.flights.insert(batch, commands);
        self.in_flight += commands;
        // Whoever left while in flight makes this too small, never too large.
        let left = queued.saturating_sub(self.in_flight);
        match (commands, left > LEFT_MAX) {
            // The clock's own entry says nothing of batching.
            (0, _) => {}
            (1, true) => self.lonely += 1,
            (_, _) => self.lonely = 0,
        }
        if self.lonely > LONELY_MAX {
            return Err(format!(
                "{node} proposes entries of one command each while {left} asks wait"
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use portcullis_core::controller::Request;
    use portcullis_core::lease::{Command, Entry, Key, Operation};
    use portcullis_core::sessions::Party;
    use portcullis_core::{AskId, ConnectionId, Door, GlobalTime, NodeId};

    use super::*;
    use crate::check::tests::{ONE, Story};

    fn claim(serial: u64) -> Operation {
        let holder = serial.to_string().into();
        Operation::Claim { key: Key::default(), holder, duration: Duration::from_secs(60) }
    }

    /// Another controller comes to a leader, and hands it a hundred asks.
    fn handed() -> Story {
        let mut story = Story::new(make, "");
        story.serving(ONE);
        let (connection, door) = (ConnectionId(3), Door::Controller);
        let party = Party::Controller(NodeId(2));
        story.told(0, ONE, Input::Connected { connection, door }).expect("it may come");
        story.told(0, ONE, Input::LoggedIn { connection, party }).expect("it may come in");
        (0..100).for_each(|serial| ask(&mut story, serial));
        story
    }

    fn ask(story: &mut Story, serial: u64) {
        let ask = AskId { connection: ConnectionId(3), serial };
        let (request, patience) = (Request::Apply(claim(serial)), Duration::from_secs(5));
        story
            .told(0, ONE, Input::Asked { ask, request, patience, renews: false })
            .expect("asking is fine");
    }

    fn propose(story: &mut Story, batch: u64, commands: u64) -> Result<(), String> {
        let void_after = GlobalTime(0);
        let commands = (0..commands).map(|serial| Command { operation: claim(serial), void_after });
        let entry = Entry { now: GlobalTime(0), commands: commands.collect() };
        story.ordered(1, ONE, Output::Propose { batch: BatchId(batch), entry })
    }

    #[test]
    fn entries_of_one_command_while_many_wait_are_caught() {
        let mut story = handed();
        assert!((0..8).all(|batch| propose(&mut story, batch, 1).is_ok()));
        assert!(propose(&mut story, 8, 1).is_err());
    }

    #[test]
    fn full_entries_and_lonely_asks_are_fine() {
        let mut story = handed();
        assert!(propose(&mut story, 0, 90).is_ok());
        assert!((1..20).all(|batch| propose(&mut story, batch, 1).is_ok()));
    }
}
