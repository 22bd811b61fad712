//! Counts: the figures on a run's page, and what `sometimes` asks about.

mod page;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use portcullis::env::Affair;
use portcullis_core::controller::{Input, Output, Request};
use portcullis_core::lease::{Applied, Done, Operation, Refusal};
use portcullis_core::listener::Kind;
use portcullis_core::queue::Answer;
use portcullis_core::{AskId, Door, NodeId, Time, agent, roles};

use crate::agents::Agents;
use crate::crowd::Crowd;
use crate::facts::Facts;
use crate::gate::Gate;
use crate::history::{Event, Who};
use crate::lookup::Lookup;
use crate::picture::Picture;
use crate::plan::Plan;
use crate::settings::Bytes;
use crate::singles::Singles;
use crate::spread::Spread;
use crate::stage::Deed;

/// What one controller did.
#[derive(Clone, Debug, Default)]
pub struct Controller {
    /// Connections let in, by door.
    pub controller_door: u64,
    pub api_door: u64,
    /// Who had to stand at the API door, controllers apart.
    pub held: u64,
    pub hangups: u64,
    pub backlog_full: u64,
    pub killed: u64,
    pub memory: Bytes,
    /// Most asks at once in its queue, waiting or in flight.
    pub queued: u64,
}

/// See the module. Answers are counted where the ask came from outside.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    agents: usize,
    pub controllers: BTreeMap<NodeId, Controller>,
    pub leaders: u64,
    /// Whether a leader followed another.
    last_leader: Option<NodeId>,
    pub leader_changes: u64,
    pub crashes: u64,
    pub paused: u64,
    /// Processes that ended with their disks.
    pub failed: u64,
    /// Clocks that were told to be wrong.
    pub drifts: u64,
    pub entries: u64,
    highest: u64,
    pub commands: u64,
    /// Commands that the log did though nobody waited for them any more.
    pub for_nobody: u64,
    /// Most commands in one entry.
    commands_most: u64,
    /// From the proposal of an entry to the first replica that applied it.
    commits: Spread,
    /// Furthest that the global clock lagged behind the leader's, while nothing was wrong and ever.
    clock_lag_calm: Duration,
    clock_lag: Duration,
    /// When the clock was right last.
    clock: Time,
    /// Entries that took as long as a slow disk does.
    pub slow_disk_hits: u64,
    pub granted: u64,
    pub extended: u64,
    pub held_by_another: u64,
    pub refused: u64,
    pub released: u64,
    pub overloaded: u64,
    pub not_leader: u64,
    pub expired: u64,
    pub cancelled: u64,
    pub unknown: u64,
    pub void: u64,
    /// Claims that gave a lease to somebody, and those that extended what was held already.
    pub leases_granted: u64,
    pub leases_renewed: u64,
    pub leases_expired: u64,
    fence: u64,
    pub waited: u64,
    agents_started: u64,
    pub lived: Agents,
    pub picture: Picture,
    pub dials: u64,
    /// Agents that were logged in, each time.
    logins: u64,
    pub dials_failed: u64,
    pub redirects: u64,
    pub refusals: u64,
    pub forwarded: u64,
    /// Asks handed on again.
    pub tried_again: u64,
    /// Asks handed on that have no answer, for telling those apart.
    sent: Lookup<(NodeId, AskId), ()>,
    /// How long those waited who were told that it was done, or refused by the table.
    pub definite: Spread,
    pub api_door_opened: u64,
    /// API doors opened while an agent had already been turned away.
    pub api_door_opened_late: u64,
    /// API doors shut while their controllers ran.
    pub api_door_shut: u64,
    /// Controller ports switched on or off.
    pub toggled: u64,
    /// Controllers that were told to stop, and agents that they sent elsewhere.
    pub stopped: u64,
    pub sent_elsewhere: u64,
    stopping: BTreeSet<NodeId>,
    pub errors: u64,
    /// Complaints of controllers about their files, doors that moved while they were bound, and lists
    /// that agents wrote down.
    pub complaints: u64,
    pub doors_moved: u64,
    pub lists_written: u64,
    bound: BTreeSet<NodeId>,
    /// Changes of voters, and of the leader, that were ordered; processes that ended by themselves.
    pub appointed: u64,
    pub handed_over: u64,
    pub left: u64,
    /// Controllers that were sent a snapshot, having been away for longer than the log goes back.
    pub snapshots_sent: u64,
    /// The last entry that each controller is known to have applied.
    applied_at: BTreeMap<NodeId, u64>,
    pub crowd: Crowd,
    /// What became of the workers that run on one controller alone, if there are any.
    pub singles: Option<Singles>,
    /// What the front did, if there is one.
    pub gate: Option<Gate>,
    /// When all agents were connected for the first time and, after the faults, again.
    pub all_connected: Option<Time>,
    pub all_connected_again: Option<Time>,
}

