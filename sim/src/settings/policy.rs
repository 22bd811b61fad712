//! The failed designs of the documents, each behind a knob.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Controllers, Engine, Feature};

/// Knobs that switch one of the documents' failed designs on, for `negative/` alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Policy {
    /// Whether agents wait longer each time that they fail (seed 000: "no backoff on accept
    /// failures"). Without it they come back within a millisecond.
    pub backoff: bool,
    /// Whether asks are refused once `waiting-max` wait (seed 002: "we can't shed the load").
    pub bounded_queue: bool,
    /// Whether agents try the controllers in a random order (seed 001: "the clients will target a
    /// single controller").
    pub shuffle: bool,
    /// Whether a controller lets nobody in beyond `connections-max`, or while memory is short (seed
    /// 001: "no hard limit on the number of client connections").
    pub ceiling: bool,
    /// Direct, with one door: what becomes of those who come before a controller is stable.
    pub strangers: Strangers,
    /// Whether an entry carries what waits (Juju's `batch-raft-fsm` did not fit the interface that
    /// it was to fill). Without it each carries one command.
    pub batches: bool,
    /// Direct: whether `raft-api-leases` means this project's machines. Without it, Juju's own way
    /// through the facades runs, with such of its mistakes as the knobs below leave in.
    pub our_transport: bool,
    /// The old way's: whether the op queue knows an extension, which may wait longer, by its kind
    /// (Juju looks at the lease's name).
    pub extend_deadline: bool,
    /// The old way's: whether "denied" is told only to who is (Juju tells it to whoever was dropped
    /// or took too long, though the claim may be done).
    pub definite_denials: bool,
    /// The old way's: whether retries wait from the end of an attempt and stay within a share of
    /// first tries (Juju's wait from its start, so after 5 s not at all).
    pub retry_budget: bool,
    /// Direct: whether who is responsible counts its lease from the asking (seed 003: "only sets the
    /// flag if it is the current lease holder"). Without it, from the answer.
    pub counts_from_asking: bool,
    /// Direct: whether a cluster grows smaller by its majority alone (seed 003: "reconfigures the
    /// cluster with the local node as the only member"). Without it, whoever sees no other
    /// controller does so by itself.
    pub majorities: bool,
    /// Whether what single workers work upon refuses an older fence than it has seen.
    pub fenced: bool,
    /// Direct, with a table `addresses`: whether nobody is ever told, and nobody writes, that
    /// controllers are nowhere. Without it a controller is told of by its addresses in
    /// `juju-mgmt-space` alone, and agents write what they are told (LP 1888453).
    pub keeps_lists: bool,
}

/// What the one door does with those who come before a controller is connected to itself and knows a
/// leader: seed 000 tried it all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Strangers {
    /// They wait in the backlog for a permit, as everybody does.
    Wait,
    /// Accept returns an error for each that is no controller ("First attempt with that was to close
    /// the connection and return an error instead"), and the server backs off.
    Error,
    /// Each that is no controller is accepted and closed ("Second attempt was to return the
    /// connection but close it first").
    Close,
    /// All are turned away but the controller itself ("an Accept that rejects everything that isn't
    /// local until we get a local connection").
    Reject,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            backoff: true,
            bounded_queue: true,
            shuffle: true,
            ceiling: true,
            strangers: Strangers::Wait,
            batches: true,
            our_transport: true,
            extend_deadline: true,
            definite_denials: true,
            retry_budget: true,
            counts_from_asking: true,
            majorities: true,
            fenced: true,
            keeps_lists: true,
        }
    }
}

impl Policy {
    /// Whether leases go the old way.
    pub fn old_way(&self, controllers: &Controllers) -> bool {
        !controllers.features.contains(&Feature::RaftApiLeases) || !self.our_transport
    }

    /// Whether an engine knows the way that leases go, and the knobs turn anything there.
    pub fn fits(&self, controllers: &Controllers, engine: Engine) -> Result<(), &'static str> {
        let mended = self.extend_deadline && self.definite_denials && self.retry_budget;
        let waits = self.strangers == Strangers::Wait;
        let one_door = !controllers.has_controller_door() && !controllers.holds();
        if !waits && (!one_door || engine != Engine::Direct) {
            return Err("`strangers` need the one door of `direct`");
        }
        if !(self.counts_from_asking && self.majorities) && engine != Engine::Direct {
            return Err("`counts-from-asking` and `majorities` are knobs of `direct`");
        }
        match (self.old_way(controllers), engine) {
            (true, Engine::Turmoil | Engine::Madsim) => {
                Err("`direct` alone knows the old way for leases")
            }
            (false, _) if !mended => Err("this knob needs `our-transport = false`"),
            (true, Engine::Direct) | (false, _) => Ok(()),
        }
    }
}
