//! `NotifyWatcher` and `AllWatcher`: how Juju's clients wait for changes.
//!
//! A watcher lives as long as its connection, or until it is stopped. The first `Next` is answered
//! at once and the rest when something changes. What there is to watch stays the same while a
//! controller runs, so all that can come after the first is the end.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::Handler;
use super::session::Caller;
use crate::metrics::Limit;
use crate::rpc::{self, Error, Request, code};

/// What a watcher watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Watched {
    /// Where controllers are.
    Addresses,
    /// All that a model consists of.
    Model,
}

/// The watchers of one connection.
#[derive(Debug, Default)]
pub(super) struct Watchers(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    /// How many there have been; the last one's number.
    made: u64,
    watchers: BTreeMap<u64, Watcher>,
}

#[derive(Debug)]
struct Watcher {
    watched: Watched,
    /// Whether the first `Next` was answered.
    told: bool,
    stopped: CancellationToken,
}

impl<H: Handler> Caller<'_, H> {
    /// Makes a watcher, and answers with its name.
    pub(super) fn watch(&self, watched: Watched) -> rpc::Outcome {
        let mut open = self.watchers.locked();
        if open.watchers.len() >= self.config.watchers_max {
            self.handler.metrics().refused(Limit::Watchers);
            return Err(Error::new("too many watchers", code::QUOTA));
        }
        open.made += 1;
        let (made, stopped) = (open.made, CancellationToken::new());
        open.watchers.insert(made, Watcher { watched, told: false, stopped });
        self.handler.metrics().most(Limit::Watchers, open.watchers.len());
        Ok(json!({ "watcher-id": made.to_string() }))
    }

    /// `Next`: returns when there is something to tell.
    pub(super) async fn next(&self, watched: Watched, request: &Request) -> Result<(), Error> {
        let stopped = {
            let mut open = self.watchers.locked();
            let watcher = number(&request.id).and_then(|id| open.watchers.get_mut(&id));
            let watcher = watcher.filter(|watcher| watcher.watched == watched);
            let watcher = watcher.ok_or_else(unknown_watcher)?;
            if !watcher.told {
                watcher.told = true;
                return Ok(());
            }
            watcher.stopped.clone()
        };
        stopped.cancelled().await;
        Err(Error::new("watcher has been stopped", code::STOPPED))
    }

    /// `Stop`: ends whatever waits in `next`.
    pub(super) fn stop(&self, watched: Watched, request: &Request) -> rpc::Outcome {
        let mut open = self.watchers.locked();
        let of_kind = |id: &u64| open.watchers.get(id).is_some_and(|one| one.watched == watched);
        let id = number(&request.id).filter(of_kind).ok_or_else(unknown_watcher)?;
        if let Some(watcher) = open.watchers.remove(&id) {
            watcher.stopped.cancel();
        }
        Ok(json!({}))
    }
}

impl Watchers {
    fn locked(&self) -> MutexGuard<'_, Open> {
        // Nothing panics under the lock.
        self.0.lock().expect("the lock is never poisoned")
    }
}

fn number(id: &str) -> Option<u64> {
    id.parse().ok()
}

fn unknown_watcher() -> Error {
    Error::new("unknown watcher id", code::NOT_FOUND)
}
