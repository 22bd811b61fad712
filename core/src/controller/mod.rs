//! One controller: its doors, its connections, its part in the lease service.
//!
//! Wires the small machines together and decides what none of them can alone: where an ask goes
//! (a client's to whoever leads, by way of [`forward`]; another controller's into the queue, once
//! and no further; a wait into the waiting room), what is cancelled when a connection goes, what
//! tells whether this controller is ready, and how it stops.

mod balance;
mod doors;
mod drain;
mod words;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use core::mem;
use core::ops::{RangeBounds, RangeInclusive};
use core::time::Duration;

use crate::Machine;
use crate::admission::Admission;
use crate::balancer::{self, Balancer};
use crate::bind::Bind;
use crate::clock::{self, Anchor, Clock};
use crate::forward::{self, Forward};
use crate::ids::{AskId, ConnectionId, NodeId};
use crate::listener::{self, Listener};
use crate::queue::{self, Answer, Queue};
use crate::readiness::{self, Readiness};
use crate::seed::Seed;
use crate::sessions::{self, Party, Sessions};
use crate::time::{Time, Timeout};
use crate::waits::{self, Waits};
use drain::Drain;
pub use words::{Config, Input, Output, Request, Status};

/// Which part has an ask that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Queue,
    Forward,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Leader,
    Follower(Option<NodeId>),
}

/// The machine.
#[derive(Clone, Debug)]
pub struct Controller {
    node: NodeId,
    asks_per_connection_max: usize,
    admission: Admission,
    listener: Listener,
    readiness: Readiness,
    /// None where no file says where to be bound.
    bind: Option<Bind>,
    sessions: Sessions,
    balancer: Balancer,
    queue: Queue,
    forward: Forward,
    waits: Waits,
    clock: Clock,
    role: Role,
    /// Whether this controller has reached itself through its own door.
    self_connected: Option<ConnectionId>,
    drain_max: Duration,
    /// Who is to leave, once this controller stops.
    drain: Option<Drain>,
    /// Every ask that is under way; all of one connection stand together.
    asks: BTreeMap<AskId, Place>,
    /// Every wait for a release without an answer. There are many where few asks are under way, and
    /// they may stay for ever.
    parked: BTreeSet<AskId>,
    queue_out: Vec<queue::Output>,
}

impl Controller {
    /// A controller that has not started; it draws from this seed.
    pub fn new(config: Config, seed: Seed) -> Controller {
        assert!(config.asks_per_connection_max > 0, "nobody could ever ask");
        let address_awaited = config.bind.is_some();
        Controller {
            node: config.node,
            asks_per_connection_max: config.asks_per_connection_max,
            admission: Admission::new(config.admission, config.listener.logins_max),
            listener: Listener::new(listener::Config { address_awaited, ..config.listener }),
            readiness: Readiness::new(
                readiness::Config { address_awaited, ..config.readiness },
                config.node,
            ),
            bind: config.bind.map(Bind::new),
            sessions: Sessions::new(config.sessions),
            balancer: Balancer::new(config.balancer, config.node, seed),
            queue: Queue::new(config.queue),
            forward: Forward::new(config.forward, config.node, seed),
            waits: Waits::new(config.waits),
            clock: Clock::new(clock::Config { interval: config.clock_interval }),
            role: Role::Follower(None),
            self_connected: None,
            drain_max: config.drain_max,
            drain: None,
            asks: BTreeMap::new(),
            parked: BTreeSet::new(),
            queue_out: Vec::new(),
        }
    }

    /// The doors, for what they wait for.
    pub fn listener(&self) -> &Listener {
        &self.listener
    }

    /// What this controller is ready by.
    pub fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    /// Where the controller door is to be bound, if a file says it.
    pub fn bind(&self) -> Option<&Bind> {
        self.bind.as_ref()
    }

    /// The front of the log here, for its figures.
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// The asks of this controller's clients, for their figures.
    pub fn forward(&self) -> &Forward {
        &self.forward
    }

