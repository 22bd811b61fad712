//! Clusters of whole controllers, on ports of this machine, with disks that can be held up.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use portcullis::api::{self, CONTROLLER_MODEL, Model, Place};
use portcullis::client::wire::{self, Line, Pass};
use portcullis::credentials::{Credentials, Hashed, Identity};
use portcullis::env::{Ends, Env, Fact};
use portcullis::node::{self, Doors, Node};
use portcullis::raft::{self, Writer};
use portcullis::tls::{self, Authority, KeyKind, Validity};
use portcullis::tokio_env::{Listener, Ports, Stream, Tokio, reserve};
use portcullis_core::addresses::{HostPort, Scope};
use portcullis_core::agent::Output;
use portcullis_core::{Address, NodeId, Seed, Time, controller, pace};
use redb::StorageBackend;
use redb::backends::InMemoryBackend;
use rustls::ClientConfig;
use tokio::net::TcpSocket;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::{WebSocketStream, client_async};

pub type Raw = WebSocketStream<TlsStream<Stream>>;

/// The controllers' own model.
pub const MODEL: &str = "deadbeef-0bad-400d-8000-4b1d0d06f00d";
/// The cluster.
pub const CLUSTER: &str = "11111111-2222-4333-8444-555555555555";
/// Whatever takes longer than this will not come any more.
const PATIENCE: Duration = Duration::from_secs(60);

/// Holds up whatever a disk is to sync, while it is shut.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub fn set(&self, shut: bool) {
        *self.0.0.lock().unwrap() = shut;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        let shut = self.0.0.lock().unwrap();
        drop(self.0.1.wait_while(shut, |shut| *shut).unwrap());
    }
}

#[derive(Debug)]
pub struct Disk {
    bytes: InMemoryBackend,
    gate: Gate,
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.bytes.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.bytes.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.bytes.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.gate.pass();
        self.bytes.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.bytes.write(offset, data)
    }
}

/// This machine, with a disk in memory and fixed draws.
#[derive(Clone, Debug)]
pub struct Host {
    tokio: Tokio,
    seed: Seed,
    pub gate: Gate,
    /// Every address that a client on it was ordered to dial.
    pub dials: Arc<Mutex<Vec<Address>>>,
    /// How much of a thousand bytes of memory is in use.
    pub memory: Arc<AtomicU64>,
    /// How much of it was seen last by whoever looked.
    pub memory_seen: Arc<AtomicU64>,
    /// How much its controller was told of, each time.
    pub memory_told: Arc<Mutex<Vec<u64>>>,
}

impl Host {
    pub fn new(seed: u64) -> Host {
        let tokio = Tokio::start("nowhere".into(), Ports::Reserved).expect("there is entropy");
        Host {
            tokio,
            seed: Seed(seed),
            gate: Gate::default(),
            dials: Arc::default(),
            memory: Arc::new(AtomicU64::new(100)),
            memory_seen: Arc::default(),
            memory_told: Arc::default(),
        }
    }

    pub fn soon(&self) -> Time {
        self.now() + PATIENCE
    }

    /// Looks again and again until it is so.
    pub async fn until<T, F: Future<Output = Option<T>>>(
        &self,
        what: &str,
        look: impl Fn() -> F,
    ) -> T {
        let deadline = self.soon();
        loop {
            if let Some(seen) = look().await {
                return seen;
            }
            assert!(self.now() < deadline, "never: {what}");
            self.sleep_until(self.now() + Duration::from_millis(20)).await;
        }
    }
}

impl Env for Host {
    type Runtime = <Tokio as Env>::Runtime;
    type Stream = Stream;
    type Listener = Listener;
    type Disk = Disk;

    fn now(&self) -> Time {
        self.tokio.now()
    }
    async fn sleep_until(&self, at: Time) {
        self.tokio.sleep_until(at).await;
    }
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tokio.spawn(task);
    }
    fn seed(&self) -> Seed {
        self.seed
    }
    async fn bind(&self, address: SocketAddr) -> io::Result<(Listener, SocketAddr)> {
        self.tokio.bind(address).await
    }
    async fn accept(&self, listener: &mut Listener) -> io::Result<Stream> {
        self.tokio.accept(listener).await
    }
    async fn connect(&self, address: &Address) -> io::Result<Stream> {
        self.tokio.connect(address).await
    }
    fn ends(&self, stream: &Stream) -> Option<Ends> {
        self.tokio.ends(stream)
    }
    fn open(&self, _: &str) -> io::Result<Disk> {
        Ok(Disk { bytes: InMemoryBackend::new(), gate: self.gate.clone() })
    }
    fn memory(&self) -> Option<(u64, u64)> {
        let used = self.memory.load(Ordering::Relaxed);
        self.memory_seen.store(used, Ordering::Relaxed);
        Some((used, 1_000))
    }
    fn saw(&self, fact: Fact<'_>) {
        if let Fact::AgentOrdered(Output::Dial { address }) = fact {
            self.dials.lock().unwrap().push(address.clone());
        }
        if let Fact::ControllerTold(controller::Input::Memory { used, .. }) = fact {
            self.memory_told.lock().unwrap().push(*used);
        }
    }
}

/// One cluster.
pub struct Cluster {
    /// The host of whoever comes from outside.
    pub host: Host,
    pub hosts: BTreeMap<u64, Host>,
    pub nodes: BTreeMap<u64, Node<Host>>,
    pub addresses: BTreeMap<u64, SocketAddr>,
    pub authority: Authority,
    pub client: Arc<ClientConfig>,
    _held: Vec<TcpSocket>,
}

