//! What is behind each method of the facades.

use portcullis_core::NodeId;
use serde::Deserialize;
use serde_json::{Value, json};

use super::facades::FACADES;
use super::session::Caller;
use super::watchers::Watched;
use super::{
    Cluster, Handler, Login, Place, SERVER_VERSION, changes, high_availability, invitations,
    leadership, leases, models, operate, pins, raft_lease, singular, whereabouts,
};
use crate::credentials::Identity;
use crate::rpc::{self, Error, Request, code, nullable};

/// What `Admin.Login` is given; all else that clients send there is of no use here.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct LoginParams {
    #[serde(default, deserialize_with = "nullable")]
    auth_tag: String,
    #[serde(default, deserialize_with = "nullable")]
    credentials: String,
    #[serde(default, deserialize_with = "nullable")]
    nonce: String,
}

/// Reads a login.
pub(super) fn login(place: &Place, request: &Request) -> Result<Login, Error> {
    let params: LoginParams = request.given()?;
    Ok(Login {
        place: place.clone(),
        tag: params.auth_tag,
        password: params.credentials,
        nonce: params.nonce,
    })
}

/// What a party that is let in is told.
pub(super) fn welcome(
    place: &Place,
    identity: &Identity,
    cluster: &Cluster,
    first: Option<NodeId>,
) -> Value {
    let found = FACADES.iter().filter(|facade| facade.found(place));
    let facades: Vec<Value> =
        found.map(|facade| json!({ "name": facade.name, "versions": facade.versions })).collect();
    let mut welcome = json!({
        "servers": cluster.addresses(identity, first),
        "controller-tag": format!("controller-{}", cluster.uuid),
        "server-version": SERVER_VERSION,
        "facades": facades,
    });
    let mut access = "";
    if let Place::Model(uuid) = place {
        welcome["model-tag"] = json!(format!("model-{uuid}"));
        access = "admin";
    }
    if let Identity::User(name) = identity {
        welcome["user-info"] = json!({
            "display-name": name,
            "identity": identity.tag(),
            "controller-access": "superuser",
            "model-access": access,
        });
    }
    welcome
}

/// Calls a method that is [`known`](super::facades::known).
pub(super) async fn call<H: Handler>(caller: &Caller<'_, H>, request: &Request) -> rpc::Outcome {
    match (request.facade.as_str(), request.method.as_str()) {
        ("Pinger", "Ping") => {
            caller.handler.pinged(caller.connection).await;
            Ok(json!({}))
        }
        ("LeadershipService", "ClaimLeadership") => leadership::claim(caller, request).await,
        ("LeadershipService", "BlockUntilLeadershipReleased") => {
            leadership::block_until_released(caller, request).await
        }
        ("UpgradeSeries", "PinnedLeadership") => pins::pinned(caller).await,
        ("UpgradeSeries", _) => pins::pin(caller, request).await,
        ("Singular", "Claim") => singular::claim(caller, request).await,
        ("Singular", "Wait") => singular::wait(caller, request).await,
        ("RaftLease", "ApplyLease") => raft_lease::apply(caller, request).await,
        ("Agent" | "Machiner" | "Uniter", _) => whereabouts::call(caller, request),
        ("NotifyWatcher", "Next") => {
            caller.next(Watched::Addresses, request).await.map(|()| json!({}))
        }
        ("NotifyWatcher", "Stop") => caller.stop(Watched::Addresses, request),
        ("ModelManager", "ListModelSummaries") => models::summaries(caller),
        ("ModelManager", "ModelInfo") => models::info(caller, request),
        ("Controller", "ControllerAPIInfoForModels") => models::api_info(caller, request),
        ("ModelConfig", "ModelGet") => models::config(caller),
        ("Client", "WatchAll") => models::watch(caller),
        ("AllWatcher", "Next") => models::next(caller, request).await,
        ("AllWatcher", "Stop") => caller.stop(Watched::Model, request),
        ("HighAvailability", "EnableHA") => high_availability::enable(caller, request).await,
        ("Cluster", "Members") => operate::members(caller).await,
        ("Cluster", _) => operate::change(caller, request).await,
        ("Invitations", "Invite") => invitations::invite(caller, request).await,
        ("Invitations", "List") => invitations::list(caller).await,
        ("Invitations", "Revoke") => invitations::revoke(caller, request).await,
        ("Portcullis", "ClaimMany") => leases::ask_many(caller, "Claim", request).await,
        ("Portcullis", "ExtendMany") => leases::ask_many(caller, "Extend", request).await,
        ("Portcullis", "List") => leases::list(caller, request).await,
        ("Portcullis", "Watch") => changes::watch(caller, request).await,
        ("Portcullis", "Status") => leases::status(caller).await,
        ("Portcullis", _) => leases::ask(caller, request).await,
        (_, _) => Err(unknown(request)),
    }
}

/// There is no such facade, or none in this version. Clients fall back to another on this code.
pub(super) fn unknown(request: &Request) -> Error {
    let message = match request.version {
        0 => format!("unknown object type {:?}", request.facade),
        version => format!("unknown version ({version}) of interface {:?}", request.facade),
    };
    Error::new(message, code::NOT_IMPLEMENTED)
}

/// The facade has no such method.
pub(super) fn no_method(request: &Request) -> Error {
    let Request { facade, version, method, .. } = request;
    let message =
        format!("no such request - method {facade}({version}).{method} is not implemented");
    Error::new(message, code::NOT_IMPLEMENTED)
}
