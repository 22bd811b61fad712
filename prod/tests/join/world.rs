//! Controllers that are made by the command line and run as processes, on ports that nobody else can
//! get.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::time::Duration;

use portcullis::env::Env;
use portcullis::tokio_env::{Ports, Tokio, reserve};
use portcullis_core::Address;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::process::{Child, Command};

/// Longest wait for anything.
const SOON: Duration = Duration::from_secs(90);

/// A folder with controllers in it; what runs is killed with it.
pub struct Site {
    pub env: Tokio,
    folder: tempfile::TempDir,
    running: BTreeMap<String, Child>,
    held: Vec<TcpSocket>,
}

/// How a command ended, and what it said.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Said {
    /// What it printed, if it was done.
    pub fn done(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.out
    }

    /// It was not done, for this reason.
    pub fn failed(self, code: i32, why: &str) {
        assert!(self.code == Some(code) && self.err.contains(why), "not {code} {why:?}: {self:?}");
        assert_eq!(self.out, "", "what fails prints nothing that a script could take for a result");
    }
}

impl Site {
    pub fn new() -> Site {
        let folder = tempfile::tempdir().expect("there is a temporary folder");
        let env = Tokio::start(folder.path().join("none"), Ports::Own).expect("a host");
        Site { env, folder, running: BTreeMap::new(), held: Vec::new() }
    }

    /// A path of the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Two ports for a controller, as options of the command line.
    pub fn ports(&mut self) -> Vec<String> {
        let mut one = || {
            let at = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let socket = reserve(at).expect("a free port");
            let port = socket.local_addr().expect("it is bound").port();
            self.held.push(socket);
            port
        };
        let options = [("--api-port", one()), ("--controller-port", one())];
        options.iter().flat_map(|(name, port)| [name.to_string(), port.to_string()]).collect()
    }

