//! Whether a configuration that is well formed also makes sense. All faults are found at once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::time::Duration;

use portcullis_core::dialer;

use super::fault::Meaning;
use super::signed;
use super::{
    CONTROLLER_CONNECTIONS_LEAST, Config, ControllerDoor, ITEMS_MOST, MESSAGE_MAX_LEAST,
    MESSAGE_MAX_MOST, Mode, OPERATION_BYTES_MAX, PEERS_MAX, PER_CONNECTION_MOST,
    RATELIMIT_RATE_MAX, SNAPSHOT_BYTES_LEAST,
};
use crate::credentials::{Hashed, Identity};
use crate::tokio_env::LOCAL_PATH_MAX;

/// All that makes no sense.
pub(super) fn faults(config: &Config) -> Vec<Meaning> {
    let mut faults = Faults(Vec::new());
    doors(config, &mut faults);
    peers(config, &mut faults);
    limits(config, &mut faults);
    balance(config, &mut faults);
    config.members.check(&mut faults);
    raft(config, &mut faults);
    models(config, &mut faults);
    credentials(config, &mut faults);
    signed::check(config, &mut faults);
    faults.0
}

/// What was found so far.
pub(super) struct Faults(pub(super) Vec<Meaning>);

impl Faults {
    pub(super) fn add(&mut self, path: impl Into<String>, says: impl Into<String>) {
        self.0.push(Meaning { path: path.into(), says: says.into() });
    }

    /// Notes what is wrong with a key, unless it holds.
    pub(super) fn check(&mut self, holds: bool, path: &str, says: impl Into<String>) {
        if !holds {
            self.add(path, says);
        }
    }

    /// Refuses the second of any two that are the same.
    pub(super) fn unique<T: Ord + Display>(
        &mut self,
        items: impl IntoIterator<Item = (String, T)>,
    ) {
        let mut seen = BTreeMap::new();
        for (path, item) in items {
            let said = format!("{item} is given more than once");
            if seen.insert(item, ()).is_some() {
                self.add(path, said);
            }
        }
    }
}

fn doors(config: &Config, faults: &mut Faults) {
    controller_door(config, faults);
    bind_address_file(config, faults);
    faults.check(
        config.controller_api_port == 0 || config.controller_api_port != config.api_port,
        "controller-api-port",
        format!("is {}, as api-port is; the two doors need a port each", config.api_port),
    );
    let taken = [config.api_port, config.controller_api_port];
    let shown = config.metrics_address.map(|address| address.port()).filter(|port| *port != 0);
    faults.check(
        shown.is_none_or(|port| !taken.contains(&port)),
        "metrics-address",
        "has the port of a door; it needs one of its own",
    );
    faults.check(
        config.proxy_protocol.is_empty() || !config.mode().peers_at_api_door(),
        "proxy-protocol",
        "needs a controller-api-port for peers: else they come in at api-port, without a header",
    );
    let rate = config.agent_ratelimit_rate;
    faults.check(
        rate.is_none_or(|rate| !rate.is_zero() && rate <= RATELIMIT_RATE_MAX),
        "agent-ratelimit-rate",
        "must be above zero and at most 1min",
    );
}

/// Refuses a file that says where to be bound, where nothing could be bound there.
fn bind_address_file(config: &Config, faults: &mut Faults) {
    let for_peers = matches!(config.mode(), Mode::TwoDoors | Mode::TwoDoorsControllersFirst);
    let says = "needs a controller-api-port for peers: that is what is bound there";
    faults.check(config.bind_address_file.is_none() || for_peers, "bind-address-file", says);
    let everywhere = config.bind_address_file.is_none() || config.bind_address.is_unspecified();
    let says = "must be \"0.0.0.0\" or \"::\" beside a bind-address-file: agents find api-port at \
                whatever address that says";
    faults.check(everywhere, "bind-address", says);
}

/// Refuses what contradicts itself about how controllers come in.
fn controller_door(config: &Config, faults: &mut Faults) {
    let port = config.controller_api_port != 0;
    if let Some(socket) = &config.controller_socket {
        faults.check(
            !port,
            "controller-socket",
            format!(
                "is there beside controller-api-port {}; a controller reaches itself by one of them",
                config.controller_api_port
            ),
        );
        faults.check(
            config.controller_door != Some(ControllerDoor::Peers),
            "controller-door",
            "is \"peers\", but no other controller can dial a controller-socket; leave it out",
        );
        let length = socket.as_os_str().len();
        faults.check(
            length <= LOCAL_PATH_MAX,
            "controller-socket",
            format!(
                "{} has {length} bytes, and the kernel takes {LOCAL_PATH_MAX}; give a shorter path \
                 from the root, such as \"/run/portcullis/controller.sock\"",
                socket.display()
            ),
        );
    }
    let own = config.controller_door == Some(ControllerDoor::Itself);
    faults.check(
        !own || port || config.controller_socket.is_some(),
        "controller-door",
        "is \"self\", but there is neither a controller-api-port nor a controller-socket",
    );
    faults.check(
        !(own || config.controller_socket.is_some()) || config.controllers_first != Some(false),
        "controllers-first",
        "is false, but the controller door is for this controller alone: without it the others \
         would have to come in with the agents",
    );
}

