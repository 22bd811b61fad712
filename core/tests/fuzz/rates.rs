//! The bucket and the waits: not machines, but promises all the same.

use std::time::Duration;

use portcullis_core::backoff::{self, Backoff};
use portcullis_core::pace::{self, Pace};
use portcullis_core::{Seed, Time};

#[test]
fn no_window_holds_more_than_its_bucket() {
    for seed in 0..300 {
        let mut rng = Seed(seed).child("pace", 0).rng();
        let burst = rng.below(5) as u32 + 1;
        let interval = Duration::from_micros(rng.below(1_000) + 1);
        let mut pace = Pace::new(pace::Config { burst, interval });
        let (mut now, mut taken) = (Time(rng.below(5_000)), Vec::new());
        for _ in 0..300 {
            now = now + Duration::from_micros(rng.below(3) * rng.below(600));
            let (ready, before) = (pace.ready_at(), format!("{pace:?}"));
            if pace.take(now) {
                assert!(ready <= now, "seed {seed}: a token before its time");
                taken.push(now);
            } else {
                assert!(ready > now, "seed {seed}: a token that was ready was refused");
                assert_eq!(before, format!("{pace:?}"), "seed {seed}: a refusal took something");
            }
        }
        for (first, from) in taken.iter().enumerate() {
            for (count, to) in taken[first..].iter().enumerate() {
                let room = u128::from(burst) + to.since(*from).as_micros() / interval.as_micros();
                assert!((count as u128) < room, "seed {seed}: {from} to {to} is too full");
            }
        }
    }
}

#[test]
fn a_change_gives_no_token() {
    for seed in 0..300 {
        let mut rng = Seed(seed).child("pace", 1).rng();
        let mut drawn = || pace::Config {
            burst: rng.below(20) as u32 + 1,
            interval: Duration::from_micros(rng.below(1_000) + 1),
        };
        let (first, second) = (drawn(), drawn());
        let mut pace = Pace::new(first);
        let mut now = Time(rng.below(5_000));
        for _ in 0..rng.below(30) {
            pace.take(now);
            now = now + Duration::from_micros(rng.below(300));
        }
        let at_once = |pace: &Pace| {
            let mut pace = pace.clone();
            (0..100).filter(|_| pace.take(now)).count()
        };
        let before = at_once(&pace);
        pace.reconfigure(now, second);
        let after = at_once(&pace);
        assert!(after <= before, "seed {seed}: {before} tokens became {after}");
        assert!(after + 1 >= before.min(second.burst as usize), "seed {seed}: tokens were lost");
        let full = pace.ready_at() <= now + second.interval;
        assert!(full, "seed {seed}: an empty bucket waits longer than for one token");
    }
}

#[test]
fn a_rested_bucket_gives_its_whole_burst() {
    for burst in 1..20 {
        let interval = Duration::from_millis(250);
        let mut pace = Pace::new(pace::Config { burst, interval });
        for now in [Time(0), Time(60_000_000)] {
            let given = (0..burst + 5).filter(|_| pace.take(now)).count();
            assert_eq!(given, burst as usize);
        }
    }
}

#[test]
fn waits_stay_within_their_law() {
    for seed in 0..300 {
        let mut rng = Seed(seed).child("backoff", 0).rng();
        let first = Duration::from_micros(rng.below(5_000_000) + 1);
        let most = first + Duration::from_micros(rng.below(100_000_000));
        let growth = 100 + rng.below(300) as u32;
        let mut backoff = Backoff::new(backoff::Config { first, most, growth });
        let mut bound = first;
        for _ in 0..40 {
            if rng.below(12) == 0 {
                backoff.reset();
                bound = first;
            }
            let asked = Duration::from_micros(rng.below(2) * rng.below(9_000_000));
            let wait = backoff.wait(asked, &mut rng);
            assert!(wait >= asked, "seed {seed}: came back before it was asked to");
            assert!(wait <= asked + bound, "seed {seed}: {wait:?} is above {bound:?}");
            assert!(wait <= asked + most, "seed {seed}: {wait:?} is above the cap");
            bound = (bound * growth / 100).min(most);
        }
    }
}

/// The seeds tell of herds that return in step: the draws must be spread over the whole bound.
#[test]
fn waits_are_spread_over_their_bound() {
    crate::mistakes::choose();
    let mut tenths = [0_u32; 10];
    for client in 0..10_000 {
        let mut rng = Seed(7).child("client", client).rng();
        let mut backoff = Backoff::new(backoff::Config::default());
        let wait = backoff.wait(Duration::ZERO, &mut rng).as_micros() as usize;
        tenths[(wait / 300_000).min(9)] += 1;
    }
    assert!(tenths.iter().all(|count| (850..1_150).contains(count)), "{tenths:?}");
}

/// Who fails again waits longer: after three failures eight times as long, on the average.
#[test]
fn waits_grow_with_each_failure() {
    crate::mistakes::choose();
    let (mut first, mut fourth) = (Duration::ZERO, Duration::ZERO);
    for client in 0..1_000 {
        let mut rng = Seed(7).child("client", client).rng();
        let mut backoff = Backoff::new(backoff::Config::default());
        let waits = [(); 4].map(|()| backoff.wait(Duration::ZERO, &mut rng));
        (first, fourth) = (first + waits[0], fourth + waits[3]);
    }
    assert!(fourth > first * 6, "{fourth:?} after three failures, {first:?} before them");
}

#[test]
fn one_more_client_changes_nobody_elses_draws() {
    let draws = |index| Seed(3).child("client", index).rng().draw();
    let all: std::collections::BTreeSet<u64> = (0..10_000).map(draws).collect();
    assert_eq!(all.len(), 10_000, "two clients share a stream");
    assert_eq!(Seed(3).child("client", 12), Seed(3).child("client", 12));
    assert_ne!(Seed(3).child("client", 12), Seed(3).child("agent", 12));
    let mut rng = Seed(3).rng();
    let mut items: Vec<u64> = (0..50).collect();
    rng.shuffle(&mut items);
    assert!(rng.drawn() >= 49, "every draw is counted");
    items.sort_unstable();
    assert_eq!(items, (0..50).collect::<Vec<_>>(), "a shuffle neither loses nor invents");
    assert!((0..1_000).all(|_| rng.below(3) < 3));
}
