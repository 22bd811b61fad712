use portcullis_core::addresses::Scope;
use portcullis_core::balancer::{Load, Policy};
use portcullis_core::bind::{self, Candidate, Lack};
use portcullis_core::controller::{Config, Controller, Input, Request};
use portcullis_core::lease::{Done, Outcome, Refusal};
use portcullis_core::listener::Kind;
use portcullis_core::queue::Answer;
use portcullis_core::sessions::Party;
use portcullis_core::{BatchId, ConnectionId, Door, GlobalTime, Name, NodeId, Seed};

use super::{Story, ask, claim, key, lasting, time};

const SELF: NodeId = NodeId(1);
const OTHER: NodeId = NodeId(2);
/// The leader has committed nothing yet.
const COMMITTING: Input = Input::Committing { index: 0 };

fn fresh() -> Story<Controller> {
    let mut story = Story::of(Controller::new(Config::new(SELF), Seed(7)));
    story.tell(Input::Started).tell(Input::Opened { door: Door::Controller });
    story
}

fn connect(story: &mut Story<Controller>, connection: u64, door: Door, party: Party) {
    let connection = ConnectionId(connection);
    story.tell(Input::Connected { connection, door });
    story.tell(Input::LoggedIn { connection, party });
}

/// A controller with one agent, `connection-9`; the door is of no matter here.
fn served() -> Story<Controller> {
    let mut story = fresh();
    connect(&mut story, 9, Door::Controller, Party::Agent);
    story
}

fn followed(leader: NodeId) -> Input {
    Input::Followed { leader: Some(leader) }
}

fn asked(serial: u64) -> Input {
    let request = Request::Apply(claim("mysql", &format!("mysql/{serial}")));
    let patience = lasting("10s");
    Input::Asked { ask: ask(9, serial), request, renews: false, patience }
}

fn waited(serial: u64) -> Input {
    let request = Request::Wait(key("mysql"));
    let patience = lasting("10s");
    Input::Asked { ask: ask(9, serial), request, renews: false, patience }
}

fn granted() -> Outcome {
    Ok(Done::Granted { fence: 1, expiry: GlobalTime(60_000_000) })
}

fn denied() -> Refusal {
    Refusal::Held { holder: "mysql/1".into(), expiry: GlobalTime(60_000_000) }
}

fn door(controller: &Controller) -> String {
    controller.status(time("0s")).api_door
}

#[test]
fn reaching_itself_opens_the_api_door() {
    let mut story = fresh();
    story.at("1s").tell(followed(OTHER)).tell(COMMITTING).ask("the api door", door);
    connect(&mut story, 1, Door::Controller, Party::Controller(OTHER));
    story.run_until("10s").ask("the api door", door);
    connect(&mut story, 2, Door::Controller, Party::Controller(SELF));
    story
        .run_until("20s")
        .tell(Input::Opened { door: Door::Api })
        .ask("the api door", door)
        .reads("controller/reaching_itself_opens_the_api_door");
}

#[test]
fn without_a_leader_the_api_door_stays_shut() {
    let mut story = fresh();
    connect(&mut story, 1, Door::Controller, Party::Controller(SELF));
    story
        .run_until("10s")
        .ask("the api door", door)
        .tell(followed(OTHER))
        .tell(COMMITTING)
        .at("11s")
        .tell(Input::Followed { leader: None })
        .run_until("20s")
        .ask("the api door", door)
        .tell(Input::Led { global: GlobalTime(0) })
        .run_until("22s")
        .reads("controller/without_a_leader_the_api_door_stays_shut");
}

#[test]
fn losing_itself_while_settling_starts_over() {
    let mut story = fresh();
    story.tell(followed(OTHER)).tell(COMMITTING);
    connect(&mut story, 1, Door::Controller, Party::Controller(SELF));
    story
        .at("1s")
        .tell(Input::Disconnected { connection: ConnectionId(1) })
        .run_until("10s")
        .ask("the api door", door)
        .reads("controller/losing_itself_while_settling_starts_over");
}

