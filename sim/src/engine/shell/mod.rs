//! What the engines that run the production shell share: everything but the hosts.
//!
//! Every controller is a [`Node`](portcullis::node::Node) with TLS, websockets, openraft and its
//! redb store on a simulated disk; agents are [`Client`]s of the client library. An engine gives
//! them hosts, which are an [`Env`], and does to processes and links what the plan wants.

mod agents;
mod book;
mod claims;
mod controller;
mod supervisor;
mod workers;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use portcullis::api::{self, CONTROLLER_MODEL, Model, Place as About};
use portcullis::client::wire::Pass;
use portcullis::client::{self, Client, Follows};
use portcullis::credentials::{Credentials, Hashed, Identity};
use portcullis::env::Env;
use portcullis::node::members::Membership;
use portcullis::node::{self, Doors};
use portcullis::raft::Writer;
use portcullis::tls::{Authority, Certificate, KeyKind, Validity};
use portcullis_core::addresses::{HostPort, Scope};
use portcullis_core::members::{Command, KeyHash, TokenHash};
use portcullis_core::{Address, GlobalTime, NodeId, Rng, Seed, Time};
use rustls::ClientConfig;
use tokio::sync::{Notify, mpsc};

use super::configuration::{self, API_PORT};
use crate::clock::Clocks;
use crate::disk::Disk;
use crate::history::{History, Who};
use crate::members;
use crate::plan::{Claims, Plan};
use crate::singular::Resource;
use crate::stage::{Deed, Place};
pub use book::{Book, Disks, locked};
pub use supervisor::Supervisor;

/// The host that all agents live on.
const AGENTS: &str = "agents";
/// The password of everybody: what it proves is the shell's way with passwords, not a secret.
const PASSWORD: &str = "simulated";
/// The name of the cluster.
const CLUSTER: &str = "11111111-2222-4333-8444-555555555555";
/// Most orders that one line of a plan comes to, for one controller.
const ORDERS_EACH: usize = 3;

/// A process of a simulated host.
pub trait Host: Env<Disk = Disk> {
    /// Another process on the same host, such as one more agent.
    fn beside(&self, who: Who, seed: Seed) -> Self;
}

/// What all hosts of a run share.
pub struct Play {
    pub plan: Plan,
    pub book: Book,
    authority: Authority,
    certificates: BTreeMap<NodeId, Certificate>,
    disks: BTreeMap<NodeId, Disks>,
    /// Where each running controller is told what its operator wants.
    orders: Mutex<BTreeMap<NodeId, mpsc::Sender<Order>>>,
    /// Who has joined since the cluster was founded.
    joined: Mutex<BTreeSet<NodeId>>,
    /// What single workers work upon.
    resource: Arc<Mutex<Resource>>,
    /// The clocks of all hosts.
    pub clocks: Arc<Mutex<Clocks>>,
    /// Whose process is to end because its disk failed.
    failed: Mutex<Vec<NodeId>>,
    failing: Notify,
    cues: mpsc::Sender<Cue>,
    /// Where the agents' host hears what to do, until it has started.
    cued: Mutex<Option<mpsc::Receiver<Cue>>>,
    /// Random words drawn by the engine itself; what hosts draw shows in what they do.
    draws: AtomicU64,
}

/// What the world tells the agents' host to do.
enum Cue {
    /// Every agent drops its connection.
    Herd,
    /// Every agent's process starts anew.
    Restart,
    /// Clients make these claims.
    Claim(Claims),
}

/// What an operator wants of a controller.
enum Order {
    /// It is to stop.
    Stop,
    /// This is to be done about the members.
    Do(Command),
    /// It is to start, for it has joined the cluster.
    Start,
    /// That one is to be started, once all that was ordered before is done.
    Have(mpsc::Sender<Order>),
}

impl Play {
    pub fn new(plan: &Plan, history: History) -> Play {
        let authority = Authority::make(KeyKind::Ed25519, Validity::century())
            .expect("an Ed25519 authority can be made");
        let issue = |node| {
            let certificate = authority.issue(node, &[], Validity::century());
            (node, certificate.expect("its authority can issue it"))
        };
        // Nothing but the plan's steps is ever sent, so this is bounded by them.
        let (cues, cued) = mpsc::channel(plan.steps.len().max(1));
        Play {
            certificates: plan.controllers().map(issue).collect(),
            disks: plan.controllers().map(|node| (node, disks())).collect(),
            orders: Mutex::default(),
            joined: Mutex::default(),
            clocks: Arc::new(Mutex::new(Clocks::new(plan))),
            failed: Mutex::default(),
            failing: Notify::new(),
            resource: Arc::new(Mutex::new(Resource::new(plan))),
            book: Book::new(history),
            plan: plan.clone(),
            authority,
            cues,
            cued: Mutex::new(Some(cued)),
            draws: AtomicU64::new(0),
        }
    }

