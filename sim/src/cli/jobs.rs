//! Many runs: each in a process of its own, one for each processor at a time, with a line for each.

use std::io::{IsTerminal as _, Write as _};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Instant;

use anyhow::Context as _;

use super::again;
use super::files::Drawn;
use super::print;
use crate::plan::Plan;

/// How many children run at once: one for each processor.
pub fn jobs() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// What a child said.
pub struct Said {
    pub text: String,
    /// Its exit code; 2, "a check broke", for one that died of a signal or a panic.
    pub code: u8,
}

/// Executes a plan in a child, with `options` for its `replay`.
pub fn child(plan: &Plan, options: &[&str]) -> anyhow::Result<Said> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let mut command = Command::new(program);
    command.args(["replay", "-"]).args(options);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context("cannot start a child")?;
    let mut input = child.stdin.take().context("the child has no standard input")?;
    input.write_all(plan.to_string().as_bytes()).context("the child does not read its plan")?;
    drop(input);
    let output = child.wait_with_output().context("cannot wait for the child")?;
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    let code = output.status.code().and_then(|code| u8::try_from(code).ok());
    let code = code.filter(|code| *code <= 5).unwrap_or(2);
    Ok(Said { text, code })
}

/// Does some work for each item on [`jobs`] threads, and hands each result over as it comes.
pub fn each<T: Sync, R: Send>(
    items: &[T],
    work: impl Fn(&T) -> R + Sync,
    mut done: impl FnMut(usize, R),
) {
    let next = AtomicUsize::new(0);
    let (sender, receiver) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..jobs().min(items.len()) {
            let sender = sender.clone();
            let (next, work) = (&next, &work);
            scope.spawn(move || {
                while let Some((index, item)) = {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    items.get(index).map(|item| (index, item))
                } {
                    if sender.send((index, work(item))).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        for (index, result) in receiver {
            done(index, result);
        }
    });
}

/// A line that says how far it is, on a terminal alone.
pub struct Progress {
    total: Option<usize>,
    done: usize,
    shown: bool,
    started: Instant,
}

impl Progress {
    /// Nothing is done, of so many if anybody knows.
    #[expect(clippy::disallowed_methods, reason = "people wait in real time")]
    pub fn new(total: impl Into<Option<usize>>) -> Progress {
        let shown = std::io::stderr().is_terminal();
        let progress = Progress { total: total.into(), done: 0, shown, started: Instant::now() };
        progress.show();
        progress
    }

    /// One more is done, and this is its line.
    pub fn done(&mut self, line: &str) {
        self.clear();
        print(&format!("{line}\n"));
        self.tick();
    }

    /// One more is done, and has no line of its own.
    pub fn tick(&mut self) {
        self.clear();
        self.done += 1;
        self.show();
    }

    /// One more is done, of which there is nothing to say.
    pub fn done_quietly(&mut self) {
        self.clear();
        self.done += 1;
        self.show();
    }

    /// Removes the line, and says how long it all took.
    pub fn finish(self) -> std::time::Duration {
        self.clear();
        self.started.elapsed()
    }

    fn show(&self) {
        if self.shown {
            let (done, took) = (self.done, self.started.elapsed());
            match self.total {
                Some(total) => eprint!("{done} of {total} done, {took:.0?}"),
                None => eprint!("{done} done, {took:.0?}"),
            }
        }
    }

    fn clear(&self) {
        if self.shown {
            eprint!("\r\x1b[2K");
        }
    }
}

/// Runs every plan: a line for each, the pages of those that failed, and a total.
pub fn run(drawn: &[Drawn]) -> anyhow::Result<u8> {
    let mut progress = Progress::new(drawn.len());
    let mut failed: Vec<(usize, Said)> = Vec::new();
    let mut trouble = None;
    each(
        drawn,
        |drawn| child(&drawn.plan, &[]),
        |index, said| match said {
            Ok(said) => {
                progress.done(&line(&drawn[index].plan, &said));
                if said.code != 0 {
                    failed.push((index, said));
                }
            }
            Err(error) => trouble = Some(error),
        },
    );
    let took = progress.finish();
    if let Some(error) = trouble {
        return Err(error);
    }
    failed.sort_by_key(|(index, _)| *index);
    for (index, said) in &failed {
        print(&format!("\n{}\n", said.text.trim_end()));
        print(&again::next(said.code, &drawn[*index].again));
    }
    let (passed, broken) = (drawn.len() - failed.len(), failed.len());
    print(&format!("\n{passed} passed, {broken} failed, in {took:.1?}\n"));
    Ok(failed.iter().map(|(_, said)| said.code).min().unwrap_or(0))
}

/// The one line of an outcome.
fn line(plan: &Plan, said: &Said) -> String {
    let settings = &plan.settings;
    let verdict = said.text.lines().rev().find_map(|line| line.strip_prefix("verdict "));
    let hash = said.text.lines().rev().find_map(|line| line.split_once("hash "));
    let hash = hash.map_or("", |(_, hash)| hash);
    format!(
        "{:<26} {:<8} seed {:<4} {}  {hash}",
        settings.scenario,
        settings.engine.to_string(),
        settings.seed,
        verdict.unwrap_or("ended without a verdict"),
    )
}
