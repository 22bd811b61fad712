//! One real controller on loopback, with its store on a disk.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use portcullis::api::{self, CONTROLLER_MODEL, Model, Place};
use portcullis::client::wire::{self, Line, Pass};
use portcullis::credentials::{Credentials, Hashed, Identity};
use portcullis::env::Env;
use portcullis::node::{self, Doors, Node};
use portcullis::tls::{self, Authority, KeyKind, Validity};
use portcullis::tokio_env::{Ports, Tokio};
use portcullis::{raft, rpc};
use portcullis_core::{Address, NodeId, Time, controller};
use rustls::ClientConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::scraped::Scraped;

pub const MODEL: &str = "deadbeef-0bad-400d-8000-4b1d0d06f00d";

/// A controller, and what reaches it.
pub struct World {
    pub env: Tokio,
    pub node: Node<Tokio>,
    tls: Arc<ClientConfig>,
    bound: node::Ports,
    _folder: tempfile::TempDir,
}

impl World {
    /// Starts a controller that is alone, and waits until it is open and leads. An agent may have
    /// one ask at a time.
    pub async fn start() -> World {
        World::start_with(|limits| limits.asks_per_connection_max = 1).await
    }

    /// The same with other limits.
    pub async fn start_with(limit: impl FnOnce(&mut controller::Config)) -> World {
        let folder = tempfile::tempdir().expect("there is a temporary folder");
        let env = Tokio::start(folder.path().join("data"), Ports::Own).expect("a host");
        let authority = Authority::make(KeyKind::Ed25519, Validity::century()).expect("authority");
        let issue = || authority.issue(NodeId(1), &[], Validity::century()).expect("certificate");
        let certificate = issue();
        let tls = tls::agent_client(&certificate.authority).expect("configuration");
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut limits = controller::Config::new(NodeId(1));
        limits.listener.open_delay = Duration::ZERO;
        limit(&mut limits);
        let mut credentials = Credentials::default();
        let hashed = || Hashed::salted("secret");
        credentials.insert(None, Identity::User("admin".into()), hashed());
        for tag in ["unit-mysql-0", "unit-mysql-1", "machine-1"] {
            credentials.insert(Some(MODEL), Identity::from_tag(tag).expect("a tag"), hashed());
        }
        let config = node::Config {
            controller: limits,
            raft: raft::Config::default(),
            writer: raft::Writer::Thread,
            api: api::Config {
                items_max: 2,
                socket: rpc::Limits { message_max: 16 * 1024, outbox_max: 64 },
                ..api::Config::default()
            },
            doors: Doors { api: any, controller: Some(any.into()), controllers_first: false },
            metrics: Some(any),
            proxied: Vec::new(),
            cluster: "11111111-2222-4333-8444-555555555555".into(),
            bind_file: None,
            joining: Default::default(),
            membership: None,
            peers: BTreeMap::from([(NodeId(1), vec![Address::new("127.0.0.1:1")])]),
            servers: BTreeMap::from([(NodeId(1), Vec::new())]),
            space: None,
            certificate,
            credentials,
            models: vec![Model {
                uuid: MODEL.into(),
                name: CONTROLLER_MODEL.into(),
                applications: Default::default(),
            }],
            moved: Default::default(),
        };
        let node = Node::start(env.clone(), config).await.expect("it starts");
        let mut ports = node.ports();
        let all = |ports: &node::Ports| ports.api.is_some() && ports.metrics.is_some();
        let bound = ports.wait_for(all).await.expect("it runs").clone();
        World { env, node, tls, bound, _folder: folder }
    }

    pub fn soon(&self) -> Time {
        self.env.now() + Duration::from_secs(20)
    }

    /// Somebody who has logged in.
    pub async fn enter(&self, tag: &str) -> Line {
        let address = address(self.bound.api.expect("it is open"));
        let place = match tag.starts_with("user-") {
            true => Place::Controller,
            false => Place::Model(MODEL.into()),
        };
        let stream = self.env.connect(&address).await.expect("it listens");
        let (tls, soon) = (&self.tls, self.soon());
        let line = wire::open(&self.env, stream, tls, address.as_str(), &place, soon);
        let line = line.await.expect("a connection");
        let pass = Pass { tag: tag.into(), password: "secret".into() };
        line.login(&pass, soon).await.expect("a login");
        line
    }

    /// The answer to a request at the metrics address.
    pub async fn plain(&self, request: &str) -> String {
        let address = address(self.bound.metrics.expect("it is open"));
        let mut stream = self.env.connect(&address).await.expect("it listens");
        let request = format!("{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("it answers");
        answer
    }

    /// The answer to a request at the API door.
    pub async fn encrypted(&self, request: &str, header: &str) -> String {
        let address = address(self.bound.api.expect("it is open"));
        let stream = self.env.connect(&address).await.expect("it listens");
        let mut stream = tls::dial_api(&self.tls, stream).await.expect("TLS");
        let request = format!("{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{header}\r\n");
        stream.write_all(request.as_bytes()).await.expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("it answers");
        answer
    }

    /// Scrapes until what is awaited can be seen.
    pub async fn until(&self, awaited: impl Fn(&Scraped) -> bool) -> Scraped {
        let soon = self.soon();
        loop {
            let scraped = self.scrape().await;
            if awaited(&scraped) {
                return scraped;
            }
            assert!(self.env.now() < soon, "it does not come about");
        }
    }

    pub async fn scrape(&self) -> Scraped {
        let answer = self.plain("GET /metrics").await;
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert!(head.contains("text/plain; version=0.0.4; charset=utf-8"), "{head}");
        Scraped::read(body)
    }
}

fn address(of: SocketAddr) -> Address {
    Address::from(of.to_string())
}
