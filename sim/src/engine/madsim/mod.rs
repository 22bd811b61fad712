//! The madsim engine: the production shell, whole, with its tasks in random order.
//!
//! madsim's scheduler picks whoever is ready at random, by the plan's seed, so that it tries orders
//! of tasks that tokio's never takes. Hosts cost nothing while they are idle, time goes by in
//! nanoseconds from event to event, and a process can stand still. The network is this engine's
//! own; see [`network`].
//!
//! What it bends: all agents are one process, so they stand still or not together; a processor is
//! never busy (each turn of a task takes 50 to 100 ns, drawn), a disk is never slow (redb's writes
//! are plain calls, which cannot wait for a simulated time), and memory has no limit.

mod host;
mod network;
mod pipe;
mod runtime;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use madsim::runtime::{Handle, Runtime};
use portcullis_core::{NodeId, Seed, Time};

use super::Ran;
use super::shell::{Play, Supervisor, locked, name};
use crate::disk::Disk;
use crate::history::{Event, History, Who};
use crate::plan::Plan;
use crate::stage::{Deed, Place, Stage};
use host::Host;
use network::Net;

/// How often the history is asked whether the run is over.
const ASK_WHETHER_OVER: Duration = Duration::from_secs(1);
/// How often a killed process is looked at, whether its last task is gone.
const LOOK_AGAIN: Duration = Duration::from_micros(100);
/// How long these may take to go: a killed task goes when its turn comes, which takes no time but
/// that of the tasks before it.
const GONE_WITHIN: Duration = Duration::from_secs(1);

