//! What a plan's line can say: the faults and the workloads, and on whom.
//!
//! One vocabulary for scenario files (TOML) and plans (text).

mod role;
mod text;

use std::time::Duration;

use portcullis_core::NodeId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::addresses::{Hosts, Written};
use crate::clock::DRIFT_MAX;
use crate::disk::Touch;
use crate::scenario::runs;
use crate::settings::{Bytes, Engine, Span};
pub use role::{Group, Role};
pub use text::{Second, seconds};

/// What is done to the world.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Action {
    /// The process dies as by `kill -9`; the host drops its connections. It starts again at the
    /// end.
    Crash { node: Role },
    /// The process dies and starts again at once.
    Restart { node: Role },
    /// The process is told to stop, as by a service manager: it gives up its role and sends its
    /// agents elsewhere. It starts again at the end.
    Stop { node: Role },
    /// Every controller, one after the other, is told to stop and starts again after `down`. The next
    /// one's turn comes once the one before lets agents in; those that have had none when the faults
    /// end get none.
    Redeploy {
        /// In which order; those that are named twice go twice.
        nodes: Group,
        #[serde(with = "Span")]
        down: Duration,
    },
    /// Direct: the process is stopped by its kernel (`SIGSTOP`, a stopped virtual machine), and goes
    /// on at the end: it does nothing, and nothing of its is closed.
    Pause { node: Role },
    /// A controller that was not there joins the cluster.
    Join { node: Role },
    /// A controller leaves the cluster for ever. Its process runs on until it knows.
    Remove { node: Role },
    /// Direct: the operator switches the controller port on or off, with everything running.
    ControllerPort { node: Role, on: bool },
    /// Direct: somebody writes the file that says where the controller door is to be bound: hosts, or
    /// `garbled`, or `gone`. A host becomes one of the controller's.
    BindFile { node: Role, says: Written },
    /// Direct: the controller has these hosts, such as `10.0.0.1@mgmt` in the space `mgmt`, and every
    /// controller is told so by its operator. Nobody answers at those that it had before.
    ApiAddresses { node: Role, are: Hosts },
    /// Direct: the controller cannot reach itself.
    LoseItself { node: Role },
    /// What is sent is lost, and so are the connections; `one-way`, only from `from` to `to`.
    Partition {
        from: Group,
        to: Group,
        #[serde(default, rename = "one-way")]
        one_way: bool,
    },
    /// What is sent waits, both ways, and is delivered at the end.
    Hold { from: Group, to: Group },
    /// Every message takes this much longer, both ways.
    SlowLink {
        from: Group,
        to: Group,
        #[serde(with = "Span")]
        by: Duration,
    },
    /// Direct: every write that must be durable takes this much longer.
    SlowDisk {
        node: Role,
        #[serde(with = "Span")]
        by: Duration,
    },
    /// The disk has no room: every write fails. The process that meets that ends, and its service
    /// manager starts it again and again.
    DiskFull { node: Role },
    /// The next write or sync of the disk fails, once. The process that meets that ends, and its
    /// service manager starts it again.
    IoError { node: Role, at: Touch },
    /// The clock of `who` (all agents have one) runs fast by so many millionths; slow, if negative. The
    /// next process starts at `offset` on it; zero is as usual.
    Clock {
        who: Role,
        drift: i32,
        #[serde(default, with = "Span")]
        offset: Duration,
    },
    /// Every agent drops its connection and returns.
    Herd,
    /// Every agent's process dies and starts again at once, without anything that it knew.
    RestartAgents,
    /// Direct: processes are killed at this much memory instead.
    OomLimit { memory: Bytes },
    /// Claims beyond those of the agents.
    #[serde(skip)]
    Claims(Claims),
}

/// A burst of claims, from clients that may take them back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Claims {
    /// How many in all.
    pub count: u32,
    /// How many at once, each on a connection of its own.
    pub concurrency: u32,
    /// How long each waits for its answer.
    #[serde(with = "Span")]
    pub patience: Duration,
    /// How many of a hundred are taken back while they wait.
    pub cancel_percent: u32,
    /// Turmoil and madsim: how many of a hundred leases are pinned by the client that they were
    /// granted to, until half a minute after its last claim.
    #[serde(default)]
    pub pin_percent: u32,
}

impl Claims {
    /// Whether an engine can make these claims; if not, why.
    pub fn fits(&self, engine: Engine) -> Result<(), &'static str> {
        if self.concurrency == 0 || self.cancel_percent.max(self.pin_percent) > 100 {
            return Err("claims need a concurrency above zero and at most 100 percent");
        }
        match engine {
            Engine::Direct if self.pin_percent > 0 => Err("on `direct` nobody pins a lease"),
            Engine::Direct | Engine::Turmoil | Engine::Madsim => Ok(()),
        }
    }
}

