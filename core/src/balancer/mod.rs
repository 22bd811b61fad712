//! How many agents each controller has, and which of them go elsewhere.
//!
//! Seed 001: clients stay where they are until something restarts, so a controller that was down
//! comes back to no connections, and the others keep more than they can bear. So controllers tell
//! each other their counts, and one that has too many lets some of its agents go:
//!
//! * An even share is the average over this controller and those that would take somebody. Once it
//!   is above its share by a surplus, or one of them below by as much, a controller sheds until it
//!   is back at its share. That is the hysteresis: as what it gives is its own excess, not the gap
//!   to the emptiest, all the givers together give no more than all the takers lack.
//! * While a herd comes in, nothing is done: between two tellings of a count it grows by more than
//!   any difference that could be seen, and each would send its agents on to the next.
//! * Nobody is sent to a controller that has its share, whose count is stale, whose door is shut, or
//!   at which those that were sent before did not arrive.
//! * One agent goes at a time, at a pace that the takers' doors can follow.
//!
//! Agents are never thrown to and fro, **whatever the controllers believe of each other**: one is
//! moved only once it has been logged in here for `move_again_after`. So between two moves of the
//! same agent lies at least that time, even if all counts are wrong.
//!
//! ```text
//!       one is off its share by the surplus
//!   Even ────────────────────────────────▶ Shedding ──┐ a move each `moves_rate`
//!    ▲     at the share, or nobody to compare │ ▲─────┘
//!    └────────────────────────────────────────┘
//! ```

mod words;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::Machine;
use crate::ids::{ConnectionId, NodeId};
use crate::mistake::Mistake;
use crate::seed::{Rng, Seed};
use crate::time::{Time, Timeout};
pub use words::{Config, Input, Load, Output, Policy};

/// Another controller, as long as its count is fresh.
#[derive(Clone, Debug)]
struct Peer {
    load: Load,
    heard: Time,
    trial: Option<Trial>,
}

/// Whether the agents that are sent to a controller arrive there.
#[derive(Clone, Debug)]
struct Trial {
    until: Time,
    /// Its count when the first was sent.
    before: u64,
    sent: u64,
}

/// Agents that need not arrive for a controller to be believed in: others may leave it meanwhile.
const TRIAL_SLACK: u64 = 2;

impl Peer {
    /// How many agents it has, with those that are on their way.
    fn agents(&self) -> u64 {
        let expected = self.trial.as_ref().map_or(0, |trial| trial.before + trial.sent);
        self.load.agents.max(expected)
    }

    /// Whether it would let another one in.
    fn takes(&self) -> bool {
        self.load.room > self.agents() - self.load.agents
    }
}

/// Connections and a time of each, in the order of those times.
#[derive(Clone, Debug, Default)]
struct Row {
    times: BTreeMap<ConnectionId, Time>,
    order: BTreeSet<(Time, ConnectionId)>,
}

impl Row {
    fn insert(&mut self, connection: ConnectionId, at: Time) {
        assert!(self.times.insert(connection, at).is_none(), "it stands in the row already");
        self.order.insert((at, connection));
    }

    fn remove(&mut self, connection: ConnectionId) {
        if let Some(at) = self.times.remove(&connection) {
            self.order.remove(&(at, connection));
        }
    }

    fn first(&self) -> Option<(Time, ConnectionId)> {
        self.order.first().copied()
    }
}

/// Why something falls due; in this order at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Stale,
    Trusted,
    Tried(NodeId),
    Left(ConnectionId),
    Tell,
    Move,
}

/// The machine.
#[derive(Clone, Debug)]
pub struct Balancer {
    config: Config,
    node: NodeId,
    rng: Rng,
    peers: BTreeMap<NodeId, Peer>,
    /// Controllers that agents did not arrive at, and until when they are sent nobody.
    avoided: BTreeMap<NodeId, Time>,
    /// Agents that were let in, and when; those on their way elsewhere are not among them.
    agents: Row,
    /// Agents that were sent elsewhere, and by when they must be gone.
    leaving: Row,
    shedding: bool,
    /// Whether memory is short.
    relief: bool,
    tell_at: Option<Time>,
    /// What the others were told last: as old as what they have told.
    told: Option<u64>,
    /// From when on the next agent may go.
    move_at: Time,
}

