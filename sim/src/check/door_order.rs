//! Controllers first; agents only after this controller is ready, and a delay, and while it is.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use portcullis_core::controller::{Input, Output};
use portcullis_core::sessions::Party;
use portcullis_core::{ConnectionId, Door, NodeId, Time};

use super::{Check, Sentence};
use crate::facts::Facts;
use crate::history::{Event, Kind, Kinds, Who};
use crate::plan::Plan;

/// See the module.
struct DoorOrder {
    controller_door: bool,
    controllers_first: bool,
    delay: Duration,
    lost_max: Duration,
    controllers: BTreeMap<NodeId, Doors>,
}

#[derive(Default)]
struct Doors {
    /// Which doors there are, if the operator has changed that.
    set: Option<(bool, bool)>,
    controller_ordered: bool,
    api_ordered: bool,
    leader: Option<NodeId>,
    itself: Option<ConnectionId>,
    /// Controllers that no link is up to.
    down: BTreeSet<NodeId>,
    /// Since when it is connected to itself and to whoever leads.
    stable: Option<Time>,
    /// Since when it is not.
    lost: Option<Time>,
    /// Whether agents may come in.
    ready: bool,
}

pub(super) fn make(plan: &Plan) -> Option<Box<dyn Check>> {
    let settings = &plan.settings.controllers;
    Some(Box::new(DoorOrder {
        controller_door: settings.has_controller_door(),
        controllers_first: settings.holds(),
        delay: settings.api_port_open_delay,
        lost_max: settings.lost_max,
        controllers: BTreeMap::new(),
    }))
}

impl Check for DoorOrder {
    fn name(&self) -> &'static str {
        "door_order"
    }

    fn sentence(&self) -> Sentence {
        Sentence {
            seed: "000",
            text: "the controller should really not even accept any connections from the external \
                   agents before the controller has established that it is stable",
        }
    }

    fn hears(&self) -> Kinds {
        Kinds::of(&[Kind::Told, Kind::Ordered])
    }

    fn always(
        &mut self,
        at: Time,
        who: Who,
        event: &Event<'_>,
        facts: &Facts,
    ) -> Result<(), String> {
        let Who::Controller(node) = who else { return Ok(()) };
        match event {
            Event::Told(input) => self.told(at, node, input, facts),
            Event::Ordered(output) => self.ordered(at, node, output, facts),
            Event::Did(_)
            | Event::AgentTold(_)
            | Event::AgentOrdered(_)
            | Event::Applied { .. }
            | Event::Memory(_)
            | Event::Front(_)
            | Event::BacklogFull
            | Event::Cluster(_)
            | Event::Singular(_)
            | Event::Killed(_)
            | Event::Error(_) => Ok(()),
        }
    }
}

impl DoorOrder {
    fn told(&mut self, at: Time, node: NodeId, input: &Input, facts: &Facts) -> Result<(), String> {
        self.reckon(at, node, facts);
        let doors = self.controllers.entry(node).or_default();
        match input {
            Input::Started => {
                *doors = Doors { set: doors.set, lost: Some(at), ..Doors::default() };
            }
            Input::Led { .. } => doors.leader = Some(node),
            Input::Followed { leader } => doors.leader = *leader,
            Input::LoggedIn { connection, party: Party::Controller(party) } if *party == node => {
                doors.itself = Some(*connection);
            }
            Input::Disconnected { connection } if doors.itself == Some(*connection) => {
                doors.itself = None;
            }
            Input::Linked { to, up: true } => {
                doors.down.remove(to);
            }
            Input::Linked { to, up: false } => {
                doors.down.insert(*to);
            }
            Input::Reconfigured { controller_door, controllers_first, .. } => {
                let set = (*controller_door, *controllers_first);
                // Agents have been inside all the time.
                if doors.set.unwrap_or((self.controller_door, self.controllers_first))
                    == (false, false)
                {
                    doors.lost = doors.lost.map(|_| at);
                }
                doors.set = Some(set);
            }
            Input::Connected { door: Door::Api, .. } => return self.lets_in(at, node, facts),
            Input::LoggedIn { .. }
            | Input::Disconnected { .. }
            | Input::Connected { .. }
            | Input::Knocked { .. }
            | Input::Arrived { .. }
            | Input::Committing { .. }
            | Input::Working { .. }
            | Input::Offered { .. }
            | Input::Opened { .. }
            | Input::NotOpened { .. }
            | Input::Pinged { .. }
            | Input::Asked { .. }
            | Input::Cancelled { .. }
            | Input::Answered { .. }
            | Input::NotSent { .. }
            | Input::Lost { .. }
            | Input::Looked { .. }
            | Input::Committed { .. }
            | Input::NotProposed { .. }
            | Input::BatchLost { .. }
            | Input::Applied { .. }
            | Input::Restored { .. }
            | Input::Heard { .. }
            | Input::Memory { .. }
            | Input::Stopping => {}
        }
        let reached = |leader| leader == node || !doors.down.contains(&leader);
        let itself = doors.itself.is_some() && !doors.down.contains(&node);
        if itself && doors.leader.is_some_and(reached) {
            doors.stable.get_or_insert(at);
            doors.lost = None;
        } else {
            doors.stable = None;
            doors.lost.get_or_insert(at);
        }
        self.reckon(at, node, facts);
        Ok(())
    }

