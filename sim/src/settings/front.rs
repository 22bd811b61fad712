//! The balancing front that agents dial, if a scenario has one.

use std::time::Duration;

use portcullis_core::{NodeId, front, pace};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Engine, Span};

/// Direct: one front, which stands where the agents are. With this table they know no controller's
/// address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Front {
    /// Most connections at once, those on their way to a controller included.
    pub connections_max: usize,
    /// Most connections of one controller at once.
    pub connections_per_backend_max: usize,
    /// Most of `connections-max` that have not reached a controller yet.
    pub joining_max: usize,
    /// Times that one connection is tried before it is refused.
    pub tries_max: usize,
    /// Longest time that a connection which was let in waits for a controller to turn up.
    #[serde(with = "Span")]
    pub hold: Duration,
    /// From one new connection to the next of a controller that has just turned up; zero for no
    /// limit.
    #[serde(with = "Span")]
    pub fill_rate: Duration,
    /// How long a controller counts as one that has just turned up.
    #[serde(with = "Span")]
    pub fill_for: Duration,
    /// Healthy probes in a row after which a controller that was down is up.
    pub rise: u32,
    /// Failures in a row, of probes or connections, after which a controller is down.
    pub fall: u32,
    /// Time between two probes of a controller.
    #[serde(with = "Span")]
    pub probe_every: Duration,
    /// Longest time that a probe may take.
    #[serde(with = "Span")]
    pub probe_within: Duration,
    /// Longest time that a controller's kernel may take to answer a knock.
    #[serde(with = "Span")]
    pub connect_within: Duration,
    /// For how long connections of a controller that was taken out may go on.
    #[serde(with = "Span")]
    pub drain: Duration,
    /// A controller that its keeper takes out of the front's file for a while.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub without: Option<Without>,
}

/// Which controller is taken out, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Without {
    /// Its number.
    pub controller: u64,
    /// When.
    #[serde(with = "Span")]
    pub at: Duration,
    /// For how long.
    #[serde(rename = "for", with = "Span")]
    pub lasts: Duration,
}

impl Default for Front {
    /// As production has them.
    fn default() -> Front {
        let config = front::Config::default();
        Front {
            connections_max: config.connections_max,
            connections_per_backend_max: config.connections_per_backend_max,
            joining_max: config.joining_max,
            tries_max: config.tries_max,
            hold: config.hold,
            fill_rate: config.fill.interval,
            fill_for: config.fill_for,
            rise: config.rise,
            fall: config.fall,
            probe_every: config.probe_every,
            probe_within: Duration::from_secs(2),
            connect_within: Duration::from_secs(2),
            drain: config.drain,
            without: None,
        }
    }
}

impl Front {
    /// Limits of core's machine.
    pub fn config(&self) -> front::Config {
        let config = front::Config::default();
        let fill = match self.fill_rate.is_zero() {
            true => pace::Config { burst: 0, ..config.fill },
            false => pace::Config { interval: self.fill_rate, ..config.fill },
        };
        front::Config {
            connections_max: self.connections_max,
            connections_per_backend_max: self.connections_per_backend_max,
            joining_max: self.joining_max,
            tries_max: self.tries_max,
            hold: self.hold,
            fill,
            fill_for: self.fill_for,
            rise: self.rise,
            fall: self.fall,
            probe_every: self.probe_every,
            drain: self.drain,
            ..config
        }
    }

    /// Whether an engine has fronts, and this one's figures make one.
    pub fn fits(&self, controllers: u64, engine: Engine) -> Result<(), &'static str> {
        let counts = [
            self.connections_max,
            self.connections_per_backend_max,
            self.joining_max,
            self.tries_max,
            self.rise as usize,
            self.fall as usize,
        ];
        let known = |out: &Without| (1..=controllers).contains(&out.controller);
        match engine {
            Engine::Turmoil | Engine::Madsim => Err("`direct` alone has a front"),
            Engine::Direct if counts.contains(&0) => Err("a front's counts are above zero"),
            Engine::Direct if !self.without.as_ref().is_none_or(known) => {
                Err("a front can only be without a controller that there is")
            }
            Engine::Direct => Ok(()),
        }
    }

    /// Who stands behind it from some time on, and when that changes.
    pub fn behind(&self, controllers: u64) -> Vec<(Duration, Vec<NodeId>)> {
        let all: Vec<NodeId> = (1..=controllers).map(NodeId).collect();
        let mut changes = vec![(Duration::ZERO, all.clone())];
        if let Some(Without { controller, at, lasts }) = &self.without {
            let rest = all.iter().copied().filter(|node| node.0 != *controller).collect();
            changes.extend([(*at, rest), (*at + *lasts, all)]);
        }
        changes
    }
}
