//! An agent that leads goes on leading while it is moved: its lease is renewed where it comes to.

use std::time::Duration;

use portcullis_core::{Time, agent};

use super::{Check, Sentence};
use crate::facts::Facts;
use crate::history::{Event, Kinds, Who};
use crate::plan::Plan;

/// See the module.
struct TakenOver {
    claim: Duration,
    agents: Vec<Agent>,
}

#[derive(Clone, Debug, Default)]
struct Agent {
    leads: bool,
    /// When it was sent elsewhere while it led.
    moved: Option<Time>,
}

pub(super) fn make(plan: &Plan) -> Option<Box<dyn Check>> {
    plan.settings.balance.policy.counts().then(|| {
        let agents = vec![Agent::default(); plan.settings.agents.count as usize];
        Box::new(TakenOver { claim: plan.settings.agents.claim, agents }) as Box<dyn Check>
    })
}

impl Check for TakenOver {
    fn name(&self) -> &'static str {
        "taken_over"
    }

    fn sentence(&self) -> Sentence {
        Sentence {
            seed: "001",
            text: "allows clients to be specifically directed to another controller that is known \
                   to be healthy and less loaded.",
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
        let Some(agent) = self.agents.get_mut(number as usize) else { return Ok(()) };
        match event {
            Event::AgentTold(agent::Input::Redirected { .. }) => {
                agent.moved = agent.leads.then_some(at);
            }
            Event::AgentTold(agent::Input::Started | agent::Input::Stopped) => {
                *agent = Agent::default();
            }
            Event::AgentOrdered(agent::Output::Lead { .. }) => agent.leads = true,
            Event::AgentOrdered(agent::Output::Follow) => {
                let moved = std::mem::take(agent).moved;
                let lost = moved.filter(|moved| at.since(*moved) <= self.claim);
                if let (Some(moved), Some(calm)) = (lost, facts.calm_since())
                    && calm <= moved
                {
                    return Err(format!("agent-{number} was moved at {moved} and lost its lease"));
                }
            }
            Event::AgentTold(_)
            | Event::AgentOrdered(_)
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
    use portcullis_core::Address;

    use super::*;
    use crate::check::tests::{ONE, Story};

    #[test]
    fn a_leader_that_loses_by_being_moved_is_caught() {
        let mut story = Story::new(make, "[balance]\npolicy = \"redirect\"\n");
        story.serving(ONE);
        let redirect = agent::Input::Redirected { to: vec![Address::new("controller-2:17070")] };
        let mut loses = |at| {
            let who = Who::Agent(0);
            let lead = agent::Output::Lead { fence: 1 };
            assert!(story.event(0, who, Event::AgentOrdered(&lead)).is_ok());
            assert!(story.event(0, who, Event::AgentTold(&redirect)).is_ok());
            story.event(at, who, Event::AgentOrdered(&agent::Output::Follow))
        };
        assert!(loses(60_001).is_ok());
        assert!(loses(60_000).is_err());
    }
}
