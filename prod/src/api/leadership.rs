//! `LeadershipService` version 2: how Juju's unit agents claim leadership.
//!
//! The trap is in the error codes: an agent that is told `leadership claim denied` believes that
//! another unit leads. So only a refusal by the table, because another holds the lease, says so.

use std::time::Duration;

use futures_util::future::join_all;
use portcullis_core::controller::Request as Wish;
use portcullis_core::lease::{APPLICATION_LEADERSHIP, Key, Operation};
use serde::Deserialize;

use super::session::Caller;
use super::told::{denied, done, invalid_tag, results, shown};
use super::{Handler, Place};
use crate::credentials::{Identity, is_application};
use crate::rpc::{self, Error, Request, code, nullable};

/// Shortest leadership that may be claimed, as in Juju.
pub const DURATION_MIN: Duration = Duration::from_secs(5);
/// Longest leadership that may be claimed, as in Juju.
pub const DURATION_MAX: Duration = Duration::from_secs(300);

#[derive(Deserialize)]
struct Claims {
    #[serde(default, deserialize_with = "nullable")]
    params: Vec<Claim>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Claim {
    #[serde(default, deserialize_with = "nullable")]
    application_tag: String,
    #[serde(default, deserialize_with = "nullable")]
    unit_tag: String,
    /// In seconds.
    #[serde(default, deserialize_with = "nullable")]
    duration: f64,
}

/// The JSON of Go's own type for an application's tag.
#[derive(Deserialize)]
struct Application {
    #[serde(rename = "Name", alias = "name", default, deserialize_with = "nullable")]
    name: String,
}

/// `ClaimLeadership`: claims, each with a result of its own. The caller may claim what its own unit
/// may have, and nothing else.
pub(super) async fn claim<H: Handler>(caller: &Caller<'_, H>, request: &Request) -> rpc::Outcome {
    let Claims { params } = request.given()?;
    caller.bounded(&params)?;
    Ok(results(&join_all(params.iter().map(|claim| claim_one(caller, claim))).await))
}

async fn claim_one<H: Handler>(caller: &Caller<'_, H>, claim: &Claim) -> Result<(), Error> {
    let application = claim
        .application_tag
        .strip_prefix("application-")
        .filter(|name| is_application(name))
        .ok_or_else(|| invalid_tag(&claim.application_tag, "application"))?;
    let unit = Identity::from_tag(&claim.unit_tag)
        .filter(|identity| matches!(identity, Identity::Unit { .. }))
        .ok_or_else(|| invalid_tag(&claim.unit_tag, "unit"))?;
    // Juju looks at the duration before it asks who claims for whom.
    let window = DURATION_MIN..=DURATION_MAX;
    let duration = Duration::try_from_secs_f64(claim.duration)
        .ok()
        .filter(|duration| window.contains(duration))
        .ok_or_else(|| Error::new("invalid duration", ""))?;
    let key = own_lease(caller, application)?;
    if unit != *caller.identity {
        return Err(denied());
    }
    let operation = Operation::Claim { key, holder: unit.to_string().into(), duration };
    let answer = caller.ask(Wish::Apply(operation), caller.config.patience).await;
    done(answer, code::CLAIM_DENIED)
}

/// `BlockUntilLeadershipReleased`: answers when the application has no leader, however long that
/// takes.
pub(super) async fn block_until_released<H: Handler>(
    caller: &Caller<'_, H>,
    request: &Request,
) -> rpc::Outcome {
    let Application { name } = request.given()?;
    let released = match own_lease(caller, &name) {
        Ok(key) => {
            let answer = caller.ask(Wish::Wait(key), caller.config.patience).await;
            done(answer, code::CLAIM_DENIED)
        }
        Err(denied) => Err(denied),
    };
    Ok(shown(&released))
}

/// The lease of an application, if it is the caller's own.
fn own_lease<H: Handler>(caller: &Caller<'_, H>, name: &str) -> Result<Key, Error> {
    match (&*caller.identity, caller.place) {
        (Identity::Unit { application, .. }, Place::Model(uuid)) if application == name => {
            Ok(Key::new(APPLICATION_LEADERSHIP, uuid.as_str(), name))
        }
        (
            Identity::Unit { .. }
            | Identity::User(_)
            | Identity::Machine(_)
            | Identity::Controller(_),
            Place::Model(_) | Place::Controller,
        ) => Err(denied()),
    }
}
