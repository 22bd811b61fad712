//! openraft's way to its peers: calls on [`Link`]s.

use std::time::Duration;

use bytes::Bytes;
use openraft::error::{
    NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable,
};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{OptionalSend, RPCTypes, RaftNetworkFactory, RaftNetworkV2};
use portcullis_core::{Address, NodeId};

use super::{Failure, Links, Reply, Request};
use crate::env::Env;
use crate::raft::{Peer, Types, Vote, table::Taken};

/// All links of one controller.
pub struct Network<E: Env> {
    me: NodeId,
    links: Links<E>,
    append_within: Duration,
}

impl<E: Env> Network<E> {
    /// The network of `me`. A node without a link is unreachable. For `append_within` see
    /// [`Config`](crate::raft::Config::append_within).
    pub fn new(me: NodeId, links: Links<E>, append_within: Duration) -> Network<E> {
        Network { me, links, append_within }
    }
}

impl<E: Env> RaftNetworkFactory<Types<E::Runtime>> for Network<E> {
    type Network = Caller<E>;

    async fn new_client(&mut self, target: u64, node: &Peer) -> Caller<E> {
        // Raft may know of a member before the table does.
        self.links.meet(NodeId(target), Address::new(&node.addr));
        let (links, append_within) = (self.links.clone(), self.append_within);
        Caller { me: self.me, target, links, append_within }
    }
}

/// One peer, as openraft calls it.
///
/// Appends are sent one at a time: one carries up to
/// [`entries_max`](crate::raft::Config::entries_max) whole batches already.
pub struct Caller<E: Env> {
    me: NodeId,
    target: u64,
    links: Links<E>,
    append_within: Duration,
}

type Refused<E> = RPCError<Types<<E as Env>::Runtime>>;

impl<E: Env> Caller<E> {
    async fn call(
        &self,
        action: RPCTypes,
        request: Request<E::Runtime>,
        patience: Duration,
    ) -> Result<Reply<E::Runtime>, Refused<E>> {
        let called = match self.links.get(NodeId(self.target)) {
            Some(link) => link.call(&request, patience).await,
            None => Err(Failure::Unreachable),
        };
        called.map_err(|failure| match failure {
            Failure::Unreachable => RPCError::Unreachable(Unreachable::new(&failure)),
            Failure::Timeout => RPCError::Timeout(Timeout {
                action,
                id: self.me.0,
                target: self.target,
                timeout: patience,
            }),
            Failure::Busy | Failure::Lost | Failure::TooLarge => {
                RPCError::Network(NetworkError::new(&failure))
            }
        })
    }

    /// A peer that replies something else is as good as gone.
    fn mistaken(&self, reply: &Reply<E::Runtime>) -> Refused<E> {
        match reply {
            Reply::Stopped => RPCError::Unreachable(Unreachable::from_string("peer has stopped")),
            Reply::Pong
            | Reply::Appended(_)
            | Reply::Voted(_)
            | Reply::Restored(_)
            | Reply::Transferred(_)
            | Reply::ReadIndex(_)
            | Reply::Answered { .. }
            | Reply::Recalled
            | Reply::Members(_)
            | Reply::Seen(_)
            | Reply::Led(_) => {
                tracing::error!(target = self.target, ?reply, "peer replied something else");
                RPCError::Unreachable(Unreachable::from_string("peer replied something else"))
            }
        }
    }

    async fn ballot(
        &self,
        request: Request<E::Runtime>,
        option: &RPCOption,
    ) -> Result<VoteResponse<Types<E::Runtime>>, Refused<E>> {
        match self.call(RPCTypes::Vote, request, option.soft_ttl()).await? {
            Reply::Voted(vote) => Ok(vote),
            reply => Err(self.mistaken(&reply)),
        }
    }
}

impl<E: Env> RaftNetworkV2<Types<E::Runtime>> for Caller<E> {
    type SnapshotData = Bytes;

    async fn append_entries(
        &mut self,
        append: AppendEntriesRequest<Types<E::Runtime>>,
        _: RPCOption,
    ) -> Result<AppendEntriesResponse<Types<E::Runtime>>, Refused<E>> {
        let request = Request::Append(append);
        match self.call(RPCTypes::AppendEntries, request, self.append_within).await? {
            Reply::Appended(appended) => Ok(appended),
            reply => Err(self.mistaken(&reply)),
        }
    }

    async fn vote(
        &mut self,
        vote: VoteRequest<Types<E::Runtime>>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types<E::Runtime>>, Refused<E>> {
        self.ballot(Request::Vote(vote), &option).await
    }

    async fn pre_vote(
        &mut self,
        vote: VoteRequest<Types<E::Runtime>>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types<E::Runtime>>, Refused<E>> {
        self.ballot(Request::PreVote(vote), &option).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Taken,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<Types<E::Runtime>>, StreamingError<Types<E::Runtime>>> {
        let request = Request::Snapshot { vote, meta: snapshot.meta, data: snapshot.snapshot };
        let reply = tokio::select! {
            biased;
            closed = cancel => return Err(StreamingError::Closed(closed)),
            reply = self.call(RPCTypes::InstallSnapshot, request, option.soft_ttl()) => reply?,
        };
        match reply {
            Reply::Restored(restored) => Ok(restored),
            reply => Err(self.mistaken(&reply).into()),
        }
    }

    async fn transfer_leader(
        &mut self,
        transfer: TransferLeaderRequest<Types<E::Runtime>>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types<E::Runtime>>, Refused<E>> {
        let request = Request::TransferLeader(transfer);
        match self.call(RPCTypes::TransferLeader, request, option.soft_ttl()).await? {
            Reply::Transferred(transferred) => Ok(transferred),
            reply => Err(self.mistaken(&reply)),
        }
    }
}
