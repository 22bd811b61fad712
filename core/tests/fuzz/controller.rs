//! A whole controller: doors, connections, asks, leadership and a real table behind it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use portcullis_core::addresses::Scope;
use portcullis_core::balancer::{Load, Policy};
use portcullis_core::bind::{self, Candidate, Lack};
use portcullis_core::controller::{Config, Controller, Input, Output, Request};
use portcullis_core::lease::{Entry, Leases};
use portcullis_core::queue::Answer;
use portcullis_core::sessions::{Party, Why};
use portcullis_core::{AskId, BatchId, ConnectionId, Door, NodeId, Rng, Seed, Time};

use crate::world::{Ledger, World, chance, draw_key, draw_of, draw_operation, draw_patience, run};

const SELF: NodeId = NodeId(1);

struct Cluster {
    config: Config,
    binding: BTreeSet<Door>,
    /// Which doors listen, and where the controller door is to.
    open: BTreeSet<Door>,
    host: Option<String>,
    permits: BTreeMap<Door, u64>,
    connections: BTreeMap<ConnectionId, (Door, Option<Party>)>,
    /// Who proved who it is, and waits to be let in.
    proved: BTreeMap<ConnectionId, Party>,
    serial: u64,
    asks: Ledger<AskId>,
    leader: Option<NodeId>,
    /// Since when it is connected to itself and knows a leader.
    stable_since: Option<Time>,
    /// Whether it has caught up: it led, or applied what it first heard of.
    caught_up: bool,
    target: Option<u64>,
    told_applied: u64,
    api_failed: bool,
    /// Whether it was told to stop, and whether it said that it is done.
    /// Agents that were told to go to another controller.
    sent_away: BTreeSet<ConnectionId>,
    stopping: bool,
    stopped: bool,
    batches: BTreeMap<BatchId, Entry>,
    forwarded: BTreeSet<AskId>,
    looks: BTreeMap<AskId, portcullis_core::lease::Key>,
    table: Leases,
    index: u64,
    /// What the copy has yet to apply is told in the log's order.
    applied: Vec<Input>,
}

impl World for Cluster {
    type Machine = Controller;

    fn new(rng: &mut Rng) -> (Cluster, Controller) {
        let mut config = Config::new(SELF);
        config.listener.connections_max = rng.below(5) as usize + 1;
        config.listener.controller_door = chance(80, rng);
        config.bind = chance(50, rng).then(bind::Config::default);
        config.queue.waiting_max = rng.below(4) as usize + 1;
        config.queue.flights_max = rng.below(2) as usize + 1;
        config.queue.batch_max = rng.below(3) as usize + 1;
        config.queue.renewals_ahead_max = rng.below(4) as u32;
        config.forward.budget.reserve = rng.below(4) as u32;
        config.forward.asks_max = rng.below(4) as usize + 1;
        config.waits.waits_max = rng.below(4) as usize + 1;
        config.balancer.policy = Policy::Redirect;
        config.balancer.surplus_least = 1;
        config.balancer.move_again_after = Duration::from_secs(rng.below(100));
        config.asks_per_connection_max = rng.below(4) as usize + 1;
        let world = Cluster {
            config: config.clone(),
            binding: BTreeSet::new(),
            open: BTreeSet::new(),
            host: None,
            permits: BTreeMap::new(),
            connections: BTreeMap::new(),
            proved: BTreeMap::new(),
            serial: 0,
            asks: Ledger::new(),
            leader: None,
            stable_since: None,
            caught_up: false,
            target: None,
            told_applied: 0,
            api_failed: false,
            sent_away: BTreeSet::new(),
            stopping: false,
            stopped: false,
            batches: BTreeMap::new(),
            forwarded: BTreeSet::new(),
            looks: BTreeMap::new(),
            table: Leases::default(),
            index: 0,
            applied: Vec::new(),
        };
        let seed = Seed(rng.draw());
        (world, Controller::new(config, seed))
    }

