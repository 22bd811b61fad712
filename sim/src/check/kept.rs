//! Who renews in time keeps the lease: while nothing is wrong, nobody loses one.
//!
//! A leader has from when its renewal falls due until its lease lapses. If all that time it was
//! connected, one controller led and no fault was in force, then the service alone let it lapse:
//! the renewal waited behind other work, was shed too often, or was forgotten.

use std::time::Duration;

use portcullis_core::{Time, agent};

use super::{Check, Sentence};
use crate::facts::Facts;
use crate::history::{Event, Kinds, Who};
use crate::plan::Plan;

/// See the module.
struct Kept {
    /// From a renewal falling due to the lapse.
    window: Duration,
    /// Since when each agent is connected.
    connected: Vec<Option<Time>>,
}

pub(super) fn make(plan: &Plan) -> Option<Box<dyn Check>> {
    let agents = &plan.settings.agents;
    Some(Box::new(Kept {
        window: agents.claim.saturating_sub(agents.renew),
        connected: vec![None; agents.count as usize],
    }))
}

impl Check for Kept {
    fn name(&self) -> &'static str {
        "kept"
    }

    fn sentence(&self) -> Sentence {
        Sentence {
            seed: "004",
            text: "The events are placed in a queue and at some point in the future, they'll be \
                   processed, except by the time they're ready for processing, they've already \
                   expired!",
        }
    }

    fn hears(&self) -> Kinds {
        Kinds::OF_AGENTS
    }

    fn always(
        &mut self,
        at: Time,
        who: Who,
        event: &Event<'_>,
        facts: &Facts,
    ) -> Result<(), String> {
        let Who::Agent(number) = who else { return Ok(()) };
        // The clients of workloads lead nothing.
        let Some(connected) = self.connected.get_mut(number as usize) else { return Ok(()) };
        match event {
            Event::AgentTold(agent::Input::LoggedIn { .. }) => *connected = Some(at),
            Event::AgentTold(
                agent::Input::Started
                | agent::Input::Disconnected
                | agent::Input::Redirected { .. }
                | agent::Input::Stopped,
            )
            | Event::AgentOrdered(agent::Output::Hangup) => *connected = None,
            Event::AgentOrdered(agent::Output::Follow) => {
                if let (Some(connected), Some(calm)) = (*connected, facts.calm_since()) {
                    let since = connected.max(calm);
                    if at.since(since) >= self.window {
                        return Err(format!(
                            "agent-{number} lost its lease, though nothing was wrong since {since}"
                        ));
                    }
                }
            }
            Event::AgentTold(
                agent::Input::Connected
                | agent::Input::Failed
                | agent::Input::Told { .. }
                | agent::Input::Refused { .. }
                | agent::Input::Ponged
                | agent::Input::Answered { .. }
                | agent::Input::Asked { .. },
            )
            | Event::AgentOrdered(
                agent::Output::Dial { .. }
                | agent::Output::Login
                | agent::Output::Remember { .. }
                | agent::Output::Ping
                | agent::Output::Send { .. }
                | agent::Output::Answer { .. }
                | agent::Output::Lead { .. },
            )
            | Event::Told(_)
            | Event::Ordered(_)
            | Event::Did(_)
            | Event::Applied { .. }
            | Event::Memory(_)
            | Event::Front(_)
            | Event::BacklogFull
            | Event::Cluster(_)
            | Event::Singular(_)
            | Event::Killed(_)
            | Event::Error(_) => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use portcullis_core::NodeId;

    use super::*;
    use crate::check::tests::{ONE, Story};
    use crate::stage::Deed;

    /// A leader that is connected from the start, for a lease of 60 s that is renewed after 30 s.
    fn story() -> Story {
        let mut story = Story::new(make, "");
        story.serving(ONE);
        let login = agent::Input::LoggedIn { addresses: Vec::new() };
        assert!(story.event(0, Who::Agent(0), Event::AgentTold(&login)).is_ok());
        story
    }

    fn lapses(story: &mut Story, at: u64) -> Result<(), String> {
        story.event(at, Who::Agent(0), Event::AgentOrdered(&agent::Output::Follow))
    }

    #[test]
    fn a_lease_lost_while_nothing_is_wrong_is_caught() {
        assert!(lapses(&mut story(), 30_000).is_err());
    }

    #[test]
    fn a_lease_lost_soon_after_a_fault_is_excused() {
        let mut story = story();
        let crash = Deed::Crash(NodeId(2));
        assert!(story.event(30_000, Who::World, Event::Did(&crash)).is_ok());
        assert!(lapses(&mut story, 40_000).is_ok());
        let restart = Deed::Restart(NodeId(2));
        assert!(story.event(41_000, Who::World, Event::Did(&restart)).is_ok());
        assert!(lapses(&mut story, 70_999).is_ok());
        assert!(lapses(&mut story, 71_000).is_err());
    }

    #[test]
    fn an_agent_without_a_connection_is_excused() {
        let mut story = story();
        let gone = agent::Input::Disconnected;
        assert!(story.event(20_000, Who::Agent(0), Event::AgentTold(&gone)).is_ok());
        assert!(lapses(&mut story, 60_000).is_ok());
    }
}
