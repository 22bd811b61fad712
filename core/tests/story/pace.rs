use portcullis_core::pace::{Config, Pace};

use super::{lasting, snapshot, time};

/// What each of those who come at these times is told.
fn table(config: Config, times: &[&str]) -> String {
    let mut pace = Pace::new(config);
    let mut table = String::new();
    for at in times.iter().map(|at| time(at)) {
        let taken = if pace.take(at) { "taken" } else { "refused" };
        table += &format!("{at} {taken}, next from {}\n", pace.ready_at());
    }
    table
}

#[test]
fn a_burst_then_one_an_interval() {
    let config = Config { burst: 3, interval: lasting("250ms") };
    let times = ["0s", "0s", "0s", "0s", "249ms", "250ms", "250ms", "500ms", "600ms", "750ms"];
    snapshot("pace/a_burst_then_one_an_interval", &table(config, &times));
}

#[test]
fn a_rest_fills_the_bucket_and_no_more() {
    let config = Config { burst: 2, interval: lasting("1s") };
    let times = ["0s", "0s", "60s", "60s", "60s", "61s", "61s"];
    snapshot("pace/a_rest_fills_the_bucket_and_no_more", &table(config, &times));
}

/// What is left of a bucket of four of which some are taken, by another config two seconds later.
fn left(taken: u32, config: Config) -> String {
    let mut pace = Pace::new(Config { burst: 4, interval: lasting("1s") });
    (0..taken).for_each(|_| assert!(pace.take(time("0s")), "it is full at first"));
    pace.reconfigure(time("2s"), config);
    let left = (0..100).filter(|_| pace.take(time("2s"))).count();
    format!("{taken} taken, then {config:?}: {left} at once, next from {}\n", pace.ready_at())
}

#[test]
fn a_change_refills_nothing() {
    let mut table = String::new();
    for (burst, interval) in
        [(4, "1s"), (40, "1s"), (40, "10s"), (3, "1s"), (1, "250ms"), (0, "1s")]
    {
        for taken in [0, 3, 4] {
            table += &left(taken, Config { burst, interval: lasting(interval) });
        }
    }
    snapshot("pace/a_change_refills_nothing", &table);
}

#[test]
fn no_burst_is_no_limit() {
    let config = Config { burst: 0, interval: lasting("1s") };
    snapshot("pace/no_burst_is_no_limit", &table(config, &["0s", "0s", "0s", "0s"]));
}
