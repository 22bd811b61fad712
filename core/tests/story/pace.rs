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

#[test]
fn no_burst_is_no_limit() {
    let config = Config { burst: 0, interval: lasting("1s") };
    snapshot("pace/no_burst_is_no_limit", &table(config, &["0s", "0s", "0s", "0s"]));
}
