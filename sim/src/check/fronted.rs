//! A front lets nobody in whom no controller could take, gives nobody to one that is not open yet,
//! and stays within its limits.

use std::collections::BTreeMap;

use portcullis_core::controller::{Input, Output};
use portcullis_core::front;
use portcullis_core::{Door, NodeId, Time};

use super::{Check, Sentence};
use crate::facts::Facts;
use crate::gate::Gate;
use crate::history::{Event, Fronted, Kind, Kinds, Who};
use crate::plan::Plan;
use crate::settings;
use crate::stage::Deed;

/// See the module.
struct Fronts {
    set: settings::Front,
    gate: Gate,
    /// The controllers that run, and whether each has its API door open.
    open: BTreeMap<NodeId, bool>,
}

pub(super) fn make(plan: &Plan) -> Option<Box<dyn Check>> {
    let set = plan.settings.front.clone()?;
    Some(Box::new(Fronts { set, gate: Gate::default(), open: BTreeMap::new() }))
}

impl Check for Fronts {
    fn name(&self) -> &'static str {
        "fronted"
    }

    fn sentence(&self) -> Sentence {
        Sentence {
            seed: "001",
            text: "Front the Juju HA controllers with some form of load balancer that actively \
                   distributes incoming client connections to the jujud API servers.",
        }
    }

    fn hears(&self) -> Kinds {
        Kinds::of(&[Kind::Front, Kind::Told, Kind::Ordered, Kind::Killed, Kind::Did])
    }

    fn always(&mut self, _: Time, who: Who, event: &Event<'_>, _: &Facts) -> Result<(), String> {
        match (who, event) {
            (_, Event::Front(event)) => {
                let permitted = self.gate.permits > 0;
                self.gate.note(event);
                return self.judge(permitted, event);
            }
            (Who::Controller(node), Event::Told(Input::Started)) => {
                self.open.insert(node, false);
            }
            (Who::Controller(node), Event::Ordered(Output::Open { door: Door::Api })) => {
                self.open.insert(node, true);
            }
            // What has died in this moment, nobody can know yet.
            (Who::Controller(node), Event::Killed(_)) => drop(self.open.remove(&node)),
            (_, Event::Did(Deed::Crash(node) | Deed::Failed(node))) => drop(self.open.remove(node)),
            (_, Event::Did(_) | Event::Told(_) | Event::Ordered(_) | Event::Killed(_))
            | (_, Event::AgentTold(_) | Event::AgentOrdered(_) | Event::Applied { .. })
            | (_, Event::Cluster(_) | Event::Singular(_))
            | (_, Event::Memory(_) | Event::BacklogFull | Event::Error(_)) => {}
        }
        Ok(())
    }
}

impl Fronts {
    fn judge(&self, permitted: bool, event: &Fronted<'_>) -> Result<(), String> {
        let gate = &self.gate;
        match event {
            Fronted::Told(front::Input::Accepted { connection }) if !permitted => {
                return Err(format!("{connection} was let in without a permit"));
            }
            Fronted::Ordered(front::Output::Accept)
                if !gate.backends.values().any(|(_, up)| *up) =>
            {
                return Err("somebody may come in, and no controller is up".into());
            }
            Fronted::Ordered(front::Output::Connect { address, backend, connection }) => {
                let is = |node: &NodeId| address.as_str().starts_with(&format!("{node}:"));
                if self.open.iter().any(|(node, open)| is(node) && !open) {
                    return Err(format!("{connection} goes to {address}, which is not open yet"));
                }
                let (count, _) = gate.backends[backend];
                if count > self.set.connections_per_backend_max {
                    return Err(format!("{address} has {count} connections"));
                }
            }
            Fronted::Told(_) | Fronted::Ordered(_) => {}
        }
        if gate.connections > self.set.connections_max {
            return Err(format!("the front has {} connections", gate.connections));
        }
        if gate.joining.len() > self.set.joining_max {
            return Err(format!("{} connections have no controller", gate.joining.len()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use portcullis_core::front::{Input as Told, News, Output as Ordered};
    use portcullis_core::{Address, BackendId, ConnectionId};

    use super::*;
    use crate::check::tests::{ONE, Story};

    const BACKEND: BackendId = BackendId(1);

    fn address() -> Address {
        Address::new("controller-1:17070")
    }

    fn told(story: &mut Story, input: Told) -> Result<(), String> {
        story.event(0, Who::Front, Event::Front(Fronted::Told(&input)))
    }

    fn ordered(story: &mut Story, output: Ordered) -> Result<(), String> {
        story.event(0, Who::Front, Event::Front(Fronted::Ordered(&output)))
    }

    /// A front before one controller that is up.
    fn story(lines: &str) -> Story {
        let mut story = Story::new(make, &format!("[front]\n{lines}"));
        let up = Ordered::Announce { backend: BACKEND, address: address(), news: News::Up };
        assert!(ordered(&mut story, up).is_ok());
        story
    }

    fn enters(story: &mut Story, connection: u64) -> Result<(), String> {
        let connection = ConnectionId(connection);
        ordered(story, Ordered::Accept)?;
        told(story, Told::Accepted { connection })
    }

    #[test]
    fn one_who_enters_without_a_permit_is_caught() {
        let mut story = story("");
        assert!(enters(&mut story, 1).is_ok());
        assert!(told(&mut story, Told::Accepted { connection: ConnectionId(2) }).is_err());
    }

    #[test]
    fn a_permit_while_nobody_is_up_is_caught() {
        let mut story = story("");
        let down = Ordered::Announce { backend: BACKEND, address: address(), news: News::Down };
        assert!(ordered(&mut story, down).is_ok());
        assert!(ordered(&mut story, Ordered::Accept).is_err());
    }

    #[test]
    fn a_controller_that_is_not_open_yet_may_get_nobody() {
        let connect = || Ordered::Connect {
            connection: ConnectionId(1),
            backend: BACKEND,
            address: address(),
        };
        let mut story = story("");
        assert!(enters(&mut story, 1).is_ok());
        assert!(story.told(0, ONE, Input::Started).is_ok());
        assert!(ordered(&mut story, connect()).is_err());
        assert!(story.ordered(0, ONE, Output::Open { door: Door::Api }).is_ok());
        assert!(ordered(&mut story, connect()).is_ok());
    }

    #[test]
    fn one_beyond_each_limit_is_caught() {
        let mut few = story("connections-max = 2\n");
        assert!(enters(&mut few, 1).is_ok());
        assert!(enters(&mut few, 2).is_ok());
        assert!(enters(&mut few, 3).is_err());
        let mut slow = story("joining-max = 1\n");
        assert!(enters(&mut slow, 1).is_ok());
        assert!(enters(&mut slow, 2).is_err());
        let mut small = story("connections-per-backend-max = 1\n");
        let connect = |connection| Ordered::Connect {
            connection: ConnectionId(connection),
            backend: BACKEND,
            address: address(),
        };
        assert!(ordered(&mut small, connect(1)).is_ok());
        assert!(ordered(&mut small, connect(2)).is_err());
    }
}
