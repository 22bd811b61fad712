//! A token bucket: at most `burst` at once, then one every `interval`.
//!
//! Decides when the next agent may be let in (`agent-ratelimit-max` and `agent-ratelimit-rate`;
//! seed 000 wants it on the API door alone). Written as GCRA: its whole state is one time, the
//! earliest one at which the bucket would be full again.

use core::mem;
use core::time::Duration;

use crate::mistake::Mistake;
use crate::time::{Time, micros};

/// How fast, and how many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

    /// Goes on by another config. The bucket keeps the tokens it has, as far as they fit, and is
    /// never refilled: one who changes the limit often must not lift it by that. (Juju makes a full
    /// bucket at every change of any key.) Only where there was no limit does it begin full.
    pub fn reconfigure(&mut self, now: Time, config: Config) {
        let next = Pace::new(config);
        let before = mem::replace(self, next);
        if before.config.burst == 0 || config.burst == 0 {
            return;
        }
        let lacking = u128::from(micros(before.full_at.since(now)));
        let tokens = u128::from(micros(before.depth())).saturating_sub(lacking);
        let (old, new) = (before.config.interval, config.interval);
        let tokens = tokens * u128::from(micros(new)) / u128::from(micros(old).max(1));
        // What does not fit into 64 bits of microseconds does not fit into the bucket either.
        let tokens = Duration::from_micros(u64::try_from(tokens).unwrap_or(u64::MAX));
        self.full_at = now + self.depth().saturating_sub(tokens);
    }

    /// When the next token can be taken; a time that has passed means at once.
    pub fn ready_at(&self) -> Time {
        if self.config.burst == 0 {
            return Time(0);
        }
        self.full_at + self.config.interval - self.depth()
    }

    /// How long the empty bucket takes to fill.
    fn depth(&self) -> Duration {
        let depth = micros(self.config.interval).saturating_mul(u64::from(self.config.burst));
        Duration::from_micros(depth)
    }

    /// Takes a token if one is there, and says whether it was; a refusal takes nothing.
    pub fn take(&mut self, now: Time) -> bool {
        if self.ready_at() > now && !Mistake::PaceIgnored.made() {
            return false;
        }
        self.full_at = self.full_at.max(now) + self.config.interval;
        true
    }
}
