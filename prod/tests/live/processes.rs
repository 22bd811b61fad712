//! Controllers as processes of the program that is shipped, on ports that nobody else can get.

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;

use portcullis::api::Place;
use portcullis::client::wire::{self, Line, Pass};
use portcullis::credentials::Hashed;
use portcullis::env::Env;
use portcullis::tls::{self, Authority, KeyKind, Validity};
use portcullis::tokio_env::reserve;
use portcullis_core::{Address, NodeId};
use rustix::process::{Pid, Signal, kill_process};
use rustls::ClientConfig;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::process::{Child, Command};

use crate::world::{CLUSTER, Host, MODEL};

/// A cluster of processes; they are killed with it.
pub struct Processes {
    pub host: Host,
    pub folder: tempfile::TempDir,
    pub client: Arc<ClientConfig>,
    /// Of everybody's password; the same in every file, so that a reload finds nobody changed.
    hash: Hashed,
    /// The API port and the controller port of each.
    ports: BTreeMap<u64, [u16; 2]>,
    running: BTreeMap<u64, Child>,
    _held: Vec<TcpSocket>,
}

impl Processes {
    /// Certificates and reserved ports for so many controllers; none runs.
    pub fn prepare(count: u64) -> Processes {
        let folder = tempfile::tempdir().expect("there is a temporary folder");
        let authority = Authority::make(KeyKind::Ed25519, Validity::century()).expect("authority");
        let (ca, key) = (folder.path().join("ca.pem"), folder.path().join("ca.key"));
        authority.save(&ca, &key).expect("the folder can be written");
        let (mut ports, mut held) = (BTreeMap::new(), Vec::new());
        for id in 1..=count {
            let home = folder.path().join(id.to_string());
            fs::create_dir(&home).expect("the folder can be written");
            let issued = authority.issue(NodeId(id), &[], Validity::century());
            let (cert, key) = (home.join("cert.pem"), home.join("key.pem"));
            issued.expect("a certificate").save(&cert, &key).expect("the folder can be written");
            let two = [0, 0].map(|port| {
                let socket = reserve((Ipv4Addr::LOCALHOST, port).into()).expect("a free port");
                let port = socket.local_addr().expect("it is bound").port();
                held.push(socket);
                port
            });
            ports.insert(id, two);
        }
        let client = tls::agent_client(&[authority.certificate().clone()]).expect("configuration");
        let host = Host::new(0);
        let hash = Hashed::salted("secret");
        Processes { host, folder, client, hash, ports, running: BTreeMap::new(), _held: held }
    }

    pub fn home(&self, id: u64) -> PathBuf {
        self.folder.path().join(id.to_string())
    }

    pub fn file(&self, id: u64) -> PathBuf {
        self.home(id).join("controller.toml")
    }

    /// Writes the configuration of a controller: these keys, in which `API` and `CONTROLLER` stand
    /// for its ports, beside what all have in common.
    pub fn write(&self, id: u64, keys: &str) {
        let dialled = |of: u64| self.ports[&of][usize::from(keys.contains("= CONTROLLER"))];
        let peer = |of: &u64| (*of, dialled(*of), self.ports[of][0]);
        self.write_with(id, keys, &self.ports.keys().map(peer).collect::<Vec<_>>());
    }

    /// The same with the ports of all controllers, as the others are told of them.
    pub fn write_with(&self, id: u64, keys: &str, peers: &[(u64, u16, u16)]) {
        let [api, controller] = self.ports[&id];
        let keys = keys.replace("= API", &format!("= {api}"));
        let keys = keys.replace("= CONTROLLER", &format!("= {controller}"));
        let file = keys.contains("bind-address-file");
        let bind = if file { "0.0.0.0" } else { "127.0.0.1" };
        let mut text = format!(
            "controller-id = {id}\ncontroller-uuid = \"{CLUSTER}\"\ndata-dir = \"data\"\n\
             bind-address = \"{bind}\"\nmetrics-address = \"127.0.0.1:0\"\n\
             ports-file = \"ports.json\"\nagent-ratelimit-max = 0\n\
             api-port-open-delay = \"0s\"\n{keys}\n\
             [tls]\nca = \"../ca.pem\"\ncert = \"cert.pem\"\nkey = \"key.pem\"\n\
             [[model]]\nuuid = \"{MODEL}\"\nname = \"controller\"\n\
             [[user]]\nname = \"admin\"\npassword-hash = \"{hash}\"\n\
             [[unit]]\nname = \"mysql/0\"\nmodel = \"{MODEL}\"\npassword-hash = \"{hash}\"\n",
            hash = self.hash,
        );
        for (peer, controller, api) in peers {
            text.push_str(&format!(
                "[[peer]]\nid = {peer}\ncontroller-address = \"127.0.0.1:{controller}\"\n\
                 api-addresses = [\"127.0.0.1:{api}\"]\n"
            ));
        }
        fs::write(self.file(id), text).expect("the folder can be written");
    }

    /// Writes a client file for the admin, who knows all controllers.
    pub fn write_client(&self) -> PathBuf {
        let addresses: Vec<String> = self.ports.keys().map(|id| self.api(*id)).collect();
        let text = format!(
            "addresses = {addresses:?}\nca = \"ca.pem\"\nmodel = \"{MODEL}\"\n\
             [[account]]\nname = \"admin\"\npassword = \"secret\"\n"
        );
        let file = self.folder.path().join("client.toml");
        fs::write(&file, text).expect("the folder can be written");
        file
    }

