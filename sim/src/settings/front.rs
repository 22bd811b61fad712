//! The balancing front that agents dial, if a scenario has one.

use std::time::Duration;

use portcullis_core::{NodeId, front, pace};
use serde::{Deserialize, Serialize};

use super::{Engine, duration};

/// Direct: one front, which stands where the agents are. With this table they know no controller's
/// address. See [`front::Config`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Front {
    pub connections_max: usize,
    pub connections_per_backend_max: usize,
    pub joining_max: usize,
    pub tries_max: usize,
    #[serde(with = "duration")]
    pub hold: Duration,
    /// From one new connection to the next of a controller that has just turned up; zero for no
    /// limit.
    #[serde(with = "duration")]
    pub fill_rate: Duration,
    #[serde(with = "duration")]
    pub fill_for: Duration,
    pub rise: u32,
    pub fall: u32,
    #[serde(with = "duration")]
    pub probe_every: Duration,
    /// Longest time that a probe may take.
    #[serde(with = "duration")]
    pub probe_within: Duration,
    /// Longest time that a controller's kernel may take to answer a knock.
    #[serde(with = "duration")]
    pub connect_within: Duration,
    /// For how long connections of a controller that was taken out may go on.
    #[serde(with = "duration")]
    pub drain: Duration,
    /// A controller that its keeper takes out of the front's file for a while.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub without: Option<Without>,
}

/// Which controller is taken out, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Without {
    /// Its number.
    pub controller: u64,
    #[serde(with = "duration")]
    pub at: Duration,
    #[serde(rename = "for", with = "duration")]
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
        let burst = if self.fill_rate.is_zero() { 0 } else { config.fill.burst };
        front::Config {
            connections_max: self.connections_max,
            connections_per_backend_max: self.connections_per_backend_max,
            joining_max: self.joining_max,
            tries_max: self.tries_max,
            hold: self.hold,
            fill: pace::Config { burst, interval: self.fill_rate },
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
