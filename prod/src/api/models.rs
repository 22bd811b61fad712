//! `ModelManager`, `Controller`, `ModelConfig` and `AllWatcher`: as much about models as libjuju
//! must know to connect to one, and to keep its list of controllers.
//!
//! For users alone. Whoever asks owns every model, since every user may do everything.

use serde::Deserialize;
use serde_json::{Value, json};

use super::session::Caller;
use super::told::{denied, invalid_tag, with_result};
use super::watchers::Watched;
use super::whereabouts::joined;
use super::{Cluster, Handler, Model, Place, SERVER_VERSION};
use crate::credentials::Identity;
use crate::rpc::{self, Error, Request, code, nullable};

/// What most of Juju's bulk calls are given.
#[derive(Deserialize)]
pub(super) struct Entities {
    #[serde(default, deserialize_with = "nullable")]
    pub(super) entities: Vec<Entity>,
}

/// One tag among several.
#[derive(Deserialize)]
pub(super) struct Entity {
    #[serde(default, deserialize_with = "nullable")]
    pub(super) tag: String,
}

/// `ModelManager.ListModelSummaries`.
pub(super) fn summaries<H: Handler>(caller: &Caller<'_, H>) -> rpc::Outcome {
    let owner = user(caller)?;
    let cluster = caller.cluster();
    Ok(with_result(cluster.models.iter().map(|model| Ok(summary(&cluster, model, owner)))))
}

/// `ModelManager.ModelInfo`.
pub(super) fn info<H: Handler>(caller: &Caller<'_, H>, request: &Request) -> rpc::Outcome {
    let owner = user(caller)?;
    let cluster = caller.cluster();
    of_models(caller, request, |model| {
        let mut info = common(&cluster, model, owner);
        info["users"] = json!([]);
        info["machines"] = json!([]);
        info["status"] = json!({ "status": "available", "info": "", "since": null });
        json!({ "result": info })
    })
}

/// `Controller.ControllerAPIInfoForModels`: in the order in which libjuju will go to them.
pub(super) fn api_info<H: Handler>(caller: &Caller<'_, H>, request: &Request) -> rpc::Outcome {
    user(caller)?;
    let cluster = caller.cluster();
    of_models(
        caller,
        request,
        |_| json!({ "addresses": joined(&cluster.addresses(&caller.identity, None)), "cacert": cluster.authority }),
    )
}

/// `ModelConfig.ModelGet`.
pub(super) fn config<H: Handler>(caller: &Caller<'_, H>) -> rpc::Outcome {
    user(caller)?;
    let model = here(caller)?;
    let value = |value: &str| json!({ "value": value, "source": "model" });
    let config = json!({ "name": value(&model.name), "agent-version": value(SERVER_VERSION) });
    Ok(json!({ "config": config }))
}

/// `Client.WatchAll`.
pub(super) fn watch<H: Handler>(caller: &Caller<'_, H>) -> rpc::Outcome {
    user(caller)?;
    here(caller)?;
    caller.watch(Watched::Model)
}

/// `AllWatcher.Next`: the model itself, which is all that there is in it.
pub(super) async fn next<H: Handler>(caller: &Caller<'_, H>, request: &Request) -> rpc::Outcome {
    caller.next(Watched::Model, request).await?;
    let Identity::User(owner) = &*caller.identity else { return Err(denied()) };
    let model = here(caller)?;
    let delta = json!({
        "model-uuid": model.uuid,
        "name": model.name,
        "life": "alive",
        "owner": owner,
        "controller-uuid": caller.cluster().uuid,
        "is-controller": model.is_controller(),
        "config": {},
        "status": { "current": "available" },
        "constraints": {},
        "sla": { "level": "", "owner": "" },
    });
    Ok(json!({ "deltas": [["model", "change", delta]] }))
}

fn summary(cluster: &Cluster, model: &Model, owner: &Identity) -> Value {
    let machines = if model.is_controller() { cluster.servers.len() } else { 0 };
    let mut summary = common(cluster, model, owner);
    summary["user-access"] = json!("admin");
    summary["user-last-connection"] = Value::Null;
    summary["counts"] = json!([{ "entity": "machines", "count": machines }]);
    summary["sla"] = Value::Null;
    summary
}

fn common(cluster: &Cluster, model: &Model, owner: &Identity) -> Value {
    json!({
        "name": model.name,
        "uuid": model.uuid,
        "type": "iaas",
        "controller-uuid": cluster.uuid,
        "is-controller": model.is_controller(),
        "owner-tag": owner.tag(),
        "life": "alive",
        "agent-version": SERVER_VERSION,
    })
}

/// A bulk call about models: what `show` says of each, which is a whole item.
fn of_models<H: Handler>(
    caller: &Caller<'_, H>,
    request: &Request,
    show: impl Fn(&Model) -> Value,
) -> rpc::Outcome {
    let Entities { entities } = request.given()?;
    caller.bounded(&entities)?;
    let cluster = caller.cluster();
    let one = |Entity { tag }: &Entity| {
        let uuid = tag.strip_prefix("model-").ok_or_else(|| invalid_tag(tag, "model"))?;
        cluster.model(uuid).map(&show).ok_or_else(|| no_model(uuid))
    };
    let item = |result: Result<Value, Error>| {
        result.unwrap_or_else(|error| json!({ "error": error.item() }))
    };
    let items = entities.iter().map(|entity| item(one(entity)));
    Ok(json!({ "results": items.collect::<Vec<Value>>() }))
}

/// The model that the connection is about.
fn here<H: Handler>(caller: &Caller<'_, H>) -> Result<Model, Error> {
    match caller.place {
        Place::Controller => Err(denied()),
        Place::Model(uuid) => caller.cluster().model(uuid).cloned().ok_or_else(|| no_model(uuid)),
    }
}

/// The caller, if it is a user.
fn user<'a, H: Handler>(caller: &'a Caller<'_, H>) -> Result<&'a Identity, Error> {
    match &*caller.identity {
        Identity::User(_) => Ok(&caller.identity),
        Identity::Unit { .. } | Identity::Machine(_) | Identity::Controller(_) => Err(denied()),
    }
}

/// There is no model with this UUID.
pub(super) fn no_model(uuid: &str) -> Error {
    Error::new(format!("unknown model: {uuid:?}"), code::MODEL_NOT_FOUND)
}
