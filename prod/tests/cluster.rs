//! Three nodes in one process, over pipes: elections, batches, a crash, and two ways to catch up.

mod common;
#[path = "common/disk.rs"]
mod disk;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::World;
use disk::Disk;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::impls::TokioRuntime;
use portcullis::env::Env;
use portcullis::metrics::Metrics;
use portcullis::peer::{
    self, Admission, Failure, Handler, Hello, Link, Links, Network, Received, Reply, Request,
};
use portcullis::raft::{
    self, Config, Identity, Leases, Line, NotWritten, Observed, Proposed, Raft, Role, Roles, Store,
    Table, Writer,
};
use portcullis_core::lease::{Command, Entry, Key, Operation};
use portcullis_core::members::{self, Done, Member, Preference, Versions, Wanted};
use portcullis_core::queue::Answer;
use portcullis_core::{Address, GlobalTime, NodeId};
use tokio::io::DuplexStream;
use tokio::sync::watch;

type Runtime = TokioRuntime;

const CLUSTER: &str = "cluster";
const NODES: [u64; 3] = [1, 2, 3];

/// The handler of one node; answers asks by what they claim.
struct Desk {
    raft: Raft<Runtime>,
    received: Received,
}

impl Handler<Runtime> for Desk {
    fn admit(&self, hello: &Hello) -> Admission {
        if NODES.contains(&hello.from.0) { Admission::Welcome } else { Admission::Stranger }
    }

    async fn handle(&self, request: Request<Runtime>) -> Reply<Runtime> {
        match peer::raft_reply(&self.raft, &self.received, request).await {
            Ok(reply) => reply,
            Err(Request::Ask { serial, .. }) => {
                Reply::Answered { serial, answer: Answer::Cancelled }
            }
            Err(_) => Reply::Recalled,
        }
    }
}

struct Node {
    raft: Raft<Runtime>,
    leases: Leases,
    links: Links<World>,
    restored: Arc<Mutex<Vec<u64>>>,
    /// Its connections end when this is dropped.
    _power: watch::Sender<()>,
}

/// What is running at the moment, for pipes to find.
type Doors = Arc<Mutex<BTreeMap<u64, (Arc<Desk>, watch::Receiver<()>)>>>;

struct Cluster {
    world: World,
    config: Config,
    disks: BTreeMap<u64, Disk>,
    doors: Doors,
    nodes: BTreeMap<u64, Node>,
}

fn limits(id: u64) -> peer::Config {
    peer::Config::new(NodeId(id), CLUSTER)
}

/// Connects to whoever runs under the id.
fn dial(world: &World, doors: &Doors, id: u64) -> io::Result<DuplexStream> {
    let doors = doors.lock().unwrap();
    let (desk, power) = doors.get(&id).ok_or(io::ErrorKind::ConnectionRefused)?;
    let (near, far) = tokio::io::duplex(64 << 10);
    let (host, desk, mut power) = (world.clone(), Arc::clone(desk), power.clone());
    let limits = limits(id);
    world.spawn(async move {
        tokio::select! {
            biased;
            _ = power.changed() => {}
            _ = peer::serve(&host, &limits, far, desk) => {}
        }
    });
    Ok(near)
}

impl Cluster {
    async fn start(config: Config) -> Cluster {
        let mut cluster = Cluster {
            world: World::new(7),
            config,
            disks: NODES.iter().map(|id| (*id, Disk::default())).collect(),
            doors: Doors::default(),
            nodes: BTreeMap::new(),
        };
        for id in NODES {
            cluster.boot(id).await;
        }
        let members: BTreeMap<u64, raft::Peer> =
            NODES.iter().map(|id| (*id, raft::Peer::default())).collect();
        cluster.nodes[&1].raft.initialize(members).await.unwrap();
        cluster
    }

