//! A controller port that is switched on or off breaks no link between controllers.

use std::collections::BTreeMap;
use std::time::Duration;

use portcullis_core::controller::Input;
use portcullis_core::{NodeId, Time};

use super::{Check, Sentence};
use crate::facts::Facts;
use crate::history::{Event, Kind, Kinds, Who};
use crate::plan::Plan;
use crate::stage::Deed;

/// What breaks this long after a switch may be its doing.
const SOON: Duration = Duration::from_secs(5);
/// What else goes wrong breaks links up to this long after: silence is noticed late.
const LATE: Duration = Duration::from_secs(15);

/// See the module.
#[derive(Default)]
struct LinksKept {
    /// When each controller's port was switched last.
    switched: BTreeMap<NodeId, Time>,
    /// When something happened last that breaks links by itself.
    wrong: Option<Time>,
}

pub(super) fn make(_: &Plan) -> Option<Box<dyn Check>> {
    Some(Box::new(LinksKept::default()))
}

impl Check for LinksKept {
    fn name(&self) -> &'static str {
        "links_kept"
    }

    fn sentence(&self) -> Sentence {
        Sentence {
            seed: "000",
            text: "definitely want a way to disable it so that post-upgrade we don’t break \
                   inter-controller communication",
        }
    }

    fn hears(&self) -> Kinds {
        Kinds::of(&[Kind::Told, Kind::Killed, Kind::Did])
    }

    fn always(&mut self, at: Time, who: Who, event: &Event<'_>, _: &Facts) -> Result<(), String> {
        match (who, event) {
            (Who::Controller(node), Event::Told(Input::Reconfigured { .. })) => {
                self.switched.insert(node, at);
            }
            (Who::Controller(node), Event::Told(Input::Linked { to, up: false })) => {
                return self.lost(at, node, *to);
            }
            (_, Event::Killed(_) | Event::Told(Input::Started | Input::Stopping)) => {
                self.wrong = Some(at);
            }
            (_, Event::Did(deed)) if breaks_links(deed) => self.wrong = Some(at),
            (_, Event::Told(_) | Event::Ordered(_) | Event::Memory(_) | Event::BacklogFull)
            | (_, Event::AgentTold(_) | Event::AgentOrdered(_) | Event::Applied { .. })
            | (
                _,
                Event::Did(_)
                | Event::Error(_)
                | Event::Front(_)
                | Event::Cluster(_)
                | Event::Singular(_),
            ) => {}
        }
        Ok(())
    }
}

impl LinksKept {
    fn lost(&self, at: Time, node: NodeId, to: NodeId) -> Result<(), String> {
        let within = |since: &Time, span: Duration| at.since(*since) <= span;
        if self.wrong.is_some_and(|wrong| within(&wrong, LATE)) {
            return Ok(());
        }
        let switched = |end: NodeId| self.switched.get(&end).is_some_and(|at| within(at, SOON));
        match [node, to].into_iter().find(|end| switched(*end)) {
            Some(end) => Err(format!("{node} lost {to} as the port of {end} was switched")),
            None => Ok(()),
        }
    }
}

fn breaks_links(deed: &Deed) -> bool {
    match deed {
        Deed::ControllerPort { .. }
        | Deed::BindFile { .. }
        | Deed::ApiAddresses { .. }
        | Deed::Herd
        | Deed::RestartAgents
        | Deed::Drift { .. }
        | Deed::Limit(_)
        | Deed::Claim(_)
        | Deed::Settle => false,
        Deed::Crash(_)
        | Deed::Left(_)
        | Deed::Join(_)
        | Deed::Remove(_)
        | Deed::Restart(_)
        | Deed::Stop(_)
        | Deed::Pause(_)
        | Deed::Resume(_)
        | Deed::LoseItself(_)
        | Deed::FindItself(_)
        | Deed::Cut { .. }
        | Deed::Mend { .. }
        | Deed::Hold { .. }
        | Deed::Release { .. }
        | Deed::Slow { .. }
        | Deed::FillDisk(_)
        | Deed::FreeDisk(_)
        | Deed::BreakDisk { .. }
        | Deed::Failed(_)
        | Deed::SlowDisk { .. } => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::tests::{ONE, Story, TWO};
    use portcullis_core::pace;

    const LOST: Input = Input::Linked { to: NodeId(2), up: false };

    fn switched() -> Input {
        Input::Reconfigured {
            pace: pace::Config::default(),
            open_delay: Duration::from_secs(2),
            controller_door: false,
            controllers_first: false,
        }
    }

    #[test]
    fn a_link_lost_with_the_port_is_caught() {
        let mut story = Story::new(make, "");
        assert!(story.told(20_000, ONE, switched()).is_ok());
        assert!(story.told(20_010, ONE, LOST).is_err());
    }

    #[test]
    fn so_it_is_from_the_other_end() {
        let mut story = Story::new(make, "");
        assert!(story.told(20_000, TWO, switched()).is_ok());
        assert!(story.told(20_010, ONE, LOST).is_err());
    }

    #[test]
    fn a_link_lost_by_a_crash_is_fine() {
        let mut story = Story::new(make, "");
        assert!(story.told(20_000, ONE, switched()).is_ok());
        let crash = Deed::Crash(NodeId(2));
        assert!(story.event(20_005, Who::World, Event::Did(&crash)).is_ok());
        assert!(story.told(20_010, ONE, LOST).is_ok());
    }
}
