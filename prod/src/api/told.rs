//! How Juju's clients are told what came of what they asked for.

use portcullis_core::lease::Refusal;
use portcullis_core::queue::Answer;
use serde_json::{Value, json};

use super::session::try_again;
use crate::rpc::{Error, code};

/// What an answer means to whoever claims or waits. `denial` is the code, and the text, for one
/// that certainly does not hold the lease; nothing else may say so.
pub(super) fn done(answer: Answer, denial: &str) -> Result<(), Error> {
    match answer {
        Answer::Done { .. } | Answer::Released => Ok(()),
        Answer::Refused { refusal, .. } => Err(match refusal {
            Refusal::Held { .. } => Error::new(denial, denial),
            Refusal::NotHeld => Error::new("lease not held", code::LEASE),
            Refusal::Void => Error::new(code::DEADLINE, code::DEADLINE),
            Refusal::Full => Error::new("too many leases", code::QUOTA),
        }),
        Answer::Overloaded { retry_after } => Err(try_again(retry_after)),
        Answer::NotLeader { leader: Some(leader) } => {
            let id = leader.0.to_string();
            let message = format!("not currently the leader, try {id:?}");
            let info = Some(json!({ "server-id": id }));
            Err(Error { info, ..Error::new(message, code::NOT_LEADER) })
        }
        Answer::NotLeader { leader: None } => {
            Err(Error::new("not currently the leader", code::NOT_LEADER))
        }
        Answer::Expired | Answer::Cancelled => Err(Error::new(code::DEADLINE, code::DEADLINE)),
        Answer::Unknown => Err(Error::new("lease operation timed out", code::LEASE)),
    }
}

/// A result as an item of a bulk call: empty if it is good.
pub(super) fn shown(result: &Result<(), Error>) -> Value {
    match result {
        Ok(()) => json!({}),
        Err(error) => json!({ "error": error.item() }),
    }
}

/// The response of a bulk call whose items say no more than how they went.
pub(super) fn results(results: &[Result<(), Error>]) -> Value {
    json!({ "results": results.iter().map(shown).collect::<Vec<Value>>() })
}

/// The response of a bulk call whose items have something to say in a member called `result`.
pub(super) fn with_result(results: impl Iterator<Item = Result<Value, Error>>) -> Value {
    let shown = results.map(|result| match result {
        Ok(result) => json!({ "result": result }),
        Err(error) => json!({ "error": error.item() }),
    });
    json!({ "results": shown.collect::<Vec<Value>>() })
}

/// The party may not do this.
pub(super) fn denied() -> Error {
    Error::new("permission denied", code::UNAUTHORIZED)
}

/// The kinds of things that tags name in Juju.
const KINDS: &[&str] = &[
    "action",
    "application",
    "charm",
    "cloud",
    "cloudcred",
    "controller",
    "environment",
    "machine",
    "model",
    "operation",
    "relation",
    "space",
    "storage",
    "subnet",
    "unit",
    "user",
    "volume",
];

/// The text is no tag, or names nothing of this kind, in Juju's words for each.
pub(super) fn invalid_tag(tag: &str, kind: &str) -> Error {
    let is_tag = tag.split_once('-').is_some_and(|(kind, _)| KINDS.contains(&kind));
    let kind = if is_tag { format!("{kind} ") } else { String::new() };
    Error::new(format!("{tag:?} is not a valid {kind}tag"), "")
}