    /// Whether this controller has a controller door, and whether its API port holds.
    fn doors(&self, node: NodeId) -> (bool, bool) {
        let set = self.controllers.get(&node).and_then(|doors| doors.set);
        set.unwrap_or((self.controller_door, self.controllers_first))
    }

    /// Works out whether agents may come in.
    fn reckon(&mut self, at: Time, node: NodeId, facts: &Facts) {
        let one_door = self.doors(node) == (false, false);
        let (delay, lost_max) = (facts.shrunk(self.delay), facts.stretched(self.lost_max));
        let doors = self.controllers.entry(node).or_default();
        if one_door || doors.stable.is_some_and(|since| since + delay <= at) {
            doors.ready = true;
        } else if doors.lost.is_some_and(|since| since + lost_max < at) {
            doors.ready = false;
        }
    }

    /// Somebody who is no controller comes in, or may.
    fn lets_in(&mut self, at: Time, node: NodeId, facts: &Facts) -> Result<(), String> {
        self.reckon(at, node, facts);
        let doors = self.controllers.entry(node).or_default();
        match (doors.ready, doors.stable) {
            (true, _) if doors.api_ordered => Ok(()),
            (true, _) => Err(format!("{node} let an agent in before it opened the api door")),
            (false, None) => Err(format!("{node} lets agents in without being ready")),
            (false, Some(since)) => {
                let after = at.since(since);
                Err(format!("{node} lets agents in {after:?} after it was ready"))
            }
        }
    }

