//! The direct engine: core's own machines on an event heap, over openraft on virtual time.
//!
//! It alone has what neither network simulator has: the kernel's backlog before each door, the
//! processor's time for a handshake, memory and the killer that watches it, and disks that take time
//! to sync and lose what was not. So it is where a herd of 180,000 agents is let loose.
//!
//! A front, if the scenario has one, stands between the agents and the backlogs; see `front`.
//!
//! One thread, beside which [`Scribe`] has another write the history. The clock is that of
//! `openraft-rt-sim`; the heap is one of its tasks. That task sleeps
//! until the next whole millisecond at which something is due, or until a raft node reports, then
//! does everything that is due, each at its own microsecond. A raft node so hears of something up to
//! [`TICK`] late, and nothing ever happens out of order.
//!
//! ```text
//!   agents ── Up ──▶ backlog ── permit ──▶ controllers ── Propose ──▶ raft nodes
//!          ◀─ Down ─                             ▲ ◀──── Report ─────────┘ │ letters, writes
//!                                                └───────── heap ◀─────────┘
//! ```

mod addresses;
mod alone;
mod claims;
mod clients;
mod faults;
mod front;
mod heap;
mod link;
mod log;
mod pause;
mod peers;
mod process;
mod raft;
mod rival;
mod roles;
mod serve;
mod singular;
mod strangers;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use openraft::AsyncRuntime as _;
use openraft_rt::Instant as _;
use openraft_rt_sim::{SimInstant, SimRuntime};
use portcullis_core::lease::Key;
use portcullis_core::{Address, NodeId, Seed, Time, agent, controller};

use super::network::{Network, Passage};
use super::{Ran, configuration};
use crate::clock::Clocks;
use crate::disk::Touch;
use crate::history::{Event as Fact, History, Who};
use crate::members;
use crate::plan::Plan;
use crate::report::Gauges;
use crate::scribe::Scribe;
use crate::settings::Bytes;
use crate::singular::{Resource, Worker};
use crate::stage::{Deed, Place, Stage};
use addresses::Places;
use clients::Client;
use front::Front;
use heap::{Due, Heap};
use link::{Hop, LinkId, Links, Message, Way};
use process::Process;
use raft::{Inbox, Letter, Life, Report, Write};
use singular::Written;

/// The heap's task wakes at whole multiples of this.
const TICK: Duration = Duration::from_millis(1);
/// How often the history is asked whether the run is over.
const ASK_WHETHER_OVER: Duration = Duration::from_secs(1);

/// What is due at some time.
enum Event {
    /// The plan's next deed.
    Deed,
    /// Something arrives over a link.
    Arrives(LinkId, Message),
    /// The processor has done the handshake of a link.
    Shaken(LinkId),
    /// The processor has checked the login of a link.
    Checked(LinkId),
    /// The API door of a controller goes on accepting.
    Accepts(Life),
    /// An agent that was slow to log in does.
    SlowLogin(u32, LinkId),
    /// A controller's timer.
    Timer(NodeId),
    /// Something of the front's.
    Front(front::Due),
    /// A message between raft nodes arrives.
    Letter(Letter),
    /// A write of a raft node is durable.
    Durable(Life, Write),
    /// A controller calls another, or itself.
    Call(Life, NodeId),
    /// A controller has waited long enough for another to answer its call.
    Answerless(Life, LinkId),
    /// What one place sent to another has been lost for long enough to be noticed.
    Silence(Place, Place),
    /// A process that was killed starts again.
    Revive(Life),
    /// The timer of the machine that gives out roles.
    Roles(Life),
    /// An operator tries to have something done about the members.
    Operate(Deed),
    /// The timer of what strives to run a worker.
    Striver(Life, Worker),
    /// A worker begins a step, if its flag is the one that was raised so many times.
    Step(Life, Worker, u64),
    /// A worker writes.
    Write(Life, Written),
    /// What a worker has written arrives.
    Written(Written),
    /// A controller that heard another last at that time looks whether it hears any.
    Blind(Life, Time),
    /// A process that was told to stop ends.
    Stopped(Life),
    /// A controller looks at the file that says where it is to be bound.
    Look(Life),
    /// A controller looks at what the log says of it.
    Own(Life),
    /// A workload's client asks again.
    Claim(u32),
    /// A workload's client takes back what it asked under this number.
    TakeBack(u32, u64),
}

