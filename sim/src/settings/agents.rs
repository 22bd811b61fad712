//! The agents: how many, how they hold leases, and where they look for a controller.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Span;

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
