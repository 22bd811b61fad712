//! `UpgradeSeries` versions 1 to 3, of which only the pins: how the agent of a machine that is about
//! to go away keeps the leaderships of its applications from expiring meanwhile.
//!
//! For the agents of machines alone, each for itself: it pins what has units on it, in its own name.
//! A pin of an application that nobody leads is for whoever leads it next.

use std::sync::Arc;

use portcullis_core::controller::Request as Wish;
use portcullis_core::lease::{APPLICATION_LEADERSHIP, Key, Operation};
use serde_json::{Value, json};

use super::session::Caller;
use super::told::{denied, done, shown};
use super::{Handler, Pins, Place};
use crate::credentials::Identity;
use crate::rpc::{self, Error, Request, code};

/// `PinMachineApplications` and `UnpinMachineApplications`: an application after the other, each
/// with a result of its own. Both may be repeated.
pub(super) async fn pin<H: Handler>(caller: &Caller<'_, H>, request: &Request) -> rpc::Outcome {
    let (model, machine) = machine(caller)?;
    let cluster = caller.cluster();
    let applications = cluster.model(model).and_then(|model| model.applications.get(&*machine));
    let mut results = Vec::new();
    for application in applications.into_iter().flatten() {
        let key = Key::new(APPLICATION_LEADERSHIP, model, application.as_str());
        let entity = Arc::clone(&machine);
        let operation = match request.method.as_str() {
            "PinMachineApplications" => Operation::Pin { key, entity },
            "UnpinMachineApplications" => Operation::Unpin { key, entity },
            _ => unreachable!("only methods of the facade are called"),
        };
        let answer = caller.ask(Wish::Apply(operation), caller.config.patience).await;
        let mut result: Value = shown(&done(answer, code::LEASE));
        result["application-name"] = json!(application);
        results.push(result);
    }
    Ok(json!({ "results": results }))
}

/// `PinnedLeadership`: every pinned application of the model, with the tags of those who pin it.
/// Without any there is no `result`, as Go leaves out what is empty.
pub(super) async fn pinned<H: Handler>(caller: &Caller<'_, H>) -> rpc::Outcome {
    let (model, _) = machine(caller)?;
    let no_leader = || Error::new("no leader could be asked", code::NOT_LEADER);
    match caller.handler.pins(model).await.ok_or_else(no_leader)? {
        Pins::All(pins) if pins.is_empty() => Ok(json!({})),
        Pins::All(pins) => Ok(json!({ "result": pins })),
        Pins::TooMany => Err(Error::new("too many pins to list", code::QUOTA)),
    }
}

/// The caller's model and tag, if it is the agent of a machine.
fn machine<'a, H: Handler>(caller: &'a Caller<'_, H>) -> Result<(&'a str, Arc<str>), Error> {
    match (&*caller.identity, caller.place) {
        (Identity::Machine(_), Place::Model(uuid)) => Ok((uuid, caller.identity.tag().into())),
        (
            Identity::Machine(_)
            | Identity::Unit { .. }
            | Identity::User(_)
            | Identity::Controller(_),
            Place::Model(_) | Place::Controller,
        ) => Err(denied()),
    }
}
