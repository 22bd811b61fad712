//! `Agent`, `Machiner` and `Uniter`: how agents of each kind learn where controllers are.

use portcullis_core::addresses::HostPort;
use serde_json::{Value, json};

use super::Handler;
use super::session::Caller;
use super::told::denied;
use super::watchers::Watched;
use crate::credentials::Identity;
use crate::rpc::{self, Request};

/// Any method of the three.
pub(super) fn call<H: Handler>(caller: &Caller<'_, H>, request: &Request) -> rpc::Outcome {
    let allowed = match (&*caller.identity, request.facade.as_str()) {
        (Identity::Machine(_) | Identity::Controller(_), "Agent" | "Machiner") => true,
        (Identity::Unit { .. }, "Agent" | "Uniter") => true,
        (
            Identity::Machine(_)
            | Identity::Controller(_)
            | Identity::Unit { .. }
            | Identity::User(_),
            _,
        ) => false,
    };
    if !allowed {
        return Err(denied());
    }
    let servers = || caller.cluster().addresses(&caller.identity, None);
    match request.method.as_str() {
        "APIHostPorts" => Ok(json!({ "servers": servers() })),
        "APIAddresses" => Ok(json!({ "result": joined(&servers()) })),
        "WatchAPIHostPorts" => caller.watch(Watched::Addresses),
        _ => unreachable!("only methods of the facade are called"),
    }
}

/// Every address in one list, in order.
pub(super) fn joined(servers: &[Vec<HostPort>]) -> Value {
    json!(servers.iter().flatten().map(HostPort::joined).collect::<Vec<String>>())
}
