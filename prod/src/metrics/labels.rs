//! The labels of metrics, and the words that are their values.
//!
//! Every value comes from a list of ours: whoever connects can make no new series.

use openraft::AsyncRuntime;
use portcullis_core::bind::Lack;
use portcullis_core::controller::Request;
use portcullis_core::lease::{Operation, Outcome, Refusal};
use portcullis_core::queue::Answer;
use portcullis_core::{Door, sessions};
use prometheus_client::encoding::EncodeLabelSet;

use crate::peer;

/// Which limit.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ByLimit {
    pub limit: &'static str,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ByResult {
    pub result: &'static str,
}

/// Which door.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ByDoor {
    pub door: &'static str,
}

/// Why it happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ByWhy {
    pub why: &'static str,
}

/// What one controller asked of another.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ByRequest {
    pub request: &'static str,
}

/// Where somebody is connected to, in Juju's word.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ByEndpoint {
    pub endpoint: &'static str,
}

/// Who asked, for what, and what they were told.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ByAnswer {
    pub asker: &'static str,
    pub operation: &'static str,
    pub answer: &'static str,
}

/// A lease operation as Juju tells them apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ByOperation {
    pub operation: &'static str,
    pub result: &'static str,
}

/// A call of the API as Juju tells them apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ByMethod {
    pub facade: String,
    pub version: u64,
    pub method: String,
    pub error_code: String,
}

/// Who asked: somebody at the API door, or another controller on behalf of such.
pub fn asker(controller: bool) -> &'static str {
    if controller { "controller" } else { "client" }
}

/// What was asked for.
pub fn operation(request: &Request) -> &'static str {
    match request {
        Request::Wait(_) => "wait",
        Request::Apply(operation) => match operation {
            Operation::Claim { .. } => "claim",
            Operation::Extend { .. } => "extend",
            Operation::Revoke { .. } => "revoke",
            Operation::Pin { .. } => "pin",
            Operation::Unpin { .. } => "unpin",
        },
    }
}

/// Everything that [`answer`] says.
pub const ANSWERS: [&str; 8] =
    ["done", "refused", "released", "overloaded", "not-leader", "expired", "cancelled", "unknown"];

/// What was answered.
pub fn answer(answer: &Answer) -> &'static str {
    match answer {
        Answer::Done { .. } => "done",
        Answer::Refused { .. } => "refused",
        Answer::Released => "released",
        Answer::Overloaded { .. } => "overloaded",
        Answer::NotLeader { .. } => "not-leader",
        Answer::Expired => "expired",
        Answer::Cancelled => "cancelled",
        Answer::Unknown => "unknown",
    }
}

/// The same in Juju's words: what expired was never delivered, what is unknown was never responded
/// to.
pub fn juju_result(answer: &Answer) -> &'static str {
    match answer {
        Answer::Done { .. } | Answer::Released => "success",
        Answer::Refused { .. } => "failure",
        Answer::Expired => "delivery timeout",
        Answer::Unknown => "response timeout",
        Answer::Overloaded { .. } | Answer::NotLeader { .. } | Answer::Cancelled => "error",
    }
}

/// Everything that [`outcome`] says.
pub const OUTCOMES: [&str; 5] = ["done", "held", "not-held", "void", "full"];

/// What the table made of a command.
pub fn outcome(outcome: &Outcome) -> &'static str {
    match outcome {
        Ok(_) => "done",
        Err(Refusal::Held { .. }) => "held",
        Err(Refusal::NotHeld) => "not-held",
        Err(Refusal::Void) => "void",
        Err(Refusal::Full) => "full",
    }
}

/// Everything that [`door`] says.
pub const DOORS: [&str; 2] = ["controller", "api"];

/// Which door.
pub fn door(door: Door) -> &'static str {
    match door {
        Door::Controller => "controller",
        Door::Api => "api",
    }
}

/// Why a connection is cut off.
pub fn why(why: sessions::Why) -> &'static str {
    match why {
        sessions::Why::NotLoggedIn => "not-logged-in",
        sessions::Why::Silent => "silent",
        sessions::Why::Surplus => "surplus",
        sessions::Why::Held => "held",
        sessions::Why::Stopping => "stopping",
    }
}

/// Everything that [`peer_request`] says.
pub const PEER_REQUESTS: [&str; 14] = [
    "ping",
    "append",
    "vote",
    "pre-vote",
    "snapshot",
    "transfer-leader",
    "read-index",
    "ask",
    "recall",
    "load",
    "members",
    "leaving",
    "look",
    "lead",
];

/// What a controller asks of another.
pub fn peer_request<R: AsyncRuntime>(request: &peer::Request<R>) -> &'static str {
    match request {
        peer::Request::Ping => "ping",
        peer::Request::Append(_) => "append",
        peer::Request::Vote(_) => "vote",
        peer::Request::PreVote(_) => "pre-vote",
        peer::Request::Snapshot { .. } => "snapshot",
        peer::Request::TransferLeader(_) => "transfer-leader",
        peer::Request::ReadIndex => "read-index",
        peer::Request::Ask { .. } => "ask",
        peer::Request::Recall { .. } => "recall",
        peer::Request::Load(_) => "load",
        peer::Request::Members(_) => "members",
        peer::Request::Leaving => "leaving",
        peer::Request::Look => "look",
        peer::Request::Lead { .. } => "lead",
    }
}

/// Why an ask never left for the leader, or was lost on the way.
pub fn failure(failure: peer::Failure) -> &'static str {
    match failure {
        peer::Failure::Unreachable => "unreachable",
        peer::Failure::Busy => "busy",
        peer::Failure::TooLarge => "too-large",
        peer::Failure::Lost | peer::Failure::Timeout => "lost",
    }
}

/// Everything that [`lack`] says.
pub const LACKS: [&str; 5] = ["no-file", "unreadable", "no-address", "ambiguous", "unusable"];

/// What is wrong with the file that says where to be bound.
pub fn lack(lack: &Lack) -> &'static str {
    match lack {
        Lack::NoFile => "no-file",
        Lack::Unreadable { .. } => "unreadable",
        Lack::NoAddress => "no-address",
        Lack::Ambiguous { .. } => "ambiguous",
        Lack::Unusable { .. } => "unusable",
    }
}
