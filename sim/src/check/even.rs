//! In the end every controller has its share of the agents, give or take a tenth.

use portcullis_core::Time;

use super::{Check, Sentence};
use crate::crowd::Crowd;
use crate::facts::Facts;
use crate::history::{Event, Kinds, Who};
use crate::plan::Plan;

/// Whether a plan's controllers are to be even: not where nothing is done about it, by them or by a
/// front, unless that is the failed design that is to be caught.
fn wanted(plan: &Plan) -> bool {
    use portcullis_core::balancer::Policy;
    let breaks = plan.settings.expect.breaks.iter().any(|name| name.0 == "even");
    match plan.settings.balance.policy {
        Policy::Shed | Policy::Redirect => true,
        Policy::None | Policy::RandomRefusal | Policy::Order => {
            breaks || plan.settings.front.is_some()
        }
    }
}

/// See the module.
struct Even {
    crowd: Crowd,
}

pub(super) fn make(plan: &Plan) -> Option<Box<dyn Check>> {
    let crowd = Crowd::new(plan.controllers());
    wanted(plan).then(|| Box::new(Even { crowd }) as Box<dyn Check>)
}

impl Check for Even {
    fn name(&self) -> &'static str {
        "even"
    }

    fn sentence(&self) -> Sentence {
        Sentence {
            seed: "001",
            text: "Juju HA controllers should actively work to distribute client connections",
        }
    }

    fn hears(&self) -> Kinds {
        Crowd::HEARS
    }

    fn always(&mut self, at: Time, who: Who, event: &Event<'_>, _: &Facts) -> Result<(), String> {
        self.crowd.note(at, who, event);
        Ok(())
    }

    fn settled(&mut self, _: Time, _: &Facts) -> Result<(), String> {
        match self.crowd.uneven() {
            Some((node, agents, share)) => {
                Err(format!("{node} has {agents} agents of a share of {share}"))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use portcullis_core::controller::{Input, Output};
    use portcullis_core::sessions::Party;
    use portcullis_core::{ConnectionId, NodeId};

    use super::*;
    use crate::check::tests::Story;

    fn enters(story: &mut Story, node: u64, connection: u64) {
        let who = Who::Controller(NodeId(node));
        let connection = ConnectionId(connection);
        let input = Input::LoggedIn { connection, party: Party::Agent };
        assert!(story.told(0, who, input).is_ok());
        let output = Output::Welcome { connection, first: None };
        assert!(story.ordered(0, who, output).is_ok());
    }

    #[test]
    fn one_without_agents_is_caught() {
        let mut story = Story::new(make, "[balance]\npolicy = \"redirect\"\n");
        (1..=100).for_each(|agent| enters(&mut story, 1, agent));
        (1..=100).for_each(|agent| enters(&mut story, 2, agent));
        assert!(story.settled(1_000).is_err());
        (1..=80).for_each(|agent| enters(&mut story, 3, agent));
        assert!(story.settled(2_000).is_err());
        (81..=90).for_each(|agent| enters(&mut story, 3, agent));
        assert!(story.settled(3_000).is_ok());
    }
}
