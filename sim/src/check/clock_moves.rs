//! Global time never goes back, never runs faster than real time but by what the leaders' clocks do,
//! and never falls behind the leader's by more than a commit takes while nothing is wrong.

use std::collections::BTreeMap;
use std::time::Duration;

use portcullis::peer;
use portcullis_core::controller::{Input, Output};
use portcullis_core::{GlobalTime, NodeId, Time};

use super::{Check, Sentence};
use crate::facts::Facts;
use crate::history::{Event, Who};
use crate::plan::Plan;
use crate::settings::Engine;

/// Furthest that the clock may lag behind the leader's while one controller leads and nothing is
/// wrong: one of its intervals to the next proposal, and as much for that to be committed and
/// applied.
pub const LAG_MAX: Duration = Duration::from_secs(2);
/// How often it may lag by a slow disk's time beyond that: for the sync that is under way when an
/// entry arrives, and for the one that makes it durable. A majority's disks sync side by side.
pub const SLOW_SYNCS: u32 = 2;
/// How often it may lag by the way of a slow link between controllers: there and back for what is
/// under way when an entry is proposed, and for the entry.
const SLOW_WAYS: u32 = 4;

/// See the module.
struct ClockMoves {
    /// For how long after a partition nobody notices that a connection did not survive it. What was
    /// lost on one that did is part of [`LAG_MAX`]: a leader waits `append_within` for an answer.
    unnoticed: Duration,
    index: u64,
    global: GlobalTime,
    /// The first proposal of each controller's present term, by both clocks.
    terms: BTreeMap<NodeId, Option<(Time, GlobalTime)>>,
}

pub(super) fn make(plan: &Plan) -> Option<Box<dyn Check>> {
    let unnoticed = match plan.settings.engine {
        // There alone it is noticed by the silence.
        Engine::Turmoil => peer::Config::new(NodeId(1), "").silence_max,
        Engine::Direct | Engine::Madsim => Duration::ZERO,
    };
    let (global, terms) = (GlobalTime(0), BTreeMap::new());
    Some(Box::new(ClockMoves { unnoticed, index: 0, global, terms }))
}

impl Check for ClockMoves {
    fn name(&self) -> &'static str {
        "clock_moves"
    }

    fn sentence(&self) -> Sentence {
        Sentence {
            seed: "002",
            text: "Starvation attempting to apply the global time to the Raft FSM. [...] the lack \
                   of an update causes problems downstream in the lease manager.",
        }
    }

    fn always(
        &mut self,
        at: Time,
        who: Who,
        event: &Event<'_>,
        facts: &Facts,
    ) -> Result<(), String> {
        match (who, event) {
            (_, Event::Applied { index, entry, .. }) if *index > self.index => {
                self.index = *index;
                self.applied(at, *index, entry.now, facts)?;
            }
            (Who::Controller(node), Event::Told(Input::Led { .. } | Input::Started)) => {
                self.terms.insert(node, None);
            }
            (Who::Controller(node), Event::Ordered(Output::Propose { entry, .. })) => {
                self.proposed(at, node, entry.now, facts)?;
            }
            (_, Event::Told(_) | Event::Ordered(_) | Event::Did(_) | Event::Memory(_))
            | (_, Event::AgentTold(_) | Event::AgentOrdered(_) | Event::Applied { .. })
            | (_, Event::Cluster(_) | Event::Singular(_))
            | (_, Event::Front(_) | Event::BacklogFull | Event::Killed(_) | Event::Error(_)) => {}
        }
        self.stands(at, facts)
    }

    fn settled(&mut self, now: Time, facts: &Facts) -> Result<(), String> {
        match facts.leader() {
            Some(_) => self.stands(now, facts),
            None => Err("nobody leads, so the clock stands".into()),
        }
    }
}

impl ClockMoves {
    fn applied(
        &mut self,
        at: Time,
        index: u64,
        now: GlobalTime,
        facts: &Facts,
    ) -> Result<(), String> {
        if now < self.global {
            return Err(format!("entry {index} says {now}, after {}", self.global));
        }
        // It starts at zero with the cluster, which is not older than the run.
        if Duration::from_micros(now.0) > facts.stretched(at.since(Time(0))) {
            return Err(format!("entry {index} says {now} at real time {at}"));
        }
        self.global = now;
        Ok(())
    }

    fn proposed(
        &mut self,
        at: Time,
        node: NodeId,
        now: GlobalTime,
        facts: &Facts,
    ) -> Result<(), String> {
        match self.terms.entry(node).or_default() {
            Some((since, global)) if now.since(*global) > facts.stretched(at.since(*since)) => {
                let (moved, real) = (now.since(*global), at.since(*since));
                Err(format!("{node} moved the clock by {moved:?} in {real:?}"))
            }
            Some(_) => Ok(()),
            term @ None => {
                *term = Some((at, now));
                Ok(())
            }
        }
    }

