//! What operators ask of the cluster: how it stands, and that another controller leads.
//!
//! Only the leader knows the one and can do the other, so whoever is asked asks it.

use portcullis_core::NodeId;
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;

use super::Serve;
use crate::env::Env;
use crate::peer::{self, NotLed, Reply, Request};
use crate::raft::membership::{self, Seen};

/// Longest wait for the leader's answer.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);

impl<E: Env> Serve<E> {
    /// How the cluster stands, if this controller leads.
    pub fn seen(&self) -> Option<Seen> {
        let members = self.leases.view().members().clone();
        let reaches = |node| self.peers.reaches(node);
        membership::seen(&self.raft, &members, self.heard_within, reaches)
    }

    /// How the cluster stands, by its leader's word.
    pub async fn look(&self) -> Option<Seen> {
        if let Some(seen) = self.seen() {
            return Some(seen);
        }
        match self.ask_leader(&Request::Look).await? {
            Reply::Seen(seen) => seen.map(|seen| *seen),
            _ => None,
        }
    }

    /// Hands the lead over to a voter, if this controller has it.
    pub async fn hand_lead(&self, to: NodeId) -> Result<(), NotLed> {
        let picture = self.seen().ok_or(NotLed::NotLeader)?.picture;
        if !picture.voters.contains(&to) {
            return Err(NotLed::NotVoter);
        }
        if !picture.heard.contains(&to) {
            return Err(NotLed::Unheard);
        }
        if to != self.node && self.raft.trigger().transfer_leader(to.0).await.is_err() {
            return Err(NotLed::NotLeader);
        }
        Ok(())
    }

    /// Has the lead handed over, by whoever has it.
    pub async fn lead(&self, to: NodeId) -> Result<(), NotLed> {
        match self.hand_lead(to).await {
            Err(NotLed::NotLeader) => {}
            done => return done,
        }
        match self.ask_leader(&Request::Lead { to }).await {
            Some(Reply::Led(done)) => done,
            Some(_) | None => Err(NotLed::NotLeader),
        }
    }

    /// What another controller that leads answers; nothing if none does, or none that understands it.
    async fn ask_leader(&self, request: &Request<E::Runtime>) -> Option<Reply<E::Runtime>> {
        let leader = NodeId(self.raft.metrics().borrow_watched().current_leader?);
        if leader == self.node || !peer::understands(self.leases.view().members(), leader) {
            return None;
        }
        self.peers.get(leader)?.call(request, ANSWERED_WITHIN).await.ok()
    }
}
