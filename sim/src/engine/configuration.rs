//! What a plan's settings mean for core's machines, the same on every engine.

use std::time::Duration;

use portcullis::raft;
use portcullis_core::lease::{APPLICATION_LEADERSHIP, Key};
use portcullis_core::{
    Address, NodeId, agent, backoff, balancer, controller, dialer, listener, tracker,
};

use crate::plan::Plan;
use crate::settings::Home;

/// Every controller's API port; each has a host of its own.
pub const API_PORT: u16 = 17_070;
/// The front's host.
const FRONT: &str = "front";
/// The model whose applications contend for leadership.
pub const MODEL: &str = "deadbeef-0bad-400d-8000-4b1d0d06f00d";

/// The limits of one controller.
pub fn controller(plan: &Plan, node: NodeId) -> controller::Config {
    let set = &plan.settings.controllers;
    let mut config = controller::Config::new(node);
    config.admission.accept = set.accept;
    config.admission.logins_min = set.logins_min;
    config.listener = listener::Config {
        controller_door: set.has_controller_door(),
        controllers_first: set.holds(),
        open_delay: set.api_port_open_delay,
        lost_max: set.lost_max,
        held_max: set.held_max,
        pace: set.pace(),
        connections_max: set.connections_max,
        logins_max: set.logins_max,
        ..listener::Config::default()
    };
    config.drain_max = set.drain_max;
    let balance = &plan.settings.balance;
    config.balancer = balancer::Config {
        policy: balance.policy,
        surplus: balance.surplus,
        refuse_one_in: balance.refuse_one_in,
        moves_rate: balance.moves_rate,
        move_again_after: balance.move_again_after,
        ..balancer::Config::default()
    };
    if !plan.settings.policy.ceiling {
        config.listener.connections_max = usize::MAX;
    }
    if plan.settings.policy.bounded_queue {
        config.queue.waiting_max = set.waiting_max;
    } else {
        config.queue.waiting_max = usize::MAX;
        config.queue.waiting_bytes_max = usize::MAX;
    }
    config.queue.batch_max = if plan.settings.policy.batches { set.batch_max } else { 1 };
    config
}

/// The pace and the length of the log.
pub fn raft(plan: &Plan) -> raft::Config {
    let set = &plan.settings.controllers;
    let usual = raft::Config::default();
    raft::Config {
        snapshot_every: set.snapshot_every.unwrap_or(usual.snapshot_every),
        kept: set.log_kept.unwrap_or(usual.kept),
        ..usual
    }
}

/// The agent with this number: unit `number / leases` of application `number % leases`, whose
/// [`leadership`] it strives for.
pub fn agent(plan: &Plan, number: u32, leadership: Key) -> agent::Config {
    let set = &plan.settings.agents;
    let mut tracker = tracker::Config::new(leadership, holder(plan, number).into());
    tracker.duration = set.claim;
    tracker.renew_after = set.renew;
    let mut dialer = dialer(plan);
    match set.home {
        Home::Any => {}
        // Who has a home returns to whoever served it last, as users do.
        Home::ByUnit => dialer.manner = dialer::Manner::User,
    }
    agent::Config { dialer, tracker: Some(tracker), ..agent::Config::default() }
}

/// A client of a workload: it asks, but strives for no lease of its own.
pub fn claimer(plan: &Plan) -> agent::Config {
    agent::Config { dialer: dialer(plan), ..agent::Config::default() }
}

/// The leadership of the application with this number.
pub fn leadership(application: u32) -> Key {
    Key::new(APPLICATION_LEADERSHIP, MODEL, &format!("app{application}"))
}

/// The name of an agent's unit.
pub fn holder(plan: &Plan, number: u32) -> String {
    let leases = plan.settings.agents.leases;
    format!("app{}/{}", number % leases, number / leases)
}

/// The law of the clients' dials. Without backoff they come back within a millisecond, for ever.
fn dialer(plan: &Plan) -> dialer::Config {
    let set = &plan.settings.agents.backoff;
    let manner =
        if plan.settings.policy.shuffle { dialer::Manner::Agent } else { dialer::Manner::Listed };
    if plan.settings.policy.backoff {
        let backoff = backoff::Config { first: set.first, most: set.most, growth: set.growth };
        dialer::Config { manner, backoff, ..dialer::Config::default() }
    } else {
        let once = Duration::from_millis(1);
        let backoff = backoff::Config { first: once, most: once, growth: 100 };
        dialer::Config { manner, backoff, gap: once, ..dialer::Config::default() }
    }
}

/// Where clients find the controllers: every API door, or the front alone.
pub fn addresses(plan: &Plan) -> Vec<Address> {
    if plan.settings.front.is_some() {
        return vec![Address::from(format!("{FRONT}:{API_PORT}"))];
    }
    plan.controllers().map(address).collect()
}

/// These [`addresses`], with that of one controller before the others.
pub fn addresses_from(
    plan: &Plan,
    mut addresses: Vec<Address>,
    first: Option<NodeId>,
) -> Vec<Address> {
    let place = first.and_then(|first| plan.controllers().position(|node| node == first));
    if let (Some(place), None) = (place, &plan.settings.front) {
        addresses[..=place].rotate_right(1);
    }
    addresses
}

/// Where a controller's API door is.
pub fn address(node: NodeId) -> Address {
    Address::from(format!("{node}:{API_PORT}"))
}

/// These [`addresses`] as the agent with this number knows them: its home first, if it has one.
pub fn known(plan: &Plan, mut known: Vec<Address>, number: u32) -> Vec<Address> {
    match plan.settings.agents.home {
        Home::Any => {}
        Home::ByUnit => {
            let unit = (number / plan.settings.agents.leases) as usize;
            let home = unit % known.len();
            known.rotate_left(home);
        }
    }
    known
}

/// Whether it is the front's address.
pub fn is_front(address: &Address) -> bool {
    address.as_str().split(':').next() == Some(FRONT)
}

/// Whose address it is.
pub fn node(address: &Address) -> NodeId {
    let name = address.as_str().split(':').next();
    let number = name.and_then(|name| name.strip_prefix("controller-")?.parse().ok());
    NodeId(number.expect("clients know no addresses but those they were given"))
}
