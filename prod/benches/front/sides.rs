//! Who is measured: a node's own door, a front, and HAProxy, each as a process.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result, bail};
use portcullis::client::wire::Pass;
use portcullis::tls;
use portcullis::tokio_env::reserve;
use portcullis_core::Address;
use rustls::ClientConfig;
use serde::Deserialize;
use tempfile::TempDir;
use tokio::net::TcpSocket;

use super::leash::Leash;

/// One node, under `portcullis dev`.
pub struct Node {
    pub process: u32,
    pub address: Address,
    pub tls: Arc<ClientConfig>,
    pub pass: Pass,
    _leash: Leash,
    _folder: TempDir,
}

/// What `dev` writes for clients.
#[derive(Deserialize)]
struct Access {
    addresses: Vec<String>,
    ca: PathBuf,
    account: Vec<Account>,
}

#[derive(Deserialize)]
struct Account {
    name: String,
    password: String,
}

impl Node {
    /// Starts it, and returns when its doors are open.
    pub fn start(program: &Path) -> Result<Node> {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let home = folder.path().join("dev");
        let mut arguments = vec!["dev".to_owned(), "--dir".to_owned(), home.display().to_string()];
        let small = ["--controllers", "1", "--agent-ratelimit-max", "0"];
        arguments.extend(small.map(str::to_owned));
        let log = folder.path().join("dev.log");
        let mut leash = Leash::start(program, &arguments, "TERM", &log)?;
        let mut process = None;
        loop {
            let line =
                leash.line().with_context(|| fs::read_to_string(&log).unwrap_or_default())?;
            if let Some((_, number)) = line.split_once(" started as process ") {
                process = Some(number.parse()?);
            }
            if line.starts_with("Ctrl-C stops everything") {
                break;
            }
        }
        let access: Access = portcullis::config::read(&home.join("client.toml"))?;
        let tls = tls::agent_client(&tls::load_certificates(&home.join(&access.ca))?)?;
        let (Some(address), Some(account)) = (access.addresses.first(), access.account.first())
        else {
            bail!("the client file is empty");
        };
        let tag = format!("user-{}", account.name);
        let pass = Pass { tag, password: account.password.clone() };
        let process = process.context("the node was not started")?;
        let address = Address::new(address);
        Ok(Node { process, address, tls, pass, _leash: leash, _folder: folder })
    }
}

/// Who is measured.
pub enum Side<'a> {
    Node,
    Front(&'a Path),
    Haproxy(&'a Path),
}

/// A proxy that runs.
pub struct Proxy {
    pub process: u32,
    pub address: Address,
    _leash: Leash,
    _folder: TempDir,
    /// Keeps the port from everybody else.
    _port: Option<TcpSocket>,
}

impl Side<'_> {
    pub fn name(&self) -> &'static str {
        match self {
            Side::Node => "node",
            Side::Front(_) => "front",
            Side::Haproxy(_) => "haproxy",
        }
    }

    /// Starts a proxy with one thread before the backend; nothing for a node's own door.
    pub fn before(&self, backend: &str) -> Result<Option<Proxy>> {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let log = folder.path().join("log");
        match self {
            Side::Node => Ok(None),
            Side::Front(program) => {
                let line = "front --listen 127.0.0.1:0 --threads 1 --health tcp --fill-rate 0 \
                            --print-ports --log warn --backend";
                let words = line.split_whitespace().chain([backend]);
                let arguments: Vec<_> = words.map(str::to_owned).collect();
                let mut leash = Leash::start(program, &arguments, "KILL", &log)?;
                let line = leash.line()?;
                let line: serde_json::Value = serde_json::from_str(&line)?;
                let address = line["listen"].as_str().context("no port is printed")?;
                let (process, address) = (leash.process, Address::new(address));
                Ok(Some(Proxy { process, address, _leash: leash, _folder: folder, _port: None }))
            }
            Side::Haproxy(program) => {
                let port = reserve(SocketAddr::from(([127, 0, 0, 1], 0)))?;
                let address = port.local_addr()?;
                let config = format!(
                    "global\n  nbthread 1\n  maxconn 9000\n\
                     defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1h\n  \
                     timeout server 1h\n\
                     listen all\n  bind {address}\n  server one {backend}\n"
                );
                let file = folder.path().join("haproxy.cfg");
                fs::write(&file, config)?;
                let arguments = ["-db".to_owned(), "-f".to_owned(), file.display().to_string()];
                let leash = Leash::start(program, &arguments, "KILL", &log)?;
                while TcpStream::connect(address).is_err() {
                    thread::yield_now();
                }
                let (process, address) = (leash.process, Address::new(&address.to_string()));
                let _port = Some(port);
                Ok(Some(Proxy { process, address, _leash: leash, _folder: folder, _port }))
            }
        }
    }
}
