//! The two doors of a controller: which is open, and whom it lets in next.
//!
//! Seed 000: a restarting controller is trampled by its agents before its own workers are up. So
//! controllers come in at once and are never paced; the API door opens only when this controller is
//! stable, and a while after that. It shuts again when that was lost for too long.
//!
//! ```text
//!           two phases                  Stable                delay over
//!  Idle ──Started─────────▶ Waiting ──────────────▶ Settling ────────────▶ Open
//!    │                       ▲   ▲       Unstable       │                  │ ▲
//!    │                       │   └──────────────────────┘                  │ │
//!    │                       └──unstable for lost_max, in two phases alone─┘ │
//!    └──Started (one door for all, as Juju without the key)──────────────────┘
//!  any ──Stopping──▶ Closed
//!
//!  controller port: bound from Waiting on, if there is one and it has its address; may be turned
//!                   on and off at any time, and moved: the former is shut once the next is bound
//!  API port:        bound while Open; from Waiting on if it holds (controllers first)
//!
//!  at a port that holds
//!    backlog ──Hold──▶ Knocked ──▶ Arrived ─┬─ controller ──────────────────▶ Admit
//!                       │  │                └─ other ──Open, paced, room────▶ Admit
//!                       │  └─ longer than held_within, or Stopping ─▶ Hangup
//!                       └─ Left
//! ```
//!
//! It gives permits instead of rejections: [`Output::Accept`] lets exactly one connection in; until
//! then agents wait in the kernel's backlog, or find no listener at all. The seed records why: an
//! error from Accept triggers the server library's own backoff and delays the right connection too,
//! and accept-then-close causes TLS errors and a rush of reconnects. Nor is anybody turned away who
//! is held: it waits with nothing but its first words read, and is let in when its turn comes.

mod held;
mod ports;
mod words;

use alloc::vec::Vec;

use crate::Machine;
use crate::ids::Door;
use crate::mistake::Mistake;
use crate::pace::Pace;
use crate::sessions::Why;
use crate::time::{Time, Timeout};
use held::Held;
use ports::{Permit, Port};
pub use words::{Config, Input, Kind, Output};

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    Waiting,
    Settling { since: Time },
    Open,
    Closed,
}

const DOORS: [Door; 2] = [Door::Controller, Door::Api];

/// The machine.
#[derive(Clone, Debug)]
pub struct Listener {
    config: Config,
    phase: Phase,
    /// Since when this controller is not stable; none while it is.
    lost: Option<Time>,
    pace: Pace,
    ports: [Port; 2],
    permits: [Option<Permit>; 2],
    held: Held,
    /// Whether the controller door has another address since it was last ordered open.
    moved: bool,
    /// Whether memory is short.
    crowded: bool,
    connections: usize,
    logins: usize,
    /// How many logins may be in progress at once; at most `logins_max` whatever this says.
    allowed: usize,
    /// Connections of controllers, through either door. While there are fewer than may be, and the
    /// controller port is bound, a permit for it is out.
    controllers: usize,
}

impl Listener {
    /// A listener with both doors shut.
    pub fn new(config: Config) -> Listener {
        assert!(config.connections_max > 0, "a controller without connections serves nobody");
        assert!(config.logins_max > 0, "nobody could ever log in");
        assert!(config.held_max > 0, "nobody could ever stand at the door");
        assert!(config.memory_max <= 100, "beyond the limit there is no memory");
        assert!(config.memory_again <= config.memory_max, "memory would be short and not short");
        assert!(config.controller_connections_max > 0, "no controller could ever come in");
        let times = if Mistake::AdmissionOff.made() { 10 } else { 1 };
        let config = Config { logins_max: config.logins_max * times, ..config };
        Listener {
            pace: Pace::new(config.pace),
            allowed: config.logins_max,
            config,
            phase: Phase::Idle,
            lost: Some(Time(0)),
            ports: [Port::Shut; 2],
            permits: [None; 2],
            held: Held::default(),
            moved: false,
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
            Phase::Open if self.bound(Door::Api) => "open",
            Phase::Open => "binding the api port",
            Phase::Closed => "closed",
        }
    }

