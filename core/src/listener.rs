//! The two doors of a controller: which is open, and whom it lets in next.
//!
//! Seed 000: a restarting controller is trampled by its agents before its own workers are up. So
//! the controller door opens at once and is never paced; the API door opens only when the
//! controller is stable, and a while after that.
//!
//! ```text
//!             controller-api-port set             Stable                delay over
//!  Idle ──Started──────────────────────▶ Waiting ────────▶ Settling ────────────────▶ Open
//!    │                                      ▲  Unstable       │                         ▲
//!    │                                      └─────────────────┘                         │
//!    └──Started (one door, as Juju without the key)─────────────────────────────────────┘
//!  any ──Stopping──▶ Closed
//! ```
//!
//! It gives permits instead of rejections: [`Output::Accept`] lets exactly one connection in; until
//! then agents wait in the kernel's backlog, or find no listener at all. The seed records why: an
//! error from Accept triggers the server library's own backoff and delays the right connection too,
//! and accept-then-close causes TLS errors and a rush of reconnects.

use alloc::vec::Vec;
use core::fmt;
use core::mem;
use core::time::Duration;

use crate::Machine;
use crate::ids::Door;
use crate::pace::{self, Pace};
use crate::time::{Time, Timeout};

/// Limits of the doors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Whether there is a controller door (`controller-api-port` is set).
    pub controller_door: bool,
    /// Wait between stable and opening the API door (`api-port-open-delay`, 2 s in Juju). Only
    /// with a controller door.
    pub open_delay: Duration,
    /// How fast the API door lets in (`agent-ratelimit-max`, `agent-ratelimit-rate`).
    pub pace: pace::Config,
    /// Most connections through the API door at once; Juju has no such limit (seed 001). Above
    /// zero.
    pub connections_max: usize,
    /// Most of those that have not logged in yet, however many
    /// [`admission`](crate::admission) allows. Above zero.
    pub logins_max: usize,
    /// Memory in use, in percent of the limit, from which on the API door lets nobody in: what is
    /// left is for those inside (seed 001: too many connections lead to OOM kills). At most 100.
    pub memory_max: u64,
    /// Memory in use, in percent of the limit, below which it does again. At most `memory_max`.
    pub memory_again: u64,
    /// Most connections through the controller door at once, proved or not. Above zero. A cluster
    /// needs one for each of its controllers, so this only bounds what strangers can cost.
    pub controller_connections_max: usize,
    /// Wait before a port that could not be bound is tried again.
    pub bind_again: Duration,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            controller_door: true,
            open_delay: Duration::from_secs(2),
            pace: pace::Config::default(),
            connections_max: 100_000,
            logins_max: 1_024,
            memory_max: 85,
            memory_again: 80,
            controller_connections_max: 1_024,
            bind_again: Duration::from_secs(1),
        }
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// The process is up.
    Started,
    /// This controller is connected to itself and knows a leader.
    Stable,
    /// It is not, or no more.
    Unstable,
    /// The door's port is bound.
    Opened { door: Door },
    /// The door's port could not be bound.
    NotOpened { door: Door },
    /// A connection was let in by the door's permit.
    Connected { door: Door },
    /// A connection of the API door has logged in.
    LoggedIn,
    /// A connection of the door is gone.
    Disconnected { door: Door, logged_in: bool },
    /// The process uses so many bytes of memory, and dies at the limit, which is above zero.
    Memory { used: u64, limit: u64 },
    /// So many may be logging in at once, by what the controller is measured to serve.
    Allowed { logins: usize },
    /// The operator has changed the pace or the delay.
    Reconfigured { pace: pace::Config, open_delay: Duration },
    /// The process shuts down.
    Stopping,
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Input::Started => f.write_str("started"),
            Input::Stable => f.write_str("stable"),
            Input::Unstable => f.write_str("unstable"),
            Input::Opened { door } => write!(f, "{door} opened"),
            Input::NotOpened { door } => write!(f, "{door} not opened"),
            Input::Connected { door } => write!(f, "connected at {door}"),
            Input::LoggedIn => f.write_str("logged in"),
            Input::Disconnected { door, .. } => write!(f, "disconnected at {door}"),
            Input::Memory { used, limit } => write!(f, "memory {used} of {limit}"),
            Input::Allowed { logins } => write!(f, "allowed {logins} logins at once"),
            Input::Reconfigured { pace, open_delay } => {
                let pace::Config { burst, interval } = pace;
                write!(f, "reconfigured: {burst}, then one in {interval:?}, delay {open_delay:?}")
            }
            Input::Stopping => f.write_str("stopping"),
        }
    }
}

