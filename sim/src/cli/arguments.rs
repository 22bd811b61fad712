//! What the command line may say.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Parser, Subcommand};
use portcullis_core::mistake::Mistake;

use super::logging::Logging;
use super::paper::Paper;
use super::{explore, validate, watch};
use crate::bounds::AGENTS_MAX;
use crate::check;
use crate::scenario::Setting;
use crate::settings::Engine;

const AFTER_HELP: &str = "\
Examples:
  cargo sim run                                        every quick scenario on each of its engines
  cargo sim run scenarios/startup/two-phase.toml --engine direct --seed 7
  cargo sim run scenarios/lease/load-300x200x3.toml --full          180,000 agents
  cargo sim plan scenarios/lease/partitioned-leader.toml --seed 7 > failing.plan
  cargo sim replay failing.plan --log | less           the same run again, event by event
  cargo sim run startup/two-phase --engine madsim --log controller-2=debug,agent-17=trace,warn
  cargo sim twice scenarios/startup --seeds 20         is it deterministic?
  cargo sim explore chaos/leases --seeds 1000          what breaks it?
  cargo sim shrink chaos/leases --engine direct --seed 17 --out least.plan
  cargo sim run herd/restart-one --agents 40000 --config /etc/portcullis/controller.toml
  cargo sim compare negative/pubsub-transport lease/api-transport
  cargo sim compare negative/no-balance --with balance.policy=shed --with balance.policy=redirect
  cargo sim list herd                                  what there is, and what each is about
  cargo sim run startup/two-phase --engine direct --report run.html     plots, leases, checks
  cargo sim watch herd/restart-one --speed 5x          look on: space pauses, + and - set the pace
  cargo sim validate fence-still                       is that mistake caught?

Exit codes:
  0  everything passed
  1  the command, a scenario or a plan could not be understood, or a file not written
  2  a check broke, or an assertion, or a mistake was not caught
  3  something had not converged in time
  4  something that must be seen never was
  5  two runs of one plan differed
  130  it was interrupted";

/// Most agents, as clap counts.
const AGENTS: i64 = AGENTS_MAX as i64;

/// Seeds are below this, because TOML's numbers are.
pub const SEEDS: u64 = 1 << 63;

