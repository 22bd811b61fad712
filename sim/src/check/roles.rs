//! The log of the cluster is one, no more vote than are wanted, and in the end everybody who can has a
//! role and who was removed has none.

use std::collections::{BTreeMap, BTreeSet};

use portcullis::env::Affair;
use portcullis_core::controller::Input;
use portcullis_core::members::{Command, Done, Wanted};
use portcullis_core::{NodeId, Time};

use super::{Check, Sentence};
use crate::facts::Facts;
use crate::history::{Event, Kind, Kinds, Who};
use crate::members::founds;
use crate::plan::Plan;
use crate::stage::Deed;

/// See the module.
struct Roles {
    wanted: Wanted,
    /// By index, what was formed there.
    formed: BTreeMap<u64, Formed>,
    members: BTreeSet<NodeId>,
    removed: BTreeSet<NodeId>,
    running: BTreeSet<NodeId>,
    leading: BTreeSet<NodeId>,
    /// The highest log index of a command.
    index: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Formed {
    voters: BTreeSet<NodeId>,
    joint: bool,
    learners: BTreeSet<NodeId>,
}

pub(super) fn make(plan: &Plan) -> Option<Box<dyn Check>> {
    let wanted = plan.settings.members.as_ref()?.wanted();
    Some(Box::new(Roles {
        wanted,
        formed: BTreeMap::new(),
        members: plan.controllers().filter(|node| founds(plan, *node)).collect(),
        removed: BTreeSet::new(),
        running: BTreeSet::new(),
        leading: BTreeSet::new(),
        index: 0,
    }))
}

impl Check for Roles {
    fn name(&self) -> &'static str {
        "roles"
    }

    fn sentence(&self) -> Sentence {
        Sentence { seed: "003", text: "Each Dqlite node has a role within the cluster." }
    }

    fn hears(&self) -> Kinds {
        Kinds::of(&[Kind::Told, Kind::Did, Kind::Killed, Kind::Cluster])
    }

    fn always(&mut self, _: Time, who: Who, event: &Event<'_>, _: &Facts) -> Result<(), String> {
        match (who, event) {
            (Who::Controller(node), Event::Told(Input::Started)) => {
                self.running.insert(node);
            }
            (Who::Controller(node), Event::Told(Input::Led { .. })) => {
                self.leading.insert(node);
            }
            (Who::Controller(node), Event::Told(Input::Followed { .. })) => {
                self.leading.remove(&node);
            }
            (_, Event::Did(Deed::Crash(node) | Deed::Left(node) | Deed::Failed(node))) => {
                self.ended(*node)
            }
            (Who::Controller(node), Event::Killed(_)) => self.ended(node),
            (_, Event::Cluster(Affair::Applied { index, command, outcome }))
                if *index > self.index =>
            {
                self.index = *index;
                match (command, outcome) {
                    (Command::Join { .. }, Ok(Done::Joined { node })) => {
                        if self.removed.contains(node) || !self.members.insert(*node) {
                            return Err(format!("{node} joined under a name that was used before"));
                        }
                    }
                    (Command::Remove { node }, Ok(_)) => {
                        self.members.remove(node);
                        self.removed.insert(*node);
                    }
                    (Command::Want { wanted }, Ok(_)) => self.wanted = *wanted,
                    (_, Ok(_) | Err(_)) => {}
                }
            }
            (
                Who::Controller(node),
                Event::Cluster(Affair::Formed { index, voters, before, learners }),
            ) => {
                let (voters, learners) = ((*voters).clone(), (*learners).clone());
                return self.form(
                    node,
                    *index,
                    Formed { voters, joint: before.is_some(), learners },
                );
            }
            (_, Event::Did(_) | Event::Told(_) | Event::Ordered(_) | Event::Memory(_))
            | (_, Event::AgentTold(_) | Event::AgentOrdered(_) | Event::Applied { .. })
            | (_, Event::Front(_) | Event::BacklogFull | Event::Cluster(_) | Event::Singular(_))
            | (_, Event::Killed(_) | Event::Error(_)) => {}
        }
        Ok(())
    }

