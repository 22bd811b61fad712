//! Series: figures over the time of a run, kept small while it goes on.
//!
//! Decides what is left out. A run's end is not known while it lasts, so its time is cut into bins
//! that grow: whenever there would be more than [`BINS_MAX`], neighbours become one and each is
//! twice as wide. A bin of a level keeps its lowest, its highest and its last value with their
//! times, so that no peak and no gap is lost, however long the run is.

use std::time::Duration;

use portcullis_core::Time;

use crate::spread::Spread;

/// Most bins of a series. A level so has at most three times as many points: a page stays small,
/// and a bin is about as wide as what can be told apart on a screen.
pub const BINS_MAX: usize = 320;
/// The width of a level's bins before they grow, in microseconds.
const LEVEL_WIDTH: u64 = 10_000;
/// The same for what is counted a second.
const COUNT_WIDTH: u64 = 1_000_000;

/// Milliseconds of simulated time, and the value from there on; none where there is none.
pub type Point = (u64, Option<u64>);

/// What is known of a bin.
trait Bin: Default {
    /// Takes in the bin that comes after.
    fn absorb(&mut self, later: Self);
}

/// Bins of equal width, from time zero on.
#[derive(Clone, Debug)]
struct Bins<B> {
    /// Microseconds.
    width: u64,
    bins: Vec<B>,
}

impl<B: Bin> Bins<B> {
    fn new(width: u64) -> Bins<B> {
        Bins { width, bins: Vec::new() }
    }

    fn at(&mut self, at: Time) -> &mut B {
        let most = BINS_MAX as u64;
        while at.0 / self.width >= most {
            self.width *= 2;
            let mut bins = std::mem::take(&mut self.bins).into_iter();
            while let Some(mut bin) = bins.next() {
                if let Some(later) = bins.next() {
                    bin.absorb(later);
                }
                self.bins.push(bin);
            }
        }
        // Below `BINS_MAX`, by the loop above.
        let bin = (at.0 / self.width) as usize;
        if self.bins.len() <= bin {
            self.bins.resize_with(bin + 1, B::default);
        }
        &mut self.bins[bin]
    }

    /// When each bin starts, in microseconds, up to the end of the run.
    fn starts(&self, ended: Time) -> impl Iterator<Item = u64> + use<B> {
        let width = self.width;
        (0..ended.0.div_ceil(width)).map(move |bin| bin * width)
    }
}

/// Something that is as it was until it changes.
#[derive(Clone, Debug)]
pub struct Level {
    bins: Bins<Extremes>,
    last: u64,
    changes: u64,
}

/// One change of a level; several may have one time.
#[derive(Clone, Copy, Debug)]
struct Change {
    /// Counted over the whole level.
    serial: u64,
    at: Time,
    value: u64,
}

/// What a level came to within one bin: its lowest, its highest and its last change; nothing if it
/// did not change.
#[derive(Clone, Copy, Debug, Default)]
struct Extremes(Option<[Change; 3]>);

impl Bin for Extremes {
    fn absorb(&mut self, later: Extremes) {
        self.0 = match (self.0, later.0) {
            (Some([lowest, highest, _]), Some([lower, higher, last])) => Some([
                if lower.value < lowest.value { lower } else { lowest },
                if higher.value > highest.value { higher } else { highest },
                last,
            ]),
            (one, other) => one.or(other),
        };
    }
}

impl Default for Level {
    /// Zero.
    fn default() -> Level {
        Level { bins: Bins::new(LEVEL_WIDTH), last: 0, changes: 0 }
    }
}

impl Level {
    /// It is this much from here on.
    pub fn set(&mut self, at: Time, value: u64) {
        if std::mem::replace(&mut self.last, value) != value {
            self.add(at, value);
        }
    }

    /// A value of something that also changes between its points.
    pub fn add(&mut self, at: Time, value: u64) {
        self.changes += 1;
        let change = Change { serial: self.changes, at, value };
        self.bins.at(at).absorb(Extremes(Some([change; 3])));
    }

