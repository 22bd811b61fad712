//! The turmoil engine: the production shell, whole, over a simulated network.
//!
//! Every controller is a [`Node`] on a host of its own, with TLS, websockets, openraft and its redb
//! store on a simulated disk; all agents are [`Client`]s of the client library on one host, for
//! turmoil's cost is cubic in hosts. One tick is a millisecond, and so is the finest time in its
//! histories.
//!
//! What turmoil bends: a connection that lost something in a partition never recovers, so it ends by
//! the silence limits of both sides; a slowed link is slow at a constant rate, and stays constant when
//! it is slow no more; a memory limit and a slow disk have no effect: memory is only modelled by the
//! direct engine, and redb's writes are plain calls, which cannot wait for a simulated time.

mod claims;
mod host;
mod workers;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use portcullis::api::{self, CONTROLLER_MODEL, Model, Place as About};
use portcullis::client::wire::Pass;
use portcullis::client::{self, Client, Follows};
use portcullis::credentials::{Credentials, Hashed, Identity};
use portcullis::env::Env;
use portcullis::node::members::Membership;
use portcullis::node::{self, Doors, Node};
use portcullis::raft::{self, Writer};
use portcullis::tls::{Authority, Certificate, KeyKind, Validity, agent_client};
use portcullis_core::addresses::{HostPort, Scope};
use portcullis_core::members::{Command, TokenHash};
use portcullis_core::{Address, GlobalTime, NodeId, Rng, Seed, Time};
use rustls::ClientConfig;
use tokio::sync::mpsc;
use turmoil::Sim;

use super::Ran;
use super::configuration::{self, API_PORT};
use crate::history::{Event, History, Who};
use crate::members;
use crate::plan::{Claims, Plan};
use crate::singular::Resource;
use crate::stage::{Deed, Place, Stage};
use host::{Book, Disks, Host};
use workers::Shared;

/// The host that all agents live on.
const AGENTS: &str = "agents";
/// The password of everybody: what it proves is the shell's way with passwords, not a secret.
const PASSWORD: &str = "simulated";
/// The name of the cluster.
const CLUSTER: &str = "11111111-2222-4333-8444-555555555555";
const TICK: Duration = Duration::from_millis(1);
/// Most orders that one line of a plan comes to, for one controller.
const ORDERS_EACH: usize = 3;

/// What all hosts of a run share.
struct Stageplay {
    plan: Plan,
    authority: Authority,
    certificates: BTreeMap<NodeId, Certificate>,
    disks: BTreeMap<NodeId, Disks>,
    /// Where each running controller is told what its operator wants.
    orders: RefCell<BTreeMap<NodeId, mpsc::Sender<Order>>>,
    book: Book,
    /// Who has joined since the cluster was founded.
    joined: RefCell<BTreeSet<NodeId>>,
    /// What single workers work upon.
    resource: Arc<Mutex<Resource>>,
    /// Random words drawn by the engine itself; what hosts draw shows in what they do.
    draws: Cell<u64>,
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

/// Executes a plan.
pub fn run(plan: &Plan, history: History) -> (Ran, History) {
    let play = Rc::new(Stageplay::new(plan, history));
    let mut sim = turmoil::Builder::new()
        .simulation_duration(Duration::MAX)
        .tick_duration(TICK)
        .min_message_latency(plan.settings.network.latency_least)
        .max_message_latency(plan.settings.network.latency_most)
        .tcp_capacity(usize::from(u16::MAX))
        .rng_seed(Seed(plan.settings.seed).child("turmoil", 0).0)
        .build();
    for node in plan.controllers() {
        let play = play.clone();
        sim.host(node.to_string(), move || perform(play.clone(), node));
    }
    // Nothing but the plan's steps is ever sent, so this is bounded by them.
    let (cues, cued) = mpsc::channel(plan.steps.len().max(1));
    let agents = play.clone();
    let cued = RefCell::new(Some(cued));
    sim.host(AGENTS, move || agents_perform(agents.clone(), cued.take()));

    let mut stage = Stage::new(plan);
    let mut deeds = Vec::new();
    let mut now = Time(0);
    while now < plan.ends() {
        now = Time(0) + sim.elapsed();
        let parts = play.book.turn(now);
        stage.due(now, parts, &mut deeds);
        for deed in deeds.drain(..) {
            play.book.record(Who::World, Event::Did(&deed));
            act(&play, &mut sim, &cues, deed);
        }
        if now.0.is_multiple_of(1_000_000) && play.book.over() {
            break;
        }
        // A host's software returns an error only if it cannot start, which is a bug.
        if let Err(error) = sim.step() {
            tracing::error!(%error, "a host failed");
            break;
        }
    }
    drop(sim);
    let play = Rc::into_inner(play).expect("the simulation is gone, and its hosts with it");
    let draws = play.draws.get();
    let history = play.book.close().expect("the simulation is gone, and its hosts with it");
    let ran = Ran { ended: now, draws };
    (ran, history)
}

impl Stageplay {
    fn new(plan: &Plan, history: History) -> Stageplay {
        let authority = Authority::make(KeyKind::Ed25519, Validity::century())
            .expect("an Ed25519 authority can be made");
        let issue = |node| {
            let certificate = authority.issue(node, &[], Validity::century());
            (node, certificate.expect("its authority can issue it"))
        };
        Stageplay {
            certificates: plan.controllers().map(issue).collect(),
            disks: plan.controllers().map(|node| (node, Disks::default())).collect(),
            orders: RefCell::default(),
            book: Book::new(history),
            joined: RefCell::default(),
            resource: Arc::new(Mutex::new(Resource::new(plan))),
            plan: plan.clone(),
            authority,
            draws: Cell::new(0),
        }
    }

