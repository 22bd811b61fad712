//! In the end every agent is connected, and every lease has its holder.

use std::collections::BTreeMap;

use portcullis_core::{Time, agent};

use super::{Check, Sentence};
use crate::facts::Facts;
use crate::history::{Event, Kinds, Who};
use crate::plan::Plan;

/// See the module.
struct Connected {
    agents: u32,
    leases: u32,
    /// By lease, who believes to lead it.
    leading: BTreeMap<u32, u32>,
}

pub(super) fn make(plan: &Plan) -> Option<Box<dyn Check>> {
    let agents = &plan.settings.agents;
    Some(Box::new(Connected {
        agents: agents.count,
        leases: agents.leases.min(agents.count),
        leading: BTreeMap::new(),
    }))
}

impl Check for Connected {
    fn name(&self) -> &'static str {
        "connected"
    }

    fn sentence(&self) -> Sentence {
        Sentence {
            seed: "004",
            text: "The controller will struggle to come back up, fortunately it does after \
                   sometime.",
        }
    }

    fn hears(&self) -> Kinds {
        Kinds::OF_AGENTS
    }

    fn always(&mut self, _: Time, who: Who, event: &Event<'_>, _: &Facts) -> Result<(), String> {
        let Who::Agent(agent) = who else { return Ok(()) };
        if agent >= self.agents || self.leases == 0 {
            return Ok(());
        }
        let lease = agent % self.leases;
        match event {
            Event::AgentOrdered(agent::Output::Lead { .. }) => {
                self.leading.insert(lease, agent);
            }
            // A process that starts again leads nothing: it knows nothing.
            Event::AgentOrdered(agent::Output::Follow)
            | Event::AgentTold(agent::Input::Started) => {
                if self.leading.get(&lease) == Some(&agent) {
                    self.leading.remove(&lease);
                }
            }
            Event::AgentOrdered(
                agent::Output::Dial { .. }
                | agent::Output::Login
                | agent::Output::Hangup
                | agent::Output::Ping
                | agent::Output::Remember { .. }
                | agent::Output::Send { .. }
                | agent::Output::Answer { .. },
            )
            | Event::AgentTold(
                agent::Input::Connected
                | agent::Input::Failed
                | agent::Input::LoggedIn { .. }
                | agent::Input::Told { .. }
                | agent::Input::Refused { .. }
                | agent::Input::Redirected { .. }
                | agent::Input::Disconnected
                | agent::Input::Ponged
                | agent::Input::Answered { .. }
                | agent::Input::Asked { .. }
                | agent::Input::Stopped,
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

    fn settled(&mut self, _: Time, facts: &Facts) -> Result<(), String> {
        let (connected, agents) = (facts.agents_connected(), self.agents);
        if connected < agents as usize {
            return Err(format!("{connected} of {agents} agents are connected"));
        }
        let (led, leases) = (self.leading.len(), self.leases);
        if led < leases as usize {
            return Err(format!("{led} of {leases} applications have a leader that knows it"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::tests::Story;

    #[test]
    fn a_leader_that_starts_again_leads_nothing_until_it_is_told() {
        let mut story = Story::new(make, "[agents]\ncount = 1\nleases = 1\n");
        let (started, lead) = (agent::Input::Started, agent::Output::Lead { fence: 1 });
        let login = agent::Input::LoggedIn { addresses: Vec::new() };
        for _ in 0..2 {
            assert!(story.event(0, Who::Agent(0), Event::AgentTold(&started)).is_ok());
            assert!(story.event(0, Who::Agent(0), Event::AgentTold(&login)).is_ok());
            assert!(story.settled(0).is_err());
            assert!(story.event(0, Who::Agent(0), Event::AgentOrdered(&lead)).is_ok());
            assert!(story.settled(0).is_ok());
        }
    }

    #[test]
    fn an_agent_left_outside_and_a_lease_nobody_holds_are_caught() {
        let mut story = Story::new(make, "[agents]\ncount = 1\nleases = 1\n");
        assert!(story.settled(0).is_err());
        let login = agent::Input::LoggedIn { addresses: Vec::new() };
        assert!(story.event(0, Who::Agent(0), Event::AgentTold(&login)).is_ok());
        assert!(story.settled(0).is_err());
        let lead = agent::Output::Lead { fence: 1 };
        assert!(story.event(0, Who::Agent(0), Event::AgentOrdered(&lead)).is_ok());
        assert!(story.settled(0).is_ok());
        let gone = agent::Input::Disconnected;
        assert!(story.event(0, Who::Agent(0), Event::AgentTold(&gone)).is_ok());
        assert!(story.settled(0).is_err());
    }
}
