//! Exploration: one scenario under many seeds, and which of them showed something new.
//!
//! Decides which seeds are run, in which order, and which are worth keeping: a seed is kept when it
//! was the first to see something or to reach a state. Each run is a process of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use super::arguments::Scale;
use super::corpus::{Corpus, Kept};
use super::findings::{self, Findings};
use super::jobs::{Progress, each};
use super::{again, print};
use crate::outcome::SOMETIMES;
use crate::plan::{Choice, Plan};
use crate::scenario::{self, Scenario};
use crate::settings::Engine;

/// Widest line of a summary.
const COLUMNS: usize = 100;

/// Most states that a whole exploration tells apart.
const STATES_MAX: usize = 1 << 22;

#[derive(clap::Args)]
pub struct Arguments {
    /// How many seeds, counted up from `--seed`.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    pub seeds: u64,
    /// One share of so many, such as 2/8: eight machines that are given one each run every seed
    /// once.
    #[arg(long, default_value = "1/1")]
    pub share: Share,
    /// Go on when something breaks, and list all that did.
    #[arg(long)]
    pub collect: bool,
    /// Start no run later than this, such as 30m.
    #[arg(long, value_parser = humantime::parse_duration)]
    pub within: Option<Duration>,
    /// Seeds that reached something new: its seeds are run first, and it is written anew.
    #[arg(long)]
    pub corpus: Option<PathBuf>,
    /// Write the plan of each run that failed into this folder, for `replay` and `shrink`.
    #[arg(long)]
    pub keep: Option<PathBuf>,
}

/// Every `of`th seed, from the `number`th.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    number: u64,
    of: u64,
}

impl FromStr for Share {
    type Err = String;
    fn from_str(text: &str) -> Result<Share, String> {
        let read = || {
            let (number, of) = text.split_once('/')?;
            let share = Share { number: number.parse().ok()?, of: of.parse().ok()? };
            (1..=share.of).contains(&share.number).then_some(share)
        };
        read().ok_or_else(|| format!("`{text}` is no share such as 2/8"))
    }
}

/// One scenario on one engine.
pub struct Subject {
    pub file: PathBuf,
    pub name: String,
    pub scenario: Scenario,
    pub choice: Choice,
}

impl Subject {
    fn plan(&self, seed: u64) -> Plan {
        Plan::draw(&self.name, &self.scenario, &Choice { seed, ..self.choice })
    }

    fn title(&self) -> String {
        format!("{} on {}", self.name, self.choice.engine)
    }

    /// Whether a run shows that something is wrong. Not every seed sees everything; of a failed
    /// design, not every seed shows the failure.
    fn fails(&self, findings: &Findings) -> bool {
        match findings.code {
            0 => false,
            4 => findings.verdict.starts_with("ended"),
            _ => true,
        }
    }
}

/// What the runs of one subject have come to.
#[derive(Default)]
struct Sum {
    passed: u64,
    /// Seeds that failed, with their verdicts.
    failed: BTreeMap<u64, String>,
    tame: u64,
    seen: BTreeMap<String, u64>,
    /// Checks that broke under some seed.
    broke: BTreeSet<String>,
    states: BTreeSet<u64>,
    kept: Kept,
}

impl Sum {
    /// Takes a run in, and says whether it reached something first.
    fn add(&mut self, seed: u64, fails: bool, findings: Findings) -> bool {
        match (fails, findings.code) {
            (true, _) => drop(self.failed.insert(seed, findings.verdict)),
            (false, 0) => self.passed += 1,
            (false, _) => self.tame += 1,
        }
        self.broke.extend(findings.broken.into_iter().map(|broken| broken.check));
        let mut sights = Vec::new();
        for name in findings.seen {
            let count = self.seen.entry(name.clone()).or_default();
            *count += 1;
            if *count == 1 {
                sights.push(name);
            }
        }
        let before = self.states.len();
        if before < STATES_MAX {
            self.states.extend(findings.states);
        }
        let states = self.states.len() - before;
        let first = states > 0 || !sights.is_empty();
        if first {
            self.kept.insert(seed, (states, sights));
        }
        first
    }
}

