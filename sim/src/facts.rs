//! Facts: what a history says so far, worked out once for all the checks.
//!
//! Decides nothing: it follows which process runs, who leads, which connection is whose, and which
//! asks have no answer. A check that could be misled by an error here has its own memory instead.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use portcullis_core::controller::{Input, Output, Request};
use portcullis_core::lease::{Entry, Key, Operation};
use portcullis_core::listener::Kind;
use portcullis_core::queue::Answer;
use portcullis_core::sessions::Party;
use portcullis_core::{AskId, ConnectionId, Door, GlobalTime, NodeId, Time};
use portcullis_core::{agent, singular};

use crate::history::{Event, Who};
use crate::late::Late;
use crate::singular::{Single, What, Worker};
use crate::stage::{Deed, Nodes, Place};

/// Controllers whose links are slower than this, one way, count as cut off: there and back, with a
/// sync between, takes about as long as a follower waits for a leader.
const TOO_FAR: Duration = Duration::from_millis(400);

/// An ask at one controller.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Counted over the whole run.
    pub serial: u64,
    /// What is asked for; none for a wait.
    pub operation: Option<Operation>,
    /// Whether it came from outside, and not from a controller that handed it on.
    pub edge: bool,
    /// The highest log index that anybody had been told of when it was asked.
    pub floor: u64,
    /// When it was asked, and when its asker gives up.
    pub since: Time,
    pub until: Time,
}

