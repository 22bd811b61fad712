//! A cluster of three or four whose leader moves votes, while members fall silent and come back.
//!
//! Faults end at some time; from then on everybody is heard, changes are made, and in the end the
//! roles must be as the table of members wants them.

mod moves;
mod world;

use std::collections::BTreeSet;

use portcullis_core::NodeId;
use stateright::{Model, Property};

use crate::explore::{Shown, Tick, holds, kept};
use world::World;

const SETTLED: &str = "in the end the roles are as the table wants them, and somebody leads";

/// The bounds of one model.
#[derive(Clone, Debug)]
pub struct Cluster {
    pub members: u64,
    /// How many vote at the start; the others stand by.
    pub voters: u64,
    pub wanted: u8,
    /// From when on nothing goes wrong any more, and when all is over.
    pub heals: Tick,
    pub end: Tick,
    /// How often each of these may happen.
    pub bounds: Bounds,
}

#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// A member falls silent.
    pub silences: u8,
    /// A member lacks too much of the log.
    pub lags: u8,
    /// A change fails, or nobody knows what became of it.
    pub failures: u8,
    /// Another takes the lead, unasked.
    pub elections: u8,
    /// The table of members loses one.
    pub removals: u8,
    /// The leader is told to stop.
    pub stops: u8,
}

/// What becomes of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Done,
    /// It is not made.
    Failed,
    /// It is made, and nobody knows.
    Unknown,
    /// The voters change, but both majorities are still asked.
    Half,
    /// Nothing is heard of it any more.
    Silent,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    Look,
    Change(Fate),
    Silence(NodeId),
    Hear(NodeId),
    Lag(NodeId),
    CatchUp(NodeId),
    Elect(NodeId),
    Remove(NodeId),
    Stop,
    Timeout,
    Tick,
}

impl Model for Cluster {
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
        state.0.step(action);
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Cluster>> {
        vec![
            kept(),
            Property::eventually(SETTLED, |cluster: &Cluster, state: &Shown<World>| {
                state.0.over(cluster) && state.0.settled()
            }),
            Property::sometimes("votes move", |cluster: &Cluster, state: &Shown<World>| {
                let at_first: BTreeSet<NodeId> = (1..=cluster.voters).map(NodeId).collect();
                state.0.picture.voters != at_first
            }),
        ]
    }
}

const BOUNDS: Bounds =
    Bounds { silences: 0, lags: 0, failures: 0, elections: 0, removals: 0, stops: 0 };

#[test]
fn four_members_of_which_some_fall_silent() {
    let bounds = Bounds { silences: 2, lags: 1, failures: 1, ..BOUNDS };
    let (members, voters, wanted) = (4, 3, 3);
    holds("silent members", 60_000, Cluster { members, voters, wanted, heals: 4, end: 8, bounds });
}

#[test]
fn a_leader_that_stops_or_is_replaced() {
    let bounds = Bounds { silences: 1, elections: 1, stops: 1, failures: 1, ..BOUNDS };
    let (members, voters, wanted) = (4, 3, 3);
    holds("another leader", 90_000, Cluster { members, voters, wanted, heals: 3, end: 8, bounds });
}

#[test]
fn a_cluster_that_grows_by_votes() {
    let bounds = Bounds { silences: 1, lags: 1, failures: 2, elections: 1, ..BOUNDS };
    let (members, voters, wanted) = (3, 1, 3);
    holds("more voters", 20_000, Cluster { members, voters, wanted, heals: 3, end: 8, bounds });
}

#[test]
fn a_cluster_that_loses_members() {
    let bounds = Bounds { silences: 1, removals: 2, failures: 1, ..BOUNDS };
    let (members, voters, wanted) = (3, 3, 3);
    holds("fewer members", 10_000, Cluster { members, voters, wanted, heals: 3, end: 8, bounds });
}
