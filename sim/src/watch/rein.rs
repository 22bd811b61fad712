//! The rein: what a run and whoever watches it share.
//!
//! ```text
//! run ── pull: a view is wanted, or it may not go on yet ──▶ show ──▶ taken by the screen
//!     ◀──────────── loosen: go on until then ─────────────────────
//! ```

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use portcullis_core::Time;

use super::view::View;

/// A rein; clones are the same.
#[derive(Clone)]
pub struct Rein(Arc<Shared>);

struct Shared {
    /// How far the run may go, in microseconds.
    until: AtomicU64,
    /// How far it has come when it was looked at last.
    reached: AtomicU64,
    wanted: AtomicBool,
    desk: Mutex<Desk>,
    changed: Condvar,
}

#[derive(Default)]
struct Desk {
    view: Option<View>,
    /// What the run came to, once it is over.
    verdict: Option<String>,
}

impl Rein {
    /// One that lets a run go so far.
    pub fn new(until: Time) -> Rein {
        Rein(Arc::new(Shared {
            until: AtomicU64::new(until.0),
            reached: AtomicU64::new(0),
            wanted: AtomicBool::new(true),
            desk: Mutex::default(),
            changed: Condvar::new(),
        }))
    }

    /// How far the run may go.
    pub fn until(&self) -> Time {
        Time(self.0.until.load(Ordering::Relaxed))
    }

    /// Lets it go so far.
    pub fn loosen(&self, until: Time) {
        let desk = self.desk();
        self.0.until.store(until.0, Ordering::Relaxed);
        drop(desk);
        self.0.changed.notify_all();
    }

    /// How far the run has come when it was looked at last.
    pub fn reached(&self) -> Time {
        Time(self.0.reached.load(Ordering::Relaxed))
    }

    /// The run has come so far.
    pub fn reach(&self, at: Time) {
        self.0.reached.store(at.0, Ordering::Relaxed);
    }

    /// Whether a run that comes to this time must show itself first.
    pub fn pulls(&self, at: Time) -> bool {
        self.until() < at || self.0.wanted.load(Ordering::Relaxed)
    }

    /// Shows what the run is like, and then stands still until it may go on to this time, or
    /// another view is wanted.
    pub fn show(&self, at: Time, view: View) {
        let mut desk = self.desk();
        self.reach(view.at);
        desk.view = Some(view);
        self.0.wanted.store(false, Ordering::Relaxed);
        while !self.pulls_on(at) {
            desk = self.0.changed.wait(desk).expect("no holder of the lock panics");
        }
    }

    fn pulls_on(&self, at: Time) -> bool {
        self.until() >= at || self.0.wanted.load(Ordering::Relaxed)
    }

    /// Wants a view, and takes the last that there is.
    pub fn take(&self) -> Option<View> {
        let mut desk = self.desk();
        let view = desk.view.take();
        self.0.wanted.store(true, Ordering::Relaxed);
        drop(desk);
        self.0.changed.notify_all();
        view
    }

    /// The run is over, and came to this.
    pub fn close(&self, verdict: String) {
        self.desk().verdict = Some(verdict);
    }

    /// What it came to, once it is over.
    pub fn verdict(&self) -> Option<String> {
        self.desk().verdict.clone()
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        // A panic of the run ends the process before the lock is poisoned.
        self.0.desk.lock().expect("no holder of the lock panics")
    }
}
