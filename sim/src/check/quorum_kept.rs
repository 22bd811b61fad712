//! No change of voters is ordered or made without a majority of those before it, nor leaves those
//! that run without one.
//!
//! Both count by what has been wrong for so long that whoever leads must know: an order may be on its
//! way to the log when something breaks.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use portcullis::env::Affair;
use portcullis_core::controller::Input;
use portcullis_core::{NodeId, Time, roles};

use super::{Check, Sentence};
use crate::facts::Facts;
use crate::history::{Event, Kind, Kinds, Who};
use crate::plan::Plan;
use crate::stage::{Deed, Place, Wrong};

/// After so long whoever leads knows that another is gone, or out of its reach: it counts those as
/// heard of whom an answer is no older than a second, and looks as often.
const KNOWN_AFTER: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Default)]
struct QuorumKept {
    /// The highest log index that was applied; what another copy applies is no news.
    index: Option<u64>,
    voters: BTreeSet<NodeId>,
    running: BTreeSet<NodeId>,
    /// Those that ran, and since when they do not.
    ended: BTreeMap<NodeId, Time>,
    /// Which controllers do not hear which, and since when.
    apart: BTreeMap<(Wrong, NodeId, NodeId), Time>,
}

pub(super) fn make(plan: &Plan) -> Option<Box<dyn Check>> {
    plan.settings.members.as_ref()?;
    Some(Box::new(QuorumKept::default()))
}

impl Check for QuorumKept {
    fn name(&self) -> &'static str {
        "quorum_kept"
    }

    fn sentence(&self) -> Sentence {
        Sentence {
            seed: "003",
            text: "up to two other voters that participate in leader elections,",
        }
    }

    fn hears(&self) -> Kinds {
        Kinds::of(&[Kind::Told, Kind::Killed, Kind::Did, Kind::Cluster])
    }

    fn always(&mut self, at: Time, who: Who, event: &Event<'_>, _: &Facts) -> Result<(), String> {
        match (who, event) {
            (Who::Controller(node), Event::Told(Input::Started)) => {
                self.running.insert(node);
                self.ended.remove(&node);
                Ok(())
            }
            (Who::Controller(node), Event::Killed(_)) => {
                self.ends(at, node);
                Ok(())
            }
            (_, Event::Did(deed)) => {
                self.did(at, deed);
                Ok(())
            }
            (
                Who::Controller(by),
                Event::Cluster(Affair::Ordered(roles::Output::Appoint { voters })),
            ) if *voters != self.voters && !self.voters.is_empty() => {
                self.has_majorities(by, voters, &self.voters, at)
            }
            (Who::Controller(by), Event::Cluster(Affair::Formed { index, voters, .. }))
                if Some(*index) > self.index =>
            {
                self.index = Some(*index);
                self.formed(at, by, voters)
            }
            (_, Event::Told(_) | Event::Ordered(_) | Event::Memory(_))
            | (_, Event::AgentTold(_) | Event::AgentOrdered(_) | Event::Applied { .. })
            | (_, Event::Front(_) | Event::BacklogFull | Event::Cluster(_) | Event::Singular(_))
            | (_, Event::Killed(_) | Event::Error(_)) => Ok(()),
        }
    }
}

impl QuorumKept {
    fn ends(&mut self, at: Time, node: NodeId) {
        if self.running.remove(&node) {
            self.ended.insert(node, at);
        }
    }

    fn did(&mut self, at: Time, deed: &Deed) {
        if let Deed::Crash(node) | Deed::Left(node) | Deed::Failed(node) = deed {
            self.ends(at, *node);
        }
        if let Some((wrong, Place::Controller(from), Place::Controller(to), begins)) = deed.link()
            && wrong != Wrong::Slow
        {
            match begins {
                true => self.apart.insert((wrong, from, to), at),
                false => self.apart.remove(&(wrong, from, to)),
            };
        }
    }

    fn formed(&mut self, at: Time, by: NodeId, voters: &BTreeSet<NodeId>) -> Result<(), String> {
        let before = std::mem::replace(&mut self.voters, voters.clone());
        if before == *voters || before.is_empty() {
            return Ok(());
        }
        self.has_majorities(by, voters, &before, at)
    }

