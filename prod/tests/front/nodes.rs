//! Three controllers behind a front, each a process, as they are shipped.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use portcullis::config::Config;
use rustix::process::{Pid, Signal, kill_process};

use crate::world::{Client, Front, LONG};

const BINARY: &str = env!("CARGO_BIN_EXE_portcullis");

/// A cluster of three, as `dev` makes it.
struct Dev {
    process: Child,
    said: BufReader<ChildStdout>,
    home: PathBuf,
    controllers: [i32; 3],
}

impl Dev {
    fn start(home: &Path) -> Dev {
        let mut command = Command::new(BINARY);
        command.args(["dev", "--agent-ratelimit-max", "0", "--dir"]).arg(home);
        let mut process = command.stdout(Stdio::piped()).spawn().expect("the binary can be run");
        let said = BufReader::new(process.stdout.take().expect("it is a pipe"));
        let mut dev = Dev { process, said, home: home.to_owned(), controllers: [0; 3] };
        while !dev.heard().starts_with("Ctrl-C stops everything") {}
        dev
    }

    /// The next line; whoever was started is noted.
    fn heard(&mut self) -> String {
        let mut line = String::new();
        assert!(self.said.read_line(&mut line).expect("it prints text") > 0, "it has ended");
        if let Some((name, process)) = line.split_once(" started as process ") {
            let id: usize = name.rsplit('-').next().and_then(|id| id.parse().ok()).expect("a name");
            self.controllers[id - 1] = process.trim().parse().expect("a process id");
        }
        line
    }

    fn signal(&self, id: usize, signal: Signal) {
        let process = Pid::from_raw(self.controllers[id - 1]).expect("a process");
        kill_process(process, signal).expect("it runs");
    }

    /// Kills a controller as `kill -9` does, and waits until it is started again.
    fn kill(&mut self, id: usize) {
        self.signal(id, Signal::KILL);
        while !self.heard().starts_with(&format!("controller-{id} started as process ")) {}
    }

    fn file(&self, id: usize) -> PathBuf {
        self.home.join(format!("controller-{id}")).join("controller.toml")
    }

    /// Gives a controller's file another line; it is read at the next start, or at SIGHUP.
    fn open_delay(&self, id: usize, delay: &str) {
        let text = fs::read_to_string(self.file(id)).expect("it is there");
        let others = text.lines().filter(|line| !line.starts_with("api-port-open-delay"));
        let lines: Vec<_> = others.collect();
        let text = format!("api-port-open-delay = {delay:?}\n{}\n", lines.join("\n"));
        fs::write(self.file(id), text).expect("it can be written");
    }

    fn api(&self, id: usize) -> SocketAddr {
        let config = Config::load(&self.file(id)).expect("it is good");
        SocketAddr::new(config.bind_address, config.api_port)
    }

    /// A front before all three, and a client's file that knows nobody else.
    fn front(&self, folder: &Path) -> Front {
        let mut config =
            format!("metrics-address = \"127.0.0.1:0\"\nca = {:?}\n", self.home.join("ca.pem"));
        for id in 1..=3 {
            let loaded = Config::load(&self.file(id)).expect("it is good");
            let health = SocketAddr::new(loaded.bind_address, loaded.controller_api_port);
            let address = self.api(id);
            config +=
                &format!("[[backend]]\naddress = \"{address}\"\nhealth-address = \"{health}\"\n");
        }
        let front = Front::start(folder, &config);
        let text = fs::read_to_string(self.home.join("client.toml")).expect("it is there");
        let (before, rest) = text.split_once("addresses = [").expect("it says where they are");
        let (_, after) = rest.split_once(']').expect("it ends");
        let text = format!("{before}addresses = [\"{}\"]{after}", front.listen);
        fs::write(self.home.join("through.toml"), text).expect("it can be written");
        front
    }

    /// Claims a lease through the front, whatever it takes.
    fn claims(&self, lease: &str) {
        let mut claim = Command::new(BINARY);
        claim.args(["lease", "claim", lease, "mysql/0", "--for", "1h", "--within", "60s"]);
        let claimed = claim.arg("--client").arg(self.home.join("through.toml")).output();
        let claimed = claimed.expect("the binary can be run");
        assert!(claimed.status.success(), "{claimed:?}");
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // Its controllers end with it. It may have ended long ago.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What a front shows at `path`.
fn shown(at: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(at).expect("it listens");
    stream.set_read_timeout(Some(LONG)).expect("open");
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").expect("open");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}

/// Waits until a front says this of a backend.
fn until(at: SocketAddr, backend: SocketAddr, says: &str) {
    let is = |line: &str| line.trim_start().starts_with(&format!("{backend} {says}"));
    while !shown(at, "/health").lines().any(is) {}
}

fn figure(at: SocketAddr, series: &str) -> u64 {
    let text = shown(at, "/metrics");
    let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    let value = value.and_then(|value| value.trim_end_matches(".0").parse().ok());
    value.unwrap_or_else(|| panic!("no {series}: {text}"))
}

#[test]
fn claims_go_through_a_front_while_a_controller_dies_and_returns() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let mut dev = Dev::start(&folder.path().join("dev"));
    let mut front = dev.front(folder.path());
    let metrics = front.metrics();
    (1..=3).for_each(|id| until(metrics, dev.api(id), "up"));
    dev.claims("mysql");
    assert!(figure(metrics, "portcullis_front_joined_total") >= 1, "it went another way");
    dev.signal(2, Signal::KILL);
    (0..3).for_each(|_| dev.claims("mysql"));
    while !dev.heard().starts_with("controller-2 started as process ") {}
    until(metrics, dev.api(2), "up");
    dev.claims("mysql");
    assert_eq!(figure(metrics, "portcullis_limit_refusals_total{limit=\"tries_max\"}"), 0);
    front.signal(Signal::TERM);
    assert_eq!(front.ended(), Some(0));
}

#[test]
fn a_controller_whose_api_door_is_shut_gets_nobody() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let mut dev = Dev::start(&folder.path().join("dev"));
    let mut front = dev.front(folder.path());
    let metrics = front.metrics();
    (1..=3).for_each(|id| until(metrics, dev.api(id), "up"));
    // It runs, and answers at its controller door, but is to wait before it opens the other.
    dev.open_delay(1, "1h");
    dev.kill(1);
    let shut = dev.api(1);
    while !shown(metrics, "/health").contains(&format!("{shut} down")) {}
    while !shown(metrics, "/health").contains("503 starting") {}
    let joined = figure(metrics, "portcullis_front_joined_total");
    let _clients: Vec<Client> = (0..6).map(|_| front.knock()).collect();
    while figure(metrics, "portcullis_front_joined_total") < joined + 6 {}
    let of = |id| format!("portcullis_front_backend_connections{{backend=\"{}\"}}", dev.api(id));
    assert_eq!([1, 2, 3].map(|id| figure(metrics, &of(id))), [0, 3, 3]);
    // It opens, and has the fewest.
    dev.open_delay(1, "0s");
    dev.signal(1, Signal::HUP);
    until(metrics, shut, "up");
    let _more: Vec<Client> = (0..3).map(|_| front.knock()).collect();
    while figure(metrics, "portcullis_front_joined_total") < joined + 9 {}
    let counts = [1, 2, 3].map(|id| figure(metrics, &of(id)));
    assert_eq!(counts.iter().sum::<u64>(), 9);
    // Whoever is back is filled slowly: how many of the three it got by now is a matter of time.
    assert!(counts[0] >= 1, "it is let in again: {counts:?}");
}