    fn draw(&mut self, now: Time, rng: &mut Rng) -> Option<Input> {
        let input = match rng.below(26) {
            24 => Some(Input::Offered { offer: offer(rng) }),
            25 => None,
            20 => {
                let load = Load { agents: rng.below(4), room: rng.below(3) };
                Some(Input::Heard { from: NodeId(rng.below(2) + 2), load })
            }
            22 => {
                self.target.get_or_insert(self.index);
                Some(Input::Committing { index: self.index })
            }
            23 if chance(5, rng) => {
                self.stopping = true;
                Some(Input::Stopping)
            }
            21 => Some(Input::Memory { used: rng.below(100), limit: 100 }),
            0 => Some(Input::Started),
            1 => self.bind(rng),
            2..4 => self.enter(rng),
            4..6 => self.log_in(rng),
            6 => self.leave(rng),
            7..12 => self.ask(rng),
            12 => self.asks.draw(rng).map(|ask| Input::Cancelled { ask }),
            13 => self.forwarded(rng),
            14 => self.look(rng),
            15 => self.lead(rng),
            16..18 => self.land(rng),
            _ => (!self.applied.is_empty()).then(|| self.applied.remove(0)),
        };
        if let Some(Input::Applied { index, .. }) = input {
            self.told_applied = index;
        }
        self.note_stability(now);
        input
    }

    fn see(&mut self, now: Time, orders: Vec<Output>) {
        for order in orders {
            match order {
                Output::Open { door } => {
                    assert!(self.binding.insert(door), "{door} is being opened already");
                    let addressed = self.config.bind.is_none() || self.host.is_some();
                    assert!(door == Door::Api || addressed, "{door} opens nowhere");
                    let waits = self.config.listener.controller_door && !self.api_failed;
                    if door == Door::Api && waits {
                        let since = self.stable_since.expect("the api door waits for stability");
                        let delay = self.config.listener.open_delay;
                        assert!(now.since(since) >= delay, "the api door opens early");
                    }
                }
                Output::Accept { door } => {
                    assert_eq!(self.permits.insert(door, 1).unwrap_or(0), 0, "two permits");
                }
                Output::Shut { door } => {
                    let delay = self.config.listener.open_delay;
                    let settled = self.stable_since.is_some_and(|since| since + delay <= now);
                    let lost = !settled && door == Door::Api;
                    assert!(self.stopping || lost, "nobody asked to shut {door}");
                    assert!(self.open.remove(&door), "{door} is not open");
                    self.permits.insert(door, 0);
                }
                Output::Hold { .. } | Output::Admit { .. } => panic!("nobody is held here"),
                Output::Bind { host } => {
                    assert!(self.config.bind.is_some(), "nobody asked where to be bound");
                    assert_ne!(self.host.as_ref(), Some(&host), "bound to what it is bound to");
                    self.host = Some(host);
                }
                Output::Condition { .. } | Output::Complain { .. } => {}
                Output::Stopped => {
                    assert!(self.stopping && !self.stopped, "it stops once, when it is told to");
                    self.stopped = true;
                }
                Output::Hangup { connection, why } => {
                    assert!(self.connections.contains_key(&connection), "cut twice");
                    if why == Why::Surplus {
                        self.sent_away.insert(connection);
                    }
                }
                Output::Propose { batch, entry } => {
                    assert_eq!(self.leader, Some(SELF), "a follower proposed");
                    assert!(self.batches.insert(batch, entry).is_none());
                }
                Output::Send { ask, to, .. } => {
                    assert_eq!(self.leader, Some(to), "handed to one that does not lead");
                    assert!(self.forwarded.insert(ask), "{ask} was handed on twice");
                }
                Output::Recall { ask, .. } => {
                    assert!(self.forwarded.remove(&ask), "{ask} is not under way");
                }
                Output::Look { ask, key } => {
                    self.looks.insert(ask, key);
                }
                Output::Answer { ask, .. } => self.asks.answer(ask),
                Output::Welcome { connection, .. } => {
                    let party = self.proved.remove(&connection);
                    assert!(party.is_some(), "{connection} did not ask to be let in");
                    let session = self.connections.get_mut(&connection);
                    session.expect("whoever is let in is there").1 = party;
                    self.note_stability(now);
                }
                Output::Refuse { connection } => {
                    let party = self.proved.remove(&connection);
                    let agent = party == Some(Party::Agent);
                    assert!(agent || self.stopping, "only agents are refused");
                }
                Output::Redirect { connection, to } => {
                    let inside = self.connections.get(&connection).and_then(|(_, party)| *party);
                    let party = self.proved.remove(&connection).or(inside);
                    assert_eq!(party, Some(Party::Agent), "only agents are sent elsewhere");
                    assert_ne!(to, SELF, "an agent is sent to where it is");
                    self.sent_away.insert(connection);
                }
                Output::Tell { load } => assert!(load.room <= 5, "more room than there may be"),
            }
        }
    }

