//! The replicated log: openraft over our own store, table and types.
//!
//! The log carries [`log::Entry`]s and the state machine is [`log::State`]; both are core's. What is here makes them durable ([`store`]), applies them ([`table`]), proposes
//! ([`propose`]) and says who leads ([`role`]). All is generic over openraft's runtime, because
//! production, the network simulators and the direct engine each have their own.

pub mod codec;
pub mod copy;
mod kept;
pub mod membership;
pub mod propose;
pub mod recover;
pub mod role;
pub mod store;
pub mod table;
mod tail;
mod versions;
mod volume;
mod writer;

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use openraft::{AsyncRuntime, BasicNode, EntryPayload, OptionalSend, RaftTypeConfig};
use portcullis_core::{Address, NodeId, log};

pub use copy::{Copied, Restored};
pub use propose::{
    Line, NotLeader, NotWritten, Proposed, Turn, await_applied, propose, propose_members,
    read_index,
};
pub use role::{Role, Roles};
pub use store::{Error, Identity, Size, Store, Writer};
pub use table::{Leases, Observed, SCAN_MAX, Scanned, Table};

/// Term and node: what names a leader.
pub type LeaderId = openraft::impls::leader_id_adv::LeaderId<u64, u64>;
/// The place of an entry in the log.
pub type LogId = openraft::LogId<LeaderId>;
/// What a node has voted for.
pub type Vote = openraft::Vote<LeaderId>;
/// An entry of the log: ours, a change of membership, or nothing.
pub type LogEntry = openraft::Entry<LeaderId, EntryPayload<log::Entry, u64, BasicNode>>;
/// The members as of some entry.
pub type Membership = openraft::StoredMembership<LeaderId, u64, BasicNode>;
/// What a snapshot covers.
pub type SnapshotMeta = openraft::SnapshotMeta<LeaderId, u64, BasicNode>;
/// What a change of roles comes to, in our words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Formed {
    /// Who votes.
    pub voters: BTreeSet<NodeId>,
    /// Who voted before, while the change is not finished and both must agree.
    pub before: Option<BTreeSet<NodeId>>,
    /// Who has the log and no vote.
    pub learners: BTreeSet<NodeId>,
}

impl Formed {
    /// Reads openraft's words.
    pub fn of(membership: &openraft::Membership<u64, Peer>) -> Formed {
        let named = |ids: &BTreeSet<u64>| ids.iter().copied().map(NodeId).collect();
        let configs = membership.get_joint_config();
        Formed {
            voters: configs.last().map(named).unwrap_or_default(),
            before: configs.first().filter(|_| configs.len() > 1).map(named),
            learners: membership.learner_ids().map(NodeId).collect(),
        }
    }
}

/// Where a node of the log is reached.
pub type Peer = BasicNode;
/// One node of the cluster.
pub type Raft<R> = openraft::Raft<Types<R>, Table<R>>;

/// The types openraft works with, on the runtime `R`.
///
/// Nodes carry their addresses: a controller that starts again must find the others before any of
/// them has told it anything, and what it has by then is the members of the log's end.
pub struct Types<R>(PhantomData<fn() -> R>);

// By hand, because deriving would ask the same traits of the runtime.
impl<R> Clone for Types<R> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<R> Copy for Types<R> {}
impl<R> Default for Types<R> {
    fn default() -> Self {
        Types(PhantomData)
    }
}
impl<R> fmt::Debug for Types<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Types")
    }
}
impl<R> PartialEq for Types<R> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
impl<R> Eq for Types<R> {}
impl<R> PartialOrd for Types<R> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl<R> Ord for Types<R> {
    fn cmp(&self, _: &Self) -> Ordering {
        Ordering::Equal
    }
}

/// What the log says of a node at this address.
pub fn peer(address: &Address) -> Peer {
    BasicNode::new(address.as_str())
}

