//! The controller door first; the API door only after this controller is stable, and a delay.

use std::collections::BTreeMap;
use std::time::Duration;

use portcullis_core::controller::{Input, Output};
use portcullis_core::sessions::Party;
use portcullis_core::{ConnectionId, Door, NodeId, Time};

use super::{Check, Sentence};
use crate::facts::Facts;
use crate::history::{Event, Who};
use crate::plan::Plan;

/// See the module.
struct DoorOrder {
    controller_door: bool,
    delay: Duration,
    controllers: BTreeMap<NodeId, Doors>,
}

#[derive(Default)]
struct Doors {
    controller_ordered: bool,
    api_ordered: bool,
    leader_known: bool,
    itself: Option<ConnectionId>,
    /// Since when it is connected to itself and knows a leader.
    stable: Option<Time>,
}

pub(super) fn make(plan: &Plan) -> Option<Box<dyn Check>> {
    let settings = &plan.settings.controllers;
    Some(Box::new(DoorOrder {
        controller_door: settings.controller_api_port != 0,
        delay: settings.api_port_open_delay,
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

    fn always(&mut self, at: Time, who: Who, event: &Event<'_>, _: &Facts) -> Result<(), String> {
        let Who::Controller(node) = who else { return Ok(()) };
        match event {
            Event::Told(input) => self.told(at, node, input),
            Event::Ordered(output) => self.ordered(at, node, output),
            Event::Did(_)
            | Event::AgentTold(_)
            | Event::AgentOrdered(_)
            | Event::Applied { .. }
            | Event::Memory(_)
            | Event::Front(_)
            | Event::BacklogFull
            | Event::Cluster(_)
            | Event::Killed(_)
            | Event::Error(_) => Ok(()),
        }
    }
}

impl DoorOrder {
    fn told(&mut self, at: Time, node: NodeId, input: &Input) -> Result<(), String> {
        let doors = self.controllers.entry(node).or_default();
        match input {
            Input::Started => *doors = Doors::default(),
            Input::Led { .. } | Input::Followed { leader: Some(_) } => doors.leader_known = true,
            Input::Followed { leader: None } => doors.leader_known = false,
            Input::LoggedIn { connection, party: Party::Controller(party) } if *party == node => {
                doors.itself = Some(*connection);
            }
            Input::Disconnected { connection } if doors.itself == Some(*connection) => {
                doors.itself = None;
            }
            Input::Connected { door: Door::Api, .. } if !doors.api_ordered => {
                return Err(format!("{node} let an agent in before it opened the api door"));
            }
            Input::LoggedIn { .. }
            | Input::Disconnected { .. }
            | Input::Connected { .. }
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
            | Input::Reconfigured { .. }
            | Input::Restored { .. }
            | Input::Heard { .. }
            | Input::Memory { .. }
            | Input::Stopping => {}
        }
        let stable = doors.itself.is_some() && doors.leader_known;
        doors.stable = if stable { doors.stable.or(Some(at)) } else { None };
        Ok(())
    }

    fn ordered(&mut self, at: Time, node: NodeId, output: &Output) -> Result<(), String> {
        let doors = self.controllers.entry(node).or_default();
        match output {
            Output::Open { door: Door::Controller } => {
                doors.controller_ordered = true;
                match self.controller_door {
                    true => Ok(()),
                    false => {
                        Err(format!("{node} opened a controller door that it has no port for"))
                    }
                }
            }
            // A door that was open once may be bound again; the order was kept the first time.
            Output::Open { door: Door::Api } if !doors.api_ordered && self.controller_door => {
                doors.api_ordered = true;
                match doors.stable {
                    _ if !doors.controller_ordered => {
                        Err(format!("{node} opened the api door before the controller door"))
                    }
                    None => Err(format!("{node} opened the api door without being stable")),
                    Some(since) if at < since + self.delay => {
                        let after = at.since(since);
                        Err(format!("{node} opened the api door {after:?} after it was stable"))
                    }
                    Some(_) => Ok(()),
                }
            }
            Output::Open { door: Door::Api } => {
                doors.api_ordered = true;
                Ok(())
            }
            Output::Accept { door: Door::Api } if !doors.api_ordered => {
                Err(format!("{node} accepts at the api door before it is open"))
            }
            Output::Accept { .. }
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
}
