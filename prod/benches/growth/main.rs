//! A million renewals against one controller: how its folder, its memory and its pace develop, and how
//! long the longest call takes while snapshots of a large table are taken.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use portcullis::api::Place;
use portcullis::client::wire::{self, Line, Pass};
use portcullis::env::Env;
use portcullis::tls;
use portcullis::tokio_env::{Ports, Tokio};
use portcullis_core::{Address, Time};
use rustls::ClientConfig;
use serde::Deserialize;
use serde_json::json;

#[path = "../leases/leash.rs"]
mod leash;

use leash::{Leash, Used};

/// Items of one call, and calls at a time on one connection: what a controller takes of each.
const MANY: u64 = 64;
const CALLS: u64 = 4;
/// Connections.
const LINES: usize = 4;
/// The leases' model; a user may claim in any.
const MODEL: &str = "deadbeef-0bad-400d-8000-4b1d0d06f00d";
/// Longest time for one call.
const PATIENCE: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Parser)]
struct Options {
    /// Leases that are renewed in turn
    #[arg(long, default_value_t = 10_000)]
    leases: u64,
    /// Renewals altogether
    #[arg(long, default_value_t = 1_000_000)]
    renewals: u64,
    /// Leases of the large table, of which snapshots are taken at the end; 0 for none
    #[arg(long, default_value_t = 200_000)]
    large: u64,
    /// The program
    #[arg(long, default_value = env!("CARGO_BIN_EXE_portcullis"))]
    portcullis: PathBuf,
    /// As `cargo bench` has it.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What `dev` writes for clients.
#[derive(Deserialize)]
struct Access {
    addresses: Vec<String>,
    ca: PathBuf,
    account: Vec<Account>,
}

#[derive(Deserialize)]
struct Account {
    name: String,
    password: String,
}

struct World {
    env: Tokio,
    lines: Vec<Line>,
}

impl World {
    async fn start(home: &Path) -> Result<World> {
        let env = Tokio::start(home.into(), Ports::Own)?;
        let access: Access = portcullis::config::read(&home.join("client.toml"))?;
        let tls: Arc<ClientConfig> =
            tls::agent_client(&tls::load_certificates(&home.join(&access.ca))?)?;
        let Account { name, password } = access.account.into_iter().next().context("an account")?;
        let pass = Pass { tag: format!("user-{name}"), password };
        let mut lines = Vec::new();
        for _ in 0..LINES {
            let stream = env.connect(&Address::new(&access.addresses[0])).await?;
            let soon = env.now() + PATIENCE;
            let line = wire::open(&env, stream, &tls, "localhost", &Place::Controller, soon).await;
            let line = line.map_err(|error| anyhow::anyhow!("{error}"))?;
            line.login(&pass, soon).await.map_err(|error| anyhow::anyhow!("{error}"))?;
            lines.push(line);
        }
        Ok(World { env, lines })
    }

    fn soon(&self) -> Time {
        self.env.now() + PATIENCE
    }

    /// Asks about so many leases, and says how long the slowest call took.
    async fn ask(&self, method: &str, first: u64, leases: u64) -> Result<Duration> {
        let workers = CALLS * LINES as u64;
        let call = async |line: &Line, first: u64, count: u64| -> Result<Duration> {
            let ask = |number| {
                json!({ "lease": format!("app-{number}"), "holder": "app/0", "model": MODEL,
                    "duration": 3_600.0 })
            };
            let asks: Vec<_> = (first..first + count).map(ask).collect();
            let (since, soon) = (self.env.now(), self.soon());
            let params = json!({ "asks": asks });
            let told = line.call("Portcullis", 1, method, params, Some(soon)).await?;
            let results = told["results"].as_array().context("answers")?;
            ensure!(results.iter().all(|one| one["outcome"] == "granted"), "{told}");
            Ok(self.env.now().since(since))
        };
        let worker = async |worker: u64| -> Result<Duration> {
            let line = &self.lines[worker as usize % LINES];
            let mut slowest = Duration::ZERO;
            let mut at = worker * MANY;
            while at < leases {
                slowest = slowest.max(call(line, first + at, MANY.min(leases - at)).await?);
                at += workers * MANY;
            }
            Ok(slowest)
        };
        let slowest = futures_util::future::try_join_all((0..workers).map(worker)).await?;
        Ok(slowest.into_iter().max().unwrap_or_default())
    }
}

fn folder(home: &Path) -> Result<u64> {
    Ok(fs::metadata(found(home)?)?.len())
}

/// The store, wherever `dev` puts it.
fn found(home: &Path) -> Result<PathBuf> {
    for entry in fs::read_dir(home)? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name == "raft.redb") {
            return Ok(path);
        }
        if path.is_dir()
            && let Ok(store) = found(&path)
        {
            return Ok(store);
        }
    }
    anyhow::bail!("no store in {}", home.display())
}

const MIB: f64 = 1024.0 * 1024.0;

fn main() -> Result<()> {
    let options = Options::parse();
    let place = tempfile::tempdir()?;
    let home = place.path().join("dev");
    let arguments = ["dev", "--controllers", "1", "--dir", &home.display().to_string()];
    let arguments: Vec<String> = arguments.map(str::to_owned).into();
    let mut leash =
        Leash::start(&options.portcullis, &arguments, "TERM", &place.path().join("log"))?;
    let process = loop {
        let line = leash.line()?;
        if let Some((_, process)) = line.split_once(" started as process ") {
            break process.trim().parse()?;
        }
    };
    while !leash.line()?.starts_with("All controllers are open") {}
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure(&options, &home, process))
}

async fn measure(options: &Options, home: &Path, process: u32) -> Result<()> {
    let world = World::start(home).await?;
    world.ask("ClaimMany", 0, options.leases).await?;
    println!("| renewals | a second | slowest call | folder | memory | processor |");
    println!("|---|---|---|---|---|---|");
    let step = (options.renewals / 10).max(1);
    let mut rates = Vec::new();
    let mut done = 0;
    while done < options.renewals {
        let since = world.env.now();
        let (mut slowest, next) = (Duration::ZERO, done + step);
        while done < next {
            slowest =
                slowest.max(world.ask("ExtendMany", 0, options.leases.min(next - done)).await?);
            done += options.leases.min(next - done);
        }
        let rate = step as f64 / world.env.now().since(since).as_secs_f64();
        rates.push(rate);
        let Used { cpu, memory, .. } = Used::together(&[process])?;
        println!(
            "| {done} | {rate:.0} | {:.0} ms | {:.1} MiB | {:.0} MiB | {:.0} s |",
            slowest.as_secs_f64() * 1e3,
            folder(home)? as f64 / MIB,
            memory as f64 / MIB,
            cpu.as_secs_f64()
        );
    }
    if let (Some(first), Some(last)) = (rates.first(), rates.last()) {
        println!("\nthe last tenth at {:.2} of the pace of the first", last / first);
    }
    if options.large > 0 {
        world.ask("ClaimMany", options.leases, options.large).await?;
        let slowest = world.ask("ExtendMany", options.leases, options.large).await?;
        println!(
            "\nwith {} leases: the slowest call took {:.0} ms while snapshots were taken; folder {:.1} \
             MiB, memory {:.0} MiB at most",
            options.leases + options.large,
            slowest.as_secs_f64() * 1e3,
            folder(home)? as f64 / MIB,
            Used::together(&[process])?.memory_max as f64 / MIB
        );
    }
    Ok(())
}