    /// Connections through the API door; at most `connections_max`.
    pub fn connections(&self) -> usize {
        self.connections
    }

    /// Connections that stand at the API door; at most `held_max`.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// How many more the API door would let in; none while it is shut or memory is short.
    pub fn room_left(&self) -> usize {
        let open = self.phase == Phase::Open && self.bound(Door::Api) && !self.crowded;
        let left = self.config.connections_max.saturating_sub(self.connections);
        if open { left } else { 0 }
    }

    /// Whether the API door waits until this controller is stable.
    fn two_phases(&self) -> bool {
        self.config.controller_door || self.config.controllers_first
    }

    fn bound(&self, door: Door) -> bool {
        self.ports[door as usize].listens()
    }

    /// Whether the door's port is to be bound as things are.
    fn wanted(&self, door: Door) -> bool {
        let starts = matches!(self.phase, Phase::Waiting | Phase::Settling { .. });
        match door {
            Door::Controller => {
                let addressed = self.config.controller_door && !self.config.address_awaited;
                addressed && (starts || self.phase == Phase::Open)
            }
            Door::Api => self.phase == Phase::Open || self.config.controllers_first && starts,
        }
    }

    /// Binds the ports that are to be bound, and shuts those that are not.
    fn arrange(&mut self, out: &mut Vec<Output>) {
        for door in DOORS {
            let port = self.ports[door as usize];
            let moved = door == Door::Controller && self.moved;
            self.ports[door as usize] = match (port, self.wanted(door)) {
                (Port::Shut, true) => self.open(door, Port::Binding, out),
                (Port::Bound | Port::MovesAgain(_), true) if moved => {
                    self.open(door, Port::Moving, out)
                }
                (Port::Bound | Port::MovesAgain(_), false) => self.shut(door, Port::Shut, out),
                // Where it is to be it may yet be bound, and is shut then.
                (Port::Moving, false) => self.shut(door, Port::Binding, out),
                (Port::Again(_), false) => Port::Shut,
                (Port::Shut | Port::Binding, _)
                | (Port::Again(_) | Port::Bound | Port::Moving | Port::MovesAgain(_), true) => port,
            };
        }
    }

    fn open(&mut self, door: Door, port: Port, out: &mut Vec<Output>) -> Port {
        if door == Door::Controller {
            self.moved = false;
        }
        out.push(Output::Open { door });
        port
    }

    fn shut(&mut self, door: Door, port: Port, out: &mut Vec<Output>) -> Port {
        self.permits[door as usize] = None;
        out.push(Output::Shut { door });
        port
    }

    /// Whether one more of those who are no controllers may come in, apart from the pace.
    fn room(&self) -> bool {
        let coming = usize::from(self.permits[Door::Api as usize] == Some(Permit::Accept));
        (self.phase == Phase::Open || Mistake::HoldForgotten.made())
            && !self.crowded
            && self.connections + coming < self.config.connections_max
            && self.logins + coming < self.allowed.min(self.config.logins_max)
    }

    /// Whether one more controller may come in, by its own word.
    fn controller_room(&self) -> bool {
        let coming = usize::from(self.permits[Door::Controller as usize].is_some());
        self.controllers + coming < self.config.controller_connections_max
    }

    /// Whether somebody waits for the pace: at the door, or perhaps in the backlog.
    fn wants_pace(&self) -> bool {
        let backlog = self.bound(Door::Api)
            && !self.config.controllers_first
            && self.permits[Door::Api as usize].is_none();
        self.room() && (backlog || self.held.first(Kind::Other).is_some())
    }