    /// Starts a controller's process.
    pub fn start(&mut self, id: u64) {
        self.start_with(id, |command| command);
    }

    pub fn start_with(&mut self, id: u64, adjust: impl FnOnce(&mut Command) -> &mut Command) {
        let log = self.home(id).join("log");
        let log = fs::OpenOptions::new().create(true).append(true).open(log);
        let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
        command.arg("run").arg("--config").arg(self.file(id)).arg("--ports-reserved");
        command.stdin(Stdio::null()).stderr(log.expect("the folder can be written"));
        let child = adjust(command.kill_on_drop(true)).spawn().expect("the program can be run");
        self.running.insert(id, child);
    }

    pub fn signal(&self, id: u64, signal: Signal) {
        let process = self.running[&id].id().expect("it runs");
        let process = Pid::from_raw(process.cast_signed()).expect("a process");
        kill_process(process, signal).expect("it runs");
    }

    /// Waits until the process has ended by itself.
    pub async fn ended(&mut self, id: u64) -> ExitStatus {
        let mut child = self.running.remove(&id).expect("it was started");
        let until = self.host.soon();
        tokio::select! {
            status = child.wait() => status.expect("it is a child"),
            () = self.host.sleep_until(until) => panic!("it never ended:\n{}", self.log(id)),
        }
    }

    pub fn log(&self, id: u64) -> String {
        fs::read_to_string(self.home(id).join("log")).unwrap_or_default()
    }

    /// What the controller's ports-file says, once it says something under the key.
    pub async fn told(&self, id: u64, key: &str) -> String {
        let path = self.home(id).join("ports.json");
        let look = || async { said(&path)?[key].as_str().map(str::to_owned) };
        self.until(id, key, look).await
    }

    /// Looks again and again until it is so, and shows the controller's log if it never is.
    pub async fn until<T, F: Future<Output = Option<T>>>(
        &self,
        id: u64,
        what: &str,
        look: impl Fn() -> F,
    ) -> T {
        let deadline = self.host.soon();
        loop {
            if let Some(seen) = look().await {
                return seen;
            }
            let log = || self.log(id);
            assert!(self.host.now() < deadline, "never at controller {id}: {what}\n{}", log());
            self.host.sleep_until(self.host.now() + std::time::Duration::from_millis(20)).await;
        }
    }

    /// A page of the metrics address: its status, and what it says.
    pub async fn page(&self, id: u64, path: &str) -> Option<(u16, String)> {
        let told = said(&self.home(id).join("ports.json"))?;
        let address = Address::new(told["metrics-address"].as_str()?);
        let mut stream = self.host.connect(&address).await.ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }

    /// Waits until `/health` says so.
    pub async fn health(&self, id: u64, status: u16, line: &str) -> String {
        let look = || async {
            let (found, text) = self.page(id, "/health").await?;
            (found == status && text.lines().any(|said| said.contains(line))).then_some(text)
        };
        self.until(id, &format!("{status} {line}"), look).await
    }

    /// A figure of the controller's metrics.
    pub async fn figure(&self, id: u64, name: &str) -> Option<f64> {
        let (_, text) = self.page(id, "/metrics").await?;
        let line = text.lines().find(|line| line.split(' ').next() == Some(name))?;
        line.split(' ').nth(1)?.parse().ok()
    }

    /// Who leads in which term, by the word of all that run.
    pub async fn led(&self) -> (u64, u64) {
        let agreed = || async {
            let mut seen = Vec::new();
            for id in self.running.keys() {
                let leader = self.figure(*id, "portcullis_raft_leader").await?;
                let term = self.figure(*id, "portcullis_raft_term").await?;
                seen.push((leader as u64, term as u64));
            }
            (seen[0].0 > 0 && seen.iter().all(|one| *one == seen[0])).then_some(seen[0])
        };
        self.until(*self.running.keys().next().expect("one runs"), "one leader", agreed).await
    }

    /// Whether there is a connection from each controller that runs to each of them.
    pub async fn linked(&self) {
        for from in self.running.keys() {
            for to in self.running.keys() {
                let name = format!("portcullis_peer_connected{{peer=\"controller-{to}\"}}");
                let look = || async { (self.figure(*from, &name).await? == 1.0).then_some(()) };
                self.until(*from, &name, look).await;
            }
        }
    }

    /// Somebody on the way in at an address: done once they have logged in.
    pub async fn enter(&self, address: &str, tag: &str) -> Option<Line> {
        let place = Place::Model(MODEL.into());
        let soon = self.host.soon();
        let stream = self.host.connect(&Address::new(address)).await.ok()?;
        let line = wire::open(&self.host, stream, &self.client, "x", &place, soon).await.ok()?;
        let pass = Pass { tag: tag.into(), password: "secret".into() };
        line.login(&pass, soon).await.ok()?;
        Some(line)
    }

    /// The address that agents dial.
    pub fn api(&self, id: u64) -> String {
        format!("127.0.0.1:{}", self.ports[&id][0])
    }
}

fn said(path: &Path) -> Option<Value> {
    serde_json::from_str(&fs::read_to_string(path).ok()?).ok()
}
