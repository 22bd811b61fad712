//! Clients that come through a front which says who they are, and others that say so themselves.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use portcullis::api::Place;
use portcullis::client::wire::{self, Pass};
use portcullis::env::{Ends, Env};
use portcullis::front::{Backend, Config, Front, Health, proxy};
use portcullis::tls;
use portcullis::tokio_env::{Ports, Stream, Tokio};
use portcullis_core::{Address, front};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::world::{Cluster, MODEL};

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// What a front writes for a client far away.
fn header() -> Vec<u8> {
    let (from, to) = (address("203.0.113.9:4711"), address("127.0.0.1:17070"));
    proxy::header(Some(Ends { from, to }))
}

/// Whether somebody who begins with these bytes is let through TLS.
async fn enters(cluster: &Cluster, bytes: &[u8]) -> bool {
    let mut stream = cluster.tcp(1).await;
    stream.write_all(bytes).await.expect("the door is open");
    tls::dial_api(&cluster.client, stream).await.is_ok()
}

async fn logs_in(cluster: &Cluster, stream: Stream) {
    let (soon, place) = (cluster.host.soon(), Place::Model(MODEL.into()));
    let line = wire::open(&cluster.host, stream, &cluster.client, "localhost", &place, soon).await;
    let pass = Pass { tag: "unit-mysql-0".into(), password: "secret".into() };
    line.expect("a connection").login(&pass, soon).await.expect("a login");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_front_that_is_named_must_say_who_dials() {
    let named = |text: &str| vec![text.parse().expect("a net")];
    let cluster = Cluster::start(1, |config| config.proxied = named("127.0.0.0/8")).await;
    assert!(enters(&cluster, &header()).await);
    assert!(enters(&cluster, &proxy::header(None)).await, "a probe of the front's own");
    assert!(!enters(&cluster, b"").await, "it could be anybody");
    assert!(!enters(&cluster, &[header(), header()].concat()).await);
    let mut stream = cluster.tcp(1).await;
    stream.write_all(&header()).await.expect("the door is open");
    logs_in(&cluster, stream).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_not_named_cannot_say_who_they_are() {
    let named = |text: &str| vec![text.parse().expect("a net")];
    let cluster = Cluster::start(1, |config| config.proxied = named("10.0.0.0/8")).await;
    assert!(!enters(&cluster, &header()).await);
    assert!(enters(&cluster, b"").await);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_front_and_the_controller_understand_each_other() {
    let named = |text: &str| vec![text.parse().expect("a net")];
    let cluster = Cluster::start(1, |config| config.proxied = named("127.0.0.1")).await;
    let ports = cluster.nodes[&1].ports().borrow().clone();
    let health = ports.controller.expect("there are two doors").to_string();
    let config = Config {
        listen: address("127.0.0.1:0"),
        metrics: None,
        backends: vec![Backend {
            address: Address::new(&cluster.addresses[&1].to_string()),
            health: Some(Address::new(&health)),
            proxy_protocol: true,
        }],
        health: Health::Https { tls: cluster.client.clone() },
        probe_within: Duration::from_secs(20),
        connect_within: Duration::from_secs(20),
        limits: front::Config::default(),
    };
    let env = Tokio::start(PathBuf::new(), Ports::Own).expect("a host");
    let front = Front::start(env, config).await.expect("a free port");
    let bound = Address::new(&front.bound().to_string());
    let stream = cluster.host.connect(&bound).await.expect("the front listens");
    logs_in(&cluster, stream).await;
    front.stop().await;
    cluster.stop().await;
}

/// Whether a controller tells its health at the door that is not paced, and nothing else there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_is_told_at_the_controller_door() {
    let cluster = Cluster::start(1, |_| ()).await;
    let ports = cluster.nodes[&1].ports().borrow().clone();
    let door = Address::new(&ports.controller.expect("there are two doors").to_string());
    for (path, status) in [("/health", "200"), ("/introspection/metrics", "404"), ("/api", "404")] {
        let stream = cluster.host.connect(&door).await.expect("it is open");
        let mut stream = tls::dial_api(&cluster.client, stream).await.expect("TLS");
        let request = format!("GET {path} HTTP/1.0\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("open");
        let mut answer = String::new();
        // Ends without the farewell of TLS do not matter here.
        let _ = stream.read_to_string(&mut answer).await;
        assert!(answer.starts_with(&format!("HTTP/1.0 {status} ")), "{path}: {answer}");
    }
    cluster.stop().await;
}
