//! What is done about a controller that has more agents than its share.

use std::time::Duration;

use portcullis_core::balancer::{self, Policy};
use serde::Deserialize;

use super::duration;

/// How controllers even each other out. Every controller of a cluster should have the same.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Balance {
    /// `redirect`, the default: the surplus is sent to a named controller that has fewer, by Juju's
    /// redirect at the login and by the close frame of [`Farewell`](crate::rpc::Farewell) later.
    /// `shed`: it is disconnected. `random-refusal`: one login in `refuse-one-in` must try
    /// elsewhere. `order`: agents are told of a controller that has few first. `none`, as in Juju:
    /// whoever comes stays.
    ///
    /// Without any, a controller that was down comes back to nobody, and the others keep what they
    /// can bear only until the next one goes: seed 001 is about nothing else. `redirect` is the one
    /// that moves each agent once, to where there is room, and it costs little where nothing is
    /// uneven: a count a second. To clients that do not know the word, Juju's own among them, it is
    /// `shed`: they look for a controller in random order, and come to one with fewer before long.
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
        // The policy of core's own default is Juju's, for scenarios to compare with.
        let balancer::Config { surplus, moves_rate, move_again_after, refuse_one_in, .. } =
            balancer::Config::default();
        Balance { policy: Policy::Redirect, surplus, moves_rate, move_again_after, refuse_one_in }
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
