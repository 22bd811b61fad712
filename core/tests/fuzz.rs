//! Seeded random inputs for every machine.
//!
//! Each machine lives in a small drawn world that remembers what was ordered and what is still
//! owed. After every step the runner holds the machine to the [`Machine`](portcullis_core::Machine)
//! contract, and the world to its own promises: limits hold, and every ask ends in exactly one
//! answer.

#[path = "mistakes/mod.rs"]
mod mistakes;
#[path = "fuzz/world.rs"]
mod world;

#[path = "fuzz/admission.rs"]
mod admission;
#[path = "fuzz/agent.rs"]
mod agent;
#[path = "fuzz/balancer.rs"]
mod balancer;
#[path = "fuzz/clients.rs"]
mod clients;
#[path = "fuzz/controller.rs"]
mod controller;
#[path = "fuzz/doors.rs"]
mod doors;
#[path = "fuzz/forward.rs"]
mod forward;
#[path = "fuzz/front.rs"]
mod front;
#[path = "fuzz/gate.rs"]
mod gate;
#[path = "fuzz/queue.rs"]
mod queue;
#[path = "fuzz/rates.rs"]
mod rates;
#[path = "fuzz/readiness.rs"]
mod readiness;
#[path = "fuzz/roles.rs"]
mod roles;
#[path = "fuzz/singular.rs"]
mod singular;
#[path = "fuzz/waiting.rs"]
mod waiting;

#[test]
fn every_mistake_is_caught() {
    mistakes::all_are_caught("fuzz");
}
