//! Agents that fail come back slower and slower, not in a rush.
//!
//! Two bounds follow from the law of their waits. In any span of [`SPAN`] an agent that fails from
//! the start makes a few rounds over the controllers' addresses, each after a longer wait, and the
//! whole herd together stays near that average. An agent without backoff makes hundreds. And those
//! who have failed several times in a row wait for half of what the law then allows, on average: who
//! always waits as after the first failure waits for a small part of it.

use std::time::Duration;

use portcullis_core::{Time, agent};

use super::{Check, Sentence};
use crate::facts::Facts;
use crate::history::{Event, Kinds, Who};
use crate::patience::{Patience, Wait};
use crate::plan::Plan;

/// Dials are counted over this long.
pub const SPAN: Duration = Duration::from_secs(10);
/// How many times the expected number of dials the herd may make: jitter, and successes between.
pub const LENIENCE: u64 = 2;
/// From so many failures before it on a wait shows whether waits grow: by default its bound is eight
/// times that of the first.
pub const FAILURES: u32 = 3;
/// So many such waits say nothing of their average yet.
pub const WAITS_LEAST: u64 = 50;
/// The least that those waits may come to, all together, in percent of all their bounds: half of what
/// they come to on average.
pub const PERCENT_LEAST: u128 = 25;

/// See the module.
struct Gentle {
    agents: u64,
    /// Most dials of one agent on average in one span.
    dials_max: u64,
    since: Time,
    dials: u64,
    patience: Patience,
    /// How many waits came after several failures, how long they took, and what their bounds were.
    grown: u64,
    waited: Duration,
    bounds: Duration,
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
        patience: Patience::new(plan),
        grown: 0,
        waited: Duration::ZERO,
        bounds: Duration::ZERO,
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

    fn hears(&self) -> Kinds {
        Kinds::OF_AGENTS
    }

    fn always(&mut self, at: Time, who: Who, event: &Event<'_>, _: &Facts) -> Result<(), String> {
        if let Some(wait) = self.patience.note(at, who, event) {
            self.waited(wait);
        }
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

    /// Who waits long is among those whose waits are over only once all are.
    fn settled(&mut self, _: Time, _: &Facts) -> Result<(), String> {
        let Gentle { grown, waited, bounds, .. } = *self;
        let least = bounds.as_micros() * PERCENT_LEAST / 100;
        if grown >= WAITS_LEAST && waited.as_micros() < least {
            return Err(format!(
                "{grown} waits after {FAILURES} failures and more took {waited:?} of {bounds:?}"
            ));
        }
        Ok(())
    }
}

impl Gentle {
    fn waited(&mut self, wait: Wait) {
        if wait.failures >= FAILURES {
            self.grown += 1;
            self.waited += wait.waited;
            self.bounds += wait.bound;
        }
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

    /// A hundred agents fail five times each, and wait for so many milliseconds after each time.
    fn fail(waits: [u64; 5]) -> Result<(), String> {
        let mut story = Story::new(make, "[agents]\ncount = 100\n");
        let dial = agent::Output::Dial { address: Address::new("controller-1:17070") };
        let refused = agent::Input::Refused { retry_after: Duration::ZERO };
        let mut at = 0;
        for wait in waits {
            for number in 0..100 {
                story.event(at, Who::Agent(number), Event::AgentTold(&refused))?;
            }
            at += wait;
            for number in 0..100 {
                story.event(at, Who::Agent(number), Event::AgentOrdered(&dial))?;
            }
        }
        story.settled(at)
    }

    #[test]
    fn waits_that_do_not_grow_are_caught() {
        assert_eq!(fail([1_500, 3_000, 6_000, 12_000, 24_000]), Ok(()));
        assert!(fail([3_000; 5]).is_err());
    }
}
