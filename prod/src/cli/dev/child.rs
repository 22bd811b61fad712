//! One controller as a process of its own, started again whenever it ends.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use portcullis::env::Env;
use portcullis::tokio_env::Tokio;
use portcullis_core::backoff::{self, Backoff};
use portcullis_core::{Door, Rng, Time};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{self, ChildStdout, Command};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::super::exit::Exit;

/// A controller that ran this long did not end for what made it end before.
const STEADY_AFTER: Duration = Duration::from_secs(10);
/// How long a controller may take to stop before it is killed.
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// Waits before a controller is started again: short, since somebody looks on.
const BACKOFF: backoff::Config =
    backoff::Config { first: Duration::from_secs(1), most: Duration::from_secs(10), growth: 200 };

/// What became of a controller.
pub enum Event {
    /// Its process is up.
    Started { id: u64, process: u32 },
    /// It listens at the door, so long after its start.
    Opened { id: u64, door: Door, process: u32, after: Duration },
    /// It has ended, and is started again after the wait.
    Ended { id: u64, how: String, wait: Duration },
    /// It was removed from the cluster, and is not started again.
    Removed { id: u64 },
}

/// What it takes to run one controller.
pub struct Child {
    pub id: u64,
    pub program: PathBuf,
    pub config: PathBuf,
    pub log: PathBuf,
    pub env: Tokio,
    /// Stops the controller for good.
    pub stop: CancellationToken,
    /// Kills it if it is still there.
    pub kill: CancellationToken,
    pub events: mpsc::Sender<Event>,
}

impl Child {
    /// Runs the controller until `stop`, or until it is removed from its cluster.
    pub async fn keep_running(self) {
        let mut backoff = Backoff::new(BACKOFF);
        let mut rng: Rng = self.env.seed().child("dev", self.id).rng();
        while !self.stop.is_cancelled() {
            let started = self.env.now();
            let how = match self.run_once().await {
                Ok(status) if status.code() == Some(Exit::Removed as i32) => {
                    return self.tell(Event::Removed { id: self.id }).await;
                }
                Ok(status) => status.to_string(),
                Err(error) => format!("not started: {error}"),
            };
            if self.stop.is_cancelled() {
                break;
            }
            if self.env.now().since(started) >= STEADY_AFTER {
                backoff.reset();
            }
            let wait = backoff.wait(Duration::ZERO, &mut rng);
            self.tell(Event::Ended { id: self.id, how, wait }).await;
            tokio::select! {
                biased;
                () = self.stop.cancelled() => {}
                () = self.env.sleep_until(self.env.now() + wait) => {}
            }
        }
    }

    async fn run_once(&self) -> io::Result<ExitStatus> {
        let mut child = self.spawn()?;
        let (process, started) = (child.id().unwrap_or_default(), self.env.now());
        self.tell(Event::Started { id: self.id, process }).await;
        // The controller stops when this end closes, on purpose or because `dev` was killed.
        let leash = child.stdin.take();
        let mut lines = child.stdout.take().map(|stdout| BufReader::new(stdout).lines());
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                status = child.wait() => return status,
                line = next(&mut lines) => match line {
                    Some(line) => self.heard(&line, process, started).await,
                    None => lines = None,
                },
            }
        }
        drop(leash);
        self.end(&mut child, &mut lines).await
    }

    fn spawn(&self) -> io::Result<process::Child> {
        let log = OpenOptions::new().create(true).append(true).open(&self.log)?;
        Command::new(&self.program)
            .arg("run")
            .arg("--config")
            .arg(&self.config)
            .args(["--print-ports", "--ports-reserved", "--until-stdin-closes"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            // Ctrl-C in a terminal goes to the whole group; only `dev` is to act on it.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
    }

    /// Waits for a controller that was told to stop, and kills it when it takes too long.
    async fn end(
        &self,
        child: &mut process::Child,
        lines: &mut Option<Lines<BufReader<ChildStdout>>>,
    ) -> io::Result<ExitStatus> {
        let patience = self.env.now() + STOP_WITHIN;
        loop {
            tokio::select! {
                biased;
                status = child.wait() => return status,
                () = self.kill.cancelled() => break,
                () = self.env.sleep_until(patience) => break,
                // Nobody reads what it says, but it must not wait for being read.
                line = next(lines) => if line.is_none() { *lines = None },
            }
        }
        child.kill().await?;
        child.wait().await
    }

    /// A line of `run --print-ports`: the key of the door, and where it is.
    async fn heard(&self, line: &str, process: u32, started: Time) {
        let bound: BTreeMap<String, String> = serde_json::from_str(line).unwrap_or_default();
        let door = match bound.keys().next().map(String::as_str) {
            Some("api-port") => Door::Api,
            Some("controller-api-port") => Door::Controller,
            Some(_) | None => return,
        };
        let after = self.env.now().since(started);
        self.tell(Event::Opened { id: self.id, door, process, after }).await;
    }

    async fn tell(&self, event: Event) {
        // The receiver is gone only once everything ends.
        let _ = self.events.send(event).await;
    }
}

/// The next line; never, once there are no more.
async fn next(lines: &mut Option<Lines<BufReader<ChildStdout>>>) -> Option<String> {
    match lines {
        // A line that is no text is none of ours, and ends the reading like the end itself.
        Some(lines) => lines.next_line().await.unwrap_or_default(),
        None => std::future::pending().await,
    }
}