    /// Counts what a generator of the engine has drawn.
    pub fn drew(&self, rng: &Rng) {
        self.draws.fetch_add(rng.drawn(), Ordering::Relaxed);
    }

    /// Random words drawn by the engine so far.
    pub fn draws(&self) -> u64 {
        self.draws.load(Ordering::Relaxed)
    }

    /// The disks of a controller's host.
    pub fn disks(&self, node: NodeId) -> &Disks {
        &self.disks[&node]
    }

    /// The seed of one process of a controller; another process of it draws something else.
    pub fn seed_of(&self, node: NodeId, life: Duration) -> Seed {
        self.seed("controller", node.0, life)
    }

    /// The seed of the agents' host.
    pub fn seed_of_agents(&self) -> Seed {
        self.seed("agents", 0, Duration::ZERO)
    }

    fn seed(&self, name: &str, number: u64, life: Duration) -> Seed {
        let life = u64::try_from(life.as_micros()).unwrap_or(u64::MAX);
        Seed(self.plan.settings.seed).child(name, number).child("life", life)
    }

    /// The process is about to be killed: it does not close its store first, as one that is dropped
    /// would.
    pub fn dies(&self, node: NodeId) {
        locked(&self.disks[&node]).values().for_each(|disk| disk.fail_after(0));
    }

    /// The process that was killed at this time is gone, and of what it had not synced any part is
    /// lost.
    pub fn died(&self, node: NodeId, at: Time) {
        let mut rng = Seed(self.plan.settings.seed).child("power", node.0).child("at", at.0).rng();
        for disk in locked(&self.disks[&node]).values() {
            disk.crash(&mut rng);
        }
        self.drew(&rng);
    }

    /// Tells processes what a deed wants of them, if it is that kind of deed.
    pub fn tell(&self, deed: Deed) {
        match deed {
            Deed::Stop(node) => self.order(node, Order::Stop),
            Deed::Remove(node) => {
                // Whoever runs hands it to the leader.
                let by = self.plan.controllers().find(|by| *by != node).unwrap_or(node);
                self.order(by, Order::Do(Command::Remove { node }));
            }
            Deed::Join(node) => {
                let by = self.plan.controllers().next().unwrap_or(node);
                let token = TokenHash([node.0 as u8; 32]);
                let invite = Command::Invite { token, void_after: GlobalTime(u64::MAX) };
                self.order(by, Order::Do(invite));
                let (member, key) = (members::member(&self.plan, node), KeyHash(token.0));
                self.order(by, Order::Do(Command::Join { token, member, key }));
                let joins = locked(&self.orders).get(&node).cloned();
                joins.into_iter().for_each(|joins| self.order(by, Order::Have(joins)));
            }
            Deed::Herd => self.cue(Cue::Herd),
            Deed::RestartAgents => self.cue(Cue::Restart),
            Deed::Claim(claims) => self.cue(Cue::Claim(claims)),
            Deed::Drift { place, by, offset } => {
                locked(&self.clocks).at(place).set(self.book.now(), by, offset);
            }
            Deed::FillDisk(node) => self.each_disk(node, |disk, _| disk.fill(true)),
            Deed::FreeDisk(node) => self.each_disk(node, |disk, _| disk.fill(false)),
            Deed::BreakDisk { node, at } => {
                self.each_disk(node, |disk, seed| disk.break_next(at, seed.rng()));
            }
            Deed::Settle => {
                self.plan
                    .controllers()
                    .for_each(|node| self.each_disk(node, |disk, _| disk.mend()));
            }
            // These are done to hosts and links, by the engine.
            Deed::Crash(_) | Deed::Restart(_) | Deed::Pause(_) | Deed::Resume(_) => {}
            Deed::Cut { .. } | Deed::Mend { .. } | Deed::Hold { .. } | Deed::Release { .. } => {}
            Deed::Slow { .. } | Deed::LoseItself(_) | Deed::FindItself(_) => {}
            // No shell has memory that is counted, or a disk that is slow.
            Deed::Limit(_) | Deed::SlowDisk { .. } | Deed::ControllerPort { .. } => {}
            // No plan for a shell has anybody move.
            Deed::BindFile { .. } | Deed::ApiAddresses { .. } => {}
            // Only the shell says who has left or failed.
            Deed::Left(_) | Deed::Failed(_) => {}
        }
    }

