//! A controller small enough for tests, behind the real TLS, HTTP and websocket.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use portcullis::api::{
    self, CONTROLLER_MODEL, Changed, Cluster, Elsewhere, Found, Handler, Health, History,
    Introspected, Login, Mark, Model, Page, Pins, Place, Query, Standing, Verdict, Watch,
};
use portcullis::client::wire::{self, Line, Pass};
use portcullis::credentials::{Credentials, Hashed, Identity};
use portcullis::env::{Env, Fact};
use portcullis::metrics::{Metrics, Sheet};
use portcullis::peer::NotLed;
use portcullis::raft::NotWritten;
use portcullis::raft::membership::Seen;
use portcullis::rpc::Farewell;
use portcullis::tls::{self, Authority, KeyKind, Validity};
use portcullis_core::addresses::{HostPort, Scope};
use portcullis_core::controller::{Request, Status};
use portcullis_core::lease::{Command, Entry, Key, Leases};
use portcullis_core::members::{self, Member, Members, READS, Wanted};
use portcullis_core::queue::Answer;
use portcullis_core::roles::Picture;
use portcullis_core::{Address, AskId, ConnectionId, GlobalTime, NodeId, Seed, Time};
use rustls::{ClientConfig, ServerConfig};
use tokio::io::DuplexStream;
use tokio::sync::{Notify, oneshot, watch};
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::{WebSocketStream, client_async};

pub type Raw = WebSocketStream<TlsStream<DuplexStream>>;

pub const MODEL: &str = "deadbeef-0bad-400d-8000-4b1d0d06f00d";

/// A host whose only network is pairs of pipes.
#[derive(Clone)]
pub struct Host(tokio::time::Instant);

impl Host {
    pub fn new() -> Host {
        Host(tokio::time::Instant::now())
    }

    pub fn soon(&self) -> Time {
        self.now() + Duration::from_secs(30)
    }
}

impl Env for Host {
    type Runtime = openraft::impls::TokioRuntime;
    type Stream = DuplexStream;
    type Listener = ();
    type Disk = redb::backends::InMemoryBackend;

    fn now(&self) -> Time {
        Time(0) + self.0.elapsed()
    }
    async fn sleep_until(&self, at: Time) {
        tokio::time::sleep_until(self.0 + at.since(Time(0))).await;
    }
    #[allow(clippy::disallowed_methods, reason = "this is an Env")]
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(task);
    }
    fn seed(&self) -> Seed {
        Seed(1)
    }
    async fn bind(&self, _: SocketAddr) -> io::Result<((), SocketAddr)> {
        Err(io::ErrorKind::Unsupported.into())
    }
    async fn accept(&self, (): &mut ()) -> io::Result<DuplexStream> {
        Err(io::ErrorKind::Unsupported.into())
    }
    async fn connect(&self, _: &Address) -> io::Result<DuplexStream> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn open(&self, _: &str) -> io::Result<Self::Disk> {
        Ok(redb::backends::InMemoryBackend::new())
    }
    fn saw(&self, _: Fact<'_>) {}
}

/// The controller: the real table, applied to at once.
pub struct Controller {
    pub cluster: watch::Sender<Arc<Cluster>>,
    credentials: Credentials,
    state: Mutex<State>,
    released: Notify,
    /// What is answered instead, if anything.
    pub instead: Mutex<Option<Answer>>,
    /// What `/health` says.
    pub standing: Mutex<Standing>,
    pub metrics: Metrics,
    /// The connections that are no longer served.
    pub closed: Mutex<Vec<ConnectionId>>,
}

#[derive(Default)]
struct State {
    leases: Leases,
    members: Members,
    index: u64,
    history: History,
}

/// The tables of a cluster of three that the first leads.
fn state() -> State {
    let member = |node: u64| {
        let (address, api) = (format!("host-{node}:17022"), vec![]);
        let member = Member { address: address.into(), api, domain: "".into(), reads: READS };
        (NodeId(node), member)
    };
    let members = (0..3).map(member).collect();
    let mut state = State::default();
    let found = members::Command::Found { members, wanted: Wanted::default() };
    assert!(state.members.apply(GlobalTime(0), &found).is_ok());
    state
}

