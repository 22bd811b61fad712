//! What a controller asks of the lease service for itself: to be the one that is responsible.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use portcullis_core::controller::{Input, Request};
use portcullis_core::lease::Key;
use portcullis_core::queue::Answer;
use portcullis_core::singular;
use portcullis_core::{AskId, ConnectionId};
use tokio::sync::watch;

use super::Serve;
use crate::api::Responsibility;
use crate::env::Env;
use crate::raft;
use crate::singular::{Asks, Flag, Responsible};

/// What stands for a namespace of leases where leading is what something runs by.
pub const RAFT_LEADERSHIP: &str = "raft-leadership";
/// Who moves the time that leases expire by, as Juju's worker of that name does.
pub const GLOBAL_CLOCK_UPDATER: &str = "global-clock-updater";
/// Who gives out the roles of the cluster's members.
pub const ROLE_ADJUSTER: &str = "role-adjuster";

/// A flag for each namespace and lease.
type Flags = BTreeMap<(String, String), watch::Receiver<Option<Flag>>>;

/// What this controller strives to be responsible for.
#[derive(Debug, Default)]
pub struct Own {
    serials: AtomicU64,
    flags: watch::Sender<Flags>,
}

impl Own {
    /// What it strives for, in order, each with its fence if it runs here.
    pub fn all(&self) -> Vec<Responsibility> {
        let flags = self.flags.borrow();
        let one =
            |((namespace, lease), flag): (&(String, String), &watch::Receiver<Option<Flag>>)| {
                Responsibility {
                    namespace: namespace.clone(),
                    lease: lease.clone(),
                    fence: flag.borrow().map(|flag| flag.fence),
                }
            };
        flags.iter().map(one).collect()
    }
}

/// The controller's own way to the lease service.
struct Local<E: Env>(Arc<Serve<E>>);

impl<E: Env> Clone for Local<E> {
    fn clone(&self) -> Local<E> {
        Local(self.0.clone())
    }
}

impl<E: Env> Asks for Local<E> {
    async fn ask(&self, request: Request, patience: Duration) -> Answer {
        let serve = &self.0;
        let serial = serve.own.serials.fetch_add(1, Ordering::Relaxed);
        let ask = AskId { connection: ConnectionId::OWN, serial };
        let recall = Recall { serve: serve.clone(), ask, armed: true };
        let answer = serve.ask(ask, request, patience).await;
        recall.disarm();
        answer
    }
}

/// Takes an ask back whose answer nobody waits for any more.
struct Recall<E: Env> {
    serve: Arc<Serve<E>>,
    ask: AskId,
    armed: bool,
}

impl<E: Env> Recall<E> {
    fn disarm(mut self) {
        self.armed = false;
    }
}

impl<E: Env> Drop for Recall<E> {
    fn drop(&mut self) {
        if self.armed {
            let (serve, ask) = (self.serve.clone(), self.ask);
            self.serve.env.spawn(async move { serve.tell(Input::Cancelled { ask }).await });
        }
    }
}

/// Strives for the lease of that name, in the model of controllers.
pub fn responsible<E: Env>(serve: &Arc<Serve<E>>, namespace: &str, entity: &str) -> Responsible {
    let model = {
        let cluster = serve.cluster.borrow();
        cluster.controller_model().map_or_else(|| cluster.uuid.clone(), |model| model.uuid.clone())
    };
    let key = Key::new(namespace, model.as_str(), entity);
    let holder = serve.node.to_string().as_str().into();
    let config = singular::Config::new(key, holder, singular::DURATION);
    let responsible = Responsible::start(&serve.env, Local(serve.clone()), config);
    show(serve, namespace, entity, &responsible);
    responsible
}

/// Responsible for that, by its name, wherever the leader is.
pub fn leading<E: Env>(serve: &Arc<Serve<E>>, name: &str) -> Responsible {
    let responsible = Responsible::leading(&serve.env, name, raft::Roles::new(&serve.raft));
    show(serve, RAFT_LEADERSHIP, name, &responsible);
    responsible
}

/// Has a flag shown among all that this controller strives for.
fn show<E: Env>(serve: &Serve<E>, namespace: &str, name: &str, responsible: &Responsible) {
    serve.own.flags.send_modify(|flags| {
        flags.insert((namespace.to_owned(), name.to_owned()), responsible.flag());
    });
}
