//! Every state that machines can be in, within small bounds.
//!
//! Where stories tell one course of events and the fuzz draws some, a model takes them all: each
//! machine stands in a small world whose every move is tried in every state, so what holds here
//! holds for every order of events within the bounds. The machines are production's own; the worlds
//! keep the contract that shells keep, and note what the machine promised.

#[path = "model/explore.rs"]
mod explore;
#[path = "model/leases/mod.rs"]
mod leases;
#[path = "model/listener/mod.rs"]
mod listener;
#[path = "mistakes/mod.rs"]
mod mistakes;
#[path = "model/roles/mod.rs"]
mod roles;
#[path = "model/singular.rs"]
mod singular;

#[test]
fn every_mistake_is_caught() {
    mistakes::all_are_caught("models");
}
