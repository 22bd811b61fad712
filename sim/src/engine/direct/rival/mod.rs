//! The old way, as a rival: Juju's lease manager of 2.9 and the two ways it had to the log.
//!
//! Stands beside core's queue, forwarding and waiting room, and takes their place: it answers the
//! same agents, proposes to the same raft log and the same table, and is judged by the same checks.
//! Doors, connections, roles and the clock stay core's. What it does is what Juju 2.9 did, as seeds
//! 002 and 004 lament it:
//!
//! ```text
//!             agents ── claim ──▶ Manager ──▶ outbox ──▶ hub ──▶ Line ──▶ raft (64 at once)
//!                                 │    ▲   one by one    or facade │
//!              up to ten attempts └────┴───── 5 s, or lost ◀───────┘ works on, whoever has left
//! ```
//!
//! * **pubsub** (`features = []`): queues without bound; what finds no connection is dropped and
//!   nobody is told; who waits gives up after 5 s to be delivered and 5 s to be answered, but the
//!   work goes on; the clock's entry stands in the same line as everybody's.
//! * **facade** (`raft-api-leases`): no connection is said at once, and what has waited for 3 s is
//!   thrown away when its turn comes, but nothing can be taken back.
//!
//! A claim by the holder extends in this project's table, so the two are one operation here; that
//! Juju tries again after "invalid" is left out. What a claim finds in the controller's own copy of
//! the table is believed, as Juju does.

mod line;
mod manager;

use std::collections::BTreeMap;

use portcullis_core::controller::{Input, Output, Request};
use portcullis_core::lease::Key;
use portcullis_core::queue::Answer;
use portcullis_core::{AskId, NodeId, Seed, Time};

use super::World;
use super::link::Caller;
use super::raft::Node;
use crate::plan::Plan;
use crate::settings::Feature;
use line::Line;
use manager::Manager;

pub use line::Lane;

/// Memory of a claim under way, and of a message or an operation that waits: each has a goroutine,
/// whose stack of 2 KiB doubles twice to encode YAML.
const MEMORY_PER_GOROUTINE: u64 = 8 << 10;
/// Longest time until waits for a release are looked at, and how long after an expiry they are.
const CHECK_WITHIN: std::time::Duration = std::time::Duration::from_secs(61);
const CHECK_AFTER: std::time::Duration = std::time::Duration::from_secs(1);

/// Which of the old designs runs; each is switched by the scenario.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    pub lane: Lane,
    /// Whether retries wait from the end of an attempt, and keep within a share of first tries.
    pub retry_budget: bool,
    /// Whether what may have been done is called unknown, and not denied.
    pub definite_denials: bool,
}

/// The lease service of one life of a controller.
pub struct Rival {
    manager: Manager,
    line: Line,
    waits: BTreeMap<AskId, Key>,
    /// When the waits are looked at next.
    check_at: Option<Time>,
}

impl Rival {
    /// The rival that a plan wants, if it wants one.
    pub fn new(plan: &Plan, node: NodeId) -> Option<Rival> {
        let (controllers, policy) = (&plan.settings.controllers, &plan.settings.policy);
        if !policy.old_way(controllers) {
            return None;
        }
        let lane = match controllers.features.contains(&Feature::RaftApiLeases) {
            true => Lane::Facade { extend_deadline: policy.extend_deadline },
            false => Lane::Hub,
        };
        let (retry_budget, definite_denials) = (policy.retry_budget, policy.definite_denials);
        let config = Config { lane, retry_budget, definite_denials };
        let rng = Seed(plan.settings.seed).child("rival", node.0).rng();
        Some(Rival {
            manager: Manager::new(config, rng),
            line: Line::new(lane),
            waits: BTreeMap::new(),
            check_at: None,
        })
    }

    /// Bytes that it uses.
    pub fn memory(&self) -> u64 {
        (self.manager.under_way() + self.line.len()) as u64 * MEMORY_PER_GOROUTINE
    }

