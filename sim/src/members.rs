//! What a scenario says of the cluster's members: who founds it, and how many of each role are wanted.

use std::time::Duration;

use portcullis_core::members::{Command, Member, READS, Wanted};
use portcullis_core::{Address, NodeId, roles};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::addresses;
use crate::plan::Plan;
use crate::settings::Span;

/// Without this table the members and their roles stay as they are in the beginning: all vote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Members {
    /// So many controllers found the cluster, the first ones; the others join it, in order. By
    /// default all found it.
    pub founders: u32,
    /// How many are to vote, the leader among them.
    pub voters: u8,
    /// How many are to have the log and no vote.
    pub stand_bys: u8,
    /// Longest silence of a voter until a stand-by gets its vote.
    #[serde(with = "Span")]
    pub silent_max: Duration,
    /// How long a member is heard of without a break before it gets a role.
    #[serde(with = "Span")]
    pub steady_min: Duration,
}

impl Default for Members {
    /// As production has them.
    fn default() -> Members {
        let roles::Config { silent_max, steady_min, .. } = roles::Config::new(NodeId(0));
        let Wanted { voters, stand_bys } = Wanted::default();
        Members { founders: u32::MAX, voters, stand_bys, silent_max, steady_min }
    }
}

impl Members {
    /// Whether a controller is there from the beginning.
    pub fn founds(&self, node: NodeId) -> bool {
        node.0 <= self.founders.into()
    }

    /// How many of each role are wanted.
    pub fn wanted(&self) -> Wanted {
        Wanted { voters: self.voters, stand_bys: self.stand_bys }
    }

    /// Limits of the machine that gives out roles.
    pub fn roles(&self, node: NodeId) -> roles::Config {
        let Members { silent_max, steady_min, .. } = *self;
        roles::Config { silent_max, steady_min, ..roles::Config::new(node) }
    }
}

/// Whether a controller runs from the beginning.
pub fn founds(plan: &Plan, node: NodeId) -> bool {
    plan.settings.members.as_ref().is_none_or(|members| members.founds(node))
}

/// A controller as the log has it in the beginning.
pub fn member(plan: &Plan, node: NodeId) -> Member {
    let (address, api) = match plan.settings.addresses {
        Some(_) => {
            let api =
                addresses::at_home(node).iter().map(|at| Address::from(at.joined())).collect();
            (addresses::controller_door(&addresses::home(node)), api)
        }
        None => {
            let at = |port: u16| Address::from(format!("{node}:{port}"));
            (at(17_022), vec![at(17_070)])
        }
    };
    Member { address, api, domain: "".into(), reads: READS }
}

/// What founds the cluster of a plan.
pub fn found(plan: &Plan) -> Command {
    let members = plan.controllers().filter(|node| founds(plan, *node));
    let wanted = plan.settings.members.as_ref().map(Members::wanted).unwrap_or_default();
    Command::Found { members: members.map(|node| (node, member(plan, node))).collect(), wanted }
}
