//! What a scenario sets and a plan carries: the cluster, its agents, the network and the policy.
//!
//! The same types are read from a scenario's tables and from a plan's header, so a plan lacks
//! nothing. Keys that Juju has are named as Juju names them.

mod bytes;
mod front;
mod names;
mod span;

use std::fmt;
use std::time::Duration;

use portcullis_core::admission::Accept;
use portcullis_core::{admission, balancer, pace};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use bytes::Bytes;
pub use front::Front;
pub use names::{CheckName, SometimesName};
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

/// The agents, each a unit of an application and a contender for its leadership.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Agents {
    /// How many there are.
    pub count: u32,
    /// How many applications there are: agent `i` is unit `i / leases` of application
    /// `i % leases`, so `count / leases` units contend for each.
    pub leases: u32,
    /// How long a claim is for.
    #[serde(with = "Span")]
    pub claim: Duration,
    /// How often a leader extends.
    #[serde(with = "Span")]
    pub renew: Duration,
    /// The law of their waits. `policy.backoff = false` has agents without any.
    pub backoff: Backoff,
    /// They arrive spread over this time.
    #[serde(with = "Span")]
    pub arrive: Duration,
    /// Where they look for a controller first.
    pub home: Home,
    /// Direct: percent of them that are slow to log in.
    pub slow: u64,
    /// Direct: how long these take from being connected to logging in.
    #[serde(with = "Span")]
    pub slow_login: Duration,
    /// Direct: percent of them that connect, and until the faults are over neither log in nor leave,
    /// as a host does that hangs.
    pub mute: u64,
    /// The usual scale on direct, where `count` is a large one that is run with `--full`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direct: Option<Scale>,
    /// The scale under turmoil, whose cost is that of the real shell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turmoil: Option<Scale>,
    /// The scale under madsim, which runs the same shell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub madsim: Option<Scale>,
}

impl Default for Agents {
    /// Juju's lease times.
    fn default() -> Agents {
        Agents {
            count: 30,
            leases: 10,
            claim: Duration::from_secs(60),
            renew: Duration::from_secs(30),
            backoff: Backoff::default(),
            arrive: Duration::from_secs(1),
            home: Home::Any,
            slow: 0,
            slow_login: Duration::from_secs(8),
            mute: 0,
            direct: None,
            turmoil: None,
            madsim: None,
        }
    }
}

/// Where agents look for a controller first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Home {
    /// Anywhere, drawn for each round of dials, as Juju's agents do.
    Any,
    /// The first unit of an application at the first controller, the second at the second, as the
    /// load test of seed 002 does; afterwards where they were served last.
    ByUnit,
}

/// Another size for another engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Scale {
    /// How many agents.
    pub count: u32,
    /// How many applications.
    pub leases: u32,
}

/// How long agents wait from one attempt to the next (core's `backoff`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Backoff {
    /// Upper bound of the first wait; each wait is drawn between nothing and its bound.
    #[serde(with = "Span")]
    pub first: Duration,
    /// Upper bound of all waits.
    #[serde(with = "Span")]
    pub most: Duration,
    /// Each bound is this many percent of the one before, so 200 doubles it.
    pub growth: u32,
}