    async fn boot(&mut self, id: u64) {
        let identity = Identity { cluster: CLUSTER.into(), node: NodeId(id) };
        let disk = self.disks[&id].clone();
        let store = Store::<Runtime>::open(disk, &identity, Writer::Thread).unwrap();
        let restored = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&restored);
        let table = Table::new(store.clone(), move |observed| match observed {
            Observed::Restored { index } => seen.lock().unwrap().push(index),
            Observed::Applied { .. } | Observed::Members { .. } | Observed::Formed { .. } => {}
        });
        let leases = table.leases();
        let (world, doors) = (self.world.clone(), Arc::clone(&self.doors));
        let links = Links::new(move |other: NodeId, _: Address| {
            let (host, doors) = (world.clone(), Arc::clone(&doors));
            let dial = move |_| std::future::ready(dial(&host, &doors, other.0));
            Link::start(&world, &limits(id), other, dial)
        });
        let others = NODES.into_iter().filter(|other| *other != id);
        links.follow(&others.map(|other| (NodeId(other), Address::new(""))).collect());
        let config = Arc::new(self.config.openraft().unwrap());
        let metrics = Arc::new(Metrics::new([]));
        let within = self.config.append_within();
        let network = Network::new(NodeId(id), links.clone(), within, metrics);
        let raft = Raft::new(id, config, network, store, table).await.unwrap();
        let (power, plug) = watch::channel(());
        let desk = Arc::new(Desk { raft: raft.clone(), received: Received::default() });
        self.doors.lock().unwrap().insert(id, (desk, plug));
        self.nodes.insert(id, Node { raft, leases, links, restored, _power: power });
    }

    async fn kill(&mut self, id: u64) {
        self.doors.lock().unwrap().remove(&id);
        let node = self.nodes.remove(&id).unwrap();
        node.raft.shutdown().await.unwrap();
        drop(node);
        // Requests that are still being answered keep the store open for a moment, and a file that
        // is open twice is ruined; real files are locked.
        while Arc::strong_count(&self.disks[&id].0) > 1 {
            self.world.sleep_until(self.world.now() + Duration::from_millis(1)).await;
        }
    }

    /// The first node that leads and knows the past.
    async fn leader(&self) -> u64 {
        loop {
            for (id, node) in &self.nodes {
                if node.raft.is_leader()
                    && let Some(Role::Leader { .. }) = Roles::new(&node.raft).next().await
                {
                    return *id;
                }
            }
            self.world.sleep_until(self.world.now() + Duration::from_millis(5)).await;
        }
    }

    /// Proposes batches of ten claims to whoever leads, again until each is committed.
    async fn propose(&self, batches: std::ops::Range<u64>) {
        for batch in batches {
            loop {
                let leader = self.leader().await;
                let turn = Line::default().turn();
                let patience = std::future::pending();
                match raft::propose(&self.nodes[&leader].raft, turn, entry(batch), patience).await {
                    Proposed::Committed { applied, .. } => {
                        assert_eq!(applied.outcomes.len(), 10);
                        assert!(applied.outcomes.iter().all(Result::is_ok));
                        break;
                    }
                    Proposed::NotProposed { .. } | Proposed::Unknown => {}
                }
            }
        }
    }

    /// Waits until every node shows what the leader shows, and returns how many leases that is.
    async fn agree(&self) -> usize {
        let (leader, index) = loop {
            let leader = self.leader().await;
            // On a busy machine the lead may have changed since.
            if let Ok(index) = raft::read_index(&self.nodes[&leader].raft).await {
                break (leader, index);
            }
        };
        for node in self.nodes.values() {
            assert!(raft::await_applied(&node.raft, index).await);
            assert!(node.leases.view().index() >= Some(index), "applied, but not shown");
            assert_eq!(node.leases.view().snapshot(), self.nodes[&leader].leases.view().snapshot());
        }
        self.nodes[&leader].leases.view().len()
    }
}

fn entry(batch: u64) -> Entry {
    let command = |number| {
        let lease = format!("lease-{batch}-{number}");
        let key = Key::new("n", "m", &lease);
        let duration = Duration::from_secs(60);
        let operation = Operation::Claim { key, holder: "h".into(), duration };
        Command { operation, void_after: GlobalTime(u64::MAX) }
    };
    Entry { now: GlobalTime(batch), commands: (0..10).map(command).collect() }
}