    /// What this controller is doing at this time.
    pub fn status(&self, now: Time) -> Status {
        let (retries, retries_denied) = self.forward.retries();
        Status {
            node: self.node,
            leader: match self.role {
                Role::Leader => Some(self.node),
                Role::Follower(leader) => leader,
            },
            api_door: self.listener.phase().into(),
            conditions: self.readiness.conditions(),
            bound: self.bind.as_ref().and_then(Bind::bound).map(String::from),
            lack: self.bind.as_ref().and_then(Bind::lack).cloned(),
            held: self.listener.held(),
            draining: self.drain.as_ref().map(Drain::left),
            connections: self.sessions.len(),
            agents: self.balancer.agents(),
            shedding: self.balancer.shedding(),
            logins: self.admission.logins(),
            logins_allowed: self.admission.limit(),
            login_time: self.admission.time(),
            login_time_least: self.admission.shortest(),
            waiting: self.queue.waiting(),
            waiting_bytes: self.queue.waiting_bytes(),
            in_flight: self.queue.in_flight(),
            drain: self.queue.drain(),
            asks: self.forward.open(),
            forwarded: self.forward.under_way(),
            resting: self.forward.resting(),
            retries,
            retries_denied,
            parked: self.waits.parked(),
            wakes: self.waits.wakes(),
            clock_lag: self.clock.lag(now),
        }
    }

    fn asked(
        &mut self,
        now: Time,
        ask: AskId,
        request: Request,
        renews: bool,
        patience: Duration,
        out: &mut Vec<Output>,
    ) {
        let party = self.sessions.get(ask.connection).and_then(|(_, party)| party);
        let from_controller = matches!(party, Some(Party::Controller(_)));
        let refusal = if party.is_none() && ask.connection != ConnectionId::OWN {
            // The connection went while the ask was on its way here.
            Some(Answer::Cancelled)
        } else if !from_controller && self.asks_of(ask.connection) >= self.asks_per_connection_max {
            Some(Answer::Overloaded { retry_after: Duration::from_secs(1) })
        } else {
            None
        };
        if let Some(answer) = refusal {
            out.push(Output::Answer { ask, answer });
            return;
        }
        match request {
            Request::Wait(key) => {
                self.parked.insert(ask);
                self.wait(now, waits::Input::Waited { ask, key }, out);
            }
            Request::Apply(operation) if from_controller => {
                self.asks.insert(ask, Place::Queue);
                self.enqueue(now, queue::Input::Asked { ask, operation, renews, patience }, out);
            }
            Request::Apply(operation) => {
                self.asks.insert(ask, Place::Forward);
                self.hand_on(now, forward::Input::Asked { ask, operation, renews, patience }, out);
            }
        }
    }

    fn asks_of(&self, connection: ConnectionId) -> usize {
        let all = all_of(connection);
        self.asks.range(all.clone()).count() + self.parked.range(all).count()
    }

    /// Those of these asks that have no answer, in order.
    fn unanswered(&self, asks: impl RangeBounds<AskId> + Clone) -> Vec<AskId> {
        let under_way = self.asks.range(asks.clone()).map(|(ask, _)| ask);
        let mut unanswered: Vec<AskId> =
            under_way.chain(self.parked.range(asks)).copied().collect();
        unanswered.sort_unstable();
        unanswered
    }

    fn cancel(&mut self, now: Time, ask: AskId, out: &mut Vec<Output>) {
        match self.asks.get(&ask) {
            Some(Place::Queue) => self.enqueue(now, queue::Input::Cancelled { ask }, out),
            Some(Place::Forward) => self.hand_on(now, forward::Input::Cancelled { ask }, out),
            None => self.wait(now, waits::Input::Cancelled { ask }, out),
        }
    }

    fn answer(&mut self, now: Time, ask: AskId, answer: Answer, out: &mut Vec<Output>) {
        let open = self.asks.remove(&ask).is_some() || self.parked.remove(&ask);
        assert!(open, "an ask ends in exactly one answer");
        if let Answer::Done { index, .. } | Answer::Refused { index, .. } = &answer {
            self.wait(now, waits::Input::Answered { index: *index }, out);
        }
        out.push(Output::Answer { ask, answer });
        self.answered(ask.connection);
    }

    fn enqueue(&mut self, now: Time, input: queue::Input, out: &mut Vec<Output>) {
        let mut orders = mem::take(&mut self.queue_out);
        self.queue.handle(now, input, &mut orders);
        self.queued(now, &mut orders, out);
        self.queue_out = orders;
    }

    fn queued(&mut self, now: Time, orders: &mut Vec<queue::Output>, out: &mut Vec<Output>) {
        for order in orders.drain(..) {
            match order {
                queue::Output::Propose { batch, entry } => {
                    self.clock.handle(now, clock::Input::Proposed, &mut Vec::new());
                    out.push(Output::Propose { batch, entry });
                }
                queue::Output::Answer { ask, answer } => match self.asks.get(&ask) {
                    Some(Place::Forward) => {
                        self.hand_on(now, forward::Input::Answered { ask, answer }, out);
                    }
                    Some(Place::Queue) => self.answer(now, ask, answer, out),
                    // Recalled once it had its answer.
                    None => {}
                },
            }
        }
    }

