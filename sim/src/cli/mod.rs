//! The command line.
//!
//! One seed is one process: a run of several starts children of this same program, two at a time,
//! and each child executes one plan.

mod compare;
mod jobs;
mod paper;
mod twice;

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Parser, Subcommand};

use crate::history::{Event, History, Who};
use crate::outcome::Outcome;
use crate::plan::Plan;
use crate::report::Run;
use crate::scenario::{self, Scenario};
use crate::settings::Engine;
use crate::{engine, logs};
use paper::{Paper, Sheets};

const AFTER_HELP: &str = "\
Examples:
  cargo sim run                                        every quick scenario on each of its engines
  cargo sim run scenarios/startup/two-phase.toml --engine direct --seed 7
  cargo sim run scenarios/lease/load-300x200x3.toml --full          180,000 agents
  cargo sim plan scenarios/lease/partitioned-leader.toml --seed 7 > failing.plan
  cargo sim replay failing.plan --log | less           the same run again, event by event
  cargo sim twice scenarios/startup --seeds 20         is it deterministic?
  cargo sim compare negative/pubsub-transport lease/api-transport
  cargo sim run startup/two-phase --engine direct --report run.html     plots, leases, checks

Exit codes:
  0  everything passed
  1  the command, a scenario or a plan could not be understood
  2  a check broke
  3  something had not converged in time
  4  something that must be seen never was
  5  two runs of one plan differed";

/// Seeds are below this, because TOML's numbers are.
const SEEDS: u64 = 1 << 63;

/// Puts Portcullis through seeded chaos, and says what came of it.
#[derive(Parser)]
#[command(name = "cargo sim", version, after_help = AFTER_HELP)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
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
        /// Print each event. Only for one run alone.
        #[arg(long)]
        log: bool,
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
        /// Print each event.
        #[arg(long)]
        log: bool,
        /// Go on whatever breaks, and print nothing but the figures.
        #[arg(long, hide = true, conflicts_with = "log")]
        column: bool,
        /// Go on whatever breaks, and print nothing but what a report needs.
        #[arg(long, hide = true, conflicts_with_all = ["log", "column"])]
        data: bool,
        #[command(flatten)]
        paper: Paper,
    },
    /// Runs scenarios to their end, whatever breaks, and prints their figures beside each other.
    Compare {
        /// Scenario files, two or more for a comparison.
        #[arg(required = true)]
        path: Vec<PathBuf>,
        #[command(flatten)]
        which: Which,
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
    /// Lists the scenarios.
    List,
}

#[derive(clap::Args)]
struct Which {
    /// Only this engine. Without it, each engine that the scenario names.
    #[arg(long)]
    engine: Option<Engine>,
    /// Where the run's randomness starts.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(..SEEDS))]
    seed: u64,
}

#[derive(clap::Args, Clone, Copy, Default)]
struct Scale {
    /// How many agents, instead of what the scenario says; of leases, as many in proportion.
    #[arg(long, conflicts_with = "full")]
    agents: Option<u32>,
    /// All the agents that the scenario is about, where it is usually run with fewer on direct.
    /// Minutes, not seconds.
    #[arg(long)]
    full: bool,
}

/// Parses the command line, does what it says, and prints errors.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help is an answer; anything else a mistake. Printing may fail if nobody reads.
            let _ = error.print();
            return ExitCode::from(u8::from(error.use_stderr()));
        }
    };
    match perform(arguments.command) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(1)
        }
    }
}

fn perform(command: Command) -> anyhow::Result<u8> {
    match command {
        Command::Run { path, which, scale, log, paper } => {
            let plans = plans(&path, &which, scale)?;
            match &plans[..] {
                [plan] if paper.is_wanted() => {
                    report(plan, log, paper.lay_out()?, paper::command(plan, scale))
                }
                [plan] => Ok(execute(plan, Print::Page { log })),
                _ if log => bail!("--log needs one scenario and one --engine"),
                _ if paper.is_wanted() => {
                    bail!("--report and --plots need one scenario and one --engine, or `compare`")
                }
                _ => jobs::run(&plans),
            }
        }
        Command::Plan { path, which, scale } => {
            let plans = plans(&[path], &which, scale)?;
            let [plan] = &plans[..] else {
                bail!("{} plans: choose one with --engine", plans.len());
            };
            print(&plan.to_string());
            Ok(0)
        }
        Command::Replay { plan: path, log, column, data, paper } => {
            let (name, text) = if path == Path::new("-") {
                let mut text = String::new();
                std::io::stdin().read_to_string(&mut text).context("cannot read the plan")?;
                ("standard input".to_string(), text)
            } else {
                (path.display().to_string(), read(&path)?)
            };
            let plan = Plan::parse(&name, &text)?;
            if paper.is_wanted() {
                let command = format!("cargo sim replay {}", path.display());
                return report(&plan, log, paper.lay_out()?, command);
            }
            Ok(execute(
                &plan,
                match (column, data) {
                    (true, _) => Print::Column,
                    (false, true) => Print::Data,
                    (false, false) => Print::Page { log },
                },
            ))
        }
        Command::Compare { path, which, paper } => {
            let plans = plans(&path, &which, Scale::default())?;
            if paper.is_wanted() {
                let sheets = paper.lay_out()?;
                let runs = paper::runs(&plans)?;
                print(&compare::of_runs(&runs)?);
                sheets.write(&runs)?;
            } else {
                print(&compare::page(&plans)?);
            }
            Ok(0)
        }
        Command::Twice { path, which, seeds } => {
            let mut all = Vec::new();
            for seed in which.seed..which.seed.saturating_add(seeds) {
                all.extend(plans(&path, &Which { engine: which.engine, seed }, Scale::default())?);
            }
            twice::run(&all)
        }
        Command::List => {
            list()?;
            Ok(0)
        }
    }
}