impl Balancer {
    /// Nobody is connected, and nothing is known of the others.
    pub fn new(config: Config, node: NodeId, seed: Seed) -> Balancer {
        assert!(config.refuse_one_in > 1, "nobody would ever come in");
        assert!(config.surplus_percent > 0 && config.surplus_least > 0, "all would be too many");
        assert!(!config.moves_rate.is_zero(), "a burst of moves is what this is against");
        assert!(!config.tell_every.is_zero(), "a count would be told without end");
        assert!(config.stale_after > config.tell_every, "every count would be stale");
        assert!(config.relief_until < config.relief_from, "relief would never end");
        let forever = if Mistake::StaleCount.made() { 1_000 } else { 1 };
        let config = Config { stale_after: config.stale_after * forever, ..config };
        Balancer {
            config,
            node,
            rng: seed.child("balancer", node.0).rng(),
            peers: BTreeMap::new(),
            avoided: BTreeMap::new(),
            agents: Row::default(),
            leaving: Row::default(),
            shedding: false,
            relief: false,
            tell_at: None,
            told: None,
            move_at: Time(0),
        }
    }

    /// Agents that were let in and are not on their way elsewhere.
    pub fn agents(&self) -> u64 {
        self.agents.times.len() as u64
    }

    /// Whether this controller has more than its share, and lets agents go.
    pub fn shedding(&self) -> bool {
        self.shedding
    }

    /// How many agents another controller has by its last word; none if that is stale.
    pub fn heard(&self, node: NodeId) -> Option<Load> {
        self.peers.get(&node).map(|peer| peer.load)
    }

    /// The last word of every other controller of which one is fresh.
    pub fn all_heard(&self) -> impl Iterator<Item = (NodeId, Load)> {
        self.peers.iter().map(|(node, peer)| (*node, peer.load))
    }

    /// Those that would take somebody.
    fn takers(&self) -> impl Iterator<Item = (NodeId, &Peer)> {
        let takes =
            |(node, peer): &(NodeId, &Peer)| peer.takes() && !self.avoided.contains_key(node);
        self.peers.iter().map(|(node, peer)| (*node, peer)).filter(takes)
    }

    /// The even share, rounded up; none if there is nobody to share with.
    fn share(&self) -> Option<u64> {
        let (count, sum) =
            self.takers().fold((0, 0), |(count, sum), (_, peer)| (count + 1, sum + peer.agents()));
        (count > 0).then(|| (sum + self.agents()).div_ceil(count + 1))
    }

    /// Whom the next agent is sent to: the one that has the fewest, if that is below the share.
    fn target(&self) -> Option<NodeId> {
        let share = self.share()?;
        let below = self.takers().filter(|(_, peer)| peer.agents() < share);
        if Mistake::SurplusToFullest.made() {
            let most = self.takers().max_by_key(|(node, peer)| (peer.agents(), *node));
            return most.map(|(node, _)| node);
        }
        below.min_by_key(|(node, peer)| (peer.agents(), *node)).map(|(node, _)| node)
    }

    /// Whom agents are told of first: drawn, the likelier the fewer it has, for they all come at
    /// once when this controller goes. None if nothing is known of the others.
    fn first(&mut self) -> Option<NodeId> {
        let all = self.takers().map(|(node, peer)| (node, peer.agents()));
        let all: Vec<(NodeId, u64)> = all.chain([(self.node, self.agents())]).collect();
        let most = all.iter().map(|(_, agents)| *agents).max()?;
        let weight = |agents: u64| most - agents + 1;
        if all.len() == 1 {
            return None;
        }
        let mut left = self.rng.below(all.iter().map(|(_, agents)| weight(*agents)).sum());
        let passed = |(_, agents): &&(NodeId, u64)| match left.checked_sub(weight(*agents)) {
            Some(rest) => {
                left = rest;
                false
            }
            None => true,
        };
        all.iter().find(passed).map(|(node, _)| *node)
    }