/// Runs each subject under all its seeds. Of several that fail the worst counts, as for `run`.
pub fn run(subjects: &[Subject], scale: &Scale, arguments: &Arguments) -> anyhow::Result<u8> {
    if let (Some(corpus), true) = (&arguments.corpus, subjects.len() > 1) {
        bail!("{} holds seeds of one scenario on one engine: choose one", corpus.display());
    }
    if let Some(folder) = &arguments.keep {
        let made = std::fs::create_dir_all(folder);
        made.with_context(|| format!("cannot make the folder {}", folder.display()))?;
    }
    let until = arguments.within.map(|within| now() + within);
    let mut code = 0;
    for subject in subjects {
        let worst = explore(subject, scale, arguments, until)?;
        code = [code, worst].into_iter().filter(|code| *code != 0).min().unwrap_or(0);
        if code != 0 && !arguments.collect {
            break;
        }
    }
    Ok(code)
}

fn explore(
    subject: &Subject,
    scale: &Scale,
    arguments: &Arguments,
    until: Option<Instant>,
) -> anyhow::Result<u8> {
    let mut corpus = Corpus::open(arguments.corpus.as_deref(), subject.title())?;
    let seeds = seeds(subject, arguments, &corpus)?;
    let mut progress = Progress::new(seeds.len());
    let mut sum = Sum::default();
    let (stop, mut code, mut trouble) = (AtomicBool::new(false), 0, None);
    let late = || until.is_some_and(|until| until <= now());
    let work = |seed: &u64| {
        let over = stop.load(Ordering::Relaxed) || late();
        (!over).then(|| findings::run(&subject.plan(*seed)))
    };
    // Taken in order, whichever is done first: who was first to see something is no matter of speed.
    let mut waiting = BTreeMap::new();
    let mut next = 0;
    each(&seeds, work, |index, result| {
        waiting.insert(index, result);
        while let Some(result) = waiting.remove(&next) {
            let seed = seeds[next];
            next += 1;
            let findings = match result {
                Some(Ok(findings)) if code == 0 || arguments.collect => findings,
                Some(Err(error)) => {
                    stop.store(true, Ordering::Relaxed);
                    trouble = Some(error);
                    continue;
                }
                Some(Ok(_)) | None => continue,
            };
            let fails = subject.fails(&findings);
            if fails {
                stop.fetch_or(!arguments.collect, Ordering::Relaxed);
                code = if code == 0 { findings.code } else { code.min(findings.code) };
                progress.done(&failure(subject, scale, seed, &findings));
                trouble = trouble.take().or(keep(subject, seed, arguments).err());
            } else {
                progress.done_quietly();
            }
            corpus.ran(seed);
            if sum.add(seed, fails, findings) {
                trouble = trouble.take().or(corpus.write(&sum.kept).err());
            }
        }
    });
    let took = progress.finish();
    if let Some(error) = trouble {
        return Err(error);
    }
    print(&page(subject, &sum, seeds.len(), took));
    corpus.write(&sum.kept)?;
    let missing = !missing(subject, &sum).is_empty();
    Ok(if code == 0 && missing { 4 } else { code })
}

#[expect(clippy::disallowed_methods, reason = "people wait in real time")]
fn now() -> Instant {
    Instant::now()
}

/// The seeds of the corpus first, then those that are asked for.
fn seeds(subject: &Subject, arguments: &Arguments, corpus: &Corpus) -> anyhow::Result<Vec<u64>> {
    let mut seeds = corpus.seeds.clone();
    let known: BTreeSet<u64> = seeds.iter().copied().collect();
    let Share { number, of } = arguments.share;
    let first = subject.choice.seed;
    let all =
        (first..first.saturating_add(arguments.seeds)).filter(|seed| seed % of == number % of);
    seeds.extend(all.filter(|seed| !known.contains(seed)));
    if seeds.is_empty() {
        bail!("none of these seeds is in the share {number}/{of}");
    }
    Ok(seeds)
}

fn failure(subject: &Subject, scale: &Scale, seed: u64, findings: &Findings) -> String {
    let mut text = format!("{}  seed {seed}  {}", subject.title(), findings.verdict);
    for broken in &findings.broken {
        let _ = write!(text, "\n  {} at {}: {}", broken.check, broken.at, broken.message);
    }
    let this = again::arguments(&subject.file, subject.choice.engine, seed, scale);
    let _ = write!(text, "\n  again: cargo sim run {this}\n  less:  cargo sim shrink {this}");
    text
}

