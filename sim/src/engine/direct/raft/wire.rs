//! What carries openraft's messages: each is a letter there and a letter back.
//!
//! Every exchange is bounded as production bounds it, since a letter that is lost is answered by
//! nobody.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use openraft::AsyncRuntime as _;
use openraft::OptionalSend;
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable};
use openraft::network::{RPCOption, RPCTypes, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft_rt_sim::SimRuntime;
use portcullis::raft::{Peer, Vote};
use portcullis_core::{NodeId, log};
use tokio::sync::oneshot;

use super::{Fate, Inbox, Letter, Life, Raft, Report, Taken, Types};

/// The ways to the other nodes.
pub struct Wires {
    pub from: Life,
    pub inbox: Inbox,
    pub append_within: Duration,
}

/// The way to one of them.
pub struct Wire {
    from: Life,
    to: NodeId,
    inbox: Inbox,
    append_within: Duration,
}

impl RaftNetworkFactory<Types> for Wires {
    type Network = Wire;

    async fn new_client(&mut self, target: u64, _: &Peer) -> Wire {
        let Wires { from, inbox, append_within } = self;
        let (from, append_within) = (*from, *append_within);
        Wire { from, to: NodeId(target), inbox: inbox.clone(), append_within }
    }
}

impl Wire {
    /// One exchange: there, whatever is done there, and back.
    async fn exchange<T, Doing>(
        &self,
        within: Duration,
        action: RPCTypes,
        work: impl FnOnce(Raft) -> Doing + OptionalSend,
    ) -> Result<T, RPCError<Types>>
    where
        T: OptionalSend,
        Doing: Future<Output = Option<T>> + OptionalSend,
    {
        let exchange = async {
            let there = self.carry(self.from, self.to).await?;
            let back = Life { node: self.to, number: there.1 };
            let done = work(there.0).await?;
            self.carry(back, self.from.node).await?;
            Some(done)
        };
        match SimRuntime::timeout(within, exchange).await {
            Ok(Some(done)) => Ok(done),
            Ok(None) => Err(RPCError::Unreachable(Unreachable::from_string("nobody is there"))),
            Err(_) => Err(RPCError::Timeout(Timeout {
                action,
                id: self.from.node.0,
                target: self.to.0,
                timeout: within,
            })),
        }
    }

    /// Carries a letter; none if nobody listens there. One that is lost never ends.
    async fn carry(&self, from: Life, to: NodeId) -> Option<(Raft, u32)> {
        let (fate, told) = oneshot::channel();
        self.inbox.push(Report::Letter(Letter { from, to, fate }));
        match told.await {
            Ok(Fate::Arrived { raft, life }) => Some((raft, life)),
            Ok(Fate::Refused) => None,
            Err(_) => std::future::pending().await,
        }
    }
}

impl RaftNetworkV2<Types> for Wire {
    type SnapshotData = Arc<log::Snapshot>;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        _: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        let work = |raft: Raft| async move { raft.append_entries(rpc).await.ok() };
        self.exchange(self.append_within, RPCTypes::AppendEntries, work).await
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let work = |raft: Raft| async move { raft.vote(rpc).await.ok() };
        self.exchange(option.soft_ttl(), RPCTypes::Vote, work).await
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let work = |raft: Raft| async move { raft.pre_vote(rpc).await.ok() };
        self.exchange(option.soft_ttl(), RPCTypes::Vote, work).await
    }

    async fn transfer_leader(
        &mut self,
        rpc: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        let work = |raft: Raft| async move { raft.handle_transfer_leader(rpc).await.ok() };
        self.exchange(option.soft_ttl(), RPCTypes::TransferLeader, work).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Taken,
        _: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let work =
            |raft: Raft| async move { raft.install_full_snapshot(vote, snapshot).await.ok() };
        let exchange = self.exchange(option.soft_ttl(), RPCTypes::InstallSnapshot, work).await;
        exchange.map_err(|error| match error {
            RPCError::Timeout(timeout) => StreamingError::Timeout(timeout),
            RPCError::Unreachable(unreachable) => StreamingError::Unreachable(unreachable),
            RPCError::Network(network) => StreamingError::Network(network),
            RPCError::RemoteError(error) => match error.source {},
        })
    }
}
