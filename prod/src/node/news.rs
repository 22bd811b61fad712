//! What the lease table has applied, on its way to the machine.
//!
//! The table must not wait, so whatever it says is gathered here and delivered by a task, one log
//! entry after the other. If more entries are gathered than [`ENTRIES_MAX`], they are forgotten and
//! the machine is told to look for itself, as after a snapshot. Whoever watches leases is served
//! from a history of what changed.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard};

use portcullis_core::controller::Input;
use portcullis_core::lease::Key;
use tokio::sync::{Notify, watch};

use super::Serve;
use crate::api::{Found, History, Mark, Watch};
use crate::env::{Affair, Env, Fact};
use crate::metrics::Metrics;
use crate::raft::Observed;

/// Most log entries that wait to be told one by one.
pub const ENTRIES_MAX: usize = 4_096;

/// What has been applied since the last delivery.
#[derive(Debug, Default)]
struct Gathered {
    /// The last entry.
    index: u64,
    /// The entries that released something, with what they released.
    entries: Vec<(u64, Vec<Key>)>,
    /// Whether there is more than the entries tell.
    restored: bool,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct News {
    gathered: Arc<Mutex<Gathered>>,
    some: Arc<Notify>,
    history: Arc<Mutex<History>>,
    moved: watch::Sender<()>,
}

impl News {
    /// What the table calls for every entry that it applies.
    pub fn observer<E: Env>(
        &self,
        env: E,
        metrics: Arc<Metrics>,
    ) -> impl Fn(Observed<'_>) + Send + Sync + use<E> {
        let news = self.clone();
        move |observed| {
            news.remember(&observed);
            {
                let mut gathered = news.locked();
                match observed {
                    Observed::Applied { index, entry, applied } => {
                        env.saw(Fact::Applied { index, entry, applied });
                        metrics.applied(applied);
                        gathered.index = index;
                        if gathered.entries.len() >= ENTRIES_MAX {
                            gathered.entries.clear();
                            gathered.restored = true;
                        }
                        if !applied.released.is_empty() {
                            gathered.entries.push((index, applied.released.clone()));
                        }
                    }
                    Observed::Members { index, command, outcome } => {
                        env.saw(Fact::Cluster(Affair::Applied { index, command, outcome }));
                        gathered.index = index;
                    }
                    Observed::Formed { index, voters, before, learners } => {
                        let affair = Affair::Formed { index, voters, before, learners };
                        env.saw(Fact::Cluster(affair));
                    }
                    Observed::Restored { index } => {
                        gathered.index = index;
                        gathered.restored = true;
                    }
                }
            }
            news.some.notify_one();
        }
    }

    /// Tells the machine, for as long as it listens.
    pub async fn deliver<E: Env>(self, serve: Arc<Serve<E>>) {
        loop {
            self.some.notified().await;
            let Gathered { index, entries, restored } = mem::take(&mut *self.locked());
            if index == 0 {
                // Two pieces of news, one delivery: it was there with the first.
                continue;
            }
            for (index, released) in entries {
                serve.tell(Input::Applied { index, released }).await;
            }
            serve.tell(Input::Applied { index, released: Vec::new() }).await;
            if restored {
                serve.tell(Input::Restored { index }).await;
            }
        }
    }

    /// What has changed from the mark on, of what is watched.
    pub fn since(&self, from: Mark, watch: &Watch) -> Found {
        // Nothing panics under the lock.
        let history = self.history.lock().expect("the lock is never poisoned");
        history.since(from, |key| watch.wants(key), watch.most)
    }

    /// Tells of every piece of news from this call on.
    pub fn moves(&self) -> watch::Receiver<()> {
        self.moved.subscribe()
    }

    fn remember(&self, observed: &Observed<'_>) {
        {
            // Nothing panics under the lock.
            let mut history = self.history.lock().expect("the lock is never poisoned");
            match observed {
                Observed::Applied { index, entry, applied } => {
                    history.applied(*index, entry, applied);
                }
                Observed::Members { .. } | Observed::Formed { .. } => {}
                Observed::Restored { index } => history.restored(*index),
            }
        }
        self.moved.send_replace(());
    }

    fn locked(&self) -> MutexGuard<'_, Gathered> {
        // Nothing panics under the lock.
        self.gathered.lock().expect("the lock is never poisoned")
    }
}
