//! One backend of the front: when it is healthy, and how fast it is filled.
//!
//! ```text
//!            one healthy probe                       fall failures in a row, or unready
//!  Unknown ───────────────────────▶ Up { filled_at } ──────────────────────▶ Down { healthy }
//!     └──one that is not──▶ Down        ▲────rise healthy probes in a row────────┘
//! ```
//!
//! The first probe decides at once, so that a front is of use as soon as it has started; later,
//! a backend must prove itself, so that one which wavers does not come and go.

use core::mem;

use super::{Config, News, Status, Verdict};
use crate::backoff::Backoff;
use crate::ids::Address;
use crate::mistake::Mistake;
use crate::pace::Pace;
use crate::seed::{Rng, Seed};
use crate::time::{Time, Timeout};

/// What there is to announce of a backend, if anything.
pub(super) type Change = Option<News>;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Standing {
    Unknown,
    /// How many probes in a row were healthy.
    Down {
        healthy: u32,
    },
    /// Until when it is filled gently.
    Up {
        filled_at: Time,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Stay {
    For,
    Leaving {
        until: Time,
    },
    /// Its connections were hung up.
    HungUp,
}

/// One backend. Not a [`Machine`](crate::Machine): the front asks it.
#[derive(Clone, Debug)]
pub(super) struct Backend {
    pub(super) address: Address,
    standing: Standing,
    stay: Stay,
    /// Failures in a row, of probes and of connections.
    failures: u32,
    /// When it is probed next; absent while it is being probed.
    probe_at: Option<Time>,
    probing: bool,
    backoff: Backoff,
    rng: Rng,
    fill: Pace,
    /// Connections from this front, those on their way included.
    connections: usize,
    /// Connections that it said to have from elsewhere.
    elsewhere: usize,
}

impl Backend {
    /// One of which nothing is known; it is probed at once.
    pub(super) fn new(config: &Config, address: Address, now: Time, seed: Seed) -> Backend {
        Backend {
            address,
            standing: Standing::Unknown,
            stay: Stay::For,
            failures: 0,
            probe_at: Some(now),
            probing: false,
            backoff: Backoff::new(config.probe_down.clone()),
            rng: seed.rng(),
            fill: Pace::new(config.fill),
            connections: 0,
            elsewhere: 0,
        }
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(self.standing, Standing::Up { .. }) && !self.is_leaving()
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.stay != Stay::For
    }

    /// Whether it was removed and is of no interest any more.
    pub(super) fn has_left(&self) -> bool {
        self.is_leaving() && self.connections == 0
    }

    /// How many connections it has, as far as is known. What it says itself can be two probes old,
    /// so only what this front cannot know is taken from it.
    pub(super) fn load(&self) -> usize {
        self.connections + self.elsewhere
    }

    /// From when on it may be given a connection; absent if time alone does not bring that about.
    pub(super) fn open_at(&self, config: &Config) -> Option<Time> {
        match self.standing {
            Standing::Up { filled_at } => {
                let room = !self.is_leaving() && self.load() < config.connections_per_backend_max;
                room.then(|| self.fill.ready_at().min(filled_at))
            }
            Standing::Unknown | Standing::Down { .. } => None,
        }
    }

    pub(super) fn status(&self) -> Status {
        let standing = match self.standing {
            _ if self.is_leaving() => "leaving",
            Standing::Unknown => "not probed yet",
            Standing::Down { healthy: 0 } => "down",
            Standing::Down { .. } => "rising",
            Standing::Up { .. } => "up",
        };
        let Backend { connections, elsewhere, .. } = *self;
        Status { address: self.address.clone(), standing, connections, elsewhere }
    }

    /// Gives it a connection.
    pub(super) fn take(&mut self, now: Time) {
        if matches!(self.standing, Standing::Up { filled_at } if now < filled_at) {
            self.fill.take(now);
        }
        self.connections += 1;
    }

    /// A connection has reached it.
    pub(super) fn reached(&mut self) {
        self.failures = 0;
    }

    /// A connection of it is over, or was never made.
    pub(super) fn ended(&mut self) {
        self.connections -= 1;
    }

    /// A connection could not reach it: as telling as a probe, and looked into soon.
    pub(super) fn missed(&mut self, now: Time, config: &Config) -> Change {
        let soon = now + config.probe_again;
        self.probe_at = self.probe_at.map(|at| at.min(soon));
        self.failed(config)
    }

    fn failed(&mut self, config: &Config) -> Change {
        self.failures = self.failures.saturating_add(1);
        let falls = match self.standing {
            Standing::Unknown => true,
            Standing::Up { .. } => self.failures >= config.fall && !Mistake::FrontBlind.made(),
            Standing::Down { ref mut healthy } => {
                *healthy = 0;
                false
            }
        };
        falls.then(|| self.fall(News::Down))
    }

    fn fall(&mut self, news: News) -> News {
        self.standing = Standing::Down { healthy: 0 };
        self.backoff.reset();
        self.elsewhere = 0;
        news
    }

    /// A probe is over.
    pub(super) fn probed(&mut self, now: Time, verdict: Verdict, config: &Config) -> Change {
        self.probing = false;
        if self.is_leaving() {
            return None;
        }
        let change = match verdict {
            Verdict::Healthy { connections } => {
                self.failures = 0;
                let all = connections.unwrap_or(self.connections);
                self.elsewhere = all.saturating_sub(self.connections);
                self.rise(now, config)
            }
            Verdict::Unready => match self.standing {
                Standing::Down { ref mut healthy } => {
                    *healthy = 0;
                    None
                }
                Standing::Up { .. } if Mistake::FrontBlind.made() => None,
                Standing::Unknown | Standing::Up { .. } => Some(self.fall(News::Unready)),
            },
            Verdict::Failed => self.failed(config),
        };
        let wait = match (&self.standing, verdict) {
            (Standing::Down { .. }, Verdict::Failed) => {
                self.backoff.wait(config.probe_again, &mut self.rng)
            }
            (Standing::Down { .. }, Verdict::Healthy { .. })
            | (Standing::Up { .. }, Verdict::Failed) => config.probe_again,
            (Standing::Unknown | Standing::Down { .. } | Standing::Up { .. }, _) => {
                config.probe_every
            }
        };
        self.probe_at = Some(now + wait);
        change
    }

    fn rise(&mut self, now: Time, config: &Config) -> Change {
        let up = match self.standing {
            Standing::Unknown => true,
            Standing::Down { ref mut healthy } => {
                *healthy += 1;
                *healthy >= config.rise
            }
            Standing::Up { .. } => false,
        };
        up.then(|| {
            self.standing = Standing::Up { filled_at: now + config.fill_for };
            News::Up
        })
    }

    /// It is one of the backends, whether or not it was before.
    pub(super) fn stay(&mut self, now: Time) -> Change {
        if mem::replace(&mut self.stay, Stay::For) == Stay::For {
            return None;
        }
        if !self.probing {
            self.probe_at = Some(now);
        }
        self.is_up().then_some(News::Up)
    }

    /// It is one no more; its connections have until then.
    pub(super) fn leave(&mut self, until: Time) -> Change {
        if self.is_leaving() {
            return None;
        }
        self.stay = Stay::Leaving { until };
        self.probe_at = None;
        Some(News::Leaving)
    }

    /// Whether its connections must be hung up; says so once.
    pub(super) fn is_due_to_leave(&mut self, now: Time) -> bool {
        let due = matches!(self.stay, Stay::Leaving { until } if until <= now);
        if due {
            self.stay = Stay::HungUp;
        }
        due && self.connections > 0
    }

    /// Whether it must be probed; says so once.
    pub(super) fn is_due_for_probe(&mut self, now: Time) -> bool {
        let due = self.probe_at.is_some_and(|at| at <= now);
        if due {
            self.probe_at = None;
            self.probing = true;
        }
        due
    }

    /// What time brings about.
    pub(super) fn poll_timeout(&self) -> Option<Timeout> {
        let probe = self.probe_at.map(|at| Timeout { at, why: "probe a backend" });
        let leave = match self.stay {
            Stay::Leaving { until } => Some(Timeout { at: until, why: "a backend leaves" }),
            Stay::For | Stay::HungUp => None,
        };
        Timeout::earlier(probe, leave)
    }
}
