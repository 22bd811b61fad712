#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod addresses;
pub mod admission;
pub mod agent;
pub mod backoff;
pub mod balancer;
pub mod bind;
pub mod clock;
pub mod controller;
pub mod dialer;
pub mod forward;
pub mod front;
pub mod ids;
pub mod lease;
pub mod listener;
pub mod log;
pub mod members;
pub mod mistake;
pub mod pace;
pub mod queue;
pub mod readiness;
pub mod roles;
pub mod seed;
pub mod sessions;
pub mod singular;
pub mod time;
pub mod tracker;
pub mod waits;

pub use ids::{Address, AskId, BackendId, BatchId, ConnectionId, Door, Name, NodeId};
pub use seed::{Rng, Seed};
pub use time::{GlobalTime, Time, Timeout};

use alloc::vec::Vec;

/// The one idiom: something that is told what happened, and orders what must be done.
///
/// Nothing here waits, reads a clock or draws from ambient randomness. A machine holds no queue of
/// outputs, so there is no "drain before the next call" contract to break, and a clone of a machine
/// is a checkpoint of it.
pub trait Machine {
    /// What happened.
    type Input;
    /// What the world must now do.
    type Output;

    /// Feeds one input. What the world must now do is pushed onto `out`, in order.
    fn handle(&mut self, now: Time, input: Self::Input, out: &mut Vec<Self::Output>);

    /// When this machine next wants [`handle_timeout`](Machine::handle_timeout), and why.
    /// A pure function of its state.
    fn poll_timeout(&self) -> Option<Timeout>;

    /// Says that time has passed. Early, late and repeated calls are harmless.
    fn handle_timeout(&mut self, now: Time, out: &mut Vec<Self::Output>);
}