    /// Whether who makes a change hears a majority of those who vote after it, and of those before
    /// it. What has gone wrong no longer ago than [`KNOWN_AFTER`] is not held against it, nor against a
    /// change that was on its way to the log before.
    fn has_majorities(
        &self,
        by: NodeId,
        voters: &BTreeSet<NodeId>,
        before: &BTreeSet<NodeId>,
        at: Time,
    ) -> Result<(), String> {
        let lately = |since: &Time| at.since(*since) < KNOWN_AFTER;
        let hears = |node: &&NodeId| {
            let cut = self.apart.iter().any(|((_, from, to), since)| {
                let between = (*from, *to) == (by, **node) || (*from, *to) == (**node, by);
                between && !lately(since)
            });
            let runs = self.running.contains(*node) || self.ended.get(*node).is_some_and(lately);
            runs && !cut
        };
        let there = |voters: &BTreeSet<NodeId>| voters.iter().filter(hears).count();
        let lacks = |voters: &BTreeSet<NodeId>| there(voters) * 2 <= voters.len();
        if lacks(voters) {
            let (there, of) = (there(voters), voters.len());
            return Err(format!("{by} makes voters of {of}, of whom it has {there}"));
        }
        if lacks(before) {
            let (there, of) = (there(before), before.len());
            return Err(format!("{by} has {there} of the {of} whose votes it changes"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::tests::{ONE, Story};

    fn nodes<const N: usize>(ids: [u64; N]) -> BTreeSet<NodeId> {
        ids.into_iter().map(NodeId).collect()
    }

    /// A story in which these run and vote.
    fn running<const N: usize>(ids: [u64; N]) -> Story {
        let mut story = Story::new(make, "[members]\n");
        for id in ids {
            assert!(story.told(0, Who::Controller(NodeId(id)), Input::Started).is_ok());
        }
        assert!(formed(&mut story, 0, ids).is_ok());
        story
    }

    fn formed<const N: usize>(story: &mut Story, index: u64, ids: [u64; N]) -> Result<(), String> {
        let (voters, learners) = (nodes(ids), BTreeSet::new());
        let (voters, learners) = (&voters, &learners);
        let affair = Affair::Formed { index, voters, before: None, learners };
        story.event(index, ONE, Event::Cluster(affair))
    }

    #[test]
    fn a_vote_for_one_that_is_down_is_caught_when_it_costs_the_majority() {
        let mut story = running([1, 2, 3]);
        let crash = Deed::Crash(NodeId(3));
        assert!(story.event(2, Who::World, Event::Did(&crash)).is_ok());
        assert!(formed(&mut story, 5_003, [1, 2, 3]).is_ok());
        assert!(formed(&mut story, 5_004, [1, 3]).is_err());
    }

    #[test]
    fn a_change_without_those_who_voted_before_is_caught() {
        let mut story = running([1, 2, 3]);
        for id in [2, 3] {
            let (from, to) = (Place::Controller(NodeId(1)), Place::Controller(NodeId(id)));
            assert!(story.event(2, Who::World, Event::Did(&Deed::Cut { from, to })).is_ok());
        }
        assert!(formed(&mut story, 5_003, [1]).is_err(), "who sees nobody is not alone");
    }

    #[test]
    fn an_order_without_a_majority_is_caught_once_that_is_known() {
        let ordered = |at| {
            let mut story = running([1, 2, 3]);
            for id in [4, 5] {
                assert!(story.told(0, Who::Controller(NodeId(id)), Input::Started).is_ok());
            }
            for id in [2, 3] {
                let (from, to) = (Place::Controller(NodeId(1)), Place::Controller(NodeId(id)));
                assert!(story.event(0, Who::World, Event::Did(&Deed::Cut { from, to })).is_ok());
            }
            let order = roles::Output::Appoint { voters: nodes([1, 4, 5]) };
            story.event(at, ONE, Event::Cluster(Affair::Ordered(&order)))
        };
        assert_eq!(ordered(4_999), Ok(()));
        assert!(ordered(5_000).is_err());
    }

    #[test]
    fn a_vote_for_those_that_are_not_heard_is_caught() {
        let mut story = running([1, 2, 3]);
        for id in [2, 3] {
            let (from, to) = (Place::Controller(NodeId(1)), Place::Controller(NodeId(id)));
            assert!(story.event(2, Who::World, Event::Did(&Deed::Cut { from, to })).is_ok());
        }
        assert!(formed(&mut story, 5_004, [1, 2]).is_err());
    }
}
