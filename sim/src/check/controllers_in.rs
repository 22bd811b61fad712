//! Controllers come in to themselves and to each other, whoever else is at the door.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use portcullis_core::controller::{Input, Output};
use portcullis_core::sessions::Party;
use portcullis_core::{ConnectionId, NodeId, Time};

use super::{Check, Sentence};
use crate::facts::Facts;
use crate::history::{Event, Who};
use crate::plan::Plan;
use crate::stage::{Deed, Place, Wrong};

/// From when two controllers run and nothing is wrong between any, to the connection between them.
/// Two calls that nobody answers, of 5 s and a wait each, are not too many.
pub const IN_WITHIN: Duration = Duration::from_secs(15);

/// See the module. Follows connections itself: `facts` forget who had which.
#[derive(Default)]
struct ControllersIn {
    /// Whether a file says where a controller is to be bound: nobody reaches it before.
    bind_files: bool,
    /// Who runs and has no address yet.
    awaited: BTreeSet<NodeId>,
    /// Who runs, and since when.
    up: BTreeMap<NodeId, Time>,
    /// By the controller that was called and its connection, who called.
    inside: BTreeMap<(NodeId, ConnectionId), NodeId>,
    /// When the last connection of one at another went.
    lost: BTreeMap<(NodeId, NodeId), Time>,
    /// Controllers that the plan keeps dead, and routes that it disturbs.
    dead: BTreeSet<NodeId>,
    disturbed: BTreeSet<(Wrong, Place, Place)>,
    lost_itself: BTreeSet<NodeId>,
    calm: Time,
    /// Who must be connected to whom next, and by when.
    due: Option<(Time, NodeId, NodeId)>,
}

pub(super) fn make(plan: &Plan) -> Option<Box<dyn Check>> {
    let bind_files = plan.settings.addresses.as_ref().is_some_and(|one| one.bind_files);
    Some(Box::new(ControllersIn { bind_files, ..ControllersIn::default() }))
}

impl Check for ControllersIn {
    fn name(&self) -> &'static str {
        "controllers_in"
    }

    fn sentence(&self) -> Sentence {
        Sentence {
            seed: "000",
            text: "it needs to connect to itself over the API for many of the workers, and \
                   additionally every other agent is also trying to connect to the controllers at \
                   the same time.",
        }
    }

    fn always(&mut self, at: Time, who: Who, event: &Event<'_>, _: &Facts) -> Result<(), String> {
        if let Some((due, node, to)) = self.due
            && at > due
        {
            return Err(format!("{node} is not connected to {to} for {IN_WITHIN:?}"));
        }
        let changed = match (who, event) {
            (Who::Controller(node), Event::Told(Input::Started)) => {
                self.gone(at, node);
                match self.bind_files {
                    true => self.awaited.insert(node),
                    false => self.up.insert(node, at).is_none(),
                }
            }
            (Who::Controller(node), Event::Ordered(Output::Bind { .. })) => {
                let first = self.awaited.remove(&node);
                if first {
                    self.up.insert(node, at);
                    self.calm = at;
                }
                first
            }
            (Who::Controller(node), Event::Told(Input::Stopping) | Event::Killed(_)) => {
                self.gone(at, node);
                true
            }
            (Who::Controller(node), Event::Told(Input::LoggedIn { connection, party })) => {
                self.logged_in(node, *connection, *party)
            }
            (Who::Controller(node), Event::Told(Input::Disconnected { connection })) => {
                self.left(at, node, *connection)
            }
            (_, Event::Did(deed)) => self.did(at, deed),
            (_, Event::Told(_) | Event::Killed(_) | Event::Ordered(_) | Event::Memory(_))
            | (_, Event::AgentTold(_) | Event::AgentOrdered(_) | Event::Applied { .. })
            | (
                _,
                Event::BacklogFull
                | Event::Error(_)
                | Event::Front(_)
                | Event::Cluster(_)
                | Event::Singular(_),
            ) => false,
        };
        if changed {
            self.due = self.next();
        }
        Ok(())
    }
}

impl ControllersIn {
    /// Somebody has proved to a controller who it is; says whether it matters.
    fn logged_in(&mut self, node: NodeId, connection: ConnectionId, party: Party) -> bool {
        match party {
            Party::Controller(from) => {
                self.inside.insert((node, connection), from);
                true
            }
            Party::Agent | Party::User => false,
        }
    }

    /// A connection of a controller is gone; says whether it matters.
    fn left(&mut self, at: Time, node: NodeId, connection: ConnectionId) -> bool {
        let from = self.inside.remove(&(node, connection));
        if let Some(from) = from {
            self.lost.insert((from, node), at);
        }
        from.is_some()
    }