#[test]
fn a_leader_serves() {
    served()
        .at("1s")
        .tell(Input::Led { global: GlobalTime(100_000_000) })
        .tell(asked(1))
        .at("1.010s")
        .tell(Input::Committed { batch: BatchId(1), index: 5, outcomes: vec![] })
        .tell(Input::Committed { batch: BatchId(2), index: 6, outcomes: vec![granted()] })
        .run_until("3.5s")
        .reads("controller/a_leader_serves");
}

#[test]
fn a_disconnect_cancels_what_was_asked() {
    served()
        .tell(followed(OTHER))
        .tell(asked(1))
        .tell(waited(2))
        .tell(Input::Led { global: GlobalTime(0) })
        .tell(asked(3))
        .at("1s")
        .tell(Input::Disconnected { connection: ConnectionId(9) })
        .tell(Input::Committed { batch: BatchId(2), index: 6, outcomes: vec![granted()] })
        .tell(asked(4))
        .ask("status", |controller| format!("{:?}", controller.status(time("1s"))))
        .reads("controller/a_disconnect_cancels_what_was_asked");
}

#[test]
fn a_follower_hands_on() {
    let refused = Answer::Refused { index: 8, refusal: denied() };
    served()
        .tell(followed(OTHER))
        .tell(asked(1))
        .at("0.1s")
        .tell(Input::Answered { ask: ask(9, 1), answer: refused })
        .tell(waited(2))
        .tell(Input::Applied { index: 7, released: vec![key("mysql")] })
        .tell(Input::Applied { index: 8, released: vec![] })
        .tell(Input::Looked { ask: ask(9, 2), held: true })
        .tell(Input::Applied { index: 9, released: vec![key("mysql")] })
        .tell(Input::Looked { ask: ask(9, 2), held: false })
        .reads("controller/a_follower_hands_on");
}

#[test]
fn the_way_to_the_leader_breaks() {
    served()
        .tell(followed(OTHER))
        .tell(asked(1))
        .tell(asked(2))
        .tell(asked(3))
        .tell(Input::NotSent { ask: ask(9, 1) })
        .tell(Input::Lost { ask: ask(9, 2) })
        .run_until("20s")
        .reads("controller/the_way_to_the_leader_breaks");
}

#[test]
fn an_ask_is_handed_on_once() {
    let mut story = fresh();
    story.tell(followed(OTHER));
    connect(&mut story, 9, Door::Controller, Party::Controller(NodeId(3)));
    story.tell(asked(1)).reads("controller/an_ask_is_handed_on_once");
}

#[test]
fn nobody_leads() {
    served().tell(asked(1)).run_until("60s").reads("controller/nobody_leads");
}

#[test]
fn an_ask_rests_until_somebody_leads() {
    served()
        .tell(asked(1))
        .at("2s")
        .tell(Input::Led { global: GlobalTime(0) })
        .run_until("2.5s")
        .tell(Input::Committed { batch: BatchId(2), index: 6, outcomes: vec![granted()] })
        .reads("controller/an_ask_rests_until_somebody_leads");
}

#[test]
fn a_leader_cancels_what_waits_for_certain() {
    let mut story = served();
    story.tell(Input::Led { global: GlobalTime(0) });
    for serial in 1..=5 {
        story.tell(asked(serial));
    }
    story
        .ask("status", |controller| format!("{:?}", controller.status(time("0s"))))
        .tell(Input::Cancelled { ask: ask(9, 1) })
        .tell(Input::Cancelled { ask: ask(9, 5) })
        .reads("controller/a_leader_cancels_what_waits_for_certain");
}

