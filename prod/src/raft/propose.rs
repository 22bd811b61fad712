//! Proposing entries and linearizable reads, with outcomes that do not lie.
//!
//! What openraft's errors mean, as its core task raises them:
//!
//! * `ForwardToLeader` is raised before the entry is given an index: this node does not lead, hands
//!   the lead over, or its leader's lease has run out. Definite: the entry never reached the log.
//! * `ChangeMembershipError` and `PreconditionFailed` are raised for changes of membership only,
//!   and before the entry is appended. Definite.
//! * `LogEntryDiscarded`: the entry stood in this node's log and was truncated or purged. Unknown:
//!   another node may hold and commit it, or a snapshot covers it.
//! * `Fatal` (storage, panic, stopped) comes at any time, also with the message still queued.
//!   Unknown.
//!
//! And if the leader is cut off, no answer comes at all until the partition heals: whoever proposes
//! keeps a deadline of its own, after which the outcome is unknown.
//!
//! Entries for the leases carry the time at which they were proposed, so they must reach the log in
//! that order. Whoever waits for an outcome is a task, and tasks run in any order: each takes its
//! [`Turn`] from the [`Line`] when its entry is proposed, and hands it over in that turn.

use std::pin::pin;

use openraft::errors::{ClientWriteError, ForwardToLeader, LinearizableReadError, RaftError};
use openraft::impls::OneshotResponder;
use openraft::storage::RaftStateMachine;
use openraft::{AsyncRuntime, ReadPolicy};
use portcullis_core::{NodeId, lease, log, members};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::{Raft, Types};

/// The order in which entries are handed to openraft.
#[derive(Debug, Default)]
pub struct Line {
    last: Option<oneshot::Receiver<Over>>,
}

impl Line {
    /// The turn behind all that were taken so far.
    pub fn turn(&mut self) -> Turn {
        let (over, next) = oneshot::channel();
        Turn { before: self.last.replace(next), over: Some(over) }
    }
}

/// One place in the [`Line`]; it is over when this is dropped, whether it had come or not.
#[derive(Debug)]
pub struct Turn {
    /// Whose turn must be over first.
    before: Option<oneshot::Receiver<Over>>,
    over: Option<oneshot::Sender<Over>>,
}

/// A turn is over. Where it had not come yet, whoever is next waits for those before it.
#[derive(Debug)]
struct Over(Option<oneshot::Receiver<Over>>);

impl Turn {
    /// Waits until every turn before is over.
    async fn come(&mut self) {
        while let Some(before) = &mut self.before {
            // None is dropped without a word.
            self.before = before.await.ok().and_then(|Over(before)| before);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(over) = self.over.take() {
            // Nobody may have taken a turn since.
            let _ = over.send(Over(self.before.take()));
        }
    }
}

/// What became of a proposal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proposed {
    /// It is committed and applied here, at log entry `index`.
    Committed { index: u64, applied: lease::Applied },
    /// It never reached the log and never will. `leader` is who leads as far as known.
    NotProposed { leader: Option<NodeId> },
    /// It may be committed, or may yet be.
    Unknown,
}

/// This node cannot say how far the log is committed; `leader` can, as far as known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the leader")]
pub struct NotLeader {
    /// Who leads, as far as known.
    pub leader: Option<NodeId>,
}

