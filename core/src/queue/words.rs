//! What the queue is told and orders, how asks end, and its limits.

use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Anchor;
use crate::ids::{AskId, BatchId, NodeId};
use crate::lease::{Done, Entry, Operation, Outcome, Refusal};

/// How an ask ended. Every ask ends in exactly one of these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// It was done, by the log entry `index`.
    Done { index: u64, done: Done },
    /// It was refused by the table at log entry `index`; it had no effect.
    Refused { index: u64, refusal: Refusal },
    /// The lease that was waited for is free.
    Released,
    /// There is no room, or no time left after all that waits; it had no effect. Come back after
    /// `retry_after`.
    Overloaded { retry_after: Duration },
    /// This controller does not lead, and could not hand the ask on; it had no effect. `leader` is
    /// who leads as far as known.
    NotLeader { leader: Option<NodeId> },
    /// Its deadline passed while it waited; it had no effect and never will.
    Expired,
    /// Its asker went away or took it back while it waited; it had no effect and never will.
    Cancelled,
    /// It may have been done, or may yet be, but not after its deadline. Ask again to find out.
    Unknown,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Answer::Done { index, done } => write!(f, "done at {index}: {done}"),
            Answer::Refused { index, refusal } => write!(f, "refused at {index}: {refusal}"),
            Answer::Released => f.write_str("released"),
            Answer::Overloaded { retry_after } => {
                write!(f, "overloaded, retry after {retry_after:?}")
            }
            Answer::NotLeader { leader: Some(leader) } => write!(f, "not leader, try {leader}"),
            Answer::NotLeader { leader: None } => f.write_str("not leader"),
            Answer::Expired => f.write_str("expired"),
            Answer::Cancelled => f.write_str("cancelled"),
            Answer::Unknown => f.write_str("unknown"),
        }
    }
}

/// Limits of the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Most asks that wait to be proposed; more are answered `Overloaded`. Above zero. By default
    /// all 180,000 contenders of seed 002 may ask at once: what keeps waits short is that nobody
    /// gets in who would wait longer than their patience, by the measured drain.
    pub waiting_max: usize,
    /// Most bytes of what waits, by [`size`](super::size); more is answered `Overloaded`. An
    /// operation that is larger by itself never gets in.
    pub waiting_bytes_max: usize,
    /// Most commands in one raft entry. Above zero. A batching raft is measured fastest at 256 to
    /// 1,024 commands an entry.
    pub batch_max: usize,
    /// Most bytes of the commands in one raft entry, by the same measure. An operation that is
    /// larger by itself is answered `Overloaded`.
    pub batch_bytes_max: usize,
    /// Most renewals that go ahead of a claim (or of anything else) that waits, one after the
    /// other: with three of them, a quarter of the log is the claims' at least. With none, a
    /// renewal goes first only where nothing else waits.
    pub renewals_ahead_max: u32,
    /// Most entries in flight; a clock advance may make it one more. Above zero.
    pub flights_max: usize,
    /// Longest time an ask may take, whatever it asks for.
    pub patience_max: Duration,
    /// Shortest and longest time to come back that an `Overloaded` answer names.
    pub retry_after: (Duration, Duration),
}

impl Default for Config {
    fn default() -> Config {
        Config {
            waiting_max: 262_144,
            // A full queue, and a full entry, of operations with names of usual length.
            waiting_bytes_max: 64 << 20,
            batch_max: 1_024,
            batch_bytes_max: 256 << 10,
            renewals_ahead_max: 3,
            flights_max: 4,
            patience_max: Duration::from_secs(30),
            retry_after: (Duration::from_millis(50), Duration::from_secs(10)),
        }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Somebody asks for an operation, and will not wait longer than `patience`. Whether it
    /// [`renews`](super::renews) what the asker holds decides its place among those that wait and
    /// nothing else, so a wrong word costs order alone.
    Asked { ask: AskId, operation: Operation, renews: bool, patience: Duration },
    /// The asker has left or lost interest. Harmless if the ask has ended.
    Cancelled { ask: AskId },
    /// The clock demands an entry at once.
    Advance,
    /// This controller leads, and global time is known by this anchor.
    Led { anchor: Anchor },
    /// This controller does not lead.
    Followed { leader: Option<NodeId> },
    /// The batch was committed and applied at log entry `index`.
    Committed { batch: BatchId, index: u64, outcomes: Vec<Outcome> },
    /// The batch never reached the log.
    NotProposed { batch: BatchId, leader: Option<NodeId> },
    /// Nobody can say what became of the batch.
    Lost { batch: BatchId },
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Input::Asked { ask, operation, renews, patience } => {
                let held = if *renews { ", which it holds" } else { "" };
                write!(f, "{ask} asked to {operation}{held}, patient for {patience:?}")
            }
            Input::Cancelled { ask } => write!(f, "{ask} cancelled"),
            Input::Advance => f.write_str("advance"),
            Input::Led { anchor } => write!(f, "led from {}", anchor.global),
            Input::Followed { leader: Some(leader) } => write!(f, "followed {leader}"),
            Input::Followed { leader: None } => f.write_str("followed nobody"),
            Input::Committed { batch, index, .. } => write!(f, "{batch} committed at {index}"),
            Input::NotProposed { batch, .. } => write!(f, "{batch} not proposed"),
            Input::Lost { batch } => write!(f, "{batch} lost"),
        }
    }
}

/// What must be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Propose the entry, and say what came of it under this name.
    Propose { batch: BatchId, entry: Entry },
    /// Tell the asker.
    Answer { ask: AskId, answer: Answer },
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Output::Propose { batch, entry } => write!(f, "propose {batch}: {entry}"),
            Output::Answer { ask, answer } => write!(f, "answer {ask}: {answer}"),
        }
    }
}
