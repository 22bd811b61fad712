//! Counts: the figures on a run's page, and what `sometimes` asks about.

use std::collections::BTreeMap;
use std::fmt;

use portcullis_core::controller::{Input, Output};
use portcullis_core::lease::{Done, Operation, Refusal};
use portcullis_core::queue::Answer;
use portcullis_core::{Door, NodeId, Time, agent};

use crate::facts::Facts;
use crate::history::{Event, Who};
use crate::plan::Plan;
use crate::settings::Bytes;
use crate::stage::Deed;

/// What one controller did.
#[derive(Clone, Debug, Default)]
pub struct Controller {
    /// Connections let in, by door.
    pub controller_door: u64,
    pub api_door: u64,
    pub hangups: u64,
    pub backlog_full: u64,
    pub killed: u64,
    pub memory: Bytes,
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
    pub entries: u64,
    highest: u64,
    pub commands: u64,
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
    pub leases_expired: u64,
    pub dials: u64,
    pub dials_failed: u64,
    pub redirects: u64,
    pub refusals: u64,
    pub forwarded: u64,
    pub api_door_opened: u64,
    /// API doors opened while an agent had already been turned away.
    pub api_door_opened_late: u64,
    pub errors: u64,
    /// When all agents were connected for the first time and, after the faults, again.
    pub all_connected: Option<Time>,
    pub all_connected_again: Option<Time>,
}

impl Counts {
    /// Nothing was counted.
    pub fn new(plan: &Plan) -> Counts {
        Counts {
            agents: plan.settings.agents.count as usize,
            controllers: plan.controllers().map(|node| (node, Controller::default())).collect(),
            ..Counts::default()
        }
    }

    /// Counts one event.
    pub fn note(&mut self, at: Time, who: Who, event: &Event<'_>, facts: &Facts) {
        match (who, event) {
            (Who::Controller(node), Event::Told(input)) => self.told(node, input),
            (Who::Controller(node), Event::Ordered(output)) => self.ordered(node, output, facts),
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
            (_, Event::AgentTold(input)) => self.agent_told(at, input, facts),
            (_, Event::AgentOrdered(agent::Output::Dial { .. })) => self.dials += 1,
            (_, Event::Did(Deed::Crash(_))) => self.crashes += 1,
            (_, Event::Did(Deed::Herd)) => self.all_connected_again = None,
            (_, Event::Applied { index, entry, applied }) if *index > self.highest => {
                self.highest = *index;
                self.entries += 1;
                self.commands += entry.commands.len() as u64;
                let revoked = |outcome: &&_| matches!(outcome, Ok(Done::Revoked));
                let revoked = applied.outcomes.iter().filter(revoked).count();
                self.leases_expired += (applied.released.len() - revoked) as u64;
            }
            (_, Event::Error(_)) => self.errors += 1,
            (_, Event::Applied { .. } | Event::Did(_) | Event::AgentOrdered(_))
            | (_, Event::Told(_) | Event::Ordered(_) | Event::Memory(_))
            | (_, Event::BacklogFull | Event::Killed(_)) => {}
        }
    }

    fn told(&mut self, node: NodeId, input: &Input) {
        match input {
            Input::Connected { door, .. } => {
                let controller = self.controllers.entry(node).or_default();
                match door {
                    Door::Controller => controller.controller_door += 1,
                    Door::Api => controller.api_door += 1,
                }
            }
            Input::Led { .. } => {
                self.leaders += 1;
                let before = self.last_leader.replace(node);
                self.leader_changes += u64::from(before.is_some_and(|before| before != node));
            }
            Input::Started
            | Input::Opened { .. }
            | Input::NotOpened { .. }
            | Input::LoggedIn { .. }
            | Input::Pinged { .. }
            | Input::Disconnected { .. }
            | Input::Asked { .. }
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
            | Input::Reconfigured { .. }
            | Input::Restored { .. }
            | Input::Stopping => {}
        }
    }

