//! How many of which role are wanted, and how patient the leader is with those who have one.

use std::time::Duration;

use portcullis_core::members::{NAME_MAX, WANTED_MAX, Wanted};
use portcullis_core::{NodeId, roles};
use serde::Deserialize;

use super::check::Faults;
use super::duration;
use crate::node::members::Membership;

/// Who of the cluster's members has which role (seed 003). Every controller should have the same,
/// but for the failure domain.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Members {
    /// How many vote, the leader among them: odd, at most [`WANTED_MAX`], default 3. Counts when the
    /// cluster is founded; from then on the log says it.
    pub voters: u8,
    /// How many have the log without a vote, at most [`WANTED_MAX`], default 3 (Dqlite's). Counts
    /// when the cluster is founded.
    pub stand_bys: u8,
    /// What this controller shares the fate of, such as an availability zone: votes are spread over
    /// as many as there are. At most [`NAME_MAX`] bytes; empty, the default: nobody knows.
    pub failure_domain: String,
    /// Longest silence of a voter until a stand-by gets its vote, default `"15s"`: longer than a
    /// restart takes. Above `steady-min`.
    #[serde(with = "duration")]
    pub silent_max: Duration,
    /// How long a member is heard of without a break before it gets a role, default `"3s"`.
    #[serde(with = "duration")]
    pub steady_min: Duration,
}

impl Default for Members {
    fn default() -> Members {
        let roles::Config { silent_max, steady_min, .. } = roles::Config::new(NodeId(0));
        let Wanted { voters, stand_bys } = Wanted::default();
        Members { voters, stand_bys, failure_domain: String::new(), silent_max, steady_min }
    }
}

impl Members {
    /// In the words of the node.
    pub(super) fn membership(&self, node: NodeId) -> Membership {
        let Members { voters, stand_bys, silent_max, steady_min, .. } = *self;
        Membership {
            roles: roles::Config { silent_max, steady_min, ..roles::Config::new(node) },
            wanted: Wanted { voters, stand_bys },
            domain: self.failure_domain.as_str().into(),
        }
    }

    pub(super) fn check(&self, faults: &mut Faults) {
        let odd = self.voters % 2 == 1 && self.voters <= WANTED_MAX;
        let says = format!("must be odd, and at most {WANTED_MAX}");
        faults.check(odd, "members.voters", says.as_str());
        let says = format!("must be at most {WANTED_MAX}");
        faults.check(self.stand_bys <= WANTED_MAX, "members.stand-bys", says.as_str());
        let says = format!("must be at most {NAME_MAX} bytes");
        let short = self.failure_domain.len() <= NAME_MAX;
        faults.check(short, "members.failure-domain", says.as_str());
        let patient = self.silent_max > self.steady_min;
        faults.check(patient, "members.silent-max", "must be above members.steady-min");
    }
}