fn quick() -> Config {
    Config {
        heartbeat: Duration::from_millis(50),
        election: (Duration::from_millis(200), Duration::from_millis(400)),
        ..Config::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_claims_survive_the_leader() {
    let mut cluster = Cluster::start(quick()).await;
    cluster.propose(0..50).await;
    let killed = cluster.leader().await;
    cluster.kill(killed).await;
    cluster.propose(50..100).await;
    cluster.boot(killed).await;
    assert_eq!(cluster.agree().await, 1_000);
    assert!(cluster.nodes[&killed].restored.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_away_too_long_is_given_a_snapshot() {
    let config = Config { snapshot_every: 20, kept: 5, ..quick() };
    let mut cluster = Cluster::start(config).await;
    cluster.propose(0..10).await;
    let leader = cluster.leader().await;
    // Never the leader, so that nobody stands for election.
    let killed = NODES.into_iter().find(|id| *id != leader).unwrap();
    cluster.kill(killed).await;
    cluster.propose(10..100).await;
    // The log is cut only once the leader has given up sending entries to the dead node.
    let wait = cluster.nodes[&leader].raft.wait(Some(Duration::from_secs(20)));
    let cut = wait.metrics(|seen| seen.purged.is_some_and(|at| at.index > 30), "purge").await;
    cut.unwrap();
    cluster.boot(killed).await;
    assert_eq!(cluster.agree().await, 1_000);
    assert!(!cluster.nodes[&killed].restored.lock().unwrap().is_empty());

    // A restarted leader that resumed its term would read without the last claims.
    for id in NODES {
        cluster.kill(id).await;
    }
    for id in NODES {
        cluster.boot(id).await;
    }
    assert_eq!(cluster.agree().await, 1_000);
}

#[tokio::test]
async fn asks_are_answered_and_nobody_waits_for_a_dead_peer() {
    let mut cluster = Cluster::start(quick()).await;
    let leader = cluster.leader().await;
    let follower = NODES.into_iter().find(|id| *id != leader).unwrap();
    let link = cluster.nodes[&follower].links.get(NodeId(leader)).unwrap();
    let patience = Duration::from_secs(5);
    let operation = entry(0).commands[0].operation.clone();
    let ask = Request::Ask { serial: 3, operation, patience };
    match link.call(&ask, patience).await.unwrap() {
        Reply::Answered { serial: 3, answer: Answer::Cancelled } => {}
        reply => panic!("{reply:?}"),
    }
    match link.call(&Request::ReadIndex, patience).await.unwrap() {
        Reply::ReadIndex(Ok(_)) => {}
        reply => panic!("{reply:?}"),
    }
    cluster.kill(leader).await;
    while link.connected() {
        cluster.world.sleep_until(cluster.world.now() + Duration::from_millis(5)).await;
    }
    let before = cluster.world.now();
    let failed = link.call(&Request::ReadIndex, patience).await.unwrap_err();
    assert_eq!(failed, Failure::Unreachable);
    assert!(cluster.world.now().since(before) < Duration::from_secs(1));
}

#[tokio::test]
async fn the_log_has_the_order_in_which_turns_were_taken() {
    let cluster = Cluster::start(quick()).await;
    let raft = cluster.nodes[&cluster.leader().await].raft.clone();
    let mut line = Line::default();
    let proposals = (0..20).map(|batch| {
        // One that is dropped is out of the way of those behind it.
        drop(line.turn());
        let (turn, raft) = (line.turn(), &raft);
        async move { (batch, raft::propose(raft, turn, entry(batch), std::future::pending()).await) }
    });
    let proposals: Vec<_> = proposals.collect();
    // Whoever proposed last is asked first.
    let proposed = futures_util::future::join_all(proposals.into_iter().rev()).await;
    let index = |(batch, proposed)| match proposed {
        Proposed::Committed { index, .. } => (index, batch),
        Proposed::NotProposed { .. } | Proposed::Unknown => panic!("{batch} is {proposed:?}"),
    };
    let mut log: Vec<(u64, u64)> = proposed.into_iter().map(index).collect();
    log.sort_unstable();
    assert!(log.is_sorted_by_key(|(_, batch)| *batch), "{log:?}");
}

#[tokio::test]
async fn nothing_is_written_that_a_member_does_not_read() {
    let cluster = Cluster::start(quick()).await;
    let member = |id: u64, most| Member {
        address: Address::from(format!("host-{id}:1")),
        api: Vec::new(),
        domain: "".into(),
        reads: Versions { least: 1, most },
    };
    let members = [(1, 2), (2, 2), (3, 1)].map(|(id, most)| (NodeId(id), member(id, most)));
    let found = members::Command::Found { members: members.into(), wanted: Wanted::default() };
    let prefer = members::Command::Prefer { node: NodeId(2), preference: Some(Preference::Vote) };
    // As an operator does, until it is known what came of it.
    let propose = async |command: &members::Command| loop {
        let leader = &cluster.nodes[&cluster.leader().await];
        let writes = leader.leases.view().members().writes();
        match raft::propose_members(&leader.raft, writes, command.clone()).await {
            Err(NotWritten::Definite { .. } | NotWritten::Unknown) => {}
            done => break done,
        }
    };
    assert_eq!(propose(&found).await, Ok(Ok(Done::Noted)));
    let logged = async || {
        let leader = &cluster.nodes[&cluster.leader().await];
        leader.raft.metrics().borrow_watched().last_log_index
    };
    let before = logged().await;
    let too_new = NotWritten::TooNew { version: 2, writes: 1 };
    assert_eq!(propose(&prefer).await, Err(too_new));
    assert_eq!(logged().await, before, "it never reached the log");
    // The last one is upgraded.
    let update = members::Command::Update { node: NodeId(3), member: member(3, 2) };
    assert_eq!(propose(&update).await, Ok(Ok(Done::Noted)));
    assert_eq!(propose(&prefer).await, Ok(Ok(Done::Noted)));
    cluster.agree().await;
    for node in cluster.nodes.values() {
        let wish = node.leases.view().members().preference(NodeId(2));
        assert_eq!(wish, Some(Preference::Vote));
    }
}

#[tokio::test]
async fn strangers_are_not_served() {
    let cluster = Cluster::start(quick()).await;
    let (near, far) = tokio::io::duplex(1_024);
    let near = Mutex::new(Some(near));
    let dial = move |_| {
        let stream = near.lock().unwrap().take();
        std::future::ready(stream.ok_or(io::ErrorKind::ConnectionRefused.into()))
    };
    let stranger = peer::Config::new(NodeId(9), CLUSTER);
    let _link = Link::start(&cluster.world, &stranger, NodeId(1), dial);
    let desk = Arc::clone(&cluster.doors.lock().unwrap()[&1].0);
    match peer::serve(&cluster.world, &limits(1), far, desk).await {
        peer::Error::Stranger(hello) => assert_eq!(hello.from, NodeId(9)),
        error => panic!("{error}"),
    }
}
