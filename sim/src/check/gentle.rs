//! Agents that fail come back slower and slower, not in a rush.
//!
//! The bound follows from the law of their waits: in any span of [`SPAN`] an agent that fails from
//! the start makes a few rounds over the controllers' addresses, each after a longer wait, and the
//! whole herd together stays near that average. An agent without backoff makes hundreds.

use std::time::Duration;

use portcullis_core::{Time, agent};

use super::{Check, Sentence};
use crate::facts::Facts;
use crate::history::{Event, Who};
use crate::plan::Plan;

/// Dials are counted over this long.
pub const SPAN: Duration = Duration::from_secs(10);
/// How many times the expected number of dials the herd may make: jitter, and successes between.
pub const LENIENCE: u64 = 2;

/// See the module.
struct Gentle {
    agents: u64,
    /// Most dials of one agent on average in one span.
    dials_max: u64,
    since: Time,
    dials: u64,
}

pub(super) fn make(plan: &Plan) -> Option<Box<dyn Check>> {
    let settings = &plan.settings;
    let law = &settings.agents.backoff;
    let (mut elapsed, mut bound, mut rounds) = (Duration::ZERO, law.first, 1);
    while elapsed < SPAN {
        // With full jitter half of the bound is waited on average. A law of no wait is no law.
        elapsed += (bound / 2).max(Duration::from_millis(1));
        bound = (bound * law.growth / 100).min(law.most);
        rounds += 1;
    }
    Some(Box::new(Gentle {
        agents: u64::from(settings.agents.count).max(1),
        dials_max: rounds * settings.controllers.count * LENIENCE,
        since: Time(0),
        dials: 0,
    }))
}

impl Check for Gentle {
    fn name(&self) -> &'static str {
        "gentle"
    }

    fn sentence(&self) -> Sentence {
        Sentence {
            seed: "000",
            text: "I do think we should just add connection backoff in the client side.",
        }
    }

    fn always(&mut self, at: Time, who: Who, event: &Event<'_>, _: &Facts) -> Result<(), String> {
        match (who, event) {
            // A workload's clients come and go on purpose.
            (Who::Agent(agent), Event::AgentOrdered(agent::Output::Dial { .. }))
                if u64::from(agent) < self.agents => {}
            (_, Event::AgentOrdered(_) | Event::AgentTold(_) | Event::Told(_))
            | (_, Event::Ordered(_) | Event::Did(_) | Event::Applied { .. } | Event::Memory(_))
            | (_, Event::Cluster(_) | Event::Singular(_))
            | (_, Event::Front(_) | Event::BacklogFull | Event::Killed(_) | Event::Error(_)) => {
                return Ok(());
            }
        }
        if at >= self.since + SPAN {
            self.since = at;
            self.dials = 0;
        }
        self.dials += 1;
        if self.dials > self.agents * self.dials_max {
            let dials = self.dials / self.agents;
            return Err(format!("agents dialled {dials} times each within {SPAN:?}"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use portcullis_core::Address;

    use super::*;
    use crate::check::tests::Story;

    #[test]
    fn a_rush_is_caught() {
        let mut story = Story::new(make, "[agents]\ncount = 1\n");
        let output = agent::Output::Dial { address: Address::new("controller-1:17070") };
        let mut dial = |at| story.event(at, Who::Agent(0), Event::AgentOrdered(&output));
        assert!((0..24).all(|count| dial(count * 10).is_ok()));
        assert!(dial(240).is_err());
    }
}