fn peers(config: &Config, faults: &mut Faults) {
    let peers = &config.peers;
    faults.check(
        peers.len() <= PEERS_MAX,
        "peer",
        format!("there are {}, and {PEERS_MAX} controllers are the most", peers.len()),
    );
    faults.check(
        peers.iter().any(|peer| peer.id == config.controller_id),
        "controller-id",
        format!("no [[peer]] has the id {}; this controller is one too", config.controller_id),
    );
    let path = |at: usize, key: &str| format!("peer.{at}.{key}");
    faults.unique(peers.iter().enumerate().map(|(at, peer)| (path(at, "id"), peer.id)));
    faults.unique(
        peers
            .iter()
            .enumerate()
            .map(|(at, peer)| (path(at, "controller-address"), &peer.controller_address)),
    );
    for (at, peer) in peers.iter().enumerate() {
        faults.check(
            !peer.api_addresses.is_empty(),
            &path(at, "api-addresses"),
            "agents must be told at least one address",
        );
        address(&peer.controller_address, path(at, "controller-address"), faults);
        for (nth, given) in peer.api_addresses.iter().enumerate() {
            address(&given.address, path(at, &format!("api-addresses.{nth}")), faults);
        }
    }
}

/// Refuses what is not `host:port`.
pub(super) fn address(text: &str, path: String, faults: &mut Faults) {
    let well_formed = text.rsplit_once(':').is_some_and(|(host, port)| {
        let bracketed = host.starts_with('[') && host.ends_with(']');
        let host = !host.is_empty() && (bracketed || !host.contains([':', ' ']));
        host && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    faults.check(
        well_formed,
        &path,
        format!("{text:?} is not host:port, such as \"10.0.0.1:17070\" or \"[fd00::1]:17070\""),
    );
}

fn limits(config: &Config, faults: &mut Faults) {
    let limits = &config.limits;
    let per_connection = PER_CONNECTION_MOST;
    let bounded = [
        ("message-max", limits.message_max, MESSAGE_MAX_LEAST, MESSAGE_MAX_MOST),
        (
            "controller-connections-max",
            limits.controller_connections_max,
            CONTROLLER_CONNECTIONS_LEAST,
            usize::MAX,
        ),
        ("requests-per-connection-max", limits.requests_per_connection_max, 1, per_connection),
        ("items-per-call-max", limits.items_per_call_max, 1, ITEMS_MOST),
        ("watchers-per-connection-max", limits.watchers_per_connection_max, 1, per_connection),
        ("answers-waiting-max", limits.answers_waiting_max, 1, per_connection),
    ];
    for (key, number, least, most) in bounded {
        let says = match most {
            usize::MAX => format!("must be at least {least}"),
            most => format!("must be {least} to {most}"),
        };
        faults.check((least..=most).contains(&number), &format!("limits.{key}"), says);
    }
    faults.check(
        limits.patience <= limits.patience_max,
        "limits.patience",
        "must not be above patience-max",
    );
    let numbers = [
        ("connections-max", limits.connections_max),
        ("logins-min", limits.logins_min),
        ("logins-max", limits.logins_max),
        ("held-max", limits.held_max),
        ("asks-per-connection-max", limits.asks_per_connection_max),
        ("waiting-max", limits.waiting_max),
        ("batch-max", limits.batch_max),
        ("flights-max", limits.flights_max),
        ("forwards-max", limits.forwards_max),
        ("waits-max", limits.waits_max),
        ("wakes-max", limits.wakes_max),
    ];
    for (key, number) in numbers {
        faults.check(number > 0, &format!("limits.{key}"), "must be above zero");
    }
    let bytes = [
        ("waiting-bytes-max", limits.waiting_bytes_max),
        ("batch-bytes-max", limits.batch_bytes_max),
    ];
    for (key, bytes) in bytes {
        let says = format!("must be at least {OPERATION_BYTES_MAX}, which one operation may take");
        faults.check(bytes >= OPERATION_BYTES_MAX, &format!("limits.{key}"), says);
    }
    let durations = [
        ("login-within", limits.login_within),
        ("held-within", limits.held_within),
        ("lost-max", limits.lost_max),
        ("drain-max", limits.drain_max),
        ("silent-max", limits.silent_max),
        ("patience", limits.patience),
        ("patience-max", limits.patience_max),
        ("leaderless-max", limits.leaderless_max),
        ("wake-gap", limits.wake_gap),
    ];
    for (key, duration) in durations {
        faults.check(!duration.is_zero(), &format!("limits.{key}"), "must be above zero");
    }
}

fn balance(config: &Config, faults: &mut Faults) {
    let balance = &config.balance;
    faults.check(balance.surplus > 0, "balance.surplus", "must be above zero");
    faults.check(!balance.moves_rate.is_zero(), "balance.moves-rate", "must be above zero");
    let steady = dialer::Config::default().steady_after;
    let says = format!(
        "must be above {}, when an agent counts as settled and may follow redirects again",
        humantime::format_duration(steady),
    );
    let settled = balance.move_again_after > steady;
    faults.check(settled, "balance.move-again-after", says.as_str());
    let says = "must be above 1, or nobody would ever come in";
    faults.check(balance.refuse_one_in > 1, "balance.refuse-one-in", says);
}

fn raft(config: &Config, faults: &mut Faults) {
    let raft = &config.raft;
    // openraft counts in whole milliseconds.
    let least = Duration::from_millis(1);
    faults.check(raft.heartbeat >= least, "raft.heartbeat", "must be at least 1ms");
    faults.check(raft.clock_interval >= least, "raft.clock-interval", "must be at least 1ms");
    let says = format!(
        "must be heartbeat ({}) < election-min ({}) < election-max ({})",
        humantime::format_duration(raft.heartbeat),
        humantime::format_duration(raft.election_min),
        humantime::format_duration(raft.election_max),
    );
    faults.check(raft.heartbeat < raft.election_min, "raft.election-min", says.as_str());
    faults.check(raft.election_min < raft.election_max, "raft.election-max", says.as_str());
    faults.check(raft.snapshot_every > 0, "raft.snapshot-every", "must be at least 1");
    let says = format!("must be at least {SNAPSHOT_BYTES_LEAST}");
    let enough = raft.snapshot_bytes >= SNAPSHOT_BYTES_LEAST;
    faults.check(enough, "raft.snapshot-bytes", says.as_str());
}

fn models(config: &Config, faults: &mut Faults) {
    uuid(&config.controller_uuid, "controller-uuid", faults);
    let path = |at: usize, key: &str| format!("model.{at}.{key}");
    for (at, model) in config.models.iter().enumerate() {
        uuid(&model.uuid, &path(at, "uuid"), faults);
        faults.check(!model.name.is_empty(), &path(at, "name"), "must not be empty");
    }
    let models = || config.models.iter().enumerate();
    let gone = |at: usize, key: &str| format!("moved-model.{at}.{key}");
    let moved = config.moved.iter().enumerate();
    let moved = moved.map(|(at, moved)| (gone(at, "uuid"), &moved.uuid));
    faults.unique(models().map(|(at, model)| (path(at, "uuid"), &model.uuid)).chain(moved));
    for (at, moved) in config.moved.iter().enumerate() {
        uuid(&moved.uuid, &gone(at, "uuid"), faults);
        if let Some(controller) = &moved.controller_uuid {
            uuid(controller, &gone(at, "controller-uuid"), faults);
        }
        let says = "users must be told at least one address";
        faults.check(!moved.api_addresses.is_empty(), &gone(at, "api-addresses"), says);
        for (nth, given) in moved.api_addresses.iter().enumerate() {
            address(given, gone(at, &format!("api-addresses.{nth}")), faults);
        }
    }
    faults.unique(models().map(|(at, model)| (path(at, "name"), &model.name)));
}

fn uuid(text: &str, path: &str, faults: &mut Faults) {
    let groups: Vec<usize> = text.split('-').map(str::len).collect();
    let hex = |c: char| matches!(c, '0'..='9' | 'a'..='f' | '-');
    faults.check(
        groups == [8, 4, 4, 4, 12] && text.chars().all(hex),
        path,
        format!("{text:?} is not a UUID in lower case, 8-4-4-4-12 digits"),
    );
}

fn credentials(config: &Config, faults: &mut Faults) {
    let logins = config.logins();
    for (path, _, tag, hash) in &logins {
        let says = "cannot name a user, a unit (such as mysql/0) or a machine (such as 0)";
        faults.check(Identity::from_tag(tag).is_some(), path, says);
        if let Err(malformed) = Hashed::parse(hash) {
            let (place, _) = path.rsplit_once('.').expect("a key stands in its table");
            let says = format!("{malformed}; `portcullis hash-password` makes one");
            faults.add(format!("{place}.password-hash"), says);
        }
    }
    // A tag names one login of a model.
    let tagged = logins.iter().filter(|(_, _, tag, _)| !tag.is_empty());
    let models: BTreeSet<_> = logins.iter().map(|(_, model, _, _)| model).collect();
    for model in models {
        let here = tagged.clone().filter(|(_, at, _, _)| at == model);
        faults.unique(here.map(|(path, _, tag, _)| (path.clone(), tag)));
    }
    for (at, unit) in config.units.iter().enumerate() {
        known_model(config, &unit.model, &format!("unit.{at}.model"), faults);
        let mut here = config.machines.iter().filter(|machine| machine.model == unit.model);
        if let Some(machine) = &unit.machine
            && here.all(|one| one.id != *machine)
        {
            let says = format!("no [[machine]] of its model has the id {machine:?}");
            faults.add(format!("unit.{at}.machine"), says);
        }
    }
    for (at, machine) in config.machines.iter().enumerate() {
        known_model(config, &machine.model, &format!("machine.{at}.model"), faults);
    }
}

pub(super) fn known_model(config: &Config, uuid: &str, path: &str, faults: &mut Faults) {
    let known = config.models.iter().any(|model| model.uuid == uuid);
    faults.check(known, path, format!("no [[model]] has the uuid {uuid:?}"));
}
