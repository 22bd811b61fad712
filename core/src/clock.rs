//! The global clock: who moves it, when, and how far.
//!
//! Only the leader moves it. On taking office, once everything before its term is applied, it drops
//! an [`Anchor`]: this global time stood at that local time. From then on global time is the anchor
//! plus what has really passed, so it is *absolute*: proposing it twice, late, or again after an
//! unknown outcome moves nothing twice. (Juju adds the same elapsed time again after re-reading the
//! clock, which can make leases expire early.) Between two terms the clock stands still, so it
//! never runs faster than real time.
//!
//! Every raft entry carries the time of its proposal, so the clock moves with any traffic; this
//! machine only asks for an entry when none was proposed for a while.
//!
//! How far the clock lags is known everywhere (seed 002: it starved, and nobody saw it): on the
//! leader since the proposal of the last entry that was applied, elsewhere since the arrival of it.

use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use crate::Machine;
use crate::mistake::Mistake;
use crate::time::{GlobalTime, Time, Timeout};

/// This global time stood at that local time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// On this node's clock.
    pub local: Time,
    /// On the replicated one.
    pub global: GlobalTime,
}

impl Anchor {
    /// The global time at a local time; the anchor's own for any time before it.
    pub fn global_at(&self, local: Time) -> GlobalTime {
        self.global + local.since(self.local) * (1 + u32::from(Mistake::DoubleAdvance.made()))
    }
}

/// Limits of the clock.
#[derive(Clone, Debug)]
pub struct Config {
    /// Longest time without an entry in the log: Juju's global clock updater moves each second.
    pub interval: Duration,
}

impl Default for Config {
    fn default() -> Config {
        Config { interval: Duration::from_secs(1) }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// This controller leads, everything before its term is applied, and the table says `global`.
    Led { global: GlobalTime },
    /// This controller does not lead.
    Followed,
    /// An entry was proposed, whatever for: it carries the time.
    Proposed,
    /// An entry was applied here, and the clock shows what stood at this local time.
    Moved { to: Time },
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Input::Led { global } => write!(f, "led from {global}"),
            Input::Followed => f.write_str("followed"),
            Input::Proposed => f.write_str("proposed"),
            Input::Moved { to } => write!(f, "moved to {to}"),
        }
    }
}

/// What must be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Propose an entry now, ahead of everything that waits, even without commands.
    Advance,
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Output::Advance => f.write_str("advance the clock"),
        }
    }
}

/// The machine.
#[derive(Clone, Debug)]
pub struct Clock {
    config: Config,
    /// While leading: when the next entry is due at the latest.
    due: Option<Time>,
    /// The local time that the clock shows, as applied here.
    shows: Time,
}

impl Clock {
    /// A clock that follows.
    pub fn new(config: Config) -> Clock {
        Clock { config, due: None, shows: Time(0) }
    }

    /// How far the clock stands behind what real time would let it show.
    pub fn lag(&self, now: Time) -> Duration {
        now.since(self.shows)
    }
}

impl Machine for Clock {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Time, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Led { .. } => {
                self.due = Some(now + self.config.interval);
                // Nothing may be added for the time in which nobody led.
                self.shows = now;
                out.push(Output::Advance);
            }
            Input::Followed => self.due = None,
            Input::Proposed => self.due = self.due.map(|_| now + self.config.interval),
            Input::Moved { to } => self.shows = self.shows.max(to),
        }
    }

    fn poll_timeout(&self) -> Option<Timeout> {
        self.due.map(|at| Timeout { at, why: "advance the clock" })
    }

    fn handle_timeout(&mut self, now: Time, out: &mut Vec<Output>) {
        if self.due.is_some_and(|due| due <= now) {
            self.due = Some(now + self.config.interval);
            out.push(Output::Advance);
        }
    }
}