    fn check(&self, now: Time, machine: &Controller) {
        let status = machine.status(now);
        assert_eq!(status.connections, self.connections.len());
        let stays = |(connection, (_, party)): &(&ConnectionId, &(Door, Option<Party>))| {
            *party == Some(Party::Agent) && !self.sent_away.contains(connection)
        };
        let agents = self.connections.iter().filter(stays).count();
        // Whoever stops counts nobody off: all are sent away.
        let counted = self.stopping || status.agents == agents as u64;
        assert!(counted, "all agents that are in, and nobody else");
        let api = self.connections.values().filter(|(door, _)| *door == Door::Api).count();
        assert!(api <= self.config.listener.connections_max, "too many are inside");
        assert!(status.waiting <= self.config.queue.waiting_max, "too many wait");
        assert!(status.in_flight <= self.config.queue.flights_max + 1, "too many fly");
        let handed = status.forwarded + status.resting;
        assert!(handed <= self.config.forward.asks_max, "too many are handed on");
        let (share, reserve) =
            (self.config.forward.budget.share, self.config.forward.budget.reserve);
        let most = u64::from(reserve) + self.serial * u64::from(share) / 100;
        assert!(status.retries <= most, "{} retries outrun the budget", status.retries);
        assert!(status.parked <= self.config.waits.waits_max, "too many are parked");
        assert_eq!(status.leader, self.leader);
        assert_eq!(status.bound, self.host);
        let addressed = |name: &str| name != "bind-address" || self.host.is_some();
        assert!(status.conditions.iter().all(|one| !one.met || addressed(&one.name)));
        for ask in self.asks.open() {
            let party = self.connections.get(&ask.connection);
            assert!(party.is_some(), "{ask} outlived its connection");
        }
        for connection in self.agents() {
            let open = self.asks.open().into_iter().filter(|ask| ask.connection == connection);
            assert!(open.count() <= self.config.asks_per_connection_max, "one asks too much");
        }
    }

    fn closing(&mut self) -> Vec<Input> {
        let gone = |connection| Input::Disconnected { connection };
        let lost = |batch| Input::BatchLost { batch };
        let batches = std::mem::take(&mut self.batches).into_keys().map(lost);
        self.leader = None;
        self.stable_since = None;
        std::iter::once(Input::Followed { leader: None })
            .chain(batches)
            .chain(std::mem::take(&mut self.connections).into_keys().map(gone))
            .collect()
    }

    fn settled(&self, machine: &Controller) {
        assert!(self.proved.is_empty(), "never answered: {:?}", self.proved);
        assert_eq!(self.stopping, self.stopped, "it never stops");
        assert!(self.asks.is_settled(), "never answered: {:?}", self.asks.open());
        let status = machine.status(Time(0));
        let left = [status.connections, status.waiting, status.in_flight, status.forwarded];
        assert_eq!(left, [0; 4], "something is left");
        assert_eq!([status.parked, status.resting, status.waiting_bytes], [0; 3]);
    }
}

/// What the file that says where to be bound is found to say.
fn offer(rng: &mut Rng) -> bind::Input {
    let candidate = |host: &str| Candidate { host: host.into(), scope: Scope::of(host) };
    match rng.below(4) {
        0 => bind::Input::NotRead { lack: Lack::NoFile },
        1 => bind::Input::Read { candidates: Vec::new() },
        2 => bind::Input::Read { candidates: vec![candidate("10.0.0.1")] },
        _ => bind::Input::Read { candidates: vec![candidate("10.0.0.2")] },
    }
}

impl Cluster {
    fn agents(&self) -> Vec<ConnectionId> {
        let others = |(connection, (_, party)): (&ConnectionId, &(Door, Option<Party>))| {
            (!matches!(party, Some(Party::Controller(_)))).then_some(*connection)
        };
        self.connections.iter().filter_map(others).collect()
    }

    /// A connection to itself is never cut here, so it is stable while one is there.
    fn note_stability(&mut self, now: Time) {
        let is_self = |(_, party): &(Door, Option<Party>)| *party == Some(Party::Controller(SELF));
        let applied = self.target.is_some_and(|target| target <= self.told_applied);
        self.caught_up |= applied || self.leader == Some(SELF);
        let led = self.leader.is_some() && self.caught_up;
        let stable = led && self.connections.values().any(is_self);
        self.stable_since = if stable { self.stable_since.or(Some(now)) } else { None };
    }

