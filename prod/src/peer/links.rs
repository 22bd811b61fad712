//! The links of one controller: one to each member of the cluster, made and dropped as those change.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use portcullis_core::{Address, NodeId};

use super::Link;
use crate::env::Env;

type Start<E> = Box<dyn Fn(NodeId, Address) -> Link<E> + Send + Sync>;

/// A handle on the links; clones share them.
pub struct Links<E: Env>(Arc<Shared<E>>);

struct Shared<E: Env> {
    start: Start<E>,
    links: Mutex<BTreeMap<NodeId, (Address, Link<E>)>>,
}

impl<E: Env> Clone for Links<E> {
    fn clone(&self) -> Self {
        Links(Arc::clone(&self.0))
    }
}

impl<E: Env> Links<E> {
    /// No links yet; `start` makes them.
    pub fn new(start: impl Fn(NodeId, Address) -> Link<E> + Send + Sync + 'static) -> Links<E> {
        Links(Arc::new(Shared { start: Box::new(start), links: Mutex::default() }))
    }

    /// The link to a controller, if it is one of the cluster.
    pub fn get(&self, node: NodeId) -> Option<Link<E>> {
        self.locked().get(&node).map(|(_, link)| link.clone())
    }

    /// The links, in the order of the controllers.
    pub fn all(&self) -> Vec<(NodeId, Link<E>)> {
        self.locked().iter().map(|(node, (_, link))| (*node, link.clone())).collect()
    }

    /// Makes the link to a controller, unless there is one.
    pub fn meet(&self, node: NodeId, address: Address) {
        let start = || (address.clone(), (self.0.start)(node, address.clone()));
        self.locked().entry(node).or_insert_with(start);
    }

    /// From now on there are links to these controllers at these addresses, and to nobody else.
    pub fn follow(&self, members: &BTreeMap<NodeId, Address>) {
        // A link that is dropped ends by itself.
        self.locked().retain(|node, (address, _)| members.get(node) == Some(address));
        for (&node, address) in members {
            self.meet(node, address.clone());
        }
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<NodeId, (Address, Link<E>)>> {
        // Nothing panics under the lock.
        self.0.links.lock().expect("the lock is never poisoned")
    }
}
