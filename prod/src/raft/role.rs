//! Who leads, as a stream of changes.

use openraft::alias::WatchReceiverOf;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::storage::RaftStateMachine;
use openraft::{AsyncRuntime, RaftMetrics, ServerState};
use portcullis_core::NodeId;

use super::Types;

/// What this node is in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It leads in `term`, and its table has everything committed before that term. It may have
    /// been deposed without having heard of it yet.
    Leader {
        /// The term it leads in.
        term: u64,
    },
    /// It does not lead, or does not know the whole past yet.
    Follower {
        /// Who leads, as far as known; never this node.
        leader: Option<NodeId>,
    },
}

/// The changes of a node's role.
pub struct Roles<R: AsyncRuntime> {
    metrics: WatchReceiverOf<Types<R>, RaftMetrics<Types<R>>>,
    told: Option<Role>,
}

impl<R: AsyncRuntime> Roles<R> {
    /// Watches a node; the first role is told at once.
    pub fn new<S: RaftStateMachine<Types<R>>>(raft: &openraft::Raft<Types<R>, S>) -> Roles<R> {
        Roles { metrics: raft.metrics(), told: None }
    }

    /// The role, once it differs from the one told before; none when the node has stopped.
    pub async fn next(&mut self) -> Option<Role> {
        loop {
            let role = role(&*self.metrics.borrow_and_update());
            if self.told != Some(role) {
                self.told = Some(role);
                return Some(role);
            }
            if self.metrics.changed().await.is_err() {
                return None;
            }
        }
    }
}

/// A leader's first entry in its term is applied only after everything before it.
fn role<R: AsyncRuntime>(metrics: &RaftMetrics<Types<R>>) -> Role {
    let me = metrics.id;
    if metrics.state == ServerState::Leader && metrics.current_leader == Some(me) {
        let term = metrics.current_term;
        let own = |applied: super::LogId| {
            applied.leader_id.term == term && applied.leader_id.node_id == me
        };
        if metrics.last_applied.is_some_and(own) {
            return Role::Leader { term };
        }
    }
    Role::Follower { leader: metrics.current_leader.filter(|leader| *leader != me).map(NodeId) }
}
