//! Each ask ends in exactly one answer, and none is forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use portcullis_core::controller::{Input, Output, Request};
use portcullis_core::{AskId, NodeId, Time, agent, queue};

use super::{Check, Sentence};
use crate::dues::Dues;
use crate::facts::Facts;
use crate::history::{Event, Who};
use crate::lookup::Lookup;
use crate::plan::Plan;
use crate::stage::Deed;

/// How long after its deadline an ask may still have no answer: a node's clock and a tick.
pub const LATE_MAX: Duration = Duration::from_secs(1);

/// An ask at a controller.
type At = (NodeId, AskId);

/// See the module. It has its own memory of what is open: this is the check on everybody's books.
struct OneAnswer {
    /// What is open, with the time by which it must be answered; a wait has none.
    open: BTreeMap<NodeId, Lookup<AskId, Option<Time>>>,
    /// The same by that time.
    dues: Dues<At>,
    /// What those who stand still will have to answer once they go on.
    paused: BTreeMap<NodeId, Vec<(u64, At)>>,
    tokens: BTreeSet<(u32, u64)>,
    patience_max: Duration,
}

pub(super) fn make(_: &Plan) -> Option<Box<dyn Check>> {
    Some(Box::new(OneAnswer {
        open: BTreeMap::new(),
        dues: Dues::default(),
        paused: BTreeMap::new(),
        tokens: BTreeSet::new(),
        patience_max: queue::Config::default().patience_max,
    }))
}

impl Check for OneAnswer {
    fn name(&self) -> &'static str {
        "one_answer"
    }

    fn sentence(&self) -> Sentence {
        Sentence {
            seed: "004",
            text: "You can't cancel an event once placed in the queue, you can just tell the \
                   caller of the event (via a subscription) that the event they're waiting for \
                   will never come and move on.",
        }
    }

    fn always(&mut self, at: Time, who: Who, event: &Event<'_>, _: &Facts) -> Result<(), String> {
        self.overdue(at)?;
        match (who, event) {
            (Who::Controller(node), Event::Told(Input::Started) | Event::Killed(_)) => {
                self.forget(node);
            }
            (_, Event::Did(Deed::Crash(node) | Deed::Left(node) | Deed::Failed(node))) => {
                self.forget(*node)
            }
            (_, Event::Did(Deed::Pause(node))) => {
                let theirs = self.dues.take(|(of, _)| of == node);
                self.paused.entry(*node).or_default().extend(theirs);
            }
            (_, Event::Did(Deed::Resume(node))) => self.go_on(*node, at),
            (Who::Controller(node), Event::Told(Input::Asked { ask, request, patience, .. })) => {
                let due = match request {
                    Request::Apply(_) => Some(at + *patience.min(&self.patience_max) + LATE_MAX),
                    Request::Wait(_) => None,
                };
                if let Some(due) = due {
                    self.dues.add(due.0, (node, *ask));
                }
                if self.open.entry(node).or_default().insert(*ask, due).is_some() {
                    return Err(format!("{ask} was asked twice at {node}"));
                }
            }
            (Who::Controller(node), Event::Ordered(Output::Answer { ask, answer })) => {
                if self.open.entry(node).or_default().remove(ask).is_none() {
                    return Err(format!("{node} answered {ask} without being asked: {answer}"));
                }
            }
            (Who::Agent(agent), Event::AgentTold(agent::Input::Asked { token, .. })) => {
                self.tokens.insert((agent, *token));
            }
            (Who::Agent(agent), Event::AgentOrdered(agent::Output::Answer { token, .. })) => {
                if !self.tokens.remove(&(agent, *token)) {
                    return Err(format!("{who} answered token {token} without being asked"));
                }
            }
            (_, Event::Told(_) | Event::Ordered(_) | Event::Did(_) | Event::Memory(_))
            | (_, Event::AgentTold(_) | Event::AgentOrdered(_) | Event::Applied { .. })
            | (_, Event::Cluster(_) | Event::Singular(_))
            | (_, Event::Front(_) | Event::BacklogFull | Event::Killed(_) | Event::Error(_)) => {}
        }
        Ok(())
    }

    fn settled(&mut self, now: Time, _: &Facts) -> Result<(), String> {
        self.overdue(now)
    }
}

impl OneAnswer {
    /// Whoever stood still answers what was asked before once it goes on.
    fn go_on(&mut self, node: NodeId, at: Time) {
        let mut theirs = self.paused.remove(&node).unwrap_or_default();
        theirs.extend(self.dues.take(|(of, _)| *of == node));
        let open = self.open.entry(node).or_default();
        for (before, (_, ask)) in theirs {
            if let Some(Some(due)) = open.get_mut(&ask)
                && due.0 == before
            {
                *due = (*due).max(at + LATE_MAX);
                self.dues.add(due.0, (node, ask));
            }
        }
    }

    /// Whether an ask is still open after its deadline.
    fn overdue(&mut self, now: Time) -> Result<(), String> {
        let stands = |due, (node, ask): &At| {
            let open = self.open.get(node).and_then(|open| open.get(ask));
            open == Some(&Some(Time(due)))
        };
        match self.dues.overdue(now.0, stands) {
            Some((_, (node, ask))) => {
                Err(format!("{ask} at {node} has no answer, {LATE_MAX:?} after its deadline"))
            }
            None => Ok(()),
        }
    }

    /// A process that died answers nobody.
    fn forget(&mut self, node: NodeId) {
        self.open.remove(&node);
        self.paused.remove(&node);
        self.dues.take(|(of, _)| *of == node);
    }
}

#[cfg(test)]
mod tests {
    use portcullis_core::ConnectionId;
    use portcullis_core::controller::Request;
    use portcullis_core::lease::{Key, Operation};
    use portcullis_core::queue::Answer;

    use super::*;
    use crate::check::tests::{ONE, Story};

    const ASK: AskId = AskId { connection: ConnectionId(2), serial: 1 };

    fn asked() -> Input {
        let operation = Operation::Revoke { key: Key::default(), holder: "a".into() };
        let patience = Duration::from_secs(5);
        Input::Asked { ask: ASK, request: Request::Apply(operation), renews: false, patience }
    }

    fn answered() -> Output {
        Output::Answer { ask: ASK, answer: Answer::Expired }
    }

    #[test]
    fn a_second_answer_is_caught() {
        let mut story = Story::new(make, "");
        story.serving(ONE);
        assert!(story.told(1, ONE, asked()).is_ok());
        assert!(story.ordered(2, ONE, answered()).is_ok());
        assert!(story.ordered(3, ONE, answered()).is_err());
    }

    #[test]
    fn a_lost_answer_is_caught() {
        let mut story = Story::new(make, "");
        story.serving(ONE);
        assert!(story.told(1, ONE, asked()).is_ok());
        assert!(story.settled(5_000).is_ok());
        assert!(story.settled(7_000).is_err());
    }

    #[test]
    fn whoever_stands_still_answers_when_it_goes_on() {
        let Who::Controller(node) = ONE else { return };
        let asked_and_paused = || {
            let mut story = Story::new(make, "");
            story.serving(ONE);
            assert!(story.told(1, ONE, asked()).is_ok());
            assert!(story.event(2, Who::World, Event::Did(&Deed::Pause(node))).is_ok());
            assert!(story.event(20_000, Who::World, Event::Did(&Deed::Resume(node))).is_ok());
            story
        };
        assert!(asked_and_paused().ordered(20_500, ONE, answered()).is_ok());
        assert!(asked_and_paused().settled(22_000).is_err());
    }
}
