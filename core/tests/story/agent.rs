use portcullis_core::agent::{Agent, Config, Input};
use portcullis_core::controller::Request;
use portcullis_core::dialer::{self, Manner};
use portcullis_core::lease::{Done, Refusal};
use portcullis_core::queue::Answer;
use portcullis_core::{Address, GlobalTime, Seed, tracker};

use super::{Story, claim, key, lasting, three_addresses};

fn story(config: Config) -> Story<Agent> {
    let mut story = Story::of(Agent::new(config, three_addresses(), Seed(1)));
    story.tell(Input::Started);
    story
}

/// A tool: it dials at once.
fn tool() -> Story<Agent> {
    let dialer = dialer::Config { manner: Manner::User, ..dialer::Config::default() };
    story(Config { dialer, asks_max: 2, ..Config::default() })
}

fn unit() -> Story<Agent> {
    let tracker = Some(tracker::Config::new(key("mysql"), "mysql/0".into()));
    story(Config { tracker, ..Config::default() })
}

fn logged_in() -> Input {
    Input::LoggedIn { addresses: three_addresses() }
}

fn asked(token: u64) -> Input {
    let request = Request::Apply(claim("mysql", "tool"));
    Input::Asked { token, request, patience: lasting("10s") }
}

fn granted(fence: u64) -> Answer {
    Answer::Done { index: 4, done: Done::Granted { fence, expiry: GlobalTime(60_000_000) } }
}

#[test]
fn a_unit_leads_and_pings() {
    unit()
        .run_until("3s")
        .tell(Input::Connected)
        .tell(logged_in())
        .tell(Input::Answered { serial: 1, answer: granted(1) })
        .run_until("50s")
        .tell(Input::Answered { serial: 2, answer: granted(1) })
        .run_until("64s")
        .tell(Input::Ponged)
        .ask("leading", |agent| agent.leading().to_string())
        .reads("agent/a_unit_leads_and_pings");
}

#[test]
fn a_dead_line_is_dropped() {
    unit()
        .run_until("3s")
        .tell(Input::Connected)
        .tell(logged_in())
        .tell(Input::Answered { serial: 1, answer: granted(1) })
        .run_until("100s")
        .ask("logged in", |agent| agent.logged_in().to_string())
        .ask("leading", |agent| agent.leading().to_string())
        .reads("agent/a_dead_line_is_dropped");
}

#[test]
fn a_unit_waits_for_the_release() {
    let refusal = Refusal::Held { holder: "mysql/1".into(), expiry: GlobalTime(60_000_000) };
    unit()
        .run_until("3s")
        .tell(Input::Connected)
        .tell(logged_in())
        .tell(Input::Answered { serial: 1, answer: Answer::Refused { index: 3, refusal } })
        .ask("waiting", |agent| agent.waiting().to_string())
        .at("40s")
        .tell(Input::Answered { serial: 2, answer: Answer::Released })
        .tell(Input::Answered { serial: 3, answer: granted(2) })
        .reads("agent/a_unit_waits_for_the_release");
}

#[test]
fn an_answer_to_another_life_is_ignored() {
    unit()
        .run_until("3s")
        .tell(Input::Connected)
        .tell(logged_in())
        .at("4s")
        .tell(Input::Disconnected)
        .run_until("12s")
        .tell(Input::Connected)
        .tell(logged_in())
        .tell(Input::Answered { serial: 1, answer: granted(1) })
        .ask("leading", |agent| agent.leading().to_string())
        .tell(Input::Answered { serial: 2, answer: granted(1) })
        .reads("agent/an_answer_to_another_life_is_ignored");
}

#[test]
fn a_tool_asks_before_it_is_connected() {
    tool()
        .tell(asked(7))
        .at("2s")
        .tell(Input::Connected)
        .tell(logged_in())
        .tell(Input::Answered { serial: 1, answer: granted(1) })
        .reads("agent/a_tool_asks_before_it_is_connected");
}

#[test]
fn what_had_left_is_unknown_and_the_rest_expires() {
    tool()
        .run_until("0s")
        .tell(Input::Connected)
        .tell(logged_in())
        .tell(asked(1))
        .at("1s")
        .tell(Input::Disconnected)
        .tell(asked(2))
        .run_until("3s")
        .tell(Input::Failed)
        .run_until("11s")
        .reads("agent/what_had_left_is_unknown_and_the_rest_expires");
}

#[test]
fn more_asks_than_it_may_have() {
    tool().tell(asked(1)).tell(asked(2)).tell(asked(3)).reads("agent/more_asks_than_it_may_have");
}

#[test]
fn a_wait_has_no_deadline() {
    let wait = Request::Wait(key("mysql"));
    tool()
        .run_until("0s")
        .tell(Input::Connected)
        .tell(logged_in())
        .tell(Input::Asked { token: 1, request: wait, patience: lasting("1s") })
        .run_until("59s")
        .tell(Input::Answered { serial: 1, answer: Answer::Released })
        .reads("agent/a_wait_has_no_deadline");
}

#[test]
fn redirected_and_refused() {
    tool()
        .run_until("0s")
        .tell(Input::Connected)
        .tell(Input::Redirected { to: vec![Address::new("x:1")] })
        .run_until("1s")
        .tell(Input::Connected)
        .tell(Input::Refused { retry_after: lasting("5s") })
        .run_until("10s")
        .reads("agent/redirected_and_refused");
}

#[test]
fn stopping_answers_everything() {
    tool()
        .run_until("0s")
        .tell(Input::Connected)
        .tell(logged_in())
        .tell(asked(1))
        .tell(Input::Disconnected)
        .tell(asked(2))
        .tell(Input::Stopped)
        .run_until("60s")
        .reads("agent/stopping_answers_everything");
}
