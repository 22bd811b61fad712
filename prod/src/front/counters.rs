//! What a front has done since it started, for whoever exports or prints it.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts since the front started. They only grow.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections that were let in.
    pub accepted: AtomicU64,
    /// Those of them that have reached a backend.
    pub joined: AtomicU64,
    /// Those that were refused after they were let in, because no backend turned up within `hold`.
    pub refused_held: AtomicU64,
    /// Because `tries_max` backends could not be reached.
    pub refused_tried: AtomicU64,
    /// Because the front stopped.
    pub refused_stopping: AtomicU64,
    /// Attempts to reach a backend that failed; one connection can have several.
    pub missed: AtomicU64,
    /// Those that were hung up because their backend, or the front, had to go.
    pub hung_up: AtomicU64,
    /// Accepts that failed, such as for want of files.
    pub accepts_failed: AtomicU64,
    /// Probes that found their backend healthy.
    pub probes_healthy: AtomicU64,
    /// Probes that did not.
    pub probes_unhealthy: AtomicU64,
    /// Bytes from clients to backends, what the front adds included.
    pub bytes_up: AtomicU64,
    /// Bytes from backends to clients.
    pub bytes_down: AtomicU64,
}

impl Counters {
    /// Each count by its name.
    pub fn all(&self) -> [(&'static str, u64); 12] {
        [
            ("accepted", &self.accepted),
            ("joined", &self.joined),
            ("refused-held", &self.refused_held),
            ("refused-tried", &self.refused_tried),
            ("refused-stopping", &self.refused_stopping),
            ("missed", &self.missed),
            ("hung-up", &self.hung_up),
            ("accepts-failed", &self.accepts_failed),
            ("probes-healthy", &self.probes_healthy),
            ("probes-unhealthy", &self.probes_unhealthy),
            ("bytes-up", &self.bytes_up),
            ("bytes-down", &self.bytes_down),
        ]
        .map(|(name, count)| (name, count.load(Ordering::Relaxed)))
    }
}

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut all = self.all().into_iter();
        all.try_for_each(|(name, count)| write!(f, " {name}={count}"))
    }
}

/// One more.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