impl Counts {
    /// Nothing was counted.
    pub fn new(plan: &Plan) -> Counts {
        Counts {
            agents: plan.settings.agents.count as usize,
            lived: Agents::new(plan),
            crowd: Crowd::new(plan.controllers()),
            singles: plan.settings.singular.as_ref().map(|_| Singles::default()),
            gate: plan.settings.front.as_ref().map(|_| Gate::default()),
            controllers: plan.controllers().map(|node| (node, Controller::default())).collect(),
            ..Counts::default()
        }
    }

    /// Counts one event.
    pub fn note(&mut self, at: Time, who: Who, event: &Event<'_>, facts: &Facts) {
        self.crowd.note(at, who, event);
        if self.gate.is_some() {
            self.fronted(at, event);
        }
        if let (Who::Controller(node), Event::Applied { index, .. }) = (who, event) {
            self.applied_at.insert(node, *index);
        }
        match (who, event) {
            (Who::Controller(node), Event::Told(input)) => self.told(at, node, input, facts),
            (Who::Controller(node), Event::Ordered(output)) => {
                self.ordered(at, node, output, facts);
            }
            (Who::Controller(node), Event::Memory(bytes)) => {
                let controller = self.controllers.entry(node).or_default();
                controller.memory = controller.memory.max(*bytes);
            }
            (Who::Controller(node), Event::BacklogFull) => {
                self.controllers.entry(node).or_default().backlog_full += 1;
            }
            (Who::Controller(node), Event::Killed(_)) => {
                self.controllers.entry(node).or_default().killed += 1;
            }
            (Who::Agent(agent), Event::AgentTold(input)) => {
                self.agent_told(at, agent, input, facts);
            }
            (Who::Agent(agent), Event::AgentOrdered(output)) => {
                self.agent_ordered(at, agent, output, facts);
            }
            (_, Event::Did(Deed::Crash(_))) => self.crashes += 1,
            (_, Event::Did(Deed::Left(_))) => self.left += 1,
            (_, Event::Did(Deed::Failed(_))) => self.failed += 1,
            (_, Event::Did(Deed::Drift { by, .. })) => self.drifts += u64::from(*by != 0),
            (_, Event::Did(Deed::Pause(_))) => self.paused += 1,
            (_, Event::Singular(single)) => {
                if let Some(singles) = &mut self.singles {
                    singles.note(who, single);
                }
            }
            (_, Event::Cluster(Affair::Ordered(order))) => match order {
                roles::Output::Appoint { .. } => self.appointed += 1,
                roles::Output::HandOver { .. } => self.handed_over += 1,
                roles::Output::Look
                | roles::Output::Found
                | roles::Output::Add { .. }
                | roles::Output::Drop { .. } => {}
            },
            (_, Event::Did(Deed::Herd)) => self.all_connected_again = None,
            (_, Event::Applied { index, entry, applied }) if *index > self.highest => {
                self.highest = *index;
                self.entries += 1;
                let commands = entry.commands.len() as u64;
                self.commands += commands;
                self.commands_most = self.commands_most.max(commands);
                let wanted = |operation| facts.wants(at, operation);
                let unwanted = entry.commands.iter().filter(|one| !wanted(&one.operation));
                self.for_nobody += unwanted.count() as u64;
                self.applied(applied);
                self.clock_moved(at, facts);
            }
            (_, Event::Error(_)) => self.errors += 1,
            (_, Event::Applied { .. } | Event::Did(_))
            | (_, Event::AgentTold(_) | Event::AgentOrdered(_))
            | (_, Event::Told(_) | Event::Ordered(_) | Event::Memory(_))
            | (_, Event::Cluster(_))
            | (_, Event::Front(_) | Event::BacklogFull | Event::Killed(_)) => {}
        }
    }