    /// Takes note of a deed; says whether it matters.
    fn did(&mut self, at: Time, deed: &Deed) -> bool {
        match deed {
            // Nobody has to be connected to whoever does not belong to the cluster any more.
            Deed::Crash(node) | Deed::Stop(node) | Deed::Remove(node) | Deed::Left(node) => {
                self.dead.insert(*node);
                self.gone(at, *node);
            }
            // Whoever is connected stays so, but nobody comes in meanwhile.
            Deed::Pause(node) => {
                self.dead.insert(*node);
            }
            Deed::Restart(node) | Deed::Join(node) | Deed::Resume(node) => {
                self.dead.remove(node);
            }
            Deed::LoseItself(node) => {
                self.lost_itself.insert(*node);
            }
            Deed::FindItself(node) => {
                self.lost_itself.remove(node);
            }
            Deed::Cut { .. }
            | Deed::Mend { .. }
            | Deed::Hold { .. }
            | Deed::Release { .. }
            | Deed::Slow { .. } => match deed.link() {
                Some((wrong, from, to, true)) => drop(self.disturbed.insert((wrong, from, to))),
                Some((wrong, from, to, false)) => drop(self.disturbed.remove(&(wrong, from, to))),
                None => {}
            },
            // Its service manager starts it again by itself.
            Deed::Failed(node) => self.gone(at, *node),
            Deed::SlowDisk { .. }
            | Deed::FillDisk(_)
            | Deed::FreeDisk(_)
            | Deed::BreakDisk { .. }
            | Deed::Drift { .. }
            | Deed::ControllerPort { .. }
            | Deed::BindFile { .. }
            | Deed::ApiAddresses { .. }
            | Deed::Herd
            | Deed::RestartAgents
            | Deed::Limit(_)
            | Deed::Claim(_)
            | Deed::Settle => return false,
        }
        self.calm = at;
        true
    }

    /// A process is gone, and with it whoever it had let in; the others find out in their time.
    fn gone(&mut self, at: Time, node: NodeId) {
        self.up.remove(&node);
        self.awaited.remove(&node);
        self.inside.retain(|(at, _), _| *at != node);
        self.calm = at;
    }

    fn next(&self) -> Option<(Time, NodeId, NodeId)> {
        let quiet = self.disturbed.is_empty() && self.lost_itself.is_empty();
        if !self.dead.is_empty() || !quiet {
            return None;
        }
        let connected: BTreeSet<(NodeId, NodeId)> =
            self.inside.iter().map(|((to, _), from)| (*from, *to)).collect();
        let pairs = self.up.iter().flat_map(|one| self.up.iter().map(move |other| (one, other)));
        pairs
            .filter(|((from, _), (to, _))| !connected.contains(&(**from, **to)))
            .map(|((from, one), (to, other))| {
                let lost = self.lost.get(&(*from, *to)).copied().unwrap_or_default();
                (*one.max(other).max(&lost).max(&self.calm) + IN_WITHIN, *from, *to)
            })
            .min()
    }
}

#[cfg(test)]
mod tests {
    use portcullis_core::Door;

    use super::*;
    use crate::check::tests::{ONE, Story, TWO};

    fn log_in(story: &mut Story, at: u64, who: Who, number: u64, from: u64) -> Result<(), String> {
        let (connection, party) = (ConnectionId(number), Party::Controller(NodeId(from)));
        story.told(at, who, Input::Connected { connection, door: Door::Api })?;
        story.told(at, who, Input::LoggedIn { connection, party })
    }

    #[test]
    fn a_controller_that_stays_outside_is_caught() {
        let mut story = Story::new(make, "");
        assert!(story.told(0, ONE, Input::Started).is_ok());
        assert!(story.told(0, TWO, Input::Started).is_ok());
        for (number, from) in [(1, 1), (2, 2)] {
            assert!(log_in(&mut story, 1_000, ONE, number, from).is_ok());
        }
        assert!(log_in(&mut story, 1_000, TWO, 1, 2).is_ok());
        assert!(story.event(15_000, ONE, Event::BacklogFull).is_ok());
        assert!(story.event(15_001, ONE, Event::BacklogFull).is_err(), "one is not at two");
    }

    #[test]
    fn those_who_are_in_and_those_who_are_cut_off_are_not() {
        let mut story = Story::new(make, "");
        assert!(story.told(0, ONE, Input::Started).is_ok());
        assert!(log_in(&mut story, 1_000, ONE, 1, 1).is_ok());
        assert!(story.event(90_000, ONE, Event::BacklogFull).is_ok());
        assert!(story.event(90_000, Who::World, Event::Did(&Deed::Crash(NodeId(2)))).is_ok());
        let gone = Input::Disconnected { connection: ConnectionId(1) };
        assert!(story.told(90_000, ONE, gone).is_ok());
        assert!(story.event(190_000, Who::World, Event::Did(&Deed::Restart(NodeId(2)))).is_ok());
        assert!(story.event(205_000, ONE, Event::BacklogFull).is_ok());
        assert!(story.event(205_001, ONE, Event::BacklogFull).is_err());
    }
}
