//! The balancing front.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use portcullis_core::front::{Config, Fault, Front, Input, News, Output, Verdict};
use portcullis_core::{Address, BackendId, ConnectionId, Rng, Seed, Time, backoff, pace};

use crate::world::{World, chance, draw_of, run};

#[derive(PartialEq, Eq)]
enum Permit {
    None,
    Out,
    Withdrawn,
}

struct Town {
    config: Config,
    permit: Permit,
    /// Which backends may be given connections, by what was announced.
    up: BTreeSet<BackendId>,
    /// When each that is up turned up, and was given connections since.
    given: BTreeMap<BackendId, (Time, Vec<Time>)>,
    /// Those that were removed while up; if they come back, they go on where they were.
    leaving: BTreeSet<BackendId>,
    probing: BTreeSet<BackendId>,
    addresses: BTreeMap<BackendId, Address>,
    /// Connections on their way, with where to.
    joining: BTreeMap<ConnectionId, BackendId>,
    /// How often each was tried, and where since that backend was last found healthy.
    tries: BTreeMap<ConnectionId, (usize, BTreeSet<BackendId>)>,
    /// Since when a connection is held.
    held: BTreeMap<ConnectionId, Time>,
    joined: BTreeMap<BackendId, usize>,
    hung_up: BTreeSet<BackendId>,
    count: u64,
    stopping: Option<Time>,
    exited: bool,
}

impl Town {
    fn connections(&self) -> usize {
        self.joining.len() + self.held.len() + self.joined.values().sum::<usize>()
    }

    fn load(&self, backend: BackendId) -> usize {
        let joining = self.joining.values().filter(|at| **at == backend).count();
        joining + self.joined.get(&backend).copied().unwrap_or_default()
    }

    fn connect(&mut self, now: Time, connection: ConnectionId, backend: BackendId) {
        assert!(self.up.contains(&backend), "{backend} is not healthy");
        assert!(self.held.remove(&connection).is_some(), "{connection} is not here");
        let (times, at) = self.tries.entry(connection).or_default();
        *times += 1;
        assert!(at.insert(backend), "{connection} was at {backend} before");
        assert!(*times <= self.config.tries_max, "{connection} is sent about");
        assert!(self.load(backend) < self.config.connections_per_backend_max, "it is full");
        self.joining.insert(connection, backend);
        let (since, given) = self.given.get_mut(&backend).expect("it is up");
        if now.since(*since) < self.config.fill_for {
            given.push(now);
        }
        let pace::Config { burst, interval } = self.config.fill;
        for (first, from) in given.iter().enumerate() {
            let passed = now.since(*from).as_micros() / interval.as_micros();
            let allowed = u128::from(burst) + passed;
            assert!((given.len() - first) as u128 <= allowed, "{backend} is trampled");
        }
    }

    /// One of those that are on their way arrives, or does not.
    fn arrive(&mut self, now: Time, rng: &mut Rng) -> Option<Input> {
        let on_their_way: BTreeSet<_> = self.joining.keys().copied().collect();
        let connection = draw_of(&on_their_way, rng)?;
        let backend = self.joining.remove(&connection)?;
        if chance(60, rng) {
            *self.joined.entry(backend).or_default() += 1;
            return Some(Input::Joined { connection });
        }
        self.held.insert(connection, now);
        let fault = if chance(80, rng) { Fault::Backend } else { Fault::Here };
        Some(Input::NotJoined { connection, fault })
    }

    fn end(&mut self, rng: &mut Rng) -> Option<Input> {
        let some = self.joined.iter().filter(|(_, count)| **count > 0);
        let backend = draw_of(&some.map(|(id, _)| *id).collect(), rng)?;
        *self.joined.get_mut(&backend)? -= 1;
        Some(Input::Ended { backend })
    }

    fn enter(&mut self, now: Time, rng: &mut Rng) -> Option<Input> {
        if self.permit == Permit::None {
            return None;
        }
        let withdrawn = std::mem::replace(&mut self.permit, Permit::None) == Permit::Withdrawn;
        if withdrawn && chance(70, rng) {
            return Some(Input::Withdrawn);
        }
        self.count += 1;
        let connection = ConnectionId(self.count);
        self.held.insert(connection, now);
        Some(Input::Accepted { connection })
    }
}

impl World for Town {
    type Machine = Front;

    fn new(rng: &mut Rng) -> (Town, Front) {
        let interval = Duration::from_millis(rng.below(300) + 1);
        let config = Config {
            connections_max: rng.below(12) as usize + 1,
            connections_per_backend_max: rng.below(8) as usize + 1,
            joining_max: rng.below(4) as usize + 1,
            tries_max: rng.below(3) as usize + 1,
            hold: Duration::from_millis(rng.below(3_000)),
            pace: pace::Config { burst: rng.below(4) as u32, interval },
            fill: pace::Config { burst: rng.below(3) as u32 + 1, interval },
            fill_for: Duration::from_secs(rng.below(20)),
            rise: rng.below(3) as u32 + 1,
            fall: rng.below(3) as u32 + 1,
            probe_every: Duration::from_millis(rng.below(3_000) + 1),
            probe_again: Duration::from_millis(rng.below(1_000) + 1),
            probe_down: backoff::Config::default(),
            drain: Duration::from_secs(rng.below(30)),
        };
        let front = Front::new(config.clone(), Seed(rng.draw()));
        let town = Town {
            config,
            permit: Permit::None,
            up: BTreeSet::new(),
            given: BTreeMap::new(),
            leaving: BTreeSet::new(),
            probing: BTreeSet::new(),
            addresses: BTreeMap::new(),
            joining: BTreeMap::new(),
            tries: BTreeMap::new(),
            held: BTreeMap::new(),
            joined: BTreeMap::new(),
            hung_up: BTreeSet::new(),
            count: 0,
            stopping: None,
            exited: false,
        };
        (town, front)
    }

