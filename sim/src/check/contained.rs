//! A controller that dies for its memory does not take the next with it.

use std::time::Duration;

use portcullis_core::{NodeId, Time};

use super::{Check, Sentence};
use crate::facts::Facts;
use crate::history::{Event, Kind, Kinds, Who};
use crate::plan::Plan;
use crate::stage::Deed;

/// A death so soon after that of another controller is its consequence.
pub const SOON: Duration = Duration::from_secs(300);

/// See the module.
struct Contained {
    /// When the plan took memory away: whoever dies of that, dies of the plan.
    limited: Option<Time>,
    /// Who died last, crashed or killed, and when.
    died: Option<(Time, NodeId)>,
}

pub(super) fn make(_: &Plan) -> Option<Box<dyn Check>> {
    Some(Box::new(Contained { limited: None, died: None }))
}

impl Check for Contained {
    fn name(&self) -> &'static str {
        "contained"
    }

    fn sentence(&self) -> Sentence {
        Sentence {
            seed: "001",
            text: "leads to Juju controllers being OOM killed (LP: #1799360). This in turn leads \
                   to stability issues",
        }
    }

    fn hears(&self) -> Kinds {
        Kinds::of(&[Kind::Killed, Kind::Did])
    }

    fn always(&mut self, at: Time, who: Who, event: &Event<'_>, _: &Facts) -> Result<(), String> {
        match (who, event) {
            (_, Event::Did(Deed::Limit(_))) => self.limited = Some(at),
            (_, Event::Did(Deed::Crash(node) | Deed::Failed(node))) => {
                self.died = Some((at, *node))
            }
            (Who::Controller(node), Event::Killed(_)) if self.limited != Some(at) => {
                let soon =
                    |(died, other): &(Time, NodeId)| *other != node && at.since(*died) <= SOON;
                if let Some((died, other)) = self.died.replace((at, node)).filter(soon) {
                    let after = at.since(died);
                    return Err(format!("{node} dies for its memory {after:?} after {other}"));
                }
            }
            (_, Event::Killed(_) | Event::Did(_) | Event::Told(_) | Event::Ordered(_))
            | (_, Event::AgentTold(_) | Event::AgentOrdered(_) | Event::Applied { .. })
            | (_, Event::Cluster(_) | Event::Singular(_))
            | (_, Event::Front(_) | Event::Memory(_) | Event::BacklogFull | Event::Error(_)) => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::tests::{ONE, Story, TWO};
    use crate::settings::Bytes;

    #[test]
    fn the_next_that_dies_is_caught() {
        let mut story = Story::new(make, "");
        assert!(story.event(0, ONE, Event::Killed(Bytes(1))).is_ok());
        assert!(story.event(10_000, ONE, Event::Killed(Bytes(1))).is_ok());
        assert!(story.event(20_000, TWO, Event::Killed(Bytes(1))).is_err());
    }

    #[test]
    fn those_that_the_plan_starves_are_not() {
        let mut story = Story::new(make, "");
        assert!(story.event(0, Who::World, Event::Did(&Deed::Limit(Bytes(1)))).is_ok());
        assert!(story.event(0, ONE, Event::Killed(Bytes(2))).is_ok());
        assert!(story.event(0, TWO, Event::Killed(Bytes(2))).is_ok());
    }
}
