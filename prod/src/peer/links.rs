//! The links of one controller: one to each member of the cluster, made and dropped as those change.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use portcullis_core::{Address, NodeId};
use tokio::sync::watch;

use super::Link;
use crate::env::Env;

type Start<E> = Box<dyn Fn(NodeId, Address) -> Link<E> + Send + Sync>;
type Table<E> = BTreeMap<NodeId, (Address, Link<E>)>;

/// A handle on the links; clones share them.
pub struct Links<E: Env>(Arc<Shared<E>>);

struct Shared<E: Env> {
    start: Start<E>,
    links: watch::Sender<Table<E>>,
}

impl<E: Env> Clone for Links<E> {
    fn clone(&self) -> Self {
        Links(Arc::clone(&self.0))
    }
}

impl<E: Env> Links<E> {
    /// No links yet; `start` makes them.
    pub fn new(start: impl Fn(NodeId, Address) -> Link<E> + Send + Sync + 'static) -> Links<E> {
        let (links, _) = watch::channel(Table::new());
        Links(Arc::new(Shared { start: Box::new(start), links }))
    }

    /// The link to a controller, if it is one of the cluster.
    pub fn get(&self, node: NodeId) -> Option<Link<E>> {
        self.0.links.borrow().get(&node).map(|(_, link)| link.clone())
    }

    /// The links, in the order of the controllers.
    pub fn all(&self) -> Vec<(NodeId, Link<E>)> {
        self.0.links.borrow().iter().map(|(node, (_, link))| (*node, link.clone())).collect()
    }

    /// Changes whenever links are made or dropped.
    pub fn changes(&self) -> watch::Receiver<Table<E>> {
        self.0.links.subscribe()
    }

    /// Makes the link to a controller, unless there is one.
    pub fn meet(&self, node: NodeId, address: Address) {
        self.0.links.send_if_modified(|links| self.make(links, node, &address));
    }

    /// From now on there are links to these controllers at these addresses, and to nobody else.
    pub fn follow(&self, members: &BTreeMap<NodeId, Address>) {
        self.0.links.send_if_modified(|links| {
            let before = links.len();
            // A link that is dropped ends by itself.
            links.retain(|node, (address, _)| members.get(node) == Some(address));
            let dropped = links.len() < before;
            let met = |met, (&node, address)| self.make(links, node, address) || met;
            members.iter().fold(dropped, met)
        });
    }

    /// Whether there was none, and one was made.
    fn make(&self, links: &mut Table<E>, node: NodeId, address: &Address) -> bool {
        let Entry::Vacant(place) = links.entry(node) else { return false };
        place.insert((address.clone(), (self.0.start)(node, address.clone())));
        true
    }
}
