//! `front`: a balancing proxy before several controllers, until it is told to stop.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use portcullis::config::front::{Behind, EXAMPLE, File, Kind, Limits};
use portcullis::front::Front;
use portcullis::tokio_env::{Ports, Tokio};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use super::exit::Failure;
use super::files;
use super::run::end_on_panic;

/// Files that are kept for all but the two of each connection: the log, the port, what tokio needs,
/// and a probe of each of the most backends.
const FILES_KEPT: u64 = 96;

#[derive(Args)]
#[group(skip)]
pub struct Arguments {
    /// The front's configuration, in TOML, instead of the options below
    #[arg(long, value_name = "FILE", conflicts_with_all = ["listen", "backends", "health",
        "health_port", "ca", "proxy_protocol", "connections_max", "fill_rate", "drain",
        "metrics_address"])]
    config: Option<PathBuf>,
    /// Print an example of that file instead, with every key, its default and its meaning
    #[arg(long, exclusive = true)]
    example: bool,
    /// Check that file, say what it means, and stop
    #[arg(long, requires = "config")]
    check: bool,
    /// Print the ports when they are bound, each as a line of JSON: {"listen":"0.0.0.0:17070"}
    #[arg(long)]
    print_ports: bool,
    /// Threads that carry bytes [default: one for each processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=256))]
    threads: Option<u64>,
    /// Address and port to listen on; with port 0 the kernel chooses
    #[arg(long, value_name = "ADDRESS:PORT", required_unless_present_any = ["config", "example"])]
    listen: Option<SocketAddr>,
    /// Address and port that show `/metrics` and `/health` by plain HTTP [default: none]
    #[arg(long, value_name = "ADDRESS:PORT")]
    metrics_address: Option<SocketAddr>,
    /// A backend; say it again for each
    #[arg(
        long = "backend",
        value_name = "HOST:PORT",
        required_unless_present_any = ["config", "example"]
    )]
    backends: Vec<String>,
    /// How backends are asked how they are [default: https]
    #[arg(long, value_enum)]
    health: Option<Asked>,
    /// Port of each backend that is probed, if not its own, such as `controller-api-port`
    ///
    /// A node's controller door is never paced. Probes of its API door wait with the herd, and a
    /// healthy node may be taken for a dead one.
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    health_port: Option<u16>,
    /// Authority, in PEM, that proves who answers a probe [default: anybody is believed]
    ///
    /// Clients prove backends by themselves, since TLS is passed through.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Begin each connection with a PROXY header, version 2, for backends that expect it
    #[arg(long)]
    proxy_protocol: bool,
    /// Most connections at once; the rest wait in the kernel's backlog [default: 100000]
    #[arg(long, value_name = "N")]
    connections_max: Option<usize>,
    /// New connections a second of a backend that turned up, for a minute; 0 for no limit
    /// [default: 200]
    #[arg(long, value_name = "N")]
    fill_rate: Option<u32>,
    /// How long connections may go on when the front stops [default: 1min]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    drain: Option<Duration>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Asked {
    /// `GET /health` over TLS: 200 is healthy, 503 says that it starts or stops.
    Https,
    /// By connecting: for servers that tell nothing of themselves.
    Tcp,
}

impl Arguments {
    fn file(&self) -> Result<File, Failure> {
        if let Some(file) = &self.config {
            return File::load(file).map_err(Failure::wrong);
        }
        let defaults = Limits::default();
        let behind = |address: &String| Behind {
            address: address.clone(),
            health_address: self.health_port.and_then(|port| {
                address.rsplit_once(':').map(|(host, _)| format!("{host}:{port}"))
            }),
            proxy_protocol: self.proxy_protocol,
        };
        let file = File {
            listen: self.listen.expect("clap asks for it where there is no file"),
            metrics_address: self.metrics_address,
            health: match self.health {
                Some(Asked::Https) | None => Kind::Https,
                Some(Asked::Tcp) => Kind::Tcp,
            },
            ca: self.ca.clone(),
            backends: self.backends.iter().map(behind).collect(),
            limits: Limits {
                connections_max: self.connections_max.unwrap_or(defaults.connections_max),
                fill_rate: self.fill_rate.unwrap_or(defaults.fill_rate),
                drain: self.drain.unwrap_or(defaults.drain),
                ..defaults
            },
        };
        file.check().map_err(Failure::wrong)?;
        Ok(file)
    }
}

