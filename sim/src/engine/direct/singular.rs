//! What strives at each controller to run the workers that run on one controller alone, and the
//! workers.
//!
//! Core's flag asks as production's does: on its own controller's behalf, and by way of its queue. A
//! worker takes a step now and then, as long as its flag is up: it looks at the flag, thinks, and
//! writes to something outside, under the fence that it looked at. What is written so may come late,
//! from a process that was paused in its thoughts or over a link that held it back, so whatever it
//! comes to must refuse older fences.

use std::time::Duration;

use portcullis_core::controller::{Input as Controller, Request};
use portcullis_core::queue::Answer;
use portcullis_core::singular::{Input, Output, Singular};
use portcullis_core::{AskId, ConnectionId, Machine, NodeId, Seed, Time};

use super::raft::Life;
use super::{Event, Waiting, World};
use crate::engine::network::Passage;
use crate::history::{Event as Fact, Who};
use crate::singular::{Single, THINKS, What, Worker, workers};
use crate::stage::Place;

/// What a worker has written, on its way.
#[derive(Clone, Copy, Debug)]
pub struct Written {
    worker: Worker,
    by: NodeId,
    fence: u64,
}

/// What strives to run one worker at one controller.
pub struct Striver {
    machine: Singular,
    /// By how much its clock is behind, where a lease is counted from the answer.
    behind: Duration,
    /// When it asked last, on its clock.
    asked_at: Time,
    /// The ask under way.
    ask: Option<u64>,
    /// The fence of the flag while it is up, and up to when it counts, on its clock.
    flag: Option<(u64, Time)>,
    /// How often the flag was raised. Steps of before are over.
    raised: u64,
    /// When its timer is due.
    timer: Time,
}

impl Striver {
    fn clock(&self, now: Time) -> Time {
        now - self.behind
    }

    /// The fence under which the worker may begin a step.
    fn held(&self, now: Time) -> Option<u64> {
        self.flag.filter(|(_, until)| self.clock(now) < *until).map(|(fence, _)| fence)
    }
}

