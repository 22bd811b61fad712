//! The engines, and the one seam that they share.
//!
//! An engine executes a plan: it does the deeds that a [`Stage`](crate::stage::Stage) makes of it,
//! writes every event to the history, and stops at [`Plan::ends`] or as soon as
//! [`History::over`] says so. It decides nothing that could be asked of a check.

pub mod configuration;
mod direct;
mod madsim;
mod network;
mod shell;
mod turmoil;

use std::time::Duration;

use portcullis_core::Time;

use crate::history::History;
use crate::plan::Plan;
use crate::settings::Engine;

/// From the end of a process that nobody ordered, killed for its memory or failed with its disk, to
/// its next start, as a service manager does it.
const REVIVE_AFTER: Duration = Duration::from_secs(5);

/// What an engine says in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ran {
    /// Simulated time at the end.
    pub ended: Time,
    /// Random words drawn, as far as the engine can count them.
    pub draws: u64,
}

/// Executes a plan. Call it once a process: an engine may leave its traces in statics.
pub fn run(plan: &Plan, history: History) -> (Ran, History) {
    match plan.settings.engine {
        Engine::Direct => direct::run(plan, history),
        Engine::Turmoil => turmoil::run(plan, history),
        Engine::Madsim => madsim::run(plan, history),
    }
}
