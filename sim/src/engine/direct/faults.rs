//! What the plan does to the world.

use std::time::Duration;

use portcullis_core::controller::{Controller, Input};
use portcullis_core::roles::Roles;
use portcullis_core::{NodeId, Seed, bind, listener};

use super::addresses::{LOOKS_AFTER, Places};
use super::link::{Down, Hop, Served};
use super::process::DoorsSet;
use super::raft::Life;
use super::rival::Rival;
use super::{Event, Waiting, World, configuration};
use crate::engine::REVIVE_AFTER;
use crate::history::{Event as Fact, Who};
use crate::settings::Bytes;
use crate::singular::Worker;
use crate::stage::{Deed, Place};

/// Two controllers that hear nothing of each other break their connections after this long.
const SILENCE: Duration = Duration::from_secs(5);

impl World<'_> {
    /// Does every deed that is due.
    pub(super) fn act(&mut self) {
        let mut deeds = Vec::new();
        self.stage.due(self.now, self.history.parts(), &mut deeds);
        for deed in deeds {
            self.record(Who::World, Fact::Did(&deed));
            self.perform(deed);
            self.drain();
        }
        if let Some(at) = self.stage.next() {
            self.heap.push(at, Event::Deed);
        }
    }

    fn perform(&mut self, deed: Deed) {
        match deed {
            Deed::Crash(node) => {
                self.process(node).crashed = true;
                self.die(node);
            }
            Deed::Join(_) | Deed::Remove(_) => self.operate(deed),
            Deed::Left(_) | Deed::Failed(_) => {}
            Deed::Restart(node) => {
                self.process(node).crashed = false;
                // One that was told to stop and is not done by then is killed, as a service manager
                // does it.
                self.die(node);
                if self.process(node).machine.is_none() {
                    self.start(node);
                }
            }
            Deed::Stop(node) => self.stop(node),
            Deed::Pause(node) => self.pause(node),
            Deed::Resume(node) => self.resume(node),
            Deed::ControllerPort { node, on } => {
                self.process(node).set.controller_door = on;
                let DoorsSet { controller_door, controllers_first } = self.process(node).set;
                let listener::Config { pace, open_delay, .. } =
                    configuration::controller(self.plan, node).listener;
                let input =
                    Input::Reconfigured { pace, open_delay, controller_door, controllers_first };
                self.tell(node, input);
            }
            Deed::BindFile { node, says } => self.write_file(node, says),
            Deed::ApiAddresses { node, are } => self.move_api(node, &are),
            Deed::LoseItself(node) => {
                self.process(node).lost_itself = true;
                let own = self.process(node).peers.get(&node).and_then(|peer| peer.link);
                if let Some((link, _)) = own {
                    self.unwanted(link);
                    self.peer_lost(node, node);
                }
            }
            Deed::FindItself(node) => self.process(node).lost_itself = false,
            Deed::Cut { from, to } => {
                self.network.cut(from, to, true);
                if let (Place::Controller(_), Place::Controller(_)) = (from, to) {
                    self.heap.push(self.now + SILENCE, Event::Silence(from, to));
                }
            }
            Deed::Mend { from, to } => {
                self.network.cut(from, to, false);
                self.break_stuck(from, to);
            }
            Deed::Hold { from, to } => self.network.hold(from, to, true),
            Deed::Release { from, to } => {
                self.network.hold(from, to, false);
                self.release_held(from, to);
            }
            Deed::Slow { from, to, by } => self.network.slow(from, to, by),
            Deed::SlowDisk { node, by } => self.process(node).slow_disk = by,
            Deed::FillDisk(node) => self.process(node).disk_full = true,
            Deed::FreeDisk(node) => self.process(node).disk_full = false,
            Deed::BreakDisk { node, at } => self.process(node).disk_fails = Some(at),
            Deed::Drift { place, by, offset } => self.drift(place, by, offset),
            Deed::Herd => self.herd(),
            Deed::RestartAgents => self.restart_agents(),
            Deed::Limit(memory) => {
                self.memory_limit = memory;
                for node in self.plan.controllers() {
                    self.weigh(node);
                }
            }
            Deed::Claim(claims) => self.start_claims(&claims),
            Deed::Settle => {
                self.processes.iter_mut().for_each(|process| process.disk_fails = None);
            }
        }
    }

    /// A clock runs otherwise from now on: what is due by it is due at another time.
    fn drift(&mut self, place: Place, by: i32, offset: Duration) {
        self.clocks.at(place).set(self.now, by, offset);
        match place {
            Place::Controller(node) => self.look_at_clock(node),
            Place::Agents => {
                (0..self.clients.len() as u32).for_each(|number| self.wake_client(number));
            }
        }
    }

    /// The timers of a controller's machines are set anew, by its clock.
    fn look_at_clock(&mut self, node: NodeId) {
        let now = self.now;
        let process = self.process(node);
        if process.machine.is_none() {
            return;
        }
        let life = process.life;
        (process.timer, process.roles_timer) = (now, now);
        let workers: Vec<Worker> = process.strivers.keys().copied().collect();
        self.heap.push(now, Event::Timer(node));
        self.heap.push(now, Event::Roles(life));
        for worker in workers {
            self.heap.push(now, Event::Striver(life, worker));
        }
    }

    /// Starts a process on the disk that its last life left. It opens that by writing to it.
    pub(super) fn start(&mut self, node: NodeId) {
        if self.process(node).refuses_writes().is_some() {
            return self.disk_failed(node);
        }
        let mut config = configuration::controller(self.plan, node);
        let DoorsSet { controller_door, controllers_first } = self.process(node).set;
        config.listener.controller_door = controller_door;
        config.listener.controllers_first = controllers_first;
        let files = self.places.as_ref().is_some_and(Places::bind_files);
        config.bind = files.then(bind::Config::default);
        self.clocks.at(Place::Controller(node)).start(self.now);
        let machine = Controller::new(config, self.seed(node));
        let rival = Rival::new(self.plan, node);
        let members = self.plan.settings.members.as_ref();
        let roles = members.map(|members| Roles::new(members.roles(node)));
        self.process(node).born(machine, rival, roles);
        self.start_raft(node);
        self.tell(node, Input::Started);
        self.start_strivers(node);
        let life = self.process(node).life;
        self.watch_others(life);
        if files {
            self.heap.push(self.now + LOOKS_AFTER, Event::Look(life));
        }
        if self.places.is_some() {
            self.tell_servers(node);
            self.heap.push(self.now + LOOKS_AFTER, Event::Own(life));
        }
        for to in self.plan.controllers() {
            let at = self.now + self.plan.settings.controllers.call_after;
            self.heap.push(at, Event::Call(life, to));
        }
    }

    /// What the next life of a process draws from.
    fn seed(&mut self, node: NodeId) -> Seed {
        let life = self.process(node).life.number;
        let root = Seed(self.plan.settings.seed);
        root.child("controller", node.0).child("life", u64::from(life))
    }

    /// A process is killed for its memory, and will start again.
    pub(super) fn kill(&mut self, node: NodeId, memory: Bytes) {
        self.record(Who::Controller(node), Fact::Killed(memory));
        self.die(node);
        let life = self.process(node).life;
        self.heap.push(self.now + REVIVE_AFTER, Event::Revive(life));
    }

    /// A process ends because its disk failed, and will start again.
    pub(super) fn fail(&mut self, life: Life) {
        if self.process(life.node).lives(life) {
            self.disk_failed(life.node);
            self.die(life.node);
        }
    }

    fn disk_failed(&mut self, node: NodeId) {
        self.record(Who::World, Fact::Did(&Deed::Failed(node)));
        let life = self.process(node).life;
        self.heap.push(self.now + REVIVE_AFTER, Event::Revive(life));
    }

    /// A process is gone: its kernel closes whatever it had open.
    pub(super) fn die(&mut self, node: NodeId) {
        if self.process(node).machine.is_none() {
            return;
        }
        for link in self.process(node).die() {
            self.let_go(link);
        }
        let peers = std::mem::take(&mut self.process(node).peers);
        for (link, _) in peers.values().filter_map(|peer| peer.link) {
            self.unwanted(link);
        }
        self.told.retain(|(told, _)| *told != node);
        self.forget_missed(node);
    }

    /// Breaks every link that lost something between two places, for both ends.
    pub(super) fn break_stuck(&mut self, one: Place, other: Place) {
        let mut kept = Vec::new();
        for id in std::mem::take(&mut self.stuck) {
            let Some(link) = self.links.get(id) else { continue };
            let (from, to) = link.ends();
            // The front gives up a knock of its own by itself.
            let knocks = matches!(link.hop, Hop::Joining { .. });
            if knocks || ((from, to) != (one, other) && (to, from) != (one, other)) {
                kept.push(id);
                continue;
            }
            let (node, served, wanted) = (link.node, link.served, link.wanted);
            if let Served::Accepted(connection) = served {
                self.closed(id, node, connection);
            }
            // What waits in the backlog has heard nothing, and is found out about there.
            let left = wanted && served != Served::Waiting;
            if let Some(link) = self.links.get(id).filter(|_| left) {
                link.served = Served::Gone;
                self.arrive_down(id, Down::Closed);
            }
        }
        self.stuck.append(&mut kept);
    }

    /// Delivers what one place sent to another while that was held back.
    fn release_held(&mut self, from: Place, to: Place) {
        let mut kept = Vec::new();
        for (source, target, waiting) in std::mem::take(&mut self.held) {
            if (source, target) != (from, to) {
                kept.push((source, target, waiting));
                continue;
            }
            match waiting {
                Waiting::Message(id, message) => self.send(id, message),
                Waiting::Letter(letter) => self.post(letter),
                Waiting::Written(written) => self.carry(written),
            }
        }
        self.held.append(&mut kept);
    }
}