    /// Lets in whoever may come in: controllers first, then those who are held, then the backlog.
    fn permit(&mut self, now: Time, out: &mut Vec<Output>) {
        let kind = Kind::Controller;
        while self.controller_room()
            && let Some(connection) = self.held.first(kind)
        {
            self.held.remove(connection);
            self.controllers += 1;
            out.push(Output::Admit { connection, kind });
        }
        if self.bound(Door::Controller)
            && self.permits[Door::Controller as usize].is_none()
            && self.controller_room()
        {
            self.give(Door::Controller, Permit::Accept, out);
        }
        while let Some(connection) = self.held.first(Kind::Other)
            && self.room()
            && self.pace.take(now)
        {
            self.held.remove(connection);
            self.connections += 1;
            self.logins += 1;
            out.push(Output::Admit { connection, kind: Kind::Other });
        }
        if !self.bound(Door::Api) || self.permits[Door::Api as usize].is_some() {
            return;
        }
        if self.config.controllers_first {
            if self.held.len() < self.config.held_max {
                self.give(Door::Api, Permit::Hold, out);
            }
        } else if self.room() && self.pace.take(now) {
            self.give(Door::Api, Permit::Accept, out);
        }
    }

    fn give(&mut self, door: Door, permit: Permit, out: &mut Vec<Output>) {
        self.permits[door as usize] = Some(permit);
        out.push(match permit {
            Permit::Accept => Output::Accept { door },
            Permit::Hold => Output::Hold { door },
        });
    }

    fn reconfigure(&mut self, now: Time, next: Config) {
        if next.pace != self.config.pace {
            self.pace.reconfigure(now, next.pace);
        }
        let before = self.two_phases();
        self.config = next;
        match (before, self.two_phases()) {
            // What was never asked for was never lost.
            (false, true) => self.lost = self.lost.map(|_| now),
            (true, false) => {
                if matches!(self.phase, Phase::Waiting | Phase::Settling { .. }) {
                    self.phase = Phase::Open;
                }
            }
            (false, false) | (true, true) => {}
        }
    }

    /// When the phase ends by itself, and why.
    fn phase_ends(&self) -> Option<Timeout> {
        match self.phase {
            Phase::Settling { since } => {
                let delay = self.config.open_delay * u32::from(!Mistake::DelayForgotten.made());
                Some(Timeout { at: since + delay, why: "open the api door" })
            }
            Phase::Open => {
                let shuts = self.two_phases() && !Mistake::LossIgnored.made();
                let lost = self.lost.filter(|_| shuts)?;
                Some(Timeout { at: lost + self.config.lost_max, why: "shut the api door" })
            }
            Phase::Idle | Phase::Waiting | Phase::Closed => None,
        }
    }

    /// Ends a phase whose time has come.
    fn turn(&mut self, now: Time) {
        if self.phase_ends().is_some_and(|due| due.at <= now) {
            match self.phase {
                Phase::Settling { .. } => self.phase = Phase::Open,
                Phase::Open => self.phase = Phase::Waiting,
                Phase::Idle | Phase::Waiting | Phase::Closed => {}
            }
        }
    }

    /// When the one who has stood at the door the longest has done so for too long.
    fn held_ends(&self) -> Option<Timeout> {
        let (since, _) = self.held.oldest()?;
        Some(Timeout { at: since + self.config.held_within, why: "held for too long" })
    }
}