    /// Starts or ends the shedding, now that the counts are as they are.
    fn compare(&mut self) {
        self.shedding = match self.config.policy {
            Policy::Shed | Policy::Redirect => self.share().is_some_and(|share| {
                let (now, surplus) = (self.agents(), self.config.surplus_of(share));
                let surplus = if Mistake::NoHysteresis.made() { 1 } else { surplus };
                let told = self.told.unwrap_or(now);
                // The others have grown too since they told their counts.
                let own = now.min(told);
                let stable = now <= told + surplus;
                let lacks = |(_, peer): (NodeId, &Peer)| peer.agents() + surplus <= share;
                let uneven = || own >= share + surplus || self.takers().any(lacks);
                stable && own > share && (self.shedding || uneven())
            }),
            Policy::None | Policy::RandomRefusal | Policy::Order => false,
        };
    }

    fn login(&mut self, now: Time, connection: ConnectionId, out: &mut Vec<Output>) {
        let redirects = self.config.policy == Policy::Redirect && self.shedding;
        let target = if redirects && self.move_at <= now { self.target() } else { None };
        if let Some(to) = target {
            self.send(now, to);
            out.push(Output::Redirect { connection, to });
            return;
        }
        let refuses = self.config.policy == Policy::RandomRefusal;
        if refuses && self.rng.below(self.config.refuse_one_in) == 0 {
            out.push(Output::Refuse { connection });
            return;
        }
        let ordered = self.config.policy == Policy::Order;
        let first = if ordered { self.first() } else { None };
        self.agents.insert(connection, now);
        out.push(Output::Welcome { connection, first });
    }

    /// Notes that one more agent goes there, and when the next may.
    fn send(&mut self, now: Time, to: NodeId) {
        self.pause(now);
        let Some(peer) = self.peers.get_mut(&to) else { return };
        let until = now + self.config.arrive_within;
        let before = peer.load.agents;
        peer.trial.get_or_insert(Trial { until, before, sent: 0 }).sent += 1;
    }

    /// Waits until the next move: the longer, the more controllers send to the same few.
    fn pause(&mut self, now: Time) {
        let share = self.share().unwrap_or(0);
        let takers = self.takers().filter(|(_, peer)| peer.agents() < share).count().max(1);
        let givers = 1 + self.peers.values().filter(|peer| peer.agents() > share).count();
        let times = u32::try_from(givers.div_ceil(takers)).unwrap_or(u32::MAX);
        let times = if Mistake::MovedAtOnce.made() { 0 } else { times };
        self.move_at = now + self.config.moves_rate.saturating_mul(times);
    }

    /// Lets the agent go that has been here the longest.
    fn move_one(&mut self, now: Time, out: &mut Vec<Output>) {
        let Some((_, connection)) = self.agents.first() else { return };
        self.agents.remove(connection);
        let redirects = self.config.policy == Policy::Redirect;
        match if redirects { self.target() } else { None } {
            Some(to) => {
                self.send(now, to);
                self.leaving.insert(connection, now + self.config.leave_within);
                out.push(Output::Redirect { connection, to });
            }
            None => {
                self.pause(now);
                out.push(Output::Shed { connection });
            }
        }
    }

    /// When the next agent may go, if one has to.
    fn next_move(&self) -> Option<Time> {
        let targeted = match self.config.policy {
            Policy::Redirect => self.target().is_some(),
            Policy::None | Policy::RandomRefusal | Policy::Shed | Policy::Order => true,
        };
        let wanted = self.relief || (self.shedding && targeted);
        let (since, _) = self.agents.first().filter(|_| wanted)?;
        let rest = self.config.move_again_after * u32::from(!Mistake::NoHysteresis.made());
        Some((since + rest).max(self.move_at))
    }

