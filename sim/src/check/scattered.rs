//! Agents that failed together do not come back together: their waits are drawn from the whole bound
//! that their law gives.
//!
//! Each wait is laid beside its own bound, so waits of any length count alike. Whoever draws evenly
//! has a tenth of them in each tenth of the bound; whoever does not draw has all of them in one.

use portcullis_core::Time;

use super::{Check, Sentence};
use crate::facts::Facts;
use crate::history::{Event, Kinds, Who};
use crate::patience::{Patience, Wait};
use crate::plan::Plan;

/// So many waits say nothing of a law yet.
pub const WAITS_LEAST: u64 = 100;
/// Tenths of the bound.
const PARTS: usize = 10;
/// Most waits in one tenth, in percent of all: five times as many as an even draw has there.
pub const PERCENT_MAX: u64 = 50;

/// See the module.
struct Scattered {
    patience: Patience,
    /// How many waits ended in each tenth of their bound; what is beyond it counts for the last.
    parts: [u64; PARTS],
    waits: u64,
}

pub(super) fn make(plan: &Plan) -> Option<Box<dyn Check>> {
    Some(Box::new(Scattered { patience: Patience::new(plan), parts: [0; PARTS], waits: 0 }))
}

impl Check for Scattered {
    fn name(&self) -> &'static str {
        "scattered"
    }

    fn sentence(&self) -> Sentence {
        Sentence { seed: "004", text: "restarting an agent(s) causes a thundering herd." }
    }

    fn hears(&self) -> Kinds {
        Kinds::OF_AGENTS
    }

    fn always(&mut self, at: Time, who: Who, event: &Event<'_>, _: &Facts) -> Result<(), String> {
        let Some(Wait { waited, bound, .. }) = self.patience.note(at, who, event) else {
            return Ok(());
        };
        let part = waited.as_micros() * PARTS as u128 / bound.as_micros().max(1);
        let part = usize::try_from(part).unwrap_or(PARTS).min(PARTS - 1);
        self.parts[part] += 1;
        self.waits += 1;
        Ok(())
    }

    /// Those that are over first are the short ones, so nothing is said before all are.
    fn settled(&mut self, _: Time, _: &Facts) -> Result<(), String> {
        let together = self.parts.iter().copied().max().unwrap_or_default();
        if self.waits >= WAITS_LEAST && together * 100 > self.waits * PERCENT_MAX {
            let waits = self.waits;
            return Err(format!(
                "of {waits} waits {together} end within one tenth of what they are drawn from"
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use portcullis_core::{Address, agent};

    use super::*;
    use crate::check::tests::Story;

    /// So many agents lose their connections at once, and come back after these waits.
    fn come_back(waits: impl Iterator<Item = u64>) -> Result<(), String> {
        let mut story = Story::new(make, "[agents]\ncount = 1000\n");
        let dial = agent::Output::Dial { address: Address::new("controller-1:17070") };
        let inside = agent::Input::LoggedIn { addresses: Vec::new() };
        let waits: Vec<(u32, u64)> = (0..).zip(waits).collect();
        for (number, _) in &waits {
            let agent = Who::Agent(*number);
            story.event(0, agent, Event::AgentTold(&inside))?;
            story.event(0, agent, Event::AgentTold(&agent::Input::Disconnected))?;
        }
        waits.iter().try_for_each(|(number, wait)| {
            story.event(*wait, Who::Agent(*number), Event::AgentOrdered(&dial))
        })?;
        story.settled(10_000)
    }

    #[test]
    fn waits_over_the_whole_bound_are_fine() {
        assert_eq!(come_back((0..300).map(|step| step * 10)), Ok(()));
    }

    #[test]
    fn a_herd_that_returns_in_step_is_caught() {
        assert!(come_back([3_000; 300].into_iter()).is_err());
        assert!(come_back((0..300).map(|step| 1_000 + step / 2)).is_err());
    }

    #[test]
    fn a_few_waits_say_nothing() {
        assert_eq!(come_back([3_000; 99].into_iter()), Ok(()));
    }
}
