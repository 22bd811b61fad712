//! Who leads goes on leading while nothing is wrong: the lead does not go round.

use std::collections::BTreeSet;
use std::time::Duration;

use portcullis_core::controller::Input;
use portcullis_core::{NodeId, Time};

use super::{Check, Sentence};
use crate::facts::Facts;
use crate::history::{Event, Kind, Kinds, Who};
use crate::plan::Plan;
use crate::stage::Deed;

/// From the last thing that anybody did to the cluster until it must have come to rest: elections,
/// and the changes of roles that follow, one after the other.
pub const RESTS_AFTER: Duration = Duration::from_secs(30);

/// See the module.
struct LeadsOn {
    leading: BTreeSet<NodeId>,
    /// When something was done to the cluster last, by the plan or by a process that came or went.
    disturbed: Time,
}

pub(super) fn make(_: &Plan) -> Option<Box<dyn Check>> {
    Some(Box::new(LeadsOn { leading: BTreeSet::new(), disturbed: Time(0) }))
}

impl Check for LeadsOn {
    fn name(&self) -> &'static str {
        "leads_on"
    }

    fn sentence(&self) -> Sentence {
        Sentence {
            seed: "003",
            text: "one leader to which all database reads and writes are redirected,",
        }
    }

    fn hears(&self) -> Kinds {
        Kinds::of(&[Kind::Told, Kind::Killed, Kind::Did])
    }

    fn always(
        &mut self,
        at: Time,
        who: Who,
        event: &Event<'_>,
        facts: &Facts,
    ) -> Result<(), String> {
        match (who, event) {
            (Who::Controller(node), Event::Told(Input::Led { .. })) => {
                self.leading.insert(node);
            }
            (Who::Controller(node), Event::Told(Input::Followed { .. })) => {
                if self.leading.remove(&node) && self.calm(at, facts) {
                    let rest = at.since(self.disturbed);
                    return Err(format!("{node} leads no more, {rest:?} after the last trouble"));
                }
            }
            (Who::Controller(node), Event::Told(Input::Started) | Event::Killed(_)) => {
                self.ended(at, node);
            }
            (_, Event::Did(Deed::Crash(node) | Deed::Left(node) | Deed::Failed(node))) => {
                self.ended(at, *node);
            }
            (_, Event::Did(_)) => self.disturbed = at,
            (_, Event::Told(_) | Event::Ordered(_) | Event::Memory(_) | Event::Killed(_))
            | (_, Event::AgentTold(_) | Event::AgentOrdered(_) | Event::Applied { .. })
            | (_, Event::Cluster(_) | Event::Singular(_))
            | (_, Event::Front(_) | Event::BacklogFull | Event::Error(_)) => {}
        }
        Ok(())
    }
}

impl LeadsOn {
    fn calm(&self, at: Time, facts: &Facts) -> bool {
        let slow = !facts.slow_disk().is_zero() || !facts.slow_link().is_zero();
        facts.faults() == 0 && !slow && at.since(self.disturbed) >= RESTS_AFTER
    }

    fn ended(&mut self, at: Time, node: NodeId) {
        self.leading.remove(&node);
        self.disturbed = at;
    }
}

#[cfg(test)]
mod tests {
    use portcullis_core::GlobalTime;

    use super::*;
    use crate::check::tests::{ONE, Story};

    fn deposed(story: &mut Story, at: u64) -> Result<(), String> {
        assert!(story.told(0, ONE, Input::Led { global: GlobalTime(0) }).is_ok());
        story.told(at, ONE, Input::Followed { leader: Some(NodeId(2)) })
    }

    #[test]
    fn a_lead_that_goes_round_is_caught() {
        assert!(deposed(&mut Story::new(make, ""), 29_999).is_ok());
        assert!(deposed(&mut Story::new(make, ""), 30_000).is_err());
    }

    #[test]
    fn whoever_loses_the_lead_by_a_fault_is_none_the_worse() {
        let mut story = Story::new(make, "");
        let crash = Deed::Crash(NodeId(2));
        assert!(story.event(0, Who::World, Event::Did(&crash)).is_ok());
        assert!(deposed(&mut story, 60_000).is_ok(), "another is down");
        let restart = Deed::Restart(NodeId(2));
        assert!(story.event(70_000, Who::World, Event::Did(&restart)).is_ok());
        assert!(deposed(&mut story, 80_000).is_ok(), "it has just come back");
        assert!(deposed(&mut story, 100_000).is_err());
    }
}
