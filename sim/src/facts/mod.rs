//! Facts: what a history says so far, worked out once for all the checks.
//!
//! Decides nothing: it follows which process runs, who leads, which connection is whose, and which
//! asks have no answer. A check that could be misled by an error here has its own memory instead.

mod trouble;
mod wanted;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use portcullis_core::controller::{Input, Output, Request};
use portcullis_core::lease::{Entry, Operation};
use portcullis_core::listener::Kind;
use portcullis_core::queue::Answer;
use portcullis_core::sessions::Party;
use portcullis_core::{AskId, ConnectionId, Door, GlobalTime, NodeId, Time};
use portcullis_core::{agent, singular};

use crate::history::{Event, Who};
use crate::late::Late;
use crate::lookup::Lookup;
use crate::singular::{Single, What, Worker};
use crate::stage::{Deed, Nodes};
use trouble::Trouble;
use wanted::Wanted;

/// An ask at one controller.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Counted over the whole run.
    pub serial: u64,
    /// What is asked for; none for a wait. One copy serves everybody who remembers it.
    pub operation: Option<Arc<Operation>>,
    /// Whether it came from outside, and not from a controller that handed it on.
    pub edge: bool,
    /// The highest log index that anybody had been told of when it was asked.
    pub floor: u64,
    /// When it was asked, and when its asker gives up.
    pub since: Time,
    pub until: Time,
}

/// What a process knows.
#[derive(Default)]
struct Process {
    sessions: Lookup<ConnectionId, (Door, Option<Party>)>,
    /// Who said what it is, and stands at a door until it is admitted.
    standing: Lookup<ConnectionId, Kind>,
    asks: Lookup<AskId, Ask>,
    /// Asks that other controllers have handed to it: these go nowhere but into its queue.
    queued: usize,
    /// Connections through the API door.
    connections: usize,
}

/// See the module.
#[derive(Default)]
pub struct Facts {
    leading: BTreeSet<NodeId>,
    processes: BTreeMap<NodeId, Process>,
    wanted: Wanted,
    serials: u64,
    index: u64,
    ended: Option<Ask>,
    /// Which agents are logged in, and how many those are.
    agents: Vec<bool>,
    agents_connected: usize,
    /// When each global time was proposed that no entry has brought yet.
    proposals: BTreeMap<GlobalTime, Time>,
    /// Global time, and the real time at which it was proposed.
    global: GlobalTime,
    clock: Time,
    /// Who raised the flag of the first worker last.
    holder: Option<NodeId>,
    /// Who lets agents in.
    serving: Nodes,
    trouble: Trouble,
    late: Late,
}

impl Facts {
    /// Nothing has happened to so many agents; the clients of workloads are not counted.
    pub fn new(agents: u32) -> Facts {
        Facts { agents: vec![false; agents as usize], ..Facts::default() }
    }

    /// Takes note of one event, before the checks are shown it.
    pub fn note(&mut self, at: Time, who: Who, event: &Event<'_>) {
        self.ended = None;
        match (who, event) {
            (Who::Controller(node), Event::Told(input)) => self.told(at, node, input),
            (Who::Controller(node), Event::Ordered(output)) => self.ordered(at, node, output),
            (Who::Controller(node), Event::Killed(_)) => self.died(at, node),
            (_, Event::Applied { entry, .. }) => self.applied(at, entry),
            (_, Event::Did(deed)) => self.did(at, deed),
            (Who::Controller(node), Event::Singular(single)) => self.singular(node, single),
            (Who::Agent(agent), Event::AgentTold(input)) => self.agent_told(agent, input),
            (Who::Agent(agent), Event::AgentOrdered(agent::Output::Hangup)) => {
                self.agent_connected(agent, false);
            }
            (_, Event::Told(_) | Event::Ordered(_) | Event::Killed(_))
            | (_, Event::AgentTold(_) | Event::AgentOrdered(_))
            | (_, Event::Cluster(_) | Event::Singular(_))
            | (_, Event::Front(_) | Event::Memory(_) | Event::BacklogFull | Event::Error(_)) => {}
        }
    }

    /// Who leads; after a partition the higher number, as two may believe it.
    pub fn leader(&self) -> Option<NodeId> {
        self.leading.last().copied()
    }

    /// Who runs the first of the workers that run on one controller alone, or ran it last.
    pub fn holder(&self) -> Option<NodeId> {
        self.holder
    }

    /// Who lets agents in.
    pub fn serving(&self) -> Nodes {
        self.serving
    }

    /// Whether this controller says that it leads.
    pub fn leads(&self, node: NodeId) -> bool {
        self.leading.contains(&node)
    }

    /// How many faults are in force.
    pub fn faults(&self) -> usize {
        self.trouble.faults
    }

