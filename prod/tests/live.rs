//! Whole controllers in one process, as clients meet them: loopback, TLS, websockets, raft.

#[path = "live/balanced.rs"]
mod balanced;
#[path = "live/bound.rs"]
mod bound;
#[path = "live/drain.rs"]
mod drain;
#[path = "live/followed.rs"]
mod followed;
#[path = "live/forwarded.rs"]
mod forwarded;
#[path = "live/foul.rs"]
mod foul;
#[path = "live/hung_up.rs"]
mod hung_up;
#[path = "live/memory.rs"]
mod memory;
#[path = "live/moved.rs"]
mod moved;
#[path = "live/operated.rs"]
mod operated;
#[path = "live/processes.rs"]
mod processes;
#[path = "live/proxied.rs"]
mod proxied;
#[path = "live/responsible.rs"]
mod responsible;
#[path = "live/startup.rs"]
mod startup;
#[path = "live/told.rs"]
mod told;
#[path = "live/world.rs"]
mod world;
