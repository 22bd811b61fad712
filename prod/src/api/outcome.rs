//! What became of an ask, exactly, in JSON: both ways.

use std::time::Duration;

use portcullis_core::lease::{Done, Refusal};
use portcullis_core::queue::Answer;
use portcullis_core::{GlobalTime, NodeId};
use serde::{Deserialize, Serialize};

/// An [`Answer`], as the `Portcullis` facade says it: `outcome` names it, the rest goes with it.
///
/// `index` is the log entry that decided. Times and durations are in seconds, with fractions down
/// to the microsecond; `expiry` is the cluster's own time, which starts at zero with the cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Outcome {
    /// The holder has the lease up to, but not including, `expiry`. `fence` grows with every grant.
    Granted { index: u64, fence: u64, expiry: f64 },
    /// Nobody holds the lease.
    Revoked { index: u64 },
    /// The pin stands.
    Pinned { index: u64 },
    /// The pin is gone.
    Unpinned { index: u64 },
    /// Refused: `holder` has the lease, at least until `expiry`.
    Held { index: u64, holder: String, expiry: f64 },
    /// Refused: the asker does not hold the lease.
    NotHeld { index: u64 },
    /// Refused: it came to the table after its deadline.
    Void { index: u64 },
    /// Refused: the table is full.
    Full { index: u64 },
    /// The lease that was waited for is free.
    Released,
    /// No room: come back after `retry-after`. It had no effect.
    Overloaded { retry_after: f64 },
    /// Not the leader; `leader` is, as far as known. It had no effect.
    NotLeader {
        #[serde(skip_serializing_if = "Option::is_none")]
        leader: Option<u64>,
    },
    /// The deadline passed. It had no effect and never will.
    Expired,
    /// Taken back. It had no effect and never will.
    Cancelled,
    /// It may have been done, or not: ask again to find out.
    Unknown,
}

impl From<Answer> for Outcome {
    fn from(answer: Answer) -> Outcome {
        match answer {
            Answer::Done { index, done } => match done {
                Done::Granted { fence, expiry } => {
                    Outcome::Granted { index, fence, expiry: seconds(expiry) }
                }
                Done::Revoked => Outcome::Revoked { index },
                Done::Pinned => Outcome::Pinned { index },
                Done::Unpinned => Outcome::Unpinned { index },
            },
            Answer::Refused { index, refusal } => match refusal {
                Refusal::Held { holder, expiry } => {
                    let holder = (*holder).into();
                    Outcome::Held { index, holder, expiry: seconds(expiry) }
                }
                Refusal::NotHeld => Outcome::NotHeld { index },
                Refusal::Void => Outcome::Void { index },
                Refusal::Full => Outcome::Full { index },
            },
            Answer::Released => Outcome::Released,
            Answer::Overloaded { retry_after } => {
                Outcome::Overloaded { retry_after: retry_after.as_secs_f64() }
            }
            Answer::NotLeader { leader } => {
                Outcome::NotLeader { leader: leader.map(|node| node.0) }
            }
            Answer::Expired => Outcome::Expired,
            Answer::Cancelled => Outcome::Cancelled,
            Answer::Unknown => Outcome::Unknown,
        }
    }
}

impl From<Outcome> for Answer {
    fn from(outcome: Outcome) -> Answer {
        let done = |index, done| Answer::Done { index, done };
        let refused = |index, refusal| Answer::Refused { index, refusal };
        match outcome {
            Outcome::Granted { index, fence, expiry } => {
                done(index, Done::Granted { fence, expiry: global(expiry) })
            }
            Outcome::Revoked { index } => done(index, Done::Revoked),
            Outcome::Pinned { index } => done(index, Done::Pinned),
            Outcome::Unpinned { index } => done(index, Done::Unpinned),
            Outcome::Held { index, holder, expiry } => {
                let holder = holder.into();
                refused(index, Refusal::Held { holder, expiry: global(expiry) })
            }
            Outcome::NotHeld { index } => refused(index, Refusal::NotHeld),
            Outcome::Void { index } => refused(index, Refusal::Void),
            Outcome::Full { index } => refused(index, Refusal::Full),
            Outcome::Released => Answer::Released,
            Outcome::Overloaded { retry_after } => Answer::Overloaded {
                retry_after: Duration::try_from_secs_f64(retry_after).unwrap_or(Duration::MAX),
            },
            Outcome::NotLeader { leader } => Answer::NotLeader { leader: leader.map(NodeId) },
            Outcome::Expired => Answer::Expired,
            Outcome::Cancelled => Answer::Cancelled,
            Outcome::Unknown => Answer::Unknown,
        }
    }
}

/// Global time in seconds.
///
/// Exact: a float keeps every microsecond of 71 years (2^51) through the division and back.
pub(super) fn seconds(time: GlobalTime) -> f64 {
    time.0 as f64 / 1e6
}

/// Global time out of seconds; negative ones count as zero.
pub(super) fn global(seconds: f64) -> GlobalTime {
    GlobalTime((seconds * 1e6).round() as u64)
}
