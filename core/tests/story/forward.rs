use portcullis_core::forward::{Config, Forward, Input, budget};
use portcullis_core::lease::{Done, Operation, Refusal};
use portcullis_core::queue::Answer;
use portcullis_core::{GlobalTime, NodeId, Seed};

use super::{Story, ask, claim, key, lasting};

const SELF: NodeId = NodeId(1);
const OTHER: NodeId = NodeId(3);

fn fresh(config: Config) -> Story<Forward> {
    Story::of(Forward::new(config, SELF, Seed(7)))
}

/// Two asks fit, and controller-3 leads.
fn story() -> Story<Forward> {
    let mut story = fresh(Config { asks_max: 2, ..Config::default() });
    story.tell(led(OTHER));
    story
}

/// A budget of so many retries, to which first tries add nothing.
fn with_retries(reserve: u32) -> Story<Forward> {
    let budget = budget::Config { share: 0, reserve, saved_max: 10 };
    let mut story = fresh(Config { budget, ..Config::default() });
    story.tell(led(OTHER));
    story
}

fn led(leader: NodeId) -> Input {
    Input::Led { leader: Some(leader) }
}

fn asked(serial: u64) -> Input {
    asks(serial, claim("mysql", "mysql/0"))
}

fn asks(serial: u64, operation: Operation) -> Input {
    let patience = lasting("10s");
    Input::Asked { ask: ask(1, serial), operation, renews: false, patience }
}

fn answered(serial: u64, answer: Answer) -> Input {
    Input::Answered { ask: ask(1, serial), answer }
}

fn granted() -> Answer {
    let expiry = GlobalTime(60_000_000);
    Answer::Done { index: 9, done: Done::Granted { fence: 4, expiry } }
}

fn denied() -> Answer {
    let refusal = Refusal::Held { holder: "mysql/1".into(), expiry: GlobalTime(60_000_000) };
    Answer::Refused { index: 9, refusal }
}

fn overloaded(retry_after: &str) -> Answer {
    Answer::Overloaded { retry_after: lasting(retry_after) }
}

fn retries(forward: &Forward) -> String {
    let (made, denied) = forward.retries();
    format!("{made} made, {denied} denied")
}

#[test]
fn the_leader_answers() {
    story()
        .tell(asked(1))
        .at("1s")
        .tell(answered(1, denied()))
        .tell(answered(1, denied()))
        .run_until("60s")
        .reads("forward/the_leader_answers");
}

#[test]
fn no_connection_is_tried_again_for_a_while() {
    with_retries(0)
        .tell(asked(1))
        .tell(Input::NotSent { ask: ask(1, 1) })
        .at("4s")
        .tell(Input::NotSent { ask: ask(1, 1) })
        .run_until("5.1s")
        .tell(Input::NotSent { ask: ask(1, 1) })
        .ask("retries", retries)
        .reads("forward/no_connection_is_tried_again_for_a_while");
}

#[test]
fn without_a_budget_it_is_told_at_once() {
    with_retries(0)
        .tell(asked(1))
        .tell(answered(1, Answer::NotLeader { leader: None }))
        .tell(asked(2))
        .tell(answered(2, overloaded("700ms")))
        .ask("retries", retries)
        .reads("forward/without_a_budget_it_is_told_at_once");
}

#[test]
fn first_tries_earn_retries() {
    let budget = budget::Config { share: 50, reserve: 0, saved_max: 1 };
    let mut story = fresh(Config { budget, ..Config::default() });
    story.tell(led(OTHER));
    for serial in 1..=4 {
        story.tell(asked(serial));
    }
    for serial in 1..=2 {
        story.tell(answered(serial, Answer::NotLeader { leader: None }));
    }
    story.ask("retries", retries).reads("forward/first_tries_earn_retries");
}

#[test]
fn a_retry_honours_the_time_to_come_back() {
    story()
        .tell(asked(1))
        .tell(answered(1, overloaded("3s")))
        .run_until("9s")
        .tell(answered(1, overloaded("3s")))
        .reads("forward/a_retry_honours_the_time_to_come_back");
}

#[test]
fn a_retry_goes_to_whoever_leads_by_then() {
    story()
        .tell(asked(1))
        .tell(answered(1, Answer::NotLeader { leader: None }))
        .tell(led(NodeId(2)))
        .run_until("1s")
        .tell(answered(1, granted()))
        .reads("forward/a_retry_goes_to_whoever_leads_by_then");
}

#[test]
fn a_lost_answer_is_asked_for_again() {
    story()
        .tell(asked(1))
        .tell(asked(2))
        .at("1s")
        .tell(Input::Lost { ask: ask(1, 1) })
        .tell(Input::Lost { ask: ask(1, 2) })
        .run_until("2s")
        .tell(answered(1, granted()))
        .tell(answered(2, denied()))
        .reads("forward/a_lost_answer_is_asked_for_again");
}

#[test]
fn what_may_have_been_done_is_repeated_for_claims_alone() {
    let holder = "mysql/0".into();
    story()
        .tell(asks(1, Operation::Revoke { key: key("mysql"), holder }))
        .tell(asks(2, Operation::Pin { key: key("mysql"), entity: "machine-0".into() }))
        .tell(Input::Lost { ask: ask(1, 1) })
        .tell(Input::NotSent { ask: ask(1, 2) })
        .run_until("1s")
        .tell(answered(2, Answer::Unknown))
        .reads("forward/what_may_have_been_done_is_repeated_for_claims_alone");
}

#[test]
fn what_stays_in_doubt_is_unknown() {
    with_retries(1)
        .tell(asked(1))
        .tell(Input::Lost { ask: ask(1, 1) })
        .run_until("1s")
        .tell(answered(1, Answer::NotLeader { leader: None }))
        .reads("forward/what_stays_in_doubt_is_unknown");
}

#[test]
fn a_silent_leader_is_unknown() {
    story().tell(asked(1)).run_until("60s").reads("forward/a_silent_leader_is_unknown");
}

#[test]
fn a_leader_that_was_deposed_has_a_last_moment() {
    story()
        .tell(asked(1))
        .tell(asked(2))
        .at("1s")
        .tell(led(NodeId(2)))
        .at("1.4s")
        .tell(answered(2, denied()))
        .run_until("3s")
        .tell(answered(1, granted()))
        .reads("forward/a_leader_that_was_deposed_has_a_last_moment");
}

#[test]
fn without_a_leader_it_rests_for_a_while() {
    fresh(Config::default())
        .tell(asked(1))
        .at("3s")
        .tell(asked(2))
        .run_until("6s")
        .tell(led(SELF))
        .run_until("7s")
        .tell(answered(2, granted()))
        .ask("retries", retries)
        .reads("forward/without_a_leader_it_rests_for_a_while");
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
fn a_resting_ask_that_is_cancelled_ends_at_once() {
    story()
        .tell(asked(1))
        .tell(asked(2))
        .tell(answered(1, overloaded("3s")))
        .tell(Input::Lost { ask: ask(1, 2) })
        .ask("resting", |forward| forward.resting().to_string())
        .tell(Input::Cancelled { ask: ask(1, 1) })
        .tell(Input::Cancelled { ask: ask(1, 2) })
        .run_until("60s")
        .reads("forward/a_resting_ask_that_is_cancelled_ends_at_once");
}

#[test]
fn ones_own_queue_says_what_came_of_a_recall() {
    fresh(Config::default())
        .tell(led(SELF))
        .tell(asked(1))
        .tell(Input::Cancelled { ask: ask(1, 1) })
        .tell(answered(1, Answer::Cancelled))
        .reads("forward/ones_own_queue_says_what_came_of_a_recall");
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
