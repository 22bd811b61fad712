//! A worker that must run on one controller alone runs on no other, and what it writes under an older
//! fence is refused.
//!
//! A process that is paused executes nothing, so its flag may be up though another's is; what counts
//! is that it lowers it before it begins anything when it goes on, and does so at once. What it had
//! begun by then it may still write, and whatever it writes to must refuse that.

use std::collections::BTreeMap;
use std::time::Duration;

use portcullis_core::controller::Input;
use portcullis_core::singular::Output;
use portcullis_core::{NodeId, Time};

use super::{Check, Sentence};
use crate::facts::Facts;
use crate::history::{Event, Who};
use crate::plan::Plan;
use crate::singular::{What, Worker, workers};
use crate::stage::Deed;

/// How long after a pause a flag may still be up: until each task of the process has had its turn.
/// `direct` takes no time for that, `madsim` up to 100 ns a task.
const WAKES_WITHIN: Duration = Duration::from_micros(500);

/// Who is paused; until when those wake up that have begun nothing yet.
type Paused = BTreeMap<NodeId, Option<Time>>;

/// See the module.
struct OneWorker {
    each: BTreeMap<Worker, One>,
    paused: Paused,
}

/// What is known of one worker.
#[derive(Default)]
struct One {
    /// Whose flag is up, and under which fence.
    raised: BTreeMap<NodeId, u64>,
    /// The highest fence that a flag was raised under, and whose that was.
    latest: Option<(u64, NodeId)>,
    /// The highest fence that something was written under.
    written: u64,
}

pub(super) fn make(plan: &Plan) -> Option<Box<dyn Check>> {
    plan.settings.singular.as_ref()?;
    Some(Box::new(OneWorker {
        each: workers(plan).map(|worker| (worker, One::default())).collect(),
        paused: Paused::new(),
    }))
}

impl Check for OneWorker {
    fn name(&self) -> &'static str {
        "one_worker"
    }

    fn sentence(&self) -> Sentence {
        Sentence {
            seed: "003",
            text: "The singular worker only sets the flag if it is the current lease holder",
        }
    }

    fn always(&mut self, at: Time, who: Who, event: &Event<'_>, _: &Facts) -> Result<(), String> {
        let before = self.paused.len();
        self.paused.retain(|_, wakes| wakes.is_none_or(|until| at <= until));
        if self.paused.len() < before {
            self.each.iter().try_for_each(|(worker, one)| one.alone(*worker, &self.paused))?;
        }
        match (who, event) {
            (Who::Controller(node), Event::Singular(single)) => {
                self.happened(node, single.worker, single.what)
            }
            (_, Event::Singular(single)) => match single.what {
                What::Wrote { by, fence, taken } => {
                    let one = self.each.entry(single.worker).or_default();
                    one.wrote(single.worker, by, fence, taken)
                }
                What::Told(_) | What::Ordered(_) | What::Began { .. } => Ok(()),
            },
            (Who::Controller(node), Event::Told(Input::Started) | Event::Killed(_)) => {
                self.ended(node)
            }
            (_, Event::Did(Deed::Crash(node) | Deed::Left(node) | Deed::Failed(node))) => {
                self.ended(*node)
            }
            (_, Event::Did(Deed::Pause(node))) => {
                self.paused.insert(*node, None);
                Ok(())
            }
            (_, Event::Did(Deed::Resume(node))) => {
                self.paused.insert(*node, Some(at + WAKES_WITHIN));
                Ok(())
            }
            (_, Event::Did(_) | Event::Told(_) | Event::Ordered(_) | Event::Memory(_))
            | (_, Event::AgentTold(_) | Event::AgentOrdered(_) | Event::Applied { .. })
            | (_, Event::Front(_) | Event::BacklogFull | Event::Cluster(_))
            | (_, Event::Killed(_) | Event::Error(_)) => Ok(()),
        }
    }

    fn settled(&mut self, _: Time, _: &Facts) -> Result<(), String> {
        let idle = self.each.iter().find(|(_, one)| one.raised.len() != 1);
        idle.map_or(Ok(()), |(worker, one)| {
            Err(format!("{worker} runs on {} controllers", one.raised.len()))
        })
    }
}

impl OneWorker {
    fn happened(&mut self, node: NodeId, worker: Worker, what: What<'_>) -> Result<(), String> {
        let one = self.each.entry(worker).or_default();
        match what {
            What::Ordered(Output::Raise { fence, .. }) => {
                if let Some((latest, by)) = one.latest
                    && (*fence < latest || *fence == latest && by != node)
                {
                    return Err(format!(
                        "{worker} starts at {node} under fence {fence}, after {latest} at {by}"
                    ));
                }
                one.latest = Some((*fence, node));
                one.raised.insert(node, *fence);
                one.alone(worker, &self.paused)
            }
            What::Ordered(Output::Lower) => {
                one.raised.remove(&node);
                Ok(())
            }
            What::Began { fence } => {
                if one.raised.get(&node) != Some(&fence) {
                    return Err(format!("{worker} works at {node} without its flag {fence}"));
                }
                self.paused.remove(&node);
                one.alone(worker, &self.paused)
            }
            What::Told(_)
            | What::Ordered(Output::Ask { .. } | Output::Prolong { .. } | Output::Leave)
            | What::Wrote { .. } => Ok(()),
        }
    }

    fn ended(&mut self, node: NodeId) -> Result<(), String> {
        self.paused.remove(&node);
        for one in self.each.values_mut() {
            one.raised.remove(&node);
        }
        Ok(())
    }
}