    fn ordered(&mut self, node: NodeId, output: &Output, facts: &Facts) {
        match output {
            Output::Open { door: Door::Api } => {
                self.api_door_opened += 1;
                self.api_door_opened_late += u64::from(self.dials_failed > 0);
            }
            Output::Hangup { .. } => self.controllers.entry(node).or_default().hangups += 1,
            Output::Send { .. } => self.forwarded += 1,
            Output::Answer { answer, .. } => {
                if let Some(ask) = facts.ended().filter(|ask| ask.edge) {
                    self.answered(ask.operation.as_ref(), answer);
                }
            }
            Output::Open { door: Door::Controller }
            | Output::Accept { .. }
            | Output::Shut { .. }
            | Output::Propose { .. }
            | Output::Recall { .. }
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

    fn agent_told(&mut self, at: Time, input: &agent::Input, facts: &Facts) {
        match input {
            agent::Input::Failed => self.dials_failed += 1,
            agent::Input::Redirected { .. } => self.redirects += 1,
            agent::Input::Refused { .. } => self.refusals += 1,
            agent::Input::LoggedIn { .. } => {
                if facts.agents_connected() == self.agents {
                    self.all_connected.get_or_insert(at);
                    self.all_connected_again.get_or_insert(at);
                }
            }
            agent::Input::Disconnected => self.all_connected_again = None,
            agent::Input::Started
            | agent::Input::Connected
            | agent::Input::Ponged
            | agent::Input::Answered { .. }
            | agent::Input::Asked { .. }
            | agent::Input::Stopped => {}
        }
    }

    /// The sum of one figure over the controllers.
    pub fn sum(&self, figure: fn(&Controller) -> u64) -> u64 {
        self.controllers.values().map(figure).sum()
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (node, it) in &self.controllers {
            write!(f, "  {:<22}api door {}", node.to_string(), it.api_door)?;
            write!(f, ", controller door {}", it.controller_door)?;
            let figures =
                [("hung up", it.hangups), ("backlog full", it.backlog_full), ("killed", it.killed)];
            for (name, count) in figures.into_iter().filter(|(_, count)| *count > 0) {
                write!(f, ", {name} {count}")?;
            }
            if it.memory > Bytes(0) {
                write!(f, ", memory {} KiB at most", it.memory.0 >> 10)?;
            }
            writeln!(f)?;
        }
        let row = |f: &mut fmt::Formatter<'_>, name: &str, figures: &[(&str, u64)]| {
            write!(f, "  {name:<22}")?;
            for (index, (figure, count)) in figures.iter().enumerate() {
                write!(f, "{}{figure} {count}", if index > 0 { ", " } else { "" })?;
            }
            writeln!(f)
        };
        row(f, "leadership", &[("terms", self.leaders), ("changes", self.leader_changes)])?;
        row(f, "log", &[("entries", self.entries), ("commands", self.commands)])?;
        row(
            f,
            "claims",
            &[
                ("granted", self.granted),
                ("extended", self.extended),
                ("held by another", self.held_by_another),
                ("refused", self.refused),
                ("void", self.void),
            ],
        )?;
        row(
            f,
            "other answers",
            &[
                ("released", self.released),
                ("overloaded", self.overloaded),
                ("not leader", self.not_leader),
                ("expired", self.expired),
                ("cancelled", self.cancelled),
                ("unknown", self.unknown),
            ],
        )?;
        row(f, "leases", &[("expired", self.leases_expired)])?;
        row(
            f,
            "dials",
            &[
                ("made", self.dials),
                ("failed", self.dials_failed),
                ("refused", self.refusals),
                ("redirected", self.redirects),
            ],
        )?;
        let time = |time: Option<Time>| time.map_or("never".into(), |time| time.to_string());
        writeln!(f, "  {:<22}{}", "all connected at", time(self.all_connected))?;
        writeln!(f, "  {:<22}{}", "and for good at", time(self.all_connected_again))
    }
}
