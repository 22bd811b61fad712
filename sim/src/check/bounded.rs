//! Everything has a limit: connections, logins in progress, the queue, and with them memory.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_core::controller::{Input, Output};
use portcullis_core::listener;
use portcullis_core::queue;
use portcullis_core::{ConnectionId, Door, NodeId, Time};

use super::{Check, Sentence};
use crate::facts::Facts;
use crate::history::{Event, Kind, Kinds, Who};
use crate::plan::Plan;
use crate::settings::Bytes;
use crate::stage::Deed;

/// See the module.
struct Bounded {
    connections_max: usize,
    logins_max: usize,
    /// Who came in through each controller's API door and has not logged in.
    logins: BTreeMap<NodeId, BTreeSet<ConnectionId>>,
    /// Controllers that stand at an API door: as far as these go there is no limit.
    controllers: BTreeSet<(NodeId, ConnectionId)>,
    /// Asks that wait, and those in flight beside them.
    queued_max: usize,
    memory_limit: Bytes,
}

pub(super) fn make(plan: &Plan) -> Option<Box<dyn Check>> {
    let settings = &plan.settings.controllers;
    // One more flight than its limit: a clock advance takes along what waits.
    let in_flight = settings.batch_max * (queue::Config::default().flights_max + 1);
    Some(Box::new(Bounded {
        connections_max: settings.connections_max,
        logins_max: settings.logins_max,
        logins: BTreeMap::new(),
        controllers: BTreeSet::new(),
        queued_max: settings.waiting_max + in_flight,
        memory_limit: settings.memory_limit,
    }))
}

impl Check for Bounded {
    fn name(&self) -> &'static str {
        "bounded"
    }

    fn sentence(&self) -> Sentence {
        Sentence {
            seed: "002",
            text: "There are so many resources required to keep the pubsub up that we just run out \
                   of memory.",
        }
    }

    fn hears(&self) -> Kinds {
        Kinds::of(&[Kind::Told, Kind::Ordered, Kind::Did, Kind::Memory, Kind::Killed])
    }

    fn always(
        &mut self,
        _: Time,
        who: Who,
        event: &Event<'_>,
        facts: &Facts,
    ) -> Result<(), String> {
        self.note(who, event);
        match (who, event) {
            (_, Event::Did(Deed::Limit(bytes))) => {
                self.memory_limit = *bytes;
                Ok(())
            }
            (Who::Controller(node), Event::Memory(bytes)) if *bytes > self.memory_limit => {
                Err(format!("{node} uses {} of {}", bytes, self.memory_limit))
            }
            (Who::Controller(node), Event::Told(_) | Event::Ordered(_)) => {
                let (connections, queued) = (facts.connections(node), facts.queued(node));
                if connections > self.connections_max {
                    return Err(format!("{node} has {connections} connections"));
                }
                let logins = self.logins.get(&node).map_or(0, BTreeSet::len);
                if logins > self.logins_max {
                    return Err(format!("at {node} {logins} log in at once"));
                }
                // The ask that an answer is about to refuse is counted for a moment.
                if queued > self.queued_max + 1 {
                    return Err(format!("the queue of {node} holds {queued} asks"));
                }
                Ok(())
            }
            (_, Event::Told(_) | Event::Ordered(_) | Event::Did(_) | Event::Memory(_))
            | (_, Event::AgentTold(_) | Event::AgentOrdered(_) | Event::Applied { .. })
            | (_, Event::Cluster(_) | Event::Singular(_))
            | (_, Event::Front(_) | Event::BacklogFull | Event::Killed(_) | Event::Error(_)) => {
                Ok(())
            }
        }
    }
}

