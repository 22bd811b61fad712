//! Listener and sessions.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use portcullis_core::listener::{self, Listener};
use portcullis_core::sessions::{self, Party, Sessions, Why};
use portcullis_core::{ConnectionId, Door, NodeId, Rng, Time, pace};

use crate::world::{World, chance, draw_of, run};

struct Outside {
    config: listener::Config,
    started: bool,
    stopped: bool,
    stable_since: Option<Time>,
    api_failed: bool,
    binding: BTreeSet<Door>,
    bound: BTreeSet<Door>,
    permits: BTreeMap<Door, usize>,
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
            open_delay: Duration::from_millis(rng.below(4_000)),
            pace: pace::Config { burst: rng.below(4) as u32 + 1, interval },
            connections_max: rng.below(6) as usize + 1,
            logins_max: rng.below(3) as usize + 1,
            controller_connections_max: rng.below(3) as usize + 1,
            bind_again: Duration::from_millis(rng.below(2_000)),
            ..listener::Config::default()
        };
        let world = Outside {
            config: config.clone(),
            started: false,
            stopped: false,
            stable_since: None,
            api_failed: false,
            binding: BTreeSet::new(),
            bound: BTreeSet::new(),
            permits: BTreeMap::new(),
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
        match rng.below(15) {
            14 => {
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
            1..3 => {
                self.stable_since.get_or_insert(now);
                Some(listener::Input::Stable)
            }
            3 if chance(50, rng) => {
                self.stable_since = None;
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
            _ => None,
        }
    }

    fn see(&mut self, now: Time, orders: Vec<listener::Output>) {
        for order in orders {
            match order {
                listener::Output::Open { door } => {
                    assert!(self.started && !self.stopped, "a door opens only in between");
                    assert!(!self.bound.contains(&door), "{door} is open already");
                    assert!(self.binding.insert(door), "{door} is being opened already");
                    self.ordered(now, door);
                }
                listener::Output::Accept { door } => {
                    assert!(self.bound.contains(&door) && !self.stopped, "{door} is shut");
                    let permits = self.permits.entry(door).or_default();
                    *permits += 1;
                    assert_eq!(*permits, 1, "one permit at a time");
                    if door == Door::Api {
                        assert!(!self.crowded, "somebody is let in while memory is short");
                        assert!(self.logging_in < self.allowed, "too many are logging in");
                        self.let_in.push(now);
                    }
                }
                listener::Output::Shut { door } => {
                    assert!(self.stopped, "nobody asked to shut {door}");
                    assert!(self.bound.remove(&door), "{door} is not open");
                }
            }
        }
    }

    fn check(&self, _: Time, machine: &Listener) {
        assert_eq!(machine.connections(), self.inside);
        assert!(machine.connections() <= self.config.connections_max);
        assert!(self.logging_in <= self.config.logins_max);
        assert!(self.controllers <= self.config.controller_connections_max);
        let room = self.controllers < self.config.controller_connections_max;
        if self.bound.contains(&Door::Controller) && !self.stopped {
            let permit = self.permits.get(&Door::Controller).is_some_and(|permits| *permits > 0);
            assert_eq!(permit, room, "controllers come in while there is room");
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
        self.bound.append(&mut self.binding);
        inputs
    }

    fn settled(&self, _: &Listener) {
        assert!(self.bound.is_empty(), "{:?} stayed open", self.bound);
    }
}

impl Outside {
    fn ordered(&self, now: Time, door: Door) {
        match door {
            Door::Controller => assert!(self.config.controller_door, "there is no such door"),
            // One that could not be bound is tried again whether or not it is stable by then.
            Door::Api if self.config.controller_door && !self.api_failed => {
                let since = self.stable_since.expect("the api door waits for stability");
                assert!(now.since(since) >= self.config.open_delay, "the api door opens early");
            }
            Door::Api => {}
        }
    }

    fn bind(&mut self, rng: &mut Rng) -> Option<listener::Input> {
        let door = draw_of(&self.binding, rng)?;
        self.binding.remove(&door);
        if chance(70, rng) {
            self.bound.insert(door);
            Some(listener::Input::Opened { door })
        } else {
            self.api_failed |= door == Door::Api;
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
