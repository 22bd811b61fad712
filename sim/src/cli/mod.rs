//! The command line.
//!
//! One seed is one process: a run of several starts children of this same program, one for each
//! processor at a time, and each child executes one plan.

mod compare;
mod explore;
mod findings;
mod format;
mod jobs;
mod logging;
mod new;
mod paper;
mod schema;
mod sentences;
mod shrink;
mod twice;
mod validate;
mod watch;

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Parser, Subcommand};
use portcullis_core::mistake::Mistake;

use crate::deployment::Deployment;
use crate::engine;
use crate::history::{Event, History, Who};
use crate::logs::{self, Log};
use crate::outcome::Outcome;
use crate::plan::{Choice, Plan};
use crate::scenario::{self, Scenario, Setting};
use crate::settings::Engine;
use logging::Logging;
use paper::Paper;

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
  cargo sim run startup/two-phase --engine direct --report run.html     plots, leases, checks
  cargo sim watch herd/restart-one --speed 5x          look on: space pauses, + and - set the pace
  cargo sim validate fence-still                       is that mistake caught?

Exit codes:
  0  everything passed
  1  the command, a scenario or a plan could not be understood
  2  a check broke, or a mistake was not caught
  3  something had not converged in time
  4  something that must be seen never was
  5  two runs of one plan differed";

const AFTER_LIST: &str = "\
cargo sim run NAME                              runs one on each of its engines
cargo sim watch NAME                            shows it in the terminal as it goes on
cargo sim run NAME --engine ENGINE --log info   tells it line by line, in simulated time
";

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
        #[arg(long)]
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
        /// As a table in Markdown: which sentence of the documents which scenario tells and which
        /// check holds.
        #[arg(long)]
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

#[derive(clap::Args, Clone, Copy)]
struct Which {
    /// Only this engine. Without it, each engine that the scenario names.
    #[arg(long)]
    engine: Option<Engine>,
    /// Where the run's randomness starts.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(..SEEDS))]
    seed: u64,
}

#[derive(clap::Args)]
struct Scale {
    /// How many agents, instead of what the scenario says; of leases, as many in proportion.
    #[arg(long, conflicts_with = "full")]
    agents: Option<u32>,
    /// All the agents that the scenario is about, where it is usually run with fewer on direct.
    /// Minutes, not seconds.
    #[arg(long)]
    full: bool,
    /// Percent of the faults that the scenario's `[chaos]` allows.
    #[arg(long, default_value_t = 100)]
    intensity: u32,
    /// A controller's configuration file: its settings instead of the scenario's.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Have a key otherwise than the scenario does, such as agents.renew=10s; again for another.
    /// scenarios/FORMAT.md has them all.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<Setting>,
}

/// Keys that a column of a comparison has otherwise.
#[derive(Clone)]
struct Instead(Vec<Setting>);

fn settings(text: &str) -> Result<Instead, String> {
    text.split_whitespace().map(str::parse).collect::<Result<_, _>>().map(Instead)
}

