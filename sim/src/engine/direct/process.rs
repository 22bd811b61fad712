//! One controller's process and its host: doors, backlog, processor, memory and disk.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::time::Duration;

use portcullis_core::controller::Controller;
use portcullis_core::roles::Roles;
use portcullis_core::{AskId, ConnectionId, Door, NodeId, Time};

use super::addresses::Known;
use super::link::LinkId;
use super::pause::Missed;
use super::raft::{Disk, Life, Node};
use super::rival::Rival;
use super::singular::Striver;
use super::strangers::AcceptLoop;
use crate::disk::{self, Touch};
use crate::plan::Plan;
use crate::settings::Bytes;
use crate::singular::Worker;

/// Memory of a process that serves nobody.
const MEMORY_BASE: u64 = 64 << 20;
/// Memory of one request without an answer.
const MEMORY_PER_ASK: u64 = 2 << 10;
/// Memory use is recorded each time that it has grown by this much.
const MEMORY_STEP: u64 = 1 << 20;

/// See the module.
pub struct Process {
    pub life: Life,
    /// None while the process is dead.
    pub machine: Option<Controller>,
    /// What stands in for core's lease service, if the scenario wants it.
    pub rival: Option<Rival>,
    /// Gives out roles while this controller leads, if the scenario wants it.
    pub roles: Option<Roles>,
    /// When its timer is due.
    pub roles_timer: Time,
    /// None until openraft has started.
    pub raft: Option<Node>,
    pub disk: Disk,
    /// How much longer than usual its syncs take, whichever process runs.
    pub slow_disk: Duration,
    /// Whether its disk has no room, whichever process runs.
    pub disk_full: bool,
    /// What fails next at its disk, whichever process runs.
    pub disk_fails: Option<Touch>,
    /// Whether the plan keeps it dead.
    pub crashed: bool,
    /// What the operator has set of the doors; it outlives the process.
    pub set: DoorsSet,
    /// Whether it cannot reach itself, whichever process runs.
    pub lost_itself: bool,
    pub doors: [Listener; 2],
    /// Every connection of this life, by number; none if it is gone.
    connections: Vec<Option<LinkId>>,
    open: u64,
    /// Requests without an answer.
    pub asks: u64,
    /// Highest memory use that was recorded.
    recorded: u64,
    /// Percent of memory in use that the machine was told last.
    told: u64,
    /// Its accept loop, in a design that turns strangers away.
    pub accept_loop: AcceptLoop,
    /// When the processor is done with all handshakes and logins.
    busy_until: Time,
    syncs: Syncs,
    /// When the machine's timer is due.
    pub timer: Time,
    pub peers: BTreeMap<NodeId, Peer>,
    /// What it knows of where controllers are, if they can be elsewhere.
    pub known: Known,
    /// Who leads, if it is another, as this one was told last.
    pub leader: Option<NodeId>,
    /// Whether that one has said how far it has committed.
    pub heard: bool,
    /// What strives to run each worker that runs on one controller alone.
    pub strivers: BTreeMap<Worker, Striver>,
    /// How often it has asked on its own behalf.
    pub own_serials: u64,
    /// What waits for it while it is paused.
    pub missed: Option<Vec<Missed>>,
}

/// Which doors a controller has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DoorsSet {
    pub controller_door: bool,
    pub controllers_first: bool,
}

/// A permit of a door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permit {
    /// The next connection is let in.
    Accept,
    /// The next connection comes to stand at the door.
    Hold,
}

/// One door's port.
#[derive(Debug, Default)]
pub struct Listener {
    pub bound: bool,
    /// What the next connection may do.
    pub permit: Option<Permit>,
    pub backlog: VecDeque<LinkId>,
}

