use portcullis_core::waits::{Config, Input, Waits};

use super::{Story, ask, key};

fn story() -> Story<Waits> {
    Story::of(Waits::new(Config { waits_max: 2, ..Config::default() }))
}

fn waited(serial: u64) -> Input {
    Input::Waited { ask: ask(1, serial), key: key("mysql") }
}

#[test]
fn all_who_wait_are_released() {
    story()
        .tell(waited(1))
        .tell(Input::Looked { ask: ask(1, 1), held: true })
        .tell(waited(2))
        .tell(Input::Looked { ask: ask(1, 2), held: true })
        .tell(Input::Applied { index: 1, released: vec![key("postgresql")] })
        .tell(Input::Applied { index: 2, released: vec![key("mysql")] })
        .ask("parked", |waits| waits.parked().to_string())
        .reads("waits/all_who_wait_are_released");
}

#[test]
fn free_already() {
    story()
        .tell(waited(1))
        .tell(Input::Looked { ask: ask(1, 1), held: false })
        .reads("waits/free_already");
}

#[test]
fn a_lagging_copy_is_not_looked_at() {
    story()
        .tell(Input::Answered { index: 9 })
        .tell(waited(1))
        .tell(Input::Applied { index: 8, released: vec![] })
        .tell(Input::Answered { index: 12 })
        .tell(Input::Applied { index: 9, released: vec![] })
        .tell(Input::Looked { ask: ask(1, 1), held: true })
        .tell(Input::Applied { index: 10, released: vec![key("mysql")] })
        .reads("waits/a_lagging_copy_is_not_looked_at");
}

#[test]
fn a_release_before_the_denial_ends_nothing() {
    story()
        .tell(Input::Answered { index: 9 })
        .tell(waited(1))
        .tell(Input::Applied { index: 7, released: vec![key("mysql")] })
        .tell(Input::Applied { index: 9, released: vec![key("mysql")] })
        .tell(Input::Looked { ask: ask(1, 1), held: true })
        .ask("parked", |waits| waits.parked().to_string())
        .reads("waits/a_release_before_the_denial_ends_nothing");
}

#[test]
fn a_snapshot_is_looked_at_anew() {
    story()
        .tell(waited(1))
        .tell(Input::Looked { ask: ask(1, 1), held: true })
        .tell(Input::Answered { index: 30 })
        .tell(waited(2))
        .tell(Input::Restored { index: 20 })
        .tell(Input::Looked { ask: ask(1, 1), held: false })
        .tell(Input::Restored { index: 40 })
        .tell(Input::Looked { ask: ask(1, 2), held: true })
        .reads("waits/a_snapshot_is_looked_at_anew");
}

#[test]
fn full_and_cancelled() {
    story()
        .tell(waited(1))
        .tell(waited(2))
        .tell(waited(3))
        .tell(Input::Cancelled { ask: ask(1, 1) })
        .tell(Input::Cancelled { ask: ask(1, 1) })
        .tell(Input::Looked { ask: ask(1, 1), held: false })
        .ask("parked", |waits| waits.parked().to_string())
        .reads("waits/full_and_cancelled");
}