fn loopback() -> TcpSocket {
    reserve(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("the kernel has a port")
}

pub fn host_port(address: SocketAddr) -> HostPort {
    HostPort { scope: Scope::Public, ..HostPort::new(&address.ip().to_string(), address.port()) }
}

fn credentials() -> Credentials {
    let mut credentials = Credentials::default();
    let mut add = |tag: &str, hashed| {
        let model = (!tag.starts_with("user-")).then_some(MODEL);
        credentials.insert(model, Identity::from_tag(tag).expect("a tag"), hashed);
    };
    add("user-admin", Hashed::stretched("secret", NonZeroU32::MIN));
    for tag in ["unit-mysql-0", "unit-mysql-1", "machine-1", "machine-2", "machine-3"] {
        add(tag, Hashed::salted("secret"));
    }
    credentials
}

impl Cluster {
    /// Starts so many controllers, each as `adjust` will have it, and waits until all are open.
    pub async fn start(count: u64, adjust: impl Fn(&mut node::Config)) -> Cluster {
        let authority = Authority::make(KeyKind::Ed25519, Validity::century()).expect("authority");
        let held: BTreeMap<u64, [TcpSocket; 2]> =
            (1..=count).map(|id| (id, [loopback(), loopback()])).collect();
        let at = |id: &u64, which: usize| held[id][which].local_addr().expect("it is bound");
        let (mut nodes, mut hosts) = (BTreeMap::new(), BTreeMap::new());
        for id in held.keys() {
            let node = NodeId(*id);
            let mut controller = controller::Config::new(node);
            controller.listener.open_delay = Duration::ZERO;
            controller.listener.pace = pace::Config { burst: 0, ..pace::Config::default() };
            let mysql = ("machine-1".to_owned(), ["mysql".to_owned()].into());
            let mut config = node::Config {
                controller,
                raft: raft::Config {
                    heartbeat: Duration::from_millis(100),
                    election: (Duration::from_millis(500), Duration::from_millis(1_000)),
                    ..raft::Config::default()
                },
                writer: Writer::Thread,
                api: api::Config::default(),
                doors: Doors {
                    api: at(id, 0),
                    controller: Some(at(id, 1).into()),
                    controllers_first: false,
                },
                cluster: CLUSTER.into(),
                bind_file: None,
                joining: Default::default(),
                membership: None,
                peers: held
                    .keys()
                    .map(|id| (NodeId(*id), vec![Address::new(&at(id, 1).to_string())]))
                    .collect(),
                servers: held.keys().map(|id| (NodeId(*id), vec![host_port(at(id, 0))])).collect(),
                space: None,
                certificate: authority.issue(node, &[], Validity::century()).expect("certificate"),
                credentials: credentials(),
                models: vec![Model {
                    uuid: MODEL.into(),
                    name: CONTROLLER_MODEL.into(),
                    applications: [mysql].into(),
                }],
                moved: BTreeMap::new(),
                metrics: None,
                proxied: Vec::new(),
            };
            adjust(&mut config);
            let host = Host::new(*id);
            hosts.insert(*id, host.clone());
            nodes.insert(*id, Node::start(host, config).await.expect("a controller"));
        }
        for node in nodes.values() {
            node.ports().wait_for(|ports| ports.api.is_some()).await.expect("it runs");
        }
        Cluster {
            host: Host::new(0),
            hosts,
            nodes,
            addresses: held.keys().map(|id| (*id, at(id, 0))).collect(),
            client: tls::agent_client(&[authority.certificate().clone()]).expect("configuration"),
            authority,
            _held: held.into_values().flatten().collect(),
        }
    }

    /// The controller that all agree to be led by.
    pub async fn leader(&self) -> u64 {
        let agreed = || async {
            let mut leaders = Vec::new();
            for node in self.nodes.values() {
                leaders.push(node.status().await?.leader?.0);
            }
            let all = leaders.iter().all(|leader| *leader == leaders[0]);
            (all && self.nodes.contains_key(&leaders[0])).then_some(leaders[0])
        };
        self.host.until("one leader", agreed).await
    }

    pub async fn tcp(&self, id: u64) -> Stream {
        let address = Address::new(&self.addresses[&id].to_string());
        self.host.connect(&address).await.expect("the door is open")
    }

    /// A websocket without anything that knows what to say on it.
    pub async fn raw(&self, id: u64, path: &str) -> Raw {
        let stream = tls::dial_api(&self.client, self.tcp(id).await).await.expect("TLS");
        client_async(format!("wss://localhost{path}"), stream).await.expect("a websocket").0
    }

    /// Somebody who has logged in at the controllers' model.
    pub async fn line(&self, id: u64, tag: &str) -> Line {
        let (soon, place) = (self.host.soon(), Place::Model(MODEL.into()));
        let stream = self.tcp(id).await;
        let line = wire::open(&self.host, stream, &self.client, "localhost", &place, soon).await;
        let line = line.expect("a connection");
        let pass = Pass { tag: tag.into(), password: "secret".into() };
        line.login(&pass, soon).await.expect("a login");
        line
    }

    pub async fn stop(self) {
        for node in self.nodes.into_values() {
            node.stop().await;
        }
    }
}
