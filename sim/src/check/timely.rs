//! Nothing is proposed that its asker has given up by then.
//!
//! By how much later a controller may count than the asker is a matter of [`late`](crate::late).
//! Whoever takes an ask back, or leaves, has given it up as well; but if something is wrong meanwhile,
//! or was until a moment ago, nobody need hear of it.

use std::sync::Arc;
use std::time::Duration;

use portcullis_core::controller::{Input, Output};
use portcullis_core::lease::{Entry, Key, Operation};
use portcullis_core::{NodeId, Time, queue};

use super::one_answer::LATE_MAX;
use super::{Check, Sentence};
use crate::asks::Asks;
use crate::facts::{Ask, Facts};
use crate::history::{Event, Kind, Kinds, Who};
use crate::late::{Deadline, Late};
use crate::lookup::Lookup;
use crate::plan::Plan;

/// How long after its deadline an operation is remembered.
const KEPT: Duration = Duration::from_secs(300);

/// After trouble, so long until links are there again by which an ask can be recalled.
const RECALLED_WITHIN: Duration = Duration::from_secs(5);

/// See the module. Of equal operations the latest ask counts.
struct Timely {
    /// By lease, who asked for what, and by when they have given up.
    asked: Lookup<Key, Vec<Asked>>,
    /// What each ask without an answer is for, and its serial.
    open: Asks<(u64, Arc<Operation>)>,
    /// How many deeds were done.
    deeds: u64,
    patience_max: Duration,
}

/// An operation that somebody wants.
struct Asked {
    operation: Arc<Operation>,
    /// Which ask it is of.
    serial: u64,
    deadline: Deadline,
    /// When it was given up before that, and after how many deeds. With another deed that says nothing
    /// any more: what was taken back in the last moment may be lost on its way.
    given_up: Option<(u64, Deadline)>,
}

impl Asked {
    /// Until when it may be proposed, so many deeds having been done.
    fn until(&self, deeds: u64, late: &Late) -> Time {
        let deadline = late.until(self.deadline);
        match self.given_up.filter(|(then, _)| *then == deeds) {
            Some((_, given_up)) => late.until(given_up).min(deadline),
            None => deadline,
        }
    }
}

pub(super) fn make(_: &Plan) -> Option<Box<dyn Check>> {
    let patience_max = queue::Config::default().patience_max;
    let (asked, open) = (Lookup::default(), Asks::default());
    Some(Box::new(Timely { asked, open, deeds: 0, patience_max }))
}

impl Check for Timely {
    fn name(&self) -> &'static str {
        "timely"
    }

    fn sentence(&self) -> Sentence {
        Sentence {
            seed: "004",
            text: "they'll be processed, except by the time they're ready for processing, they've \
                   already expired!",
        }
    }

    fn hears(&self) -> Kinds {
        Kinds::of(&[Kind::Told, Kind::Ordered, Kind::Did])
    }

    fn always(
        &mut self,
        at: Time,
        who: Who,
        event: &Event<'_>,
        facts: &Facts,
    ) -> Result<(), String> {
        match (who, event) {
            (Who::Controller(node), Event::Told(Input::Asked { ask, patience, .. })) => {
                if let Some(asked) = facts.ask(node, *ask).filter(|ask| ask.edge)
                    && let Some(operation) = &asked.operation
                {
                    self.open.insert(node, *ask, (asked.serial, Arc::clone(operation)));
                    let deadline = at + *patience.min(&self.patience_max) + LATE_MAX;
                    self.asked(at, asked, operation, deadline, facts.late());
                }
                Ok(())
            }
            (Who::Controller(node), Event::Told(Input::Cancelled { ask })) => {
                let taken_back = self.open.remove(node, *ask);
                self.give_up(at, taken_back.into_iter(), facts);
                Ok(())
            }
            (Who::Controller(node), Event::Told(Input::Disconnected { connection })) => {
                let left: Vec<_> = self.open.leave(node, *connection).collect();
                self.give_up(at, left.into_iter(), facts);
                Ok(())
            }
            (Who::Controller(node), Event::Ordered(Output::Answer { ask, .. })) => {
                self.open.remove(node, *ask);
                Ok(())
            }
            (Who::Controller(node), Event::Told(Input::Started)) => {
                self.open.forget(node);
                Ok(())
            }
            (Who::Controller(node), Event::Ordered(Output::Propose { entry, .. })) => {
                self.proposed(at, node, entry, facts.late())
            }
            (_, Event::Did(_)) => {
                self.deeds += 1;
                Ok(())
            }
            (_, Event::Told(_) | Event::Ordered(_) | Event::Memory(_))
            | (_, Event::AgentTold(_) | Event::AgentOrdered(_) | Event::Applied { .. })
            | (_, Event::Cluster(_) | Event::Singular(_))
            | (_, Event::Front(_) | Event::BacklogFull | Event::Killed(_) | Event::Error(_)) => {
                Ok(())
            }
        }
    }
}

impl Timely {
    fn asked(
        &mut self,
        at: Time,
        ask: &Ask,
        operation: &Arc<Operation>,
        deadline: Time,
        late: &Late,
    ) {
        let asked = self.asked.at(operation.key());
        asked.retain(|other| {
            late.until(other.deadline) + KEPT > at && other.operation != *operation
        });
        let (operation, deadline) = (Arc::clone(operation), late.deadline(deadline));
        asked.push(Asked { operation, serial: ask.serial, deadline, given_up: None });
    }

