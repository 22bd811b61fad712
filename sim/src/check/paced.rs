//! The API door lets in no faster than its bucket; the controller door is not held back.

use std::collections::BTreeMap;
use std::time::Duration;

use portcullis_core::controller::{Input, Output};
use portcullis_core::{Door, NodeId, Time};

use super::{Check, Sentence};
use crate::facts::Facts;
use crate::history::{Event, Kind, Kinds, Who};
use crate::plan::Plan;

/// See the module. Counts tokens one by one, unlike the machine, which has a formula.
struct Paced {
    burst: u64,
    /// Microseconds of one token.
    interval: Duration,
    controllers: BTreeMap<NodeId, Bucket>,
}

struct Bucket {
    tokens: u64,
    /// Up to when tokens were added.
    filled: u64,
    /// Permits given, less connections let in.
    permits: u64,
}

pub(super) fn make(plan: &Plan) -> Option<Box<dyn Check>> {
    let pace = plan.settings.controllers.pace();
    let interval = pace.interval;
    (pace.burst > 0 && interval >= Duration::from_micros(1)).then(|| {
        let burst = u64::from(pace.burst);
        Box::new(Paced { burst, interval, controllers: BTreeMap::new() }) as Box<dyn Check>
    })
}

impl Check for Paced {
    fn name(&self) -> &'static str {
        "paced"
    }

    fn sentence(&self) -> Sentence {
        Sentence {
            seed: "000",
            text: "We should rate limit only the api port and not the controller_api port.",
        }
    }

    fn hears(&self) -> Kinds {
        Kinds::of(&[Kind::Told, Kind::Ordered])
    }

    fn always(
        &mut self,
        at: Time,
        who: Who,
        event: &Event<'_>,
        facts: &Facts,
    ) -> Result<(), String> {
        let Who::Controller(node) = who else { return Ok(()) };
        match event {
            Event::Told(Input::Started) => {
                self.controllers.remove(&node);
                Ok(())
            }
            Event::Told(Input::Connected { door: Door::Api, .. }) => {
                let bucket = self.bucket(at, node, facts);
                let permits = bucket.permits.checked_sub(1);
                bucket.permits = permits.unwrap_or(0);
                permits.map(|_| ()).ok_or(format!("{node} let an agent in without a permit"))
            }
            Event::Ordered(Output::Accept { door: Door::Api }) => {
                self.bucket(at, node, facts).permits += 1;
                self.take(at, node, facts)
            }
            Event::Ordered(Output::Admit { connection }) => {
                match facts.session(node, *connection) {
                    Some((Door::Api, _)) => self.take(at, node, facts),
                    Some((Door::Controller, _)) | None => Ok(()),
                }
            }
            Event::Told(_)
            | Event::Ordered(_)
            | Event::Did(_)
            | Event::AgentTold(_)
            | Event::AgentOrdered(_)
            | Event::Applied { .. }
            | Event::Memory(_)
            | Event::Front(_)
            | Event::BacklogFull
            | Event::Cluster(_)
            | Event::Singular(_)
            | Event::Killed(_)
            | Event::Error(_) => Ok(()),
        }
    }
}

impl Paced {
    fn take(&mut self, at: Time, node: NodeId, facts: &Facts) -> Result<(), String> {
        let bucket = self.bucket(at, node, facts);
        let tokens = bucket.tokens.checked_sub(1);
        bucket.tokens = tokens.unwrap_or(0);
        tokens.map(|_| ()).ok_or(format!("{node} let agents in faster than its bucket"))
    }

    fn bucket(&mut self, at: Time, node: NodeId, facts: &Facts) -> &mut Bucket {
        let interval = facts.shrunk(self.interval).as_micros();
        let interval = u64::try_from(interval).unwrap_or(u64::MAX).max(1);
        let full = Bucket { tokens: self.burst, filled: at.0, permits: 0 };
        let bucket = self.controllers.entry(node).or_insert(full);
        while bucket.tokens < self.burst && bucket.filled.saturating_add(interval) <= at.0 {
            bucket.tokens += 1;
            bucket.filled += interval;
        }
        if bucket.tokens == self.burst {
            bucket.filled = at.0;
        }
        bucket
    }
}

#[cfg(test)]
mod tests {
    use portcullis_core::ConnectionId;
    use portcullis_core::listener::Kind;

    use super::*;
    use crate::check::tests::{ONE, Story};

    const JUJU: &str = "[controllers]\naccept = \"paced\"\n";
    const ACCEPT: Output = Output::Accept { door: Door::Api };

    #[test]
    fn the_eleventh_of_a_burst_is_caught() {
        let mut story = Story::new(make, JUJU);
        assert!((0..10).all(|_| story.ordered(0, ONE, ACCEPT).is_ok()));
        assert!(story.ordered(249, ONE, ACCEPT).is_err());
    }

    #[test]
    fn one_an_interval_after_the_burst_is_fine() {
        let mut story = Story::new(make, JUJU);
        assert!((0..10).all(|_| story.ordered(0, ONE, ACCEPT).is_ok()));
        assert!((1..20).all(|count| story.ordered(count * 250, ONE, ACCEPT).is_ok()));
    }

    #[test]
    fn the_eleventh_of_those_held_is_caught_and_controllers_are_not() {
        let mut story = Story::new(make, JUJU);
        let mut admit = |connection, kind| {
            let (connection, door) = (ConnectionId(connection), Door::Api);
            let _ = story.told(0, ONE, Input::Arrived { connection, door, kind });
            story.ordered(0, ONE, Output::Admit { connection })
        };
        assert!((0..20).all(|connection| admit(connection, Kind::Controller).is_ok()));
        assert!((20..30).all(|connection| admit(connection, Kind::Other).is_ok()));
        assert!(admit(30, Kind::Other).is_err());
    }

    #[test]
    fn a_connection_without_a_permit_is_caught() {
        let mut story = Story::new(make, JUJU);
        let input = Input::Connected { connection: ConnectionId(1), door: Door::Api };
        assert!(story.told(0, ONE, input).is_err());
    }
}
