//! A real cluster, and processes of `lease hold` whose programs write down that they run.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

pub const BINARY: &str = env!("CARGO_BIN_EXE_portcullis");

/// Whatever still runs after this was never going to end. It is killed, and so whoever waits for a
/// word of it fails.
const HUNG_AFTER: Duration = Duration::from_secs(180);

/// What the program does: it says its fence and its process, and writes down that it runs, again
/// and again; when it is told to end it does, unless `stubborn`.
const PROGRAM: &str = r#"
if [ "$2" = stubborn ]; then trap '' TERM; else trap 'echo "stopped $PORTCULLIS_FENCE" >> "$1"; exit 143' TERM; fi
echo "runs $PORTCULLIS_FENCE" >> "$1"
echo "$PORTCULLIS_FENCE $$"
while :; do echo "runs $PORTCULLIS_FENCE" >> "$1"; sleep 0.02; done
"#;

/// A cluster of three in a folder of its own.
pub struct Cluster {
    folder: tempfile::TempDir,
    process: Child,
    said: BufReader<ChildStdout>,
    /// Kills processes, once they have hung; gone with this.
    watchdog: Sender<u32>,
    /// The processes of its controllers.
    pub controllers: Vec<u32>,
}

impl Cluster {
    /// Starts it, and waits until all of it is open.
    pub fn start() -> Cluster {
        let folder = tempfile::tempdir().expect("there is a temporary folder");
        let mut process = Command::new(BINARY)
            .args(["dev", "--dir"])
            .arg(folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary can be run");
        let said = BufReader::new(process.stdout.take().expect("it is a pipe"));
        let watchdog = watchdog();
        let _ = watchdog.send(process.id());
        let mut cluster = Cluster { folder, process, said, watchdog, controllers: Vec::new() };
        loop {
            let line = cluster.line();
            if let Some(process) = started(&line) {
                cluster.controllers.push(process);
            }
            if line.starts_with("Ctrl-C stops everything") {
                return cluster;
            }
        }
    }

    fn line(&mut self) -> String {
        line(&mut self.said).expect("it goes on")
    }

    /// Kills a controller, by its place, and waits until it has been started again.
    pub fn kill(&mut self, controller: usize) {
        signal("KILL", self.controllers[controller]);
        let name = format!("controller-{} started as process ", controller + 1);
        let line = loop {
            let line = self.line();
            if line.starts_with(&name) {
                break line;
            }
        };
        self.controllers[controller] = started(&line).expect("a process");
    }

    /// Runs a client command to its end.
    pub fn ask(&self, words: &[&str]) -> Output {
        self.client(words).output().expect("the binary can be run")
    }

    pub fn client(&self, words: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        let (before, after) = match words.iter().position(|word| *word == "--") {
            Some(place) => words.split_at(place),
            None => (words, &[][..]),
        };
        command.args(before).arg("--client").arg(self.folder.path().join("client.toml"));
        command.args(["--within", "60s"]).args(after);
        command
    }

    /// The file that all programs write to.
    pub fn log(&self) -> PathBuf {
        self.folder.path().join("ran")
    }

    /// Holds `work`, with these arguments, and runs the program when it is held.
    pub fn hold(&self, arguments: &[&str], manner: &str) -> Hold {
        let log = self.log();
        let log = log.to_str().expect("its path is text");
        let words = [&["lease", "hold", "work"], arguments].concat();
        let program = ["--", "sh", "-c", PROGRAM, "sh", log, manner];
        let mut process = self
            .client(&[&words[..], &program].concat())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary can be run");
        let said = BufReader::new(process.stdout.take().expect("it is a pipe"));
        let _ = self.watchdog.send(process.id());
        Hold { process, said }
    }

    /// Whoever ran did so after all that had a lower fence. Says which fences there were.
    pub fn one_at_a_time(&self) -> Vec<u64> {
        let text = fs::read_to_string(self.log()).expect("somebody ran");
        let fence = |line: &str| line.split(' ').nth(1)?.parse().ok();
        let fences: Vec<u64> = text.lines().filter_map(fence).collect();
        assert!(fences.is_sorted(), "two ran at one time: {fences:?}");
        let mut fences = fences;
        fences.dedup();
        fences
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Its controllers end with it.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A process of `lease hold`.
pub struct Hold {
    pub process: Child,
    said: BufReader<ChildStdout>,
}

impl Hold {
    /// Waits until its program runs: the fence and the process of it.
    pub fn runs(&mut self) -> (u64, u32) {
        let line = line(&mut self.said).expect("it gets to run");
        let (fence, process) = line.trim().split_once(' ').expect("a fence and a process");
        (fence.parse().expect("a fence"), process.parse().expect("a process"))
    }

    pub fn signal(&self, name: &str) {
        signal(name, self.process.id());
    }

    pub fn ended(&mut self) -> ExitStatus {
        self.process.wait().expect("it is a child")
    }

    /// The process of its guard.
    pub fn guard(&self) -> u32 {
        let mine = self.process.id().to_string();
        let guards = fs::read_dir("/proc").expect("this is Linux").filter_map(|entry| {
            let process: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
            let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim();
            let command = fs::read_to_string(format!("/proc/{process}/cmdline")).ok()?;
            (parent == mine && command.contains("hold-guard")).then_some(process)
        });
        guards.last().expect("it has a guard")
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Ends with the other end of the channel, or after killing all processes that it was told of.
fn watchdog() -> Sender<u32> {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let mut processes = Vec::new();
        loop {
            match told.recv_timeout(HUNG_AFTER) {
                Ok(process) => processes.push(process),
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
        eprintln!("hung: {processes:?} are killed");
        for process in processes.into_iter().filter(|process| lives(*process)) {
            sent("KILL", process);
        }
    });
    tell
}

pub fn signal(name: &str, process: u32) {
    assert!(sent(name, process), "there is a process {process}");
}

/// Whether the process runs: its remains, which nobody has waited for, do not.
pub fn lives(process: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    status.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
}

fn sent(name: &str, process: u32) -> bool {
    let killed = Command::new("kill").arg(format!("-{name}")).arg(process.to_string()).status();
    killed.expect("there is a kill").success()
}

fn started(line: &str) -> Option<u32> {
    line.split_once(" started as process ")?.1.trim().parse().ok()
}

fn line(from: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    let read = from.read_line(&mut line).expect("it prints text");
    (read > 0).then_some(line)
}