    fn settled(&mut self, _: Time, _: &Facts) -> Result<(), String> {
        if let Some(node) = self.running.intersection(&self.removed).next() {
            return Err(format!("{node} was removed and runs on"));
        }
        let Some((_, Formed { voters, joint, learners })) = self.formed.last_key_value() else {
            return Err("nobody has a role".into());
        };
        let wanted = usize::from(self.wanted.voters).min(self.members.len());
        let wanted = wanted - usize::from(wanted.is_multiple_of(2));
        let replicas = usize::from(self.wanted.voters) + usize::from(self.wanted.stand_bys);
        let replicas = replicas.min(self.members.len());
        let strangers = voters.union(learners).filter(|node| !self.members.contains(*node));
        if *joint || voters.len() != wanted {
            Err(format!("{} vote, and {wanted} are to", voters.len()))
        } else if voters.len() + learners.len() != replicas || strangers.count() > 0 {
            Err(format!("{} stand by, and {} are to", learners.len(), replicas - voters.len()))
        } else if self.leading.len() != 1 {
            Err(format!("{} lead", self.leading.len()))
        } else {
            Ok(())
        }
    }
}

impl Roles {
    fn ended(&mut self, node: NodeId) {
        self.running.remove(&node);
        self.leading.remove(&node);
    }

    fn form(&mut self, by: NodeId, index: u64, formed: Formed) -> Result<(), String> {
        let before = self.formed.range(..index).next_back();
        let before = before.map_or(usize::MAX, |(_, before)| before.voters.len());
        let most = usize::from(self.wanted.voters).max(before);
        if formed.voters.len() > most {
            return Err(format!("{} vote at {index}, more than are wanted", formed.voters.len()));
        }
        match self.formed.insert(index, formed.clone()) {
            Some(other) if other != formed => {
                Err(format!("{by} has other voters at {index}: the cluster is split"))
            }
            Some(_) | None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use portcullis_core::GlobalTime;
    use portcullis_core::members::Outcome;

    use super::*;
    use crate::check::tests::{ONE, Story, TWO};

    fn nodes<const N: usize>(ids: [u64; N]) -> BTreeSet<NodeId> {
        ids.into_iter().map(NodeId).collect()
    }

    fn form<const V: usize, const L: usize>(
        story: &mut Story,
        who: Who,
        index: u64,
        voters: [u64; V],
        learners: [u64; L],
    ) -> Result<(), String> {
        let (voters, learners) = (&nodes(voters), &nodes(learners));
        let affair = Affair::Formed { index, voters, before: None, learners };
        story.event(index, who, Event::Cluster(affair))
    }

    fn story() -> Story {
        let mut story = Story::new(make, "[members]\n");
        for id in 1..=3 {
            assert!(story.told(0, Who::Controller(NodeId(id)), Input::Started).is_ok());
        }
        assert!(story.told(0, ONE, Input::Led { global: GlobalTime(0) }).is_ok());
        story
    }

    #[test]
    fn a_split_is_caught() {
        let mut story = story();
        assert!(form(&mut story, ONE, 1, [1, 2, 3], []).is_ok());
        assert!(form(&mut story, TWO, 1, [1, 2, 3], []).is_ok());
        assert!(form(&mut story, ONE, 7, [1], []).is_ok());
        assert!(form(&mut story, TWO, 7, [2], []).is_err());
    }

    #[test]
    fn too_many_and_too_few_are_caught() {
        let mut story = story();
        assert!(form(&mut story, ONE, 1, [1], [2]).is_ok());
        assert!(story.settled(1).is_err(), "one of three votes");
        assert!(form(&mut story, ONE, 2, [1, 2, 3], []).is_ok());
        assert_eq!(story.settled(2), Ok(()));
        assert!(form(&mut story, ONE, 3, [1, 2, 3, 4, 5], []).is_err());
    }

    #[test]
    fn one_that_was_removed_and_runs_on_is_caught() {
        let mut story = story();
        assert!(form(&mut story, ONE, 1, [1, 2, 3], []).is_ok());
        let (command, outcome): (_, Outcome) =
            (Command::Remove { node: NodeId(3) }, Ok(Done::Noted));
        let (command, outcome) = (&command, &outcome);
        let affair = Affair::Applied { index: 2, command, outcome };
        assert!(story.event(2, ONE, Event::Cluster(affair)).is_ok());
        assert!(form(&mut story, ONE, 3, [1], [2]).is_ok());
        assert!(story.settled(3).is_err());
        let left = Deed::Left(NodeId(3));
        assert!(story.event(4, Who::World, Event::Did(&left)).is_ok());
        assert_eq!(story.settled(4), Ok(()));
    }
}
