//! The file of `portcullis run --config FILE`: one controller, in TOML.
//!
//! Keys that Juju has keep Juju's names, defaults and bounds, so that an operator reads a familiar
//! file. Whatever is wrong is said before anything is bound or opened, with file, line, column, key
//! and caret; see [`ConfigError`].

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use portcullis_core::admission::{self, Accept};
use portcullis_core::forward::{self, budget};
use portcullis_core::{NodeId, bind, controller, listener, pace, queue, sessions, waits};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::node::Net;

mod api_address;
mod balance;
mod check;
mod doors;
mod duration;
mod fault;
pub mod front;
mod limits;
mod members;
mod models;
mod node;
mod presence;
mod raft;
mod reload;
mod shared;
mod signed;

pub use api_address::ApiAddress;
pub use balance::Balance;
pub use doors::{ControllerDoor, Mode};
pub use fault::{ConfigError, Fault};
pub use limits::{
    CONTROLLER_CONNECTIONS_LEAST, ITEMS_MOST, Limits, MESSAGE_MAX_LEAST, MESSAGE_MAX_MOST,
    OPERATION_BYTES_MAX, PER_CONNECTION_MOST,
};
pub use members::Members;
pub use models::{Machine, Model, MovedModel, Unit, User};
pub use raft::{Raft, SNAPSHOT_BYTES_LEAST};
pub use shared::shared;
pub use signed::{APPLICATIONS_MAX, SignedUnits, UNITS_MAX};

/// Most controllers of one cluster: Juju's bound too.
pub const PEERS_MAX: usize = 7;
/// Longest `agent-ratelimit-rate`: Juju's bound too.
pub const RATELIMIT_RATE_MAX: Duration = Duration::from_secs(60);
/// Every key with its default and meaning, as a file.
pub const EXAMPLE: &str = include_str!("example.toml");

