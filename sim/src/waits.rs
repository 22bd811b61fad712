//! How long answers took: a histogram of fixed size, so that millions of them cost no memory.

use std::time::Duration;

/// Buckets to a power of two: a percentile is at most a sixteenth too high.
const PARTS: u64 = 16;
/// Buckets for every number of 64 bits.
const BUCKETS: usize = 61 * PARTS as usize;

/// See the module.
#[derive(Clone, Debug)]
pub struct Waits {
    buckets: Vec<u64>,
    count: u64,
    most: Duration,
}

impl Default for Waits {
    fn default() -> Waits {
        Waits { buckets: vec![0; BUCKETS], count: 0, most: Duration::ZERO }
    }
}

impl Waits {
    /// Counts one wait, to the microsecond.
    pub fn note(&mut self, wait: Duration) {
        self.buckets[bucket(u64::try_from(wait.as_micros()).unwrap_or(u64::MAX))] += 1;
        self.count += 1;
        self.most = self.most.max(wait);
    }

    /// A percentile for people, to the millisecond.
    pub fn shown(&self, percent: u64) -> String {
        let millis =
            |wait: Duration| Duration::from_millis(wait.as_micros().div_ceil(1_000) as u64);
        self.percentile(percent).map_or("-".into(), |wait| format!("{:?}", millis(wait)))
    }

    /// The wait that so many percent did not exceed; none if nobody waited.
    pub fn percentile(&self, percent: u64) -> Option<Duration> {
        let rank = (self.count * percent).div_ceil(100).max(1);
        let mut seen = 0;
        let within = |count: &u64| {
            seen += count;
            seen >= rank
        };
        let bucket = self.buckets.iter().position(within)?;
        Some(Duration::from_micros(highest(bucket as u64)).min(self.most))
    }
}

/// Small numbers have a bucket each; above them each power of two has [`PARTS`].
fn bucket(micros: u64) -> usize {
    let power = micros.max(1).ilog2();
    let bucket = match power {
        0..4 => micros,
        _ => u64::from(power - 3) * PARTS + ((micros >> (power - 4)) & (PARTS - 1)),
    };
    bucket as usize
}

/// The highest number of a bucket.
fn highest(bucket: u64) -> u64 {
    match bucket / PARTS {
        0 => bucket,
        power => ((PARTS + bucket % PARTS + 1) << (power - 1)).wrapping_sub(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_in_the_bucket_that_ends_above_it() {
        for power in 0..63 {
            let least = 1_u64 << power;
            for micros in [least, least + least / 3, least + (least - 1)] {
                let end = highest(bucket(micros) as u64);
                assert!(end >= micros && end - micros <= micros / PARTS, "{micros} {end}");
            }
        }
    }

    #[test]
    fn percentiles_are_at_most_a_sixteenth_too_high() {
        let mut waits = Waits::default();
        assert_eq!(waits.percentile(50), None);
        (1..=1_000).for_each(|wait| waits.note(Duration::from_millis(wait)));
        let half = waits.percentile(50).expect("a thousand waited").as_millis();
        assert!((500..532).contains(&half), "{half}");
        assert_eq!(waits.percentile(100), Some(Duration::from_secs(1)));
    }
}
