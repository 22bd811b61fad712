//! What a scenario says of the workers that run on one controller alone, and what they work upon.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use portcullis_core::lease::{Key, SINGULAR_CONTROLLER};
use portcullis_core::{NodeId, singular};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::engine::configuration::MODEL;
use crate::plan::Plan;
use crate::settings::{Engine, Span};

/// From a worker's look at its flag to what it writes under it.
pub const THINKS: Duration = Duration::from_millis(10);

/// Every controller strives to run each of so many workers. Without this table there are none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Singular {
    /// They are `worker-1` up to this, each with a lease of its own.
    pub workers: u32,
    /// How long a lease is for.
    #[serde(with = "Span")]
    pub duration: Duration,
    /// How long before a lease may be over its worker stops.
    #[serde(with = "Span")]
    pub stop_within: Duration,
    /// From one step of a worker to the next.
    #[serde(with = "Span")]
    pub step_every: Duration,
}

impl Default for Singular {
    /// As production has them; a step is what a worker that polls a cloud does.
    fn default() -> Singular {
        let duration = singular::DURATION;
        let stop_within = duration / 6;
        Singular { workers: 1, duration, stop_within, step_every: Duration::from_secs(1) }
    }
}

impl Singular {
    /// Whether an engine can have it; if not, why.
    pub fn fits(&self, engine: Engine) -> Result<(), &'static str> {
        let usual = Singular::default();
        let timed = |one: &Singular| (one.duration, one.stop_within);
        if self.workers == 0 {
            return Err("without a worker there is nothing to be responsible for");
        }
        if self.step_every.is_zero() {
            return Err("a worker that steps every 0s never does anything else");
        }
        if let Some(fault) = self.config(NodeId(1), Worker(1)).fault() {
            return Err(fault);
        }
        match engine {
            Engine::Turmoil | Engine::Madsim if timed(self) != timed(&usual) => {
                Err("`direct` alone has another `duration` and `stop-within` than production")
            }
            Engine::Turmoil | Engine::Madsim | Engine::Direct => Ok(()),
        }
    }

    /// What a controller's machine for this worker is told of leases.
    pub fn config(&self, node: NodeId, worker: Worker) -> singular::Config {
        let lease = worker.to_string();
        let key = Key::new(SINGULAR_CONTROLLER, MODEL, &lease);
        let holder = node.to_string().as_str().into();
        let config = singular::Config::new(key, holder, self.duration);
        singular::Config { stop_within: self.stop_within, ..config }
    }
}

/// The workers of a plan, in order.
pub fn workers(plan: &Plan) -> impl Iterator<Item = Worker> + use<> {
    let workers = plan.settings.singular.as_ref().map_or(0, |set| set.workers);
    (1..=workers).map(Worker)
}

/// A worker, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Worker(pub u32);

impl fmt::Display for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker-{}", self.0)
    }
}

impl Worker {
    /// The worker whose lease goes by this name.
    pub fn of(lease: &str) -> Option<Worker> {
        lease.strip_prefix("worker-")?.parse().ok().map(Worker)
    }
}

/// One thing that happened to what strives to run a worker, or to the worker.
#[derive(Clone, Copy, Debug)]
pub struct Single<'a> {
    pub worker: Worker,
    pub what: What<'a>,
}

/// What happened.
#[derive(Clone, Copy, Debug)]
pub enum What<'a> {
    /// The flag's machine was told.
    Told(&'a singular::Input),
    /// The flag's machine gave an order.
    Ordered(&'a singular::Output),
    /// The worker, having looked at its flag, began a step under this fence.
    Began { fence: u64 },
    /// What a step wrote has come to what the workers work upon, which has taken it or refused it
    /// for its fence.
    Wrote { by: NodeId, fence: u64, taken: bool },
}

impl fmt::Display for Single<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let worker = self.worker;
        match self.what {
            What::Told(input) => write!(f, "< {worker}: {input}"),
            What::Ordered(output) => write!(f, "> {worker}: {output}"),
            What::Began { fence } => write!(f, "= {worker} begins a step, fence {fence}"),
            What::Wrote { by, fence, taken: true } => {
                write!(f, "= {worker} at {by} has written, fence {fence}")
            }
            What::Wrote { by, fence, taken: false } => {
                write!(f, "= {worker} at {by} is refused, fence {fence}")
            }
        }
    }
}

/// What the workers work upon, such as a cloud: it remembers the highest fence that it has seen, and
/// refuses what comes under an older one.
#[derive(Debug)]
pub struct Resource {
    fenced: bool,
    highest: BTreeMap<Worker, u64>,
}

impl Resource {
    /// Nothing was written.
    pub fn new(plan: &Plan) -> Resource {
        Resource { fenced: plan.settings.policy.fenced, highest: BTreeMap::new() }
    }

    /// Whether it takes what comes under this fence.
    pub fn write(&mut self, worker: Worker, fence: u64) -> bool {
        let highest = self.highest.entry(worker).or_default();
        let taken = fence >= *highest || !self.fenced;
        *highest = fence.max(*highest);
        taken
    }
}