impl World<'_> {
    /// Every worker's flag is striven for from now on.
    pub(super) fn start_strivers(&mut self, node: NodeId) {
        let Some(set) = &self.plan.settings.singular else { return };
        let life = u64::from(self.process(node).life.number);
        for worker in workers(self.plan) {
            let seed = Seed(self.plan.settings.seed).child("singular", node.0);
            let seed = seed.child("life", life).child("worker", u64::from(worker.0));
            let striver = Striver {
                machine: Singular::new(set.config(node, worker), seed),
                behind: Duration::ZERO,
                asked_at: Time(0),
                ask: None,
                flag: None,
                raised: 0,
                timer: Time(u64::MAX),
            };
            self.process(node).strivers.insert(worker, striver);
            self.tell_striver(node, worker, Input::Ready);
        }
    }

    /// A controller stops: its workers have ended, and their leases are given up.
    pub(super) fn end_strivers(&mut self, node: NodeId) {
        for worker in workers(self.plan) {
            self.tell_striver(node, worker, Input::Ended);
        }
    }

    fn tell_striver(&mut self, node: NodeId, worker: Worker, input: Input) {
        let now = self.clock(node);
        let Some(striver) = self.process(node).strivers.get_mut(&worker) else { return };
        let mut orders = Vec::new();
        let told = input.clone();
        striver.machine.handle(striver.clock(now), input, &mut orders);
        self.note(node, worker, What::Told(&told));
        self.obey_striver(node, worker, orders);
    }

    /// The timer of a flag fires.
    pub(super) fn striver_due(&mut self, life: Life, worker: Worker) {
        let node = life.node;
        let now = self.clock(node);
        if !self.process(node).lives(life) {
            return;
        }
        let Some(striver) = self.process(node).strivers.get_mut(&worker) else { return };
        striver.timer = Time(u64::MAX);
        let mut orders = Vec::new();
        striver.machine.handle_timeout(striver.clock(now), &mut orders);
        self.obey_striver(node, worker, orders);
    }

    /// One of a controller's own asks is answered.
    pub(super) fn own_answered(&mut self, node: NodeId, serial: u64, answer: Answer) {
        let counts_from_asking = self.plan.settings.policy.counts_from_asking;
        let now = self.clock(node);
        let mut strivers = self.process(node).strivers.iter_mut();
        // Of an ask that was taken back nothing is made.
        let asked = strivers.find(|(_, striver)| striver.ask == Some(serial));
        let Some((worker, striver)) = asked else { return };
        striver.ask = None;
        if !counts_from_asking && matches!(answer, Answer::Done { .. }) {
            striver.behind = now.since(striver.asked_at);
        }
        let worker = *worker;
        self.tell_striver(node, worker, Input::Answered { answer });
    }

    fn obey_striver(&mut self, node: NodeId, worker: Worker, orders: Vec<Output>) {
        for order in orders {
            self.note(node, worker, What::Ordered(&order));
            self.execute_striver(node, worker, order);
        }
        let life = self.process(node).life;
        let Some(striver) = self.process(node).strivers.get(&worker) else { return };
        let due = striver.machine.poll_timeout().map(|due| due.at + striver.behind);
        let (due, now) = (due.map(|due| self.when(node, due)), self.now);
        let Some(striver) = self.process(node).strivers.get_mut(&worker) else { return };
        if let Some(due) = due.filter(|due| *due < striver.timer) {
            striver.timer = due;
            self.heap.push(due.max(now), Event::Striver(life, worker));
        }
    }

    fn execute_striver(&mut self, node: NodeId, worker: Worker, order: Output) {
        let (life, now) = (self.process(node).life, self.now);
        let Some(striver) = self.process(node).strivers.get_mut(&worker) else { return };
        match order {
            Output::Ask { request, patience } => self.ask_own(node, worker, request, patience),
            Output::Raise { fence, until } => {
                striver.flag = Some((fence, until));
                striver.raised += 1;
                let raised = striver.raised;
                self.heap.push(now, Event::Step(life, worker, raised));
            }
            Output::Prolong { until } => {
                striver.flag = striver.flag.map(|(fence, _)| (fence, until));
            }
            Output::Lower => striver.flag = None,
            Output::Leave => {}
        }
    }

    /// A controller asks on its own behalf; what it asked before for the same is taken back.
    fn ask_own(&mut self, node: NodeId, worker: Worker, request: Request, patience: Duration) {
        let now = self.clock(node);
        let process = self.process(node);
        process.own_serials += 1;
        process.asks += 1;
        let serial = process.own_serials;
        let Some(striver) = process.strivers.get_mut(&worker) else { return };
        striver.asked_at = striver.clock(now);
        let before = striver.ask.replace(serial);
        let renews = process.raft.as_ref().is_some_and(|raft| raft.renews(&request));
        let own = |serial| AskId { connection: ConnectionId::OWN, serial };
        if let Some(before) = before {
            self.tell(node, Controller::Cancelled { ask: own(before) });
        }
        self.tell(node, Controller::Asked { ask: own(serial), request, renews, patience });
    }

    /// A worker begins a step, if the flag is still up that it began under.
    pub(super) fn step(&mut self, life: Life, worker: Worker, raised: u64) {
        let node = life.node;
        let (now, shown) = (self.now, self.clock(node));
        if !self.process(node).lives(life) {
            return;
        }
        let Some(striver) = self.process(node).strivers.get(&worker) else { return };
        let Some(fence) = striver.held(shown).filter(|_| striver.raised == raised) else { return };
        self.note(node, worker, What::Began { fence });
        let written = Written { worker, by: node, fence };
        self.heap.push(now + THINKS, Event::Write(life, written));
        if let Some(set) = &self.plan.settings.singular {
            self.heap.push(now + set.step_every, Event::Step(life, worker, raised));
        }
    }

    /// A worker writes what it has thought of, without another look at its flag: between a look and
    /// a deed a process can always be stopped.
    pub(super) fn write(&mut self, life: Life, written: Written) {
        if self.process(life.node).lives(life) {
            self.carry(written);
        }
    }

    /// Carries what a worker has written to where it is written, beside the agents.
    pub(super) fn carry(&mut self, written: Written) {
        let (from, to) = (Place::Controller(written.by), Place::Agents);
        match self.network.pass(self.now, from, to) {
            Passage::Arrives(at) => self.heap.push(at, Event::Written(written)),
            Passage::Held => self.held.push((from, to, Waiting::Written(written))),
            Passage::Lost => {}
        }
    }

    /// What a worker has written is there.
    pub(super) fn written(&mut self, Written { worker, by, fence }: Written) {
        let taken = self.resource.write(worker, fence);
        let what = What::Wrote { by, fence, taken };
        self.record(Who::World, Fact::Singular(Single { worker, what }));
    }

    fn note(&mut self, node: NodeId, worker: Worker, what: What<'_>) {
        self.record(Who::Controller(node), Fact::Singular(Single { worker, what }));
    }
}
