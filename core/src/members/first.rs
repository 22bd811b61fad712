//! The table of members as snapshots of version 1 carry it.

use alloc::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Member, Members, Token, TokenHash, Wanted};
use crate::ids::NodeId;

/// All of the table but the preferences, which version 1 does not know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct First {
    joined: BTreeMap<NodeId, Member>,
    tokens: BTreeMap<TokenHash, Token>,
    wanted: Wanted,
    next: NodeId,
}

impl From<First> for Members {
    fn from(first: First) -> Members {
        let First { joined, tokens, wanted, next } = first;
        Members { joined, tokens, wanted, next, preferences: BTreeMap::new() }
    }
}

impl From<Members> for First {
    /// Asserts that nothing is lost.
    fn from(members: Members) -> First {
        let Members { joined, tokens, wanted, next, preferences } = members;
        assert!(preferences.is_empty(), "snapshots of version 1 know no preferences");
        First { joined, tokens, wanted, next }
    }
}
