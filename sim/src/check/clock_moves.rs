//! Global time never goes back, never runs faster than real time, and never stands still while
//! nothing is wrong.

use std::collections::BTreeMap;
use std::time::Duration;

use portcullis_core::controller::{Input, Output};
use portcullis_core::{GlobalTime, NodeId, Time};

use super::{Check, Sentence};
use crate::facts::Facts;
use crate::history::{Event, Who};
use crate::plan::Plan;

/// Longest time that the clock may stand still while one controller leads and nothing is wrong: ten
/// of its own intervals.
pub const STILL_MAX: Duration = Duration::from_secs(10);

/// See the module.
struct ClockMoves {
    index: u64,
    global: GlobalTime,
    moved: Time,
    /// The first proposal of each controller's present term, by both clocks.
    terms: BTreeMap<NodeId, Option<(Time, GlobalTime)>>,
}

pub(super) fn make(_: &Plan) -> Option<Box<dyn Check>> {
    Some(Box::new(ClockMoves {
        index: 0,
        global: GlobalTime(0),
        moved: Time(0),
        terms: BTreeMap::new(),
    }))
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
                self.applied(at, *index, entry.now)?;
            }
            (Who::Controller(node), Event::Told(Input::Led { .. } | Input::Started)) => {
                self.terms.insert(node, None);
            }
            (Who::Controller(node), Event::Ordered(Output::Propose { entry, .. })) => {
                self.proposed(at, node, entry.now)?;
            }
            (_, Event::Told(_) | Event::Ordered(_) | Event::Did(_) | Event::Memory(_))
            | (_, Event::AgentTold(_) | Event::AgentOrdered(_) | Event::Applied { .. })
            | (_, Event::BacklogFull | Event::Killed(_) | Event::Error(_)) => {}
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
    fn applied(&mut self, at: Time, index: u64, now: GlobalTime) -> Result<(), String> {
        if now < self.global {
            return Err(format!("entry {index} says {now}, after {}", self.global));
        }
        // It starts at zero with the cluster, which is not older than the run.
        if now.0 > at.0 {
            return Err(format!("entry {index} says {now} at real time {at}"));
        }
        if now > self.global {
            self.moved = at;
        }
        self.global = now;
        Ok(())
    }

    fn proposed(&mut self, at: Time, node: NodeId, now: GlobalTime) -> Result<(), String> {
        match self.terms.entry(node).or_default() {
            Some((since, global)) if now.since(*global) > at.since(*since) => {
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
        match facts.calm_since() {
            Some(since) if at > since.max(self.moved) + STILL_MAX => {
                Err(format!("the clock has stood at {} since {}", self.global, self.moved))
            }
            Some(_) | None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use portcullis_core::lease::{Applied, Entry};

    use super::*;
    use crate::check::tests::{ONE, Story};

    fn moves(story: &mut Story, at: u64, index: u64, global: u64) -> Result<(), String> {
        let entry = Entry { now: GlobalTime(global * 1_000), commands: Vec::new() };
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
            entry: Entry { now: GlobalTime(now * 1_000), commands: Vec::new() },
        };
        assert!(story.ordered(10_000, ONE, propose(1_000)).is_ok());
        assert!(story.ordered(11_000, ONE, propose(2_001)).is_err());
    }

    #[test]
    fn a_clock_that_stands_under_a_leader_is_caught() {
        let mut story = Story::new(make, "");
        story.serving(ONE);
        assert!(moves(&mut story, 1_000, 1, 1_000).is_ok());
        assert!(moves(&mut story, 11_000, 2, 1_000).is_ok());
        assert!(moves(&mut story, 11_001, 3, 1_000).is_err());
    }
}
