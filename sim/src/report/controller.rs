//! What is kept of one controller: its levels, whether it leads, and its doors.

use std::collections::BTreeSet;

use portcullis_core::controller::{Input, Output};
use portcullis_core::listener::Kind;
use portcullis_core::{ConnectionId, Door, GlobalTime, NodeId, Time};

use super::panel::{State, Track};
use super::series::Level;
use crate::facts::Facts;

/// See the module.
#[derive(Clone, Debug)]
pub struct Controller {
    pub connections: Level,
    /// Who stands at the API door.
    pub held: Level,
    pub backlog: Level,
    pub memory: Level,
    pub queued: Level,
    pub leads: Track,
    pub controller_door: Track,
    pub api_door: Track,
    /// The time of the last entry that its table has applied.
    pub global: GlobalTime,
    standing: BTreeSet<ConnectionId>,
    /// Whether the API door has let anybody in since it was opened.
    admitted: bool,
}

impl Controller {
    /// A process that is not up.
    pub fn new() -> Controller {
        let shut = Track::new(State::Down, "shut");
        Controller {
            connections: Level::default(),
            held: Level::default(),
            backlog: Level::default(),
            memory: Level::default(),
            queued: Level::default(),
            leads: Track::new(State::Down, "down"),
            controller_door: shut.clone(),
            api_door: shut,
            global: GlobalTime(0),
            standing: BTreeSet::new(),
            admitted: false,
        }
    }

    fn door(&mut self, door: Door) -> &mut Track {
        match door {
            Door::Controller => &mut self.controller_door,
            Door::Api => &mut self.api_door,
        }
    }

    /// The process died, or ended by itself.
    pub fn died(&mut self, at: Time, node: NodeId, facts: &Facts) {
        self.ended(at);
        self.memory.set(at, 0);
        self.levels(at, node, facts);
    }

    fn ended(&mut self, at: Time) {
        self.leads.turn(at, State::Down, "down");
        self.controller_door.turn(at, State::Down, "shut");
        self.api_door.turn(at, State::Down, "shut");
        self.standing.clear();
        self.held.set(at, 0);
    }

    /// The API door lets somebody in.
    fn admits(&mut self, at: Time) {
        self.admitted = true;
        self.api_door.turn(at, State::Open, "lets in");
    }

    /// Takes note of what it was told; `terms` counts those of all controllers.
    pub fn told(&mut self, at: Time, node: NodeId, input: &Input, terms: &mut u64, facts: &Facts) {
        match input {
            Input::Started => {
                self.ended(at);
                self.leads.turn(at, State::Idle, "follows");
            }
            Input::Opened { door } => {
                if *door == Door::Api {
                    self.admitted = false;
                }
                self.door(*door).turn(at, State::Idle, "open");
            }
            Input::Connected { door: Door::Api, .. } => self.admits(at),
            Input::Connected { door: Door::Controller, .. } => {
                self.controller_door.turn(at, State::Open, "lets in");
            }
            Input::Knocked { connection, .. } | Input::Arrived { connection, .. } => {
                let of_others = !matches!(input, Input::Arrived { kind: Kind::Controller, .. });
                if of_others {
                    self.standing.insert(*connection);
                } else {
                    self.standing.remove(connection);
                }
            }
            Input::Disconnected { connection } => {
                self.standing.remove(connection);
            }
            Input::Led { .. } => {
                *terms += 1;
                self.leads.turn(at, State::Active(ink(node)), &format!("leads, term {terms}"));
            }
            Input::Followed { .. } => self.leads.turn(at, State::Idle, "follows"),
            Input::Stopping => self.leads.turn(at, State::Waiting, "stops"),
            Input::NotOpened { .. }
            | Input::Offered { .. }
            | Input::LoggedIn { .. }
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
            | Input::Linked { .. }
            | Input::Committing { .. }
            | Input::Working { .. }
            | Input::Heard { .. }
            | Input::Memory { .. } => {}
        }
        self.levels(at, node, facts);
    }

    /// Takes note of what it ordered.
    pub fn ordered(&mut self, at: Time, node: NodeId, output: &Output, facts: &Facts) {
        match output {
            Output::Hold { door: Door::Api } if !self.admitted => {
                self.api_door.turn(at, State::Waiting, "holds");
            }
            Output::Admit { connection } => {
                self.standing.remove(connection);
                if let Some((Door::Api, _)) = facts.session(node, *connection) {
                    self.admits(at);
                }
            }
            Output::Shut { door } => self.door(*door).turn(at, State::Down, "shut"),
            Output::Stopped => self.ended(at),
            Output::Hold { .. }
            | Output::Open { .. }
            | Output::Bind { .. }
            | Output::Complain { .. }
            | Output::Answer { .. }
            | Output::Accept { .. }
            | Output::Condition { .. }
            | Output::Hangup { .. }
            | Output::Propose { .. }
            | Output::Send { .. }
            | Output::Recall { .. }
            | Output::Welcome { .. }
            | Output::Refuse { .. }
            | Output::Redirect { .. }
            | Output::Tell { .. }
            | Output::Look { .. } => {}
        }
        self.levels(at, node, facts);
    }

    fn levels(&mut self, at: Time, node: NodeId, facts: &Facts) {
        self.connections.set(at, facts.connections(node) as u64);
        self.queued.set(at, facts.queued(node) as u64);
        self.held.set(at, self.standing.len() as u64);
    }
}

/// A controller's colour.
pub fn ink(node: NodeId) -> u8 {
    // Below seven, so it fits.
    (node.0.saturating_sub(1) % 7) as u8 + 1
}
