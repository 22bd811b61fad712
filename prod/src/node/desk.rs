//! What one other controller is answered.

use std::sync::Arc;

use portcullis_core::controller::{Input, Request};
use portcullis_core::{AskId, ConnectionId, NodeId, roles};

use super::serve::Serve;
use crate::env::Env;
use crate::metrics::labels;
use crate::peer::{self, Admission, Reply};

/// The desk at which one other controller is answered.
pub struct Desk<E: Env> {
    pub serve: Arc<Serve<E>>,
    pub connection: ConnectionId,
    /// Whom its certificate names.
    pub peer: NodeId,
}

impl<E: Env> peer::Handler<E::Runtime> for Desk<E> {
    fn admit(&self, hello: &peer::Hello) -> Admission {
        if hello.from != self.peer {
            Admission::Stranger
        } else if self.serve.gone(self.peer) {
            Admission::Removed
        } else if self.serve.peers.get(self.peer).is_some() || self.serve.knows_nobody() {
            Admission::Welcome
        } else {
            Admission::Stranger
        }
    }

    async fn handle(&self, request: peer::Request<E::Runtime>) -> Reply<E::Runtime> {
        let serve = &self.serve;
        serve.metrics.peer_asked(labels::peer_request(&request));
        if serve.gone(self.peer) {
            return Reply::Stopped;
        }
        match request {
            peer::Request::Ask { serial, operation, patience } => {
                let ask = AskId { connection: self.connection, serial };
                let answer = serve.ask(ask, Request::Apply(operation), patience).await;
                Reply::Answered { serial, answer }
            }
            peer::Request::Recall { serial } => {
                let ask = AskId { connection: self.connection, serial };
                serve.tell(Input::Cancelled { ask }).await;
                Reply::Recalled
            }
            peer::Request::Load(load) => {
                serve.tell(Input::Heard { from: self.peer, load }).await;
                Reply::Pong
            }
            peer::Request::Members(command) => Reply::Members(serve.propose_members(command).await),
            peer::Request::Look => Reply::Seen(serve.seen().map(Box::new)),
            peer::Request::Lead { to } => Reply::Led(serve.hand_lead(to).await),
            peer::Request::Leaving => {
                // Refused only when the controller is closing.
                let _ = serve.roles.send(roles::Input::Leaving { node: self.peer }).await;
                Reply::Pong
            }
            request => {
                if let peer::Request::Chunk { data, .. } = &request {
                    serve.metrics.snapshot_received(data.len() as u64);
                }
                let replied = peer::raft_reply(&serve.raft, &serve.received, request).await;
                let reply = replied.unwrap_or(Reply::Stopped);
                if let Reply::Restored(_) = reply {
                    serve.metrics.snapshot("received");
                }
                reply
            }
        }
    }
}
