//! What a cluster is made of: ports, certificates, accounts, and each controller's configuration.
//!
//! Made on first start and kept; the configurations are written at each start, since ports may have
//! to change.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use portcullis::config::{self, Config};
use portcullis::credentials::{Hashed, Signer};
use portcullis::tls::{Authority, KeyKind, Validity, write_secret};
use portcullis::tokio_env::{reserve, today};
use portcullis_core::NodeId;
use tokio::net::TcpSocket;

use super::super::client_file::{Account, ClientFile, SignedUnits};
use super::super::drawn::{password, random, uuid};
use super::super::exit::Failure;
use super::folder::{self, Folder};

/// The units that can log in: two of one application, so that they can contend for its leadership.
const UNITS: [&str; 2] = ["mysql/0", "mysql/1"];

/// The units that `load --agents` logs in as: seed 002's 180,000, three an application.
const AGENTS: &str = "agent";
const AGENT_APPLICATIONS: u32 = 60_000;
const AGENT_UNITS: u32 = 3;

/// A cluster whose ports are held for as long as this lives.
pub struct Cluster {
    pub controllers: Vec<Controller>,
    pub accounts: Vec<Account>,
    pub signed_units: SignedUnits,
    settings: Settings,
}

/// What configurations say of keys that are worth trying out; nothing of those without a value.
pub struct Settings {
    pub accept: Option<String>,
    pub agent_ratelimit_max: Option<u32>,
    pub balance: Option<String>,
    pub moves_rate: Option<Duration>,
    pub move_again_after: Option<Duration>,
}

/// One controller of it.
pub struct Controller {
    pub id: u64,
    pub config: PathBuf,
    pub log: PathBuf,
    pub api: SocketAddr,
    pub peers: SocketAddr,
    /// Bound so that nobody else gets the ports, but never listening.
    _held: [TcpSocket; 2],
}

impl Cluster {
    /// Finds what earlier starts made in the folder, makes the rest, and holds the ports.
    pub fn prepare(folder: &Folder, count: u64, settings: Settings) -> Result<Cluster, Failure> {
        let ids = 1..=count;
        let earlier = earlier(folder, count)?;
        let authority = authority(folder)?;
        let mut controllers = Vec::new();
        for id in ids {
            let last = earlier.iter().find(|config| config.controller_id == id);
            controllers.push(controller(folder, &authority, id, last)?);
        }
        let known = earlier.first();
        let names = Names {
            controller: known.map_or_else(uuid, |known| known.controller_uuid.clone()),
            model: known
                .and_then(|known| known.models.first())
                .map_or_else(uuid, |model| model.uuid.clone()),
        };
        let (accounts, signed_units) = accounts(folder, count)?;
        let cluster = Cluster { controllers, accounts, signed_units, settings };
        cluster.write(folder, &names)?;
        Ok(cluster)
    }

    /// Where the controller writes its log.
    pub fn log(&self, id: u64) -> &Path {
        let of_id = |controller: &&Controller| controller.id == id;
        let controller = self.controllers.iter().find(of_id);
        &controller.expect("events name controllers of the cluster").log
    }

    fn write(&self, folder: &Folder, names: &Names) -> Result<(), Failure> {
        for controller in &self.controllers {
            let text = self.config(controller, names)?;
            write_secret(&controller.config, text.as_bytes()).map_err(Failure::wrong)?;
        }
        let client = ClientFile {
            addresses: self.controllers.iter().map(|one| one.api.to_string()).collect(),
            ca: folder.authority().0,
            model: names.model.clone(),
            accounts: self.accounts.clone(),
            signed_units: Some(self.signed_units.clone()),
        };
        write_secret(&folder.client_file(), client.to_string().as_bytes()).map_err(Failure::wrong)
    }

    /// The configuration of one controller, as a person could have written it.
    fn config(&self, controller: &Controller, names: &Names) -> Result<String, Failure> {
        let Names { controller: uuid, model } = names;
        let (api, peers) = (controller.api.port(), controller.peers.port());
        let Settings { accept, agent_ratelimit_max, .. } = &self.settings;
        let accept = accept.as_ref().map(|accept| format!("accept = \"{accept}\"\n"));
        let most = agent_ratelimit_max.map(|most| format!("agent-ratelimit-max = {most}\n"));
        let pace = accept.unwrap_or_default() + &most.unwrap_or_default();
        let mut text = format!(
            r#"# Written by `portcullis dev` at each start; changes are lost.
controller-id = {}
controller-uuid = "{uuid}"
data-dir = "data"
bind-address = "{}"
api-port = {api}
controller-api-port = {peers}
{pace}
[tls]
ca = "../ca.pem"
ca-key = "../ca.key"
cert = "cert.pem"
key = "key.pem"

[[model]]
uuid = "{model}"
name = "controller"
"#,
            controller.id,
            controller.api.ip(),
        );
        let mut add = |section: String| text.push_str(&section);
        add(self.settings.balance());
        add(self.signed(model)?);
        for Controller { id, api, peers, .. } in &self.controllers {
            add(format!(
                "\n[[peer]]\nid = {id}\ncontroller-address = \"{peers}\"\n\
                 api-addresses = [\"{api}\"]\n"
            ));
        }
        for Account { name, password, .. } in &self.accounts {
            // Drawn at random with 100 bits, so salt is enough.
            let hash = Hashed::salted(password.as_deref().unwrap_or_default());
            let who = match (name.contains('/'), name.strip_prefix("machine-")) {
                (true, _) => {
                    let machine = machine_of(name, self.controllers.len());
                    format!(
                        "[[unit]]\nname = \"{name}\"\nmodel = \"{model}\"\n\
                         machine = \"{machine}\""
                    )
                }
                (false, Some(id)) => format!("[[machine]]\nid = \"{id}\"\nmodel = \"{model}\""),
                (false, None) => format!("[[user]]\nname = \"{name}\""),
            };
            add(format!("\n{who}\npassword-hash = \"{hash}\"\n"));
        }
        Ok(text)
    }

