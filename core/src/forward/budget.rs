//! How many tries may be repeated: never more than a share of the first ones.
//!
//! Seed 002: "we compound the issue more by retrying, so more load is applied." Whatever goes wrong,
//! a controller adds no more than this share to the load that its clients bring.

use crate::mistake::Mistake;

/// How much may be saved and spent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// What each first try adds, in percent of one retry: with 20, one in five may be repeated.
    pub share: u32,
    /// Retries that are there at the start, before any first try.
    pub reserve: u32,
    /// Most retries that may be saved up. A long calm pays for no more than this of a storm. At
    /// least `reserve`.
    pub saved_max: u32,
}

impl Default for Config {
    /// A fifth; ten for a cluster that has just begun; and about as many saved up as an entry
    /// carries.
    fn default() -> Config {
        Config { share: 20, reserve: 10, saved_max: 1_000 }
    }
}

/// A token bucket that first tries fill and retries empty. Not a [`Machine`](crate::Machine): it is
/// only asked.
#[derive(Clone, Debug)]
pub struct Budget {
    config: Config,
    /// In hundredths of a retry.
    saved: u64,
    spent: u64,
    denied: u64,
}

impl Budget {
    /// What the reserve holds.
    pub fn new(config: Config) -> Budget {
        assert!(config.reserve <= config.saved_max, "more in reserve than may be saved");
        Budget { saved: u64::from(config.reserve) * 100, config, spent: 0, denied: 0 }
    }

    /// A first try was made.
    pub fn earn(&mut self) {
        let most = u64::from(self.config.saved_max) * 100;
        self.saved = (self.saved + u64::from(self.config.share)).min(most);
    }

    /// Takes one retry if it is there, and says whether it was.
    pub fn spend(&mut self) -> bool {
        let there = self.saved >= 100 || Mistake::BudgetIgnored.made();
        if there {
            self.saved = self.saved.saturating_sub(100);
            self.spent += 1;
        } else {
            self.denied += 1;
        }
        there
    }

    /// How many retries were taken so far.
    pub fn spent(&self) -> u64 {
        self.spent
    }

    /// How many were asked for and not there.
    pub fn denied(&self) -> u64 {
        self.denied
    }
}
