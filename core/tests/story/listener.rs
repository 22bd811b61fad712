use std::time::Duration;

use portcullis_core::listener::{Config, Input, Kind, Listener};
use portcullis_core::pace;
use portcullis_core::{ConnectionId, Door};

use super::{Story, lasting};

const CONTROLLER: Door = Door::Controller;
const API: Door = Door::Api;

fn story(config: Config) -> Story<Listener> {
    Story::of(Listener::new(config))
}

fn one_door(config: Config) -> Story<Listener> {
    let mut story = story(Config { controller_door: false, ..config });
    story.tell(Input::Started).tell(Input::Opened { door: API });
    story
}

/// Other doors, pace or delay; the doors are the controller door, and whether the API port holds.
fn reconfigured(pace: pace::Config, open_delay: Duration, doors: (bool, bool)) -> Input {
    let (controller_door, controllers_first) = doors;
    Input::Reconfigured { pace, open_delay, controller_door, controllers_first }
}

fn doors(controller_door: bool, controllers_first: bool) -> Input {
    let doors = (controller_door, controllers_first);
    reconfigured(pace::Config::default(), lasting("2s"), doors)
}

/// One port that holds whoever comes, bound.
fn holding(config: Config) -> Story<Listener> {
    let mut story = story(Config { controller_door: false, controllers_first: true, ..config });
    story.tell(Input::Started).tell(Input::Opened { door: API });
    story
}

fn stands(story: &mut Story<Listener>, connection: u64, kind: Kind) {
    let connection = ConnectionId(connection);
    story.tell(Input::Knocked { connection }).tell(Input::Arrived { connection, kind });
}

#[test]
fn controllers_come_in_first() {
    let pace = pace::Config { burst: 1, interval: lasting("250ms") };
    let mut story = holding(Config { pace, ..Config::default() });
    stands(&mut story, 1, Kind::Other);
    stands(&mut story, 2, Kind::Controller);
    stands(&mut story, 3, Kind::Other);
    story.ask("held", |listener| listener.held().to_string());
    story.at("1s").tell(Input::Stable).run_until("4s");
    stands(&mut story, 4, Kind::Controller);
    stands(&mut story, 5, Kind::Other);
    story.run_until("5s").reads("listener/controllers_come_in_first");
}

#[test]
fn a_full_porch_leaves_the_rest_in_the_backlog() {
    let mut story = holding(Config { held_max: 2, ..Config::default() });
    story.tell(Input::Knocked { connection: ConnectionId(1) });
    story.tell(Input::Knocked { connection: ConnectionId(2) });
    story
        .run_until("1s")
        .tell(Input::Left { connection: ConnectionId(1) })
        .reads("listener/a_full_porch_leaves_the_rest_in_the_backlog");
}

#[test]
fn who_stands_too_long_is_hung_up() {
    let mut story = holding(Config { held_within: lasting("10s"), ..Config::default() });
    stands(&mut story, 1, Kind::Other);
    story.at("5s").tell(Input::Knocked { connection: ConnectionId(2) });
    story.run_until("20s").tell(Input::Arrived { connection: ConnectionId(2), kind: Kind::Other });
    story.reads("listener/who_stands_too_long_is_hung_up");
}

#[test]
fn firewalled_controllers_share_the_api_port() {
    let mut story = story(Config { controllers_first: true, ..Config::default() });
    story.tell(Input::Started);
    story.tell(Input::Opened { door: CONTROLLER }).tell(Input::Opened { door: API });
    story.tell(Input::Connected { door: CONTROLLER });
    stands(&mut story, 1, Kind::Controller);
    stands(&mut story, 2, Kind::Other);
    story.at("1s").tell(Input::Stable).run_until("4s");
    story.reads("listener/firewalled_controllers_share_the_api_port");
}

#[test]
fn lost_for_too_long_shuts_the_api_door() {
    story(Config { lost_max: lasting("30s"), ..Config::default() })
        .tell(Input::Started)
        .tell(Input::Opened { door: CONTROLLER })
        .tell(Input::Stable)
        .run_until("2s")
        .tell(Input::Opened { door: API })
        .at("10s")
        .tell(Input::Unstable)
        .at("20s")
        .tell(Input::Stable)
        .at("50s")
        .tell(Input::Unstable)
        .run_until("90s")
        .ask("the api door", |listener| listener.phase().into())
        .tell(Input::Stable)
        .run_until("100s")
        .reads("listener/lost_for_too_long_shuts_the_api_door");
}

