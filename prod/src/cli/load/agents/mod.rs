//! `load --agents`: a herd of real agents, in as many processes as their connections take.
//!
//! Seed 001 is about where agents are, so these go where they will: each has its own account, its
//! own connection and core's agent machine, with Juju's random order of addresses, its long waits,
//! redirects and learned lists. The process that is started adds up what the others tell, watches
//! for controllers that are lost, and says when all was even again.

use std::env::current_exe;
use std::ops::Range;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use portcullis::credentials::Signer;
use portcullis::env::Env;
use portcullis::tokio_env::Tokio;
use portcullis_core::Time;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::super::client::Asking;
use super::super::client_file::SignedUnits;
use super::super::exit::{Exit, Failure};
use super::super::files;
use super::machine;
use super::plan::{Plan, Workload};
use super::report::Shown;

mod course;
mod part;
mod summary;
mod told;

use course::Course;
use summary::Run;
pub use summary::Summary;
use told::Told;

/// Most processes of one herd.
const PARTS_MAX: u32 = 64;
/// Most lines of other processes that wait to be read.
const LINES_MAX: usize = 256;
/// How long the others may take to tell the rest once they are to stop.
const END_WITHIN: Duration = Duration::from_secs(60);

/// What is wanted of a herd.
#[derive(Clone, Debug)]
pub struct Herd {
    pub agents: u32,
    /// Most agents of one process, if that is bounded by more than its open files.
    pub agents_per_process: Option<u32>,
    /// For how long leases are claimed, and when they are claimed again.
    pub claim: Duration,
    pub renew: Duration,
    /// How long to go on once all are connected.
    pub duration: Duration,
    /// How long to wait until all are.
    pub connect_within: Duration,
    /// Whether to end once a controller was lost and all are even again.
    pub until_even: bool,
    /// Most connections begun in a second, if it is bounded.
    pub pace: Option<u32>,
    pub client: PathBuf,
}

/// A process of the herd.
struct Part {
    child: Child,
    /// It stops when this closes.
    leash: Option<ChildStdin>,
    told: Told,
}

/// What a process of the herd says, and which it is.
type Line = (usize, Option<Told>);

/// The part of a herd that this process is, by the agents that it has.
pub fn range(text: &str) -> Result<Range<u32>, String> {
    let parsed = text.split_once("..").and_then(|(first, end)| {
        let range = first.parse().ok()?..end.parse().ok()?;
        (!range.is_empty()).then_some(range)
    });
    parsed.ok_or_else(|| format!("{text:?} is not FIRST..END"))
}

impl Herd {
    /// Runs the agents of this process, for the one that started it.
    pub fn part(&self, asking: Asking, agents: &Range<u32>) -> Result<(), Failure> {
        let signed = self.units(&asking)?.clone();
        let whole = self.plan(&asking, &signed, &(0..self.agents));
        let part = part::Part {
            sources: machine::spread(&whole, &asking.addresses)?,
            plan: Arc::new(self.plan(&asking, &signed, agents)),
            signer: Signer::parse(&signed.private_key).map_err(Failure::wrong)?,
            before: agents.start,
            pace: self.pace,
            asking,
        };
        files::raise();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(Failure::wrong)?;
        runtime.block_on(part::run(part));
        // Whatever still lives there only says goodbye.
        runtime.shutdown_background();
        Ok(())
    }

