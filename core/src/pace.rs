//! A token bucket: at most `burst` at once, then one every `interval`.
//!
//! Decides when the next agent may be let in (`agent-ratelimit-max` and `agent-ratelimit-rate`;
//! seed 000 wants it on the API door alone). Written as GCRA: its whole state is one time, the
//! earliest one at which the bucket would be full again.

use core::time::Duration;

use crate::time::{Time, micros};

/// How fast, and how many at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Size of the bucket, full at the start. Zero switches the limit off, as in Juju.
    pub burst: u32,
    /// Time to add one token. Above zero.
    pub interval: Duration,
}

impl Default for Config {
    /// Juju's: ten at once, then four a second.
    fn default() -> Config {
        Config { burst: 10, interval: Duration::from_millis(250) }
    }
}

/// The bucket. Not a [`Machine`](crate::Machine): it never orders anything, it is only asked.
#[derive(Clone, Debug)]
pub struct Pace {
    config: Config,
    /// When the bucket will be full.
    full_at: Time,
}

impl Pace {
    /// A full bucket.
    pub fn new(config: Config) -> Pace {
        assert!(!config.interval.is_zero(), "a bucket that fills in no time limits nothing");
        Pace { config, full_at: Time(0) }
    }

    /// When the next token can be taken; a time that has passed means at once.
    pub fn ready_at(&self) -> Time {
        let depth = micros(self.config.interval).saturating_mul(u64::from(self.config.burst));
        if self.config.burst == 0 {
            return Time(0);
        }
        self.full_at + self.config.interval - Duration::from_micros(depth)
    }

    /// Takes a token if one is there, and says whether it was; a refusal takes nothing.
    pub fn take(&mut self, now: Time) -> bool {
        if self.ready_at() > now {
            return false;
        }
        self.full_at = self.full_at.max(now) + self.config.interval;
        true
    }
}
