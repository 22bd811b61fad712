//! Nothing is proposed that its asker has given up by then.
//!
//! By how much later a controller may count than the asker is a matter of [`late`](crate::late).

use std::collections::BTreeMap;
use std::time::Duration;

use portcullis_core::controller::{Input, Output, Request};
use portcullis_core::lease::{Entry, Key, Operation};
use portcullis_core::{NodeId, Time, queue};

use super::one_answer::LATE_MAX;
use super::{Check, Sentence};
use crate::facts::Facts;
use crate::history::{Event, Who};
use crate::late::{Deadline, Late};
use crate::plan::Plan;

/// How long after its deadline an operation is remembered.
const KEPT: Duration = Duration::from_secs(300);

/// See the module. Of equal operations the latest deadline counts.
struct Timely {
    /// By lease, who asked for what, and by when they have given up.
    asked: BTreeMap<Key, Vec<(Operation, Deadline)>>,
    patience_max: Duration,
}

pub(super) fn make(_: &Plan) -> Option<Box<dyn Check>> {
    let patience_max = queue::Config::default().patience_max;
    Some(Box::new(Timely { asked: BTreeMap::new(), patience_max }))
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
                    let until = at + *patience.min(&self.patience_max) + LATE_MAX;
                    self.asked(at, operation, until, facts.late());
                }
                Ok(())
            }
            (Who::Controller(node), Event::Ordered(Output::Propose { entry, .. })) => {
                self.proposed(at, node, entry, facts.late())
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

impl Timely {
    fn asked(&mut self, at: Time, operation: &Operation, until: Time, late: &Late) {
        let asked = self.asked.entry(operation.key().clone()).or_default();
        asked.retain(|(other, until)| late.until(*until) + KEPT > at && other != operation);
        asked.push((operation.clone(), late.deadline(until)));
    }

    fn proposed(&self, at: Time, node: NodeId, entry: &Entry, late: &Late) -> Result<(), String> {
        for command in &entry.commands {
            let operation = &command.operation;
            let asked = self.asked.get(operation.key());
            let asked = asked.and_then(|all| all.iter().find(|(other, _)| other == operation));
            let until = asked.map(|(_, deadline)| late.until(*deadline));
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

    /// Somebody asks, patient for five seconds; what would propose it.
    fn asked(story: &mut Story) -> Output {
        let operation = Operation::Revoke { key: Key::default(), holder: "a".into() };
        let ask = AskId { connection: ConnectionId(2), serial: 1 };
        let (request, patience) = (Request::Apply(operation.clone()), Duration::from_secs(5));
        assert!(story.told(0, ONE, Input::Asked { ask, request, patience, renews: false }).is_ok());
        let command = Command { operation, void_after: GlobalTime(u64::MAX) };
        let entry = Entry { now: GlobalTime(0), commands: vec![command] };
        Output::Propose { batch: BatchId(1), entry }
    }
}
