//! `Singular` version 2: how Juju's controllers agree on which of them runs a worker that must run
//! only once (seed 003).
//!
//! Only the machines of controllers may use it, each for itself, and only for the connection's own
//! model or for the controller.

use std::time::Duration;

use portcullis_core::controller::Request as Wish;
use portcullis_core::lease::{Key, Operation, SINGULAR_CONTROLLER};
use serde::Deserialize;

use super::session::Caller;
use super::told::{denied, done, results};
use super::{Handler, Place};
use crate::rpc::{self, Error, Request, code, nullable};

/// Shortest claim, as in Juju.
pub const DURATION_MIN: Duration = Duration::from_secs(1);
/// Longest claim, as in Juju.
pub const DURATION_MAX: Duration = Duration::from_secs(60);

#[derive(Deserialize)]
struct Claims {
    #[serde(default, deserialize_with = "nullable")]
    claims: Vec<Claim>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Claim {
    #[serde(default, deserialize_with = "nullable")]
    entity_tag: String,
    #[serde(default, deserialize_with = "nullable")]
    claimant_tag: String,
    /// In nanoseconds, unlike that of a leadership.
    #[serde(default, deserialize_with = "nullable")]
    duration: i64,
}

/// `Claim`: claims, each with a result of its own, one after the other.
pub(super) async fn claim<H: Handler>(caller: &Caller<'_, H>, request: &Request) -> rpc::Outcome {
    let Claims { claims } = request.given()?;
    caller.bounded(&claims)?;
    let mut done = Vec::new();
    for claim in &claims {
        done.push(claim_one(caller, claim).await);
    }
    Ok(results(&done))
}

async fn claim_one<H: Handler>(caller: &Caller<'_, H>, claim: &Claim) -> Result<(), Error> {
    let duration = u64::try_from(claim.duration).map(Duration::from_nanos).unwrap_or_default();
    let window = DURATION_MIN..=DURATION_MAX;
    if !window.contains(&duration) || claim.claimant_tag != caller.identity.tag() {
        return Err(denied());
    }
    let key = lease(caller, &claim.entity_tag)?;
    let operation = Operation::Claim { key, holder: caller.identity.to_string().into(), duration };
    let answer = caller.ask(Wish::Apply(operation), caller.config.patience).await;
    done(answer, code::LEASE_CLAIM_DENIED)
}

/// `Wait`: answers when none of the leases is held, however long that takes.
pub(super) async fn wait<H: Handler>(caller: &Caller<'_, H>, request: &Request) -> rpc::Outcome {
    let super::models::Entities { entities } = request.given()?;
    caller.bounded(&entities)?;
    let mut waited = Vec::new();
    for entity in &entities {
        waited.push(match lease(caller, &entity.tag) {
            Ok(key) => {
                let answer = caller.ask(Wish::Wait(key), caller.config.patience).await;
                done(answer, code::LEASE_CLAIM_DENIED)
            }
            Err(denied) => Err(denied),
        });
    }
    Ok(results(&waited))
}

/// The lease of the entity, if the caller may have to do with it.
fn lease<H: Handler>(caller: &Caller<'_, H>, entity: &str) -> Result<Key, Error> {
    let Place::Model(model) = caller.place else { return Err(denied()) };
    let cluster = caller.cluster();
    let lease = match entity.split_once('-') {
        Some(("model", uuid)) if uuid == model => model,
        Some(("controller", uuid)) if *uuid == cluster.uuid => &cluster.uuid,
        Some(_) | None => return Err(denied()),
    };
    if !caller.runs_controller {
        return Err(denied());
    }
    Ok(Key::new(SINGULAR_CONTROLLER, model.as_str(), lease.as_str()))
}
