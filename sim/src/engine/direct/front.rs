//! The front before the controllers: its port, its knocks, its probes, and core's machine.
//!
//! It stands where the agents are, so what cuts these off cuts it off too. A link through it is one
//! link: first the front's kernel and machine have it, then a controller's, whose every message then
//! takes the way to the front as well. What its own kernel finds out it hears at once. It never
//! fails, runs short of nothing, and its own memory is not counted.

use std::collections::{BTreeMap, VecDeque};

use portcullis_core::front::{self, Fault, Input, Output, Verdict};
use portcullis_core::{BackendId, ConnectionId, Door, Machine, NodeId, Seed, Time};

use super::link::{Down, Hop, LinkId, Message, Served, Up, Way};
use super::{Event, World, configuration};
use crate::engine::network::Passage;
use crate::history::{Event as Fact, Fronted, Who};
use crate::plan::Plan;
use crate::settings;
use crate::stage::Place;

/// What is due at the front.
pub enum Due {
    Timer,
    /// These are its backends from here on.
    Set(Vec<NodeId>),
    /// A probe arrives at a controller; the front waits for an answer until then.
    Asked {
        backend: BackendId,
        node: NodeId,
        by: Time,
    },
    /// A probe is over.
    Probed {
        backend: BackendId,
        verdict: Verdict,
    },
    /// A knock has gone unanswered for too long.
    Late {
        connection: ConnectionId,
        knock: u64,
    },
}

/// See the module.
pub struct Front {
    machine: front::Front,
    set: settings::Front,
    bound: bool,
    permit: bool,
    backlog: VecDeque<LinkId>,
    /// The number of the last connection, and of the last knock at a controller.
    last: u64,
    knocks: u64,
    /// Connections that no controller has yet, and the knock that is under way for each.
    pending: BTreeMap<ConnectionId, (LinkId, u64)>,
    told: VecDeque<Input>,
    orders: Vec<Output>,
    timer: Time,
}

impl Front {
    /// A front that nobody has started.
    pub fn new(set: &settings::Front, plan: &Plan) -> Front {
        let seed = Seed(plan.settings.seed).child("front", 0);
        Front {
            machine: front::Front::new(set.config(), seed),
            set: set.clone(),
            bound: true,
            permit: false,
            backlog: VecDeque::new(),
            last: 0,
            knocks: 0,
            pending: BTreeMap::new(),
            told: VecDeque::new(),
            orders: Vec::new(),
            timer: Time(u64::MAX),
        }
    }
}