/// Executes a plan.
///
/// In a thread of its own: std's hash keys and tokio's random numbers are drawn once a thread, and
/// madsim decides them only where nobody has before.
pub fn run(plan: &Plan, history: History) -> (Ran, History) {
    let plan = plan.clone();
    let thread = std::thread::spawn(move || {
        let seed = Seed(plan.settings.seed).child("madsim", 0).0;
        let runtime = Runtime::with_seed_and_config(seed, madsim::Config::default());
        let play = Arc::new(Play::new(&plan, history));
        let ran = runtime.block_on(async { World::new(play.clone()).run().await });
        let history = play.book.close().expect("nobody else closes it");
        (ran, history)
    });
    match thread.join() {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// The hosts, and what is between them.
struct World {
    play: Arc<Play>,
    net: Net,
    handle: Handle,
    controllers: BTreeMap<NodeId, madsim::task::NodeId>,
}

impl World {
    /// A world in which every process has just started; must be called within the simulation.
    fn new(play: Arc<Play>) -> World {
        let (net, handle) = (Net::new(&play.plan), Handle::current());
        play.book.ask(net.clock());
        let start = |node: NodeId| {
            let (play, net) = (play.clone(), net.clone());
            let host = handle.create_node().name(node.to_string());
            let host = host.init(move || control(play.clone(), net.clone(), node)).build();
            (node, host.id())
        };
        let controllers = play.plan.controllers().map(start).collect();
        let (agents, between) = (play.clone(), net.clone());
        let host = handle.create_node().name(name(Place::Agents));
        host.init(move || act(agents.clone(), between.clone())).build();
        World { play, net, handle, controllers }
    }

    /// Does what the plan says until the run is over.
    async fn run(self) -> Ran {
        let mut stage = Stage::new(&self.play.plan);
        let mut deeds = Vec::new();
        let mut supervisor = Supervisor::default();
        let mut ask = Time(0);
        loop {
            let now = self.turn();
            stage.due(now, self.play.book.parts(), &mut deeds);
            for deed in deeds.drain(..) {
                self.turn();
                self.play.book.record(Who::World, Event::Did(&deed));
                supervisor.saw(&deed);
                self.act(deed).await;
            }
            let now = self.turn();
            for node in supervisor.ended(&self.play, now) {
                self.kill(node).await;
            }
            for node in supervisor.due(self.turn()) {
                self.handle.restart(self.controllers[&node]);
            }
            let now = self.turn();
            let over = now >= ask && self.play.book.over();
            if over || now >= self.play.plan.ends() {
                self.play.book.end();
                return Ran { ended: now, draws: self.play.draws() + self.net.drawn() };
            }
            while ask <= now {
                ask = ask + ASK_WHETHER_OVER;
            }
            let next = [stage.next(), supervisor.next()].into_iter().flatten().fold(ask, Time::min);
            tokio::select! {
                biased;
                () = self.play.failing() => {}
                () = self.net.sleep_until(next) => {}
            }
        }
    }

    /// Turns the book to the present.
    fn turn(&self) -> Time {
        let now = self.net.now();
        self.play.book.turn(now);
        now
    }

    /// Does a deed of the plan.
    async fn act(&self, deed: Deed) {
        match deed {
            Deed::Crash(node) => {
                let at = self.net.now();
                self.play.dies(node);
                self.kill(node).await;
                self.play.died(node, at);
            }
            Deed::Restart(node) => {
                // Whoever has stopped has ended, though its host would keep it.
                self.kill(node).await;
                self.handle.restart(self.controllers[&node]);
            }
            Deed::Pause(node) => self.handle.pause(self.controllers[&node]),
            Deed::Resume(node) => self.handle.resume(self.controllers[&node]),
            Deed::Cut { from, to } => self.net.change(|net| net.cut(from, to, true)),
            Deed::Mend { from, to } => self.net.change(|net| net.cut(from, to, false)),
            Deed::Hold { from, to } => self.net.change(|net| net.hold(from, to, true)),
            Deed::Release { from, to } => self.net.change(|net| net.hold(from, to, false)),
            Deed::Slow { from, to, by } => self.net.change(|net| net.slow(from, to, by)),
            Deed::LoseItself(node) => self.reaches_itself(node, false),
            Deed::FindItself(node) => self.reaches_itself(node, true),
            Deed::Stop(_)
            | Deed::Remove(_)
            | Deed::Herd
            | Deed::RestartAgents
            | Deed::Claim(_)
            | Deed::ControllerPort { .. }
            | Deed::BindFile { .. }
            | Deed::ApiAddresses { .. }
            | Deed::Limit(_)
            | Deed::SlowDisk { .. }
            | Deed::FillDisk(_)
            | Deed::FreeDisk(_)
            | Deed::BreakDisk { .. }
            | Deed::Failed(_)
            | Deed::Drift { .. }
            | Deed::Settle
            | Deed::Join(_)
            | Deed::Left(_) => self.play.tell(deed),
        }
    }

    fn reaches_itself(&self, node: NodeId, reaches: bool) {
        let place = Place::Controller(node);
        self.net.change(|net| net.cut(place, place, !reaches));
    }

    /// Ends a process, and returns when it has let go of its disks.
    async fn kill(&self, node: NodeId) {
        // What stands still would not even end.
        self.handle.resume(self.controllers[&node]);
        self.handle.kill(self.controllers[&node]);
        let latest = self.net.now() + GONE_WITHIN;
        while locked(self.play.disks(node)).values().any(Disk::is_open) {
            if self.net.now() > latest {
                tracing::error!(%node, "a killed process has kept its disk");
                return;
            }
            self.net.sleep_until(self.net.now() + LOOK_AGAIN).await;
        }
    }
}

/// One process of a controller.
async fn control(play: Arc<Play>, net: Net, node: NodeId) {
    let ordered = play.wanted(node).await;
    let seed = play.seed_of(node, net.now().since(Time(0)));
    let host = Host::start(&play, Place::Controller(node), seed, net);
    if let Err(error) = host.scope(play.control(host.clone(), node, ordered)).await {
        tracing::error!(%error, "a host failed");
    }
}

/// The agents' host.
async fn act(play: Arc<Play>, net: Net) {
    let host = Host::start(&play, Place::Agents, play.seed_of_agents(), net);
    if let Err(error) = host.scope(play.act(host.clone())).await {
        tracing::error!(%error, "a host failed");
    }
}

#[cfg(test)]
mod tests;
