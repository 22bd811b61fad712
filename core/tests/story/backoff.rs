use portcullis_core::Seed;
use portcullis_core::backoff::{Backoff, Config};

use super::{lasting, snapshot};

/// The least, middle and longest of many clients' waits, failure by failure.
fn table(config: &Config, asked: &str) -> String {
    let clients = 999;
    let mut rngs: Vec<_> = (0..clients).map(|index| Seed(1).child("client", index).rng()).collect();
    let mut backoffs = vec![Backoff::new(config.clone()); rngs.len()];
    let mut table = String::from("failure       least      median     longest\n");
    for failure in 1..=9 {
        let mut waits: Vec<_> = backoffs
            .iter_mut()
            .zip(&mut rngs)
            .map(|(backoff, rng)| backoff.wait(lasting(asked), rng).as_secs_f64())
            .collect();
        waits.sort_by(f64::total_cmp);
        let (least, median, longest) = (waits[0], waits[499], waits[998]);
        table += &format!("{failure:>7} {least:>10.3}s {median:>10.3}s {longest:>10.3}s\n");
    }
    table
}

#[test]
fn waits_double_up_to_the_cap() {
    snapshot("backoff/waits_double_up_to_the_cap", &table(&Config::default(), "0s"));
}

#[test]
fn the_wait_asked_for_comes_before_the_jitter() {
    snapshot(
        "backoff/the_wait_asked_for_comes_before_the_jitter",
        &table(&Config::default(), "30s"),
    );
}

#[test]
fn no_growth_stays_at_the_first() {
    let config = Config { growth: 100, ..Config::default() };
    snapshot("backoff/no_growth_stays_at_the_first", &table(&config, "0s"));
}

#[test]
fn a_reset_starts_over() {
    let mut rng = Seed(1).rng();
    let mut backoff = Backoff::new(Config::default());
    for _ in 0..9 {
        backoff.wait(lasting("0s"), &mut rng);
    }
    backoff.reset();
    assert!(backoff.wait(lasting("0s"), &mut rng) <= lasting("3s"));
}
