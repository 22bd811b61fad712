//! What surrounds the controller's machine: doors, replies, the log and the other controllers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use portcullis_core::controller::{self, Controller, Input, Output, Request, Status};
use portcullis_core::lease::Entry;
use portcullis_core::queue::{self, Answer};
use portcullis_core::{AskId, BatchId, ConnectionId, Door, NodeId, Time};
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::door::{Connections, Opened};
use super::peers::Asked;
use super::{Doors, Ports, Serve};
use crate::drive::Shell;
use crate::env::Env;
use crate::raft::{Proposed, propose};

/// What arrives at a controller.
pub enum Arrival {
    /// Something for the machine alone.
    Told(Input),
    /// A door's port is bound.
    Bound { door: Door, address: std::net::SocketAddr },
    /// A connection was let in; cancel `cut` to end it.
    Connected { connection: ConnectionId, door: Door, cut: CancellationToken },
    /// Somebody asks, and listens for the answer.
    Asked { ask: AskId, request: Request, patience: Duration, reply: oneshot::Sender<Answer> },
    /// Somebody wants to know what the controller is doing.
    Status { reply: oneshot::Sender<Status> },
}

/// The shell of one controller.
pub struct Surroundings<E: Env> {
    serve: Arc<Serve<E>>,
    doors: Doors,
    opened: BTreeMap<Door, Opened>,
    connections: Connections,
    cuts: BTreeMap<ConnectionId, CancellationToken>,
    replies: BTreeMap<AskId, oneshot::Sender<Answer>>,
    ports: watch::Sender<Ports>,
}

impl<E: Env> Surroundings<E> {
    /// Nobody is connected and no door is open.
    pub fn new(serve: Arc<Serve<E>>, doors: Doors, ports: watch::Sender<Ports>) -> Self {
        Surroundings {
            serve,
            doors,
            opened: BTreeMap::new(),
            connections: Connections::default(),
            cuts: BTreeMap::new(),
            replies: BTreeMap::new(),
            ports,
        }
    }

    fn open(&mut self, door: Door) {
        let address = match door {
            Door::Controller => self.doors.controller.expect("without it, it is never opened"),
            Door::Api => self.doors.api,
        };
        let opened = Opened::open(self.serve.clone(), door, address, self.connections.clone());
        self.opened.insert(door, opened);
    }

    /// Whether somebody asks to hold on to what is held, by this controller's copy of the table.
    fn renews(&self, request: &Request) -> bool {
        match request {
            Request::Apply(operation) => {
                queue::renews(operation, self.serve.leases.view().get(operation.key()))
            }
            Request::Wait(_) => false,
        }
    }

    fn propose(&self, batch: BatchId, entry: Entry) {
        let serve = self.serve.clone();
        self.serve.env.spawn(async move {
            // A leader that is cut off learns nothing until it is reached again; by this time
            // nobody waits for the batch any more.
            let until = serve.env.now() + serve.patience_max;
            let proposed = tokio::select! {
                biased;
                proposed = propose(&serve.raft, entry) => proposed,
                () = serve.env.sleep_until(until) => Proposed::Unknown,
            };
            let input = match proposed {
                Proposed::Committed { index, applied } => {
                    Input::Committed { batch, index, outcomes: applied.outcomes }
                }
                Proposed::NotProposed { leader } => Input::NotProposed { batch, leader },
                Proposed::Unknown => Input::BatchLost { batch },
            };
            serve.tell(input).await;
        });
    }

    fn send(
        &self,
        ask: AskId,
        to: NodeId,
        operation: portcullis_core::lease::Operation,
        patience: Duration,
    ) {
        let serve = self.serve.clone();
        self.serve.env.spawn(async move {
            let input = match serve.peers.ask(to, ask, operation, patience).await {
                Asked::Answered(answer) => Input::Answered { ask, answer },
                Asked::NotSent => Input::NotSent { ask },
                Asked::Lost => Input::Lost { ask },
                Asked::Recalled => return,
            };
            serve.tell(input).await;
        });
    }
}

impl<E: Env> Shell<Controller> for Surroundings<E> {
    type Arrival = Arrival;

    fn admit(&mut self, machine: &Controller, arrival: Arrival) -> Option<Input> {
        match arrival {
            Arrival::Told(input) => {
                if let Input::Disconnected { connection } = &input {
                    self.cuts.remove(connection);
                }
                Some(input)
            }
            Arrival::Bound { door, address } => {
                self.ports.send_modify(|ports| ports.set(door, Some(address)));
                Some(Input::Opened { door })
            }
            Arrival::Connected { connection, door, cut } => {
                self.cuts.insert(connection, cut);
                Some(Input::Connected { connection, door })
            }
            Arrival::Asked { ask, request, patience, reply } => {
                self.replies.insert(ask, reply);
                let renews = self.renews(&request);
                Some(Input::Asked { ask, request, renews, patience })
            }
            Arrival::Status { reply } => {
                // Whoever asked may have left.
                let _ = reply.send(machine.status(self.serve.env.now()));
                None
            }
        }
    }

    fn act(&mut self, _: Time, output: Output) -> Option<Input> {
        match output {
            Output::Open { door } => self.open(door),
            Output::Accept { door } => {
                if let Some(opened) = self.opened.get(&door) {
                    opened.permit();
                }
            }
            Output::Shut { door } => {
                if let Some(opened) = self.opened.remove(&door) {
                    info!(%door, "shut");
                    opened.shut();
                    self.ports.send_modify(|ports| ports.set(door, None));
                }
            }
            Output::Hangup { connection, why } => {
                if let Some(cut) = self.cuts.get(&connection) {
                    debug!(%connection, %why, "hang up");
                    cut.cancel();
                }
            }
            Output::Propose { batch, entry } => self.propose(batch, entry),
            Output::Send { ask, to, operation, patience } => {
                self.send(ask, to, operation, patience);
            }
            Output::Recall { ask, to } => self.serve.peers.recall(&self.serve.env, to, ask),
            Output::Look { ask, key } => {
                let held = self.serve.leases.view().get(&key).is_some();
                return Some(controller::Input::Looked { ask, held });
            }
            Output::Answer { ask, answer } => {
                if let Some(reply) = self.replies.remove(&ask) {
                    // The connection may be gone by this time; the machine has been told so.
                    let _ = reply.send(answer);
                }
            }
        }
        None
    }
}