    /// Units enough for a herd.
    fn signed(&self, model: &str) -> Result<String, Failure> {
        let SignedUnits { prefix, applications, units, private_key } = &self.signed_units;
        let key = Signer::parse(private_key).map_err(Failure::wrong)?.public_key();
        Ok(format!(
            "\n[[signed-units]]\nmodel = \"{model}\"\nprefix = \"{prefix}\"\n\
             applications = {applications}\nunits = {units}\npublic-key = \"{key}\"\n"
        ))
    }
}

impl Settings {
    fn balance(&self) -> String {
        let plain = |duration: &Duration| humantime::format_duration(*duration).to_string();
        let keys = [
            ("policy", self.balance.clone()),
            ("moves-rate", self.moves_rate.as_ref().map(plain)),
            ("move-again-after", self.move_again_after.as_ref().map(plain)),
        ];
        let said = keys.iter().filter_map(|(key, value)| Some((key, value.as_ref()?)));
        let lines: String = said.map(|(key, value)| format!("{key} = \"{value}\"\n")).collect();
        match lines.is_empty() {
            true => lines,
            false => format!("\n[balance]\n{lines}"),
        }
    }
}

/// The id of the machine that a unit runs on: one unit after the other, a machine after the other.
fn machine_of(unit: &str, machines: usize) -> usize {
    let at = UNITS.iter().position(|known| *known == unit).unwrap_or_default();
    at % machines + 1
}

struct Names {
    controller: String,
    model: String,
}

/// The configurations of the last start; refuses a cluster of another size.
fn earlier(folder: &Folder, count: u64) -> Result<Vec<Config>, Failure> {
    let mut earlier = Vec::new();
    for id in (1..).take_while(|id| folder.controller(*id).exists()) {
        let file = folder.controller(id).join("controller.toml");
        if file.exists() {
            earlier.push(Config::load(&file).map_err(Failure::wrong)?);
        }
    }
    let size = earlier.first().map_or(count, |config| config.peers.len() as u64);
    match size == count {
        true => Ok(earlier),
        false => Err(Failure::wrong(format!(
            "{} holds a cluster of {size} controllers, not {count}; use --controllers {size}, or \
             another folder with --dir",
            folder.path().display()
        ))),
    }
}

fn authority(folder: &Folder) -> Result<Authority, Failure> {
    let (certificate, key) = folder.authority();
    if certificate.exists() {
        return Authority::load(&certificate, &key).map_err(Failure::wrong);
    }
    // P-256, since every client knows it.
    let made = Authority::make(KeyKind::P256, Validity::ten_years(today()));
    made.and_then(|authority| authority.save(&certificate, &key).map(|()| authority))
        .map_err(Failure::wrong)
}

fn controller(
    folder: &Folder,
    authority: &Authority,
    id: u64,
    last: Option<&Config>,
) -> Result<Controller, Failure> {
    let home = folder.controller(id);
    folder::make(&home)?;
    let (certificate, key) = (home.join("cert.pem"), home.join("key.pem"));
    if !certificate.exists() {
        authority
            .issue(NodeId(id), &[], Validity::ten_years(today()))
            .and_then(|issued| issued.save(&certificate, &key))
            .map_err(Failure::wrong)?;
    }
    let api = hold(last.map_or(0, |last| last.api_port))?;
    let peers = hold(last.map_or(0, |last| last.controller_api_port))?;
    Ok(Controller {
        id,
        config: home.join("controller.toml"),
        log: home.join("log"),
        api: api.local_addr().map_err(Failure::wrong)?,
        peers: peers.local_addr().map_err(Failure::wrong)?,
        _held: [api, peers],
    })
}

/// Holds the port, or another if somebody else has it.
fn hold(port: u16) -> Result<TcpSocket, Failure> {
    let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    reserve(at(port)).or_else(|_| reserve(at(0))).map_err(|error| {
        Failure::wrong(format!("the kernel has no port on {}: {error}", Ipv4Addr::LOCALHOST))
    })
}

/// The accounts of the last start, or else everybody with a password of their own, and the units
/// without.
fn accounts(folder: &Folder, count: u64) -> Result<(Vec<Account>, SignedUnits), Failure> {
    let drawn = || SignedUnits {
        prefix: AGENTS.to_owned(),
        applications: AGENT_APPLICATIONS,
        units: AGENT_UNITS,
        private_key: random::<32>().iter().map(|byte| format!("{byte:02x}")).collect(),
    };
    let file = folder.client_file();
    if file.exists() {
        let client: ClientFile = config::read(&file).map_err(Failure::wrong)?;
        return Ok((client.accounts, client.signed_units.unwrap_or_else(drawn)));
    }
    let machines = (1..=count).map(|id| format!("machine-{id}"));
    let names = ["admin"].into_iter().chain(UNITS).map(str::to_owned).chain(machines);
    let with_password = |name| Account { name, password: Some(password()), password_file: None };
    Ok((names.map(with_password).collect(), drawn()))
}