    /// Nobody waits for these asks any more.
    fn give_up(
        &mut self,
        at: Time,
        open: impl Iterator<Item = (u64, Arc<Operation>)>,
        facts: &Facts,
    ) {
        if facts.calm_since().is_none_or(|since| since + RECALLED_WITHIN >= at) {
            return;
        }
        let given_up = (self.deeds, facts.late().deadline(at + LATE_MAX));
        for (serial, operation) in open {
            let asked = self.asked.get_mut(operation.key()).into_iter().flatten();
            for asked in asked.filter(|asked| asked.serial == serial) {
                asked.given_up = Some(given_up);
            }
        }
    }

    fn proposed(&self, at: Time, node: NodeId, entry: &Entry, late: &Late) -> Result<(), String> {
        for command in &*entry.commands {
            let operation = &command.operation;
            let asked = self.asked.get(operation.key());
            let asked = asked.and_then(|all| all.iter().find(|one| *one.operation == *operation));
            let until = asked.map(|asked| asked.until(self.deeds, late));
            if let Some(until) = until
                && until < at
            {
                let late = at.since(until);
                return Err(format!("{node} proposes {late:?} after it was given up: {operation}"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use portcullis_core::controller::Request;
    use portcullis_core::lease::Command;
    use portcullis_core::{AskId, BatchId, ConnectionId, GlobalTime};

    use super::*;
    use crate::check::tests::{ONE, Story};
    use crate::stage::{Deed, Place};

    #[test]
    fn what_waited_on_its_way_may_be_as_late() {
        let late = |held: u64, at| {
            let mut story = Story::new(make, "");
            story.serving(ONE);
            let [from, to] = [2, 1].map(|node| Place::Controller(NodeId(node)));
            let hold = Deed::Hold { from, to };
            assert!(story.event(0, Who::World, Event::Did(&hold)).is_ok());
            let propose = asked(&mut story);
            let release = Deed::Release { from, to };
            assert!(story.event(held, Who::World, Event::Did(&release)).is_ok());
            story.ordered(at, ONE, propose)
        };
        assert!(late(4_000, 10_000).is_ok());
        assert!(late(4_000, 10_001).is_err());
    }

    #[test]
    fn what_waited_for_one_that_was_paused_may_be_as_late() {
        let late = |paused: u64, at| {
            let mut story = Story::new(make, "");
            story.serving(ONE);
            let node = NodeId(1);
            assert!(story.event(0, Who::World, Event::Did(&Deed::Pause(node))).is_ok());
            let propose = asked(&mut story);
            assert!(story.event(paused, Who::World, Event::Did(&Deed::Resume(node))).is_ok());
            story.ordered(at, ONE, propose)
        };
        assert!(late(4_000, 10_000).is_ok());
        assert!(late(4_000, 10_001).is_err());
    }

    #[test]
    fn work_for_somebody_who_has_left_is_caught() {
        let mut story = Story::new(make, "");
        story.serving(ONE);
        let propose = asked(&mut story);
        assert!(story.ordered(6_000, ONE, propose.clone()).is_ok());
        assert!(story.ordered(6_001, ONE, propose).is_err());
    }

    #[test]
    fn work_for_somebody_who_has_taken_it_back_is_caught() {
        let late = |at| {
            let mut story = Story::new(make, "");
            story.serving(ONE);
            let propose = asked_at(&mut story, 10_000);
            let ask = AskId { connection: ConnectionId(2), serial: 1 };
            assert!(story.told(10_500, ONE, Input::Cancelled { ask }).is_ok());
            story.ordered(at, ONE, propose)
        };
        assert!(late(11_500).is_ok());
        assert!(late(11_501).is_err());
    }

    #[test]
    fn what_was_taken_back_while_something_is_wrong_may_go_on() {
        let mut story = Story::new(make, "");
        story.serving(ONE);
        let propose = asked_at(&mut story, 10_000);
        let gone = Input::Disconnected { connection: ConnectionId(2) };
        assert!(story.told(10_500, ONE, gone).is_ok());
        let [from, to] = [1, 2].map(|node| Place::Controller(NodeId(node)));
        assert!(story.event(10_600, Who::World, Event::Did(&Deed::Cut { from, to })).is_ok());
        assert!(story.ordered(16_000, ONE, propose).is_ok());
    }

    /// Somebody asks, patient for five seconds; what would propose it.
    fn asked(story: &mut Story) -> Output {
        asked_at(story, 0)
    }

    fn asked_at(story: &mut Story, at: u64) -> Output {
        let operation = Operation::Revoke { key: Key::default(), holder: "a".into() };
        let ask = AskId { connection: ConnectionId(2), serial: 1 };
        let (request, patience) = (Request::Apply(operation.clone()), Duration::from_secs(5));
        assert!(
            story.told(at, ONE, Input::Asked { ask, request, patience, renews: false }).is_ok()
        );
        let command = Command { operation, void_after: GlobalTime(u64::MAX) };
        let entry = Entry { now: GlobalTime(0), commands: [command].into() };
        Output::Propose { batch: BatchId(1), entry }
    }
}