    fn hand_on(&mut self, now: Time, input: forward::Input, out: &mut Vec<Output>) {
        let mut orders = Vec::new();
        self.forward.handle(now, input, &mut orders);
        self.handed_on(now, orders, out);
    }

    fn handed_on(&mut self, now: Time, orders: Vec<forward::Output>, out: &mut Vec<Output>) {
        for order in orders {
            match order {
                forward::Output::Send { ask, to, operation, renews, patience }
                    if to == self.node =>
                {
                    let input = queue::Input::Asked { ask, operation, renews, patience };
                    self.enqueue(now, input, out);
                }
                forward::Output::Send { ask, to, operation, patience, .. } => {
                    out.push(Output::Send { ask, to, operation, patience });
                }
                forward::Output::Recall { ask, to } if to == self.node => {
                    self.enqueue(now, queue::Input::Cancelled { ask }, out);
                }
                forward::Output::Recall { ask, to } => out.push(Output::Recall { ask, to }),
                forward::Output::Answer { ask, answer } => self.answer(now, ask, answer, out),
            }
        }
    }

    fn wait(&mut self, now: Time, input: waits::Input, out: &mut Vec<Output>) {
        let mut orders = Vec::new();
        self.waits.handle(now, input, &mut orders);
        self.waited(now, orders, out);
    }

    fn waited(&mut self, now: Time, orders: Vec<waits::Output>, out: &mut Vec<Output>) {
        for order in orders {
            match order {
                waits::Output::Look { ask, key } => out.push(Output::Look { ask, key }),
                waits::Output::Answer { ask, answer } => self.answer(now, ask, answer, out),
            }
        }
    }

    /// The copy of the table has moved, and its clock with it; the leader knows better how far.
    fn applied(&mut self, now: Time, index: u64, out: &mut Vec<Output>) {
        self.prepare(now, readiness::Input::Applied { index }, out);
        match self.role {
            Role::Leader => {}
            Role::Follower(_) => self.tick(now, clock::Input::Moved { to: now }, out),
        }
    }

    fn tick(&mut self, now: Time, input: clock::Input, out: &mut Vec<Output>) {
        let mut orders = Vec::new();
        self.clock.handle(now, input, &mut orders);
        self.ticked(now, orders, out);
    }

    fn ticked(&mut self, now: Time, orders: Vec<clock::Output>, out: &mut Vec<Output>) {
        for order in orders {
            match order {
                clock::Output::Advance => self.enqueue(now, queue::Input::Advance, out),
            }
        }
    }
}

/// Every ask that a connection could have.
fn all_of(connection: ConnectionId) -> RangeInclusive<AskId> {
    AskId { connection, serial: 0 }..=AskId { connection, serial: u64::MAX }
}

