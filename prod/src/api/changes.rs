//! `Portcullis.Watch`: which leases change, from wherever the caller stopped, on any controller.
//!
//! A caller begins with `Watch` without `from`, which answers at once where to go on, then lists,
//! then watches from there. It is a long poll: an answer comes as soon as there are changes, or
//! without any when patience ends. If `forgotten` is true, the caller must list again.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::history::Mark;
use super::leases::{LeaseItem, Named, not_valid, seen};
use super::outcome::seconds;
use super::session::Caller;
use super::{Handler, PAGE_MAX, Watch};
use crate::rpc::{self, Error, Request, code};

#[derive(Deserialize)]
struct Params {
    #[serde(default)]
    namespace: Option<String>,
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    from: Option<Mark>,
    /// In seconds; the controller's own patience bounds it.
    #[serde(default)]
    patience: Option<f64>,
}

/// `Watch`.
pub(super) async fn watch<H: Handler>(caller: &Caller<'_, H>, request: &Request) -> rpc::Outcome {
    let Params { namespace, model, from, patience } = request.given()?;
    let model = seen(caller, model)?;
    let most = caller.config.patience;
    let patience = match patience {
        None => most,
        Some(seconds) => Duration::try_from_secs_f64(seconds)
            .map_err(|_| not_valid("patience", "a number of seconds from 0 up"))?
            .min(most),
    };
    let watch = Watch { namespace, model, from, most: PAGE_MAX, patience };
    let no_leader = || Error::new("no leader could be asked", code::NOT_LEADER);
    let changed = caller.handler.changes(watch).await.ok_or_else(no_leader)?;
    let leases = changed.leases.into_iter().map(|(key, lease)| match lease {
        Some(lease) => json!(LeaseItem::from((key, lease))),
        None => json!(Named::from(key)),
    });
    Ok(json!({
        "now": seconds(changed.now),
        // Those that are held with their holders, those that are free with their names alone.
        "leases": leases.collect::<Vec<Value>>(),
        "next": changed.next,
        "forgotten": changed.forgotten,
    }))
}