fn keep(subject: &Subject, seed: u64, arguments: &Arguments) -> anyhow::Result<()> {
    let Some(folder) = &arguments.keep else { return Ok(()) };
    let name = subject.name.replace('/', "-");
    let file = folder.join(format!("{name}-{}-{seed}.plan", subject.choice.engine));
    let written = std::fs::create_dir_all(folder);
    let written = written.and_then(|()| std::fs::write(&file, subject.plan(seed).to_string()));
    written.with_context(|| format!("cannot write {}", file.display()))
}

/// What must be seen, or break in a failed design, and did not under any seed: each with what is
/// said of it.
fn missing(subject: &Subject, sum: &Sum) -> Vec<String> {
    let expect = &subject.scenario.expect;
    let unseen = expect.sometimes.iter().filter(|name| !sum.seen.contains_key(name.0));
    let unseen = unseen.map(|name| format!("{} must be seen, and was under no seed", name.0));
    let whole = expect.breaks.iter().filter(|name| !sum.broke.contains(name.0));
    let whole = whole.map(|name| format!("{} must break, and did under no seed", name.0));
    unseen.chain(whole).collect()
}

fn page(subject: &Subject, sum: &Sum, seeds: usize, took: Duration) -> String {
    let runs = sum.passed + sum.tame + sum.failed.len() as u64;
    let mut text = format!(
        "{}: {runs} runs, {} passed, {} saw too little, {} failed\n",
        subject.title(),
        sum.passed,
        sum.tame,
        sum.failed.len()
    );
    let mut verdicts: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for (seed, verdict) in &sum.failed {
        verdicts.entry(verdict).or_default().push(*seed);
    }
    for (verdict, seeds) in verdicts {
        let list: Vec<String> = seeds.iter().take(10).map(u64::to_string).collect();
        let more = if seeds.len() > 10 { ", ..." } else { "" };
        let _ = writeln!(text, "  {verdict}: {} seeds, {}{more}", seeds.len(), list.join(", "));
    }
    let left = (seeds as u64).saturating_sub(runs);
    if left > 0 {
        let _ = writeln!(text, "  {left} of the {seeds} seeds were not run any more");
    }
    let seen = sum.seen.iter().map(|(name, count)| format!("{name} {count}"));
    let never = SOMETIMES.iter().filter(|(name, _)| !sum.seen.contains_key(*name));
    text.push_str(&filled("seen", seen));
    text.push_str(&filled("unseen", never.map(|(name, _)| name.to_string())));
    for missing in missing(subject, sum) {
        let _ = writeln!(text, "  {missing}");
    }
    let last = sum.kept.keys().next_back().map_or("none".into(), u64::to_string);
    let (states, kept) = (sum.states.len(), sum.kept.len());
    let _ = writeln!(
        text,
        "  {states} states, from {kept} seeds that reached something first, the last {last}"
    );
    let pace = u128::from(runs) * 10_000 / took.as_millis().max(1);
    let _ = writeln!(text, "  {took:.1?}, {}.{} runs a second", pace / 10, pace % 10);
    text
}

/// Words behind their title, in lines that fit a terminal.
fn filled(title: &str, words: impl Iterator<Item = String>) -> String {
    let mut lines = vec![format!("  {title:<6}")];
    let mut words = words.peekable();
    while let Some(word) = words.next() {
        let comma = if words.peek().is_some() { "," } else { "" };
        let full = lines.last().is_some_and(|line| line.len() + word.len() + 2 > COLUMNS);
        if full {
            lines.push(" ".repeat(8));
        }
        if let Some(line) = lines.last_mut() {
            let _ = write!(line, " {word}{comma}");
        }
    }
    lines.join("\n") + "\n"
}

/// Every scenario there on every engine that is wanted.
pub fn subjects(
    files: Vec<(PathBuf, Scenario)>,
    engine: Option<Engine>,
    choice: impl Fn(Engine) -> Choice,
) -> anyhow::Result<Vec<Subject>> {
    let mut subjects = Vec::new();
    for (file, scenario) in files {
        let (name, engines) = (scenario::name(&file), scenario.engines.clone());
        for of in engines.into_iter().filter(|of| engine.is_none_or(|engine| engine == *of)) {
            let (file, name, scenario) = (file.clone(), name.clone(), scenario.clone());
            subjects.push(Subject { file, name, scenario, choice: choice(of) });
        }
    }
    if subjects.is_empty() {
        bail!("no scenario there runs on that engine");
    }
    Ok(subjects)
}
