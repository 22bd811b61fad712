use portcullis_core::NodeId;
use portcullis_core::forward::{Config, Forward, Input};
use portcullis_core::lease::Refusal;
use portcullis_core::queue::Answer;

use super::{Story, ask, claim, lasting};

fn story() -> Story<Forward> {
    Story::of(Forward::new(Config { asks_max: 2, ..Config::default() }))
}

fn asked(serial: u64) -> Input {
    Input::Asked {
        ask: ask(1, serial),
        operation: claim("mysql", "mysql/0"),
        patience: lasting("10s"),
        leader: NodeId(3),
    }
}

#[test]
fn the_leader_answers() {
    let answer = Answer::Refused { index: 7, refusal: Refusal::NotHeld };
    story()
        .tell(asked(1))
        .at("1s")
        .tell(Input::Answered { ask: ask(1, 1), answer: answer.clone() })
        .tell(Input::Answered { ask: ask(1, 1), answer })
        .run_until("60s")
        .reads("forward/the_leader_answers");
}

#[test]
fn no_connection_is_said_at_once() {
    story()
        .tell(asked(1))
        .tell(Input::NotSent { ask: ask(1, 1) })
        .reads("forward/no_connection_is_said_at_once");
}

#[test]
fn a_lost_answer_is_unknown() {
    story()
        .tell(asked(1))
        .at("1s")
        .tell(Input::Lost { ask: ask(1, 1) })
        .run_until("60s")
        .reads("forward/a_lost_answer_is_unknown");
}

#[test]
fn a_silent_leader_is_unknown() {
    story().tell(asked(1)).run_until("60s").reads("forward/a_silent_leader_is_unknown");
}

#[test]
fn a_recall_follows_an_asker_that_left() {
    story()
        .tell(asked(1))
        .at("1s")
        .tell(Input::Cancelled { ask: ask(1, 1) })
        .tell(Input::Cancelled { ask: ask(1, 1) })
        .reads("forward/a_recall_follows_an_asker_that_left");
}

#[test]
fn full() {
    story()
        .tell(asked(1))
        .tell(asked(2))
        .tell(asked(3))
        .ask("under way", |forward| forward.under_way().to_string())
        .reads("forward/full");
}