#[test]
fn one_connection_may_not_ask_for_everything() {
    let config = Config { asks_per_connection_max: 1, ..Config::new(SELF) };
    let mut story = Story::of(Controller::new(config, Seed(7)));
    story.tell(Input::Started).tell(Input::Opened { door: Door::Controller });
    connect(&mut story, 9, Door::Controller, Party::Agent);
    story
        .tell(waited(1))
        .tell(asked(2))
        .tell(Input::Cancelled { ask: ask(9, 1) })
        .tell(asked(3))
        .reads("controller/one_connection_may_not_ask_for_everything");
}

#[test]
fn leadership_moves_while_asks_are_under_way() {
    served()
        .tell(Input::Led { global: GlobalTime(0) })
        .tell(asked(1))
        .at("0.5s")
        .tell(followed(OTHER))
        .tell(Input::NotProposed { batch: BatchId(2), leader: Some(OTHER) })
        .run_until("5s")
        .reads("controller/leadership_moves_while_asks_are_under_way");
}

#[test]
fn a_snapshot_answers_those_who_wait() {
    served()
        .tell(waited(1))
        .tell(Input::Looked { ask: ask(9, 1), held: true })
        .tell(Input::Restored { index: 50 })
        .tell(Input::Looked { ask: ask(9, 1), held: false })
        .reads("controller/a_snapshot_answers_those_who_wait");
}

#[test]
fn agents_wait_for_every_condition() {
    let worker = |stable| Input::Working { worker: Name::new("metrics"), stable };
    let conditions =
        |controller: &Controller| format!("{:?}", controller.status(time("0s")).conditions);
    let mut story = Story::of(Controller::new(Config::new(SELF), Seed(7)));
    story.tell(worker(false)).tell(Input::Started);
    story.tell(Input::Opened { door: Door::Controller }).ask("conditions", conditions);
    connect(&mut story, 1, Door::Controller, Party::Controller(SELF));
    story
        .tell(Input::Linked { to: OTHER, up: false })
        .tell(followed(OTHER))
        .tell(Input::Committing { index: 7 })
        .tell(worker(true))
        .at("1s")
        .tell(Input::Linked { to: OTHER, up: true })
        .run_until("10s")
        .tell(Input::Applied { index: 7, released: vec![] })
        .run_until("20s")
        .ask("conditions", conditions)
        .reads("controller/agents_wait_for_every_condition");
}

#[test]
fn who_was_held_has_its_time_to_log_in() {
    let mut config = Config::new(SELF);
    config.listener.controller_door = false;
    config.listener.controllers_first = true;
    let mut story = Story::of(Controller::new(config, Seed(7)));
    story.tell(Input::Started).tell(Input::Opened { door: Door::Api });
    for (connection, kind) in [(1, Kind::Other), (2, Kind::Controller)] {
        let (connection, door) = (ConnectionId(connection), Door::Api);
        story.tell(Input::Knocked { connection, door });
        story.tell(Input::Arrived { connection, door, kind });
    }
    story
        .tell(Input::LoggedIn { connection: ConnectionId(2), party: Party::Controller(SELF) })
        .at("60s")
        .tell(Input::Led { global: GlobalTime(0) })
        .run_until("92s")
        .tell(Input::Disconnected { connection: ConnectionId(1) })
        .tell(Input::Disconnected { connection: ConnectionId(2) })
        .ask("status", |controller| format!("{:?}", controller.status(time("92s"))))
        .reads("controller/who_was_held_has_its_time_to_log_in");
}

#[test]
fn one_who_never_logs_in_is_cut_and_makes_room() {
    let mut config = Config::new(SELF);
    config.listener.controller_door = false;
    config.listener.logins_max = 1;
    config.admission.logins_min = 1;
    let connection = ConnectionId(1);
    let mut story = Story::of(Controller::new(config, Seed(7)));
    story.tell(Input::Started).tell(Input::Opened { door: Door::Api });
    story.tell(Input::Connected { connection, door: Door::Api });
    story.run_until("30s").tell(Input::Disconnected { connection });
    story.reads("controller/one_who_never_logs_in_is_cut_and_makes_room");
}

