//! The asks that have no answer yet: what becomes of each, and the limit that one is refused for.

use std::time::Duration;

use portcullis_core::controller::{Controller, Input, Request};
use portcullis_core::lease::{Entry, Operation, Refusal};
use portcullis_core::queue::{self, Answer};
use portcullis_core::sessions::Party;
use portcullis_core::{AskId, BatchId, NodeId, Time};
use tokio::sync::oneshot;

use super::Surroundings;
use crate::env::Env;
use crate::metrics::{Limit, labels};
use crate::node::peers::Asked;
use crate::peer::Failure;
use crate::raft::{Proposed, propose};

/// An ask without an answer.
pub(super) struct Pending {
    reply: oneshot::Sender<Answer>,
    since: Time,
    /// What it is, in the words of metrics.
    operation: &'static str,
    /// How large it is in a queue.
    bytes: usize,
    /// Whether a controller asks, for somebody at its own door.
    controller: bool,
    waits: bool,
    /// Whether the leader was asked in turn, so that the answer is its.
    sent: bool,
}

impl<E: Env> Surroundings<E> {
    /// Whether somebody asks to hold on to what is held, by this controller's copy of the table.
    pub(super) fn renews(&self, request: &Request) -> bool {
        match request {
            Request::Apply(operation) => {
                queue::renews(operation, self.serve.leases.view().get(operation.key()))
            }
            Request::Wait(_) => false,
        }
    }

    pub(super) fn propose(&mut self, batch: BatchId, entry: Entry) {
        self.metrics().proposed(&entry);
        let (serve, turn) = (self.serve.clone(), self.proposals.turn());
        let since = serve.env.now();
        self.serve.env.spawn(async move {
            // A leader that is cut off learns nothing until it is reached again; by this time
            // nobody waits for the batch any more.
            let patience = serve.env.sleep_until(since + serve.limits.queue.patience_max);
            let proposed = propose(&serve.raft, turn, entry, patience).await;
            let (input, result) = match proposed {
                Proposed::Committed { index, applied } => {
                    (Input::Committed { batch, index, outcomes: applied.outcomes }, "committed")
                }
                Proposed::NotProposed { leader } => {
                    (Input::NotProposed { batch, leader }, "not-proposed")
                }
                Proposed::Unknown => (Input::BatchLost { batch }, "unknown"),
            };
            serve.metrics.settled(result, serve.env.now().since(since));
            serve.tell(input).await;
        });
    }

    pub(super) fn send(
        &mut self,
        ask: AskId,
        to: NodeId,
        operation: Operation,
        patience: Duration,
    ) {
        if let Some(pending) = self.asks.get_mut(&ask) {
            pending.sent = true;
        }
        let serve = self.serve.clone();
        self.serve.env.spawn(async move {
            let (input, result) = match serve.peers.ask(to, ask, operation, patience).await {
                Asked::Answered(answer) => (Input::Answered { ask, answer }, "answered"),
                Asked::NotSent(why) => {
                    if why == Failure::Busy {
                        serve.metrics.refused(Limit::PeerCalls);
                    }
                    (Input::NotSent { ask }, labels::failure(why))
                }
                Asked::Lost => (Input::Lost { ask }, "lost"),
                Asked::Recalled => return,
            };
            serve.metrics.forwarded(result);
            serve.tell(input).await;
        });
    }

    pub(super) fn asked(&mut self, ask: AskId, request: &Request, reply: oneshot::Sender<Answer>) {
        let mut controller = false;
        if let Some(guest) = self.guests.get_mut(&ask.connection) {
            guest.asks += 1;
            controller = matches!(guest.party, Some(Party::Controller(_)));
            if !controller {
                // One more is here for as long as it takes to refuse it.
                let asks = guest.asks.min(self.serve.limits.asks_per_connection_max);
                self.serve.metrics.most(Limit::AsksPerConnection, asks);
            }
        }
        let pending = Pending {
            reply,
            since: self.serve.env.now(),
            operation: labels::operation(request),
            bytes: match request {
                Request::Apply(operation) => queue::size(operation),
                Request::Wait(_) => 0,
            },
            controller,
            waits: matches!(request, Request::Wait(_)),
            sent: false,
        };
        self.asks.insert(ask, pending);
    }

    pub(super) fn answer(&mut self, machine: &Controller, now: Time, ask: AskId, answer: Answer) {
        let Some(pending) = self.asks.remove(&ask) else { return };
        if let Some(limit) = self.reached(machine, ask, &pending, &answer) {
            self.metrics().refused(limit);
        }
        if let Some(guest) = self.guests.get_mut(&ask.connection) {
            guest.asks -= 1;
        }
        let took = now.since(pending.since);
        self.metrics().answered(pending.controller, pending.operation, &answer, took);
        // The connection may be gone by this time; the machine has been told so.
        let _ = pending.reply.send(answer);
    }

    /// The limit of this controller, if any, that an ask was refused for.
    fn reached(
        &self,
        machine: &Controller,
        ask: AskId,
        pending: &Pending,
        answer: &Answer,
    ) -> Option<Limit> {
        match answer {
            Answer::Refused { refusal: Refusal::Full, .. } if !pending.sent => {
                Some(if pending.operation == "pin" { Limit::Pins } else { Limit::Leases })
            }
            Answer::Overloaded { .. } if !pending.sent => {
                let asks = self.guests.get(&ask.connection).map_or(0, |guest| guest.asks);
                let limits = &self.serve.limits;
                let queue = machine.queue();
                Some(if !pending.controller && asks > limits.asks_per_connection_max {
                    Limit::AsksPerConnection
                } else if pending.waits {
                    Limit::Waits
                } else if queue.waiting() >= limits.queue.waiting_max {
                    Limit::Waiting
                } else if queue.waiting_bytes() + pending.bytes > limits.queue.waiting_bytes_max {
                    Limit::WaitingBytes
                } else if machine.forward().open() >= limits.forward.asks_max {
                    Limit::Forwards
                } else {
                    Limit::Patience
                })
            }
            Answer::Done { .. }
            | Answer::Refused { .. }
            | Answer::Released
            | Answer::Overloaded { .. }
            | Answer::NotLeader { .. }
            | Answer::Expired
            | Answer::Cancelled
            | Answer::Unknown => None,
        }
    }
}
