//! Listener and sessions.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use portcullis_core::listener::{self, Kind, Listener};
use portcullis_core::sessions::{self, Party, Sessions, Why};
use portcullis_core::{ConnectionId, Door, NodeId, Rng, Time, pace};

use crate::world::{World, chance, draw_of, run};

struct Outside {
    config: listener::Config,
    started: bool,
    stopped: bool,
    stable_since: Option<Time>,
    lost_since: Option<Time>,
    /// Whether agents may come in, by a reckoning of its own.
    ready: bool,
    binding: BTreeSet<Door>,
    bound: BTreeSet<Door>,
    /// Whether the controller door has its address, and whether another one than it was opened at.
    addressed: bool,
    moved: bool,
    /// Those that are bound where they are to be only once they were shut where they were.
    late: BTreeSet<Door>,
    /// Permits that are out; those to stand at the door apart.
    permits: BTreeMap<Door, usize>,
    holds: usize,
    standing: BTreeMap<ConnectionId, (Time, Option<Kind>)>,
    count: u64,
    let_in: Vec<Time>,
    inside: usize,
    logging_in: usize,
    /// How many may be logging in, as it was told last.
    allowed: usize,
    /// Whether memory is short, by a reading of its own.
    crowded: bool,
    controllers: usize,
}

impl World for Outside {
    type Machine = Listener;

    fn new(rng: &mut Rng) -> (Outside, Listener) {
        let interval = Duration::from_millis(rng.below(900) + 100);
        let config = listener::Config {
            controller_door: chance(70, rng),
            controllers_first: chance(50, rng),
            address_awaited: chance(50, rng),
            open_delay: Duration::from_millis(rng.below(4_000)),
            lost_max: Duration::from_millis(rng.below(20_000)),
            pace: pace::Config { burst: rng.below(4) as u32 + 1, interval },
            connections_max: rng.below(6) as usize + 1,
            logins_max: rng.below(3) as usize + 1,
            held_max: rng.below(5) as usize + 1,
            held_within: Duration::from_millis(rng.below(20_000)),
            controller_connections_max: rng.below(3) as usize + 1,
            bind_again: Duration::from_millis(rng.below(2_000)),
            ..listener::Config::default()
        };
        let world = Outside {
            config: config.clone(),
            started: false,
            stopped: false,
            stable_since: None,
            lost_since: Some(Time(0)),
            ready: false,
            binding: BTreeSet::new(),
            bound: BTreeSet::new(),
            addressed: !config.address_awaited,
            moved: false,
            late: BTreeSet::new(),
            permits: BTreeMap::new(),
            holds: 0,
            standing: BTreeMap::new(),
            count: 0,
            let_in: Vec::new(),
            inside: 0,
            logging_in: 0,
            allowed: config.logins_max,
            crowded: false,
            controllers: 0,
        };
        (world, Listener::new(config))
    }

    fn draw(&mut self, now: Time, rng: &mut Rng) -> Option<listener::Input> {
        self.reckon(now);
        match rng.below(22) {
            21 => {
                (self.addressed, self.moved) = (true, true);
                Some(listener::Input::Addressed)
            }
            20 => {
                self.allowed = rng.below(5) as usize + 1;
                Some(listener::Input::Allowed { logins: self.allowed })
            }
            13 => {
                let used = rng.below(100);
                self.crowded = used >= if self.crowded { 80 } else { 85 };
                Some(listener::Input::Memory { used, limit: 100 })
            }
            0 => {
                self.started = true;
                Some(listener::Input::Started)
            }
            1..3 if self.started => {
                self.stable_since.get_or_insert(now);
                self.lost_since = None;
                Some(listener::Input::Stable)
            }
            3 if chance(50, rng) => {
                self.stable_since = None;
                self.lost_since.get_or_insert(now);
                Some(listener::Input::Unstable)
            }
            3..5 => self.bind(rng),
            5..8 => self.enter(rng),
            8..10 if self.logging_in > 0 => {
                self.logging_in -= 1;
                Some(listener::Input::LoggedIn)
            }
            10 if self.inside > 0 => {
                let logged_in = self.logging_in < self.inside && chance(70, rng);
                let logged_in = logged_in || self.logging_in == 0;
                self.inside -= 1;
                self.logging_in -= usize::from(!logged_in);
                Some(listener::Input::Disconnected { door: Door::Api, logged_in })
            }
            12 if self.controllers > 0 => {
                self.controllers -= 1;
                Some(listener::Input::Disconnected { door: Door::Controller, logged_in: true })
            }
            11 if chance(3, rng) => {
                self.stopped = true;
                Some(listener::Input::Stopping)
            }
            14..19 => self.stand(now, rng),
            19 if chance(30, rng) => Some(self.reconfigure(now, rng)),
            _ => None,
        }
    }