    /// When it wants [`Rival::timeout`].
    pub fn due(&self) -> Option<Time> {
        [self.manager.due(), self.line.due(), self.check_at].into_iter().flatten().min()
    }

    /// Is told what a controller is told. Gives back what core is still to be told.
    fn told(
        &mut self,
        now: Time,
        input: Input,
        from_peer: bool,
        raft: Option<&Node>,
        out: &mut Vec<Output>,
    ) -> Option<Input> {
        match &input {
            Input::Asked { ask, request: Request::Wait(key), .. } => {
                self.waits.insert(*ask, key.clone());
                self.check_by(now + CHECK_WITHIN);
            }
            Input::Asked { ask, request: Request::Apply(operation), .. } if from_peer => {
                self.line.asked(now, *ask, operation.clone(), raft);
            }
            Input::Asked { ask, request: Request::Apply(operation), .. } => {
                self.manager.asked(now, *ask, operation.clone(), raft, out);
            }
            // Nothing can be taken back but a wait.
            Input::Cancelled { ask } => self.leave(*ask, out),
            Input::Answered { ask, answer } => self.manager.answered(now, *ask, answer, out),
            Input::NotSent { ask } => self.manager.not_sent(now, *ask, out),
            Input::Lost { ask } => self.manager.lost(now, *ask, out),
            Input::Looked { .. } => {}
            Input::Committed { batch, index, outcomes } => {
                self.line.landed(*batch, line::committed(*index, outcomes), out);
            }
            Input::NotProposed { batch, leader } => {
                self.line.landed(*batch, Answer::NotLeader { leader: *leader }, out);
            }
            Input::BatchLost { batch } => self.line.landed(*batch, Answer::Unknown, out),
            Input::Led { .. } => self.manager.led(),
            Input::Followed { leader } => {
                self.manager.followed(*leader);
                self.line.followed(*leader, out);
            }
            Input::Disconnected { connection } => {
                let first = AskId { connection: *connection, serial: 0 };
                let last = AskId { connection: *connection, serial: u64::MAX };
                let left: Vec<AskId> =
                    self.waits.range(first..=last).map(|(ask, _)| *ask).collect();
                left.into_iter().for_each(|ask| self.leave(ask, out));
            }
            Input::Applied { index, released } => {
                self.manager.applied(*index);
                if !released.is_empty() && !self.waits.is_empty() {
                    self.check_by(now + CHECK_AFTER);
                }
            }
            Input::Restored { index } => self.manager.applied(*index),
            Input::Started
            | Input::Opened { .. }
            | Input::NotOpened { .. }
            | Input::Connected { .. }
            | Input::LoggedIn { .. }
            | Input::Pinged { .. }
            | Input::Knocked { .. }
            | Input::Arrived { .. }
            | Input::Linked { .. }
            | Input::Committing { .. }
            | Input::Working { .. }
            | Input::Offered { .. }
            | Input::Reconfigured { .. }
            | Input::Heard { .. }
            | Input::Memory { .. }
            | Input::Stopping => {}
        }
        self.advance(now, raft, out);
        concerns_core(&input).then_some(input)
    }

    /// Does what is due.
    fn timeout(&mut self, now: Time, raft: Option<&Node>, out: &mut Vec<Output>) {
        self.manager.timeout(now, raft, out);
        self.line.timeout(now, out);
        if self.check_at.is_some_and(|at| at <= now) {
            self.check_at = None;
            self.check(now, raft, out);
        }
        self.advance(now, raft, out);
    }

    /// Moves what the manager delivered into the line, the line into the log, and what came of it
    /// back to the manager, until nothing moves.
    fn advance(&mut self, now: Time, raft: Option<&Node>, out: &mut Vec<Output>) {
        for (ask, operation) in self.manager.delivered() {
            self.line.delivered(now, ask, operation, raft);
        }
        self.line.dispatch(now, raft, out);
        for (ask, answer) in self.line.settled() {
            self.manager.answered(now, ask, &answer, out);
        }
    }

