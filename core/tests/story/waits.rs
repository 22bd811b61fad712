use portcullis_core::waits::{Config, Input, Waits};

use super::{Story, ask, key};

/// Room for so many, of whom two are woken at once.
fn room(waits_max: usize) -> Story<Waits> {
    Story::of(Waits::new(Config { waits_max, wakes_max: 2, ..Config::default() }))
}

fn waited(serial: u64) -> Input {
    Input::Waited { ask: ask(1, serial), key: key("mysql") }
}

fn looked(serial: u64, held: bool) -> Input {
    Input::Looked { ask: ask(1, serial), held }
}

fn released(index: u64) -> Input {
    Input::Applied { index, released: vec![key("mysql")] }
}

/// So many wait for a lease that is held.
fn parked(many: u64) -> Story<Waits> {
    let mut story = room(10);
    for serial in 1..=many {
        story.tell(waited(serial)).tell(looked(serial, true));
    }
    story
}

#[test]
fn the_oldest_few_are_woken_and_the_rest_if_it_stays_free() {
    parked(5)
        .tell(Input::Applied { index: 1, released: vec![key("postgresql")] })
        .tell(released(2))
        .tell(looked(1, false))
        .run_until("0.5s")
        .tell(looked(3, false))
        .run_until("1s")
        .tell(looked(5, false))
        .run_until("60s")
        .ask("parked", |waits| waits.parked().to_string())
        .ask("wakes", |waits| waits.wakes().to_string())
        .reads("waits/the_oldest_few_are_woken_and_the_rest_if_it_stays_free");
}

#[test]
fn a_lease_that_is_claimed_in_the_gap_wakes_nobody_else() {
    parked(4)
        .tell(released(2))
        .tell(looked(1, false))
        .run_until("0.5s")
        .tell(looked(3, true))
        .run_until("60s")
        .tell(released(3))
        .tell(looked(3, false))
        .ask("parked", |waits| waits.parked().to_string())
        .reads("waits/a_lease_that_is_claimed_in_the_gap_wakes_nobody_else");
}

#[test]
fn a_release_in_the_gap_waits_for_its_end() {
    parked(4)
        .tell(released(2))
        .tell(looked(1, false))
        .at("0.2s")
        .tell(released(3))
        .tell(waited(5))
        .tell(looked(5, false))
        .run_until("0.5s")
        .tell(looked(3, false))
        .reads("waits/a_release_in_the_gap_waits_for_its_end");
}

#[test]
fn one_who_leaves_while_looked_at_hands_it_on() {
    parked(2)
        .tell(released(2))
        .tell(Input::Cancelled { ask: ask(1, 1) })
        .tell(looked(1, false))
        .tell(looked(2, false))
        .run_until("60s")
        .reads("waits/one_who_leaves_while_looked_at_hands_it_on");
}

#[test]
fn granted_again_in_the_same_entry() {
    parked(1)
        .tell(released(2))
        .tell(looked(1, true))
        .run_until("60s")
        .ask("parked", |waits| waits.parked().to_string())
        .reads("waits/granted_again_in_the_same_entry");
}

#[test]
fn free_already() {
    room(2).tell(waited(1)).tell(looked(1, false)).reads("waits/free_already");
}

#[test]
fn a_lagging_copy_is_not_looked_at() {
    room(2)
        .tell(Input::Answered { index: 9 })
        .tell(waited(1))
        .tell(Input::Applied { index: 8, released: vec![] })
        .tell(Input::Answered { index: 12 })
        .tell(Input::Applied { index: 9, released: vec![] })
        .tell(looked(1, true))
        .tell(released(10))
        .tell(looked(1, false))
        .reads("waits/a_lagging_copy_is_not_looked_at");
}

#[test]
fn a_release_before_the_denial_ends_nothing() {
    room(2)
        .tell(Input::Answered { index: 9 })
        .tell(waited(1))
        .tell(released(7))
        .tell(released(9))
        .tell(looked(1, true))
        .ask("parked", |waits| waits.parked().to_string())
        .reads("waits/a_release_before_the_denial_ends_nothing");
}

#[test]
fn a_snapshot_is_looked_at_anew() {
    room(2)
        .tell(waited(1))
        .tell(looked(1, true))
        .tell(Input::Answered { index: 30 })
        .tell(waited(2))
        .tell(Input::Restored { index: 20 })
        .tell(looked(1, false))
        .tell(Input::Restored { index: 40 })
        .run_until("0.5s")
        .tell(looked(2, true))
        .reads("waits/a_snapshot_is_looked_at_anew");
}

#[test]
fn full_and_cancelled() {
    room(2)
        .tell(waited(1))
        .tell(waited(2))
        .tell(waited(3))
        .tell(Input::Cancelled { ask: ask(1, 1) })
        .tell(Input::Cancelled { ask: ask(1, 1) })
        .tell(looked(1, false))
        .ask("parked", |waits| waits.parked().to_string())
        .reads("waits/full_and_cancelled");
}
