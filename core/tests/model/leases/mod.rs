//! One lease, two who want it, and two leaders that may both believe that they lead.
//!
//! The log is as raft keeps it: an entry of the old leader is applied before the new one begins, or
//! never; and what becomes of an entry may be told late, wrongly called lost, or not at all.

mod law;
mod moves;
mod world;

use stateright::{Model, Property};

use crate::explore::{Shown, Tick, holds, kept};
use world::World;

const ANSWERED: &str = "every ask is answered";

/// The bounds of one model.
#[derive(Clone, Debug)]
pub struct Leaders {
    pub end: Tick,
    /// For how long the lease is claimed, and how long an asker waits.
    pub duration: Tick,
    pub patience: Tick,
    pub asks: usize,
    pub batch_max: usize,
    pub flights_max: usize,
    pub waiting_max: usize,
    /// How often each of these may happen.
    pub bounds: Bounds,
}

#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// What became of an entry is never told.
    pub losses: u8,
    /// An asker takes its ask back.
    pub cancels: u8,
    /// The clock demands an entry.
    pub advances: u8,
    /// Timeouts are told a tick late.
    pub delays: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verb {
    #[default]
    Claim,
    Extend,
    Revoke,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Action {
    Ask {
        holder: usize,
        verb: Verb,
        leader: usize,
    },
    Cancel {
        ask: usize,
    },
    Advance {
        leader: usize,
    },
    /// The oldest entry that flies from the leader that raft has is applied.
    Apply,
    Report {
        leader: usize,
        batch: u64,
    },
    Lose {
        leader: usize,
        batch: u64,
    },
    TakeOver,
    StepDown,
    Timeout {
        leader: usize,
    },
    Tick,
}

impl Model for Leaders {
    type State = Shown<World>;
    type Action = Action;

    fn init_states(&self) -> Vec<Shown<World>> {
        vec![Shown(World::new(self))]
    }

    fn actions(&self, state: &Shown<World>, actions: &mut Vec<Action>) {
        state.0.moves(self, actions);
    }

    fn next_state(&self, before: &Shown<World>, action: Action) -> Option<Shown<World>> {
        let mut state = before.clone();
        state.0.step(self, action);
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Leaders>> {
        vec![
            kept(),
            Property::eventually(ANSWERED, |bounds: &Leaders, state: &Shown<World>| {
                state.0.over(bounds) && !state.0.open()
            }),
            Property::sometimes("the lease is granted twice", |_, state: &Shown<World>| {
                state.0.grants() > 1
            }),
            Property::sometimes("two believe that they lead", |_, state: &Shown<World>| {
                state.0.both_believe()
            }),
            Property::sometimes("what is unknown was done", |_, state: &Shown<World>| {
                state.0.done_unknown()
            }),
        ]
    }
}

const BOUNDS: Bounds = Bounds { losses: 0, cancels: 0, advances: 0, delays: 0 };

/// Room for everything, and patience of a moment.
const LEADERS: Leaders = Leaders {
    end: 3,
    duration: 1,
    patience: 1,
    asks: 2,
    batch_max: 2,
    flights_max: 2,
    waiting_max: 2,
    bounds: BOUNDS,
};

/// Both believe, and answers are lost.
#[test]
fn two_leaders_and_one_lease() {
    let bounds = Bounds { losses: 1, ..BOUNDS };
    holds("two leaders", 40_000, Leaders { end: 4, duration: 2, bounds, ..LEADERS });
}

/// Three asks, so that one extends, gives up or fights for what another holds.
#[test]
fn two_holders_and_three_asks() {
    let leaders = Leaders { asks: 3, batch_max: 1, flights_max: 1, ..LEADERS };
    holds("three asks", 150_000, leaders);
}

/// A queue with room for one, and askers that leave.
#[test]
fn a_narrow_queue_whose_askers_leave() {
    let bounds = Bounds { cancels: 1, ..BOUNDS };
    let leaders = Leaders { end: 2, asks: 3, waiting_max: 1, flights_max: 1, bounds, ..LEADERS };
    holds("a narrow queue", 10_000, leaders);
}

/// Deadlines that are looked at too late, behind a log that takes its time.
#[test]
fn a_late_queue() {
    let bounds = Bounds { delays: 1, ..BOUNDS };
    holds("a late queue", 10_000, Leaders { flights_max: 1, bounds, ..LEADERS });
}

/// The clock demands entries of its own from either leader.
#[test]
fn a_clock_beside_claims() {
    let bounds = Bounds { advances: 1, ..BOUNDS };
    holds("a clock", 200_000, Leaders { bounds, ..LEADERS });
}
