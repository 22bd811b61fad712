//! Two doors, with everybody who can come to them in any order.

mod moves;
mod world;

use portcullis_core::Door;
use portcullis_core::listener::Kind;
use stateright::{Model, Property};

use crate::explore::{Tick, holds, kept};
use world::{HELD_WITHIN, OPEN_DELAY, State};

const OPENS: &str = "a controller that stays ready opens the api door";
const ANSWERED: &str = "whoever stands at the door is let in, hung up on, or waits for the door";

/// The bounds of one model.
#[derive(Clone, Debug)]
pub struct Doors {
    pub controller_door: bool,
    pub controllers_first: bool,
    /// Size of the token bucket; zero for no limit.
    pub burst: u32,
    /// When all is over.
    pub end: Tick,
    /// How often each of these may happen.
    pub bounds: Bounds,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bounds {
    /// The controller gets ready, or is not ready any more.
    pub flips: u8,
    /// Somebody comes, through whichever door.
    pub visits: u64,
    /// The operator switches the controller door on or off.
    pub switches: u8,
    /// A port cannot be bound.
    pub failures: u8,
    /// A timeout is told a tick late.
    pub delays: u8,
    /// The process is told to stop.
    pub stops: u8,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Action {
    Ready(bool),
    Bind { door: Door, done: bool },
    Come { door: Door },
    Knock,
    Arrive { visit: u64, kind: Kind },
    Leave { visit: u64 },
    LogIn,
    Go { door: Door, logged_in: bool },
    Switch,
    Stop,
    Timeout,
    Tick,
}

impl Model for Doors {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new(self)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        state.moves(self, actions);
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        state.step(self, action);
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Doors>> {
        vec![
            kept(),
            Property::eventually(OPENS, |doors: &Doors, state: &State| {
                let late = u64::from(doors.bounds.failures + doors.bounds.delays);
                let long =
                    state.ready_since().is_some_and(|since| since + OPEN_DELAY + late <= doors.end);
                state.over(doors) && (state.opened || !long || state.stopped)
            }),
            Property::eventually(ANSWERED, |doors: &Doors, state: &State| {
                let waits = |since| since + HELD_WITHIN > doors.end;
                state.over(doors) && state.standing_since().is_none_or(waits)
            }),
            Property::sometimes("agents fill the controller", |_, state: &State| {
                state.agents() == 2
            }),
            Property::sometimes("all are let go", |_, state: &State| {
                state.stopped && state.agents() == 0
            }),
        ]
    }
}

const BOUNDS: Bounds =
    Bounds { flips: 3, visits: 3, switches: 0, failures: 0, delays: 1, stops: 1 };

#[test]
fn a_door_for_controllers_and_one_for_agents() {
    let doors = Doors {
        controller_door: true,
        controllers_first: false,
        burst: 0,
        end: 5,
        bounds: Bounds { failures: 1, ..BOUNDS },
    };
    holds("two doors", 40_000, doors);
}

#[test]
fn one_port_at_which_controllers_go_first() {
    let doors = Doors {
        controller_door: false,
        controllers_first: true,
        burst: 0,
        end: 5,
        bounds: Bounds { flips: 2, ..BOUNDS },
    };
    holds("controllers first", 70_000, doors);
}

#[test]
fn a_paced_door_beside_one_that_is_switched() {
    let doors = Doors {
        controller_door: true,
        controllers_first: false,
        burst: 1,
        end: 5,
        bounds: Bounds { flips: 2, switches: 2, delays: 0, ..BOUNDS },
    };
    holds("switched doors", 30_000, doors);
}
