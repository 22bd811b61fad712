//! `load`: the seeds' leadershipclaimer workload against any cluster, over real connections.
//!
//! Seeds 002 and 004 measured Juju with 100 or 300 processes, each with 40 or 200 applications of
//! three units that claim for a minute, renew after half, and block when denied. Here all of them
//! are tasks of one process, which also looks for what must never be: a lease held by two.

use std::fs;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use portcullis::env::Env;

use super::client::{self, Asking};
use super::client_file;
use super::exit::{Exit, Failure};
use super::lease::as_json;

mod agents;
mod histogram;
mod holder;
mod host;
mod ledger;
mod machine;
mod plan;
mod report;
mod run;
mod windows;

use agents::Herd;
use plan::{Plan, Workload};
use report::{Progress, Summary};
use run::Course;

/// Most who may share a connection: a controller takes 64 requests of one at a time, and whoever
/// waits for a release has one under way.
const MULTIPLEX_MAX: u64 = 60;
/// Most who ask in one run: each costs memory here, and a lease in the cluster's table.
const SEATS_MAX: u64 = 1_000_000;
/// For how long a lease is claimed that others want, as by Juju's units.
const CONTENDED: Duration = Duration::from_secs(60);
/// Longest lease that may be claimed.
const CLAIM_MAX: Duration = Duration::from_secs(86_400);

#[derive(Args)]
#[group(skip)]
pub struct Arguments {
    /// Processes of the seeds' tool: each makes its connections one after another
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = count(10_000))]
    processes: u32,
    /// Leases (applications) of each process
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = count(10_000))]
    leases: u32,
    /// Contenders (units) for each lease; unit u connects to controller u, counted around
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = count(100))]
    units: u32,
    /// Instead: so many claimers, each of which claims one new lease after another
    #[arg(
        long,
        value_name = "N",
        value_parser = count(100_000),
        conflicts_with_all = ["processes", "leases", "units", "renew", "herd"]
    )]
    claimers: Option<u32>,
    /// Instead: so many agents, each with an account of its own, at the controllers of their choice
    ///
    /// They dial, wait, claim and follow redirects as Juju's agents do, through whatever happens to
    /// controllers, in as many processes as their open files take. The report says how many agents
    /// each controller had over time, and for each controller that was lost how long it took until
    /// all its agents were connected, until it had its first again, and until all were even.
    #[arg(
        long,
        value_name = "N",
        value_parser = count(SEATS_MAX),
        conflicts_with_all =
            ["claimers", "processes", "leases", "units", "herd", "multiplex", "account"]
    )]
    agents: Option<u32>,
    /// Most agents of one process [default: as many as it may have open files]
    #[arg(long, value_name = "N", value_parser = count(SEATS_MAX), requires = "agents")]
    agents_per_process: Option<u32>,
    /// End as soon as a controller was lost and all are even again
    #[arg(long, requires = "agents")]
    until_even: bool,
    /// Be a process of a herd: these of its agents
    #[arg(long, value_name = "FIRST..END", value_parser = agents::range, hide = true)]
    part: Option<Range<u32>>,
    /// How long to go on once all are connected
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "5m",
        value_parser = humantime::parse_duration
    )]
    duration: Duration,
    /// For how long to claim a lease [default: 1m, or 10s for claimers]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    claim: Option<Duration>,
    /// When to claim a lease again that is held [default: half of --claim]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    renew: Option<Duration>,
    /// Claim nothing until all are connected, and then all at once
    #[arg(long)]
    herd: bool,
    /// Most connections to begin in a second [default: each process as fast as it is let in]
    #[arg(long, value_name = "N", value_parser = count(1_000_000))]
    connections_per_second: Option<u32>,
    /// How long to wait for all to be connected before going on with those that are
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "10m",
        value_parser = humantime::parse_duration
    )]
    connect_within: Duration,
    /// How many share a connection, at most 60; Juju's agents share none
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = count(MULTIPLEX_MAX))]
    multiplex: u32,
    /// Write the summary as JSON to a file, or with - to standard output
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Client file: addresses, authority, model and accounts [default: that of `portcullis dev`]
    #[arg(long, value_name = "FILE", env = "PORTCULLIS_CLIENT")]
    client: Option<PathBuf>,
    /// User account of the client file to log in with [default: its first]
    #[arg(long = "as", value_name = "NAME")]
    account: Option<String>,
}

fn count(most: u64) -> clap::builder::RangedU64ValueParser<u32> {
    clap::builder::RangedU64ValueParser::new().range(1..=most)
}

