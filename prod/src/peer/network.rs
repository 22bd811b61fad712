//! openraft's way to its peers: calls on [`Link`]s.

use std::sync::Arc;
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

use super::snapshot::{CHUNK_MAX, CHUNK_WITHIN, SNAPSHOT_MAX, TURNS_MAX};
use super::{Failure, Links, Reply, Request, Whole};
use crate::env::Env;
use crate::metrics::Metrics;
use crate::raft::{Peer, Types, Vote, table::Taken};

/// All links of one controller.
pub struct Network<E: Env> {
    me: NodeId,
    links: Links<E>,
    append_within: Duration,
    metrics: Arc<Metrics>,
}

impl<E: Env> Network<E> {
    /// The network of `me`. A node without a link is unreachable. For `append_within` see
    /// [`Config`](crate::raft::Config::append_within).
    pub fn new(
        me: NodeId,
        links: Links<E>,
        append_within: Duration,
        metrics: Arc<Metrics>,
    ) -> Network<E> {
        Network { me, links, append_within, metrics }
    }
}

impl<E: Env> RaftNetworkFactory<Types<E::Runtime>> for Network<E> {
    type Network = Caller<E>;

    async fn new_client(&mut self, target: u64, node: &Peer) -> Caller<E> {
        // Raft may know of a member before the table does.
        self.links.meet(NodeId(target), Address::new(&node.addr));
        let (links, metrics) = (self.links.clone(), self.metrics.clone());
        Caller { me: self.me, target, links, append_within: self.append_within, metrics }
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
    metrics: Arc<Metrics>,
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
            | Reply::Led(_)
            | Reply::Wanted { .. } => {
                tracing::error!(target = self.target, ?reply, "peer replied something else");
                RPCError::Unreachable(Unreachable::from_string("peer replied something else"))
            }
        }
    }

    /// Sends a snapshot from wherever the other end wants it, chunk by chunk, and has it taken up.
    async fn transfer(
        &self,
        vote: Vote,
        snapshot: Taken,
        patience: Duration,
    ) -> Result<SnapshotResponse<Types<E::Runtime>>, Refused<E>> {
        let (action, Taken { meta, snapshot: data }) = (RPCTypes::InstallSnapshot, snapshot);
        let whole = Whole::of(&meta, &data);
        if whole.bytes > SNAPSHOT_MAX {
            tracing::warn!(bytes = whole.bytes, SNAPSHOT_MAX, "the snapshot is too large to send");
            return Err(RPCError::Unreachable(Unreachable::from_string("too large a snapshot")));
        }
        tracing::info!(
            to = self.target,
            index = whole.index,
            bytes = whole.bytes,
            "sending a snapshot"
        );
        let (mut offset, mut len, mut turns) = (0, 0, 0);
        loop {
            let chunk = data.slice(offset..offset + len);
            let request = Request::Chunk { whole, offset: offset as u64, data: chunk };
            let wanted = match self.call(action, request, CHUNK_WITHIN).await? {
                Reply::Wanted { from } if from <= whole.bytes => from as usize,
                reply => return Err(self.mistaken(&reply)),
            };
            self.metrics.snapshot_sent(len as u64);
            turns += usize::from(wanted != offset + len);
            if turns > TURNS_MAX {
                return Err(unsettled("the peer wants something else time and again"));
            }
            offset = wanted;
            len = CHUNK_MAX.min(data.len() - offset);
            if len == 0 {
                break;
            }
        }
        match self.call(action, Request::Snapshot { vote, meta, whole }, patience).await? {
            Reply::Restored(restored) => Ok(restored),
            Reply::Wanted { .. } => Err(unsettled("the snapshot did not arrive whole")),
            reply => Err(self.mistaken(&reply)),
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
        let transferred = tokio::select! {
            biased;
            closed = cancel => return Err(StreamingError::Closed(closed)),
            transferred = self.transfer(vote, snapshot, option.soft_ttl()) => transferred,
        };
        self.metrics.snapshot(if transferred.is_ok() { "sent" } else { "failed" });
        Ok(transferred?)
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

/// It is to be tried again.
fn unsettled<R: openraft::AsyncRuntime>(why: &str) -> RPCError<Types<R>> {
    RPCError::Network(NetworkError::from_string(why))
}
