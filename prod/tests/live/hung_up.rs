//! A controller as a process that is told to read its file again.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use portcullis::api::Place;
use portcullis::client::wire::{self, Failure, Line, Pass};
use portcullis::env::Env;
use portcullis::tls;
use portcullis_core::Address;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::world::Host;

/// A cluster of one, as `dev` makes it.
struct Dev {
    process: Child,
    controller: Pid,
    home: PathBuf,
}

impl Dev {
    fn start(folder: &Path) -> Dev {
        let mut process = Command::new(env!("CARGO_BIN_EXE_portcullis"))
            .args(["dev", "--controllers", "1", "--dir"])
            .arg(folder)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary can be run");
        let said = BufReader::new(process.stdout.take().expect("it is a pipe"));
        let mut controller = None;
        for line in said.lines().map_while(Result::ok) {
            if let Some((_, id)) = line.split_once(" started as process ") {
                controller = id.trim().parse().ok().and_then(Pid::from_raw);
            }
            if line.starts_with("Ctrl-C stops") {
                break;
            }
        }
        let controller = controller.expect("it has said its process");
        Dev { process, controller, home: folder.join("controller-1") }
    }

    fn text(&self) -> String {
        fs::read_to_string(self.home.join("controller.toml")).expect("it is there")
    }

    /// Gives the controller another file, and waits until its log says so.
    async fn hang_up(&self, host: &Host, text: &str, says: &str) {
        fs::write(self.home.join("controller.toml"), text).expect("it can be written");
        let log = || fs::read_to_string(self.home.join("log")).unwrap_or_default();
        let before = log().matches(says).count();
        kill_process(self.controller, Signal::HUP).expect("it runs");
        let said = || async { (log().matches(says).count() > before).then_some(()) };
        host.until(says, said).await;
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // Its controller ends with it. It may have ended long ago.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn machine(host: &Host, folder: &Path) -> (Line, String) {
    let client = fs::read_to_string(folder.join("client.toml")).expect("it is there");
    let client: toml::Value = toml::from_str(&client).expect("TOML");
    let text = |value: &toml::Value| value.as_str().expect("a text").to_owned();
    let accounts = client["account"].as_array().expect("accounts");
    let account = accounts.iter().find(|one| text(&one["name"]) == "machine-1").expect("one");
    let address = text(&client["addresses"][0]);
    let authority = tls::load_certificates(&folder.join("ca.pem")).expect("an authority");
    let trusted = tls::agent_client(&authority).expect("a configuration");
    let (soon, place) = (host.soon(), Place::Model(text(&client["model"])));
    let stream = host.connect(&Address::new(&address)).await.expect("the door is open");
    let line = wire::open(host, stream, &trusted, &address, &place, soon).await.expect("a line");
    let pass = Pass { tag: "machine-1".into(), password: text(&account["password"]) };
    line.login(&pass, soon).await.expect("a login");
    (line, address)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_controller_reads_its_file_again_or_says_what_is_wrong_with_it() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let (host, dev) = (Host::new(0), Dev::start(folder.path()));
    let (machine, address) = machine(&host, folder.path()).await;
    let soon = Some(host.soon());
    let watch = || machine.call("Machiner", 5, "WatchAPIHostPorts", json!({}), soon);
    let next = |id, within: u64| {
        let deadline = host.now() + Duration::from_millis(within);
        machine.call_on("NotifyWatcher", 1, id, "Next", json!({}), Some(deadline))
    };
    let addresses = || machine.call("Machiner", 5, "APIAddresses", json!({}), soon);
    watch().await.expect("a watcher");
    watch().await.expect("another");
    assert_eq!(next("1", 60_000).await, Ok(json!({})));
    assert_eq!(next("2", 60_000).await, Ok(json!({})));

    let good = dev.text();
    let key = format!("api-addresses = [\"{address}\"]");
    let with = |addresses: &str| good.replace(&key, &format!("api-addresses = [{addresses}]"));
    let line = 1 + good.lines().position(|line| line == key).expect("the key is there");
    let wrong = format!("controller.toml:{line}:18: peer.api-addresses");
    dev.hang_up(&host, &with("\"nowhere\""), &wrong).await;
    dev.hang_up(&host, "api-port = ", "configuration not reloaded, the last one stays").await;
    assert_eq!(addresses().await, Ok(json!({ "result": [address] })), "the last one stays");

    let both = format!("\"{address}\", \"controller.example:17070\"");
    let changed =
        with(&both).replace("[tls]", "agent-ratelimit-max = 1\n[limits]\nwaits-max = 9\n[tls]");
    let restart = "changed in the configuration, and takes a restart";
    dev.hang_up(&host, &changed, restart).await;
    assert_eq!(next("1", 60_000).await, Ok(json!({})), "a change");
    // Beside one that leads here from everywhere, the machine's own is of no use to agents.
    assert_eq!(addresses().await, Ok(json!({ "result": ["controller.example:17070"] })));
    // The same again is no change.
    dev.hang_up(&host, &changed, restart).await;
    assert_eq!(next("1", 200).await, Err(Failure::Unknown), "each change is told once");
    assert_eq!(next("2", 60_000).await, Ok(json!({})), "by each watcher");
    machine.ping(host.soon()).await.expect("connections stay");
}