    /// A command that is ready to run here.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
        command.args(words).stdin(Stdio::null()).kill_on_drop(true);
        command.env("PORTCULLIS_CLIENT", self.path("1/client.toml")).env_remove("PORTCULLIS_LOG");
        command
    }

    /// Runs a command to its end.
    pub async fn says(&self, words: &[&str]) -> Said {
        let until = self.env.now() + SOON;
        let Output { status, stdout, stderr } = tokio::select! {
            output = self.command(words).output() => output.expect("it can be run"),
            () = self.env.sleep_until(until) => panic!("it never ends: {words:?}"),
        };
        let text = |bytes| String::from_utf8(bytes).expect("it prints text");
        Said { code: status.code(), out: text(stdout), err: text(stderr) }
    }

    /// The first controller, made and running.
    pub async fn bootstrapped(&mut self) {
        let ports = self.ports();
        let folder = self.path("1").display().to_string();
        let mut words = vec!["bootstrap", "--data-dir", &folder];
        words.extend(ports.iter().map(String::as_str));
        self.says(&words).await.done();
        self.run("1");
        self.serves().await;
    }

    /// A token, as a person gets it.
    pub async fn token(&self) -> String {
        let within = ["cluster", "add", "--within", "60s"];
        self.says(&within).await.done().trim().to_owned()
    }

    /// Joins, and says how that ended. A folder keeps its ports.
    pub async fn join(&mut self, name: &str, token: &str, more: &[&str]) -> Said {
        let folder = self.path(name).display().to_string();
        let ports = self.ports();
        let mut words = vec!["join", token, "--data-dir", &folder];
        words.extend(ports.iter().map(String::as_str).chain(more.iter().copied()));
        self.says(&words).await
    }

    /// Starts the controller of a folder.
    pub fn run(&mut self, name: &str) {
        let log = fs::File::options().create(true).append(true).open(self.path(name).join("log"));
        let file = self.path(name).join("controller.toml").display().to_string();
        let mut command = self.command(&["run", "--config", &file, "--ports-reserved"]);
        command.stderr(log.expect("the folder can be written"));
        self.running.insert(name.to_owned(), command.spawn().expect("it can be run"));
    }

    /// As the power does.
    pub async fn kill(&mut self, name: &str) {
        let mut child = self.running.remove(name).expect("it runs");
        child.kill().await.expect("it is a child");
    }

    /// Waits until a controller has ended by itself.
    pub async fn ended(&mut self, name: &str) -> ExitStatus {
        let mut child = self.running.remove(name).expect("it was started");
        let until = self.env.now() + SOON;
        tokio::select! {
            status = child.wait() => status.expect("it is a child"),
            () = self.env.sleep_until(until) => panic!("it never ends:\n{}", self.log(name)),
        }
    }

    pub fn log(&self, name: &str) -> String {
        fs::read_to_string(self.path(name).join("log")).unwrap_or_default()
    }

    /// Waits until the controller's log says so.
    pub async fn logs(&self, name: &str, what: &str) {
        let look = || async { self.log(name).contains(what).then_some(()) };
        self.until(&format!("{name} logs {what:?}"), look).await;
    }

    /// Waits until the first controller lets users in.
    pub async fn serves(&self) {
        let look = || async {
            let said = self.says(&["status"]).await;
            said.out.contains("api door open").then_some(())
        };
        self.until("the first one serves", look).await;
    }

    /// Whether the controller votes, by its own word, while it is reached by nobody.
    pub async fn state(&mut self, name: &str) -> String {
        let ports = self.ports();
        let file = self.path(name).join("controller.toml");
        let text = fs::read_to_string(&file).expect("it is there");
        let text =
            text.replacen("\n", &format!("\nmetrics-address = \"127.0.0.1:{}\"\n", ports[1]), 1);
        fs::write(&file, text).expect("it can be written");
        self.run(name);
        let address = Address::new(&format!("127.0.0.1:{}", ports[1]));
        let look = || async {
            let mut stream = self.env.connect(&address).await.ok()?;
            let request = "GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
            stream.write_all(request.as_bytes()).await.ok()?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.ok()?;
            let is = |line: &&str| {
                let value = line.strip_prefix("portcullis_raft_state{");
                value.is_some_and(|line| line.ends_with("} 1") || line.ends_with("} 1.0"))
            };
            answer.lines().find(is).map(str::to_owned)
        };
        self.until("it shows its metrics", look).await
    }

    /// Looks again and again until it is so.
    pub async fn until<T, F: Future<Output = Option<T>>>(
        &self,
        what: &str,
        look: impl Fn() -> F,
    ) -> T {
        let deadline = self.env.now() + SOON;
        loop {
            if let Some(seen) = look().await {
                return seen;
            }
            let logs = || self.running.keys().map(|name| self.log(name)).collect::<String>();
            assert!(self.env.now() < deadline, "never: {what}\n{}", logs());
            self.env.sleep_until(self.env.now() + Duration::from_millis(100)).await;
        }
    }

    /// What is in a folder, and who may read it.
    pub fn modes(&self, name: &str) -> Vec<String> {
        let mut files: Vec<String> = Vec::new();
        for entry in fs::read_dir(self.path(name)).expect("it is a folder") {
            let entry = entry.expect("it can be read");
            let mode = std::os::unix::fs::PermissionsExt::mode(
                &entry.metadata().expect("it is there").permissions(),
            );
            files.push(format!("{} {:o}", entry.file_name().display(), mode & 0o777));
        }
        files.sort();
        files
    }
}

/// Replaces a certificate of a controller's folder by one that its own authority issues so.
pub fn reissue(home: &Path, node: u64, from: i64, until: i64) {
    use portcullis::tls::{Authority, Validity};
    let at = |seconds: i64| {
        let now = portcullis::tokio_env::today();
        let by = Duration::from_secs(seconds.unsigned_abs());
        if seconds < 0 { now - by } else { now + by }
    };
    let authority = Authority::load(&home.join("ca.pem"), &home.join("ca.key"));
    let validity = Validity { from: at(from), until: at(until) };
    let issued =
        authority.expect("an authority").issue(portcullis_core::NodeId(node), &[], validity);
    let saved = issued.expect("issued").save(&home.join("cert.pem"), &home.join("key.pem"));
    saved.expect("the folder can be written");
}