impl One {
    /// Whether at most one flag is up where somebody executes anything.
    fn alone(&self, worker: Worker, paused: &Paused) -> Result<(), String> {
        let mut up = self.raised.iter().filter(|(node, _)| !paused.contains_key(*node));
        match (up.next(), up.next()) {
            (Some((one, fence)), Some((other, later))) => Err(format!(
                "{worker} runs at {one} under fence {fence} and at {other} under {later}"
            )),
            (_, None) | (None, _) => Ok(()),
        }
    }

    fn wrote(&mut self, worker: Worker, by: NodeId, fence: u64, taken: bool) -> Result<(), String> {
        let before = self.written;
        self.written = before.max(fence);
        if taken && fence < before {
            return Err(format!("{worker} at {by} writes under fence {fence} after {before}"));
        }
        if !taken && fence >= before {
            return Err(format!("{worker} at {by} is refused under fence {fence}, none is newer"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::tests::{ONE, Story, TWO};
    use crate::singular::Single;

    const ALONE: Worker = Worker(1);

    fn story() -> Story {
        Story::new(make, "[singular]\n")
    }

    fn ordered(story: &mut Story, at: u64, who: Who, order: Output) -> Result<(), String> {
        let what = What::Ordered(&order);
        story.event(at, who, Event::Singular(Single { worker: ALONE, what }))
    }

    fn raise(story: &mut Story, at: u64, who: Who, fence: u64) -> Result<(), String> {
        ordered(story, at, who, Output::Raise { fence, until: Time(0) })
    }

    fn begin(story: &mut Story, at: u64, who: Who, fence: u64) -> Result<(), String> {
        let what = What::Began { fence };
        story.event(at, who, Event::Singular(Single { worker: ALONE, what }))
    }

    fn wrote(story: &mut Story, at: u64, fence: u64, taken: bool) -> Result<(), String> {
        let what = What::Wrote { by: NodeId(1), fence, taken };
        story.event(at, Who::World, Event::Singular(Single { worker: ALONE, what }))
    }

    fn did(story: &mut Story, at: u64, deed: &Deed) -> Result<(), String> {
        story.event(at, Who::World, Event::Did(deed))
    }

    #[test]
    fn two_that_run_at_once_are_caught() {
        let mut story = story();
        assert!(raise(&mut story, 0, ONE, 1).is_ok());
        assert!(raise(&mut story, 1, TWO, 2).is_err());
    }

    #[test]
    fn one_after_the_other_is_fine() {
        let mut story = story();
        assert!(story.settled(0).is_err(), "nobody runs it");
        assert!(raise(&mut story, 0, ONE, 1).is_ok());
        assert!(ordered(&mut story, 1, ONE, Output::Lower).is_ok());
        assert!(raise(&mut story, 2, TWO, 2).is_ok());
        assert!(did(&mut story, 3, &Deed::Crash(NodeId(2))).is_ok());
        assert!(raise(&mut story, 4, ONE, 3).is_ok());
        assert_eq!(story.settled(5), Ok(()));
    }

    #[test]
    fn a_fence_that_falls_or_is_anothers_is_caught() {
        for fence in [6, 7] {
            let mut story = story();
            assert!(raise(&mut story, 0, ONE, 7).is_ok());
            assert!(ordered(&mut story, 1, ONE, Output::Lower).is_ok());
            assert!(raise(&mut story, 2, TWO, fence).is_err());
        }
        let mut story = story();
        assert!(raise(&mut story, 0, ONE, 7).is_ok());
        assert!(did(&mut story, 1, &Deed::Crash(NodeId(1))).is_ok());
        assert!(raise(&mut story, 2, ONE, 7).is_ok(), "the same holder goes on under its fence");
    }

    /// Paused, and another runs it meanwhile.
    fn paused() -> Story {
        let mut story = story();
        assert!(raise(&mut story, 0, ONE, 1).is_ok());
        assert!(did(&mut story, 1, &Deed::Pause(NodeId(1))).is_ok());
        assert!(raise(&mut story, 2, TWO, 2).is_ok(), "who is paused runs nothing");
        assert!(wrote(&mut story, 3, 2, true).is_ok());
        assert!(did(&mut story, 4, &Deed::Resume(NodeId(1))).is_ok());
        story
    }

    #[test]
    fn one_that_was_paused_must_lower_its_flag_before_anything_else() {
        let mut story = paused();
        assert!(wrote(&mut story, 4, 1, false).is_ok(), "what it had begun is refused");
        assert!(ordered(&mut story, 4, ONE, Output::Lower).is_ok());
        assert!(begin(&mut story, 5, TWO, 2).is_ok());
    }

    #[test]
    fn who_runs_it_works_on_while_one_that_was_paused_wakes_up() {
        let mut story = paused();
        assert!(begin(&mut story, 4, TWO, 2).is_ok());
        assert!(ordered(&mut story, 4, ONE, Output::Lower).is_ok());
        assert!(begin(&mut story, 5, TWO, 2).is_ok());
    }

    #[test]
    fn one_that_was_paused_and_works_on_is_caught() {
        assert!(begin(&mut paused(), 4, ONE, 1).is_err(), "it began a step");
        assert!(begin(&mut paused(), 5, TWO, 2).is_err(), "its flag is still up");
        assert!(wrote(&mut paused(), 4, 1, true).is_err(), "an older fence was taken");
    }

    #[test]
    fn work_without_a_flag_is_caught() {
        let mut story = story();
        assert!(raise(&mut story, 0, ONE, 1).is_ok());
        assert!(begin(&mut story, 1, ONE, 1).is_ok());
        assert!(ordered(&mut story, 2, ONE, Output::Lower).is_ok());
        assert!(begin(&mut story, 3, ONE, 1).is_err());
    }

    #[test]
    fn a_refusal_of_the_newest_fence_is_caught() {
        let mut story = story();
        assert!(wrote(&mut story, 0, 2, true).is_ok());
        assert!(wrote(&mut story, 1, 2, false).is_err());
    }
}
