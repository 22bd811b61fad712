//! How many may be logging in at once: as many as this controller is measured to serve.
//!
//! Seed 000 wants the flood of agents let in no faster than a controller bears it, and Juju's
//! bucket guesses how fast that is: 180,000 agents at four a second take half a day, on any machine.
//! So the guess is replaced by a measurement. What is steered is the *number of logins in progress*
//! at the API door, handshake and all; everybody else waits in the kernel's backlog. By Little's law
//! that number is throughput times duration, and beyond what the processor can do at once a larger
//! number buys longer logins and not one more a second.
//!
//! The law, decided once per window and only if the limit was reached in it:
//!
//! ```text
//!   nobody logged in at all ──────────────────────▶ grow: those inside wait for themselves
//!   time > 2 × shortest ─────────────────────────▶ shrink by a fifth, as a trial
//!   otherwise ───────────────────────────────────▶ grow, as a trial
//!   a shrink that cost logins a second ──────────▶ taken back: the time counts as the shortest
//!   a growth that brought time and no logins ────▶ taken back, and none tried for a while
//! ```
//!
//! *Time* is the lower quartile, from connecting to having logged in, of those who came since the
//! last decision: a processor that is behind delays everybody, a client that is slow by itself only
//! itself, so half of a herd may be slow and the quartile does not see it. Where three quarters are
//! slow or far away, shrinking costs logins a second and is taken back. A password hash that costs
//! much makes the first windows long and growth useless, so the limit stays low. A processor that
//! stalls costs one shrink. Who is cut for never logging in ends no login and measures nothing.
//!
//! Vegas keeps the shortest time in a sliding window; here it is kept until a trial refutes it, as
//! a herd can outlast any window, and its own congestion would become the measure.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Machine;
use crate::ids::ConnectionId;
use crate::time::{Time, Timeout, micros};

/// Most durations that a window remembers; of more, the last count.
const SAMPLES_MAX: usize = 256;

/// What decides how fast the API door lets in, `accept` in a configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Accept {
    /// The measured limit on logins in progress. A token bucket holds only if it is asked for.
    #[default]
    Adaptive,
    /// The token bucket, Juju's by default; logins in progress are bounded by `logins_max` alone.
    Paced,
}

impl fmt::Display for Accept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Accept::Adaptive => "adaptive",
            Accept::Paced => "paced",
        })
    }
}

/// Limits of the law.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Whether the limit is steered at all.
    pub accept: Accept,
    /// Least logins in progress that are let in, and how many at the start. Above zero; one above
    /// `logins_max` counts as that. 32 use one processor up if a login takes 10 ms of the network
    /// and 300 µs of it, as measured here.
    pub logins_min: usize,
    /// Shortest window. Above zero.
    pub window: Duration,
    /// Longest window, if too few log in for a decision. Not below `window`.
    pub window_max: Duration,
    /// How many must have come and logged in within a window to end it before its longest time.
    /// From 1 to 256.
    pub samples_min: usize,
    /// Growth of the limit in percent, after the first shrink; until then it doubles. Above zero.
    pub growth: u64,
    /// Share of the limit in percent that a shrink takes away: 1 to 99.
    pub share: u64,
    /// Longest time in percent of the shortest at which the limit grows: above 100.
    pub time_max: u64,
    /// Windows without growth after one that was taken back.
    pub rest: u32,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            accept: Accept::Adaptive,
            logins_min: 32,
            window: Duration::from_millis(250),
            window_max: Duration::from_secs(5),
            samples_min: 16,
            growth: 25,
            share: 20,
            time_max: 200,
            rest: 16,
        }
    }
}

/// What happened at the API door; the controller door is exempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// A connection was let in.
    Connected { connection: ConnectionId },
    /// It has logged in.
    LoggedIn { connection: ConnectionId },
    /// It is gone. If it never logged in, it measures nothing.
    Disconnected { connection: ConnectionId },
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Input::Connected { connection } => write!(f, "{connection} let in"),
            Input::LoggedIn { connection } => write!(f, "{connection} logged in"),
            Input::Disconnected { connection } => write!(f, "{connection} gone"),
        }
    }
}

