//! An agent follows a few redirects in a row, and then waits as after any other failure: controllers
//! that are wrong about each other must not send it round for ever.

use std::time::Duration;

use portcullis_core::{Time, agent, dialer};

use super::{Check, Sentence};
use crate::facts::Facts;
use crate::history::{Event, Kinds, Who};
use crate::plan::Plan;

/// Who dials within this of whatever happened last has not waited; a wait as short as that is drawn
/// once in 300 times.
const AT_ONCE: Duration = Duration::from_millis(10);

/// See the module.
struct Follows {
    redirects_max: u32,
    steady_after: Duration,
    agents: Vec<One>,
}

#[derive(Clone, Copy, Debug, Default)]
struct One {
    inside: Option<Time>,
    /// When it was told of anything last.
    told: Option<Time>,
    /// Whether it was redirected, and has not dialled since.
    redirected: bool,
    /// Redirects that it has followed since it was let in for long, or waited.
    row: u32,
}

pub(super) fn make(plan: &Plan) -> Option<Box<dyn Check>> {
    let dialer::Config { redirects_max, steady_after, .. } = dialer::Config::default();
    let agents = vec![One::default(); plan.settings.agents.count as usize];
    Some(Box::new(Follows { redirects_max, steady_after, agents }))
}

impl Check for Follows {
    fn name(&self) -> &'static str {
        "follows"
    }

    fn sentence(&self) -> Sentence {
        Sentence {
            seed: "001",
            text: "This requires clients to be better behaved (LP: #1793245 needs to be fixed \
                   first), so that they are likely to reconnect to another controller.",
        }
    }

    fn hears(&self) -> Kinds {
        Kinds::OF_AGENTS
    }

    fn always(&mut self, at: Time, who: Who, event: &Event<'_>, _: &Facts) -> Result<(), String> {
        let Who::Agent(number) = who else { return Ok(()) };
        let Some(one) = self.agents.get_mut(number as usize) else { return Ok(()) };
        if let Event::AgentTold(_) = event {
            one.told = Some(at);
        }
        match event {
            Event::AgentTold(agent::Input::LoggedIn { .. }) => one.inside = Some(at),
            Event::AgentTold(agent::Input::Redirected { .. }) => {
                let since = one.inside.take();
                if since.is_some_and(|since| at.since(since) >= self.steady_after) {
                    one.row = 0;
                }
                one.redirected = true;
            }
            Event::AgentTold(agent::Input::Started) => *one = One::default(),
            Event::AgentTold(agent::Input::Disconnected) => one.inside = None,
            Event::AgentOrdered(agent::Output::Dial { .. }) => {
                let waited = one.told.is_some_and(|told| at.since(told) > AT_ONCE);
                let redirected = std::mem::take(&mut one.redirected);
                match (waited, redirected) {
                    (true, _) => one.row = 0,
                    (false, true) => one.row += 1,
                    // The next address of those that a redirect named is part of following it.
                    (false, false) => {}
                }
                if one.row > self.redirects_max {
                    let row = one.row;
                    return Err(format!("agent-{number} follows {row} redirects in a row"));
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
    use crate::check::tests::Story;

    /// So many redirects in a row, each followed after so many milliseconds.
    fn follows(count: u64, after: u64) -> Result<(), String> {
        let mut story = Story::new(make, "[agents]\ncount = 1\nleases = 1\n");
        let dial = agent::Output::Dial { address: Address::new("controller-1:17070") };
        let redirect = agent::Input::Redirected { to: vec![Address::new("controller-2:17070")] };
        (1..=count).try_for_each(|round| {
            story.event(round * 5_000, Who::Agent(0), Event::AgentTold(&redirect))?;
            story.event(round * 5_000 + after, Who::Agent(0), Event::AgentOrdered(&dial))
        })
    }

    #[test]
    fn an_agent_that_is_sent_round_for_ever_is_caught() {
        assert_eq!(follows(5, 0), Ok(()));
        assert!(follows(6, 0).is_err());
    }

    #[test]
    fn whoever_waits_may_follow_again() {
        assert_eq!(follows(20, 1_000), Ok(()));
    }
}
