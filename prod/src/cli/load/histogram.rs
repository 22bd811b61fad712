//! Latencies, counted in buckets of fixed number, so that a run of any length takes the same room.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Buckets for each doubling: what is read back is at most one part in as many above the truth.
const STEPS: u64 = 64;
/// Longest latency told apart, in microseconds: 2^36, or 19 hours.
const MOST: u64 = (1 << 36) - 1;
/// One bucket a microsecond up to two times [`STEPS`], then [`STEPS`] for each of 29 doublings.
const BUCKETS: usize = bucket(MOST) + 1;

/// Counts of latencies; see the module.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    most: u64,
}

/// What people and scripts want to know of a histogram. Times are in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// How many there are; the rest is zero if there are none.
    pub count: u64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { buckets: vec![0; BUCKETS], count: 0, most: 0 }
    }
}

impl Histogram {
    /// Counts a latency; one above [`MOST`] counts as that.
    pub fn record(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).map_or(MOST, |micros| micros.min(MOST));
        self.buckets[bucket(micros)] += 1;
        self.count += 1;
        self.most = self.most.max(micros);
    }

    /// Counts what another has counted as well.
    pub fn add(&mut self, other: &Histogram) {
        assert_eq!(self.buckets.len(), other.buckets.len(), "they have the same buckets");
        let both = self.buckets.iter_mut().zip(&other.buckets);
        both.for_each(|(own, other)| *own += other);
        self.count += other.count;
        self.most = self.most.max(other.most);
    }

    /// The latency that this many of a thousand do not exceed; zero if there is none.
    ///
    /// Never below the truth, and above it by at most one part in [`STEPS`].
    pub fn permille(&self, share: u64) -> Duration {
        assert!((1..=1_000).contains(&share), "a share is between one and all of a thousand");
        let rank = (u128::from(self.count) * u128::from(share)).div_ceil(1_000);
        let mut seen = 0;
        let at = self.buckets.iter().position(|count| {
            seen += u128::from(*count);
            seen >= rank && seen > 0
        });
        Duration::from_micros(at.map_or(0, |at| highest(at as u64).min(self.most)))
    }

    /// See [`Figures`].
    pub fn figures(&self) -> Figures {
        let millis = |share| self.permille(share).as_secs_f64() * 1e3;
        Figures {
            count: self.count,
            p50: millis(500),
            p90: millis(900),
            p99: millis(990),
            p999: millis(999),
            max: millis(1_000),
        }
    }
}

/// The bucket of a number of microseconds.
const fn bucket(micros: u64) -> usize {
    let doublings = match micros < 2 * STEPS {
        true => 0,
        false => micros.ilog2() - STEPS.ilog2(),
    };
    (doublings as u64 * STEPS + (micros >> doublings)) as usize
}

/// The highest number of microseconds in a bucket.
const fn highest(bucket: u64) -> u64 {
    match bucket < 2 * STEPS {
        true => bucket,
        false => {
            let doublings = bucket / STEPS - 1;
            ((bucket - doublings * STEPS + 1) << doublings) - 1
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(micros: u64) -> Duration {
        Duration::from_micros(micros)
    }

    #[test]
    fn buckets_touch_and_do_not_overlap() {
        for at in 0..BUCKETS as u64 {
            assert_eq!(bucket(highest(at)) as u64, at);
            assert_eq!(bucket(highest(at) + 1) as u64, at + 1);
        }
        assert_eq!(highest(BUCKETS as u64 - 1), MOST);
    }

    #[test]
    fn what_is_read_back_is_close_and_never_below() {
        let mut value = 1;
        while value < MOST {
            for value in [value - 1, value, value + value / 3] {
                let read = highest(bucket(value) as u64);
                assert!(read >= value && read - value <= value / STEPS, "{value} as {read}");
            }
            value *= 2;
        }
    }

    #[test]
    fn shares_count_from_the_fastest() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.permille(500), Duration::ZERO);
        (1..=100).for_each(|value| histogram.record(micros(value)));
        assert_eq!(histogram.permille(1), micros(1));
        assert_eq!(histogram.permille(500), micros(50));
        assert_eq!(histogram.permille(990), micros(99));
        assert_eq!(histogram.permille(999), micros(100));
        assert_eq!(histogram.permille(1_000), micros(100));
    }

    #[test]
    fn one_slow_answer_in_a_thousand_shows_at_its_place_only() {
        let mut histogram = Histogram::default();
        (0..999).for_each(|_| histogram.record(micros(100)));
        histogram.record(Duration::from_secs(3));
        let Figures { count, p999, max, .. } = histogram.figures();
        assert_eq!((count, p999, max), (1_000, 0.1, 3_000.0));
    }

    #[test]
    fn two_together_are_as_one_that_counted_all() {
        let (mut one, mut other, mut all) = <(Histogram, Histogram, Histogram)>::default();
        for value in [3, 700, 90_000] {
            one.record(micros(value));
            other.record(micros(2 * value));
            all.record(micros(value));
            all.record(micros(2 * value));
        }
        one.add(&other);
        assert_eq!(one.figures(), all.figures());
    }

    #[test]
    fn longer_than_can_be_told_counts_as_the_longest() {
        let mut histogram = Histogram::default();
        histogram.record(Duration::MAX);
        assert_eq!(histogram.permille(500), micros(MOST));
    }
}
