//! What controllers say to each other over the controller door.
//!
//! One connection from each controller to each other, on which the dialling side asks and the
//! accepting side answers, many requests at a time:
//!
//! ```text
//!   dials (link)                                    accepts (serve)
//!     Hello ────────────────────────────────────────────▶
//!     ◀──────────────────────────────────────────── Hello
//!     Request 1, Request 2, … ──────────────────────────▶   each in a task of its own
//!     ◀──────────────────────────── Reply 2, Reply 1, …
//! ```
//!
//! The stream arrives here as TLS made it; who may say Hello as whom is checked against its
//! certificate by the handler.

pub mod frame;
pub mod link;
pub mod links;
pub mod network;
pub mod serve;

use std::fmt;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use openraft::AsyncRuntime;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use portcullis_core::NodeId;
use portcullis_core::balancer::Load;
use portcullis_core::lease::Operation;
use portcullis_core::members::{Command, Members, Outcome};
use portcullis_core::queue::Answer;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

pub use frame::{MESSAGE_MAX, PART_MAX};
pub use link::{Failure, Link, MISTRUST_EVERY};
pub use links::Links;
pub use network::Network;
pub use serve::{Admission, Handler, raft_reply, serve};

use crate::raft::membership::Seen;
use crate::raft::{NotWritten, SnapshotMeta, Types, Vote};

/// Version of everything that is said; both sides must have the same.
pub const VERSION: u8 = 2;

/// The first thing each side says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Who is speaking.
    pub from: NodeId,
    /// Whom it believes to be speaking to.
    pub to: NodeId,
    /// The cluster both must belong to.
    pub cluster: String,
    /// Whether whom it speaks to was removed from the cluster: then nothing else is said.
    pub removed: bool,
}

impl fmt::Display for Hello {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hello from {} to {} of cluster {}", self.from, self.to, self.cluster)
    }
}

/// What one controller asks of another.
#[derive(Debug, Serialize, Deserialize)]
#[serde(bound = "")]
pub enum Request<R: AsyncRuntime> {
    /// Nothing but an answer: that is how a silent connection is told from a dead one.
    Ping,
    /// Entries of the log, or a heartbeat.
    Append(AppendEntriesRequest<Types<R>>),
    /// A vote in an election.
    Vote(VoteRequest<Types<R>>),
    /// Whether a vote would be given.
    PreVote(VoteRequest<Types<R>>),
    /// A whole snapshot, from the leader that `vote` elected.
    Snapshot { vote: Vote, meta: SnapshotMeta, data: Bytes },
    /// Take over the lead.
    TransferLeader(TransferLeaderRequest<Types<R>>),
    /// How far the log is committed.
    ReadIndex,
    /// An operation on behalf of somebody who is connected to the asking controller, patient for
    /// this long. `serial` is the connection's own count, never used twice on it.
    Ask { serial: u64, operation: Operation, patience: Duration },
    /// Nobody waits for that ask any more.
    Recall { serial: u64 },
    /// How many agents the asking controller has.
    Load(Load),
    /// Have this done about the members, if you lead.
    Members(Command),
    /// The asking controller is about to stop: its vote may go to another.
    Leaving,
    /// How the cluster stands, if you lead. This and what follows: see [`understands`].
    Look,
    /// Hand the lead over to that voter, if you have it.
    Lead { to: NodeId },
}

/// The answer to a [`Request`].
#[derive(Debug, Serialize, Deserialize)]
#[serde(bound = "")]
pub enum Reply<R: AsyncRuntime> {
    /// To [`Request::Ping`], [`Request::Load`] and [`Request::Leaving`].
    Pong,
    /// To [`Request::Append`].
    Appended(AppendEntriesResponse<Types<R>>),
    /// To [`Request::Vote`] and [`Request::PreVote`].
    Voted(VoteResponse<Types<R>>),
    /// To [`Request::Snapshot`].
    Restored(SnapshotResponse<Types<R>>),
    /// To [`Request::TransferLeader`].
    Transferred(TransferLeaderResponse<Types<R>>),
    /// To [`Request::ReadIndex`]: the index, or who can tell it.
    ReadIndex(Result<u64, Option<NodeId>>),
    /// To [`Request::Ask`].
    Answered { serial: u64, answer: Answer },
    /// To [`Request::Recall`]; the ask itself is still answered.
    Recalled,
    /// To [`Request::Members`].
    Members(Result<Outcome, NotWritten>),
    /// The controller cannot do that: its raft has stopped, or the asking one is no member.
    Stopped,
    /// To [`Request::Look`]; nothing if it does not lead.
    Seen(Option<Box<Seen>>),
    /// To [`Request::Lead`].
    Led(Result<(), NotLed>),
}

/// Why the lead is not handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum NotLed {
    /// The controller that was asked does not lead.
    #[error("no leader could be asked")]
    NotLeader,
    /// It has no vote, and only voters lead.
    #[error("it has no vote, and only voters lead; `portcullis cluster promote` gives it one")]
    NotVoter,
    /// The leader does not hear it.
    #[error("the leader does not hear it")]
    Unheard,
}

/// Whether a controller understands what was added to [`Request`] since its first words, as far as
/// its own program has said of itself: older ones end the connection at a word that they do not know.
pub fn understands(members: &Members, node: NodeId) -> bool {
    members.get(node).is_some_and(|member| member.reads.most >= 2)
}

/// Limits of both sides.
#[derive(Clone, Debug)]
pub struct Config {
    /// This controller.
    pub me: NodeId,
    /// Its cluster; at most [`CLUSTER_MAX`](crate::raft::store::CLUSTER_MAX) bytes.
    pub cluster: String,
    /// Longest time for a connection and its greetings.
    pub greeting: Duration,
    /// How often a connection is tried with a ping.
    pub ping: Duration,
    /// A connection on which nothing was heard for this long is given up. Above `ping`.
    pub silence_max: Duration,
    /// Most requests of one connection that wait for their replies; more fail at once.
    pub calls_max: usize,
    /// The waits between two dials.
    pub backoff: portcullis_core::backoff::Config,
    /// Cancelled once a peer says that this controller was removed from the cluster.
    pub disowned: CancellationToken,
}

impl Config {
    /// The usual limits. Room for every ask of a full queue and for raft besides.
    pub fn new(me: NodeId, cluster: &str) -> Config {
        Config {
            me,
            cluster: cluster.into(),
            greeting: Duration::from_secs(2),
            ping: Duration::from_millis(500),
            silence_max: Duration::from_secs(2),
            calls_max: 20_000,
            backoff: portcullis_core::backoff::Config {
                first: Duration::from_millis(50),
                most: Duration::from_secs(1),
                growth: 200,
            },
            disowned: CancellationToken::new(),
        }
    }
}

/// Why there is no connection, or none any more.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The network failed, or the other side closed.
    #[error("connection to peer failed")]
    Io(#[from] io::Error),
    /// It did not come about in time.
    #[error("peer did not greet in time")]
    Greeting,
    /// Nothing was heard for too long.
    #[error("peer is silent")]
    Silent,
    /// The other side speaks another version, or nonsense.
    #[error("peer is not understood: {0}")]
    Codec(#[from] crate::raft::codec::Error),
    /// A message is above [`MESSAGE_MAX`], or parts do not fit together.
    #[error("peer broke the framing")]
    Framing,
    /// The other side is not who it should be, or takes us for somebody else.
    #[error("wrong peer: {0}")]
    Stranger(Hello),
    /// The side that dialled was removed from the cluster.
    #[error("{0} was removed from the cluster")]
    Removed(NodeId),
}