    fn see(&mut self, now: Time, orders: Vec<listener::Output>) {
        self.reckon(now);
        for order in orders {
            match order {
                listener::Output::Open { door } => {
                    assert!(self.started && !self.stopped, "a door opens only in between");
                    let moves = door == Door::Controller && std::mem::take(&mut self.moved);
                    assert!(moves || !self.bound.contains(&door), "{door} is open already");
                    assert!(self.binding.insert(door), "{door} is being opened already");
                    assert!(self.may_open(door), "{door} opens early, or is not there");
                }
                listener::Output::Accept { door } => {
                    assert!(self.bound.contains(&door) && !self.stopped, "{door} is shut");
                    let permits = self.permits.entry(door).or_default();
                    *permits += 1;
                    assert_eq!(*permits, 1, "one permit at a time");
                    if door == Door::Api {
                        assert_eq!(self.holds, 0, "one permit at a time");
                        assert!(self.logging_in < self.allowed, "too many are logging in");
                        self.lets_in(now);
                    }
                }
                listener::Output::Hold { door } => {
                    assert!(self.bound.contains(&door) && !self.stopped, "{door} is shut");
                    assert_eq!(door, Door::Api, "controllers are not held");
                    assert!(self.standing.len() < self.config.held_max, "too many are held");
                    assert_eq!(self.holds + self.permits.get(&door).unwrap_or(&0), 0);
                    self.holds = 1;
                }
                listener::Output::Admit { connection, kind } => {
                    let (_, is) = self.standing.remove(&connection).expect("it stands there");
                    assert_eq!(is, Some(kind), "whoever is admitted said who it is");
                    match kind {
                        Kind::Controller => self.controllers += 1,
                        Kind::Other => {
                            let before = |(other, (_, is)): (&ConnectionId, &(Time, _))| {
                                *is == Some(Kind::Other) && *other < connection
                            };
                            assert!(!self.standing.iter().any(before), "somebody came before");
                            self.inside += 1;
                            self.logging_in += 1;
                            self.lets_in(now);
                        }
                    }
                }
                listener::Output::Hangup { connection, why } => {
                    let (since, _) = self.standing.remove(&connection).expect("it stands there");
                    let expected = if self.stopped { Why::Stopping } else { Why::Held };
                    assert_eq!(why, expected);
                    assert!(self.stopped || since + self.config.held_within <= now, "too early");
                }
                listener::Output::Shut { door } => {
                    assert!(!self.may_open(door), "nobody asked to shut {door}");
                    let open = self.bound.remove(&door) || self.late.remove(&door);
                    assert!(open, "{door} is not open");
                    self.permits.insert(door, 0);
                    self.holds *= usize::from(door != Door::Api);
                }
            }
        }
    }

    fn check(&self, now: Time, machine: &Listener) {
        assert_eq!(machine.connections(), self.inside);
        assert_eq!(machine.held(), self.standing.len());
        assert!(machine.connections() <= self.config.connections_max);
        assert!(self.logging_in <= self.config.logins_max);
        assert!(self.controllers <= self.config.controller_connections_max);
        let room = self.controllers < self.config.controller_connections_max;
        if self.bound.contains(&Door::Controller) && !self.stopped {
            let permit = self.permits.get(&Door::Controller).is_some_and(|permits| *permits > 0);
            assert_eq!(permit, room, "controllers come in while there is room");
        }
        let permit = self.permits.get(&Door::Controller).copied().unwrap_or(0);
        for (connection, (since, kind)) in &self.standing {
            assert!(*since + self.config.held_within > now, "{connection} was overlooked");
            let full = self.controllers + permit >= self.config.controller_connections_max;
            assert!(*kind != Some(Kind::Controller) || full, "a controller is held");
        }
        let pace::Config { burst, interval } = self.config.pace;
        for (first, from) in self.let_in.iter().enumerate() {
            let last = self.let_in.len() - 1;
            let passed = self.let_in[last].since(*from).as_micros() / interval.as_micros();
            assert!((last - first + 1) as u128 <= u128::from(burst) + passed, "a flood came in");
        }
    }

