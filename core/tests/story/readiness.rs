use portcullis_core::readiness::{Config, Input, Readiness};
use portcullis_core::{Name, NodeId};

use super::Story;

const SELF: NodeId = NodeId(1);
const OTHER: NodeId = NodeId(2);

fn story() -> Story<Readiness> {
    Story::of(Readiness::new(Config { behind_max: 10, ..Config::default() }, SELF))
}

fn ready(readiness: &Readiness) -> String {
    readiness.ready().to_string()
}

fn followed() -> Input {
    Input::Led { leader: Some(OTHER) }
}

#[test]
fn a_follower_catches_up_once() {
    story()
        .tell(Input::Reached { itself: true })
        .tell(followed())
        .at("1s")
        .tell(Input::Committing { index: 100 })
        .tell(Input::Applied { index: 99 })
        .tell(Input::Committing { index: 105 })
        .ask("ready", ready)
        .tell(Input::Applied { index: 100 })
        .ask("ready", ready)
        .at("2s")
        .tell(Input::Committing { index: 110 })
        .tell(Input::Committing { index: 111 })
        .tell(Input::Applied { index: 110 })
        .ask("ready", ready)
        .tell(Input::Applied { index: 111 })
        .ask("ready", ready)
        .reads("readiness/a_follower_catches_up_once");
}

#[test]
fn a_leader_needs_nobody() {
    story()
        .tell(Input::Linked { to: OTHER, up: false })
        .tell(Input::Reached { itself: true })
        .tell(Input::Led { leader: Some(SELF) })
        .ask("ready", ready)
        .reads("readiness/a_leader_needs_nobody");
}

#[test]
fn a_leader_that_cannot_be_reached_is_none() {
    story()
        .tell(Input::Linked { to: OTHER, up: false })
        .tell(followed())
        .at("1s")
        .tell(Input::Linked { to: OTHER, up: true })
        .at("2s")
        .tell(Input::Linked { to: OTHER, up: false })
        .reads("readiness/a_leader_that_cannot_be_reached_is_none");
}

#[test]
fn a_lost_link_to_itself_is_lost_on_either_end() {
    story()
        .tell(Input::Reached { itself: true })
        .at("1s")
        .tell(Input::Linked { to: SELF, up: false })
        .tell(Input::Reached { itself: false })
        .at("2s")
        .tell(Input::Linked { to: SELF, up: true })
        .tell(Input::Reached { itself: true })
        .reads("readiness/a_lost_link_to_itself_is_lost_on_either_end");
}

#[test]
fn workers_are_waited_for_from_their_first_mention_on() {
    let worker = |name, stable| Input::Working { worker: Name::new(name), stable };
    story()
        .tell(Input::Reached { itself: true })
        .tell(Input::Led { leader: Some(SELF) })
        .tell(worker("peer-grouper", false))
        .ask("ready", ready)
        .tell(worker("metrics", true))
        .tell(worker("peer-grouper", true))
        .tell(worker("peer-grouper", true))
        .ask("ready", ready)
        .ask("conditions", |readiness| format!("{:?}", readiness.conditions()))
        .reads("readiness/workers_are_waited_for_from_their_first_mention_on");
}

#[test]
fn an_address_is_waited_for_where_a_file_says_it() {
    let config = Config { address_awaited: true, ..Config::default() };
    Story::of(Readiness::new(config, SELF))
        .tell(Input::Reached { itself: true })
        .tell(Input::Led { leader: Some(SELF) })
        .ask("ready", ready)
        .at("5s")
        .tell(Input::Addressed)
        .ask("ready", ready)
        .tell(Input::Addressed)
        .reads("readiness/an_address_is_waited_for_where_a_file_says_it");
}