/// What is printed of a run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Print {
    /// Its page, and with `log` each event before.
    Page { log: bool },
    /// Its figures for a comparison. Goes on whatever breaks.
    Column,
    /// What a report needs of it. Goes on whatever breaks.
    Data,
}

/// Executes one plan in this process and prints what came of it.
fn execute(plan: &Plan, what: Print) -> u8 {
    let history = match what {
        Print::Page { log } => History::new(plan, log),
        Print::Column => History::new(plan, false).whole(),
        Print::Data => History::new(plan, false).whole().recorded(plan),
    };
    let outcome = perform_plan(plan, history);
    match what {
        Print::Page { .. } => {
            print(&outcome.to_string());
            return outcome.verdict().code();
        }
        Print::Column => {
            let column = outcome.column().into_iter();
            print(&column.map(|(name, figure)| format!("{name}\t{figure}\n")).collect::<String>());
        }
        Print::Data => {
            let run = Run::new(&outcome, paper::origin(plan, String::new()));
            // A run has no maps, and its keys are names: there is nothing that JSON cannot say.
            print(&serde_json::to_string(&run).expect("a run can be written as JSON"));
        }
    }
    0
}

/// Executes one plan in this process, prints its page, and writes a report.
fn report(plan: &Plan, log: bool, sheets: Sheets, command: String) -> anyhow::Result<u8> {
    let outcome = perform_plan(plan, History::new(plan, log).recorded(plan));
    print(&outcome.to_string());
    sheets.write(&[Run::new(&outcome, paper::origin(plan, command))])?;
    Ok(outcome.verdict().code())
}

/// Executes one plan in this process.
///
/// A panic is a broken invariant, wherever it happens. A runtime would keep that of a task to
/// itself, so it ends the process, as a broken check does.
fn perform_plan(plan: &Plan, history: History) -> Outcome<'_> {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tell(panic);
        std::process::exit(2);
    }));
    logs::catch();
    let (ran, mut history) = engine::run(plan, history);
    for line in logs::caught() {
        history.record(ran.ended, Who::World, Event::Error(&line));
    }
    let found = history.end(ran.ended);
    Outcome::new(plan, ran, found)
}

/// Prints to a reader that may have had enough, such as `head`.
fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Every plan that the paths come to.
fn plans(paths: &[PathBuf], which: &Which, scale: Scale) -> anyhow::Result<Vec<Plan>> {
    let everything = paths.is_empty();
    let mut files = if everything { files(&scenario::root())? } else { Vec::new() };
    for path in paths {
        files.extend(self::files(&scenario::find(path))?);
    }
    let mut plans = Vec::new();
    for file in files {
        let mut scenario = load(&file)?;
        if everything && !scenario.quick {
            continue;
        }
        if scale.full {
            scenario.agents.direct = None;
        }
        let wanted = |engine: &&Engine| which.engine.is_none_or(|wanted| wanted == **engine);
        for engine in scenario.engines.iter().filter(wanted) {
            let name = scenario::name(&file);
            plans.push(Plan::draw(&name, &scenario, *engine, which.seed, scale.agents));
        }
    }
    if plans.is_empty() {
        bail!("no scenario there runs on that engine");
    }
    Ok(plans)
}

/// The scenario files at or below a path, in order.
fn files(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let at = || format!("cannot read {}", path.display());
    if !path.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let entries: Vec<_> = std::fs::read_dir(path).with_context(at)?.collect::<Result<_, _>>()?;
    let mut entries: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).collect();
    entries.sort();
    let mut found = Vec::new();
    for entry in entries {
        if entry.is_dir() || entry.extension().is_some_and(|ending| ending == "toml") {
            found.extend(files(&entry)?);
        }
    }
    Ok(found)
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn load(path: &Path) -> anyhow::Result<Scenario> {
    Ok(Scenario::parse(&path.display().to_string(), &read(path)?)?)
}

fn list() -> anyhow::Result<()> {
    let mut text = String::new();
    for file in files(&scenario::root())? {
        let scenario = load(&file)?;
        let engines: Vec<_> = scenario.engines.iter().map(Engine::to_string).collect();
        let slow = if scenario.quick { "" } else { " (slow)" };
        let name = scenario::name(&file);
        let (engines, title) = (engines.join(", "), &scenario.title);
        text.push_str(&format!("{name}  on {engines}{slow}\n  {title}\n"));
        for line in scenario.why.lines().chain(scenario.source.lines()) {
            text.push_str(&format!("  {}\n", line.trim()));
        }
        text.push('\n');
    }
    print(&text);
    Ok(())
}
