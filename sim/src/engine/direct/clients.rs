//! Agents and workload clients: what their machines are told, and what is done on their orders.

use std::time::Duration;

use portcullis_core::agent::{Agent, Input, Output};
use portcullis_core::controller::Request;
use portcullis_core::queue::Answer;
use portcullis_core::{Door, Machine, NodeId, Seed, Time};

use super::claims::Claimant;
use super::configuration;
use super::link::{Caller, Down, Hop, LinkId, Message, Served, Up};
use super::{Event, World};
use crate::clock::Clock;
use crate::history::{Event as Fact, Who};
use crate::stage::Place;

/// A client gives a request up this long after its patience has ended, as production's does.
const GRACE: Duration = Duration::from_secs(1);
/// No timer.
const NEVER: Time = Time(u64::MAX);

/// One client.
pub struct Client {
    machine: Agent,
    link: Option<LinkId>,
    /// When its timer is due.
    timer: Time,
    /// Requests without an answer that must have one, by when they are given up.
    owed: Vec<(Time, u64)>,
    started: bool,
    /// What it claims, if it is a workload's.
    pub claimant: Option<Box<Claimant>>,
}

impl Client {
    /// A client at rest.
    pub fn new(machine: Agent, claimant: Option<Box<Claimant>>) -> Client {
        Client { machine, link: None, timer: NEVER, owed: Vec::new(), started: false, claimant }
    }

    /// How many random words it has drawn.
    pub fn drawn(&self) -> u64 {
        self.machine.drawn()
    }

    /// When its timer is due next, by real time.
    fn due(&self, clock: &Clock) -> Time {
        let machine = self.machine.poll_timeout().map_or(NEVER, |due| clock.when(due.at));
        self.owed.iter().fold(machine, |least, (at, _)| least.min(*at))
    }
}

