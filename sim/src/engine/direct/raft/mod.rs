//! The raft nodes of the direct engine: openraft as it is, on virtual time and modelled disks.
//!
//! The types are those of production. What differs is what the world offers: the log is kept by a
//! [`Disk`] that lives in memory and loses what was not synced, the table tells the heap what it
//! applied, and every message between nodes is a [`Letter`] that the heap delivers, holds or loses.
//! Tasks never touch the world: they report to an [`Inbox`], which the heap's own task empties.

mod disk;
mod table;
mod wire;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{Fatal, RaftError};
use openraft::storage::IOFlushed;
use openraft::{AsyncRuntime as _, OptionalSend};
use openraft_rt_sim::SimRuntime;
use portcullis::raft::{self as shell, Line, Proposed, Role, Roles, membership};
use portcullis_core::controller::Request;
use portcullis_core::lease::{self, Applied, Entry};
use portcullis_core::members::{Members, Standing};
use portcullis_core::roles::{Output, Picture};
use portcullis_core::{BatchId, GlobalTime, NodeId, log, members, queue};
use tokio::sync::oneshot;

pub use disk::Disk;
pub use table::Table;

/// The types of production on virtual time.
pub type Types = shell::Types<SimRuntime>;
/// One running raft node.
pub type Raft = openraft::Raft<Types, Table>;

/// Longest wait for a proposal's outcome, which a leader that is cut off never gives.
const PROPOSE_WITHIN: Duration = Duration::from_secs(10);

/// One life of one controller's process; the next one has the next number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Life {
    pub node: NodeId,
    pub number: u32,
}

/// What a raft node has to say to the world.
pub enum Report {
    /// It runs.
    Started { node: Node },
    /// A message for another node is to be carried there.
    Letter(Letter),
    /// Something is to be written durably.
    Write { life: Life, write: Write },
    /// The table applied a log entry.
    Applied { life: Life, index: u64, entry: Entry, applied: Applied },
    /// The table applied a log entry about the members.
    Members { life: Life, index: u64, command: members::Command, outcome: members::Outcome },
    /// The table was replaced by a snapshot.
    Restored { life: Life, index: u64 },
    /// The node has ended, because its disk failed.
    Failed { life: Life },
    /// The node's role changed.
    Role { life: Life, role: Role },
    /// What became of a change of roles.
    Changed { life: Life, done: bool },
    /// The table applied a change of roles.
    Formed { life: Life, index: u64, formed: shell::Formed },
    /// What became of a proposal.
    Proposed { life: Life, batch: BatchId, proposed: Proposed },
}

impl Report {
    /// Whose it is.
    pub fn life(&self) -> Life {
        match self {
            Report::Started { node } => node.life,
            Report::Letter(letter) => letter.from,
            Report::Write { life, .. }
            | Report::Applied { life, .. }
            | Report::Members { life, .. }
            | Report::Restored { life, .. }
            | Report::Failed { life }
            | Report::Role { life, .. }
            | Report::Changed { life, .. }
            | Report::Formed { life, .. }
            | Report::Proposed { life, .. } => *life,
        }
    }
}

/// A message on its way; what it says stays with its sender until it is known to arrive.
pub struct Letter {
    pub from: Life,
    pub to: NodeId,
    /// Told how it went; dropped if it is lost.
    pub fate: oneshot::Sender<Fate>,
}

/// How a letter went.
pub enum Fate {
    /// It is there, at this life of the node.
    Arrived { raft: Raft, life: u32 },
    /// Nobody listens there.
    Refused,
}

/// What is to be durable, and who is told once it is.
pub enum Write {
    Vote {
        vote: shell::Vote,
        done: Done,
    },
    Append {
        last: shell::LogId,
        done: IOFlushed<Types>,
    },
    Truncate {
        done: Done,
    },
    /// In a box: it is rare, and all that is ever due would be twice as large with it.
    Snapshot {
        taken: Box<Taken>,
        done: Done,
    },
}

/// Who is told what came of a write.
pub type Done = oneshot::Sender<io::Result<()>>;