/// What must be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// From now on let in while fewer than this are logging in.
    Allow { logins: usize },
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Output::Allow { logins } => write!(f, "allow {logins} logins at once"),
        }
    }
}

/// A change that the next window judges, with what was measured before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trial {
    Grown { from: usize, rate: u64, time: u64 },
    Shrunk { from: usize, rate: u64, time: u64 },
}

/// What was seen since the last decision.
#[derive(Clone, Debug)]
struct Window {
    since: Time,
    /// Whether the limit was reached.
    reached: bool,
    /// How many logged in, whenever they came.
    logins: u64,
    /// How many of them had come since it began, and how long each took, in microseconds.
    measured: usize,
    times: Vec<u64>,
}

impl Window {
    fn new(since: Time, mut times: Vec<u64>) -> Window {
        times.clear();
        Window { since, reached: false, logins: 0, measured: 0, times }
    }

    fn add(&mut self, time: u64) {
        match self.times.len() {
            SAMPLES_MAX => self.times[self.measured % SAMPLES_MAX] = time,
            _ => self.times.push(time),
        }
        self.measured += 1;
    }

    /// The lower quartile, if anybody was measured.
    fn quartile(&mut self) -> Option<u64> {
        self.times.sort_unstable();
        self.times.get(self.times.len() / 4).copied()
    }

    /// How many logged in within a thousand seconds, at this pace.
    fn rate(&self, now: Time) -> u64 {
        self.logins.saturating_mul(1_000_000_000) / micros(now.since(self.since)).max(1)
    }
}

/// The machine.
#[derive(Clone, Debug)]
pub struct Admission {
    config: Config,
    logins_max: usize,
    limit: usize,
    /// Since when each of those has been logging in.
    inside: BTreeMap<ConnectionId, Time>,
    window: Window,
    /// The shortest time in microseconds, as far as no trial has refuted it.
    shortest: Option<u64>,
    trial: Option<Trial>,
    /// Whether the limit doubles, as it does until the first trouble.
    steep: bool,
    /// Windows left without growth.
    rest: u32,
    /// What the last window measured.
    time: Option<u64>,
}

impl Admission {
    /// Nobody is logging in; at most `logins_max`, above zero, ever will be.
    pub fn new(config: Config, logins_max: usize) -> Admission {
        assert!(config.logins_min > 0 && logins_max > 0, "nobody could ever log in");
        assert!(!config.window.is_zero(), "a window without length measures nothing");
        assert!(config.window <= config.window_max, "the longest window is the shorter");
        assert!((1..=SAMPLES_MAX).contains(&config.samples_min), "a window could never end");
        assert!(config.growth > 0, "what has shrunk once could never grow");
        assert!((1..100).contains(&config.share), "a shrink takes a part");
        assert!(config.time_max > 100, "the shortest time itself would be too long");
        let limit = match config.accept {
            Accept::Adaptive => config.logins_min.min(logins_max),
            Accept::Paced => logins_max,
        };
        Admission {
            config,
            logins_max,
            limit,
            inside: BTreeMap::new(),
            window: Window::new(Time(0), Vec::new()),
            shortest: None,
            trial: None,
            steep: true,
            rest: 0,
            time: None,
        }
    }

    /// How many may be logging in at once, between `logins_min` and `logins_max`.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// How many are logging in.
    pub fn logins(&self) -> usize {
        self.inside.len()
    }

    /// How long a login took in the last window, by its lower quartile; zero before the first.
    pub fn time(&self) -> Duration {
        Duration::from_micros(self.time.unwrap_or_default())
    }

    /// The same without congestion, as far as is known.
    pub fn shortest(&self) -> Duration {
        Duration::from_micros(self.shortest.unwrap_or_default())
    }

    /// When the window may end, whoever logs in until then.
    fn ends(&self) -> Time {
        let enough = self.window.measured >= self.config.samples_min;
        let length = if enough { self.config.window } else { self.config.window_max };
        self.window.since + length
    }