    /// The door that a connection counts for, and its party.
    pub fn session(&self, node: NodeId, connection: ConnectionId) -> Option<(Door, Option<Party>)> {
        self.processes.get(&node)?.sessions.get(&connection).copied()
    }

    /// An ask without an answer.
    pub fn ask(&self, node: NodeId, ask: AskId) -> Option<&Ask> {
        self.processes.get(&node)?.asks.get(&ask)
    }

    /// The ask that this event answered, if it was one.
    pub fn ended(&self) -> Option<&Ask> {
        self.ended.as_ref()
    }

    /// Whether somebody outside still waits for this to be done.
    pub fn wants(&self, at: Time, operation: &Operation) -> bool {
        self.wanted.has(at, operation)
    }

    /// How many asks of other controllers the controller's queue holds, in flight or not.
    pub fn queued(&self, node: NodeId) -> usize {
        self.processes.get(&node).map_or(0, |process| process.queued)
    }

    /// How many connections came through the controller's API door.
    pub fn connections(&self, node: NodeId) -> usize {
        self.processes.get(&node).map_or(0, |process| process.connections)
    }

    /// Since when nothing is wrong and one controller leads, which may yet be to come; none if that
    /// is not so.
    ///
    /// A link that is slow no more still carries what was sent on it last, and whatever follows on
    /// the same connection waits behind that.
    pub fn calm_since(&self) -> Option<Time> {
        let Trouble { faults, changed, under_way, .. } = self.trouble;
        (faults == 0 && self.leading.len() == 1).then(|| changed.max(under_way))
    }

    /// When the global clock was right last: the proposal of the entry that moved it last.
    pub fn clock(&self) -> Time {
        self.clock
    }

    /// How late what was asked may be proposed.
    pub fn late(&self) -> &Late {
        &self.late
    }

    /// By how much the slowest disk is slower than usual.
    pub fn slow_disk(&self) -> Duration {
        self.trouble.slow_disk
    }

    /// By how much the slowest link between controllers that can be done with is slower than usual,
    /// one way.
    pub fn slow_link(&self) -> Duration {
        self.trouble.slow_link
    }

    /// The longest real time in which some clock goes on by this much, and the longest that some clock
    /// goes on by in this real time: no clock is more wrong one way than another the other way.
    pub fn stretched(&self, span: Duration) -> Duration {
        self.trouble.stretched(span)
    }

    /// The shortest real time in which some clock goes on by this much.
    pub fn shrunk(&self, span: Duration) -> Duration {
        self.trouble.shrunk(span)
    }

    /// How many agents are logged in, workloads' clients apart.
    pub fn agents_connected(&self) -> usize {
        self.agents_connected
    }

    fn agent_told(&mut self, agent: u32, input: &agent::Input) {
        match input {
            agent::Input::LoggedIn { .. } => self.agent_connected(agent, true),
            agent::Input::Disconnected
            | agent::Input::Redirected { .. }
            | agent::Input::Started
            | agent::Input::Stopped => self.agent_connected(agent, false),
            agent::Input::Connected
            | agent::Input::Failed
            | agent::Input::Refused { .. }
            | agent::Input::Told { .. }
            | agent::Input::Ponged
            | agent::Input::Answered { .. }
            | agent::Input::Asked { .. } => {}
        }
    }

    fn agent_connected(&mut self, agent: u32, connected: bool) {
        let Some(before) = self.agents.get_mut(agent as usize) else { return };
        self.agents_connected += usize::from(connected);
        self.agents_connected -= usize::from(std::mem::replace(before, connected));
    }

    fn told(&mut self, at: Time, node: NodeId, input: &Input) {
        match input {
            Input::Connected { connection, door } => {
                let process = self.processes.entry(node).or_default();
                process.sessions.insert(*connection, (*door, None));
                process.connections += usize::from(*door == Door::Api);
            }
            Input::Arrived { connection, kind, .. } => {
                self.processes.entry(node).or_default().standing.insert(*connection, *kind);
            }
            Input::LoggedIn { connection, party } => {
                let process = self.processes.entry(node).or_default();
                if let Some((_, of)) = process.sessions.get_mut(connection) {
                    *of = Some(*party);
                }
            }
            Input::Disconnected { connection } => {
                let process = self.processes.entry(node).or_default();
                process.standing.remove(connection);
                if let Some((Door::Api, _)) = process.sessions.remove(connection) {
                    process.connections -= 1;
                }
            }
            Input::Asked { ask, request, patience, .. } => {
                self.asked(at, node, *ask, request, *patience);
            }
            Input::Led { .. } => {
                self.leading.insert(node);
                self.trouble.changed = at;
            }
            Input::Followed { .. } => {
                self.leading.remove(&node);
                self.trouble.changed = at;
            }
            Input::Started => {
                self.trouble.started(node);
                self.died(at, node);
            }
            Input::Opened { .. }
            | Input::NotOpened { .. }
            | Input::Pinged { .. }
            | Input::Cancelled { .. }
            | Input::Answered { .. }
            | Input::NotSent { .. }
            | Input::Lost { .. }
            | Input::Looked { .. }
            | Input::Committed { .. }
            | Input::NotProposed { .. }
            | Input::BatchLost { .. }
            | Input::Applied { .. }
            | Input::Reconfigured { .. }
            | Input::Restored { .. }
            | Input::Knocked { .. }
            | Input::Linked { .. }
            | Input::Committing { .. }
            | Input::Working { .. }
            | Input::Offered { .. }
            | Input::Heard { .. }
            | Input::Memory { .. }
            | Input::Stopping => {}
        }
    }