impl<R: AsyncRuntime> RaftTypeConfig for Types<R> {
    type D = log::Entry;
    type R = log::Applied;
    type NodeId = u64;
    type Node = BasicNode;
    type Term = u64;
    type LeaderId = LeaderId;
    type Vote = Vote;
    type Payload = EntryPayload<log::Entry, u64, BasicNode>;
    type Entry = LogEntry;
    type AsyncRuntime = R;
    type Responder<T>
        = openraft::impls::OneshotResponder<Self, T>
    where
        T: OptionalSend + 'static;
    type Batch<T>
        = openraft::impls::InlineBatch<T>
    where
        T: OptionalSend + 'static;
    type ErrorSource = openraft::impls::BoxedErrorSource;
}

/// The pace and the limits of the log. Times count in whole milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// How often a leader says that it lives.
    pub heartbeat: Duration,
    /// A node that hears no leader stands for election after a wait drawn from between these two.
    /// The shorter is above `heartbeat`, the longer above the shorter.
    pub election: (Duration, Duration),
    /// Entries between two snapshots. Above zero.
    pub snapshot_every: u64,
    /// Encoded bytes of entries since the last snapshot from which on another is taken, however few
    /// they are. Above zero.
    pub snapshot_bytes: u64,
    /// Entries kept behind a snapshot, so that a peer which was away for a moment needs no
    /// snapshot.
    pub kept: u64,
    /// Encoded bytes of entries that are kept behind a snapshot at most.
    pub kept_bytes: u64,
    /// Most entries in one message to a peer. Above zero. See also [`store::READ_MAX`].
    pub entries_max: u64,
    /// Longest time that a peer may take to go on from a snapshot that it has whole.
    pub snapshot_patience: Duration,
    /// Most messages that wait for openraft's core task, and for its state machine task. Above
    /// zero.
    pub inbox_max: u64,
}

impl Default for Config {
    /// A heartbeat may be lost three times before anybody stands for election.
    fn default() -> Config {
        Config {
            heartbeat: Duration::from_millis(250),
            election: (Duration::from_millis(1_000), Duration::from_millis(2_000)),
            snapshot_every: 5_000,
            snapshot_bytes: 16 << 20,
            kept: 1_000,
            kept_bytes: 4 << 20,
            entries_max: 256,
            snapshot_patience: Duration::from_secs(60),
            inbox_max: 4_096,
        }
    }
}

impl Config {
    /// About the most entries that the log has: what comes while a snapshot is taken is on top.
    pub fn log_entries_max(&self) -> u64 {
        self.snapshot_every.saturating_add(self.kept)
    }

    /// About the most bytes that the log has, but for one entry and what comes meanwhile.
    pub fn log_bytes_max(&self) -> u64 {
        self.snapshot_bytes.saturating_add(self.kept_bytes)
    }

    /// Longest wait for a peer to say that it has taken entries in: as long as a follower waits for
    /// a leader. openraft's own limit is three quarters of a heartbeat. Peers that are further apart
    /// than that, the way and the sync, would never commit anything, and hear too much of the leader
    /// to replace it.
    pub fn append_within(&self) -> Duration {
        self.election.0
    }

    /// The same in openraft's words, or what contradicts itself.
    ///
    /// Pre-vote is always on: a controller that comes back from a partition must not depose a
    /// leader that everybody else hears. And a leader that restarts always stands for election:
    /// taking its old term up at once, it would answer reads from a table that lags behind what it
    /// acknowledged, and with a log that may lack entries which only its peers had synced.
    pub fn openraft(&self) -> Result<openraft::Config, openraft::ConfigError> {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        openraft::Config {
            cluster_name: "portcullis".into(),
            heartbeat_interval: millis(self.heartbeat),
            election_timeout_min: millis(self.election.0),
            election_timeout_max: millis(self.election.1),
            snapshot_policy: openraft::SnapshotPolicy::LogsSinceLast(self.snapshot_every),
            max_in_snapshot_log_to_keep: self.kept,
            // A peer further behind than what is kept is helped by nothing but a snapshot.
            replication_lag_threshold: self.snapshot_every + self.kept,
            max_payload_entries: self.entries_max,
            install_snapshot_timeout: millis(self.snapshot_patience),
            api_channel_size: Some(self.inbox_max),
            state_machine_channel_size: Some(self.inbox_max),
            enable_pre_vote: Some(true),
            enable_leader_restore: Some(false),
            ..openraft::Config::default()
        }
        .validate()
    }
}
