//! The machine that gives out roles at each controller, and what operators do to the members.

use std::time::Duration;

use portcullis::env::Affair;
use portcullis_core::controller::Input as Controller;
use portcullis_core::members::{Command, KeyHash, Standing, TokenHash};
use portcullis_core::roles::{Input, Output};
use portcullis_core::{GlobalTime, Machine, NodeId, Time};

use super::raft::Life;
use super::{Event, World};
use crate::history::{Event as Fact, Who};
use crate::members;
use crate::stage::Deed;

/// Wait before an operator tries again what could not be done.
const AGAIN: Duration = Duration::from_secs(1);
/// From serving nobody any more to the end of the process; production waits as long for somebody to
/// take over.
const STOP_WITHIN: Duration = Duration::from_secs(5);
/// Who has answered raft within this is heard, as in production.
const HEARD_WITHIN: Duration = Duration::from_secs(1);

impl World<'_> {
    /// Tells the machine that gives out roles, if this run has one.
    pub(super) fn tell_roles(&mut self, node: NodeId, input: Input) {
        let now = self.clock(node);
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            let Some(roles) = &mut self.process(node).roles else { return };
            let mut orders = Vec::new();
            let told = input.clone();
            roles.handle(now, input, &mut orders);
            self.record(Who::Controller(node), Fact::Cluster(Affair::Told(&told)));
            self.obey_roles(node, orders, &mut inputs);
        }
    }

    /// The timer of that machine fires.
    pub(super) fn roles_due(&mut self, life: Life) {
        let node = life.node;
        let now = self.clock(node);
        if !self.process(node).lives(life) {
            return;
        }
        self.process(node).roles_timer = Time(u64::MAX);
        let Some(roles) = &mut self.process(node).roles else { return };
        let mut orders = Vec::new();
        roles.handle_timeout(now, &mut orders);
        let mut inputs = Vec::new();
        self.obey_roles(node, orders, &mut inputs);
        inputs.into_iter().for_each(|input| self.tell_roles(node, input));
    }

    fn obey_roles(&mut self, node: NodeId, orders: Vec<Output>, inputs: &mut Vec<Input>) {
        for order in orders {
            self.record(Who::Controller(node), Fact::Cluster(Affair::Ordered(&order)));
            let found = members::found(self.plan);
            let process = self.process(node);
            let Some(raft) = &process.raft else { continue };
            if order == Output::Look {
                let reaches = |to| {
                    process.peers.get(&to).is_some_and(|peer| matches!(peer.link, Some((_, true))))
                };
                let seen = raft.picture(HEARD_WITHIN, reaches);
                inputs.extend(seen.map(|picture| Input::Seen(Box::new(picture))));
            } else {
                raft.change(order, found);
            }
        }
        let due = self.process(node).roles.as_ref().and_then(Machine::poll_timeout);
        let due = due.map(|due| self.when(node, due.at));
        let process = self.process(node);
        if let Some(due) = due.filter(|due| *due < process.roles_timer) {
            process.roles_timer = due;
            let life = process.life;
            self.heap.push(due.max(self.now), Event::Roles(life));
        }
    }

    /// Whether `node` was removed, as far as `at` knows, and has no part in the log there any more.
    pub(super) fn gone(&mut self, at: NodeId, node: NodeId) -> bool {
        let raft = self.process(at).raft.as_ref();
        raft.is_some_and(|raft| raft.gone(node))
    }

    /// A process whose controller was removed ends once it knows that and has no vote.
    pub(super) fn leave_if_removed(&mut self, node: NodeId) {
        let raft = self.process(node).raft.as_ref();
        let ends = raft.is_some_and(|raft| {
            raft.members().standing(node) == Standing::Removed && !raft.votes(node)
        });
        if ends {
            self.left(node);
        }
    }

    /// A process ends because its controller was removed.
    pub(super) fn left(&mut self, node: NodeId) {
        if self.process(node).machine.is_some() {
            self.record(Who::World, Fact::Did(&Deed::Left(node)));
            self.die(node);
        }
    }

    /// Does what an operator wants done about the members, over and over until it is.
    pub(super) fn operate(&mut self, deed: Deed) {
        let founded = |world: &mut World<'_>, leader: NodeId| {
            let raft = world.process(leader).raft.as_ref();
            raft.is_some_and(|raft| raft.members().founded())
        };
        let leader = self.history.leader().filter(|leader| founded(self, *leader));
        let done = leader.is_some_and(|leader| self.operate_at(leader, &deed));
        if !done {
            self.heap.push(self.now + AGAIN, Event::Operate(deed));
        }
    }

    /// One try, at the leader; says whether it is done.
    fn operate_at(&mut self, leader: NodeId, deed: &Deed) -> bool {
        let plan = self.plan;
        let Some(raft) = &self.process(leader).raft else { return false };
        let members = raft.members();
        match deed {
            Deed::Join(node) if members.standing(*node) == Standing::Joined => {
                if self.process(*node).machine.is_none() {
                    self.start(*node);
                }
                true
            }
            Deed::Join(node) => {
                let token = TokenHash([node.0 as u8; 32]);
                let (void_after, key) = (GlobalTime(u64::MAX), KeyHash(token.0));
                raft.command(match members.tokens().any(|(known, _)| known == token) {
                    false => Command::Invite { token, void_after },
                    true => Command::Join { token, member: members::member(plan, *node), key },
                });
                false
            }
            Deed::Remove(node) if members.get(*node).is_none() => true,
            Deed::Remove(node) => {
                raft.command(Command::Remove { node: *node });
                false
            }
            other => unreachable!("{other} is not about the members"),
        }
    }

    /// A process is told to stop: it gives up its role, if somebody takes it, and sends its agents
    /// elsewhere.
    pub(super) fn stop(&mut self, node: NodeId) {
        self.process(node).crashed = true;
        if self.process(node).machine.is_none() {
            return;
        }
        match self.plan.settings.members {
            Some(_) => self.give_up(node),
            None => self.hand_over(node),
        }
        self.end_strivers(node);
        self.tell(node, Controller::Stopping);
    }

    /// Has the leader, or whoever leads next, give the role of a controller to another.
    fn give_up(&mut self, node: NodeId) {
        self.tell_roles(node, Input::Stopping);
        if let Some(leader) = self.history.leader().filter(|leader| *leader != node) {
            let links = &self.process(node).peers;
            if links.get(&leader).is_some_and(|peer| matches!(peer.link, Some((_, true)))) {
                self.tell_roles(leader, Input::Leaving { node });
            }
        }
    }

    /// Without roles, hands the lead to the next controller that runs.
    fn hand_over(&mut self, node: NodeId) {
        let count = self.processes.len() as u64;
        let others = (1..count).map(|step| NodeId((node.0 - 1 + step) % count + 1));
        let heir = others.into_iter().find(|other| self.process(*other).machine.is_some());
        let process = self.process(node);
        if process.leader.is_none()
            && let (Some(raft), Some(heir)) = (&process.raft, heir)
        {
            raft.hand_over(heir);
        }
    }

    /// Nobody is served any more by a process that was told to stop: it ends, at once if it has no
    /// role that somebody may be taking over.
    pub(super) fn drained(&mut self, node: NodeId) {
        if self.plan.settings.members.is_none() {
            return self.die(node);
        }
        let life = self.process(node).life;
        self.heap.push(self.now + STOP_WITHIN, Event::Stopped(life));
    }
}
