//! What the hosts of a run share: its history and their disks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use portcullis::env::Fact;
use portcullis_core::Time;

use crate::disk::Disk;
use crate::history::{Event, History, Who};
use crate::singular::{Single, What, Worker};
use crate::stage::Parts;

/// The disks of one host, by file name; they outlive its processes.
pub type Disks = Arc<Mutex<BTreeMap<String, Disk>>>;

/// Opens what the hosts of a run share. One thread runs them all, so it is never contended.
pub fn locked<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic ends the process (see main), so nobody meets a poisoned lock.
    shared.lock().expect("no holder of the lock panics")
}

/// The history that all hosts write, and the time they write it under.
///
/// Who turns it says which time that is; it never goes back. On turmoil the hosts take turns at
/// every tick, each with a clock of its own, and what they write down is the time at which the tick
/// began; on madsim one clock serves all, and each event turns to its own time.
#[derive(Clone)]
pub struct Book(Arc<Mutex<Pages>>);

struct Pages {
    now: Time,
    ended: bool,
    /// None once the book is closed.
    history: Option<History>,
}

impl Book {
    pub fn new(history: History) -> Book {
        Book(Arc::new(Mutex::new(Pages { now: Time(0), ended: false, history: Some(history) })))
    }

    /// Turns to this time.
    pub fn turn(&self, now: Time) {
        let mut pages = locked(&self.0);
        pages.now = now;
        if let Some(log) = pages.history.as_ref().and_then(History::log) {
            log.turn(now);
        }
    }

    /// Whoever says something between two events asks this for the time.
    pub fn ask(&self, clock: impl Fn() -> Time + Send + 'static) {
        if let Some(log) = locked(&self.0).history.as_ref().and_then(History::log) {
            log.ask(clock);
        }
    }

    /// The time that was turned to.
    pub fn now(&self) -> Time {
        locked(&self.0).now
    }

    /// Who has which part.
    pub fn parts(&self) -> Parts {
        locked(&self.0).history.as_ref().map(History::parts).unwrap_or_default()
    }

    /// Writes down what has happened.
    pub fn record(&self, who: Who, event: Event<'_>) {
        let mut pages = locked(&self.0);
        let now = pages.now;
        let ended = pages.ended;
        // What hosts do while they are cleared away is no part of the run.
        if let Some(history) = pages.history.as_mut().filter(|_| !ended) {
            history.record(now, who, event);
        }
    }

    /// Writes down what a machine of a host was told or ordered.
    pub fn saw(&self, who: Who, fact: Fact<'_>) {
        let event = match fact {
            Fact::ControllerTold(input) => Event::Told(input),
            Fact::ControllerOrdered(output) => Event::Ordered(output),
            Fact::Applied { index, entry, applied } => Event::Applied { index, entry, applied },
            Fact::Cluster(affair) => Event::Cluster(affair),
            Fact::AgentTold(input) => Event::AgentTold(input),
            Fact::AgentOrdered(output) => Event::AgentOrdered(output),
            Fact::SingularTold { lease, input } => match Worker::of(lease) {
                Some(worker) => Event::Singular(Single { worker, what: What::Told(input) }),
                None => return,
            },
            Fact::SingularOrdered { lease, output } => match Worker::of(lease) {
                Some(worker) => Event::Singular(Single { worker, what: What::Ordered(output) }),
                None => return,
            },
            // No scenario has a front among its hosts.
            Fact::FrontTold(_) | Fact::FrontOrdered(_) => return,
        };
        self.record(who, event);
    }

    /// Takes no more note of what happens: the run has ended, though hosts may yet have a turn.
    pub fn end(&self) {
        locked(&self.0).ended = true;
    }

    /// Whether the run is over.
    pub fn over(&self) -> bool {
        let mut pages = locked(&self.0);
        let now = pages.now;
        pages.history.as_mut().is_none_or(|history| history.over(now))
    }

    /// Takes the history out; whatever is written afterwards is lost. None if somebody has it.
    pub fn close(&self) -> Option<History> {
        locked(&self.0).history.take()
    }
}
