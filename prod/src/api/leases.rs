//! `Portcullis` version 1: our own facade, which tells all that is known.
//!
//! | method | params | response |
//! |---|---|---|
//! | `Claim`, `Extend` | [`Asked`] with `duration` | [`Outcome`] |
//! | `ClaimMany`, `ExtendMany` | `asks`: of those | `results`: as many [`Outcome`]s or `error`s |
//! | `Revoke`, `Wait` | [`Asked`] | [`Outcome`] |
//! | `Pin`, `Unpin` | [`Asked`] with `entity` | [`Outcome`] |
//! | `List` | `namespace`, `model`, `after`, each optional | [`LeaseList`] |
//! | `Status` | none | [`StatusReport`] |
//! | `Watch` | `namespace`, `model`, `from`, `patience`, each optional | see `changes` |
//!
//! Whatever the lease service answers is a response, never an error: errors are about requests that
//! mean nothing or are not allowed. A user may do everything; the agent of a unit may deal with its
//! own application's leadership as itself, the machine of a controller with `singular-controller`
//! leases as itself.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use portcullis_core::Time;
use portcullis_core::controller::{Request as Wish, Status};
use portcullis_core::lease::{APPLICATION_LEADERSHIP, Key, Lease, Operation, SINGULAR_CONTROLLER};
use portcullis_core::readiness::Condition;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::outcome::{Outcome, seconds};
use super::session::{Caller, try_again};
use super::told::denied;
use super::{Handler, PAGE_MAX, Place, Query};
use crate::credentials::Identity;
use crate::rpc::{self, Error, Request, code, nullable};

/// Longest name of a namespace, model, lease, holder or entity, in bytes.
pub const NAME_MAX: usize = 256;
/// Longest duration that a lease may be asked for.
pub const DURATION_MAX: Duration = Duration::from_secs(86_400);

/// What is asked about a lease. Every member may be left out, or `null`, unless a method needs it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Asked {
    /// `application-leadership` if left out.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// The model's UUID; that of the connection if left out.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub model: String,
    /// The lease itself, such as an application's name.
    #[serde(deserialize_with = "nullable")]
    pub lease: String,
    /// Who shall hold it; the caller if left out.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub holder: String,
    /// Who pins it; the caller if left out.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub entity: String,
    /// How long to hold it, in seconds: above 0, at most [`DURATION_MAX`].
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Option::is_none")]
    pub duration: Option<f64>,
    /// How long to wait for the answer, in seconds; the controller's own patience bounds it.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Option::is_none")]
    pub patience: Option<f64>,
}

/// The names of a lease.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// What kind of lease it is.
    pub namespace: String,
    /// The model's UUID.
    pub model: String,
    /// The lease itself.
    pub lease: String,
}

/// One lease of a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LeaseItem {
    /// Which lease.
    #[serde(flatten)]
    pub named: Named,
    /// Who holds it.
    pub holder: String,
    /// When it was granted or extended last, in seconds of the cluster's time.
    pub start: f64,
    /// From when on it is free, unless pinned, in seconds of the cluster's time.
    pub expiry: f64,
    /// The number of the grant.
    pub fence: u64,
}

/// A page of leases, in the order of their names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LeaseList {
    /// The cluster's time as the answering controller's copy has it, in seconds.
    pub now: f64,
    /// At most [`PAGE_MAX`] of them.
    pub leases: Vec<LeaseItem>,
    /// Whether to ask again, with `after` set to the last of these.
    pub more: bool,
}

