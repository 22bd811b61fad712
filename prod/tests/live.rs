//! Whole controllers in one process, as clients meet them: loopback, TLS, websockets, raft.

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
#[path = "live/proxied.rs"]
mod proxied;
#[path = "live/world.rs"]
mod world;
