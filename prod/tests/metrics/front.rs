//! What a front shows of itself, on a port of its own.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use portcullis::front::{Backend, Config, Front, Health};
use portcullis::tokio_env::{Ports, Tokio};
use portcullis_core::{Address, front};

use super::dashboard;
use super::scraped::Scraped;

/// Longer than anything takes that happens at all.
const LONG: Duration = Duration::from_secs(20);

/// A front before one backend, which accepts and says nothing.
struct World {
    front: Front<Tokio>,
    shown: SocketAddr,
    backend: TcpListener,
}

impl World {
    async fn start(limits: front::Config) -> World {
        let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
        let backend = TcpListener::bind(any).expect("a free port");
        let address = backend.local_addr().expect("it is bound").to_string();
        let config = Config {
            listen: any,
            metrics: Some(any),
            backends: vec![Backend {
                address: Address::new(&address),
                health: None,
                proxy_protocol: false,
            }],
            health: Health::Tcp,
            probe_within: LONG,
            connect_within: LONG,
            limits,
        };
        let env = Tokio::start(PathBuf::new(), Ports::Own).expect("a host");
        let front = Front::start(env, config).await.expect("free ports");
        let shown = front.shown().expect("it was asked for");
        World { front, shown, backend }
    }

    /// The whole answer to a request.
    async fn ask(&self, request: &str) -> String {
        let (shown, request) = (self.shown, format!("{request} HTTP/1.0\r\n\r\n"));
        let asked = tokio::task::spawn_blocking(move || {
            let mut stream = TcpStream::connect(shown).expect("it listens");
            stream.set_read_timeout(Some(LONG)).expect("open");
            stream.write_all(request.as_bytes()).expect("open");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).expect("it answers");
            answer
        });
        asked.await.expect("it asks")
    }

    async fn scrape(&self) -> Scraped {
        let answer = self.ask("GET /metrics").await;
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
        assert!(head.starts_with("HTTP/1.0 200 "), "{head}");
        assert!(head.contains("text/plain; version=0.0.4; charset=utf-8"), "{head}");
        Scraped::read(body)
    }

    /// A client, and what it counts as once its backend has it.
    async fn enter(&self) -> (TcpStream, Scraped) {
        let before = self.scrape().await.sum("portcullis_front_joined_total", &[]);
        let client = TcpStream::connect(self.front.bound()).expect("it listens");
        loop {
            let scraped = self.scrape().await;
            if scraped.sum("portcullis_front_joined_total", &[]) > before {
                return (client, scraped);
            }
        }
    }
}

const USED: &str = "portcullis_limit_used";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_front_counts_whom_it_serves_and_how_near_its_limits_are() {
    let world = World::start(front::Config { connections_max: 7, ..Default::default() }).await;
    let (client, scraped) = world.enter().await;
    let backend = world.backend.local_addr().expect("it is bound").to_string();
    let of = [("backend", backend.as_str())];
    assert_eq!(scraped.sum("portcullis_front_serving", &[]), 1.0);
    assert_eq!(scraped.sum("portcullis_front_backend_up", &of), 1.0);
    assert_eq!(scraped.sum("portcullis_front_backend_connections", &of), 1.0);
    assert_eq!(scraped.sum("portcullis_limit", &[("limit", "connections_max")]), 7.0);
    assert_eq!(scraped.sum(USED, &[("limit", "connections_max")]), 1.0);
    assert_eq!(scraped.sum(USED, &[("limit", "scrapes_max")]), 1.0);
    assert!(scraped.sum(USED, &[("limit", "files_max")]) > 2.0);
    let health = world.ask("GET /health").await;
    assert!(health.starts_with("HTTP/1.0 200 ") && health.contains("serving"), "{health}");
    assert!(health.contains(&format!("{backend} up: connections=1")), "{health}");
    drop(client);
    world.front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_front_without_a_backend_says_so() {
    let World { front, shown, backend } = World::start(front::Config::default()).await;
    let world = World { front, shown, backend: TcpListener::bind("127.0.0.1:0").expect("a port") };
    drop(backend);
    while !world.ask("GET /health").await.starts_with("HTTP/1.0 503 ") {}
    let health = world.ask("GET /health").await;
    assert!(health.contains("waiting for a backend"), "{health}");
    assert_eq!(world.scrape().await.sum("portcullis_front_serving", &[]), 0.0);
    assert!(world.ask("POST /health").await.starts_with("HTTP/1.0 405 "));
    assert!(world.ask("GET /else").await.starts_with("HTTP/1.0 404 "));
    world.front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_dashboard_of_fronts_draws_all_of_it_and_the_readme_lists_it() {
    let world = World::start(front::Config::default()).await;
    let (_client, scraped) = world.enter().await;
    dashboard::draws("front.json", &scraped);
    dashboard::lists(&scraped);
    world.front.stop().await;
}