impl World<'_> {
    /// Makes every agent, each to start at a time of its own.
    pub(super) fn start_agents(&mut self) {
        let agents = &self.plan.settings.agents;
        let seed = Seed(self.plan.settings.seed);
        let arrive = u64::try_from(agents.arrive.as_micros()).unwrap_or(u64::MAX - 1);
        self.clients.reserve_exact(agents.count as usize);
        for number in 0..agents.count {
            let seed = seed.child("agent", u64::from(number));
            let wait = Duration::from_micros(seed.child("arrival", 0).0 % (arrive + 1));
            let machine = self.agent(number, seed);
            self.arrive(Client::new(machine, None), wait);
        }
    }

    /// One life of an agent.
    fn agent(&self, number: u32, seed: Seed) -> Agent {
        let application = number % self.plan.settings.agents.leases;
        let leadership = self.leaderships[application as usize].clone();
        let config = configuration::agent(self.plan, number, leadership);
        let known = match &self.places {
            Some(places) => places.list(number),
            None => configuration::known(self.plan, self.addresses.clone(), number),
        };
        Agent::new(config, known, seed)
    }

    /// Every agent that runs dies, and starts again without anything that it knew.
    pub(super) fn restart_agents(&mut self) {
        for number in 0..self.plan.settings.agents.count {
            if !self.clients[number as usize].started {
                continue;
            }
            self.hang_up(number);
            if self.places.as_ref().is_some_and(|places| places.list(number).is_empty()) {
                // It has nobody to dial, and never will have.
                self.tell_client(number, Input::Stopped);
                continue;
            }
            let seed = Seed(self.plan.settings.seed).child("agent", u64::from(number));
            let machine = self.agent(number, seed.child("life", self.now.0));
            self.drawn_before += self.clients[number as usize].drawn();
            self.clients[number as usize] = Client::new(machine, None);
            self.clients[number as usize].started = true;
            self.tell_client(number, Input::Started);
        }
    }

    /// Adds a client, whose first timer starts it.
    pub(super) fn arrive(&mut self, mut client: Client, wait: Duration) -> u32 {
        // Plans count clients in 32 bits.
        let number = self.clients.len() as u32;
        client.timer = self.now + wait;
        self.heap.push_timer(client.timer, number);
        self.clients.push(client);
        number
    }

    /// Tells a client's machine, and does what it orders.
    pub(super) fn tell_client(&mut self, number: u32, input: Input) {
        self.record(Who::Agent(number), Fact::AgentTold(&input));
        let mut orders = std::mem::take(&mut self.client_orders);
        let now = self.clocks.at(Place::Agents).shows(self.now);
        self.clients[number as usize].machine.handle(now, input, &mut orders);
        self.obey_client(number, orders);
    }

    /// A client's timer fires; one that was set anew does not count.
    pub(super) fn client_due(&mut self, number: u32, at: Time) {
        let client = &mut self.clients[number as usize];
        if client.timer != at {
            return;
        }
        client.timer = NEVER;
        if !std::mem::replace(&mut client.started, true) {
            return self.tell_client(number, Input::Started);
        }
        let now = self.now;
        let late = client.owed.iter().position(|(by, _)| *by <= now);
        if let Some(late) = late {
            let (_, serial) = client.owed.remove(late);
            return self.tell_client(number, Input::Answered { serial, answer: Answer::Unknown });
        }
        let mut orders = std::mem::take(&mut self.client_orders);
        client.machine.handle_timeout(self.clocks.at(Place::Agents).shows(now), &mut orders);
        self.obey_client(number, orders);
    }

    /// Has a client that runs look at its clock at once.
    pub(super) fn wake_client(&mut self, number: u32) {
        let client = &mut self.clients[number as usize];
        if client.started {
            client.timer = self.now;
            self.heap.push_timer(self.now, number);
        }
    }

    fn obey_client(&mut self, number: u32, mut orders: Vec<Output>) {
        for order in orders.drain(..) {
            self.record(Who::Agent(number), Fact::AgentOrdered(&order));
            self.execute_client(number, order);
        }
        self.client_orders = orders;
        let client = &mut self.clients[number as usize];
        let due = client.due(self.clocks.at(Place::Agents));
        if due < client.timer {
            client.timer = due.max(self.now);
            self.heap.push_timer(client.timer, number);
        }
    }

    fn execute_client(&mut self, number: u32, order: Output) {
        match order {
            Output::Dial { address } => {
                let caller = Caller::Client(number);
                let link = match (configuration::is_front(&address), &self.places) {
                    (true, _) => self.links.open_to_front(caller),
                    (false, None) => {
                        self.links.open(caller, configuration::node(&address), Door::Api)
                    }
                    (false, Some(places)) => match places.whose(&address) {
                        Some(node) => self.links.open(caller, node, Door::Api),
                        // The dial ends by its own time.
                        None => return,
                    },
                };
                self.clients[number as usize].link = Some(link);
                self.send(link, Message::Up(Up::Knock));
            }
            Output::Login => self.log_in(number),
            Output::Hangup if self.is_mute(number) => self.fall_silent(number),
            Output::Hangup => self.hang_up(number),
            Output::Ping => self.send_up(number, Up::Ping),
            Output::Send { serial, request, patience } => {
                match &request {
                    Request::Apply(_) => {
                        let by = self.now + patience + GRACE;
                        self.clients[number as usize].owed.push((by, serial));
                    }
                    Request::Wait(_) => {}
                }
                self.sent(number, serial, patience);
                self.send_up(number, Up::Ask { serial, request, patience });
            }
            Output::Answer { answer, .. } => self.claimed(number, &answer),
            Output::Remember { addresses } => self.write_list(number, addresses),
            Output::Lead { .. } | Output::Follow => {}
        }
    }

    /// Logs in: at once, late, or never while the faults last.
    fn log_in(&mut self, number: u32) {
        let agents = &self.plan.settings.agents;
        let slow = self.lot(number) < agents.mute + agents.slow;
        match self.clients[number as usize].link {
            Some(_) if self.is_mute(number) => {}
            Some(link) if slow && number < agents.count => {
                self.heap.push(self.now + agents.slow_login, Event::SlowLogin(number, link));
            }
            Some(_) | None => self.send_up(number, Up::Login),
        }
    }

    /// A slow agent logs in, if it is still connected.
    pub(super) fn log_in_late(&mut self, number: u32, link: LinkId) {
        if self.clients[number as usize].link == Some(link) {
            self.send_up(number, Up::Login);
        }
    }

    /// What decides whether an agent is slow: drawn from below 100, and the same for all its life.
    fn lot(&self, number: u32) -> u64 {
        let agent = Seed(self.plan.settings.seed).child("agent", u64::from(number));
        agent.child("slow", 0).0 % 100
    }

    fn is_mute(&self, number: u32) -> bool {
        let agents = &self.plan.settings.agents;
        let mute = agents.mute > 0 && number < agents.count && self.lot(number) < agents.mute;
        mute && self.now < self.plan.acts_until()
    }

    /// A host that hangs closes nothing: whoever it was connected to must find out.
    fn fall_silent(&mut self, number: u32) {
        let link = self.clients[number as usize].link;
        let Some(id) = link.filter(|id| self.links.get(*id).is_some_and(|link| link.greeted))
        else {
            return self.hang_up(number);
        };
        self.clients[number as usize].link = None;
        if let Some(link) = self.links.get(id) {
            link.wanted = false;
        }
        self.links.release(id);
    }

    /// Sends something over a client's link, if it has one.
    pub(super) fn send_up(&mut self, number: u32, up: Up) {
        if let Some(link) = self.clients[number as usize].link {
            self.send(link, Message::Up(up));
        }
    }

    /// A client lets go of its link; what was asked over it is owed no more.
    pub(super) fn hang_up(&mut self, number: u32) {
        let client = &mut self.clients[number as usize];
        client.owed.clear();
        let Some(id) = client.link.take() else { return };
        self.unwanted(id);
    }

    /// A caller lets go of a link.
    pub(super) fn unwanted(&mut self, id: LinkId) {
        let Some(link) = self.links.get(id) else { return };
        link.wanted = false;
        // A front reads nothing before there is somebody to tell, and then finds out by itself.
        if link.served != Served::Gone && link.hop != Hop::Outside {
            self.send(id, Message::Up(Up::Close));
        }
        // A knock that was lost arrives nowhere.
        if let Some(link) = self.links.get(id)
            && link.served == Served::Knocking
            && link.hop == Hop::None
            && link.stuck[0]
        {
            link.served = Served::Gone;
        }
        self.links.release(id);
    }

    /// Something for a caller arrives.
    pub(super) fn arrive_down(&mut self, id: LinkId, down: Down) {
        let Some(link) = self.links.get(id) else { return };
        if !link.wanted {
            return;
        }
        let (caller, node, greeted) = (link.caller, link.node, link.greeted);
        match &down {
            Down::Connected => link.greeted = true,
            Down::Closed => {
                link.wanted = false;
                self.links.release(id);
            }
            Down::Welcome { .. } | Down::Refused | Down::Redirected { .. } => {}
            Down::Pong | Down::Answer { .. } | Down::Told { .. } => {}
        }
        match caller {
            Caller::Client(number) => self.client_told(number, node, down, greeted),
            Caller::Controller(caller) => self.peer_told(caller, node, id, down),
        }
    }

    /// Something for a client arrives from a controller.
    fn client_told(&mut self, number: u32, node: NodeId, down: Down, greeted: bool) {
        let somewhere = self.places.is_some();
        let sent_to = match &down {
            Down::Redirected { to } if somewhere => self.addresses_of(node, *to),
            Down::Redirected { to } => vec![configuration::address(*to)],
            Down::Told { addresses } => {
                self.told_of_nobody(number, addresses);
                Vec::new()
            }
            Down::Connected | Down::Welcome { .. } | Down::Refused => Vec::new(),
            Down::Pong | Down::Answer { .. } | Down::Closed => Vec::new(),
        };
        let client = &mut self.clients[number as usize];
        let input = match down {
            Down::Connected => Input::Connected,
            // The list is on its way behind it.
            Down::Welcome { .. } if somewhere => {
                Input::LoggedIn { addresses: client.machine.addresses().to_vec() }
            }
            Down::Welcome { first } => {
                let addresses = self.addresses.clone();
                let addresses = configuration::addresses_from(self.plan, addresses, first);
                Input::LoggedIn { addresses }
            }
            Down::Told { addresses } => Input::Told { addresses },
            Down::Refused => Input::Refused { retry_after: Duration::ZERO },
            Down::Redirected { .. } => Input::Redirected { to: sent_to },
            Down::Pong => Input::Ponged,
            Down::Answer { serial, answer } => {
                client.owed.retain(|(_, owed)| *owed != serial);
                Input::Answered { serial, answer }
            }
            Down::Closed => {
                client.link = None;
                client.owed.clear();
                if greeted { Input::Disconnected } else { Input::Failed }
            }
        };
        self.tell_client(number, input);
    }

    /// Every agent drops its connection, and finds that it has none.
    pub(super) fn herd(&mut self) {
        for number in 0..self.plan.settings.agents.count {
            let link = self.clients[number as usize].link;
            let greeted = link.and_then(|id| self.links.get(id)).is_some_and(|link| link.greeted);
            if greeted {
                self.hang_up(number);
                self.tell_client(number, Input::Disconnected);
            }
        }
    }
}