    /// Releases every wait whose lease is free, all of them together.
    fn check(&mut self, now: Time, raft: Option<&Node>, out: &mut Vec<Output>) {
        let Some(raft) = raft else { return self.check_by(now + CHECK_AFTER) };
        let free = |_: &AskId, key: &mut Key| !raft.held(key);
        let released: Vec<AskId> = self.waits.extract_if(.., free).map(|(ask, _)| ask).collect();
        let answers = released.into_iter();
        out.extend(answers.map(|ask| Output::Answer { ask, answer: Answer::Released }));
        if !self.waits.is_empty() {
            self.check_by(now + CHECK_WITHIN);
        }
    }

    fn check_by(&mut self, at: Time) {
        self.check_at = Some(self.check_at.map_or(at, |before| before.min(at)));
    }

    fn leave(&mut self, ask: AskId, out: &mut Vec<Output>) {
        if self.waits.remove(&ask).is_some() {
            out.push(Output::Answer { ask, answer: Answer::Cancelled });
        }
    }
}

/// Whether core is to be told as well: all but what the rival decides in its place.
fn concerns_core(input: &Input) -> bool {
    match input {
        Input::Asked { .. }
        | Input::Cancelled { .. }
        | Input::Answered { .. }
        | Input::NotSent { .. }
        | Input::Lost { .. }
        | Input::Looked { .. } => false,
        Input::Committed { batch, .. }
        | Input::NotProposed { batch, .. }
        | Input::BatchLost { batch } => !line::is_own(*batch),
        Input::Started
        | Input::Opened { .. }
        | Input::NotOpened { .. }
        | Input::Connected { .. }
        | Input::LoggedIn { .. }
        | Input::Pinged { .. }
        | Input::Disconnected { .. }
        | Input::Led { .. }
        | Input::Followed { .. }
        | Input::Applied { .. }
        | Input::Restored { .. }
        | Input::Knocked { .. }
        | Input::Arrived { .. }
        | Input::Linked { .. }
        | Input::Committing { .. }
        | Input::Working { .. }
        | Input::Offered { .. }
        | Input::Reconfigured { .. }
        | Input::Heard { .. }
        | Input::Memory { .. }
        | Input::Stopping => true,
    }
}

impl World<'_> {
    /// Tells a controller's rival, if it has one. Gives back what core is still to be told.
    pub(super) fn tell_rival(
        &mut self,
        node: NodeId,
        input: Input,
        out: &mut Vec<Output>,
    ) -> Option<Input> {
        if self.process(node).rival.is_none() {
            return Some(input);
        }
        let from_peer = if let Input::Asked { ask, .. } = &input {
            let link = self.process(node).link(ask.connection);
            let caller = link.and_then(|id| self.links.get(id)).map(|link| link.caller);
            matches!(caller, Some(Caller::Controller(other)) if other != node)
        } else {
            false
        };
        let now = self.now;
        let process = self.process(node);
        match &mut process.rival {
            Some(rival) => rival.told(now, input, from_peer, process.raft.as_ref(), out),
            None => Some(input),
        }
    }

    /// A controller's timer fires: its rival does what is due.
    pub(super) fn rival_due(&mut self, node: NodeId, out: &mut Vec<Output>) {
        let now = self.now;
        let process = self.process(node);
        if let Some(rival) = &mut process.rival {
            rival.timeout(now, process.raft.as_ref(), out);
        }
    }

    /// Puts core's own entries, which only move the clock, through a rival's line.
    pub(super) fn through_rival(&mut self, node: NodeId, orders: Vec<Output>) -> Vec<Output> {
        let now = self.now;
        let process = self.process(node);
        let Some(rival) = &mut process.rival else { return orders };
        let mut out = Vec::with_capacity(orders.len());
        for order in orders {
            match order {
                Output::Propose { batch, entry } if !line::is_own(batch) => {
                    rival.line.clock(batch, entry, &mut out);
                    rival.advance(now, process.raft.as_ref(), &mut out);
                }
                order => out.push(order),
            }
        }
        out
    }
}