/// Every scenario as it is.
const AS_IT_IS: Scale =
    Scale { agents: None, full: false, intensity: 100, config: None, set: Vec::new() };

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
        Command::Run { path, which, scale, logging, paper } => {
            let plans = plans(&path, &which, &scale)?;
            match &plans[..] {
                [plan] => {
                    let log = logging.open(plan)?;
                    if paper.is_wanted() {
                        return paper.run(plan, log, paper::command(plan, &scale));
                    }
                    Ok(execute(plan, Show::Page, log))
                }
                _ if logging.is_wanted() => {
                    bail!("--log and --log-file need one scenario and one --engine")
                }
                _ if paper.is_wanted() => {
                    bail!("--report and --plots need one scenario and one --engine, or `compare`")
                }
                _ => jobs::run(&plans),
            }
        }
        Command::Plan { path, which, scale } => {
            print(&one_plan(&path, &which, &scale)?.to_string());
            Ok(0)
        }
        Command::Replay { plan: path, logging, column, findings, data, mistake, paper } => {
            if mistake.is_some_and(|mistake| !mistake.make()) {
                bail!("{}", validate::RELEASE);
            }
            let plan = read_plan(&path)?;
            let log = logging.open(&plan)?;
            if paper.is_wanted() {
                return paper.run(&plan, log, format!("cargo sim replay {}", path.display()));
            }
            let show = match (column, findings, data) {
                (true, ..) => Show::Column,
                (_, true, _) => Show::Findings,
                (_, _, true) => Show::Data,
                (false, false, false) => Show::Page,
            };
            Ok(execute(&plan, show, log))
        }
        Command::Compare { path, with, which, paper } => {
            let plans = columns(&path, &with, &which)?;
            if paper.is_wanted() {
                return paper.compare(&plans);
            }
            print(&compare::page(&plans)?);
            Ok(0)
        }
        Command::Twice { path, which, seeds } => {
            let mut all = Vec::new();
            for seed in which.seed..which.seed.saturating_add(seeds) {
                all.extend(plans(&path, &Which { engine: which.engine, seed }, &AS_IT_IS)?);
            }
            twice::run(&all)
        }
        Command::Explore { path, which, scale, explore } => {
            let choice = |engine| choice(engine, &which, &scale);
            let subjects = explore::subjects(scenarios(&path, &scale)?, which.engine, choice)?;
            explore::run(&subjects, &explore)
        }
        Command::Shrink { path, which, scale, check, out } => {
            let shrunk = shrink::run(&one_plan(&path, &which, &scale)?, check.as_deref())?;
            match out {
                Some(file) => {
                    let written = std::fs::write(&file, shrunk.file());
                    written.with_context(|| format!("cannot write {}", file.display()))?;
                    print(&shrunk.page());
                    print(&format!("again: cargo sim replay {}\n", file.display()));
                }
                None => print(&shrunk.file()),
            }
            Ok(0)
        }
        Command::Watch { scale, watch } => watch::run(&watch, &scale),
        Command::Validate { mistake, seeds, into } => {
            validate::run(&mistake, seeds, into.as_deref())
        }
        Command::List { sentences } => {
            print(&list(sentences)?);
            Ok(0)
        }
        Command::Schema { page } => {
            print(&if page { format::page() } else { schema::text() });
            Ok(0)
        }
        Command::New { name } => {
            let file = new::write(&name)?;
            print(&format!("{}\nrun it: cargo sim run {name}\n", file.display()));
            Ok(0)
        }
    }
}

/// What a run prints.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Show {
    /// Its page.
    Page,
    /// Its column for a comparison.
    Column,
    /// Its findings, for another process.
    Findings,
    /// What a report needs of it, for another process.
    Data,
}

/// Executes one plan in this process and prints what it came to.
fn execute(plan: &Plan, show: Show, log: Option<Log>) -> u8 {
    let history = History::new(plan).logged(log);
    let history = match show {
        Show::Page => history,
        Show::Column => history.whole(),
        Show::Findings => history.covering(plan),
        Show::Data => history.whole().recorded(plan),
    };
    let outcome = carry_out(plan, history);
    match show {
        Show::Page => print(&outcome.to_string()),
        Show::Findings => print(&findings::print(outcome.verdict(), outcome.found())),
        Show::Column => {
            let line = |(name, figure)| format!("{name}\t{figure}\n");
            print(&outcome.column().into_iter().map(line).collect::<String>());
            return 0;
        }
        Show::Data => {
            print(&paper::data(&outcome));
            return 0;
        }
    }
    outcome.verdict().code()
}

/// Executes one plan in this process.
///
/// A panic is a broken invariant, wherever it happens. A runtime would keep that of a task to
/// itself, so it ends the process, as a broken check does.
fn carry_out(plan: &Plan, history: History) -> Outcome<'_> {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tell(panic);
        std::process::exit(2);
    }));
    logs::catch(history.log().cloned());
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
fn plans(paths: &[PathBuf], which: &Which, scale: &Scale) -> anyhow::Result<Vec<Plan>> {
    let mut plans = Vec::new();
    for (file, scenario) in scenarios(paths, scale)? {
        let name = scenario::name(&file);
        let wanted = |engine: &&Engine| which.engine.is_none_or(|wanted| wanted == **engine);
        for engine in scenario.engines.iter().filter(wanted) {
            plans.push(Plan::draw(&name, &scenario, &choice(*engine, which, scale)));
        }
    }
    if plans.is_empty() {
        bail!("no scenario there runs on that engine");
    }
    Ok(plans)
}

