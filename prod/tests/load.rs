//! `portcullis load` against `portcullis dev`, both as they are shipped: three controllers, real
//! TLS, real disks.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_portcullis");

/// A cluster that ends with the test.
struct Dev {
    child: Child,
    /// Open for as long as it may be written to.
    _stdout: BufReader<ChildStdout>,
    client: PathBuf,
    /// The processes of its controllers.
    controllers: Vec<u32>,
    _folder: TempDir,
}

impl Dev {
    /// Returns once all doors are open.
    fn start(arguments: &[&str]) -> Dev {
        let folder = tempfile::tempdir().expect("there is a temporary folder");
        let mut child = Command::new(PROGRAM)
            .args(["dev", "--agent-ratelimit-max", "0", "--dir"])
            .arg(folder.path())
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program can be run");
        let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut controllers = Vec::new();
        let ready = stdout.by_ref().lines().map_while(Result::ok).any(|line| {
            let started = line.split_once(" started as process ");
            controllers.extend(started.map(|(_, id)| id.parse::<u32>().expect("a process id")));
            line.starts_with("Ctrl-C stops")
        });
        assert!(ready, "the cluster did not start");
        let client = folder.path().join("client.toml");
        Dev { child, _stdout: stdout, client, controllers, _folder: folder }
    }

    /// A run of the program.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(["load", "--json", "-", "--client"]).arg(&self.client).args(arguments);
        command
    }

    /// The summary of a run that is to succeed.
    fn load(&self, arguments: &[&str]) -> Value {
        let output = self.command(arguments).output().expect("the program can be run");
        let says = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{says}");
        serde_json::from_slice(&output.stdout).expect("the summary is JSON")
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        if let Some(id) = Pid::from_raw(self.child.id().cast_signed()) {
            // Refused only if it has ended, which is what is wanted.
            let _ = kill_process(id, Signal::TERM);
        }
        let _ = self.child.wait();
    }
}

fn number(summary: &Value, name: &str) -> u64 {
    summary[name].as_u64().unwrap_or_else(|| panic!("{name} in {summary}"))
}

#[test]
fn every_contender_gets_a_definite_answer_and_no_lease_two_holders() {
    let dev = Dev::start(&[]);
    for multiplex in ["1", "2"] {
        let size = ["--processes", "2", "--leases", "3", "--units", "3", "--multiplex", multiplex];
        let time = ["--claim", "2s", "--renew", "500ms", "--duration", "2s", "--herd"];
        let summary = dev.load(&[size.as_slice(), time.as_slice()].concat());
        let number = |name| number(&summary, name);
        assert_eq!(number("askers"), 18);
        assert_eq!(number("connected"), if multiplex == "1" { 18 } else { 12 });
        assert_eq!(number("settled"), 18, "{summary}");
        assert!(number("claimed") >= 6, "{summary}");
        assert!(number("denied") >= 12, "{summary}");
        assert!(number("extended") >= 6, "{summary}");
        assert_eq!(number("violations"), 0, "{summary}");
        let claims = number("claimed") + number("denied");
        assert_eq!(summary["claim-milliseconds"]["count"], claims, "{summary}");
    }
    let summary = dev.load(&["--claimers", "4", "--duration", "1s", "--claim", "5s"]);
    assert_eq!(number(&summary, "connected"), 4);
    assert!(number(&summary, "claimed") > 0, "{summary}");
    assert!(summary["claims-per-second"].as_f64() > Some(0.0), "{summary}");
}

/// Seed 001's story, with a herd in two processes: a controller is killed, its agents are taken over,
/// and when it is back it gets its share back.
#[test]
fn a_killed_controller_gets_its_share_back() {
    // No less can be configured: it is when agents count as settled.
    let balance = ["--balance", "redirect", "--moves-rate", "20ms", "--move-again-after", "61s"];
    let dev = Dev::start(&balance);
    let size = ["--agents", "60", "--agents-per-process", "30", "--until-even"];
    // All of it takes a little over a minute; it ends when it is done.
    let mut command = dev.command(&[size.as_slice(), &["--duration", "15m"]].concat());
    let mut load = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program can be run");
    let mut told = BufReader::new(load.stderr.take().expect("it is piped")).lines();
    let there = |line: std::io::Result<String>| line.is_ok_and(|line| line.contains(" 60/60 "));
    assert!(told.any(there), "they were never all connected");
    let killed = Pid::from_raw(dev.controllers[1].cast_signed()).expect("a process");
    kill_process(killed, Signal::KILL).expect("it runs");
    let told = thread::spawn(move || told.map_while(Result::ok).collect::<Vec<_>>().join("\n"));

    let output = load.wait_with_output().expect("it runs");
    let told = told.join().expect("it reads");
    assert!(output.status.success(), "{told}");
    let summary: Value = serde_json::from_slice(&output.stdout).expect("the summary is JSON");
    assert_eq!(number(&summary, "processes"), 2);
    let outages = summary["outages"].as_array().expect("a list");
    assert_eq!(outages.len(), 1, "{summary}");
    for came in ["all-back-after", "first-agent-after", "even-after"] {
        assert!(outages[0][came].as_f64() > Some(0.0), "{came} in {summary}");
    }
    for controller in summary["controllers"].as_array().expect("a list") {
        let agents = number(controller, "agents");
        assert!((14..=26).contains(&agents), "{summary}");
    }
    assert!(number(&summary, "moves") > 0, "{summary}");
    assert!(summary["moves-apart"].as_f64().is_none_or(|apart| apart >= 61.0), "{summary}");
    assert!(number(&summary, "claimed") >= 20, "{summary}");
    assert_eq!((number(&summary, "taken"), number(&summary, "violations")), (0, 0), "{summary}");
}

#[test]
fn what_cannot_be_is_explained_before_anything_is_dialled() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let nowhere = folder.path().join("client.toml");
    let output = Command::new(PROGRAM)
        .args(["load", "--client"])
        .arg(&nowhere)
        .output()
        .expect("the program can be run");
    assert_eq!(output.status.code(), Some(1));
    let says = String::from_utf8_lossy(&output.stderr);
    assert!(says.contains("portcullis dev"), "{says}");
}
