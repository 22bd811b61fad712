//! What is done about a controller that has more agents than its share.

use std::time::Duration;

use portcullis_core::balancer::{self, Policy};
use serde::Deserialize;

use super::duration;

/// How controllers even each other out. Every controller of a cluster should have the same.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Balance {
    /// `none`, the default, as in Juju: whoever comes stays. `random-refusal`: one login in
    /// `refuse-one-in` must try elsewhere. `shed`: the surplus is disconnected. `redirect`: it is
    /// sent to a named controller that has fewer, by Juju's redirect at the login and by
    /// disconnecting later. `order`: agents are told of a controller that has few first.
    pub policy: Policy,
    /// So many agents above the even share are too many, default 500 (seed 001: 500 to 1000), or a
    /// tenth above it if that is fewer. Above zero.
    pub surplus: u64,
    /// Least time from one move to the next, default `"250ms"`, which is how often the doors let
    /// somebody in. Above zero.
    #[serde(with = "duration")]
    pub moves_rate: Duration,
    /// Least time from the login of an agent to its being moved, default `"2min"`. Above
    /// `steady_after` of core's dialer, a minute: whoever is moved must be ready to follow.
    #[serde(with = "duration")]
    pub move_again_after: Duration,
    /// For `random-refusal`, default 3. Above one.
    pub refuse_one_in: u64,
}

impl Default for Balance {
    fn default() -> Balance {
        let balancer::Config {
            policy, surplus, moves_rate, move_again_after, refuse_one_in, ..
        } = balancer::Config::default();
        Balance { policy, surplus, moves_rate, move_again_after, refuse_one_in }
    }
}

impl Balance {
    /// What the machine that decides is told.
    pub(super) fn balancer(&self) -> balancer::Config {
        let Balance { policy, surplus, moves_rate, move_again_after, refuse_one_in } = *self;
        balancer::Config {
            policy,
            surplus,
            moves_rate,
            move_again_after,
            refuse_one_in,
            ..balancer::Config::default()
        }
    }
}
