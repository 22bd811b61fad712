//! An agent is sent to a controller that was heard of lately, and has fewer agents than the one that
//! sends it.

use std::collections::BTreeMap;
use std::time::Duration;

use portcullis_core::balancer::{self, Load};
use portcullis_core::controller::{Input, Output};
use portcullis_core::{NodeId, Time};

use super::{Check, Sentence};
use crate::crowd::Crowd;
use crate::facts::Facts;
use crate::history::{Event, Kinds, Who};
use crate::plan::Plan;

/// See the module.
struct LessLoaded {
    crowd: Crowd,
    stale_after: Duration,
    /// By who heard it and of whom: what was said last, and when.
    heard: BTreeMap<(NodeId, NodeId), (Time, Load)>,
}

pub(super) fn make(plan: &Plan) -> Option<Box<dyn Check>> {
    plan.settings.balance.policy.counts().then(|| {
        Box::new(LessLoaded {
            crowd: Crowd::new(plan.controllers()),
            stale_after: balancer::Config::default().stale_after,
            heard: BTreeMap::new(),
        }) as Box<dyn Check>
    })
}

impl Check for LessLoaded {
    fn name(&self) -> &'static str {
        "less_loaded"
    }

    fn sentence(&self) -> Sentence {
        Sentence {
            seed: "001",
            text: "directed to another controller that is known to be healthy and less loaded.",
        }
    }

    fn hears(&self) -> Kinds {
        Crowd::HEARS
    }

    fn always(&mut self, at: Time, who: Who, event: &Event<'_>, _: &Facts) -> Result<(), String> {
        self.crowd.note(at, who, event);
        let Who::Controller(node) = who else { return Ok(()) };
        match event {
            Event::Told(Input::Heard { from, load }) => {
                self.heard.insert((node, *from), (at, *load));
                Ok(())
            }
            Event::Told(Input::Started) => {
                self.heard.retain(|(by, _), _| *by != node);
                Ok(())
            }
            // Whoever stops sends everybody away, to whoever is left.
            Event::Ordered(Output::Redirect { .. }) if self.crowd.stops(node) => Ok(()),
            Event::Ordered(Output::Redirect { to, .. }) => self.sends(at, node, *to),
            Event::Told(_)
            | Event::Ordered(_)
            | Event::AgentTold(_)
            | Event::AgentOrdered(_)
            | Event::Did(_)
            | Event::Applied { .. }
            | Event::Memory(_)
            | Event::Front(_)
            | Event::BacklogFull
            | Event::Cluster(_)
            | Event::Singular(_)
            | Event::Killed(_)
            | Event::Error(_) => Ok(()),
        }
    }
}

impl LessLoaded {
    fn sends(&self, at: Time, node: NodeId, to: NodeId) -> Result<(), String> {
        let Some((heard, load)) = self.heard.get(&(node, to)) else {
            return Err(format!("{node} sends an agent to {to}, which it has never heard of"));
        };
        let silent = at.since(*heard);
        if silent > self.stale_after {
            return Err(format!("{node} sends an agent to {to}, silent for {silent:?}"));
        }
        let own = self.crowd.agents().find_map(|(of, agents)| (of == node).then_some(agents));
        let (own, theirs) = (own.unwrap_or_default(), load.agents);
        if theirs > own {
            return Err(format!("{node} with {own} agents sends one to {to}, which has {theirs}"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use portcullis_core::ConnectionId;
    use portcullis_core::sessions::Party;

    use super::*;
    use crate::check::tests::{ONE, Story};

    /// The first controller has three agents, and heard at once that the second has so many.
    fn sends(at: u64, theirs: u64) -> Result<(), String> {
        let mut story = Story::new(make, "[balance]\npolicy = \"redirect\"\n");
        for connection in (1..=3).map(ConnectionId) {
            story.told(0, ONE, Input::LoggedIn { connection, party: Party::Agent })?;
            story.ordered(0, ONE, Output::Welcome { connection, first: None })?;
        }
        let load = Load { agents: theirs, room: 100 };
        story.told(0, ONE, Input::Heard { from: NodeId(2), load })?;
        story.ordered(at, ONE, Output::Redirect { connection: ConnectionId(1), to: NodeId(2) })
    }

    #[test]
    fn a_controller_that_is_silent_is_sent_nobody() {
        assert_eq!(sends(5_000, 0), Ok(()));
        assert!(sends(5_001, 0).is_err());
    }

    #[test]
    fn a_controller_that_has_more_is_sent_nobody() {
        assert_eq!(sends(0, 3), Ok(()));
        assert!(sends(0, 4).is_err());
    }

    #[test]
    fn a_controller_that_was_never_heard_of_is_sent_nobody() {
        let mut story = Story::new(make, "[balance]\npolicy = \"redirect\"\n");
        let redirect = Output::Redirect { connection: ConnectionId(1), to: NodeId(2) };
        assert!(story.ordered(0, ONE, redirect).is_err());
    }
}