    fn stands(&self, at: Time, facts: &Facts) -> Result<(), String> {
        let lag = facts.stretched(LAG_MAX);
        let slow = SLOW_SYNCS * facts.slow_disk() + SLOW_WAYS * facts.slow_link();
        let calm = facts.calm_since().map(|since| since + self.unnoticed);
        match calm {
            Some(calm) if at > calm.max(facts.clock()) + lag + slow => Err(format!(
                "the clock stands at {}, which was right at {}",
                self.global,
                facts.clock()
            )),
            Some(_) | None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use portcullis_core::lease::{Applied, Entry};

    use super::*;
    use crate::check::tests::{ONE, Story};
    use crate::stage::{Deed, Place};

    fn moves(story: &mut Story, at: u64, index: u64, global: u64) -> Result<(), String> {
        let entry = Entry { now: GlobalTime(global * 1_000), commands: Default::default() };
        let applied = Applied::default();
        story.event(at, ONE, Event::Applied { index, entry: &entry, applied: &applied })
    }

    #[test]
    fn a_clock_that_goes_back_is_caught() {
        let mut story = Story::new(make, "");
        assert!(moves(&mut story, 5_000, 1, 2_000).is_ok());
        assert!(moves(&mut story, 5_001, 2, 1_999).is_err());
    }

    #[test]
    fn a_clock_that_runs_ahead_is_caught() {
        let mut story = Story::new(make, "");
        assert!(moves(&mut story, 5_000, 1, 5_001).is_err());
    }

    #[test]
    fn a_term_faster_than_real_time_is_caught() {
        let mut story = Story::new(make, "");
        let propose = |now: u64| Output::Propose {
            batch: Default::default(),
            entry: Entry { now: GlobalTime(now * 1_000), commands: Default::default() },
        };
        assert!(story.ordered(10_000, ONE, propose(1_000)).is_ok());
        assert!(story.ordered(11_000, ONE, propose(2_001)).is_err());
    }

    #[test]
    fn a_clock_that_stands_under_a_leader_is_caught() {
        let mut story = Story::new(make, "");
        story.serving(ONE);
        assert!(moves(&mut story, 1_000, 1, 1_000).is_ok());
        assert!(moves(&mut story, 3_000, 2, 1_000).is_ok());
        assert!(moves(&mut story, 3_001, 3, 1_000).is_err());
    }

    #[test]
    fn a_clock_that_waits_behind_claims_is_caught() {
        let mut story = Story::new(make, "");
        story.serving(ONE);
        let propose = |story: &mut Story, at: u64| {
            let entry = Entry { now: GlobalTime(at * 1_000), commands: Default::default() };
            story.ordered(at, ONE, Output::Propose { batch: Default::default(), entry })
        };
        assert!(propose(&mut story, 1_000).is_ok());
        assert!(moves(&mut story, 1_500, 1, 1_000).is_ok());
        assert!(propose(&mut story, 2_000).is_ok());
        // Each entry moves it, but by ever less than has passed.
        assert!(moves(&mut story, 2_999, 2, 2_000).is_ok());
        assert!(propose(&mut story, 4_000).is_ok());
        assert!(propose(&mut story, 4_001).is_err());
    }

    #[test]
    fn a_link_that_was_slow_still_carries_what_was_sent_on_it() {
        let late = |at| {
            let mut story = Story::new(make, "");
            story.serving(ONE);
            let [from, to] = [1, 2].map(|node| Place::Controller(portcullis_core::NodeId(node)));
            assert!(moves(&mut story, 1_000, 1, 1_000).is_ok());
            for (at, by) in [(1_000, 1_500), (4_000, 0)] {
                let slow = Deed::Slow { from, to, by: Duration::from_millis(by) };
                assert!(story.event(at, Who::World, Event::Did(&slow)).is_ok());
            }
            moves(&mut story, at, 2, 1_000)
        };
        assert!(late(7_500).is_ok());
        assert!(late(7_501).is_err());
    }

    #[test]
    fn a_slow_link_may_hold_it_up_by_two_round_trips() {
        let late = |by, at| {
            let mut story = Story::new(make, "");
            story.serving(ONE);
            let [from, to] = [1, 2].map(|node| Place::Controller(portcullis_core::NodeId(node)));
            let slow = Deed::Slow { from, to, by: Duration::from_millis(by) };
            assert!(story.event(0, Who::World, Event::Did(&slow)).is_ok());
            assert!(moves(&mut story, 1_000, 1, 1_000).is_ok());
            moves(&mut story, at, 2, 1_000)
        };
        assert!(late(250, 4_000).is_ok());
        assert!(late(250, 4_001).is_err());
        // Too far: it is as if the link were cut, and nothing is demanded.
        assert!(late(400, 60_000).is_ok());
    }

    #[test]
    fn a_slow_disk_may_hold_it_up_by_two_syncs() {
        let mut story = Story::new(make, "");
        story.serving(ONE);
        let by = Duration::from_secs(1);
        let slow = Deed::SlowDisk { node: portcullis_core::NodeId(1), by };
        assert!(story.event(0, Who::World, Event::Did(&slow)).is_ok());
        assert!(moves(&mut story, 1_000, 1, 1_000).is_ok());
        assert!(moves(&mut story, 5_000, 2, 1_000).is_ok());
        assert!(moves(&mut story, 5_001, 3, 1_000).is_err());
    }
}