    /// Runs all of it, and sums it up.
    pub fn run(&self, asking: &Asking) -> Result<Summary, Failure> {
        let units = self.units(asking)?.units;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Failure::wrong)?;
        runtime.block_on(async {
            let (lines, mut heard) = mpsc::channel(LINES_MAX);
            let mut parts = Vec::new();
            for range in self.ranges(units, machine::connections_max())? {
                parts.push(
                    self.spawn(&asking.env, parts.len(), &range, &lines).map_err(Failure::wrong)?,
                );
            }
            drop(lines);
            let mut course = Course::new(u64::from(self.agents));
            let started = asking.env.now();
            self.follow(asking, &mut parts, &mut heard, &mut course).await?;
            let took = asking.env.now().since(started);
            finish(asking, &mut parts, &mut heard).await?;
            Ok(Summary::new(Run {
                agents: u64::from(self.agents),
                applications: u64::from(self.agents.div_ceil(units)),
                processes: parts.len(),
                addresses: &asking.addresses,
                course: &course,
                told: all(&parts),
                took,
            }))
        })
    }

    /// The units that it is to be.
    fn units<'a>(&self, asking: &'a Asking) -> Result<&'a SignedUnits, Failure> {
        let signed = asking.signed_units.as_ref().ok_or_else(|| {
            let file = self.client.display();
            Failure::wrong(format!("{file}: agents need [signed-units], as `dev` writes them"))
        })?;
        let most = u64::from(signed.applications) * u64::from(signed.units);
        match u64::from(self.agents) <= most && signed.units > 0 {
            true => Ok(signed),
            false => Err(Failure::wrong(format!(
                "{}: the [signed-units] are {most} agents, and --agents is {}",
                self.client.display(),
                self.agents
            ))),
        }
    }

    fn plan(&self, asking: &Asking, signed: &SignedUnits, agents: &Range<u32>) -> Plan {
        Plan {
            workload: Workload::Agents {
                prefix: signed.prefix.as_str().into(),
                first: agents.start / signed.units,
                agents: agents.end - agents.start,
                units: signed.units,
            },
            model: asking.model.as_str().into(),
            duration: self.claim,
            renew_after: self.renew,
            run: asking.env.seed().0,
        }
    }

    /// Which agents each process has: all of an application together, so that one process sees who
    /// contends for its lease.
    fn ranges(&self, units: u32, files: u64) -> Result<Vec<Range<u32>>, Failure> {
        let files = u32::try_from(files).unwrap_or(u32::MAX);
        let most = self.agents_per_process.unwrap_or(u32::MAX).min(files);
        let parts = self.agents.div_ceil((most / units * units).max(units));
        if parts > PARTS_MAX || most < units {
            return Err(Failure::wrong(format!(
                "{} agents in processes of {most} are more than {PARTS_MAX} processes; raise the \
                 hard limit of open files, or --agents-per-process",
                self.agents
            )));
        }
        let each = self.agents.div_ceil(units).div_ceil(parts) * units;
        let starts = (0..self.agents).step_by(each as usize);
        Ok(starts.map(|start| start..(start + each).min(self.agents)).collect())
    }

    fn spawn(
        &self,
        env: &Tokio,
        at: usize,
        range: &Range<u32>,
        lines: &mpsc::Sender<Line>,
    ) -> std::io::Result<Part> {
        let plain = |duration: Duration| humantime::format_duration(duration).to_string();
        let mut command = Command::new(current_exe()?);
        command.arg("load").arg("--client").arg(&self.client);
        command.args(["--agents", &self.agents.to_string()]);
        command.args(["--part", &format!("{}..{}", range.start, range.end)]);
        command.args(["--claim", &plain(self.claim), "--renew", &plain(self.renew)]);
        if let Some(pace) = self.pace {
            let own = u64::from(pace) * range.len() as u64 / u64::from(self.agents);
            command.args(["--connections-per-second", &own.max(1).to_string()]);
        }
        // Ctrl-C in a terminal goes to the whole group; only this process is to act on it.
        command.process_group(0).kill_on_drop(true);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        if let Some(stdout) = child.stdout.take() {
            env.spawn(read(at, stdout, lines.clone()));
        }
        Ok(Part { leash: child.stdin.take(), child, told: Told::default() })
    }

    /// Watches the herd until it is time to end.
    async fn follow(
        &self,
        asking: &Asking,
        parts: &mut [Part],
        heard: &mut mpsc::Receiver<Line>,
        course: &mut Course,
    ) -> Result<(), Failure> {
        let env = &asking.env;
        let mut interrupted = signal(SignalKind::interrupt()).map_err(Failure::wrong)?;
        let started = env.now();
        let mut progress = Shown::new(started);
        let mut over = None;
        let mut next = started + course::EVERY;
        loop {
            tokio::select! {
                biased;
                _ = interrupted.recv() => break,
                () = env.sleep_until(next) => {
                    let now = env.now();
                    next = now + course::EVERY;
                    let told = all(parts);
                    if let Some(why) = &told.refused {
                        return Err(Failure::new(Exit::Refused, why.clone()));
                    }
                    course.sample(now.since(started), &told.controllers);
                    let all_there = course.connected().is_some();
                    if over.is_none() && (all_there || now >= started + self.connect_within) {
                        over = Some(now + self.duration);
                    }
                    progress.show(now, || self.line(now.since(started), &told));
                    if over.is_some_and(|over| over <= now) || self.until_even && course.evened() {
                        break;
                    }
                }
                line = heard.recv() => hear(parts, line)?,
            }
        }
        progress.end();
        Ok(())
    }

    fn line(&self, at: Duration, told: &Told) -> String {
        let Told { controllers, counts, violations, moves, .. } = told;
        let controllers: Vec<String> = controllers.iter().map(ToString::to_string).collect();
        format!(
            "{:>4}s {}/{} connected ({}), {moves} moves, {} broken, {} claimed, {} extended, {} \
             lost, {} too early, {violations} held by two",
            at.as_secs(),
            counts.connected,
            self.agents,
            controllers.join(" + "),
            counts.disconnected - moves.min(&counts.disconnected),
            counts.claimed,
            counts.extended,
            counts.lost,
            counts.taken,
        )
    }
}