/// What must be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Bind the door's port, and say how it went.
    Open { door: Door },
    /// Let exactly one connection in at the door.
    Accept { door: Door },
    /// Stop listening at the door; connections stay.
    Shut { door: Door },
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Output::Open { door } => write!(f, "open {door}"),
            Output::Accept { door } => write!(f, "accept at {door}"),
            Output::Shut { door } => write!(f, "shut {door}"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    Waiting,
    Settling { since: Time },
    Open,
    Closed,
}

/// The machine.
#[derive(Clone, Debug)]
pub struct Listener {
    config: Config,
    phase: Phase,
    pace: Pace,
    /// Which doors have a bound port.
    bound: [bool; 2],
    /// When a port that could not be bound is tried again.
    again: [Option<Time>; 2],
    /// Whether a permit for the API door is out.
    permit: bool,
    /// Whether memory is short.
    crowded: bool,
    connections: usize,
    logins: usize,
    /// How many logins may be in progress at once; at most `logins_max` whatever this says.
    allowed: usize,
    /// Connections through the controller door. While there are fewer than may be, and its port is
    /// bound, a permit for it is out.
    controllers: usize,
}

impl Listener {
    /// A listener with both doors shut.
    pub fn new(config: Config) -> Listener {
        assert!(config.connections_max > 0, "a controller without connections serves nobody");
        assert!(config.logins_max > 0, "nobody could ever log in");
        assert!(config.memory_max <= 100, "beyond the limit there is no memory");
        assert!(config.memory_again <= config.memory_max, "memory would be short and not short");
        assert!(config.controller_connections_max > 0, "no controller could ever come in");
        Listener {
            pace: Pace::new(config.pace),
            allowed: config.logins_max,
            config,
            phase: Phase::Idle,
            bound: [false; 2],
            again: [None; 2],
            permit: false,
            crowded: false,
            connections: 0,
            logins: 0,
            controllers: 0,
        }
    }

    /// What the API door waits for, in words for an operator.
    pub fn phase(&self) -> &'static str {
        match self.phase {
            Phase::Idle => "not started",
            Phase::Waiting => "waiting until this controller is stable",
            Phase::Settling { .. } => "stable, waiting prior to opening the api door",
            Phase::Open if self.bound[Door::Api as usize] => "open",
            Phase::Open => "binding the api port",
            Phase::Closed => "closed",
        }
    }

    /// Connections through the API door; at most `connections_max`.
    pub fn connections(&self) -> usize {
        self.connections
    }

    /// How many more the API door would let in; none while it is shut or memory is short.
    pub fn room_left(&self) -> usize {
        let open = self.phase == Phase::Open && self.bound[Door::Api as usize] && !self.crowded;
        let left = self.config.connections_max.saturating_sub(self.connections);
        if open { left } else { 0 }
    }

    fn open_api(&mut self, out: &mut Vec<Output>) {
        self.phase = Phase::Open;
        out.push(Output::Open { door: Door::Api });
    }

    fn room(&self) -> bool {
        self.phase == Phase::Open
            && self.bound[Door::Api as usize]
            && !self.permit
            && !self.crowded
            && self.connections < self.config.connections_max
            && self.logins < self.allowed.min(self.config.logins_max)
    }

    fn permit_controller(&self, out: &mut Vec<Output>) {
        let bound = self.bound[Door::Controller as usize];
        out.extend(bound.then_some(Output::Accept { door: Door::Controller }));
    }

    fn permit(&mut self, now: Time, out: &mut Vec<Output>) {
        if self.room() && self.pace.take(now) {
            self.permit = true;
            out.push(Output::Accept { door: Door::Api });
        }
    }
}

