//! The balancing front: whom it lets in, and which backend a connection goes to.
//!
//! Seed 001 asks for it: agents stay where they are until one of the two ends restarts, so one
//! controller gathers them all, is killed for its memory, and the herd tramples the next. A front
//! gives each new connection to the backend that has the fewest, and to none that is not healthy.
//! Seed 000 says how the others must wait: outside. [`Output::Accept`] lets exactly one connection
//! in; while no backend could take it there is no permit, and clients wait in the kernel's backlog.
//!
//! ```text
//!  Serving ──Stopping──▶ Stopping { until } ──the last connection is gone──▶ Stopped
//!                              └──until is over, or Stopping again: hang up──┘
//! ```
//!
//! `backend` decides when one backend is healthy, and how fast it is filled.

mod backend;
mod machine;
mod words;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use crate::backoff;
use crate::ids::{Address, BackendId, ConnectionId};
use crate::pace::{self, Pace};
use crate::seed::{Rng, Seed};
use crate::time::Time;
use backend::{Backend, Change};

/// Limits of the front.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Most connections at once, those on their way to a backend included. Above zero.
    pub connections_max: usize,
    /// Most connections of one backend at once, those it says to have from elsewhere included.
    /// Above zero.
    pub connections_per_backend_max: usize,
    /// Most of `connections_max` that have not reached a backend yet. Above zero.
    pub joining_max: usize,
    /// Times that one connection is tried before it is refused: each at another backend, or at one
    /// that was found healthy since. Above zero.
    pub tries_max: usize,
    /// Longest time that a connection which was let in waits for a backend to turn up. Only those
    /// wait that were on their way when their backend fell, the others are outside.
    pub hold: Duration,
    /// How fast the front lets in; no limit by default, since each backend has one.
    pub pace: pace::Config,
    /// How fast a backend that has just turned up is filled: it has the fewest connections, so all
    /// newcomers would go to it at once (seed 001).
    pub fill: pace::Config,
    /// How long it counts as one that has just turned up.
    pub fill_for: Duration,
    /// Healthy probes in a row after which a backend that was down is up. Above zero.
    pub rise: u32,
    /// Failures in a row, of probes or connections, after which a backend is down. Above zero.
    pub fall: u32,
    /// Time between two probes of a backend.
    pub probe_every: Duration,
    /// Time to the next probe when the last contradicts what is thought of the backend.
    pub probe_again: Duration,
    /// Further wait between probes of a backend that is down.
    pub probe_down: backoff::Config,
    /// Longest time that connections may go on after their backend was removed, or after
    /// [`Input::Stopping`].
    pub drain: Duration,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            connections_max: 100_000,
            connections_per_backend_max: 100_000,
            joining_max: 256,
            tries_max: 3,
            hold: Duration::from_secs(30),
            pace: pace::Config { burst: 0, interval: Duration::from_millis(1) },
            fill: pace::Config { burst: 20, interval: Duration::from_millis(5) },
            fill_for: Duration::from_secs(60),
            rise: 2,
            fall: 3,
            probe_every: Duration::from_secs(2),
            probe_again: Duration::from_millis(500),
            probe_down: backoff::Config {
                first: Duration::from_millis(500),
                most: Duration::from_secs(5),
                growth: 200,
            },
            drain: Duration::from_secs(60),
        }
    }
}

/// What a probe has found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The backend serves; how many connections it has by its own count, if it says.
    Healthy { connections: Option<usize> },
    /// It answers that it does not serve: it starts, or it stops. That is believed at once.
    Unready,
    /// It did not answer in time, or not as it should.
    Failed,
}

/// Why a connection did not reach its backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The backend refused it, or did not answer in time.
    Backend,
    /// This host has no file or no port left for it; that says nothing about the backend.
    Here,
}

/// Why a connection is refused after it was let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// No backend turned up within `hold`.
    NoBackend,
    /// It was tried `tries_max` times.
    Unreachable,
    /// The front shuts down.
    Stopping,
}

/// What has become of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// It is healthy and gets connections.
    Up,
    /// It does not answer and gets none.
    Down,
    /// It says itself that it starts or stops, and gets none.
    Unready,
    /// It was removed; its connections may go on for `drain`.
    Leaving,
    /// It was removed, and has no connection any more.
    Gone,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// These are the backends from here on; each address counts once.
    BackendsSet { addresses: Vec<Address> },
    /// A probe that was ordered is over.
    Probed { backend: BackendId, verdict: Verdict },
    /// A connection was let in by the permit.
    Accepted { connection: ConnectionId },
    /// The permit is withdrawn, as ordered, and nobody came in by it.
    Withdrawn,
    /// A connection has reached its backend.
    Joined { connection: ConnectionId },
    /// It has not.
    NotJoined { connection: ConnectionId, fault: Fault },
    /// A connection that had reached this backend is over.
    Ended { backend: BackendId },
    /// The process shuts down; said again, it is in a hurry.
    Stopping,
}

