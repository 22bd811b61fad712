//! What a scenario sets and a plan carries: the cluster, its agents, the network and the policy.
//!
//! The same types are read from a scenario's tables and from a plan's header, so a plan lacks
//! nothing. Keys that Juju has are named as Juju names them.

mod agents;
mod bytes;
mod front;
mod names;
mod policy;
mod span;

use std::fmt;
use std::time::Duration;

use portcullis_core::admission::Accept;
use portcullis_core::{admission, balancer, pace};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use agents::{Agents, Backoff, Home, Scale};
pub use bytes::Bytes;
pub use front::Front;
pub use names::{CheckName, SometimesName};
pub use policy::{Policy, Strangers};
pub use span::{MaybeSpan, Span, SpanPair};

/// What runs a plan.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    clap::ValueEnum,
    JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Engine {
    /// Core's machines on an event heap: all scales, and the only one with memory to run out of.
    Direct,
    /// The production shell over a simulated network: TLS, websockets, openraft and its store.
    Turmoil,
    /// The same with its tasks in random order, over connections that survive a partition.
    Madsim,
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Engine::Direct => "direct",
            Engine::Turmoil => "turmoil",
            Engine::Madsim => "madsim",
        })
    }
}

/// What Juju's controllers may be told to do otherwise than by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Feature {
    /// Leases travel through the API server's facades (seed 004), and not over pubsub.
    RaftApiLeases,
}

/// The controllers: how many, Juju's keys, limits, and what `direct` says that things cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Controllers {
    /// They are `controller-1` up to this.
    pub count: u64,
    /// Direct: without `raft-api-leases`, leases go the old way; see `engine/direct/rival`.
    pub features: Vec<Feature>,
    /// Zero: there is one door, as Juju has without the key.
    pub controller_api_port: u16,
    /// Whether the API port is bound at once, and holds whoever is no controller until the API door
    /// is open. So it is in any case if the controller door is not for all controllers.
    pub controllers_first: bool,
    /// Who uses the controller door.
    pub controller_door: ControllerDoor,
    /// How long an open API door stays open while the controller is not ready.
    #[serde(with = "Span")]
    pub lost_max: Duration,
    /// Most connections held at a door at once.
    pub held_max: usize,
    /// Longest time from being told to stop to having stopped.
    #[serde(with = "Span")]
    pub drain_max: Duration,
    /// From being stable to opening the API door.
    #[serde(with = "Span")]
    pub api_port_open_delay: Duration,
    /// What decides how fast agents are let in.
    #[schemars(with = "Accepts")]
    pub accept: Accept,
    /// Agents let in at once. Zero switches the pace off; an adaptive door has none but for this
    /// key and the next, a paced one Juju's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_ratelimit_max: Option<u32>,
    /// From one agent let in to the next, once the burst is spent.
    #[serde(skip_serializing_if = "Option::is_none", with = "MaybeSpan")]
    pub agent_ratelimit_rate: Option<Duration>,
    /// Most connections at once.
    pub connections_max: usize,
    /// Least logins at once that an adaptive door lets in.
    pub logins_min: usize,
    /// Most logins at once.
    pub logins_max: usize,
    /// Most asks that wait to be proposed.
    pub waiting_max: usize,
    /// Most commands in one raft entry.
    pub batch_max: usize,
    /// Entries of the log from one snapshot to the next; production's default without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot_every: Option<u64>,
    /// Entries that are kept behind a snapshot; production's default without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_kept: Option<u64>,
    /// Direct: connections that the kernel keeps for a listener before it drops them.
    pub backlog: usize,
    /// Direct: memory at which the process is killed.
    pub memory_limit: Bytes,
    /// Direct: memory of one connection.
    pub memory_per_connection: Bytes,
    /// Direct: time of the processor for one TLS handshake.
    #[serde(with = "Span")]
    pub handshake_cost: Duration,
    /// Direct: from a process's start to its first calls to controllers, while its workers come up.
    #[serde(with = "Span")]
    pub call_after: Duration,
    /// Direct: time of one write that must be durable.
    #[serde(with = "Span")]
    pub sync_time: Duration,
}

impl Default for Controllers {
    /// Juju's values where it has them; limits as production has them; costs as measured (a TLS
    /// handshake of 250 µs, a consumer SSD's sync).
    fn default() -> Controllers {
        Controllers {
            count: 3,
            features: vec![Feature::RaftApiLeases],
            controller_api_port: 0,
            controllers_first: false,
            controller_door: ControllerDoor::Peers,
            lost_max: Duration::from_secs(30),
            held_max: 100_000,
            drain_max: Duration::from_secs(10),
            api_port_open_delay: Duration::from_secs(2),
            accept: Accept::Adaptive,
            agent_ratelimit_max: None,
            agent_ratelimit_rate: None,
            connections_max: 100_000,
            logins_min: admission::Config::default().logins_min,
            logins_max: 1_000,
            waiting_max: 262_144,
            batch_max: 1_024,
            snapshot_every: None,
            log_kept: None,
            backlog: 4_096,
            memory_limit: Bytes(8 << 30),
            memory_per_connection: Bytes(48 << 10),
            handshake_cost: Duration::from_micros(250),
            call_after: Duration::ZERO,
            sync_time: Duration::from_millis(2),
        }
    }
}

