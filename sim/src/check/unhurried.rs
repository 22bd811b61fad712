//! Agents are moved one at a time, not in a burst that the others' doors must bear.

use std::collections::BTreeMap;
use std::time::Duration;

use portcullis_core::controller::Output;
use portcullis_core::{NodeId, Time};

use super::{Check, Sentence};
use crate::crowd::Crowd;
use crate::facts::Facts;
use crate::history::{Event, Kinds, Who};
use crate::plan::Plan;

/// See the module.
struct Unhurried {
    rate: Duration,
    crowd: Crowd,
    /// When each controller sent somebody away last, whether it was let in or not.
    moved: BTreeMap<NodeId, Time>,
}

pub(super) fn make(plan: &Plan) -> Option<Box<dyn Check>> {
    plan.settings.balance.policy.counts().then(|| {
        Box::new(Unhurried {
            rate: plan.settings.balance.moves_rate,
            crowd: Crowd::new(plan.controllers()),
            moved: BTreeMap::new(),
        }) as Box<dyn Check>
    })
}

impl Check for Unhurried {
    fn name(&self) -> &'static str {
        "unhurried"
    }

    fn sentence(&self) -> Sentence {
        Sentence {
            seed: "001",
            text: "it will still have ~0 connections until clients are disconnected from other \
                   controllers over some time period",
        }
    }

    fn hears(&self) -> Kinds {
        Crowd::HEARS
    }

    fn always(
        &mut self,
        at: Time,
        who: Who,
        event: &Event<'_>,
        facts: &Facts,
    ) -> Result<(), String> {
        let moved = self.crowd.note(at, who, event).is_some();
        let redirected = matches!(event, Event::Ordered(Output::Redirect { .. }));
        let Who::Controller(node) = who else { return Ok(()) };
        // One that stops has no time for it.
        if !moved && (!redirected || self.crowd.stops(node)) {
            return Ok(());
        }
        let before = self.moved.insert(node, at);
        match before.map(|before| at.since(before)).filter(|pause| *pause < facts.shrunk(self.rate))
        {
            Some(pause) => Err(format!("{node} sends the next agent away after {pause:?}")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use portcullis_core::ConnectionId;

    use super::*;
    use crate::check::tests::{ONE, Story};

    #[test]
    fn two_at_once_are_caught() {
        let mut story = Story::new(make, "[balance]\npolicy = \"redirect\"\n");
        let redirect =
            |connection| Output::Redirect { connection: ConnectionId(connection), to: NodeId(2) };
        assert!(story.ordered(0, ONE, redirect(1)).is_ok());
        assert!(story.ordered(250, ONE, redirect(2)).is_ok());
        assert!(story.ordered(499, ONE, redirect(3)).is_err());
    }
}