/// One controller: who it is, where it listens, whom it trusts and what it bounds.
///
/// At SIGHUP a running controller reads its file again and goes on with some of the keys, which say
/// so here as *live*; see [`Config::restart_keys`] for the others.
///
/// Paths are relative to the folder of the file. Durations are a number and a unit, such as
/// `"250ms"`, `"2s"` or `"1min 30s"`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// Which of the peers this controller is. Never used again for another.
    pub controller_id: u64,
    /// UUID of the whole cluster, the same in every controller's file; agents see it as the
    /// controller tag.
    pub controller_uuid: String,
    /// Whether this controller has joined a cluster by a token: then it founds none, whatever its
    /// data folder holds. `portcullis join` writes it; default `false`.
    #[serde(default)]
    pub joined: bool,
    /// Folder of the raft log, made on first start. Only this controller may use it.
    pub data_dir: PathBuf,
    /// Address that both doors are bound to. Default `0.0.0.0`, which is all of IPv4, as in Juju.
    #[serde(default = "default::bind_address")]
    pub bind_address: IpAddr,
    /// File that says at which address `controller-api-port` is to be bound, written and rewritten by
    /// somebody else: YAML as Juju's controller charm writes it, or TOML if its name ends in `.toml`;
    /// looked at once a second. Until it has one address for this controller that door is not bound,
    /// and nobody is let in; another one is moved to while everything runs, and where
    /// `api-addresses` have the host of `controller-address`, they follow. None by default. Only
    /// with a controller door for peers, and a `bind-address` that is every address.
    #[serde(default)]
    pub bind_address_file: Option<PathBuf>,
    /// Port of the API door, for agents and users: 0 to 65535, default 17070 (Juju). With 0 the
    /// kernel chooses, and `run --print-ports` says which.
    #[serde(default = "default::api_port")]
    pub api_port: u16,
    /// Port of the controller door: 0 to 65535, not `api-port` (Juju). With 0, the default, there
    /// is none, and controllers come in where everybody does (seed 000). Live.
    #[serde(default)]
    pub controller_api_port: u16,
    /// The space that agents are to reach controllers by, none by default (Juju). A controller
    /// without an address in it is told of with all that it has. Live, as in Juju.
    #[serde(default)]
    pub juju_mgmt_space: Option<String>,
    /// Who dials `controller-api-port`: `"peers"`, the default, is every controller; `"self"` is
    /// this one alone, for sites that cannot open a port in their firewall (seed 000). Then the
    /// others use the API door, and `controllers-first` goes without saying. Live.
    #[serde(default)]
    pub controller_door: Option<ControllerDoor>,
    /// A Unix socket instead of `controller-api-port`, for this controller alone: relative to
    /// `data-dir`, at most [`LOCAL_PATH_MAX`](crate::tokio_env::LOCAL_PATH_MAX) bytes with the
    /// folder, mode 0600. Live.
    #[serde(default)]
    pub controller_socket: Option<PathBuf>,
    /// Whether the API door lets controllers in at once and holds everybody else until this
    /// controller is stable; default `false`, unless the controller door is for this one alone.
    /// Live.
    #[serde(default)]
    pub controllers_first: Option<bool>,
    /// File that says as JSON which ports are bound, for whoever chose port 0 (seed 000): replaced
    /// whole at every change, removed on a clean stop. None by default.
    #[serde(default)]
    pub ports_file: Option<PathBuf>,
    /// Wait between stable and letting agents in, default `"2s"` (Juju). Not with one door that is
    /// open at once. Live, as in Juju.
    #[serde(default = "default::api_port_open_delay", with = "duration")]
    pub api_port_open_delay: Duration,
    /// `ip:port` where anybody who reaches it is shown `/metrics` and `/health` by plain HTTP; not
    /// there by default. Port 0 lets the kernel choose.
    #[serde(default)]
    pub metrics_address: Option<SocketAddr>,
    /// Addresses and nets, such as `"10.0.0.7"` or `"10.0.0.0/8"`, of fronts that begin each
    /// connection to the API door with a PROXY header, version 2: there it must be, and it is
    /// believed. None by default. Only with a controller door, for controllers send no header.
    #[serde(default)]
    pub proxy_protocol: Vec<Net>,
    /// What decides how fast the API door lets in. `adaptive`, the default: how long logins are
    /// measured to take, so that a herd comes in as fast as it can be served; 180,000 agents would
    /// take Juju's bucket half a day. `paced`: the bucket.
    #[serde(default)]
    pub accept: Accept,
    /// How many agents the API door lets in at once: 0 or more. With 0 it is not paced. Without it
    /// and `agent-ratelimit-rate`, an adaptive door is not paced either, and a paced one has Juju's
    /// 10. Live, as in Juju; unlike there, a change refills no bucket.
    #[serde(default)]
    pub agent_ratelimit_max: Option<u32>,
    /// Time until it may let in one more: above zero, at most `"1min"`, and `"250ms"` (Juju) where
    /// there is a pace but not this key. Live, as in Juju.
    #[serde(default, with = "duration::optional")]
    pub agent_ratelimit_rate: Option<Duration>,
    /// Certificates.
    pub tls: Tls,
    /// Every controller of the cluster, this one among them: 1 to [`PEERS_MAX`].
    #[serde(rename = "peer")]
    pub peers: Vec<Peer>,
    /// What bounds this controller's memory and patience.
    #[serde(default)]
    pub limits: Limits,
    /// How controllers even each other out (seed 001).
    #[serde(default)]
    pub balance: Balance,
    /// Who of the cluster's members has which role (seed 003).
    #[serde(default)]
    pub members: Members,
    /// The pace of raft.
    #[serde(default)]
    pub raft: Raft,
    /// Models that leases belong to and agents may log in to. Live.
    #[serde(default, rename = "model")]
    pub models: Vec<Model>,
    /// Models that are not here any more, and where users find them. Live.
    #[serde(default, rename = "moved-model")]
    pub moved: Vec<MovedModel>,
    /// People, who may do everything.
    #[serde(default, rename = "user")]
    pub users: Vec<User>,
    /// Unit agents, each of which may claim the leadership of its own application.
    #[serde(default, rename = "unit")]
    pub units: Vec<Unit>,
    /// Unit agents of many applications, without an account each.
    #[serde(default, rename = "signed-units")]
    pub signed: Vec<SignedUnits>,
    /// Machine agents.
    #[serde(default, rename = "machine")]
    pub machines: Vec<Machine>,
    /// The file that this was read from.
    #[serde(skip)]
    pub file: PathBuf,
}

