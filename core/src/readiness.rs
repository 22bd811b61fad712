//! Whether this controller is ready for agents, and what it still waits for.
//!
//! Seed 000: "enable the controller to start and get all the workers stable before opening the
//! flood-gates to the external agents". So there are named conditions, each met or not, and the
//! agents' door opens once all are met:
//!
//! * `bind-address`: where the address of the controller door is read from a file, there is one; see
//!   [`bind`](crate::bind). Once met it stays so;
//! * `self-connected`: it has reached itself, by the way that controllers use;
//! * `led`: a leader is known and can be reached, or this controller leads;
//! * `caught-up`: its copy of the table has applied what the leader had committed when that was
//!   first heard of in this life. Afterwards it is lost only by falling far behind, and then met
//!   again once all is applied that it lacked;
//! * `worker NAME`: each worker that the embedding program has named is stable.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::Machine;
use crate::ids::{Name, NodeId};
use crate::time::{Time, Timeout};

/// Limits of being ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Log entries that the copy of the table may be behind the leader, once it has caught up. Ten
    /// thousand entries are a few seconds of the busiest log that was measured.
    pub behind_max: u64,
    /// Whether the address of the controller door is waited for.
    pub address_awaited: bool,
}

impl Default for Config {
    fn default() -> Config {
        Config { behind_max: 10_000, address_awaited: false }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// This controller is connected to itself, or no more.
    Reached { itself: bool },
    /// The link to another controller, or to itself, is up or down.
    Linked { to: NodeId, up: bool },
    /// Who leads, as far as known. Whoever leads has applied all before its term.
    Led { leader: Option<NodeId> },
    /// The leader has committed up to this log entry.
    Committing { index: u64 },
    /// This controller's copy of the table has applied up to this log entry.
    Applied { index: u64 },
    /// A worker that the door waits for is stable, or not. The first mention names it.
    Working { worker: Name, stable: bool },
    /// There is an address for the controller door.
    Addressed,
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Input::Reached { itself: true } => f.write_str("reached itself"),
            Input::Reached { itself: false } => f.write_str("lost itself"),
            Input::Linked { to, up: true } => write!(f, "link to {to} up"),
            Input::Linked { to, up: false } => write!(f, "link to {to} down"),
            Input::Led { leader: Some(leader) } => write!(f, "led by {leader}"),
            Input::Led { leader: None } => f.write_str("led by nobody"),
            Input::Committing { index } => write!(f, "committed up to {index}"),
            Input::Applied { index } => write!(f, "applied up to {index}"),
            Input::Working { worker, stable: true } => write!(f, "worker {worker} stable"),
            Input::Working { worker, stable: false } => write!(f, "worker {worker} not stable"),
            Input::Addressed => f.write_str("addressed"),
        }
    }
}

/// What must be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Tell the operator that the condition is met, or no more.
    Condition { name: Name, met: bool },
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Output::Condition { name, met: true } => write!(f, "say that {name} is met"),
            Output::Condition { name, met: false } => write!(f, "say that {name} is not met"),
        }
    }
}

/// One thing that the agents' door waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// What it is called: `bind-address`, `self-connected`, `led`, `caught-up`, or `worker` and the
    /// worker's name.
    pub name: String,
    /// Whether it is met.
    pub met: bool,
    /// Since when it is as it is, by this controller's own clock.
    pub since: Time,
}

/// Whether something is met, and since when that is so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Mark {
    met: bool,
    since: Time,
}

impl Mark {
    /// Whether this changed anything.
    fn set(&mut self, now: Time, met: bool) -> bool {
        let changed = self.met != met;
        if changed {
            *self = Mark { met, since: now };
        }
        changed
    }
}

const BIND_ADDRESS: &str = "bind-address";
const SELF_CONNECTED: &str = "self-connected";
const LED: &str = "led";
const CAUGHT_UP: &str = "caught-up";

/// The machine.
#[derive(Clone, Debug)]
pub struct Readiness {
    config: Config,
    node: NodeId,
    itself: bool,
    /// Whether the link to a controller is up. Of which nothing was said is not held against it: if
    /// a leader was heard of, there is a way.
    links: BTreeMap<NodeId, bool>,
    leader: Option<NodeId>,
    /// What must be applied before the copy has caught up; none until a leader was heard of.
    target: Option<u64>,
    committed: u64,
    applied: u64,
    /// None where no address is waited for.
    address: Option<Mark>,
    self_connected: Mark,
    led: Mark,
    caught_up: Mark,
    workers: BTreeMap<Name, Mark>,
}

