//! Balancer: alone under drawn counts, and three together that hear each other late or not at all.

use std::collections::BTreeMap;
use std::time::Duration;

use portcullis_core::balancer::{Balancer, Config, Input, Load, Output, Policy};
use portcullis_core::{ConnectionId, Machine, NodeId, Rng, Seed, Time};

use crate::world::{World, chance, run};

const SELF: NodeId = NodeId(1);

struct Scales {
    config: Config,
    /// Who was let in, and when.
    agents: BTreeMap<ConnectionId, Time>,
    /// Who was sent elsewhere and is still here, and since when.
    leaving: BTreeMap<ConnectionId, Time>,
    asking: Option<ConnectionId>,
    peers: BTreeMap<NodeId, (Load, Time)>,
    relief: bool,
    moved_at: Option<Time>,
    told_at: Option<Time>,
    count: u64,
}

impl World for Scales {
    type Machine = Balancer;

    fn new(rng: &mut Rng) -> (Scales, Balancer) {
        let policies =
            [Policy::None, Policy::RandomRefusal, Policy::Shed, Policy::Redirect, Policy::Order];
        let config = Config {
            policy: policies[rng.below(5) as usize],
            surplus_least: rng.below(3) + 1,
            moves_rate: Duration::from_millis(rng.below(900) + 1),
            move_again_after: Duration::from_secs(rng.below(60)),
            ..Config::default()
        };
        let machine = Balancer::new(config.clone(), SELF, Seed(rng.draw()));
        let world = Scales {
            config,
            agents: BTreeMap::new(),
            leaving: BTreeMap::new(),
            asking: None,
            peers: BTreeMap::new(),
            relief: false,
            moved_at: None,
            told_at: None,
            count: 0,
        };
        (world, machine)
    }

    fn draw(&mut self, now: Time, rng: &mut Rng) -> Option<Input> {
        match rng.below(12) {
            0 => {
                self.told_at.get_or_insert(now);
                Some(Input::Started)
            }
            1..5 => {
                self.count += 1;
                self.asking = Some(ConnectionId(self.count));
                Some(Input::LoggedIn { connection: ConnectionId(self.count) })
            }
            5..7 => {
                let connection = ConnectionId(rng.below(self.count + 1));
                self.agents.remove(&connection);
                self.leaving.remove(&connection);
                Some(Input::Disconnected { connection })
            }
            7 => {
                let used = rng.below(100);
                self.relief = used >= if self.relief { 90 } else { 95 };
                Some(Input::Memory { used, limit: 100 })
            }
            _ => {
                let from = NodeId(rng.below(3) + 2);
                let load = Load { agents: rng.below(12), room: rng.below(4) };
                self.peers.insert(from, (load, now));
                Some(Input::Heard { from, load })
            }
        }
    }

    fn see(&mut self, now: Time, orders: Vec<Output>) {
        for order in orders {
            match order {
                Output::Welcome { connection, first } => {
                    assert_eq!(self.asking.take(), Some(connection), "nobody asked");
                    assert!(first.is_none() || self.config.policy == Policy::Order);
                    self.agents.insert(connection, now);
                }
                Output::Refuse { connection } => {
                    assert_eq!(self.config.policy, Policy::RandomRefusal);
                    assert_eq!(self.asking.take(), Some(connection), "nobody asked");
                }
                Output::Redirect { connection, to } => {
                    assert_eq!(self.config.policy, Policy::Redirect);
                    let (load, heard) = self.peers[&to];
                    assert!(now.since(heard) < self.config.stale_after, "{to} is long unheard of");
                    assert!(load.room > 0, "{to} takes nobody");
                    if self.asking == Some(connection) {
                        self.asking = None;
                        self.moved(now);
                    } else {
                        self.leave(now, connection);
                        self.leaving.insert(connection, now);
                    }
                }
                Output::Shed { connection } => match self.leaving.remove(&connection) {
                    Some(since) => assert!(now.since(since) >= self.config.leave_within),
                    None => {
                        let sheds = matches!(self.config.policy, Policy::Shed);
                        assert!(sheds || self.relief, "{connection} is shed for no reason");
                        self.leave(now, connection);
                    }
                },
                Output::Tell { agents } => {
                    assert_eq!(agents, self.agents.len() as u64, "a wrong count is told");
                    self.told_at = Some(now);
                }
            }
        }
        assert_eq!(self.asking, None, "a login without an answer");
    }

