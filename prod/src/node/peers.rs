//! The way to the other controllers, and to this one itself: asks and recalls.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use portcullis_core::balancer::Load;
use portcullis_core::lease::Operation;
use portcullis_core::queue::Answer;
use portcullis_core::{Address, AskId, NodeId};
use tokio::sync::watch;

use super::{At, Config, Error, Ports};
use crate::env::Env;
use crate::peer::{self, Failure, Link, Links, Reply, Request};
use crate::tls;

/// Every controller, with the addresses that others dial, best first.
pub type Addresses = BTreeMap<NodeId, Vec<Address>>;

/// What is known of where controllers are, by those who change it.
#[derive(Clone)]
pub struct Around {
    /// By the configuration, best first.
    pub addresses: watch::Receiver<Addresses>,
    /// What this controller has bound.
    pub ports: watch::Receiver<Ports>,
    /// By the file that says where controller doors are to be bound, if there is one.
    pub offered: Option<watch::Receiver<BTreeMap<NodeId, IpAddr>>>,
}

/// What became of an ask that was handed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The leader answered.
    Answered(Answer),
    /// It never left, for this reason.
    NotSent(Failure),
    /// It left, and no answer came.
    Lost,
    /// It was recalled before an answer came: nobody wants to know.
    Recalled,
}

/// See the module.
pub struct Peers<E: Env> {
    me: NodeId,
    links: Links<E>,
    serials: AtomicU64,
    /// The numbers under which asks are under way, for their recalls.
    under_way: Mutex<BTreeMap<AskId, u64>>,
}

impl<E: Env> Peers<E> {
    /// Nothing is under way.
    pub fn new(me: NodeId, links: Links<E>) -> Peers<E> {
        Peers { me, links, serials: AtomicU64::new(1), under_way: Mutex::default() }
    }

    /// A link to every controller of the configuration, until the members of the cluster are known.
    /// This one dials itself wherever it has bound a door: that shows that its own door works
    /// (seed 000).
    pub fn link(
        env: &E,
        config: &Config,
        limits: peer::Config,
        around: Around,
    ) -> Result<Links<E>, Error> {
        let me = config.controller.node;
        let tls = config.certificate.peer_client()?;
        let env = env.clone();
        let links = Links::new(move |node, address: Address| {
            let (host, tls) = (env.clone(), tls.clone());
            let around = around.clone();
            let dial = move |failed| {
                let (host, tls) = (host.clone(), tls.clone());
                let to = match node == me {
                    true => own(&around.ports.borrow(), failed),
                    false => around.turn(node, &address, failed).map(To::Address),
                };
                async move {
                    let stream = match to.ok_or(io::ErrorKind::NotConnected)? {
                        To::Address(address) => host.connect(&address).await?,
                        To::Socket(path) => host.connect_local(&path).await?,
                    };
                    tls::dial_peer(&tls, node, stream).await
                }
            };
            Link::start(&env, &limits, node, dial)
        });
        links.follow(&firsts(&config.peers));
        Ok(links)
    }

    /// From now on there are links to these controllers, and to nobody else.
    pub fn follow(&self, members: &BTreeMap<NodeId, Address>) {
        self.links.follow(members);
    }

    /// The link to a controller, if it is one of the cluster.
    pub fn get(&self, node: NodeId) -> Option<Link<E>> {
        self.links.get(node)
    }

    /// The links, in the order of the controllers.
    pub fn all(&self) -> impl Iterator<Item = (NodeId, Link<E>)> {
        self.links.all().into_iter()
    }

    /// Changes whenever links are made or dropped.
    pub fn changes(&self) -> watch::Receiver<impl Sized + use<E>> {
        self.links.changes()
    }

    /// Whether there is a connection to a controller.
    pub fn reaches(&self, node: NodeId) -> bool {
        self.links.get(node).is_some_and(|link| link.connected())
    }

