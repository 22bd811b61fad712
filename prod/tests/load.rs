//! `portcullis load` against `portcullis dev`, both as they are shipped: three controllers, real
//! TLS, real disks.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

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
    _folder: TempDir,
}

impl Dev {
    /// Returns once all doors are open.
    fn start() -> Dev {
        let folder = tempfile::tempdir().expect("there is a temporary folder");
        let mut child = Command::new(PROGRAM)
            .args(["dev", "--agent-ratelimit-max", "0", "--dir"])
            .arg(folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program can be run");
        let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let ready = stdout
            .by_ref()
            .lines()
            .map_while(Result::ok)
            .any(|line| line.starts_with("Ctrl-C stops"));
        assert!(ready, "the cluster did not start");
        let client = folder.path().join("client.toml");
        Dev { child, _stdout: stdout, client, _folder: folder }
    }

    /// The summary of a run that is to succeed.
    fn load(&self, arguments: &[&str]) -> Value {
        let output = Command::new(PROGRAM)
            .args(["load", "--json", "-", "--client"])
            .arg(&self.client)
            .args(arguments)
            .output()
            .expect("the program can be run");
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
    let dev = Dev::start();
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
