//! The ways to turn strangers away at the one door that seed 000 tried and gave up.
//!
//! Each stands before the accept of a controller that is not yet connected to itself, or knows no
//! leader; from then on the door is as usual. Controllers are told apart by where they come from.

use std::time::Duration;

use portcullis_core::{Door, NodeId, Time};

use super::link::Caller;
use super::raft::Life;
use super::{Event, World};
use crate::settings::Strangers;

/// The waits of Go's HTTP server after an error of Accept: doubled each time, reset by a success.
const ERROR_FIRST: Duration = Duration::from_millis(5);
const ERROR_MOST: Duration = Duration::from_secs(1);
/// From one accept to the next, when the connection is not kept.
const ACCEPT_TIME: Duration = Duration::from_micros(20);

/// Where the accept loop of a process stands.
#[derive(Debug, Default)]
pub struct AcceptLoop {
    /// Whether it is as usual from now on.
    opened: bool,
    /// Until when it accepts nobody, and how long it waited last after an error.
    until: Time,
    wait: Duration,
}

impl World<'_> {
    /// Whether strangers are still turned away.
    pub(super) fn turns_away(&mut self, node: NodeId) -> bool {
        if self.plan.settings.policy.strangers == Strangers::Wait {
            return false;
        }
        let now = self.now;
        let process = self.process(node);
        if !process.accept_loop.opened {
            let itself = process.peers.get(&node).and_then(|peer| peer.link);
            let led = process.machine.as_ref().is_some_and(|one| one.status(now).leader.is_some());
            process.accept_loop.opened = led && itself.is_some_and(|(_, welcome)| welcome);
        }
        !process.accept_loop.opened
    }

    /// Whether other controllers are strangers too: raft travels over their connections.
    pub(super) fn locks_out(&mut self, node: NodeId) -> bool {
        self.plan.settings.policy.strangers == Strangers::Reject && self.turns_away(node)
    }

    /// Goes through the backlog up to the first that may come in, or as far as time allows.
    pub(super) fn turn_stranger_away(&mut self, node: NodeId) {
        let strangers = self.plan.settings.policy.strangers;
        let handshake = self.plan.settings.controllers.handshake_cost;
        let now = self.now;
        let process = self.process(node);
        let life = process.life;
        let Some(permit) = process.door(Door::Api).permit else { return };
        if process.accept_loop.until > now {
            return;
        }
        let Some(id) = process.door(Door::Api).backlog.pop_front() else { return };
        let caller = self.links.get(id).map(|link| link.caller);
        let welcome = match (caller, strangers) {
            (Some(Caller::Client(_)) | None, _) => false,
            (Some(Caller::Controller(from)), Strangers::Reject) => from == node,
            (
                Some(Caller::Controller(_)),
                Strangers::Wait | Strangers::Error | Strangers::Close,
            ) => true,
        };
        let process = self.process(node);
        let wait = match (welcome, strangers) {
            (true, _) | (false, Strangers::Wait | Strangers::Reject) => ACCEPT_TIME,
            (false, Strangers::Error) => {
                (process.accept_loop.wait * 2).clamp(ERROR_FIRST, ERROR_MOST)
            }
            (false, Strangers::Close) => {
                // The handshake goes as far as finding the connection closed.
                process.work(now, handshake);
                ACCEPT_TIME
            }
        };
        process.accept_loop.wait = if welcome { Duration::ZERO } else { wait };
        process.accept_loop.until = now + wait;
        self.heap.push(now + wait, Event::Accepts(life));
        if welcome {
            self.let_in(node, Door::Api, permit, id);
        } else {
            self.let_go(id);
        }
    }

    /// The accept loop goes on.
    pub(super) fn accept_again(&mut self, life: Life) {
        if self.process(life.node).lives(life) {
            self.accept(life.node, Door::Api);
        }
    }
}
