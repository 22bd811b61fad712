use portcullis_core::lease::{Done, Refusal};
use portcullis_core::queue::Answer;
use portcullis_core::singular::{Config, DURATION, Input, Singular};
use portcullis_core::{GlobalTime, Seed};

use super::{Story, key, lasting};

fn story() -> Story<Singular> {
    let config = Config::new(key("mysql"), "controller-1".into(), DURATION);
    let mut story = Story::of(Singular::new(config, Seed(1)));
    story.tell(Input::Ready);
    story
}

fn answered(answer: Answer) -> Input {
    Input::Answered { answer }
}

fn granted(fence: u64) -> Input {
    let done = Done::Granted { fence, expiry: GlobalTime(60_000_000) };
    answered(Answer::Done { index: 1, done })
}

fn refused(refusal: Refusal) -> Input {
    answered(Answer::Refused { index: 1, refusal })
}

fn held() -> Input {
    refused(Refusal::Held { holder: "controller-2".into(), expiry: GlobalTime(60_000_000) })
}

fn fence(singular: &Singular) -> String {
    format!("{:?}", singular.fence())
}

#[test]
fn raised_and_prolonged() {
    story()
        .at("0.2s")
        .tell(granted(1))
        .run_until("30.1s")
        .tell(granted(1))
        .run_until("60.5s")
        .ask("fence", fence)
        .reads("singular/raised_and_prolonged");
}

#[test]
fn what_is_not_prolonged_is_lowered_before_it_is_over() {
    story()
        .at("5s")
        .tell(granted(1))
        .run_until("40s")
        .tell(answered(Answer::Unknown))
        .run_until("49.3s")
        .ask("fence", fence)
        .run_until("49.4s")
        .ask("fence", fence)
        .reads("singular/what_is_not_prolonged_is_lowered_before_it_is_over");
}

#[test]
fn an_unknown_answer_raises_nothing() {
    story()
        .at("0.1s")
        .tell(answered(Answer::Unknown))
        .run_until("0.6s")
        .ask("fence", fence)
        .tell(answered(Answer::Overloaded { retry_after: lasting("4s") }))
        .run_until("5.5s")
        .tell(answered(Answer::NotLeader { leader: None }))
        .reads("singular/an_unknown_answer_raises_nothing");
}

#[test]
fn a_grant_that_took_too_long_raises_nothing() {
    story()
        .at("49.4s")
        .tell(granted(1))
        .ask("fence", fence)
        .run_until("50s")
        .tell(granted(1))
        .reads("singular/a_grant_that_took_too_long_raises_nothing");
}

#[test]
fn another_holds_it_until_it_is_released() {
    story()
        .at("0.1s")
        .tell(held())
        .ask("waiting", |singular| singular.waiting().to_string())
        .at("20s")
        .tell(answered(Answer::Released))
        .at("20.1s")
        .tell(granted(7))
        .reads("singular/another_holds_it_until_it_is_released");
}

#[test]
fn an_extension_that_is_refused_lowers_at_once() {
    story()
        .at("0.1s")
        .tell(granted(1))
        .run_until("30.1s")
        .tell(refused(Refusal::NotHeld))
        .at("30.2s")
        .tell(granted(3))
        .reads("singular/an_extension_that_is_refused_lowers_at_once");
}

#[test]
fn whoever_has_ended_gives_up_what_it_holds() {
    story()
        .at("0.1s")
        .tell(granted(1))
        .at("10s")
        .tell(Input::Ended)
        .at("10.1s")
        .tell(answered(Answer::Done { index: 2, done: Done::Revoked }))
        .run_for("90s")
        .reads("singular/whoever_has_ended_gives_up_what_it_holds");
}

#[test]
fn a_grant_that_comes_after_the_end_is_given_up() {
    story()
        .at("0.1s")
        .tell(Input::Ended)
        .at("0.2s")
        .tell(granted(1))
        .at("0.3s")
        .tell(answered(Answer::Unknown))
        .reads("singular/a_grant_that_comes_after_the_end_is_given_up");
}

#[test]
fn times_that_contradict_each_other_are_named() {
    let config = || Config::new(key("mysql"), "controller-1".into(), DURATION);
    assert_eq!(config().fault(), None);
    let short = Config::new(key("mysql"), "controller-1".into(), lasting("50ms"));
    assert!(short.fault().is_some_and(|fault| fault.contains("100ms")));
    let slow = Config { stop_within: lasting("60s"), ..config() };
    assert!(slow.fault().is_some_and(|fault| fault.contains("to stop in")));
    let late = Config { renew_after: lasting("50s"), ..config() };
    assert!(late.fault().is_some_and(|fault| fault.contains("extended")));
    let rash = Config { patience: lasting("0s"), ..config() };
    assert!(rash.fault().is_some_and(|fault| fault.contains("no time")));
}