    fn asked(&mut self, at: Time, node: NodeId, ask: AskId, request: &Request, patience: Duration) {
        let process = self.processes.entry(node).or_default();
        let party = process.sessions.get(&ask.connection).and_then(|(_, party)| *party);
        let edge = match party {
            Some(Party::Controller(other)) => other == node,
            Some(Party::Agent | Party::User) | None => true,
        };
        let operation = match request {
            Request::Apply(operation) => Some(Arc::new(operation.clone())),
            Request::Wait(_) => None,
        };
        process.queued += usize::from(operation.is_some() && !edge);
        self.serials += 1;
        let (serial, floor) = (self.serials, self.index);
        let asked = Ask { serial, operation, edge, floor, since: at, until: at + patience };
        self.wanted.add(at, node, &asked);
        process.asks.insert(ask, asked);
    }

    fn ordered(&mut self, at: Time, node: NodeId, output: &Output) {
        match output {
            Output::Answer { ask, answer } => {
                if let Answer::Done { index, .. } | Answer::Refused { index, .. } = answer {
                    self.index = self.index.max(*index);
                }
                let process = self.processes.entry(node).or_default();
                self.ended = process.asks.remove(ask);
                if let Some(ask) = &self.ended {
                    self.wanted.remove(ask);
                    process.queued -= usize::from(ask.operation.is_some() && !ask.edge);
                }
            }
            Output::Propose { entry, .. } => {
                self.proposals.insert(entry.now, at);
            }
            Output::Admit { connection } => {
                let process = self.processes.entry(node).or_default();
                if let Some(kind) = process.standing.remove(connection) {
                    process.sessions.insert(*connection, (kind.counts_at(), None));
                    let counted = usize::from(kind == Kind::Other);
                    process.connections += counted;
                    self.serving.set(node, counted > 0 || self.serving.has(node));
                }
            }
            Output::Stopped => self.died(at, node),
            Output::Accept { door: Door::Api } => self.serving.set(node, true),
            Output::Shut { door: Door::Api } => self.serving.set(node, false),
            Output::Open { .. }
            | Output::Accept { door: Door::Controller }
            | Output::Hold { .. }
            | Output::Condition { .. }
            | Output::Bind { .. }
            | Output::Complain { .. }
            | Output::Shut { door: Door::Controller }
            | Output::Hangup { .. }
            | Output::Send { .. }
            | Output::Recall { .. }
            | Output::Welcome { .. }
            | Output::Refuse { .. }
            | Output::Redirect { .. }
            | Output::Tell { .. }
            | Output::Look { .. } => {}
        }
    }

    fn did(&mut self, at: Time, deed: &Deed) {
        self.late.note(at, deed);
        self.trouble.did(at, deed);
        // Who was told to stop, and had not ended by the time it starts again, has ended with that.
        if let Deed::Crash(node) | Deed::Left(node) | Deed::Failed(node) | Deed::Restart(node) =
            deed
        {
            self.died(at, *node);
        }
    }

    fn singular(&mut self, node: NodeId, single: &Single<'_>) {
        if let What::Ordered(singular::Output::Raise { .. }) = single.what
            && single.worker == Worker(1)
        {
            self.holder = Some(node);
        }
    }

    fn applied(&mut self, at: Time, entry: &Entry) {
        if entry.now > self.global {
            self.global = entry.now;
            self.proposals = self.proposals.split_off(&entry.now);
            self.clock = self.proposals.get(&entry.now).copied().unwrap_or(at);
        }
    }

    /// A process is gone, and with it all that it knew.
    fn died(&mut self, at: Time, node: NodeId) {
        self.serving.set(node, false);
        self.leading.remove(&node);
        self.processes.remove(&node);
        self.wanted.died(node, self.serials);
        self.trouble.changed = at;
    }
}
