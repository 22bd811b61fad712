//! Nobody is thrown to and fro: an agent is moved at most once in `move-again-after`.

use std::time::Duration;

use portcullis_core::{Time, agent};

use super::{Check, Sentence};
use crate::crowd::Crowd;
use crate::facts::Facts;
use crate::history::{Event, Kinds, Who};
use crate::plan::Plan;

/// See the module.
struct NoPingPong {
    limit: Duration,
    crowd: Crowd,
    agents: Vec<Agent>,
}

#[derive(Clone, Debug, Default)]
struct Agent {
    logged_in: bool,
    moved: Option<Time>,
}

pub(super) fn make(plan: &Plan) -> Option<Box<dyn Check>> {
    plan.settings.balance.policy.counts().then(|| {
        Box::new(NoPingPong {
            limit: plan.settings.balance.move_again_after,
            crowd: Crowd::new(plan.controllers()),
            agents: vec![Agent::default(); plan.settings.agents.count as usize],
        }) as Box<dyn Check>
    })
}

impl Check for NoPingPong {
    fn name(&self) -> &'static str {
        "no_ping_pong"
    }

    fn sentence(&self) -> Sentence {
        Sentence {
            seed: "001",
            text: "disconnect clients when a controller has X (say 500-1000) more clients than \
                   the others in stable state.",
        }
    }

    fn hears(&self) -> Kinds {
        Crowd::HEARS.and(Kinds::OF_AGENTS)
    }

    fn always(
        &mut self,
        at: Time,
        who: Who,
        event: &Event<'_>,
        facts: &Facts,
    ) -> Result<(), String> {
        let limit = facts.shrunk(self.limit);
        if let (Who::Controller(node), Some(moved)) = (who, self.crowd.note(at, who, event))
            && moved.after < limit
        {
            return Err(format!("{node} moves an agent that came {:?} ago", moved.after));
        }
        let Who::Agent(number) = who else { return Ok(()) };
        let Some(agent) = self.agents.get_mut(number as usize) else { return Ok(()) };
        match event {
            Event::AgentTold(agent::Input::LoggedIn { .. }) => {
                agent.logged_in = true;
                Ok(())
            }
            Event::AgentTold(agent::Input::Redirected { .. }) if agent.logged_in => {
                agent.logged_in = false;
                let before = agent.moved.replace(at);
                let pause = before.map(|before| at.since(before));
                match pause.filter(|pause| *pause < limit) {
                    Some(pause) => Err(format!("agent-{number} is moved again after {pause:?}")),
                    None => Ok(()),
                }
            }
            Event::AgentTold(agent::Input::Disconnected | agent::Input::Started) => {
                agent.logged_in = false;
                Ok(())
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
            | Event::Error(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use portcullis_core::controller::{Input, Output};
    use portcullis_core::sessions::{Party, Why};
    use portcullis_core::{Address, ConnectionId, NodeId};

    use super::*;
    use crate::check::tests::{ONE, Story};

    const CONNECTION: ConnectionId = ConnectionId(1);

    fn story() -> Story {
        let mut story = Story::new(make, "[balance]\npolicy = \"redirect\"\n");
        let input = Input::LoggedIn { connection: CONNECTION, party: Party::Agent };
        assert!(story.told(0, ONE, input).is_ok());
        let output = Output::Welcome { connection: CONNECTION, first: None };
        assert!(story.ordered(0, ONE, output).is_ok());
        story
    }

    #[test]
    fn one_that_came_lately_is_not_to_be_moved() {
        let redirect = Output::Redirect { connection: CONNECTION, to: NodeId(2) };
        assert!(story().ordered(119_999, ONE, redirect.clone()).is_err());
        assert!(story().ordered(120_000, ONE, redirect).is_ok());
        let hangup = Output::Hangup { connection: CONNECTION, why: Why::Surplus };
        assert!(story().ordered(119_999, ONE, hangup).is_err());
    }

    #[test]
    fn an_agent_moved_twice_is_caught() {
        let mut story = story();
        let login = agent::Input::LoggedIn { addresses: Vec::new() };
        let redirect = agent::Input::Redirected { to: vec![Address::new("controller-2:17070")] };
        let mut moved = |at| {
            assert!(story.event(at, Who::Agent(0), Event::AgentTold(&login)).is_ok());
            story.event(at, Who::Agent(0), Event::AgentTold(&redirect))
        };
        assert!(moved(1_000).is_ok());
        assert!(moved(121_000).is_ok());
        assert!(moved(240_000).is_err());
    }
}