/// PEM files, read at start.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Tls {
    /// Certificate of the authority that every controller's certificate comes from.
    pub ca: PathBuf,
    /// Certificate of this controller, for `juju-apiserver` and for its own name.
    pub cert: PathBuf,
    /// Private key of that certificate.
    pub key: PathBuf,
    /// Private key of the authority. With it this controller lets others join and hands it on to
    /// them; without it, the default, it refuses, and another has to.
    #[serde(default)]
    pub ca_key: Option<PathBuf>,
}

/// Where one controller is.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Peer {
    /// Its `controller-id`.
    pub id: u64,
    /// `host:port` where the other controllers dial it: its controller door, or its API door if it
    /// has no other for them. Where nobody answers they try its `api-addresses` too. Live.
    pub controller_address: String,
    /// Where agents and users are told that its API door is; at least one. Live: whoever watches
    /// them is told of a change.
    pub api_addresses: Vec<ApiAddress>,
}

impl Config {
    /// Reads and checks a file, and the presence of the files that it names.
    pub fn load(file: &Path) -> Result<Config, ConfigError> {
        Config::load_with(file, |_| ())
    }

    /// The same with what the command line says set before it is checked.
    pub fn load_with(file: &Path, set: impl FnOnce(&mut Config)) -> Result<Config, ConfigError> {
        Config::read(file, set, presence::faults)
    }

    /// Reads and checks a file that may be another host's: what it names need not be here, so that
    /// a question about its settings takes no keys.
    pub fn load_elsewhere(file: &Path) -> Result<Config, ConfigError> {
        Config::read(file, |_| (), |_| Vec::new())
    }

    fn read(
        file: &Path,
        set: impl FnOnce(&mut Config),
        absent: impl FnOnce(&Config) -> Vec<fault::Meaning>,
    ) -> Result<Config, ConfigError> {
        let text = text_of(file)?;
        let wrong = |faults| ConfigError::Wrong { file: file.to_owned(), faults };
        let source = fault::Source::read(&text).map_err(|fault| wrong(vec![fault]))?;
        let mut config: Config = source.decode().map_err(|fault| wrong(vec![fault]))?;
        config.file = file.to_owned();
        let folder = file.parent().unwrap_or(Path::new(""));
        let Tls { ca, cert, key, ca_key } = &mut config.tls;
        for path in [&mut config.data_dir, ca, cert, key].into_iter().chain(ca_key) {
            *path = folder.join(&*path);
        }
        config.controller_socket = config.controller_socket.map(|path| config.data_dir.join(path));
        config.ports_file = config.ports_file.map(|path| folder.join(path));
        config.bind_address_file = config.bind_address_file.map(|path| folder.join(path));
        for path in config.moved.iter_mut().filter_map(|moved| moved.ca.as_mut()) {
            *path = folder.join(&*path);
        }
        set(&mut config);
        let mut faults = check::faults(&config);
        faults.extend(absent(&config));
        match faults.is_empty() {
            true => Ok(config),
            false => Err(wrong(faults.into_iter().map(|fault| source.place(fault)).collect())),
        }
    }

    /// Each login: the place of its name, its model if it belongs to one, its tag, and the hash of
    /// its password.
    fn logins(&self) -> Vec<(String, Option<&str>, String, &str)> {
        let mut logins = Vec::new();
        for (at, User { name, password_hash }) in self.users.iter().enumerate() {
            logins.push((
                format!("user.{at}.name"),
                None,
                format!("user-{name}"),
                &**password_hash,
            ));
        }
        for (at, Unit { name, model, password_hash, .. }) in self.units.iter().enumerate() {
            // Without its slash a name has no tag, and is refused for that.
            let tag = name.split_once('/').map(|(of, number)| format!("unit-{of}-{number}"));
            let tag = tag.unwrap_or_default();
            logins.push((format!("unit.{at}.name"), Some(&**model), tag, password_hash));
        }
        for (at, Machine { id, model, password_hash, .. }) in self.machines.iter().enumerate() {
            let tag = format!("machine-{id}");
            logins.push((format!("machine.{at}.id"), Some(&**model), tag, password_hash));
        }
        logins
    }