/// The connection to another controller, or to itself.
#[derive(Debug, Default)]
pub struct Peer {
    /// The link, and whether it has logged in.
    pub link: Option<(LinkId, bool)>,
    /// Which of its addresses is called next.
    pub next: usize,
    /// What the machine was told of the link last.
    pub told: Option<bool>,
    serials: u64,
    asks: BTreeMap<u64, AskId>,
    by_ask: BTreeMap<AskId, u64>,
}

impl Process {
    /// A process that never ran.
    pub fn new(node: NodeId) -> Process {
        Process {
            life: Life { node, number: 0 },
            machine: None,
            rival: None,
            roles: None,
            roles_timer: Time(u64::MAX),
            raft: None,
            disk: Disk::default(),
            slow_disk: Duration::ZERO,
            disk_full: false,
            disk_fails: None,
            crashed: false,
            set: DoorsSet::default(),
            lost_itself: false,
            doors: Default::default(),
            connections: Vec::new(),
            open: 0,
            asks: 0,
            recorded: 0,
            told: 0,
            accept_loop: AcceptLoop::default(),
            busy_until: Time(0),
            syncs: Syncs::default(),
            timer: Time(u64::MAX),
            peers: BTreeMap::new(),
            known: Known::default(),
            leader: None,
            heard: false,
            strivers: BTreeMap::new(),
            own_serials: 0,
            missed: None,
        }
    }

    /// A process that never ran, with the doors that the plan sets.
    pub fn set_up(plan: &Plan, node: NodeId) -> Process {
        let settings = &plan.settings.controllers;
        let set = DoorsSet {
            controller_door: settings.has_controller_door(),
            controllers_first: settings.holds(),
        };
        Process { set, ..Process::new(node) }
    }

    /// Whether this life of it runs.
    pub fn lives(&self, life: Life) -> bool {
        self.machine.is_some() && self.life == life
    }

    /// The next life of the process, with nothing but the disk that the last one left.
    pub fn born(&mut self, machine: Controller, rival: Option<Rival>, roles: Option<Roles>) {
        let life = Life { number: self.life.number + 1, ..self.life };
        let disk = std::mem::take(&mut self.disk);
        let (slow_disk, disk_full, disk_fails) = (self.slow_disk, self.disk_full, self.disk_fails);
        let (set, lost_itself) = (self.set, self.lost_itself);
        let machine = Some(machine);
        let fresh = Process::new(life.node);
        let kept = Process { life, disk, slow_disk, disk_full, disk_fails, ..fresh };
        let kept = Process { set, lost_itself, ..kept };
        *self = Process { machine, rival, roles, ..kept };
    }

    /// Ends the process at once. Gives up every link that it had as a server.
    pub fn die(&mut self) -> Vec<LinkId> {
        self.machine = None;
        self.rival = None;
        self.roles = None;
        self.strivers.clear();
        self.disk = match self.raft.take() {
            Some(raft) => raft.kill(),
            None => self.disk.survive(),
        };
        let mut links: Vec<LinkId> = self.connections.drain(..).flatten().collect();
        for door in &mut self.doors {
            links.extend(door.backlog.drain(..));
            *door = Listener::default();
        }
        self.open = 0;
        links
    }

    /// Takes a link in; names the connection.
    pub fn connect(&mut self, link: LinkId) -> ConnectionId {
        self.connections.push(Some(link));
        self.open += 1;
        ConnectionId(self.connections.len() as u64)
    }

    /// The link of a connection, unless it is gone.
    pub fn link(&self, connection: ConnectionId) -> Option<LinkId> {
        // Its own asks come over none.
        let place = (connection.0 as usize).checked_sub(1)?;
        *self.connections.get(place)?
    }

    /// The links of every connection, through both doors.
    pub fn links(&self) -> impl Iterator<Item = LinkId> {
        self.connections.iter().flatten().copied()
    }

    /// Forgets a connection; gives up its link, unless it is gone already.
    pub fn disconnect(&mut self, connection: ConnectionId) -> Option<LinkId> {
        let link = self.connections.get_mut(connection.0 as usize - 1)?.take();
        self.open -= u64::from(link.is_some());
        link
    }