/// What must be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Let exactly one connection in.
    Accept,
    /// Let nobody in by the permit that is out, and say which it was: withdrawn or accepted.
    Withdraw,
    /// Find out how the backend is.
    Probe { backend: BackendId, address: Address },
    /// Connect it to the backend, and say how it went.
    Connect { connection: ConnectionId, backend: BackendId, address: Address },
    /// Close it; it is forgotten.
    Refuse { connection: ConnectionId, why: Why },
    /// Hang up all connections of the backend; each is reported as ever.
    HangUp { backend: BackendId },
    /// Say so to those who watch.
    Announce { backend: BackendId, address: Address, news: News },
    /// Stop listening. A permit that is out is withdrawn by this.
    Shut,
    /// All is over: end the process.
    Exit,
}

/// How one backend is, for those who watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Where it is.
    pub address: Address,
    /// How it is, in a word or two.
    pub standing: &'static str,
    /// Connections it has from this front.
    pub connections: usize,
    /// Connections it said to have from elsewhere when it was last probed.
    pub elsewhere: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Serving,
    /// Without a time, everything was hung up already.
    Stopping {
        until: Option<Time>,
    },
    Stopped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Permit {
    None,
    Out,
    Withdrawing,
}

/// A connection on its way to a backend, and those it was tried at before.
#[derive(Clone, Debug)]
struct Joining {
    backend: BackendId,
    tried: Tried,
}

/// Where a connection was tried in vain.
#[derive(Clone, Debug, Default)]
struct Tried {
    times: usize,
    /// Backends that were not found healthy since.
    at: Vec<BackendId>,
}

/// A connection that no backend can take at the moment.
#[derive(Clone, Debug)]
struct Held {
    tried: Tried,
    until: Time,
}

/// The machine. Of a connection that has reached its backend it keeps the count alone.
#[derive(Clone, Debug)]
pub struct Front {
    config: Config,
    phase: Phase,
    backends: BTreeMap<BackendId, Backend>,
    /// The number of the latest backend.
    named: u64,
    pace: Pace,
    permit: Permit,
    joining: BTreeMap<ConnectionId, Joining>,
    held: BTreeMap<ConnectionId, Held>,
    connections: usize,
    /// Decides between backends that have equally many.
    ties: Rng,
    seed: Seed,
}

impl Front {
    /// A front without backends, which lets nobody in.
    pub fn new(config: Config, seed: Seed) -> Front {
        assert!(config.connections_max > 0, "a front without connections serves nobody");
        assert!(config.connections_per_backend_max > 0, "no backend could take anybody");
        assert!(config.joining_max > 0, "nobody could ever reach a backend");
        assert!(config.tries_max > 0, "nobody would be tried anywhere");
        assert!(config.rise > 0 && config.fall > 0, "a backend's health follows from something");
        Front {
            pace: Pace::new(config.pace),
            config,
            phase: Phase::Serving,
            backends: BTreeMap::new(),
            named: 0,
            permit: Permit::None,
            joining: BTreeMap::new(),
            held: BTreeMap::new(),
            connections: 0,
            ties: seed.child("ties", 0).rng(),
            seed,
        }
    }

