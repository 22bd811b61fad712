//! `portcullis dev` as a user meets it: real processes, real files, `kill -9`.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

const BINARY: &str = env!("CARGO_BIN_EXE_portcullis");

/// A cluster of three, and what it has printed.
struct Dev {
    process: Child,
    said: BufReader<ChildStdout>,
    /// The processes of its controllers.
    controllers: Vec<u32>,
}

impl Dev {
    /// Starts a cluster and waits until all of it is open.
    fn start(folder: &Path) -> Dev {
        let mut process = Command::new(BINARY)
            .args(["dev", "--dir"])
            .arg(folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("the binary can be run");
        let said = BufReader::new(process.stdout.take().expect("it is a pipe"));
        let mut dev = Dev { process, said, controllers: Vec::new() };
        loop {
            let line = dev.line();
            if let Some((_, pid)) = line.split_once(" started as process ") {
                dev.controllers.push(pid.trim().parse().expect("a process id"));
            }
            if line.starts_with("Ctrl-C stops everything") {
                return dev;
            }
        }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        let read = self.said.read_line(&mut line).expect("it prints text");
        assert!(read > 0, "it ended before it was open");
        line
    }

    /// Kills the cluster, and whoever runs it, as the power does.
    fn kill(mut self) {
        signal("KILL", self.process.id());
        for controller in &self.controllers {
            signal("KILL", *controller);
        }
        self.process.wait().expect("it is a child");
    }

    /// Stops it as Ctrl-C does, and says how it ended.
    fn interrupt(mut self) -> Option<i32> {
        signal("INT", self.process.id());
        let mut rest = String::new();
        self.said.read_to_string(&mut rest).expect("it prints text");
        self.process.wait().expect("it is a child").code()
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // Its controllers end with it. It may have ended long ago.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn signal(name: &str, process: u32) {
    let killed = Command::new("kill").arg(format!("-{name}")).arg(process.to_string()).status();
    assert!(killed.expect("there is a kill").success(), "there is a process {process}");
}

fn ask(folder: &Path, words: &[&str]) -> Output {
    Command::new(BINARY)
        .args(words)
        .arg("--client")
        .arg(folder.join("client.toml"))
        .args(["--within", "60s"])
        .output()
        .expect("the binary can be run")
}

#[test]
fn a_killed_cluster_knows_every_acknowledged_claim() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let folder = folder.path();
    let dev = Dev::start(folder);
    assert!(ask(folder, &["lease", "claim", "mysql", "mysql/0", "--for", "1h"]).status.success());
    dev.kill();

    let dev = Dev::start(folder);
    let denied = ask(folder, &["lease", "claim", "mysql", "mysql/1"]);
    assert_eq!(denied.status.code(), Some(2), "another holds it: {denied:?}");
    let list = ask(folder, &["lease", "list", "--json"]);
    assert!(String::from_utf8_lossy(&list.stdout).contains("mysql/0"), "{list:?}");
    assert_eq!(dev.interrupt(), Some(0));
}

#[test]
fn a_killed_controller_starts_again_while_the_others_serve() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let folder = folder.path();
    let mut dev = Dev::start(folder);
    signal("KILL", dev.controllers[1]);
    let claimed = ask(folder, &["lease", "claim", "mysql", "mysql/0"]);
    assert!(claimed.status.success(), "{claimed:?}");
    while !dev.line().starts_with("controller-2 started as process ") {}
    assert_eq!(dev.interrupt(), Some(0));
}

#[test]
fn a_folder_has_one_cluster() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let dev = Dev::start(folder.path());
    let second = Command::new(BINARY).args(["dev", "--dir"]).arg(folder.path()).output();
    let second = second.expect("the binary can be run");
    assert_eq!(second.status.code(), Some(1), "{second:?}");
    assert_eq!(dev.interrupt(), Some(0));
}
