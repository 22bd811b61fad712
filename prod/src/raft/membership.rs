//! What core's [`Roles`](portcullis_core::roles::Roles) needs of openraft: how the cluster stands, and
//! changes of it.
//!
//! openraft makes a change of voters in two entries: during the first a majority of the voters before
//! must agree as well as one of those after it. If its leader dies in between, the next one finds that
//! in its picture and finishes it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use openraft::storage::RaftStateMachine;
use openraft::{AsyncRuntime, ChangeMembers, Instant};
use portcullis_core::members::{Command, Members};
use portcullis_core::roles::{Output, Picture};
use portcullis_core::{Address, NodeId};
use serde::{Deserialize, Serialize};

use super::propose::not_written;
use super::{Formed, NotWritten, Types, peer, propose_members};

/// How the cluster stands by a leader's own knowledge; nothing if it does not lead. Who has the log
/// counts as heard if it has answered within `heard_within`; of spares, whom raft says nothing to,
/// `reaches` knows.
pub fn picture<R, S>(
    raft: &openraft::Raft<Types<R>, S>,
    members: &Members,
    heard_within: Duration,
    reaches: impl Fn(NodeId) -> bool,
) -> Option<Picture>
where
    R: AsyncRuntime,
    S: RaftStateMachine<Types<R>>,
{
    let metrics = raft.metrics();
    let metrics = metrics.borrow_watched();
    let (answered, replication) = (metrics.heartbeat.as_ref()?, metrics.replication.as_ref()?);
    let Formed { voters, before, learners } = Formed::of(metrics.membership_config.membership());
    let now = R::Instant::now();
    let recent = answered.iter().filter(|(_, answered)| {
        answered.is_some_and(|answered| now.saturating_duration_since(*answered) <= heard_within)
    });
    let mut heard: BTreeSet<NodeId> = recent.map(|(node, _)| NodeId(*node)).collect();
    heard.insert(NodeId(metrics.id));
    let known = voters.union(&learners).chain(before.iter().flatten()).copied();
    let known: BTreeSet<NodeId> = known.collect();
    let spares = members.iter().map(|(node, _)| node).filter(|node| !known.contains(node));
    heard.extend(spares.filter(|node| reaches(*node)));
    let matched = |(node, matched): (&u64, &Option<super::LogId>)| {
        Some((NodeId(*node), matched.as_ref()?.index))
    };
    Some(Picture {
        members: members.clone(),
        voters,
        before,
        learners,
        heard,
        last: metrics.last_log_index.unwrap_or_default(),
        matched: replication.iter().filter_map(matched).collect(),
    })
}

/// How the cluster stands, as its leader tells others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Who says so.
    pub leader: NodeId,
    /// The term that it leads in.
    pub term: u64,
    /// What it goes by.
    pub picture: Picture,
    /// How long ago each of those that have the log has answered it, as far as it ever did.
    pub answered: BTreeMap<NodeId, Duration>,
}

/// The same with what only people want to know; see [`picture`].
pub fn seen<R, S>(
    raft: &openraft::Raft<Types<R>, S>,
    members: &Members,
    heard_within: Duration,
    reaches: impl Fn(NodeId) -> bool,
) -> Option<Seen>
where
    R: AsyncRuntime,
    S: RaftStateMachine<Types<R>>,
{
    let picture = picture(raft, members, heard_within, reaches)?;
    let metrics = raft.metrics();
    let metrics = metrics.borrow_watched();
    let now = R::Instant::now();
    let ago = |(node, answered): (
        &u64,
        &Option<openraft::type_config::alias::SerdeInstantOf<Types<R>>>,
    )| {
        let answered = answered.as_ref()?;
        Some((NodeId(*node), now.saturating_duration_since(**answered)))
    };
    let answered = metrics.heartbeat.as_ref()?.iter().filter_map(ago).collect();
    Some(Seen { leader: NodeId(metrics.id), term: metrics.current_term, picture, answered })
}

/// Where each node of the log is reached, as far as it was told.
pub fn addresses<R, S>(raft: &openraft::Raft<Types<R>, S>) -> BTreeMap<NodeId, Address>
where
    R: AsyncRuntime,
    S: RaftStateMachine<Types<R>>,
{
    let metrics = raft.metrics();
    let metrics = metrics.borrow_watched();
    let nodes = metrics.membership_config.membership().nodes();
    let told = nodes.filter(|(_, node)| !node.addr.is_empty());
    told.map(|(node, at)| (NodeId(*node), Address::new(&at.addr))).collect()
}

/// Whether a node has any role in the log.
pub fn knows<R, S>(raft: &openraft::Raft<Types<R>, S>, node: NodeId) -> bool
where
    R: AsyncRuntime,
    S: RaftStateMachine<Types<R>>,
{
    let metrics = raft.metrics();
    let metrics = metrics.borrow_watched();
    metrics.membership_config.membership().get_node(&node.0).is_some()
}

/// Makes a change, and says whether it is known to be done. `found` is who founds the cluster.
///
/// Not bounded in time: a leader that is cut off learns nothing until it is reached again.
pub async fn change<R, S>(
    raft: &openraft::Raft<Types<R>, S>,
    members: &Members,
    found: Command,
    order: &Output,
) -> bool
where
    R: AsyncRuntime,
    S: RaftStateMachine<Types<R>>,
{
    let ids = |nodes: &BTreeSet<NodeId>| nodes.iter().map(|node| node.0).collect::<BTreeSet<u64>>();
    let changed = match order {
        Output::Look => return false,
        Output::Found => propose_members(raft, members.writes(), found).await.map(drop),
        Output::Appoint { voters } => {
            let changed = raft.change_membership(ids(voters), true).await;
            changed.map(drop).map_err(|error| not_written(&error))
        }
        Output::Add { node } => {
            let Some(member) = members.get(*node) else { return false };
            let added = raft.add_learner(node.0, peer(&member.address), false).await;
            added.map(drop).map_err(|error| not_written(&error))
        }
        Output::Drop { node } => {
            let dropped = ChangeMembers::RemoveNodes(BTreeSet::from([node.0]));
            let dropped = raft.change_membership(dropped, true).await;
            dropped.map(drop).map_err(|error| not_written(&error))
        }
        Output::HandOver { to } => {
            // Whether it has come to pass, the change of role tells.
            let asked = raft.trigger().transfer_leader(to.0).await;
            asked.map_err(|_| NotWritten::Unknown).and(Err(NotWritten::Unknown))
        }
    };
    if let Err(error) = &changed {
        tracing::debug!(%order, %error, "role not changed");
    }
    changed.is_ok()
}
