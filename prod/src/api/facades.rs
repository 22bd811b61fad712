//! Which facades there are, in which versions, on which connections.
//!
//! Each is as small as its callers let it be: what no agent of ours or existing client was seen to
//! call is absent, and says so when it is called.

use super::Place;
use super::method::{no_method, unknown};
use crate::rpc::{Error, Request};

/// On which connections a facade is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// On connections to the controller.
    Controller,
    /// On connections to a model.
    Model,
    /// On both.
    Anywhere,
}

/// One facade: a group of methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facade {
    /// Its name, `type` on the wire.
    pub name: &'static str,
    /// The versions that are spoken, in order. Their methods are the same.
    pub versions: &'static [u64],
    /// Where it is found.
    pub scope: Scope,
    /// What it can do.
    pub methods: &'static [&'static str],
}

/// What agents of each kind ask for, to learn where controllers are.
const ADDRESSES: &[&str] = &["APIAddresses", "APIHostPorts", "WatchAPIHostPorts"];

/// Every facade, in the order of their names, which is how clients are told of them.
pub const FACADES: &[Facade] = &[
    facade("Admin", &[3], Scope::Anywhere, &["Login", "RedirectInfo"]),
    facade("Agent", &[3], Scope::Model, ADDRESSES),
    facade("AllWatcher", &[3], Scope::Model, &["Next", "Stop"]),
    facade("Client", &[6, 7, 8], Scope::Model, &["WatchAll"]),
    facade(
        "Cluster",
        &[1],
        Scope::Anywhere,
        &["Demote", "HandOver", "Members", "Promote", "Remove", "Want"],
    ),
    facade("Controller", &[11, 12], Scope::Controller, &["ControllerAPIInfoForModels"]),
    facade("HighAvailability", &[2], Scope::Anywhere, &["EnableHA"]),
    facade("Invitations", &[1], Scope::Anywhere, &["Invite", "List", "Revoke"]),
    facade(
        "LeadershipService",
        &[2],
        Scope::Model,
        &["BlockUntilLeadershipReleased", "ClaimLeadership"],
    ),
    facade("Machiner", &[5], Scope::Model, ADDRESSES),
    facade("ModelConfig", &[3], Scope::Model, &["ModelGet"]),
    facade("ModelManager", &[9, 10], Scope::Controller, &["ListModelSummaries", "ModelInfo"]),
    facade("NotifyWatcher", &[1], Scope::Anywhere, &["Next", "Stop"]),
    facade("Pinger", &[1], Scope::Anywhere, &["Ping"]),
    facade(
        "Portcullis",
        &[1],
        Scope::Anywhere,
        &[
            "Claim",
            "ClaimMany",
            "Extend",
            "ExtendMany",
            "List",
            "Pin",
            "Revoke",
            "Status",
            "Unpin",
            "Wait",
            "Watch",
        ],
    ),
    facade("RaftLease", &[1, 2], Scope::Anywhere, &["ApplyLease"]),
    facade("Singular", &[2], Scope::Model, &["Claim", "Wait"]),
    facade("Uniter", &[18, 19], Scope::Model, ADDRESSES),
    facade(
        "UpgradeSeries",
        &[1, 2, 3],
        Scope::Model,
        &["PinMachineApplications", "PinnedLeadership", "UnpinMachineApplications"],
    ),
];

const fn facade(
    name: &'static str,
    versions: &'static [u64],
    scope: Scope,
    methods: &'static [&'static str],
) -> Facade {
    Facade { name, versions, scope, methods }
}

impl Facade {
    /// Whether it is found on connections to this place.
    pub fn found(&self, place: &Place) -> bool {
        match (self.scope, place) {
            (Scope::Anywhere, Place::Controller | Place::Model(_))
            | (Scope::Model, Place::Model(_))
            | (Scope::Controller, Place::Controller) => true,
            (Scope::Model, Place::Controller) | (Scope::Controller, Place::Model(_)) => false,
        }
    }
}

/// Whether a request asks for something that there is on this connection.
pub(super) fn known(place: &Place, request: &Request) -> Result<(), Error> {
    let named = |facade: &&Facade| facade.name == request.facade && facade.found(place);
    let facade = FACADES
        .iter()
        .find(named)
        .filter(|facade| facade.versions.contains(&request.version))
        .ok_or_else(|| unknown(request))?;
    if facade.methods.contains(&request.method.as_str()) {
        return Ok(());
    }
    Err(no_method(request))
}