    /// What the front does, in words for an operator.
    pub fn phase(&self) -> &'static str {
        match self.phase {
            Phase::Serving if self.backends.values().all(|backend| !backend.is_up()) => {
                "waiting for a backend"
            }
            Phase::Serving if self.connections >= self.config.connections_max => "full",
            Phase::Serving => "serving",
            Phase::Stopping { .. } => "stopping, waiting for the connections",
            Phase::Stopped => "stopped",
        }
    }

    /// Connections that were let in and are not over; at most `connections_max`.
    pub fn connections(&self) -> usize {
        self.connections
    }

    /// Those of them that have not reached a backend; at most `joining_max`.
    pub fn joining(&self) -> usize {
        self.joining.len() + self.held.len()
    }

    /// Whether it serves: a backend is up, and nobody has told it to stop.
    pub fn serves(&self) -> bool {
        self.phase == Phase::Serving && self.backends.values().any(Backend::is_up)
    }

    /// How each backend is.
    pub fn backends(&self) -> impl Iterator<Item = (BackendId, Status)> {
        self.backends.iter().map(|(id, backend)| (*id, backend.status()))
    }

    fn backend(&mut self, id: BackendId) -> &mut Backend {
        self.backends.get_mut(&id).expect("a backend with connections is not forgotten")
    }

    /// Adds, keeps and removes backends so that they are these.
    fn set(&mut self, now: Time, addresses: Vec<Address>, out: &mut Vec<Output>) {
        for (id, backend) in &mut self.backends {
            let change = match addresses.contains(&backend.address) {
                true => backend.stay(now),
                false => backend.leave(now + self.config.drain),
            };
            announce(*id, backend, change, out);
        }
        for address in addresses {
            if self.backends.values().all(|backend| backend.address != address) {
                self.named += 1;
                let seed = self.seed.child("backend", self.named);
                let backend = Backend::new(&self.config, address, now, seed);
                self.backends.insert(BackendId(self.named), backend);
            }
        }
    }

    /// The backend with the fewest connections that may be given one at this time.
    fn choose(&mut self, now: Time, tried: &Tried) -> Option<BackendId> {
        let open = |(id, backend): &(&BackendId, &Backend)| {
            !tried.at.contains(id) && backend.open_at(&self.config).is_some_and(|at| at <= now)
        };
        let loads = self.backends.iter().filter(open).map(|(id, backend)| (backend.load(), *id));
        let loads: Vec<_> = loads.collect();
        let (least, _) = loads.iter().min()?;
        let best: Vec<_> = loads.iter().filter(|(load, _)| load == least).collect();
        let place = match best.len() {
            1 => 0,
            many => self.ties.below(many as u64) as usize,
        };
        Some(best[place].1)
    }

    /// A connection could not be made: it is tried again, within bounds.
    fn again(&mut self, now: Time, connection: ConnectionId, joining: Joining) -> Option<Why> {
        let Joining { backend, mut tried } = joining;
        tried.times += 1;
        tried.at.push(backend);
        if tried.times >= self.config.tries_max {
            self.connections -= 1;
            return Some(Why::Unreachable);
        }
        self.held.insert(connection, Held { tried, until: now + self.config.hold });
        None
    }

    /// A backend was found healthy: those who were tried there in vain may go there again.
    fn forgive(&mut self, backend: BackendId) {
        for held in self.held.values_mut() {
            held.tried.at.retain(|tried| *tried != backend);
        }
    }

    /// Sends those who are held to backends that can take them, and refuses who waited too long.
    fn dispatch(&mut self, now: Time, out: &mut Vec<Output>) {
        let hung_up = self.phase == Phase::Stopping { until: None };
        let waiting: Vec<ConnectionId> = self.held.keys().copied().collect();
        for connection in waiting {
            let Held { tried, until } = self.held[&connection].clone();
            let why = match self.choose(now, &tried) {
                _ if hung_up => Why::Stopping,
                Some(id) => {
                    let backend = self.backends.get_mut(&id).expect("one of them was chosen");
                    backend.take(now);
                    let address = backend.address.clone();
                    out.push(Output::Connect { connection, backend: id, address });
                    self.held.remove(&connection);
                    self.joining.insert(connection, Joining { backend: id, tried });
                    continue;
                }
                None if until <= now => Why::NoBackend,
                None => continue,
            };
            self.held.remove(&connection);
            self.connections -= 1;
            out.push(Output::Refuse { connection, why });
        }
    }

    /// Hangs up what was given time to end and has not; forgets backends that are gone.
    fn part(&mut self, now: Time, out: &mut Vec<Output>) {
        for (id, backend) in &mut self.backends {
            if backend.is_due_to_leave(now) {
                out.push(Output::HangUp { backend: *id });
            }
        }
        self.backends.retain(|id, backend| {
            let stays = !backend.has_left();
            if !stays {
                announce(*id, backend, Some(News::Gone), out);
            }
            stays
        });
        if matches!(self.phase, Phase::Stopping { until: Some(until) } if until <= now) {
            self.hang_up(out);
        }
    }

    fn hang_up(&mut self, out: &mut Vec<Output>) {
        self.phase = Phase::Stopping { until: None };
        out.extend(self.backends.keys().map(|id| Output::HangUp { backend: *id }));
    }

    /// From when on the next connection may be let in, if time is all that is waited for.
    fn room_at(&self) -> Option<Time> {
        let room = self.phase == Phase::Serving
            && self.permit == Permit::None
            && self.connections < self.config.connections_max
            && self.joining.len() + self.held.len() < self.config.joining_max;
        let open = self.backends.values().filter_map(|backend| backend.open_at(&self.config));
        open.min().filter(|_| room).map(|at| at.max(self.pace.ready_at()))
    }

    /// Gives the next permit, or takes one back that nobody could serve.
    fn permit(&mut self, now: Time, out: &mut Vec<Output>) {
        let open = |backend: &Backend| backend.open_at(&self.config).is_some();
        if self.permit == Permit::Out && !self.backends.values().any(open) {
            self.permit = Permit::Withdrawing;
            out.push(Output::Withdraw);
        }
        if self.room_at().is_some_and(|at| at <= now) && self.pace.take(now) {
            self.permit = Permit::Out;
            out.push(Output::Accept);
        }
    }

    /// Does whatever follows from how things are.
    fn settle(&mut self, now: Time, out: &mut Vec<Output>) {
        self.part(now, out);
        self.dispatch(now, out);
        self.permit(now, out);
        let stopping = matches!(self.phase, Phase::Stopping { .. });
        if stopping && self.connections == 0 && self.permit == Permit::None {
            self.phase = Phase::Stopped;
            out.push(Output::Exit);
        }
    }
}

fn announce(id: BackendId, backend: &Backend, change: Change, out: &mut Vec<Output>) {
    let address = backend.address.clone();
    out.extend(change.map(|news| Output::Announce { backend: id, address, news }));
}