    fn told(&mut self, at: Time, node: NodeId, input: &Input, facts: &Facts) {
        match input {
            Input::Connected { door, .. } => {
                let controller = self.controllers.entry(node).or_default();
                match door {
                    Door::Controller => controller.controller_door += 1,
                    Door::Api => controller.api_door += 1,
                }
            }
            Input::Arrived { kind: Kind::Other, .. } => {
                self.controllers.entry(node).or_default().held += 1;
            }
            Input::Reconfigured { .. } => self.toggled += 1,
            Input::Restored { index } => {
                // Who starts again begins with its own snapshot, which has nothing that it had not.
                let before = self.applied_at.insert(node, *index).unwrap_or_default();
                self.snapshots_sent += u64::from(*index > before);
            }
            Input::Started => {
                self.stopping.remove(&node);
                self.bound.remove(&node);
            }
            Input::Stopping => {
                self.stopping.insert(node);
            }
            Input::Led { .. } => {
                self.leaders += 1;
                let before = self.last_leader.replace(node);
                self.leader_changes += u64::from(before.is_some_and(|before| before != node));
            }
            Input::Asked { request, .. } => {
                match request {
                    Request::Wait(_) => self.waited += 1,
                    Request::Apply(_) => {}
                }
                let queued = facts.queued(node) as u64;
                let most = &mut self.controllers.entry(node).or_default().queued;
                *most = queued.max(*most);
                self.picture.queued.reach(at, queued);
            }
            Input::Arrived { kind: Kind::Controller, .. }
            | Input::Opened { .. }
            | Input::NotOpened { .. }
            | Input::LoggedIn { .. }
            | Input::Pinged { .. }
            | Input::Disconnected { .. }
            | Input::Cancelled { .. }
            | Input::Answered { .. }
            | Input::NotSent { .. }
            | Input::Lost { .. }
            | Input::Looked { .. }
            | Input::Followed { .. }
            | Input::Committed { .. }
            | Input::NotProposed { .. }
            | Input::BatchLost { .. }
            | Input::Applied { .. }
            | Input::Knocked { .. }
            | Input::Linked { .. }
            | Input::Committing { .. }
            | Input::Working { .. }
            | Input::Offered { .. }
            | Input::Heard { .. }
            | Input::Memory { .. } => {}
        }
    }

    fn ordered(&mut self, at: Time, node: NodeId, output: &Output, facts: &Facts) {
        match output {
            Output::Open { door: Door::Api } => {
                self.api_door_opened += 1;
                self.api_door_opened_late += u64::from(self.dials_failed > 0);
            }
            Output::Admit { connection } => {
                let door = facts.session(node, *connection).map(|(door, _)| door);
                let controller = self.controllers.entry(node).or_default();
                match door {
                    Some(Door::Api) => controller.api_door += 1,
                    Some(Door::Controller) | None => controller.controller_door += 1,
                }
            }
            Output::Shut { door: Door::Api } if !self.stopping.contains(&node) => {
                self.api_door_shut += 1;
            }
            Output::Redirect { .. } if self.stopping.contains(&node) => self.sent_elsewhere += 1,
            Output::Stopped => self.stopped += 1,
            Output::Complain { .. } => self.complaints += 1,
            Output::Bind { .. } => self.doors_moved += u64::from(!self.bound.insert(node)),
            Output::Hangup { .. } => self.controllers.entry(node).or_default().hangups += 1,
            Output::Send { ask, .. } => {
                self.forwarded += 1;
                self.tried_again += u64::from(self.sent.insert((node, *ask), ()).is_some());
            }
            Output::Answer { ask, answer } => {
                self.sent.remove(&(node, *ask));
                if let Some(ask) = facts.ended().filter(|ask| ask.edge) {
                    self.answered(ask.operation.as_deref(), answer);
                    if let Answer::Done { .. } | Answer::Refused { .. } = answer {
                        self.definite.add(at.since(ask.since));
                    }
                }
            }
            Output::Open { door: Door::Controller }
            | Output::Accept { .. }
            | Output::Hold { .. }
            | Output::Condition { .. }
            | Output::Shut { .. }
            | Output::Propose { .. }
            | Output::Recall { .. }
            | Output::Welcome { .. }
            | Output::Refuse { .. }
            | Output::Redirect { .. }
            | Output::Tell { .. }
            | Output::Look { .. } => {}
        }
    }

    fn answered(&mut self, operation: Option<&Operation>, answer: &Answer) {
        let counter = match answer {
            Answer::Done { done: Done::Granted { .. }, .. } => match operation {
                Some(Operation::Extend { .. }) => &mut self.extended,
                Some(
                    Operation::Claim { .. }
                    | Operation::Revoke { .. }
                    | Operation::Pin { .. }
                    | Operation::Unpin { .. },
                )
                | None => &mut self.granted,
            },
            Answer::Done { done: Done::Revoked | Done::Pinned | Done::Unpinned, .. } => return,
            Answer::Refused { refusal: Refusal::Held { .. }, .. } => &mut self.held_by_another,
            Answer::Refused { refusal: Refusal::Void, .. } => &mut self.void,
            Answer::Refused { refusal: Refusal::NotHeld | Refusal::Full, .. } => &mut self.refused,
            Answer::Released => &mut self.released,
            Answer::Overloaded { .. } => &mut self.overloaded,
            Answer::NotLeader { .. } => &mut self.not_leader,
            Answer::Expired => &mut self.expired,
            Answer::Cancelled => &mut self.cancelled,
            Answer::Unknown => &mut self.unknown,
        };
        *counter += 1;
    }