impl Default for Backoff {
    fn default() -> Backoff {
        let portcullis_core::backoff::Config { first, most, growth } = Default::default();
        Backoff { first, most, growth }
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

/// Knobs that switch one of the documents' failed designs on, for `negative/` alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Policy {
    /// Whether agents wait longer each time that they fail (seed 000: "no backoff on accept
    /// failures"). Without it they come back within a millisecond.
    pub backoff: bool,
    /// Whether asks are refused once `waiting-max` wait (seed 002: "we can't shed the load").
    pub bounded_queue: bool,
    /// Whether agents try the controllers in a random order (seed 001: "the clients will target a
    /// single controller").
    pub shuffle: bool,
    /// Whether a controller lets nobody in beyond `connections-max`, or while memory is short (seed
    /// 001: "no hard limit on the number of client connections").
    pub ceiling: bool,
    /// Direct, with one door: what becomes of those who come before a controller is stable.
    pub strangers: Strangers,
    /// Whether an entry carries what waits (Juju's `batch-raft-fsm` did not fit the interface that
    /// it was to fill). Without it each carries one command.
    pub batches: bool,
    /// Direct: whether `raft-api-leases` means this project's machines. Without it, Juju's own way
    /// through the facades runs, with such of its mistakes as the knobs below leave in.
    pub our_transport: bool,
    /// The old way's: whether the op queue knows an extension, which may wait longer, by its kind
    /// (Juju looks at the lease's name).
    pub extend_deadline: bool,
    /// The old way's: whether "denied" is told only to who is (Juju tells it to whoever was dropped
    /// or took too long, though the claim may be done).
    pub definite_denials: bool,
    /// The old way's: whether retries wait from the end of an attempt and stay within a share of
    /// first tries (Juju's wait from its start, so after 5 s not at all).
    pub retry_budget: bool,
    /// Direct: whether who is responsible counts its lease from the asking (seed 003: "only sets the
    /// flag if it is the current lease holder"). Without it, from the answer.
    pub counts_from_asking: bool,
    /// Direct: whether a cluster grows smaller by its majority alone (seed 003: "reconfigures the
    /// cluster with the local node as the only member"). Without it, whoever sees no other
    /// controller does so by itself.
    pub majorities: bool,
    /// Whether what single workers work upon refuses an older fence than it has seen.
    pub fenced: bool,
    /// Direct, with a table `addresses`: whether nobody is ever told, and nobody writes, that
    /// controllers are nowhere. Without it a controller is told of by its addresses in
    /// `juju-mgmt-space` alone, and agents write what they are told (LP 1888453).
    pub keeps_lists: bool,
}

/// What the one door does with those who come before a controller is connected to itself and knows a
/// leader: seed 000 tried it all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Strangers {
    /// They wait in the backlog for a permit, as everybody does.
    Wait,
    /// Accept returns an error for each that is no controller ("First attempt with that was to close
    /// the connection and return an error instead"), and the server backs off.
    Error,
    /// Each that is no controller is accepted and closed ("Second attempt was to return the
    /// connection but close it first").
    Close,
    /// All are turned away but the controller itself ("an Accept that rejects everything that isn't
    /// local until we get a local connection").
    Reject,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            backoff: true,
            bounded_queue: true,
            shuffle: true,
            ceiling: true,
            strangers: Strangers::Wait,
            batches: true,
            our_transport: true,
            extend_deadline: true,
            definite_denials: true,
            retry_budget: true,
            counts_from_asking: true,
            majorities: true,
            fenced: true,
            keeps_lists: true,
        }
    }
}

impl Policy {
    /// Whether leases go the old way.
    pub fn old_way(&self, controllers: &Controllers) -> bool {
        !controllers.features.contains(&Feature::RaftApiLeases) || !self.our_transport
    }

    /// Whether an engine knows the way that leases go, and the knobs turn anything there.
    pub fn fits(&self, controllers: &Controllers, engine: Engine) -> Result<(), &'static str> {
        let mended = self.extend_deadline && self.definite_denials && self.retry_budget;
        let waits = self.strangers == Strangers::Wait;
        let one_door = !controllers.has_controller_door() && !controllers.holds();
        if !waits && (!one_door || engine != Engine::Direct) {
            return Err("`strangers` need the one door of `direct`");
        }
        if !(self.counts_from_asking && self.majorities) && engine != Engine::Direct {
            return Err("`counts-from-asking` and `majorities` are knobs of `direct`");
        }
        match (self.old_way(controllers), engine) {
            (true, Engine::Turmoil | Engine::Madsim) => {
                Err("`direct` alone knows the old way for leases")
            }
            (false, _) if !mended => Err("this knob needs `our-transport = false`"),
            (true, Engine::Direct) | (false, _) => Ok(()),
        }
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
