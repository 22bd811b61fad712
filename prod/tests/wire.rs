//! The API port as existing clients use it, and as they must not: real TLS, HTTP and websockets.

#[path = "wire/foul.rs"]
mod foul;
#[path = "wire/golden.rs"]
mod golden;
#[path = "wire/machines.rs"]
mod machines;
#[path = "wire/transcripts.rs"]
mod transcripts;
#[path = "wire/world.rs"]
mod world;
