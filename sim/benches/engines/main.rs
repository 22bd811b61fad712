//! Measures what the engines take, beside the simulators by themselves; see the README here.

mod bare;
mod child;

use std::fmt;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, Subcommand};

use bare::Simulator;
use child::Sample;

/// What all three engines run.
const STORY: &str = "chaos/leases";
/// What grows in `scale`.
const HERD: &str = "herd/restart-all";
/// Agents of the herd: a third of seed 002's largest run, all of it, three times as many, a million.
const SIZES: [u32; 4] = [60_000, 180_000, 540_000, 1_000_000];

/// More agents than the story's three controllers take.
const MANY: u32 = 300_000;
/// Settings with which they take a million.
const ROOM: [&str; 4] =
    ["--set", "controllers.connections-max=400000", "--set", "controllers.memory-limit=32GiB"];

/// Measures the engines of the testbed.
#[derive(Parser)]
struct Options {
    #[command(subcommand)]
    what: Option<What>,
    /// What cargo says to every benchmark.
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

#[derive(Clone, Subcommand)]
enum What {
    /// One story on each engine, and as many messages on the simulators by themselves.
    Engines,
    /// A herd of more and more agents on `direct`.
    Scale {
        /// How many agents.
        agents: Vec<u32>,
    },
    /// One simulator by itself: a child of `engines`.
    #[command(hide = true)]
    Bare { simulator: Simulator, messages: u64, seconds: u64 },
}

fn main() -> Result<()> {
    match Options::parse().what.unwrap_or(What::Engines) {
        What::Engines => engines(),
        What::Scale { agents } if agents.is_empty() => scale(&SIZES),
        What::Scale { agents } => scale(&agents),
        What::Bare { simulator, messages, seconds } => bare::run(simulator, messages, seconds),
    }
}

fn engines() -> Result<()> {
    println!("{}", Row::HEAD);
    let herd = Sample::of(&mut ours(HERD, "direct"))?;
    println!("{}", Row { name: format!("{HERD}, direct"), sample: &herd });
    for (engine, simulator) in
        [("direct", None), ("turmoil", Some("turmoil")), ("madsim", Some("madsim"))]
    {
        let sample = Sample::of(&mut ours(STORY, engine))?;
        println!("{}", Row { name: format!("{STORY}, {engine}"), sample: &sample });
        let Some(simulator) = simulator else { continue };
        let (messages, seconds) =
            (sample.events.to_string(), sample.simulated.as_secs().to_string());
        let mut bare = Command::new(std::env::current_exe()?);
        bare.args(["bare", simulator, &messages, &seconds]);
        let sample = Sample::of(&mut bare)?;
        println!("{}", Row { name: format!("pings, bare {simulator}"), sample: &sample });
    }
    Ok(())
}

fn scale(sizes: &[u32]) -> Result<()> {
    println!("{}", Row::HEAD);
    for agents in sizes {
        let mut herd = ours(HERD, "direct");
        herd.args(["--agents", &agents.to_string()]);
        if *agents > MANY {
            herd.args(ROOM);
        }
        let sample = Sample::of(&mut herd)?;
        println!("{}", Row { name: format!("{agents} agents"), sample: &sample });
    }
    Ok(())
}

/// One run of ours.
fn ours(scenario: &str, engine: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis-sim"));
    command.args(["run", scenario, "--engine", engine]);
    command
}

/// One line of the table.
struct Row<'a> {
    name: String,
    sample: &'a Sample,
}

impl Row<'_> {
    const HEAD: &'static str = "\
| run | events | simulated | real | processor | events for a second of it | simulated for one | memory |
|---|---|---|---|---|---|---|---|";
}

impl fmt::Display for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Row { name, sample } = self;
        let Sample { wall, processor, memory, events, simulated } = sample;
        let each = |amount: f64, of: &Duration| amount / of.as_secs_f64().max(0.01);
        write!(f, "| {name} | {events} | {:.0} s ", simulated.as_secs_f64())?;
        write!(f, "| {:.2} s | {:.2} s ", wall.as_secs_f64(), processor.as_secs_f64())?;
        write!(f, "| {:.0} ", each(*events as f64, processor))?;
        write!(f, "| {:.1} s ", each(simulated.as_secs_f64(), processor))?;
        write!(f, "| {} MiB |", memory >> 20)
    }
}
