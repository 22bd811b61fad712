//! No agent is ever left with an empty list: it could reach nobody, and nobody could tell it.

use portcullis_core::{Time, agent};

use super::{Check, Sentence};
use crate::facts::Facts;
use crate::history::{Event, Kind, Kinds, Who};
use crate::plan::Plan;

/// See the module.
struct NeverEmpty;

pub(super) fn make(plan: &Plan) -> Option<Box<dyn Check>> {
    plan.settings.addresses.as_ref().map(|_| Box::new(NeverEmpty) as Box<dyn Check>)
}

impl Check for NeverEmpty {
    fn name(&self) -> &'static str {
        "never_empty"
    }

    fn sentence(&self) -> Sentence {
        Sentence {
            seed: "003",
            text: "Agents will try these addresses in random order until they establish a \
                   successful controller connection.",
        }
    }

    fn hears(&self) -> Kinds {
        Kinds::of(&[Kind::AgentOrdered])
    }

    fn always(&mut self, _: Time, who: Who, event: &Event<'_>, _: &Facts) -> Result<(), String> {
        match (who, event) {
            (Who::Agent(agent), Event::AgentOrdered(agent::Output::Remember { addresses }))
                if addresses.is_empty() =>
            {
                Err(format!("agent-{agent} has written down that controllers are nowhere"))
            }
            (_, Event::AgentOrdered(_) | Event::AgentTold(_) | Event::Told(_))
            | (_, Event::Ordered(_) | Event::Did(_) | Event::Applied { .. } | Event::Memory(_))
            | (_, Event::Front(_) | Event::BacklogFull | Event::Cluster(_))
            | (_, Event::Killed(_) | Event::Error(_) | Event::Singular(_)) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use portcullis_core::Address;

    use super::*;
    use crate::check::tests::Story;

    #[test]
    fn an_empty_list_is_caught() {
        let mut story = Story::new(make, "[addresses]\n");
        let mut remember = |addresses| {
            let list = agent::Output::Remember { addresses };
            story.event(0, Who::Agent(0), Event::AgentOrdered(&list))
        };
        assert!(remember(vec![Address::new("10.0.0.1:17070")]).is_ok());
        assert!(remember(Vec::new()).is_err());
    }
}
