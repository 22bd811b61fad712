//! `NotifyWatcher` and `AllWatcher`: how Juju's clients wait for changes.
//!
//! A watcher lives as long as its connection, or until it is stopped. The first `Next` is answered
//! at once and the rest when something changes: each change is told once by each watcher, and those
//! that nobody asked about in between are told as one, as in Juju.

use std::collections::BTreeMap;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::session::Caller;
use super::{Cluster, Handler};
use crate::metrics::Limit;
use crate::rpc::{self, Error, Request, code};

/// What a watcher watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Watched {
    /// Where controllers are.
    Addresses,
    /// All that a model consists of, which is nothing that changes.
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
    /// Locked by the `Next` that waits; others stand in line, so that a change is told once.
    told: Arc<tokio::sync::Mutex<Told>>,
    stopped: CancellationToken,
}

/// What a watcher has told of.
#[derive(Debug)]
struct Told {
    /// Whether nothing was asked yet.
    fresh: bool,
    /// What the last answer was about.
    last: Arc<Cluster>,
    news: watch::Receiver<Arc<Cluster>>,
}

impl Told {
    /// Returns when there is something that was not told.
    async fn next(&mut self, watched: Watched) {
        if mem::take(&mut self.fresh) {
            self.last = self.news.borrow_and_update().clone();
            return;
        }
        while self.news.changed().await.is_ok() {
            let cluster = self.news.borrow_and_update().clone();
            let before = mem::replace(&mut self.last, cluster);
            let changed = match watched {
                Watched::Addresses => {
                    (&before.servers, &before.space) != (&self.last.servers, &self.last.space)
                }
                Watched::Model => false,
            };
            if changed {
                return;
            }
        }
        // The controller is gone, and its connections go with it.
        std::future::pending().await
    }
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
        let news = self.handler.cluster();
        let told = Told { fresh: true, last: self.cluster(), news };
        let told = Arc::new(tokio::sync::Mutex::new(told));
        open.watchers.insert(made, Watcher { watched, told, stopped });
        self.handler.metrics().most(Limit::Watchers, open.watchers.len());
        Ok(json!({ "watcher-id": made.to_string() }))
    }

    /// `Next`: returns when there is something to tell.
    pub(super) async fn next(&self, watched: Watched, request: &Request) -> Result<(), Error> {
        let (told, stopped) = {
            let open = self.watchers.locked();
            let watcher = number(&request.id).and_then(|id| open.watchers.get(&id));
            let watcher = watcher.filter(|watcher| watcher.watched == watched);
            let watcher = watcher.ok_or_else(unknown_watcher)?;
            (Arc::clone(&watcher.told), watcher.stopped.clone())
        };
        tokio::select! {
            biased;
            () = stopped.cancelled() => {
                Err(Error::new("watcher has been stopped", code::STOPPED))
            }
            () = async { told.lock().await.next(watched).await } => Ok(()),
        }
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
