//! Retries stay a small share of first tries: load that cannot be carried is not multiplied.

use std::collections::BTreeMap;

use portcullis_core::controller::{Input, Output};
use portcullis_core::{AskId, NodeId, Time};

use super::{Check, Sentence};
use crate::facts::Facts;
use crate::history::{Event, Kind, Kinds, Who};
use crate::lookup::Lookup;
use crate::plan::Plan;

/// Most retries for a hundred first tries.
pub const SHARE_PERCENT: u64 = 20;
/// Retries that a controller may make beyond that, since a share of little is nothing.
pub const SPARE: u64 = 30;

/// See the module. A try is an ask handed on to the leader; another by the same asker is a first.
/// One that never left loads nobody: what follows it is no retry.
struct Retries {
    /// Asks without an answer, and whether their last try left.
    sent: BTreeMap<NodeId, Lookup<AskId, bool>>,
    firsts: u64,
    retries: u64,
    spare: u64,
}

pub(super) fn make(plan: &Plan) -> Option<Box<dyn Check>> {
    let spare = SPARE * plan.settings.controllers.count;
    Some(Box::new(Retries { sent: BTreeMap::new(), firsts: 0, retries: 0, spare }))
}

impl Check for Retries {
    fn name(&self) -> &'static str {
        "retries"
    }

    fn sentence(&self) -> Sentence {
        Sentence {
            seed: "002",
            text: "we compound the issue more by retrying, so more load is applied. A tsunami of \
                   events is visible.",
        }
    }

    fn hears(&self) -> Kinds {
        Kinds::of(&[Kind::Told, Kind::Ordered, Kind::Killed])
    }

    fn always(&mut self, _: Time, who: Who, event: &Event<'_>, _: &Facts) -> Result<(), String> {
        match (who, event) {
            (Who::Controller(node), Event::Told(Input::Started) | Event::Killed(_)) => {
                self.sent.remove(&node);
            }
            (Who::Controller(node), Event::Ordered(Output::Send { ask, .. })) => {
                match self.sent.entry(node).or_default().insert(*ask, true) {
                    None => self.firsts += 1,
                    Some(left) => self.retries += u64::from(left),
                }
                if self.retries > self.spare + self.firsts * SHARE_PERCENT / 100 {
                    let Retries { firsts, retries, .. } = self;
                    return Err(format!("{retries} retries after {firsts} first tries"));
                }
            }
            (Who::Controller(node), Event::Told(Input::NotSent { ask })) => {
                if let Some(left) = self.sent.entry(node).or_default().get_mut(ask) {
                    *left = false;
                }
            }
            (Who::Controller(node), Event::Ordered(Output::Answer { ask, .. })) => {
                self.sent.entry(node).or_default().remove(ask);
            }
            (_, Event::Told(_) | Event::Ordered(_) | Event::Did(_) | Event::Memory(_))
            | (_, Event::AgentTold(_) | Event::AgentOrdered(_) | Event::Applied { .. })
            | (_, Event::Cluster(_) | Event::Singular(_))
            | (_, Event::Front(_) | Event::BacklogFull | Event::Killed(_) | Event::Error(_)) => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use portcullis_core::ConnectionId;
    use portcullis_core::lease::{Key, Operation};

    use super::*;
    use crate::check::tests::{ONE, Story};

    fn send(story: &mut Story, serial: u64) -> Result<(), String> {
        let ask = AskId { connection: ConnectionId(2), serial };
        let operation = Operation::Revoke { key: Key::default(), holder: "a".into() };
        let patience = Duration::from_secs(5);
        story.ordered(0, ONE, Output::Send { ask, to: NodeId(2), operation, patience })
    }

    #[test]
    fn retries_beyond_their_share_are_caught() {
        let mut story = Story::new(make, "");
        assert!((0..100).all(|serial| send(&mut story, serial).is_ok()));
        assert!((0..100).all(|serial| send(&mut story, serial).is_ok()));
        assert!((0..10).all(|serial| send(&mut story, serial).is_ok()));
        assert!(send(&mut story, 10).is_err());
    }

    #[test]
    fn what_never_left_is_no_try() {
        let mut story = Story::new(make, "");
        let ask = AskId { connection: ConnectionId(2), serial: 0 };
        for _ in 0..1_000 {
            assert!(send(&mut story, 0).is_ok());
            assert!(story.told(0, ONE, Input::NotSent { ask }).is_ok());
        }
    }

    #[test]
    fn first_tries_are_no_retries() {
        let mut story = Story::new(make, "");
        assert!((0..1_000).all(|serial| send(&mut story, serial).is_ok()));
    }
}
