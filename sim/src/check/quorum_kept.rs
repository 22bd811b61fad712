//! No change of voters is ordered or made without a majority of those before it, nor leaves those
//! that run without one.
//!
//! Whoever leads cannot know at once that others are gone. How long it may go by what was is
//! derived from what is known of links, disks and clocks:
//!
//! ```text
//!   gone ── last word arrives ── heard no more ── looked at: an order before this is forgiven
//!        ── last word arrives ── own write durable: a change made before this is forgiven
//! ```
//!
//! What was ordered with a majority stands in a log from then on and cannot be taken back: it is made
//! whenever enough have written it, whoever is gone by then.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use portcullis::env::Affair;
use portcullis::raft;
use portcullis_core::controller::Input;
use portcullis_core::{NodeId, Time, roles};

use super::{Check, Sentence};
use crate::facts::Facts;
use crate::history::{Event, Kind, Kinds, Who};
use crate::plan::Plan;
use crate::slower::Slower;
use crate::stage::{Deed, Place, Wrong};

/// Writes of its own that a change of voters waits for at whoever makes it: the one that the disk is
/// at, a snapshot, and the change's own. Those who vote with it have written before they are gone.
const WRITES: u32 = 3;

/// See the module.
struct QuorumKept {
    /// The highest log index that was applied; what another copy applies is no news.
    index: Option<u64>,
    voters: BTreeSet<NodeId>,
    /// Whom the last order that had a majority makes voters, until they are.
    ordered: BTreeSet<NodeId>,
    running: BTreeSet<NodeId>,
    /// Those that ran, and since when they do not.
    ended: BTreeMap<NodeId, Time>,
    /// Those that are paused, and since when.
    paused: BTreeMap<NodeId, Time>,
    /// When those that were paused went on.
    resumed: BTreeMap<NodeId, Time>,
    /// Which controllers do not hear which, and since when.
    apart: BTreeMap<(Wrong, NodeId, NodeId), Time>,
    /// When links were whole again, which brought what had waited there.
    joined: BTreeMap<(NodeId, NodeId), Time>,
    links: Slower<(NodeId, NodeId)>,
    disks: Slower<NodeId>,
    /// One way, at most, where no link is slow.
    latency: Duration,
    /// One write, where no disk is slow.
    sync: Duration,
}

/// What somebody did about the voters.
#[derive(Clone, Copy)]
enum Step {
    Ordered,
    Made,
}