    /// What is drawn of it.
    pub fn points(&self) -> Vec<Point> {
        let mut changes = vec![Change { serial: 0, at: Time(0), value: 0 }];
        for mut three in self.bins.bins.iter().filter_map(|bin| bin.0) {
            three.sort_by_key(|change| change.serial);
            changes.extend(three);
        }
        changes.dedup_by_key(|change| change.serial);
        // What it is from the first moment on, it did not become.
        if changes.get(1).is_some_and(|first| first.at.0 < 1_000) {
            changes.remove(0);
        }
        changes.into_iter().map(|change| (change.at.0 / 1_000, Some(change.value))).collect()
    }

    /// What it is.
    pub fn value(&self) -> u64 {
        self.last
    }

    /// The lowest that it was in each of so many parts of the time between two, or a gap that is
    /// shorter than one of them would not be seen; fewer parts where these would be no times at all.
    pub fn lows(&self, from: Time, until: Time, parts: usize) -> Vec<u64> {
        let span = until.0.saturating_sub(from.0) / 1_000;
        let parts = (parts as u64).min(span);
        let points = self.points();
        let mut next = points.iter().peekable();
        let mut value = 0;
        let mut lows = Vec::new();
        for part in 1..=parts {
            let ends = from.0 / 1_000 + span * part / parts;
            // What it was in the beginning of a part counts for it, unless it changed right then.
            let begins = from.0 / 1_000 + span * (part - 1) / parts;
            while let Some((_, now)) = next.next_if(|(at, _)| *at <= begins) {
                value = now.unwrap_or_default();
            }
            let mut low = value;
            while let Some((_, now)) = next.next_if(|(at, _)| *at < ends) {
                value = now.unwrap_or_default();
                low = low.min(value);
            }
            lows.push(low);
        }
        lows
    }

    /// The highest that it ever was.
    pub fn highest(&self) -> u64 {
        let bins = self.bins.bins.iter().filter_map(|bin| bin.0);
        bins.map(|[_, highest, _]| highest.value).max().unwrap_or_default()
    }
}

/// How often something happened.
#[derive(Clone, Debug)]
pub struct Rate(Bins<u64>);

impl Bin for u64 {
    fn absorb(&mut self, later: u64) {
        *self += later;
    }
}

impl Default for Rate {
    /// Never.
    fn default() -> Rate {
        Rate(Bins::new(COUNT_WIDTH))
    }
}

impl Rate {
    /// It happened once more.
    pub fn count(&mut self, at: Time) {
        *self.0.at(at) += 1;
    }

    /// How often in all.
    pub fn sum(&self) -> u64 {
        self.0.bins.iter().sum()
    }

    /// Thousandths of times a second, bin by bin of `width` seconds.
    pub fn points(&self, ended: Time, width: u64) -> Vec<Point> {
        let wide = self.widened(width);
        let count = |start: u64| {
            let bin = usize::try_from(start / wide.width).ok();
            bin.and_then(|bin| wide.bins.get(bin)).copied().unwrap_or_default()
        };
        let points = wide.starts(ended);
        points.map(|start| (start / 1_000, Some(count(start) * 1_000 / width))).collect()
    }

    /// Seconds that a bin lasts.
    pub fn width(&self) -> u64 {
        self.0.width / COUNT_WIDTH
    }

    /// The same in bins that last as long as those of another, which are not shorter.
    fn widened(&self, width: u64) -> Bins<u64> {
        let width = width.max(self.width()) * COUNT_WIDTH;
        let mut wide = Bins { width, bins: Vec::new() };
        for (bin, count) in (0..).zip(&self.0.bins) {
            *wide.at(Time(bin * self.0.width)) += count;
        }
        wide
    }
}

/// How long things took, by when they were over.
#[derive(Clone, Debug)]
pub struct Delays(Bins<Spread>);

impl Bin for Spread {
    fn absorb(&mut self, later: Spread) {
        self.merge(&later);
    }
}

impl Default for Delays {
    /// Nothing took any time.
    fn default() -> Delays {
        Delays(Bins::new(COUNT_WIDTH))
    }
}