/// Puts an entry into the log in its turn, and waits until it is applied here.
///
/// Waits no longer than `patience`, which must end no sooner than that of any turn before: so no
/// turn before outlasts it. Dropping the future does not take the entry back.
pub async fn propose<R, S>(
    raft: &openraft::Raft<Types<R>, S>,
    mut turn: Turn,
    entry: lease::Entry,
    patience: impl Future<Output = ()>,
) -> Proposed
where
    R: AsyncRuntime,
    S: RaftStateMachine<Types<R>>,
{
    let mut patience = pin!(patience);
    turn.come().await;
    let (responder, written) = OneshotResponder::new_pair();
    tokio::select! {
        biased;
        handed_over = raft.write(entry.into()).responder(responder).into_future() => {
            if handed_over.is_err() {
                return Proposed::Unknown;
            }
        }
        // What openraft has no room for was not handed over.
        () = &mut patience => return Proposed::NotProposed { leader: None },
    }
    drop(turn);
    let written = tokio::select! {
        biased;
        written = written => written,
        () = patience => return Proposed::Unknown,
    };
    match written {
        Ok(Ok(written)) => match written.data {
            log::Applied::Leases(applied) => {
                Proposed::Committed { index: written.log_id.index, applied }
            }
            log::Applied::Members(_) => {
                unreachable!("an entry for the leases does nothing else")
            }
        },
        Ok(Err(error)) => match not_written(&RaftError::APIError(error)) {
            NotWritten::Definite { leader } => Proposed::NotProposed { leader },
            NotWritten::Unknown => Proposed::Unknown,
            // Entries for the leases have the oldest version there is.
            NotWritten::TooNew { .. } => Proposed::NotProposed { leader: None },
        },
        // openraft has stopped with the entry in its hands.
        Err(_) => Proposed::Unknown,
    }
}

/// Puts a command about the members into the log, as [`propose`] does with the leases, if every
/// member reads it: they all read what is of version `writes` ([`Members::writes`], which never
/// sinks).
///
/// [`Members::writes`]: portcullis_core::members::Members::writes
pub async fn propose_members<R, S>(
    raft: &openraft::Raft<Types<R>, S>,
    writes: u16,
    command: members::Command,
) -> Result<members::Outcome, NotWritten>
where
    R: AsyncRuntime,
    S: RaftStateMachine<Types<R>>,
{
    let entry = log::Entry::from(command);
    let version = entry.version();
    if version > writes {
        return Err(NotWritten::TooNew { version, writes });
    }
    match raft.client_write(entry).await {
        Ok(written) => match written.data {
            log::Applied::Members(outcome) => Ok(outcome),
            log::Applied::Leases(_) => unreachable!("a command for the members does nothing else"),
        },
        Err(error) => Err(not_written(&error)),
    }
}

/// Why nothing is known to be in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum NotWritten {
    /// It never reached the log and never will. `leader` is who leads as far as known.
    #[error("not written")]
    Definite { leader: Option<NodeId> },
    /// It may be committed, or may yet be.
    #[error("nobody knows whether it was written")]
    Unknown,
    /// It never reached the log: not every member reads it yet.
    #[error(
        "it takes version {version} of the log, and not every member reads more than {writes}: \
         upgrade those"
    )]
    TooNew { version: u16, writes: u16 },
}

/// What an error of openraft's means; see the module.
pub(super) fn not_written<R: AsyncRuntime>(
    error: &RaftError<Types<R>, ClientWriteError<Types<R>>>,
) -> NotWritten {
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(to)) => {
            NotWritten::Definite { leader: leader(to) }
        }
        RaftError::APIError(
            ClientWriteError::ChangeMembershipError(_) | ClientWriteError::PreconditionFailed(_),
        ) => NotWritten::Definite { leader: None },
        RaftError::APIError(ClientWriteError::LogEntryDiscarded(_)) | RaftError::Fatal(_) => {
            NotWritten::Unknown
        }
    }
}

/// The index up to which a table must be applied to show everything acknowledged before this call.
///
/// Asks a quorum whether this node still leads, rather than trusting its lease: no clock is relied
/// upon. Gives up by itself once the leader's lease has run out.
pub async fn read_index<R: AsyncRuntime>(raft: &Raft<R>) -> Result<u64, NotLeader> {
    match raft.get_read_log_id(ReadPolicy::ReadIndex).await {
        Ok((read, _)) => Ok(read.index()),
        Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(to))) => {
            Err(NotLeader { leader: leader(&to) })
        }
        Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_)))
        | Err(RaftError::Fatal(_)) => Err(NotLeader { leader: None }),
    }
}

/// Waits until this node's table has applied the entry `index`; false if the node stops first.
///
/// Not bounded in time.
pub async fn await_applied<R: AsyncRuntime>(raft: &Raft<R>, index: u64) -> bool {
    raft.wait(None).applied_index_at_least(Some(index), "read").await.is_ok()
}

fn leader<R: AsyncRuntime>(to: &ForwardToLeader<Types<R>>) -> Option<NodeId> {
    to.leader_id.map(NodeId)
}