#[test]
fn a_port_that_holds_stays_bound_when_ready_is_lost() {
    let mut story = holding(Config { lost_max: lasting("5s"), ..Config::default() });
    story.tell(Input::Stable).run_until("3s");
    stands(&mut story, 1, Kind::Other);
    story.tell(Input::Unstable).run_until("10s");
    stands(&mut story, 2, Kind::Other);
    stands(&mut story, 3, Kind::Controller);
    story.tell(Input::Stable).run_until("15s");
    story.reads("listener/a_port_that_holds_stays_bound_when_ready_is_lost");
}

#[test]
fn one_door_never_shuts() {
    one_door(Config::default())
        .tell(Input::Stable)
        .tell(Input::Unstable)
        .run_until("10m")
        .ask("the api door", |listener| listener.phase().into())
        .reads("listener/one_door_never_shuts");
}

#[test]
fn the_controller_port_is_toggled_live() {
    one_door(Config::default())
        .tell(Input::Connected { door: API })
        .at("10s")
        .tell(Input::Stable)
        .tell(doors(true, false))
        .tell(Input::Opened { door: CONTROLLER })
        .tell(Input::Connected { door: CONTROLLER })
        .at("20s")
        .tell(doors(false, false))
        .at("21s")
        .tell(doors(true, false))
        .tell(doors(false, false))
        .tell(Input::Opened { door: CONTROLLER })
        .ask("connections", |listener| listener.connections().to_string())
        .reads("listener/the_controller_port_is_toggled_live");
}

#[test]
fn held_ones_come_in_when_holding_is_switched_off() {
    let mut story = holding(Config::default());
    stands(&mut story, 1, Kind::Other);
    story.at("1s").tell(doors(false, false));
    story.tell(Input::Knocked { connection: ConnectionId(2) });
    story.tell(Input::Arrived { connection: ConnectionId(2), kind: Kind::Other });
    story.reads("listener/held_ones_come_in_when_holding_is_switched_off");
}

#[test]
fn a_stop_hangs_up_on_those_who_stand_there() {
    let mut story = holding(Config::default());
    stands(&mut story, 1, Kind::Other);
    story.tell(Input::Stopping).tell(Input::Knocked { connection: ConnectionId(2) });
    story.reads("listener/a_stop_hangs_up_on_those_who_stand_there");
}

#[test]
fn two_phase() {
    story(Config::default())
        .tell(Input::Started)
        .tell(Input::Opened { door: CONTROLLER })
        .at("0.5s")
        .tell(Input::Connected { door: CONTROLLER })
        .ask("the api door", |listener| listener.phase().into())
        .at("1s")
        .tell(Input::Stable)
        .ask("the api door", |listener| listener.phase().into())
        .run_until("5s")
        .ask("the api door", |listener| listener.phase().into())
        .tell(Input::Opened { door: API })
        .ask("the api door", |listener| listener.phase().into())
        .at("6s")
        .tell(Input::Connected { door: API })
        .reads("listener/two_phase");
}

#[test]
fn one_door_opens_at_once() {
    one_door(Config::default())
        .at("1s")
        .tell(Input::Stable)
        .tell(Input::Unstable)
        .run_until("10s")
        .reads("listener/one_door_opens_at_once");
}

#[test]
fn flood_waits_outside() {
    let pace = pace::Config { burst: 3, interval: lasting("250ms") };
    let mut story = one_door(Config { pace, ..Config::default() });
    for _ in 0..3 {
        story.tell(Input::Connected { door: API });
    }
    story.run_until("10s");
    story.tell(Input::Connected { door: API }).reads("listener/flood_waits_outside");
}