    fn applied(&mut self, applied: &Applied) {
        let mut revoked = 0;
        for done in applied.outcomes.iter().flatten() {
            match done {
                Done::Granted { fence, .. } if *fence > self.fence => {
                    self.fence = *fence;
                    self.leases_granted += 1;
                }
                Done::Granted { .. } => self.leases_renewed += 1,
                Done::Revoked => revoked += 1,
                Done::Pinned | Done::Unpinned => {}
            }
        }
        self.leases_expired += applied.released.len() as u64 - revoked;
    }

    /// An entry was applied first; perhaps it moved the clock.
    fn clock_moved(&mut self, at: Time, facts: &Facts) {
        let right = facts.clock();
        if right <= self.clock {
            return;
        }
        let before = std::mem::replace(&mut self.clock, right);
        let lag = at.since(before);
        self.clock_lag = self.clock_lag.max(lag);
        if facts.calm_since().is_some_and(|since| since <= before) {
            self.clock_lag_calm = self.clock_lag_calm.max(lag);
        }
        let took = at.since(right);
        self.commits.add(took);
        let slow = facts.slow_disk();
        self.slow_disk_hits += u64::from(slow > Duration::ZERO && took >= slow);
    }

    fn agent_ordered(&mut self, at: Time, agent: u32, output: &agent::Output, facts: &Facts) {
        match output {
            agent::Output::Dial { .. } => self.dials += 1,
            agent::Output::Hangup => self.connected(at, facts),
            agent::Output::Remember { .. } => self.lists_written += 1,
            agent::Output::Login
            | agent::Output::Ping
            | agent::Output::Send { .. }
            | agent::Output::Answer { .. }
            | agent::Output::Lead { .. }
            | agent::Output::Follow => {}
        }
        self.lived.ordered(at, agent, output);
    }

    fn connected(&mut self, at: Time, facts: &Facts) {
        self.picture.connected.stand(at, facts.agents_connected() as u64);
    }

    fn agent_told(&mut self, at: Time, agent: u32, input: &agent::Input, facts: &Facts) {
        if self.lived.told(at, agent, input) {
            self.picture.answered.count(at);
        }
        match input {
            agent::Input::Failed => self.dials_failed += 1,
            agent::Input::Redirected { .. } => self.redirects += 1,
            agent::Input::Refused { .. } => self.refusals += 1,
            agent::Input::LoggedIn { .. } => {
                self.logins += u64::from((agent as usize) < self.agents);
                self.connected(at, facts);
                if facts.agents_connected() == self.agents {
                    self.all_connected.get_or_insert(at);
                    self.all_connected_again.get_or_insert(at);
                }
            }
            agent::Input::Disconnected | agent::Input::Started => {
                self.all_connected_again = None;
                self.connected(at, facts);
                let starts = matches!(input, agent::Input::Started);
                self.agents_started += u64::from(starts && (agent as usize) < self.agents);
            }
            agent::Input::Connected
            | agent::Input::Told { .. }
            | agent::Input::Ponged
            | agent::Input::Answered { .. }
            | agent::Input::Asked { .. }
            | agent::Input::Stopped => {}
        }
    }

    /// Counts what the front does, and draws what comes of it.
    fn fronted(&mut self, at: Time, event: &Event<'_>) {
        if let (Some(gate), Event::Front(event)) = (&mut self.gate, event) {
            gate.note(event);
        }
        for (node, agents) in self.crowd.agents() {
            self.picture.spread.entry(node).or_default().stand(at, agents);
        }
    }

    /// What became of single workers; nothing where there are none.
    pub fn singles(&self) -> Singles {
        self.singles.clone().unwrap_or_default()
    }

    /// What the front did; nothing where there is none.
    pub fn gate(&self) -> Gate {
        self.gate.clone().unwrap_or_default()
    }

    /// How often each agent was logged in on average, in hundredths: once is the least.
    pub fn logins_each(&self) -> String {
        let hundredths = self.logins * 100 / self.agents.max(1) as u64;
        format!("{}.{:02}", hundredths / 100, hundredths % 100)
    }

    /// How often agents started again.
    pub fn agents_restarted(&self) -> u64 {
        self.agents_started.saturating_sub(self.agents as u64)
    }

    /// The sum of one figure over the controllers.
    pub fn sum(&self, figure: fn(&Controller) -> u64) -> u64 {
        self.controllers.values().map(figure).sum()
    }
}