impl Handler for Controller {
    async fn login(&self, _: ConnectionId, login: Login) -> Verdict {
        match (
            login.place.clone(),
            self.credentials.verify(&login.place, &login.tag, &login.password),
        ) {
            (Place::Model(uuid), _) if uuid != MODEL => Verdict::NoModel { uuid },
            (_, Some(Identity::User(name))) if ["mover", "emigrant"].contains(&name.as_str()) => {
                let cluster = self.cluster.borrow();
                let last = cluster.servers.values().flatten().last().expect("servers");
                let servers = vec![vec![HostPort { scope: Scope::Public, ..last.clone() }]];
                let controller = Some(cluster.uuid.clone());
                let consent = name == "emigrant";
                let authority = "<PEM>".into();
                Verdict::Redirect(Elsewhere { servers, authority, controller, consent })
            }
            (_, Some(identity)) => {
                let machines = self.cluster.borrow().machines();
                let runs_controller = machines.contains(&identity.tag());
                Verdict::Welcome { identity, runs_controller, first: None }
            }
            (_, None) => Verdict::Refused,
        }
    }

    async fn pinged(&self, _: ConnectionId) {}

    async fn ask(&self, _: AskId, request: Request, _: Duration) -> Answer {
        if let Some(answer) = self.instead.lock().expect("no panic").clone() {
            return answer;
        }
        match request {
            Request::Apply(operation) => {
                let mut state = self.state.lock().expect("no panic");
                state.index += 1;
                let index = state.index;
                let command = Command { operation, void_after: GlobalTime(u64::MAX) };
                let now = GlobalTime(index * 1_000);
                let entry = Entry { now, commands: [command].into() };
                let mut applied = state.leases.apply(&entry);
                state.history.applied(index, &entry, &applied);
                self.released.notify_waiters();
                match applied.outcomes.remove(0) {
                    Ok(done) => Answer::Done { index, done },
                    Err(refusal) => Answer::Refused { index, refusal },
                }
            }
            Request::Wait(key) => loop {
                let released = self.released.notified();
                if self.state.lock().expect("no panic").leases.get(&key).is_none() {
                    return Answer::Released;
                }
                released.await;
            },
        }
    }

    fn cluster(&self) -> watch::Receiver<Arc<Cluster>> {
        self.cluster.subscribe()
    }

    async fn pins(&self, model: &str) -> Option<Pins> {
        let state = self.state.lock().expect("no panic");
        let here = state.leases.pins_after(None).filter(|(key, _)| key.model() == &*model);
        let named = |(key, entities): (&Key, &BTreeSet<Arc<str>>)| {
            let entities = entities.iter().map(|entity| entity.to_string()).collect();
            (key.lease().to_string(), entities)
        };
        Some(Pins::All(here.map(named).collect()))
    }

    async fn leases(&self, query: Query) -> Option<Page> {
        let state = self.state.lock().expect("no panic");
        let wanted = |(key, _): &(&Key, &_)| {
            query.after.as_ref().is_none_or(|after| *key > after)
                && query.model.as_ref().is_none_or(|model| **model == *key.model())
                && query.namespace.as_ref().is_none_or(|namespace| **namespace == *key.namespace())
        };
        let mut found = state.leases.iter().filter(wanted);
        let page = found.by_ref().take(query.most).map(|(k, l)| (k.clone(), l.clone()));
        let leases = page.collect();
        Some(Page { now: state.leases.now(), leases, more: found.next().is_some() })
    }