    /// The bucket before the API door: what is asked for, or else what the mode has by default.
    pub fn pace(&self) -> pace::Config {
        let (max, rate) = (self.agent_ratelimit_max, self.agent_ratelimit_rate);
        let juju = pace::Config::default();
        let burst = match self.accept {
            Accept::Adaptive if max.is_none() && rate.is_none() => 0,
            Accept::Adaptive | Accept::Paced => max.unwrap_or(juju.burst),
        };
        pace::Config { burst, interval: rate.unwrap_or(juju.interval) }
    }

    /// What the machine that decides is told.
    pub fn controller(&self) -> controller::Config {
        let Limits { login_within, silent_max, patience_max, .. } = self.limits;
        let defaults = controller::Config::new(NodeId(self.controller_id));
        controller::Config {
            admission: admission::Config {
                accept: self.accept,
                logins_min: self.limits.logins_min,
                ..defaults.admission
            },
            listener: listener::Config {
                controller_door: self.doors().controller.is_some(),
                controllers_first: self.mode().controllers_first(),
                lost_max: self.limits.lost_max,
                held_max: self.limits.held_max,
                held_within: self.limits.held_within,
                open_delay: self.api_port_open_delay,
                pace: self.pace(),
                connections_max: self.limits.connections_max,
                logins_max: self.limits.logins_max,
                controller_connections_max: self.limits.controller_connections_max,
                ..defaults.listener
            },
            sessions: sessions::Config { login_within, silent_max },
            queue: queue::Config {
                waiting_max: self.limits.waiting_max,
                waiting_bytes_max: self.limits.waiting_bytes_max,
                batch_max: self.limits.batch_max,
                batch_bytes_max: self.limits.batch_bytes_max,
                renewals_ahead_max: self.limits.renewals_ahead_max,
                flights_max: self.limits.flights_max,
                patience_max,
                ..defaults.queue
            },
            forward: forward::Config {
                asks_max: self.limits.forwards_max,
                patience_max,
                leaderless_max: self.limits.leaderless_max,
                budget: budget::Config {
                    share: self.limits.retries_share,
                    reserve: defaults.forward.budget.reserve.min(self.limits.retries_saved_max),
                    saved_max: self.limits.retries_saved_max,
                },
                ..defaults.forward
            },
            waits: waits::Config {
                waits_max: self.limits.waits_max,
                wakes_max: self.limits.wakes_max,
                wake_gap: self.limits.wake_gap,
                ..defaults.waits
            },
            balancer: self.balance.balancer(),
            bind: self.bind_address_file.as_ref().map(|_| bind::Config::default()),
            asks_per_connection_max: self.limits.asks_per_connection_max,
            drain_max: self.limits.drain_max,
            clock_interval: self.raft.clock_interval,
            ..defaults
        }
    }
}

/// Reads any other TOML file, with errors of the same form.
pub fn read<T: DeserializeOwned>(file: &Path) -> Result<T, ConfigError> {
    decode(&text_of(file)?)
        .map_err(|fault| ConfigError::Wrong { file: file.to_owned(), faults: vec![fault] })
}

/// Decodes a text of any other TOML file.
pub(crate) fn decode<T: DeserializeOwned>(text: &str) -> Result<T, Fault> {
    fault::Source::read(text)?.decode()
}

fn text_of(file: &Path) -> Result<String, ConfigError> {
    fs::read_to_string(file)
        .map_err(|source| ConfigError::Unreadable { file: file.to_owned(), source })
}

/// Defaults of the keys that are not in a table of their own.
mod default {
    use super::*;

    pub fn bind_address() -> IpAddr {
        IpAddr::from([0, 0, 0, 0])
    }

    pub fn api_port() -> u16 {
        17070
    }

    pub fn api_port_open_delay() -> Duration {
        listener::Config::default().open_delay
    }
}

#[cfg(test)]
mod tests;
