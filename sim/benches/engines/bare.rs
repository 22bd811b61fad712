//! The simulators by themselves: three servers that echo, twelve clients that ping, and nothing else.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::{Result, anyhow};
use clap::ValueEnum;
use futures_util::future::{join_all, try_join_all};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// As many as controllers and agents of `chaos/leases` on these engines.
const SERVERS: u64 = 3;
const CLIENTS: u64 = 12;
const PORT: u16 = 17_070;
/// Bytes of a ping, and of its echo.
const SIZE: usize = 64;
/// turmoil's tick in our engine.
const TICK: Duration = Duration::from_millis(1);

#[derive(Clone, Copy, ValueEnum)]
pub enum Simulator {
    Turmoil,
    Madsim,
}

/// So many messages in about so much simulated time.
#[derive(Clone, Copy)]
struct Work {
    /// Pings of one client.
    pings: u64,
    every: Duration,
}

/// Runs, and prints what a page of ours ends with.
pub fn run(simulator: Simulator, messages: u64, seconds: u64) -> Result<()> {
    let pings = (messages / 2 / CLIENTS).max(1);
    let work = Work { pings, every: Duration::from_secs(seconds) / u32::try_from(pings)? };
    let took = match simulator {
        Simulator::Turmoil => turmoil(work).map_err(|error| anyhow!("{error}"))?,
        Simulator::Madsim => madsim(work)?,
    };
    println!("verdict passed, ended at {:.6}s", took.as_secs_f64());
    println!("draws 0  events {}  hash 0", pings * 2 * CLIENTS);
    Ok(())
}

fn turmoil(work: Work) -> turmoil::Result<Duration> {
    let mut sim = turmoil::Builder::new()
        .simulation_duration(Duration::MAX)
        .tick_duration(TICK)
        .tcp_capacity(usize::from(u16::MAX))
        .rng_seed(1)
        .build();
    for server in 0..SERVERS {
        sim.host(format!("server-{server}"), || async {
            serve_on_turmoil().await?;
            Ok(())
        });
    }
    sim.client("clients", async move {
        let one = |client: u64| async move {
            let server = (format!("server-{}", client % SERVERS), PORT);
            let stream = turmoil::net::TcpStream::connect(server).await?;
            let began = tokio::time::Instant::now();
            ping(stream, work, |after| tokio::time::sleep_until(began + after)).await
        };
        try_join_all((0..CLIENTS).map(one)).await?;
        Ok(())
    });
    sim.run()?;
    Ok(sim.elapsed())
}

async fn serve_on_turmoil() -> io::Result<()> {
    let any = (IpAddr::V4(Ipv4Addr::UNSPECIFIED), PORT);
    let listener = turmoil::net::TcpListener::bind(any).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        drop(tokio::task::spawn_local(echo(stream)));
    }
}

#[expect(clippy::disallowed_methods, reason = "within its simulation madsim answers for it")]
fn madsim(work: Work) -> io::Result<Duration> {
    let runtime = madsim::runtime::Runtime::with_seed_and_config(1, madsim::Config::default());
    runtime.block_on(async move {
        let began = madsim::time::Instant::now();
        let handle = madsim::runtime::Handle::current();
        for server in 0..SERVERS {
            let node = handle.create_node().ip(address(server)).build();
            drop(node.spawn(serve_on_madsim(address(server))));
        }
        let one = |client: u64| async move {
            // The servers are bound first.
            madsim::time::sleep(TICK).await;
            let server = (address(client % SERVERS), PORT);
            let stream = madsim::net::TcpStream::connect(server).await?;
            let began = madsim::time::Instant::now();
            ping(stream, work, |after| madsim::time::sleep_until(began + after)).await
        };
        let node = handle.create_node().ip(address(SERVERS)).build();
        let clients = (0..CLIENTS).map(|client| node.spawn(one(client)));
        for done in join_all(clients).await {
            done.map_err(io::Error::other)??;
        }
        Ok(began.elapsed())
    })
}

async fn serve_on_madsim(address: IpAddr) -> io::Result<()> {
    let listener = madsim::net::TcpListener::bind((address, PORT)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        drop(madsim::task::spawn(echo(stream)));
    }
}

fn address(host: u64) -> IpAddr {
    // There are four hosts.
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1 + host as u8))
}

/// Sends everything back until the other side has had enough.
async fn echo(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    let mut bytes = [0; SIZE];
    loop {
        stream.read_exact(&mut bytes).await?;
        stream.write_all(&bytes).await?;
        stream.flush().await?;
    }
}

/// One ping after the other, each at its time or as soon as the one before is back.
async fn ping<S: Future>(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    work: Work,
    sleep: impl Fn(Duration) -> S,
) -> io::Result<()> {
    let mut bytes = [0; SIZE];
    let mut due = Duration::ZERO;
    for _ in 0..work.pings {
        stream.write_all(&bytes).await?;
        stream.flush().await?;
        stream.read_exact(&mut bytes).await?;
        due += work.every;
        sleep(due).await;
    }
    Ok(())
}