    /// What falls due next.
    fn due(&self) -> Option<(Time, Due)> {
        let stale =
            self.peers.values().map(|peer| (peer.heard + self.config.stale_after, Due::Stale));
        let tried = self.peers.iter().filter_map(|(node, peer)| {
            peer.trial.as_ref().map(|trial| (trial.until, Due::Tried(*node)))
        });
        let trusted = self.avoided.values().map(|until| (*until, Due::Trusted));
        let left = self.leaving.first().map(|(by, connection)| (by, Due::Left(connection)));
        let tell = self.tell_at.map(|at| (at, Due::Tell));
        let next = self.next_move().map(|at| (at, Due::Move));
        stale.chain(tried).chain(trusted).chain(left).chain(tell).chain(next).min()
    }

    /// Forgets what is past its time. Always first, or a late shell would act upon it.
    fn forget(&mut self, now: Time) {
        self.peers.retain(|_, peer| peer.heard + self.config.stale_after > now);
        self.avoided.retain(|_, until| *until > now);
    }

    fn tried(&mut self, node: NodeId, now: Time) {
        let Some(peer) = self.peers.get_mut(&node) else { return };
        let Some(trial) = peer.trial.take() else { return };
        let arrived = peer.load.agents.saturating_sub(trial.before).min(trial.sent);
        let missing = trial.sent - arrived;
        if missing > arrived + TRIAL_SLACK {
            self.avoided.insert(node, now + self.config.avoid_for);
        } else if missing > TRIAL_SLACK {
            let until = now + self.config.arrive_within;
            peer.trial = Some(Trial { until, before: peer.load.agents, sent: missing });
        }
    }
}

impl Machine for Balancer {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Time, input: Input, out: &mut Vec<Output>) {
        self.forget(now);
        self.compare();
        match input {
            Input::Started => self.tell_at = self.config.policy.counts().then_some(now),
            Input::LoggedIn { connection } => {
                self.login(now, connection, out);
            }
            Input::Disconnected { connection } => {
                self.agents.remove(connection);
                self.leaving.remove(connection);
            }
            Input::Heard { from, load } => {
                // One that shut its door has nobody to wait for, and may have started anew.
                let open = load.room > 0;
                let known = self.peers.remove(&from).filter(|_| open);
                let trial = known.and_then(|peer| peer.trial);
                self.peers.insert(from, Peer { load, heard: now, trial });
            }
            Input::Memory { used, limit } => {
                let percent = u128::from(used) * 100 / u128::from(limit.max(1));
                let most =
                    if self.relief { self.config.relief_until } else { self.config.relief_from };
                self.relief = percent >= u128::from(most);
            }
            Input::Stopping => {
                out.extend(self.tell_at.take().map(|_| Output::Tell { agents: self.agents() }));
                self.peers.clear();
            }
        }
        self.compare();
    }

    fn poll_timeout(&self) -> Option<Timeout> {
        self.due().map(|(at, due)| {
            let why = match due {
                Due::Stale => "a count goes stale",
                Due::Tried(_) => "whether the moved arrived",
                Due::Trusted => "trust a controller again",
                Due::Left(_) => "the moved must be gone",
                Due::Tell => "tell the count",
                Due::Move => "next move",
            };
            Timeout { at, why }
        })
    }

    fn handle_timeout(&mut self, now: Time, out: &mut Vec<Output>) {
        self.forget(now);
        self.compare();
        let Some((_, due)) = self.due().filter(|(at, _)| *at <= now) else { return };
        match due {
            Due::Stale | Due::Trusted => {}
            Due::Tried(node) => self.tried(node, now),
            Due::Left(connection) => {
                self.leaving.remove(connection);
                out.push(Output::Shed { connection });
            }
            Due::Tell => {
                self.tell_at = Some(now + self.config.tell_every);
                self.told = Some(self.agents());
                out.push(Output::Tell { agents: self.agents() });
            }
            Due::Move => self.move_one(now, out),
        }
        self.compare();
    }
}