    fn closing(&mut self) -> Vec<listener::Input> {
        let late = self.binding.iter().map(|door| listener::Input::Opened { door: *door });
        let mut inputs = vec![listener::Input::Stopping];
        inputs.extend(late);
        self.stopped = true;
        self.late = self.binding.intersection(&self.bound).copied().collect();
        self.bound.append(&mut self.binding);
        inputs
    }

    fn settled(&self, machine: &Listener) {
        assert!(self.bound.is_empty() && self.late.is_empty(), "{:?} stayed open", self.bound);
        assert!(self.standing.is_empty(), "{:?} stand there forever", self.standing);
        assert_eq!(portcullis_core::Machine::poll_timeout(machine), None, "nothing is waited for");
    }
}

impl Outside {
    fn two_phases(&self) -> bool {
        self.config.controller_door || self.config.controllers_first
    }

    /// Works out whether agents may come in.
    fn reckon(&mut self, now: Time) {
        let settled = |since: Time| since + self.config.open_delay <= now;
        let lost = |since: Time| since + self.config.lost_max <= now;
        if !self.two_phases() {
            self.ready = self.started;
        } else if self.stable_since.is_some_and(settled) {
            self.ready = true;
        } else if self.lost_since.is_some_and(lost) {
            self.ready = false;
        }
    }

    fn may_open(&self, door: Door) -> bool {
        let there = match door {
            Door::Controller => self.config.controller_door && self.addressed,
            Door::Api => self.config.controllers_first || self.ready,
        };
        there && !self.stopped
    }

    /// Somebody who is no controller is let in.
    fn lets_in(&mut self, now: Time) {
        assert!(self.ready && !self.stopped, "an agent comes in too early");
        assert!(!self.crowded, "somebody is let in while memory is short");
        self.let_in.push(now);
    }

    fn reconfigure(&mut self, now: Time, rng: &mut Rng) -> listener::Input {
        let before = self.two_phases();
        self.config.open_delay = Duration::from_millis(rng.below(4_000));
        self.config.controller_door = chance(50, rng);
        self.config.controllers_first = chance(50, rng);
        if !before && self.two_phases() {
            self.lost_since = self.lost_since.map(|_| now);
        }
        let listener::Config { pace, open_delay, .. } = self.config;
        let listener::Config { controller_door, controllers_first, .. } = self.config;
        listener::Input::Reconfigured { pace, open_delay, controller_door, controllers_first }
    }

    /// Somebody comes to stand at the door, says who it is, or leaves.
    fn stand(&mut self, now: Time, rng: &mut Rng) -> Option<listener::Input> {
        let connection = draw_of(&self.standing.keys().copied().collect(), rng);
        match rng.below(3) {
            0 if self.holds > 0 => {
                self.holds = 0;
                self.count += 1;
                let connection = ConnectionId(self.count);
                self.standing.insert(connection, (now, None));
                Some(listener::Input::Knocked { connection })
            }
            0 | 1 => {
                let connection = connection?;
                let drawn = [Kind::Controller, Kind::Other][rng.below(2) as usize];
                let (_, kind) = self.standing.get_mut(&connection)?;
                let kind = *kind.get_or_insert(drawn);
                Some(listener::Input::Arrived { connection, kind })
            }
            _ => {
                let connection = connection.filter(|_| chance(30, rng))?;
                self.standing.remove(&connection);
                Some(listener::Input::Left { connection })
            }
        }
    }

    fn bind(&mut self, rng: &mut Rng) -> Option<listener::Input> {
        let door = draw_of(&self.binding, rng)?;
        self.binding.remove(&door);
        if chance(70, rng) {
            // One that has moved was not given the permit of its former self.
            self.permits.insert(door, 0);
            self.bound.insert(door);
            Some(listener::Input::Opened { door })
        } else {
            self.moved |= door == Door::Controller && self.bound.contains(&door);
            Some(listener::Input::NotOpened { door })
        }
    }

