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

use openraft::errors::{ClientWriteError, ForwardToLeader, LinearizableReadError, RaftError};
use openraft::storage::RaftStateMachine;
use openraft::{AsyncRuntime, ReadPolicy};
use portcullis_core::{NodeId, lease, log, members};
use serde::{Deserialize, Serialize};

use super::{Raft, Types};

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

/// Puts an entry into the log and waits until it is applied here.
///
/// Not bounded in time (see the module); dropping the future does not take the entry back.
pub async fn propose<R, S>(raft: &openraft::Raft<Types<R>, S>, entry: lease::Entry) -> Proposed
where
    R: AsyncRuntime,
    S: RaftStateMachine<Types<R>>,
{
    match write(raft, entry.into()).await {
        Ok((index, log::Applied::Leases(applied))) => Proposed::Committed { index, applied },
        Ok((_, log::Applied::Members(_))) => {
            unreachable!("an entry for the leases does nothing else")
        }
        Err(NotWritten::Definite { leader }) => Proposed::NotProposed { leader },
        Err(NotWritten::Unknown) => Proposed::Unknown,
        // Entries for the leases have the oldest version there is.
        Err(NotWritten::TooNew { .. }) => Proposed::NotProposed { leader: None },
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
    match write(raft, entry).await? {
        (_, log::Applied::Members(outcome)) => Ok(outcome),
        (_, log::Applied::Leases(_)) => unreachable!("a command for the members does nothing else"),
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

async fn write<R, S>(
    raft: &openraft::Raft<Types<R>, S>,
    entry: log::Entry,
) -> Result<(u64, log::Applied), NotWritten>
where
    R: AsyncRuntime,
    S: RaftStateMachine<Types<R>>,
{
    match raft.client_write(entry).await {
        Ok(written) => Ok((written.log_id.index, written.data)),
        Err(error) => Err(not_written(&error)),
    }
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