    fn drew(&self, rng: &Rng) {
        self.draws.set(self.draws.get() + rng.drawn());
    }

    /// The seed of one process of a host; another process of it draws something else.
    fn seed(&self, name: &str, number: u64, life: Duration) -> Seed {
        let life = u64::try_from(life.as_micros()).unwrap_or(u64::MAX);
        Seed(self.plan.settings.seed).child(name, number).child("life", life)
    }

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
            raft: raft::Config::default(),
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
}

impl Stageplay {
    /// Starts one life of an agent.
    fn agent(&self, host: &Host, number: u32, seed: Seed, tls: &Arc<ClientConfig>) -> Client {
        let agent = configuration::agent(&self.plan, number);
        let known = configuration::known(&self.plan, number);
        let config = self.client(agent, known, tag(&self.plan, number), tls);
        Client::start(&host.beside(Who::Agent(number), seed), config)
    }
}

/// The tag of an agent's unit.
fn tag(plan: &Plan, number: u32) -> String {
    format!("unit-{}", configuration::holder(plan, number).replace('/', "-"))
}

/// One process of a controller.
async fn perform(play: Rc<Stageplay>, node: NodeId) -> turmoil::Result {
    let (orders, mut ordered) = mpsc::channel(ORDERS_EACH * play.plan.steps.len().max(1));
    play.orders.borrow_mut().insert(node, orders);
    if !members::founds(&play.plan, node) && !play.joined.borrow().contains(&node) {
        until_joined(&mut ordered).await;
        play.joined.borrow_mut().insert(node);
    }
    let life = turmoil::sim_elapsed().unwrap_or_default();
    let seed = play.seed("controller", node.0, life);
    let host =
        Host::start(Who::Controller(node), seed, play.disks[&node].clone(), play.book.clone());
    let (config, plan, book) = (play.node(node), play.plan.clone(), play.book.clone());
    let shared = Shared { host: host.clone(), book: book.clone(), resource: play.resource.clone() };
    drop(play);
    host.scope(async {
        let running = Node::start(host.clone(), config).await?;
        let runners = workers::start(&plan, &shared, node, &running);
        if until_stopped(&host, &running, &mut ordered).await {
            for runner in runners {
                runner.stop().await;
            }
            running.stop().await;
        }
        book.record(Who::World, Event::Did(&Deed::Left(node)));
        std::future::pending().await
    })
    .await
}

/// Returns when a controller is to start that has joined.
async fn until_joined(ordered: &mut mpsc::Receiver<Order>) {
    loop {
        match ordered.recv().await {
            Some(Order::Start) => return,
            Some(Order::Stop | Order::Do(_) | Order::Have(_)) => {}
            None => std::future::pending().await,
        }
    }
}

/// Does what the operator of a controller orders, and returns when it is to stop: true if the
/// operator says so, false if it was removed.
async fn until_stopped(
    host: &Host,
    running: &Node<Host>,
    ordered: &mut mpsc::Receiver<Order>,
) -> bool {
    loop {
        let order = tokio::select! {
            biased;
            order = ordered.recv() => order,
            () = running.removed() => return false,
        };
        match order {
            Some(Order::Do(command)) => {
                // Until it is done, as an operator would.
                while running.change_members(command.clone()).await.is_err() {
                    host.sleep_until(host.now() + Duration::from_secs(1)).await;
                }
            }
            // One that is down is started by nobody.
            Some(Order::Have(joins)) => drop(joins.try_send(Order::Start)),
            Some(Order::Start) => {}
            Some(Order::Stop) => return true,
            None => std::future::pending().await,
        }
    }
}

/// The agents' host.
async fn agents_perform(play: Rc<Stageplay>, cued: Option<mpsc::Receiver<Cue>>) -> turmoil::Result {
    let mut cued = cued.ok_or("the agents' host never crashes")?;
    let seed = play.seed("agents", 0, Duration::ZERO);
    let host = Host::start(Who::World, seed, Disks::default(), play.book.clone());
    let tls = agent_client(std::slice::from_ref(play.authority.certificate()))?;
    let mut arrivals = seed.child("arrivals", 0).rng();
    let agents = play.plan.settings.agents.clone();
    let span = u64::try_from(agents.arrive.as_micros()).unwrap_or(u64::MAX - 1);
    let mut arriving: Vec<(Time, u32)> =
        (0..agents.count).map(|number| (Time(arrivals.below(span + 1)), number)).collect();
    play.drew(&arrivals);
    arriving.sort_unstable();
    let arriving = arriving.into_iter();
    host.scope(async {
        let mut clients: Vec<(u32, Client)> = Vec::new();
        let mut arriving = arriving.peekable();
        let mut claimers = agents.count;
        loop {
            let next = arriving.peek().map(|(at, _)| *at);
            let cue = tokio::select! {
                biased;
                () = host.sleep_until(next.unwrap_or(Time(u64::MAX / 2))), if next.is_some() => None,
                cue = cued.recv() => Some(cue),
            };
            match cue {
                None => {
                    let Some((_, number)) = arriving.next() else { continue };
                    let seed = seed.child("agent", number.into());
                    clients.push((number, play.agent(&host, number, seed, &tls)));
                }
                Some(Some(Cue::Restart)) => {
                    for (number, client) in &mut clients {
                        let seed = seed.child("agent", u64::from(*number));
                        let seed = seed.child("life", host.now().0);
                        *client = play.agent(&host, *number, seed, &tls);
                    }
                }
                Some(Some(Cue::Herd)) => {
                    for (_, client) in &clients {
                        client.cut().await;
                    }
                }
                Some(Some(Cue::Claim(claims))) => {
                    let config = play.client(
                        configuration::claimer(&play.plan),
                        configuration::addresses(&play.plan),
                        "user-claimer".into(),
                        &tls,
                    );
                    claimers = claims::start(&host, &play.plan, &claims, &config, claimers);
                }
                Some(None) => std::future::pending().await,
            }
        }
    })
    .await
}

/// Does a deed of the plan.
fn act(play: &Stageplay, sim: &mut Sim<'_>, cues: &mpsc::Sender<Cue>, deed: Deed) {
    let network = &play.plan.settings.network;
    match deed {
        Deed::Crash(node) => {
            let disks = &play.disks[&node];
            // A process that is killed does not close its store first, as one that is dropped would.
            host::locked(disks).values().for_each(|disk| disk.fail_after(0));
            sim.crash(node.to_string());
            let now = u64::try_from(sim.elapsed().as_micros()).unwrap_or(u64::MAX);
            let mut rng =
                Seed(play.plan.settings.seed).child("power", node.0).child("at", now).rng();
            for disk in host::locked(disks).values() {
                disk.crash(&mut rng);
            }
            play.drew(&rng);
        }
        Deed::Restart(node) => sim.bounce(node.to_string()),
        Deed::Stop(node) => order(play, node, Order::Stop),
        Deed::Remove(node) => {
            // Whoever runs hands it to the leader.
            let by = play.plan.controllers().find(|by| *by != node).unwrap_or(node);
            order(play, by, Order::Do(Command::Remove { node }));
        }
        Deed::Cut { from, to } => sim.partition_oneway(name(from), name(to)),
        Deed::Mend { from, to } => sim.repair_oneway(name(from), name(to)),
        Deed::Hold { from, to } => sim.hold(name(from), name(to)),
        Deed::Release { from, to } => sim.release(name(from), name(to)),
        Deed::Slow { from, to, by } => {
            sim.set_link_latency(name(from), name(to), network.latency_most + by);
        }
        Deed::Herd => cue(cues, Cue::Herd),
        Deed::RestartAgents => cue(cues, Cue::Restart),
        Deed::Claim(claims) => cue(cues, Cue::Claim(claims)),
        Deed::ControllerPort { .. } => {}
        Deed::LoseItself(_) | Deed::FindItself(_) => {}
        Deed::Pause(_) | Deed::Resume(_) => {}
        Deed::Limit(_) | Deed::SlowDisk { .. } | Deed::Settle => {}
        Deed::Join(node) => {
            let by = play.plan.controllers().next().unwrap_or(node);
            let token = TokenHash([node.0 as u8; 32]);
            let invite = Command::Invite { token, void_after: GlobalTime(u64::MAX) };
            order(play, by, Order::Do(invite));
            order(play, by, Order::Do(Command::Join { token, member: members::member(node) }));
            let joins = play.orders.borrow().get(&node).cloned();
            joins.into_iter().for_each(|joins| order(play, by, Order::Have(joins)));
        }
        // Only the engine says who has left.
        Deed::Left(_) => {}
    }
}

fn order(play: &Stageplay, node: NodeId, order: Order) {
    if let Some(orders) = play.orders.borrow().get(&node) {
        // A process that is down is told nothing.
        drop(orders.try_send(order));
    }
}

fn cue(cues: &mpsc::Sender<Cue>, cue: Cue) {
    cues.try_send(cue).expect("there is room for every step of the plan");
}

fn name(place: Place) -> String {
    match place {
        Place::Controller(node) => node.to_string(),
        Place::Agents => AGENTS.into(),
    }
}