    async fn changes(&self, watch: Watch) -> Option<Changed> {
        loop {
            let moved = self.released.notified();
            {
                let state = self.state.lock().expect("no panic");
                let end = Mark::after(state.index);
                let from = watch.from.unwrap_or(end);
                let found = state.history.since(from, |key| watch.wants(key), watch.most);
                let (keys, next, forgotten) = match found {
                    Found::Changed { keys, next } => (keys, next, false),
                    Found::Forgotten { next } => (BTreeSet::new(), next, true),
                };
                let lease = |key: Key| (key.clone(), state.leases.get(&key).cloned());
                if watch.from.is_none() || forgotten || !keys.is_empty() {
                    let leases = keys.into_iter().map(lease).collect();
                    return Some(Changed { now: state.leases.now(), leases, next, forgotten });
                }
            }
            moved.await;
        }
    }

    async fn status(&self) -> Option<Status> {
        Some(Status {
            node: NodeId(1),
            leader: Some(NodeId(1)),
            api_door: "open".into(),
            connections: 1,
            logins: 0,
            logins_allowed: 32,
            login_time: Duration::ZERO,
            login_time_least: Duration::ZERO,
            agents: 0,
            shedding: false,
            waiting: 0,
            in_flight: 0,
            waiting_bytes: 0,
            drain: Duration::ZERO,
            asks: 0,
            forwarded: 0,
            resting: 0,
            retries: 0,
            retries_denied: 0,
            wakes: 0,
            clock_lag: Duration::ZERO,
            parked: 0,
            conditions: Vec::new(),
            bound: None,
            lack: None,
            held: 0,
            draining: None,
        })
    }

    async fn members(&self) -> Option<Seen> {
        let members = self.state.lock().expect("no panic").members.clone();
        let voters: BTreeSet<NodeId> = members.iter().map(|(node, _)| node).collect();
        let matched = voters.iter().map(|node| (*node, 7)).collect();
        let heard = voters.iter().copied().filter(|node| node.0 != 2).collect();
        let picture = Picture { members, voters, heard, matched, last: 9, ..Picture::default() };
        let answered = [(NodeId(1), Duration::from_millis(250))].into();
        Some(Seen { leader: NodeId(0), term: 4, picture, answered })
    }

    async fn change_members(
        &self,
        command: members::Command,
    ) -> Result<members::Outcome, NotWritten> {
        let mut state = self.state.lock().expect("no panic");
        Ok(state.members.apply(GlobalTime(0), &command))
    }

    async fn lead(&self, to: NodeId) -> Result<(), NotLed> {
        if to == NodeId(2) { Err(NotLed::Unheard) } else { Ok(()) }
    }

    fn health(&self) -> Health {
        Health {
            standing: *self.standing.lock().expect("no panic"),
            api_door: "waiting until this controller is stable",
            conditions: vec![("led".into(), true), ("api-door-open".into(), false)],
            lack: None,
            connections: 7,
        }
    }

    async fn introspect(&self, login: Login) -> Introspected {
        match self.credentials.verify(&login.place, &login.tag, &login.password) {
            Some(Identity::User(_)) => Introspected::Metrics(self.metrics.text(&Sheet::default())),
            Some(_) => Introspected::Forbidden,
            None => Introspected::Refused,
        }
    }

    fn metrics(&self) -> &Metrics {
        &self.metrics
    }
}

/// Three controllers, of which the first is there.
fn cluster() -> Cluster {
    let server = |node: u64| {
        let port = 27_070 + u16::try_from(node).expect("a small number");
        let port = HostPort::new("127.0.0.1", port);
        (NodeId(node), vec![port])
    };
    Cluster {
        uuid: "11111111-2222-4333-8444-555555555555".into(),
        authority: "<PEM>".into(),
        servers: (0..3).map(server).collect(),
        space: None,
        models: vec![Model {
            uuid: MODEL.into(),
            name: CONTROLLER_MODEL.into(),
            applications: [("machine-0".into(), ["mysql".into(), "wordpress".into()].into())]
                .into(),
        }],
        moved: BTreeMap::new(),
    }
}

/// One controller and everything that is needed to reach it.
pub struct World {
    pub host: Host,
    pub controller: Arc<Controller>,
    pub server: Arc<ServerConfig>,
    pub client: Arc<ClientConfig>,
    pub config: api::Config,
    connections: u64,
}

