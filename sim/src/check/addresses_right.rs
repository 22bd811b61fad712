//! In the end each agent has written down the usable addresses of all controllers, and no others.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_core::addresses::{HostPort, for_agents, moved};
use portcullis_core::controller::Output;
use portcullis_core::{Address, NodeId, Time, agent};

use super::{Check, Sentence};
use crate::addresses::{at_home, home};
use crate::facts::Facts;
use crate::history::{Event, Kind, Kinds, Who};
use crate::plan::Plan;
use crate::stage::Deed;

/// See the module.
struct AddressesRight {
    agents: u32,
    space: Option<String>,
    /// What operators have set, and where each controller door is to be bound.
    set: BTreeMap<NodeId, Vec<HostPort>>,
    bound: BTreeMap<NodeId, String>,
    /// What each agent has written down; none if that is as it was in the beginning.
    lists: BTreeMap<u32, BTreeSet<Address>>,
}

pub(super) fn make(plan: &Plan) -> Option<Box<dyn Check>> {
    let addresses = plan.settings.addresses.as_ref()?;
    Some(Box::new(AddressesRight {
        agents: plan.settings.agents.count,
        space: addresses.juju_mgmt_space.clone(),
        set: plan.controllers().map(|node| (node, at_home(node))).collect(),
        bound: BTreeMap::new(),
        lists: BTreeMap::new(),
    }))
}

impl Check for AddressesRight {
    fn name(&self) -> &'static str {
        "addresses_right"
    }

    fn sentence(&self) -> Sentence {
        Sentence {
            seed: "003",
            text: "When machines in the control plane change, the api-address-updater worker for \
                   each agent re-writes the agent’s configuration file with usable API addresses \
                   from all controllers.",
        }
    }

    fn hears(&self) -> Kinds {
        Kinds::of(&[Kind::Did, Kind::Ordered, Kind::AgentOrdered])
    }

    fn always(&mut self, _: Time, who: Who, event: &Event<'_>, _: &Facts) -> Result<(), String> {
        match (who, event) {
            (_, Event::Did(Deed::ApiAddresses { node, are })) => {
                self.set.insert(*node, are.addresses());
            }
            (Who::Controller(node), Event::Ordered(Output::Bind { host })) => {
                self.bound.insert(node, host.clone());
            }
            (Who::Agent(agent), Event::AgentOrdered(agent::Output::Remember { addresses })) => {
                self.lists.insert(agent, addresses.iter().cloned().collect());
            }
            (_, Event::Did(_) | Event::Ordered(_) | Event::AgentOrdered(_))
            | (_, Event::Told(_) | Event::AgentTold(_) | Event::Applied { .. })
            | (_, Event::Memory(_) | Event::Front(_) | Event::BacklogFull | Event::Cluster(_))
            | (_, Event::Killed(_) | Event::Error(_) | Event::Singular(_)) => {}
        }
        Ok(())
    }

    fn settled(&mut self, _: Time, _: &Facts) -> Result<(), String> {
        let at_first = self.set.keys().flat_map(|node| at_home(*node));
        let at_first: BTreeSet<_> = at_first.map(|at| Address::from(at.joined())).collect();
        let right = self.right();
        for agent in 0..self.agents {
            let list = self.lists.get(&agent).unwrap_or(&at_first);
            if let Some(missing) = right.difference(list).next() {
                return Err(format!("agent-{agent} does not know of {missing}"));
            }
            if let Some(wrong) = list.difference(&right).next() {
                return Err(format!("agent-{agent} knows of {wrong}, which is no controller's"));
            }
        }
        Ok(())
    }
}

impl AddressesRight {
    /// What every agent is to have.
    fn right(&self) -> BTreeSet<Address> {
        let of = |(node, set): (&NodeId, &Vec<HostPort>)| match self.bound.get(node) {
            Some(bound) => moved(set, &home(*node), bound),
            None => set.clone(),
        };
        let usable = self.set.iter().flat_map(|one| for_agents(&of(one), self.space.as_deref()));
        usable.map(|address| Address::from(address.joined())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::tests::{Story, TWO};

    const TABLES: &str =
        "[agents]\ncount = 1\nleases = 1\n[addresses]\njuju-mgmt-space = \"mgmt\"\n";

    fn remember(story: &mut Story, hosts: &[&str]) {
        let address = |host: &&str| Address::from(format!("{host}:17070"));
        let list = agent::Output::Remember { addresses: hosts.iter().map(address).collect() };
        assert!(story.event(0, Who::Agent(0), Event::AgentOrdered(&list)).is_ok());
    }

    #[test]
    fn an_address_too_many_and_one_too_few_are_caught() {
        let mut story = Story::new(make, TABLES);
        assert!(story.settled(0).is_ok(), "everybody is at home");
        remember(&mut story, &["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"]);
        assert!(story.settled(0).is_err());
        remember(&mut story, &["10.0.0.1", "10.0.0.2"]);
        assert!(story.settled(0).is_err());
        remember(&mut story, &["10.0.0.3", "10.0.0.2", "10.0.0.1"]);
        assert!(story.settled(0).is_ok());
    }

    #[test]
    fn a_list_that_does_not_follow_is_caught() {
        let mut story = Story::new(make, TABLES);
        assert!(story.ordered(0, TWO, Output::Bind { host: "10.0.1.2".into() }).is_ok());
        assert!(story.settled(0).is_err(), "a door has moved");
        remember(&mut story, &["10.0.0.1", "10.0.1.2", "10.0.0.3"]);
        assert!(story.settled(0).is_ok());
        let are = "10.0.0.3 10.9.0.3@mgmt".parse().expect("hosts");
        let moves = Deed::ApiAddresses { node: NodeId(3), are };
        assert!(story.event(0, Who::World, Event::Did(&moves)).is_ok());
        assert!(story.settled(0).is_err(), "one is in the space by now");
        remember(&mut story, &["10.0.0.1", "10.0.1.2", "10.9.0.3"]);
        assert!(story.settled(0).is_ok());
    }
}