#[test]
fn a_permit_follows_the_pace() {
    let pace = pace::Config { burst: 1, interval: lasting("250ms") };
    one_door(Config { pace, ..Config::default() })
        .tell(Input::Connected { door: API })
        .run_until("0.2s")
        .tell(Input::Disconnected { door: API, logged_in: false })
        .run_until("0.3s")
        .tell(Input::Connected { door: API })
        .run_until("1s")
        .reads("listener/a_permit_follows_the_pace");
}

#[test]
fn the_controller_door_is_never_paced() {
    let pace = pace::Config { burst: 1, interval: lasting("10s") };
    let mut story = story(Config { pace, ..Config::default() });
    story.tell(Input::Started).tell(Input::Opened { door: CONTROLLER });
    for _ in 0..4 {
        story.tell(Input::Connected { door: CONTROLLER });
    }
    story.reads("listener/the_controller_door_is_never_paced");
}

#[test]
fn a_full_controller_door_lets_in_for_each_that_leaves() {
    story(Config { controller_connections_max: 2, ..Config::default() })
        .tell(Input::Started)
        .tell(Input::Opened { door: CONTROLLER })
        .tell(Input::Connected { door: CONTROLLER })
        .tell(Input::Connected { door: CONTROLLER })
        .run_until("10s")
        .tell(Input::Disconnected { door: CONTROLLER, logged_in: false })
        .tell(Input::Disconnected { door: CONTROLLER, logged_in: true })
        .reads("listener/a_full_controller_door_lets_in_for_each_that_leaves");
}

#[test]
fn another_pace_is_kept_from_the_change_on() {
    let pace = |burst, interval| pace::Config { burst, interval: lasting(interval) };
    let open_delay = lasting("2s");
    let mut story = one_door(Config { pace: pace(2, "10s"), ..Config::default() });
    for _ in 0..2 {
        story.tell(Input::Connected { door: API });
    }
    story
        .at("1s")
        .tell(reconfigured(pace(20, "1s"), open_delay, (false, false)))
        .run_until("3s")
        .tell(Input::Connected { door: API })
        .at("4s")
        .tell(reconfigured(pace(0, "1s"), open_delay, (false, false)));
    for _ in 0..2 {
        story.tell(Input::Connected { door: API });
    }
    story.reads("listener/another_pace_is_kept_from_the_change_on");
}

#[test]
fn another_delay_holds_while_settling() {
    let pace = pace::Config::default();
    let delayed = |delay| reconfigured(pace, lasting(delay), (true, false));
    story(Config::default())
        .tell(Input::Started)
        .tell(Input::Opened { door: CONTROLLER })
        .tell(Input::Stable)
        .at("1s")
        .tell(delayed("10s"))
        .run_until("5s")
        .tell(delayed("3s"))
        .run_until("6s")
        .reads("listener/another_delay_holds_while_settling");
}

#[test]
fn a_full_house_lets_in_for_each_that_leaves() {
    one_door(Config { connections_max: 2, ..Config::default() })
        .tell(Input::Connected { door: API })
        .tell(Input::LoggedIn)
        .tell(Input::Connected { door: API })
        .tell(Input::LoggedIn)
        .run_until("10s")
        .ask("connections", |listener| listener.connections().to_string())
        .tell(Input::Disconnected { door: API, logged_in: true })
        .reads("listener/a_full_house_lets_in_for_each_that_leaves");
}

#[test]
fn nobody_enters_while_memory_is_short() {
    one_door(Config::default())
        .tell(Input::Memory { used: 84, limit: 100 })
        .tell(Input::Connected { door: API })
        .ask("room left", |listener| listener.room_left().to_string())
        .tell(Input::Memory { used: 85, limit: 100 })
        .ask("room left", |listener| listener.room_left().to_string())
        .tell(Input::Connected { door: API })
        .tell(Input::Memory { used: 80, limit: 100 })
        .run_until("10s")
        .tell(Input::Memory { used: 79, limit: 100 })
        .reads("listener/nobody_enters_while_memory_is_short");
}

#[test]
fn nobody_enters_while_too_many_log_in() {
    one_door(Config { logins_max: 1, ..Config::default() })
        .tell(Input::Connected { door: API })
        .run_until("10s")
        .tell(Input::LoggedIn)
        .reads("listener/nobody_enters_while_too_many_log_in");
}