    fn each_disk(&self, node: NodeId, each: impl Fn(&Disk, Seed)) {
        let number = node.0;
        let seed = Seed(self.plan.settings.seed).child("disk", number);
        let at = self.book.now().0;
        locked(&self.disks[&node]).values().for_each(|disk| each(disk, seed.child("at", at)));
    }

    fn order(&self, node: NodeId, order: Order) {
        if let Some(orders) = locked(&self.orders).get(&node) {
            // A process that is down is told nothing.
            drop(orders.try_send(order));
        }
    }

    fn cue(&self, cue: Cue) {
        self.cues.try_send(cue).expect("there is room for every step of the plan");
    }
}

impl Play {
    fn two_doors(&self) -> bool {
        self.plan.settings.controllers.controller_api_port != 0
    }

    fn node(&self, node: NodeId) -> node::Config {
        let any = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port);
        let controller_port = self.plan.settings.controllers.controller_api_port;
        let peer_port = if self.two_doors() { controller_port } else { API_PORT };
        let peer = |node: NodeId| (node, vec![Address::from(format!("{node}:{peer_port}"))]);
        let server = |node: NodeId| {
            let at =
                HostPort { scope: Scope::LocalCloud, ..HostPort::new(&node.to_string(), API_PORT) };
            (node, vec![at])
        };
        let certificate = &self.certificates[&node];
        let members = self.plan.settings.members.as_ref();
        let founders = || self.plan.controllers().filter(|node| members::founds(&self.plan, *node));
        node::Config {
            controller: configuration::controller(&self.plan, node),
            raft: configuration::raft(&self.plan),
            writer: Writer::Inline,
            api: api::Config::default(),
            doors: Doors {
                api: any(API_PORT),
                controller: self.two_doors().then(|| any(controller_port).into()),
                controllers_first: false,
            },
            metrics: None,
            proxied: Vec::new(),
            cluster: CLUSTER.into(),
            bind_file: None,
            joining: Default::default(),
            membership: members.map(|members| Membership {
                roles: members.roles(node),
                wanted: members.wanted(),
                domain: "".into(),
            }),
            peers: founders().map(peer).collect(),
            servers: founders().map(server).collect(),
            space: None,
            certificate: Certificate {
                chain: certificate.chain.clone(),
                key: certificate.key.clone_key(),
                authority: certificate.authority.clone(),
            },
            credentials: self.credentials(),
            models: vec![Model {
                uuid: configuration::MODEL.into(),
                name: CONTROLLER_MODEL.into(),
                ..Model::default()
            }],
            moved: BTreeMap::new(),
        }
    }

    fn credentials(&self) -> Credentials {
        let mut credentials = Credentials::default();
        let hashed = Hashed::salted(PASSWORD);
        credentials.insert(None, Identity::User("claimer".into()), hashed.clone());
        for number in 0..self.plan.settings.agents.count {
            if let Some(identity) = Identity::from_tag(&tag(&self.plan, number)) {
                credentials.insert(Some(configuration::MODEL), identity, hashed.clone());
            }
        }
        credentials
    }

    fn client(
        &self,
        agent: portcullis_core::agent::Config,
        addresses: Vec<Address>,
        tag: String,
        tls: &Arc<ClientConfig>,
    ) -> client::Config {
        client::Config {
            agent,
            addresses,
            tls: tls.clone(),
            follows: Follows::of(&tag),
            pass: Pass { tag, password: PASSWORD.into() },
            place: About::Model(configuration::MODEL.into()),
        }
    }

    /// Starts one life of an agent.
    fn agent(&self, host: &impl Host, number: u32, seed: Seed, tls: &Arc<ClientConfig>) -> Client {
        let application = number % self.plan.settings.agents.leases;
        let leadership = configuration::leadership(application);
        let agent = configuration::agent(&self.plan, number, leadership);
        let known = configuration::known(&self.plan, configuration::addresses(&self.plan), number);
        let config = self.client(agent, known, tag(&self.plan, number), tls);
        Client::start(&host.beside(Who::Agent(number), seed), config)
    }
}

/// The disks of a host on which nothing ever ran.
fn disks() -> Disks {
    Arc::new(Mutex::new(BTreeMap::from([(node::STORE.to_string(), Disk::new())])))
}

/// The tag of an agent's unit.
fn tag(plan: &Plan, number: u32) -> String {
    format!("unit-{}", configuration::holder(plan, number).replace('/', "-"))
}

/// The name of the host at a place.
pub fn name(place: Place) -> String {
    match place {
        Place::Controller(node) => node.to_string(),
        Place::Agents => AGENTS.into(),
    }
}