    fn decide(&mut self, now: Time, out: &mut Vec<Output>) {
        let before = self.limit;
        let (time, rate) = (self.window.quartile(), self.window.rate(now));
        if let Some(time) = time {
            self.shortest = Some(self.shortest.map_or(time, |shortest| shortest.min(time)));
            self.time = Some(time);
        }
        match (self.config.accept, time) {
            (Accept::Paced, _) => {}
            (Accept::Adaptive, _) if !self.window.reached => self.trial = None,
            (Accept::Adaptive, Some(time)) => self.steer(time, rate),
            (Accept::Adaptive, None) if self.window.logins == 0 => {
                self.trial = None;
                self.grow();
            }
            (Accept::Adaptive, None) => {}
        }
        let times = core::mem::take(&mut self.window.times);
        self.window = Window::new(now, times);
        self.window.reached = self.inside.len() >= self.limit;
        if self.limit != before {
            out.push(Output::Allow { logins: self.limit });
        }
    }

    fn steer(&mut self, time: u64, rate: u64) {
        match self.trial.take() {
            Some(Trial::Grown { from, rate: before, time: short }) => {
                let more = (self.limit - from) as u64;
                let useless = rate < before + part(before, more, 4 * from as u64);
                if useless && time > short + part(short, more, 2 * from as u64) {
                    self.limit = from;
                    self.steep = false;
                    self.rest = self.config.rest;
                    return;
                }
            }
            Some(Trial::Shrunk { from, rate: before, time: long }) => {
                let fewer = (from - self.limit) as u64;
                if rate + part(before, fewer, 2 * from as u64) < before {
                    self.limit = from;
                    self.shortest = Some(long);
                    return;
                }
            }
            None => {}
        }
        let from = self.limit;
        let shortest = self.shortest.unwrap_or(time);
        if time > part(shortest, self.config.time_max, 100) {
            self.steep = false;
            let less = part(from as u64, self.config.share, 100).max(1) as usize;
            let least = self.config.logins_min.min(self.logins_max);
            self.limit = from.saturating_sub(less).max(least);
            if self.limit < from {
                self.trial = Some(Trial::Shrunk { from, rate, time });
            }
        } else if self.rest > 0 {
            self.rest -= 1;
        } else {
            self.grow();
            if self.limit > from {
                self.trial = Some(Trial::Grown { from, rate, time });
            }
        }
    }

    fn grow(&mut self) {
        let percent = if self.steep { 100 } else { self.config.growth };
        let more = part(self.limit as u64, percent, 100).max(1) as usize;
        self.limit = self.limit.saturating_add(more).min(self.logins_max);
    }
}

/// So many of so many parts of a whole, rounded down.
fn part(whole: u64, parts: u64, of: u64) -> u64 {
    let share = u128::from(whole) * u128::from(parts) / u128::from(of.max(1));
    u64::try_from(share).unwrap_or(u64::MAX)
}

impl Machine for Admission {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Time, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Connected { connection } => {
                if self.inside.is_empty() {
                    // Calm measures nothing: the window begins with whoever comes.
                    let times = core::mem::take(&mut self.window.times);
                    self.window = Window::new(now, times);
                }
                let before = self.inside.insert(connection, now);
                assert!(before.is_none(), "a name is never used twice");
                self.window.reached |= self.inside.len() >= self.limit;
            }
            Input::LoggedIn { connection } => {
                let Some(since) = self.inside.remove(&connection) else { return };
                self.window.logins += 1;
                if since >= self.window.since {
                    self.window.add(micros(now.since(since)));
                }
            }
            Input::Disconnected { connection } => {
                self.inside.remove(&connection);
            }
        }
        if self.ends() <= now {
            self.decide(now, out);
        }
    }

    fn poll_timeout(&self) -> Option<Timeout> {
        let steers = match self.config.accept {
            Accept::Adaptive => self.inside.len() >= self.limit,
            Accept::Paced => false,
        };
        steers.then(|| Timeout { at: self.ends(), why: "how many may log in" })
    }

    fn handle_timeout(&mut self, now: Time, out: &mut Vec<Output>) {
        if self.poll_timeout().is_some_and(|due| due.at <= now) {
            self.decide(now, out);
        }
    }
}