/// Everything there is, outside the raft nodes.
struct World<'a> {
    plan: &'a Plan,
    history: Scribe,
    now: Time,
    heap: Heap<Event>,
    stage: Stage,
    network: Network,
    links: Links,
    /// Links that lost something.
    stuck: Vec<LinkId>,
    /// What waits until a route is released.
    held: Vec<(Place, Place, Waiting)>,
    /// In the order of their numbers, which start from one.
    processes: Vec<Process>,
    clocks: Clocks,
    clients: Vec<Client>,
    /// Where clients find the controllers, and the leadership of each application: made once, for
    /// 180,000 agents share them.
    addresses: Vec<Address>,
    leaderships: Vec<Key>,
    front: Option<Front>,
    /// What the workers work upon.
    resource: Resource,
    /// None where everybody is where its name says.
    places: Option<Places>,
    /// Random words drawn by lives of agents that are over.
    drawn_before: u64,
    inbox: Inbox,
    /// What controllers' machines are still to be told, in order.
    told: VecDeque<(NodeId, controller::Input)>,
    memory_limit: Bytes,
    orders: Vec<controller::Output>,
    client_orders: Vec<agent::Output>,
    over: bool,
}

/// What a route holds back.
enum Waiting {
    Message(LinkId, Message),
    Letter(Letter),
    Written(Written),
}

/// Executes a plan.
pub fn run(plan: &Plan, history: History) -> (Ran, History) {
    let mut runtime = SimRuntime::with_seed(Seed(plan.settings.seed).child("raft", 0).0);
    runtime.block_on(async {
        let mut world = World::new(plan, history);
        world.run().await;
        (world.ran(), world.history.close())
    })
}