    /// The port of a door.
    pub fn door(&mut self, door: Door) -> &mut Listener {
        &mut self.doors[door as usize]
    }

    /// When the processor has done this much work, after all that it was given before.
    pub fn work(&mut self, now: Time, cost: Duration) -> Time {
        self.busy_until = self.busy_until.max(now) + cost;
        self.busy_until
    }

    /// When something written now is durable.
    pub fn sync(&mut self, now: Time, takes: Duration) -> Time {
        self.syncs.write(now, takes + self.slow_disk)
    }

    /// What a write meets, if it fails.
    pub fn refuses_writes(&mut self) -> Option<io::Error> {
        self.fails(Touch::Write).or_else(|| self.disk_full.then(disk::full))
    }

    /// What this touch of the disk meets, if it is the one to fail.
    pub fn fails(&mut self, at: Touch) -> Option<io::Error> {
        self.disk_fails.take_if(|due| *due == at).map(Touch::error)
    }

    /// Memory in use.
    pub fn memory(&self, per_connection: Bytes) -> Bytes {
        let rival = self.rival.as_ref().map_or(0, Rival::memory);
        Bytes(MEMORY_BASE + self.open * per_connection.0 + self.asks * MEMORY_PER_ASK + rival)
    }

    /// Whether memory use has grown enough to be recorded.
    pub fn grown(&mut self, memory: Bytes) -> bool {
        let grown = memory.0 >= self.recorded + MEMORY_STEP;
        if grown {
            self.recorded = memory.0;
        }
        grown
    }
}

impl Process {
    /// Whether memory use has changed by a percent of the limit since this last said so.
    pub fn moved(&mut self, memory: Bytes, limit: Bytes) -> bool {
        let percent = memory.0 * 100 / limit.0.max(1);
        std::mem::replace(&mut self.told, percent) != percent
    }
}

impl Peer {
    /// Numbers an ask that is handed on; an older number of it is forgotten.
    pub fn ask(&mut self, ask: AskId) -> u64 {
        self.serials += 1;
        self.asks.insert(self.serials, ask);
        if let Some(before) = self.by_ask.insert(ask, self.serials) {
            self.asks.remove(&before);
        }
        self.serials
    }

    /// The ask that was answered, unless nobody waits for it.
    pub fn answered(&mut self, serial: u64) -> Option<AskId> {
        let ask = self.asks.remove(&serial)?;
        self.by_ask.remove(&ask);
        Some(ask)
    }

    /// The number under which an ask was handed on; it is forgotten.
    pub fn recall(&mut self, ask: AskId) -> Option<u64> {
        let serial = self.by_ask.remove(&ask)?;
        self.asks.remove(&serial);
        Some(serial)
    }

    /// The link is gone: every ask that has no answer.
    pub fn lose(&mut self) -> Vec<AskId> {
        self.link = None;
        self.by_ask.clear();
        std::mem::take(&mut self.asks).into_values().collect()
    }
}

/// A disk that does one sync at a time; what is written during one shares the next.
#[derive(Debug, Default)]
struct Syncs {
    starts: Time,
    ends: Time,
}

impl Syncs {
    fn write(&mut self, now: Time, takes: Duration) -> Time {
        if now >= self.starts {
            self.starts = self.ends.max(now);
            self.ends = self.starts + takes;
        }
        self.ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_during_a_sync_shares_the_next() {
        let takes = Duration::from_millis(2);
        let mut syncs = Syncs::default();
        assert_eq!(syncs.write(Time(10_000), takes), Time(12_000));
        assert_eq!(syncs.write(Time(10_500), takes), Time(14_000));
        assert_eq!(syncs.write(Time(11_000), takes), Time(14_000));
        assert_eq!(syncs.write(Time(12_000), takes), Time(16_000));
    }
}