pub(super) fn make(plan: &Plan) -> Option<Box<dyn Check>> {
    plan.settings.members.as_ref()?;
    Some(Box::new(QuorumKept {
        index: None,
        voters: BTreeSet::new(),
        ordered: BTreeSet::new(),
        running: BTreeSet::new(),
        ended: BTreeMap::new(),
        paused: BTreeMap::new(),
        resumed: BTreeMap::new(),
        apart: BTreeMap::new(),
        joined: BTreeMap::new(),
        links: Slower::default(),
        disks: Slower::default(),
        latency: plan.settings.network.latency_most,
        sync: plan.settings.controllers.sync_time,
    }))
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

    fn always(
        &mut self,
        at: Time,
        who: Who,
        event: &Event<'_>,
        facts: &Facts,
    ) -> Result<(), String> {
        match (who, event) {
            (Who::Controller(node), Event::Told(Input::Started)) => {
                self.running.insert(node);
                self.ended.remove(&node);
                // Whoever was paused as another process is gone.
                self.paused.remove(&node);
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
                self.has_majorities(at, by, Step::Ordered, voters, &self.voters, facts)?;
                self.ordered.clone_from(voters);
                Ok(())
            }
            (Who::Controller(by), Event::Cluster(Affair::Formed { index, voters, .. }))
                if Some(*index) > self.index =>
            {
                self.index = Some(*index);
                self.formed(at, by, voters, facts)
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
        self.paused.remove(&node);
        if self.running.remove(&node) {
            self.ended.insert(node, at);
        }
    }

    fn did(&mut self, at: Time, deed: &Deed) {
        if let Deed::Crash(node) | Deed::Left(node) | Deed::Failed(node) = deed {
            self.ends(at, *node);
        } else if let Deed::Pause(node) = deed {
            self.paused.insert(*node, at);
        } else if let Deed::Resume(node) = deed {
            self.paused.remove(node);
            self.resumed.insert(*node, at);
        } else if let Deed::SlowDisk { node, by } = deed {
            self.disks.turn(at, *node, *by, |before| WRITES * (self.sync + before));
        }
        let Some((wrong, Place::Controller(from), Place::Controller(to), begins)) = deed.link()
        else {
            return;
        };
        if let Deed::Slow { by, .. } = deed {
            self.links.turn(at, (from, to), *by, |before| before);
        } else if begins {
            self.apart.insert((wrong, from, to), at);
        } else {
            self.apart.remove(&(wrong, from, to));
            self.joined.insert((from, to), at);
        }
    }

    fn formed(
        &mut self,
        at: Time,
        by: NodeId,
        voters: &BTreeSet<NodeId>,
        facts: &Facts,
    ) -> Result<(), String> {
        let before = std::mem::replace(&mut self.voters, voters.clone());
        if before == *voters || before.is_empty() {
            return Ok(());
        }
        if std::mem::take(&mut self.ordered) == *voters {
            return Ok(());
        }
        self.has_majorities(at, by, Step::Made, voters, &before, facts)
    }

    /// Whether who orders or makes a change hears a majority of those who vote after it, and of those
    /// before it. What has gone wrong so lately that it may not know is not held against it.
    fn has_majorities(
        &self,
        at: Time,
        by: NodeId,
        step: Step,
        voters: &BTreeSet<NodeId>,
        before: &BTreeSet<NodeId>,
        facts: &Facts,
    ) -> Result<(), String> {
        let hears = |node: &&NodeId| {
            let unknown = self.last_word(at, **node, by) + self.goes_by_it(at, by, step, facts);
            self.silent_since(**node, by).is_none_or(|since| at.since(since) < unknown)
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

    /// Since when `by` hears nothing of `node`, if it does not.
    ///
    /// Whoever was paused finds what came before and meanwhile, and so does whoever is reached again.
    fn silent_since(&self, node: NodeId, by: NodeId) -> Option<Time> {
        let apart = self
            .apart
            .iter()
            .filter(|((_, from, to), _)| (*from, *to) == (by, node) || (*from, *to) == (node, by));
        let never =
            (!self.running.contains(&node) && !self.ended.contains_key(&node)).then_some(Time(0));
        let ends = [self.ended.get(&node), self.paused.get(&node)].into_iter().flatten();
        let since = ends.chain(apart.map(|(_, since)| since)).copied().chain(never).min()?;
        let late = [self.resumed.get(&by), self.joined.get(&(node, by))].into_iter().flatten();
        Some(late.copied().fold(since, Time::max))
    }

    /// How long the last that `node` has sent may be on its way to `by`.
    fn last_word(&self, at: Time, node: NodeId, by: NodeId) -> Duration {
        self.latency + self.links.by(at, &(node, by))
    }

    /// For how long whoever does this may go by the last that it was told.
    ///
    /// An order follows from a look at who was heard of, and looks are so far apart. A change is made
    /// by what others have said before, as soon as it is on the maker's own disk.
    fn goes_by_it(&self, at: Time, by: NodeId, step: Step, facts: &Facts) -> Duration {
        match step {
            Step::Ordered => {
                let heard_within = raft::Config::default().election.0;
                facts.stretched(heard_within + roles::Config::new(by).look_every)
            }
            Step::Made => WRITES * (self.sync + self.disks.by(at, &by)),
        }
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

    /// Nothing of the first one's arrives at this one.
    fn cut(id: u64) -> Deed {
        Deed::Cut { from: Place::Controller(NodeId(1)), to: Place::Controller(NodeId(id)) }
    }

    #[test]
    fn a_vote_for_one_that_is_down_is_caught_when_it_costs_the_majority() {
        let mut story = running([1, 2, 3]);
        let crash = Deed::Crash(NodeId(3));
        assert!(story.event(2, Who::World, Event::Did(&crash)).is_ok());
        assert!(formed(&mut story, 12, [1, 2, 3]).is_ok());
        assert!(formed(&mut story, 13, [1, 3]).is_err());
    }

    #[test]
    fn a_change_without_those_who_voted_before_is_caught() {
        let mut story = running([1, 2, 3]);
        for id in [2, 3] {
            assert!(story.event(2, Who::World, Event::Did(&cut(id))).is_ok());
        }
        assert!(formed(&mut story, 13, [1]).is_err(), "who sees nobody is not alone");
    }

    #[test]
    fn what_was_ordered_with_a_majority_is_made_without_one() {
        let mut story = running([1, 2, 3]);
        let voters = nodes([1, 2]);
        let order = roles::Output::Appoint { voters };
        assert!(story.event(1, ONE, Event::Cluster(Affair::Ordered(&order))).is_ok());
        for id in [2, 3] {
            assert!(story.event(2, Who::World, Event::Did(&cut(id))).is_ok());
        }
        assert!(formed(&mut story, 9_000, [1, 2]).is_ok());
        assert!(formed(&mut story, 9_001, [1]).is_err(), "nobody has ordered that");
    }

    #[test]
    fn an_order_without_a_majority_is_caught_once_that_is_known() {
        let ordered = |at| {
            let mut story = running([1, 2, 3]);
            for id in [4, 5] {
                assert!(story.told(0, Who::Controller(NodeId(id)), Input::Started).is_ok());
            }
            for id in [2, 3] {
                assert!(story.event(0, Who::World, Event::Did(&cut(id))).is_ok());
            }
            let order = roles::Output::Appoint { voters: nodes([1, 4, 5]) };
            story.event(at, ONE, Event::Cluster(Affair::Ordered(&order)))
        };
        // The last word is 5 ms on its way, is heard for 1 s, and was looked at 1 s ago.
        assert_eq!(ordered(2_004), Ok(()));
        assert!(ordered(2_005).is_err());
    }

    #[test]
    fn a_vote_for_those_that_are_not_heard_is_caught() {
        let mut story = running([1, 2, 3]);
        for id in [2, 3] {
            assert!(story.event(2, Who::World, Event::Did(&cut(id))).is_ok());
        }
        assert!(formed(&mut story, 13, [1, 2]).is_err());
    }

    /// A story in which two of three are cut off from the first at 100 ms, after these deeds at once.
    fn cut_off(deeds: &[Deed]) -> Story {
        let mut story = running([1, 2, 3]);
        let cuts = [2, 3].map(cut);
        let all = deeds.iter().map(|deed| (50, deed)).chain(cuts.iter().map(|cut| (100, cut)));
        for (at, deed) in all {
            assert!(story.event(at, Who::World, Event::Did(deed)).is_ok());
        }
        story
    }

    #[test]
    fn a_change_is_forgiven_for_as_long_as_its_maker_may_still_be_at_it() {
        let ways = [2, 3].map(|id| {
            let (from, to) = (Place::Controller(NodeId(id)), Place::Controller(NodeId(1)));
            Deed::Slow { from, to, by: Duration::from_millis(300) }
        });
        let disk = |by| Deed::SlowDisk { node: NodeId(1), by: Duration::from_millis(by) };
        // 5 ms of the network, three writes of 2 ms, and what is slower.
        for (deeds, last) in [
            (&[][..], 111),
            (&ways, 411),
            (&[disk(1_000)], 3_111),
            // What the disk was given while it was slower ends 3,006 ms after that.
            (&[disk(1_000), disk(0)], 3_056),
        ] {
            assert_eq!(formed(&mut cut_off(deeds), last - 1, [1, 2]), Ok(()), "{deeds:?}");
            assert!(formed(&mut cut_off(deeds), last, [1, 2]).is_err(), "{deeds:?}");
        }
    }

    #[test]
    fn who_was_paused_goes_by_what_it_was_told_before() {
        let mut story = cut_off(&[Deed::Pause(NodeId(1))]);
        let resume = Deed::Resume(NodeId(1));
        assert!(story.event(9_000, Who::World, Event::Did(&resume)).is_ok());
        assert_eq!(formed(&mut story, 9_010, [1, 2]), Ok(()));
        assert!(formed(&mut story, 9_011, [1]).is_err());
    }

    #[test]
    fn who_is_paused_is_not_heard() {
        let mut story = running([1, 2, 3]);
        for id in [2, 3] {
            assert!(story.event(100, Who::World, Event::Did(&Deed::Pause(NodeId(id)))).is_ok());
        }
        assert!(formed(&mut story, 111, [1, 2]).is_err());
    }

    #[test]
    fn who_was_paused_and_started_again_is_heard() {
        let mut story = running([1, 2, 3]);
        for id in [2, 3] {
            assert!(story.event(100, Who::World, Event::Did(&Deed::Pause(NodeId(id)))).is_ok());
            assert!(story.told(200, Who::Controller(NodeId(id)), Input::Started).is_ok());
        }
        assert!(formed(&mut story, 900, [1, 2]).is_ok());
    }

    #[test]
    fn what_waited_on_a_link_counts_once_it_has_arrived() {
        let mut story = running([1, 2, 3]);
        for id in [2, 3] {
            let (from, to) = (Place::Controller(NodeId(id)), Place::Controller(NodeId(1)));
            for (at, deed) in [
                (100, Deed::Hold { from, to }),
                (200, Deed::Crash(NodeId(id))),
                (300, Deed::Release { from, to }),
            ] {
                assert!(story.event(at, Who::World, Event::Did(&deed)).is_ok());
            }
        }
        assert_eq!(formed(&mut story, 310, [1, 2]), Ok(()));
        assert!(formed(&mut story, 311, [1]).is_err());
    }
}
