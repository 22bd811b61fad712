//! Figures of the workers that run on one controller alone.

use std::collections::BTreeMap;

use portcullis_core::NodeId;
use portcullis_core::singular::Output;

use crate::history::Who;
use crate::singular::{Single, What, Worker};

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Singles {
    /// Flags that were raised, under whichever fence.
    pub raised: u64,
    /// Of those, where another controller had run the worker before.
    pub moved: u64,
    /// Flags that went on under their fence.
    pub prolonged: u64,
    pub lowered: u64,
    /// Steps that workers began.
    pub steps: u64,
    /// What they wrote and was taken.
    pub written: u64,
    /// What they wrote under an older fence, and was refused.
    pub refused: u64,
    last: BTreeMap<Worker, NodeId>,
}

impl Singles {
    /// Counts one event.
    pub fn note(&mut self, who: Who, Single { worker, what }: &Single<'_>) {
        match what {
            What::Ordered(Output::Raise { .. }) => {
                self.raised += 1;
                if let Who::Controller(node) = who {
                    let before = self.last.insert(*worker, node);
                    self.moved += u64::from(before.is_some_and(|before| before != node));
                }
            }
            What::Ordered(Output::Prolong { .. }) => self.prolonged += 1,
            What::Ordered(Output::Lower) => self.lowered += 1,
            What::Ordered(Output::Ask { .. } | Output::Leave) | What::Told(_) => {}
            What::Began { .. } => self.steps += 1,
            What::Wrote { taken: true, .. } => self.written += 1,
            What::Wrote { taken: false, .. } => self.refused += 1,
        }
    }

    /// Each with its name, as a page shows them.
    pub fn figures(&self) -> [(&'static str, u64); 7] {
        [
            ("flags raised", self.raised),
            ("moved", self.moved),
            ("prolonged", self.prolonged),
            ("lowered", self.lowered),
            ("steps", self.steps),
            ("written", self.written),
            ("refused for their fence", self.refused),
        ]
    }
}