/// Runs the load, says what came of it, and fails if a lease was ever held by two.
pub fn load(arguments: &Arguments) -> Result<(), Failure> {
    let (client, account) = (arguments.client.as_deref(), arguments.account.as_deref());
    let asking = client::prepare(client, account, Duration::MAX)?;
    if let Some(agents) = arguments.agents {
        return arguments.herd(agents, asking);
    }
    let plan = Arc::new(arguments.plan(&asking)?);
    let sources = machine::check(&plan, &asking.addresses)?;
    let course = Course {
        duration: arguments.duration,
        connect_within: arguments.connect_within,
        herd: arguments.herd || arguments.claimers.is_some(),
        pace: arguments.connections_per_second,
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::wrong)?;
    let started = asking.env.now();
    let mut progress = Progress::new(started, &plan);
    let ledger = runtime.block_on(run::run(asking, plan.clone(), course, sources, &mut progress));
    progress.end();
    // Whatever still lives there only says goodbye.
    runtime.shutdown_background();
    let summary = Summary::new(&plan, started, &ledger?);
    arguments.report(&as_json(&summary), &summary.shown())?;
    if summary.is_violated() {
        let says = "a lease was held by two at one time: the cluster is not to be trusted";
        return Err(Failure::new(Exit::Violated, says));
    }
    connected(summary.is_connected())
}

fn connected(anybody: bool) -> Result<(), Failure> {
    match anybody {
        true => Ok(()),
        false => Err(Failure::new(
            Exit::Unreachable,
            "no controller let anybody in; is `portcullis dev` running?",
        )),
    }
}

impl Arguments {
    /// Runs a herd, or the part of one that this process is.
    fn herd(&self, agents: u32, asking: Asking) -> Result<(), Failure> {
        let (claim, renew) = self.windows(CONTENDED)?;
        let herd = Herd {
            agents,
            agents_per_process: self.agents_per_process,
            claim,
            renew,
            duration: self.duration,
            connect_within: self.connect_within,
            until_even: self.until_even,
            pace: self.connections_per_second,
            client: client_file::named(self.client.as_deref())?,
        };
        if let Some(part) = &self.part {
            return herd.part(asking, part);
        }
        let summary = herd.run(&asking)?;
        self.report(&as_json(&summary), &summary.shown())?;
        if summary.is_violated() {
            let says = "a lease was held by two, or lost too early: the cluster is not to be \
                        trusted";
            return Err(Failure::new(Exit::Violated, says));
        }
        connected(summary.is_connected())
    }

    /// For how long to claim, and when to claim again.
    fn windows(&self, usual: Duration) -> Result<(Duration, Duration), Failure> {
        let duration = self.claim.unwrap_or(usual);
        let renew_after = self.renew.unwrap_or(duration / 2);
        if duration.is_zero() || duration > CLAIM_MAX || renew_after >= duration {
            return Err(Failure::wrong("--claim is at most a day, and --renew less than --claim"));
        }
        Ok((duration, renew_after))
    }

    fn plan(&self, asking: &Asking) -> Result<Plan, Failure> {
        if !asking.pass.tag.starts_with("user-") {
            let says = format!(
                "{} may claim for itself only; use the account of a user with --as",
                asking.pass.tag
            );
            return Err(Failure::wrong(says));
        }
        let (multiplex, units) = (self.multiplex, self.units);
        let (workload, usual) = match self.claimers {
            Some(claimers) => (Workload::Claimers { claimers, multiplex }, Duration::from_secs(10)),
            None => {
                let (processes, leases) = (self.processes, self.leases);
                let workload = Workload::Contenders { processes, leases, units, multiplex };
                (workload, CONTENDED)
            }
        };
        let (duration, renew_after) = self.windows(usual)?;
        let run = asking.env.seed().0;
        let plan =
            Plan { workload, model: asking.model.as_str().into(), duration, renew_after, run };
        match plan.seats() <= SEATS_MAX {
            true => Ok(plan),
            false => Err(Failure::wrong(format!(
                "{} contenders are more than {SEATS_MAX}; run `load` several times",
                plan.seats()
            ))),
        }
    }

    fn report(&self, json: &str, shown: &str) -> Result<(), Failure> {
        match &self.json {
            None => println!("{shown}"),
            Some(file) if file.as_os_str() == "-" => {
                eprintln!("{shown}");
                println!("{json}");
            }
            Some(file) => {
                println!("{shown}");
                fs::write(file, format!("{json}\n")).map_err(Failure::at(file))?;
            }
        }
        Ok(())
    }
}
