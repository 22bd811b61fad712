//! What keeps a store from growing: snapshots in time, and a log that ends behind them.
//!
//! openraft takes a snapshot every so many entries, and keeps so many behind it. Entries differ in
//! length by a factor of a thousand, so here their bytes are bounded as well.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use portcullis_core::Time;
use tracing::{debug, warn};

use super::Serve;
use crate::env::Env;
use crate::metrics::{Limit, Sheet};
use crate::raft;

/// Time from one look at the log to the next: what a disk writes in it comes on top of the bounds.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(1);

/// Looks after the log until the controller closes.
pub async fn bound<E: Env>(serve: Arc<Serve<E>>, config: raft::Config) {
    let mut known = None;
    loop {
        serve.env.sleep_until(serve.env.now() + LOOKED_AT_EVERY).await;
        let snapshot = serve.raft.metrics().borrow_watched().snapshot.map(|last| last.index);
        if snapshot != known {
            known = snapshot;
            serve.snapshot_since.store(serve.env.now().0, Ordering::Relaxed);
        }
        // Before the first snapshot the log begins at 0, which is raft's own.
        let since = serve.store.bytes_after(snapshot.unwrap_or_default());
        if since > config.snapshot_bytes {
            debug!(bytes = since, "the log has grown: a snapshot is taken");
            // Refused only when raft has stopped. One that is being taken is not taken twice.
            let _ = serve.raft.trigger().snapshot().await;
        }
        let beyond = serve.store.beyond(since.saturating_add(config.kept_bytes));
        if let Some(upto) = beyond.min(snapshot) {
            debug!(upto, "the log behind the snapshot is long: its beginning goes");
            let _ = serve.raft.trigger().purge_log(upto).await;
        }
    }
}

impl<E: Env> Serve<E> {
    /// How much the store holds.
    pub(super) fn growth(&self, sheet: &mut Sheet) {
        let (size, snapshot) = match (self.store.size(), self.store.snapshot_len()) {
            (Ok(size), Ok(snapshot)) => (size, snapshot),
            (Err(error), _) | (_, Err(error)) => {
                warn!(%error, "nobody can say how large the store is");
                return;
            }
        };
        self.metrics.used(Limit::LogEntries, size.entries);
        self.metrics.used(Limit::LogBytes, size.bytes);
        sheet.gauge(
            "portcullis_store_bytes",
            "Bytes of the raft store's file, with the room that it keeps for what comes",
            size.file as f64,
        );
        sheet.gauge(
            "portcullis_snapshot_bytes",
            "Bytes of the snapshot of the tables that is kept; 0 before there is one",
            snapshot.unwrap_or_default() as f64,
        );
        let since = Time(self.snapshot_since.load(Ordering::Relaxed));
        sheet.gauge(
            "portcullis_snapshot_age_seconds",
            "Time since this process first had the snapshot that is kept, or since its start",
            self.env.now().since(since).as_secs_f64(),
        );
    }

    /// Returns once the log cannot be written or read any more, with the reason. Nothing that is
    /// asked is done from then on, and nothing that was acknowledged is lost.
    pub(super) async fn failed(&self) -> String {
        let mut metrics = self.raft.metrics();
        loop {
            if let Err(fatal) = &metrics.borrow_watched().running_state
                && !self.closing.is_cancelled()
            {
                return fatal.to_string();
            }
            if metrics.changed().await.is_err() {
                // It closes for another reason.
                std::future::pending::<()>().await;
            }
        }
    }
}