/// A snapshot: nothing is encoded, since nothing leaves this process.
pub type Taken = openraft::storage::Snapshot<shell::LeaderId, u64, shell::Peer, Arc<log::Snapshot>>;

/// Where tasks report to the world.
#[derive(Clone, Default)]
pub struct Inbox(Arc<Mutex<Reports>>);

#[derive(Default)]
struct Reports {
    waiting: Vec<Report>,
    waker: Option<Waker>,
}

impl Inbox {
    /// Reports, and wakes the world.
    pub fn push(&self, report: Report) {
        let mut reports = self.reports();
        reports.waiting.push(report);
        if let Some(waker) = reports.waker.take() {
            waker.wake();
        }
    }

    /// Moves everything reported into `out`; if there is nothing, `waker` is woken once there is.
    pub fn take(&self, waker: &Waker, out: &mut Vec<Report>) -> bool {
        let mut reports = self.reports();
        out.append(&mut reports.waiting);
        if out.is_empty() {
            reports.waker = Some(waker.clone());
        }
        !out.is_empty()
    }

    fn reports(&self) -> MutexGuard<'_, Reports> {
        // Nothing panics while it is locked.
        self.0.lock().expect("the lock is never poisoned")
    }
}

/// A raft node as the world holds it.
pub struct Node {
    life: Life,
    raft: Raft,
    table: table::View,
    disk: Disk,
    inbox: Inbox,
    proposals: Line,
}

impl Node {
    /// Starts a node on what is left on its disk. `members`: the cluster, if this node is to found it.
    pub async fn start(
        life: Life,
        config: &shell::Config,
        disk: Disk,
        members: Option<&[NodeId]>,
        inbox: &Inbox,
    ) -> Node {
        let append_within = config.append_within();
        let config = config.openraft().expect("a scenario's configuration is valid");
        let table = Table::new(life, disk.clone(), inbox.clone());
        let view = table.view();
        let wires = wire::Wires { from: life, inbox: inbox.clone(), append_within };
        let log = disk.log(life, inbox.clone());
        let raft = Raft::new(life.node.0, Arc::new(config), wires, log, table)
            .await
            .expect("a disk in memory does not fail");
        if let Some(members) = members {
            let members: BTreeMap<u64, shell::Peer> =
                members.iter().map(|node| (node.0, shell::Peer::default())).collect();
            match raft.initialize(members).await {
                // A disk that fails is reported, as it is later.
                Ok(()) | Err(RaftError::Fatal(_)) => {}
                Err(RaftError::APIError(error)) => unreachable!("the log is empty: {error}"),
            }
        }
        let (inbox, proposals) = (inbox.clone(), Line::default());
        let node = Node { life, raft, table: view, disk, inbox, proposals };
        node.watch();
        node
    }

    /// Whose it is.
    pub fn life(&self) -> Life {
        self.life
    }

    /// A handle on the node.
    pub fn raft(&self) -> Raft {
        self.raft.clone()
    }

    /// The log entry up to which all is known to be committed.
    pub fn committed(&self) -> Option<u64> {
        let metrics = self.raft.metrics();
        metrics.borrow_watched().cluster_committed.map(|last| last.index)
    }

    /// Hands the lead over to another, if this node has it.
    pub fn hand_over(&self, to: NodeId) {
        let raft = self.raft.clone();
        spawn(async move {
            // One that does not lead has nothing to hand over.
            drop(raft.trigger().transfer_leader(to.0).await);
        });
    }

    /// Global time, by this node's copy of the table.
    pub fn global(&self) -> GlobalTime {
        self.table.look(|leases| leases.now())
    }

    /// Whether the lease is held, by this node's copy of the table.
    pub fn held(&self, key: &lease::Key) -> bool {
        self.table.look(|leases| leases.get(key).is_some())
    }

    /// The lease as it is held, by this node's copy of the table.
    pub fn lease(&self, key: &lease::Key) -> Option<lease::Lease> {
        self.table.look(|leases| leases.get(key).cloned())
    }