impl World {
    pub fn new() -> World {
        let mut credentials = Credentials::default();
        let rounds = NonZeroU32::MIN;
        let mut people = BTreeMap::new();
        people.insert("user-admin", Hashed::stretched("secret", rounds));
        people.insert("user-emigrant", Hashed::stretched("secret", rounds));
        people.insert("user-mover", Hashed::stretched("secret", rounds));
        people.insert("unit-mysql-0", Hashed::salted("u0"));
        people.insert("unit-mysql-1", Hashed::salted("u1"));
        people.insert("machine-0", Hashed::salted("m0"));
        people.insert("machine-1", Hashed::salted("m1"));
        people.insert("machine-9", Hashed::salted("m9"));
        for (tag, hashed) in people {
            let model = (!tag.starts_with("user-")).then_some(MODEL);
            credentials.insert(model, Identity::from_tag(tag).expect("a tag"), hashed);
        }
        let authority = Authority::make(KeyKind::Ed25519, Validity::century()).expect("authority");
        let issued = authority.issue(NodeId(1), &[], Validity::century()).expect("certificate");
        World {
            host: Host::new(),
            controller: Arc::new(Controller {
                cluster: watch::Sender::new(Arc::new(cluster())),
                credentials,
                state: Mutex::new(state()),
                released: Notify::new(),
                instead: Mutex::default(),
                standing: Mutex::new(Standing::Running),
                metrics: Metrics::new([]),
                closed: Mutex::default(),
            }),
            server: issued.server().expect("configuration"),
            client: tls::agent_client(&issued.authority).expect("configuration"),
            config: api::Config::default(),
            connections: 0,
        }
    }

    /// A pipe to the controller, and what hangs it up.
    pub fn pipe(&mut self) -> (DuplexStream, oneshot::Sender<String>) {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let (hangup, why) = oneshot::channel();
        self.connections += 1;
        let connection = ConnectionId(self.connections);
        let (host, controller) = (self.host.clone(), Arc::clone(&self.controller));
        let (server, config) = (Arc::clone(&self.server), Arc::new(self.config.clone()));
        self.host.spawn(async move {
            let Ok((stream, _)) = tls::arrive(&server, far).await else { return };
            let hangup = async {
                match why.await {
                    Ok(reason) => Farewell::Closed(reason),
                    Err(_) => std::future::pending().await,
                }
            };
            let serving = Arc::clone(&controller);
            api::serve(host, serving, config, connection, stream, hangup).await;
            controller.closed.lock().expect("no panic").push(connection);
        });
        (near, hangup)
    }

    /// A websocket without anything that knows what to say on it.
    pub async fn raw(&mut self, path: &str) -> Raw {
        let (stream, _) = self.pipe();
        let stream = tls::dial_api(&self.client, stream).await.expect("TLS");
        client_async(format!("wss://localhost{path}"), stream).await.expect("a websocket").0
    }

    pub async fn line(&mut self, place: &Place) -> Line {
        let (stream, _) = self.pipe();
        let soon = self.host.soon();
        wire::open(&self.host, stream, &self.client, "127.0.0.1:27070", place, soon)
            .await
            .expect("a connection")
    }

    pub async fn unit(&mut self, number: u64) -> Line {
        let line = self.line(&Place::Model(MODEL.into())).await;
        let pass = Pass { tag: format!("unit-mysql-{number}"), password: format!("u{number}") };
        line.login(&pass, self.host.soon()).await.expect("a login");
        line
    }

    pub async fn machine(&mut self, number: u64) -> Line {
        let line = self.line(&Place::Model(MODEL.into())).await;
        let pass = Pass { tag: format!("machine-{number}"), password: format!("m{number}") };
        line.login(&pass, self.host.soon()).await.expect("a login");
        line
    }

    pub async fn admin(&mut self, place: &Place) -> Line {
        let line = self.line(place).await;
        let pass = Pass { tag: "user-admin".into(), password: "secret".into() };
        line.login(&pass, self.host.soon()).await.expect("a login");
        line
    }
}