impl Machine for Listener {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Time, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Started if self.phase != Phase::Idle => {}
            Input::Started => {
                self.phase = match (self.two_phases(), self.lost) {
                    (false, _) => Phase::Open,
                    (true, Some(_)) => Phase::Waiting,
                    (true, None) => Phase::Settling { since: now },
                }
            }
            Input::Stable => {
                self.lost = None;
                if self.phase == Phase::Waiting {
                    self.phase = Phase::Settling { since: now };
                }
            }
            Input::Unstable => {
                self.lost.get_or_insert(now);
                if matches!(self.phase, Phase::Settling { .. }) {
                    self.phase = Phase::Waiting;
                }
            }
            Input::Opened { door } => {
                if self.ports[door as usize] == Port::Moving {
                    // The permit has gone with the former port.
                    self.permits[door as usize] = None;
                }
                self.ports[door as usize] = Port::Bound;
            }
            Input::NotOpened { door } => {
                let again = now + self.config.bind_again;
                let port = &mut self.ports[door as usize];
                *port = if *port == Port::Moving {
                    Port::MovesAgain(again)
                } else {
                    Port::Again(again)
                };
            }
            Input::Connected { door: Door::Controller } => {
                self.permits[Door::Controller as usize] = None;
                self.controllers += 1;
            }
            Input::Connected { door: Door::Api } => {
                self.permits[Door::Api as usize].take_if(|_| !Mistake::PermitLeak.made());
                self.connections += 1;
                self.logins += 1;
            }
            Input::Knocked { connection } if self.phase == Phase::Closed => {
                out.push(Output::Hangup { connection, why: Why::Stopping });
            }
            Input::Knocked { connection } => {
                self.permits[Door::Api as usize] = None;
                self.held.knock(now, connection);
            }
            Input::Arrived { connection, kind } => self.held.arrive(connection, kind),
            Input::Left { connection } => self.held.remove(connection),
            Input::LoggedIn => self.logins -= 1,
            Input::Disconnected { door: Door::Controller, .. } => self.controllers -= 1,
            Input::Disconnected { door: Door::Api, logged_in } => {
                self.connections -= 1;
                self.logins -= usize::from(!logged_in && !Mistake::LoginLeak.made());
            }
            Input::Memory { used, limit } => {
                let percent = u128::from(used) * 100 / u128::from(limit.max(1));
                let most =
                    if self.crowded { self.config.memory_again } else { self.config.memory_max };
                self.crowded = percent >= u128::from(most);
            }
            Input::Allowed { logins } => {
                let times = if Mistake::AdmissionOff.made() { 10 } else { 1 };
                self.allowed = logins * times;
            }
            Input::Addressed => {
                self.config.address_awaited = false;
                self.moved = true;
            }
            Input::Reconfigured { pace, open_delay, controller_door, controllers_first } => {
                let config = self.config.clone();
                let next =
                    Config { pace, open_delay, controller_door, controllers_first, ..config };
                self.reconfigure(now, next);
            }
            Input::Stopping => {
                self.phase = Phase::Closed;
                let why = Why::Stopping;
                let all = self.held.clear().into_iter();
                out.extend(all.map(|connection| Output::Hangup { connection, why }));
            }
        }
        self.turn(now);
        self.arrange(out);
        self.permit(now, out);
    }

    fn poll_timeout(&self) -> Option<Timeout> {
        let paced =
            self.wants_pace().then(|| Timeout { at: self.pace.ready_at(), why: "next permit" });
        let again = self.ports.iter().filter_map(|port| match port {
            Port::Again(at) | Port::MovesAgain(at) => Some(Timeout { at: *at, why: "bind again" }),
            Port::Shut | Port::Binding | Port::Bound | Port::Moving => None,
        });
        let timeouts = [self.phase_ends(), paced].into_iter().chain(again.map(Some));
        timeouts.chain([self.held_ends()]).fold(None, Timeout::earlier)
    }

    fn handle_timeout(&mut self, now: Time, out: &mut Vec<Output>) {
        self.turn(now);
        for port in &mut self.ports {
            match *port {
                Port::Again(at) if at <= now => *port = Port::Shut,
                // Only the controller door ever moves.
                Port::MovesAgain(at) if at <= now => self.moved = true,
                Port::Shut | Port::Binding | Port::Bound | Port::Moving => {}
                Port::Again(_) | Port::MovesAgain(_) => {}
            }
        }
        while self.held_ends().is_some_and(|due| due.at <= now) {
            let Some((_, connection)) = self.held.oldest() else { break };
            self.held.remove(connection);
            out.push(Output::Hangup { connection, why: Why::Held });
        }
        self.arrange(out);
        self.permit(now, out);
    }
}