    /// Whether somebody asks to hold on to what is held, by this node's copy of the table.
    pub fn renews(&self, request: &Request) -> bool {
        match request {
            Request::Apply(operation) => {
                self.table.look(|leases| queue::renews(operation, leases.get(operation.key())))
            }
            Request::Wait(_) => false,
        }
    }

    /// The members, by this node's copy of the table.
    pub fn members(&self) -> Members {
        self.table.members()
    }

    /// Whether this node has a vote, as far as it knows.
    pub fn votes(&self, node: NodeId) -> bool {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        metrics.membership_config.membership().voter_ids().any(|id| id == node.0)
    }

    /// Whether a controller was removed and has no part in the log any more, as far as this node
    /// knows.
    pub fn gone(&self, node: NodeId) -> bool {
        self.members().standing(node) == Standing::Removed && !membership::knows(&self.raft, node)
    }

    /// How the cluster stands, if this node leads.
    pub fn picture(
        &self,
        heard_within: Duration,
        reaches: impl Fn(NodeId) -> bool,
    ) -> Option<Picture> {
        membership::picture(&self.raft, &self.members(), heard_within, reaches)
    }

    /// Makes a change of roles; what becomes of it is reported.
    pub fn change(&self, order: Output, found: members::Command) {
        let (raft, inbox, life) = (self.raft.clone(), self.inbox.clone(), self.life);
        let members = self.members();
        spawn(async move {
            let change = membership::change(&raft, &members, found, &order);
            let done = SimRuntime::timeout(PROPOSE_WITHIN, change).await.unwrap_or(false);
            inbox.push(Report::Changed { life, done });
        });
    }

    /// Proposes a command about the members; whoever wants to know what came of it looks.
    pub fn command(&self, command: members::Command) {
        let (raft, writes) = (self.raft.clone(), self.members().writes());
        spawn(async move {
            let proposed = shell::propose_members(&raft, writes, command);
            // An operator tries until it is done.
            let _ = SimRuntime::timeout(PROPOSE_WITHIN, proposed).await;
        });
    }

    /// Proposes an entry; what becomes of it is reported.
    pub fn propose(&mut self, batch: BatchId, entry: Entry) {
        let (raft, inbox, life) = (self.raft.clone(), self.inbox.clone(), self.life);
        let (turn, patience) = (self.proposals.turn(), SimRuntime::sleep(PROPOSE_WITHIN));
        spawn(async move {
            let proposed = shell::propose(&raft, turn, entry, patience).await;
            inbox.push(Report::Proposed { life, batch, proposed });
        });
    }

    /// Ends the node at once, as by `kill -9`, and gives up what its disk keeps.
    ///
    /// Its tasks linger for a moment, but nobody hears them: letters and writes of a past life go
    /// nowhere.
    pub fn kill(self) -> Disk {
        let raft = self.raft;
        spawn(async move {
            // Whether its tasks ended well is of no interest to anybody.
            drop(raft.shutdown().await);
        });
        self.disk.survive()
    }

    fn watch(&self) {
        let (mut roles, inbox, life) =
            (Roles::<SimRuntime>::new(&self.raft), self.inbox.clone(), self.life);
        spawn(async move {
            while let Some(role) = roles.next().await {
                inbox.push(Report::Role { life, role });
            }
        });
        let (mut metrics, inbox) = (self.raft.metrics(), self.inbox.clone());
        spawn(async move {
            loop {
                match &metrics.borrow_watched().running_state {
                    Err(Fatal::StorageError(_)) => return inbox.push(Report::Failed { life }),
                    // It was told to end.
                    Err(Fatal::Stopped) => return,
                    Err(Fatal::Panicked) => return tracing::error!("a raft node panicked"),
                    Ok(()) => {}
                }
                if metrics.changed().await.is_err() {
                    return;
                }
            }
        });
    }
}

/// Runs a task beside the raft nodes.
pub fn spawn(task: impl Future<Output = ()> + OptionalSend + 'static) {
    // Nobody waits for it: it reports to the inbox.
    drop(SimRuntime::spawn(task));
}