/// See the module.
#[derive(Default)]
pub struct Facts {
    leading: BTreeSet<NodeId>,
    sessions: BTreeMap<(NodeId, ConnectionId), (Door, Option<Party>)>,
    /// Who said what it is, and stands at a door until it is admitted.
    standing: BTreeMap<(NodeId, ConnectionId), Kind>,
    asks: BTreeMap<(NodeId, AskId), Ask>,
    /// By lease, who waits for an answer about it, and until when.
    wanted: BTreeMap<Key, Vec<(Operation, Time)>>,
    /// Asks that other controllers have handed to one: these go nowhere but into its queue.
    queued: BTreeMap<NodeId, usize>,
    /// Connections through the API door.
    connections: BTreeMap<NodeId, usize>,
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
    slow_disks: BTreeMap<NodeId, Duration>,
    /// Who raised the flag of the first worker last.
    holder: Option<NodeId>,
    /// Links between controllers that are slower than the network.
    slow_links: BTreeMap<(NodeId, NodeId), Duration>,
    /// Who lets agents in.
    serving: Nodes,
    /// By how many millionths each clock was wrong at most.
    drifts: BTreeMap<Place, u32>,
    /// Whose process has ended with its disk and has not started again, each a fault in force.
    failed: BTreeSet<NodeId>,
    /// Faults in force, and when that changed last.
    faults: usize,
    changed: Time,
    /// Until when a link or a disk may be busy with what it was given while it was slower.
    under_way: Time,
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
        self.faults
    }

    /// The door that a connection counts for, and its party.
    pub fn session(&self, node: NodeId, connection: ConnectionId) -> Option<(Door, Option<Party>)> {
        self.sessions.get(&(node, connection)).copied()
    }

    /// An ask without an answer.
    pub fn ask(&self, node: NodeId, ask: AskId) -> Option<&Ask> {
        self.asks.get(&(node, ask))
    }

    /// The ask that this event answered, if it was one.
    pub fn ended(&self) -> Option<&Ask> {
        self.ended.as_ref()
    }

    /// Whether somebody outside still waits for this to be done.
    pub fn wants(&self, at: Time, operation: &Operation) -> bool {
        let wanted = self.wanted.get(operation.key());
        wanted
            .is_some_and(|all| all.iter().any(|(other, until)| other == operation && *until >= at))
    }

    /// How many asks of other controllers the controller's queue holds, in flight or not.
    pub fn queued(&self, node: NodeId) -> usize {
        self.queued.get(&node).copied().unwrap_or_default()
    }

    /// How many connections came through the controller's API door.
    pub fn connections(&self, node: NodeId) -> usize {
        self.connections.get(&node).copied().unwrap_or_default()
    }

    /// Since when nothing is wrong and one controller leads, which may yet be to come; none if that
    /// is not so.
    ///
    /// A link that is slow no more still carries what was sent on it last, and whatever follows on
    /// the same connection waits behind that.
    pub fn calm_since(&self) -> Option<Time> {
        let calm = self.changed.max(self.under_way);
        (self.faults == 0 && self.leading.len() == 1).then_some(calm)
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
        self.slow_disks.values().copied().max().unwrap_or_default()
    }

    /// By how much the slowest link between controllers that can be done with is slower than usual,
    /// one way.
    pub fn slow_link(&self) -> Duration {
        let near = self.slow_links.values().copied().filter(|by| *by < TOO_FAR);
        near.max().unwrap_or_default()
    }

    /// The longest real time in which some clock goes on by this much, and the longest that some clock
    /// goes on by in this real time: no clock is more wrong one way than another the other way.
    pub fn stretched(&self, span: Duration) -> Duration {
        let drift = self.drifts.values().copied().max().unwrap_or_default();
        if drift == 0 {
            return span;
        }
        // A division loses up to a microsecond, and so does each look at a clock.
        let loss = Duration::from_micros(3);
        span * 1_000_000 / (1_000_000 - drift) + loss
    }

    /// The shortest real time in which some clock goes on by this much.
    pub fn shrunk(&self, span: Duration) -> Duration {
        let drift = self.drifts.values().copied().max().unwrap_or_default();
        if drift == 0 {
            return span;
        }
        let loss = Duration::from_micros(3);
        (span * 1_000_000 / (1_000_000 + drift)).saturating_sub(loss)
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
                self.sessions.insert((node, *connection), (*door, None));
                if *door == Door::Api {
                    *self.connections.entry(node).or_default() += 1;
                }
            }
            Input::Arrived { connection, kind, .. } => {
                self.standing.insert((node, *connection), *kind);
            }
            Input::LoggedIn { connection, party } => {
                if let Some(session) = self.sessions.get_mut(&(node, *connection)) {
                    session.1 = Some(*party);
                }
            }
            Input::Disconnected { connection } => {
                self.standing.remove(&(node, *connection));
                if let Some((Door::Api, _)) = self.sessions.remove(&(node, *connection)) {
                    *self.connections.entry(node).or_default() -= 1;
                }
            }
            Input::Asked { ask, request, patience, .. } => {
                self.asked(at, node, *ask, request, *patience);
            }
            Input::Led { .. } => {
                self.leading.insert(node);
                self.changed = at;
            }
            Input::Followed { .. } => {
                self.leading.remove(&node);
                self.changed = at;
            }
            Input::Started => {
                self.faults -= usize::from(self.failed.remove(&node));
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
        let party = self.session(node, ask.connection).and_then(|(_, party)| party);
        let edge = match party {
            Some(Party::Controller(other)) => other == node,
            Some(Party::Agent | Party::User) | None => true,
        };
        let operation = match request {
            Request::Apply(operation) => Some(operation.clone()),
            Request::Wait(_) => None,
        };
        let until = at + patience;
        if let Some(operation) = &operation {
            if edge {
                let wanted = self.wanted.entry(operation.key().clone()).or_default();
                wanted.push((operation.clone(), until));
            } else {
                *self.queued.entry(node).or_default() += 1;
            }
        }
        self.serials += 1;
        let (serial, floor) = (self.serials, self.index);
        let ask_now = Ask { serial, operation, edge, floor, since: at, until };
        self.asks.insert((node, ask), ask_now);
    }

    /// Nobody waits for an ask any more.
    fn unwanted(wanted: &mut BTreeMap<Key, Vec<(Operation, Time)>>, ask: &Ask) {
        let Some(operation) = ask.operation.as_ref().filter(|_| ask.edge) else { return };
        let Some(all) = wanted.get_mut(operation.key()) else { return };
        let is = |one: &(Operation, Time)| one.0 == *operation && one.1 == ask.until;
        if let Some(place) = all.iter().position(is) {
            all.swap_remove(place);
        }
        if all.is_empty() {
            wanted.remove(operation.key());
        }
    }

    fn ordered(&mut self, at: Time, node: NodeId, output: &Output) {
        match output {
            Output::Answer { ask, answer } => {
                if let Answer::Done { index, .. } | Answer::Refused { index, .. } = answer {
                    self.index = self.index.max(*index);
                }
                self.ended = self.asks.remove(&(node, *ask));
                if let Some(ask) = &self.ended {
                    Facts::unwanted(&mut self.wanted, ask);
                }
                if self.ended.as_ref().is_some_and(|ask| ask.operation.is_some() && !ask.edge) {
                    *self.queued.entry(node).or_default() -= 1;
                }
            }
            Output::Propose { entry, .. } => {
                self.proposals.insert(entry.now, at);
            }
            Output::Admit { connection } => {
                if let Some(kind) = self.standing.remove(&(node, *connection)) {
                    self.sessions.insert((node, *connection), (kind.counts_at(), None));
                    let counted = usize::from(kind == Kind::Other);
                    *self.connections.entry(node).or_default() += counted;
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
        match deed {
            Deed::Crash(node) => {
                self.faults += 1;
                self.died(at, *node);
            }
            Deed::Cut { .. }
            | Deed::Hold { .. }
            | Deed::Stop(_)
            | Deed::Pause(_)
            | Deed::FillDisk(_)
            | Deed::LoseItself(_) => self.faults += 1,
            Deed::Left(node) => self.died(at, *node),
            Deed::Failed(node) => {
                self.faults += usize::from(self.failed.insert(*node));
                self.died(at, *node);
            }
            Deed::Restart(node) => {
                self.faults -= 1;
                // Who was told to stop, and had not ended by then, has ended with this.
                self.died(at, *node);
            }
            Deed::Drift { place, by, .. } => {
                let most = self.drifts.entry(*place).or_default();
                *most = by.unsigned_abs().max(*most);
            }
            Deed::Mend { .. } | Deed::Release { .. } => self.faults -= 1,
            Deed::FindItself(_) | Deed::Resume(_) | Deed::FreeDisk(_) => self.faults -= 1,
            Deed::ControllerPort { .. } | Deed::BindFile { .. } | Deed::ApiAddresses { .. } => {}
            Deed::SlowDisk { node, by } => {
                let before = self.slow_disks.insert(*node, *by).unwrap_or_default();
                if *by < before {
                    self.under_way = self.under_way.max(at + before);
                }
            }
            Deed::Slow { from: Place::Controller(from), to: Place::Controller(to), by } => {
                let before = self.slow_links.insert((*from, *to), *by).unwrap_or_default();
                self.faults += usize::from(*by >= TOO_FAR);
                self.faults -= usize::from(before >= TOO_FAR);
                if *by < before {
                    self.under_way = self.under_way.max(at + before);
                }
            }
            Deed::Slow { .. }
            | Deed::BreakDisk { .. }
            | Deed::Join(_)
            | Deed::Remove(_)
            | Deed::Herd
            | Deed::RestartAgents
            | Deed::Limit(_)
            | Deed::Claim(_)
            | Deed::Settle => {}
        }
        self.changed = at;
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
        self.sessions.retain(|(owner, _), _| *owner != node);
        self.standing.retain(|(owner, _), _| *owner != node);
        let wanted = &mut self.wanted;
        self.asks.retain(|(owner, _), ask| {
            if *owner == node {
                Facts::unwanted(wanted, ask);
            }
            *owner != node
        });
        self.queued.remove(&node);
        self.connections.remove(&node);
        self.changed = at;
    }
}