/// A controller that leads, with these agents, of two others with so many.
fn crowded(agents: u64) -> Story<Controller> {
    let mut config = Config::new(SELF);
    config.balancer.policy = Policy::Redirect;
    config.clock_interval = lasting("10m");
    let mut story = Story::of(Controller::new(config, Seed(7)));
    story.tell(Input::Started).tell(Input::Opened { door: Door::Controller });
    for connection in 1..=agents {
        connect(&mut story, connection, Door::Controller, Party::Agent);
    }
    story.tell(Input::Led { global: GlobalTime(0) });
    for (node, agents) in [(2, 5), (3, 3)] {
        story.tell(Input::Heard { from: NodeId(node), load: Load { agents, room: 100 } });
    }
    story
}

#[test]
fn a_stop_sends_agents_where_there_are_few() {
    let mut story = crowded(4);
    story.tell(Input::Stopping).run_until("6s").tell(Input::Stopping);
    for connection in 1..=4 {
        story.tell(Input::Disconnected { connection: ConnectionId(connection) });
    }
    story.run_until("20s").reads("controller/a_stop_sends_agents_where_there_are_few");
}

#[test]
fn a_stop_waits_for_what_is_under_way() {
    let request = Request::Apply(claim("mysql", "mysql/1"));
    let asked = |connection| {
        let (request, patience) = (request.clone(), lasting("60s"));
        Input::Asked { ask: ask(connection, 1), request, renews: false, patience }
    };
    crowded(2)
        .tell(asked(1))
        .tell(asked(2))
        .tell(Input::Stopping)
        .run_until("6s")
        .tell(Input::Committed { batch: BatchId(2), index: 6, outcomes: vec![granted()] })
        .tell(Input::Disconnected { connection: ConnectionId(1) })
        .run_until("20s")
        .reads("controller/a_stop_waits_for_what_is_under_way");
}

#[test]
fn whoever_logs_in_during_a_stop_is_sent_on() {
    let mut story = fresh();
    story.tell(Input::Connected { connection: ConnectionId(1), door: Door::Controller });
    story.tell(Input::Linked { to: OTHER, up: true }).tell(Input::Stopping);
    story
        .tell(Input::LoggedIn { connection: ConnectionId(1), party: Party::Agent })
        .tell(Input::Disconnected { connection: ConnectionId(1) })
        .reads("controller/whoever_logs_in_during_a_stop_is_sent_on");
}

#[test]
fn stop() {
    served().tell(followed(OTHER)).tell(Input::Stopping).run_until("5s").reads("controller/stop");
}

/// What the file that says where the controller door is to be bound is found to say.
fn offered(hosts: &[&str]) -> Input {
    let candidate = |host: &&str| Candidate { host: (*host).into(), scope: Scope::of(host) };
    Input::Offered {
        offer: bind::Input::Read { candidates: hosts.iter().map(candidate).collect() },
    }
}

#[test]
fn a_controller_waits_for_its_address_and_moves_with_it() {
    let config = Config { bind: Some(bind::Config::default()), ..Config::new(SELF) };
    let mut story = Story::of(Controller::new(config, Seed(7)));
    story.tell(Input::Started);
    story.tell(Input::Offered { offer: bind::Input::NotRead { lack: Lack::NoFile } });
    story.at("30s").tell(offered(&["10.0.0.1"])).tell(Input::Opened { door: Door::Controller });
    connect(&mut story, 1, Door::Controller, Party::Controller(SELF));
    story.tell(followed(OTHER)).tell(COMMITTING).run_until("40s").ask("door", door);
    story.tell(offered(&[])).tell(offered(&["10.0.0.2"])).run_until("45s");
    story.tell(Input::Opened { door: Door::Controller }).ask("door", door);
    story.reads("controller/a_controller_waits_for_its_address_and_moves_with_it");
}