impl Bounded {
    /// Follows who is logging in.
    fn note(&mut self, who: Who, event: &Event<'_>) {
        match (who, event) {
            (
                Who::Controller(node),
                Event::Told(Input::Arrived {
                    connection, kind: listener::Kind::Controller, ..
                }),
            ) => {
                self.controllers.insert((node, *connection));
            }
            (Who::Controller(node), Event::Ordered(Output::Admit { connection }))
                if self.controllers.remove(&(node, *connection)) => {}
            (
                Who::Controller(node),
                Event::Told(Input::Connected { connection, door: Door::Api })
                | Event::Ordered(Output::Admit { connection }),
            ) => {
                self.logins.entry(node).or_default().insert(*connection);
            }
            (
                Who::Controller(node),
                Event::Told(
                    Input::LoggedIn { connection, .. } | Input::Disconnected { connection },
                ),
            ) => {
                if let Some(logins) = self.logins.get_mut(&node) {
                    logins.remove(connection);
                }
            }
            (Who::Controller(node), Event::Told(Input::Started) | Event::Killed(_)) => {
                self.logins.remove(&node);
            }
            (_, Event::Did(Deed::Crash(node) | Deed::Left(node) | Deed::Failed(node))) => {
                self.logins.remove(node);
            }
            (_, Event::Did(_) | Event::Told(_) | Event::Ordered(_) | Event::Memory(_))
            | (_, Event::AgentTold(_) | Event::AgentOrdered(_) | Event::Applied { .. })
            | (_, Event::Cluster(_) | Event::Singular(_))
            | (_, Event::Front(_) | Event::BacklogFull | Event::Killed(_) | Event::Error(_)) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use portcullis_core::AskId;
    use portcullis_core::controller::Request;
    use portcullis_core::lease::{Key, Operation};
    use portcullis_core::sessions::Party;

    use super::*;
    use crate::check::tests::{ONE, Story};

    #[test]
    fn a_queue_beyond_its_limit_is_caught() {
        let mut story = Story::new(make, "[controllers]\nwaiting-max = 10\nbatch-max = 2\n");
        story.serving(ONE);
        let (connection, party) = (ConnectionId(3), Party::Controller(NodeId(2)));
        let door = Door::Controller;
        assert!(story.told(0, ONE, Input::Connected { connection, door }).is_ok());
        assert!(story.told(0, ONE, Input::LoggedIn { connection, party }).is_ok());
        let mut ask = |serial: u64| {
            let holder = serial.to_string().into();
            let key = Key::default();
            let operation = Operation::Claim { key, holder, duration: Duration::from_secs(60) };
            let ask = AskId { connection, serial };
            let (request, patience) = (Request::Apply(operation), Duration::from_secs(1));
            story.told(0, ONE, Input::Asked { ask, request, renews: false, patience })
        };
        assert!((0..21).all(|serial| ask(serial).is_ok()));
        assert!(ask(21).is_err());
    }

    #[test]
    fn one_connection_too_many_is_caught() {
        let mut story = Story::new(make, "[controllers]\nconnections-max = 1\n");
        story.serving(ONE);
        let input = Input::Connected { connection: ConnectionId(3), door: Door::Api };
        assert!(story.told(0, ONE, input).is_err());
    }

    #[test]
    fn one_login_too_many_is_caught() {
        let mut story = Story::new(make, "[controllers]\nlogins-max = 1\n");
        let connects = |story: &mut Story, id| {
            let (connection, door) = (ConnectionId(id), Door::Api);
            story.told(0, ONE, Input::Connected { connection, door })
        };
        assert!(connects(&mut story, 3).is_ok());
        let (connection, party) = (ConnectionId(3), Party::Agent);
        assert!(story.told(0, ONE, Input::LoggedIn { connection, party }).is_ok());
        assert!(connects(&mut story, 4).is_ok());
        assert!(connects(&mut story, 5).is_err());
    }

    #[test]
    fn memory_beyond_its_limit_is_caught() {
        let mut story = Story::new(make, "[controllers]\nmemory-limit = \"1MiB\"\n");
        assert!(story.event(0, ONE, Event::Memory(Bytes(1 << 20))).is_ok());
        assert!(story.event(1, ONE, Event::Memory(Bytes((1 << 20) + 1))).is_err());
    }
}
