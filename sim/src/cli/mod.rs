//! The command line.
//!
//! One seed is one process: a run of several starts children of this same program, one for each
//! processor at a time, and each child executes one plan.

mod again;
mod arguments;
mod compare;
mod corpus;
mod explore;
mod files;
mod findings;
mod format;
mod jobs;
mod logging;
pub(crate) mod new;
mod paper;
mod schema;
mod sentences;
mod shrink;
mod twice;
mod validate;
mod watch;

use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Parser as _;

use crate::engine;
use crate::history::{Event, History, Who};
use crate::logs::{self, Log};
use crate::outcome::Outcome;
use crate::plan::Plan;
use crate::scenario;
use crate::settings::Engine;
use arguments::{AS_IT_IS, Arguments, Command, Which};
use files::{
    Drawn, choice, columns, files, find, load, one_plan, plans, read_plan, scenarios, writable,
};

const AFTER_LIST: &str = "\
cargo sim run NAME                              runs one on each of its engines
cargo sim watch NAME                            shows it in the terminal as it goes on
cargo sim run NAME --engine ENGINE --log info   tells it line by line, in simulated time
";

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
                [Drawn { plan, again }] => {
                    let log = logging.open(plan)?;
                    let code = match paper.is_wanted() {
                        true => paper.run(plan, log, format!("cargo sim run {again}"))?,
                        false => execute(plan, Show::Page, log),
                    };
                    if code != 0 {
                        print(&again::next(code, again));
                    }
                    Ok(code)
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
        Command::Compare { path, with, which, scale, paper } => {
            let plans = columns(&path, &with, &which, &scale)?;
            if paper.is_wanted() {
                return paper.compare(&plans);
            }
            print(&compare::page(&plans)?);
            Ok(0)
        }
        Command::Twice { path, which, seeds } => {
            let mut all = Vec::new();
            for seed in which.seed..which.seed.saturating_add(seeds) {
                let drawn = plans(&path, &Which { engine: which.engine, seed }, &AS_IT_IS)?;
                all.extend(drawn.into_iter().map(|drawn| drawn.plan));
            }
            twice::run(&all)
        }
        Command::Explore { path, which, scale, explore } => {
            let choice = |engine| choice(engine, &which, &scale);
            let subjects = explore::subjects(scenarios(&path, &scale)?, which.engine, choice)?;
            explore::run(&subjects, &scale, &explore)
        }
        Command::Shrink { path, which, scale, check, out } => {
            let plan = one_plan(&path, &which, &scale)?;
            out.as_deref().map_or(Ok(()), writable)?;
            let shrunk = shrink::run(&plan, check.as_deref())?;
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
        Command::List { path, sentences } => {
            print(&list(&path, sentences)?);
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

/// Prints to a reader that may have had enough, such as `head`. Where there is no room for what came
/// of it, such as on a full disk, nobody may take it for passed.
fn print(text: &str) {
    let mut to = std::io::stdout();
    let written = to.write_all(text.as_bytes()).and_then(|()| to.flush());
    if let Err(error) = written
        && error.kind() != ErrorKind::BrokenPipe
    {
        eprintln!("error: cannot write what came of it: {error}");
        std::process::exit(1);
    }
}

fn list(paths: &[PathBuf], sentences: bool) -> anyhow::Result<String> {
    let mut below: Vec<PathBuf> = paths.iter().map(|path| find(path)).collect::<Result<_, _>>()?;
    if paths.is_empty() {
        below.push(scenario::root());
    }
    let mut scenarios = Vec::new();
    for path in below {
        for file in files(&path)? {
            scenarios.push((scenario::name(&file), load(&file)?));
        }
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