/// The figures of the controller that answers; durations are in seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct StatusReport {
    /// The controller's number.
    pub node: u64,
    /// The number of the controller that leads, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<u64>,
    /// What the API door does or waits for.
    pub api_door: String,
    /// What the API door waits for.
    #[serde(default)]
    pub conditions: Vec<ConditionReport>,
    /// Where the controller door is to be bound, if a file says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bind_address: Option<String>,
    /// What is wrong with that file, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bind_address_lack: Option<String>,
    /// Connections through both doors.
    pub connections: usize,
    /// Agents among them, which is what is balanced.
    #[serde(default)]
    pub agents: u64,
    /// Whether this controller sends some of them to others, which have fewer.
    #[serde(default)]
    pub shedding: bool,
    /// Connections at the API door that are logging in.
    #[serde(default)]
    pub logins: usize,
    /// How many of them there may be by now.
    #[serde(default)]
    pub logins_allowed: usize,
    /// How long a login took lately, in seconds; 0 until it was measured.
    #[serde(default)]
    pub login_time: f64,
    /// Connections that are held at the API door.
    #[serde(default)]
    pub held: usize,
    /// Agents and users that are still here while the controller stops.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draining: Option<usize>,
    /// Asks that wait to be proposed.
    pub waiting: usize,
    /// Bytes of them.
    #[serde(default)]
    pub waiting_bytes: usize,
    /// Raft entries in flight.
    pub in_flight: usize,
    /// Time that the log takes for one command; 0 until it was measured.
    #[serde(default)]
    pub drain: f64,
    /// Asks of this controller's clients without an answer.
    #[serde(default)]
    pub asks: usize,
    /// Asks under way to the leader.
    pub forwarded: usize,
    /// Asks that rest until their next try, or until somebody leads.
    #[serde(default)]
    pub resting: usize,
    /// Tries that were repeated, since the controller started.
    #[serde(default)]
    pub retries: u64,
    /// Tries that the budget has denied, since then.
    #[serde(default)]
    pub retries_denied: u64,
    /// Waits for a release.
    pub parked: usize,
    /// Waits that ended because the lease was free, since the controller started.
    #[serde(default)]
    pub wakes: u64,
    /// How far the time that leases expire by stands behind real time.
    #[serde(default)]
    pub clock_lag: f64,
    /// What must run on one controller and may run on this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub responsible: Vec<Responsibility>,
}

/// Something that must run on exactly one controller (seed 003).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Responsibility {
    /// What kind of lease is behind it, such as [`SINGULAR_CONTROLLER`]; for what runs where the
    /// leader is, [`RAFT_LEADERSHIP`](crate::node::RAFT_LEADERSHIP).
    pub namespace: String,
    /// The lease.
    pub lease: String,
    /// The fence that it runs under here, a term of the log where leading is behind it; none while
    /// it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fence: Option<u64>,
}

/// One thing that the API door waits for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ConditionReport {
    /// `self-connected`, `led`, `caught-up`, or `worker` and the worker's name.
    pub name: String,
    /// Whether it is met.
    pub met: bool,
    /// Since when that is so, in seconds after the controller's start.
    pub since: f64,
}

#[derive(Deserialize)]
struct Many {
    #[serde(default, deserialize_with = "nullable")]
    asks: Vec<Asked>,
}

#[derive(Deserialize)]
struct ListParams {
    #[serde(default)]
    namespace: Option<String>,
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    after: Option<Named>,
}

impl From<Named> for Key {
    fn from(named: Named) -> Key {
        let Named { namespace, model, lease } = named;
        Key::new(&namespace, &model, &lease)
    }
}

impl From<Key> for Named {
    fn from(key: Key) -> Named {
        Named {
            namespace: key.namespace().into(),
            model: key.model().into(),
            lease: key.lease().into(),
        }
    }
}

impl From<(Key, Lease)> for LeaseItem {
    fn from((key, lease): (Key, Lease)) -> LeaseItem {
        LeaseItem {
            named: key.into(),
            holder: (*lease.holder).into(),
            start: seconds(lease.start),
            expiry: seconds(lease.expiry),
            fence: lease.fence,
        }
    }
}

impl From<Condition> for ConditionReport {
    fn from(Condition { name, met, since }: Condition) -> ConditionReport {
        ConditionReport { name, met, since: since.since(Time(0)).as_secs_f64() }
    }
}

impl From<Status> for StatusReport {
    fn from(status: Status) -> StatusReport {
        StatusReport {
            node: status.node.0,
            leader: status.leader.map(|node| node.0),
            api_door: status.api_door,
            conditions: status.conditions.into_iter().map(ConditionReport::from).collect(),
            bind_address: status.bound,
            bind_address_lack: status.lack.map(|lack| lack.to_string()),
            connections: status.connections,
            agents: status.agents,
            shedding: status.shedding,
            logins: status.logins,
            logins_allowed: status.logins_allowed,
            login_time: status.login_time.as_secs_f64(),
            held: status.held,
            draining: status.draining,
            waiting: status.waiting,
            waiting_bytes: status.waiting_bytes,
            in_flight: status.in_flight,
            drain: status.drain.as_secs_f64(),
            asks: status.asks,
            forwarded: status.forwarded,
            resting: status.resting,
            retries: status.retries,
            retries_denied: status.retries_denied,
            parked: status.parked,
            wakes: status.wakes,
            clock_lag: status.clock_lag.as_secs_f64(),
            responsible: Vec::new(),
        }
    }
}

