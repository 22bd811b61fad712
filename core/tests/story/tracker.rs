use portcullis_core::lease::{Done, Refusal};
use portcullis_core::queue::Answer;
use portcullis_core::tracker::{Config, Input, Tracker};
use portcullis_core::{GlobalTime, Seed};

use super::{Story, key, lasting};

fn story() -> Story<Tracker> {
    let config = Config::new(key("mysql"), "mysql/0".into());
    let mut story = Story::of(Tracker::new(config, Seed(1)));
    story.tell(Input::Ready);
    story
}

fn granted(fence: u64) -> Input {
    let done = Done::Granted { fence, expiry: GlobalTime(60_000_000) };
    Input::Answered { answer: Answer::Done { index: 1, done } }
}

fn denied() -> Input {
    let refusal = Refusal::Held { holder: "mysql/1".into(), expiry: GlobalTime(60_000_000) };
    Input::Answered { answer: Answer::Refused { index: 1, refusal } }
}

fn answered(answer: Answer) -> Input {
    Input::Answered { answer }
}

fn leading(tracker: &Tracker) -> String {
    tracker.leading().to_string()
}

#[test]
fn granted_and_renewed() {
    story()
        .at("0.2s")
        .tell(granted(1))
        .run_until("30.1s")
        .tell(granted(1))
        .run_until("60.5s")
        .ask("leading", leading)
        .reads("tracker/granted_and_renewed");
}

#[test]
fn a_lease_that_is_not_renewed_lapses() {
    story()
        .at("5s")
        .tell(granted(1))
        .run_until("59.3s")
        .ask("leading", leading)
        .run_until("70s")
        .ask("leading", leading)
        .tell(granted(2))
        .reads("tracker/a_lease_that_is_not_renewed_lapses");
}

#[test]
fn a_grant_that_took_too_long_is_asked_for_again() {
    story()
        .at("59.4s")
        .tell(granted(1))
        .ask("leading", leading)
        .at("61s")
        .tell(granted(1))
        .reads("tracker/a_grant_that_took_too_long_is_asked_for_again");
}

#[test]
fn denied_then_released() {
    story()
        .tell(denied())
        .ask("waiting", |tracker| tracker.waiting().to_string())
        .at("40s")
        .tell(answered(Answer::Released))
        .tell(granted(2))
        .reads("tracker/denied_then_released");
}

#[test]
fn a_denied_renewal_ends_the_lead_at_once() {
    story()
        .tell(granted(1))
        .run_until("30s")
        .tell(denied())
        .ask("leading", leading)
        .reads("tracker/a_denied_renewal_ends_the_lead_at_once");
}

#[test]
fn unknown_is_asked_again() {
    story()
        .at("10s")
        .tell(answered(Answer::Unknown))
        .run_until("12s")
        .tell(answered(Answer::Unknown))
        .run_until("14s")
        .tell(granted(1))
        .reads("tracker/unknown_is_asked_again");
}

#[test]
fn overloaded_is_waited_out() {
    story()
        .tell(answered(Answer::Overloaded { retry_after: lasting("5s") }))
        .run_until("6s")
        .tell(denied())
        .tell(answered(Answer::Overloaded { retry_after: lasting("3s") }))
        .run_until("20s")
        .reads("tracker/overloaded_is_waited_out");
}

#[test]
fn the_lead_outlives_the_connection() {
    story()
        .tell(granted(1))
        .at("20s")
        .tell(Input::Gone)
        .ask("leading", leading)
        .run_until("70s")
        .tell(granted(1))
        .tell(Input::Ready)
        .reads("tracker/the_lead_outlives_the_connection");
}

#[test]
fn a_reconnect_renews_under_the_same_fence() {
    story()
        .tell(granted(1))
        .at("20s")
        .tell(Input::Gone)
        .at("40s")
        .tell(Input::Ready)
        .tell(granted(1))
        .run_until("65s")
        .ask("leading", leading)
        .reads("tracker/a_reconnect_renews_under_the_same_fence");
}
