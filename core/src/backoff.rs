//! How long to wait before trying again: exponential, capped, with full jitter.
//!
//! Decides the pace of every client (seeds 000 and 001: agents without backoff trample whichever
//! controller comes up). A wait that the server asked for is honoured: it is waited in full, and
//! the jitter comes on top, so that those who were refused together do not return together.

use core::time::Duration;

use crate::mistake::Mistake;
use crate::seed::Rng;
use crate::time::micros;

/// The law of the waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Upper bound of the first wait. Above zero.
    pub first: Duration,
    /// No wait is drawn from above this. At least `first`.
    pub most: Duration,
    /// Each bound is this many percent of the one before. At least 100.
    pub growth: u32,
}

impl Default for Config {
    /// Juju's agents start at 3 s and end at 2 min; doubling gets there in six tries instead of
    /// twenty-two.
    fn default() -> Config {
        Config { first: Duration::from_secs(3), most: Duration::from_secs(120), growth: 200 }
    }
}

/// The state of one client's patience. Not a [`Machine`](crate::Machine): it is only asked.
#[derive(Clone, Debug)]
pub struct Backoff {
    config: Config,
    /// Upper bound of the next wait.
    bound: Duration,
}

impl Backoff {
    /// A client that has not failed yet.
    pub fn new(config: Config) -> Backoff {
        assert!(!config.first.is_zero(), "a first wait of nothing never grows");
        assert!(config.first <= config.most, "the first wait is above the cap");
        assert!(config.growth >= 100, "a wait that shrinks is no backoff");
        Backoff { bound: config.first, config }
    }

    /// The next wait: up to the bound that doubled with each failure, uniformly drawn, after
    /// `asked` (what the server said, zero if it said nothing).
    pub fn wait(&mut self, asked: Duration, rng: &mut Rng) -> Duration {
        let bound = micros(self.bound);
        let grown = bound.saturating_mul(u64::from(self.config.growth)) / 100;
        let grown = if Mistake::NoBackoff.made() { bound } else { grown };
        self.bound = Duration::from_micros(grown).min(self.config.most);
        if Mistake::NoJitter.made() {
            return asked.saturating_add(Duration::from_micros(bound));
        }
        asked.saturating_add(Duration::from_micros(rng.below(bound.saturating_add(1))))
    }

    /// Starts over: the last attempt went well.
    pub fn reset(&mut self) {
        self.bound = self.config.first;
    }
}