    fn draw(&mut self, now: Time, rng: &mut Rng) -> Option<Input> {
        match rng.below(24) {
            0 => {
                let all = ["a", "b", "c", "d"].map(Address::new);
                let addresses = all.into_iter().filter(|_| chance(70, rng)).collect();
                Some(Input::BackendsSet { addresses })
            }
            1..8 => {
                let backend = draw_of(&self.probing, rng)?;
                self.probing.remove(&backend);
                let own = chance(30, rng).then(|| rng.below(6) as usize);
                let verdict = match rng.below(6) {
                    0..4 => Verdict::Healthy { connections: own },
                    4 => Verdict::Unready,
                    _ => Verdict::Failed,
                };
                if matches!(verdict, Verdict::Healthy { .. }) {
                    for connection in self.held.keys() {
                        if let Some((_, at)) = self.tries.get_mut(connection) {
                            at.remove(&backend);
                        }
                    }
                }
                Some(Input::Probed { backend, verdict })
            }
            8..14 => self.enter(now, rng),
            14..20 => self.arrive(now, rng),
            20..23 => self.end(rng),
            _ if chance(5, rng) => {
                self.stopping.get_or_insert(now);
                Some(Input::Stopping)
            }
            _ => None,
        }
    }

    fn see(&mut self, now: Time, orders: Vec<Output>) {
        for order in orders {
            assert!(!self.exited, "{order} after the exit");
            match order {
                Output::Accept => {
                    assert!(self.permit == Permit::None, "one permit at a time");
                    assert!(!self.up.is_empty() && self.stopping.is_none(), "nobody serves");
                    self.permit = Permit::Out;
                }
                Output::Withdraw => {
                    assert!(self.permit == Permit::Out, "there is no permit");
                    self.permit = Permit::Withdrawn;
                }
                Output::Probe { backend, address } => {
                    assert!(self.probing.insert(backend), "{backend} is being probed");
                    self.addresses.insert(backend, address);
                }
                Output::Connect { connection, backend, address } => {
                    assert_eq!(self.addresses[&backend], address);
                    self.connect(now, connection, backend);
                }
                Output::Refuse { connection, .. } => {
                    assert!(self.held.remove(&connection).is_some(), "{connection} is not held");
                }
                Output::HangUp { backend } => {
                    self.hung_up.insert(backend);
                }
                Output::Announce { backend, news: News::Up, .. } => {
                    assert!(self.up.insert(backend), "{backend} is up already");
                    if !self.leaving.remove(&backend) {
                        self.given.insert(backend, (now, Vec::new()));
                    }
                }
                Output::Announce { backend, news: News::Leaving, .. } => {
                    if self.up.remove(&backend) {
                        self.leaving.insert(backend);
                    }
                }
                Output::Announce { backend, news: News::Gone, .. } => {
                    assert_eq!(self.load(backend), 0, "{backend} has connections");
                    assert!(!self.up.contains(&backend), "{backend} is gone but up");
                }
                Output::Announce { backend, news: News::Down | News::Unready, .. } => {
                    self.up.remove(&backend);
                    self.leaving.remove(&backend);
                }
                Output::Shut => {
                    assert!(self.stopping.is_some(), "nobody asked for it");
                    if self.permit == Permit::Out {
                        self.permit = Permit::Withdrawn;
                    }
                }
                Output::Exit => {
                    assert_eq!(self.connections(), 0, "somebody is left behind");
                    self.exited = true;
                }
            }
        }
    }

    fn check(&self, now: Time, machine: &Front) {
        assert_eq!(machine.connections(), self.connections());
        assert!(machine.connections() <= self.config.connections_max);
        assert!(self.joining.len() + self.held.len() <= self.config.joining_max);
        for since in self.held.values() {
            assert!(now.since(*since) <= self.config.hold, "somebody is forgotten");
        }
        for (id, status) in machine.backends() {
            assert_eq!(status.connections, self.load(id), "{id}");
        }
        let over = self.stopping.is_some_and(|since| now.since(since) > self.config.drain);
        for (backend, count) in &self.joined {
            let hung_up = self.hung_up.contains(backend);
            assert!(!over || *count == 0 || hung_up, "{backend} was not hung up");
        }
    }

    fn closing(&mut self) -> Vec<Input> {
        self.stopping.get_or_insert(Time(0));
        let mut inputs = vec![Input::Stopping, Input::Stopping];
        let joining = std::mem::take(&mut self.joining).into_keys();
        for connection in joining {
            self.held.insert(connection, Time(0));
            inputs.push(Input::NotJoined { connection, fault: Fault::Here });
        }
        for (backend, count) in std::mem::take(&mut self.joined) {
            inputs.extend(vec![Input::Ended { backend }; count]);
        }
        if self.permit != Permit::None {
            inputs.push(Input::Withdrawn);
        }
        inputs
    }

    fn settled(&self, machine: &Front) {
        assert!(self.exited, "{} and no exit", machine.phase());
        assert_eq!(portcullis_core::Machine::poll_timeout(machine), None, "it sleeps");
    }
}

#[test]
fn front() {
    run::<Town>("front");
}