/// Who uses the controller door, and what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ControllerDoor {
    /// Every controller: a port, open in the firewall.
    Peers,
    /// This controller alone: a port, for itself.
    #[serde(rename = "self")]
    Itself,
    /// This controller alone: a Unix socket, and no port at all.
    Socket,
}

impl Controllers {
    /// Whether a controller starts with a door for controllers, or for itself.
    pub fn has_controller_door(&self) -> bool {
        self.controller_api_port != 0 || self.controller_door == ControllerDoor::Socket
    }

    /// Whether the API port holds whoever is no controller.
    pub fn holds(&self) -> bool {
        self.controllers_first || self.controller_door != ControllerDoor::Peers
    }

    /// The bucket before the API door.
    pub fn pace(&self) -> pace::Config {
        let (max, rate) = (self.agent_ratelimit_max, self.agent_ratelimit_rate);
        let juju = pace::Config::default();
        let burst = match self.accept {
            Accept::Adaptive if max.is_none() && rate.is_none() => 0,
            Accept::Adaptive | Accept::Paced => max.unwrap_or(juju.burst),
        };
        pace::Config { burst, interval: rate.unwrap_or(juju.interval) }
    }
}

/// The network when nothing is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Network {
    /// Least time of a message one way; each draws between this and the next.
    #[serde(with = "Span")]
    pub latency_least: Duration,
    /// Most time of a message one way.
    #[serde(with = "Span")]
    pub latency_most: Duration,
}

impl Default for Network {
    fn default() -> Network {
        Network { latency_least: Duration::from_millis(1), latency_most: Duration::from_millis(5) }
    }
}

/// What decides how fast the API door lets in (core's `Accept`).
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", remote = "Accept")]
#[expect(dead_code, reason = "names, and docs of them, for the schema alone")]
enum Accepts {
    /// The measured limit on logins in progress. A token bucket holds only if it is asked for.
    Adaptive,
    /// The token bucket, Juju's by default; logins in progress are bounded by `logins-max` alone.
    Paced,
}

/// What is done about a controller that has more agents than the others (core's
/// `balancer::Policy`).
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", remote = "balancer::Policy")]
#[schemars(rename = "BalancePolicy")]
#[expect(dead_code, reason = "names, and docs of them, for the schema alone")]
enum Policies {
    /// Nothing, as in Juju: whoever comes stays.
    None,
    /// One login in `refuse-one-in` is refused, whatever the counts.
    RandomRefusal,
    /// Agents that are too many are disconnected, to find another controller themselves.
    Shed,
    /// Agents that are too many are sent to a named controller that has fewer.
    Redirect,
    /// Agents are told of a controller that has few before the others, for when they dial next.
    Order,
}

/// What is done about a controller that has more agents than the others (core's `balancer`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Balance {
    /// What is done.
    #[schemars(with = "Policies")]
    pub policy: balancer::Policy,
    /// So many agents above the even share are too many, and a tenth of the share is where that is
    /// fewer.
    pub surplus: u64,
    /// `random-refusal`: one login in so many is refused.
    pub refuse_one_in: u64,
    /// Least time from one agent sent away to the next.
    #[serde(with = "Span")]
    pub moves_rate: Duration,
    /// Least time from an agent's login to its being moved.
    #[serde(with = "Span")]
    pub move_again_after: Duration,
}

impl Default for Balance {
    /// As production has them.
    fn default() -> Balance {
        let config = balancer::Config::default();
        let balancer::Config { policy, surplus, refuse_one_in, .. } = config;
        let balancer::Config { moves_rate, move_again_after, .. } = config;
        Balance { policy, surplus, refuse_one_in, moves_rate, move_again_after }
    }
}

/// What the run must show.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Expect {
    /// Checks that must hold after every event; absent, all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub always: Option<Vec<CheckName>>,
    /// Things that must be seen, or the scenario is too tame to show what it is about.
    pub sometimes: Vec<SometimesName>,
    /// Things that must not be seen: what this scenario's faults are too small to bring about.
    pub never: Vec<SometimesName>,
    /// Checks that must hold in the end; absent, all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settles: Option<Vec<CheckName>>,
    /// Checks that must break, in either half: this scenario is a failed design.
    pub breaks: Vec<CheckName>,
}
