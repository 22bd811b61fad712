//! Spreads: how long things took, as a page says it in one line.
//!
//! Counted in sixteen buckets for each doubling, so that a million waits take no more room than a
//! few; what is read back is never below the truth, and above it by at most a sixteenth.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::action::Second;

/// Buckets for each doubling.
const STEPS: u64 = 16;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Spread {
    /// How many there are, by the longest of their bucket in microseconds.
    buckets: BTreeMap<u64, u64>,
    count: u64,
    longest: Duration,
}

impl Spread {
    /// Counts one.
    pub fn add(&mut self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        *self.buckets.entry(longest_alike(micros)).or_default() += 1;
        self.count += 1;
        self.longest = self.longest.max(took);
    }

    /// Counts all that another has counted.
    pub fn merge(&mut self, other: &Spread) {
        for (micros, count) in &other.buckets {
            *self.buckets.entry(*micros).or_default() += count;
        }
        self.count += other.count;
        self.longest = self.longest.max(other.longest);
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// What this many of a hundred do not exceed; zero if there is none.
    pub fn percent(&self, share: u64) -> Duration {
        let rank = (self.count * share).div_ceil(100);
        let mut seen = 0;
        let found = self.buckets.iter().find(|(_, count)| {
            seen += **count;
            seen >= rank
        });
        found.map_or(Duration::ZERO, |(micros, _)| Duration::from_micros(*micros).min(self.longest))
    }

    /// The longest.
    #[cfg(test)]
    pub fn longest(&self) -> Duration {
        self.longest
    }
}

/// In whole milliseconds, so that the columns of a page align; never below the truth.
pub fn millis(time: Duration) -> Second {
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    Second(Duration::from_millis(micros.div_ceil(1_000)))
}

/// The highest number of microseconds in the same bucket.
fn longest_alike(micros: u64) -> u64 {
    let doublings = (micros / STEPS).checked_ilog2().unwrap_or_default();
    micros | ((1 << doublings) - 1)
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (half, most) = (millis(self.percent(50)), millis(self.percent(99)));
        let longest = millis(self.longest);
        write!(f, "{:>9}  p50 {half:>8}  p99 {most:>8}  max {longest:>8}", self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_back_is_close_and_never_below() {
        for micros in (0..2_000).chain((0..60).map(|bit| (1 << bit) + 12_345)) {
            let read = longest_alike(micros);
            assert!(read >= micros && read - micros <= micros / STEPS, "{micros} as {read}");
            assert_eq!(longest_alike(read), read);
            assert!(longest_alike(read + 1) > read);
        }
    }

    #[test]
    fn shares_count_from_the_shortest() {
        let mut spread = Spread::default();
        assert_eq!(spread.percent(50), Duration::ZERO);
        (1..=100).for_each(|millis| spread.add(Duration::from_millis(millis)));
        let between = |share: u64, least, most| {
            let read = spread.percent(share);
            assert!(read >= Duration::from_millis(least) && read <= Duration::from_millis(most));
        };
        between(50, 50, 53);
        between(99, 99, 100);
        assert_eq!(spread.percent(100), Duration::from_millis(100));
        assert_eq!(spread.longest(), Duration::from_millis(100));
    }
}
