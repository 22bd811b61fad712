use portcullis_core::sessions::{Config, Input, Party, Sessions};
use portcullis_core::{ConnectionId, Door, NodeId};

use super::Story;

const ONE: ConnectionId = ConnectionId(1);

fn story() -> Story<Sessions> {
    let mut story = Story::of(Sessions::new(Config::default()));
    story.tell(Input::Connected { connection: ONE, door: Door::Api });
    story
}

#[test]
fn a_silent_stranger_is_cut() {
    story().run_until("60s").reads("sessions/a_silent_stranger_is_cut");
}

#[test]
fn a_stranger_cannot_ping_itself_in() {
    story()
        .at("29s")
        .tell(Input::Pinged { connection: ONE })
        .run_until("60s")
        .reads("sessions/a_stranger_cannot_ping_itself_in");
}

#[test]
fn an_agent_must_ping() {
    story()
        .at("1s")
        .tell(Input::LoggedIn { connection: ONE, party: Party::Agent })
        .at("61s")
        .tell(Input::Pinged { connection: ONE })
        .at("121s")
        .tell(Input::Pinged { connection: ONE })
        .run_until("10m")
        .reads("sessions/an_agent_must_ping");
}

#[test]
fn users_and_controllers_may_be_silent() {
    let two = ConnectionId(2);
    story()
        .tell(Input::LoggedIn { connection: ONE, party: Party::User })
        .tell(Input::Connected { connection: two, door: Door::Controller })
        .tell(Input::LoggedIn { connection: two, party: Party::Controller(NodeId(2)) })
        .run_until("60m")
        .reads("sessions/users_and_controllers_may_be_silent");
}

#[test]
fn nobody_looks_after_one_that_left() {
    story()
        .at("1s")
        .tell(Input::Disconnected { connection: ONE })
        .ask("connected", |sessions| sessions.len().to_string())
        .run_until("10m")
        .reads("sessions/nobody_looks_after_one_that_left");
}