    /// Hands an ask to a controller and waits for its answer, no longer than `patience` and the way.
    pub async fn ask(
        &self,
        to: NodeId,
        ask: AskId,
        operation: Operation,
        patience: Duration,
    ) -> Asked {
        let Some(link) = self.links.get(to) else { return Asked::NotSent(Failure::Unreachable) };
        let serial = self.serials.fetch_add(1, Ordering::Relaxed);
        self.locked().insert(ask, serial);
        let request = Request::Ask { serial, operation, patience };
        // The machine has a deadline of its own; this one only ends what nobody waits for.
        let reply = link.call(&request, patience * 2).await;
        {
            // The same ask may be under way again, to another controller.
            let mut under_way = self.locked();
            if under_way.get(&ask) != Some(&serial) {
                return Asked::Recalled;
            }
            under_way.remove(&ask);
        }
        match reply {
            Ok(Reply::Answered { answer, .. }) => Asked::Answered(answer),
            Err(why @ (Failure::Unreachable | Failure::Busy | Failure::TooLarge)) => {
                Asked::NotSent(why)
            }
            Ok(_) | Err(Failure::Lost | Failure::Timeout) => Asked::Lost,
        }
    }

    /// Tells a controller that nobody waits for the ask any more, and forgets it. If the connection
    /// is gone, so is the ask.
    pub fn recall(&self, env: &E, to: NodeId, ask: AskId) {
        let under_way = self.locked().remove(&ask);
        let link = self.links.get(to);
        if let (Some(serial), Some(link)) = (under_way, link) {
            env.spawn(async move {
                let patience = Duration::from_secs(1);
                if let Err(failure) = link.call(&Request::Recall { serial }, patience).await {
                    tracing::debug!(%to, %ask, %failure, "recall not delivered");
                }
            });
        }
    }

    /// Tells every other controller that can be reached how many agents this one has. Who does not
    /// hear it is told again soon.
    pub fn tell(&self, env: &E, load: Load) {
        let others = self.all().filter(|(node, _)| *node != self.me);
        for (to, link) in others.filter(|(_, link)| link.connected()) {
            env.spawn(async move {
                let patience = Duration::from_secs(1);
                if let Err(failure) = link.call(&Request::Load(load), patience).await {
                    tracing::debug!(%to, %failure, "load not told");
                }
            });
        }
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<AskId, u64>> {
        // Nothing panics under the lock.
        self.under_way.lock().expect("the lock is never poisoned")
    }
}

/// Whom a dial is for.
enum To {
    Address(Address),
    Socket(PathBuf),
}

/// Where the log is to say that each controller is dialled: at the first of its addresses.
pub fn firsts(addresses: &Addresses) -> BTreeMap<NodeId, Address> {
    let first = |(node, all): (&NodeId, &Vec<Address>)| Some((*node, all.first()?.clone()));
    addresses.iter().filter_map(first).collect()
}

impl Around {
    /// The address whose turn it is after so many dials that failed; `logged` is the one in the log.
    fn turn(&self, node: NodeId, logged: &Address, failed: usize) -> Option<Address> {
        let offered = self.offered.as_ref().and_then(|file| file.borrow().get(&node).copied());
        turn(self.addresses.borrow().get(&node), logged, offered, failed)
    }
}

/// Whoever the file offers another address is there or soon will be; one in the log that the
/// configuration does not have is the member's own word. The configuration is right about the rest.
fn turn(
    configured: Option<&Vec<Address>>,
    logged: &Address,
    offered: Option<IpAddr>,
    failed: usize,
) -> Option<Address> {
    let configured = configured.into_iter().flatten();
    let offered = offered.and_then(|ip| {
        let (_, port) = logged.as_str().rsplit_once(':')?;
        Some(Address::from(SocketAddr::new(ip, port.parse().ok()?).to_string()))
    });
    let newer =
        std::iter::once(logged).filter(|logged| !configured.clone().any(|at| at == *logged));
    let mut all: Vec<&Address> = offered.iter().chain(newer).collect();
    all.extend(configured.filter(|at| offered.as_ref() != Some(at)));
    all.dedup();
    all.get(failed.checked_rem(all.len())?).map(|at| (*at).clone())
}

/// Where this host reaches itself: at its controller door if it has one, or else at the API door.
fn own(ports: &Ports, failed: usize) -> Option<To> {
    let doors = ports.controller.clone().into_iter().chain(ports.api.map(At::Port));
    let bound: Vec<At> = doors.collect();
    let at = bound.get(failed.checked_rem(bound.len())?)?;
    Some(match at.nearby() {
        At::Port(address) => To::Address(Address::from(address.to_string())),
        At::Socket(path) => To::Socket(path),
    })
}
