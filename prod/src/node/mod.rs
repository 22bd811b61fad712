//! One controller, whole: its machine, its log, its doors and its links to the others.
//!
//! ```text
//!   doors ──▶ connections ──▶ serve ──┐                       ┌──▶ doors, connections
//!   raft ───▶ role, news ─────────────┼─▶ inbox ─▶ Controller ┼──▶ raft (propose)
//!   peers ──▶ serve ──────────────────┘    (drive)            └──▶ peers (send, recall)
//! ```

mod answers;
mod bound;
mod certificates;
mod cut;
mod desk;
mod door;
mod figures;
mod growth;
mod joining;
pub mod members;
mod metrics_port;
mod news;
mod operate;
mod own;
mod peers;
mod ports;
mod proxied;
mod readiness;
mod serve;
mod shell;
mod stop;
mod watches;
mod whereabouts;
mod worker;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use portcullis_core::addresses::HostPort;
use portcullis_core::controller::{self, Controller, Input};
use portcullis_core::members::{Command, Members, Outcome};
use portcullis_core::{Address, Name, NodeId, pace};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::api::{self, Cluster, Elsewhere, Model};
use crate::credentials::Credentials;
use crate::drive::drive;
use crate::env::Env;
use crate::metrics::{Metrics, Timed};
use crate::peer;
use crate::raft::{self, Raft, Store, Table};
use crate::singular::Responsible;
use crate::tls::{self, Certificate};
use certificates::Seldom;
use cut::Cut;
use joining::Desk;
use members::{Known, Membership};
use news::News;
use own::Own;
use peers::Peers;
use serve::Serve;
use shell::{Arrival, Greeting, Surroundings};
use worker::Workers;

pub use joining::{Issuer, Joining};
pub use own::{GLOBAL_CLOCK_UPDATER, RAFT_LEADERSHIP, ROLE_ADJUSTER};
pub use peers::Addresses;
pub use ports::{At, Doors, Ports};
pub use readiness::Readiness;
pub use whereabouts::Whereabouts;
pub use worker::Worker;

pub use proxied::Net;

/// Most arrivals that wait for the machine; who has another one waits.
const INBOX_MAX: usize = 4_096;
/// Most connections to the metrics address at a time; the next waits in the backlog.
const METRICS_CONNECTIONS_MAX: usize = 8;
/// Most copies of the tables that are made for backups at a time; more are told to come back.
const COPIES_MAX: usize = 1;
/// Name of the raft store in the data folder.
pub const STORE: &str = "raft.redb";

/// Everything a controller needs to know.
#[derive(Debug)]
pub struct Config {
    /// Limits of the machine; says which controller this is.
    pub controller: controller::Config,
    /// Pace and limits of the log.
    pub raft: raft::Config,
    /// How the log is written.
    pub writer: raft::Writer,
    /// Limits of one API connection.
    pub api: api::Config,
    /// Where to listen.
    pub doors: Doors,
    /// The file that says where the controller door is to be bound, if one does: then `controller` has
    /// a `bind`, and `doors` say the port alone.
    pub bind_file: Option<PathBuf>,
    /// Where to show metrics to whoever asks, by plain HTTP.
    pub metrics: Option<SocketAddr>,
    /// Fronts, whose connections to the API door begin with a PROXY header.
    pub proxied: Vec<Net>,
    /// The cluster's own name, a UUID: nothing is said to members of another.
    pub cluster: String,
    /// How the members of the cluster are looked after; without it they and their roles stay as the
    /// log was founded.
    pub membership: Option<Membership>,
    /// Whether this controller has joined, and how it lets others join.
    pub joining: Joining,
    /// Every controller of the cluster, this one included, with the addresses that controllers
    /// dial, best first: those that found it. From then on the log says who they are.
    pub peers: Addresses,
    /// What agents and users are told of where controllers are: one list a controller.
    pub servers: BTreeMap<NodeId, Vec<HostPort>>,
    /// The network that agents are told of alone, where a controller has an address in it.
    pub space: Option<String>,
    /// This controller's certificate.
    pub certificate: Certificate,
    /// Who may log in.
    pub credentials: Credentials,
    /// The models there are.
    pub models: Vec<Model>,
    /// Where the models are that are not here any more, by UUID.
    pub moved: BTreeMap<String, Elsewhere>,
}

