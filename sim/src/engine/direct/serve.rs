//! What a controller's machine is told, and what is done on its orders.

use std::time::Duration;

use portcullis_core::controller::{Input, Output};
use portcullis_core::listener::Kind;
use portcullis_core::sessions::Party;
use portcullis_core::{AskId, ConnectionId, Door, Machine, NodeId, Time};

use super::link::{Caller, Down, Hop, LinkId, Message, Served, Up};
use super::process::Permit;
use super::rival::Rival;
use super::{Event, World};
use crate::history::{Event as Fact, Who};

/// Time of the processor to check a login: a password is hashed once, then remembered.
const LOGIN_COST: Duration = Duration::from_micros(50);

impl World<'_> {
    /// Tells a controller's machine, once it has been told all before.
    pub(super) fn tell(&mut self, node: NodeId, input: Input) {
        self.told.push_back((node, input));
    }

    /// Tells the machines all that they are still to be told, and does what they order.
    pub(super) fn drain(&mut self) {
        self.drain_controllers();
        while self.drain_front() {
            self.drain_controllers();
        }
    }

    fn drain_controllers(&mut self) {
        while let Some((node, input)) = self.told.pop_front() {
            if self.process(node).machine.is_none() {
                continue;
            }
            let Some(input) = self.miss_told(node, input) else { continue };
            self.record(Who::Controller(node), Fact::Told(&input));
            let mut orders = std::mem::take(&mut self.orders);
            let now = self.clock(node);
            let input = self.tell_rival(node, input, &mut orders);
            if let (Some(machine), Some(input)) = (&mut self.process(node).machine, input) {
                machine.handle(now, input, &mut orders);
            }
            self.obey(node, orders);
        }
    }

    /// A controller's timer fires.
    pub(super) fn controller_due(&mut self, node: NodeId) {
        let (now, shown) = (self.now, self.clock(node));
        let mut orders = std::mem::take(&mut self.orders);
        let process = self.process(node);
        if process.timer <= now {
            process.timer = Time(u64::MAX);
            if let Some(machine) = &mut process.machine {
                machine.handle_timeout(shown, &mut orders);
            }
            self.rival_due(node, &mut orders);
        }
        self.obey(node, orders);
    }

    fn obey(&mut self, node: NodeId, orders: Vec<Output>) {
        let mut orders = self.through_rival(node, orders);
        for order in orders.drain(..) {
            self.record(Who::Controller(node), Fact::Ordered(&order));
            self.execute(node, order);
        }
        self.orders = orders;
        let machine = self.process(node).machine.as_ref().and_then(Machine::poll_timeout);
        let machine = machine.map(|due| self.when(node, due.at));
        let process = self.process(node);
        let rival = process.rival.as_ref().and_then(Rival::due);
        let due = machine.into_iter().chain(rival).min();
        if let Some(due) = due.filter(|due| *due < process.timer) {
            process.timer = due;
            let at = due.max(self.now);
            self.heap.push(at, Event::Timer(node));
        }
        self.weigh(node);
    }

    fn execute(&mut self, node: NodeId, order: Output) {
        match order {
            Output::Open { door } => {
                self.bound(node, door);
                self.tell(node, Input::Opened { door });
            }
            Output::Accept { door } => {
                self.process(node).door(door).permit = Some(Permit::Accept);
                self.accept(node, door);
            }
            Output::Hold { door } => {
                self.process(node).door(door).permit = Some(Permit::Hold);
                self.accept(node, door);
            }
            Output::Admit { connection } => self.shake(node, connection),
            Output::Condition { .. } | Output::Complain { .. } => {}
            Output::Bind { host } => self.bind(node, host),
            Output::Stopped => self.drained(node),
            Output::Shut { door } => {
                let port = std::mem::take(self.process(node).door(door));
                port.backlog.into_iter().for_each(|link| self.let_go(link));
            }
            Output::Welcome { connection, first } => {
                self.reply(node, connection, Down::Welcome { first });
                if let Some(link) = self.process(node).link(connection) {
                    self.tell_addresses(node, link, first);
                }
            }
            Output::Refuse { connection } => self.reply(node, connection, Down::Refused),
            Output::Redirect { connection, to } => {
                self.reply(node, connection, Down::Redirected { to });
            }
            Output::Tell { load } => self.tell_load(node, load),
            Output::Hangup { connection, .. } => {
                if let Some(link) = self.process(node).disconnect(connection) {
                    self.let_go(link);
                    self.tell(node, Input::Disconnected { connection });
                }
            }
            Output::Propose { batch, entry } => {
                if let Some(raft) = &mut self.process(node).raft {
                    raft.propose(batch, entry);
                }
            }
            Output::Send { ask, to, operation, patience } => {
                self.hand_on(node, ask, to, operation, patience);
            }
            Output::Recall { ask, to } => self.recall(node, ask, to),
            Output::Look { ask, key } => {
                let held = self.process(node).raft.as_ref().is_some_and(|raft| raft.held(&key));
                self.tell(node, Input::Looked { ask, held });
            }
            Output::Answer { ask, answer } => {
                self.process(node).asks -= 1;
                if ask.connection == ConnectionId::OWN {
                    return self.own_answered(node, ask.serial, answer);
                }
                let answer = Down::Answer { serial: ask.serial, answer };
                self.reply(node, ask.connection, answer);
            }
        }
    }

    /// Says something on a connection, unless that is gone.
    fn reply(&mut self, node: NodeId, connection: ConnectionId, down: Down) {
        if let Some(link) = self.process(node).link(connection) {
            self.send(link, Message::Down(down));
        }
    }

    /// Lets the next connection in, if there is a permit and somebody waits.
    pub(super) fn accept(&mut self, node: NodeId, door: Door) {
        if door == Door::Api && self.turns_away(node) {
            return self.turn_stranger_away(node);
        }
        let port = self.process(node).door(door);
        let Some(permit) = port.permit else { return };
        let Some(id) = port.backlog.pop_front() else { return };
        self.let_in(node, door, permit, id);
    }

    /// Lets in who was first in the backlog.
    pub(super) fn let_in(&mut self, node: NodeId, door: Door, permit: Permit, id: LinkId) {
        let process = self.process(node);
        process.door(door).permit = None;
        let connection = process.connect(id);
        let Some(link) = self.links.get(id) else { return };
        link.served = Served::Accepted(connection);
        let (caller, wanted) = (link.caller, link.wanted);
        match permit {
            Permit::Accept => {
                self.tell(node, Input::Connected { connection, door });
                self.shake(node, connection);
            }
            Permit::Hold => {
                self.tell(node, Input::Knocked { connection, door });
                // What it says first has been in the kernel's buffer, or it has left.
                let kind = match caller {
                    Caller::Client(_) => Kind::Other,
                    Caller::Controller(_) => Kind::Controller,
                };
                if wanted {
                    self.tell(node, Input::Arrived { connection, door, kind });
                } else {
                    self.closed(id, node, connection);
                }
            }
        }
    }

    /// The processor begins the handshake of a connection, unless that is gone.
    fn shake(&mut self, node: NodeId, connection: ConnectionId) {
        let handshake = self.plan.settings.controllers.handshake_cost;
        let now = self.now;
        let process = self.process(node);
        if let Some(link) = process.link(connection) {
            let shaken = process.work(now, handshake);
            self.heap.push(shaken, Event::Shaken(link));
        }
    }

    /// Something from a caller arrives.
    pub(super) fn arrive_up(&mut self, id: LinkId, up: Up) {
        let Some(link) = self.links.get(id) else { return };
        let (node, door, caller) = (link.node, link.door, link.caller);
        let connection = match link.served {
            Served::Knocking => {
                return match link.hop {
                    Hop::None => self.knocked(id, node, door),
                    Hop::Outside | Hop::Joining { .. } => self.knocked_by_front(id),
                    // Knocks come before anything that a joined link carries.
                    Hop::Joined { .. } | Hop::Over => {}
                };
            }
            // Whoever closes before being let in is found out about afterwards.
            Served::Waiting => return,
            Served::Accepted(connection) => connection,
            Served::Gone => return self.send(id, Message::Down(Down::Closed)),
        };
        match up {
            Up::Knock => {}
            Up::Login => {
                let now = self.now;
                let checked = self.process(node).work(now, LOGIN_COST);
                self.heap.push(checked, Event::Checked(id));
            }
            Up::Ping => {
                self.tell(node, Input::Pinged { connection });
                self.send(id, Message::Down(Down::Pong));
            }
            Up::Ask { serial, request, patience } => {
                let process = self.process(node);
                process.asks += 1;
                let raft = process.raft.as_ref();
                let renews = raft.is_some_and(|raft| raft.renews(&request));
                let ask = AskId { connection, serial };
                self.tell(node, Input::Asked { ask, request, renews, patience });
            }
            Up::TakeBack { serial } => {
                self.tell(node, Input::Cancelled { ask: AskId { connection, serial } });
            }
            Up::Load(load) => {
                if let Caller::Controller(from) = caller {
                    self.tell(node, Input::Heard { from, load });
                }
            }
            Up::Close => self.closed(id, node, connection),
        }
    }

    fn knocked(&mut self, id: LinkId, node: NodeId, door: Door) {
        let room = self.plan.settings.controllers.backlog;
        let port = self.process(node).door(door);
        let served = if !port.bound {
            self.send(id, Message::Down(Down::Closed));
            Served::Gone
        } else if port.backlog.len() >= room {
            self.record(Who::Controller(node), Fact::BacklogFull);
            Served::Gone
        } else {
            port.backlog.push_back(id);
            Served::Waiting
        };
        if let Some(link) = self.links.get(id) {
            link.served = served;
        }
        self.links.release(id);
        self.accept(node, door);
    }

    /// The handshake is done, or fails because the caller has left.
    pub(super) fn shaken(&mut self, id: LinkId) {
        let Some(link) = self.links.get(id) else { return };
        let (node, wanted) = (link.node, link.wanted);
        let Served::Accepted(connection) = link.served else { return };
        if wanted {
            self.send(id, Message::Down(Down::Connected));
        } else {
            self.closed(id, node, connection);
        }
    }

    /// The login is checked; in this engine it is always right. The machine says what comes of it.
    pub(super) fn checked(&mut self, id: LinkId) {
        let Some(link) = self.links.get(id) else { return };
        let (node, caller) = (link.node, link.caller);
        let Served::Accepted(connection) = link.served else { return };
        let agents = self.plan.settings.agents.count;
        let party = match caller {
            Caller::Client(number) if number < agents => Party::Agent,
            Caller::Client(_) => Party::User,
            Caller::Controller(node) => Party::Controller(node),
        };
        self.tell(node, Input::LoggedIn { connection, party });
    }

    /// The controller finds the caller gone.
    pub(super) fn closed(&mut self, id: LinkId, node: NodeId, connection: ConnectionId) {
        if self.process(node).disconnect(connection).is_some() {
            self.tell(node, Input::Disconnected { connection });
        }
        self.parted(id);
        if let Some(link) = self.links.get(id) {
            link.served = Served::Gone;
        }
        self.links.release(id);
    }

    /// The controller, or its kernel, closes a link.
    pub(super) fn let_go(&mut self, id: LinkId) {
        let Some(link) = self.links.get(id) else { return };
        link.served = Served::Gone;
        if link.wanted {
            self.send(id, Message::Down(Down::Closed));
        }
        self.parted(id);
        self.links.release(id);
    }

    /// Records a process's memory, tells its machine, and kills it for it.
    pub(super) fn weigh(&mut self, node: NodeId) {
        let per_connection = self.plan.settings.controllers.memory_per_connection;
        let process = self.process(node);
        if process.machine.is_none() {
            return;
        }
        let memory = process.memory(per_connection);
        if process.grown(memory) {
            self.record(Who::Controller(node), Fact::Memory(memory));
        }
        let limit = self.memory_limit;
        if memory > limit {
            self.kill(node, memory);
        } else if self.plan.settings.policy.ceiling && self.process(node).moved(memory, limit) {
            self.tell(node, Input::Memory { used: memory.0, limit: limit.0 });
        }
    }
}