impl Delays {
    /// Something is over that took this long.
    pub fn add(&mut self, at: Time, took: Duration) {
        self.0.at(at).add(took);
    }

    /// Microseconds that this many of a hundred did not exceed, bin by bin.
    pub fn percent(&self, share: u64, ended: Time) -> Vec<Point> {
        let spread = |start: u64| {
            let bin = usize::try_from(start / self.0.width).ok()?;
            let spread = self.0.bins.get(bin).filter(|spread| !spread.is_empty())?;
            Some(u64::try_from(spread.percent(share).as_micros()).unwrap_or(u64::MAX))
        };
        self.0.starts(ended).map(|start| (start / 1_000, spread(start))).collect()
    }

    /// Seconds that a bin lasts.
    pub fn width(&self) -> u64 {
        self.0.width / COUNT_WIDTH
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_keeps_its_peaks_its_gaps_and_its_end() {
        let mut level = Level::default();
        // A million changes over an hour, one of them a peak and one a gap.
        for step in 0..1_000_000_u64 {
            let value = match step {
                123_456 => 900,
                765_432 => 1,
                _ => 500 + step % 8,
            };
            level.set(Time(step * 3_600), value);
        }
        let points = level.points();
        assert!(points.len() <= 3 * BINS_MAX + 1, "{}", points.len());
        assert!(points.contains(&(123_456 * 3_600 / 1_000, Some(900))));
        assert!(points.contains(&(765_432 * 3_600 / 1_000, Some(1))));
        assert_eq!(points.last(), Some(&(999_999 * 3_600 / 1_000, Some(507))));
        assert!(points.is_sorted_by_key(|(at, _)| *at));
        assert_eq!(level.highest(), 900);
    }

    #[test]
    fn a_level_in_parts_shows_gaps() {
        let mut level = Level::default();
        for (at, value) in [(0, 8), (4_500, 2), (4_600, 9), (7_000, 3)] {
            level.set(Time(at * 1_000), value);
        }
        let second = |at: u64| Time(at * 1_000_000);
        assert_eq!(level.lows(second(2), second(10), 8), [8, 8, 2, 9, 9, 3, 3, 3]);
        assert_eq!(level.lows(second(0), second(10), 2), [2, 3]);
        assert_eq!(level.value(), 3);
        assert!(level.lows(second(3), second(3), 8).is_empty());
    }

    #[test]
    fn a_level_that_stays_is_one_point() {
        let mut level = Level::default();
        (0..1_000).for_each(|second| level.set(Time(second * 1_000_000), 7));
        assert_eq!(level.points(), vec![(0, Some(7))]);
    }

    #[test]
    fn a_rate_counts_everything_in_bins_that_grow() {
        let mut rate = Rate::default();
        let ended = Time(1_000 * 1_000_000);
        (0..10_000).for_each(|tenth| rate.count(Time(tenth * 100_000)));
        assert_eq!((rate.sum(), rate.width()), (10_000, 4));
        let points = rate.points(ended, 4);
        assert!(points.iter().all(|(_, value)| *value == Some(10_000)), "{points:?}");
        assert_eq!((points.len(), points[1].0), (250, 4_000));
    }

    #[test]
    fn a_rate_stands_beside_one_that_lasted_longer() {
        let (mut short, mut long) = (Rate::default(), Rate::default());
        short.count(Time(3_000_000));
        long.count(Time(999_000_000));
        let points = short.points(Time(1_000_000_000), long.width());
        assert_eq!((points.len(), points[0]), (250, (0, Some(250))));
    }

    #[test]
    fn delays_leave_gaps_where_nothing_was_over() {
        let mut delays = Delays::default();
        delays.add(Time(2_500_000), Duration::from_millis(20));
        delays.add(Time(2_600_000), Duration::from_millis(40));
        let points = delays.percent(100, Time(4_000_000));
        let expected = [(0, None), (1_000, None), (2_000, Some(40_000)), (3_000, None)];
        assert_eq!(points, expected);
    }
}