    fn ordered(
        &mut self,
        at: Time,
        node: NodeId,
        output: &Output,
        facts: &Facts,
    ) -> Result<(), String> {
        let (controller_door, holds) = self.doors(node);
        let doors = self.controllers.entry(node).or_default();
        match output {
            Output::Open { door: Door::Controller } => {
                doors.controller_ordered = true;
                match controller_door {
                    true => Ok(()),
                    false => {
                        Err(format!("{node} opened a controller door that it has no port for"))
                    }
                }
            }
            Output::Open { door: Door::Api } => {
                doors.api_ordered = true;
                match (controller_door && !doors.controller_ordered, holds) {
                    (true, _) => {
                        Err(format!("{node} opened the api door before the controller door"))
                    }
                    // Nobody comes further than to the door.
                    (false, true) => Ok(()),
                    (false, false) => self.lets_in(at, node, facts),
                }
            }
            Output::Accept { door: Door::Api } => self.lets_in(at, node, facts),
            Output::Admit { connection } => match facts.session(node, *connection) {
                Some((Door::Api, _)) => self.lets_in(at, node, facts),
                Some((Door::Controller, _)) | None => Ok(()),
            },
            Output::Accept { .. }
            | Output::Hold { .. }
            | Output::Condition { .. }
            | Output::Bind { .. }
            | Output::Complain { .. }
            | Output::Stopped
            | Output::Shut { .. }
            | Output::Hangup { .. }
            | Output::Propose { .. }
            | Output::Send { .. }
            | Output::Recall { .. }
            | Output::Welcome { .. }
            | Output::Refuse { .. }
            | Output::Redirect { .. }
            | Output::Tell { .. }
            | Output::Look { .. }
            | Output::Answer { .. } => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use portcullis_core::listener::Kind;

    use super::*;
    use crate::check::tests::{ONE, Story};

    const TWO_DOORS: &str = "[controllers]\ncontroller-api-port = 17022\n";
    const API: Output = Output::Open { door: Door::Api };

    #[test]
    fn an_api_door_before_stable_is_caught() {
        let mut story = Story::new(make, TWO_DOORS);
        assert!(story.told(0, ONE, Input::Started).is_ok());
        assert!(story.ordered(0, ONE, Output::Open { door: Door::Controller }).is_ok());
        assert!(story.ordered(5_000, ONE, API).is_err());
    }

    #[test]
    fn an_api_door_within_the_delay_is_caught() {
        let mut story = Story::new(make, TWO_DOORS);
        assert!(story.ordered(0, ONE, Output::Open { door: Door::Controller }).is_ok());
        story.serving(ONE);
        assert!(story.ordered(0, ONE, Output::Open { door: Door::Controller }).is_ok());
        assert!(story.ordered(1_999, ONE, API).is_err());
    }

    #[test]
    fn an_api_door_after_the_delay_is_fine() {
        let mut story = Story::new(make, TWO_DOORS);
        story.serving(ONE);
        assert!(story.ordered(0, ONE, Output::Open { door: Door::Controller }).is_ok());
        assert!(story.ordered(2_000, ONE, API).is_ok());
    }

    #[test]
    fn an_agent_let_in_before_the_door_is_open_is_caught() {
        let mut story = Story::new(make, TWO_DOORS);
        let input = Input::Connected { connection: ConnectionId(1), door: Door::Api };
        assert!(story.told(0, ONE, input).is_err());
    }

    const HOLDING: &str = "[controllers]\ncontrollers-first = true\n";

    fn admitted(story: &mut Story, at: u64, kind: Kind) -> Result<(), String> {
        let (connection, door) = (ConnectionId(9), Door::Api);
        let _ = story.told(at, ONE, Input::Arrived { connection, door, kind });
        story.ordered(at, ONE, Output::Admit { connection })
    }

    #[test]
    fn an_agent_admitted_before_ready_is_caught_and_a_controller_is_not() {
        let mut story = Story::new(make, HOLDING);
        assert!(story.told(0, ONE, Input::Started).is_ok());
        assert!(story.ordered(0, ONE, API).is_ok());
        assert!(admitted(&mut story, 1, Kind::Controller).is_ok());
        assert!(admitted(&mut story, 1, Kind::Other).is_err());
    }

    #[test]
    fn an_agent_admitted_long_after_ready_was_lost_is_caught() {
        let mut story = Story::new(make, HOLDING);
        story.serving(ONE);
        assert!(story.ordered(0, ONE, API).is_ok());
        assert!(admitted(&mut story, 2_000, Kind::Other).is_ok());
        assert!(story.told(3_000, ONE, Input::Followed { leader: None }).is_ok());
        assert!(admitted(&mut story, 33_000, Kind::Other).is_ok());
        assert!(admitted(&mut story, 33_001, Kind::Other).is_err());
    }

    #[test]
    fn a_leader_that_cannot_be_reached_makes_nobody_ready() {
        let mut story = Story::new(make, HOLDING);
        story.serving(ONE);
        assert!(story.ordered(0, ONE, API).is_ok());
        let to = NodeId(2);
        assert!(story.told(0, ONE, Input::Linked { to, up: false }).is_ok());
        assert!(story.told(0, ONE, Input::Followed { leader: Some(to) }).is_ok());
        assert!(admitted(&mut story, 9_000, Kind::Other).is_err());
    }
}
