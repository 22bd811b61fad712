use portcullis_core::GlobalTime;
use portcullis_core::clock::{Anchor, Clock, Config, Input};

use super::{Story, lasting, snapshot, time};

#[test]
fn a_leader_moves_it_each_second() {
    Story::of(Clock::new(Config::default()))
        .run_until("10s")
        .tell(Input::Led { global: GlobalTime(5_000_000) })
        .run_until("12.5s")
        .tell(Input::Followed)
        .run_until("60s")
        .reads("clock/a_leader_moves_it_each_second");
}

#[test]
fn traffic_moves_it_too() {
    Story::of(Clock::new(Config::default()))
        .tell(Input::Led { global: GlobalTime(0) })
        .at("0.9s")
        .tell(Input::Proposed)
        .at("1.8s")
        .tell(Input::Proposed)
        .run_until("3s")
        .tell(Input::Followed)
        .tell(Input::Proposed)
        .run_until("60s")
        .reads("clock/traffic_moves_it_too");
}

#[test]
fn an_anchor_tells_the_global_time() {
    let anchor = Anchor { local: time("10s"), global: GlobalTime(500_000_000) };
    let mut table = String::new();
    for local in ["0s", "10s", "10.5s", "70s"] {
        let local = time(local);
        table += &format!("at {local} it is {}\n", anchor.global_at(local));
    }
    assert_eq!(anchor.global_at(time("11s")).since(anchor.global), lasting("1s"));
    snapshot("clock/an_anchor_tells_the_global_time", &table);
}

#[test]
fn its_lag_is_known() {
    let lag = |now: &'static str| move |clock: &Clock| format!("{:?}", clock.lag(time(now)));
    Story::of(Clock::new(Config::default()))
        .at("2s")
        .ask("lag", lag("2s"))
        .tell(Input::Moved { to: time("2s") })
        .at("5s")
        .ask("lag", lag("5s"))
        .tell(Input::Led { global: GlobalTime(0) })
        .ask("lag", lag("5s"))
        .at("5.9s")
        .tell(Input::Moved { to: time("5s") })
        .ask("lag", lag("5.9s"))
        .tell(Input::Moved { to: time("4s") })
        .ask("lag", lag("5.9s"))
        .reads("clock/its_lag_is_known");
}
