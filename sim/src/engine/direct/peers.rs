//! Controllers that call each other, and themselves.
//!
//! A controller calls every controller through the controller door, or through the API door if there
//! is no other, where it then waits among the agents (seed 000), unless that one lets controllers in
//! first. It knows both addresses, and tries one after the other, so that a controller port may be
//! switched on and off. The call to itself is what makes it ready; over the others it hands asks on to
//! the leader.

use std::time::Duration;

use portcullis_core::balancer::Load;
use portcullis_core::controller::{Input, Request};
use portcullis_core::lease::Operation;
use portcullis_core::{AskId, Door, NodeId};

use super::link::{Caller, Down, LinkId, Message, Up};
use super::raft::{Life, Node};
use super::{Event, World};
use crate::settings::ControllerDoor;

/// Wait before a controller calls again.
const CALL_AGAIN: Duration = Duration::from_secs(1);
/// Longest time from calling to being logged in.
const CALL_WITHIN: Duration = Duration::from_secs(5);

impl World<'_> {
    /// A controller calls another, unless it is connected to it already.
    pub(super) fn call(&mut self, life: Life, to: NodeId) {
        let addresses = self.addresses(life.node, to);
        let process = self.process(life.node);
        if !process.lives(life) || process.peers.entry(to).or_default().link.is_some() {
            return;
        }
        if to == life.node && process.lost_itself {
            process.peers.entry(to).or_default().next = 0;
            return self.peer_lost(life.node, to);
        }
        let peer = process.peers.entry(to).or_default();
        let (door, host) = addresses[peer.next % addresses.len()].clone();
        peer.next += 1;
        if host.is_some() && host != self.process(to).known.bound {
            // Nobody listens there.
            return self.peer_lost(life.node, to);
        }
        let link = self.links.open(Caller::Controller(life.node), to, door);
        self.process(life.node).peers.entry(to).or_default().link = Some((link, false));
        self.heap.push(self.now + CALL_WITHIN, Event::Answerless(life, link));
        self.send(link, Message::Up(Up::Knock));
    }

    /// The doors at which a controller calls another or itself, in order: the controller's, at each
    /// host where that may be bound, then the agents'. Whose controller door is for itself alone is called by others at the API door.
    fn addresses(&mut self, node: NodeId, to: NodeId) -> Vec<(Door, Option<String>)> {
        let for_peers = self.plan.settings.controllers.controller_door == ControllerDoor::Peers;
        let there = self.process(to).set.controller_door && (for_peers || node == to);
        let hosts = if there { self.hosts(node, to) } else { Vec::new() };
        let controller = hosts.into_iter().map(|host| (Door::Controller, host));
        controller.chain([(Door::Api, None)]).collect()
    }

    /// The machine is told of the link to another controller, if it has not been told so.
    fn linked(&mut self, node: NodeId, to: NodeId, up: bool) {
        let peer = self.process(node).peers.entry(to).or_default();
        if peer.told.replace(up) != Some(up) {
            self.tell(node, Input::Linked { to, up });
        }
    }

    /// The leader's word of how far it has committed reaches a controller, if it is linked to it.
    pub(super) fn hear_leader(&mut self, node: NodeId) {
        let Some(leader) = self.process(node).leader else { return };
        let linked = self.process(node).peers.get(&leader).and_then(|peer| peer.link);
        let committed = self.process(leader).raft.as_ref().and_then(Node::committed);
        if let (Some((_, true)), Some(index)) = (linked, committed) {
            self.process(node).heard = true;
            self.tell(node, Input::Committing { index });
        }
    }

    /// Gives a call up that has led to nothing.
    pub(super) fn answerless(&mut self, life: Life, id: LinkId) {
        let Some(link) = self.links.get(id) else { return };
        let to = link.node;
        let process = self.process(life.node);
        if process.lives(life)
            && process.peers.get(&to).is_some_and(|peer| peer.link == Some((id, false)))
        {
            self.unwanted(id);
            self.peer_lost(life.node, to);
        }
    }

    /// Something for a controller that called arrives.
    pub(super) fn peer_told(&mut self, node: NodeId, to: NodeId, id: LinkId, down: Down) {
        let peer = self.process(node).peers.entry(to).or_default();
        match down {
            Down::Connected => self.send(id, Message::Up(Up::Login)),
            Down::Welcome { .. } => {
                peer.link = Some((id, true));
                peer.next = 0;
                self.linked(node, to, true);
                self.hear_leader(node);
            }
            // A controller is neither refused nor sent elsewhere.
            Down::Pong | Down::Refused | Down::Redirected { .. } | Down::Told { .. } => {}
            Down::Answer { serial, answer } => {
                if let Some(ask) = peer.answered(serial) {
                    self.tell(node, Input::Answered { ask, answer });
                }
            }
            Down::Closed => self.peer_lost(node, to),
        }
    }

    /// A controller's connection to another is gone; it will call again.
    pub(super) fn peer_lost(&mut self, node: NodeId, to: NodeId) {
        let addresses = self.addresses(node, to).len();
        let process = self.process(node);
        let life = process.life;
        let peer = process.peers.entry(to).or_default();
        let was_in = matches!(peer.link, Some((_, true)));
        let wait =
            if was_in || peer.next.is_multiple_of(addresses) { CALL_AGAIN } else { Duration::ZERO };
        let lost = peer.lose();
        for ask in lost {
            self.tell(node, Input::Lost { ask });
        }
        self.linked(node, to, false);
        self.heap.push(self.now + wait, Event::Call(life, to));
    }

    /// Tells every other controller that can be reached how many agents this one has.
    pub(super) fn tell_load(&mut self, node: NodeId, load: Load) {
        let peers = self.process(node).peers.iter();
        let others = peers.filter(|(to, _)| **to != node).filter_map(|(_, peer)| peer.link);
        let links: Vec<LinkId> = others.filter(|(_, in_)| *in_).map(|(link, _)| link).collect();
        for link in links {
            self.send(link, Message::Up(Up::Load(load)));
        }
    }

    /// Hands an ask on to another controller.
    pub(super) fn hand_on(
        &mut self,
        node: NodeId,
        ask: AskId,
        to: NodeId,
        operation: Operation,
        patience: Duration,
    ) {
        let peer = self.process(node).peers.entry(to).or_default();
        match peer.link {
            Some((link, true)) => {
                let serial = peer.ask(ask);
                let request = Request::Apply(operation);
                self.send(link, Message::Up(Up::Ask { serial, request, patience }));
            }
            Some((_, false)) | None => self.tell(node, Input::NotSent { ask }),
        }
    }

    /// Takes back an ask that was handed on.
    pub(super) fn recall(&mut self, node: NodeId, ask: AskId, to: NodeId) {
        let peer = self.process(node).peers.entry(to).or_default();
        let (link, serial) = (peer.link, peer.recall(ask));
        if let (Some((link, true)), Some(serial)) = (link, serial) {
            self.send(link, Message::Up(Up::TakeBack { serial }));
        }
    }
}