/// What of a controller may change while it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    /// As [`Config::peers`]. Connections stay; the next dial goes by it. Controllers that were not
    /// there at the start are left out.
    pub peers: Addresses,
    /// As [`Config::doors`]; the API door stays where it is.
    pub doors: Doors,
    /// As [`Config::servers`]. A controller that was not there at the start is left out, and one
    /// that is missing keeps its addresses: members do not change by a file.
    pub servers: BTreeMap<NodeId, Vec<HostPort>>,
    /// As [`Config::space`].
    pub space: Option<String>,
    /// As [`Config::models`].
    pub models: Vec<Model>,
    /// As [`Config::moved`].
    pub moved: BTreeMap<String, Elsewhere>,
    /// How fast the API door lets in. Another pace refills no bucket.
    pub pace: pace::Config,
    /// Wait between stable and opening the API door; counts for one that waits as well.
    pub open_delay: Duration,
}

/// Why a controller could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its data folder cannot be used; it was left as it is.
    #[error(transparent)]
    Store(#[from] raft::Error),
    /// Its file could not be opened.
    #[error("{STORE} cannot be opened: {0}")]
    Disk(std::io::Error),
    /// Its certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] tls::Error),
    /// The pace of the log contradicts itself.
    #[error("raft: {0}")]
    Pace(#[from] openraft::ConfigError),
    /// The log could not be taken up where it was left.
    #[error("raft could not start: {0}")]
    Raft(String),
}

/// A running controller. It stops when [`Node::stop`] is called, not when this is dropped.
pub struct Node<E: Env> {
    serve: Arc<Serve<E>>,
    ports: watch::Receiver<Ports>,
    removed: Option<watch::Receiver<bool>>,
}

impl<E: Env> Node<E> {
    /// Takes the log up where it was left, and starts to serve.
    pub async fn start(env: E, mut config: Config) -> Result<Node<E>, Error> {
        // Where the doors are says which there are.
        config.controller.listener.controller_door = config.doors.controller.is_some();
        config.controller.listener.controllers_first = config.doors.controllers_first;
        let node = config.controller.node;
        let validity = env.today().map(|now| config.certificate.check(now)).transpose()?;
        let identity = raft::Identity { cluster: config.cluster.clone(), node };
        let metrics = Arc::new(Metrics::new(figures::bounds(&config)));
        let disk = env.open(STORE).map_err(Error::Disk)?;
        let disk = Timed::new(env.clone(), disk, metrics.syncs());
        let store = Store::open(disk, &identity, config.writer)?;
        let quiet = store.quiet().map_err(raft::Error::Io)?;
        let news = News::default();
        let table = Table::new(store.clone(), news.observer(env.clone(), metrics.clone()));
        let leases = table.leases();
        let (ports_out, ports) = watch::channel(Ports::default());
        let limits = peer::Config::new(node, &config.cluster);
        let addresses = watch::Sender::new(config.peers.clone());
        let bind_file = config.bind_file.clone();
        let bind_file =
            bind_file.map(|path| bound::BindFile { path, others: watch::Sender::default() });
        let offered = bind_file.as_ref().map(|file| file.others.subscribe());
        let around =
            peers::Around { addresses: addresses.subscribe(), ports: ports.clone(), offered };
        let links = Peers::link(&env, &config, limits.clone(), around)?;
        let raft = Raft::new(
            node.0,
            Arc::new(openraft::Config { enable_elect: quiet.is_zero(), ..config.raft.openraft()? }),
            peer::Network::new(node, links.clone(), config.raft.append_within(), metrics.clone()),
            store.clone(),
            table,
        );
        let raft = raft.await.map_err(|error| Error::Raft(error.to_string()))?;
        let founds = !config.joining.joined && config.peers.contains_key(&node);
        if founds {
            found(&raft, &peers::firsts(&config.peers)).await;
        }

        let (inbox, arrivals) = mpsc::channel(INBOX_MAX);
        let (roles_in, told) = mpsc::channel(members::INBOX_MAX);
        let (known, membership) = (Known::of(&config), config.membership.clone());
        let serve = Arc::new(Serve {
            env: env.clone(),
            node,
            joins: !founds,
            joining: Desk::new(config.joining.issuer),
            validity,
            mistrusts: Seldom::default(),
            limits: config.controller.clone(),
            metrics,
            inbox,
            stopping: CancellationToken::new(),
            stopped: CancellationToken::new(),
            closing: CancellationToken::new(),
            proxied: config.proxied,
            tls: config.certificate.server()?,
            disowned: limits.disowned.clone(),
            heard_within: config.raft.election.0,
            roles: roles_in,
            peer: limits,
            peers: Peers::new(node, links),
            raft,
            store,
            snapshot_since: AtomicU64::new(env.now().0),
            copying: Semaphore::new(COPIES_MAX),
            received: peer::Received::default(),
            leases,
            news: news.clone(),
            own: Own::default(),
            ports: ports.clone(),
            bind_file,
            bound: watch::Sender::default(),
            whereabouts: watch::Sender::new(Whereabouts::new(
                config.servers.clone(),
                &config.peers,
            )),
            readiness: watch::Sender::default(),
            addresses,
            workers: Workers::default(),
            doors: watch::Sender::new(config.doors.clone()),
            api: Arc::new(config.api),
            credentials: Arc::new(config.credentials),
            cluster: watch::Sender::new(Arc::new(Cluster {
                uuid: config.cluster,
                authority: tls::to_pem(&config.certificate.authority),
                servers: config.servers,
                space: config.space,
                models: config.models,
                moved: config.moved,
            })),
        });
        let machine = Controller::new(config.controller, env.seed());
        if let Some(address) = config.metrics {
            let worker = Worker::new("metrics", &serve.workers);
            let opened = metrics_port::open(serve.clone(), address, ports_out.clone(), worker);
            env.spawn(serve.clone().until_closing(opened));
        }
        let surroundings = Surroundings::new(serve.clone(), ports_out);
        let driven = drive(env.clone(), machine, surroundings, arrivals);
        env.spawn(serve.clone().until_closing(driven));
        env.spawn(serve.clone().until_closing(watches::roles(serve.clone())));
        env.spawn(serve.clone().until_closing(watches::tell_of_clock(serve.clone())));
        env.spawn(serve.clone().until_closing(news.deliver(serve.clone())));
        env.spawn(serve.clone().until_closing(watches::linked(serve.clone())));
        env.spawn(serve.clone().until_closing(watches::committed(serve.clone())));
        if !quiet.is_zero() {
            env.spawn(serve.clone().until_closing(watches::keep_quiet(serve.clone(), quiet)));
        }
        env.spawn(serve.clone().until_closing(growth::bound(serve.clone(), config.raft)));
        env.spawn(serve.clone().until_closing(certificates::watch(serve.clone())));
        // What the table had when it was opened is in no news.
        let index = serve.leases.view().index();
        if let Some(index) = index {
            serve.tell(Input::Applied { index, released: Vec::new() }).await;
        }
        // Whom the door waits for must be known before it could open.
        let workers = serve.workers.borrow().clone();
        for worker in workers.into_keys() {
            serve.tell(Input::Working { worker, stable: false }).await;
        }
        env.spawn(serve.clone().until_closing(worker::deliver(serve.clone())));
        env.spawn(serve.clone().until_closing(bound::watch(serve.clone())));
        if env.memory().is_some() {
            env.spawn(serve.clone().until_closing(watches::memory(serve.clone())));
        }
        let removed = membership.map(|one| members::start(&serve, one, known, told));
        serve.tell(Input::Started).await;
        Ok(Node { serve, ports, removed })
    }

    /// How ready the controller is, as it changes.
    pub fn readiness(&self) -> watch::Receiver<Readiness> {
        self.serve.readiness.subscribe()
    }

    /// Registers a worker of the program around: no agent is let in before it is stable, nor, after
    /// a while, when it is not any more. Its name shows in what the controller says it waits for.
    pub async fn worker(&self, name: &str) -> Worker {
        let worker = Worker::new(name, &self.serve.workers);
        // Once this returns, the door waits for it.
        self.serve.tell(Input::Working { worker: Name::new(name), stable: false }).await;
        worker
    }

    /// What is bound, as it changes: with port 0 the one way to know without a race (seed 000).
    ///
    /// ```no_run
    /// # async fn example(node: portcullis::node::Node<portcullis::tokio_env::Tokio>) {
    /// let mut ports = node.ports();
    /// let bound = ports.wait_for(|ports| ports.api.is_some()).await.expect("it runs");
    /// println!("agents may dial {:?}", bound.api);
    /// # }
    /// ```
    pub fn ports(&self) -> watch::Receiver<Ports> {
        self.ports.clone()
    }

    /// Has a command about the members done, here or by the leader.
    pub async fn change_members(&self, command: Command) -> Result<Outcome, raft::NotWritten> {
        self.serve.change_members(command).await
    }

    /// The members of the cluster, as this controller's copy of the table has them.
    pub fn members(&self) -> Members {
        self.serve.leases.view().members().clone()
    }

    /// Returns once this controller has learnt that it was removed from the cluster. It has closed
    /// by then.
    pub async fn removed(&self) {
        let Some(mut removed) = self.removed.clone() else { return std::future::pending().await };
        if removed.wait_for(|removed| *removed).await.is_err() {
            // It closes for another reason.
            std::future::pending::<()>().await;
        }
    }

    /// Returns once the log cannot be written or read any more, as when the disk is full, with the
    /// reason. The controller leads and answers nobody from then on, and has lost nothing that it
    /// acknowledged: it may be started again once the disk is well.
    pub async fn failed(&self) -> String {
        self.serve.failed().await
    }

    /// What the controller is doing.
    pub async fn status(&self) -> Option<controller::Status> {
        self.serve.status().await
    }

    /// Strives to be the one controller that is responsible for something (seed 003), by the lease
    /// of that name; asks go through this controller's own queue, or on to the leader. Those that
    /// strive are shown in the metrics and by `portcullis status`.
    ///
    /// As with Juju's `machine-0`, a controller holds under its own name; a process that is started
    /// again while it holds goes on under the same fence.
    pub fn responsible(&self, namespace: &str, entity: &str) -> Responsible {
        own::responsible(&self.serve, namespace, entity)
    }

    /// Goes on with what the operator has changed. Whoever watches where controllers are is told if
    /// that is among it; connections stay.
    pub async fn reload(&self, live: Live) {
        let Live { peers, doors, mut servers, space, models, moved, pace, open_delay } = live;
        self.serve.addresses.send_modify(|known| {
            for (node, addresses) in known {
                if let Some(said) = peers.get(node) {
                    addresses.clone_from(said);
                }
            }
        });
        let known: Vec<NodeId> = self.serve.cluster.borrow().servers.keys().copied().collect();
        self.serve.whereabouts.send_modify(|whereabouts| {
            servers.retain(|node, _| known.contains(node));
            whereabouts.servers.extend(servers);
            whereabouts.dialled_at(&peers);
        });
        let servers = self.serve.servers();
        self.serve.cluster.send_if_modified(|cluster| {
            let next = Cluster { servers, space, models, moved, ..(**cluster).clone() };
            let changed = next != **cluster;
            *cluster = Arc::new(next);
            changed
        });
        let Doors { api, controller: had, .. } = self.serve.doors.borrow().clone();
        let Doors { controller: has, controllers_first, .. } = doors;
        let told = |controller_door| Input::Reconfigured {
            pace,
            open_delay,
            controller_door,
            controllers_first,
        };
        if had.is_some() && has.is_some() && had != has {
            // It moves: it is shut where it was before it is opened where it is to be.
            self.serve.tell(told(false)).await;
        }
        let input = told(has.is_some());
        self.serve.doors.send_replace(Doors { api, controller: has, controllers_first });
        self.serve.tell(input).await;
    }

    /// Shuts the doors, lets agents go and asks under way end, hands the lead over, closes what
    /// connections are left, and the log.
    pub async fn stop(self) {
        stop::stop(self.serve, self.removed.is_some()).await;
    }
}

/// Founds the cluster if this log is empty. Every controller of the configuration does, all with the same members, so it
/// does not matter which of them is up first.
async fn found<R: openraft::AsyncRuntime>(raft: &Raft<R>, members: &BTreeMap<NodeId, Address>) {
    let members: BTreeMap<u64, raft::Peer> =
        members.iter().map(|(node, address)| (node.0, raft::peer(address))).collect();
    if let Err(error) = raft.initialize(members).await {
        // The usual case: the log has a past.
        tracing::debug!(%error, "not founded anew");
    }
}
