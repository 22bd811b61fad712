//! Everybody who can come to the doors, and what the doors promise them.

use std::collections::BTreeMap;
use std::time::Duration;

use portcullis_core::listener::{Config, Input, Kind, Listener, Output};
use portcullis_core::sessions::Why;
use portcullis_core::{ConnectionId, Door, Machine, pace};

use super::{Action, Bounds, Doors};
use crate::explore::{Judged, Shown, Tick, demand, time};

const EARLY: &str = "no agent comes in before the controller is ready and the delay is over";
const LIMIT: &str = "nobody comes in beyond a limit";
const PERMIT: &str = "a door has one permit at most, and none while it is shut";
const TURN: &str = "who stands at the door is let in once, the first first, controllers before all";
const ANSWER: &str = "nobody is hung up on without a reason";
const PORT: &str = "a port is bound once, and shut only when it is bound and not wanted";
const COUNT: &str = "the machine counts whom it has let in, and who stands at the door";
const IDLE: &str = "whoever may come in finds a permit";

pub const OPEN_DELAY: Tick = 1;
const LOST_MAX: Tick = 2;
pub const HELD_WITHIN: Tick = 3;

/// When the API door may let in, by the seed's own words and not by the machine's phases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Law {
    pub ready: Option<Tick>,
    pub lost: Option<Tick>,
    pub open: bool,
    pub two_phases: bool,
}

impl Law {
    fn pass(&mut self, now: Tick) {
        if self.ready.is_some_and(|since| now >= since + OPEN_DELAY) {
            self.open = true;
        }
        if self.two_phases && self.lost.is_some_and(|since| now >= since + LOST_MAX) {
            self.open = false;
        }
        self.open |= !self.two_phases;
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Port {
    pub binding: bool,
    pub bound: bool,
    pub permit: bool,
}

/// Somebody at the door: since when, and whether it is a controller, once it has said so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stands {
    pub since: Tick,
    pub controller: Option<bool>,
}

#[derive(Clone, Debug, PartialEq, Hash)]
pub struct State {
    pub listener: Shown<Listener>,
    pub now: Tick,
    pub law: Law,
    pub left: Bounds,
    pub controller_door: bool,
    pub ports: [Port; 2],
    pub standing: BTreeMap<u64, Stands>,
    pub controllers: usize,
    pub logging_in: usize,
    pub logged_in: usize,
    pub stopped: bool,
    /// Whether the API door was open since the controller got ready, or not ready, last.
    pub opened: bool,
    pub broken: Option<&'static str>,
}

impl Judged for State {
    fn broken(&self) -> Option<&'static str> {
        self.broken
    }
}

impl Doors {
    fn config(&self) -> Config {
        Config {
            controller_door: self.controller_door,
            controllers_first: self.controllers_first,
            open_delay: Duration::from_secs(OPEN_DELAY),
            lost_max: Duration::from_secs(LOST_MAX),
            pace: pace::Config { burst: self.burst, interval: Duration::from_secs(1) },
            connections_max: 2,
            logins_max: 1,
            held_max: 2,
            held_within: Duration::from_secs(HELD_WITHIN),
            controller_connections_max: 1,
            bind_again: Duration::from_secs(1),
            ..Config::default()
        }
    }
}

impl State {
    pub fn new(doors: &Doors) -> State {
        let two_phases = doors.controller_door || doors.controllers_first;
        let mut state = State {
            listener: Shown(Listener::new(doors.config())),
            now: 0,
            law: Law { ready: None, lost: Some(0), open: false, two_phases },
            left: doors.bounds,
            controller_door: doors.controller_door,
            ports: [Port::default(); 2],
            standing: BTreeMap::new(),
            controllers: 0,
            logging_in: 0,
            logged_in: 0,
            stopped: false,
            opened: false,
            broken: None,
        };
        state.tell(doors, Input::Started);
        state
    }