impl Readiness {
    /// Nothing is met, and there are no workers.
    pub fn new(config: Config, node: NodeId) -> Readiness {
        Readiness {
            address: config.address_awaited.then(Mark::default),
            config,
            node,
            itself: false,
            links: BTreeMap::new(),
            leader: None,
            target: None,
            committed: 0,
            applied: 0,
            self_connected: Mark::default(),
            led: Mark::default(),
            caught_up: Mark::default(),
            workers: BTreeMap::new(),
        }
    }

    /// Whether every condition is met.
    pub fn ready(&self) -> bool {
        self.self_connected.met
            && self.led.met
            && self.caught_up.met
            && self.address.is_none_or(|address| address.met)
            && self.workers.values().all(|mark| mark.met)
    }

    /// Whether no link to that controller is known to be down.
    pub fn reachable(&self, node: NodeId) -> bool {
        self.links.get(&node).is_none_or(|up| *up)
    }

    /// The controllers that a link is known to be up to, this one perhaps among them.
    pub fn linked(&self) -> impl Iterator<Item = NodeId> {
        self.links.iter().filter_map(|(node, up)| up.then_some(*node))
    }

    /// Every condition, that of the address first and those of the workers last.
    pub fn conditions(&self) -> Vec<Condition> {
        let own =
            [(SELF_CONNECTED, self.self_connected), (LED, self.led), (CAUGHT_UP, self.caught_up)];
        let own = self.address.map(|mark| (BIND_ADDRESS, mark)).into_iter().chain(own);
        let own = own.map(|(name, mark)| (String::from(name), mark));
        let workers = self.workers.iter().map(|(name, mark)| (format!("worker {name}"), *mark));
        let all = own.chain(workers);
        all.map(|(name, Mark { met, since })| Condition { name, met, since }).collect()
    }

    fn is_caught_up(&self) -> bool {
        let behind = self.committed.saturating_sub(self.applied);
        self.target.is_some_and(|target| target <= self.applied) && behind <= self.config.behind_max
    }

    /// Works out every condition anew, and tells what has changed.
    fn compare(&mut self, now: Time, out: &mut Vec<Output>) {
        let itself = self.itself && self.reachable(self.node);
        let led = self.leader.is_some_and(|leader| leader == self.node || self.reachable(leader));
        let caught_up = self.is_caught_up();
        for (name, mark, met) in [
            (SELF_CONNECTED, &mut self.self_connected, itself),
            (LED, &mut self.led, led),
            (CAUGHT_UP, &mut self.caught_up, caught_up),
        ] {
            if mark.set(now, met) {
                out.push(Output::Condition { name: Name::new(name), met });
            }
        }
    }
}

impl Machine for Readiness {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Time, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Reached { itself } => self.itself = itself,
            Input::Linked { to, up } => {
                self.links.insert(to, up);
            }
            Input::Led { leader } => {
                self.leader = leader;
                if leader == Some(self.node) {
                    self.target = Some(self.applied);
                }
            }
            Input::Committing { index } => {
                self.committed = self.committed.max(index);
                self.target.get_or_insert(index);
                // Whoever fell far behind catches up with all that it then lacked.
                if self.caught_up.met && !self.is_caught_up() {
                    self.target = Some(index);
                }
            }
            Input::Applied { index } => self.applied = self.applied.max(index),
            Input::Addressed => {
                if let Some(address) = &mut self.address
                    && address.set(now, true)
                {
                    let name = Name::new(BIND_ADDRESS);
                    out.push(Output::Condition { name, met: true });
                }
            }
            Input::Working { worker, stable } => {
                let known = self.workers.contains_key(&worker);
                let mark =
                    self.workers.entry(worker.clone()).or_insert(Mark { met: false, since: now });
                if mark.set(now, stable) || !known {
                    let name = Name::new(&format!("worker {worker}"));
                    out.push(Output::Condition { name, met: stable });
                }
            }
        }
        self.compare(now, out);
    }

    fn poll_timeout(&self) -> Option<Timeout> {
        None
    }

    fn handle_timeout(&mut self, _: Time, _: &mut Vec<Output>) {}
}
