//! Coverage: which states a run has been through, so that seeds can be told apart by what they reach.
//!
//! Decides what counts as a state: how a controller stands (leading or not, agents or none, asks by
//! their order of magnitude), what one is told as it stands so, and how all stand side by side,
//! whichever is which, with so much wrong.
//! Two runs that go through the same states have shown the same, whatever their seeds.

use std::collections::BTreeSet;

use portcullis_core::NodeId;

use crate::facts::Facts;
use crate::history::Hash;

/// Most states of one run that are told apart.
pub const STATES_MAX: usize = 65_536;
/// More faults at once than this are as many.
const FAULTS_TOLD_APART: usize = 3;

/// See the module.
#[derive(Clone, Debug)]
pub struct Coverage {
    controllers: Vec<NodeId>,
    states: BTreeSet<u64>,
    /// Room for the controllers' parts while they are put in order.
    parts: Vec<u64>,
}

impl Coverage {
    /// Nothing was seen.
    pub fn new(controllers: impl Iterator<Item = NodeId>) -> Coverage {
        Coverage { controllers: controllers.collect(), states: BTreeSet::new(), parts: Vec::new() }
    }

    /// A controller was told this, after which the facts are so. The first words of the event's
    /// text say what kind it was.
    pub fn note(&mut self, node: NodeId, text: &str, facts: &Facts) {
        if self.states.len() + 2 > STATES_MAX {
            return;
        }
        let part = |node: &NodeId| {
            let serves = u64::from(facts.connections(*node) > 0);
            u64::from(facts.leads(*node)) << 9 | serves << 8 | magnitude(facts.queued(*node))
        };
        let mut told = Hash::default();
        // Its words, without the numbers that make every ask another.
        let words = text.split(' ').filter(|word| !word.bytes().any(|byte| byte.is_ascii_digit()));
        words.take(2).for_each(|word| told.bytes(word.as_bytes()));
        told.word(part(&node));
        self.states.insert(told.value());
        self.parts.clear();
        self.parts.extend(self.controllers.iter().map(part));
        // Which controller stands how makes no other state.
        self.parts.sort_unstable();
        let mut all = Hash::default();
        self.parts.iter().for_each(|part| all.word(*part));
        all.word(facts.faults().min(FAULTS_TOLD_APART) as u64);
        self.states.insert(all.value());
    }

    /// The states, by their hashes.
    pub fn states(&self) -> &BTreeSet<u64> {
        &self.states
    }
}

/// None, one, up to three, up to seven, and so on.
fn magnitude(count: usize) -> u64 {
    u64::from(count.checked_ilog2().map_or(0, |log| log + 1))
}

#[cfg(test)]
mod tests {
    use portcullis_core::Time;
    use portcullis_core::controller::Input;

    use super::*;
    use crate::history::{Event, Who};

    #[test]
    fn who_it_is_makes_no_other_state() {
        let states = |leader: u64, words: &str| {
            let mut facts = Facts::new(0);
            let led = Input::Led { global: Default::default() };
            facts.note(Time(0), Who::Controller(NodeId(leader)), &Event::Told(&led));
            let mut coverage = Coverage::new((1..=3).map(NodeId));
            coverage.note(NodeId(leader), words, &facts);
            coverage.states().clone()
        };
        assert_eq!(states(1, "< led at 0"), states(3, "< led at 7"));
        assert_ne!(states(1, "< led"), states(1, "< ticked"));
        let mut coverage = Coverage::new((1..=3).map(NodeId));
        coverage.note(NodeId(1), "< led", &Facts::new(0));
        assert_ne!(coverage.states(), &states(1, "< led"));
    }
}