impl<'a> World<'a> {
    fn new(plan: &'a Plan, history: History) -> World<'a> {
        let agents = &plan.settings.agents;
        let applications = 0..agents.leases.min(agents.count);
        World {
            plan,
            history: Scribe::new(plan, history),
            now: Time(0),
            heap: Heap::new(),
            stage: Stage::new(plan),
            network: Network::new(plan),
            links: Links::default(),
            stuck: Vec::new(),
            held: Vec::new(),
            processes: plan.controllers().map(|node| Process::set_up(plan, node)).collect(),
            clocks: Clocks::new(plan),
            clients: Vec::new(),
            addresses: configuration::addresses(plan),
            leaderships: applications.map(configuration::leadership).collect(),
            front: plan.settings.front.as_ref().map(|set| Front::new(set, plan)),
            resource: Resource::new(plan),
            places: Places::new(plan),
            drawn_before: 0,
            inbox: Inbox::default(),
            told: VecDeque::new(),
            memory_limit: plan.settings.controllers.memory_limit,
            orders: Vec::new(),
            client_orders: Vec::new(),
            over: false,
        }
    }

    async fn run(&mut self) {
        if let Some(at) = self.stage.next() {
            self.heap.push(at, Event::Deed);
        }
        for node in self.plan.controllers().filter(|node| members::founds(self.plan, *node)) {
            self.start(node);
        }
        self.start_front();
        self.drain();
        self.start_agents();
        let ends = self.plan.ends();
        let mut ask_at = Time(0) + ASK_WHETHER_OVER;
        let mut reports = Vec::new();
        while !self.over && self.now < ends {
            let now = self.wake(ends.min(ask_at), &mut reports).await;
            self.catch_up(now);
            self.now = now;
            for report in reports.drain(..) {
                self.report(report);
                self.drain();
            }
            self.show();
            if self.now >= ask_at {
                ask_at = self.now + ASK_WHETHER_OVER;
                self.over = self.over || self.history.over(self.now);
            }
        }
    }

    /// Shows what no event tells, to a report.
    fn show(&mut self) {
        if !self.history.is_recorded() {
            return;
        }
        let per_connection = self.plan.settings.controllers.memory_per_connection;
        for (node, process) in self.plan.controllers().zip(&self.processes) {
            let backlog = process.doors.iter().map(|door| door.backlog.len() as u64).sum();
            let up = process.machine.is_some();
            let memory = if up { process.memory(per_connection) } else { Bytes(0) };
            self.history.show(self.now, node, Gauges { backlog, memory });
        }
    }

    /// Sleeps until something is due or reported, or until `latest`. Says what time it is.
    async fn wake(&self, latest: Time, reports: &mut Vec<Report>) -> Time {
        let tick = TICK.as_micros() as u64;
        let due = self.heap.next().map_or(latest, |at| Time(at.0.div_ceil(tick) * tick));
        let left = due.min(latest).since(virtual_time());
        let mut sleep = pin!(SimRuntime::sleep(left));
        poll_fn(|context| {
            if self.inbox.take(context.waker(), reports) {
                return Poll::Ready(());
            }
            sleep.as_mut().poll(context)
        })
        .await;
        virtual_time()
    }

    /// Does all that is due by `until`.
    fn catch_up(&mut self, until: Time) {
        while !self.over && self.heap.next().is_some_and(|at| at <= until) {
            let Some((at, due)) = self.heap.pop() else { break };
            self.now = self.now.max(at);
            match due {
                Due::Timer(client) => self.client_due(client, at),
                Due::Event(event) => self.happen(event),
            }
            self.drain();
        }
    }

    fn happen(&mut self, event: Event) {
        let Some(event) = self.miss_event(event) else { return };
        match event {
            Event::Deed => self.act(),
            Event::Arrives(link, Message::Up(up)) => self.arrive_up(link, up),
            Event::Arrives(link, Message::Down(down)) => self.arrive_down(link, down),
            Event::Shaken(link) => self.shaken(link),
            Event::Checked(link) => self.checked(link),
            Event::Accepts(life) => self.accept_again(life),
            Event::SlowLogin(client, link) => self.log_in_late(client, link),
            Event::Timer(node) => self.controller_due(node),
            Event::Front(due) => self.front_due(due),
            Event::Letter(letter) => self.deliver(letter),
            Event::Durable(life, write) => {
                let process = self.process(life.node);
                if process.lives(life) {
                    match process.fails(Touch::Sync) {
                        Some(error) => process.disk.failed(write, error),
                        None => process.disk.synced(write),
                    }
                }
            }
            Event::Call(life, to) => self.call(life, to),
            Event::Answerless(life, link) => self.answerless(life, link),
            Event::Silence(from, to) => {
                if self.network.is_cut(from, to) {
                    self.break_stuck(from, to);
                }
            }
            Event::Revive(life) => {
                let process = self.process(life.node);
                if process.life == life && process.machine.is_none() && !process.crashed {
                    self.start(life.node);
                }
            }
            Event::Roles(life) => self.roles_due(life),
            Event::Operate(deed) => self.operate(deed),
            Event::Striver(life, worker) => self.striver_due(life, worker),
            Event::Step(life, worker, raised) => self.step(life, worker, raised),
            Event::Write(life, written) => self.write(life, written),
            Event::Written(written) => self.written(written),
            Event::Blind(life, heard_at) => self.look_around(life, heard_at),
            Event::Stopped(life) => {
                if self.process(life.node).lives(life) {
                    self.left(life.node);
                }
            }
            Event::Look(life) => self.look(life),
            Event::Own(life) => self.own(life),
            Event::Claim(client) => self.claim(client),
            Event::TakeBack(client, serial) => self.take_back(client, serial),
        }
    }

    /// Sends a message over a link.
    fn send(&mut self, id: LinkId, message: Message) {
        let way = message.way();
        let Some(link) = self.links.get(id) else { return };
        if link.stuck[way as usize] {
            return;
        }
        let (caller, called) = link.ends();
        let (from, to) = match way {
            Way::Up => (caller, called),
            Way::Down => (called, caller),
        };
        let within = match link.hop {
            Hop::Joined { .. } => self.network.pass(self.now, Place::Agents, Place::Agents),
            Hop::None | Hop::Outside | Hop::Joining { .. } | Hop::Over => {
                Passage::Arrives(self.now)
            }
        };
        let now = match within {
            Passage::Arrives(at) => at,
            Passage::Held | Passage::Lost => unreachable!("no fault comes between agents"),
        };
        match self.network.pass(now, from, to) {
            Passage::Arrives(at) => {
                let arrival = &mut link.arrival[way as usize];
                *arrival = at.max(*arrival);
                self.heap.push(*arrival, Event::Arrives(id, message));
            }
            Passage::Held => self.held.push((from, to, Waiting::Message(id, message))),
            Passage::Lost => {
                link.stuck[way as usize] = true;
                self.stuck.push(id);
            }
        }
    }

    fn process(&mut self, node: NodeId) -> &mut Process {
        &mut self.processes[node.0 as usize - 1]
    }

    /// What the clock of a controller's host shows.
    fn clock(&mut self, node: NodeId) -> Time {
        self.clocks.at(Place::Controller(node)).shows(self.now)
    }

    /// When that clock shows this; no earlier than at present.
    fn when(&mut self, node: NodeId, shown: Time) -> Time {
        self.clocks.at(Place::Controller(node)).when(shown).max(self.now)
    }

    fn record(&mut self, who: Who, fact: Fact<'_>) {
        self.history.record(self.now, who, fact);
    }

    fn ran(&self) -> Ran {
        let clients: u64 = self.clients.iter().map(Client::drawn).sum();
        Ran { ended: self.now, draws: self.drawn_before + clients + self.network.drawn() }
    }
}

/// Time since the run began.
fn virtual_time() -> Time {
    Time(0) + SimInstant::now().elapsed_since_start()
}