impl Asked {
    /// How to ask for what is wished: the method and what it is given.
    pub fn for_wish(wish: &Wish, patience: Duration) -> (&'static str, Asked) {
        let about = |key: &Key| Asked {
            namespace: key.namespace().into(),
            model: key.model().into(),
            lease: key.lease().into(),
            patience: Some(patience.as_secs_f64()),
            ..Asked::default()
        };
        let held = |key: &Key, holder: &str, duration: Option<&Duration>| Asked {
            holder: holder.into(),
            duration: duration.map(Duration::as_secs_f64),
            ..about(key)
        };
        let by = |key: &Key, entity: &str| Asked { entity: entity.into(), ..about(key) };
        match wish {
            Wish::Wait(key) => ("Wait", about(key)),
            Wish::Apply(operation) => match operation {
                Operation::Claim { key, holder, duration } => {
                    ("Claim", held(key, holder, Some(duration)))
                }
                Operation::Extend { key, holder, duration } => {
                    ("Extend", held(key, holder, Some(duration)))
                }
                Operation::Revoke { key, holder } => ("Revoke", held(key, holder, None)),
                Operation::Pin { key, entity } => ("Pin", by(key, entity)),
                Operation::Unpin { key, entity } => ("Unpin", by(key, entity)),
            },
        }
    }
}

/// Any method that goes through the lease service.
pub(super) async fn ask<H: Handler>(caller: &Caller<'_, H>, request: &Request) -> rpc::Outcome {
    Ok(json!(ask_one(caller, &request.method, request.given()?).await?))
}

/// `ClaimMany` and `ExtendMany`: independent of each other, and in no order.
pub(super) async fn ask_many<H: Handler>(
    caller: &Caller<'_, H>,
    method: &str,
    request: &Request,
) -> rpc::Outcome {
    let Many { asks } = request.given()?;
    caller.bounded(&asks)?;
    let each = asks.into_iter().map(|asked| ask_one(caller, method, asked));
    let results = join_all(each).await.into_iter().map(|result| match result {
        Ok(outcome) => json!(outcome),
        Err(error) => json!({ "error": error.item() }),
    });
    Ok(json!({ "results": results.collect::<Vec<Value>>() }))
}

async fn ask_one<H: Handler>(
    caller: &Caller<'_, H>,
    method: &str,
    asked: Asked,
) -> Result<Outcome, Error> {
    let patience = match asked.patience {
        None => caller.config.patience,
        Some(seconds) => Duration::try_from_secs_f64(seconds)
            .map_err(|_| not_valid("patience", "a number of seconds from 0 up"))?,
    };
    let wish = wish(caller, method, asked)?;
    Ok(Outcome::from(caller.ask(wish, patience).await))
}

/// `List`.
pub(super) async fn list<H: Handler>(caller: &Caller<'_, H>, request: &Request) -> rpc::Outcome {
    let ListParams { namespace, model, after } = request.given()?;
    let model = seen(caller, model)?;
    let query = Query { namespace, model, after: after.map(Key::from), most: PAGE_MAX };
    let no_leader = || Error::new("no leader could be asked", code::NOT_LEADER);
    let page = caller.handler.leases(query).await.ok_or_else(no_leader)?;
    let leases = page.leases.into_iter().map(LeaseItem::from).collect();
    Ok(json!(LeaseList { now: seconds(page.now), leases, more: page.more }))
}