impl Machine for Listener {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Time, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Started if self.phase != Phase::Idle => {}
            Input::Started if self.config.controller_door => {
                self.phase = Phase::Waiting;
                out.push(Output::Open { door: Door::Controller });
            }
            Input::Started => self.open_api(out),
            Input::Stable => {
                if self.phase == Phase::Waiting {
                    self.phase = Phase::Settling { since: now };
                }
            }
            Input::Unstable => {
                if matches!(self.phase, Phase::Settling { .. }) {
                    self.phase = Phase::Waiting;
                }
            }
            // The port was asked for before the process began to shut down.
            Input::Opened { door } if self.phase == Phase::Closed => {
                out.push(Output::Shut { door });
            }
            Input::Opened { door } => {
                self.bound[door as usize] = true;
                match door {
                    Door::Controller => out.push(Output::Accept { door }),
                    Door::Api => self.permit(now, out),
                }
            }
            Input::NotOpened { door } => {
                self.again[door as usize] = Some(now + self.config.bind_again);
            }
            Input::Connected { door: Door::Controller } => {
                self.controllers += 1;
                if self.controllers < self.config.controller_connections_max {
                    self.permit_controller(out);
                }
            }
            Input::Connected { door: Door::Api } => {
                self.permit = false;
                self.connections += 1;
                self.logins += 1;
                self.permit(now, out);
            }
            Input::LoggedIn => {
                self.logins -= 1;
                self.permit(now, out);
            }
            Input::Disconnected { door: Door::Controller, .. } => {
                self.controllers -= 1;
                if self.controllers + 1 == self.config.controller_connections_max {
                    self.permit_controller(out);
                }
            }
            Input::Disconnected { door: Door::Api, logged_in } => {
                self.connections -= 1;
                self.logins -= usize::from(!logged_in);
                self.permit(now, out);
            }
            Input::Memory { used, limit } => {
                let percent = u128::from(used) * 100 / u128::from(limit.max(1));
                let most =
                    if self.crowded { self.config.memory_again } else { self.config.memory_max };
                self.crowded = percent >= u128::from(most);
                self.permit(now, out);
            }
            Input::Allowed { logins } => {
                self.allowed = logins;
                self.permit(now, out);
            }
            Input::Reconfigured { pace, open_delay } => {
                if pace != self.config.pace {
                    self.pace.reconfigure(now, pace);
                }
                self.config.pace = pace;
                self.config.open_delay = open_delay;
                self.permit(now, out);
            }
            Input::Stopping => {
                self.phase = Phase::Closed;
                for door in [Door::Controller, Door::Api] {
                    if mem::take(&mut self.bound[door as usize]) {
                        out.push(Output::Shut { door });
                    }
                }
            }
        }
    }

    fn poll_timeout(&self) -> Option<Timeout> {
        let settled = match self.phase {
            Phase::Settling { since } => {
                Some(Timeout { at: since + self.config.open_delay, why: "open the api door" })
            }
            Phase::Idle | Phase::Waiting | Phase::Open | Phase::Closed => None,
        };
        let paced = self.room().then(|| Timeout { at: self.pace.ready_at(), why: "next permit" });
        let again = self.again.iter().flatten().min();
        let again = again.map(|at| Timeout { at: *at, why: "bind again" });
        match self.phase {
            Phase::Closed => None,
            Phase::Idle | Phase::Waiting | Phase::Settling { .. } | Phase::Open => {
                Timeout::earlier(Timeout::earlier(settled, paced), again)
            }
        }
    }

    fn handle_timeout(&mut self, now: Time, out: &mut Vec<Output>) {
        match self.phase {
            Phase::Settling { since } if since + self.config.open_delay <= now => {
                self.open_api(out);
            }
            Phase::Closed => return,
            Phase::Idle | Phase::Waiting | Phase::Settling { .. } | Phase::Open => {}
        }
        for door in [Door::Controller, Door::Api] {
            if self.again[door as usize].is_some_and(|at| at <= now) {
                self.again[door as usize] = None;
                out.push(Output::Open { door });
            }
        }
        self.permit(now, out);
    }
}
