//! A copy of a cluster's tables, and how another cluster of one begins from it.
//!
//! A copy is older than what the cluster has done since, and nobody knows by how much. What follows
//! from it must agree with that all the same, so whoever goes on from one leaps ahead of everything
//! that the cluster could have handed out: fences, so that no holder is taken for an older one; global
//! time and log entries, so that whoever watches them never sees one go back. And nobody leads until
//! every lease that was granted since is over (see [`Restored::quiet`]): the copy knows of none of
//! those, so that others could claim what is still held.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use openraft::AsyncRuntime;
use portcullis_core::lease;
use portcullis_core::{NodeId, log};
use serde::{Deserialize, Serialize};

use super::store::Beginning;
use super::{
    LeaderId, Leases, LogId, Membership, Peer, Raft, SnapshotMeta, Vote, codec, peer, versions,
};

/// Version of an encoded copy.
const VERSION: u8 = 1;
/// How far fences and log entries leap: more than a cluster makes in a century at a claim a second, or
/// in a week at 5,000.
const LEAP: u64 = 1 << 32;
/// How far global time leaps beyond the calendar's word on how old the copy is: clocks may be wrong.
const TIME_LEAP: Duration = Duration::from_secs(3_600);
/// Least time until somebody leads again: the longest that an agent of Juju's may ask for.
pub const QUIET_LEAST: Duration = Duration::from_secs(300);

/// The tables of a cluster at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copied {
    /// The cluster.
    pub cluster: String,
    /// The member that it was taken at.
    pub node: NodeId,
    /// The term that it was in.
    pub term: u64,
    /// What the tables cover.
    pub meta: SnapshotMeta,
    tables: Bytes,
}

/// Why a copy cannot be read or gone on from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is no copy, or another version's.
    #[error("{0}")]
    Codec(#[from] codec::Error),
    /// It was taken before the cluster had done anything.
    #[error("there is nothing in it")]
    Empty,
    /// The controller was no member then.
    #[error("{node} was no member when it was taken; these were: {}", named(members))]
    NotMember { node: NodeId, members: BTreeSet<NodeId> },
}

/// What is in a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// The last log entry that it covers.
    pub index: u64,
    /// Who belonged to the cluster.
    pub members: BTreeSet<NodeId>,
    /// How many leases were held.
    pub leases: usize,
    /// How many leases were pinned.
    pub pins: usize,
    /// The longest that one of them was asked for.
    pub longest: Duration,
}

/// How a cluster of one goes on from a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The one member.
    pub node: NodeId,
    /// How long ago the copy was taken, by the calendar.
    pub age: Duration,
    /// For how long nobody leads once the controller runs: as long as any lease that was granted
    /// since the copy may be held.
    pub quiet: Duration,
}

impl Copied {
    /// Copies the tables of a running member.
    pub fn take<R: AsyncRuntime>(
        cluster: &str,
        node: NodeId,
        raft: &Raft<R>,
        leases: &Leases,
    ) -> Copied {
        use openraft::async_runtime::watch::WatchReceiver;
        let term = raft.metrics().borrow_watched().current_term;
        let (meta, tables) = leases.freeze();
        let tables = versions::encode_snapshot(tables);
        Copied { cluster: cluster.to_owned(), node, term, meta, tables }
    }

    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(VERSION, self)
    }

    /// The copy of the bytes, every one of which is looked at.
    pub fn decode(bytes: &[u8]) -> Result<Copied, Error> {
        let copied: Copied = codec::decode(VERSION, bytes)?;
        copied.contents()?;
        Ok(copied)
    }

    /// What is in it.
    pub fn contents(&self) -> Result<Contents, Error> {
        let tables = versions::decode_snapshot(&self.tables)?;
        let durations = tables.leases.leases.iter().map(|(_, lease)| duration(lease));
        Ok(Contents {
            index: self.meta.last_log_id.ok_or(Error::Empty)?.index,
            members: self.nodes(&tables).into_keys().collect(),
            leases: tables.leases.leases.len(),
            pins: tables.leases.pins.len(),
            longest: durations.max().unwrap_or_default(),
        })
    }

    /// Who belonged to the cluster, and where they were dialled.
    fn nodes(&self, tables: &log::Snapshot) -> BTreeMap<NodeId, Peer> {
        let known = self.meta.last_membership.nodes();
        let known = known.map(|(node, at)| (NodeId(*node), at.clone()));
        let members = tables.members.iter();
        known.chain(members.map(|(node, member)| (node, peer(&member.address)))).collect()
    }

    /// What a store begins with in which `restored.node` is the only member: all others are removed,
    /// every lease is held by whoever held it, for as long as was left, under a new fence.
    pub fn begin(&self, restored: &Restored) -> Result<Beginning, Error> {
        let Restored { node, age, quiet } = *restored;
        let mut tables = versions::decode_snapshot(&self.tables)?;
        let last = self.meta.last_log_id.ok_or(Error::Empty)?;
        let nodes = self.nodes(&tables);
        let Some(at) = nodes.get(&node) else {
            return Err(Error::NotMember { node, members: nodes.into_keys().collect() });
        };
        leap(&mut tables.leases, age + TIME_LEAP);
        tables.members.leave_only(node);
        let term = self.term.max(last.leader_id.term) + 1;
        let last = LogId::new(LeaderId { term, node_id: node.0 }, last.index + LEAP);
        let voters = vec![BTreeSet::from([node.0])];
        let membership = openraft::Membership::new(voters, BTreeMap::from([(node.0, at.clone())]));
        let membership = membership.expect("one voter, whose address is there");
        Ok(Beginning {
            vote: Vote::new(term + 1, node.0),
            meta: SnapshotMeta {
                last_log_id: Some(last),
                last_membership: Membership::new(Some(last), membership),
            },
            tables: versions::encode_snapshot(tables),
            quiet,
        })
    }
}

fn duration(lease: &lease::Lease) -> Duration {
    lease.expiry.since(lease.start)
}

/// Moves all that a table hands out ahead, and leaves every lease as long as it had.
fn leap(leases: &mut lease::Snapshot, by: Duration) {
    leases.now = leases.now + by;
    leases.fence += LEAP;
    for (_, lease) in &mut leases.leases {
        lease.start = lease.start + by;
        lease.expiry = lease.expiry + by;
        lease.fence += LEAP;
    }
}

fn named(nodes: &BTreeSet<NodeId>) -> String {
    let names: Vec<String> = nodes.iter().map(NodeId::to_string).collect();
    names.join(", ")
}