    pub fn step(&mut self, doors: &Doors, action: Action) {
        match action {
            Action::Ready(ready) => self.ready(doors, ready),
            Action::Bind { door, done } => {
                self.left.failures -= u8::from(!done);
                self.ports[door as usize].binding = false;
                self.ports[door as usize].bound = done;
                let input = match done {
                    true => Input::Opened { door },
                    false => Input::NotOpened { door },
                };
                self.tell(doors, input);
            }
            Action::Come { door } => self.come(doors, door),
            Action::Knock => {
                let connection = ConnectionId(doors.bounds.visits - self.left.visits);
                self.left.visits -= 1;
                self.ports[Door::Api as usize].permit = false;
                let stands = Stands { since: self.now, controller: None };
                self.standing.insert(connection.0, stands);
                self.tell(doors, Input::Knocked { connection });
            }
            Action::Arrive { visit, kind } => {
                let connection = ConnectionId(visit);
                let said = Some(kind == Kind::Controller);
                self.standing.entry(visit).and_modify(|stands| stands.controller = said);
                self.tell(doors, Input::Arrived { connection, kind });
            }
            Action::Leave { visit } => {
                self.standing.remove(&visit);
                self.tell(doors, Input::Left { connection: ConnectionId(visit) });
            }
            Action::LogIn => {
                (self.logging_in, self.logged_in) = (self.logging_in - 1, self.logged_in + 1);
                self.tell(doors, Input::LoggedIn);
            }
            Action::Go { door, logged_in } => self.go(doors, door, logged_in),
            Action::Switch => self.switch(doors),
            Action::Stop => {
                self.left.stops -= 1;
                self.stopped = true;
                self.tell(doors, Input::Stopping);
            }
            Action::Timeout => {
                let mut orders = Vec::new();
                self.listener.0.handle_timeout(time(self.now), &mut orders);
                self.see(doors, &orders);
            }
            Action::Tick => {
                self.left.delays -= u8::from(self.due());
                self.now += 1;
            }
        }
    }

    pub fn ready_since(&self) -> Option<Tick> {
        self.law.ready
    }

    /// Since when the one who came first stands at the door.
    pub fn standing_since(&self) -> Option<Tick> {
        self.standing.values().map(|stands| stands.since).min()
    }

    fn tell(&mut self, doors: &Doors, input: Input) {
        let mut orders = Vec::new();
        self.listener.0.handle(time(self.now), input, &mut orders);
        self.see(doors, &orders);
    }

    fn see(&mut self, doors: &Doors, orders: &[Output]) {
        self.law.pass(self.now);
        for order in orders {
            let verdict = self.obey(doors, order);
            self.broken = self.broken.or(verdict.err());
        }
        let verdict = self.rest(doors);
        self.broken = self.broken.or(verdict.err());
        self.opened |= self.law.open && self.ports[Door::Api as usize].bound;
    }

    pub fn due(&self) -> bool {
        self.listener.0.poll_timeout().is_some_and(|due| due.at <= time(self.now))
    }

    /// Whether nothing more can happen.
    pub fn over(&self, doors: &Doors) -> bool {
        self.now == doors.end && !self.due() && !self.ports.iter().any(|port| port.binding)
    }

    pub fn agents(&self) -> usize {
        self.logging_in + self.logged_in
    }