/// What all processes tell.
fn all(parts: &[Part]) -> Told {
    let mut told = Told::default();
    parts.iter().for_each(|part| told.add(&part.told));
    told
}

/// Takes in what a process says; fails if one has ended that was to go on.
fn hear(parts: &mut [Part], line: Option<Line>) -> Result<(), Failure> {
    match line {
        Some((at, Some(told))) => {
            parts[at].told = told;
            Ok(())
        }
        Some((_, None)) | None => Err(Failure::wrong("a process of the herd has died; see above")),
    }
}

/// Lets all processes end, and waits for the rest of what they tell.
async fn finish(
    asking: &Asking,
    parts: &mut [Part],
    heard: &mut mpsc::Receiver<Line>,
) -> Result<(), Failure> {
    parts.iter_mut().for_each(|part| part.leash = None);
    let deadline: Time = asking.env.now() + END_WITHIN;
    while parts.iter().any(|part| part.told.ended.is_none()) {
        tokio::select! {
            biased;
            () = asking.env.sleep_until(deadline) => {
                return Err(Failure::wrong("a process of the herd did not end in time"));
            }
            line = heard.recv() => match line {
                // It has told all, and ends.
                Some((at, None)) if parts[at].told.ended.is_some() => {}
                line => hear(parts, line)?,
            },
        }
    }
    for part in parts {
        part.child.wait().await.map_err(Failure::wrong)?;
    }
    Ok(())
}

/// Reads what a process says until it says no more.
async fn read(at: usize, stdout: ChildStdout, lines: mpsc::Sender<Line>) {
    let mut stdout = BufReader::new(stdout).lines();
    loop {
        // A line that makes no sense is none of ours, and ends the reading like the end itself.
        let line = stdout.next_line().await.ok().flatten();
        let told = line.and_then(|line| serde_json::from_str(&line).ok());
        let ended = told.is_none();
        if lines.send((at, told)).await.is_err() || ended {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn herd(agents: u32, agents_per_process: Option<u32>) -> Herd {
        let (claim, renew) = (Duration::from_secs(60), Duration::from_secs(30));
        let (duration, connect_within) = (claim, claim);
        Herd {
            agents,
            agents_per_process,
            claim,
            renew,
            duration,
            connect_within,
            until_even: false,
            pace: None,
            client: PathBuf::new(),
        }
    }

    #[test]
    fn every_agent_is_in_one_process_with_all_of_its_application() {
        for (agents, per_process, files, parts) in [
            (30_000, None, 19_936, 2),
            (60, None, 19_936, 1),
            (60, Some(25), 19_936, 3),
            (61, Some(25), 19_936, 3),
            (100, None, 4, 34),
            (1, None, 3, 1),
        ] {
            let ranges = herd(agents, per_process).ranges(3, files).expect("there are few");
            assert_eq!(ranges.len(), parts, "{agents} {per_process:?} {files}");
            let most = per_process.unwrap_or(u32::MAX).min(files as u32);
            let mut next = 0;
            for Range { start, end } in ranges {
                assert!(start == next && start % 3 == 0 && end - start <= most);
                next = end;
            }
            assert_eq!(next, agents);
        }
        assert!(herd(1_000, Some(3)).ranges(3, 1_000).is_err());
        assert!(herd(3, None).ranges(3, 2).is_err());
    }

    #[test]
    fn ranges_are_read() {
        assert_eq!(range("3..9"), Ok(3..9));
        for text in ["", "3", "9..3", "3..3", "a..b", "..4"] {
            assert!(range(text).is_err(), "{text}");
        }
    }
}