impl Action {
    /// Whether it goes on for a while, and so can have an end.
    pub fn lasts(&self) -> bool {
        match self {
            Action::Crash { .. }
            | Action::Stop { .. }
            | Action::Pause { .. }
            | Action::LoseItself { .. }
            | Action::Partition { .. }
            | Action::Hold { .. }
            | Action::SlowLink { .. }
            | Action::SlowDisk { .. }
            | Action::DiskFull { .. }
            | Action::Clock { .. }
            | Action::OomLimit { .. } => true,
            Action::Restart { .. }
            | Action::Redeploy { .. }
            | Action::Join { .. }
            | Action::Remove { .. }
            | Action::ControllerPort { .. }
            | Action::BindFile { .. }
            | Action::ApiAddresses { .. }
            | Action::IoError { .. }
            | Action::Herd
            | Action::RestartAgents
            | Action::Claims(_) => false,
        }
    }

    /// Whether it is about where controllers are.
    pub fn moves_controllers(&self) -> bool {
        matches!(self, Action::BindFile { .. } | Action::ApiAddresses { .. })
    }

    /// Whether it is about who belongs to the cluster.
    pub fn changes_members(&self) -> bool {
        match self {
            Action::Join { .. } | Action::Remove { .. } => true,
            Action::Crash { .. }
            | Action::Restart { .. }
            | Action::Stop { .. }
            | Action::Redeploy { .. }
            | Action::Pause { .. }
            | Action::ControllerPort { .. }
            | Action::BindFile { .. }
            | Action::ApiAddresses { .. }
            | Action::LoseItself { .. }
            | Action::Partition { .. }
            | Action::Hold { .. }
            | Action::SlowLink { .. }
            | Action::SlowDisk { .. }
            | Action::DiskFull { .. }
            | Action::IoError { .. }
            | Action::Clock { .. }
            | Action::Herd
            | Action::RestartAgents
            | Action::OomLimit { .. }
            | Action::Claims(_) => false,
        }
    }

    /// Whether it makes sense among this many controllers; if not, why.
    pub fn fits(&self, controllers: u64) -> Result<(), String> {
        let known = |role: &Role| match role {
            Role::Controller(node) if node.0 == 0 || node.0 > controllers => Err(format!(
                "there is no {node}: they are controller-1 to controller-{controllers}"
            )),
            Role::Controller(_)
            | Role::Leader
            | Role::Holder
            | Role::Random
            | Role::All
            | Role::Others
            | Role::Agents => Ok(()),
        };
        match self {
            Action::Crash { node }
            | Action::Restart { node }
            | Action::Stop { node }
            | Action::Pause { node }
            | Action::Join { node }
            | Action::Remove { node }
            | Action::ControllerPort { node, .. }
            | Action::BindFile { node, .. }
            | Action::ApiAddresses { node, .. }
            | Action::LoseItself { node }
            | Action::SlowDisk { node, .. }
            | Action::DiskFull { node }
            | Action::IoError { node, .. } => {
                if !runs(node) {
                    return Err(format!("`{node}` is no controller"));
                }
                known(node)
            }
            Action::Partition { from, to, .. }
            | Action::Hold { from, to }
            | Action::SlowLink { from, to, .. } => {
                if from.0.contains(&Role::Others) && to.0.contains(&Role::Others) {
                    return Err("one of the two sides must say who the others are not".into());
                }
                from.0.iter().chain(&to.0).try_for_each(known)
            }
            Action::Redeploy { nodes, .. } => match nodes.0.iter().find(|node| !runs(node)) {
                Some(node) => Err(format!("`{node}` is no controller")),
                None => nodes.0.iter().try_for_each(known),
            },
            Action::Clock { drift, .. } if drift.unsigned_abs() > DRIFT_MAX => {
                Err(format!("no clock drifts by more than {DRIFT_MAX} millionths"))
            }
            Action::Clock { who: Role::Others, .. } => Err("`others` than whom?".into()),
            Action::Clock { who, .. } => known(who),
            Action::Herd | Action::RestartAgents | Action::OomLimit { .. } | Action::Claims(_) => {
                Ok(())
            }
        }
    }

    /// Fills the roles that are drawn when the plan is.
    pub fn cast(mut self, mut draw: impl FnMut() -> NodeId) -> Action {
        let mut fill = |role: &mut Role| {
            if *role == Role::Random {
                *role = Role::Controller(draw());
            }
        };
        match &mut self {
            Action::Crash { node }
            | Action::Restart { node }
            | Action::Stop { node }
            | Action::Pause { node }
            | Action::Join { node }
            | Action::Remove { node }
            | Action::ControllerPort { node, .. }
            | Action::BindFile { node, .. }
            | Action::ApiAddresses { node, .. }
            | Action::LoseItself { node }
            | Action::SlowDisk { node, .. }
            | Action::DiskFull { node }
            | Action::IoError { node, .. } => fill(node),
            Action::Partition { from, to, .. }
            | Action::Hold { from, to }
            | Action::SlowLink { from, to, .. } => {
                from.0.iter_mut().chain(&mut to.0).for_each(fill);
            }
            Action::Redeploy { nodes, .. } => nodes.0.iter_mut().for_each(fill),
            Action::Clock { who, .. } => fill(who),
            Action::Herd | Action::RestartAgents | Action::OomLimit { .. } | Action::Claims(_) => {}
        }
        self
    }
}
