//! Happenings: what can happen to a lease, as a page tells it.

use std::sync::Arc;

use portcullis_core::lease::Operation;
use portcullis_core::queue::Answer;
use serde::{Deserialize, Serialize};

/// What happened, in the order of how a page names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    Asked,
    Granted,
    Extended,
    Denied,
    NotHeld,
    Void,
    Full,
    Revoked,
    Pinned,
    Unpinned,
    Lapsed,
    Overloaded,
    NotLeader,
    Expired,
    Cancelled,
    Unknown,
}

impl What {
    /// How much a reader would want to know of it.
    pub fn trouble(self) -> u64 {
        match self {
            What::Lapsed => 10,
            What::Unknown => 5,
            What::Overloaded | What::NotLeader | What::Expired | What::Cancelled => 2,
            What::Void | What::Full | What::NotHeld | What::Revoked => 2,
            What::Granted => 1,
            What::Asked | What::Extended | What::Denied | What::Pinned | What::Unpinned => 0,
        }
    }
}

/// One thing that happened to a lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Happening {
    /// Real time, in microseconds.
    pub at: u64,
    pub what: What,
    /// Who asked or, of a lapse, who held it.
    pub who: Arc<str>,
    /// The controller that was asked; zero for what the log did.
    pub node: u64,
    /// The fence of a grant; zero for everything else.
    pub fence: u64,
    /// Global time up to which it is held then, in microseconds; zero where nothing is said of it.
    pub until: u64,
}

/// What an answer says that no log entry does.
pub fn without_effect(answer: &Answer) -> Option<What> {
    match answer {
        Answer::Done { .. } | Answer::Refused { .. } | Answer::Released => None,
        Answer::Overloaded { .. } => Some(What::Overloaded),
        Answer::NotLeader { .. } => Some(What::NotLeader),
        Answer::Expired => Some(What::Expired),
        Answer::Cancelled => Some(What::Cancelled),
        Answer::Unknown => Some(What::Unknown),
    }
}

/// Who wants something.
pub fn asker(operation: &Operation) -> Arc<str> {
    match operation {
        Operation::Claim { holder, .. }
        | Operation::Extend { holder, .. }
        | Operation::Revoke { holder, .. } => holder.clone(),
        Operation::Pin { entity, .. } | Operation::Unpin { entity, .. } => entity.clone(),
    }
}