    /// One more agent comes in, or is given the permit to.
    fn let_agent_in(&mut self) -> Result<(), &'static str> {
        demand(self.law.open && !self.stopped, EARLY)?;
        demand(self.agents() < 2 && self.logging_in < 1, LIMIT)
    }

    fn obey(&mut self, doors: &Doors, order: &Output) -> Result<(), &'static str> {
        match *order {
            Output::Open { door } => {
                let port = &mut self.ports[door as usize];
                demand(!port.bound && !port.binding && !self.stopped, PORT)?;
                port.binding = true;
                demand(door == Door::Api || self.controller_door, PORT)
            }
            Output::Shut { door } => {
                let port = &mut self.ports[door as usize];
                let before = std::mem::take(port);
                let wanted = match door {
                    Door::Controller => self.controller_door,
                    Door::Api => self.law.open || doors.controllers_first,
                };
                demand(before.bound && (self.stopped || !wanted), PORT)
            }
            Output::Accept { door } | Output::Hold { door } => {
                let port = &mut self.ports[door as usize];
                demand(port.bound && !port.permit, PERMIT)?;
                port.permit = true;
                match (door, doors.controllers_first) {
                    (Door::Controller, _) => demand(self.controllers < 1, LIMIT),
                    (Door::Api, true) => demand(self.standing.len() < 2, LIMIT),
                    (Door::Api, false) => self.let_agent_in(),
                }
            }
            Output::Admit { connection, kind } => {
                let said = Some(kind == Kind::Controller);
                let stands = self.standing.remove(&connection.0);
                demand(stands.is_some_and(|stands| stands.controller == said), TURN)?;
                let before = |(visit, stands): (&u64, &Stands)| {
                    stands.controller == said && *visit < connection.0
                };
                demand(!self.standing.iter().any(before), TURN)?;
                match kind {
                    Kind::Controller => {
                        self.controllers += 1;
                        demand(self.controllers <= 1, LIMIT)
                    }
                    Kind::Other => {
                        let verdict = self.let_agent_in();
                        self.logging_in += 1;
                        verdict
                    }
                }
            }
            Output::Hangup { connection, why } => {
                let stood = self.standing.remove(&connection.0).map(|stands| stands.since);
                match why {
                    Why::Held => {
                        demand(stood.is_some_and(|stood| self.now >= stood + HELD_WITHIN), ANSWER)
                    }
                    Why::Stopping => demand(stood.is_some() && self.stopped, ANSWER),
                    Why::NotLoggedIn | Why::Silent | Why::Surplus => Err(ANSWER),
                }
            }
        }
    }

    /// What holds once all orders are obeyed.
    fn rest(&self, doors: &Doors) -> Result<(), &'static str> {
        let listener = &self.listener.0;
        let counted = listener.connections() == self.agents();
        demand(counted && listener.held() == self.standing.len(), COUNT)?;
        let [controller, api] = self.ports;
        let wait = |said| self.standing.values().any(|stands| stands.controller == Some(said));
        let coming = usize::from(api.permit && !doors.controllers_first);
        let within = self.agents() + coming <= 2 && self.logging_in + coming <= 1;
        demand(within && self.controllers + usize::from(controller.permit) <= 1, LIMIT)?;
        let room = self.controllers + usize::from(controller.permit) < 1;
        demand(!(room && (controller.bound || wait(true))), IDLE)?;
        if self.due() || !self.law.open || doors.burst > 0 || self.stopped {
            return Ok(());
        }
        let room = self.agents() < 2 && self.logging_in < 1;
        let wait = wait(false) || api.bound && !doors.controllers_first && !api.permit;
        demand(!(room && wait), IDLE)
    }

    fn come(&mut self, doors: &Doors, door: Door) {
        self.left.visits -= 1;
        self.ports[door as usize].permit = false;
        match door {
            Door::Controller => self.controllers += 1,
            Door::Api => self.logging_in += 1,
        }
        self.tell(doors, Input::Connected { door });
    }

    fn go(&mut self, doors: &Doors, door: Door, logged_in: bool) {
        match (door, logged_in) {
            (Door::Controller, _) => self.controllers -= 1,
            (Door::Api, true) => self.logged_in -= 1,
            (Door::Api, false) => self.logging_in -= 1,
        }
        self.tell(doors, Input::Disconnected { door, logged_in });
    }

    fn ready(&mut self, doors: &Doors, ready: bool) {
        self.left.flips -= 1;
        self.opened = false;
        self.law.ready = ready.then_some(self.now);
        self.law.lost = (!ready).then_some(self.now);
        self.tell(doors, if ready { Input::Stable } else { Input::Unstable });
    }

    fn switch(&mut self, doors: &Doors) {
        self.left.switches -= 1;
        self.controller_door = !self.controller_door;
        let before = self.law.two_phases;
        self.law.two_phases = self.controller_door || doors.controllers_first;
        if !before {
            // What was never asked for was never lost.
            self.law.lost = self.law.lost.map(|_| self.now);
        }
        let Config { pace, open_delay, controllers_first, .. } = doors.config();
        let controller_door = self.controller_door;
        self.tell(
            doors,
            Input::Reconfigured { pace, open_delay, controller_door, controllers_first },
        );
    }
}