    fn bind(&mut self, rng: &mut Rng) -> Option<Input> {
        let door = draw_of(&self.binding, rng)?;
        self.binding.remove(&door);
        if chance(70, rng) {
            // One that has moved was not given the permit of its former self.
            if !self.open.insert(door) {
                self.permits.insert(door, 0);
            }
            return Some(Input::Opened { door });
        }
        self.api_failed |= door == Door::Api;
        Some(Input::NotOpened { door })
    }

    fn enter(&mut self, rng: &mut Rng) -> Option<Input> {
        let open = |(door, permits): (&Door, &u64)| (*permits > 0).then_some(*door);
        let doors = self.permits.iter().filter_map(open).collect();
        let door = draw_of(&doors, rng)?;
        self.permits.insert(door, 0);
        self.serial += 1;
        let connection = ConnectionId(self.serial);
        self.connections.insert(connection, (door, None));
        Some(Input::Connected { connection, door })
    }

    fn log_in(&mut self, rng: &mut Rng) -> Option<Input> {
        let connection = self.any_connection(rng)?;
        let parties = [Party::Agent, Party::User, Party::Controller(NodeId(rng.below(3) + 1))];
        let drawn = parties[rng.below(3) as usize];
        let (_, party) = self.connections[&connection];
        // Once it is let in, another login is ignored.
        if party.is_none() {
            self.proved.insert(connection, drawn);
        }
        Some(Input::LoggedIn { connection, party: drawn })
    }

    fn leave(&mut self, rng: &mut Rng) -> Option<Input> {
        let connection = self.any_connection(rng)?;
        let (_, party) = self.connections[&connection];
        if party == Some(Party::Controller(SELF)) {
            return Some(Input::Pinged { connection });
        }
        self.connections.remove(&connection);
        self.proved.remove(&connection);
        Some(Input::Disconnected { connection })
    }

    fn any_connection(&self, rng: &mut Rng) -> Option<ConnectionId> {
        draw_of(&self.connections.keys().copied().collect(), rng)
    }

    fn ask(&mut self, rng: &mut Rng) -> Option<Input> {
        let connection = self.any_connection(rng)?;
        self.serial += 1;
        let ask = AskId { connection, serial: self.serial };
        self.asks.owe(ask);
        let request = match rng.below(4) {
            0 => Request::Wait(draw_key(rng)),
            _ => Request::Apply(draw_operation(rng)),
        };
        let renews = chance(30, rng);
        Some(Input::Asked { ask, request, renews, patience: draw_patience(rng) })
    }

    fn forwarded(&mut self, rng: &mut Rng) -> Option<Input> {
        let ask = draw_of(&self.forwarded, rng)?;
        self.forwarded.remove(&ask);
        Some(match rng.below(3) {
            0 => Input::NotSent { ask },
            1 => Input::Lost { ask },
            _ => Input::Answered { ask, answer: Answer::Expired },
        })
    }

    fn look(&mut self, rng: &mut Rng) -> Option<Input> {
        let ask = draw_of(&self.looks.keys().copied().collect(), rng)?;
        let key = self.looks.remove(&ask)?;
        Some(Input::Looked { ask, held: self.table.get(&key).is_some() })
    }

    fn lead(&mut self, rng: &mut Rng) -> Option<Input> {
        self.leader = [None, Some(SELF), Some(SELF), Some(NodeId(2))][rng.below(4) as usize];
        Some(match self.leader {
            Some(SELF) => Input::Led { global: self.table.now() },
            leader => Input::Followed { leader },
        })
    }

    fn land(&mut self, rng: &mut Rng) -> Option<Input> {
        let batch = draw_of(&self.batches.keys().copied().collect(), rng)?;
        let entry = self.batches.remove(&batch)?;
        if chance(20, rng) {
            return Some(Input::NotProposed { batch, leader: None });
        }
        let done = self.table.apply(&entry);
        self.index += 1;
        self.applied.push(Input::Applied { index: self.index, released: done.released });
        if chance(10, rng) {
            return Some(Input::BatchLost { batch });
        }
        Some(Input::Committed { batch, index: self.index, outcomes: done.outcomes })
    }
}

#[test]
fn controller() {
    let patience = Duration::from_secs(30);
    assert_eq!(Config::new(SELF).queue.patience_max, patience, "an hour settles everything");
    run::<Cluster>("controller");
}
