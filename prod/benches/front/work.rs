//! What is asked of each side, and what it has cost.

use std::cell::Cell;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use futures_util::future::{join_all, try_join_all};
use portcullis::api::Place;
use portcullis::client::wire;
use portcullis::env::Env;
use portcullis::tls;
use portcullis::tokio_env::Tokio;
use portcullis_core::Address;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::bytes::FLOOD;
use super::leash::Used;
use super::sides::{Node, Side};

/// Handshakes under way at once.
const SHAKERS: usize = 32;
/// Connections that bytes flow through.
const FLOODS: usize = 8;
/// Connections that are made idle at once.
const IDLE_AT_ONCE: usize = 100;
/// Longest time for one connection to be made.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes that each connection carries before it is idle.
const SAID: usize = 1_024;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Figure {
    Handshakes,
    HandshakeCost,
    HandshakesPerCore,
    Bytes,
    BytesPerCore,
    Idle,
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Figure::Handshakes => "TLS handshakes a second",
            Figure::HandshakeCost => "processor time of each, us",
            Figure::HandshakesPerCore => "TLS handshakes a core and second",
            Figure::Bytes => "megabytes a second",
            Figure::BytesPerCore => "megabytes a core and second",
            Figure::Idle => "resident bytes of an idle connection",
        })
    }
}

type Measured = Vec<(Figure, f64)>;

/// Full handshakes with the node, one after another by each of so many.
pub async fn handshakes(
    world: &Tokio,
    side: &Side<'_>,
    node: &Node,
    seconds: u64,
) -> Result<Measured> {
    let proxy = side.before(node.address.as_str())?;
    let (process, address) = match &proxy {
        Some(proxy) => (proxy.process, &proxy.address),
        None => (node.process, &node.address),
    };
    let done = Cell::new(0_u64);
    let until = world.now() + Duration::from_secs(seconds);
    let before = Used::by(process)?;
    let shaker = || async {
        while world.now() < until {
            let stream = world.connect(address).await?;
            tls::dial_api(&node.tls, stream).await?;
            done.set(done.get() + 1);
        }
        anyhow::Ok(())
    };
    try_join_all((0..SHAKERS).map(|_| shaker())).await?;
    let cpu = (Used::by(process)?.cpu - before.cpu).as_secs_f64();
    let count = done.get() as f64;
    Ok(vec![
        (Figure::Handshakes, count / seconds as f64),
        (Figure::HandshakeCost, cpu * 1e6 / count),
        (Figure::HandshakesPerCore, count / cpu),
    ])
}

/// As many bytes as come through from the server of this process.
pub async fn bytes(
    world: &Tokio,
    side: &Side<'_>,
    server: SocketAddr,
    seconds: u64,
) -> Result<Measured> {
    let Some(proxy) = side.before(&server.to_string())? else { return Ok(Vec::new()) };
    let count = Cell::new(0_u64);
    let until = world.now() + Duration::from_secs(seconds);
    let before = Used::by(proxy.process)?;
    let reader = || async {
        let mut stream = world.connect(&proxy.address).await?;
        stream.write_all(&[FLOOD]).await?;
        let mut buffer = vec![0; 256 * 1024];
        while world.now() < until {
            count.set(count.get() + stream.read(&mut buffer).await? as u64);
        }
        anyhow::Ok(())
    };
    try_join_all((0..FLOODS).map(|_| reader())).await?;
    let cpu = (Used::by(proxy.process)?.cpu - before.cpu).as_secs_f64();
    let megabytes = count.get() as f64 / 1e6;
    Ok(vec![(Figure::Bytes, megabytes / seconds as f64), (Figure::BytesPerCore, megabytes / cpu)])
}

/// Connections that have said something and are silent.
pub async fn idle(
    world: &Tokio,
    side: &Side<'_>,
    server: SocketAddr,
    idle: usize,
) -> Result<Measured> {
    let Some(proxy) = side.before(&server.to_string())? else { return Ok(Vec::new()) };
    let enter = || async {
        let mut stream = world.connect(&proxy.address).await?;
        let mut back = [0; SAID];
        stream.write_all(&[7; SAID]).await?;
        stream.read_exact(&mut back).await?;
        ensure!(back == [7; SAID], "other bytes come back");
        Ok(stream)
    };
    // What the proxy needs for the first of all is not for each.
    let mut connections = vec![enter().await?];
    let before = Used::by(proxy.process)?;
    while connections.len() <= idle {
        let more = join_all((0..IDLE_AT_ONCE).map(|_| enter())).await;
        connections.extend(more.into_iter().collect::<Result<Vec<_>>>()?);
    }
    let after = Used::by(proxy.process)?;
    let count = connections.len() - 1;
    Ok(vec![(Figure::Idle, (after.memory as f64 - before.memory as f64) / count as f64)])
}

/// Users who have logged in to the node and are silent.
pub async fn idle_agents(world: &Tokio, node: &Node, idle: usize) -> Result<Measured> {
    let address: &Address = &node.address;
    let enter = || async {
        let until = world.now() + PATIENCE;
        let stream = world.connect(address).await?;
        let place = Place::Controller;
        let line = wire::open(world, stream, &node.tls, address.as_str(), &place, until).await?;
        line.login(&node.pass, until).await.map_err(|error| anyhow::anyhow!("{error:?}"))?;
        anyhow::Ok(line)
    };
    let mut connections = vec![enter().await?];
    let before = Used::by(node.process)?;
    while connections.len() <= idle {
        let more = join_all((0..IDLE_AT_ONCE).map(|_| enter())).await;
        connections.extend(more.into_iter().collect::<Result<Vec<_>>>()?);
    }
    let after = Used::by(node.process)?;
    let count = connections.len() - 1;
    Ok(vec![(Figure::Idle, (after.memory as f64 - before.memory as f64) / count as f64)])
}