/// The model whose leases the caller gets to see: any that it asks for, or its own.
pub(super) fn seen<H: Handler>(
    caller: &Caller<'_, H>,
    model: Option<String>,
) -> Result<Option<String>, Error> {
    match (&*caller.identity, caller.place) {
        (_, Place::Model(uuid)) if model.as_ref().is_none_or(|model| model == uuid) => {
            Ok(Some(uuid.clone()))
        }
        (Identity::Unit { .. }, _) | (_, Place::Model(_)) => Err(denied()),
        (Identity::User(_) | Identity::Machine(_) | Identity::Controller(_), Place::Controller) => {
            Ok(model)
        }
    }
}

/// `Status`.
pub(super) async fn status<H: Handler>(caller: &Caller<'_, H>) -> rpc::Outcome {
    let closing = || try_again(caller.config.retry_after);
    let status = caller.handler.status().await.ok_or_else(closing)?;
    let responsible = caller.handler.responsible();
    Ok(json!(StatusReport { responsible, ..StatusReport::from(status) }))
}

fn wish<H: Handler>(caller: &Caller<'_, H>, method: &str, asked: Asked) -> Result<Wish, Error> {
    let or = |text: String, other: &str| if text.is_empty() { other.into() } else { text };
    let myself = caller.identity.to_string();
    let model = match caller.place {
        Place::Controller => asked.model,
        Place::Model(uuid) => or(asked.model, uuid),
    };
    let namespace = or(asked.namespace, APPLICATION_LEADERSHIP);
    let named = Named { namespace, model, lease: asked.lease };
    let key = Key::from(named);
    let holder: Arc<str> = or(asked.holder, &myself).into();
    let entity: Arc<str> = or(asked.entity, &myself).into();
    for (what, name) in [
        ("namespace", key.namespace()),
        ("model", key.model()),
        ("lease", key.lease()),
        ("holder", &holder),
        ("entity", &entity),
    ] {
        plain(what, name)?;
    }
    allowed(caller, method, &key, &holder)?;
    let duration = || {
        let duration = Duration::try_from_secs_f64(asked.duration.unwrap_or_default()).ok();
        duration
            .filter(|duration| !duration.is_zero() && *duration <= DURATION_MAX)
            .ok_or_else(|| not_valid("duration", "a number of seconds above 0, up to 86400"))
    };
    Ok(match method {
        "Wait" => Wish::Wait(key),
        "Claim" => Wish::Apply(Operation::Claim { key, holder, duration: duration()? }),
        "Extend" => Wish::Apply(Operation::Extend { key, holder, duration: duration()? }),
        "Revoke" => Wish::Apply(Operation::Revoke { key, holder }),
        "Pin" => Wish::Apply(Operation::Pin { key, entity }),
        "Unpin" => Wish::Apply(Operation::Unpin { key, entity }),
        _ => unreachable!("only methods of the facade are called"),
    })
}

/// Whether the caller may do this to that lease.
fn allowed<H: Handler>(
    caller: &Caller<'_, H>,
    method: &str,
    key: &Key,
    holder: &str,
) -> Result<(), Error> {
    let itself = holder == caller.identity.to_string() && !["Pin", "Unpin"].contains(&method);
    let here = match caller.place {
        Place::Model(uuid) => key.model() == &**uuid,
        Place::Controller => !matches!(*caller.identity, Identity::Unit { .. }),
    };
    let may = match &*caller.identity {
        Identity::User(_) => true,
        Identity::Unit { application, .. } => {
            itself && key.namespace() == APPLICATION_LEADERSHIP && key.lease() == &**application
        }
        Identity::Machine(_) | Identity::Controller(_) => {
            itself && caller.runs_controller && key.namespace() == SINGULAR_CONTROLLER
        }
    };
    if may && here { Ok(()) } else { Err(denied()) }
}

/// Names are short and plain, so that a page of them has a known size.
pub(super) fn plain(what: &str, name: &str) -> Result<(), Error> {
    let graphic = |c: char| c.is_ascii_graphic() && c != '"' && c != '\\';
    if (1..=NAME_MAX).contains(&name.len()) && name.chars().all(graphic) {
        return Ok(());
    }
    let must = format!("1 to {NAME_MAX} printable ASCII characters without spaces and quotes");
    Err(not_valid(what, &must))
}

pub(super) fn not_valid(what: &str, must: &str) -> Error {
    let info: Value = json!({ "member": what });
    let message = format!("{what} must be {must}");
    Error { info: Some(info), ..Error::new(message, code::NOT_VALID) }
}
