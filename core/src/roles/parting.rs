//! Who can be removed as a cluster stands.

use alloc::collections::BTreeSet;
use core::fmt;

use super::{Names, Picture};
use crate::ids::NodeId;

/// Why a member is not to be removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stays {
    /// It is none.
    NotMember,
    /// There is no other.
    Last,
    /// Of those that could decide without it, these are heard, and they are no majority.
    Unheard { heard: BTreeSet<NodeId>, of: BTreeSet<NodeId> },
}

impl fmt::Display for Stays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stays::NotMember => f.write_str("it is no member"),
            Stays::Last => f.write_str("it is the last member"),
            Stays::Unheard { heard, of } => {
                write!(f, "without it{} would decide, and ", Names(of))?;
                match heard.is_empty() {
                    true => f.write_str("none of them can be heard"),
                    false => write!(f, "of those only{} can be heard", Names(heard)),
                }
            }
        }
    }
}

impl Picture {
    /// Why this member must stay, if it must. The table of members would let it go, and no step that
    /// the machine takes is unsafe; but it would hold its vote for as long as the others are silent,
    /// and one more that falls silent would end everything. So first come those that are silent.
    pub fn stays(&self, node: NodeId) -> Option<Stays> {
        let joined = |node: &NodeId| self.members.get(*node).is_some();
        if !joined(&node) {
            return Some(Stays::NotMember);
        }
        if self.members.len() == 1 {
            return Some(Stays::Last);
        }
        let left = |of: &BTreeSet<NodeId>| -> BTreeSet<NodeId> {
            of.iter().copied().filter(|one| *one != node && joined(one)).collect()
        };
        for voters in [Some(&self.voters), self.before.as_ref()].into_iter().flatten() {
            // Where no voter is left, somebody who has the log takes over.
            let mut of = left(voters);
            let most = if of.is_empty() { 0 } else { of.len() / 2 };
            if of.is_empty() {
                of = left(&self.learners);
            }
            let heard: BTreeSet<NodeId> = of.intersection(&self.heard).copied().collect();
            if heard.len() <= most {
                return Some(Stays::Unheard { heard, of });
            }
        }
        None
    }
}