impl Machine for Controller {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Time, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Started => {
                let logins = self.admission.limit();
                self.listen(now, listener::Input::Allowed { logins }, out);
                self.listen(now, listener::Input::Started, out);
                self.weigh(now, balancer::Input::Started, out);
            }
            Input::Opened { door } => self.listen(now, listener::Input::Opened { door }, out),
            Input::NotOpened { door } => self.listen(now, listener::Input::NotOpened { door }, out),
            Input::Connected { connection, door } => self.connected(now, connection, door, out),
            Input::Knocked { connection, .. } => {
                self.listen(now, listener::Input::Knocked { connection }, out);
            }
            Input::Arrived { connection, kind, .. } => {
                self.listen(now, listener::Input::Arrived { connection, kind }, out);
            }
            Input::LoggedIn { connection, party } => self.logged_in(now, connection, party, out),
            Input::Pinged { connection } => {
                let input = sessions::Input::Pinged { connection };
                self.sessions.handle(now, input, &mut Vec::new());
            }
            Input::Disconnected { connection } => self.disconnected(now, connection, out),
            Input::Asked { ask, request, renews, patience } => {
                self.asked(now, ask, request, renews, patience, out);
            }
            Input::Cancelled { ask } => self.cancel(now, ask, out),
            Input::Answered { ask, answer } => {
                self.hand_on(now, forward::Input::Answered { ask, answer }, out);
            }
            Input::NotSent { ask } => self.hand_on(now, forward::Input::NotSent { ask }, out),
            Input::Lost { ask } => self.hand_on(now, forward::Input::Lost { ask }, out),
            Input::Looked { ask, held } => self.wait(now, waits::Input::Looked { ask, held }, out),
            Input::Led { global } => {
                self.role = Role::Leader;
                let anchor = Anchor { local: now, global };
                self.enqueue(now, queue::Input::Led { anchor }, out);
                self.tick(now, clock::Input::Led { global }, out);
                self.hand_on(now, forward::Input::Led { leader: Some(self.node) }, out);
                self.prepare(now, readiness::Input::Led { leader: Some(self.node) }, out);
            }
            Input::Followed { leader } => {
                self.role = Role::Follower(leader);
                self.hand_on(now, forward::Input::Led { leader }, out);
                self.enqueue(now, queue::Input::Followed { leader }, out);
                self.tick(now, clock::Input::Followed, out);
                self.prepare(now, readiness::Input::Led { leader }, out);
            }
            Input::Committed { batch, index, outcomes } => {
                if let Some(to) = self.queue.proposed_at(batch) {
                    self.tick(now, clock::Input::Moved { to }, out);
                }
                self.enqueue(now, queue::Input::Committed { batch, index, outcomes }, out);
            }
            Input::NotProposed { batch, leader } => {
                self.enqueue(now, queue::Input::NotProposed { batch, leader }, out);
            }
            Input::BatchLost { batch } => self.enqueue(now, queue::Input::Lost { batch }, out),
            Input::Applied { index, released } => {
                self.applied(now, index, out);
                self.wait(now, waits::Input::Applied { index, released }, out);
            }
            Input::Restored { index } => {
                self.applied(now, index, out);
                self.wait(now, waits::Input::Restored { index }, out);
            }
            Input::Reconfigured { pace, open_delay, controller_door, controllers_first } => {
                let input = listener::Input::Reconfigured {
                    pace,
                    open_delay,
                    controller_door,
                    controllers_first,
                };
                self.listen(now, input, out);
            }
            Input::Linked { to, up } => self.linked(now, to, up, out),
            Input::Committing { index } => {
                self.prepare(now, readiness::Input::Committing { index }, out);
            }
            Input::Working { worker, stable } => {
                self.prepare(now, readiness::Input::Working { worker, stable }, out);
            }
            Input::Offered { offer } => self.offered(now, offer, out),
            // Whoever stops sends agents elsewhere by its own list.
            Input::Heard { .. } if self.drain.is_some() => {}
            Input::Heard { from, load } => {
                self.weigh(now, balancer::Input::Heard { from, load }, out);
            }
            Input::Memory { used, limit } => {
                self.listen(now, listener::Input::Memory { used, limit }, out);
                self.weigh(now, balancer::Input::Memory { used, limit }, out);
            }
            Input::Stopping => self.stop(now, out),
        }
        self.finish(out);
    }

    fn poll_timeout(&self) -> Option<Timeout> {
        [
            self.admission.poll_timeout(),
            self.listener.poll_timeout(),
            self.sessions.poll_timeout(),
            self.balancer.poll_timeout(),
            self.queue.poll_timeout(),
            self.forward.poll_timeout(),
            self.waits.poll_timeout(),
            self.clock.poll_timeout(),
            self.bind.as_ref().and_then(Machine::poll_timeout),
            self.drain.as_ref().and_then(Drain::poll_timeout),
        ]
        .into_iter()
        .fold(None, Timeout::earlier)
    }

    fn handle_timeout(&mut self, now: Time, out: &mut Vec<Output>) {
        let mut orders = Vec::new();
        self.clock.handle_timeout(now, &mut orders);
        self.ticked(now, orders, out);

        let mut orders = Vec::new();
        self.admission.handle_timeout(now, &mut orders);
        self.measured(now, orders, out);

        let mut orders = Vec::new();
        self.listener.handle_timeout(now, &mut orders);
        self.listened(now, orders, out);

        let mut orders = Vec::new();
        self.sessions.handle_timeout(now, &mut orders);
        out.extend(orders.into_iter().map(Output::from));

        let mut orders = Vec::new();
        self.balancer.handle_timeout(now, &mut orders);
        self.weighed(now, orders, out);

        let mut orders = Vec::new();
        self.queue.handle_timeout(now, &mut orders);
        self.queued(now, &mut orders, out);

        let mut orders = Vec::new();
        self.forward.handle_timeout(now, &mut orders);
        self.handed_on(now, orders, out);

        let mut orders = Vec::new();
        self.waits.handle_timeout(now, &mut orders);
        self.waited(now, orders, out);

        let mut orders = Vec::new();
        if let Some(bind) = &mut self.bind {
            bind.handle_timeout(now, &mut orders);
        }
        self.addressed(now, orders, out);

        self.drain_on(now, out);
        self.finish(out);
    }
}