/// The plans of a comparison: each scenario as it is, and then with each group of settings.
fn columns(paths: &[PathBuf], with: &[Instead], which: &Which) -> anyhow::Result<Vec<Plan>> {
    let mut columns = Vec::new();
    for path in paths {
        let paths = std::slice::from_ref(path);
        columns.extend(plans(paths, which, &AS_IT_IS)?);
        for Instead(set) in with {
            columns.extend(plans(paths, which, &Scale { set: set.clone(), ..AS_IT_IS })?);
        }
    }
    Ok(columns)
}

fn choice(engine: Engine, which: &Which, scale: &Scale) -> Choice {
    Choice { engine, seed: which.seed, agents: scale.agents, intensity: scale.intensity }
}

/// The scenarios at or below the paths, by file; without any path, all that are quick.
fn scenarios(paths: &[PathBuf], scale: &Scale) -> anyhow::Result<Vec<(PathBuf, Scenario)>> {
    let everything = paths.is_empty();
    let mut files = if everything { files(&scenario::root())? } else { Vec::new() };
    for path in paths {
        files.extend(self::files(&scenario::find(path))?);
    }
    let deployment = scale.config.as_deref().map(Deployment::load).transpose()?;
    let mut scenarios = Vec::new();
    for file in files {
        let (name, text) = (file.display().to_string(), read(&file)?);
        let mut scenario = Scenario::parse_with(&name, &text, &scale.set)?;
        if scale.full {
            scenario.agents.direct = None;
        }
        if let Some(deployment) = &deployment {
            deployment.settle(&mut scenario);
            let fits = scenario.fits().map_err(anyhow::Error::msg);
            fits.with_context(|| format!("{} with these settings", file.display()))?;
        }
        if scenario.quick || !everything {
            scenarios.push((file, scenario));
        }
    }
    Ok(scenarios)
}

/// The plan that is meant by the path of one, or by a scenario.
fn one_plan(path: &Path, which: &Which, scale: &Scale) -> anyhow::Result<Plan> {
    if is_plan(path) {
        return read_plan(path);
    }
    let mut plans = plans(&[path.to_path_buf()], which, scale)?;
    match (plans.pop(), plans.len()) {
        (Some(plan), 0) => Ok(plan),
        (_, others) => bail!("{} plans: choose one with --engine", others + 1),
    }
}

/// Whether a path means a plan, and no scenario.
fn is_plan(path: &Path) -> bool {
    path == Path::new("-") || path.extension().is_some_and(|ending| ending == "plan")
}

fn read_plan(path: &Path) -> anyhow::Result<Plan> {
    let (name, text) = if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("cannot read the plan")?;
        ("standard input".to_string(), text)
    } else {
        (path.display().to_string(), read(path)?)
    };
    Ok(Plan::parse(&name, &text)?)
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

fn list(sentences: bool) -> anyhow::Result<String> {
    let mut scenarios = Vec::new();
    for file in files(&scenario::root())? {
        scenarios.push((scenario::name(&file), load(&file)?));
    }
    if sentences {
        return Ok(sentences::page(&scenarios));
    }
    let mut text = String::new();
    for (name, scenario) in scenarios {
        let engines: Vec<_> = scenario.engines.iter().map(Engine::to_string).collect();
        let slow = if scenario.quick { "" } else { " (slow)" };
        let (engines, title) = (engines.join(", "), &scenario.title);
        text.push_str(&format!("{name}  on {engines}{slow}\n  {title}\n"));
        for line in scenario.why.lines().chain(scenario.source.lines()) {
            text.push_str(&format!("  {}\n", line.trim()));
        }
        text.push('\n');
    }
    text.push_str(AFTER_LIST);
    Ok(text)
}