/// Puts Portcullis through seeded chaos, and says what came of it.
#[derive(Parser)]
#[command(name = "cargo sim", bin_name = "cargo sim", version, after_help = AFTER_HELP)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Runs scenarios and prints an outcome line each; one run alone prints its whole page.
    ///
    /// Without a path: every scenario that is quick. A folder means all scenarios below it.
    Run {
        /// Scenario files or folders.
        path: Vec<PathBuf>,
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        scale: Scale,
        #[command(flatten)]
        logging: Logging,
        #[command(flatten)]
        paper: Paper,
    },
    /// Prints what a scenario comes to for one engine and one seed: every setting, every fault.
    Plan {
        /// A scenario file.
        path: PathBuf,
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        scale: Scale,
    },
    /// Executes a plan, as `plan` prints it or as you have changed it. Deleting a line shifts
    /// nothing else.
    Replay {
        /// A plan, or `-` for standard input.
        plan: PathBuf,
        #[command(flatten)]
        logging: Logging,
        /// Go on whatever breaks, and print nothing but the figures.
        #[arg(long, hide = true)]
        column: bool,
        /// Print what was found, for another program.
        #[arg(long, hide = true, conflicts_with = "column")]
        findings: bool,
        /// Go on whatever breaks, and print nothing but what a report needs.
        #[arg(long, hide = true, conflicts_with_all = ["column", "findings"])]
        data: bool,
        #[command(flatten)]
        paper: Paper,
        /// Make this mistake on purpose.
        #[arg(long, hide = true, value_parser = validate::mistake)]
        mistake: Option<Mistake>,
    },
    /// Runs scenarios to their end, whatever breaks, and prints their figures beside each other.
    ///
    /// Several scenarios, or one under several settings: `--with balance.policy=shed`.
    Compare {
        /// Scenario files, two or more for a comparison.
        #[arg(required = true)]
        path: Vec<PathBuf>,
        /// A further column for each scenario, with these keys otherwise, spaces between them.
        #[arg(long, value_name = "KEY=VALUE ...", value_parser = settings)]
        with: Vec<Instead>,
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        scale: Scale,
        #[command(flatten)]
        paper: Paper,
    },
    /// Runs each plan in two processes and compares every byte that they print.
    Twice {
        /// Scenario files or folders; without any, every scenario that is quick.
        path: Vec<PathBuf>,
        #[command(flatten)]
        which: Which,
        /// How many seeds, counted up from `--seed`.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
        seeds: u64,
    },
    /// Runs scenarios under many seeds, and says what broke, what was seen and what was reached.
    ///
    /// Stops at the first run in which something breaks. Not every seed must see what the scenario
    /// is about, but one must.
    Explore {
        /// Scenario files or folders; without any, every scenario that is quick.
        path: Vec<PathBuf>,
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        scale: Scale,
        #[command(flatten)]
        explore: explore::Arguments,
    },
    /// Cuts a plan that breaks a check down to the least that still does.
    ///
    /// Leaves out lines, and halves sizes and times, until nothing more gives way.
    Shrink {
        /// A plan, as `plan` prints it, or a scenario that breaks with `--engine` and `--seed`.
        path: PathBuf,
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        scale: Scale,
        /// The check to break; without it, the first that this plan breaks.
        #[arg(long, value_parser = checks(), hide_possible_values = true)]
        check: Option<String>,
        /// Where to write it, for `replay`; without it, it is printed.
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Shows a run in the terminal as it goes on: controllers, figures, faults, checks, events.
    ///
    /// Keys: space pauses, s goes on by a tenth of a second, + and - change the speed, q quits. What
    /// is no terminal gets a line each simulated second instead. A run comes to the same, watched or
    /// not.
    Watch {
        #[command(flatten)]
        scale: Scale,
        #[command(flatten)]
        watch: watch::Arguments,
    },
    /// Has core make one mistake after the other, and shows which check catches it where.
    Validate {
        /// Mistakes by name; without any, all of them.
        #[arg(value_parser = validate::mistake)]
        mistake: Vec<Mistake>,
        /// How many seeds to try each scenario with, counted up from 1.
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..100))]
        seeds: u64,
        /// Write into this page, `sim/README.md`, which check catches which.
        #[arg(long)]
        into: Option<PathBuf>,
    },
    /// Lists the scenarios.
    List {
        /// Scenario files or folders; without any, all of them.
        path: Vec<PathBuf>,
        /// As a table in Markdown: which sentence of the documents which scenario tells and which
        /// check holds.
        #[arg(long, conflicts_with = "path")]
        sentences: bool,
    },
    /// Prints what a scenario's file may say, as a JSON schema that editors complete and check by.
    Schema {
        /// As a page in Markdown: every table and key with its type, default and meaning.
        #[arg(long)]
        page: bool,
    },
    /// Writes a scenario that runs as it is, with every part explained.
    New {
        /// Its folder and name below scenarios/, such as mine/first-story.
        name: String,
    },
}

fn checks() -> PossibleValuesParser {
    PossibleValuesParser::new(check::ALL.iter().map(|(name, _)| *name))
}

#[derive(clap::Args, Clone, Copy)]
pub struct Which {
    /// Only this engine. Without it, each engine that the scenario names.
    #[arg(long)]
    pub engine: Option<Engine>,
    /// Where the run's randomness starts.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(..SEEDS))]
    pub seed: u64,
}

#[derive(clap::Args, Clone, PartialEq)]
pub struct Scale {
    /// How many agents, instead of what the scenario says; of leases, as many in proportion.
    #[arg(long, conflicts_with = "full", value_parser = clap::value_parser!(u32).range(..=AGENTS))]
    pub agents: Option<u32>,
    /// All the agents that the scenario is about, where it is usually run with fewer on direct.
    /// Minutes, not seconds.
    #[arg(long)]
    pub full: bool,
    /// Percent of the faults that the scenario's `[chaos]` allows.
    #[arg(long, default_value_t = 100)]
    pub intensity: u32,
    /// A controller's configuration file: its settings instead of the scenario's.
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// Have a key otherwise than the scenario does, such as agents.renew=10s; again for another.
    /// scenarios/FORMAT.md has them all.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<Setting>,
}

/// Keys that a column of a comparison has otherwise.
#[derive(Clone)]
pub struct Instead(pub Vec<Setting>);

fn settings(text: &str) -> Result<Instead, String> {
    text.split_whitespace().map(str::parse).collect::<Result<_, _>>().map(Instead)
}

impl Scale {
    /// Whether nothing is to be otherwise.
    pub fn is_as_it_is(&self) -> bool {
        *self == AS_IT_IS
    }
}

/// Every scenario as it is.
pub const AS_IT_IS: Scale =
    Scale { agents: None, full: false, intensity: 100, config: None, set: Vec::new() };