    fn check(&self, now: Time, machine: &Balancer) {
        assert_eq!(machine.agents(), self.agents.len() as u64);
        for since in self.leaving.values() {
            assert!(now.since(*since) < self.config.leave_within, "who was sent off is forgotten");
        }
        for (node, (load, heard)) in &self.peers {
            let fresh = now.since(*heard) < self.config.stale_after;
            assert_eq!(machine.heard(*node), fresh.then_some(*load));
        }
        if let Some(told) = self.told_at.filter(|_| self.config.policy.counts()) {
            assert!(now.since(told) < self.config.tell_every, "the others are kept waiting");
        }
    }

    fn closing(&mut self) -> Vec<Input> {
        let gone = |connection| Input::Disconnected { connection };
        let agents = std::mem::take(&mut self.agents).into_keys();
        let leaving = std::mem::take(&mut self.leaving).into_keys();
        let stop = std::iter::once(Input::Stopping);
        self.told_at = None;
        agents.chain(leaving).map(gone).chain(stop).collect()
    }

    fn settled(&self, machine: &Balancer) {
        assert_eq!(machine.agents(), 0);
        assert_eq!(machine.poll_timeout(), None, "something is still waited for");
    }
}

impl Scales {
    fn leave(&mut self, now: Time, connection: ConnectionId) {
        let since = self.agents.remove(&connection).expect("who is moved was let in");
        let stayed = now.since(since);
        assert!(stayed >= self.config.move_again_after, "{connection} is moved after {stayed:?}");
        self.moved(now);
    }

    fn moved(&mut self, now: Time) {
        let pause = self.moved_at.map(|before| now.since(before));
        assert!(pause.is_none_or(|pause| pause >= self.config.moves_rate), "a burst of moves");
        self.moved_at = Some(now);
    }
}

#[test]
fn balancer() {
    run::<Scales>("balancer");
}

/// One agent, wherever it is.
struct Client {
    connection: ConnectionId,
    welcome: bool,
    moved: Option<Time>,
}

/// Three balancers, and agents that go where they are sent, after a while.
struct Three {
    now: Time,
    machines: Vec<Balancer>,
    agents: Vec<Client>,
    /// Who arrives where, and which counts are heard by whom.
    arrivals: Vec<(Time, usize, usize)>,
    counts: Vec<(Time, usize, Input)>,
    /// Percent of counts that are lost, and the most that others are late by.
    lost: u64,
    late: u64,
    connections: u64,
    moves: u64,
    rng: Rng,
}

const STEP: Duration = Duration::from_millis(50);
const CONFIG: Config = Config {
    policy: Policy::Redirect,
    refuse_one_in: 3,
    surplus: 500,
    surplus_percent: 10,
    surplus_least: 5,
    moves_rate: Duration::from_millis(250),
    move_again_after: Duration::from_secs(120),
    tell_every: Duration::from_secs(1),
    stale_after: Duration::from_secs(5),
    leave_within: Duration::from_secs(10),
    arrive_within: Duration::from_secs(15),
    avoid_for: Duration::from_secs(60),
    relief_from: 95,
    relief_until: 90,
};

impl Three {
    fn new(seed: u64, at: [usize; 3]) -> Three {
        let machine = |node| Balancer::new(CONFIG, NodeId(node), Seed(seed));
        let mut three = Three {
            now: Time(0),
            machines: [1, 2, 3].map(machine).to_vec(),
            agents: Vec::new(),
            arrivals: Vec::new(),
            counts: Vec::new(),
            lost: 0,
            late: 100,
            connections: 0,
            moves: 0,
            rng: Seed(seed).child("three", 0).rng(),
        };
        for (node, agents) in at.into_iter().enumerate() {
            three.tell(node, Input::Started);
            for _ in 0..agents {
                let connection = ConnectionId(0);
                three.agents.push(Client { connection, welcome: false, moved: None });
                three.arrive(three.agents.len() - 1, node);
            }
        }
        three
    }

    fn arrive(&mut self, agent: usize, node: usize) {
        self.connections += 1;
        self.agents[agent].connection = ConnectionId(self.connections);
        self.tell(node, Input::LoggedIn { connection: ConnectionId(self.connections) });
    }

    fn tell(&mut self, node: usize, input: Input) {
        let mut out = Vec::new();
        self.machines[node].handle(self.now, input, &mut out);
        self.obey(node, out);
    }

    fn obey(&mut self, node: usize, orders: Vec<Output>) {
        for order in orders {
            match order {
                Output::Welcome { connection, .. } => {
                    let agent = self.agent(connection);
                    self.agents[agent].welcome = true;
                }
                Output::Tell { agents } => self.count(node, agents),
                Output::Redirect { connection, to } => {
                    let after = Duration::from_micros(self.rng.below(2_000_000));
                    let agent = self.agent(connection);
                    if std::mem::take(&mut self.agents[agent].welcome) {
                        self.note_move(agent);
                    }
                    self.tell(node, Input::Disconnected { connection });
                    self.arrivals.push((self.now + after, agent, to.0 as usize - 1));
                }
                Output::Refuse { .. } | Output::Shed { .. } => panic!("nobody is thrown out here"),
            }
        }
    }

