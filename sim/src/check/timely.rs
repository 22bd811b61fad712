//! Nothing is proposed that its asker has given up by then.
//!
//! By how much later a controller may count than the asker is a matter of [`late`](crate::late).
//! Whoever takes an ask back, or leaves, has given it up as well; but if something is wrong meanwhile,
//! or was until a moment ago, nobody need hear of it.

use std::collections::BTreeMap;
use std::time::Duration;

use portcullis_core::controller::{Input, Output, Request};
use portcullis_core::lease::{Entry, Key, Operation};
use portcullis_core::{AskId, NodeId, Time, queue};

use super::one_answer::LATE_MAX;
use super::{Check, Sentence};
use crate::facts::Facts;
use crate::history::{Event, Kind, Kinds, Who};
use crate::late::{Deadline, Late};
use crate::plan::Plan;

/// How long after its deadline an operation is remembered.
const KEPT: Duration = Duration::from_secs(300);

/// After trouble, so long until links are there again by which an ask can be recalled.
const RECALLED_WITHIN: Duration = Duration::from_secs(5);

/// See the module. Of equal operations the latest ask counts.
struct Timely {
    /// By lease, who asked for what, and by when they have given up.
    asked: BTreeMap<Key, Vec<Asked>>,
    /// The lease of each ask without an answer.
    open: BTreeMap<(NodeId, AskId), Key>,
    patience_max: Duration,
}

/// An operation that somebody wants.
struct Asked {
    operation: Operation,
    /// Which ask it is of, and where.
    by: (NodeId, AskId),
    deadline: Deadline,
    /// When it was given up before that.
    given_up: Option<Deadline>,
}

impl Asked {
    /// Until when it may be proposed.
    fn until(&self, late: &Late) -> Time {
        let deadline = late.until(self.deadline);
        self.given_up.map_or(deadline, |given_up| late.until(given_up).min(deadline))
    }
}

pub(super) fn make(_: &Plan) -> Option<Box<dyn Check>> {
    let patience_max = queue::Config::default().patience_max;
    Some(Box::new(Timely { asked: BTreeMap::new(), open: BTreeMap::new(), patience_max }))
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
            (Who::Controller(node), Event::Told(Input::Asked { ask, request, patience, .. })) => {
                if let Request::Apply(operation) = request
                    && facts.ask(node, *ask).is_some_and(|ask| ask.edge)
                {
                    let deadline = at + *patience.min(&self.patience_max) + LATE_MAX;
                    self.asked(at, (node, *ask), operation, deadline, facts.late());
                }
                Ok(())
            }
            (Who::Controller(node), Event::Told(Input::Cancelled { ask })) => {
                self.gives_up(at, (node, *ask), facts);
                Ok(())
            }
            (Who::Controller(node), Event::Told(Input::Disconnected { connection })) => {
                let [first, last] =
                    [0, u64::MAX].map(|serial| AskId { connection: *connection, serial });
                let theirs = self.open.range((node, first)..=(node, last));
                let theirs: Vec<_> = theirs.map(|(by, _)| *by).collect();
                theirs.into_iter().for_each(|by| self.gives_up(at, by, facts));
                Ok(())
            }
            (Who::Controller(node), Event::Ordered(Output::Answer { ask, .. })) => {
                self.open.remove(&(node, *ask));
                Ok(())
            }
            (Who::Controller(node), Event::Told(Input::Started)) => {
                self.open.retain(|(of, _), _| *of != node);
                Ok(())
            }
            (Who::Controller(node), Event::Ordered(Output::Propose { entry, .. })) => {
                self.proposed(at, node, entry, facts.late())
            }
            (_, Event::Did(_)) => {
                // What was taken back in the last moment may be lost on its way.
                self.asked.values_mut().flatten().for_each(|asked| asked.given_up = None);
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
        by: (NodeId, AskId),
        operation: &Operation,
        deadline: Time,
        late: &Late,
    ) {
        self.open.insert(by, operation.key().clone());
        let asked = self.asked.entry(operation.key().clone()).or_default();
        asked.retain(|other| {
            late.until(other.deadline) + KEPT > at && other.operation != *operation
        });
        let (operation, deadline) = (operation.clone(), late.deadline(deadline));
        asked.push(Asked { operation, by, deadline, given_up: None });
    }

    /// Nobody waits for an ask any more.
    fn gives_up(&mut self, at: Time, by: (NodeId, AskId), facts: &Facts) {
        let calm = facts.calm_since().is_some_and(|since| since + RECALLED_WITHIN < at);
        let Some(key) = self.open.remove(&by).filter(|_| calm) else { return };
        let given_up = facts.late().deadline(at + LATE_MAX);
        let asked = self.asked.get_mut(&key).into_iter().flatten();
        for asked in asked.filter(|asked| asked.by == by) {
            asked.given_up = Some(given_up);
        }
    }

    fn proposed(&self, at: Time, node: NodeId, entry: &Entry, late: &Late) -> Result<(), String> {
        for command in &*entry.commands {
            let operation = &command.operation;
            let asked = self.asked.get(operation.key());
            let asked = asked.and_then(|all| all.iter().find(|one| one.operation == *operation));
            let until = asked.map(|asked| asked.until(late));
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
    use portcullis_core::lease::Command;
    use portcullis_core::{BatchId, ConnectionId, GlobalTime};

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
