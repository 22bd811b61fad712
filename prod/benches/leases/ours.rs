//! Three controllers, started as a person would, and agents that speak TLS, websockets and JSON.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use portcullis::client::wire::MESSAGE_MAX;
use portcullis::env::Env;
use portcullis::rpc::{Incoming, Limits, Socket};
use portcullis::tls;
use portcullis::tokio_env::{Stream, Tokio};
use portcullis_core::Address;
use rustls::ClientConfig;
use serde::Deserialize;
use tempfile::TempDir;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::client_async_with_config;

use super::leash::Leash;
use super::side::{Answer, LEASE};

/// How long an ask may take, in seconds: as long as a controller lets it.
const PATIENCE: u64 = 30;

/// Three controllers of the release binary, under `portcullis dev`.
pub struct Cluster {
    /// The controllers, without `dev` itself, which sleeps.
    pub processes: Vec<u32>,
    access: Access,
    tls: Arc<ClientConfig>,
    _leash: Leash,
    _folder: TempDir,
}

/// What `dev` writes for clients.
#[derive(Deserialize)]
struct Access {
    addresses: Vec<String>,
    ca: PathBuf,
    model: String,
    account: Vec<Account>,
}

#[derive(Deserialize)]
struct Account {
    name: String,
    password: String,
}

impl Cluster {
    /// Starts it, and returns when all doors are open.
    pub fn start(program: &Path, folder: TempDir) -> Result<Cluster> {
        let home = folder.path().join("dev");
        let mut arguments = vec!["dev".to_owned(), "--dir".to_owned(), home.display().to_string()];
        // The door's pace is for agents that come back all at once; here they come one by one.
        arguments.extend(["--agent-ratelimit-max", "0"].map(str::to_owned));
        let log = folder.path().join("dev.log");
        let mut leash = Leash::start(program, &arguments, "TERM", &log)?;
        let mut processes = Vec::new();
        loop {
            let line =
                leash.line().with_context(|| std::fs::read_to_string(&log).unwrap_or_default())?;
            if let Some((_, process)) = line.split_once(" started as process ") {
                processes.push(process.parse()?);
            }
            if line.starts_with("All controllers are open") {
                break;
            }
        }
        ensure!(
            processes.len() == 3,
            "a controller has been started again; see {}",
            home.display()
        );
        let access: Access = portcullis::config::read(&home.join("client.toml"))?;
        let tls = tls::agent_client(&tls::load_certificates(&home.join(&access.ca))?)?;
        Ok(Cluster { processes, access, tls, _leash: leash, _folder: folder })
    }

    /// Connects to one of the controllers and logs in.
    pub async fn connect(&self, world: &Tokio, at: usize) -> Result<Agent> {
        let Access { addresses, model, account, .. } = &self.access;
        let address = &addresses[at % addresses.len()];
        let stream = world.connect(&Address::new(address)).await?;
        let stream = tls::dial_api(&self.tls, stream).await?;
        let limits = Limits { message_max: MESSAGE_MAX, outbox_max: 1 };
        let url = format!("wss://{address}/model/{model}/api");
        let (websocket, _) =
            client_async_with_config(url, stream, Some(limits.websocket())).await?;
        let mut agent = Agent { socket: Socket::new(websocket, limits), number: 0 };
        let Some(Account { name, password }) = account.first() else { bail!("nobody can log in") };
        let login = format!(r#"{{"auth-tag":"user-{name}","credentials":"{password}"}}"#);
        agent.call("Admin", 3, "Login", &login).await?;
        Ok(agent)
    }
}

/// One connection of an agent.
///
/// The same bytes as the client library's, without its machine: that one dials, backs off and
/// pings, which here would only cost what the servers could use.
pub struct Agent {
    socket: Socket<TlsStream<Stream>>,
    number: u64,
}

/// As much of an answer as is looked at.
#[derive(Deserialize)]
struct Reply {
    #[serde(rename = "request-id")]
    request_id: u64,
    error: Option<String>,
    response: Told,
}

#[derive(Deserialize)]
struct Told {
    outcome: Option<String>,
    #[serde(rename = "retry-after")]
    retry_after: Option<f64>,
}

impl Agent {
    /// Claims a lease that nobody has, or that somebody else has.
    pub async fn claim(&mut self, lease: &str, holder: &str) -> Answer {
        self.ask("Claim", lease, holder).await
    }

    /// Extends a lease that it has.
    pub async fn renew(&mut self, lease: &str, holder: &str) -> Answer {
        self.ask("Extend", lease, holder).await
    }

    async fn ask(&mut self, method: &str, lease: &str, holder: &str) -> Answer {
        let duration = LEASE.as_secs();
        let params = format!(
            r#"{{"duration":{duration},"holder":"{holder}","lease":"{lease}","patience":{PATIENCE}}}"#
        );
        match self.call("Portcullis", 1, method, &params).await {
            Ok(Told { outcome, retry_after }) => match outcome.as_deref() {
                Some("granted") => Answer::Granted,
                Some("held") => Answer::Denied,
                Some("overloaded") => Answer::Refused { retry_after },
                Some(_) | None => Answer::Failed(format!("{method}: {outcome:?}")),
            },
            Err(error) => Answer::Failed(error.to_string()),
        }
    }

    async fn call(
        &mut self,
        facade: &str,
        version: u64,
        method: &str,
        params: &str,
    ) -> Result<Told> {
        self.number += 1;
        let number = self.number;
        self.socket.push(
            number,
            format!(
                r#"{{"params":{params},"request":"{method}","request-id":{number},"type":"{facade}","version":{version}}}"#
            ),
        );
        let text = loop {
            match self.socket.next().await {
                Incoming::Text(text) => break text,
                Incoming::Room => {}
                Incoming::Foul { what, .. } => bail!("{what}"),
                Incoming::Gone => bail!("the connection is gone"),
            }
        };
        let Reply { request_id, error, response } = serde_json::from_str(&text)?;
        ensure!(request_id == number, "an answer to {request_id} instead of {number}");
        match error {
            Some(error) => bail!("{error}"),
            None => Ok(response),
        }
    }
}
