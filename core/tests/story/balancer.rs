use portcullis_core::balancer::{Balancer, Config, Input, Load, Policy};
use portcullis_core::{ConnectionId, Machine, NodeId, Seed};

use super::{Story, lasting};

const TWO: NodeId = NodeId(2);
const THREE: NodeId = NodeId(3);

/// Small enough to be read: four agents too many are a surplus.
fn config(policy: Policy) -> Config {
    Config { policy, surplus_least: 4, moves_rate: lasting("100ms"), ..Config::default() }
}

/// A controller where this many agents logged in at the start.
fn full(config: Config, agents: u64) -> Story<Balancer> {
    let mut machine = Balancer::new(config, NodeId(1), Seed(1));
    let mut out = Vec::new();
    for connection in (1..=agents).map(ConnectionId) {
        machine.handle(super::time("0s"), Input::LoggedIn { connection }, &mut out);
    }
    Story::of(machine)
}

fn heard(from: NodeId, agents: u64) -> Input {
    Input::Heard { from, load: Load { agents, room: 100 } }
}

fn logs_in(connection: u64) -> Input {
    Input::LoggedIn { connection: ConnectionId(connection) }
}

fn gone(connection: u64) -> Input {
    Input::Disconnected { connection: ConnectionId(connection) }
}

fn shedding(balancer: &Balancer) -> String {
    format!("{} agents, {}", balancer.agents(), balancer.shedding())
}

#[test]
fn counts_are_told_each_second() {
    full(config(Policy::Redirect), 2)
        .tell(Input::Started)
        .run_until("2.5s")
        .tell(gone(1))
        .run_until("3s")
        .tell(Input::Stopping)
        .run_until("9s")
        .reads("balancer/counts_are_told_each_second");
}

#[test]
fn one_that_comes_back_is_filled_up_to_its_share() {
    full(config(Policy::Redirect), 8)
        .at("200s")
        .tell(heard(TWO, 0))
        .ask("shedding", shedding)
        .run_until("201s")
        .ask("shedding", shedding)
        .tell(gone(1))
        .tell(gone(2))
        .tell(gone(3))
        .tell(gone(4))
        .tell(heard(TWO, 4))
        .run_until("215s")
        .reads("balancer/one_that_comes_back_is_filled_up_to_its_share");
}

#[test]
fn a_little_more_than_the_others_is_no_surplus() {
    full(config(Policy::Redirect), 8)
        .at("200s")
        .tell(heard(TWO, 2))
        .ask("shedding", shedding)
        .tell(heard(TWO, 1))
        .ask("shedding", shedding)
        .reads("balancer/a_little_more_than_the_others_is_no_surplus");
}

#[test]
fn who_came_lately_is_not_moved() {
    full(config(Policy::Redirect), 8)
        .at("118s")
        .tell(heard(TWO, 0))
        .run_until("119s")
        .tell(heard(TWO, 0))
        .run_until("121s")
        .reads("balancer/who_came_lately_is_not_moved");
}

#[test]
fn a_login_is_redirected_while_there_are_too_many() {
    full(config(Policy::Redirect), 8)
        .at("10s")
        .tell(heard(TWO, 0))
        .tell(logs_in(11))
        .tell(logs_in(12))
        .at("10.1s")
        .tell(logs_in(13))
        .reads("balancer/a_login_is_redirected_while_there_are_too_many");
}

#[test]
fn a_herd_that_comes_in_is_not_sent_on() {
    let mut story = full(config(Policy::Redirect), 8);
    story.tell(Input::Started).at("0.5s").tell(heard(TWO, 8));
    for connection in 11..=24 {
        story.tell(logs_in(connection));
    }
    story
        .ask("shedding", shedding)
        .run_until("1s")
        .ask("shedding", shedding)
        .tell(logs_in(31))
        .reads("balancer/a_herd_that_comes_in_is_not_sent_on");
}

#[test]
fn a_stale_count_moves_nobody() {
    full(config(Policy::Redirect), 8)
        .at("110s")
        .tell(heard(TWO, 0))
        .ask("shedding", shedding)
        .run_until("130s")
        .ask("shedding", shedding)
        .tell(logs_in(11))
        .reads("balancer/a_stale_count_moves_nobody");
}

#[test]
fn nobody_is_sent_to_a_shut_door() {
    let shut = Input::Heard { from: TWO, load: Load { agents: 0, room: 0 } };
    full(config(Policy::Redirect), 8)
        .at("200s")
        .tell(shut)
        .ask("shedding", shedding)
        .run_until("204s")
        .tell(logs_in(11))
        .reads("balancer/nobody_is_sent_to_a_shut_door");
}

#[test]
fn two_givers_share_one_taker() {
    full(config(Policy::Redirect), 12)
        .at("200s")
        .tell(heard(TWO, 12))
        .tell(heard(THREE, 0))
        .run_until("201s")
        .ask("shedding", shedding)
        .reads("balancer/two_givers_share_one_taker");
}

#[test]
fn a_controller_that_nobody_arrives_at_is_avoided() {
    let mut story = full(config(Policy::Redirect), 8);
    for second in 200..216 {
        story.at(&format!("{second}s")).tell(heard(TWO, 0));
    }
    story
        .ask("shedding", shedding)
        .tell(logs_in(11))
        .run_until("275s")
        .tell(heard(TWO, 0))
        .ask("shedding", shedding)
        .reads("balancer/a_controller_that_nobody_arrives_at_is_avoided");
}

#[test]
fn who_does_not_leave_is_disconnected() {
    full(config(Policy::Redirect), 8)
        .at("200s")
        .tell(heard(TWO, 0))
        .run_until("200.15s")
        .tell(gone(1))
        .tell(heard(TWO, 8))
        .run_until("212s")
        .reads("balancer/who_does_not_leave_is_disconnected");
}

#[test]
fn surplus_is_shed_without_a_target() {
    full(config(Policy::Shed), 8)
        .at("200s")
        .tell(heard(TWO, 0))
        .run_until("200.25s")
        .reads("balancer/surplus_is_shed_without_a_target");
}

#[test]
fn one_in_three_is_refused() {
    let mut story = full(config(Policy::RandomRefusal), 0);
    story.tell(Input::Started);
    for connection in 1..=9 {
        story.tell(logs_in(connection));
    }
    story.run_until("60s").reads("balancer/one_in_three_is_refused");
}

#[test]
fn the_emptier_are_told_of_first() {
    let mut story = full(config(Policy::Order), 6);
    story.tell(logs_in(7)).tell(heard(TWO, 4)).tell(heard(THREE, 0));
    for connection in 11..=18 {
        story.tell(logs_in(connection));
    }
    story.reads("balancer/the_emptier_are_told_of_first");
}

#[test]
fn short_memory_makes_agents_leave_under_any_policy() {
    full(config(Policy::None), 4)
        .tell(Input::Started)
        .at("200s")
        .tell(Input::Memory { used: 94, limit: 100 })
        .run_until("201s")
        .tell(Input::Memory { used: 95, limit: 100 })
        .run_until("201.1s")
        .tell(Input::Memory { used: 90, limit: 100 })
        .run_until("201.2s")
        .tell(Input::Memory { used: 89, limit: 100 })
        .run_until("300s")
        .reads("balancer/short_memory_makes_agents_leave_under_any_policy");
}
