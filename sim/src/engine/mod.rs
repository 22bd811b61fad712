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

use openraft_rt_sim::SimInstant;
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
        Engine::Direct => {
            // With many agents another thread writes the history; raft speaks on this one.
            if let Some(log) = history.log() {
                log.ask_ahead(|| Some(Time(0) + SimInstant::try_now()?.elapsed_since_start()));
            }
            let (ran, history) = direct::run(plan, history);
            if let Some(log) = history.log() {
                log.end();
            }
            (ran, history)
        }
        Engine::Turmoil => turmoil::run(plan, history),
        Engine::Madsim => madsim::run(plan, history),
    }
}