    fn enter(&mut self, rng: &mut Rng) -> Option<listener::Input> {
        let open = |(door, permits): (&Door, &usize)| (*permits > 0).then_some(*door);
        let doors: BTreeSet<Door> = self.permits.iter().filter_map(open).collect();
        let door = draw_of(&doors, rng)?;
        self.permits.insert(door, 0);
        if door == Door::Api {
            self.inside += 1;
            self.logging_in += 1;
        } else {
            self.controllers += 1;
        }
        Some(listener::Input::Connected { door })
    }
}

#[test]
fn listener() {
    run::<Outside>("listener");
}

struct Crowd {
    config: sessions::Config,
    /// Everybody connected, with the party and the time last heard of.
    inside: BTreeMap<ConnectionId, (Option<Party>, Time)>,
    cut: BTreeSet<ConnectionId>,
    count: u64,
}

impl Crowd {
    fn due(&self, connection: &ConnectionId) -> Option<(Time, Why)> {
        let (party, heard) = self.inside.get(connection)?;
        match party {
            None => Some((*heard + self.config.login_within, Why::NotLoggedIn)),
            Some(Party::Agent) => Some((*heard + self.config.silent_max, Why::Silent)),
            Some(Party::User | Party::Controller(_)) => None,
        }
    }
}

impl World for Crowd {
    type Machine = Sessions;

    fn new(_: &mut Rng) -> (Crowd, Sessions) {
        let config = sessions::Config::default();
        let machine = Sessions::new(config.clone());
        (Crowd { config, inside: BTreeMap::new(), cut: BTreeSet::new(), count: 0 }, machine)
    }

    fn draw(&mut self, now: Time, rng: &mut Rng) -> Option<sessions::Input> {
        let connection = ConnectionId(rng.below(self.count + 2));
        match rng.below(8) {
            0..2 => {
                self.count += 1;
                let connection = ConnectionId(self.count);
                self.inside.insert(connection, (None, now));
                Some(sessions::Input::Connected { connection, door: Door::Api })
            }
            2..4 => {
                let parties = [Party::Agent, Party::User, Party::Controller(NodeId(1))];
                let party = parties[rng.below(3) as usize];
                if let Some(session) = self.inside.get_mut(&connection) {
                    *session = (Some(party), now);
                    self.cut.remove(&connection);
                }
                Some(sessions::Input::LoggedIn { connection, party })
            }
            4..6 => {
                if let Some((Some(_), heard)) = self.inside.get_mut(&connection) {
                    *heard = now;
                }
                Some(sessions::Input::Pinged { connection })
            }
            _ => {
                self.inside.remove(&connection);
                Some(sessions::Input::Disconnected { connection })
            }
        }
    }

    fn see(&mut self, now: Time, orders: Vec<sessions::Output>) {
        for order in orders {
            let sessions::Output::Hangup { connection, why } = order;
            let (due, expected) = self.due(&connection).expect("it may be silent, or is gone");
            assert!(due <= now && why == expected, "{connection} is cut for no reason");
            assert!(self.cut.insert(connection), "{connection} is cut twice");
        }
    }

    fn check(&self, now: Time, machine: &Sessions) {
        assert_eq!(machine.len(), self.inside.len());
        assert_eq!(machine.is_empty(), self.inside.is_empty());
        for connection in self.inside.keys() {
            let late = self.due(connection).is_some_and(|(due, _)| due <= now);
            assert!(!late || self.cut.contains(connection), "{connection} was overlooked");
        }
    }

    fn closing(&mut self) -> Vec<sessions::Input> {
        let gone = |connection| sessions::Input::Disconnected { connection };
        std::mem::take(&mut self.inside).into_keys().map(gone).collect()
    }

    fn settled(&self, machine: &Sessions) {
        assert!(machine.is_empty());
        assert_eq!(portcullis_core::Machine::poll_timeout(machine), None, "nobody is looked after");
    }
}

#[test]
fn sessions() {
    run::<Crowd>("sessions");
}
