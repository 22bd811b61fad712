//! What an operator wants of a member's vote, and which such wishes can be had.

use alloc::collections::BTreeMap;
use core::fmt;

use serde::{Deserialize, Serialize};

use super::{Done, Members, Outcome, Refusal};
use crate::ids::NodeId;

/// What an operator wants of a member's vote. Stands until it is taken back, or the member leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Preference {
    /// It votes before others do, whatever failure domain it is in.
    Vote,
    /// It votes only where others are too few.
    NoVote,
}

impl fmt::Display for Preference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Preference::Vote => "to vote",
            Preference::NoVote => "not to vote",
        })
    }
}

impl Members {
    /// What is wanted of a member's vote, if anything.
    pub fn preference(&self, node: NodeId) -> Option<Preference> {
        self.preferences.get(&node).copied()
    }

    /// Whether anything is wanted of any member's vote.
    pub fn prefers(&self) -> bool {
        !self.preferences.is_empty()
    }

    /// Notes a wish that can be had at this moment. One that cannot would be forgotten by whoever
    /// had it, and come true years later.
    pub(super) fn prefer(&mut self, node: NodeId, preference: Option<Preference>) -> Outcome {
        if !self.joined.contains_key(&node) {
            return Err(Refusal::NotMember);
        }
        let others = self.preferences.iter().filter(|(other, _)| **other != node);
        let others: BTreeMap<NodeId, Preference> = others.map(|(one, is)| (*one, *is)).collect();
        let like = |wish| others.values().filter(|other| **other == wish).count();
        let wanted = usize::from(self.wanted.voters);
        match preference {
            Some(wish @ Preference::Vote) if like(wish) + 1 > wanted => {
                return Err(Refusal::Voters);
            }
            Some(wish @ Preference::NoVote) if self.joined.len() - 1 - like(wish) < wanted => {
                return Err(Refusal::Needed);
            }
            Some(Preference::Vote | Preference::NoVote) | None => {}
        }
        self.preferences = others;
        self.preferences.extend(preference.map(|wish| (node, wish)));
        Ok(Done::Noted)
    }
}