impl World<'_> {
    /// Starts the front, if there is one.
    pub(super) fn start_front(&mut self) {
        let Some(front) = &self.front else { return };
        for (at, nodes) in front.set.behind(self.plan.settings.controllers.count) {
            self.heap.push(Time(0) + at, Event::Front(Due::Set(nodes)));
        }
    }

    /// Tells the front's machine what it is still to be told. Says whether there was anything.
    pub(super) fn drain_front(&mut self) -> bool {
        let Some(front) = &mut self.front else { return false };
        let Some(input) = front.told.pop_front() else { return false };
        self.record(Who::Front, Fact::Front(Fronted::Told(&input)));
        let now = self.now;
        self.obey_front(|machine, orders| machine.handle(now, input, orders));
        true
    }

    fn obey_front(&mut self, step: impl FnOnce(&mut front::Front, &mut Vec<Output>)) {
        let Some(front) = &mut self.front else { return };
        let mut orders = std::mem::take(&mut front.orders);
        step(&mut front.machine, &mut orders);
        for order in orders.drain(..) {
            self.record(Who::Front, Fact::Front(Fronted::Ordered(&order)));
            self.execute_front(order);
        }
        let Some(front) = &mut self.front else { return };
        front.orders = orders;
        let due = front.machine.poll_timeout().map_or(Time(u64::MAX), |due| due.at);
        if due < front.timer {
            front.timer = due.max(self.now);
            self.heap.push(front.timer, Event::Front(Due::Timer));
        }
    }

    fn execute_front(&mut self, order: Output) {
        match order {
            Output::Accept => {
                self.front_mut().permit = true;
                self.accept_at_front();
            }
            Output::Withdraw => {
                if std::mem::take(&mut self.front_mut().permit) {
                    self.tell_front(Input::Withdrawn);
                }
            }
            Output::Probe { backend, address } => {
                self.probe(backend, configuration::node(&address));
            }
            Output::Connect { connection, backend, address } => {
                self.knock(connection, backend, configuration::node(&address));
            }
            Output::Refuse { connection, .. } => {
                let pending = self.front_mut().pending.remove(&connection);
                if let Some((link, _)) = pending {
                    self.turn_away(link);
                }
            }
            Output::HangUp { backend } => {
                for link in self.links.joined(backend) {
                    self.cut_off(link);
                }
            }
            Output::Announce { .. } => {}
            Output::Shut => {
                self.front_mut().bound = false;
                let backlog = std::mem::take(&mut self.front_mut().backlog);
                backlog.into_iter().for_each(|link| self.turn_away(link));
                if std::mem::take(&mut self.front_mut().permit) {
                    self.tell_front(Input::Withdrawn);
                }
            }
            Output::Exit => {}
        }
    }

    /// Something is due at the front.
    pub(super) fn front_due(&mut self, due: Due) {
        match due {
            Due::Timer => {
                let now = self.now;
                let front = self.front_mut();
                if front.timer <= now {
                    front.timer = Time(u64::MAX);
                    self.obey_front(|machine, orders| machine.handle_timeout(now, orders));
                }
            }
            Due::Set(nodes) => {
                let addresses = nodes.into_iter().map(configuration::address).collect();
                self.tell_front(Input::BackendsSet { addresses });
            }
            Due::Asked { backend, node, by } => self.asked_for_health(backend, node, by),
            Due::Probed { backend, verdict } => self.tell_front(Input::Probed { backend, verdict }),
            Due::Late { connection, knock } => {
                let pending = self.front_mut().pending.get(&connection).copied();
                let Some((id, last)) = pending else { return };
                let Some(link) = self.links.get(id).filter(|_| last == knock) else { return };
                if let Hop::Joining { answered, .. } = link.hop {
                    link.stale += u32::from(!answered && !link.stuck[Way::Up as usize]);
                    self.not_joined(id, connection);
                }
            }
        }
    }

    fn front_mut(&mut self) -> &mut Front {
        self.front.as_mut().expect("only a front has orders, and things that are due")
    }

    fn tell_front(&mut self, input: Input) {
        self.front_mut().told.push_back(input);
    }

    /// Lets the next connection in, if there is a permit and somebody waits.
    fn accept_at_front(&mut self) {
        let front = self.front_mut();
        if !front.permit {
            return;
        }
        let Some(link) = front.backlog.pop_front() else { return };
        front.permit = false;
        front.last += 1;
        let connection = ConnectionId(front.last);
        front.pending.insert(connection, (link, 0));
        self.tell_front(Input::Accepted { connection });
    }

    /// A knock of a client arrives at the front, or one of the front at a controller.
    pub(super) fn knocked_by_front(&mut self, id: LinkId) {
        let room = self.plan.settings.controllers.backlog;
        let Some(link) = self.links.get(id) else { return };
        if link.stale > 0 {
            link.stale -= 1;
            return;
        }
        let node = link.node;
        match &mut link.hop {
            Hop::Outside => {
                let front = self.front_mut();
                if !front.bound {
                    return self.turn_away(id);
                }
                if front.backlog.len() < room {
                    front.backlog.push_back(id);
                    return self.accept_at_front();
                }
                self.record(Who::Front, Fact::BacklogFull);
                self.forget(id);
            }
            Hop::Joining { connection, backend, answered } => {
                *answered = true;
                let (connection, backend) = (*connection, *backend);
                let port = self.process(node).door(Door::Api);
                if !port.bound {
                    return self.not_joined(id, connection);
                }
                if port.backlog.len() >= room {
                    // Nobody says so: the front gives it up in time.
                    return self.record(Who::Controller(node), Fact::BacklogFull);
                }
                port.backlog.push_back(id);
                if let Some(link) = self.links.get(id) {
                    (link.served, link.hop) = (Served::Waiting, Hop::Joined { backend });
                }
                self.front_mut().pending.remove(&connection);
                self.tell_front(Input::Joined { connection });
                self.accept(node, Door::Api);
            }
            Hop::None | Hop::Joined { .. } | Hop::Over => {}
        }
    }

    /// The front knocks at a controller.
    fn knock(&mut self, connection: ConnectionId, backend: BackendId, node: NodeId) {
        let late = self.now + self.front_mut().set.connect_within;
        let front = self.front_mut();
        front.knocks += 1;
        let knock = front.knocks;
        let pending = front.pending.get_mut(&connection).expect("no controller has it yet");
        pending.1 = knock;
        let id = pending.0;
        self.heap.push(late, Event::Front(Due::Late { connection, knock }));
        if let Some(link) = self.links.get(id) {
            link.node = node;
            link.hop = Hop::Joining { connection, backend, answered: false };
        }
        self.send(id, Message::Up(Up::Knock));
    }

    fn not_joined(&mut self, id: LinkId, connection: ConnectionId) {
        if let Some(link) = self.links.get(id) {
            link.hop = Hop::Outside;
            link.stuck = [false; 2];
        }
        self.stuck.retain(|stuck| *stuck != id);
        self.tell_front(Input::NotJoined { connection, fault: Fault::Backend });
    }

    /// The front, or its kernel, closes a link that no controller has.
    fn turn_away(&mut self, id: LinkId) {
        if self.links.get(id).is_some_and(|link| link.wanted) {
            self.send(id, Message::Down(Down::Closed));
        }
        self.forget(id);
    }

    /// The front has nothing more to do with a link that no controller has.
    fn forget(&mut self, id: LinkId) {
        if let Some(link) = self.links.get(id) {
            (link.served, link.hop) = (Served::Gone, Hop::Over);
        }
        self.links.release(id);
    }

    /// The front hangs up on both ends of a link.
    fn cut_off(&mut self, id: LinkId) {
        let Some(link) = self.links.get(id) else { return };
        let (node, served, wanted) = (link.node, link.served, link.wanted);
        self.parted(id);
        if wanted {
            self.send(id, Message::Down(Down::Closed));
        }
        match served {
            Served::Accepted(connection) => self.closed(id, node, connection),
            // Who still waits in a backlog is found out about there.
            Served::Knocking | Served::Waiting | Served::Gone => {}
        }
    }

    /// One end of a link has closed: if the front had joined it with the other, that is over.
    pub(super) fn parted(&mut self, id: LinkId) {
        let Some(link) = self.links.get(id) else { return };
        if let Hop::Joined { backend } = link.hop {
            link.hop = Hop::Over;
            self.tell_front(Input::Ended { backend });
        }
    }

    fn probe(&mut self, backend: BackendId, node: NodeId) {
        let by = self.now + self.front_mut().set.probe_within;
        let due = match self.network.pass(self.now, Place::Agents, Place::Controller(node)) {
            Passage::Arrives(at) if at < by => (at, Due::Asked { backend, node, by }),
            Passage::Arrives(_) | Passage::Held | Passage::Lost => {
                (by, Due::Probed { backend, verdict: Verdict::Failed })
            }
        };
        self.heap.push(due.0, Event::Front(due.1));
    }

    /// A controller is asked how it is, at the door that it opens first.
    fn asked_for_health(&mut self, backend: BackendId, node: NodeId, by: Time) {
        let now = self.now;
        let settings = &self.plan.settings.controllers;
        let asked = if settings.controller_api_port == 0 { Door::Api } else { Door::Controller };
        let handshake = settings.handshake_cost;
        let process = self.process(node);
        let (listens, serves) = (process.door(asked).bound, process.door(Door::Api).bound);
        let answered = if listens { process.work(now, handshake) } else { now };
        let links: Vec<LinkId> = process.links().collect();
        let of_api = |id: &LinkId| self.links.get(*id).is_some_and(|link| link.door == Door::Api);
        let connections = Some(links.into_iter().filter(of_api).count());
        let verdict = match (listens, serves) {
            (true, true) => Verdict::Healthy { connections },
            (true, false) => Verdict::Unready,
            (false, _) => Verdict::Failed,
        };
        let due = match self.network.pass(answered, Place::Controller(node), Place::Agents) {
            Passage::Arrives(at) if at < by => (at, verdict),
            Passage::Arrives(_) | Passage::Held | Passage::Lost => (by, Verdict::Failed),
        };
        self.heap.push(due.0, Event::Front(Due::Probed { backend, verdict: due.1 }));
    }
}