#[test]
fn as_many_log_in_as_are_allowed() {
    let pace = pace::Config { burst: 0, ..pace::Config::default() };
    one_door(Config { pace, logins_max: 3, ..Config::default() })
        .tell(Input::Allowed { logins: 1 })
        .tell(Input::Connected { door: API })
        .run_until("10s")
        .tell(Input::Allowed { logins: 2 })
        .tell(Input::Connected { door: API })
        .tell(Input::Allowed { logins: 1 })
        .tell(Input::LoggedIn)
        .tell(Input::LoggedIn)
        .tell(Input::Allowed { logins: 100 })
        .tell(Input::Connected { door: API })
        .tell(Input::Connected { door: API })
        .tell(Input::Connected { door: API })
        .reads("listener/as_many_log_in_as_are_allowed");
}

#[test]
fn bind_fails_and_is_tried_again() {
    story(Config::default())
        .tell(Input::Started)
        .tell(Input::NotOpened { door: CONTROLLER })
        .run_until("1.5s")
        .tell(Input::NotOpened { door: CONTROLLER })
        .run_until("3s")
        .tell(Input::Opened { door: CONTROLLER })
        .reads("listener/bind_fails_and_is_tried_again");
}

#[test]
fn unstable_while_settling() {
    story(Config::default())
        .tell(Input::Started)
        .tell(Input::Opened { door: CONTROLLER })
        .at("1s")
        .tell(Input::Stable)
        .at("2.5s")
        .tell(Input::Unstable)
        .run_until("10s")
        .tell(Input::Stable)
        .run_until("20s")
        .reads("listener/unstable_while_settling");
}

#[test]
fn an_open_door_stays_open() {
    story(Config::default())
        .tell(Input::Started)
        .tell(Input::Stable)
        .run_until("2s")
        .tell(Input::Opened { door: API })
        .tell(Input::Unstable)
        .tell(Input::Connected { door: API })
        .run_until("10s")
        .reads("listener/an_open_door_stays_open");
}

#[test]
fn stop() {
    story(Config::default())
        .tell(Input::Started)
        .tell(Input::Opened { door: CONTROLLER })
        .tell(Input::Connected { door: CONTROLLER })
        .tell(Input::Stable)
        .run_until("2s")
        .tell(Input::Opened { door: API })
        .at("3s")
        .tell(Input::Stopping)
        .tell(Input::Connected { door: API })
        .tell(Input::Disconnected { door: API, logged_in: false })
        .tell(Input::Connected { door: CONTROLLER })
        .tell(Input::Stopping)
        .run_until("10s")
        .reads("listener/stop");
}

#[test]
fn a_port_bound_after_the_stop_is_shut() {
    story(Config::default())
        .tell(Input::Started)
        .tell(Input::Stopping)
        .at("1s")
        .tell(Input::Opened { door: CONTROLLER })
        .reads("listener/a_port_bound_after_the_stop_is_shut");
}

#[test]
fn a_door_that_moves_is_shut_once_the_next_is_bound() {
    let mut story = story(Config { address_awaited: true, ..Config::default() });
    story.tell(Input::Started).tell(Input::Addressed).tell(Input::Opened { door: CONTROLLER });
    story.tell(Input::Connected { door: CONTROLLER });
    story.at("10s").tell(Input::Addressed).tell(Input::NotOpened { door: CONTROLLER });
    story.run_until("14s").tell(Input::Opened { door: CONTROLLER });
    story.tell(Input::Connected { door: CONTROLLER });
    story.reads("listener/a_door_that_moves_is_shut_once_the_next_is_bound");
}

#[test]
fn a_door_that_moves_twice_at_once_ends_where_it_was_last_to_be() {
    let mut story = story(Config { address_awaited: true, ..Config::default() });
    story.tell(Input::Addressed).tell(Input::Started).tell(Input::Addressed);
    story.tell(Input::Opened { door: CONTROLLER }).tell(Input::Opened { door: CONTROLLER });
    story.at("1s").tell(Input::Addressed).tell(doors(false, false));
    story.tell(Input::Opened { door: CONTROLLER });
    story.reads("listener/a_door_that_moves_twice_at_once_ends_where_it_was_last_to_be");
}