    fn agent(&self, connection: ConnectionId) -> usize {
        let agent = self.agents.iter().position(|agent| agent.connection == connection);
        agent.expect("it is somebody's")
    }

    /// A login that is sent on is none: only who was inside is moved.
    fn note_move(&mut self, agent: usize) {
        let now = self.now;
        let moved = &mut self.agents[agent].moved;
        let pause = moved.map(|before| now.since(before));
        let limit = CONFIG.move_again_after;
        assert!(pause.is_none_or(|pause| pause >= limit), "agent {agent} after {pause:?}");
        *moved = Some(now);
        self.moves += 1;
    }

    fn count(&mut self, node: usize, agents: u64) {
        for other in (0..3).filter(|other| *other != node) {
            if chance(self.lost, &mut self.rng) {
                continue;
            }
            let late = Duration::from_millis(self.rng.below(self.late + 1));
            let input = Input::Heard {
                from: NodeId(node as u64 + 1),
                load: Load { agents, room: 1_000_000 },
            };
            self.counts.push((self.now + late, other, input));
        }
    }

    fn run(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        while self.now < end {
            self.now = self.now + STEP;
            let now = self.now;
            let mut due = Vec::new();
            self.counts.retain(|(at, node, input)| {
                let later = *at > now;
                if !later {
                    due.push((*node, *input));
                }
                later
            });
            due.into_iter().for_each(|(node, input)| self.tell(node, input));
            let mut due = Vec::new();
            self.arrivals.retain(|(at, agent, node)| {
                let later = *at > now;
                if !later {
                    due.push((*agent, *node));
                }
                later
            });
            due.into_iter().for_each(|(agent, node)| self.arrive(agent, node));
            for node in 0..3 {
                while self.machines[node].poll_timeout().is_some_and(|due| due.at <= now) {
                    let mut out = Vec::new();
                    self.machines[node].handle_timeout(now, &mut out);
                    self.obey(node, out);
                }
            }
        }
    }

    fn spread(&self) -> Vec<u64> {
        self.machines.iter().map(Balancer::agents).collect()
    }

    fn even(&self) -> bool {
        let share = self.agents.len() as u64 / 3;
        let most = (share / 10).max(CONFIG.surplus_least);
        self.spread().iter().all(|agents| agents.abs_diff(share) <= most)
    }
}

#[test]
fn the_surplus_goes_to_whoever_has_the_fewest() {
    crate::mistakes::choose();
    let config = Config { policy: Policy::Redirect, ..Config::default() };
    let (mut machine, mut orders) = (Balancer::new(config, SELF, Seed(1)), Vec::new());
    for number in 1..=100 {
        let connection = ConnectionId(number);
        machine.handle(Time(0), Input::LoggedIn { connection }, &mut orders);
    }
    for (from, agents) in [(NodeId(2), 60), (NodeId(3), 10)] {
        let load = Load { agents, room: 1_000 };
        machine.handle(Time(0), Input::Heard { from, load }, &mut orders);
    }
    let connection = ConnectionId(101);
    machine.handle(Time(0), Input::LoggedIn { connection }, &mut orders);
    assert_eq!(orders.last(), Some(&Output::Redirect { connection, to: NodeId(3) }));
}

#[test]
fn three_become_even_however_they_start() {
    for seed in 0..20 {
        let mut rng = Seed(seed).child("start", 0).rng();
        let at = [(); 3].map(|()| rng.below(300) as usize);
        let mut three = Three::new(seed, at);
        // Who has just come stays for a while; then no more than a hundred and fifty have to go.
        three.run(120 + 150);
        assert!(three.even(), "seed {seed}: {at:?} ended at {:?}", three.spread());
        let moves = three.moves;
        three.run(600);
        assert_eq!(three.moves, moves, "seed {seed}: the even are moved about");
    }
}

#[test]
fn three_that_disagree_throw_nobody_to_and_fro() {
    for seed in 0..20 {
        let mut three = Three::new(seed, [300, 0, 60]);
        three.lost = 70;
        three.late = 4_000;
        // Each move is checked against the last one of the same agent.
        three.run(900);
        assert!(three.even(), "seed {seed}: {:?}", three.spread());
        assert!(three.moves <= 400, "seed {seed}: {} moves for 240", three.moves);
    }
}