/// Runs the front until Ctrl-C or SIGTERM.
pub fn front(arguments: &Arguments) -> Result<(), Failure> {
    if arguments.example {
        print!("{EXAMPLE}");
        return Ok(());
    }
    let file = arguments.file()?;
    if arguments.check {
        return check(&file);
    }
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = arguments.threads {
        runtime.worker_threads(threads as usize);
    }
    runtime.enable_all().build().map_err(Failure::wrong)?.block_on(serve(arguments, &file))
}

async fn serve(arguments: &Arguments, file: &File) -> Result<(), Failure> {
    let listen = |kind| signal(kind).map_err(Failure::wrong);
    let mut interrupted = listen(SignalKind::interrupt())?;
    let mut terminated = listen(SignalKind::terminate())?;
    let mut hung_up = listen(SignalKind::hangup())?;
    let mut asked = listen(SignalKind::user_defined1())?;
    // A front keeps nothing, so there is no data folder.
    let env = Tokio::start(PathBuf::new(), Ports::Own).map_err(Failure::wrong)?;
    let mut config = file.front().map_err(Failure::wrong)?;
    let (files, affordable) = affordable()?;
    if affordable < config.limits.connections_max {
        warn!(files, connections_max = affordable, "connections-max is lowered: two files each");
        config.limits.connections_max = affordable;
    }
    let front = Front::start(env, config).await;
    let front = front.map_err(Failure::wrong)?;
    end_on_panic();
    info!(listen = %front.bound(), metrics = ?front.shown(), files, "started");
    if arguments.print_ports {
        // Whoever wanted to know may have gone; the front serves all the same.
        let _ = writeln!(io::stdout(), "{}", json!({ "listen": front.bound() }));
        if let Some(shown) = front.shown() {
            let _ = writeln!(io::stdout(), "{}", json!({ "metrics-address": shown }));
        }
    }
    loop {
        tokio::select! {
            biased;
            () = front.ended() => break,
            _ = interrupted.recv() => front.stop().await,
            _ = terminated.recv() => front.stop().await,
            _ = hung_up.recv() => reload(arguments, file, &front).await,
            _ = asked.recv() => {
                if let Some(report) = front.report().await {
                    info!("{report}");
                }
            }
        }
    }
    info!("stopped");
    Ok(())
}

/// Files that the process may have, and connections that those are enough for.
fn affordable() -> Result<(u64, usize), Failure> {
    let files = files::raise();
    match usize::try_from(files.saturating_sub(FILES_KEPT) / 2).unwrap_or(usize::MAX) {
        0 => {
            let says = format!("{files} open files are too few; raise `ulimit -n`");
            Err(Failure::wrong(says))
        }
        affordable => Ok((files, affordable)),
    }
}

/// Says what a front by this file would do, having looked at all but the network.
fn check(file: &File) -> Result<(), Failure> {
    let config = file.front().map_err(Failure::wrong)?;
    let (files, affordable) = affordable()?;
    let connections = config.limits.connections_max.min(affordable);
    println!("listens on {}, for {connections} connections at once", file.listen);
    if connections < config.limits.connections_max {
        println!("  lowered from connections-max: there are {files} files, and each takes two");
    }
    match file.metrics_address {
        Some(address) => println!("shows /metrics and /health on {address}"),
        None => println!("shows no metrics: there is no metrics-address"),
    }
    for backend in &config.backends {
        let probed = backend.health.as_ref().unwrap_or(&backend.address);
        let how = match file.health {
            Kind::Https => "asked for /health",
            Kind::Tcp => "connected to for its health",
        };
        let begun = if backend.proxy_protocol { ", told who dials by a PROXY header" } else { "" };
        println!("backend {}, {how} at {probed}{begun}", backend.address);
    }
    Ok(())
}

/// Goes on with the backends that the file names at this time; with those it has if it is wrong.
async fn reload(arguments: &Arguments, running: &File, front: &Front<Tokio>) {
    let Some(file) = &arguments.config else {
        return warn!("there is no file to read again: the front was started with options");
    };
    match File::load(file) {
        Ok(file) => {
            info!(backends = file.backends.len(), "read again");
            let keys = running.restart_keys(&file);
            if !keys.is_empty() {
                warn!("changed, and kept as they were until a restart: {}", keys.join(", "));
            }
            front.set(file.backends()).await;
        }
        Err(error) => warn!("going on as before:\n{error}"),
    }
}
